//! A random history of changes, crashes and compactions, compared with a map that did the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tarn_core::change::{ChangeColumns, positions_array};
use tarn_core::{ChangeKind, Position};

use crate::world::{World, contents, table};

type Model = BTreeMap<i64, Vec<Option<String>>>;

/// Change rows as a source would send them.
struct Change {
    kind: ChangeKind,
    id: i64,
    values: Vec<Option<String>>,
    unchanged: Vec<&'static str>,
}

const COLUMNS: [&str; 3] = ["name", "note", "extra"];

fn batch_of(changes: &[Change], width: usize, first: u64) -> RecordBatch {
    let mut fields = vec![Field::new("id", DataType::Int64, false)];
    fields.extend(COLUMNS[..width].iter().map(|name| Field::new(*name, DataType::Utf8, true)));
    let truncated = |change: &Change| change.kind == ChangeKind::Truncate;
    let ids = Int64Array::from_iter(changes.iter().map(|c| (!truncated(c)).then_some(c.id)));
    let mut columns: Vec<ArrayRef> = vec![Arc::new(ids)];
    for column in 0..width {
        columns.push(Arc::new(StringArray::from_iter(
            changes.iter().map(|c| c.values.get(column).cloned().flatten()),
        )));
    }
    let mut meta =
        ChangeColumns::uniform(ChangeKind::Insert, changes.len(), Position::new(1, first), Some(0));
    meta.kind = changes.iter().map(|c| Some(c.kind as i8)).collect();
    meta.position = positions_array((0..changes.len() as u64).map(|n| Position::new(1, first + n)));
    meta.unchanged = changes
        .iter()
        .map(|c| (!c.unchanged.is_empty()).then(|| serde_json::to_string(&c.unchanged).unwrap()))
        .collect();
    meta.attach(&Schema::new(fields), columns).unwrap()
}

fn random_values(rng: &mut StdRng, width: usize) -> Vec<Option<String>> {
    (0..width).map(|_| rng.random_bool(0.85).then(|| format!("v{}", rng.random::<u32>()))).collect()
}

/// Makes one change, in the model and as change rows.
fn step(rng: &mut StdRng, model: &mut Model, width: usize, out: &mut Vec<Change>) {
    let id = rng.random_range(0..200);
    let row = |kind, id, values, unchanged| Change { kind, id, values, unchanged };
    let known = model.get(&id).cloned();
    match (known, rng.random_range(0..100)) {
        (_, 0) => {
            model.clear();
            out.push(row(ChangeKind::Truncate, 0, Vec::new(), Vec::new()));
        }
        (None, _) => {
            let values = random_values(rng, width);
            model.insert(id, values.clone());
            out.push(row(ChangeKind::Insert, id, values, Vec::new()));
        }
        (Some(_), 1..=25) => {
            model.remove(&id);
            out.push(row(ChangeKind::Delete, id, Vec::new(), Vec::new()));
        }
        (Some(old), 26..=40) => {
            // An update of `name` alone; `note` is large and was not sent.
            let mut values = old.clone();
            values[0] = Some(format!("u{}", rng.random::<u32>()));
            model.insert(id, values.clone());
            let mut sent = values;
            sent[1] = None;
            out.push(row(ChangeKind::UpdateBefore, id, Vec::new(), Vec::new()));
            out.push(row(ChangeKind::UpdateAfter, id, sent, vec!["note"]));
        }
        (Some(old), 41..=50) => {
            // The key changes, `note` was not sent.
            let new_id = 200 + rng.random_range(0..50);
            if model.contains_key(&new_id) {
                return;
            }
            model.remove(&id);
            model.insert(new_id, old.clone());
            let mut sent = old;
            sent[1] = None;
            out.push(row(ChangeKind::UpdateBefore, id, Vec::new(), Vec::new()));
            out.push(row(ChangeKind::UpdateAfter, new_id, sent, vec!["note"]));
        }
        (Some(_), _) => {
            let values = random_values(rng, width);
            model.insert(id, values.clone());
            out.push(row(ChangeKind::UpdateBefore, id, Vec::new(), Vec::new()));
            out.push(row(ChangeKind::UpdateAfter, id, values, Vec::new()));
        }
    }
}

async fn check(world: &World, model: &Model) {
    world.settle().await;
    let view = world.view().await;
    let mut expected = model.clone();
    expected.values_mut().for_each(|values| values.resize(COLUMNS.len(), None));
    assert_eq!(contents(&view, &COLUMNS).await, expected);
    assert_eq!(view.live_rows(), model.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_random_history_with_crashes_equals_the_model() {
    let seed = std::env::var("TARN_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("TARN_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path()).await;
    world.create_topic(&["id"]).await;
    world.attach();
    let mut model = Model::new();
    let mut position = 0;
    let mut width = 2;
    for round in 0..120 {
        let mut changes = Vec::new();
        let steps = rng.random_range(1..60);
        (0..steps).for_each(|_| step(&mut rng, &mut model, width, &mut changes));
        if !changes.is_empty() {
            world.append(batch_of(&changes, width, position)).await;
            position += changes.len() as u64;
        }
        match rng.random_range(0..12) {
            0 => {
                world.crash().await;
                world = World::open(folder.path()).await;
                world.attach();
            }
            1 => {
                world.settle().await;
                world.lake.compact(&world.ctx, &table()).await.unwrap();
            }
            2 | 3 => check(&world, &model).await,
            _ => {}
        }
        if round == 60 {
            // A column is added at the source.
            width = 3;
            model.values_mut().for_each(|values| values.push(None));
        }
    }
    check(&world, &model).await;
    world.crash().await;
}
