//! Files older than the schema.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use iceberg::spec::{
    ListType, Literal, NestedField, PrimitiveType, Struct, StructType, Transform, Type, UnboundPartitionSpec,
};

use crate::lake::{FileOptions, Table, field, run, session};
use crate::oracle::{Oracle, agree, rows_of};

#[tokio::test]
async fn renamed_added_dropped_and_widened_columns_read_by_field_id() {
    let decimal = |precision| PrimitiveType::Decimal { precision, scale: 2 };
    let mut table = Table::new(
        "main.t",
        vec![
            field(1, "id", PrimitiveType::Int),
            field(2, "old_name", PrimitiveType::String),
            field(3, "ratio", PrimitiveType::Float),
            field(4, "amount", decimal(6)),
            field(5, "gone", PrimitiveType::String),
            field(6, "a", PrimitiveType::Long),
            field(7, "b", PrimitiveType::Long),
        ],
    );
    let amount = Decimal128Array::from(vec![Some(150), None]).with_precision_and_scale(6, 2).unwrap();
    let old = table.batch(vec![
        Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef,
        Arc::new(StringArray::from(vec![Some("one"), None])),
        Arc::new(Float32Array::from(vec![0.5, 1.5])),
        Arc::new(amount),
        Arc::new(StringArray::from(vec!["x", "y"])),
        Arc::new(Int64Array::from(vec![10, 20])),
        Arc::new(Int64Array::from(vec![11, 21])),
    ]);
    table.add(&old, FileOptions::default()).await;
    // `old_name` becomes `name`, `gone` is dropped and a new `gone` added, `a` and `b` swap their names.
    table.evolve(vec![
        field(1, "id", PrimitiveType::Long),
        field(8, "gone", PrimitiveType::Long),
        field(2, "name", PrimitiveType::String),
        field(3, "ratio", PrimitiveType::Double),
        field(4, "amount", decimal(20)),
        field(6, "b", PrimitiveType::Long),
        field(7, "a", PrimitiveType::Long),
    ]);
    let wide =
        |values: Vec<Option<i128>>| Decimal128Array::from(values).with_precision_and_scale(20, 2).unwrap();
    let new = table.batch(vec![
        Arc::new(Int64Array::from(vec![3_000_000_000])) as ArrayRef,
        Arc::new(Int64Array::from(vec![7])),
        Arc::new(StringArray::from(vec!["three"])),
        Arc::new(Float64Array::from(vec![2.5])),
        Arc::new(wide(vec![Some(1_000_000_000_000)])),
        Arc::new(Int64Array::from(vec![30])),
        Arc::new(Int64Array::from(vec![31])),
    ]);
    table.add(&new, FileOptions::default()).await;
    let old_as_new = table.batch(vec![
        Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef,
        Arc::new(Int64Array::from(vec![None, None])),
        Arc::new(StringArray::from(vec![Some("one"), None])),
        Arc::new(Float64Array::from(vec![0.5, 1.5])),
        Arc::new(wide(vec![Some(150), None])),
        Arc::new(Int64Array::from(vec![10, 20])),
        Arc::new(Int64Array::from(vec![11, 21])),
    ]);
    let session = session(&[&table]);
    let oracle = Oracle::new().with("main.t", &[old_as_new, new]);
    for sql in [
        "SELECT * FROM t",
        "SELECT name FROM t WHERE id = 1",
        "SELECT id FROM t WHERE name = 'one'",
        "SELECT id FROM t WHERE name > 'p' AND ratio > 1",
        "SELECT id, a, b FROM t WHERE a > b AND a < 31",
        "SELECT id FROM t WHERE b = 20",
        "SELECT id FROM t WHERE gone IS NULL",
        "SELECT id FROM t WHERE gone = 7 OR amount = 1.5",
        "SELECT sum(amount), max(ratio), min(id), max(id), count(gone), min(a), max(b) FROM t",
        "SELECT upper(name) FROM t WHERE length(name) = 3",
        "SELECT x.name FROM t x JOIN t y ON x.a = y.b + 1",
        "SELECT name FROM t ORDER BY a DESC LIMIT 1",
    ] {
        agree(&session, &oracle, sql).await;
    }
    let stats = agree(&session, &oracle, "SELECT * FROM t WHERE id > 100").await;
    assert_eq!(stats.scan.files_scanned, 1, "the old file's bounds count in the new type");
}

/// The same rows without field ids.
fn without_ids(batch: &RecordBatch) -> RecordBatch {
    let fields: Vec<Field> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_metadata(HashMap::new()))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec()).unwrap()
}

#[tokio::test]
async fn files_without_ids_are_read_by_name_or_by_the_tables_name_mapping() {
    let fields = vec![field(1, "id", PrimitiveType::Long), field(2, "name", PrimitiveType::String)];
    let mut table = Table::new("main.t", fields);
    let ids = Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    let names = Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef;
    let batch = without_ids(&table.batch(vec![ids, names]));
    table.add(&batch, FileOptions::default()).await;
    let by_name = session(&[&table]);
    let (batches, _) = run(&by_name, "SELECT name FROM t WHERE id = 2").await;
    assert_eq!(rows_of(&batches), ["b"]);
    table.evolve(vec![field(1, "key", PrimitiveType::Long), field(2, "title", PrimitiveType::String)]);
    let mapping = r#"[{"field-id": 1, "names": ["id", "key"]}, {"field-id": 2, "names": ["name"]}]"#;
    table.set_property("schema.name-mapping.default", mapping);
    let by_mapping = session(&[&table]);
    let (batches, _) = run(&by_mapping, "SELECT title, key FROM t WHERE key = 2").await;
    assert_eq!(rows_of(&batches), ["b | 2"]);
}

