//! Imports: files of others become rows of a table, once, and are compared with it afterwards.
//!
//! `state` is what is kept, `table` the table, `run` reads and commits, `sums` and `verify` compare.

mod cutover;
mod follow;
mod in_place;
mod kept;
mod register;
mod run;
mod state;
mod sums;
mod table;
mod verify;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tarn_core::files::{FileProblem, Files, FilesFault, FilesPlan};
use tarn_core::{Env, FaultReport, RequestContext, TableName, chain_text};
use tarn_meta::{Expected, MetaStore, Secrets};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::error::LakehouseError;
use crate::lakehouse::Lakehouse;
use run::{Job, Mark, Stop, is_transient};
use state::Stored;
pub use state::{
    ColumnSums, Import, ImportMode, ImportOptions, ImportPlan, ImportProgress, ImportReport, ImportState,
    OnError, PlannedFile, PlannedTable,
};

/// Entry of a snapshot's summary: the import that made it.
const SUMMARY: &str = "tarn.import";
/// Where imports, their files and their problems are kept.
const SPACE: &str = "imports";
const FILES_SPACE: &str = "import-files";
const PROBLEMS_SPACE: &str = "import-problems";
/// Files of a document.
const FILES_CHUNK: usize = 1_000;
/// Imports at work at a time, and those that wait.
const AT_WORK_MAX: usize = 2;
const ACTIVE_MAX: usize = 64;
/// How often an import is tried again, and how long it waits before.
const ATTEMPTS_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_secs(2);
/// Files shown of a plan.
const FIRST_FILES: usize = 20;
/// Problems kept where they are only skipped.
const SKIPPED_KEPT: u64 = 1_000;

/// The property of a table that says how far it is with an import.
fn mark_property(id: &str) -> String {
    format!("tarn.import.{id}")
}

/// Imports of all tenants.
#[derive(Debug)]
pub struct Imports {
    lakehouse: Arc<Lakehouse>,
    meta: Arc<dyn MetaStore>,
    secrets: Secrets,
    files: Arc<dyn Files>,
    env: Env,
    active: Mutex<HashMap<String, Active>>,
    at_work: Arc<Semaphore>,
    /// Cut-overs wait for imports, so they have a place of their own.
    cutting: Arc<Semaphore>,
}

#[derive(Debug)]
struct Active {
    /// Tells one run of an import from the next.
    run: Arc<()>,
    cancel: CancellationToken,
    progress: Option<ImportProgress>,
}

/// A plan with what running it needs.
struct Prepared {
    options: ImportOptions,
    table: TableName,
    files: FilesPlan,
    /// Settled, secrets as references.
    config: Value,
    plan: ImportPlan,
    snapshot_before: Option<i64>,
}

/// A settled configuration with what holds references to secrets as it was asked for.
fn with_references(settled: &Value, asked: &Value) -> Value {
    let mut settled = settled.clone();
    for part in ["s3", "iceberg"] {
        if let (Some(settled), Some(own)) = (settled.as_object_mut(), asked.get(part)) {
            settled.insert(part.to_string(), own.clone());
        }
    }
    settled
}

impl Imports {
    /// Over a lakehouse. `files`: who reads them.
    pub fn new(
        lakehouse: Arc<Lakehouse>,
        meta: Arc<dyn MetaStore>,
        secrets: Secrets,
        files: Arc<dyn Files>,
        env: Env,
    ) -> Arc<Self> {
        let (at_work, cutting) = (Arc::new(Semaphore::new(AT_WORK_MAX)), Arc::new(Semaphore::new(1)));
        Arc::new(Self { lakehouse, meta, secrets, files, env, active: Mutex::default(), at_work, cutting })
    }

    /// Who reads files.
    pub fn files(&self) -> &Arc<dyn Files> {
        &self.files
    }

    /// What an import would do. Errors: files that cannot be read, a table that does not fit.
    pub async fn plan(&self, ctx: &RequestContext, request: &Value) -> Result<ImportPlan, LakehouseError> {
        Ok(self.prepared(ctx, request).await?.plan)
    }

