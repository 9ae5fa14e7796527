//! The bytes of a text file, in pieces, decompressed.

use std::io::Write;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use object_store::{GetOptions, GetRange, ObjectStore as _};
use tarn_storage::Store;

use super::listing::FileInfo;
use crate::error::IngestError;

/// Bytes read at a time.
const PIECE: u64 = 1 << 20;
/// Compressed bytes decompressed at a time: at most about 64 MiB come out.
const SQUEEZED_PIECE: usize = 64 << 10;

/// Why a file cannot be read further.
#[derive(Debug)]
pub(crate) enum BytesError {
    /// The file itself is broken; it is given up.
    File(String),
    /// The store failed; the source is started again.
    Store(IngestError),
}

struct Gzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    waiting: Bytes,
    out_bytes: u64,
    out_bytes_max: u64,
}

/// Reads a file from an offset to the size it had when it was listed.
pub(crate) struct FileBytes {
    store: Store,
    file: FileInfo,
    offset: u64,
    gzip: Option<Gzip>,
}

/// Reads one range of a file. Errors: the store's; a file that changed meanwhile reads as an error too.
pub(crate) async fn read_range(
    store: &Store,
    file: &FileInfo,
    range: std::ops::Range<u64>,
) -> Result<Bytes, IngestError> {
    let options = GetOptions {
        range: Some(GetRange::Bounded(range)),
        if_match: file.e_tag.clone(),
        ..GetOptions::default()
    };
    let read = async { store.objects().get_opts(&file.path, options).await?.bytes().await };
    read.await.map_err(|error| store.error(&file.path, error).into())
}

impl FileBytes {
    /// `offset`: where to begin, for a file that is not compressed.
    pub(crate) fn plain(store: Store, file: FileInfo, offset: u64) -> Self {
        Self { store, file, offset, gzip: None }
    }

    /// `out_bytes_max`: the file is given up above this size after decompression.
    pub(crate) fn gzip(store: Store, file: FileInfo, out_bytes_max: u64) -> Self {
        let decoder = MultiGzDecoder::new(Vec::new());
        let gzip = Gzip { decoder, waiting: Bytes::new(), out_bytes: 0, out_bytes_max };
        Self { store, file, offset: 0, gzip: Some(gzip) }
    }

    /// Bytes of the file that were read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next piece, or `None` at the end. May be empty before the end. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BytesError> {
        if let Some(gzip) = &mut self.gzip
            && !gzip.waiting.is_empty()
        {
            return gzip.squeeze_out().map(Some);
        }
        if self.offset >= self.file.size {
            return match &mut self.gzip {
                Some(gzip) => gzip.finish(),
                None => Ok(None),
            };
        }
        let end = (self.offset + PIECE).min(self.file.size);
        let piece = read_range(&self.store, &self.file, self.offset..end).await.map_err(BytesError::Store)?;
        if piece.is_empty() {
            return Err(BytesError::File("it became shorter while it was read".to_string()));
        }
        self.offset += piece.len() as u64;
        match &mut self.gzip {
            Some(gzip) => {
                gzip.waiting = piece;
                gzip.squeeze_out().map(Some)
            }
            None => Ok(Some(piece)),
        }
    }
}

impl Gzip {
    fn squeeze_out(&mut self) -> Result<Bytes, BytesError> {
        let part = self.waiting.split_to(self.waiting.len().min(SQUEEZED_PIECE));
        let broken = |error: std::io::Error| BytesError::File(format!("it is not valid gzip: {error}"));
        self.decoder.write_all(&part).map_err(broken)?;
        self.take()
    }

    fn take(&mut self) -> Result<Bytes, BytesError> {
        let out = std::mem::take(self.decoder.get_mut());
        self.out_bytes += out.len() as u64;
        if self.out_bytes > self.out_bytes_max {
            let limit = tarn_core::ByteSize(self.out_bytes_max);
            return Err(BytesError::File(format!(
                "it decompresses to more than {limit}; raise `decompressed_max` if that is right"
            )));
        }
        Ok(out.into())
    }

    fn finish(&mut self) -> Result<Option<Bytes>, BytesError> {
        let ended = self.decoder.try_finish();
        ended.map_err(|error| BytesError::File(format!("its gzip data ends early: {error}")))?;
        let rest = self.take()?;
        Ok((!rest.is_empty()).then_some(rest))
    }
}
