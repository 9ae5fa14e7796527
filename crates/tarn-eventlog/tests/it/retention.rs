//! Retention by size and age, what survives it, and what survives a restart.

use std::time::Duration;

use tarn_core::{ByteSize, Env, Fault, FaultKind, HumanDuration};
use tarn_eventlog::{EventLog, EventLogConfig, EventLogError, ReadLimits, Retention, SegmentLog, TopicSpec};

use crate::rig::{Rig, context, folder, read_all, rows, segments, small_segments, spec, state, topic};

async fn keep(rig: &Rig, retention: Retention) {
    rig.log.create_topic(&rig.ctx, TopicSpec { retention, ..spec(1) }).await.unwrap();
}

async fn apply(rig: &Rig) -> u64 {
    rig.log.apply_retention(&rig.ctx, &topic()).await.unwrap()
}

#[tokio::test]
async fn size_drops_the_oldest_segments_and_nothing_else() {
    let mut rig = Rig::new(small_segments()).await;
    for start in (0..1_000).step_by(10) {
        rig.append(rows(start..start + 10)).await.unwrap();
    }
    let before = rig.info().await.partitions[0].clone();
    assert!(before.segments > 5, "{before:?}");
    assert_eq!(apply(&rig).await, 0, "without limits all is kept");
    keep(&rig, Retention { age: None, size: Some(ByteSize(12 << 10)) }).await;
    let freed = apply(&rig).await;
    let after = rig.info().await.partitions[0].clone();
    assert_eq!(before.bytes - after.bytes, freed);
    assert!(after.bytes <= 12 << 10 && after.low_offset > 0 && after.high_offset == 1_000, "{after:?}");
    let kept: Vec<i64> = (after.low_offset as i64..1_000).collect();
    assert_eq!(rig.all_ids().await, kept);
    let dropped = rig.log.read(&rig.ctx, &topic(), 0, 0, ReadLimits::default()).await.unwrap_err();
    assert!(matches!(dropped, EventLogError::OffsetOutOfRange { low, .. } if low == after.low_offset));
    rig.reopen().await;
    assert_eq!(rig.info().await.partitions[0].low_offset, after.low_offset);
    assert_eq!(rig.all_ids().await, kept);
}

#[tokio::test]
async fn age_drops_rows_of_a_topic_that_went_quiet_but_not_its_states() {
    let mut rig = Rig::new(EventLogConfig::default()).await;
    rig.append_as("shop", 7, 0..100).await.unwrap();
    rig.log.commit_position(&rig.ctx, &topic(), 0, "table", 100).await.unwrap();
    keep(&rig, Retention { age: Some(HumanDuration::from_secs(60)), size: None }).await;
    rig.clock.set_ms(1_000_000 + 59_000);
    assert_eq!(apply(&rig).await, 0);
    rig.clock.set_ms(1_000_000 + 61_000);
    assert!(apply(&rig).await > 0);
    for _ in 0..2 {
        let info = rig.info().await;
        assert_eq!((info.partitions[0].low_offset, info.partitions[0].high_offset), (100, 100));
        assert_eq!(info.partitions[0].appended_ms, Some(1_000_000));
        assert_eq!(info.schema, Some(rows(0..1).schema()));
        assert_eq!(rig.state("shop").await, Some(state("shop", 7)));
        let positions = rig.log.positions(&rig.ctx, &topic()).await.unwrap();
        assert_eq!((positions[0].consumer.as_str(), positions[0].offset), ("table", 100));
        let stale = rig.append_as("shop", 7, 0..1).await.unwrap_err();
        assert!(matches!(stale, EventLogError::StaleProducer { .. }), "{stale}");
        assert_eq!(apply(&rig).await, 0, "an empty partition keeps its newest segment");
        rig.reopen().await;
    }
    assert_eq!(rig.append_as("shop", 8, 100..101).await.unwrap().first_offset, 100);
    assert_eq!(rig.all_ids().await, [100]);
}

