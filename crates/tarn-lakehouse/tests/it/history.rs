//! A random history of changes, flushes, compactions and crashes, compared with a map that did the same: what our SQL
//! sees, and what each commit holds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tarn_core::change::{ChangeColumns, positions_array};
use tarn_core::{ByteSize, ChangeKind, Fault, FaultKind, HumanDuration, Position};
use tarn_lakehouse::service::Trigger;
use tarn_lakehouse::{
    Optimize, OrderColumn, PartitionChange, PartitionTerm, RowOrder, SinkConfig, TableAlteration,
};

use crate::partitions::check_partitions;
use crate::world::{TOPIC, World, contents, table};

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

/// The model at every end of a source transaction, by the topic's offset there.
type Past = BTreeMap<u64, Model>;

struct History {
    rng: StdRng,
    model: Model,
    past: Past,
    offset: u64,
    width: usize,
    /// A source transaction is unfinished.
    open: bool,
    /// The table is partitioned, now so and now otherwise.
    partitioned: bool,
}

impl History {
    fn padded(model: &Model) -> Model {
        let mut model = model.clone();
        model.values_mut().for_each(|values| values.resize(COLUMNS.len(), None));
        model
    }

    /// Appends some changes, which may end the transaction or not. Returns how many.
    async fn append(&mut self, world: &World) -> usize {
        let mut changes = Vec::new();
        let steps = self.rng.random_range(1..60);
        (0..steps).for_each(|_| step(&mut self.rng, &mut self.model, self.width, &mut changes));
        if changes.is_empty() {
            return 0;
        }
        let open = self.rng.random_bool(0.3);
        let batch = batch_of(&changes, self.width, self.offset);
        self.offset += changes.len() as u64;
        self.put(world, batch, open).await;
        changes.len()
    }

    async fn put(&mut self, world: &World, batch: RecordBatch, open: bool) {
        world.append_part(batch, self.offset, open).await;
        self.open = open;
        if !open {
            self.past.insert(self.offset, self.model.clone());
        }
    }

    /// Ends the transaction, sometimes without a row.
    async fn end_transaction(&mut self, world: &World) {
        if !self.open {
            return;
        }
        let row =
            Change { kind: ChangeKind::Insert, id: 7, values: vec![None; self.width], unchanged: Vec::new() };
        let with_row = self.rng.random_bool(0.5);
        let changes = if with_row { vec![row] } else { Vec::new() };
        let batch = batch_of(&changes, self.width, self.offset);
        if with_row {
            self.model.insert(7, vec![None; self.width]);
        }
        self.offset += changes.len() as u64;
        world.append_end(batch, self.offset).await;
        self.open = false;
        self.past.insert(self.offset, self.model.clone());
    }

    /// What our SQL sees is the model at the end of the newest whole transaction.
    async fn check_seen(&self, world: &World) {
        let (at, model) = self.past.last_key_value().unwrap();
        if *at == 0 {
            // The table is made with the first rows.
            return;
        }
        world.see_offset(*at).await;
        let view = world.view().await;
        assert_eq!(contents(&view, &COLUMNS).await, Self::padded(model), "seen at offset {at}");
        assert_eq!(view.live_rows(), model.len() as u64);
    }

    /// What another engine reads is the model at some end of a transaction, the one that the commit names.
    async fn check_committed(&self, world: &World, folder: &Path) -> u64 {
        let other = world.neighbour(folder).await;
        let Ok(view) = other.view(&world.ctx, &table()).await else { return 0 };
        let offset = view.metadata.properties().get(&format!("tarn.sink.{TOPIC}.0.offset"));
        let offset: u64 = offset.map_or(0, |text| text.parse().unwrap());
        let model = &self.past[&offset];
        assert!(view.is_flushed());
        assert_eq!(contents(&view, &COLUMNS).await, Self::padded(model), "committed at offset {offset}");
        assert_eq!(view.live_rows(), model.len() as u64);
        check_partitions(&other, &view).await;
        offset
    }

    /// Sinks that keep rows in memory for long, for short, and that flush at a few rows or bytes.
    fn config(&mut self) -> SinkConfig {
        let rng = &mut self.rng;
        let config = SinkConfig {
            freshness: HumanDuration::from_millis([3_600_000, 5, 50][rng.random_range(0..3)]),
            flush_rows: [1_000_000, 40][rng.random_range(0..2)],
            // Source transactions that do not fit in memory.
            flush_bytes: ByteSize([256 << 20, 20_000][rng.random_range(0..2)]),
            ..SinkConfig::default()
        };
        let says = self.partitioned && self.rng.random_bool(0.5);
        SinkConfig { partitioned_by: says.then(|| self.terms()), ..config }
    }

