//! A table with the place of each row: which file and which row in it. Statements that change rows find them by it.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::ParquetObjectReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask, RowNumber};
use tarn_lakehouse::DataFileView;

use super::deletes;
use super::files::object_meta;
use super::identity::{Partitions, Place, identity_columns};
use super::mapping::{ColumnMapping, MappingFactory};
use super::reader::TableReader;
use super::table::LakeTable;
use crate::QueryError;

/// Place of the row's file in the view, as `Int32`.
pub(crate) const FILE: &str = "@file";
/// Row number within the file, from 0, as `Int64`.
pub(crate) const POSITION: &str = "@position";

/// The rows of the files of a table, each with [`FILE`] and [`POSITION`] behind the table's columns.
#[derive(Debug)]
pub(crate) struct PlacedTable {
    table: LakeTable,
    schema: SchemaRef,
}

impl PlacedTable {
    /// Over a table whose rows are all in files.
    pub(crate) fn new(table: LakeTable) -> Self {
        let mut fields = table.schema.fields().to_vec();
        fields.push(Arc::new(Field::new(FILE, DataType::Int32, false)));
        fields.push(Arc::new(Field::new(POSITION, DataType::Int64, false)));
        Self { table, schema: Arc::new(Schema::new(fields)) }
    }

    /// How many columns the table has.
    pub(super) fn columns(&self) -> usize {
        self.table.schema.fields().len()
    }

    /// The table's columns, as queries see them.
    pub(super) fn table_schema(&self) -> &SchemaRef {
        &self.table.schema
    }

    /// Some columns of the live rows of some files, which need not be of the table's present state.
    pub(super) fn rows_of(
        &self,
        columns: Vec<usize>,
        files: Vec<DataFileView>,
    ) -> DfResult<impl Stream<Item = DfResult<RecordBatch>> + Send + Unpin + use<>> {
        Ok(self.scan_of(columns, files.into_iter().map(|file| (0, file)).collect())?.rows())
    }

    /// `files`: each with its place in the view.
    fn scan_of(&self, projection: Vec<usize>, files: Vec<(usize, DataFileView)>) -> DfResult<FilesScan> {
        let table = &self.table;
        let metadata = &table.view().metadata;
        let identity: Arc<[i32]> = identity_columns(metadata).into();
        let partitions = match identity.is_empty() {
            true => None,
            false => {
                Partitions::of(metadata, &Arc::new(files.iter().map(|(_, file)| file.clone()).collect()))
            }
        };
        let mapping = ColumnMapping::new(&table.schema, &table.field_ids, metadata, &table.maybe_nan)
            .with_partitions(partitions);
        Ok(FilesScan {
            schema: Arc::new(self.schema.project(&projection)?),
            columns: projection,
            table: Arc::clone(&table.schema),
            mapping: MappingFactory(Arc::new(mapping)),
            reader: table.reader(),
            identity,
            files,
        })
    }
}

#[async_trait]
impl TableProvider for PlacedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        // They only leave files out.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        if !self.table.view().equality_deletes.is_empty() {
            let message = format!(
                "rows of `{}` cannot be changed: another engine left equality deletes in it",
                self.table.view().name
            );
            let hint = "compact the table with the engine that wrote them".to_string();
            return Err(QueryError::plan(message, None, Some(hint)).into());
        }
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let of_table = |filter: &&Expr| {
            !filter.column_refs().iter().any(|column| column.name == FILE || column.name == POSITION)
        };
        let filters: Vec<Expr> = filters.iter().filter(of_table).cloned().collect();
        let kept = self.table.files_for(state, &filters)?;
        let partitions = state.config().target_partitions().clamp(1, kept.len().max(1));
        let mut split: Vec<Vec<usize>> = vec![Vec::new(); partitions];
        for (at, file) in kept.into_iter().enumerate() {
            split[at % partitions].push(file);
        }
        let schema = Arc::new(self.schema.project(&projection)?);
        let scans: DfResult<Vec<Arc<dyn PartitionStream>>> = split
            .into_iter()
            .map(|files| {
                let view = self.table.view();
                let files = files.into_iter().map(|at| (at, view.file(at).into_owned())).collect();
                Ok(Arc::new(self.scan_of(projection.clone(), files)?) as Arc<dyn PartitionStream>)
            })
            .collect();
        Ok(Arc::new(StreamingTableExec::try_new(schema, scans?, None, None, false, limit)?))
    }
}

/// Reads some files one after the other.
#[derive(Clone, Debug)]
struct FilesScan {
    /// What it gives.
    schema: SchemaRef,
    /// The columns of the table with places that it gives.
    columns: Vec<usize>,
    table: SchemaRef,
    mapping: MappingFactory,
    reader: TableReader,
    /// Columns that may stand in partitions only.
    identity: Arc<[i32]>,
    files: Vec<(usize, DataFileView)>,
}

