//! The parts of a workbook, which lie in a ZIP archive.
//!
//! Source: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.5.3.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use bytes::{Buf, Bytes};
use flate2::read::DeflateDecoder;

const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
/// A comment behind the end is no longer.
const COMMENT_BYTES_MAX: usize = 0xffff;
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_BYTES: usize = 20;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_BYTES: usize = 30;
/// The field of sizes that 32 bits do not hold.
const WIDE: u16 = 1;
const PARTS_MAX: usize = 10_000;
/// A part that becomes larger is given up.
const PART_BYTES_MAX: u64 = 8 << 30;

#[derive(Clone, Copy, Debug)]
struct Part {
    is_deflated: bool,
    packed: u64,
    /// Of its own head.
    offset: u64,
    /// CRC-32 of what it holds.
    sum: u32,
}

/// A workbook as a whole.
#[derive(Debug)]
pub(super) struct Archive {
    bytes: Bytes,
    /// By their names in small letters.
    parts: HashMap<String, Part>,
}

/// `length` bytes from `at`. Errors: they are not there.
fn slice(bytes: &Bytes, at: u64, length: u64) -> Result<Bytes, String> {
    let range =
        usize::try_from(at).ok().zip(at.checked_add(length).and_then(|end| usize::try_from(end).ok()));
    let range = range.filter(|(_, end)| *end <= bytes.len());
    let (begin, end) = range.ok_or("a part of it lies behind its end; is it cut?")?;
    Ok(bytes.slice(begin..end))
}

/// Where the directory begins, and its length.
fn directory(bytes: &Bytes) -> Result<(u64, u64), String> {
    let from = bytes.len().saturating_sub(END_BYTES + COMMENT_BYTES_MAX);
    let last = bytes.len().checked_sub(END_BYTES).ok_or("it is too short to be a workbook")?;
    let is_end = |at: &usize| bytes.get(*at..*at + END.len()) == Some(END);
    let at = (from..=last).rev().find(is_end).ok_or("its end is missing; is it cut?")?;
    let mut end = bytes.slice(at + 12..at + 20);
    let (length, begin) = (u64::from(end.get_u32_le()), u64::from(end.get_u32_le()));
    if begin != u64::from(u32::MAX) && length != u64::from(u32::MAX) {
        return Ok((begin, length));
    }
    let locator = at.checked_sub(LOCATOR_BYTES).ok_or("its end is damaged")?;
    let mut locator = bytes.slice(locator..at);
    if !locator.starts_with(LOCATOR) {
        return Err("its end is damaged".to_string());
    }
    locator.advance(8);
    let mut wide = slice(bytes, locator.get_u64_le(), 56)?;
    wide.advance(40);
    let (length, begin) = (wide.get_u64_le(), wide.get_u64_le());
    Ok((begin, length))
}

/// Size and place from the field for those that 32 bits do not hold.
fn widened(mut extra: Bytes, packed: &mut u64, size: u64, offset: &mut u64) {
    let missing = u64::from(u32::MAX);
    while extra.remaining() >= 4 {
        let (kind, length) = (extra.get_u16_le(), usize::from(extra.get_u16_le()));
        if extra.remaining() < length {
            return;
        }
        let mut field = extra.split_to(length);
        if kind != WIDE {
            continue;
        }
        if size == missing && field.remaining() >= 8 {
            field.advance(8);
        }
        for wanted in [packed, offset] {
            if *wanted == missing && field.remaining() >= 8 {
                *wanted = field.get_u64_le();
            }
        }
        return;
    }
}

