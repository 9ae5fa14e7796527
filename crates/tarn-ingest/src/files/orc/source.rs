//! The bytes of an ORC file, from its store.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use orc_rust::reader::AsyncChunkReader;
use tarn_core::files::FilesFault;

use super::super::OpenFile;
use super::super::text::broken;
use super::Shared;
use super::guard::{self, Place, Tail};
use crate::sources::file::bytes::read_range;

/// Stripes are read as wholes, so that a bucket is asked once for each and not for each column.
const STRIPE_BYTES_MAX: u64 = 1 << 30;

/// Why the store failed, if it did; the library keeps no errors but of its own kinds.
pub(super) type Failure = Shared<Option<FilesFault>>;

/// Reads ranges of a file.
pub(super) struct StoreSource {
    open: OpenFile,
    failure: Failure,
    tail: Tail,
    /// Where stripes stand.
    stripes: Shared<Vec<Place>>,
    /// The stripe at work.
    held: Option<(Range<u64>, Bytes)>,
}

impl StoreSource {
    pub(super) fn new(open: OpenFile, tail: Tail) -> Self {
        Self { open, tail, failure: Arc::default(), stripes: Arc::default(), held: None }
    }

    pub(super) fn failure(&self) -> Failure {
        Arc::clone(&self.failure)
    }

    /// To be filled once they are known.
    pub(super) fn stripes(&self) -> Shared<Vec<Place>> {
        Arc::clone(&self.stripes)
    }

    async fn read(&mut self, range: Range<u64>) -> io::Result<Bytes> {
        if range.end > self.open.info.size || range.end - range.start > STRIPE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a part of it lies behind its end"));
        }
        if let Some(bytes) = self.held(&range) {
            return Ok(bytes);
        }
        let within = |place: &&Place| place.range.start <= range.start && range.end <= place.range.end;
        let Some(place) = self.stripes.lock().iter().find(within).cloned() else {
            return self.fetch(range).await;
        };
        if place.range.end - place.range.start > STRIPE_BYTES_MAX {
            return self.fail("a stripe is larger than 1 GiB");
        }
        let stripe = self.fetch(place.range.clone()).await?;
        if let Err(what) = guard::check(&stripe, &place, &self.tail) {
            return self.fail(&what);
        }
        self.held = Some((place.range, stripe));
        self.held(&range).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    async fn fetch(&self, range: Range<u64>) -> io::Result<Bytes> {
        read_range(&self.open.store, &self.open.info, range).await.map_err(|error| {
            *self.failure.lock() = Some(FilesFault::of(&error));
            io::Error::other("the store failed")
        })
    }

    fn fail(&self, what: &str) -> io::Result<Bytes> {
        let fault = broken(&self.open.shown, &format!("it cannot be read as ORC: {what}"));
        *self.failure.lock() = Some(fault);
        Err(io::Error::other("a stripe cannot be right"))
    }

    fn held(&self, range: &Range<u64>) -> Option<Bytes> {
        let (stripe, bytes) = self.held.as_ref()?;
        let begin = usize::try_from(range.start.checked_sub(stripe.start)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(stripe.start)?).ok()?;
        (end <= bytes.len()).then(|| bytes.slice(begin..end))
    }
}

impl AsyncChunkReader for StoreSource {
    fn len(&mut self) -> BoxFuture<'_, io::Result<u64>> {
        let size = self.open.info.size;
        async move { Ok(size) }.boxed()
    }

    fn get_bytes(&mut self, offset_from_start: u64, length: u64) -> BoxFuture<'_, io::Result<Bytes>> {
        let end = offset_from_start.saturating_add(length);
        if length == 0 {
            return async { Ok(Bytes::new()) }.boxed();
        }
        self.read(offset_from_start..end).boxed()
    }
}
