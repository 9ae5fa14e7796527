//! Segment files: their header, their frames, and the sparse index over them.
//!
//! A segment is named by its first offset and starts with [`FILE_HEADER_LEN`] bytes: magic, version, CRC-32, nonce,
//! first offset and the time of the last append before it. It comes into being whole, by a rename, so a segment
//! without a valid header is damaged and never half made.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use tarn_core::TopicName;

use super::codec::decode_schema;
use super::fault::{corrupt, io_error};
use super::folder::sync_folder;
use super::frame::{Frame, FrameHeader, FrameKind, HEADER_LEN};
use crate::error::EventLogError;
use crate::port::Offset;

/// Length of the header of a segment file.
pub(super) const FILE_HEADER_LEN: u64 = 64;
/// A segment file being made; removed when the log opens.
pub(super) const UNFINISHED: &str = "new";

const MAGIC: [u8; 8] = *b"TARNSEG1";
const INDEX_STEP_BYTES: u64 = 128 << 10;
const SCHEMAS_KEPT: usize = 16;

/// The name of the segment that starts at an offset.
pub(super) fn segment_name(first_offset: Offset) -> String {
    format!("{first_offset:020}.seg")
}

/// The first offset in a segment's name, `None` for other files.
pub(super) fn offset_of_name(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// What identifies a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) nonce: u64,
    pub(super) first_offset: Offset,
    pub(super) started_ms: i64,
}

impl FileHeader {
    fn to_bytes(self) -> [u8; FILE_HEADER_LEN as usize] {
        let mut bytes = [0; FILE_HEADER_LEN as usize];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[16..24].copy_from_slice(&self.nonce.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_offset.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.started_ms.to_le_bytes());
        let crc = crc32fast::hash(&bytes[16..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8; FILE_HEADER_LEN as usize]) -> Option<Self> {
        let long = |at: usize| -> Option<[u8; 8]> { bytes[at..at + 8].try_into().ok() };
        let crc = u32::from_le_bytes(bytes[8..12].try_into().ok()?);
        (bytes[..8] == MAGIC && crc == crc32fast::hash(&bytes[16..])).then_some(())?;
        Some(Self {
            nonce: u64::from_le_bytes(long(16)?),
            first_offset: u64::from_le_bytes(long(24)?),
            started_ms: i64::from_le_bytes(long(32)?),
        })
    }

    /// Reads the header of a segment. Errors: `Io`, `CorruptSegment`.
    pub(super) fn read(file: &File, path: &Path, first_offset: Offset) -> Result<Self, EventLogError> {
        let mut bytes = [0; FILE_HEADER_LEN as usize];
        match file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(io_error("read", path, error));
            }
            Ok(()) | Err(_) => {}
        }
        Self::parse(&bytes)
            .filter(|header| header.first_offset == first_offset)
            .ok_or_else(|| corrupt(path, 0, "it does not start with the header of this segment"))
    }
}

/// Where a frame stands.
#[derive(Clone, Copy, Debug)]
struct IndexEntry {
    first_offset: Offset,
    appended_ms: i64,
    at: u64,
}

#[derive(Debug, Default)]
struct Index {
    entries: Vec<IndexEntry>,
    is_loaded: bool,
    len: u64,
}

/// A segment could not be made.
#[derive(Debug)]
pub(super) struct CreateError {
    pub(super) error: EventLogError,
    /// The file has its name all the same, so the segment before it must not grow any more.
    pub(super) is_named: bool,
}

/// A segment: where it is, how much of it is durable, and where to find rows in it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) header: FileHeader,
    pub(super) path: PathBuf,
    index: Mutex<Index>,
    schemas: Mutex<Vec<(u64, SchemaRef)>>,
}

impl Segment {
    /// A segment of which `len` bytes are durable. `is_indexed`: entries are added as frames become durable, so the
    /// file need not be looked through.
    pub(super) fn new(header: FileHeader, path: PathBuf, len: u64, is_indexed: bool) -> Self {
        let index = Index { entries: Vec::new(), is_loaded: is_indexed, len };
        Self { header, path, index: Mutex::new(index), schemas: Mutex::default() }
    }

