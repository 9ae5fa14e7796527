//! The source `replay`.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use tarn_ingest::sources::replay::SPEC;
use tarn_ingest::{SOURCES, SourceState, TablePhase};

use crate::bed::{Bed, name, timed_rows_text, write_parquet, yaml};
use crate::conformance::{Subject, check_source};

const MINUTE: i64 = 60_000_000;
/// 2013-01-01T00:00:00.
const START: i64 = 1_356_998_400_000_000;

fn minutes(values: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter(values.into_iter().map(|m| m.map(|m| START + m * MINUTE))))
}

/// Flight 1 departs early and lands; 2 is cancelled; 3 lands late.
fn write_flights(folder: &std::path::Path) {
    let flights = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef),
        ("carrier", Arc::new(StringArray::from(vec!["UA", "AA", "UA"])) as ArrayRef),
        ("scheduled", minutes(vec![Some(60), Some(61), Some(62)])),
        ("departure", minutes(vec![Some(55), None, Some(70)])),
        ("arrival", minutes(vec![Some(120), None, Some(200)])),
        ("delay", Arc::new(Int64Array::from(vec![Some(-5), None, Some(8)])) as ArrayRef),
    ]);
    write_parquet(&folder.join("flights.parquet"), &flights.expect("a batch"));
    let airlines = RecordBatch::try_from_iter([
        ("carrier", Arc::new(StringArray::from(vec!["AA", "UA"])) as ArrayRef),
        ("name", Arc::new(StringArray::from(vec!["American", "United"])) as ArrayRef),
    ]);
    write_parquet(&folder.join("airlines.parquet"), &airlines.expect("a batch"));
}

const CONFIG: &str = "
path: data
start: '2013-01-01T00:00:00'
speed: 60
tables:
  - { name: airlines, key: [carrier] }
  - name: flights
    key: [id]
    events:
      - { kind: insert, at: scheduled, columns: [carrier, scheduled] }
      - { kind: update, at: departure, columns: [departure, delay] }
      - { kind: update, at: arrival + 5 minutes, columns: [arrival] }
";

#[tokio::test]
async fn each_row_goes_through_its_events_at_simulated_times() {
    let bed = Bed::new(SOURCES).await;
    write_flights(&bed.path("data"));
    bed.apply("air", "replay", CONFIG);
    bed.until_rows("air.airlines", 2).await;
    assert_eq!(bed.count("air.flights").await, 0, "nothing is due yet");
    bed.clock.advance(Duration::from_secs(62));
    bed.eventually("flights", async || bed.count("air.flights").await > 0).await;
    let summary = bed.ingest.status(&bed.ctx, &name("air")).expect("exists");
    assert_eq!(summary.lag_ms, None, "simulated times have no lag");
    bed.until_state("air", SourceState::Done).await;
    let rows: Vec<String> = bed.batches("air.flights").await.iter().flat_map(timed_rows_text).collect();
    let flight = |kind: &str, rest: &str, at: &str| format!("{kind} | {rest} | 2013-01-01T{at}:00");
    let expected = [
        flight("+", "1 | UA | 2013-01-01T01:00:00 | ∅ | ∅ | ∅", "01:00"),
        // Departed before it was scheduled: not before its own insert.
        flight(">", "1 | UA | 2013-01-01T01:00:00 | 2013-01-01T00:55:00 | ∅ | -5", "01:00"),
        flight("+", "2 | AA | 2013-01-01T01:01:00 | ∅ | ∅ | ∅", "01:01"),
        flight("+", "3 | UA | 2013-01-01T01:02:00 | ∅ | ∅ | ∅", "01:02"),
        flight(">", "3 | UA | 2013-01-01T01:02:00 | 2013-01-01T01:10:00 | ∅ | 8", "01:10"),
        flight(">", "1 | UA | 2013-01-01T01:00:00 | 2013-01-01T00:55:00 | 2013-01-01T02:00:00 | -5", "02:05"),
        flight(">", "3 | UA | 2013-01-01T01:02:00 | 2013-01-01T01:10:00 | 2013-01-01T03:20:00 | 8", "03:25"),
    ];
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn a_restart_plays_the_very_next_event_and_the_clock_stood_still() {
    let mut bed = Bed::new(SOURCES).await;
    write_flights(&bed.path("data"));
    bed.apply("air", "replay", CONFIG);
    bed.eventually("some flights", async || bed.count("air.flights").await >= 3).await;
    bed.restart().await;
    let before = bed.count("air.flights").await;
    assert!(before < 7, "stopped in between");
    bed.clock.advance(Duration::from_secs(3_600));
    bed.apply("air", "replay", CONFIG);
    bed.eventually("the next", async || bed.count("air.flights").await > before).await;
    assert_eq!(bed.count("air.flights").await, before + 1, "the clock stood still meanwhile");
    bed.until_state("air", SourceState::Done).await;
    assert_eq!((bed.count("air.airlines").await, bed.count("air.flights").await), (2, 7));
    let phases = |bed: &Bed| {
        let tables = bed.ingest.tables(&bed.ctx, &name("air")).expect("exists");
        tables.iter().map(|table| table.phase).collect::<Vec<_>>()
    };
    assert_eq!(phases(&bed), [TablePhase::Done; 2]);
    // Played to its end, it has nothing to add.
    bed.restart().await;
    bed.apply("air", "replay", CONFIG);
    bed.until_state("air", SourceState::Done).await;
    assert_eq!(bed.count("air.flights").await, 7);
    assert_eq!(phases(&bed), [TablePhase::Done; 2]);
}

#[tokio::test]
async fn a_changed_data_set_is_not_mixed_with_the_old_one() {
    let mut bed = Bed::new(SOURCES).await;
    write_flights(&bed.path("data"));
    bed.apply("air", "replay", CONFIG);
    bed.eventually("some flights", async || bed.count("air.flights").await >= 3).await;
    bed.restart().await;
    bed.apply("air", "replay", &CONFIG.replace("arrival + 5", "arrival + 6"));
    bed.until_state("air", SourceState::Failed).await;
    let summary = bed.ingest.status(&bed.ctx, &name("air")).expect("exists");
    assert!(summary.message.expect("a message").contains("the data set or its events changed"));
}

#[tokio::test]
async fn a_loop_goes_on_with_growing_times() {
    let mut bed = Bed::new(SOURCES).await;
    write_flights(&bed.path("data"));
    let config = CONFIG.replace("speed: 60", "speed: 6000\nloop: true");
    bed.apply("air", "replay", &config);
    bed.eventually("three rounds", async || bed.count("air.flights").await >= 21).await;
    bed.restart().await;
    bed.apply("air", "replay", &config);
    bed.eventually("five rounds", async || bed.count("air.flights").await >= 35).await;
    bed.ingest.shutdown().await;
    let rows: Vec<String> = bed.batches("air.flights").await.iter().flat_map(timed_rows_text).collect();
    let time_of = |row: &String| row.rsplit_once(" | ").expect("columns").1.to_string();
    assert!(rows.iter().map(time_of).is_sorted());
    for round in rows.chunks(7) {
        let without_time = |row: &String| row.rsplit_once(" | ").expect("columns").0.to_string();
        let first: Vec<String> = rows[..round.len()].iter().map(without_time).collect();
        assert_eq!(round.iter().map(without_time).collect::<Vec<_>>(), first);
    }
}

fn write_many(folder: &std::path::Path, rows: i64) {
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new((0..rows).collect::<Int64Array>()) as ArrayRef),
        ("name", Arc::new((0..rows).map(|n| Some(format!("name {n}"))).collect::<StringArray>()) as ArrayRef),
        ("begin", minutes((0..rows).map(|n| Some(n / 3)).collect())),
        ("end", minutes((0..rows).map(|n| (n % 7 != 0).then_some(n / 3 + n % 50)).collect())),
    ]);
    write_parquet(&folder.join("many.parquet"), &batch.expect("a batch"));
}

