//! The shape of a table: how many files it has, of which sizes, how worn by deletes, and what of it is worth rewriting.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::spec::{DataFile, Struct};
use roaring::RoaringTreemap;

use super::flush::Base;
use super::state::TableState;
use crate::outside::is_outside;
use crate::service::policy::target_bytes;
use crate::service::{Need, Service};

/// Files below the size at which rewritten ones end, over this, are small: 16 MiB unless the table says otherwise.
const SMALL_ONE_IN: u64 = 8;
/// Small files that may stand before they are rewritten together.
const SMALL_FILES_MAX: usize = 12;
/// Delete files that may stand before they are folded into one per data file.
const DELETE_FILES_MAX: usize = 24;
/// A file is rewritten when more than one in this many of its rows is deleted.
const DELETED_ONE_IN: u64 = 5;
/// Files up to this many bytes always go together, and their deleted rows are not worth a rewriting of their own.
const TINY_BYTES: u64 = 256 << 10;
/// Fewer small files are not rewritten together.
const MERGED_MIN: usize = 4;
/// Bytes rewritten at a time, so that freshness does not suffer.
const REWRITE_BYTES_MAX: u64 = 512 << 20;

/// A data file as a compaction sees it.
#[derive(Clone, Debug)]
pub struct ShapeFile {
    /// Its number with whoever asks.
    pub number: u32,
    /// What the manifest says.
    pub file: Arc<DataFile>,
    /// Deleted rows of the last commit.
    pub deleted: Arc<RoaringTreemap>,
    /// It is of the table's partitioning of today.
    pub is_current: bool,
    /// It lies beside the warehouse and is only copied into it when somebody asks for that.
    pub is_outside: bool,
}

/// The data files that may be rewritten, and the delete files.
#[derive(Debug)]
pub struct Shape {
    files: Vec<ShapeFile>,
    live: usize,
    delete_files: usize,
    /// Files below this many bytes are small.
    small_bytes: u64,
}

impl ShapeFile {
    fn bytes(&self) -> u64 {
        self.file.file_size_in_bytes()
    }

    /// Its rows go together with those of other files of the same partition; those of older partitionings are parted anew.
    fn partition(&self) -> Option<&Struct> {
        self.is_current.then(|| self.file.partition())
    }

    /// Whether its deleted rows alone make it worth rewriting.
    fn is_worn(&self) -> bool {
        !self.is_outside
            && self.deleted.len() * DELETED_ONE_IN > self.file.record_count()
            && self.file.file_size_in_bytes() >= TINY_BYTES
    }
}

/// Of files given by size and number, the smallest ones, none of which clearly outweighs all that are smaller: then a row is
/// rewritten as often as its table doubles, not as often as a dozen commits were made (size-tiered compaction).
fn together(files: impl Iterator<Item = (u64, u32)>) -> Vec<u32> {
    let mut files: Vec<(u64, u32)> = files.collect();
    files.sort_unstable();
    let mut smaller = 0;
    let fits = |(bytes, number): (u64, u32)| {
        // Files of one size differ a little.
        let fits = bytes <= TINY_BYTES || smaller == 0 || bytes <= smaller + smaller / 2;
        smaller += bytes;
        fits.then_some(number)
    };
    files.into_iter().map_while(fits).collect()
}

impl Shape {
    /// Of a sink's table.
    pub fn of(state: &TableState) -> Self {
        let (files, current) = (&state.base.files, state.metadata.default_partition_spec_id());
        let spec_of = |place: Option<usize>| files.get(place?).map(|file| file.partition_spec_id);
        let files = state.committed_files().map(|(number, file)| ShapeFile {
            number,
            file: Arc::clone(&file.file),
            deleted: Arc::clone(&file.committed),
            is_current: spec_of(file.position) == Some(current),
            is_outside: file
                .position
                .and_then(|at| files.get(at))
                .is_some_and(|file| is_outside(&file.location)),
        });
        Self::new(&state.base, state.delete_files.len(), state.live.len(), files)
    }