    /// Writes a new segment with its first frames and gives it its name once it is durable; replaces one of that name.
    /// Errors: `DiskFull`, `Io`.
    pub(super) fn create(
        folder: &Path,
        header: FileHeader,
        frames: &mut [Frame],
    ) -> Result<(Self, File), CreateError> {
        let path = folder.join(segment_name(header.first_offset));
        let unfinished = path.with_extension(UNFINISHED);
        let mut write = || -> io::Result<(File, u64)> {
            let file =
                File::options().create(true).truncate(true).read(true).write(true).open(&unfinished)?;
            file.write_all_at(&header.to_bytes(), 0)?;
            let mut len = FILE_HEADER_LEN;
            for frame in frames.iter_mut() {
                frame.header_mut().synced = 0;
                file.write_all_at(frame.seal(header.nonce, len), len)?;
                len += frame.len();
            }
            file.sync_all()?;
            std::fs::rename(&unfinished, &path)?;
            Ok((file, len))
        };
        let (file, len) = write().map_err(|error| {
            // What is left over is removed at the next open.
            let _ = std::fs::remove_file(&unfinished);
            CreateError { error: io_error("create", &path, error), is_named: false }
        })?;
        sync_folder(folder)
            .map_err(|error| CreateError { error: io_error("name", &path, error), is_named: true })?;
        Ok((Self::new(header, path, len, true), file))
    }

    /// Opens the file for reading. Errors: `Io`; `None` when the file is gone or is another segment by now.
    pub(super) fn open(&self) -> Result<Option<File>, EventLogError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open", &self.path, error)),
        };
        let header = FileHeader::read(&file, &self.path, self.header.first_offset)?;
        Ok((header.nonce == self.header.nonce).then_some(file))
    }

    /// Durable bytes.
    pub(super) fn len(&self) -> u64 {
        self.index.lock().len
    }

    /// Says that all up to `len` is durable.
    pub(super) fn set_len(&self, len: u64) {
        self.index.lock().len = len;
    }

    /// Notes a durable frame of rows for the index.
    pub(super) fn note_frame(&self, header: &FrameHeader, at: u64) {
        note(&mut self.index.lock().entries, header, at);
    }

    /// The place of a frame at or before the one that holds `offset`.
    pub(super) fn place_of(&self, file: &File, offset: Offset) -> u64 {
        self.place_before(file, |entry| entry.first_offset <= offset)
    }

    /// The place of a frame at or before the first one appended at or after a time.
    pub(super) fn place_of_time(&self, file: &File, time_ms: i64) -> u64 {
        self.place_before(file, |entry| entry.appended_ms < time_ms)
    }

    fn place_before(&self, file: &File, is_before: impl Fn(&IndexEntry) -> bool) -> u64 {
        let (is_loaded, len) = {
            let index = self.index.lock();
            (index.is_loaded, index.len)
        };
        if !is_loaded {
            let entries = self.look_through(file, len);
            let mut index = self.index.lock();
            if !index.is_loaded {
                index.entries = entries;
                index.is_loaded = true;
            }
        }
        let index = self.index.lock();
        let after = index.entries.partition_point(is_before);
        after.checked_sub(1).and_then(|i| index.entries.get(i)).map_or(FILE_HEADER_LEN, |entry| entry.at)
    }

    /// Builds the index from the headers of the frames. Ends at a damaged header; who reads on from the last entry
    /// meets it and reports it.
    fn look_through(&self, file: &File, len: u64) -> Vec<IndexEntry> {
        let mut entries = Vec::new();
        let mut frames = FrameReader::new(self, file, len, HOP_WINDOW_BYTES);
        let mut at = FILE_HEADER_LEN;
        while let Ok(Some(header)) = frames.header(at) {
            note(&mut entries, &header, at);
            at += header.frame_len();
        }
        entries
    }

    /// The schema whose frame stands at `at`. Errors: `Io`, `CorruptSegment`, `Codec`.
    pub(super) fn schema(
        &self,
        frames: &mut FrameReader<'_>,
        at: u64,
        topic: &TopicName,
    ) -> Result<SchemaRef, EventLogError> {
        if let Some((_, schema)) = self.schemas.lock().iter().find(|(place, _)| *place == at) {
            return Ok(schema.clone());
        }
        let header = frames.header(at)?.filter(|header| header.kind == FrameKind::Schema);
        let header = header.ok_or_else(|| corrupt(&self.path, at, "no schema stands here"))?;
        let body = frames.body(&header, at)?;
        let schema = decode_schema(&body).map_err(|source| EventLogError::Codec {
            action: "decode the schema of",
            topic: topic.clone(),
            source,
        })?;
        let mut schemas = self.schemas.lock();
        if schemas.len() == SCHEMAS_KEPT {
            schemas.remove(0);
        }
        schemas.push((at, schema.clone()));
        Ok(schema)
    }
}

fn note(entries: &mut Vec<IndexEntry>, header: &FrameHeader, at: u64) {
    let is_due = entries.last().is_none_or(|last| at - last.at >= INDEX_STEP_BYTES);
    if header.rows > 0 && is_due {
        entries.push(IndexEntry { first_offset: header.first_offset, appended_ms: header.appended_ms, at });
    }
}

