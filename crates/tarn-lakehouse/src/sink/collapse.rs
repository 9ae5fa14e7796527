//! What a stretch of change rows comes to: the last image per key, and the keys whose old row goes.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, RecordBatch};
use rustc_hash::FxHashMap;
use tarn_core::ChangeKind;
use tarn_core::change::ChangeColumns;

use super::index::{FileRow, KeyHash, KeyHasher, KeyIndex};
use crate::error::LakehouseError;
use crate::types::Conformer;

/// A row of the stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PendingRow {
    /// Which batch.
    pub batch: usize,
    /// Which row of it.
    pub row: usize,
}

/// Where a value comes from that the source did not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Another row of the stretch.
    Pending(PendingRow),
    /// A row of a data file.
    File(FileRow),
}

/// The last thing that happened to a key.
#[derive(Clone, Copy, Debug)]
enum Last {
    Row(PendingRow),
    Gone,
}

/// Change rows gathered for one commit, in the table's columns.
#[derive(Debug, Default)]
pub struct Stretch {
    batches: Vec<Vec<ArrayRef>>,
    last: FxHashMap<KeyHash, Last>,
    /// Rows of tables without a key, in order.
    appended: Vec<PendingRow>,
    /// Values to take from elsewhere: by row, the table's columns and where each comes from.
    borrowed: HashMap<PendingRow, Vec<(usize, Origin)>>,
    /// The image that the last row took away.
    taken: Option<Origin>,
    truncated: bool,
    ignored: u64,
    rows: usize,
    bytes: usize,
}

/// What a commit has to do.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The rows to write, with their key's hash (0 in tables without a key), in order of arrival.
    pub write: Vec<(PendingRow, KeyHash)>,
    /// Keys whose row in a file goes.
    pub delete: Vec<KeyHash>,
}

impl Stretch {
    /// Change rows taken in, those that were collapsed included.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether every row of the table before this stretch goes.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// Updates and deletes that could not be applied because the table has no key.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Whether nothing was taken in.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Takes in a batch of change rows. `hasher` is `None` for a table without a key.
    /// Errors: the rows are not change rows, or do not fit the table.
    pub fn take(
        &mut self,
        table: &str,
        batch: &RecordBatch,
        conformer: &Conformer,
        hasher: Option<&KeyHasher>,
        index: &KeyIndex,
    ) -> Result<(), LakehouseError> {
        let arrow = |source| LakehouseError::Arrow { table: table.into(), source };
        let changes = ChangeColumns::of(batch).map_err(arrow)?;
        let columns = conformer.columns(batch)?;
        let hashes = match hasher {
            Some(hasher) => hasher.hash(table, &columns)?,
            None => vec![0; batch.num_rows()],
        };
        let number = self.batches.len();
        self.bytes += columns.iter().map(|column| column.get_array_memory_size()).sum::<usize>();
        self.batches.push(columns);
        for (row, hash) in hashes.iter().copied().enumerate() {
            let at = PendingRow { batch: number, row };
            match (changes.kind_at(row).map_err(arrow)?, hasher.is_some()) {
                (ChangeKind::Truncate, _) => self.truncate(),
                (ChangeKind::Insert | ChangeKind::UpdateAfter, false) => self.appended.push(at),
                // Without a key there is no telling which row goes; the table's state says how many were left.
                (ChangeKind::UpdateBefore | ChangeKind::Delete, false) => self.ignored += 1,
                (ChangeKind::Insert | ChangeKind::UpdateAfter, true) => {
                    if !changes.unchanged.is_null(row) {
                        self.borrow_unsent(table, at, hash, changes.unchanged.value(row), conformer, index)?;
                    }
                    self.last.insert(hash, Last::Row(at));
                    self.taken = None;
                }
                (ChangeKind::UpdateBefore | ChangeKind::Delete, true) => {
                    // An update that follows may need values of this image.
                    self.taken = self.image_of(hash, index);
                    self.last.insert(hash, Last::Gone);
                }
            }
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    fn truncate(&mut self) {
        self.last.clear();
        self.appended.clear();
        self.borrowed.clear();
        self.taken = None;
        self.truncated = true;
    }

    /// Notes where the values come from that an update did not send: the row's image before it.
    fn borrow_unsent(
        &mut self,
        table: &str,
        at: PendingRow,
        hash: KeyHash,
        unsent: &str,
        conformer: &Conformer,
        index: &KeyIndex,
    ) -> Result<(), LakehouseError> {
        let names: Vec<String> = serde_json::from_str(unsent).map_err(|error| LakehouseError::Invalid {
            what: format!("the list of unsent columns of a row of `{table}` is damaged: {error}"),
        })?;
        let Some(image) = self.image_of(hash, index).or(self.taken) else { return Ok(()) };
        let mut borrowed = Vec::new();
        for name in &names {
            let Some(column) = conformer.target_of(name) else { continue };
            // The image itself may have borrowed the value.
            let origin = match image {
                Origin::Pending(row) => {
                    let known =
                        self.borrowed.get(&row).and_then(|list| list.iter().find(|(c, _)| *c == column));
                    known.map_or(image, |(_, origin)| *origin)
                }
                Origin::File(_) => image,
            };
            borrowed.push((column, origin));
        }
        self.borrowed.insert(at, borrowed);
        Ok(())
    }

    fn image_of(&self, hash: KeyHash, index: &KeyIndex) -> Option<Origin> {
        match self.last.get(&hash) {
            Some(Last::Row(row)) => Some(Origin::Pending(*row)),
            Some(Last::Gone) => None,
            None if self.truncated => None,
            None => index.get(hash).map(Origin::File),
        }
    }

    /// What the stretch comes to.
    pub fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        for (hash, last) in &self.last {
            outcome.delete.push(*hash);
            if let Last::Row(row) = last {
                outcome.write.push((*row, *hash));
            }
        }
        outcome.write.extend(self.appended.iter().map(|row| (*row, 0)));
        outcome.write.sort_unstable_by_key(|(row, _)| (row.batch, row.row));
        outcome
    }

    /// Values that a row takes from elsewhere.
    pub fn borrowed(&self, row: PendingRow) -> &[(usize, Origin)] {
        self.borrowed.get(&row).map_or(&[], Vec::as_slice)
    }

    /// Whether any row takes values from elsewhere.
    pub fn borrows(&self) -> bool {
        !self.borrowed.is_empty()
    }

    /// One column of the table over all batches.
    pub fn column(&self, column: usize) -> Vec<&dyn Array> {
        self.batches.iter().map(|columns| columns[column].as_ref()).collect()
    }
}
