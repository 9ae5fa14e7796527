//! Rows changed by statements: one commit or none, keys that occur once, files that stay in shape.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use iceberg::spec::{Transform, UnboundPartitionSpec};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tarn_core::TableName;
use tarn_lakehouse::service::Trigger;
use tarn_lakehouse::{
    CreateTable, LakehouseError, PartitionChange, TableAlteration, TableWriter, table_schema,
};

use crate::partitions::check_partitions;
use crate::world::{World, contents};

fn name() -> TableName {
    TableName::new("shop", "stock").unwrap()
}

/// A table with the key `id`, partitioned by buckets of it where `buckets` is given.
async fn create(world: &World, buckets: Option<u32>) {
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("text", DataType::Utf8, true)];
    let (schema, properties) = table_schema("shop.stock", &Schema::new(fields), &["id".to_string()]).unwrap();
    let partition_spec = buckets.map(|n| {
        let id = schema.field_id_by_name("id").unwrap();
        let spec = UnboundPartitionSpec::builder().with_spec_id(0);
        spec.add_partition_field(id, "id_bucket", Transform::Bucket(n)).unwrap().build()
    });
    let catalog = world.lake.catalog();
    catalog.ensure_namespace(&world.ctx, "shop").await.unwrap();
    let create = CreateTable {
        name: name(),
        schema,
        partition_spec,
        write_order: None,
        location: None,
        properties,
        stage: false,
    };
    catalog.create_table(&world.ctx, create).await.unwrap();
}

async fn writer(world: &World) -> TableWriter {
    world.lake.write(&world.ctx, &name()).await.unwrap()
}

fn rows(writer: &TableWriter, rows: &[(i64, &str)]) -> RecordBatch {
    let ids = Int64Array::from_iter_values(rows.iter().map(|(id, _)| *id));
    let text = StringArray::from_iter_values(rows.iter().map(|(_, text)| *text));
    RecordBatch::try_new(Arc::clone(writer.schema()), vec![Arc::new(ids), Arc::new(text)]).unwrap()
}

async fn stored(world: &World) -> BTreeMap<i64, Vec<Option<String>>> {
    let view = world.lake.view(&world.ctx, &name()).await.unwrap();
    contents(&view, &["text"]).await
}

