//! Reads files one after the other and goes on with new and appended ones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tarn_core::change::{ChangeColumns, change_schema, positions_array};
use tarn_core::{ChangeKind, Position};

use super::bytes::BytesError;
use super::config::{Compression, FileFormat, OnRewrite};
use super::ledger::{Ledger, Mark};
use super::listing::FileInfo;
use super::note;
use super::opener::{Continue, Format, Opener};
use super::plan::{Decision, decide, format_of};
use super::sink::FileRows;
use crate::error::IngestError;
use crate::records::{Fingerprint, schema_of_columns};
use crate::source::{
    DeadLetter, Progress, Resume, Source, SourceBatch, SourceEvent, SourceTable, TableDescription,
};

const SAY_EVERY: Duration = Duration::from_secs(1);

/// A file that waits for its turn.
#[derive(Debug)]
struct Task {
    file: FileInfo,
    mark: Option<Mark>,
}

/// The file being read.
struct Open {
    file: FileInfo,
    path_hash: u64,
    number: u64,
    format: Format,
}

/// A running reader. The position of a row is (number of the file read, place behind the row in it); a file that is
/// read to its end ends with (number, `u64::MAX`).
pub(super) struct FileSource {
    opener: Opener,
    schema: Option<(SchemaRef, String)>,
    described: bool,
    ledger: Ledger,
    next_number: u64,
    queue: VecDeque<Task>,
    open: Option<Open>,
    ready: VecDeque<SourceEvent>,
    next_look: Option<Instant>,
    looked: bool,
    said: Instant,
    rows: u64,
}

pub(super) fn path_hash(file: &FileInfo) -> u64 {
    Fingerprint::new().add(file.path.as_ref().as_bytes()).value()
}

fn broken(error: impl std::fmt::Display) -> IngestError {
    IngestError::Broken { source_type: "file".to_string(), what: error.to_string() }
}

impl FileSource {
    pub(super) fn new(opener: Opener, resume: &Resume) -> Result<Self, IngestError> {
        let start = note::read(resume, &opener.table)?;
        let mut schema = start.schema;
        if schema.is_none() && !opener.config.schema.is_empty() {
            schema = Some(schema_of_columns(&opener.config.schema));
        }
        let schema = match schema {
            Some(schema) => Some((Arc::clone(&schema), note::schema_text(&schema)?)),
            None => None,
        };
        Ok(Self {
            said: opener.env.clock.instant(),
            opener,
            schema,
            described: false,
            ledger: start.ledger,
            next_number: start.next_number.max(1),
            queue: VecDeque::new(),
            open: None,
            ready: VecDeque::new(),
            next_look: None,
            looked: false,
            rows: 0,
        })
    }

    fn letter(&self, file: &FileInfo, reason: String) -> SourceEvent {
        let at = self.opener.listing.shown(&file.path);
        let (table, record) = (Some(self.opener.table.clone()), at.clone());
        SourceEvent::DeadLetter(DeadLetter { table, record, reason, at })
    }

    /// Looks for files to read. Dropping the future loses nothing.
    async fn look(&mut self) -> Result<(), IngestError> {
        let started = self.opener.env.clock.instant();
        let files = self.opener.listing.files().await?;
        if files.is_empty() && !self.opener.config.watch && !self.looked {
            let what = format!("no file matches `{}`", self.opener.config.path);
            return Err(IngestError::config(
                "path",
                what,
                "check the path, or set `watch: true` to wait for files",
            ));
        }
        let now_us = self.opener.env.clock.now_us();
        for file in files {
            let mark = self.ledger.get(path_hash(&file));
            match decide(&self.opener.config, &file, mark, now_us, self.opener.is_local()) {
                Decision::Leave => {}
                Decision::Read => self.queue.push_back(Task { file, mark }),
            }
        }
        self.looked = true;
        // A listing that takes long is made less often.
        let took = self.opener.env.clock.instant().saturating_duration_since(started);
        self.next_look = Some(self.opener.env.clock.instant() + self.opener.config.poll.0.max(took * 10));
        Ok(())
    }

