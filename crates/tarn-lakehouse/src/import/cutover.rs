//! The cut-over: the last files of the old place come to the table, both sides are compared as wholes, and files that were
//! only registered are copied into the warehouse. From then on the table needs the old place no more.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tarn_core::files::FilesFault;
use tarn_core::{FaultKind, FaultReport, RequestContext, TableName};
use tokio_util::sync::CancellationToken;

use super::run::Stop;
use super::state::{
    Import, ImportMode, ImportOptions, ImportProgress, ImportReport, ImportState, OnError, Stored,
};
use super::sums::{Summer, Sums, shown};
use super::verify::{add_file, fill};
use super::{Imports, with_references};
use crate::error::LakehouseError;
use crate::layout::Layout;
use crate::service::Trigger;
use crate::sink::Optimize;
use crate::types::arrow_schema;
use crate::view::TableView;

/// Bytes of registered files that are copied in one commit.
const COPIED_AT_ONCE: u64 = 512 << 20;
/// How often it is looked whether other imports into the table are over.
const LOOK: Duration = Duration::from_millis(200);
/// Path of files that were sent to the server; they are gone.
const UPLOADED: &str = "upload://";

fn refused(what: impl Into<String>, hint: impl Into<String>) -> FilesFault {
    FilesFault::invalid(what, hint)
}

impl Imports {
    /// Begins the cut-over of a table: see the module. It can be interrupted at any time; what it has copied stays copied.
    /// Errors: the table is not there, or no import brought files into it.
    pub async fn cut_over(
        self: &Arc<Self>,
        ctx: &RequestContext,
        request: &Value,
    ) -> Result<Import, LakehouseError> {
        self.check_room()?;
        let mut request = request.clone();
        if let Some(request) = request.as_object_mut() {
            request.insert("mode".to_string(), json!(ImportMode::Cutover));
        }
        let (options, rest) = ImportOptions::split(&request)?;
        if let Some(name) = rest.as_object().and_then(|rest| rest.keys().next()) {
            return Err(refused(format!("a cut-over has no `{name}`"), "it takes `into` alone").into());
        }
        let table = options.table()?;
        let metadata = self.lakehouse.catalog().load_table(ctx, &table).await?.metadata;
        let table_id = metadata.uuid().to_string();
        let sources = self.sources(ctx, &table_id).await?;
        if sources.is_empty() {
            let what = format!("no import of files that are still there went into table `{table}`");
            return Err(refused(what, "there is nothing to cut over: the table stands for itself").into());
        }
        let paths: Vec<&str> = sources.iter().map(|source| source.import.path.as_str()).collect();
        let import = Import {
            id: self.new_id(),
            state: ImportState::Running,
            path: paths.join(", "),
            into: table.to_string(),
            mode: ImportMode::Cutover,
            created_ms: self.env.clock.now_ms(),
            ended_ms: None,
            by: ctx.principal.name.to_string(),
            progress: ImportProgress::default(),
            error: None,
            report: None,
            plan: None,
        };
        let stored = Stored {
            import: import.clone(),
            options,
            files: json!({}),
            existed: true,
            snapshot_before: metadata.current_snapshot_id(),
            table_id,
        };
        self.put(ctx, &stored).await?;
        self.spawn(ctx, import.id.clone());
        Ok(import)
    }

    /// The newest import of each place whose files went into a table.
    async fn sources(&self, ctx: &RequestContext, table_id: &str) -> Result<Vec<Stored>, LakehouseError> {
        let mut sources: Vec<Stored> = Vec::new();
        for stored in self.of_table(ctx, table_id).await? {
            let is_done = stored.import.state == ImportState::Done;
            if !is_done
                || stored.options.mode == ImportMode::Cutover
                || stored.import.path.starts_with(UPLOADED)
            {
                continue;
            }
            sources.retain(|known| known.import.path != stored.import.path);
            sources.push(stored);
        }
        Ok(sources)
    }