    async fn prepared(&self, ctx: &RequestContext, request: &Value) -> Result<Prepared, LakehouseError> {
        let (options, config) = ImportOptions::split(request)?;
        if options.mode == ImportMode::Cutover {
            let hint = "`tarn import cutover`, over HTTP `POST /api/v1/imports/cutover`";
            return Err(FilesFault::invalid("a cut-over is no import", hint).into());
        }
        let table = options.table()?;
        let resolved = self.secrets.resolve(ctx, &config).await?.into_exposed();
        let mut files = self.files.plan(ctx, &resolved).await?;
        let loaded = match self.lakehouse.catalog().load_table(ctx, &table).await {
            Ok(table) => Some(table),
            Err(LakehouseError::TableNotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        if options.mode == ImportMode::Register {
            self.check_register(ctx, (&options, &table), loaded.as_ref(), &mut files).await?;
        }
        let existing = loaded.map(|table| table.metadata);
        if let Some(metadata) = &existing
            && options.mode != ImportMode::Create
            && files.found.is_text()
            && files.table.is_none()
        {
            // The table's types count, not those that its first values would give.
            files = self.files.plan(ctx, &table::typed(&resolved, metadata, &files.schema)).await?;
        }
        if let (true, true, Some(metadata)) =
            (options.only_new, options.mode != ImportMode::Register, &existing)
        {
            self.leave_known(ctx, &metadata.uuid().to_string(), &mut files).await?;
        }
        let planned = table::planned(&options, &table, existing.as_deref(), &files)?;
        let plan = ImportPlan {
            found: files.found.clone(),
            first_files: files.files.iter().take(FIRST_FILES).map(state::shown).collect(),
            table: planned,
        };
        let snapshot_before = existing.and_then(|metadata| metadata.current_snapshot_id());
        let config = with_references(&files.settled, &config);
        Ok(Prepared { options, table, files, config, plan, snapshot_before })
    }

    /// Begins an import. Errors: those of its plan; `Exhausted` where too many are under way.
    pub async fn start(
        self: &Arc<Self>,
        ctx: &RequestContext,
        request: &Value,
    ) -> Result<Import, LakehouseError> {
        self.check_room()?;
        let prepared = Box::pin(self.prepared(ctx, request)).await?;
        let files = &prepared.files;
        if files.files.is_empty() && (prepared.options.only_new || files.table.is_none()) {
            let hint = "that is all there is; `--follow` waits for more";
            return Err(FilesFault::invalid("all files were imported before", hint).into());
        }
        let stored = Box::pin(self.begin(ctx, request, prepared)).await?;
        self.spawn(ctx, stored.import.id.clone(), stored.options.mode);
        Ok(stored.import)
    }

    fn new_id(&self) -> String {
        let unique = self.env.entropy.uuid().simple().to_string();
        format!("imp-{}", unique.get(..12).unwrap_or(&unique))
    }

    /// Makes the table, where there is none, and keeps what is to be done.
    async fn begin(
        &self,
        ctx: &RequestContext,
        request: &Value,
        prepared: Prepared,
    ) -> Result<Stored, LakehouseError> {
        let Prepared { options, table, files, config, plan, snapshot_before } = prepared;
        let id = self.new_id();
        let existed = plan.table.exists;
        if !existed {
            let terms = table::terms(&options, &files);
            let mark = (mark_property(&id), Mark::default().text());
            self.make_table(ctx, (&table, &files), (&options, &terms), mark).await?;
        }
        let import = Import {
            id: id.clone(),
            state: ImportState::Running,
            path: request.get("path").and_then(Value::as_str).unwrap_or_default().to_string(),
            into: table.to_string(),
            mode: options.mode,
            created_ms: self.env.clock.now_ms(),
            ended_ms: None,
            by: ctx.principal.name.to_string(),
            progress: ImportProgress {
                files_total: files.files.len() as u64,
                bytes_total: plan.found.bytes,
                ..ImportProgress::default()
            },
            error: None,
            report: None,
            plan: Some(plan),
        };
        for (at, chunk) in files.files.chunks(FILES_CHUNK).enumerate() {
            let key = format!("{id}/{at:06}");
            self.meta.put_document(ctx, FILES_SPACE, &key, &json!(chunk), Expected::Any).await?;
        }
        let table_id = self.lakehouse.catalog().load_table(ctx, &table).await?.metadata.uuid().to_string();
        let stored = Stored { import, options, files: config, existed, snapshot_before, table_id };
        self.put(ctx, &stored).await?;
        Ok(stored)
    }

    fn check_room(&self) -> Result<(), LakehouseError> {
        if self.active.lock().len() < ACTIVE_MAX {
            return Ok(());
        }
        Err(FilesFault(FaultReport {
            kind: tarn_core::FaultKind::Exhausted,
            message: format!("{ACTIVE_MAX} imports are under way"),
            hint: Some("wait for one to end, or cancel one".to_string()),
        })
        .into())
    }

    /// Goes on with imports that the end of the server interrupted.
    pub async fn go_on(self: &Arc<Self>, ctx: &RequestContext) -> Result<(), LakehouseError> {
        for stored in self.all(ctx).await? {
            if stored.import.state.is_active() {
                tracing::info!(import = stored.import.id, table = stored.import.into, "import goes on");
                self.spawn(ctx, stored.import.id, stored.options.mode);
            }
        }
        Ok(())
    }

    fn live(&self, mut import: Import) -> Import {
        let progress = self.active.lock().get(&import.id).and_then(|active| active.progress);
        if let Some(progress) = progress {
            import.progress = progress;
        }
        import
    }

    /// All imports, newest first, without their plans.
    pub async fn list(&self, ctx: &RequestContext) -> Result<Vec<Import>, LakehouseError> {
        let mut all: Vec<Import> =
            self.all(ctx).await?.into_iter().map(|stored| self.live(stored.import)).collect();
        all.iter_mut().for_each(|import| import.plan = None);
        all.sort_by_key(|import| std::cmp::Reverse(import.created_ms));
        Ok(all)
    }

    /// One import. Errors: `ImportNotFound`.
    pub async fn get(&self, ctx: &RequestContext, id: &str) -> Result<Import, LakehouseError> {
        Ok(self.live(self.stored(ctx, id).await?.import))
    }

    /// Records that became no rows, in the order of the files. Errors: `ImportNotFound`.
    pub async fn problems(
        &self,
        ctx: &RequestContext,
        id: &str,
        limit: usize,
    ) -> Result<Vec<FileProblem>, LakehouseError> {
        self.stored(ctx, id).await?;
        let documents = self.meta.documents(ctx, PROBLEMS_SPACE, &format!("{id}/")).await?;
        let parsed = documents.into_iter().filter_map(|document| serde_json::from_value(document.value).ok());
        Ok(parsed.take(limit).collect())
    }

    /// Stops an import; what was committed stays. Errors: `ImportNotFound`; it is over already.
    pub async fn cancel(&self, ctx: &RequestContext, id: &str) -> Result<Import, LakehouseError> {
        let mut stored = self.stored(ctx, id).await?;
        if !stored.import.state.is_active() {
            let what = format!("import `{id}` is over");
            return Err(FilesFault::invalid(what, "only one that runs can be cancelled").into());
        }
        let cancel = self.active.lock().get(id).map(|active| active.cancel.clone());
        stored.import.state = ImportState::Cancelled;
        match cancel {
            Some(cancel) => cancel.cancel(),
            // Nobody works on it, so nobody would write it down.
            None => self.put(ctx, &stored).await?,
        }
        Ok(self.live(stored.import))
    }

    /// Goes on with an import that failed or was cancelled, behind what is committed. Errors: `ImportNotFound`; it runs or
    /// is done.
    pub async fn resume(self: &Arc<Self>, ctx: &RequestContext, id: &str) -> Result<Import, LakehouseError> {
        let mut stored = self.stored(ctx, id).await?;
        let is_active = self.active.lock().contains_key(id);
        if is_active || !matches!(stored.import.state, ImportState::Failed | ImportState::Cancelled) {
            let what = format!("import `{id}` cannot go on: it is not failed or cancelled");
            return Err(FilesFault::invalid(what, "`tarn import show` tells its state").into());
        }
        self.check_table(ctx, &stored).await?;
        self.check_room()?;
        (stored.import.state, stored.import.error, stored.import.ended_ms) =
            (ImportState::Running, None, None);
        self.put(ctx, &stored).await?;
        self.spawn(ctx, id.to_string(), stored.options.mode);
        Ok(stored.import)
    }

    fn spawn(self: &Arc<Self>, ctx: &RequestContext, id: String, mode: ImportMode) {
        let cancel = self.env.spawner.stopping().child_token();
        let run = Arc::new(());
        let active = Active { run: Arc::clone(&run), cancel: cancel.clone(), progress: None };
        {
            let mut all = self.active.lock();
            if all.contains_key(&id) {
                return;
            }
            all.insert(id.clone(), active);
        }
        let (imports, mut ctx) = (Arc::clone(self), ctx.clone());
        // What becomes of an import that is cancelled is still written down.
        (ctx.deadline, ctx.cancel) = (None, self.env.spawner.stopping().child_token());
        drop(self.env.spawner.spawn(async move {
            let gate = if mode == ImportMode::Cutover { &imports.cutting } else { &imports.at_work };
            let permit = Arc::clone(gate).acquire_owned().await;
            if let Err(error) = Box::pin(imports.work(&ctx, &id, cancel, &run)).await {
                tracing::error!(
                    import = id,
                    error = chain_text(&error),
                    "what became of an import is not kept"
                );
            }
            imports.retire(&id, &run);
            drop(permit);
        }));
    }

    /// This run of an import is over.
    fn retire(&self, id: &str, run: &Arc<()>) {
        let mut active = self.active.lock();
        if active.get(id).is_some_and(|known| Arc::ptr_eq(&known.run, run)) {
            active.remove(id);
        }
    }

    async fn work(
        self: &Arc<Self>,
        ctx: &RequestContext,
        id: &str,
        cancel: CancellationToken,
        run: &Arc<()>,
    ) -> Result<(), LakehouseError> {
        let mut stored = self.stored(ctx, id).await?;
        let mut attempt = 0;
        let outcome = loop {
            attempt += 1;
            match Box::pin(self.attempt(ctx, &mut stored, &cancel)).await {
                Err(Stop::Fault(error)) if is_transient(&error) && attempt < ATTEMPTS_MAX => {
                    tracing::warn!(import = id, attempt, error = chain_text(&error), "import is tried again");
                    tokio::select! {
                        () = self.env.clock.sleep(PAUSE * attempt) => {}
                        () = cancel.cancelled() => {}
                    }
                }
                outcome => break outcome,
            }
        };
        if let Some(progress) = self.active.lock().get(id).and_then(|active| active.progress) {
            stored.import.progress = progress;
        }
        let table = stored.options.table()?;
        match outcome {
            Ok(()) => stored.import.state = ImportState::Done,
            // It goes on by itself when the server starts again.
            Err(Stop::Stopping) => return Ok(()),
            Err(_) if self.env.spawner.stopping().is_cancelled() => return Ok(()),
            Err(Stop::Cancelled) => stored.import.state = ImportState::Cancelled,
            Err(Stop::Fault(_)) if cancel.is_cancelled() => stored.import.state = ImportState::Cancelled,
            Err(Stop::Record(fault)) => {
                let before = (stored.existed, stored.snapshot_before);
                let left = match stored.options.on_error {
                    OnError::Fail => self.take_back(ctx, &table, id, before).await,
                    OnError::Skip | OnError::Quarantine => Ok("rows that were committed stay"),
                };
                let left = left.unwrap_or("rows that were committed stay");
                let mut report = fault.0;
                report.message = format!("{}; {left}", report.message);
                (stored.import.state, stored.import.error) = (ImportState::Failed, Some(report));
            }
            Err(Stop::Fault(error)) => {
                (stored.import.state, stored.import.error) =
                    (ImportState::Failed, Some(FaultReport::of(&error)));
            }
        }
        stored.import.ended_ms = Some(self.env.clock.now_ms());
        // Whoever reads that it is over may let it go on.
        self.retire(id, run);
        self.put(ctx, &stored).await?;
        if stored.import.state == ImportState::Done {
            self.forget_mark(ctx, &table, id).await;
            self.files.discard(ctx, &stored.files).await;
        }
        tracing::info!(import = id, table = %table, state = ?stored.import.state, "import ended");
        Ok(())
    }

    async fn attempt(
        self: &Arc<Self>,
        ctx: &RequestContext,
        stored: &mut Stored,
        cancel: &CancellationToken,
    ) -> Result<(), Stop> {
        match stored.options.mode {
            ImportMode::Cutover => Box::pin(self.do_cut_over(ctx, stored, cancel)).await,
            _ => Box::pin(self.take(ctx, stored, cancel)).await,
        }
    }

    /// Takes the files in and compares.
    async fn take(
        &self,
        ctx: &RequestContext,
        stored: &mut Stored,
        cancel: &CancellationToken,
    ) -> Result<(), Stop> {
        let id = stored.import.id.clone();
        let table = stored.options.table()?;
        let metadata = self.lakehouse.catalog().load_table(ctx, &table).await?.metadata;
        let mark = metadata.properties().get(&mark_property(&id)).map(|text| Mark::parse(text));
        let is_same = stored.table_id == metadata.uuid().to_string();
        let mark = match (mark, stored.existed) {
            (Some(Some(mark)), _) if is_same => mark,
            (None, true) if is_same => Mark::default(),
            _ => {
                let what = format!("table `{table}` is not the one that import `{id}` began with");
                return Err(FilesFault::invalid(what, "start a new import").into());
            }
        };
        let config =
            self.secrets.resolve(ctx, &stored.files).await.map_err(LakehouseError::from)?.into_exposed();
        let files = self.listed(ctx, &id).await?;
        let job =
            Job { imports: self, ctx, stored, table: table.clone(), files, config, cancel: cancel.clone() };
        let mode = job.stored.options.mode;
        let mark = match mode {
            ImportMode::Register => Box::pin(job.register(mark)).await?,
            _ => Box::pin(job.run(mark)).await?,
        };
        stored.import.state = ImportState::Verifying;
        if let Some(progress) = self.active.lock().get(&id).and_then(|active| active.progress) {
            stored.import.progress = progress;
        }
        self.put(ctx, stored).await?;
        if mode == ImportMode::Register {
            stored.import.report = Some(self.registered_report(ctx, &table, &mark).await?);
            return Ok(());
        }
        let replaced = stored.options.mode == ImportMode::Replace || !stored.existed;
        let before = (stored.snapshot_before, replaced);
        let mut report = self.verify(ctx, (&table, &id), before, &mark.sums, mark.problems).await?;
        report.version = stored.import.plan.as_ref().and_then(|plan| plan.found.version.clone());
        stored.import.report = Some(report);
        Ok(())
    }
}
