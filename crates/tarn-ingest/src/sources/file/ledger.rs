//! Which files were read, and how far. The newest marks travel in every note; older ones are kept in chunks, each in
//! the state of a part of its own, so that a note stays small with a million files.

use std::collections::{BTreeSet, HashMap};

use tarn_core::Position;

use crate::error::IngestError;

/// Marks in every note at most.
const RECENT_MAX: usize = 512;
/// Marks per chunk: 135 KB of a note's 1 MiB.
const CHUNK_MAX: usize = 4_096;
/// Chunks at most.
const CHUNKS_MAX: usize = 256;
const MARK_BYTES: usize = 33;
/// Parts of chunks are named by this and a number.
const PART: &str = "files-";

/// How far a file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Hash of its path.
    pub(super) path: u64,
    /// Text: bytes read, after decompression. Parquet: rows read.
    pub(super) read: u64,
    /// Tag of the content that was read.
    pub(super) tag: u64,
    /// Checksum of the last bytes read, to tell an appended file from a rewritten one.
    pub(super) tail: u32,
    /// Lines read.
    pub(super) lines: u32,
    /// Whether the file is still being read.
    pub(super) partial: bool,
}

impl Mark {
    fn write(self, bytes: &mut Vec<u8>) {
        for number in [self.path, self.read, self.tag] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.tail.to_le_bytes());
        bytes.extend_from_slice(&self.lines.to_le_bytes());
        bytes.push(u8::from(self.partial));
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let wide = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let narrow = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            path: wide(0)?,
            read: wide(8)?,
            tag: wide(16)?,
            tail: narrow(24)?,
            lines: narrow(28)?,
            partial: *bytes.get(32)? != 0,
        })
    }
}

fn read_marks(bytes: &[u8]) -> Option<Vec<Mark>> {
    bytes.len().is_multiple_of(MARK_BYTES).then(|| bytes.chunks(MARK_BYTES).filter_map(Mark::read).collect())
}

#[derive(Debug, Default)]
struct Chunk {
    version: u64,
    paths: Vec<u64>,
}

/// A chunk to be stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChunkState {
    pub(super) part: String,
    pub(super) position: Position,
    pub(super) note: Vec<u8>,
}

/// All marks.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    marks: HashMap<u64, (Mark, Option<usize>)>,
    recent: BTreeSet<u64>,
    chunks: Vec<Chunk>,
}

