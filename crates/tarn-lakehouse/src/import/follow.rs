//! A source that goes on changing until the cut-over: only its new files are taken, and both sides are compared as wholes.

use std::collections::{HashMap, HashSet};

use arrow::array::{RecordBatch, RecordBatchOptions};
use serde_json::Value;
use tarn_core::files::{FilesFault, FilesPlan, FoundTable, ListedFile};
use tarn_core::{RequestContext, TableName};
use tokio_util::sync::CancellationToken;

use super::run::Stop;
use super::state::{ImportMode, ImportOptions, ImportReport, ImportState, Stored};
use super::sums::{Summer, Sums, shown};
use super::table::check_fit;
use super::verify::{add_file, fill};
use super::{Imports, Prepared};
use crate::error::LakehouseError;
use crate::layout::Layout;
use crate::types::{Conformer, arrow_schema};
use crate::view::TableView;

/// Whether an import took rows of this table of another lake.
fn is_of(stored: &Stored, table: &FoundTable) -> bool {
    let own = stored.files.pointer("/lake/table").and_then(Value::as_str);
    own == Some(table.id.as_str())
}

/// Errors: the table of another lake has files no more, or fewer rows in them, which an import took. What came to it could
/// then be rows that are here already.
fn check_kept(taken: &[ListedFile], plan: &FilesPlan) -> Result<(), LakehouseError> {
    let now: HashMap<&str, u64> = plan.files.iter().map(|file| (file.location.as_str(), file.tag)).collect();
    let gone = taken.iter().find(|file| now.get(file.location.as_str()) != Some(&file.tag));
    let Some(gone) = gone else { return Ok(()) };
    let what = format!(
        "the table deleted, changed or rewrote rows since it was imported, such as in `{}`; only rows that come to it can be \
         followed",
        gone.location.strip_prefix("file://").unwrap_or(&gone.location)
    );
    Err(FilesFault::invalid(what, "import it anew with `--replace`, which is one commit").into())
}

impl Imports {
    /// Imports whose files are in the table of this identifier: done or under way, since the last one that replaced all.
    pub(super) async fn of_table(
        &self,
        ctx: &RequestContext,
        table_id: &str,
    ) -> Result<Vec<Stored>, LakehouseError> {
        let counts = |stored: &Stored| {
            stored.table_id == table_id
                && (stored.import.state == ImportState::Done || stored.import.state.is_active())
        };
        let mut all: Vec<Stored> = self.all(ctx).await?.into_iter().filter(counts).collect();
        all.sort_by_key(|stored| stored.import.created_ms);
        let from = all.iter().rposition(|stored| stored.options.mode == ImportMode::Replace).unwrap_or(0);
        Ok(all.split_off(from))
    }

    /// Files that came to the table of this identifier, with their tags then.
    pub(super) async fn known_files(
        &self,
        ctx: &RequestContext,
        table_id: &str,
    ) -> Result<HashMap<String, u64>, LakehouseError> {
        let mut known: HashMap<String, u64> = HashMap::new();
        for stored in self.of_table(ctx, table_id).await? {
            for file in self.listed(ctx, &stored.import.id).await? {
                known.insert(file.location, file.tag);
            }
        }
        Ok(known)
    }

    /// Leaves files out that came to the table before; those that changed since are told.
    pub(super) async fn leave_known(
        &self,
        ctx: &RequestContext,
        table_id: &str,
        plan: &mut FilesPlan,
    ) -> Result<(), LakehouseError> {
        if let Some(table) = &plan.table {
            for stored in self.of_table(ctx, table_id).await?.iter().filter(|stored| is_of(stored, table)) {
                check_kept(&self.listed(ctx, &stored.import.id).await?, plan)?;
            }
        }
        let known = self.known_files(ctx, table_id).await?;
        let changed = |file: &ListedFile| known.get(&file.location).is_some_and(|tag| *tag != file.tag);
        let changed: Vec<String> =
            plan.files.iter().filter(|file| changed(file)).map(|file| file.location.clone()).collect();
        if let Some(first) = changed.first() {
            plan.found.warnings.push(format!(
                "{} files were changed after they were imported and are left out, such as `{first}`; import them \
                 with `--replace`, or into another table",
                changed.len()
            ));
        }
        plan.files.retain(|file| !known.contains_key(&file.location));
        plan.found.files = plan.files.len() as u64;
        plan.found.bytes = plan.files.iter().map(|file| file.bytes).sum();
        Ok(())
    }

