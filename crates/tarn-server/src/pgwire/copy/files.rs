//! `COPY … FROM 'file'`: what a client would send, read by the server instead.

use std::fmt::Debug;

use futures::{Sink, SinkExt};
use pgwire::api::ClientInfo;
use pgwire::api::results::{Response, Tag};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::TransactionStatus;
use serde_json::json;
use tarn_core::FaultKind;
use tarn_core::files::{FileTexts, FilesFault};
use tarn_query::{ClientCopy, CopyStatement, CopySubject, QueryError};

use super::super::connection::Connection;
use super::super::error::{of_query, user_error};
use super::super::split::Piece;
use super::skipped_notice;

/// As PostgreSQL says it where there is no such file.
fn told(fault: &FilesFault, path: &str) -> QueryError {
    match fault.0.kind {
        FaultKind::NotFound => {
            let message = format!("could not open file \"{path}\" for reading: No such file or directory");
            let error = QueryError::coded("58P01", message);
            match &fault.0.hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        }
        _ => QueryError::from_fault(fault),
    }
}

/// With the file in which a line is, where there are several.
fn in_file(error: PgWireError, file: &str) -> PgWireError {
    match error {
        PgWireError::UserError(mut info) => {
            if let Some(context) = &mut info.where_context {
                context.push_str(&format!(" of {file}"));
            }
            PgWireError::UserError(info)
        }
        other => other,
    }
}

impl Connection {
    /// Takes rows of files of the server into a table. Errors: those of the statement, the files and the data; then
    /// nothing has changed.
    pub(super) async fn copy_files<C>(
        &self,
        client: &mut C,
        piece: &Piece,
        status: TransactionStatus,
        statement: &CopyStatement,
        path: &str,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let copy = ClientCopy::new(&statement.options, true).map_err(|error| of_query(&error, piece))?;
        let CopySubject::Table { name, columns } = &statement.subject else {
            return Err(user_error("42601", "COPY FROM takes rows into a table"));
        };
        self.receive(client, piece, status, (name, columns), copy).await?;
        if let Err(error) = self.take_files(path, piece).await {
            // Whoever failed on a row has ended the statement already.
            let incoming = self.incoming.lock().take();
            return Err(match incoming {
                Some(incoming) => self.failed(*incoming, error),
                None => error,
            });
        }
        let (copied, skipped) = Box::pin(self.finish_rows()).await?;
        if let Some(notice) = skipped_notice(skipped) {
            client.feed(notice).await?;
        }
        let rows = usize::try_from(copied).unwrap_or(usize::MAX);
        Ok(Response::Execution(Tag::new("COPY").with_rows(rows)))
    }

    async fn take_files(&self, path: &str, piece: &Piece) -> PgWireResult<()> {
        let ctx = self.session()?.context().clone();
        let fault = |fault: FilesFault| of_query(&told(&fault, path), piece);
        let files = self.app().state.imports.files();
        let mut texts = files.texts(&ctx, &json!({ "path": path, "hive": false })).await.map_err(fault)?;
        let are_several = texts.files() > 1;
        let mut is_first = true;
        while let Some(file) = texts.next_file().await.map_err(fault)? {
            if !is_first {
                self.next_file().await.map_err(|error| in_file(error, &file))?;
            }
            is_first = false;
            while let Some(bytes) = piece_of(texts.as_mut()).await.map_err(fault)? {
                let taken = self.take_rows(&bytes).await;
                taken.map_err(|error| if are_several { in_file(error, &file) } else { error })?;
            }
        }
        Ok(())
    }

    /// The rest of the rows of a file; the next one begins with its own header.
    async fn next_file(&self) -> PgWireResult<()> {
        let Some(mut incoming) = self.incoming.lock().take() else { return Ok(()) };
        match incoming.take(&[], true).await {
            Ok(()) => {
                incoming.rows.begin_file();
                *self.incoming.lock() = Some(incoming);
                Ok(())
            }
            Err(error) => Err(self.failed(*incoming, error)),
        }
    }
}

/// A piece that holds something.
async fn piece_of(texts: &mut dyn FileTexts) -> Result<Option<Vec<u8>>, FilesFault> {
    loop {
        match texts.next_piece().await? {
            Some(piece) if piece.is_empty() => {}
            piece => return Ok(piece),
        }
    }
}