fn parquet_files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let count = |path: &Path| match path.is_dir() {
        true => parquet_files(path),
        false => usize::from(path.extension().is_some_and(|end| end == "parquet")),
    };
    entries.map(|entry| count(&entry.unwrap().path())).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_dropped_or_refused_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    create(&world, None).await;
    let mut change = writer(&world).await;
    let batch = rows(&change, &[(1, "a"), (2, "b")]);
    change.append(batch).await.unwrap();
    assert_eq!(change.commit().await.unwrap().added, 2);
    let before = stored(&world).await;

    let mut dropped = writer(&world).await;
    let batch = rows(&dropped, &[(3, "c")]);
    dropped.append(batch).await.unwrap();
    drop(dropped);
    for twice in [&[(2, "again")][..], &[(4, "x"), (4, "y")][..]] {
        let mut refused = writer(&world).await;
        let batch = rows(&refused, twice);
        refused.append(batch).await.unwrap();
        let error = refused.commit().await.unwrap_err();
        assert!(matches!(error, LakehouseError::DuplicateKey { .. }), "{error}");
    }
    assert_eq!(stored(&world).await, before);
    // A key may come again when its row goes in the same change.
    let mut moved = writer(&world).await;
    assert!(moved.delete(0, 0) && !moved.delete(0, 0));
    let batch = rows(&moved, &[(1, "new")]);
    moved.append(batch).await.unwrap();
    let written = moved.commit().await.unwrap();
    assert_eq!((written.added, written.deleted), (1, 1));
    assert_eq!(stored(&world).await[&1], [Some("new".to_string())]);
    for _ in 0..100 {
        // Two data files and one of deletes.
        if parquet_files(folder.path()) == 3 {
            return;
        }
        world.env.clock.sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{} files stay", parquet_files(folder.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_statements_leave_few_files_and_the_right_rows() {
    let seed: u64 =
        std::env::var("TARN_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("TARN_SEED={seed}");
    for (buckets, evolves) in [(None, false), (Some(3), false), (Some(3), true), (None, true)] {
        let folder = tempfile::tempdir().unwrap();
        let world = World::open(folder.path()).await;
        create(&world, buckets).await;
        let mut random = StdRng::seed_from_u64(seed);
        let mut expected: BTreeMap<i64, String> = BTreeMap::new();
        for step in 0..if evolves { 30 } else { 60 } {
            if evolves && step % 7 == 6 {
                repartition(&world, &mut random).await;
            }
            let mut change = writer(&world).await;
            let view = Arc::clone(change.view());
            let mut coming: Vec<(i64, String)> = Vec::new();
            // Some rows go, by their place.
            for (at, file) in view.files.iter().enumerate() {
                for row in 0..file.file.record_count() {
                    let is_gone = file.deletes.as_ref().is_some_and(|deletes| deletes.contains(row));
                    if is_gone || !random.random_bool(0.05) {
                        continue;
                    }
                    let id = id_at(&view, at, row).await;
                    change.delete(at, row);
                    expected.remove(&id);
                    if random.random_bool(0.5) {
                        coming.push((id, format!("{step} updated")));
                    }
                }
            }
            for id in step * 10..step * 10 + random.random_range(0..6) {
                coming.push((id, format!("{step} new")));
            }
            let batch =
                rows(&change, &coming.iter().map(|(id, text)| (*id, text.as_str())).collect::<Vec<_>>());
            change.append(batch).await.unwrap();
            expected.extend(coming);
            change.commit().await.unwrap();
            if evolves && random.random_bool(0.1) {
                world.lake.compact(&world.ctx, &name(), Trigger::Api).await.unwrap();
            }
            if evolves {
                let view = world.lake.view(&world.ctx, &name()).await.unwrap();
                check_partitions(&world.lake, &view).await;
            }
        }
        if evolves {
            let end = PartitionChange::Set(vec!["bucket(3, id)".parse().unwrap()]);
            world.lake.alter(&world.ctx, &name(), &[TableAlteration::Partition(end)]).await.unwrap();
        }
        // The last upkeep may still run; asked for, it waits for its turn.
        let report = world.lake.compact(&world.ctx, &name(), Trigger::Api).await.unwrap();
        let partitions = if evolves { 3 } else { buckets.unwrap_or(1) as usize };
        assert!(evolves || report.files_before <= 40 * partitions, "TARN_SEED={seed}: {report:?}");
        let view = world.lake.view(&world.ctx, &name()).await.unwrap();
        let current = view.metadata.default_partition_spec_id();
        assert!(view.files.iter().all(|file| file.partition_spec_id == current), "TARN_SEED={seed}");
        // Rows of files of older partitionings come into files of their own.
        let files_max = if evolves { 2 * partitions } else { partitions };
        assert!(view.files.len() <= files_max, "TARN_SEED={seed}: {} files", view.files.len());
        let found: BTreeMap<i64, String> =
            stored(&world).await.into_iter().map(|(id, row)| (id, row[0].clone().unwrap())).collect();
        assert_eq!(found, expected, "TARN_SEED={seed}, buckets {buckets:?}");
    }
}

async fn repartition(world: &World, random: &mut StdRng) {
    let all: [&[&str]; 5] =
        [&[], &["bucket(3, id)"], &["truncate(4, id)"], &["truncate(2, text)", "bucket(2, id)"], &["text"]];
    let terms = all[random.random_range(0..all.len())].iter().map(|term| term.parse().unwrap()).collect();
    let change = TableAlteration::Partition(PartitionChange::Set(terms));
    world.lake.alter(&world.ctx, &name(), &[change]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partition_fields_come_go_and_come_back_with_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    create(&world, Some(3)).await;
    let alter = async |change: PartitionChange| {
        world.lake.alter(&world.ctx, &name(), &[TableAlteration::Partition(change)]).await
    };
    let fields = async || -> Vec<(i32, String)> {
        let table = world.lake.catalog().load_table(&world.ctx, &name()).await.unwrap();
        let fields = table.metadata.default_partition_spec().fields().to_vec();
        fields.into_iter().map(|field| (field.field_id, field.name)).collect()
    };
    let term = |text: &str| text.parse().unwrap();
    let named = |fields: &[(i32, &str)]| -> Vec<(i32, String)> {
        fields.iter().map(|(id, name)| (*id, name.to_string())).collect()
    };
    assert_eq!(fields().await, named(&[(1000, "id_bucket")]));
    alter(PartitionChange::Add(term("truncate(2, text) AS head"))).await.unwrap();
    assert_eq!(fields().await, named(&[(1000, "id_bucket"), (1001, "head")]));
    let (field, with) = (term("bucket(3, id)"), term("bucket(8, id)"));
    alter(PartitionChange::Replace { field, with }).await.unwrap();
    assert_eq!(fields().await, named(&[(1001, "head"), (1002, "id_bucket_8")]));
    alter(PartitionChange::Drop(term("head"))).await.unwrap();
    // What was there before comes back as it was, under its own number and name.
    alter(PartitionChange::Set(vec![term("truncate(2, text)"), term("bucket(3, id)")])).await.unwrap();
    let found = fields().await;
    assert_eq!(found, named(&[(1001, "head"), (1000, "id_bucket")]));
    for (change, why) in [
        (
            PartitionChange::Add(term("bucket(3, id)")),
            "partitioned by `bucket(3, id)` already, as `id_bucket`",
        ),
        (PartitionChange::Add(term("bucket(3, ix)")), "no column `ix` to partition by; did you mean `id`?"),
        (PartitionChange::Add(term("day(id)")), "for transform"),
        (PartitionChange::Add(term("bucket(5, id) AS id_bucket_8")), "AS id_bucket_8_2"),
        (PartitionChange::Add(term("bucket(5, id) AS text")), "conflicts with schema field"),
        (PartitionChange::Drop(term("id")), "no partition field `id`; it has `head`, `id_bucket`"),
    ] {
        let said = alter(change.clone()).await.unwrap_err().to_string();
        assert!(said.contains(why), "{change:?}: {said}");
    }
    assert_eq!(fields().await, found, "what was refused changed nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_partitioned_rows_goes_once_no_file_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    create(&world, None).await;
    let alter = async |change: TableAlteration| world.lake.alter(&world.ctx, &name(), &[change]).await;
    let drop_text = || TableAlteration::DropColumn { name: "text".into(), if_exists: false };
    let keep_little = HashMap::from([
        ("history.expire.min-snapshots-to-keep".to_string(), "1".to_string()),
        ("history.expire.max-snapshot-age-ms".to_string(), "0".to_string()),
    ]);
    alter(TableAlteration::SetProperties(keep_little)).await.unwrap();
    alter(TableAlteration::Partition(PartitionChange::Set(vec!["text".parse().unwrap()]))).await.unwrap();
    let mut change = writer(&world).await;
    let batch = rows(&change, &[(1, "a"), (2, "b")]);
    change.append(batch).await.unwrap();
    change.commit().await.unwrap();
    let said = alter(drop_text()).await.unwrap_err().to_string();
    assert!(said.contains("DROP PARTITION FIELD text"), "{said}");
    alter(TableAlteration::Partition(PartitionChange::Set(Vec::new()))).await.unwrap();
    let said = alter(drop_text()).await.unwrap_err().to_string();
    assert!(said.contains("OPTIMIZE"), "{said}");
    world.lake.compact(&world.ctx, &name(), Trigger::Api).await.unwrap();
    // That commit still names the files that it took away.
    let mut change = writer(&world).await;
    let batch = rows(&change, &[(3, "c")]);
    change.append(batch).await.unwrap();
    change.commit().await.unwrap();
    world.lake.compact(&world.ctx, &name(), Trigger::Api).await.unwrap();
    alter(drop_text()).await.unwrap();
    let view = world.lake.view(&world.ctx, &name()).await.unwrap();
    assert_eq!((view.schema.fields().len(), view.live_rows()), (1, 3));
}

/// The key of a row, which its file tells.
async fn id_at(view: &tarn_lakehouse::TableView, file: usize, row: u64) -> i64 {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let bytes =
        object_store::ObjectStoreExt::get(view.store.as_ref(), &view.files[file].location).await.unwrap();
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(bytes.bytes().await.unwrap()).unwrap().build().unwrap();
    let mut first = 0;
    for batch in reader {
        let batch = batch.unwrap();
        let rows = batch.num_rows() as u64;
        if row < first + rows {
            return batch.column(0).as_primitive::<Int64Type>().value((row - first) as usize);
        }
        first += rows;
    }
    panic!("no row {row}");
}
