//! The cut-over: the last files of the old place come to the table, both sides are compared as wholes, and files that were
//! only registered are copied into the warehouse. From then on the table needs the old place no more.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tarn_core::files::FilesFault;
use tarn_core::{RequestContext, TableName};
use tokio_util::sync::CancellationToken;

use super::Imports;
use super::run::Stop;
use super::state::{Import, ImportMode, ImportOptions, ImportProgress, ImportReport, ImportState, Stored};
use crate::error::LakehouseError;
use crate::service::Trigger;
use crate::sink::Optimize;
use crate::view::TableView;

/// Bytes of registered files that are copied in one commit.
const COPIED_AT_ONCE: u64 = 512 << 20;
/// How often it is looked whether other imports into the table are over.
const LOOK: Duration = Duration::from_millis(200);
/// Path of files that were sent to the server; they are gone.
const UPLOADED: &str = "upload://";

/// Not a conflict, which would be tried again by itself.
fn refused(what: impl Into<String>, hint: impl Into<String>) -> FilesFault {
    FilesFault::invalid(what, hint)
}

/// A further import of files that were imported before.
fn request_of(source: &Stored, mode: ImportMode, only_new: bool) -> Value {
    let mut request = source.files.clone();
    if let Some(fields) = request.as_object_mut() {
        fields.insert("into".to_string(), json!(source.options.into));
        fields.insert("mode".to_string(), json!(mode));
        fields.insert("on_error".to_string(), json!(source.options.on_error));
        fields.insert("errors_max".to_string(), json!(source.options.errors_max));
        fields.insert("only_new".to_string(), json!(only_new));
    }
    request
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
        self.spawn(ctx, import.id.clone(), ImportMode::Cutover);
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
            return Err(refused(what, "start again").into());
        }
        self.wait_for_others(ctx, stored, cancel).await?;
        let sources = self.sources(ctx, &stored.table_id).await?;
        for source in &sources {
            Box::pin(self.take_last(ctx, source, cancel)).await?;
        }
        stored.import.state = ImportState::Verifying;
        self.put(ctx, stored).await?;
        let mut places = Vec::with_capacity(sources.len());
        for source in &sources {
            places.push(Box::pin(self.prepared(ctx, &request_of(source, ImportMode::Append, false))).await?);
        }
        let report = Box::pin(self.compare_with(ctx, &table, places, cancel)).await?;
        if report.verified != Some(true) {
            let what = format!("the old place and table `{table}` differ: {}", report.detail);
            stored.import.report = Some(report);
            let hint = "nothing was cut over; see `tarn import show`, mend it, for example by an import with `--replace`, and \
                        start again";
            return Err(refused(what, hint).into());
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

    /// Waits until no other import into the table is under way. Imports never wait for a cut-over. Errors: an older cut-over.
    async fn wait_for_others(
        &self,
        ctx: &RequestContext,
        stored: &Stored,
        cancel: &CancellationToken,
    ) -> Result<(), Stop> {
        let age = |stored: &Stored| (stored.import.created_ms, stored.import.id.clone());
        loop {
            self.check_going(cancel)?;
            let all = self.of_table(ctx, &stored.table_id).await?;
            let under_way: Vec<&Stored> = all.iter().filter(|other| other.import.state.is_active()).collect();
            let is_cutover = |other: &&&Stored| other.options.mode == ImportMode::Cutover;
            if let Some(older) = under_way.iter().filter(is_cutover).find(|other| age(other) < age(stored)) {
                let what = format!("cut-over `{}` of the table is under way", older.import.id);
                return Err(refused(what, "wait for it to end").into());
            }
            if under_way.iter().all(|other| is_cutover(&other)) {
                return Ok(());
            }
            self.env.clock.sleep(LOOK).await;
        }
    }

    /// Takes files that came to the old place since the last import: by an import as any other, which goes on by itself after
    /// a crash, takes back what may not stay, and is not begun twice.
    async fn take_last(
        self: &Arc<Self>,
        ctx: &RequestContext,
        source: &Stored,
        cancel: &CancellationToken,
    ) -> Result<(), Stop> {
        self.check_going(cancel)?;
        let mode = match source.options.mode {
            ImportMode::Register => ImportMode::Register,
            _ => ImportMode::Append,
        };
        let request = request_of(source, mode, true);
        let prepared = Box::pin(self.prepared(ctx, &request)).await?;
        if prepared.files.files.is_empty() {
            return Ok(());
        }
        let last = Box::pin(self.begin(ctx, &request, prepared)).await?.import;
        self.spawn(ctx, last.id.clone(), mode);
        loop {
            if let Err(stop) = self.check_going(cancel) {
                if matches!(stop, Stop::Cancelled) {
                    // It may be over by now.
                    drop(self.cancel(ctx, &last.id).await);
                }
                return Err(stop);
            }
            let now = self.get(ctx, &last.id).await?;
            let why = match now.state {
                ImportState::Done => return Ok(()),
                ImportState::Running | ImportState::Verifying => {
                    self.env.clock.sleep(LOOK).await;
                    continue;
                }
                ImportState::Cancelled => "it was cancelled".to_string(),
                ImportState::Failed => now.error.map(|error| error.message).unwrap_or_default(),
            };
            let message = format!("the last files were not taken: import `{}`: {why}", last.id);
            let hint =
                format!("`tarn import resume {}` goes on with it; then start the cut-over again", last.id);
            return Err(refused(message, hint).into());
        }
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
        let mut progress = ImportProgress { rows, ..ImportProgress::default() };
        let mut before = usize::MAX;
        loop {
            self.check_going(cancel)?;
            let left = outside(&self.newest_view(ctx, table).await?);
            let bytes: u64 = left.iter().map(|(_, bytes)| bytes).sum();
            if before == usize::MAX {
                (progress.files_total, progress.bytes_total) = (left.len() as u64, bytes);
            }
            progress.files_done = progress.files_total.saturating_sub(left.len() as u64);
            progress.bytes_done = progress.bytes_total.saturating_sub(bytes);
            self.show(&stored.import.id, progress);
            if left.is_empty() {
                return Ok(progress.files_total);
            }
            if left.len() >= before {
                let what = format!("the files that table `{table}` only registered could not be copied");
                return Err(LakehouseError::Invalid { what }.into());
            }
            before = left.len();
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
        }
    }
}
