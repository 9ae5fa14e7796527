//! Rows changed by statements: one commit or none, keys that occur once, files that stay in shape.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use iceberg::spec::{Transform, UnboundPartitionSpec};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tarn_core::TableName;
use tarn_lakehouse::service::Trigger;
use tarn_lakehouse::{CreateTable, LakehouseError, TableWriter, table_schema};

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
    for buckets in [None, Some(3)] {
        let folder = tempfile::tempdir().unwrap();
        let world = World::open(folder.path()).await;
        create(&world, buckets).await;
        let mut random = StdRng::seed_from_u64(seed);
        let mut expected: BTreeMap<i64, String> = BTreeMap::new();
        for step in 0..60 {
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
        }
        // The last upkeep may still run; asked for, it waits for its turn.
        let report = world.lake.compact(&world.ctx, &name(), Trigger::Api).await.unwrap();
        let partitions = buckets.unwrap_or(1) as usize;
        assert!(report.files_before <= 40 * partitions, "TARN_SEED={seed}: {report:?}");
        let view = world.lake.view(&world.ctx, &name()).await.unwrap();
        assert!(view.files.len() <= partitions, "TARN_SEED={seed}: {} files", view.files.len());
        let found: BTreeMap<i64, String> =
            stored(&world).await.into_iter().map(|(id, row)| (id, row[0].clone().unwrap())).collect();
        assert_eq!(found, expected, "TARN_SEED={seed}, buckets {buckets:?}");
    }
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
