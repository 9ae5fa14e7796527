//! `EXPLAIN` of a statement that changes rows: the plan of its query, and what will be written.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::displayable;
use tarn_core::TableName;
use tarn_lakehouse::TableView;

use super::session::{Session, with_params};
use super::tags::rows_tag;
use super::write::{Change, WriteTarget};
use crate::QueryError;
use crate::scan::{ScanCounters, ScanStats};
use crate::write::target_of;

/// The columns that every `EXPLAIN` gives.
pub(super) fn explain_schema() -> SchemaRef {
    let column = |name: &str| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![column("plan_type"), column("plan")]))
}

impl Session {
    /// Explains a change; with `analyze` it is made. Errors: all of [`QueryError`].
    pub(super) async fn explain_change(
        &self,
        change: &Change<'_>,
        analyze: bool,
    ) -> Result<RecordBatch, QueryError> {
        let Some(target) = target_of(&change.write.statement) else {
            return Err(QueryError::plan(
                "EXPLAIN shows queries and changes of rows",
                change.parsed.text.start(),
                Some("explain the query of `CREATE TABLE ... AS` by itself".into()),
            ));
        };
        let target = self.target(target?)?;
        let rows = match analyze {
            true => self.analyze(change, &target).await?,
            false => self.foretell(change, &target).await?,
        };
        let (kinds, texts): (Vec<&str>, Vec<String>) = rows.into_iter().unzip();
        let columns = vec![Arc::new(StringArray::from(kinds)) as _, Arc::new(StringArray::from(texts)) as _];
        RecordBatch::try_new(explain_schema(), columns)
            .map_err(|error| QueryError::Internal { message: error.to_string() })
    }

    async fn foretell(
        &self,
        change: &Change<'_>,
        target: &WriteTarget,
    ) -> Result<Vec<(&'static str, String)>, QueryError> {
        let name = &target.name;
        let Some(view) = self.view_of(target).await? else {
            return Err(self.no_such(name, change.diagnosis).await?);
        };
        let own: Arc<ScanCounters> = Arc::default();
        let (catalog, target) = self.catalog_for(name, Arc::clone(&view), change.counters, &own)?;
        let planned = self.plan_change(&catalog, change.write, &target, change.diagnosis).await?;
        let explain = |error| change.diagnosis.explain(error);
        let logical = match change.options.params.is_empty() {
            true => planned.plan,
            false => with_params(planned.plan, change.options).map_err(explain)?,
        };
        let state = self.state(&catalog);
        let logical = state.optimize(&logical).map_err(explain)?;
        let plan = state.query_planner().create_physical_plan(&logical, &state).await.map_err(explain)?;
        let files = own.read(plan.as_ref());
        let text = what(change, name, &view, files, planned.rows.replaces_all);
        Ok(vec![
            ("change", text),
            ("logical_plan", logical.display_indent().to_string()),
            ("physical_plan", displayable(plan.as_ref()).indent(false).to_string()),
        ])
    }

    async fn analyze(
        &self,
        change: &Change<'_>,
        target: &WriteTarget,
    ) -> Result<Vec<(&'static str, String)>, QueryError> {
        self.check_editor(change.parsed)?;
        let clock = &self.core().env.clock;
        let began: Instant = clock.instant();
        let name = &target.name;
        let Some(view) = self.view_of(target).await? else {
            return Err(self.no_such(name, change.diagnosis).await?);
        };
        let changed = self.change_rows(change, change.write, target).await?;
        let elapsed = clock.instant().saturating_duration_since(began);
        let mut text = what(change, name, &view, changed.target.read(changed.plan.as_ref()), false);
        let written = changed.written;
        text.push_str(&format!(
            "\n  Rows changed: {}, of which {} were written and {} went\n  Snapshot: {}\n  Time: {:.3} ms",
            changed.rows,
            written.added,
            written.deleted,
            written.snapshot_id.map_or("none, as nothing changed".to_string(), |id| id.to_string()),
            elapsed.as_secs_f64() * 1_000.0
        ));
        let plan = DisplayableExecutionPlan::with_metrics(changed.plan.as_ref());
        Ok(vec![("change", text), ("Plan with Metrics", plan.indent(false).to_string())])
    }
}

/// What a statement writes, and what it has to look at for that.
fn what(
    change: &Change<'_>,
    name: &TableName,
    view: &TableView,
    files: ScanStats,
    replaces_all: bool,
) -> String {
    let verb = rows_tag(&change.write.statement);
    let key = view.key();
    let metadata = &view.metadata;
    let schema = metadata.current_schema();
    let fields = metadata.default_partition_spec().fields().iter();
    let partitions: Vec<String> = fields
        .map(|field| {
            let column = schema.name_by_field_id(field.source_id).unwrap_or_default();
            format!("{}({column})", field.transform)
        })
        .collect();
    let all = view.files.len();
    let keys = match key.is_empty() {
        true => "none".to_string(),
        false => format!(
            "({}), compared with the rows of those files whose bounds meet those of rows that come",
            key.join(", ")
        ),
    };
    let partitions = if partitions.is_empty() { "nothing".to_string() } else { partitions.join(", ") };
    let read = match (replaces_all, files.files_total) {
        (true, _) => format!("none of {all}, all of them go"),
        (false, 0) => format!("none of {all}"),
        (false, _) => format!("{} of {all}", files.files_scanned),
    };
    format!(
        "{verb} {name}\n  Key: {keys}\n  Partitioned by: {partitions}\n  Files of the table to read: {read}"
    )
}