#[tokio::test]
async fn states_survive_many_segments_and_restarts() {
    let mut rig = Rig::new(small_segments()).await;
    keep(&rig, Retention { age: None, size: Some(ByteSize(8 << 10)) }).await;
    rig.append_as("early", 1, 0..1).await.unwrap();
    let mut next = 1;
    for round in 0..3 {
        for minor in 1..40_u64 {
            rig.append_as("late", round * 100 + minor, next..next + 20).await.unwrap();
            next += 20;
        }
        apply(&rig).await;
        rig.reopen().await;
        assert_eq!(rig.state("early").await, Some(state("early", 1)), "round {round}");
        assert_eq!(rig.state("late").await, Some(state("late", round * 100 + 39)), "round {round}");
    }
    assert!(rig.info().await.partitions[0].low_offset > 1_000);
}

#[tokio::test]
async fn states_alone_do_not_pile_up() {
    let mut rig = Rig::new(small_segments()).await;
    for minor in 1..400 {
        rig.append_as("shop", minor, 0..0).await.unwrap();
    }
    assert_eq!(segments(rig.path()).len(), 1, "a segment without rows is replaced by its successor");
    rig.reopen().await;
    assert_eq!(rig.state("shop").await, Some(state("shop", 399)));
    assert_eq!(rig.append(rows(0..3)).await.unwrap().first_offset, 0);
}

#[tokio::test]
async fn retention_runs_by_itself() {
    let config = EventLogConfig {
        retention_check_interval: HumanDuration::from_millis(100),
        ..EventLogConfig::default()
    };
    let rig = Rig::new(config).await;
    keep(&rig, Retention { age: Some(HumanDuration::from_secs(1)), size: None }).await;
    rig.append(rows(0..10)).await.unwrap();
    rig.clock.set_ms(2_000_000);
    let started = std::time::Instant::now();
    while rig.info().await.partitions[0].low_offset == 0 {
        assert!(started.elapsed() < Duration::from_secs(20), "old rows are still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_offset_of_a_time_is_found_across_segments_and_restarts() {
    let mut rig = Rig::new(small_segments()).await;
    for i in 0..60 {
        rig.clock.set_ms(1_000_000 + i * 1_000);
        rig.append(rows(i * 10..i * 10 + 10)).await.unwrap();
    }
    // A clock set back does not make times fall.
    rig.clock.set_ms(5);
    rig.append(rows(600..610)).await.unwrap();
    assert!(rig.info().await.partitions[0].segments > 3);
    for _ in 0..2 {
        let at = |ms: i64| {
            let log = rig.log.clone();
            async move { log.offset_at(&context(), &topic(), 0, ms).await.unwrap() }
        };
        for i in 0..60 {
            assert_eq!(at(1_000_000 + i * 1_000).await, i as u64 * 10);
            assert_eq!(at(1_000_000 + i * 1_000 - 999).await, i as u64 * 10);
        }
        assert_eq!(at(i64::MIN).await, 0);
        assert_eq!(at(1_059_001).await, 610, "nothing is newer");
        rig.reopen().await;
    }
}

#[tokio::test]
async fn a_folder_serves_one_log_at_a_time() {
    let folder = folder();
    let open = || SegmentLog::open(folder.path(), EventLogConfig::default(), Env::system());
    let first = open().await.unwrap();
    let second = open().await.unwrap_err();
    assert!(matches!(second, EventLogError::Locked { .. }), "{second}");
    assert_eq!(second.kind(), FaultKind::Conflict);
    first.create_topic(&context(), spec(1)).await.unwrap();
    first.close().await;
    let closed = first.read(&context(), &topic(), 0, 0, ReadLimits::default()).await.unwrap_err();
    assert!(matches!(closed, EventLogError::Closed), "{closed}");
    let third = open().await.unwrap();
    assert!(read_all(&*third, &context(), 0, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn unfinished_files_and_folders_are_cleared_away() {
    let mut rig = Rig::new(EventLogConfig::default()).await;
    rig.append(rows(0..3)).await.unwrap();
    let newest = segments(rig.path())[0].clone();
    let unfinished = newest.with_file_name("00000000000000000003.new");
    let passing = rig.path().join("main").join(".passing-0123456789abcdef");
    std::fs::write(&unfinished, b"half").unwrap();
    std::fs::create_dir_all(passing.join("0")).unwrap();
    rig.reopen().await;
    assert!(!unfinished.exists() && !passing.exists());
    assert_eq!(rig.all_ids().await, [0, 1, 2]);
}
