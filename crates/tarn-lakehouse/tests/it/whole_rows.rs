//! Tables without a key, whose rows are found by all their values; of several equal ones exactly one is changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tarn_core::change::{ChangeColumns, positions_array};
use tarn_core::{ByteSize, ChangeKind, HumanDuration, Position};
use tarn_lakehouse::service::Trigger;
use tarn_lakehouse::{SinkConfig, TableView, WithoutKey};

use crate::partitions::check_partitions;
use crate::rows::numbered;
use crate::world::{World, rows_of, table};

/// A row: text, number, and the bits of a float, since `NaN` is not equal to itself.
type Row = (Option<String>, Option<i64>, Option<u64>);
type Model = BTreeMap<Row, usize>;

fn random_row(rng: &mut StdRng) -> Row {
    let texts = [None, Some("a"), Some(""), Some("b")];
    let floats = [0.0, -0.0, f64::NAN, 1.5, f64::INFINITY];
    let float = rng.random_bool(0.8).then(|| floats[rng.random_range(0..floats.len())].to_bits());
    let number = rng.random_bool(0.9).then(|| rng.random_range(0..6));
    (texts[rng.random_range(0..texts.len())].map(str::to_string), number, float)
}

fn batch_of(changes: &[(ChangeKind, Row)], first: u64) -> RecordBatch {
    let fields = vec![
        Field::new("text", DataType::Utf8, true),
        Field::new("number", DataType::Int64, true),
        Field::new("float", DataType::Float64, true),
    ];
    let rows = || changes.iter().map(|(_, row)| row);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows().map(|row| row.0.clone()).collect::<StringArray>()),
        Arc::new(rows().map(|row| row.1).collect::<Int64Array>()),
        Arc::new(rows().map(|row| row.2.map(f64::from_bits)).collect::<Float64Array>()),
    ];
    let mut meta =
        ChangeColumns::uniform(ChangeKind::Insert, changes.len(), Position::new(1, first), Some(0));
    meta.kind = changes.iter().map(|(kind, _)| Some(*kind as i8)).collect();
    meta.position = positions_array((0..changes.len() as u64).map(|n| Position::new(1, first + n)));
    meta.attach(&Schema::new(fields), columns).unwrap()
}

async fn contents(view: &TableView) -> Model {
    let mut all = Model::new();
    for batch in rows_of(view).await {
        let texts = batch.column(0).as_string::<i32>();
        let numbers = batch.column(1).as_primitive::<Int64Type>();
        let floats = batch.column(2).as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            let text = (!texts.is_null(row)).then(|| texts.value(row).to_string());
            let number = (!numbers.is_null(row)).then(|| numbers.value(row));
            let float = (!floats.is_null(row)).then(|| floats.value(row).to_bits());
            *all.entry((text, number, float)).or_default() += 1;
        }
    }
    all
}

fn step(rng: &mut StdRng, model: &mut Model, out: &mut Vec<(ChangeKind, Row)>) {
    let old = (rng.random_bool(0.55) && !model.is_empty())
        .then(|| model.keys().nth(rng.random_range(0..model.len())).unwrap().clone());
    if let Some(row) = &old {
        let count = model.get_mut(row).unwrap();
        *count -= 1;
        if *count == 0 {
            model.remove(row);
        }
    }
    let new = (old.is_none() || rng.random_bool(0.6)).then(|| random_row(rng));
    match (old, &new) {
        (Some(old), None) => out.push((ChangeKind::Delete, old)),
        (Some(old), Some(new)) => {
            out.push((ChangeKind::UpdateBefore, old));
            out.push((ChangeKind::UpdateAfter, new.clone()));
        }
        (None, Some(new)) => out.push((ChangeKind::Insert, new.clone())),
        (None, None) => {}
    }
    if let Some(new) = new {
        *model.entry(new).or_default() += 1;
    }
}

