//! The process is killed at random points; whatever it acknowledged is there afterwards, exactly once.
//!
//! The test runs its own binary as the child, which appends for ever and says on its standard error what was
//! acknowledged.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tarn_core::{ByteSize, Env};
use tarn_eventlog::{Append, Appended, EventLog, EventLogConfig, SegmentLog};

use crate::rig::{context, folder, ids, read_all, rows, spec, state, topic};

const CHILD_FOLDER: &str = "TARN_EVENTLOG_CRASH_FOLDER";
const KILLS: usize = 25;
const PRODUCERS: u64 = 4;
const PARTITIONS: u32 = 2;

fn config() -> EventLogConfig {
    EventLogConfig { segment_bytes: ByteSize(64 << 10), ..EventLogConfig::default() }
}

fn partition_of(producer: u64) -> u32 {
    (producer % u64::from(PARTITIONS)) as u32
}

/// The ids of one append of a producer; their number varies.
fn ids_of(producer: u64, seq: u64) -> std::ops::Range<i64> {
    let first = (producer * 1_000_000_000 + seq * 1_000) as i64;
    first..first + 1 + (seq * 7 % 60) as i64
}

#[test]
fn child() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(append_for_ever(folder));
}

async fn append_for_ever(folder: String) {
    let log = SegmentLog::open(folder, config(), Env::system()).await.unwrap();
    log.create_topic(&context(), spec(PARTITIONS)).await.unwrap();
    let producers = (0..PRODUCERS).map(|producer| {
        let log = log.clone();
        tokio::spawn(async move {
            let (name, partition) = (format!("p{producer}"), partition_of(producer));
            let stored = log.producer_state(&context(), &topic(), partition, &name).await.unwrap();
            let mut seq = stored.map_or(0, |state| state.position.minor);
            loop {
                seq += 1;
                let append = Append { batch: rows(ids_of(producer, seq)), state: Some(state(&name, seq)) };
                let done = log.append(&context(), &topic(), partition, append).await.unwrap();
                let line = format!("ack {producer} {seq} {} {}\n", done.first_offset, done.next_offset);
                std::io::stderr().write_all(line.as_bytes()).unwrap();
                if seq.is_multiple_of(10) {
                    let next = done.next_offset;
                    log.commit_position(&context(), &topic(), partition, &name, next).await.unwrap();
                    let line = format!("pos {producer} {seq} {next} {next}\n");
                    std::io::stderr().write_all(line.as_bytes()).unwrap();
                }
            }
        })
    });
    futures::future::join_all(producers).await;
}

#[derive(Default)]
struct Acknowledged {
    appends: HashMap<(u64, u64), Appended>,
    positions: HashMap<u64, u64>,
}

impl Acknowledged {
    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kind @ ("ack" | "pos"), numbers @ ..] = words.as_slice() else {
            panic!("the child says: {line}")
        };
        let numbers: Vec<u64> = numbers.iter().map(|word| word.parse().unwrap()).collect();
        let range = Appended { first_offset: numbers[2], next_offset: numbers[3] };
        if *kind == "pos" {
            self.positions.insert(numbers[0], range.next_offset);
        } else {
            assert!(
                self.appends.insert((numbers[0], numbers[1]), range).is_none(),
                "acknowledged twice: {line}"
            );
        }
    }
}

/// Runs the child until `limit` after its first acknowledgement, kills it, and takes all that it said.
fn run_and_kill(folder: &Path, limit: Duration, acknowledged: &mut Acknowledged) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture", "--test-threads=1"])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let killer = std::thread::spawn(move || {
        std::thread::sleep(limit);
        child.kill().unwrap();
        child.wait().unwrap();
    });
    while line.ends_with('\n') {
        acknowledged.note(&line);
        line.clear();
        lines.read_line(&mut line).unwrap();
    }
    killer.join().unwrap();
}

async fn check(folder: &Path, acknowledged: &Acknowledged) {
    let log = SegmentLog::open(folder, config(), Env::system()).await.unwrap();
    let positions = log.positions(&context(), &topic()).await.unwrap();
    let mut last_seqs: HashMap<u64, u64> = HashMap::new();
    let mut acknowledged_found = 0;
    for partition in 0..PARTITIONS {
        let mut found: HashMap<u64, (u64, i64)> = HashMap::new();
        for one in read_all(&*log, &context(), partition, 0).await.unwrap() {
            let ids = ids(&one.batch);
            let (producer, seq) = (ids[0] as u64 / 1_000_000_000, ids[0] as u64 % 1_000_000_000 / 1_000);
            assert!(ids_of(producer, seq).eq(ids.iter().copied()), "an append is stored by half");
            let last = found.entry(producer).or_default();
            assert_eq!(seq, last.0 + 1, "producer {producer}: each append once and in order");
            last.0 = seq;
            if let Some(range) = acknowledged.appends.get(&(producer, seq)) {
                assert_eq!(range.first_offset, one.first_offset, "producer {producer}, append {seq}");
                assert_eq!(range.next_offset, one.first_offset + ids.len() as u64);
                acknowledged_found += 1;
            }
        }
        last_seqs.extend(found.into_iter().map(|(producer, (seq, _))| (producer, seq)));
    }
    assert_eq!(acknowledged_found, acknowledged.appends.len(), "acknowledged appends are missing");
    for producer in 0..PRODUCERS {
        let (name, partition) = (format!("p{producer}"), partition_of(producer));
        let stored = log.producer_state(&context(), &topic(), partition, &name).await.unwrap();
        let expected = last_seqs.get(&producer).map(|seq| state(&name, *seq));
        assert_eq!(stored, expected, "the state is that of the last stored append");
        if let Some(offset) = acknowledged.positions.get(&producer) {
            let stored = positions.iter().find(|one| one.consumer == name).unwrap();
            assert!(stored.offset >= *offset, "an acknowledged position is lost");
        }
    }
    log.close().await;
}

#[test]
fn every_acknowledged_row_is_there_once_after_kill_9() {
    let seed =
        std::env::var("TARN_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("TARN_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    // On the real disk: flushes take their time and writes are caught in between.
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for _ in 0..KILLS {
        let limit = Duration::from_micros(random.random_range(0..80_000));
        run_and_kill(folder.path(), limit, &mut acknowledged);
        runtime.block_on(check(folder.path(), &acknowledged));
    }
    assert!(acknowledged.appends.len() > KILLS * 4, "{} appends", acknowledged.appends.len());
}

#[test]
fn in_memory_folders_work_too() {
    // Flushes cost nothing here, so kills hit other places.
    let folder = folder();
    let mut acknowledged = Acknowledged::default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for kill in 0..10 {
        run_and_kill(folder.path(), Duration::from_millis(kill * 3), &mut acknowledged);
        runtime.block_on(check(folder.path(), &acknowledged));
    }
}
