//! Services look after tables: each run is noted with what it cost and saved, and only what a table owns is deleted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use iceberg::TableUpdate;
use iceberg::spec::{DataFile, DataFileBuilder};
use tarn_core::{HumanDuration, TableName};
use tarn_lakehouse::service::{CREATED_BY, RunState, Service, ServiceConfig, ServiceRun, Strategy, Trigger};
use tarn_lakehouse::{
    CreateTable, FileFactory, ManifestCache, MetadataKind, RowDelta, TableView, table_schema,
};

use crate::rows::notes;
use crate::world::{World, contents, table};

fn stock() -> TableName {
    TableName::new("shop", "stock").unwrap()
}

async fn create(world: &World, more: &[(&str, &str)]) {
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("text", DataType::Utf8, true)];
    let (schema, mut properties) = table_schema("shop.stock", &Schema::new(fields), &[]).unwrap();
    properties.extend(more.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())));
    let catalog = world.lake.catalog();
    catalog.ensure_namespace(&world.ctx, "shop").await.unwrap();
    let create = CreateTable {
        name: stock(),
        schema,
        partition_spec: None,
        write_order: None,
        location: None,
        properties,
        stage: false,
    };
    catalog.create_table(&world.ctx, create).await.unwrap();
}

async fn insert(world: &World, ids: std::ops::Range<i64>) {
    let mut writer = world.lake.write(&world.ctx, &stock()).await.unwrap();
    let text = StringArray::from_iter_values(ids.clone().map(|id| format!("row {id}")));
    let ids = Int64Array::from_iter_values(ids);
    let batch = RecordBatch::try_new(Arc::clone(writer.schema()), vec![Arc::new(ids), Arc::new(text)]);
    writer.append(batch.unwrap()).await.unwrap();
    writer.commit().await.unwrap();
}

async fn view(world: &World) -> Arc<TableView> {
    world.lake.view(&world.ctx, &stock()).await.unwrap()
}

async fn set(world: &World, name: &TableName, properties: &[(&str, &str)]) {
    let updates = properties.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string()));
    let set = TableUpdate::SetProperties { updates: updates.collect::<HashMap<_, _>>() };
    world.lake.catalog().commit_table(&world.ctx, name, vec![], vec![set]).await.unwrap();
}

/// Another engine commits: its snapshots are not ours.
async fn foreign(world: &World, delta: RowDelta) {
    let loaded = world.lake.catalog().load_table(&world.ctx, &stock()).await.unwrap();
    let cache = ManifestCache::new(world.lake.catalog().warehouse().clone());
    let produced = delta.produce("shop.stock", &loaded.metadata, &cache, &world.env).await.unwrap();
    let text = serde_json::to_string(&produced.updates).unwrap().replace("\"tarn\"", "\"spark\"");
    let updates = serde_json::from_str(&text).unwrap();
    world.lake.catalog().commit_table(&world.ctx, &stock(), produced.requirements, updates).await.unwrap();
}

async fn foreign_file(world: &World, id: i64) -> DataFile {
    let metadata = Arc::clone(&view(world).await.metadata);
    let factory = FileFactory::new(world.lake.catalog().warehouse().clone(), "shop.stock", world.env.clone());
    let schema = tarn_lakehouse::types::arrow_schema("t", metadata.current_schema()).unwrap();
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![id])), Arc::new(StringArray::from(vec!["foreign"]))];
    let mut file = factory.data(&metadata).await.unwrap();
    file.write(&RecordBatch::try_new(schema, columns).unwrap()).await.unwrap();
    file.close().await.unwrap()
}

async fn runs(world: &World, name: &TableName, service: Service) -> Vec<ServiceRun> {
    let runs = world.lake.service_runs(&world.ctx, name, 1_000).await.unwrap();
    runs.into_iter().filter(|run| run.service == service).collect()
}

/// Waits for a run of a service that ended.
async fn run_of(world: &World, name: &TableName, service: Service) -> ServiceRun {
    for _ in 0..4_000 {
        let ended = |run: &ServiceRun| run.state != RunState::Running;
        if let Some(run) = runs(world, name, service).await.into_iter().find(ended) {
            return run;
        }
        world.env.clock.sleep(Duration::from_millis(5)).await;
    }
    panic!("no run of {service:?}: {:?}", world.lake.service_state(&world.ctx));
}

fn path_of(location: &str) -> PathBuf {
    PathBuf::from(location.trim_start_matches("file://"))
}

