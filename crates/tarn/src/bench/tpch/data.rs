//! The tables of TPC-H, generated and appended to Iceberg tables.

use std::io::Write;
use std::sync::Arc;

use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Value, json};
use tarn_core::TableName;
use tarn_lakehouse::types::new_schema;
use tarn_lakehouse::{CreateTable, FileFactory, LakehouseError, RowDelta};
use tpchgen::csv::{
    CustomerCsv, LineItemCsv, NationCsv, OrderCsv, PartCsv, PartSuppCsv, RegionCsv, SupplierCsv,
};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};

use crate::cli::Failure;
use crate::platform::Platform;

/// Rows turned into a batch at a time.
const BATCH_ROWS: usize = 64 * 1024;
/// Rows of a data file.
const FILE_ROWS: u64 = 2_000_000;

const MONEY: DataType = DataType::Decimal128(15, 2);

type Columns = &'static [(&'static str, DataType)];

const NATION: Columns = &[
    ("n_nationkey", DataType::Int64),
    ("n_name", DataType::Utf8),
    ("n_regionkey", DataType::Int64),
    ("n_comment", DataType::Utf8),
];
const REGION: Columns =
    &[("r_regionkey", DataType::Int64), ("r_name", DataType::Utf8), ("r_comment", DataType::Utf8)];
const PART: Columns = &[
    ("p_partkey", DataType::Int64),
    ("p_name", DataType::Utf8),
    ("p_mfgr", DataType::Utf8),
    ("p_brand", DataType::Utf8),
    ("p_type", DataType::Utf8),
    ("p_size", DataType::Int32),
    ("p_container", DataType::Utf8),
    ("p_retailprice", MONEY),
    ("p_comment", DataType::Utf8),
];
const SUPPLIER: Columns = &[
    ("s_suppkey", DataType::Int64),
    ("s_name", DataType::Utf8),
    ("s_address", DataType::Utf8),
    ("s_nationkey", DataType::Int64),
    ("s_phone", DataType::Utf8),
    ("s_acctbal", MONEY),
    ("s_comment", DataType::Utf8),
];
const CUSTOMER: Columns = &[
    ("c_custkey", DataType::Int64),
    ("c_name", DataType::Utf8),
    ("c_address", DataType::Utf8),
    ("c_nationkey", DataType::Int64),
    ("c_phone", DataType::Utf8),
    ("c_acctbal", MONEY),
    ("c_mktsegment", DataType::Utf8),
    ("c_comment", DataType::Utf8),
];
const PARTSUPP: Columns = &[
    ("ps_partkey", DataType::Int64),
    ("ps_suppkey", DataType::Int64),
    ("ps_availqty", DataType::Int32),
    ("ps_supplycost", MONEY),
    ("ps_comment", DataType::Utf8),
];
const ORDERS: Columns = &[
    ("o_orderkey", DataType::Int64),
    ("o_custkey", DataType::Int64),
    ("o_orderstatus", DataType::Utf8),
    ("o_totalprice", MONEY),
    ("o_orderdate", DataType::Date32),
    ("o_orderpriority", DataType::Utf8),
    ("o_clerk", DataType::Utf8),
    ("o_shippriority", DataType::Int32),
    ("o_comment", DataType::Utf8),
];
const LINEITEM: Columns = &[
    ("l_orderkey", DataType::Int64),
    ("l_partkey", DataType::Int64),
    ("l_suppkey", DataType::Int64),
    ("l_linenumber", DataType::Int32),
    ("l_quantity", MONEY),
    ("l_extendedprice", MONEY),
    ("l_discount", MONEY),
    ("l_tax", MONEY),
    ("l_returnflag", DataType::Utf8),
    ("l_linestatus", DataType::Utf8),
    ("l_shipdate", DataType::Date32),
    ("l_commitdate", DataType::Date32),
    ("l_receiptdate", DataType::Date32),
    ("l_shipinstruct", DataType::Utf8),
    ("l_shipmode", DataType::Utf8),
    ("l_comment", DataType::Utf8),
];

