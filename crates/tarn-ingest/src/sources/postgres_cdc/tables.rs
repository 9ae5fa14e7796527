//! The tables of a stream: which rows are new, which wait for a snapshot, which are being filled.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tarn_core::Position;

use super::layout::{ColumnTypes, Layout, Note, Phase, is_rewritten};
use super::pgoutput::{Message, Relation, parse};
use super::progress::Progress;
use super::rows::{Place, RowBuffer};
use super::stream::unix_us;
use super::wire::Malformed;
use crate::source::{SourceBatch, SourceEvent, SourceTable};

const ROWS_MAX: usize = 8_192;
const BYTES_MAX: usize = 4 << 20;

/// A transaction whose messages arrive.
#[derive(Clone, Copy, Debug)]
pub struct Transaction {
    /// Position of its commit record.
    pub commit_lsn: u64,
    /// When it was committed, microseconds since 1970 UTC.
    event_us: i64,
    xid: u32,
    /// Changes so far, of all tables.
    change: u64,
}

impl Transaction {
    fn place(&self) -> Place {
        Place { commit_lsn: self.commit_lsn, change: self.change, event_us: self.event_us, xid: self.xid }
    }
}

/// What a message asks for.
#[derive(Debug)]
pub enum Handled {
    /// Nothing.
    Nothing,
    /// The rows of a table should be handed out.
    Full(u32),
    /// A table has a shape that may be new.
    Relation(Relation),
    /// The server wants to hear from us.
    AnswerWanted,
    /// A transaction ended.
    Committed {
        /// Position after its commit record.
        end_lsn: u64,
        /// Position of its commit record.
        commit_lsn: u64,
        /// Changes in it.
        change: u64,
    },
}

/// Messages that wait for a snapshot, with their transactions.
pub type Held = VecDeque<(Transaction, Vec<u8>)>;

#[derive(Debug)]
struct StreamTable {
    table: SourceTable,
    /// Position of the last row that was handed out; rows at or before it are skipped.
    emitted: Position,
    note: Note,
    /// The note as it is stored.
    encoded: Vec<u8>,
    buffer: Option<RowBuffer>,
    /// While the existing rows are read.
    held: Option<Held>,
    /// A batch was handed out in the middle of this transaction.
    split_in: Option<u64>,
}

/// The tables of a stream by number.
#[derive(Debug, Default)]
pub struct Tables {
    tables: FxHashMap<u32, StreamTable>,
    held_bytes: usize,
    filling_bytes: usize,
    filling_rows: usize,
}

impl Tables {
    /// Adds a table. `emitted`: position of its last row; `held`: its existing rows are being read.
    /// `types`: of its columns, as far as they are known.
    pub fn add(
        &mut self,
        oid: u32,
        table: SourceTable,
        system: &str,
        types: ColumnTypes,
        emitted: Position,
        held: bool,
    ) {
        let (phase, system) = (Phase::Stream, system.to_string());
        let note = Note { phase, oid, system, types };
        let held = held.then(VecDeque::new);
        let encoded = note.encode();
        let table = StreamTable { table, emitted, note, encoded, buffer: None, held, split_in: None };
        self.tables.insert(oid, table);
    }

    /// Bytes of messages that wait for a snapshot.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether existing rows of some table are being read.
    pub fn any_held(&self) -> bool {
        self.tables.values().any(|table| table.held.is_some())
    }

    /// Bytes of rows being filled.
    pub fn filling_bytes(&self) -> usize {
        self.filling_bytes
    }

    /// Rows being filled.
    pub fn filling_rows(&self) -> usize {
        self.filling_rows
    }

    /// Numbers of the tables that have rows being filled.
    pub fn filling(&self) -> Vec<u32> {
        let with_rows = |table: &StreamTable| table.buffer.as_ref().is_some_and(|buffer| buffer.rows() > 0);
        self.tables.iter().filter(|(_, table)| with_rows(table)).map(|(oid, _)| *oid).collect()
    }

    /// Whether a table is read under this name.
    pub fn knows(&self, oid: u32, name: &SourceTable) -> bool {
        self.tables.get(&oid).is_some_and(|table| table.table == *name)
    }

    /// The name of a table.
    pub fn name(&self, oid: u32) -> Option<SourceTable> {
        self.tables.get(&oid).map(|table| table.table.clone())
    }

    /// Position of the last row handed out, per table.
    pub fn emitted(&self) -> impl Iterator<Item = (u32, &SourceTable, Position)> {
        self.tables.iter().map(|(oid, table)| (*oid, &table.table, table.emitted))
    }