    /// Of a table at a commit; files are numbered by their place in its view.
    pub fn of_base(base: &Base) -> Self {
        let current = base.metadata().default_partition_spec_id();
        let files = base.view.files.iter().zip(0..).map(|(file, number)| ShapeFile {
            number,
            file: Arc::clone(&file.file),
            deleted: file.deletes.clone().unwrap_or_default(),
            is_current: file.partition_spec_id == current,
            is_outside: is_outside(&file.location),
        });
        Self::new(&base.view, base.delete_files.len(), base.view.files.len(), files)
    }

    fn new(
        view: &crate::view::TableView,
        delete_files: usize,
        live: usize,
        files: impl Iterator<Item = ShapeFile>,
    ) -> Self {
        // Equality deletes speak of older files.
        let files = if view.equality_deletes.is_empty() { files.collect() } else { Vec::new() };
        Self { files, live, delete_files, small_bytes: target_bytes(&view.metadata) / SMALL_ONE_IN }
    }

    fn is_small(&self, file: &ShapeFile) -> bool {
        file.bytes() < self.small_bytes
    }

    /// Small files of each partition that go well into one.
    fn mergeable(&self) -> Vec<Vec<u32>> {
        let mut partitions: HashMap<Option<&Struct>, Vec<(u64, u32)>> = HashMap::new();
        for file in self.files.iter().filter(|file| self.is_small(file) && !file.is_outside) {
            let size = file.file.file_size_in_bytes();
            partitions.entry(file.partition()).or_default().push((size, file.number));
        }
        partitions.into_values().map(|files| together(files.into_iter())).collect()
    }

    /// Whether the table has come to a shape that costs its readers, and by what.
    pub fn need(&self) -> Option<Need> {
        let small = self.mergeable().into_iter().map(|files| files.len()).max().unwrap_or(0);
        let worn: Vec<&ShapeFile> = self.files.iter().filter(|file| file.is_worn()).collect();
        let (mut reasons, mut benefit) = (Vec::new(), 0.0);
        if small > SMALL_FILES_MAX {
            reasons.push(format!("{small} small files of one partition (limit {SMALL_FILES_MAX})"));
            benefit += small as f64 / SMALL_FILES_MAX as f64;
        }
        if self.has_many_deletes() && !self.files.is_empty() {
            let limit = DELETE_FILES_MAX.max(self.live);
            reasons.push(format!("{} delete files (limit {limit})", self.delete_files));
            benefit += self.delete_files as f64 / limit as f64;
        }
        if !worn.is_empty() {
            let rows = |of: fn(&ShapeFile) -> u64| worn.iter().map(|file| of(file)).sum::<u64>();
            let (deleted, all) = (rows(|file| file.deleted.len()), rows(|file| file.file.record_count()));
            let percent = deleted * 100 / all.max(1);
            let limit = 100 / DELETED_ONE_IN;
            reasons
                .push(format!("{percent} % of the rows of {} files deleted (limit {limit} %)", worn.len()));
            benefit += deleted as f64 * DELETED_ONE_IN as f64 / all.max(1) as f64;
        }
        if reasons.is_empty() {
            return None;
        }
        let bytes = self.chosen(false).iter().map(ShapeFile::bytes).sum();
        Some(Need { service: Service::Compact, reason: reasons.join(", "), benefit, bytes })
    }

    /// All its files, partition by partition.
    pub fn all(&self) -> Vec<ShapeFile> {
        let mut partitions: HashMap<Option<&Struct>, Vec<&ShapeFile>> = HashMap::new();
        for file in &self.files {
            partitions.entry(file.partition()).or_default().push(file);
        }
        partitions.into_values().flatten().cloned().collect()
    }

    /// Its files that lie beside the warehouse, partition by partition.
    pub fn outside(&self) -> Vec<ShapeFile> {
        self.all().into_iter().filter(|file| file.is_outside).collect()
    }

    /// Whether there are more delete files than one per data file, and many.
    pub fn has_many_deletes(&self) -> bool {
        self.delete_files > DELETE_FILES_MAX.max(self.live)
    }