    fn terms(&mut self) -> Vec<PartitionTerm> {
        let all: [&[&str]; 5] = [
            &[],
            &["truncate(2, name)"],
            &["bucket(4, id)"],
            &["bucket(2, id)", "truncate(1, name)"],
            &["truncate(1, note)", "bucket(3, name)"],
        ];
        all[self.rng.random_range(0..all.len())].iter().map(|term| term.parse().unwrap()).collect()
    }

    /// A person changes the partitioning while rows come.
    async fn repartition(&mut self, world: &World) {
        let change = TableAlteration::Partition(PartitionChange::Set(self.terms()));
        let changed = world.lake.alter(&world.ctx, &table(), &[change]).await;
        if let Err(error) = changed {
            // There is no table yet, or the sink committed in the same moment.
            assert!(matches!(error.kind(), FaultKind::NotFound | FaultKind::Conflict), "{error}");
        }
    }
}

/// A column to sort by.
fn column(name: &str, descending: bool) -> OrderColumn {
    OrderColumn { name: name.into(), descending, nulls_first: !descending }
}

/// A compaction as files lie, sorted, or along a curve.
fn random_optimize(rng: &mut StdRng) -> Optimize {
    let order = match rng.random_range(0..4) {
        0 => Some(RowOrder::Columns(vec![column("name", true), column("id", false)])),
        1 => Some(RowOrder::Zorder(vec!["id".into(), "name".into(), "note".into()])),
        _ => None,
    };
    Optimize { order, only: None, adopts: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_random_history_with_crashes_equals_the_model() {
    Box::pin(run(false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_random_history_of_a_table_whose_partitioning_changes_equals_the_model() {
    Box::pin(run(true)).await;
}

async fn run(partitioned: bool) {
    let seed = std::env::var("TARN_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("TARN_SEED={seed}");
    let steps_min = std::env::var("TARN_STEPS").ok().and_then(|s| s.parse().ok()).unwrap_or(10_000);
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(folder.path()).await;
    world.create_topic(&["id"]).await;
    let mut history = History {
        rng: StdRng::seed_from_u64(seed),
        model: Model::new(),
        past: Past::from([(0, Model::new())]),
        offset: 0,
        width: 2,
        open: false,
        partitioned,
    };
    world.attach_with(history.config());
    let (mut steps, mut is_ordered) = (0, false);
    while steps < steps_min {
        steps += history.append(&world).await;
        match history.rng.random_range(0..16) {
            0 => {
                world.crash().await;
                world = World::open(folder.path()).await;
                world.attach_with(history.config());
            }
            1 => world.attach_with(history.config()),
            2 => {
                // Changes go on meanwhile.
                let optimize = random_optimize(&mut history.rng);
                let (lake, ctx) = (Arc::clone(&world.lake), world.ctx.clone());
                drop(world.env.spawner.spawn(async move {
                    lake.optimize(&ctx, &table(), optimize, Trigger::Api).await.map(drop)
                }));
            }
            3 | 4 => world.lake.flush(&world.ctx, &table(), Duration::from_millis(3)).await,
            5 => {
                history.end_transaction(&world).await;
                history.check_seen(&world).await;
                world.settle().await;
                let optimize = random_optimize(&mut history.rng);
                world.lake.optimize(&world.ctx, &table(), optimize, Trigger::Api).await.unwrap();
                assert_eq!(history.check_committed(&world, folder.path()).await, history.offset);
            }
            6..=8 => history.check_seen(&world).await,
            9 | 10 => drop(history.check_committed(&world, folder.path()).await),
            11 if partitioned => history.repartition(&world).await,
            _ => {}
        }
        if steps > steps_min / 3 && !is_ordered {
            // From now on all compactions sort.
            history.end_transaction(&world).await;
            world.settle().await;
            let order = [TableAlteration::SetOrder(vec![column("note", true), column("id", false)])];
            world.lake.alter(&world.ctx, &table(), &order).await.unwrap();
            is_ordered = true;
        }
        if steps > steps_min / 2 && history.width == 2 {
            // A column is added at the source.
            history.end_transaction(&world).await;
            history.width = 3;
            history.model.values_mut().for_each(|values| values.push(None));
        }
    }
    history.end_transaction(&world).await;
    history.check_seen(&world).await;
    world.settle().await;
    assert_eq!(history.check_committed(&world, folder.path()).await, history.offset);
    world.crash().await;
}
