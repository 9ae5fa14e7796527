//! Scans data files: grouped for parallel reading, each with its statistics, its rows to leave out and its columns'
//! places.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::DateTime;
use datafusion::catalog::Session;
use datafusion::catalog::memory::DataSourceExec;
use datafusion::common::Statistics;
use datafusion::config::TableParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as DfResult;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use object_store::path::Path;
use tarn_lakehouse::{DataFileView, EqualityDeleteView};

use super::equality::{self, DeleteSchema, PartitionNumbers};
use super::identity::{Partitions, Place, identity_columns};
use super::mapping::{ColumnMapping, MappingFactory};
use super::reader::TableReader;
use super::source::TableSource;
use super::table::LakeTable;
use super::{deletes, statistics};

const FOOTERS_AT_ONCE: usize = 32;

/// One scan of a table's files.
pub(super) struct FileScan<'a> {
    pub(super) table: &'a LakeTable,
    pub(super) state: &'a dyn Session,
    /// Columns whose statistics matter to this query.
    pub(super) statistics_of: Vec<usize>,
    /// Filters are evaluated while decoding, not above the scan.
    pub(super) decodes_filtered: bool,
}

/// What one leg reads.
struct Leg {
    files: Vec<PartitionedFile>,
    schema: TableSchema,
    mapping: ColumnMapping,
    statistics: Statistics,
    projection: Vec<usize>,
    limit: Option<usize>,
    /// Some file has deleted rows.
    has_deletes: bool,
}

impl FileScan<'_> {
    /// Files that no equality delete concerns. `files`: positions in the view.
    pub(super) async fn plain(
        &self,
        files: &[usize],
        projection: &[usize],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let table = self.table;
        let mut partitioned = self.with_access_plans(files).await?;
        let mut all = Vec::with_capacity(files.len());
        for (file, position) in partitioned.iter_mut().zip(files) {
            let statistics = self.statistics(*position);
            file.statistics = Some(Arc::clone(&statistics));
            all.push(statistics);
        }
        let mut statistics = Statistics::try_merge_iter(all.iter().map(AsRef::as_ref), &table.schema)?;
        statistics::add_distinct(&mut statistics, table, &self.statistics_of);
        let metadata = &table.view.metadata;
        self.leg(Leg {
            files: partitioned,
            schema: TableSchema::from_file_schema(Arc::clone(&table.schema)),
            mapping: ColumnMapping::new(&table.schema, &table.field_ids, metadata, &table.maybe_nan)
                .with_partitions(Partitions::of(metadata, &table.view.files)),
            statistics,
            projection: projection.to_vec(),
            limit,
            has_deletes: files.iter().any(|file| table.view.file(*file).deletes.is_some()),
        })
    }

    /// Files that equality deletes concern.
    pub(super) async fn with_equality_deletes(
        &self,
        files: &[usize],
        projection: &[usize],
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let table = self.table;
        let sets = equality::by_columns(&table.view.equality_deletes)?;
        let ids: BTreeSet<i32> = sets.keys().flatten().copied().collect();
        let metadata = &table.view.metadata;
        let wide = DeleteSchema::new(&table.schema, &table.field_ids, ids.iter().copied(), metadata)?;
        let mut numbers = PartitionNumbers::default();
        let mut partitioned = self.with_access_plans(files).await?;
        for (file, position) in partitioned.iter_mut().zip(files) {
            let view = &table.view.files[*position];
            file.partition_values = equality::origin_values(view.sequence_number, numbers.of_file(view));
        }
        let mut columns: Vec<usize> = projection.to_vec();
        let all_ids: Vec<i32> = ids.into_iter().collect();
        let extra = wide.columns_of(&all_ids).into_iter().filter(|column| !projection.contains(column));
        columns.extend(extra);
        let data = self.leg(Leg {
            files: partitioned,
            schema: TableSchema::new(Arc::clone(&wide.schema), equality::origin_columns()),
            mapping: ColumnMapping::new(&wide.schema, &wide.field_ids, metadata, &table.maybe_nan)
                .with_partitions(Partitions::of(metadata, &table.view.files)),
            statistics: Statistics::new_unknown(&with_origin(&wide.schema)),
            projection: with_origin_columns(columns, &wide.schema),
            limit: None,
            has_deletes: true,
        })?;
        let mut rows = data;
        for (ids, deletes) in sets {
            let key_columns = wide.columns_of(&ids);
            let keys: Vec<String> =
                key_columns.iter().map(|column| wide.schema.field(*column).name().clone()).collect();
            let deletes = self.delete_rows(&deletes, &wide, &key_columns, &mut numbers)?;
            rows = equality::anti_join(deletes, rows, &keys)?;
        }
        let names: Vec<String> =
            projection.iter().map(|column| table.schema.field(*column).name().clone()).collect();
        equality::pick(rows, &names)
    }

    /// The rows of delete files of one set of columns.
    fn delete_rows(
        &self,
        deletes: &[&EqualityDeleteView],
        wide: &DeleteSchema,
        columns: &[usize],
        numbers: &mut PartitionNumbers,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let files = deletes.iter().map(|delete| {
            let mut file = partitioned(&delete.location, delete.file.file_size_in_bytes());
            file.partition_values =
                equality::origin_values(delete.sequence_number, numbers.of_delete(delete));
            file
        });
        let metadata = &self.table.view.metadata;
        // A delete file's required columns may all be missing but its keys.
        let fields =
            wide.schema.fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
        let schema: SchemaRef = Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
        self.leg(Leg {
            files: files.collect(),
            mapping: ColumnMapping::new(&schema, &wide.field_ids, metadata, &self.table.maybe_nan),
            statistics: Statistics::new_unknown(&with_origin(&schema)),
            projection: with_origin_columns(columns.to_vec(), &schema),
            schema: TableSchema::new(schema, equality::origin_columns()),
            limit: None,
            has_deletes: false,
        })
    }

    fn leg(&self, leg: Leg) -> DfResult<Arc<dyn ExecutionPlan>> {
        let mut options = TableParquetOptions {
            global: self.state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        options.global.pushdown_filters |= self.decodes_filtered;
        let source = ParquetSource::new(leg.schema)
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(self.reader()));
        let source = TableSource::new(source, leg.has_deletes);
        let groups = grouped(leg.files, self.state.config().target_partitions());
        // The store behind the URL is never asked: the reader above brings its own.
        let scan = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(leg.statistics)
            .with_limit(leg.limit)
            .with_expr_adapter(Some(Arc::new(MappingFactory(Arc::new(leg.mapping)))))
            .with_projection_indices(Some(leg.projection))?
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }

    /// The files, each with the rows to leave out. Reads the footers of those with deletes.
    async fn with_access_plans(&self, files: &[usize]) -> DfResult<Vec<PartitionedFile>> {
        let reader = self.reader();
        let columns: Arc<[i32]> = identity_columns(&self.table.view.metadata).into();
        let views: Vec<(usize, DataFileView)> =
            files.iter().map(|file| (*file, self.table.view.file(*file).into_owned())).collect();
        stream::iter(views)
            .map(|(at, view)| {
                let (reader, columns) = (reader.clone(), Arc::clone(&columns));
                async move {
                    let file = with_access_plan(&reader, &view).await?;
                    Ok(if columns.is_empty() { file } else { file.with_extension(Place { at, columns }) })
                }
            })
            .buffered(FOOTERS_AT_ONCE)
            .try_collect()
            .await
    }

    fn reader(&self) -> TableReader {
        self.table.reader()
    }

    fn statistics(&self, position: usize) -> Arc<Statistics> {
        let table = self.table;
        let view = table.view.file(position);
        let columns = &self.statistics_of;
        statistics::file_statistics(&table.index, &table.schema, position, &view, columns, &table.field_ids)
    }
}

