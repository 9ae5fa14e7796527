//! What must be right in the tail of a file before the decoder may see it: it follows types into each other until the stack
//! ends, and takes buffers as large as the file says.
//!
//! Source: Apache ORC specification v1, file tail and compression.

use std::io::Read;

use orc_rust::proto::{CompressionKind, Footer, PostScript, Type};
use prost_orc::Message;
use tarn_core::files::FilesFault;

use super::super::OpenFile;
use super::super::text::broken;
use super::guard::Tail;
use crate::sources::file::bytes::read_range;

const MAGIC: &[u8] = b"ORC";
/// The length of a chunk has 23 bits, so nothing larger can be meant.
const CHUNK_BYTES_MAX: u64 = 1 << 23;
const FOOTER_BYTES_MAX: u64 = 64 << 20;
const TYPES_MAX: usize = 20_000;
const DEPTH_MAX: usize = 64;

/// What stripes are understood with. Errors: it is no ORC file, or its tail cannot be right.
pub(super) async fn check(open: &OpenFile) -> Result<Tail, FilesFault> {
    let wrong = |what: &str| broken(&open.shown, &format!("it cannot be read as ORC: {what}"));
    let size = open.info.size;
    let head =
        read_range(&open.store, &open.info, 0..size.min(3)).await.map_err(|error| FilesFault::of(&error))?;
    if head != MAGIC {
        return Err(broken(&open.shown, "it is no ORC file: it does not begin with `ORC`"));
    }
    // The last byte is the length of the postscript, which is shorter than 256 bytes.
    let end = read_range(&open.store, &open.info, size.saturating_sub(256)..size).await;
    let end = end.map_err(|error| FilesFault::of(&error))?;
    let (script, footer) = postscript(&end).map_err(&wrong)?;
    let from = size.checked_sub(footer.1).filter(|_| footer.0 <= FOOTER_BYTES_MAX);
    let range = from.and_then(|to| Some(to.checked_sub(footer.0)?..to));
    let range = range.ok_or_else(|| wrong("its tail is longer than it may be; is it cut?"))?;
    let metadata = script.metadata_length.unwrap_or(0);
    if range.start.checked_sub(metadata).is_none() || metadata > FOOTER_BYTES_MAX {
        return Err(wrong("its tail is longer than it may be; is it cut?"));
    }
    let bytes = match range.is_empty() {
        true => bytes::Bytes::new(),
        false => read_range(&open.store, &open.info, range).await.map_err(|error| FilesFault::of(&error))?,
    };
    let compression = script.compression();
    let bytes = unpacked(&bytes, compression, FOOTER_BYTES_MAX).map_err(|what| wrong(&what))?;
    let footer = Footer::decode(bytes.as_slice()).map_err(|_| wrong("its footer is damaged"))?;
    types(&footer).map_err(wrong)?;
    Ok(Tail { compression, kinds: footer.types.iter().map(Type::kind).collect() })
}

/// The postscript, and of the footer its length and how many bytes stand behind it.
fn postscript(end: &[u8]) -> Result<(PostScript, (u64, u64)), &'static str> {
    let (length, rest) = end.split_last().ok_or("it is empty")?;
    let length = usize::from(*length);
    let script = rest.len().checked_sub(length).and_then(|begin| rest.get(begin..));
    let script = script.ok_or("it is cut")?;
    let script = PostScript::decode(script).map_err(|_| "its postscript is damaged; is it cut?")?;
    let footer = script.footer_length.ok_or("its footer has no length")?;
    match script.compression_block_size.is_some_and(|bytes| bytes > CHUNK_BYTES_MAX) {
        true => Err("its chunks are larger than they may be"),
        false => Ok((script, (footer, length as u64 + 1))),
    }
}

