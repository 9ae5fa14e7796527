//! Files as bytes, for readers of a grammar of their own.

use async_trait::async_trait;
use tarn_core::RequestContext;
use tarn_core::files::{FileTexts, FilesFault, ListedFile};

use super::FileReaders;
use super::config::FilesConfig;
use super::text::{bytes_of, fault};
use crate::sources::file::bytes::FileBytes;

/// Gives the bytes of files.
pub(crate) struct Texts {
    readers: FileReaders,
    ctx: RequestContext,
    config: FilesConfig,
    files: Vec<ListedFile>,
    next: usize,
    open: Option<(FileBytes, String)>,
}

impl Texts {
    pub(crate) fn new(
        readers: FileReaders,
        ctx: RequestContext,
        config: FilesConfig,
        files: Vec<ListedFile>,
    ) -> Self {
        Self { readers, ctx, config, files, next: 0, open: None }
    }
}

#[async_trait]
impl FileTexts for Texts {
    fn files(&self) -> usize {
        self.files.len()
    }

    async fn next_file(&mut self) -> Result<Option<String>, FilesFault> {
        let Some(file) = self.files.get(self.next) else { return Ok(None) };
        let compression = self.config.compression_of(&file.location);
        let open = self.readers.open(&self.ctx, &self.config, file).await?;
        self.next += 1;
        self.open = Some((bytes_of(&open.store, &open.info, compression), open.shown.clone()));
        Ok(Some(open.shown))
    }

    async fn next_piece(&mut self) -> Result<Option<Vec<u8>>, FilesFault> {
        let Some((bytes, shown)) = &mut self.open else { return Ok(None) };
        let piece = bytes.next().await.map_err(|error| fault(shown, error))?;
        Ok(piece.map(|piece| piece.to_vec()))
    }
}