    /// Opens the first waiting file, or gives it up. Dropping the future loses nothing.
    async fn open_next(&mut self) -> Result<(), IngestError> {
        let Some(task) = self.queue.front() else { return Ok(()) };
        let (file, mark) = (task.file.clone(), task.mark);
        let opened = self.try_open(&file, mark).await;
        let tail = match &opened {
            Err(BytesError::File(_)) => self.opener.tail_at_end(&file).await?,
            Ok(_) | Err(BytesError::Store(_)) => 0,
        };
        self.queue.pop_front();
        match opened {
            Ok(open) => self.open = open,
            Err(BytesError::Store(IngestError::Storage(tarn_storage::StorageError::NotFound { .. }))) => {
                tracing::debug!(file = %file.path, "file vanished before it was read");
            }
            Err(BytesError::Store(error)) => return Err(error),
            Err(BytesError::File(reason)) => self.give_up(&file, None, tail, reason)?,
        }
        Ok(())
    }

    async fn try_open(&mut self, file: &FileInfo, mark: Option<Mark>) -> Result<Option<Open>, BytesError> {
        let (format, compression) = format_of(&self.opener.config, &file.path).map_err(BytesError::File)?;
        let from = match mark {
            Some(mark) => match self.opener.continue_from(file, mark, format, compression).await? {
                Continue::From(mark) => Some(mark),
                Continue::Unchanged => {
                    self.ledger.set(Mark { tag: file.tag, ..mark });
                    return Ok(None);
                }
                Continue::Rewritten if self.opener.config.on_rewrite == OnRewrite::Reread => None,
                Continue::Rewritten => {
                    let reason = "the part that was read before has changed; what is in it now is not read, what is \
                                  appended later is. Give new content a new name, or set `on_rewrite: reread`";
                    return Err(BytesError::File(reason.to_string()));
                }
            },
            None => None,
        };
        let Some(schema) = self.ensure_schema(file, format, compression).await? else { return Ok(None) };
        let (format, letters) = self.opener.open(file, from, (format, compression), schema).await?;
        self.ready.extend(letters.into_iter().map(SourceEvent::DeadLetter));
        let number = self.next_number;
        self.next_number += 1;
        Ok(Some(Open { file: file.clone(), path_hash: path_hash(file), number, format }))
    }

    /// The table's schema; taken from this file if it is the first. `None` if the file has no rows to take it from.
    async fn ensure_schema(
        &mut self,
        file: &FileInfo,
        format: FileFormat,
        compression: Compression,
    ) -> Result<Option<SchemaRef>, BytesError> {
        if self.schema.is_none() {
            let Some(schema) = self.opener.infer(file, format, compression).await? else { return Ok(None) };
            let text = note::schema_text(&schema).map_err(BytesError::Store)?;
            self.schema = Some((schema, text));
        }
        self.describe();
        Ok(self.schema.as_ref().map(|(schema, _)| Arc::clone(schema)))
    }

    fn describe(&mut self) {
        if let Some((schema, _)) = &self.schema
            && !std::mem::replace(&mut self.described, true)
        {
            let (table, key) = (self.opener.table.clone(), self.opener.config.key.clone());
            let description = TableDescription { table, schema: Arc::clone(schema), key };
            self.ready.push_back(SourceEvent::Table(description));
        }
    }

