//! Change rows of one table under construction.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryArray, Int8Array, RecordBatch, StringBuilder, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::error::ArrowError;
use tarn_core::{ChangeKind, Position};

use super::layout::Layout;
use super::pgoutput::{Cell, OldRow, Tuple};
use super::values::{Unmapped, Values};
use super::wire::Malformed;
use crate::source::DeadLetter;

/// Bytes of the five added columns of a row, about.
const ADDED_BYTES: usize = 40;

/// Where a row comes from.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Position of the transaction's commit record.
    pub commit_lsn: u64,
    /// Number of the change within its transaction, from 0.
    pub change: u64,
    /// When the transaction was committed, microseconds since 1970 UTC.
    pub event_us: i64,
    /// The transaction.
    pub xid: u32,
}

impl Place {
    /// Position of the change's old row.
    fn before(self) -> Position {
        Position::new(self.commit_lsn, 2 * self.change + 1)
    }

    /// Position of the change's only or new row.
    pub fn after(self) -> Position {
        Position::new(self.commit_lsn, 2 * self.change + 2)
    }
}

/// Rows of one layout from the stream.
#[derive(Debug)]
pub struct RowBuffer {
    layout: Arc<Layout>,
    values: Vec<Values>,
    kinds: Vec<i8>,
    times: Vec<i64>,
    positions: Vec<u8>,
    transactions: Vec<u64>,
    unchanged: StringBuilder,
    last: Position,
    bytes: usize,
    dead: Vec<DeadLetter>,
}

/// What a buffer gave.
#[derive(Debug)]
pub struct Filled {
    /// The rows.
    pub rows: RecordBatch,
    /// Position of the last one.
    pub last: Position,
    /// Values that have no place in their columns.
    pub dead: Vec<DeadLetter>,
}

impl RowBuffer {
    /// An empty buffer.
    pub fn new(layout: Arc<Layout>) -> Self {
        Self {
            values: layout.columns.iter().map(|column| Values::new(column.kind)).collect(),
            layout,
            kinds: Vec::new(),
            times: Vec::new(),
            positions: Vec::new(),
            transactions: Vec::new(),
            unchanged: StringBuilder::new(),
            last: Position::START,
            bytes: 0,
            dead: Vec::new(),
        }
    }

    /// The layout of its rows.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.kinds.len()
    }

    /// Bytes of the rows, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a new row.
    pub fn insert(&mut self, place: Place, new: Tuple<'_>) -> Result<(), Malformed> {
        self.push(place, ChangeKind::Insert, place.after(), new, None)
    }

    /// Adds a removed row.
    pub fn delete(&mut self, place: Place, old: OldRow<'_>) -> Result<(), Malformed> {
        self.push(place, ChangeKind::Delete, place.after(), old.tuple(), None)
    }

    /// Adds a changed row: its old row where it was sent, then its new one.
    pub fn update(&mut self, place: Place, old: Option<OldRow<'_>>, new: Tuple<'_>) -> Result<(), Malformed> {
        if let Some(old) = old {
            self.push(place, ChangeKind::UpdateBefore, place.before(), old.tuple(), None)?;
        }
        let full = match old {
            Some(OldRow::Full(tuple)) => Some(tuple),
            _ => None,
        };
        self.push(place, ChangeKind::UpdateAfter, place.after(), new, full)
    }

    /// Adds the row that says that the table was emptied.
    pub fn truncate(&mut self, place: Place) {
        self.values.iter_mut().for_each(Values::push_null);
        self.unchanged.append_null();
        self.finish_row(place, ChangeKind::Truncate, place.after(), 0);
    }

    /// `old`: the whole old row, which still holds the values that were not sent.
    fn push(
        &mut self,
        place: Place,
        kind: ChangeKind,
        position: Position,
        tuple: Tuple<'_>,
        old: Option<Tuple<'_>>,
    ) -> Result<(), Malformed> {
        if tuple.len() != self.values.len() || old.is_some_and(|old| old.len() != tuple.len()) {
            return Err(Malformed("holds a row with another number of columns than its table"));
        }
        let mut missing: Vec<usize> = Vec::new();
        for (at, cell) in tuple.cells().enumerate() {
            let cell = match (cell, old) {
                (Cell::Unchanged, Some(old)) => old.cells().nth(at).unwrap_or(Cell::Unchanged),
                _ => cell,
            };
            match cell {
                Cell::Text(raw) => {
                    let pushed = self.values[at].push_text(raw);
                    // An old row was told about when it was new.
                    let is_new = matches!(kind, ChangeKind::Insert | ChangeKind::UpdateAfter);
                    if let (Err(unmapped), true) = (pushed, is_new) {
                        self.dead.push(dead_letter(&self.layout, at, &unmapped, position));
                    }
                }
                Cell::Null => self.values[at].push_null(),
                Cell::Unchanged => {
                    self.values[at].push_null();
                    missing.push(at);
                }
            }
        }
        if missing.is_empty() {
            self.unchanged.append_null();
        } else {
            let names: Vec<&str> = missing.iter().map(|at| self.layout.columns[*at].name.as_str()).collect();
            self.unchanged.append_value(serde_json::Value::from(names).to_string());
        }
        self.finish_row(place, kind, position, tuple.bytes());
        Ok(())
    }

    fn finish_row(&mut self, place: Place, kind: ChangeKind, position: Position, bytes: usize) {
        self.kinds.push(kind as i8);
        self.times.push(place.event_us);
        self.positions.extend_from_slice(&position.to_bytes());
        self.transactions.push(u64::from(place.xid));
        self.last = position;
        self.bytes += bytes + ADDED_BYTES;
    }

    /// Takes the rows; the buffer is empty afterwards. Errors: none but our own mistakes.
    pub fn take(&mut self) -> Result<Filled, ArrowError> {
        let mut columns: Vec<ArrayRef> = self.values.iter_mut().map(Values::finish).collect();
        columns.push(Arc::new(Int8Array::from(std::mem::take(&mut self.kinds))));
        let times = TimestampMicrosecondArray::from(std::mem::take(&mut self.times));
        columns.push(Arc::new(times.with_timezone("UTC")));
        let positions = std::mem::take(&mut self.positions);
        columns.push(Arc::new(FixedSizeBinaryArray::try_new(16, positions.into(), None)?));
        columns.push(Arc::new(UInt64Array::from(std::mem::take(&mut self.transactions))));
        columns.push(Arc::new(self.unchanged.finish()));
        self.bytes = 0;
        let rows = RecordBatch::try_new(self.layout.change_schema.clone(), columns)?;
        Ok(Filled { rows, last: self.last, dead: std::mem::take(&mut self.dead) })
    }
}

/// The dead letter of a value that has no place in its column.
pub fn dead_letter(layout: &Layout, column: usize, unmapped: &Unmapped, position: Position) -> DeadLetter {
    let name = &layout.columns[column].name;
    let mut record = serde_json::Map::new();
    record.insert(name.clone(), unmapped.value.clone().into());
    let table = layout.table();
    DeadLetter {
        table: Some(table.clone()),
        record: serde_json::Value::Object(record).to_string(),
        reason: format!("column `{name}` was set to null: {}", unmapped.reason),
        at: format!("{table} at {position}"),
    }
}
