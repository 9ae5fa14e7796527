//! Change rows: the columns that a topic adds to those of the source table.
//!
//! A batch of change rows holds the source's columns first, all nullable, then the five columns named here. Rows of
//! one key are in the order of the source.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, FixedSizeBinaryArray, Int8Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

/// Row kind, `Int8`, never null.
pub const KIND: &str = "_kind";
/// When the change happened at the source, `Timestamp(us, UTC)`, nullable.
pub const EVENT_TIME: &str = "_event_time";
/// Where the row stands in its source, `FixedSizeBinary(16)`, big endian, never null; grows along a topic partition.
pub const POSITION: &str = "_position";
/// Source transaction, `UInt64`, null where the source has none.
pub const TRANSACTION: &str = "_transaction";
/// JSON array of the columns whose value the source did not send (unchanged TOAST), `Utf8`, mostly null.
pub const UNCHANGED: &str = "_unchanged";

/// The names of the five added columns, in order.
pub const META_COLUMNS: [&str; 5] = [KIND, EVENT_TIME, POSITION, TRANSACTION, UNCHANGED];

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(i8)]
pub enum ChangeKind {
    /// A new row. Sinks with a key treat it as an upsert, so a snapshot may be read twice.
    Insert = 0,
    /// The row before an update; only its key columns need to be set.
    UpdateBefore = 1,
    /// The row after an update.
    UpdateAfter = 2,
    /// The row is gone; only its key columns need to be set.
    Delete = 3,
    /// All rows of the table are gone; the source's columns are null.
    Truncate = 4,
}

impl ChangeKind {
    /// The kind written as `code`, `None` for an unknown code.
    pub fn from_code(code: i8) -> Option<Self> {
        [Self::Insert, Self::UpdateBefore, Self::UpdateAfter, Self::Delete, Self::Truncate]
            .into_iter()
            .find(|kind| *kind as i8 == code)
    }
}

/// Where a row stands in its source: 16 bytes whose order is the source's order.
///
/// A source gives the halves their meaning, such as (commit LSN, row within the transaction) or (0, row number).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Position {
    /// The coarse half, such as a commit LSN.
    pub major: u64,
    /// The fine half, such as the row within the transaction.
    pub minor: u64,
}

impl Position {
    /// Before every row.
    pub const START: Self = Self { major: 0, minor: 0 };

    /// Puts two halves together.
    pub const fn new(major: u64, minor: u64) -> Self {
        Self { major, minor }
    }

