//! Where each live row lies, by its key: hot rows in a map, rows of files in the runs of their files.

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use rustc_hash::FxHashMap;
use twox_hash::XxHash3_128;

use super::rows::HotRow;
use crate::error::LakehouseError;

/// A key, hashed to 128 bits: among a billion keys two collide with a chance of 1e-21.
pub type KeyHash = u128;

/// A row of a data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileRow {
    /// Number of the file in the sink's list.
    pub file: u32,
    /// Row number within the file, from 0.
    pub row: u32,
}

/// Where a row lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// In memory.
    Hot(HotRow),
    /// In a data file.
    File(FileRow),
}

/// Key to hot row, about 40 bytes per key. Keys of rows in files are in the runs of their files.
///
/// An entry may be of a row that is gone; whoever looks asks the rows. So nothing has to be removed, and letting go of
/// the frozen rows is letting go of a map.
#[derive(Debug, Default)]
pub struct HotKeys {
    newest: Keys,
    /// Keys of the rows that are being flushed.
    frozen: Keys,
}

/// Rows by key.
#[derive(Debug, Default)]
struct Keys {
    /// The newest row of each.
    rows: FxHashMap<KeyHash, HotRow>,
    /// By row, the one of the same key before it; where keys are not unique.
    before: FxHashMap<HotRow, HotRow>,
}

impl Keys {
    fn get(&self, key: KeyHash, is_live: impl Fn(HotRow) -> bool) -> Option<HotRow> {
        let mut row = self.rows.get(&key).copied();
        while let Some(at) = row
            && !is_live(at)
        {
            row = self.before.get(&at).copied();
        }
        row
    }
}

impl HotKeys {
    /// A row of a key that `is_live`, the newest one.
    pub fn get(&self, key: KeyHash, is_live: impl Fn(HotRow) -> bool) -> Option<HotRow> {
        self.newest.get(key, &is_live).or_else(|| self.frozen.get(key, &is_live))
    }

    /// Sets where a key's row lies.
    pub fn put(&mut self, key: KeyHash, row: HotRow) {
        self.newest.rows.insert(key, row);
    }

    /// Adds a row to those of a key.
    pub fn put_another(&mut self, key: KeyHash, row: HotRow) {
        if let Some(before) = self.newest.rows.insert(key, row) {
            self.newest.before.insert(row, before);
        }
    }

    /// Makes room for `more` keys.
    pub fn reserve(&mut self, more: usize) {
        self.newest.rows.reserve(more);
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Sets the keys so far apart as those of the rows being flushed.
    pub fn freeze(&mut self) {
        debug_assert!(self.frozen.rows.is_empty(), "one flush at a time");
        self.frozen = std::mem::take(&mut self.newest);
    }

    /// The flush did not come about: its keys are as others again.
    pub fn thaw(&mut self) {
        let newer = std::mem::replace(&mut self.newest, std::mem::take(&mut self.frozen));
        self.newest.before.extend(newer.before.iter().map(|(row, before)| (*row, *before)));
        for (key, row) in newer.rows {
            let Some(older) = self.newest.rows.insert(key, row) else { continue };
            let mut oldest = row;
            while let Some(before) = newer.before.get(&oldest) {
                oldest = *before;
            }
            self.newest.before.insert(oldest, older);
        }
    }

    /// Forgets the keys of the rows that were flushed.
    pub fn drop_frozen(&mut self) {
        self.frozen = Keys::default();
    }
}

/// Hashes the key columns of rows.
#[derive(Debug)]
pub struct KeyHasher {
    converter: RowConverter,
    /// The key columns among the table's columns, in key order.
    columns: Vec<usize>,
    fingerprint: u64,
    /// They are no key: several rows may have the same values.
    of_rows: bool,
}

impl KeyHasher {
    /// For tables without a key: hashes all columns but those at `left_out`. Numbers are taken bit by bit, so `-0.0` is not
    /// `0.0`, and `NaN` is `NaN`. Errors: a column has a type without an order.
    pub fn of_rows(table: &str, schema: &SchemaRef, left_out: &[usize]) -> Result<Self, LakehouseError> {
        let all = schema.fields().iter().enumerate().filter(|(at, _)| !left_out.contains(at));
        let names: Vec<String> = all.map(|(_, field)| field.name().clone()).collect();
        Ok(Self { of_rows: true, ..Self::new(table, schema, &names)? })
    }

    /// Whether several rows may have the same hash, since it stands for all their values.
    pub fn is_of_rows(&self) -> bool {
        self.of_rows
    }

    /// For the key columns named `key` of the table's Arrow schema. Errors: a column is missing or has a type
    /// without an order.
    pub fn new(table: &str, schema: &SchemaRef, key: &[String]) -> Result<Self, LakehouseError> {
        let mut columns = Vec::with_capacity(key.len());
        let mut fields = Vec::with_capacity(key.len());
        for name in key {
            let (at, field) = schema.column_with_name(name).ok_or_else(|| LakehouseError::Unmappable {
                table: table.into(),
                column: name.clone(),
                what: "it is a key column but not in the table".into(),
            })?;
            columns.push(at);
            fields.push(SortField::new(field.data_type().clone()));
        }
        let converter = RowConverter::new(fields)
            .map_err(|source| LakehouseError::Arrow { table: table.into(), source })?;
        let named: Vec<String> = columns.iter().map(|at| format!("{:?}", schema.field(*at))).collect();
        let fingerprint = XxHash3_128::oneshot(named.join("\n").as_bytes()) as u64;
        Ok(Self { converter, columns, fingerprint, of_rows: false })
    }

    /// Stands for the key columns: keys hashed under another one cannot be compared.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The key columns among the table's columns, in key order.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Hashes of the keys of rows given as all columns of the table. Errors: the columns are not of the schema.
    pub fn hash(&self, table: &str, columns: &[ArrayRef]) -> Result<Vec<KeyHash>, LakehouseError> {
        let keys: Vec<ArrayRef> = self.columns.iter().filter_map(|at| columns.get(*at).cloned()).collect();
        self.hash_keys(table, &keys)
    }

    /// Hashes of the keys of rows given as key columns alone, in key order.
    pub fn hash_keys(&self, table: &str, keys: &[ArrayRef]) -> Result<Vec<KeyHash>, LakehouseError> {
        let rows = self
            .converter
            .convert_columns(keys)
            .map_err(|source| LakehouseError::Arrow { table: table.into(), source })?;
        Ok(rows.iter().map(|row| XxHash3_128::oneshot(row.as_ref())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_key_are_found_one_after_the_other_also_when_a_flush_fails() {
        let mut keys = HotKeys::default();
        let live = std::cell::RefCell::new(std::collections::BTreeSet::new());
        let put = |keys: &mut HotKeys, key, row| {
            keys.put_another(key, row);
            live.borrow_mut().insert(row);
        };
        (0..3).for_each(|row| put(&mut keys, 7, row));
        put(&mut keys, 8, 3);
        keys.freeze();
        (4..6).for_each(|row| put(&mut keys, 7, row));
        let take = |keys: &HotKeys, key| {
            let found = keys.get(key, |row| live.borrow().contains(&row));
            found.inspect(|row| assert!(live.borrow_mut().remove(row)))
        };
        assert_eq!(take(&keys, 7), Some(5));
        keys.thaw();
        put(&mut keys, 7, 6);
        let found: Vec<_> = std::iter::from_fn(|| take(&keys, 7)).collect();
        assert_eq!(found, [6, 4, 2, 1, 0]);
        assert_eq!((take(&keys, 8), take(&keys, 8), take(&keys, 9)), (Some(3), None, None));
    }
}
