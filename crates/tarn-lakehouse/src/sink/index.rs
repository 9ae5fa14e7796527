//! The key index of a table: where each live row lies. A cache, rebuilt from the key columns of the data files.

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use rustc_hash::FxHashMap;
use twox_hash::XxHash3_128;

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

/// Key to row, about 40 bytes per key.
#[derive(Debug, Default)]
pub struct KeyIndex {
    rows: FxHashMap<KeyHash, FileRow>,
}

impl KeyIndex {
    /// Where a key's row lies.
    pub fn get(&self, key: KeyHash) -> Option<FileRow> {
        self.rows.get(&key).copied()
    }

    /// Sets where a key's row lies.
    pub fn put(&mut self, key: KeyHash, at: FileRow) {
        self.rows.insert(key, at);
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: KeyHash) {
        self.rows.remove(&key);
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        self.rows.clear();
    }

    /// Makes room for `more` keys.
    pub fn reserve(&mut self, more: usize) {
        self.rows.reserve(more);
    }
}

/// Hashes the key columns of rows.
#[derive(Debug)]
pub struct KeyHasher {
    converter: RowConverter,
    /// The key columns among the table's columns, in key order.
    columns: Vec<usize>,
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
        Ok(Self { converter, columns })
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
