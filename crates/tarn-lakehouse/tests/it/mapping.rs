//! Each Arrow type of the table in `types.rs` becomes the Iceberg type beside it and keeps its values.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType as D, Field, Fields, Int32Type, TimeUnit};
use tarn_core::ChangeKind;

use crate::rows::changes;
use crate::world::{World, rows_of};

/// A column: its name, two values and a null, the Iceberg type, and the values as the table gives them back.
struct Case {
    field: Field,
    array: ArrayRef,
    iceberg: &'static str,
    expected: ArrayRef,
}

fn case(name: &str, array: impl Array + 'static, iceberg: &'static str, target: D) -> Case {
    let array: ArrayRef = Arc::new(array);
    let expected = cast(&array, &target).unwrap();
    Case { field: Field::new(name, array.data_type().clone(), true), array, iceberg, expected }
}

fn halves() -> Float16Array {
    let array = Float32Array::from(vec![Some(0.5), Some(f32::INFINITY), None]);
    cast(&array, &D::Float16).unwrap().as_primitive::<arrow::datatypes::Float16Type>().clone()
}

fn numbers() -> Vec<Case> {
    let utc = || Some("UTC".into());
    let us = |zone| D::Timestamp(TimeUnit::Microsecond, zone);
    vec![
        case("boolean", BooleanArray::from(vec![Some(true), Some(false), None]), "boolean", D::Boolean),
        case("int8", Int8Array::from(vec![Some(i8::MIN), Some(i8::MAX), None]), "int", D::Int32),
        case("int16", Int16Array::from(vec![Some(i16::MIN), Some(i16::MAX), None]), "int", D::Int32),
        case("int32", Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None]), "int", D::Int32),
        case("uint8", UInt8Array::from(vec![Some(0), Some(u8::MAX), None]), "int", D::Int32),
        case("uint16", UInt16Array::from(vec![Some(0), Some(u16::MAX), None]), "int", D::Int32),
        case("int64", Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None]), "long", D::Int64),
        case("uint32", UInt32Array::from(vec![Some(0), Some(u32::MAX), None]), "long", D::Int64),
        case(
            "uint64",
            UInt64Array::from(vec![Some(0), Some(u64::MAX), None]),
            "decimal(20,0)",
            D::Decimal128(20, 0),
        ),
        case("float16", halves(), "float", D::Float32),
        case(
            "float32",
            Float32Array::from(vec![Some(0.1), Some(f32::MIN_POSITIVE), None]),
            "float",
            D::Float32,
        ),
        case(
            "float64",
            Float64Array::from(vec![Some(0.1), Some(f64::NEG_INFINITY), None]),
            "double",
            D::Float64,
        ),
        case(
            "decimal128",
            Decimal128Array::from(vec![Some(10_i128.pow(38) - 1), Some(-1), None])
                .with_precision_and_scale(38, 10)
                .unwrap(),
            "decimal(38,10)",
            D::Decimal128(38, 10),
        ),
        case(
            "decimal_whole",
            Decimal128Array::from(vec![Some(7), Some(-7), None]).with_precision_and_scale(9, 0).unwrap(),
            "decimal(9,0)",
            D::Decimal128(9, 0),
        ),
        case("date32", Date32Array::from(vec![Some(-719_162), Some(2_932_896), None]), "date", D::Date32),
        case("date64", Date64Array::from(vec![Some(86_400_000), Some(-86_400_000), None]), "date", D::Date32),
        case(
            "time32",
            Time32MillisecondArray::from(vec![Some(0), Some(86_399_999), None]),
            "time",
            D::Time64(TimeUnit::Microsecond),
        ),
        case(
            "time64",
            Time64MicrosecondArray::from(vec![Some(1), Some(86_399_999_999), None]),
            "time",
            D::Time64(TimeUnit::Microsecond),
        ),
        case("timestamp_s", TimestampSecondArray::from(vec![Some(-1), Some(1), None]), "timestamp", us(None)),
        case(
            "timestamp_us",
            TimestampMicrosecondArray::from(vec![Some(-1), Some(1), None]),
            "timestamp",
            us(None),
        ),
        case(
            "timestamptz",
            TimestampMillisecondArray::from(vec![Some(-1), Some(1), None]).with_timezone("UTC"),
            "timestamptz",
            us(utc()),
        ),
        case(
            "timestamptz_offset",
            TimestampMicrosecondArray::from(vec![Some(-1), Some(1), None]).with_timezone("+02:00"),
            "timestamptz",
            us(utc()),
        ),
    ]
}

