//! Topics whose schema changes.

use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Int32Type, Schema};
use tarn_eventlog::{EventLogConfig, ReadLimits};

use crate::rig::{Rig, context, read_all, rows, small_segments, topic};
use tarn_eventlog::EventLog;

/// One column with metadata that names the version.
fn version(version: usize, value: i64) -> RecordBatch {
    let field = Field::new(format!("v{version}"), arrow::datatypes::DataType::Int64, true)
        .with_metadata([("tarn.column_id".to_string(), version.to_string())].into());
    let schema = Schema::new(vec![field]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(vec![value]))]).unwrap()
}

#[tokio::test]
async fn every_batch_keeps_the_schema_it_was_written_with() {
    for config in [EventLogConfig::default(), small_segments()] {
        let mut rig = Rig::new(config).await;
        let mut expected = vec![rows(0..5)];
        rig.append(rows(0..5)).await.unwrap();
        // More schemas than are remembered, each twice, and one that comes back often.
        for i in 0..120 {
            let batch = if i % 3 == 0 { version(0, i) } else { version(i as usize % 40, i) };
            rig.append(batch.clone()).await.unwrap();
            expected.push(batch);
        }
        for _ in 0..2 {
            let found = read_all(&*rig.log, &context(), 0, 0).await.unwrap();
            let found: Vec<_> = found.into_iter().map(|one| one.batch).collect();
            assert_eq!(found, expected);
            assert_eq!(rig.info().await.schema, Some(expected.last().unwrap().schema()));
            rig.reopen().await;
        }
    }
}

#[tokio::test]
async fn a_schema_is_stored_once_per_segment() {
    let rig = Rig::new(EventLogConfig::default()).await;
    rig.append(rows(0..1)).await.unwrap();
    let first = rig.log.stats().bytes;
    for i in 1..11 {
        rig.append(rows(i..i + 1)).await.unwrap();
    }
    let more = (rig.log.stats().bytes - first) / 10;
    assert!(more < first, "{more} bytes for each further batch, {first} for the first");
    let names = |bytes: &[u8]| bytes.windows(4).filter(|window| window == b"text").count();
    assert_eq!(names(&std::fs::read(&crate::rig::segments(rig.path())[0]).unwrap()), 1);
}

#[tokio::test]
async fn dictionaries_are_stored_as_their_values() {
    let rig = Rig::new(EventLogConfig::default()).await;
    let words: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("b"), Some("a")].into_iter().collect();
    let batch = RecordBatch::try_from_iter([("word", Arc::new(words) as ArrayRef)]).unwrap();
    rig.append(batch).await.unwrap();
    let read = rig.log.read(&rig.ctx, &topic(), 0, 0, ReadLimits::default()).await.unwrap();
    let expected: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("b"), Some("a")]));
    assert_eq!(read.batches[0].batch.column(0), &expected);
    assert_eq!(rig.info().await.schema, Some(read.batches[0].batch.schema()));
}