    /// Big-endian bytes, ordered as the position.
    pub fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.major) << 64) | u128::from(self.minor)).to_be_bytes()
    }

    /// The inverse of [`Position::to_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let joined = u128::from_be_bytes(bytes);
        // Both halves fit by construction.
        Self { major: (joined >> 64) as u64, minor: joined as u64 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{}", self.major, self.minor)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn meta_fields() -> [Field; 5] {
    [
        Field::new(KIND, DataType::Int8, false),
        Field::new(EVENT_TIME, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new(POSITION, DataType::FixedSizeBinary(16), false),
        Field::new(TRANSACTION, DataType::UInt64, true),
        Field::new(UNCHANGED, DataType::Utf8, true),
    ]
}

/// The schema of a topic whose source rows have `data` as schema: its fields made nullable, then the five added ones.
/// Field and schema metadata are kept.
pub fn change_schema(data: &Schema) -> SchemaRef {
    let data_fields = data.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let fields: Vec<Field> = data_fields.chain(meta_fields()).collect();
    Arc::new(Schema::new_with_metadata(fields, data.metadata().clone()))
}

/// The source's part of a topic schema.
pub fn data_schema(change: &Schema) -> SchemaRef {
    let fields: Vec<Field> = change
        .fields()
        .iter()
        .filter(|field| !META_COLUMNS.contains(&field.name().as_str()))
        .map(|field| field.as_ref().clone())
        .collect();
    Arc::new(Schema::new_with_metadata(fields, change.metadata().clone()))
}

/// The added columns of some change rows; all of one length.
#[derive(Clone, Debug)]
pub struct ChangeColumns {
    /// Row kinds.
    pub kind: Int8Array,
    /// Event times in microseconds, UTC.
    pub event_time: TimestampMicrosecondArray,
    /// Positions.
    pub position: FixedSizeBinaryArray,
    /// Source transactions.
    pub transaction: UInt64Array,
    /// Columns that were not sent.
    pub unchanged: StringArray,
}

impl ChangeColumns {
    /// `rows` rows of one kind at positions `first`, `first + 1`, … in the minor half, without transaction.
    ///
    /// `event_time_us`: one value for all rows, or none.
    pub fn uniform(kind: ChangeKind, rows: usize, first: Position, event_time_us: Option<i64>) -> Self {
        let positions = (0..rows as u64).map(|i| Position::new(first.major, first.minor + i));
        Self {
            kind: Int8Array::from(vec![kind as i8; rows]),
            event_time: TimestampMicrosecondArray::from(vec![event_time_us; rows]).with_timezone("UTC"),
            position: positions_array(positions),
            transaction: UInt64Array::from(vec![None; rows]),
            unchanged: StringArray::from(vec![None::<&str>; rows]),
        }
    }

    /// Joins source columns and added columns. `schema`: of the source's columns. Errors: lengths or types differ.
    pub fn attach(self, schema: &Schema, columns: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
        let mut all = columns;
        all.push(Arc::new(self.kind));
        all.push(Arc::new(self.event_time));
        all.push(Arc::new(self.position));
        all.push(Arc::new(self.transaction));
        all.push(Arc::new(self.unchanged));
        RecordBatch::try_new(change_schema(schema), all)
    }

    /// Reads the added columns of a batch of change rows. Errors: the batch is not one of change rows.
    pub fn of(batch: &RecordBatch) -> Result<Self, ArrowError> {
        fn column<T: Array + Clone + 'static>(batch: &RecordBatch, name: &str) -> Result<T, ArrowError> {
            batch
                .column_by_name(name)
                .and_then(|array| array.as_any().downcast_ref::<T>())
                .cloned()
                .ok_or_else(|| ArrowError::SchemaError(format!("change rows lack the column `{name}`")))
        }
        Ok(Self {
            kind: column(batch, KIND)?,
            event_time: column(batch, EVENT_TIME)?,
            position: column(batch, POSITION)?,
            transaction: column(batch, TRANSACTION)?,
            unchanged: column(batch, UNCHANGED)?,
        })
    }

    /// The position of row `row`.
    pub fn position_at(&self, row: usize) -> Position {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(self.position.value(row));
        Position::from_bytes(bytes)
    }

    /// The kind of row `row`; an unknown code reads as an error. Errors: unknown code.
    pub fn kind_at(&self, row: usize) -> Result<ChangeKind, ArrowError> {
        let code = self.kind.value(row);
        ChangeKind::from_code(code)
            .ok_or_else(|| ArrowError::InvalidArgumentError(format!("unknown row kind {code} in `{KIND}`")))
    }
}

/// Positions as a column.
pub fn positions_array(positions: impl IntoIterator<Item = Position>) -> FixedSizeBinaryArray {
    let bytes: Vec<u8> = positions.into_iter().flat_map(Position::to_bytes).collect();
    FixedSizeBinaryArray::new(16, bytes.into(), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;

    #[test]
    fn the_order_of_bytes_is_the_order_of_positions() {
        let (a, b) = (Position::new(1, u64::MAX), Position::new(2, 0));
        assert!(a < b && a.to_bytes() < b.to_bytes());
        assert_eq!(Position::from_bytes(a.to_bytes()), a);
    }

    #[test]
    fn added_columns_come_back_as_written() {
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
        let columns = ChangeColumns::uniform(ChangeKind::Insert, 2, Position::new(7, 3), Some(1_000_000));
        let batch =
            columns.attach(&schema, vec![Arc::new(Int64Array::from(vec![1, 2]))]).expect("valid batch");
        let read = ChangeColumns::of(&batch).expect("change rows");
        assert_eq!(read.position_at(1), Position::new(7, 4));
        assert_eq!(read.kind_at(0).expect("known"), ChangeKind::Insert);
        assert_eq!(data_schema(&batch.schema()).fields().len(), 1);
    }
}