#[tokio::test]
async fn nested_fields_are_matched_by_id_too() {
    let address = |fields: Vec<(i32, &str, PrimitiveType)>| {
        let fields = fields.into_iter().map(|(id, name, of)| field(id, name, of)).collect::<Vec<_>>();
        NestedField::optional(2, "address", Type::Struct(StructType::new(fields)))
    };
    let tags = |of| {
        let element = NestedField::optional(6, "element", Type::Primitive(of));
        NestedField::optional(3, "tags", Type::List(ListType { element_field: element.into() }))
    };
    let old_address = vec![(4, "street", PrimitiveType::String), (5, "number", PrimitiveType::Int)];
    let id = || field(1, "id", PrimitiveType::Long);
    let mut table =
        Table::new("main.t", vec![id(), address(old_address).into(), tags(PrimitiveType::Int).into()]);
    let nested = |table: &Table, column: usize| match table.schema().field(column).data_type() {
        DataType::Struct(fields) => fields.clone(),
        DataType::List(item) => Fields::from(vec![item.as_ref().clone()]),
        _ => panic!("nested"),
    };
    let columns: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(vec!["main", "side"])), Arc::new(Int32Array::from(vec![1, 2]))];
    let addresses = StructArray::new(nested(&table, 1), columns, None);
    let offsets = OffsetBuffer::new(vec![0, 2, 3].into());
    let items = Arc::new(Int32Array::from(vec![7, 8, 9]));
    let lists = ListArray::new(Arc::clone(&nested(&table, 2)[0]), offsets, items, None);
    let batch =
        table.batch(vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(addresses), Arc::new(lists)]);
    table.add(&batch, FileOptions::default()).await;
    let plain = session(&[&table]);
    let (batches, _) =
        run(&plain, "SELECT address['street'], tags[1] FROM t WHERE address['number'] = 2").await;
    assert_eq!(rows_of(&batches), ["side | 9"]);
    let new_address = vec![
        (7, "zip", PrimitiveType::String),
        (5, "no", PrimitiveType::Long),
        (4, "road", PrimitiveType::String),
    ];
    table.evolve(vec![id(), address(new_address).into(), tags(PrimitiveType::Long).into()]);
    let evolved = session(&[&table]);
    let sql =
        "SELECT id, address['road'], address['no'], address['zip'], tags[2] FROM t WHERE address['no'] < 2";
    let (batches, _) = run(&evolved, sql).await;
    assert_eq!(rows_of(&batches), ["1 | main | 1 | ∅ | 8"]);
    let (batches, _) = run(&evolved, "SELECT address FROM t ORDER BY id LIMIT 1").await;
    assert_eq!(rows_of(&batches), ["{zip: ∅, no: 1, road: main}"]);
}

#[tokio::test]
async fn columns_that_files_lack_have_the_value_of_their_identity_partition() {
    let fields = vec![
        field(1, "id", PrimitiveType::Long),
        field(2, "region", PrimitiveType::String),
        field(3, "year", PrimitiveType::Int),
    ];
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(2, "region", Transform::Identity)
        .and_then(|spec| spec.add_partition_field(3, "year", Transform::Identity))
        .unwrap()
        .build();
    let mut table = Table::partitioned("main.t", fields, Some(spec));
    let partition = |region: Option<&str>, year: i32| FileOptions {
        partition: Struct::from_iter([region.map(Literal::string), Some(Literal::int(year))]),
        deletes: if region.is_none() { vec![1] } else { Vec::new() },
        ..FileOptions::default()
    };
    let ids = |ids: Vec<i64>| {
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(ids)) as ArrayRef]).unwrap()
    };
    table.add(&ids(vec![1, 2]), partition(Some("north"), 2023)).await;
    table.add(&ids(vec![3, 4]), partition(None, 2024)).await;
    // A file of another writer has all its columns.
    let whole = table.batch(vec![
        Arc::new(Int64Array::from(vec![5])) as ArrayRef,
        Arc::new(StringArray::from(vec!["south"])),
        Arc::new(Int32Array::from(vec![2024])),
    ]);
    table.add(&whole, partition(Some("south"), 2024)).await;
    let session = session(&[&table]);
    let rows = async |sql: &str| {
        let (batches, stats) = run(&session, sql).await;
        (rows_of(&batches), stats)
    };
    let (all, _) = rows("SELECT id, region, year FROM t ORDER BY id").await;
    assert_eq!(all, ["1 | north | 2023", "2 | north | 2023", "3 | ∅ | 2024", "5 | south | 2024"]);
    let (some, stats) = rows("SELECT id FROM t WHERE region = 'north' AND year < 2024 AND id > 1").await;
    assert_eq!(some, ["2"]);
    assert_eq!(stats.scan.files_scanned, 1, "files of other partitions are left out");
    assert_eq!(rows("SELECT id FROM t WHERE region IS NULL").await.0, ["3"]);
    assert_eq!(
        rows("SELECT year, count(*) FROM t GROUP BY year ORDER BY year").await.0,
        ["2023 | 2", "2024 | 2"]
    );
    assert_eq!(rows("SELECT max(region) FROM t").await.0, ["south"]);
}
