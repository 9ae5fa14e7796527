//! A table in one state, as the planner scans it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, conjunction};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use tarn_lakehouse::TableView;

use super::equality;
use super::files::FileScan;
use super::index::FileIndex;
use super::needle::looks_for_needle;
use super::nested::field_id;
use super::reader::TableReader;
use super::{ScanCounters, ScanShared, hot};
use crate::QueryError;

/// Key of a field's metadata that names what its values stand for, such as UUIDs (Arrow columnar format, "Extension
/// Types").
const EXTENSION_NAME: &str = "ARROW:extension:name";

/// One state of a lakehouse table: its files less their deletes, and the rows not yet in files.
#[derive(Debug)]
pub struct LakeTable {
    pub(super) view: Arc<TableView>,
    /// Text and binary columns as views, which the reader fills without copying.
    pub(super) schema: SchemaRef,
    pub(super) field_ids: Vec<Option<i32>>,
    pub(super) index: Arc<FileIndex>,
    pub(super) shared: Arc<ScanShared>,
    pub(super) maybe_nan: HashSet<usize>,
    counters: Arc<ScanCounters>,
}

impl LakeTable {
    /// Makes a table of a view. Errors: it holds files that are not Parquet.
    pub(crate) fn new(
        view: Arc<TableView>,
        shared: Arc<ScanShared>,
        counters: Arc<ScanCounters>,
    ) -> Result<Self, QueryError> {
        let fields: Vec<FieldRef> =
            view.schema.fields().iter().map(|field| Arc::new(as_scanned(field)) as _).collect();
        let schema = Arc::new(Schema::new(fields));
        let field_ids: Vec<Option<i32>> = view.schema.fields().iter().map(|field| field_id(field)).collect();
        let index = shared.indexes.get(&view, &schema, &field_ids);
        if let Some(other) = index.other_format() {
            let message = format!("table `{}` has {other} files; only Parquet is read", view.name);
            let hint = "rewrite the table's files as Parquet with the engine that wrote them".to_string();
            return Err(QueryError::plan(message, None, Some(hint)));
        }
        let maybe_nan = index.maybe_nan().clone();
        Ok(Self { view, schema, field_ids, index, shared, maybe_nan, counters })
    }

    /// The state that is scanned.
    pub fn view(&self) -> &Arc<TableView> {
        &self.view
    }

    fn predicate(&self, state: &dyn Session, filters: &[Expr]) -> DfResult<Option<Arc<dyn PhysicalExpr>>> {
        let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
        let all: DfResult<Vec<_>> =
            filters.iter().map(|filter| state.create_physical_expr(filter.clone(), &schema)).collect();
        let all = all?;
        Ok((!all.is_empty()).then(|| conjunction(all)))
    }

    /// Positions of the files that may hold rows satisfying `predicate`.
    fn kept(&self, predicate: Option<&Arc<dyn PhysicalExpr>>) -> Vec<usize> {
        let may_match = predicate.map(|predicate| self.index.prune(predicate));
        let live = |file: &usize| self.view.file(*file).live_rows() > 0;
        let matches = |file: &usize| may_match.as_ref().is_none_or(|may_match| may_match[*file]);
        (0..self.view.files.len()).filter(matches).filter(live).collect()
    }

    /// Positions of the files that may hold rows satisfying `filters`. Errors: a filter that cannot be planned.
    pub(crate) fn files_for(&self, state: &dyn Session, filters: &[Expr]) -> DfResult<Vec<usize>> {
        let kept = self.kept(self.predicate(state, filters)?.as_ref());
        self.counters.add_files(self.view.files.len(), kept.len());
        Ok(kept)
    }

    /// Opens its files.
    pub(super) fn reader(&self) -> TableReader {
        TableReader {
            store: Arc::clone(&self.view.store),
            footers: self.shared.footers.clone(),
            table: self.view.metadata.uuid(),
        }
    }

    /// As many files as hold `limit` rows.
    fn enough(&self, files: Vec<usize>, limit: usize) -> Vec<usize> {
        let mut rows = 0_u64;
        let limit = limit as u64;
        files
            .into_iter()
            .take_while(|file| {
                let wanted = rows < limit;
                rows = rows.saturating_add(self.view.file(*file).live_rows());
                wanted
            })
            .collect()
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        // Used here to leave files out; the reader takes over those it evaluates exactly when the plan is optimised.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let predicate = self.predicate(state, filters)?;
        let kept = self.kept(predicate.as_ref());
        let decodes_filtered = looks_for_needle(self, filters, &kept);
        let deletes = &self.view.equality_deletes;
        let (concerned, plain): (Vec<usize>, Vec<usize>) = kept.into_iter().partition(|file| {
            deletes.iter().any(|delete| equality::concerns(delete, &self.view.files[*file]))
        });
        let plain = match limit {
            Some(limit) if filters.is_empty() => self.enough(plain, limit),
            _ => plain,
        };
        self.counters.add_files(self.view.files.len(), plain.len() + concerned.len());
        let read: HashSet<usize> = projection
            .iter()
            .copied()
            .chain(predicate.iter().flat_map(collect_columns).map(|column| column.index()))
            .collect();
        let statistics_of = read.into_iter().collect();
        let scan = FileScan { table: self, state, statistics_of, decodes_filtered };
        let mut legs: Vec<Arc<dyn ExecutionPlan>> = Vec::with_capacity(3);
        if !plain.is_empty() {
            legs.push(scan.plain(&plain, &projection, limit).await?);
        }
        if !concerned.is_empty() {
            legs.push(scan.with_equality_deletes(&concerned, &projection).await?);
        }
        if self.view.hot.iter().any(|batch| batch.live_rows() > 0) {
            let partitions = state.config().target_partitions();
            legs.push(hot::scan(&self.view.hot, &self.schema, &projection, partitions)?);
        }
        match legs.len() {
            0 => Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&projection)?)))),
            1 => Ok(legs.remove(0)),
            _ => UnionExec::try_new(legs),
        }
    }
}

/// A column as the engine sees it: of all that is noted about it, it keeps what its values stand for.
fn as_scanned(field: &Field) -> Field {
    let seen = Field::new(field.name(), view_type(field.data_type()), field.is_nullable());
    match field.extension_type_name() {
        Some(name) => seen.with_metadata(HashMap::from([(EXTENSION_NAME.to_string(), name.to_string())])),
        None => seen,
    }
}

/// The type in which the engine holds values of `data_type`.
pub(super) fn view_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        other => other.clone(),
    }
}

impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        Self::External(Box::new(error))
    }
}
