//! Files become rows of a table, window by window. Each commit says how far it is, so going on takes each record once.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tarn_core::files::{FileChunk, FileProblem, FilesFault, ListedFile};
use tarn_core::{Fault, FaultKind, RequestContext, TableName};
use tokio_util::sync::CancellationToken;

use super::state::{ImportMode, ImportProgress, OnError, Stored};
use super::sums::{Summer, Sums};
use super::{Imports, SKIPPED_KEPT, SUMMARY, mark_property};
use crate::error::LakehouseError;
use crate::types::Conformer;
use crate::write::TableWriter;

/// Rows and bytes (in memory) after which what was read is committed.
const WINDOW_ROWS: u64 = 1_000_000;
const WINDOW_BYTES: usize = 512 << 20;

/// How far a table is with an import; a property of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Files before it are done.
    pub(super) file: usize,
    /// Records of that file that are done.
    pub(super) records: u64,
    pub(super) problems: u64,
    pub(super) sums: Sums,
}

impl Mark {
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// Why an import stops before its end.
pub(super) enum Stop {
    Cancelled,
    /// The server ends; the import goes on when it starts again.
    Stopping,
    /// A record is no row, and there must be none.
    Record(FilesFault),
    Fault(LakehouseError),
}

impl<E: Into<LakehouseError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

/// An import at work.
pub(super) struct Job<'a> {
    pub(super) imports: &'a Imports,
    pub(super) ctx: &'a RequestContext,
    pub(super) stored: &'a Stored,
    pub(super) table: TableName,
    pub(super) files: Vec<ListedFile>,
    /// With secrets.
    pub(super) config: Value,
    pub(super) cancel: CancellationToken,
}

/// What is being written and not committed yet.
struct Window {
    writer: TableWriter,
    schema: SchemaRef,
    summer: Option<Summer>,
    /// How far the table is.
    before: Option<String>,
    rows: u64,
    bytes: usize,
}

impl Imports {
    /// Errors: it was cancelled, or the server ends.
    pub(super) fn check_going(&self, cancel: &CancellationToken) -> Result<(), Stop> {
        match (cancel.is_cancelled(), self.env.spawner.stopping().is_cancelled()) {
            (_, true) => Err(Stop::Stopping),
            (true, false) => Err(Stop::Cancelled),
            (false, false) => Ok(()),
        }
    }
}