fn parquet_in(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "parquet")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_of_a_fed_table_are_noted_with_what_they_cost_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    world.create_topic(&["id"]).await;
    world.attach();
    for round in 0..16 {
        world.append(notes(round..round + 4, &format!("round {round}"), round as u64 * 4)).await;
        world.settle().await;
    }
    let minor = run_of(&world, &table(), Service::Compact).await;
    assert_eq!((minor.state, minor.trigger), (RunState::Done, Trigger::Automatic), "{minor:?}");
    assert_eq!((minor.strategy, minor.table.as_str()), (Some(Strategy::Minor), "shop.orders"));
    assert!(
        minor.reason.contains("small files") || minor.reason.contains("delete files"),
        "{}",
        minor.reason
    );
    let figures = minor.figures;
    assert!(figures.files_before > figures.files_after && figures.files_after >= 1, "{figures:?}");
    assert!(figures.bytes_read > 0 && figures.bytes_written > 0 && figures.rows_written > 0, "{figures:?}");
    assert!(minor.cpu_ms.is_some() && minor.snapshot_id.is_some());

    world.lake.compact(&world.ctx, &table(), Trigger::Api).await.unwrap();
    let orphans = run_of(&world, &table(), Service::Orphans).await;
    assert_eq!((orphans.trigger, orphans.state), (Trigger::Api, RunState::Nothing));
    let all = world.lake.all_service_runs(&world.ctx, 1_000).await.unwrap();
    let major = all.iter().find(|run| run.strategy == Some(Strategy::Major)).unwrap();
    assert_eq!((major.trigger, major.reason.as_str()), (Trigger::Api, "asked for"));
    let totals = world.lake.service_totals(&world.ctx);
    assert_eq!(totals.len(), 1);
    assert!(totals[0].1.runs >= 3 && totals[0].1.bytes_read >= figures.bytes_read);
    // In SQL too.
    let rows = world.lake.inspect(&world.ctx, &table(), MetadataKind::Runs).await.unwrap();
    assert_eq!(rows.num_rows(), all.len());

    world.crash().await;
    let world = World::open(folder.path()).await;
    let after = world.lake.all_service_runs(&world.ctx, 1_000).await.unwrap();
    assert_eq!(after, all);
    world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_is_bounded_and_says_once_that_nothing_was_due() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    create(&world, &[(CREATED_BY, "sql")]).await;
    insert(&world, 0..3).await;
    for _ in 0..40 {
        world.lake.compact(&world.ctx, &stock(), Trigger::Statement).await.unwrap();
    }
    let kept = world.lake.service_runs(&world.ctx, &stock(), 1_000).await.unwrap();
    assert_eq!(kept.len(), 100);
    assert!(kept.windows(2).all(|pair| pair[0].started_at >= pair[1].started_at));
    assert_eq!(world.lake.service_runs(&world.ctx, &stock(), 7).await.unwrap().len(), 7);
    world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_statements_are_looked_after_unless_paused_or_off() {
    let folder = tempfile::tempdir().unwrap();
    let every = HumanDuration::from_millis(20);
    let services = ServiceConfig { look_every: every, ..ServiceConfig::default() };
    let world = World::with_services(folder.path(), services.clone()).await;
    create(&world, &[(CREATED_BY, "sql"), ("tarn.services.compact.enabled", "false")]).await;
    world.lake.pause_services(&world.ctx, true).await.unwrap();
    for round in 0..14 {
        insert(&world, round * 10..round * 10 + 10).await;
    }
    world.lake.look_after(&world.ctx);
    // Only the look for orphans is due, and it waits.
    let waits = async || {
        for _ in 0..2_000 {
            let state = world.lake.service_state(&world.ctx);
            if let Some(first) = state.waiting.into_iter().next() {
                return first;
            }
            world.env.clock.sleep(Duration::from_millis(5)).await;
        }
        panic!("nothing waits");
    };
    let first = waits().await;
    assert_eq!((first.service, first.blocked_by.as_str()), (Service::Orphans, "services are paused"));
    set(&world, &stock(), &[("tarn.services.compact.enabled", "true")]).await;
    world.lake.pause_services(&world.ctx, false).await.unwrap();
    let compacted = run_of(&world, &stock(), Service::Compact).await;
    assert_eq!(compacted.reason, "14 small files of one partition (limit 12)");
    assert_eq!((compacted.figures.files_before, compacted.figures.files_after), (14, 1));
    let now = contents(&*view(&world).await, &["text"]).await;
    assert_eq!(now.len(), 140);
    // A pause is still there after a restart.
    world.lake.pause_services(&world.ctx, true).await.unwrap();
    world.crash().await;
    let world = World::with_services(folder.path(), services).await;
    world.lake.look_after(&world.ctx);
    for _ in 0..2_000 {
        if world.lake.service_state(&world.ctx).paused {
            break;
        }
        world.env.clock.sleep(Duration::from_millis(5)).await;
    }
    assert!(world.lake.service_state(&world.ctx).paused);
    world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_only_other_engines_write_are_left_alone_until_they_ask() {
    let folder = tempfile::tempdir().unwrap();
    let every = HumanDuration::from_millis(10);
    let world =
        World::with_services(folder.path(), ServiceConfig { look_every: every, ..ServiceConfig::default() })
            .await;
    create(&world, &[("history.expire.min-snapshots-to-keep", "5")]).await;
    for id in 0..20 {
        let add_data = vec![foreign_file(&world, id).await];
        foreign(&world, RowDelta { add_data, ..RowDelta::default() }).await;
    }
    world.lake.look_after(&world.ctx);
    world.env.clock.sleep(Duration::from_millis(300)).await;
    assert_eq!(world.lake.service_runs(&world.ctx, &stock(), 9).await.unwrap(), []);
    set(&world, &stock(), &[("tarn.services.enabled", "true")]).await;
    let run = run_of(&world, &stock(), Service::Compact).await;
    assert_eq!((run.figures.files_before, run.figures.files_after), (20, 1), "{run:?}");
    assert_eq!(contents(&*view(&world).await, &["text"]).await.len(), 20);
    run_of(&world, &stock(), Service::Orphans).await;
    // Iceberg's default keeps five days, whoever compacted.
    assert_eq!(view(&world).await.metadata.snapshots().len(), 21);
    set(&world, &stock(), &[("history.expire.max-snapshot-age-ms", "0")]).await;
    let run = run_of(&world, &stock(), Service::Expire).await;
    assert_eq!((run.state, run.figures.snapshots_removed), (RunState::Done, 16), "{run:?}");
    assert!(run.figures.files_removed >= 16, "{run:?}");
    assert_eq!(contents(&*view(&world).await, &["text"]).await.len(), 20);
    world.crash().await;
}

/// A file that was there before the table and is registered where it lies.
async fn registered(world: &World, place: &Path, id: i64) -> DataFile {
    let file = foreign_file(world, id).await;
    std::fs::create_dir_all(place).unwrap();
    let to = place.join(path_of(file.file_path()).file_name().unwrap());
    std::fs::rename(path_of(file.file_path()), &to).unwrap();
    let mut builder = DataFileBuilder::default();
    builder
        .content(file.content_type())
        .file_path(format!("file://{}", to.display()))
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .partition_spec_id(0)
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes());
    builder.build().unwrap()
}

