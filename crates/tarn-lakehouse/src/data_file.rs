//! Parquet files of tables: data files and position-delete files, written with the statistics that readers prune by.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use iceberg::metadata_columns::{delete_file_path_field, delete_file_pos_field};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, PartitionKey, Schema, Struct, TableMetadata,
};
use iceberg::writer::file_writer::{FileWriter, FileWriterBuilder, ParquetWriter, ParquetWriterBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use roaring::RoaringTreemap;
use tarn_core::Env;

use crate::error::LakehouseError;
use crate::io::Warehouse;
use crate::types::key_of;

/// Rows of a row group: small enough that a scan of one file spreads over cores.
const ROW_GROUP_ROWS: usize = 256 * 1024;

/// `key`: columns that are looked for by value, which get a bloom filter.
fn properties(key: &[String]) -> WriterProperties {
    let builder = key.iter().fold(WriterProperties::builder(), |builder, name| {
        builder.set_column_bloom_filter_enabled(ColumnPath::new(vec![name.clone()]), true)
    });
    builder
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_created_by(concat!("tarn version ", env!("CARGO_PKG_VERSION")).to_string())
        .build()
}

/// Of delete files, which many readers plan by the bounds of `file_path`: those are kept whole, or they would be left out.
fn delete_properties() -> WriterProperties {
    properties(&[]).into_builder().set_statistics_truncate_length(None).build()
}

/// Writes files of one table.
#[derive(Clone, Debug)]
pub struct FileFactory {
    warehouse: Warehouse,
    table: String,
    env: Env,
}

/// A data file being written.
pub struct DataFileWriter {
    inner: ParquetWriter,
    table: String,
    location: String,
    rows: u64,
    partition: Struct,
    spec_id: i32,
    sort_order_id: Option<i32>,
}

impl FileFactory {
    /// For the table of this name.
    pub fn new(warehouse: Warehouse, table: &str, env: Env) -> Self {
        Self { warehouse, table: table.into(), env }
    }

    /// Name of the table.
    pub fn table(&self) -> &str {
        &self.table
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(iceberg::Error) -> LakehouseError + use<> {
        let table = self.table.clone();
        move |source| LakehouseError::Format { action, table, source }
    }

    fn location(&self, metadata: &TableMetadata, kind: &str) -> String {
        let folder = metadata.properties().get("write.data.path").cloned();
        let folder = folder.unwrap_or_else(|| format!("{}/data", metadata.location().trim_end_matches('/')));
        format!("{folder}/{kind}-{}.parquet", self.env.entropy.uuid())
    }

    /// Starts a data file of the table's current schema and no partition.
    pub async fn data(&self, metadata: &TableMetadata) -> Result<DataFileWriter, LakehouseError> {
        let location = self.location(metadata, "data");
        // In tables of format 1, fields that were dropped keep their places.
        let fields = metadata.default_partition_spec().fields().iter();
        self.data_at(location, metadata, fields.map(|_| None).collect()).await
    }

    /// Starts a data file of the table's current schema and a partition of its current specification.
    pub async fn data_in(
        &self,
        metadata: &TableMetadata,
        partition: &PartitionKey,
    ) -> Result<DataFileWriter, LakehouseError> {
        // The folder only helps people: what a file holds is in its manifest entry.
        let folder = folder_of(&partition.to_path());
        let location = self.location(metadata, &format!("{folder}data"));
        self.data_at(location, metadata, partition.data().clone()).await
    }

    async fn data_at(
        &self,
        location: String,
        metadata: &TableMetadata,
        partition: Struct,
    ) -> Result<DataFileWriter, LakehouseError> {
        let key = key_of(metadata);
        let inner = self.writer(&location, metadata.current_schema().clone(), properties(&key)).await?;
        let spec_id = metadata.default_partition_spec_id();
        let table = self.table.clone();
        Ok(DataFileWriter { inner, table, location, rows: 0, partition, spec_id, sort_order_id: None })
    }

    async fn writer(
        &self,
        location: &str,
        schema: Arc<Schema>,
        properties: WriterProperties,
    ) -> Result<ParquetWriter, LakehouseError> {
        let io = self.warehouse.file_io();
        let output = io.new_output(location).map_err(self.failed("open a file"))?;
        ParquetWriterBuilder::new(properties, schema).build(output).await.map_err(self.failed("open a file"))
    }

    /// Writes deleted positions, by location of their data file, as one position-delete file (Iceberg specification,
    /// "Position Delete Files"): sorted by file and position. `deletes` must hold at least one position, all of them of
    /// data files of the partition `of` (with the number of its specification).
    pub async fn position_deletes(
        &self,
        metadata: &TableMetadata,
        deletes: &BTreeMap<String, RoaringTreemap>,
        of: (&Struct, i32),
    ) -> Result<DataFile, LakehouseError> {
        let (path, pos) = (delete_file_path_field().clone(), delete_file_pos_field().clone());
        let schema =
            Schema::builder().with_fields([path, pos]).build().map_err(self.failed("build the schema"))?;
        let arrow_schema = crate::types::arrow_schema(&self.table, &schema)?;
        let location = self.location(metadata, "deletes");
        let mut writer = self.writer(&location, Arc::new(schema), delete_properties()).await?;
        for (file, positions) in deletes {
            let positions: Vec<i64> =
                positions.iter().map(|p| i64::try_from(p).unwrap_or(i64::MAX)).collect();
            for chunk in positions.chunks(64 * 1024) {
                let files = StringArray::from_iter_values(std::iter::repeat_n(file.as_str(), chunk.len()));
                let columns: Vec<arrow::array::ArrayRef> =
                    vec![Arc::new(files), Arc::new(Int64Array::from(chunk.to_vec()))];
                let batch = RecordBatch::try_new(Arc::clone(&arrow_schema), columns)
                    .map_err(|source| LakehouseError::Arrow { table: self.table.clone(), source })?;
                writer.write(&batch).await.map_err(self.failed("write deletes"))?;
            }
        }
        let builders = writer.close().await.map_err(self.failed("write deletes"))?;
        let mut builder = only(builders, &self.table)?;
        builder.content(DataContentType::PositionDeletes).partition(of.0.clone()).partition_spec_id(of.1);
        if let (1, Some(file)) = (deletes.len(), deletes.keys().next()) {
            builder.referenced_data_file(Some(file.clone()));
        }
        finish(builder, &self.table)
    }
}

/// A partition's path with nothing in it that some file system would take for something else.
fn folder_of(path: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '=' | '-' | '_' | '.') { c } else { '_' };
    let parts = path.split('/').filter(|part| part.contains('='));
    parts.map(|part| part.chars().map(plain).collect::<String>() + "/").collect()
}

fn only(mut builders: Vec<DataFileBuilder>, table: &str) -> Result<DataFileBuilder, LakehouseError> {
    builders
        .pop()
        .ok_or_else(|| LakehouseError::Invalid { what: format!("a file of table `{table}` has no rows") })
}

fn finish(builder: DataFileBuilder, table: &str) -> Result<DataFile, LakehouseError> {
    builder.build().map_err(|error| LakehouseError::Invalid {
        what: format!("the entry of a file of table `{table}` is incomplete: {error}"),
    })
}

impl DataFileWriter {
    /// Appends rows; they must have the table's Arrow schema.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), LakehouseError> {
        let written = self.inner.write(batch).await;
        written.map_err(|source| LakehouseError::Format {
            action: "write a data file",
            table: self.table.clone(),
            source,
        })?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Its rows come in this order of the table's.
    pub(crate) fn sorted_by(&mut self, sort_order_id: Option<i32>) {
        self.sort_order_id = sort_order_id;
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Where it lies.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Ends the file; its bytes are durable when this returns. Needs at least one row.
    pub async fn close(self) -> Result<DataFile, LakehouseError> {
        let Self { inner, table, partition, spec_id, sort_order_id, .. } = self;
        let builders = inner.close().await.map_err(|source| LakehouseError::Format {
            action: "write a data file",
            table: table.clone(),
            source,
        })?;
        let mut builder = only(builders, &table)?;
        builder.content(DataContentType::Data).partition(partition).partition_spec_id(spec_id);
        if let Some(id) = sort_order_id {
            builder.sort_order_id(id);
        }
        finish(builder, &table)
    }
}
