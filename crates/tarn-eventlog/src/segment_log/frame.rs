//! Frames: what a segment file is made of.
//!
//! A frame is a fixed header of [`HEADER_LEN`] bytes, an extra part (producer state or consumer position) and a body,
//! each padded to [`ALIGN`] bytes; all numbers are little endian.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | magic `TFR1` |
//! | 4..8 | CRC-32 of the segment's nonce, the frame's place in the file and bytes 8..80 |
//! | 8, 9 | kind, flags |
//! | 12..16, 16..20 | length of the extra part, of the body |
//! | 20..24, 24..28 | CRC-32 of the extra part, of the body |
//! | 28..32, 32..36 | length of the Arrow message within the body, of the data when decompressed |
//! | 36..40 | rows |
//! | 40..48 | offset of the first row, or the next offset where there is no row |
//! | 48..56 | time of the append, milliseconds since 1970 UTC, never falling within a partition |
//! | 56..64 | place of the schema's frame in this file |
//! | 64..72 | length of the file that was known to be durable when the frame was written |
//!
//! The nonce and the place in the checksum keep bytes that look like a frame, such as a stored copy of a segment,
//! from being taken for one.

use tarn_core::Position;

use crate::port::{Offset, ProducerState};

/// Every part of a frame starts at a multiple of this, so that Arrow buffers can be used where they lie.
pub(super) const ALIGN: usize = 16;
/// Length of the fixed header.
pub(super) const HEADER_LEN: usize = 80;
/// The body's data is an LZ4 block.
pub(super) const FLAG_LZ4: u8 = 1;
/// After this frame a source transaction is unfinished in the partition.
pub(super) const FLAG_OPEN: u8 = 2;
/// Of a note's length: the state's transaction goes on.
const NOTE_OPEN: u32 = 1 << 31;
/// Longest body; rows beyond it must be split by the caller.
pub(super) const BODY_LEN_MAX: usize = 1 << 30;
/// Longest producer or consumer name in bytes.
pub(super) const NAME_LEN_MAX: usize = 1024;
/// Longest note of a producer.
pub(super) const NOTE_LEN_MAX: usize = 1 << 20;

const MAGIC: [u8; 4] = *b"TFR1";

/// `len` rounded up to a multiple of [`ALIGN`].
pub(super) fn aligned(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FrameKind {
    /// An Arrow schema message.
    Schema = 1,
    /// Rows (or none) and, as extra part, a producer state (or none).
    Rows = 2,
    /// A consumer position as extra part.
    Position = 3,
    /// All producer states and consumer positions of the partition, first frame of a segment.
    Carry = 4,
}

impl FrameKind {
    fn from_code(code: u8) -> Option<Self> {
        [Self::Schema, Self::Rows, Self::Position, Self::Carry].into_iter().find(|kind| *kind as u8 == code)
    }
}

/// The fixed header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) kind: FrameKind,
    pub(super) flags: u8,
    pub(super) extra_len: u32,
    pub(super) body_len: u32,
    pub(super) extra_crc: u32,
    pub(super) body_crc: u32,
    pub(super) message_len: u32,
    pub(super) data_len: u32,
    pub(super) rows: u32,
    pub(super) first_offset: Offset,
    pub(super) appended_ms: i64,
    pub(super) schema_at: u64,
    pub(super) synced: u64,
}

fn u32_at(bytes: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8; HEADER_LEN], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | (u64::from(u32_at(bytes, at + 4)) << 32)
}

fn header_crc(nonce: u64, at: u64, fields: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&nonce.to_le_bytes());
    hasher.update(&at.to_le_bytes());
    hasher.update(fields);
    hasher.finalize()
}

