//! Files of imports that are cut, damaged or read in parts.

use std::path::Path;
use std::sync::Arc;

use apache_avro::types::{Record, Value};
use apache_avro::{Codec, Schema, Writer};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use rand::Rng;
use serde_json::json;
use tarn_core::files::{Files, FilesFault};
use tarn_core::{RequestContext, TenantId, TraceId};
use tarn_ingest::FileReaders;
use tarn_testkit::for_each_seed;

const ROWS: i64 = 300;

fn avro(codec: Codec) -> Vec<u8> {
    let schema = r#"{"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"},
        {"name": "t", "type": ["null", "string"]}, {"name": "l", "type": {"type": "array", "items": "long"}}]}"#;
    let schema = Schema::parse_str(schema).expect("a schema");
    let mut writer =
        Writer::builder().schema(&schema).writer(Vec::new()).codec(codec).block_size(500).build();
    for n in 0..ROWS {
        let mut record = Record::new(&schema).expect("a record");
        record.put("n", n);
        record.put("t", (n % 3 != 0).then(|| format!("row {n}")));
        let list = vec![Value::Long(n); usize::try_from(n % 4).expect("small")];
        record.put("l", Value::Array(list));
        writer.append(record).expect("appended");
    }
    writer.into_inner().expect("written")
}

fn orc() -> Vec<u8> {
    let n: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS));
    let t: ArrayRef =
        Arc::new(StringArray::from_iter((0..ROWS).map(|n| (n % 3 != 0).then(|| format!("row {n}")))));
    let rows = RecordBatch::try_from_iter([("n", n), ("t", t)]).expect("rows");
    let mut file = Vec::new();
    let writer = orc_rust::ArrowWriterBuilder::new(&mut file, rows.schema()).with_stripe_byte_size(2_000);
    let mut writer = writer.try_build().expect("a writer");
    for begin in (0..300).step_by(50) {
        writer.write(&rows.slice(begin, 50)).expect("written");
    }
    writer.close().expect("closed");
    file
}

/// The numbers in column `n` behind `skip` records. Errors: the file's, as people see them.
async fn numbers(folder: &Path, name: &str, content: &[u8], skip: u64) -> Result<Vec<i64>, FilesFault> {
    std::fs::write(folder.join(name), content).expect("written");
    let readers = FileReaders::new(folder.to_path_buf(), folder.join("data"));
    let ctx = RequestContext::system(TenantId::default(), TraceId(1));
    let plan = readers.plan(&ctx, &json!({ "path": name })).await?;
    let mut reader = readers.read(&ctx, &plan.settled, &plan.files[0], skip).await?;
    let mut found = Vec::new();
    while let Some(chunk) = reader.next().await? {
        assert_eq!(chunk.records, chunk.rows.num_rows() as u64 + chunk.problems.len() as u64);
        let column = chunk.rows.column_by_name("n").and_then(|column| column.as_primitive_opt::<Int64Type>());
        if let Some(column) = column {
            found.extend(column.values());
        }
        if let Some(lists) =
            chunk.rows.column_by_name("l").and_then(|c| c.as_any().downcast_ref::<ListArray>())
        {
            assert_eq!(lists.len(), chunk.rows.num_rows());
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_file_goes_on_behind_any_record() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in [
        ("null.avro", avro(Codec::Null)),
        ("deflate.avro", avro(Codec::Deflate(Default::default()))),
        ("snappy.avro", avro(Codec::Snappy)),
        ("zstd.avro", avro(Codec::Zstandard(Default::default()))),
        ("a.orc", orc()),
    ] {
        for skip in (0..=ROWS).step_by(7).chain([1, 49, 50, 51, ROWS - 1, ROWS]) {
            let found = numbers(folder.path(), name, &content, skip.cast_unsigned()).await.expect("read");
            assert_eq!(found, (skip..ROWS).collect::<Vec<_>>(), "{name} behind {skip}");
        }
    }
}

#[tokio::test]
async fn a_cut_file_gives_no_more_than_it_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in [("cut.avro", avro(Codec::Null)), ("cut.orc", orc())] {
        let mut refused = 0;
        for length in 1..content.len() {
            match numbers(folder.path(), name, &content[..length], 0).await {
                // An Avro file cut between two blocks is a shorter file.
                Ok(found) => {
                    assert!(name.ends_with("avro") && found == (0..found.len() as i64).collect::<Vec<_>>())
                }
                Err(fault) => {
                    refused += 1;
                    assert!(fault.0.message.contains(name), "{}", fault.0.message);
                }
            }
        }
        assert!(refused > content.len() * 9 / 10, "{name}: {refused} of {} lengths refused", content.len());
    }
}

#[test]
fn damaged_bits_are_an_error_or_another_value_and_never_a_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for (name, content) in [
        ("bits.avro", avro(Codec::Null)),
        ("squeezed.avro", avro(Codec::Deflate(Default::default()))),
        ("bits.orc", orc()),
    ] {
        for_each_seed(1_000, |chance| {
            let mut damaged = content.clone();
            for _ in 0..chance.random_range(1..4) {
                let at = chance.random_range(0..damaged.len());
                damaged[at] ^= 1 << chance.random_range(0..8);
            }
            if let Err(fault) = runtime.block_on(numbers(folder.path(), name, &damaged, 0)) {
                assert!(fault.0.message.contains(name), "{}", fault.0.message);
            }
        });
    }
}