impl Job<'_> {
    fn id(&self) -> &str {
        &self.stored.import.id
    }

    async fn begin(&self) -> Result<Window, LakehouseError> {
        let mut writer = self.imports.lakehouse.write(self.ctx, &self.table).await?;
        if self.stored.options.mode == ImportMode::Replace {
            writer.replace_all();
        }
        let schema = Arc::clone(writer.schema());
        let arrow = |source| LakehouseError::Arrow { table: self.table.to_string(), source };
        let summer = Summer::new(&schema).map_err(arrow)?;
        let before = writer.view().metadata.properties().get(&mark_property(self.id())).cloned();
        Ok(Window { writer, schema, summer, before, rows: 0, bytes: 0 })
    }

    async fn commit(&self, window: Window, mark: &Mark) -> Result<(), LakehouseError> {
        let mut writer = window.writer;
        let summary = (SUMMARY.to_string(), self.id().to_string());
        writer.mark(mark_property(self.id()), window.before, mark.text(), summary);
        Box::pin(writer.commit()).await.map(drop)
    }

    /// Reads what the table does not have yet. Returns how far it is then.
    pub(super) async fn run(&self, mut mark: Mark) -> Result<Mark, Stop> {
        let emptied = self.files.is_empty() && self.stored.options.mode == ImportMode::Replace;
        if mark.file >= self.files.len() && !emptied {
            // It was interrupted behind its last commit; another one could take rows away again.
            return Ok(mark);
        }
        let mut window = self.begin().await?;
        let mut done_bytes: u64 = self.files.iter().take(mark.file).map(|file| file.bytes).sum();
        while let Some(file) = self.files.get(mark.file) {
            let files = &self.imports.files;
            let mut reader = files.read(self.ctx, &self.config, file, mark.records).await?;
            let mut conformer: Option<(SchemaRef, Conformer)> = None;
            while let Some(chunk) = reader.next().await? {
                self.check_going()?;
                let is_known =
                    conformer.as_ref().is_some_and(|(schema, _)| schema == chunk.rows.schema_ref());
                if !is_known {
                    let metadata = Arc::clone(&window.writer.view().metadata);
                    let made = Conformer::new(&self.table.to_string(), &metadata, chunk.rows.schema_ref())?;
                    conformer = Some((Arc::clone(chunk.rows.schema_ref()), made));
                }
                let Some((_, conformer)) = &conformer else { continue };
                self.take(&mut window, &mut mark, conformer, &chunk).await?;
                mark.records += chunk.records;
                self.show(&mark, done_bytes + reader.bytes_read());
                let is_full = window.rows >= WINDOW_ROWS || window.bytes >= WINDOW_BYTES;
                // Rows that take the place of all others come in one commit with them.
                if is_full && self.stored.options.mode != ImportMode::Replace {
                    self.commit(window, &mark).await?;
                    self.imports.keep_progress(self.ctx, self.id()).await?;
                    window = self.begin().await?;
                }
            }
            done_bytes += file.bytes;
            mark.file += 1;
            mark.records = 0;
            self.show(&mark, done_bytes);
        }
        self.commit(window, &mark).await?;
        Ok(mark)
    }

    pub(super) fn check_going(&self) -> Result<(), Stop> {
        self.imports.check_going(&self.cancel)
    }

    pub(super) fn show(&self, mark: &Mark, bytes_done: u64) {
        self.imports.show(
            self.id(),
            ImportProgress {
                files_total: self.files.len() as u64,
                files_done: mark.file as u64,
                bytes_total: self.files.iter().map(|file| file.bytes).sum(),
                bytes_done,
                rows: mark.sums.rows,
                problems: mark.problems,
            },
        );
    }

    async fn take(
        &self,
        window: &mut Window,
        mark: &mut Mark,
        conformer: &Conformer,
        chunk: &FileChunk,
    ) -> Result<(), Stop> {
        self.keep_problems(mark, &chunk.problems).await?;
        if chunk.rows.num_rows() == 0 {
            return Ok(());
        }
        let table = || self.table.to_string();
        let arrow = |source| LakehouseError::Arrow { table: table(), source };
        let columns = conformer.columns(&chunk.rows)?;
        let options = RecordBatchOptions::new().with_row_count(Some(chunk.rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&window.schema), columns, &options);
        let rows = rows.map_err(|error| self.not_fitting(mark, &error))?;
        match &mut window.summer {
            Some(summer) => summer.add(&mut mark.sums, &rows, false).map_err(arrow)?,
            None => mark.sums.rows += rows.num_rows() as u64,
        }
        window.rows += rows.num_rows() as u64;
        window.bytes += rows.get_array_memory_size();
        window.writer.append(rows).await?;
        Ok(())
    }

    fn not_fitting(&self, mark: &Mark, error: &arrow::error::ArrowError) -> Stop {
        let file = self.files.get(mark.file).map(|file| file.location.as_str()).unwrap_or_default();
        let what = format!("`{file}`, near record {}: {error}", mark.records + 1);
        Stop::Record(FilesFault::invalid(what, "a required column is null; mend the file or the table"))
    }

    async fn keep_problems(&self, mark: &mut Mark, problems: &[FileProblem]) -> Result<(), Stop> {
        let options = &self.stored.options;
        if let (Some(first), OnError::Fail) = (problems.first(), options.on_error) {
            let what = format!("{}:{}: {}", first.file, first.line, first.reason);
            let hint = "mend the file, give the column another type (`columns`: `--column name=string`), or leave such \
                        records out (`on_error`: `skip` or `quarantine`)";
            return Err(Stop::Record(FilesFault::invalid(what, hint)));
        }
        for problem in problems {
            mark.problems += 1;
            if options.on_error == OnError::Quarantine || mark.problems <= SKIPPED_KEPT {
                self.imports.keep_problem(self.ctx, self.id(), mark.file, problem).await?;
            }
        }
        match mark.problems > options.errors_max {
            false => Ok(()),
            true => Err(Stop::Record(FilesFault::invalid(
                format!("more than {} records are no rows", options.errors_max),
                "look at the problems; raise `errors_max` if they may be left out",
            ))),
        }
    }
}

/// Whether trying again may help.
pub(super) fn is_transient(error: &LakehouseError) -> bool {
    error.kind().is_transient() && error.kind() != FaultKind::Exhausted
}
