//! What must hold of files in partitions, whatever the history of their table.

use std::collections::HashMap;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use iceberg::spec::{Literal, ManifestContentType, Struct};
use iceberg::transform::create_transform_function;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tarn_lakehouse::{Lakehouse, TableView};

/// Each row lies in a file of its partition, by the specification of that file; each delete file has specification and
/// partition of the data file that it is about, which readers that prune delete files go by.
pub async fn check_partitions(lake: &Lakehouse, view: &TableView) {
    let mut partitions: HashMap<String, (i32, Struct)> = HashMap::new();
    for file in view.files.iter() {
        let of = (file.partition_spec_id, file.partition().clone());
        check_rows(view, file, &of).await;
        partitions.insert(file.file.file_path().to_string(), of);
    }
    let Some(snapshot) = view.metadata.current_snapshot() else { return };
    let (table, version) = (view.name.to_string(), view.metadata.format_version());
    let list = lake.manifests().list(&table, snapshot.manifest_list(), version).await.unwrap();
    for manifest in list.entries() {
        assert!(view.metadata.partition_spec_by_id(manifest.partition_spec_id).is_some());
        if manifest.content != ManifestContentType::Deletes {
            continue;
        }
        let spec = manifest.partition_spec_id;
        let manifest = lake.manifests().manifest(&table, manifest).await.unwrap();
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            let file = entry.data_file();
            let Some(about) = file.referenced_data_file() else { continue };
            let of = &partitions[&about];
            assert_eq!((spec, file.partition()), (of.0, &of.1), "{} deletes from {about}", file.file_path());
        }
    }
}

async fn check_rows(view: &TableView, file: &tarn_lakehouse::DataFileView, (spec, values): &(i32, Struct)) {
    let spec = view.metadata.partition_spec_by_id(*spec).unwrap();
    assert_eq!(values.fields().len(), spec.fields().len());
    let bytes = object_store::ObjectStoreExt::get(view.store.as_ref(), &file.location).await.unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.bytes().await.unwrap()).unwrap();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        for (field, value) in spec.fields().iter().zip(values.fields()) {
            let id = field.source_id.to_string();
            let schema = batch.schema();
            let column = schema.fields().iter().position(|f| f.metadata()["PARQUET:field_id"] == id).unwrap();
            let transform = create_transform_function(&field.transform).unwrap();
            let found = transform.transform(batch.column(column).clone()).unwrap();
            for row in 0..found.len() {
                assert_eq!(&literal(&found, row), value, "{field:?} of {}", file.file.file_path());
            }
        }
    }
}

fn literal(array: &ArrayRef, row: usize) -> Option<Literal> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Int32 => Literal::int(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => Literal::long(array.as_primitive::<Int64Type>().value(row)),
        _ => Literal::string(array.as_string::<i32>().value(row)),
    })
}