impl FrameHeader {
    /// The header that stands at `at` of the segment with this nonce, or what is wrong with it.
    pub(super) fn parse(bytes: &[u8; HEADER_LEN], nonce: u64, at: u64) -> Result<Self, &'static str> {
        if bytes[..4] != MAGIC {
            return Err("no frame starts here");
        }
        if u32_at(bytes, 4) != header_crc(nonce, at, &bytes[8..]) {
            return Err("the checksum of the frame's header does not match");
        }
        let header = Self {
            kind: FrameKind::from_code(bytes[8]).ok_or("the frame is of an unknown kind")?,
            flags: bytes[9],
            extra_len: u32_at(bytes, 12),
            body_len: u32_at(bytes, 16),
            extra_crc: u32_at(bytes, 20),
            body_crc: u32_at(bytes, 24),
            message_len: u32_at(bytes, 28),
            data_len: u32_at(bytes, 32),
            rows: u32_at(bytes, 36),
            first_offset: u64_at(bytes, 40),
            appended_ms: u64_at(bytes, 48).cast_signed(),
            schema_at: u64_at(bytes, 56),
            synced: u64_at(bytes, 64),
        };
        if header.message_len > header.body_len || header.flags & !(FLAG_LZ4 | FLAG_OPEN) != 0 {
            return Err("the frame was written by a newer version");
        }
        Ok(header)
    }

    /// The bytes of the header at `at` of the segment with this nonce.
    pub(super) fn to_bytes(self, nonce: u64, at: u64) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[8] = self.kind as u8;
        bytes[9] = self.flags;
        let words = [
            self.extra_len,
            self.body_len,
            self.extra_crc,
            self.body_crc,
            self.message_len,
            self.data_len,
            self.rows,
        ];
        for (i, word) in words.into_iter().enumerate() {
            bytes[12 + 4 * i..16 + 4 * i].copy_from_slice(&word.to_le_bytes());
        }
        let longs = [self.first_offset, self.appended_ms.cast_unsigned(), self.schema_at, self.synced];
        for (i, long) in longs.into_iter().enumerate() {
            bytes[40 + 8 * i..48 + 8 * i].copy_from_slice(&long.to_le_bytes());
        }
        let crc = header_crc(nonce, at, &bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Where the body starts, counted from the frame's start.
    pub(super) fn body_at(&self) -> u64 {
        aligned(HEADER_LEN + self.extra_len as usize) as u64
    }

    /// Length of the whole frame with its padding.
    pub(super) fn frame_len(&self) -> u64 {
        self.body_at() + aligned(self.body_len as usize) as u64
    }

    /// One past the last row.
    pub(super) fn next_offset(&self) -> Offset {
        self.first_offset + Offset::from(self.rows)
    }
}

/// A frame in memory; its header is written last, when its place is known.
#[derive(Debug)]
pub(super) struct Frame {
    bytes: Vec<u8>,
    header: FrameHeader,
}

impl Frame {
    /// Starts a frame with its extra part; the body follows by [`Frame::body_mut`] and [`Frame::finish_body`].
    pub(super) fn start(kind: FrameKind, extra: &[u8], body_hint: usize) -> Self {
        let body_at = aligned(HEADER_LEN + extra.len());
        let mut bytes = Vec::with_capacity(body_at + aligned(body_hint));
        bytes.resize(HEADER_LEN, 0);
        bytes.extend_from_slice(extra);
        bytes.resize(body_at, 0);
        let header = FrameHeader {
            kind,
            flags: 0,
            // Names and notes are bounded far below 4 GiB before they come here.
            extra_len: extra.len() as u32,
            body_len: 0,
            extra_crc: crc32fast::hash(extra),
            body_crc: 0,
            message_len: 0,
            data_len: 0,
            rows: 0,
            first_offset: 0,
            appended_ms: 0,
            schema_at: 0,
            synced: 0,
        };
        Self { bytes, header }
    }

    /// A frame whose body is `body` as it is.
    pub(super) fn with_body(kind: FrameKind, extra: &[u8], body: &[u8]) -> Self {
        let mut frame = Self::start(kind, extra, body.len());
        frame.bytes.extend_from_slice(body);
        frame.finish_body();
        frame
    }

    /// The bytes so far; the body is appended to them.
    pub(super) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The fields that the encoder knows.
    pub(super) fn header_mut(&mut self) -> &mut FrameHeader {
        &mut self.header
    }

    /// Closes the body: its length, checksum and padding.
    pub(super) fn finish_body(&mut self) {
        let body = &self.bytes[self.header.body_at() as usize..];
        // Bodies are bounded by `BODY_LEN_MAX`, carried states by memory.
        self.header.body_len = body.len() as u32;
        self.header.body_crc = crc32fast::hash(body);
        self.bytes.resize(self.header.frame_len() as usize, 0);
    }

    /// Length in the file.
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Writes the header for a place in a segment and gives the bytes to store.
    pub(super) fn seal(&mut self, nonce: u64, at: u64) -> &[u8] {
        let header = self.header.to_bytes(nonce, at);
        self.bytes[..HEADER_LEN].copy_from_slice(&header);
        &self.bytes
    }

    /// The body as it is stored.
    pub(super) fn body(&self) -> &[u8] {
        let at = self.header.body_at() as usize;
        &self.bytes[at..at + self.header.body_len as usize]
    }

    /// The header as it stands.
    pub(super) fn header(&self) -> &FrameHeader {
        &self.header
    }
}

/// A consumer's place as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredPosition {
    pub(super) offset: Offset,
    pub(super) committed_ms: i64,
}

/// Producer states and consumer positions as bytes.
pub(super) mod notes {
    use super::{NOTE_OPEN, Offset, Position, ProducerState, StoredPosition};

    fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
        // Names and notes are bounded far below 4 GiB before they come here.
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
    }

    pub(in super::super) fn put_state(out: &mut Vec<u8>, state: &ProducerState) {
        put_bytes(out, state.producer.as_bytes());
        out.extend_from_slice(&state.position.to_bytes());
        let open = if state.transaction_open { NOTE_OPEN } else { 0 };
        // Notes are bounded far below 2 GiB before they come here.
        out.extend_from_slice(&(state.note.len() as u32 | open).to_le_bytes());
        out.extend_from_slice(&state.note);
    }

    pub(in super::super) fn put_position(out: &mut Vec<u8>, consumer: &str, position: StoredPosition) {
        put_bytes(out, consumer.as_bytes());
        out.extend_from_slice(&position.offset.to_le_bytes());
        out.extend_from_slice(&position.committed_ms.to_le_bytes());
    }

    pub(in super::super) fn put_count(out: &mut Vec<u8>, count: usize) {
        // Counts of names held in memory.
        out.extend_from_slice(&(count as u32).to_le_bytes());
    }

    /// Reads what the `put_` functions wrote; `None` when the bytes end early or a name is not UTF-8.
    #[derive(Debug)]
    pub(in super::super) struct NoteReader<'a>(pub(in super::super) &'a [u8]);

    impl<'a> NoteReader<'a> {
        fn take(&mut self, len: usize) -> Option<&'a [u8]> {
            let (head, rest) = self.0.split_at_checked(len)?;
            self.0 = rest;
            Some(head)
        }

        fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
            self.take(N)?.try_into().ok()
        }

        pub(in super::super) fn count(&mut self) -> Option<usize> {
            Some(u32::from_le_bytes(self.array()?) as usize)
        }

        fn bytes(&mut self) -> Option<&'a [u8]> {
            let len = self.count()?;
            self.take(len)
        }

        fn name(&mut self) -> Option<String> {
            Some(std::str::from_utf8(self.bytes()?).ok()?.to_string())
        }

        pub(in super::super) fn state(&mut self) -> Option<ProducerState> {
            let producer = self.name()?;
            let position = Position::from_bytes(self.array()?);
            let len = u32::from_le_bytes(self.array()?);
            let note = self.take((len & !NOTE_OPEN) as usize)?.to_vec();
            Some(ProducerState { producer, position, note, transaction_open: len & NOTE_OPEN != 0 })
        }

        pub(in super::super) fn position(&mut self) -> Option<(String, StoredPosition)> {
            let consumer = self.name()?;
            let offset = Offset::from_le_bytes(self.array()?);
            Some((consumer, StoredPosition { offset, committed_ms: i64::from_le_bytes(self.array()?) }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Frame {
        let state = ProducerState {
            producer: "shop".into(),
            position: Position::new(3, 4),
            note: b"lsn".to_vec(),
            transaction_open: true,
        };
        let mut extra = Vec::new();
        notes::put_state(&mut extra, &state);
        let mut frame = Frame::with_body(FrameKind::Rows, &extra, b"twelve bytes");
        frame.header_mut().first_offset = 7;
        frame.header_mut().rows = 5;
        frame.header_mut().appended_ms = -1;
        frame
    }

    #[test]
    fn a_header_reads_back_only_in_its_own_segment_and_place() {
        let mut frame = sample();
        let expected = *frame.header();
        let bytes: [u8; HEADER_LEN] = frame.seal(9, 64)[..HEADER_LEN].try_into().unwrap();
        assert_eq!(FrameHeader::parse(&bytes, 9, 64), Ok(expected));
        assert_eq!(expected.frame_len(), frame.len());
        assert_eq!(expected.next_offset(), 12);
        assert!(FrameHeader::parse(&bytes, 9, 80).is_err());
        assert!(FrameHeader::parse(&bytes, 8, 64).is_err());
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let bytes: [u8; HEADER_LEN] = sample().seal(9, 64)[..HEADER_LEN].try_into().unwrap();
        for bit in 0..HEADER_LEN * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(FrameHeader::parse(&flipped, 9, 64).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn notes_read_back_and_never_past_their_end() {
        let state = ProducerState {
            producer: "源".into(),
            position: Position::new(1, 2),
            note: vec![1; 9],
            transaction_open: false,
        };
        let position = StoredPosition { offset: 5, committed_ms: 6 };
        let mut bytes = Vec::new();
        notes::put_count(&mut bytes, 1);
        notes::put_state(&mut bytes, &state);
        notes::put_position(&mut bytes, "table", position);
        let mut reader = notes::NoteReader(&bytes);
        assert_eq!(reader.count(), Some(1));
        assert_eq!(reader.state(), Some(state));
        assert_eq!(reader.position(), Some(("table".to_string(), position)));
        for end in 0..bytes.len() {
            let mut cut = notes::NoteReader(&bytes[..end]);
            let all = cut.count().and_then(|_| cut.state()).and_then(|_| cut.position());
            assert_eq!(all, None, "cut at {end}");
        }
    }
}
