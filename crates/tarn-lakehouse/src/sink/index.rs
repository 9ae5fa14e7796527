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
    newest: FxHashMap<KeyHash, HotRow>,
    /// Keys of the rows that are being flushed.
    frozen: FxHashMap<KeyHash, HotRow>,
}

impl HotKeys {
    /// The row of a key that `is_live`.
    pub fn get(&self, key: KeyHash, is_live: impl Fn(HotRow) -> bool) -> Option<HotRow> {
        let found = |rows: &FxHashMap<KeyHash, HotRow>| rows.get(&key).copied().filter(|row| is_live(*row));
        found(&self.newest).or_else(|| found(&self.frozen))
    }

    /// Sets where a key's row lies.
    pub fn put(&mut self, key: KeyHash, row: HotRow) {
        self.newest.insert(key, row);
    }

    /// Makes room for `more` keys.
    pub fn reserve(&mut self, more: usize) {
        self.newest.reserve(more);
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Sets the keys so far apart as those of the rows being flushed.
    pub fn freeze(&mut self) {
        debug_assert!(self.frozen.is_empty(), "one flush at a time");
        self.frozen = std::mem::take(&mut self.newest);
    }

    /// The flush did not come about: its keys are as others again.
    pub fn thaw(&mut self) {
        let newer = std::mem::replace(&mut self.newest, std::mem::take(&mut self.frozen));
        self.newest.extend(newer);
    }

    /// Forgets the keys of the rows that were flushed.
    pub fn drop_frozen(&mut self) {
        self.frozen = FxHashMap::default();
    }
}

/// Hashes the key columns of rows.
#[derive(Debug)]
pub struct KeyHasher {
    converter: RowConverter,
    /// The key columns among the table's columns, in key order.
    columns: Vec<usize>,
    fingerprint: u64,
}

impl KeyHasher {
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
        Ok(Self { converter, columns, fingerprint })
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
