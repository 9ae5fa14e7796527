//! The container: a header with the schema, then blocks of records, each compressed by itself.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use tarn_core::files::FilesFault;

use super::super::OpenFile;
use super::super::text::{broken, fault};
use super::input::{EMPTY_MAX, Input};
use crate::sources::file::bytes::FileBytes;

const MAGIC: &[u8] = b"Obj\x01";
const SYNC_BYTES: usize = 16;
/// Two numbers of at most ten bytes each begin a block.
const HEAD_BYTES: usize = 20;
/// A header longer than this is none.
const HEADER_BYTES_MAX: usize = 16 << 20;
/// Bytes of a block, as they stand and decompressed; writers make blocks of some KiB.
const BLOCK_BYTES_MAX: usize = 256 << 20;
/// A block passed over is read where it is shorter than this, and jumped over otherwise.
const JUMP_BYTES: usize = 1 << 20;

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
    Bzip2,
    Xz,
}

impl Codec {
    fn parse(name: &str) -> Result<Self, String> {
        Ok(match name {
            "null" | "" => Self::Null,
            "deflate" => Self::Deflate,
            "snappy" => Self::Snappy,
            "zstandard" => Self::Zstandard,
            "bzip2" => Self::Bzip2,
            "xz" => Self::Xz,
            other => {
                return Err(format!(
                    "its codec `{other}` is not one of null, deflate, snappy, zstandard, bzip2, xz"
                ));
            }
        })
    }

    fn decompress(self, data: Bytes) -> Result<Bytes, String> {
        let data = match self {
            Self::Null => return Ok(data),
            Self::Snappy => return snappy(&data),
            Self::Deflate => read(flate2::read::DeflateDecoder::new(data.as_ref())),
            Self::Zstandard => zstd::stream::read::Decoder::new(data.as_ref()).and_then(read),
            Self::Bzip2 => read(bzip2::read::MultiBzDecoder::new(data.as_ref())),
            Self::Xz => read(liblzma::read::XzDecoder::new_multi_decoder(data.as_ref())),
        };
        let data = data.map_err(|error| format!("it cannot be decompressed: {error}"))?;
        match data.len() > BLOCK_BYTES_MAX {
            true => Err(format!("it becomes larger than {BLOCK_BYTES_MAX} bytes")),
            false => Ok(data.into()),
        }
    }
}

fn read(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    reader.take(BLOCK_BYTES_MAX as u64 + 1).read_to_end(&mut out)?;
    Ok(out)
}

/// Behind the data stands the checksum of what comes out.
fn snappy(data: &[u8]) -> Result<Bytes, String> {
    let broken = |error: snap::Error| format!("it cannot be decompressed: {error}");
    let (data, sum) = data.split_last_chunk::<4>().ok_or("it cannot be decompressed: it is cut")?;
    if snap::raw::decompress_len(data).map_err(broken)? > BLOCK_BYTES_MAX {
        return Err(format!("it becomes larger than {BLOCK_BYTES_MAX} bytes"));
    }
    let out = snap::raw::Decoder::new().decompress_vec(data).map_err(broken)?;
    match crc32fast::hash(&out) == u32::from_be_bytes(*sum) {
        true => Ok(out.into()),
        false => Err("its checksum does not fit".to_string()),
    }
}

/// Where a block stands and what it holds.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// From 1.
    pub(super) number: u64,
    /// Where it begins in the file.
    pub(super) offset: u64,
    pub(super) records: u64,
    /// Bytes of its data as they stand.
    bytes: usize,
}

/// A block, decompressed.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) head: Head,
    pub(super) data: Bytes,
}

/// Gives the blocks of a file.
pub(super) struct Container {
    open: OpenFile,
    source: FileBytes,
    /// Read and not used yet.
    waiting: BytesMut,
    /// Where `waiting` begins in the file.
    offset: u64,
    schema: String,
    codec: Codec,
    sync: [u8; SYNC_BYTES],
    blocks: u64,
}

/// Of a header: the schema, the codec, the marker between blocks, and its length.
type Header = (String, Codec, [u8; SYNC_BYTES], usize);

/// `None`: it goes on. Errors: it is none.
fn header(bytes: &[u8]) -> Result<Option<Header>, String> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return match MAGIC.starts_with(bytes) {
            true => Ok(None),
            false => Err("it is no Avro file: it does not begin with `Obj` and 1".to_string()),
        };
    };
    let mut input = Input::new(rest, 0);
    // Whatever ends early may go on in the next piece.
    let Some(entries) = entries(&mut input) else { return Ok(None) };
    let Ok(sync) = input.array::<SYNC_BYTES>() else { return Ok(None) };
    let text = |key: &str| {
        let found = entries.iter().find(|(name, _)| *name == key.as_bytes());
        found.map(|(_, value)| std::str::from_utf8(value).map_err(|_| format!("its `{key}` is not UTF-8")))
    };
    let schema = text("avro.schema").ok_or("its header holds no schema")??;
    let codec = Codec::parse(text("avro.codec").transpose()?.unwrap_or("null"))?;
    Ok(Some((schema.to_string(), codec, sync, MAGIC.len() + input.at())))
}