    /// Reads on in the open file. Dropping the future loses nothing.
    async fn read_on(&mut self) -> Result<(), IngestError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let step = match &mut open.format {
            Format::Text(reader) => match reader.step().await {
                Ok(more) if more && !reader.sink.is_full() => return Ok(()),
                Ok(more) => reader
                    .sink
                    .take()
                    .map(|rows| (rows, more))
                    .map_err(|error| BytesError::Store(broken(error))),
                Err(error) => Err(error),
            },
            Format::Parquet(reader) => match reader.next(&self.opener.listing.store, &open.file).await {
                Ok(Some(rows)) => Ok((rows, true)),
                Ok(None) => Ok(((FileRows { columns: Vec::new(), ends: Vec::new() }, Vec::new()), false)),
                Err(error) => Err(error),
            },
        };
        match step {
            Ok(((rows, letters), more)) => self.give(rows, letters, more),
            Err(BytesError::Store(error)) => Err(error),
            Err(BytesError::File(reason)) => {
                let tail = self.opener.tail_at_end(&open.file).await?;
                let Some(open) = self.open.take() else { return Ok(()) };
                self.give_up(&open.file, Some(open.number), tail, reason)
            }
        }
    }

    /// Queues rows with the state that covers them.
    fn give(&mut self, rows: FileRows, letters: Vec<DeadLetter>, more: bool) -> Result<(), IngestError> {
        let Some(open) = &self.open else { return Ok(()) };
        let (number, modified_us) = (open.number, open.file.modified_us);
        let mark = match &open.format {
            Format::Text(reader) => reader.mark(open.path_hash, open.file.tag, more),
            Format::Parquet(reader) => reader.mark(open.path_hash, open.file.tag, more),
        };
        self.ready.extend(letters.into_iter().map(SourceEvent::DeadLetter));
        let end = if more { rows.ends.last().copied().unwrap_or(mark.read) } else { u64::MAX };
        let batch = self.batch(rows, number, modified_us)?;
        if !more {
            self.open = None;
        }
        // A piece without rows and without progress has no state of its own.
        if batch.num_rows() > 0 || !more {
            self.push_state(batch, mark, Position::new(number, end))?;
        }
        Ok(())
    }

    fn batch(&mut self, rows: FileRows, number: u64, modified_us: i64) -> Result<RecordBatch, IngestError> {
        let Some((schema, _)) = &self.schema else { return Err(broken("rows without a schema")) };
        let count = rows.ends.len();
        if count == 0 {
            return Ok(RecordBatch::new_empty(change_schema(schema)));
        }
        self.rows += count as u64;
        let added = ChangeColumns {
            kind: vec![ChangeKind::Insert as i8; count].into(),
            event_time: TimestampMicrosecondArray::from(vec![modified_us; count]).with_timezone("UTC"),
            position: positions_array(rows.ends.iter().map(|end| Position::new(number, *end))),
            transaction: UInt64Array::from(vec![None; count]),
            unchanged: StringArray::from(vec![None::<&str>; count]),
        };
        added.attach(schema, rows.columns).map_err(broken)
    }

    fn push_state(&mut self, rows: RecordBatch, mark: Mark, position: Position) -> Result<(), IngestError> {
        self.ledger.set(mark);
        let Some((schema, text)) = &self.schema else { return Err(broken("a state without a schema")) };
        // Chunks become durable before the note that no longer holds their marks.
        for chunk in self.ledger.spill()? {
            self.ready.push_back(SourceEvent::Rows(SourceBatch {
                table: self.opener.table.clone(),
                rows: RecordBatch::new_empty(change_schema(schema)),
                part: chunk.part,
                position: chunk.position,
                note: chunk.note,
                transaction_end: true,
            }));
        }
        self.ready.push_back(SourceEvent::Rows(SourceBatch {
            table: self.opener.table.clone(),
            rows,
            part: String::new(),
            position,
            note: note::write(text, &self.ledger)?,
            transaction_end: true,
        }));
        Ok(())
    }

    /// Reports a file that cannot be read and remembers its content, so that only what is appended is tried later.
    fn give_up(
        &mut self,
        file: &FileInfo,
        number: Option<u64>,
        tail: u32,
        reason: String,
    ) -> Result<(), IngestError> {
        self.ready.push_back(self.letter(file, format!("the file cannot be read: {reason}")));
        let path = path_hash(file);
        let lines = self.ledger.get(path).map_or(0, |mark| mark.lines);
        let mark = Mark { path, read: file.size, tag: file.tag, tail, lines, partial: false };
        let Some((schema, _)) = &self.schema else {
            self.ledger.set(mark);
            return Ok(());
        };
        let rows = RecordBatch::new_empty(change_schema(schema));
        self.describe();
        let number = number.unwrap_or_else(|| {
            self.next_number += 1;
            self.next_number - 1
        });
        self.push_state(rows, mark, Position::new(number, u64::MAX))
    }

    fn progress(&self) -> Progress {
        let message = match &self.open {
            Some(open) => {
                format!(
                    "reading {}, {} files wait",
                    self.opener.listing.shown(&open.file.path),
                    self.queue.len()
                )
            }
            None if self.ledger.len() == 0 => format!("no file matches `{}` yet", self.opener.config.path),
            None => format!("{} files read", self.ledger.len()),
        };
        Progress { rows_done: self.rows, rows_estimated: None, message: Some(message) }
    }
}