async fn with_access_plan(reader: &TableReader, view: &DataFileView) -> DfResult<PartitionedFile> {
    let file = partitioned(&view.location, view.file.file_size_in_bytes());
    let Some(deleted) = view.deletes.as_ref().filter(|deleted| !deleted.is_empty()) else { return Ok(file) };
    let footer = reader.footer(&file.object_meta).await?;
    Ok(file.with_extension(deletes::access_plan(&footer, deleted)))
}

fn partitioned(location: &Path, size: u64) -> PartitionedFile {
    PartitionedFile::new_from_meta(object_meta(location, size))
}

/// A data file as the object store speaks of it.
pub(super) fn object_meta(location: &Path, size: u64) -> ObjectMeta {
    ObjectMeta {
        location: location.clone(),
        // Files never change, so any constant will do.
        last_modified: DateTime::UNIX_EPOCH,
        size,
        e_tag: None,
        version: None,
    }
}

/// Spreads files over at most `partitions` groups of about equal bytes. Big files are split further by the optimiser.
fn grouped(mut files: Vec<PartitionedFile>, partitions: usize) -> Vec<FileGroup> {
    let groups = partitions.clamp(1, files.len().max(1));
    let mut split: Vec<Vec<PartitionedFile>> = vec![Vec::new(); groups];
    let mut loads = vec![0_u64; groups];
    files.sort_by_key(|file| std::cmp::Reverse(file.object_meta.size));
    for file in files {
        let lightest = loads.iter().enumerate().min_by_key(|(_, load)| **load).map_or(0, |(index, _)| index);
        loads[lightest] += file.object_meta.size.max(1);
        split[lightest].push(file);
    }
    split.into_iter().map(FileGroup::new).collect()
}

fn with_origin(schema: &SchemaRef) -> SchemaRef {
    let mut fields = schema.fields().to_vec();
    fields.extend(equality::origin_columns());
    Arc::new(arrow::datatypes::Schema::new(fields))
}

/// `columns` and the origin columns, which stand behind all of `schema`.
fn with_origin_columns(mut columns: Vec<usize>, schema: &SchemaRef) -> Vec<usize> {
    let behind = schema.fields().len();
    columns.extend([behind, behind + 1]);
    columns
}