fn entries<'a>(input: &mut Input<'a>) -> Option<Vec<(&'a [u8], &'a [u8])>> {
    let mut found = Vec::new();
    loop {
        let mut count = input.long().ok()?;
        if count < 0 {
            input.long().ok()?;
            count = count.checked_neg()?;
        }
        if count == 0 {
            return Some(found);
        }
        for _ in 0..count {
            found.push((input.bytes().ok()?, input.bytes().ok()?));
        }
    }
}

impl Container {
    /// Errors: it is no Avro file, or of a codec that is not known.
    pub(super) async fn open(open: OpenFile) -> Result<Self, FilesFault> {
        let source = FileBytes::plain(open.store.clone(), open.info.clone(), 0);
        let mut container = Self {
            open,
            source,
            waiting: BytesMut::new(),
            offset: 0,
            schema: String::new(),
            codec: Codec::Null,
            sync: [0; SYNC_BYTES],
            blocks: 0,
        };
        loop {
            let found = header(&container.waiting).map_err(|what| container.broken(&what))?;
            if let Some((schema, codec, sync, length)) = found {
                (container.schema, container.codec, container.sync) = (schema, codec, sync);
                container.advance(length);
                return Ok(container);
            }
            if container.waiting.len() > HEADER_BYTES_MAX || !container.more().await? {
                return Err(container.broken("it is no whole Avro file: its header does not end"));
            }
        }
    }

    /// The schema as it stands in the header.
    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// Bytes of the file that are done.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    fn broken(&self, what: &str) -> FilesFault {
        broken(&self.open.shown, what)
    }

    /// Reads a piece. Returns whether there was one.
    async fn more(&mut self) -> Result<bool, FilesFault> {
        let piece = self.source.next().await.map_err(|error| fault(&self.open.shown, error))?;
        let is_some = piece.is_some();
        self.waiting.extend_from_slice(&piece.unwrap_or_default());
        Ok(is_some)
    }

    /// Reads until `bytes` wait. Returns whether there are as many.
    async fn need(&mut self, bytes: usize) -> Result<bool, FilesFault> {
        while self.waiting.len() < bytes {
            if !self.more().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn advance(&mut self, bytes: usize) -> Bytes {
        let bytes = bytes.min(self.waiting.len());
        self.offset += bytes as u64;
        self.waiting.split_to(bytes).freeze()
    }

    /// The next block, or `None` at the end. Errors: the file ends within its head, or it cannot be one.
    pub(super) async fn next_head(&mut self) -> Result<Option<Head>, FilesFault> {
        self.need(HEAD_BYTES).await?;
        if self.waiting.is_empty() {
            return Ok(None);
        }
        let (number, offset) = (self.blocks + 1, self.offset);
        let wrong =
            |what: &str| broken(&self.open.shown, &format!("block {number} at byte {offset}: {what}"));
        let mut input = Input::new(&self.waiting, 0);
        let (records, bytes) = match (input.long(), input.long()) {
            (Ok(records), Ok(bytes)) => (records, bytes),
            _ => return Err(wrong("the file is cut in its first bytes")),
        };
        let used = input.at();
        let records = u64::try_from(records).map_err(|_| wrong("it has a negative number of records"))?;
        let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= BLOCK_BYTES_MAX);
        let bytes = bytes.ok_or_else(|| wrong("its length cannot be right; is the file damaged?"))?;
        self.blocks += 1;
        self.advance(used);
        Ok(Some(Head { number, offset, records, bytes }))
    }

    fn cut(&self, head: &Head) -> FilesFault {
        self.broken(&format!("block {} at byte {}: the file ends within it", head.number, head.offset))
    }

    /// Goes behind a block without its data.
    pub(super) async fn pass(&mut self, head: &Head) -> Result<(), FilesFault> {
        if head.bytes > self.waiting.len() + JUMP_BYTES {
            self.offset += head.bytes as u64;
            if self.offset > self.open.info.size {
                return Err(self.cut(head));
            }
            self.waiting.clear();
            self.source = FileBytes::plain(self.open.store.clone(), self.open.info.clone(), self.offset);
        } else {
            match self.need(head.bytes).await? {
                true => drop(self.advance(head.bytes)),
                false => return Err(self.cut(head)),
            }
        }
        self.marker(head).await
    }

    /// The marker behind a block. Errors: it is another one.
    async fn marker(&mut self, head: &Head) -> Result<(), FilesFault> {
        if !self.need(SYNC_BYTES).await? {
            return Err(self.cut(head));
        }
        match self.advance(SYNC_BYTES) == self.sync.as_slice() {
            true => Ok(()),
            false => Err(self.broken(&format!(
                "block {} at byte {}: the marker behind it is not that of the file; the file is damaged",
                head.number, head.offset
            ))),
        }
    }

    /// The data of a block. Errors: the file ends within it, or it is damaged.
    pub(super) async fn block(&mut self, head: Head) -> Result<Block, FilesFault> {
        if !self.need(head.bytes + SYNC_BYTES).await? {
            return Err(self.cut(&head));
        }
        let data = self.advance(head.bytes);
        self.marker(&head).await?;
        let data = self
            .codec
            .decompress(data)
            .map_err(|what| self.broken(&format!("block {} at byte {}: {what}", head.number, head.offset)))?;
        if head.records > data.len().saturating_add(EMPTY_MAX) as u64 {
            let what = format!("it says {} records, its {} bytes cannot hold them", head.records, data.len());
            return Err(self.broken(&format!("block {} at byte {}: {what}", head.number, head.offset)));
        }
        Ok(Block { head, data })
    }
}