/// Every row goes, then every snapshot but the newest, then everything that nobody needs.
async fn empty_and_tidy(world: &World) {
    let mut writer = world.lake.write(&world.ctx, &stock()).await.unwrap();
    writer.replace_all();
    writer.commit().await.unwrap();
    insert(world, 900..901).await;
    for _ in 0..2 {
        world.lake.compact(&world.ctx, &stock(), Trigger::Api).await.unwrap();
    }
}

const NOTHING_KEPT: &[(&str, &str)] = &[
    ("history.expire.min-snapshots-to-keep", "1"),
    ("history.expire.max-snapshot-age-ms", "0"),
    ("tarn.orphan-age-ms", "-1000"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_a_table_does_not_own_are_never_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    create(&world, NOTHING_KEPT).await;
    let own = path_of(view(&world).await.metadata.location());
    let outside = folder.path().join("lake/landing");
    let inside = own.join("landing");
    let listed = format!("[\"file://{}/\"]", inside.display());
    set(&world, &stock(), &[("tarn.files.not-owned", &listed)]).await;
    let add_data = vec![registered(&world, &outside, 1).await, registered(&world, &inside, 2).await];
    foreign(&world, RowDelta { add_data, ..RowDelta::default() }).await;
    insert(&world, 10..20).await;
    assert_eq!(contents(&*view(&world).await, &["text"]).await.len(), 12);
    Box::pin(empty_and_tidy(&world)).await;
    let expired = runs(&world, &stock(), Service::Expire).await;
    assert!(expired.iter().any(|run| run.figures.snapshots_removed > 0), "{expired:?}");
    assert_eq!((parquet_in(&outside), parquet_in(&inside)), (1, 1), "somebody else's");
    assert_eq!(parquet_in(&own.join("data")), 1, "its own are gone");
    world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_without_garbage_collection_keeps_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    create(&world, NOTHING_KEPT).await;
    set(&world, &stock(), &[("gc.enabled", "false")]).await;
    for round in 0..5 {
        insert(&world, round * 10..round * 10 + 10).await;
    }
    let own = path_of(view(&world).await.metadata.location());
    std::fs::write(own.join("data/data-0c0a.parquet"), "left behind").unwrap();
    let count = || parquet_in(&own.join("data"));
    assert_eq!(count(), 6);
    Box::pin(empty_and_tidy(&world)).await;
    assert_eq!(count(), 7, "all of them, and the new one");
    assert!(view(&world).await.metadata.snapshots().len() >= 7);
    // Dropped with its files, they stay too: somebody said that they are not garbage.
    world.lake.catalog().drop_table(&world.ctx, &stock(), true).await.unwrap();
    assert_eq!(count(), 7);
    world.crash().await;
}