    /// The files to rewrite, partition by partition. `everything`: all small files, all with a deleted row and all of an older
    /// partitioning. Files beside the warehouse stay.
    pub fn chosen(&self, everything: bool) -> Vec<ShapeFile> {
        let mut merged: Vec<u32> = Vec::new();
        if !everything {
            let groups = self.mergeable().into_iter().filter(|files| files.len() >= MERGED_MIN);
            merged.extend(groups.flatten());
            merged.sort_unstable();
        }
        let is_chosen = |file: &&ShapeFile| match everything {
            true => !file.is_outside && (self.is_small(file) || !file.deleted.is_empty() || !file.is_current),
            false => file.is_worn() || merged.binary_search(&file.number).is_ok(),
        };
        let mut partitions: HashMap<Option<&Struct>, Vec<&ShapeFile>> = HashMap::new();
        for file in self.files.iter().filter(is_chosen) {
            partitions.entry(file.partition()).or_default().push(file);
        }
        // One small file alone gains nothing.
        let gains = |file: &&ShapeFile| !file.deleted.is_empty() || !file.is_current;
        let is_worth = |files: &Vec<&ShapeFile>| files.len() > 1 || files.iter().any(gains);
        let mut bytes = 0;
        let fits = |file: &&ShapeFile| {
            let fits = everything || bytes < REWRITE_BYTES_MAX;
            bytes += file.file.file_size_in_bytes();
            fits
        };
        partitions.into_values().filter(is_worth).flatten().filter(fits).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_rewritten_as_often_as_their_table_doubles() {
        const COMMITS: u32 = 3_000;
        const COMMIT_BYTES: u64 = 4 * TINY_BYTES;
        const SMALL_BYTES: u64 = 16 << 20;
        let mut files: Vec<(u64, u32)> = Vec::new();
        let (mut rewritten, mut most) = (0, 0);
        for number in 0..COMMITS {
            files.push((COMMIT_BYTES, number));
            most = most.max(files.len());
            let small = files.iter().copied().filter(|(bytes, _)| *bytes < SMALL_BYTES);
            let merged = together(small);
            if merged.len() > SMALL_FILES_MAX {
                let bytes: u64 =
                    files.iter().filter(|(_, number)| merged.contains(number)).map(|(bytes, _)| bytes).sum();
                files.retain(|(_, number)| !merged.contains(number));
                files.push((bytes, number));
                rewritten += bytes;
            }
        }
        let written = u64::from(COMMITS) * COMMIT_BYTES;
        assert_eq!(files.iter().map(|(bytes, _)| bytes).sum::<u64>(), written);
        assert!(rewritten <= 3 * written, "{}", rewritten as f64 / written as f64);
        let large = written.div_ceil(SMALL_BYTES) as usize;
        assert!(most <= large + 3 * SMALL_FILES_MAX, "{most} files");
    }

    #[test]
    fn files_of_about_one_size_go_together() {
        let sizes = (0..20_u64).map(|n| TINY_BYTES * 2 + n * 3_001 % 20_000);
        assert_eq!(together(sizes.zip(0..)).len(), 20);
    }

    #[test]
    fn a_file_that_outweighs_all_smaller_ones_stays() {
        let mib = |sizes: &[u64]| together(sizes.iter().map(|size| size << 20).zip(0..));
        assert_eq!(mib(&[15, 1, 1, 1]), [1, 2, 3]);
        let mut tiny = vec![10 << 20];
        tiny.extend([1_000; 8]);
        assert_eq!(together(tiny.into_iter().zip(0..)), [1, 2, 3, 4, 5, 6, 7, 8]);
        let mut commits = vec![TINY_BYTES + 1];
        commits.extend([10_000; 12]);
        assert_eq!(
            together(commits.into_iter().zip(0..)).len(),
            12,
            "the merged one waits for as many bytes again"
        );
        assert_eq!(mib(&[1, 2, 4, 8]), [0], "no two of them");
        assert_eq!(together([(1, 7), (2, 8)].into_iter()), [7, 8]);
    }
}
