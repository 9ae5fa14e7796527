//! The Parquet reader, kept from two shortcuts that would give wrong rows.
//!
//! It takes over a filter if the *table's* types allow that, and drops it silently where the *file's* do not: filters on
//! nested columns, which may have to be reshaped, therefore stay above the scan. And its own limit counts the rows of
//! row groups that match whole, deleted rows included: with deletes that count is off, whatever the optimiser says.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as DfResult;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::PartitionedFile;
use datafusion_datasource::file::FileSource;
use datafusion_datasource::morsel::Morselizer;
use object_store::ObjectStore;

type Source = Arc<dyn FileSource>;

/// Reads the data files of a table.
#[derive(Clone)]
pub(super) struct TableSource {
    parquet: Source,
    /// Some file has deleted rows.
    has_deletes: bool,
}

impl TableSource {
    pub(super) fn new(parquet: ParquetSource, has_deletes: bool) -> Self {
        Self { parquet: Arc::new(parquet), has_deletes }
    }

    fn around(&self, parquet: Source) -> Source {
        Arc::new(Self { parquet, has_deletes: self.has_deletes })
    }

    /// Whether an expression reads a list, struct or map.
    fn reads_nested(&self, expression: &Arc<dyn PhysicalExpr>) -> bool {
        let schema = self.table_schema().table_schema();
        let mut nested = false;
        let visited = expression.apply(|node| {
            if let Some(column) = node.downcast_ref::<Column>() {
                nested |=
                    schema.field_with_name(column.name()).map_or(true, |field| field.data_type().is_nested());
            }
            Ok(TreeNodeRecursion::Continue)
        });
        nested || visited.is_err()
    }
}

impl FileSource for TableSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> DfResult<Arc<dyn FileOpener>> {
        self.parquet.create_file_opener(store, config, partition)
    }

    fn create_morselizer(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> DfResult<Box<dyn Morselizer>> {
        if !self.has_deletes || config.limit.is_none() {
            return self.parquet.create_morselizer(store, config, partition);
        }
        let mut config = config.clone();
        config.preserve_order = true;
        self.parquet.create_morselizer(store, &config, partition)
    }

    fn table_schema(&self) -> &TableSchema {
        self.parquet.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Source {
        self.around(self.parquet.with_batch_size(batch_size))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.parquet.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.parquet.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.parquet.metrics()
    }

    fn file_type(&self) -> &str {
        self.parquet.file_type()
    }

    fn fmt_extra(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parquet.fmt_extra(format, f)
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> DfResult<FilterPushdownPropagation<Source>> {
        let nested: Vec<bool> = filters.iter().map(|filter| self.reads_nested(filter)).collect();
        let flat = filters.into_iter().zip(&nested).filter(|(_, nested)| !**nested).map(|(filter, _)| filter);
        let taken = self.parquet.try_pushdown_filters(flat.collect(), config)?;
        let mut answers = taken.filters.into_iter();
        let answers = nested.into_iter().map(|nested| match nested {
            true => PushedDown::No,
            false => answers.next().unwrap_or(PushedDown::No),
        });
        Ok(FilterPushdownPropagation {
            filters: answers.collect(),
            updated_node: taken.updated_node.map(|parquet| self.around(parquet)),
        })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        properties: &EquivalenceProperties,
    ) -> DfResult<SortOrderPushdownResult<Source>> {
        Ok(self.parquet.try_pushdown_sort(order, properties)?.map(|parquet| self.around(parquet)))
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.parquet.reorder_files(files)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> DfResult<Option<Source>> {
        Ok(self.parquet.try_pushdown_projection(projection)?.map(|parquet| self.around(parquet)))
    }
}