#[tokio::test]
async fn replay_conforms() {
    let folder = tempfile::tempdir().expect("a folder");
    write_many(folder.path(), 10_000);
    write_flights(folder.path());
    let config = "
path: .
speed: max
tables:
  - name: many
    key: [id]
    events:
      - { kind: insert, at: begin, columns: [name, begin] }
      - { kind: update, at: end }
      - { kind: delete, at: end + 1 day }
  - { name: flights, key: [id], events: [{ kind: insert, at: scheduled }] }
";
    let subject = Subject { spec: &SPEC, config: yaml(config), project: folder.path().to_path_buf() };
    let reading = check_source(&subject).await;
    let ended = (0..10_000).filter(|n| n % 7 != 0).count();
    assert_eq!(reading.rows.values().map(Vec::len).sum::<usize>(), 10_000 + 2 * ended + 3);
}

#[tokio::test]
async fn a_million_events_start_at_once_and_fit_into_memory() {
    let bed = Bed::new(SOURCES).await;
    write_many(&bed.path("data"), 336_776);
    let before = tarn_observe::memory_bytes();
    let started = std::time::Instant::now();
    let config = "
path: data
speed: max
tables:
  - name: many
    key: [id]
    events:
      - { kind: insert, at: begin, columns: [name, begin] }
      - { kind: update, at: end }
      - { kind: update, at: end + 5 minutes }
";
    bed.apply("big", "replay", config);
    bed.eventually("first rows", async || bed.count("big.many").await > 0).await;
    let first = started.elapsed();
    bed.until_state("big", SourceState::Done).await;
    let grown = tarn_observe::memory_bytes().zip(before).map(|(now, before)| now.saturating_sub(before));
    let ended = (0..336_776).filter(|n| n % 7 != 0).count() as u64;
    assert_eq!(bed.count("big.many").await, 336_776 + 2 * ended);
    println!("first rows after {first:?}, all after {:?}, memory grew by {grown:?}", started.elapsed());
    // The bound is for an optimised build; this one is not.
    assert!(first < Duration::from_secs(60), "{first:?}");
}

#[tokio::test]
async fn a_connection_test_names_what_is_wrong() {
    let bed = Bed::new(SOURCES).await;
    write_flights(&bed.path("data"));
    let check = async |config: &str| bed.ingest.check(&bed.ctx, None, "replay", yaml(config)).await;
    assert!(check(CONFIG).await.is_ok());
    for (config, expected) in [
        (CONFIG.replace("path: data", "path: dat"), "could not open"),
        (CONFIG.replace("at: departure", "at: departrue"), "did you mean `departure`?"),
        (CONFIG.replace("at: departure", "at: carrier"), "not a time"),
        (CONFIG.replace("[departure, delay]", "[departure, dleay]"), "did you mean `delay`?"),
        (CONFIG.replace("key: [id]", "key: [idd]"), "did you mean `id`?"),
        (CONFIG.replace("kind: insert", "kind: update"), "first event"),
        (CONFIG.replace("speed: 60", "speed: fast"), "max"),
        (CONFIG.replace("name: flights", "name: flights\n    file: ../x.parquet"), "leaves the folder"),
    ] {
        let report = check(&config).await;
        let last = report.steps.last().expect("a step");
        assert!(!last.ok && last.detail.contains(expected), "{expected}: {report:?}");
    }
}