/// Makes the tables that are not there yet. Returns the local files of each, for the peer.
pub async fn ensure(platform: &Platform, scale: f64) -> Result<Value, Failure> {
    let load = Loader { platform };
    load.table("nation", NATION, NationGenerator::new(scale, 1, 1).iter().map(NationCsv::new)).await?;
    load.table("region", REGION, RegionGenerator::new(scale, 1, 1).iter().map(RegionCsv::new)).await?;
    load.table("part", PART, PartGenerator::new(scale, 1, 1).iter().map(PartCsv::new)).await?;
    load.table("supplier", SUPPLIER, SupplierGenerator::new(scale, 1, 1).iter().map(SupplierCsv::new))
        .await?;
    load.table("customer", CUSTOMER, CustomerGenerator::new(scale, 1, 1).iter().map(CustomerCsv::new))
        .await?;
    load.table("partsupp", PARTSUPP, PartSuppGenerator::new(scale, 1, 1).iter().map(PartSuppCsv::new))
        .await?;
    load.table("orders", ORDERS, OrderGenerator::new(scale, 1, 1).iter().map(OrderCsv::new)).await?;
    load.table("lineitem", LINEITEM, LineItemGenerator::new(scale, 1, 1).iter().map(LineItemCsv::new))
        .await?;
    let mut files = serde_json::Map::new();
    for table in ["nation", "region", "part", "supplier", "customer", "partsupp", "orders", "lineitem"] {
        let view = platform.state.lakehouse.view(&platform.ctx, &name(table)?).await?;
        let paths = view.files.iter().map(|file| {
            let path = file.file.file_path();
            json!(path.strip_prefix("file://").unwrap_or(path))
        });
        files.insert(table.to_string(), paths.collect());
    }
    Ok(Value::Object(files))
}

fn name(table: &str) -> Result<TableName, Failure> {
    Ok(TableName::new("tpch", table)?)
}

struct Loader<'a> {
    platform: &'a Platform,
}

impl Loader<'_> {
    async fn table<R: std::fmt::Display>(
        &self,
        table: &str,
        columns: Columns,
        rows: impl Iterator<Item = R>,
    ) -> Result<(), Failure> {
        let (lakehouse, ctx) = (&self.platform.state.lakehouse, &self.platform.ctx);
        let (catalog, name) = (lakehouse.catalog(), name(table)?);
        if catalog.load_table(ctx, &name).await.is_ok_and(|t| t.metadata.current_snapshot().is_some()) {
            return Ok(());
        }
        println!("  making table {table}");
        let fields: Vec<Field> =
            columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        catalog.ensure_namespace(ctx, "tpch").await?;
        let source = new_schema(table, &schema, &[])?;
        let create = CreateTable {
            name: name.clone(),
            schema: source.schema,
            partition_spec: None,
            write_order: None,
            location: None,
            properties: Default::default(),
            stage: false,
        };
        let loaded = match catalog.create_table(ctx, create).await {
            Err(LakehouseError::AlreadyExists { .. }) => catalog.load_table(ctx, &name).await?,
            created => created?,
        };
        let target = tarn_lakehouse::types::arrow_schema(table, loaded.metadata.current_schema())?;
        let factory = FileFactory::new(catalog.warehouse().clone(), table, self.platform.env.clone());
        let mut files = Vec::new();
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let mut writer = factory.data(&loaded.metadata).await?;
            while writer.rows() < FILE_ROWS && rows.peek().is_some() {
                writer.write(&batch(table, &schema, &target, rows.by_ref().take(BATCH_ROWS))?).await?;
            }
            files.push(writer.close().await?);
        }
        let delta = RowDelta { add_data: files, ..RowDelta::default() };
        let produced =
            delta.produce(table, &loaded.metadata, lakehouse.manifests(), &self.platform.env).await?;
        catalog.commit_table(ctx, &name, produced.requirements, produced.updates).await?;
        Ok(())
    }
}

fn batch<R: std::fmt::Display>(
    table: &str,
    schema: &Arc<Schema>,
    target: &Arc<Schema>,
    rows: impl Iterator<Item = R>,
) -> Result<arrow::array::RecordBatch, Failure> {
    let failed = |error: arrow::error::ArrowError| Failure::internal(format!("rows of `{table}`: {error}"));
    let mut text = Vec::new();
    for row in rows {
        writeln!(text, "{row}").map_err(|error| Failure::internal(error.to_string()))?;
    }
    let mut reader = ReaderBuilder::new(Arc::clone(schema))
        .with_header(false)
        .with_batch_size(BATCH_ROWS)
        .build(text.as_slice())
        .map_err(failed)?;
    let read =
        reader.next().ok_or_else(|| Failure::internal(format!("no rows for `{table}`")))?.map_err(failed)?;
    arrow::array::RecordBatch::try_new(Arc::clone(target), read.columns().to_vec()).map_err(failed)
}
