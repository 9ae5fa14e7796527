//! Random schemas and rows come back as they were, through segments, restarts and slices.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tarn_core::ByteSize;
use tarn_eventlog::{Compression, EventLog, EventLogConfig, ReadLimits};

use crate::rig::{Rig, context, read_all, topic};

const LEAVES: usize = 22;

fn random_type(random: &mut StdRng, depth: usize) -> DataType {
    let item = |random: &mut StdRng| Arc::new(Field::new("item", random_type(random, depth - 1), true));
    let kinds = if depth > 0 { LEAVES + 5 } else { LEAVES };
    match random.random_range(0..kinds) {
        0 => DataType::Boolean,
        1 => DataType::Int8,
        2 => DataType::Int32,
        3 => DataType::Int64,
        4 => DataType::UInt64,
        5 => DataType::Float32,
        6 => DataType::Float64,
        7 => DataType::Decimal128(38, 9),
        8 => DataType::Decimal256(76, 20),
        9 => DataType::Date32,
        10 => DataType::Time64(TimeUnit::Microsecond),
        11 => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        12 => DataType::Interval(IntervalUnit::MonthDayNano),
        13 => DataType::Utf8,
        14 => DataType::LargeUtf8,
        15 => DataType::Binary,
        16 => DataType::FixedSizeBinary(16),
        17 => DataType::Utf8View,
        18 => DataType::BinaryView,
        19 => DataType::Null,
        20 => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        21 => DataType::Duration(TimeUnit::Nanosecond),
        22 => DataType::List(item(random)),
        23 => DataType::LargeList(item(random)),
        24 => DataType::FixedSizeList(item(random), 3),
        25 => {
            let fields = (0..random.random_range(1..4))
                .map(|i| Field::new(format!("f{i}"), random_type(random, depth - 1), true));
            DataType::Struct(fields.collect())
        }
        _ => {
            let value = Field::new("value", random_type(random, depth - 1), true);
            let key = Field::new("key", DataType::Utf8, false);
            let entries = DataType::Struct(vec![key, value].into());
            DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
        }
    }
}

fn random_nulls(random: &mut StdRng, len: usize) -> Option<NullBuffer> {
    let share = [0.0, 0.2, 1.0][random.random_range(0..3)];
    (share > 0.0).then(|| (0..len).map(|_| !random.random_bool(share)).collect::<Vec<_>>().into())
}

fn random_text(random: &mut StdRng) -> String {
    let letters = ['a', 'z', '"', '\n', 'é', '中', '🙂', '\0'];
    (0..random.random_range(0..30)).map(|_| letters[random.random_range(0..letters.len())]).collect()
}

fn random_offsets(random: &mut StdRng, len: usize) -> OffsetBuffer<i32> {
    OffsetBuffer::from_lengths((0..len).map(|_| random.random_range(0..4)))
}

fn random_leaf(random: &mut StdRng, data_type: &DataType, len: usize) -> ArrayRef {
    let text: Vec<Option<String>> =
        (0..len).map(|_| random.random_bool(0.8).then(|| random_text(random))).collect();
    match data_type {
        DataType::Null => new_null_array(data_type, len),
        DataType::Boolean => Arc::new(BooleanArray::from_iter(
            (0..len).map(|_| random.random_bool(0.7).then(|| random.random())),
        )),
        DataType::Decimal128(..) => {
            let values =
                (0..len).map(|_| random.random_bool(0.8).then(|| i128::from(random.random::<i64>()) << 50));
            Arc::new(Decimal128Array::from_iter(values).with_data_type(data_type.clone()))
        }
        DataType::Decimal256(..) => {
            let values = (0..len).map(|_| {
                random
                    .random_bool(0.8)
                    .then(|| i256::from_parts(random.random(), random.random::<i32>().into()))
            });
            Arc::new(Decimal256Array::from_iter(values).with_data_type(data_type.clone()))
        }
        DataType::Interval(_) => {
            let values = (0..len).map(|_| {
                random
                    .random_bool(0.8)
                    .then(|| IntervalMonthDayNano::new(random.random(), random.random(), random.random()))
            });
            Arc::new(IntervalMonthDayNanoArray::from_iter(values))
        }
        DataType::Time64(_) => {
            let values =
                (0..len).map(|_| random.random_bool(0.8).then(|| random.random_range(0..86_400_000_000)));
            Arc::new(Time64MicrosecondArray::from_iter(values))
        }
        DataType::FixedSizeBinary(width) => {
            let values = (0..len).map(|_| random.random_bool(0.8).then(|| random.random::<[u8; 16]>()));
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, *width).unwrap())
        }
        DataType::Dictionary(..) => {
            let words = text.iter().map(|text| text.as_deref());
            Arc::new(words.collect::<DictionaryArray<Int32Type>>())
        }
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::BinaryView => cast(&StringArray::from(text), data_type).unwrap(),
        number => {
            let wide = Int64Array::from_iter(
                (0..len).map(|_| random.random_bool(0.8).then(|| random.random_range(0..100_i64))),
            );
            match number {
                DataType::Date32 => cast(&cast(&wide, &DataType::Int32).unwrap(), number).unwrap(),
                _ => cast(&wide, number).unwrap(),
            }
        }
    }
}

