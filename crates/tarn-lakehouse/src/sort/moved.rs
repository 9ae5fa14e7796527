//! Where each row of sorted files came from: in memory while they are few, on the local disk when they are many.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use crate::error::LakehouseError;

/// Rows remembered in memory.
const HELD_MAX: usize = 1 << 20;

/// A place in new files: number of the file, and row.
type MovedTo = (usize, u32);

/// Origins of the rows of new files, in the order of these.
#[derive(Debug)]
pub(crate) struct MovedRows {
    table: String,
    path: PathBuf,
    held: Vec<u64>,
    spilled: Option<BufWriter<File>>,
    /// Rows of each new file.
    files: Vec<u32>,
}

impl MovedRows {
    /// `path`: a file of its own, which goes with this.
    pub(crate) fn new(table: &str, path: PathBuf) -> Self {
        Self { table: table.into(), path, held: Vec::new(), spilled: None, files: Vec::new() }
    }

    /// The origin of an old row.
    pub(crate) fn origin(file: u32, row: u32) -> u64 {
        u64::from(file) << 32 | u64::from(row)
    }

    fn failed(&self, source: &std::io::Error) -> LakehouseError {
        let (table, path) = (&self.table, self.path.display());
        LakehouseError::Invalid {
            what: format!("moves of rows of table `{table}` could not be kept in `{path}`: {source}"),
        }
    }

    /// The next rows of the new file that is written.
    pub(crate) fn push(&mut self, origins: &[u64]) -> Result<(), LakehouseError> {
        self.held.extend_from_slice(origins);
        if self.held.len() >= HELD_MAX { self.spill().map_err(|error| self.failed(&error)) } else { Ok(()) }
    }

    fn spill(&mut self) -> std::io::Result<()> {
        let file = match &mut self.spilled {
            Some(file) => file,
            None => {
                if let Some(folder) = self.path.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                self.spilled.insert(BufWriter::new(File::create(&self.path)?))
            }
        };
        for origin in self.held.drain(..) {
            file.write_all(&origin.to_le_bytes())?;
        }
        file.flush()
    }

    /// The new file ended.
    pub(crate) fn end_file(&mut self, rows: u32) {
        self.files.push(rows);
    }

    /// Where some old rows are now, by origin.
    pub(crate) fn find(&self, wanted: &HashSet<u64>) -> Result<HashMap<u64, MovedTo>, LakehouseError> {
        let mut found = HashMap::with_capacity(wanted.len());
        if wanted.is_empty() {
            return Ok(found);
        }
        let mut spilled = match &self.spilled {
            Some(_) => Some(BufReader::new(File::open(&self.path).map_err(|error| self.failed(&error))?)),
            None => None,
        };
        let mut next = || -> std::io::Result<Option<u64>> {
            let Some(file) = &mut spilled else { return Ok(None) };
            let mut bytes = [0; 8];
            match file.read_exact(&mut bytes) {
                Ok(()) => Ok(Some(u64::from_le_bytes(bytes))),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
                Err(error) => Err(error),
            }
        };
        let mut held = self.held.iter().copied();
        for (file, rows) in self.files.iter().enumerate() {
            for row in 0..*rows {
                let origin = next().map_err(|error| self.failed(&error))?.or_else(|| held.next());
                if let Some(origin) = origin.filter(|origin| wanted.contains(origin)) {
                    found.insert(origin, (file, row));
                }
            }
        }
        Ok(found)
    }
}

impl Drop for MovedRows {
    fn drop(&mut self) {
        if self.spilled.take().is_some()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "moves of rows stay behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_in_memory_and_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("moves");
        for files in [[3_u32, 2], [HELD_MAX as u32 + 5, HELD_MAX as u32 / 2]] {
            let mut moved = MovedRows::new("t", path.clone());
            let total: u32 = files.iter().sum();
            // Old rows in the opposite order, of files of 1,000 rows.
            let origins: Vec<u64> =
                (0..total).rev().map(|row| MovedRows::origin(row / 1_000, row % 1_000)).collect();
            let (first, second) = origins.split_at(files[0] as usize);
            for part in first.chunks(4_096) {
                moved.push(part).unwrap();
            }
            moved.end_file(files[0]);
            moved.push(second).unwrap();
            moved.end_file(files[1]);
            assert_eq!(path.exists(), total as usize > HELD_MAX);
            let wanted: HashSet<u64> =
                [0, total / 2, total - 1].map(|row| MovedRows::origin(row / 1_000, row % 1_000)).into();
            let found = moved.find(&wanted).unwrap();
            let place = |row: u32| {
                let at = total - 1 - row;
                if at < files[0] { (0, at) } else { (1, at - files[0]) }
            };
            for row in [0, total / 2, total - 1] {
                assert_eq!(found[&MovedRows::origin(row / 1_000, row % 1_000)], place(row));
            }
            drop(moved);
            assert!(!path.exists());
        }
    }
}
