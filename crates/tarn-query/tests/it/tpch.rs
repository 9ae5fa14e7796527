//! The 22 queries of TPC-H, over generated tables and over files with answers of another engine.

use std::fmt::Display;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Schema};
use futures::TryStreamExt;
use iceberg::TableCreation;
use iceberg::arrow::arrow_schema_to_schema_auto_assign_ids;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, NestedFieldRef, PrimitiveType, Struct,
    TableMetadataBuilder,
};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tarn_core::TableName;
use tarn_lakehouse::{DataFileView, TableView};
use tarn_query::tpch::QUERIES;
use tarn_query::{QueryOptions, encode};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};

use crate::lake::{FileOptions, Lake, Table, context, engine, field, run};
use crate::oracle::{Oracle, rows_of};

const SCALE: f64 = 0.002;

/// Column names and types: `k` key, `i` int, `d` decimal, `t` text, `D` date.
const TABLES: [(&str, &str); 8] = [
    ("region", "k r_regionkey, t r_name, t r_comment"),
    ("nation", "k n_nationkey, t n_name, k n_regionkey, t n_comment"),
    ("supplier", "k s_suppkey, t s_name, t s_address, k s_nationkey, t s_phone, d s_acctbal, t s_comment"),
    (
        "customer",
        "k c_custkey, t c_name, t c_address, k c_nationkey, t c_phone, d c_acctbal, t c_mktsegment, t c_comment",
    ),
    (
        "part",
        "k p_partkey, t p_name, t p_mfgr, t p_brand, t p_type, i p_size, t p_container, d p_retailprice, t p_comment",
    ),
    ("partsupp", "k ps_partkey, k ps_suppkey, i ps_availqty, d ps_supplycost, t ps_comment"),
    (
        "orders",
        "k o_orderkey, k o_custkey, t o_orderstatus, d o_totalprice, D o_orderdate, t o_orderpriority, t o_clerk, \
         i o_shippriority, t o_comment",
    ),
    (
        "lineitem",
        "k l_orderkey, k l_partkey, k l_suppkey, i l_linenumber, d l_quantity, d l_extendedprice, d l_discount, \
         d l_tax, t l_returnflag, t l_linestatus, D l_shipdate, D l_commitdate, D l_receiptdate, t l_shipinstruct, \
         t l_shipmode, t l_comment",
    ),
];

fn fields(columns: &str) -> Vec<NestedFieldRef> {
    let of = |kind: &str| match kind {
        "k" => PrimitiveType::Long,
        "i" => PrimitiveType::Int,
        "d" => PrimitiveType::Decimal { precision: 15, scale: 2 },
        "D" => PrimitiveType::Date,
        _ => PrimitiveType::String,
    };
    let pairs = columns.split(',').map(|column| column.trim().split_once(' ').unwrap());
    pairs.enumerate().map(|(at, (kind, name))| field(at as i32 + 1, name, of(kind))).collect()
}

fn text(rows: impl Iterator<Item = impl Display>) -> String {
    rows.map(|row| format!("{row}\n")).collect()
}

fn generated(table: &str) -> String {
    match table {
        "region" => text(RegionGenerator::new(SCALE, 1, 1).iter()),
        "nation" => text(NationGenerator::new(SCALE, 1, 1).iter()),
        "supplier" => text(SupplierGenerator::new(SCALE, 1, 1).iter()),
        "customer" => text(CustomerGenerator::new(SCALE, 1, 1).iter()),
        "part" => text(PartGenerator::new(SCALE, 1, 1).iter()),
        "partsupp" => text(PartSuppGenerator::new(SCALE, 1, 1).iter()),
        "orders" => text(OrderGenerator::new(SCALE, 1, 1).iter()),
        _ => text(LineItemGenerator::new(SCALE, 1, 1).iter()),
    }
}

/// Rows of a generated table: fields between bars, one bar at the end.
fn rows(table: &Table) -> RecordBatch {
    let mut fields: Vec<Field> = table.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new("end", DataType::Utf8, true));
    let schema = Arc::new(Schema::new(fields));
    let text = generated(table.name.name());
    let reader = ReaderBuilder::new(Arc::clone(&schema)).with_delimiter(b'|').build(text.as_bytes()).unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let all = concat_batches(&schema, &batches).unwrap();
    table.batch(all.columns()[..all.num_columns() - 1].to_vec())
}