fn config(rng: &mut StdRng, partitioned: bool) -> SinkConfig {
    SinkConfig {
        freshness: HumanDuration::from_millis([3_600_000, 5][rng.random_range(0..2)]),
        flush_rows: [1_000_000, 40][rng.random_range(0..2)],
        flush_bytes: ByteSize([256 << 20, 20_000][rng.random_range(0..2)]),
        partitioned_by: partitioned
            .then(|| vec!["number".parse().unwrap(), "truncate(1, text)".parse().unwrap()]),
        ..SinkConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_random_history_of_equal_rows_equals_the_model() {
    let seed = std::env::var("TARN_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("TARN_SEED={seed}");
    for partitioned in [false, true] {
        let mut rng = StdRng::seed_from_u64(seed);
        let folder = tempfile::tempdir().unwrap();
        let mut world = World::open(folder.path()).await;
        world.create_topic(&[]).await;
        world.attach_with(config(&mut rng, partitioned));
        let (mut model, mut offset) = (Model::new(), 0);
        for _ in 0..80 {
            let mut changes = Vec::new();
            (0..rng.random_range(1..40)).for_each(|_| step(&mut rng, &mut model, &mut changes));
            world.append(batch_of(&changes, offset)).await;
            offset += changes.len() as u64;
            match rng.random_range(0..10) {
                0 => {
                    world.crash().await;
                    world = World::open(folder.path()).await;
                    world.attach_with(config(&mut rng, partitioned));
                }
                1 => world.attach_with(config(&mut rng, partitioned)),
                2 => {
                    let (lake, ctx) = (Arc::clone(&world.lake), world.ctx.clone());
                    drop(
                        world
                            .env
                            .spawner
                            .spawn(async move { lake.compact(&ctx, &table(), Trigger::Api).await.map(drop) }),
                    );
                }
                3 => world.lake.flush(&world.ctx, &table(), Duration::from_millis(3)).await,
                4..=6 => {
                    world.see_offset(offset).await;
                    let view = world.view().await;
                    assert_eq!(contents(&view).await, model, "TARN_SEED={seed} at {offset}");
                    assert_eq!(view.live_rows() as usize, model.values().sum::<usize>());
                }
                _ => {}
            }
        }
        world.settle().await;
        let (_, status) = world.lake.sink(&world.ctx, &table()).unwrap();
        assert_eq!(status.ignored, 0);
        let other = world.neighbour(folder.path()).await;
        let view = other.view(&world.ctx, &table()).await.unwrap();
        assert_eq!(contents(&view).await, model, "TARN_SEED={seed}");
        check_partitions(&other, &view).await;
        world.crash().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_found_after_columns_came_and_went() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    world.create_topic(&[]).await;
    world.attach();
    let text = |values: &[&str]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let mut position = 0;
    let mut append = async |kind, columns: Vec<(&str, u32, ArrayRef)>| {
        let fields =
            columns.iter().map(|(name, number, _)| numbered(name, DataType::Utf8, *number)).collect();
        let arrays: Vec<ArrayRef> = columns.into_iter().map(|(_, _, array)| array).collect();
        let rows = arrays[0].len() as u64;
        world.append(crate::rows::changes(kind, fields, arrays, position)).await;
        position += rows;
    };
    append(ChangeKind::Insert, vec![("a", 1, text(&["x", "x", "y"])), ("b", 2, text(&["1", "2", "3"]))])
        .await;
    // A column with a default: PostgreSQL shows it in old rows, of which it sent nothing.
    let (a, b, c) = (text(&["x"]), text(&["1"]), text(&["default"]));
    append(ChangeKind::Delete, vec![("a", 1, a), ("b", 2, b), ("c", 3, c)]).await;
    // A column went: what is left of a row tells which one is meant.
    append(ChangeKind::Delete, vec![("a", 1, text(&["y"])), ("c", 3, text(&["default"]))]).await;
    append(ChangeKind::Delete, vec![("a", 1, text(&["nobody"])), ("c", 3, text(&["default"]))]).await;
    world.settle().await;
    let view = world.view().await;
    assert_eq!(view.live_rows(), 1);
    let batches = rows_of(&view).await;
    let left = batches.iter().find(|batch| batch.num_rows() > 0).unwrap();
    assert_eq!(
        (left.column(0).as_string::<i32>().value(0), left.column(1).as_string::<i32>().value(0)),
        ("x", "2")
    );
    let (_, status) = world.lake.sink(&world.ctx, &table()).unwrap();
    assert_eq!(status.ignored, 1, "of a row that is not there");
    world.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_log_only_come() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    world.create_topic(&[]).await;
    world.attach_with(SinkConfig { without_key: WithoutKey::Append, ..SinkConfig::default() });
    let row = |text: &str| (Some(text.to_string()), Some(1), None);
    let changes = [
        (ChangeKind::Insert, row("a")),
        (ChangeKind::UpdateBefore, row("a")),
        (ChangeKind::UpdateAfter, row("b")),
        (ChangeKind::Delete, row("b")),
    ];
    world.append(batch_of(&changes, 0)).await;
    world.settle().await;
    assert_eq!(contents(world.view().await.as_ref()).await, Model::from([(row("a"), 1), (row("b"), 1)]));
    assert_eq!(world.lake.sink(&world.ctx, &table()).unwrap().1.ignored, 2);
    world.crash().await;
}