impl Ledger {
    /// Reads back what was stored. `chunks`: part, version and note of each chunk; `recent`: from the newest note.
    /// `None` if the bytes are not ours.
    pub(super) fn load<'a>(
        chunks: impl IntoIterator<Item = (&'a str, u64, &'a [u8])>,
        recent: &[u8],
    ) -> Option<Self> {
        let mut ledger = Self::default();
        for (part, version, note) in chunks {
            let number: usize = part.strip_prefix(PART)?.parse().ok()?;
            if number >= CHUNKS_MAX {
                return None;
            }
            while ledger.chunks.len() <= number {
                ledger.chunks.push(Chunk::default());
            }
            ledger.chunks[number].version = version;
            for mark in read_marks(note)? {
                ledger.chunks[number].paths.push(mark.path);
                ledger.marks.insert(mark.path, (mark, Some(number)));
            }
        }
        read_marks(recent)?.into_iter().for_each(|mark| ledger.set(mark));
        Some(ledger)
    }

    pub(super) fn get(&self, path: u64) -> Option<Mark> {
        self.marks.get(&path).map(|(mark, _)| *mark)
    }

    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    pub(super) fn set(&mut self, mark: Mark) {
        let chunk = self.marks.get(&mark.path).and_then(|(_, chunk)| *chunk);
        self.marks.insert(mark.path, (mark, chunk));
        self.recent.insert(mark.path);
    }

    /// The marks that go into the next note.
    pub(super) fn recent_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.recent.len() * MARK_BYTES);
        let marks = self.recent.iter().filter_map(|path| self.marks.get(path));
        marks.for_each(|(mark, _)| mark.write(&mut bytes));
        bytes
    }

    /// Moves the recent marks into chunks once there are many. Returns the chunks to store before the next note.
    /// Errors: there are more files than chunks can hold.
    pub(super) fn spill(&mut self) -> Result<Vec<ChunkState>, IngestError> {
        if self.recent.len() < RECENT_MAX {
            return Ok(Vec::new());
        }
        let mut dirty = BTreeSet::new();
        for path in std::mem::take(&mut self.recent) {
            let Some((_, place)) = self.marks.get_mut(&path) else { continue };
            let number = match *place {
                Some(number) => number,
                None => {
                    if self.chunks.last().is_none_or(|chunk| chunk.paths.len() == CHUNK_MAX) {
                        self.chunks.push(Chunk::default());
                    }
                    let number = self.chunks.len() - 1;
                    self.chunks[number].paths.push(path);
                    *place = Some(number);
                    number
                }
            };
            dirty.insert(number);
        }
        if self.chunks.len() > CHUNKS_MAX {
            return Err(IngestError::Unsuitable {
                system: "the files of `path`".to_string(),
                what: format!("there are more than {} of them", CHUNKS_MAX * CHUNK_MAX),
                advice: "name fewer files, for instance one folder per source".to_string(),
            });
        }
        Ok(dirty.into_iter().map(|number| self.chunk_state(number)).collect())
    }

    fn chunk_state(&mut self, number: usize) -> ChunkState {
        let chunk = &mut self.chunks[number];
        chunk.version += 1;
        let mut note = Vec::with_capacity(chunk.paths.len() * MARK_BYTES);
        let marks = chunk.paths.iter().filter_map(|path| self.marks.get(path));
        marks.for_each(|(mark, _)| mark.write(&mut note));
        ChunkState { part: format!("{PART}{number}"), position: Position::new(0, chunk.version), note }
    }
}

/// Whether a part holds a chunk.
pub(super) fn is_chunk(part: &str) -> bool {
    part.starts_with(PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(path: u64, read: u64) -> Mark {
        Mark { path, read, tag: path ^ 7, tail: 1, lines: 2, partial: false }
    }

    #[test]
    fn a_hundred_thousand_files_come_back_from_small_notes() {
        let (mut ledger, mut stored, mut recent) = (Ledger::default(), HashMap::new(), Vec::new());
        for path in 0..100_000 {
            ledger.set(mark(path, 1));
            if path % 10 == 0 {
                ledger.set(mark(path / 2, 2));
            }
            for chunk in ledger.spill().expect("room") {
                assert!(chunk.note.len() < 1 << 20);
                let old = stored.insert(chunk.part, (chunk.position.minor, chunk.note));
                assert!(old.is_none_or(|(version, _)| version < chunk.position.minor));
            }
            if path % 997 == 0 || path == 99_999 {
                recent = ledger.recent_bytes();
                assert!(recent.len() <= RECENT_MAX * MARK_BYTES);
            }
        }
        let chunks = stored.iter().map(|(part, (version, note))| (part.as_str(), *version, note.as_slice()));
        let loaded = Ledger::load(chunks, &recent).expect("ours");
        assert_eq!(loaded.len(), 100_000);
        for path in 0..100_000 {
            assert_eq!(loaded.get(path), ledger.get(path), "{path}");
        }
        assert_eq!(loaded.get(5), Some(mark(5, 2)));
    }

    #[test]
    fn too_many_files_are_a_clear_error() {
        let mut ledger = Ledger::default();
        let spilled = (0..2_000_000).find_map(|path| {
            ledger.set(mark(path, 1));
            ledger.spill().err()
        });
        let error = spilled.expect("a bound");
        assert!(error.to_string().contains("more than 1048576"), "{error}");
    }

    #[test]
    fn bytes_that_are_not_ours_are_refused() {
        assert!(Ledger::load([], &[1, 2, 3]).is_none());
        assert!(Ledger::load([("files-999999", 1, &[][..])], &[]).is_none());
    }
}