impl PartitionStream for FilesScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), self.rows()))
    }
}

impl FilesScan {
    fn rows(&self) -> impl Stream<Item = DfResult<RecordBatch>> + Send + Unpin + use<> {
        let scan = self.clone();
        let rows = stream::iter(self.files.clone()).enumerate().then(move |(place, (at, file))| {
            let scan = scan.clone();
            async move { scan.rows_of(place, at, &file).await }
        });
        Box::pin(rows.try_flatten())
    }

    async fn rows_of(
        self,
        place: usize,
        at: usize,
        file: &DataFileView,
    ) -> DfResult<impl Stream<Item = DfResult<RecordBatch>> + use<>> {
        let parquet = |error: parquet::errors::ParquetError| DataFusionError::ParquetError(Box::new(error));
        let meta: ObjectMeta = object_meta(&file.location, file.file.file_size_in_bytes());
        let footer = self.reader.footer(&meta).await?;
        let number = Field::new(POSITION, DataType::Int64, false).with_extension_type(RowNumber);
        let options =
            ArrowReaderOptions::new().with_virtual_columns(vec![Arc::new(number)]).map_err(parquet)?;
        let read = ArrowReaderMetadata::try_new(Arc::clone(&footer), options).map_err(parquet)?;
        let schema =
            Place { at: place, columns: Arc::clone(&self.identity) }.in_schema(&file_schema(&footer)?);
        let values = self.values(&schema)?;
        let bytes = ParquetObjectReader::new(Arc::clone(&self.reader.store), file.location.clone())
            .with_file_size(meta.size);
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(bytes, read);
        let mask = ProjectionMask::roots(builder.parquet_schema(), values.roots.iter().copied());
        let mut builder = builder.with_projection(mask);
        if let Some(deleted) = file.deletes.as_ref().filter(|deleted| !deleted.is_empty()) {
            builder = builder.with_row_selection(deletes::live_rows(&footer, deleted));
        }
        let rows = builder.build().map_err(parquet)?;
        let number = i32::try_from(at).unwrap_or(i32::MAX);
        Ok(rows.map(move |batch| {
            let batch = batch.map_err(|error| DataFusionError::ParquetError(Box::new(error)))?;
            self.placed(&values, number, &batch)
        }))
    }

    /// How each wanted column of the table comes from a file.
    fn values(&self, file: &SchemaRef) -> DfResult<Values> {
        let whole = self.mapping.create(Arc::clone(&self.table), Arc::clone(file))?;
        let wanted: Vec<usize> =
            self.columns.iter().copied().filter(|column| *column < self.table.fields().len()).collect();
        let mut roots = BTreeSet::new();
        for column in &wanted {
            let value = whole.rewrite(self.column(*column))?;
            roots.extend(collect_columns(&value).iter().map(Column::index));
        }
        let roots: Vec<usize> = roots.into_iter().collect();
        // Once more for the columns that are read, whose places are others.
        let read = Arc::new(file.project(&roots)?);
        let mapping = self.mapping.create(Arc::clone(&self.table), read)?;
        let exprs: DfResult<Vec<_>> =
            wanted.iter().map(|column| Ok((*column, mapping.rewrite(self.column(*column))?))).collect();
        Ok(Values { roots, exprs: exprs? })
    }

    fn column(&self, at: usize) -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new(self.table.field(at).name(), at))
    }

    fn placed(&self, values: &Values, file: i32, batch: &RecordBatch) -> DfResult<RecordBatch> {
        let rows = batch.num_rows();
        let columns: DfResult<Vec<ArrayRef>> = self
            .columns
            .iter()
            .map(|column| match values.exprs.iter().find(|(known, _)| known == column) {
                Some((_, value)) => value.evaluate(batch)?.into_array(rows),
                None if *column == self.table.fields().len() => {
                    Ok(Arc::new(Int32Array::from_value(file, rows)) as ArrayRef)
                }
                // The row number stands behind the file's columns.
                None => Ok(Arc::clone(batch.column(batch.num_columns() - 1))),
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns?, &options)?)
    }
}

/// The columns of a file that are read, and what the table's columns are of them.
struct Values {
    roots: Vec<usize>,
    exprs: Vec<(usize, Arc<dyn PhysicalExpr>)>,
}

/// The file's own columns.
fn file_schema(footer: &Arc<parquet::file::metadata::ParquetMetaData>) -> DfResult<SchemaRef> {
    let read = ArrowReaderMetadata::try_new(Arc::clone(footer), ArrowReaderOptions::new());
    let read = read.map_err(|error| DataFusionError::ParquetError(Box::new(error)))?;
    Ok(Arc::clone(read.schema()))
}