    /// The shape of a table, once a message described it.
    pub fn layout(&self, oid: u32) -> Option<Arc<Layout>> {
        self.tables.get(&oid).and_then(|table| table.buffer.as_ref()).map(|buffer| buffer.layout().clone())
    }

    /// Takes a new shape. The rows under the old one were taken before.
    ///
    /// Returns whether values of rows that were read before may be others now.
    pub fn set_layout(&mut self, oid: u32, layout: Arc<Layout>) -> bool {
        let Some(table) = self.tables.get_mut(&oid) else { return false };
        let types = layout.types();
        let rewritten = is_rewritten(&table.note.types, &types);
        table.note.types = types;
        table.encoded = table.note.encode();
        table.buffer = Some(RowBuffer::new(layout));
        rewritten
    }

    /// Types of a table's columns, as far as they are known.
    pub fn types(&self, oid: u32) -> ColumnTypes {
        self.tables.get(&oid).map(|table| table.note.types.clone()).unwrap_or_default()
    }

    /// Handles a message of the stream.
    pub fn handle(
        &mut self,
        body: &[u8],
        transaction: &mut Option<Transaction>,
        progress: &Mutex<Progress>,
    ) -> Result<Handled, Malformed> {
        let message = parse(body)?;
        match message {
            Message::Begin { commit_lsn, committed_us, xid } => {
                *transaction =
                    Some(Transaction { commit_lsn, event_us: unix_us(committed_us), xid, change: 0 });
                Ok(Handled::Nothing)
            }
            Message::Commit { end_lsn } => {
                let ended = transaction.take().ok_or(Malformed("ends a transaction that did not start"))?;
                Ok(Handled::Committed { end_lsn, commit_lsn: ended.commit_lsn, change: ended.change })
            }
            Message::Other => Ok(Handled::Nothing),
            Message::Relation(relation) => {
                let known = transaction.as_ref().copied().unwrap_or(Transaction {
                    commit_lsn: 0,
                    event_us: 0,
                    xid: 0,
                    change: 0,
                });
                if !self.tables.contains_key(&relation.oid) || self.hold(relation.oid, known, body, None) {
                    return Ok(Handled::Nothing);
                }
                Ok(Handled::Relation(relation))
            }
            Message::Insert { oid, .. } | Message::Update { oid, .. } | Message::Delete { oid, .. } => {
                let current =
                    transaction.as_mut().ok_or(Malformed("holds a row outside of a transaction"))?;
                let place = *current;
                current.change += 1;
                self.change(oid, place, body, message, progress)
            }
            Message::Truncate { ref oids } => {
                let current =
                    transaction.as_mut().ok_or(Malformed("holds a row outside of a transaction"))?;
                let place = *current;
                current.change += 1;
                let mut full = Handled::Nothing;
                for oid in oids.clone() {
                    if self.hold(oid, place, body, Some(progress)) {
                        continue;
                    }
                    if let Handled::Full(oid) = self.apply(oid, place, &message, progress)? {
                        full = Handled::Full(oid);
                    }
                }
                Ok(full)
            }
        }
    }

    fn change(
        &mut self,
        oid: u32,
        transaction: Transaction,
        body: &[u8],
        message: Message<'_>,
        progress: &Mutex<Progress>,
    ) -> Result<Handled, Malformed> {
        if self.hold(oid, transaction, body, Some(progress)) {
            return Ok(Handled::Nothing);
        }
        self.apply(oid, transaction, &message, progress)
    }

    /// Keeps a message back while the existing rows of its table are read. Returns whether it did.
    fn hold(
        &mut self,
        oid: u32,
        transaction: Transaction,
        body: &[u8],
        progress: Option<&Mutex<Progress>>,
    ) -> bool {
        let Some(table) = self.tables.get_mut(&oid) else { return false };
        let Some(held) = table.held.as_mut() else { return false };
        if let Some(progress) = progress {
            progress.lock().filling(&table.table, transaction.commit_lsn);
        }
        held.push_back((transaction, body.to_vec()));
        self.held_bytes += body.len();
        true
    }

    /// The existing rows of a table are read up to `last`: gives back the messages that waited.
    pub fn release(&mut self, oid: u32, last: Position) -> Held {
        let Some(table) = self.tables.get_mut(&oid) else { return Held::new() };
        table.emitted = last;
        let held = table.held.take().unwrap_or_default();
        self.held_bytes -= held.iter().map(|(_, body)| body.len()).sum::<usize>();
        held
    }