/// Reads until the first rows, for a connection test; says what they look like. Errors: the first record that does
/// not fit, or the fault of the file.
pub(super) async fn first_rows(source: &mut FileSource) -> Result<String, IngestError> {
    while let Some(event) = source.next().await? {
        match event {
            SourceEvent::Rows(batch) if batch.rows.num_rows() > 0 => {
                let names: Vec<String> = source
                    .schema
                    .iter()
                    .flat_map(|(schema, _)| schema.fields())
                    .map(|f| f.name().clone())
                    .collect();
                return Ok(format!("{} columns: {}", names.len(), names.join(", ")));
            }
            SourceEvent::DeadLetter(letter) => {
                return Err(IngestError::Decode { what: letter.at, source: letter.reason.into() });
            }
            SourceEvent::Table(description) => check_key(&description)?,
            SourceEvent::Rows(_)
            | SourceEvent::Progress(_)
            | SourceEvent::Missing(_)
            | SourceEvent::Idle { .. } => {}
        }
    }
    Ok("it has no rows yet".to_string())
}

fn check_key(description: &TableDescription) -> Result<(), IngestError> {
    let missing = description.key.iter().find(|column| description.schema.field_with_name(column).is_err());
    missing.map_or(Ok(()), |column| {
        let what = format!("the file has no column `{column}`");
        Err(IngestError::config("key", what, "name columns of the file"))
    })
}

#[async_trait]
impl Source for FileSource {
    async fn next(&mut self) -> Result<Option<SourceEvent>, IngestError> {
        loop {
            self.describe();
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let now = self.opener.env.clock.instant();
            if now.saturating_duration_since(self.said) >= SAY_EVERY {
                self.said = now;
                return Ok(Some(SourceEvent::Progress(self.progress())));
            }
            if self.open.is_some() {
                self.read_on().await?;
            } else if !self.queue.is_empty() {
                self.open_next().await?;
            } else if self.looked && !self.opener.config.watch {
                return Ok(None);
            } else if self.next_look.is_none_or(|at| now >= at) {
                self.look().await?;
                if self.queue.is_empty() && self.opener.config.watch {
                    return Ok(Some(SourceEvent::Idle { lag_bytes: Some(0) }));
                }
            } else {
                let until = self.next_look.map_or(SAY_EVERY, |at| at.saturating_duration_since(now));
                let until_said = SAY_EVERY.saturating_sub(now.saturating_duration_since(self.said));
                self.opener.env.clock.sleep(until.min(until_said).max(Duration::from_millis(1))).await;
                if until > until_said {
                    return Ok(Some(SourceEvent::Idle { lag_bytes: Some(0) }));
                }
            }
        }
    }

    async fn acknowledge(&mut self, _: &SourceTable, _: &str, _: Position) -> Result<(), IngestError> {
        // Files forget nothing.
        Ok(())
    }
}
