//! Many appenders and readers at once.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tarn_eventlog::{Append, EventLog, EventLogConfig, ReadLimits};

use crate::rig::{Rig, context, ids, read_all, rows, small_segments, spec, state, topic};

const PRODUCERS: i64 = 8;
const BATCHES: i64 = 60;
const ROWS: i64 = 7;

/// The ids of one batch of a producer.
fn ids_of(producer: i64, batch: i64) -> std::ops::Range<i64> {
    let first = producer * 1_000_000 + batch * ROWS;
    first..first + ROWS
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn appends_of_many_producers_have_no_gaps_and_keep_each_producers_order() {
    for config in [EventLogConfig::default(), small_segments()] {
        let rig = Arc::new(Rig::new(config).await);
        let reader = {
            let log = rig.log.clone();
            tokio::spawn(async move {
                let limits =
                    ReadLimits { wait: Duration::from_secs(30), rows_max: 50, ..ReadLimits::default() };
                let (mut next, mut seen) = (0, Vec::new());
                while seen.len() < (PRODUCERS * BATCHES * ROWS) as usize {
                    let read = log.read(&context(), &topic(), 0, next, limits).await.unwrap();
                    assert!(!read.batches.is_empty(), "the tail did not wake within the wait");
                    assert!(read.high_offset >= read.next_offset);
                    seen.extend(read.batches.iter().flat_map(|one| ids(&one.batch)));
                    next = read.next_offset;
                }
                seen
            })
        };
        let producers = (0..PRODUCERS).map(|producer| {
            let rig = rig.clone();
            tokio::spawn(async move {
                let mut offsets = Vec::new();
                for batch in 0..BATCHES {
                    let name = format!("p{producer}");
                    offsets
                        .push(rig.append_as(&name, batch as u64 + 1, ids_of(producer, batch)).await.unwrap());
                }
                offsets
            })
        });
        let offsets: Vec<_> = join_all(producers).await.into_iter().map(Result::unwrap).collect();
        let seen = reader.await.unwrap();
        for (producer, ranges) in (0..).zip(&offsets) {
            for (batch, range) in (0..).zip(ranges) {
                let stored = &seen[range.first_offset as usize..range.next_offset as usize];
                assert!(
                    ids_of(producer, batch).eq(stored.iter().copied()),
                    "{producer}/{batch} at {range:?}"
                );
            }
            assert!(ranges.windows(2).all(|pair| pair[0].next_offset <= pair[1].first_offset));
        }
        let mut all: Vec<_> = offsets.into_iter().flatten().collect();
        all.sort_by_key(|range| range.first_offset);
        assert!(
            all.windows(2).all(|pair| pair[0].next_offset == pair[1].first_offset),
            "offsets have no gaps"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_appends_share_flushes() {
    let rig = Arc::new(Rig::new(EventLogConfig::default()).await);
    let appends = (0..500).map(|i| {
        let rig = rig.clone();
        tokio::spawn(async move { rig.append(rows(i..i + 1)).await.unwrap() })
    });
    for append in join_all(appends).await {
        append.unwrap();
    }
    let stats = rig.log.stats();
    assert_eq!((stats.rows, stats.topics[0].rows), (500, 500));
    assert!(stats.flushes < 250, "{} flushes for 500 appends", stats.flushes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_writers_of_one_position_one_wins() {
    let rig = Arc::new(Rig::new(EventLogConfig::default()).await);
    for minor in 1..30 {
        let racers = (0..4).map(|_| {
            let rig = rig.clone();
            tokio::spawn(async move { rig.append_as("shop", minor, 0..2).await.is_ok() })
        });
        let won = join_all(racers).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
        assert_eq!(won, 1);
    }
    assert_eq!(rig.info().await.partitions[0].high_offset, 58);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dropped_futures_lose_nothing() {
    let rig = Arc::new(Rig::new(EventLogConfig::default()).await);
    for minor in 1..40_u64 {
        let append = rig.append_as("shop", minor, 0..3);
        // Given up at once or a little later; the append may or may not have happened, but never by half.
        let _ = tokio::time::timeout(Duration::from_micros(minor * 20), append).await;
    }
    rig.append_as("shop", 100, 0..3).await.unwrap();
    let limits = ReadLimits { wait: Duration::from_secs(9), ..ReadLimits::default() };
    let high = rig.info().await.partitions[0].high_offset;
    let topic = topic();
    let waiting = rig.log.read(&rig.ctx, &topic, 0, high, limits);
    assert!(tokio::time::timeout(Duration::from_millis(5), waiting).await.is_err());
    rig.append(rows(0..3)).await.unwrap();
    let all = read_all(&*rig.log, &rig.ctx, 0, 0).await.unwrap();
    assert!(all.iter().all(|one| ids(&one.batch) == [0, 1, 2]));
    assert_eq!(all.len() as u64 * 3, high + 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn closing_makes_queued_appends_durable() {
    let mut rig = Rig::new(EventLogConfig::default()).await;
    rig.log.create_topic(&rig.ctx, spec(1)).await.unwrap();
    let appends: Vec<_> = (1..50_u64)
        .map(|minor| {
            let log = rig.log.clone();
            let append = Append { batch: rows(0..1), state: Some(state(&format!("p{minor}"), minor)) };
            tokio::spawn(async move { log.append(&context(), &topic(), 0, append).await })
        })
        .collect();
    tokio::task::yield_now().await;
    rig.log.close().await;
    let mut accepted = 0;
    for append in appends {
        accepted += u64::from(append.await.unwrap().is_ok());
    }
    rig.reopen().await;
    assert_eq!(rig.info().await.partitions[0].high_offset, accepted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_and_retention_do_not_disturb_each_other() {
    use tarn_core::{ByteSize, Fault, FaultKind};
    use tarn_eventlog::{Retention, TopicSpec};
    let rig = Arc::new(Rig::new(small_segments()).await);
    let retention = Retention { age: None, size: Some(ByteSize(8 << 10)) };
    rig.log.create_topic(&rig.ctx, TopicSpec { retention, ..spec(1) }).await.unwrap();
    let writer = {
        let rig = rig.clone();
        tokio::spawn(async move {
            for i in 0..300 {
                rig.append(rows(i * 5..i * 5 + 5)).await.unwrap();
                rig.log.apply_retention(&rig.ctx, &topic()).await.unwrap();
            }
        })
    };
    let mut jumped = 0;
    while !writer.is_finished() {
        let low = rig.info().await.partitions[0].low_offset;
        match rig.log.read(&rig.ctx, &topic(), 0, low, ReadLimits::default()).await {
            Ok(read) => {
                for one in read.batches {
                    let first = one.first_offset as i64;
                    assert!((first..).zip(ids(&one.batch)).all(|(expected, id)| expected == id));
                }
            }
            Err(error) if error.kind() == FaultKind::Invalid => jumped += 1,
            Err(error) => panic!("{error}"),
        }
    }
    writer.await.unwrap();
    assert!(rig.info().await.partitions[0].low_offset > 0);
    assert!(jumped < 300);
}