    /// Does a cut-over, from its beginning: what was done of it before is done quickly.
    pub(super) async fn do_cut_over(
        self: &Arc<Self>,
        ctx: &RequestContext,
        stored: &mut Stored,
        cancel: &CancellationToken,
    ) -> Result<(), Stop> {
        let table = stored.options.table()?;
        let metadata = self.lakehouse.catalog().load_table(ctx, &table).await?.metadata;
        if metadata.uuid().to_string() != stored.table_id {
            let what =
                format!("table `{table}` is not the one that cut-over `{}` began with", stored.import.id);
            return Err(LakehouseError::from(refused(what, "start again")).into());
        }
        self.wait_for_others(ctx, stored, cancel).await?;
        let sources = self.sources(ctx, &stored.table_id).await?;
        for source in &sources {
            Box::pin(self.take_last(ctx, source, cancel)).await?;
        }
        stored.import.state = ImportState::Verifying;
        self.put(ctx, stored).await?;
        let report = Box::pin(self.compare_all(ctx, &table, &sources, cancel)).await?;
        if report.verified != Some(true) {
            let what = format!("the old place and table `{table}` differ: {}", report.detail);
            stored.import.report = Some(report);
            let hint = "nothing was cut over; see `tarn import show`, mend it, for example by an import with `--replace`, and \
                        start again";
            let kind = FaultKind::Conflict;
            let fault = FaultReport { kind, message: what, hint: Some(hint.to_string()) };
            return Err(LakehouseError::from(FilesFault(fault)).into());
        }
        stored.import.state = ImportState::Running;
        self.put(ctx, stored).await?;
        let copied = Box::pin(self.adopt(ctx, (&table, stored), report.rows_read, cancel)).await?;
        let own = match copied {
            0 => "all its files are its own".to_string(),
            copied => format!(
                "{copied} registered files were copied into the warehouse; snapshots from before need the old place until \
                 they expire"
            ),
        };
        let detail = format!("{}; {own}", report.detail);
        stored.import.report = Some(ImportReport { detail, ..report });
        Ok(())
    }

    /// Waits until no other import into the table is under way.
    async fn wait_for_others(
        &self,
        ctx: &RequestContext,
        stored: &Stored,
        cancel: &CancellationToken,
    ) -> Result<(), Stop> {
        loop {
            self.check_going(cancel)?;
            let all = self.of_table(ctx, &stored.table_id).await?;
            let other = all
                .iter()
                .find(|other| other.import.state.is_active() && other.import.id != stored.import.id);
            match other {
                None => return Ok(()),
                Some(other) if other.options.mode == ImportMode::Cutover => {
                    let what = format!("cut-over `{}` of the table is under way", other.import.id);
                    return Err(LakehouseError::from(refused(what, "wait for it to end")).into());
                }
                Some(_) => self.env.clock.sleep(LOOK).await,
            }
        }
    }

    pub(super) fn check_going(&self, cancel: &CancellationToken) -> Result<(), Stop> {
        if cancel.is_cancelled() {
            return Err(if self.env.spawner.stopping().is_cancelled() {
                Stop::Stopping
            } else {
                Stop::Cancelled
            });
        }
        Ok(())
    }

    /// Takes files that came to the old place since the last import.
    async fn take_last(
        self: &Arc<Self>,
        ctx: &RequestContext,
        source: &Stored,
        cancel: &CancellationToken,
    ) -> Result<(), Stop> {
        self.check_going(cancel)?;
        let mut request = source.files.clone();
        let mode = match source.options.mode {
            ImportMode::Register => ImportMode::Register,
            _ => ImportMode::Append,
        };
        if let Some(fields) = request.as_object_mut() {
            fields.insert("into".to_string(), json!(source.options.into));
            fields.insert("mode".to_string(), json!(mode));
            fields.insert("on_error".to_string(), json!(source.options.on_error));
            fields.insert("errors_max".to_string(), json!(source.options.errors_max));
            fields.insert("only_new".to_string(), json!(true));
        }
        let prepared = Box::pin(self.prepared(ctx, &request)).await?;
        if prepared.files.files.is_empty() {
            return Ok(());
        }
        let mut last = Box::pin(self.begin(ctx, &request, prepared)).await?;
        let outcome = Box::pin(self.take(ctx, &mut last, cancel)).await;
        last.import.state = if outcome.is_ok() { ImportState::Done } else { ImportState::Failed };
        last.import.ended_ms = Some(self.env.clock.now_ms());
        if let Err(Stop::Record(fault)) = &outcome {
            last.import.error = Some(fault.0.clone());
        }
        self.put(ctx, &last).await?;
        outcome
    }

