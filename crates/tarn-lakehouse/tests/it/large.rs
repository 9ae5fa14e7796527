//! A commit of so many rows that several tasks write its files.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use tarn_core::HumanDuration;
use tarn_lakehouse::{SinkConfig, SinkSpec};

use crate::rows::{deletes, notes};
use crate::world::{World, contents, rows_of, table, topic};

const ROWS: i64 = 300_000;
const BATCH: i64 = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rows_of_a_large_commit_are_found_again_by_their_key() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    world.create_topic(&["id"]).await;
    let mut first = 0_u64;
    for from in (0..ROWS).step_by(BATCH as usize) {
        world.append(notes(from..from + BATCH, "new", first)).await;
        first += BATCH as u64;
    }
    // One commit with all of them.
    let config = SinkConfig {
        freshness: HumanDuration::from_secs(600),
        flush_rows: ROWS as usize,
        ..SinkConfig::default()
    };
    world.lake.attach(&world.ctx, SinkSpec { topic: topic(), table: table() }, config);
    world.settle().await;
    let view = world.view().await;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(view.files.len(), cores.min(2), "a file per task");

    // Their places are known: rows of every file are replaced and deleted.
    let replaced: Vec<i64> = (0..ROWS).filter(|id| id % 1_000 == 7).collect();
    let deleted: Vec<i64> = (0..ROWS).filter(|id| id % 1_000 == 8).collect();
    world.append(notes(replaced.iter().copied(), "replaced", first)).await;
    world.append(deletes(deleted.iter().copied(), first + replaced.len() as u64)).await;
    world.attach();
    world.settle().await;
    let note = |id: i64| match id % 1_000 {
        7 => Some("replaced"),
        8 => None,
        _ => Some("new"),
    };
    let expected: BTreeMap<i64, Vec<Option<String>>> =
        (0..ROWS).filter_map(|id| Some((id, vec![Some(note(id)?.to_string())]))).collect();
    let found = contents(&*world.view().await, &["note"]).await;
    assert_eq!(found.len(), expected.len());
    assert!(
        found == expected,
        "{:?}",
        found.iter().zip(&expected).find(|(found, expected)| found != expected)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rows_of_a_commit_lie_in_the_order_of_their_key() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    world.create_topic(&["id"]).await;
    let config = SinkConfig { freshness: HumanDuration::from_secs(600), ..SinkConfig::default() };
    world.attach_with(config);
    // Every id up to 5,000 once, in no order, then some again.
    world.append(notes((0..5_000).map(|n| n * 3_001 % 5_000), "first", 0)).await;
    world.append(notes((0..500).map(|n| n * 7), "second", 5_000)).await;
    world.settle().await;
    let view = world.view().await;
    assert!(view.is_flushed());
    let batches = rows_of(&view).await;
    let ids: Vec<i64> = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect();
    assert_eq!(ids, (0..5_000).collect::<Vec<_>>());
    // Their places are known all the same.
    world.append(notes((0..500).map(|n| n * 10), "third", 5_500)).await;
    world.append(deletes((0..500).map(|n| n * 10 + 1), 6_000)).await;
    world.settle().await;
    let found = contents(&*world.view().await, &["note"]).await;
    assert_eq!(found.len(), 4_500);
    assert!((0..500).all(|n| found[&(n * 10)] == [Some("third".to_string())]));
    world.crash().await;
}