fn bytes() -> Vec<Case> {
    let words = || vec![Some("ü 数据 🦆"), Some(""), None];
    let raw = || vec![Some(b"\x00\xff".as_slice()), Some(b"".as_slice()), None];
    let uuid = {
        let values = [Some([7_u8; 16]), Some([0; 16]), None];
        let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 16).unwrap();
        let extension = HashMap::from([("ARROW:extension:name".to_string(), "arrow.uuid".to_string())]);
        let mut uuid = case("uuid", array, "uuid", D::FixedSizeBinary(16));
        uuid.field = uuid.field.with_metadata(extension);
        uuid
    };
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(
        [Some([1_u8, 2, 3]), Some([0; 3]), None].into_iter(),
        3,
    );
    vec![
        case("utf8", StringArray::from(words()), "string", D::Utf8),
        case("large_utf8", LargeStringArray::from(words()), "string", D::Utf8),
        case("utf8_view", StringViewArray::from(words()), "string", D::Utf8),
        case("dictionary", words().into_iter().collect::<DictionaryArray<Int32Type>>(), "string", D::Utf8),
        case("binary", BinaryArray::from(raw()), "binary", D::LargeBinary),
        case("large_binary", LargeBinaryArray::from(raw()), "binary", D::LargeBinary),
        case("binary_view", BinaryViewArray::from(raw()), "binary", D::LargeBinary),
        uuid,
        case("fixed", fixed.unwrap(), "fixed(3)", D::FixedSizeBinary(3)),
    ]
}

fn nested() -> Vec<Case> {
    let element = || Arc::new(Field::new("item", D::Int32, true));
    let values = || Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef;
    let list = ListArray::new(
        element(),
        OffsetBuffer::from_lengths([2, 0, 0]),
        values(),
        Some(vec![true, true, false].into()),
    );
    let large = LargeListArray::new(
        element(),
        OffsetBuffer::from_lengths([2, 0, 0]),
        values(),
        Some(vec![true, true, false].into()),
    );
    let fields = Fields::from(vec![Field::new("x", D::Float64, true), Field::new("y", D::Utf8, true)]);
    let parts: Vec<ArrayRef> = vec![
        Arc::new(Float64Array::from(vec![Some(1.5), None, None])),
        Arc::new(StringArray::from(vec![Some("a"), Some("b"), None])),
    ];
    let point = StructArray::new(fields, parts, Some(vec![true, true, false].into()));
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("k");
    map.values().append_null();
    map.append(true).unwrap();
    map.append(true).unwrap();
    map.append(false).unwrap();
    let same = |name: &str, array: ArrayRef, iceberg| Case {
        field: Field::new(name, array.data_type().clone(), true),
        expected: Arc::clone(&array),
        array,
        iceberg,
    };
    vec![
        same("list", Arc::new(list), "list"),
        same("large_list", Arc::new(large), "list"),
        same("struct", Arc::new(point), "struct"),
        same("map", Arc::new(map.finish()), "map"),
    ]
}

fn shown(array: &dyn Array, row: usize) -> String {
    let options = arrow::util::display::FormatOptions::default().with_null("-");
    let formatter = arrow::util::display::ArrayFormatter::try_new(array, &options).unwrap();
    formatter.value(row).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_becomes_its_counterpart_and_keeps_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    world.create_topic(&["id"]).await;
    world.attach();
    let cases: Vec<Case> = numbers().into_iter().chain(bytes()).chain(nested()).collect();
    let mut fields = vec![Field::new("id", D::Int64, false)];
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1, 2, 3]))];
    for case in &cases {
        fields.push(case.field.clone());
        columns.push(Arc::clone(&case.array));
    }
    world.append(changes(ChangeKind::Insert, fields, columns, 0)).await;
    world.settle().await;
    let view = world.view().await;
    let schema = view.metadata.current_schema();
    let batches = rows_of(&view).await;
    let all = concat_batches(&batches[0].schema(), &batches).unwrap();
    for case in &cases {
        let name = case.field.name();
        let field = schema.field_by_name(name).unwrap();
        let found = field.field_type.to_string().replace(", ", ",");
        assert!(
            found == case.iceberg || found.starts_with(case.iceberg) && field.field_type.is_nested(),
            "{name}: {found}"
        );
        assert!(!field.required, "{name}");
        let stored = all.column_by_name(name).unwrap();
        for row in 0..3 {
            assert_eq!(shown(stored, row), shown(&case.expected, row), "{name}, row {row}");
            let is_null = shown(&case.expected, row) == "-" || case.expected.is_null(row);
            assert_eq!(stored.is_null(row), is_null, "{name}, row {row}");
        }
    }
    assert_eq!(view.key(), ["id"]);
    assert!(schema.field_by_name("id").unwrap().required);
    world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_without_counterpart_is_named_with_its_column() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    world.create_topic(&["id"]).await;
    world.attach();
    let odd = IntervalYearMonthArray::from(vec![1]);
    let fields = vec![Field::new("id", D::Int64, false), Field::new("odd", odd.data_type().clone(), true)];
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1])), Arc::new(odd)];
    world.append(changes(ChangeKind::Insert, fields, columns, 0)).await;
    let fault = world.fault().await;
    assert!(fault.message.contains("column `odd`"), "{}", fault.message);
    assert!(fault.hint.is_some());
    world.crash().await;
}