    /// Compares all rows of files with all rows of a table, by counts and by hashes of each column. Nothing is changed.
    /// Errors: those of a plan; the table is not there; a record that is no row where there must be none.
    pub async fn compare(
        &self,
        ctx: &RequestContext,
        request: &Value,
    ) -> Result<ImportReport, LakehouseError> {
        let mut request = request.clone();
        if let Some(request) = request.as_object_mut() {
            request.insert("mode".to_string(), Value::String("append".to_string()));
            request.insert("only_new".to_string(), Value::Bool(false));
        }
        let prepared = Box::pin(self.prepared(ctx, &request)).await?;
        let version = prepared.files.found.version.clone();
        let table = prepared.table.clone();
        let report =
            Box::pin(self.compare_with(ctx, &table, vec![prepared], &CancellationToken::new())).await;
        let report = report.map_err(|stop| match stop {
            Stop::Fault(error) => error,
            Stop::Record(fault) => fault.into(),
            Stop::Cancelled | Stop::Stopping => {
                LakehouseError::Invalid { what: "the comparison was interrupted; ask again".to_string() }
            }
        })?;
        Ok(ImportReport { version: version.filter(|_| report.verified.is_some()), ..report })
    }

    /// Compares all rows of some places, a file that stands in several of them once, with all rows of a table. Errors: those of
    /// [`Imports::compare`].
    pub(super) async fn compare_with(
        &self,
        ctx: &RequestContext,
        table: &TableName,
        places: Vec<Prepared>,
        cancel: &CancellationToken,
    ) -> Result<ImportReport, Stop> {
        let name = table.to_string();
        let view = self.newest_view(ctx, table).await?;
        let arrow = |source| LakehouseError::Arrow { table: name.clone(), source };
        let schema = arrow_schema(&name, view.metadata.current_schema())?;
        let Some(mut summer) = Summer::new(&schema).map_err(arrow)? else {
            let what = format!("table `{name}` has a column whose values cannot be compared");
            return Err(LakehouseError::Invalid { what }.into());
        };
        let (mut read, mut problems, mut known) = (Sums::default(), 0, HashSet::new());
        for mut place in places {
            self.check_going(cancel)?;
            check_fit(&name, &view.metadata, &place.files.schema)?;
            place.files.files.retain(|file| known.insert(file.location.clone()));
            let config = self.secrets.resolve(ctx, &place.config).await.map_err(LakehouseError::from)?;
            let files = (&config.into_exposed(), &place.files);
            let (sums, left_out) = self.sum_files(ctx, (table, &place.options), files, &mut summer).await?;
            problems += left_out;
            read.add(&sums);
        }
        let mut sums = Sums { columns: vec![0; schema.fields().len()], ..Sums::default() };
        let layout = Layout::of(&view);
        for file in view.files.iter() {
            self.check_going(cancel)?;
            add_file(self, (&name, &schema), (file, &layout), &mut summer, (&mut sums, false)).await?;
        }
        let mut report = ImportReport {
            rows_read: read.rows,
            problems,
            snapshot_id: view.snapshot_id.map(|id| id.to_string()),
            hash_read: shown(read.all),
            ..ImportReport::default()
        };
        match view.equality_deletes.is_empty() {
            true => fill(&mut report, &read, &sums, &schema),
            false => report.detail = "not compared: another engine deletes rows by value".to_string(),
        }
        Ok(report)
    }

    /// The table at its newest commit.
    pub(super) async fn newest_view(
        &self,
        ctx: &RequestContext,
        table: &TableName,
    ) -> Result<TableView, LakehouseError> {
        let loaded = self.lakehouse.catalog().load_table(ctx, table).await?;
        let location = loaded.metadata_location.unwrap_or_default();
        self.lakehouse.loader().load(table, loaded.metadata, &location, None).await
    }

    async fn sum_files(
        &self,
        ctx: &RequestContext,
        (table, options): (&TableName, &ImportOptions),
        (config, plan): (&Value, &FilesPlan),
        summer: &mut Summer,
    ) -> Result<(Sums, u64), LakehouseError> {
        let metadata = self.lakehouse.catalog().load_table(ctx, table).await?.metadata;
        let arrow = |source| LakehouseError::Arrow { table: table.to_string(), source };
        let (mut sums, mut problems) = (Sums::default(), 0);
        for file in &plan.files {
            let mut reader = self.files.read(ctx, config, file, 0).await?;
            while let Some(chunk) = reader.next().await? {
                problems += chunk.problems.len() as u64;
                if let (Some(first), super::OnError::Fail) = (chunk.problems.first(), options.on_error) {
                    let what = format!("{}:{}: {}", first.file, first.line, first.reason);
                    let hint = "leave such records out of the comparison with `on_error`: skip";
                    return Err(FilesFault::invalid(what, hint).into());
                }
                let conformer = Conformer::new(&table.to_string(), &metadata, chunk.rows.schema_ref())?;
                let columns = conformer.columns(&chunk.rows)?;
                let rows = RecordBatchOptions::new().with_row_count(Some(chunk.rows.num_rows()));
                // A null in a required column shows as a difference.
                let target =
                    conformer.target().fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
                let target = std::sync::Arc::new(arrow::datatypes::Schema::new(target.collect::<Vec<_>>()));
                let rows = RecordBatch::try_new_with_options(target, columns, &rows).map_err(arrow)?;
                summer.add(&mut sums, &rows, false).map_err(arrow)?;
            }
        }
        Ok((sums, problems))
    }
}