impl Archive {
    /// Errors: it is no archive, for people.
    pub(super) fn open(bytes: Bytes) -> Result<Self, String> {
        if bytes.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]) {
            return Err(
                "it is an old `.xls` workbook, or protected by a password; save it as `.xlsx` without one"
                    .into(),
            );
        }
        if !bytes.starts_with(LOCAL) {
            return Err("it is no Excel workbook (`.xlsx`)".to_string());
        }
        let (begin, length) = directory(&bytes)?;
        let mut rest = slice(&bytes, begin, length)?;
        let mut parts = HashMap::new();
        while rest.remaining() >= ENTRY_BYTES {
            let mut entry = rest.split_to(ENTRY_BYTES);
            if !entry.starts_with(ENTRY) || parts.len() >= PARTS_MAX {
                return Err("its directory is damaged".to_string());
            }
            entry.advance(8);
            let (flags, method) = (entry.get_u16_le(), entry.get_u16_le());
            entry.advance(4);
            let sum = entry.get_u32_le();
            let (mut packed, size) = (u64::from(entry.get_u32_le()), u64::from(entry.get_u32_le()));
            let lengths = [entry.get_u16_le(), entry.get_u16_le(), entry.get_u16_le()].map(usize::from);
            entry.advance(8);
            let mut offset = u64::from(entry.get_u32_le());
            if rest.remaining() < lengths.iter().sum() {
                return Err("its directory is cut".to_string());
            }
            let [name, extra, _] = lengths.map(|length| rest.split_to(length));
            widened(extra, &mut packed, size, &mut offset);
            let name = String::from_utf8_lossy(&name).to_lowercase().replace('\\', "/");
            if flags & 1 == 1 {
                return Err("it is protected by a password; save it without one".to_string());
            }
            if !matches!(method, 0 | 8) {
                return Err(format!("its part `{name}` is packed by method {method}, which is not read"));
            }
            parts.insert(name, Part { is_deflated: method == 8, packed, offset, sum });
        }
        Ok(Self { bytes, parts })
    }

    /// Whether there is a part.
    pub(super) fn has(&self, name: &str) -> bool {
        self.parts.contains_key(&name.to_lowercase())
    }

    /// Reads a part, unpacked. Errors: there is none, or it lies behind the end.
    pub(super) fn part(&self, name: &str) -> Result<Measured, String> {
        let part =
            self.parts.get(&name.to_lowercase()).ok_or_else(|| format!("its part `{name}` is missing"))?;
        let mut head = slice(&self.bytes, part.offset, LOCAL_BYTES as u64)?;
        if !head.starts_with(LOCAL) {
            return Err(format!("its part `{name}` is damaged"));
        }
        head.advance(26);
        let names = u64::from(head.get_u16_le()) + u64::from(head.get_u16_le());
        let data = slice(&self.bytes, part.offset + LOCAL_BYTES as u64 + names, part.packed)?;
        let data = Cursor::new(data);
        let inner: Box<dyn Read + Send> = match part.is_deflated {
            true => Box::new(DeflateDecoder::new(data).take(PART_BYTES_MAX)),
            false => Box::new(data),
        };
        let summed = Summed { inner, hasher: crc32fast::Hasher::new(), sum: part.sum };
        Ok(Measured { inner: BufReader::new(summed), left: usize::MAX })
    }
}

/// A part whose checksum is compared at its end.
struct Summed {
    inner: Box<dyn Read + Send>,
    hasher: crc32fast::Hasher,
    sum: u32,
}

impl Read for Summed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.hasher.update(buf.get(..read).unwrap_or_default());
        match read == 0 && !buf.is_empty() && self.hasher.clone().finalize() != self.sum {
            true => Err(io::Error::other("a checksum does not fit; the file is damaged")),
            false => Ok(read),
        }
    }
}

/// A part of which only so much is read at once: a text without an end must not fill the memory.
pub(super) struct Measured {
    inner: BufReader<Summed>,
    left: usize,
}

impl Measured {
    /// Lets that many bytes pass from now on.
    pub(super) fn allow(&mut self, bytes: usize) {
        self.left = bytes;
    }
}

impl Read for Measured {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.left = self.left.saturating_sub(read);
        Ok(read)
    }
}

impl BufRead for Measured {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::Error::other("a text in it is longer than it may be"));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
        self.inner.consume(bytes);
    }
}