    /// Handles a message that waited, as far as it concerns its table.
    pub fn replay(
        &mut self,
        oid: u32,
        transaction: Transaction,
        body: &[u8],
        progress: &Mutex<Progress>,
    ) -> Result<Handled, Malformed> {
        match parse(body)? {
            Message::Relation(relation) => Ok(Handled::Relation(relation)),
            message => self.apply(oid, transaction, &message, progress),
        }
    }

    /// After the messages that waited: if all of them were part of the snapshot, none holds back the server's log.
    pub fn forget_skipped(&mut self, oid: u32, progress: &Mutex<Progress>) {
        let Some(table) = self.tables.get(&oid) else { return };
        if table.buffer.as_ref().is_none_or(|buffer| buffer.rows() == 0) {
            progress.lock().nothing_filled(&table.table);
        }
    }

    fn apply(
        &mut self,
        oid: u32,
        transaction: Transaction,
        message: &Message<'_>,
        progress: &Mutex<Progress>,
    ) -> Result<Handled, Malformed> {
        let Some(table) = self.tables.get_mut(&oid) else { return Ok(Handled::Nothing) };
        let place = transaction.place();
        if place.after() <= table.emitted {
            return Ok(Handled::Nothing);
        }
        let buffer =
            table.buffer.as_mut().ok_or(Malformed("holds a row of a table that was not described"))?;
        let (rows, bytes) = (buffer.rows(), buffer.bytes());
        if rows == 0 {
            progress.lock().filling(&table.table, transaction.commit_lsn);
        }
        match *message {
            Message::Insert { new, .. } => buffer.insert(place, new)?,
            Message::Update { old, new, .. } => buffer.update(place, old, new)?,
            Message::Delete { old, .. } => buffer.delete(place, old)?,
            Message::Truncate { .. } => buffer.truncate(place),
            _ => {}
        }
        self.filling_rows += buffer.rows() - rows;
        self.filling_bytes += buffer.bytes() - bytes;
        let full = buffer.rows() >= ROWS_MAX || buffer.bytes() >= BYTES_MAX;
        Ok(if full { Handled::Full(oid) } else { Handled::Nothing })
    }

    /// The events that hand out the rows of a table. `open`: commit position of the transaction that still runs.
    pub fn take(
        &mut self,
        oid: u32,
        open: Option<u64>,
        progress: &Mutex<Progress>,
    ) -> Result<Vec<SourceEvent>, ArrowError> {
        let Some(table) = self.tables.get_mut(&oid) else { return Ok(Vec::new()) };
        let Some(buffer) = table.buffer.as_mut().filter(|buffer| buffer.rows() > 0) else {
            return Ok(Vec::new());
        };
        self.filling_rows -= buffer.rows();
        self.filling_bytes -= buffer.bytes();
        let filled = buffer.take()?;
        table.emitted = filled.last;
        let transaction_end = open != Some(filled.last.major);
        table.split_in = (!transaction_end).then_some(filled.last.major);
        progress.lock().handed_out(&table.table, filled.last);
        let mut events: Vec<SourceEvent> = filled.dead.into_iter().map(SourceEvent::DeadLetter).collect();
        events.push(SourceEvent::Rows(SourceBatch {
            table: table.table.clone(),
            rows: filled.rows,
            part: String::new(),
            position: filled.last,
            note: table.encoded.clone(),
            transaction_end,
        }));
        Ok(events)
    }

    /// A transaction ended: tables of which a part was handed out before, and nothing is left, get an empty batch
    /// that says so.
    pub fn close_transaction(
        &mut self,
        commit_lsn: u64,
        change: u64,
        progress: &Mutex<Progress>,
    ) -> Vec<SourceEvent> {
        let mut events = Vec::new();
        for table in self.tables.values_mut().filter(|table| table.split_in == Some(commit_lsn)) {
            table.split_in = None;
            let Some(buffer) = table.buffer.as_ref() else { continue };
            if buffer.rows() > 0 {
                continue;
            }
            let position = Place { commit_lsn, change, event_us: 0, xid: 0 }.after();
            table.emitted = position;
            let mut progress = progress.lock();
            progress.filling(&table.table, commit_lsn);
            progress.handed_out(&table.table, position);
            drop(progress);
            events.push(SourceEvent::Rows(SourceBatch {
                table: table.table.clone(),
                rows: RecordBatch::new_empty(buffer.layout().change_schema.clone()),
                part: String::new(),
                position,
                note: table.encoded.clone(),
                transaction_end: true,
            }));
        }
        events
    }
}