#[tokio::test]
async fn all_queries_answer_as_over_rows_in_memory() {
    let lake = Arc::new(Lake::default());
    let mut oracle = Oracle::new();
    for (name, columns) in TABLES {
        let mut table = Table::new(&format!("main.{name}"), fields(columns));
        let all = rows(&table);
        oracle = oracle.with(&format!("main.{name}"), std::slice::from_ref(&all));
        // A third in each of two files, of which the second holds rows twice and deletes them; the rest is hot.
        let third = all.num_rows() / 3;
        table.add(&all.slice(0, third), FileOptions::default()).await;
        let doubled =
            concat_batches(&all.schema(), [&all.slice(third, third), &all.slice(0, third)]).unwrap();
        let deletes = (third as u64..2 * third as u64).collect();
        table.add(&doubled, FileOptions { deletes, row_group_rows: 500, ..FileOptions::default() }).await;
        table.hot.push(all.slice(2 * third, all.num_rows() - 2 * third));
        lake.put(table.view());
    }
    let session = engine(&lake).session(&context());
    for (number, sql) in QUERIES.iter().enumerate() {
        let (batches, _) = run(&session, sql).await;
        assert_eq!(rows_of(&batches), oracle.rows(sql).await, "query {}", number + 1);
    }
}

/// A table of one Parquet file without field ids.
fn file_table(folder: &std::path::Path, name: &str) -> TableView {
    let path = folder.join(format!("{name}.parquet"));
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap()).unwrap();
    let rows = reader.metadata().file_metadata().num_rows();
    let schema = arrow_schema_to_schema_auto_assign_ids(reader.schema()).unwrap();
    let creation =
        TableCreation::builder().name(name.into()).location("file:///tpch".into()).schema(schema).build();
    let metadata = TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata;
    let file = DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(path.display().to_string())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .record_count(rows as u64)
        .file_size_in_bytes(std::fs::metadata(&path).unwrap().len())
        .build()
        .unwrap();
    let file = DataFileView {
        file: Arc::new(file),
        location: Path::from(format!("{name}.parquet")),
        deletes: None,
        sequence_number: 1,
        partition_spec_id: 0,
    };
    TableView {
        name: TableName::new("main", name).unwrap(),
        schema: Arc::new(schema_to_arrow_schema(metadata.current_schema()).unwrap()),
        metadata: Arc::new(metadata),
        metadata_location: "".into(),
        snapshot_id: None,
        files: Arc::new(vec![file]),
        equality_deletes: Arc::default(),
        hot: Arc::default(),
        unflushed: Arc::default(),
        store: Arc::new(LocalFileSystem::new_with_prefix(folder).unwrap()),
        version: 1,
    }
}

/// Set `TARN_TPCH_FOLDER` to a folder made by `tests/tpch_answers.py`: Parquet files and DuckDB's answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_queries_answer_as_duckdb_does() {
    let Ok(folder) = std::env::var("TARN_TPCH_FOLDER") else {
        println!("TARN_TPCH_FOLDER is not set: answers of DuckDB are missing, nothing to compare with");
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    let lake = Arc::new(Lake::default());
    TABLES.iter().for_each(|(name, _)| lake.put(Arc::new(file_table(&folder, name))));
    let session = engine(&lake).session(&context());
    let mut total_ms = 0.0;
    for (number, sql) in QUERIES.iter().enumerate() {
        let stream = session.execute(sql, QueryOptions::default()).await.unwrap();
        let stats = stream.stats();
        let bytes = encode::csv(stream).try_fold(Vec::new(), async |mut all, piece| {
            all.extend_from_slice(&piece);
            Ok(all)
        });
        let ours = String::from_utf8(bytes.await.unwrap()).unwrap();
        let theirs = std::fs::read_to_string(folder.join(format!("q{:02}.csv", number + 1))).unwrap();
        println!(
            "query {}: {:.0} ms, planning {:.0} ms",
            number + 1,
            stats.get().elapsed_ms,
            stats.get().planning_ms
        );
        total_ms += stats.get().elapsed_ms;
        same_answers(number + 1, &ours, &theirs);
    }
    println!("all queries: {total_ms:.0} ms");
}

fn same_answers(query: usize, ours: &str, theirs: &str) {
    let (ours, theirs): (Vec<&str>, Vec<&str>) =
        (ours.lines().skip(1).collect(), theirs.lines().skip(1).collect());
    assert_eq!(ours.len(), theirs.len(), "query {query}: number of rows");
    for (our_line, their_line) in ours.iter().zip(&theirs) {
        let (our_fields, their_fields): (Vec<&str>, Vec<&str>) =
            (our_line.split(',').collect(), their_line.split(',').collect());
        assert_eq!(our_fields.len(), their_fields.len(), "query {query}: {our_line} / {their_line}");
        for (a, b) in our_fields.iter().zip(&their_fields) {
            // Averages are decimals here and doubles there.
            let near = match (a.parse::<f64>(), b.parse::<f64>()) {
                (Ok(a), Ok(b)) => (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1.0) + 1e-6,
                _ => a.trim_matches('"') == b.trim_matches('"'),
            };
            assert!(near, "query {query}: {our_line} / {their_line}");
        }
    }
}
