//! Tables for measuring: many file entries without the files.

use std::collections::HashMap;

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, NestedField, PrimitiveType, Schema,
    Struct, Type,
};
use tarn_core::{RequestContext, TableName};

use crate::catalog::{CreateTable, LoadedTable};
use crate::error::LakehouseError;
use crate::lakehouse::Lakehouse;
use crate::snapshot::RowDelta;

/// Entries of one commit.
const COMMIT_ENTRIES: usize = 10_000;
/// Rows that each file is said to hold.
pub const FILE_ROWS: i64 = 1_000;
/// Microseconds between the first rows of two files.
const FILE_US: i64 = 60_000_000;
/// 1 January 2026, in microseconds since 1970.
const FIRST_US: i64 = 1_767_225_600_000_000;
const REGIONS: usize = 50;

fn schema(table: &str) -> Result<Schema, LakehouseError> {
    let column =
        |id: i32, name: &str, of: PrimitiveType| NestedField::optional(id, name, Type::Primitive(of)).into();
    let fields = vec![
        column(1, "id", PrimitiveType::Long),
        column(2, "at", PrimitiveType::Timestamptz),
        column(3, "region", PrimitiveType::String),
        column(4, "amount", PrimitiveType::Double),
        column(5, "quantity", PrimitiveType::Int),
    ];
    Schema::builder().with_fields(fields).build().map_err(|source| LakehouseError::Format {
        action: "make the schema",
        table: table.into(),
        source,
    })
}

/// What a manifest says of the file of this number: `id` and `at` grow from file to file, `region` is spread, as it is in a
/// table that is written as time goes on.
fn entry(table: &str, location: &str, number: usize) -> Result<DataFile, LakehouseError> {
    let at = i64::try_from(number).unwrap_or(i64::MAX);
    let (first, last) = (at * FILE_ROWS, at * FILE_ROWS + FILE_ROWS - 1);
    let rows = FILE_ROWS.unsigned_abs();
    let region = format!("region {:03}", number * 7_919 % REGIONS);
    let lower = [
        (1, Datum::long(first)),
        (2, Datum::timestamptz_micros(FIRST_US + at * FILE_US)),
        (3, Datum::string(&region)),
        (4, Datum::double(-100.0)),
        (5, Datum::int(0)),
    ];
    let upper = [
        (1, Datum::long(last)),
        (2, Datum::timestamptz_micros(FIRST_US + (at + 1) * FILE_US - 1)),
        (3, Datum::string(region)),
        (4, Datum::double(100.0)),
        (5, Datum::int(1_000)),
    ];
    let counts = |value: u64| (1..=5).map(|id| (id, value)).collect::<HashMap<i32, u64>>();
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::Data)
        .file_path(format!("{location}/data/data-{number:08}.parquet"))
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .partition_spec_id(0)
        .record_count(rows)
        .file_size_in_bytes(rows * 24)
        .column_sizes(counts(rows * 4))
        .value_counts(counts(rows))
        .null_value_counts(counts(0))
        .nan_value_counts(HashMap::from([(4, 0)]))
        .lower_bounds(HashMap::from(lower))
        .upper_bounds(HashMap::from(upper));
    builder.build().map_err(|error| LakehouseError::Invalid {
        what: format!("the entry of a file of table `{table}` is incomplete: {error}"),
    })
}

/// Makes a table with so many file entries, none of whose files exist. Errors: the name is taken.
pub async fn table_of_entries(
    lakehouse: &Lakehouse,
    ctx: &RequestContext,
    name: &TableName,
    files: usize,
) -> Result<LoadedTable, LakehouseError> {
    let catalog = lakehouse.catalog();
    catalog.ensure_namespace(ctx, name.namespace()).await?;
    let create = CreateTable {
        name: name.clone(),
        schema: schema(&name.to_string())?,
        partition_spec: None,
        write_order: None,
        location: None,
        properties: HashMap::new(),
        stage: false,
    };
    catalog.create_table(ctx, create).await?;
    let numbers: Vec<usize> = (0..files).collect();
    for part in numbers.chunks(COMMIT_ENTRIES) {
        append_entries(lakehouse, ctx, name, part).await?;
    }
    catalog.load_table(ctx, name).await
}

/// Commits entries of files of these numbers.
pub async fn append_entries(
    lakehouse: &Lakehouse,
    ctx: &RequestContext,
    name: &TableName,
    numbers: &[usize],
) -> Result<(), LakehouseError> {
    let (catalog, table) = (lakehouse.catalog(), name.to_string());
    let metadata = catalog.load_table(ctx, name).await?.metadata;
    let location = metadata.location().trim_end_matches('/');
    let add_data: Result<Vec<DataFile>, LakehouseError> =
        numbers.iter().map(|number| entry(&table, location, *number)).collect();
    let delta = RowDelta { add_data: add_data?, ..RowDelta::default() };
    let produced = delta.produce(&table, &metadata, lakehouse.manifests(), lakehouse.env()).await?;
    catalog.commit_table(ctx, name, produced.requirements, produced.updates).await.map(drop)
}