    /// Compares all rows of some places with all rows of a table.
    async fn compare_all(
        &self,
        ctx: &RequestContext,
        table: &TableName,
        sources: &[Stored],
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
        let mut read = Sums::default();
        let mut problems = 0;
        for source in sources {
            self.check_going(cancel)?;
            let resolved = self.secrets.resolve(ctx, &source.files).await.map_err(LakehouseError::from)?;
            let resolved = resolved.into_exposed();
            let plan = self.files.plan(ctx, &resolved).await.map_err(LakehouseError::from)?;
            let config = with_references(&plan.settled, &resolved);
            let options = &source.options;
            let (sums, left_out) =
                self.sum_files(ctx, (table, options), (&config, &plan), &mut summer).await?;
            problems += if options.on_error == OnError::Fail { 0 } else { left_out };
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

    async fn newest_view(
        &self,
        ctx: &RequestContext,
        table: &TableName,
    ) -> Result<TableView, LakehouseError> {
        let loaded = self.lakehouse.catalog().load_table(ctx, table).await?;
        let location = loaded.metadata_location.unwrap_or_default();
        self.lakehouse.loader().load(table, loaded.metadata, &location, None).await
    }

    /// Copies the rows of registered files into files of the table's own. Returns how many files there were.
    async fn adopt(
        &self,
        ctx: &RequestContext,
        (table, stored): (&TableName, &Stored),
        rows: u64,
        cancel: &CancellationToken,
    ) -> Result<u64, Stop> {
        let warehouse = self.lakehouse.catalog().warehouse();
        let outside = |view: &TableView| -> Vec<(String, u64)> {
            let files = view
                .files
                .iter()
                .map(|file| (file.file.file_path().to_string(), file.file.file_size_in_bytes()));
            files.filter(|(location, _)| warehouse.is_outside(location)).collect()
        };
        let all = outside(&self.newest_view(ctx, table).await?);
        let bytes_total = all.iter().map(|(_, bytes)| bytes).sum();
        let mut progress =
            ImportProgress { files_total: all.len() as u64, bytes_total, rows, ..ImportProgress::default() };
        loop {
            self.check_going(cancel)?;
            let left = outside(&self.newest_view(ctx, table).await?);
            progress.files_done = progress.files_total.saturating_sub(left.len() as u64);
            progress.bytes_done = bytes_total.saturating_sub(left.iter().map(|(_, bytes)| bytes).sum());
            self.show(&stored.import.id, progress);
            if left.is_empty() {
                return Ok(progress.files_total);
            }
            let before = left.len();
            let mut bytes = 0;
            let fits = |(_, size): &(String, u64)| {
                let fits = bytes < COPIED_AT_ONCE;
                bytes += size;
                fits
            };
            let only: HashSet<String> =
                left.into_iter().take_while(fits).map(|(location, _)| location).collect();
            let optimize = Optimize { order: None, only: Some(Arc::new(only)), adopts: true };
            self.lakehouse.optimize(ctx, table, optimize, Trigger::Api).await?;
            if outside(&self.newest_view(ctx, table).await?).len() >= before {
                let what = format!("the files that table `{table}` only registered could not be copied");
                return Err(LakehouseError::Invalid { what }.into());
            }
        }
    }
}