/// The content of chunks, each behind three bytes that tell its length and whether it is compressed.
pub(super) fn unpacked(mut bytes: &[u8], kind: CompressionKind, most: u64) -> Result<Vec<u8>, String> {
    if kind == CompressionKind::None {
        return Ok(bytes.to_vec());
    }
    let mut out = Vec::new();
    while let Some(([a, b, c], rest)) = bytes.split_first_chunk::<3>() {
        let head = u32::from_le_bytes([*a, *b, *c, 0]);
        let length = usize::try_from(head >> 1).unwrap_or(usize::MAX);
        let (chunk, rest) = rest.split_at_checked(length).ok_or("a part of it is cut")?;
        match head & 1 == 1 {
            true => out.extend_from_slice(chunk),
            false => decompress(chunk, kind, &mut out)?,
        }
        if out.len() as u64 > most {
            return Err("a part of it is larger than it may be".to_string());
        }
        bytes = rest;
    }
    Ok(out)
}

fn decompress(chunk: &[u8], kind: CompressionKind, out: &mut Vec<u8>) -> Result<(), String> {
    let damaged = || "a part of it cannot be decompressed".to_string();
    let mut take = |reader: &mut dyn Read| {
        let read = reader.take(CHUNK_BYTES_MAX).read_to_end(out);
        read.map(drop).map_err(|_| damaged())
    };
    match kind {
        CompressionKind::None => {
            out.extend_from_slice(chunk);
            Ok(())
        }
        CompressionKind::Zlib => take(&mut flate2::read::DeflateDecoder::new(chunk)),
        CompressionKind::Zstd => take(&mut zstd::stream::read::Decoder::new(chunk).map_err(|_| damaged())?),
        CompressionKind::Snappy => {
            let length = snap::raw::decompress_len(chunk).map_err(|_| damaged())?;
            if length as u64 > CHUNK_BYTES_MAX {
                return Err(damaged());
            }
            out.extend(snap::raw::Decoder::new().decompress_vec(chunk).map_err(|_| damaged())?);
            Ok(())
        }
        CompressionKind::Lz4 => {
            let size = usize::try_from(CHUNK_BYTES_MAX).unwrap_or(usize::MAX);
            out.extend(lz4_flex::block::decompress(chunk, size).map_err(|_| damaged())?);
            Ok(())
        }
        CompressionKind::Lzo => {
            Err("it is compressed by LZO, which is not read; write it with ZLIB or ZSTD".to_string())
        }
    }
}

/// Types stand behind the type that holds them, each in one place.
fn types(footer: &Footer) -> Result<(), &'static str> {
    let types = &footer.types;
    if types.len() > TYPES_MAX {
        return Err("it has more than 20,000 types");
    }
    let mut depths = vec![0_usize; types.len()];
    let mut is_used = vec![false; types.len()];
    for (at, one) in types.iter().enumerate() {
        let depth = depths.get(at).copied().unwrap_or_default() + 1;
        for inner in &one.subtypes {
            let inner = usize::try_from(*inner).unwrap_or(usize::MAX);
            let (Some(known), Some(used)) = (depths.get_mut(inner), is_used.get_mut(inner)) else {
                return Err("a type within another is missing");
            };
            if inner <= at || *used {
                return Err("a type stands within itself, or in two places");
            }
            (*known, *used) = (depth, true);
        }
        if depth > DEPTH_MAX {
            return Err("types stand more than 64 deep within each other");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_a_tree() {
        let check = |inner: &[&[u32]]| {
            let one = |inner: &&[u32]| Type { subtypes: inner.to_vec(), ..Type::default() };
            types(&Footer { types: inner.iter().map(one).collect(), ..Footer::default() })
        };
        assert!(check(&[&[1, 2], &[], &[3], &[]]).is_ok());
        assert!(check(&[&[1], &[1]]).is_err(), "within itself");
        assert!(check(&[&[1], &[2], &[0]]).is_err(), "around");
        assert!(check(&[&[1, 2], &[3], &[3], &[]]).is_err(), "in two places");
        assert!(check(&[&[7]]).is_err(), "missing");
        let deep: Vec<Vec<u32>> = (1..=70).map(|n| if n < 70 { vec![n] } else { Vec::new() }).collect();
        assert!(check(&deep.iter().map(Vec::as_slice).collect::<Vec<_>>()).is_err(), "deep");
    }
}