/// Window of a reader that looks at headers only.
pub(super) const HOP_WINDOW_BYTES: usize = 4 << 10;
/// Window of a reader that wants the rows.
pub(super) const ROWS_WINDOW_BYTES: usize = 512 << 10;

/// Reads frames of a segment through a window of its file.
#[derive(Debug)]
pub(super) struct FrameReader<'a> {
    segment: &'a Segment,
    file: &'a File,
    end: u64,
    window: Buffer,
    window_at: u64,
    window_len: usize,
    /// The last frame did not fit the window, so reading a window for the next header would be waste.
    is_large: bool,
}

impl<'a> FrameReader<'a> {
    /// A reader of the first `end` bytes.
    pub(super) fn new(segment: &'a Segment, file: &'a File, end: u64, window_len: usize) -> Self {
        Self { segment, file, end, window: Buffer::from([]), window_at: 0, window_len, is_large: false }
    }

    /// The header at `at`, `None` at the end. Errors: `Io`, `CorruptSegment`.
    pub(super) fn header(&mut self, at: u64) -> Result<Option<FrameHeader>, EventLogError> {
        if at == self.end {
            return Ok(None);
        }
        let window_len = if self.is_large { HOP_WINDOW_BYTES } else { self.window_len };
        let bytes = self.bytes(at, HEADER_LEN, window_len)?;
        let bytes: &[u8; HEADER_LEN] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| corrupt(&self.segment.path, at, "the file ends within a frame"))?;
        let header = FrameHeader::parse(bytes, self.segment.header.nonce, at)
            .map_err(|what| corrupt(&self.segment.path, at, what))?;
        if header.frame_len() > self.end - at {
            return Err(corrupt(&self.segment.path, at, "the file ends within a frame"));
        }
        self.is_large = header.frame_len() > self.window_len as u64;
        Ok(Some(header))
    }

    /// The extra part of the frame at `at`, its checksum compared. Errors: `Io`, `CorruptSegment`.
    pub(super) fn extra(&mut self, header: &FrameHeader, at: u64) -> Result<Buffer, EventLogError> {
        let extra = self.bytes(at + HEADER_LEN as u64, header.extra_len as usize, self.window_len)?;
        if crc32fast::hash(&extra) != header.extra_crc {
            return Err(corrupt(&self.segment.path, at, "the checksum of a producer's state does not match"));
        }
        Ok(extra)
    }

    /// The body of the frame at `at`, its checksum compared. Errors: `Io`, `CorruptSegment`.
    pub(super) fn body(&mut self, header: &FrameHeader, at: u64) -> Result<Buffer, EventLogError> {
        let body = self.bytes(at + header.body_at(), header.body_len as usize, self.window_len)?;
        if crc32fast::hash(&body) != header.body_crc {
            return Err(corrupt(&self.segment.path, at, "the checksum of its rows does not match"));
        }
        Ok(body)
    }

    /// Bytes of the file where they lie in the window; fewer at the end of the file.
    fn bytes(&mut self, at: u64, len: usize, window_len: usize) -> Result<Buffer, EventLogError> {
        let window_end = self.window_at + self.window.len() as u64;
        if at < self.window_at || at + len as u64 > window_end {
            let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
            let mut bytes = MutableBuffer::from_len_zeroed(len.max(window_len).min(left));
            self.file.read_exact_at(&mut bytes, at).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    corrupt(&self.segment.path, at, "the file is shorter than it was")
                }
                _ => io_error("read", &self.segment.path, error),
            })?;
            self.window = bytes.into();
            self.window_at = at;
        }
        // Within the window, which starts at or before `at`.
        let from = (at - self.window_at) as usize;
        let len = len.min(self.window.len() - from);
        Ok(self.window.slice_with_length(from, len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_named_by_its_first_offset() {
        assert_eq!(segment_name(42), "00000000000000000042.seg");
        assert_eq!(offset_of_name("00000000000000000042.seg"), Some(42));
        assert_eq!(offset_of_name("42.seg"), None);
        assert_eq!(offset_of_name("00000000000000000042.new"), None);
    }

    #[test]
    fn every_flipped_bit_of_a_file_header_is_noticed() {
        let header = FileHeader { nonce: 7, first_offset: 9, started_ms: 11 };
        assert_eq!(FileHeader::parse(&header.to_bytes()), Some(header));
        for bit in 0..FILE_HEADER_LEN as usize * 8 {
            let mut bytes = header.to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // Bytes 12..16 are spare.
            assert_eq!(FileHeader::parse(&bytes).is_some(), (96..128).contains(&bit), "bit {bit}");
        }
    }
}