fn random_array(random: &mut StdRng, data_type: &DataType, len: usize) -> ArrayRef {
    match data_type {
        DataType::List(item) => {
            let offsets = random_offsets(random, len);
            let values = random_array(random, item.data_type(), offsets[len] as usize);
            Arc::new(ListArray::new(item.clone(), offsets, values, random_nulls(random, len)))
        }
        DataType::LargeList(item) => {
            let offsets = OffsetBuffer::<i64>::from_lengths((0..len).map(|_| random.random_range(0..4)));
            let values = random_array(random, item.data_type(), offsets[len] as usize);
            Arc::new(LargeListArray::new(item.clone(), offsets, values, random_nulls(random, len)))
        }
        DataType::FixedSizeList(item, width) => {
            let values = random_array(random, item.data_type(), len * *width as usize);
            Arc::new(FixedSizeListArray::new(item.clone(), *width, values, random_nulls(random, len)))
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().map(|field| random_array(random, field.data_type(), len)).collect();
            Arc::new(StructArray::new(fields.clone(), columns, random_nulls(random, len)))
        }
        DataType::Map(entries, sorted) => {
            let offsets = random_offsets(random, len);
            let count = offsets[len] as usize;
            let DataType::Struct(fields) = entries.data_type() else { unreachable!() };
            let keys: ArrayRef =
                Arc::new(StringArray::from_iter_values((0..count).map(|_| random_text(random))));
            let values = random_array(random, fields[1].data_type(), count);
            let pairs = StructArray::new(fields.clone(), vec![keys, values], None);
            Arc::new(MapArray::new(entries.clone(), offsets, pairs, random_nulls(random, len), *sorted))
        }
        leaf => random_leaf(random, leaf, len),
    }
}

fn random_schema(random: &mut StdRng) -> SchemaRef {
    let columns = random.random_range(1..8);
    let fields: Vec<_> =
        (0..columns).map(|i| Field::new(format!("c{i}"), random_type(random, 3), true)).collect();
    let metadata = [("about".to_string(), random_text(random))].into();
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

fn random_batch(random: &mut StdRng, schema: &SchemaRef) -> RecordBatch {
    let len = random.random_range(1..200);
    let columns = schema.fields().iter().map(|field| random_array(random, field.data_type(), len)).collect();
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let start = random.random_range(0..len);
    batch.slice(start, random.random_range(1..=len - start))
}

/// The same values with dictionaries replaced; Arrow compares values and not layouts.
fn assert_same(found: &RecordBatch, expected: &RecordBatch, seed: u64) {
    assert_eq!(found.num_rows(), expected.num_rows(), "TARN_SEED={seed}");
    assert_eq!(found.schema().metadata(), expected.schema().metadata(), "TARN_SEED={seed}");
    for (i, column) in expected.columns().iter().enumerate() {
        let plain = cast(column, found.column(i).data_type()).unwrap();
        assert_eq!(found.column(i), &plain, "TARN_SEED={seed}, column {i} of {}", expected.schema());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_rows_come_back_as_they_were() {
    let seed: u64 =
        std::env::var("TARN_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("TARN_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for compression in [Compression::None, Compression::Lz4] {
        let segment_bytes = ByteSize(256 << 10);
        let mut rig =
            Rig::new(EventLogConfig { compression, segment_bytes, ..EventLogConfig::default() }).await;
        let mut expected = Vec::new();
        for _ in 0..60 {
            let schema = random_schema(&mut random);
            for _ in 0..random.random_range(1..4) {
                let batch = random_batch(&mut random, &schema);
                rig.append(batch.clone())
                    .await
                    .unwrap_or_else(|error| panic!("TARN_SEED={seed} {schema}: {error:?}"));
                expected.push(batch);
            }
        }
        for _ in 0..2 {
            let found = read_all(&*rig.log, &context(), 0, 0).await.unwrap();
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert_same(&found.batch, expected, seed);
            }
            rig.reopen().await;
        }
        // From anywhere: the rest of a batch, then the following ones.
        let firsts: Vec<u64> = expected
            .iter()
            .scan(0, |next, batch| Some(std::mem::replace(next, *next + batch.num_rows() as u64)))
            .collect();
        for _ in 0..100 {
            let index = random.random_range(0..expected.len());
            let skip = random.random_range(0..expected[index].num_rows());
            let limits = ReadLimits { rows_max: 1, ..ReadLimits::default() };
            let read =
                rig.log.read(&context(), &topic(), 0, firsts[index] + skip as u64, limits).await.unwrap();
            let rest = expected[index].slice(skip, expected[index].num_rows() - skip);
            assert_same(&read.batches[0].batch, &rest, seed);
        }
    }
}
