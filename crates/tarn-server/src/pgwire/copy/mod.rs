//! `COPY` between a client and tables: rows in the text, CSV and binary forms of PostgreSQL, in both directions, never
//! more of them in memory than a batch. What comes is one commit at its end, or none.

mod binary;
mod columns;
mod fault;
mod fields;
mod files;
mod lines;
mod out;
mod rows;
mod times;
mod values;

use std::fmt::Debug;
use std::time::Instant;

use arrow::array::timezone::Tz;
use async_trait::async_trait;
use futures::{Sink, SinkExt, StreamExt};
use pgwire::api::copy::CopyHandler;
use pgwire::api::portal::Format;
use pgwire::api::query::send_execution_response;
use pgwire::api::results::{QueryResponse, Response, Tag};
use pgwire::api::{ClientInfo, PgWireConnectionState};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::{CopyData, CopyDone, CopyFail, CopyInResponse, CopyOutResponse};
use pgwire::messages::response::{NoticeResponse, TransactionStatus};
use tarn_query::{
    ClientCopy, CopyColumns, CopyFormat, CopyIn, CopyPlace, CopyStatement, CopySubject, QueryError,
    QueryOptions, parse_copy,
};

use super::connection::{Busy, Connection};
use super::error::{of_query, user_error};
use super::settings;
use super::simple::changes;
use super::split::{Piece, split};
use rows::Rows;

/// Rows that a client is sending.
#[derive(Debug)]
pub(super) struct Incoming {
    into: CopyIn,
    rows: Rows,
    busy: Busy,
    piece: Piece,
    table: String,
    began: Instant,
}

fn code_of(format: CopyFormat) -> i16 {
    i16::from(format == CopyFormat::Binary)
}

/// Reads a `COPY`. Errors: what is wrong with it.
pub(super) fn parse(piece: &Piece) -> PgWireResult<CopyStatement> {
    match parse_copy(&piece.text) {
        Some(parsed) => parsed.map_err(|error| of_query(&error, piece)),
        None => Err(user_error("42601", "this is not a COPY")),
    }
}

impl Connection {
    /// Carries out a `COPY`. `None`: the client now sends rows. Errors: those of the statement.
    pub(super) async fn copy<C>(
        &self,
        client: &mut C,
        piece: &Piece,
        status: TransactionStatus,
        is_extended: bool,
    ) -> PgWireResult<Option<Response>>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statement = parse(piece)?;
        if let CopyPlace::File(path) = &statement.place {
            let reads_texts = statement.is_from
                && statement.files_format().map_err(|error| of_query(&error, piece))?.is_none();
            if reads_texts {
                let copied = Box::pin(self.copy_files(client, piece, status, &statement, path)).await;
                return copied.map(Some);
            }
            return self.start_query(client, piece, status, &Format::UnifiedText).await.map(Some);
        }
        let copy = ClientCopy::new(&statement.options, statement.is_from);
        let copy = copy.map_err(|error| of_query(&error, piece))?;
        match statement.subject {
            CopySubject::Table { name, columns } if statement.is_from => {
                let began = self.receive(client, piece, status, (&name, &columns), copy).await?;
                let (format, columns) = began;
                let codes = vec![format; columns];
                let count = i16::try_from(columns).unwrap_or(i16::MAX);
                let code = i8::try_from(format).unwrap_or(0);
                client.set_state(PgWireConnectionState::CopyInProgress(is_extended));
                let response = CopyInResponse::new(code, count, codes);
                client.send(PgWireBackendMessage::CopyInResponse(response)).await?;
                Ok(None)
            }
            subject => {
                let query = query_of(piece, &subject)?;
                let format = match copy.format {
                    CopyFormat::Binary => Format::UnifiedBinary,
                    _ => Format::UnifiedText,
                };
                let Response::Query(result) = self.start_query(client, &query, status, &format).await? else {
                    return Err(user_error("0A000", "COPY query must have a RETURNING clause"));
                };
                let rows = send(client, result, &copy).await?;
                Ok(Some(Response::Execution(Tag::new("COPY").with_rows(rows))))
            }
        }
    }

    /// Begins to take rows. Returns their format and the number of their columns.
    async fn receive<C>(
        &self,
        client: &mut C,
        piece: &Piece,
        status: TransactionStatus,
        (name, columns): (&[String], &[String]),
        copy: ClientCopy,
    ) -> PgWireResult<(i16, usize)>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let busy = self.busy();
        let options = QueryOptions {
            timeout: Some(self.limit(client)),
            query_id: Some(busy.query_id.clone()),
            changes: changes(client, status),
            ..QueryOptions::default()
        };
        let into = tokio::select! {
            into = self.session()?.copy_in(&piece.text, name, columns, options) => {
                into.map_err(|error| of_query(&error, piece))?
            }
            () = busy.token.cancelled() => return Err(PgWireError::QueryCanceled),
        };
        let table = into.table().name().to_string();
        let names: Vec<&str> = into.fields().iter().map(|field| field.name().as_str()).collect();
        for (option, forced) in [("FORCE_NOT_NULL", &copy.force_not_null), ("FORCE_NULL", &copy.force_null)] {
            if let CopyColumns::Named(forced) = forced
                && let Some(other) = forced.iter().find(|name| !names.contains(&name.as_str()))
            {
                let message = format!("{option} column \"{other}\" not referenced by COPY");
                return Err(user_error("42P10", message));
            }
        }
        let began = (code_of(copy.format), names.len());
        let rows = Rows::new(copy, &table, into.fields(), into.missing(), zone_of(client))?;
        let piece = piece.clone();
        let incoming = Incoming { into, rows, busy, piece, table, began: self.app().env.clock.instant() };
        *self.incoming.lock() = Some(Box::new(incoming));
        Ok(began)
    }

    async fn take_rows(&self, bytes: &[u8]) -> PgWireResult<()> {
        let Some(mut incoming) = self.incoming.lock().take() else { return Ok(()) };
        match incoming.take(bytes, false).await {
            Ok(()) => {
                *self.incoming.lock() = Some(incoming);
                Ok(())
            }
            Err(error) => Err(self.failed(*incoming, error)),
        }
    }

    fn failed(&self, incoming: Incoming, error: PgWireError) -> PgWireError {
        let elapsed = self.app().env.clock.instant() - incoming.began;
        let message = match &error {
            PgWireError::UserError(info) => info.message.clone(),
            other => other.to_string(),
        };
        incoming.into.fail(&match error {
            PgWireError::QueryCanceled => QueryError::Cancelled { query_id: incoming.busy.query_id.clone() },
            _ => QueryError::Execution { message, hint: None },
        });
        self.server().meter.answered(elapsed, super::error::is_ours(&error));
        error
    }

    /// The rest of the rows, and the commit. Returns how many rows came and how many were left out.
    async fn finish_rows(&self) -> PgWireResult<(u64, u64)> {
        let Some(mut incoming) = self.incoming.lock().take() else {
            return Err(user_error("08P01", "no COPY is going on"));
        };
        if let Err(error) = incoming.take(&[], true).await {
            return Err(self.failed(*incoming, error));
        }
        let Incoming { into, rows, busy, piece, began, .. } = *incoming;
        let committed = into.finish().await;
        drop(busy);
        self.server().meter.answered(self.app().env.clock.instant() - began, false);
        let copied = committed.map_err(|error| of_query(&error, &piece))?;
        Ok((copied, rows.skipped))
    }
}

impl Incoming {
    async fn take(&mut self, bytes: &[u8], is_end: bool) -> PgWireResult<()> {
        if self.busy.token.is_cancelled() {
            return Err(PgWireError::QueryCanceled);
        }
        self.into.check().map_err(|error| of_query(&error, &self.piece))?;
        if !is_end {
            self.rows.push(bytes)?;
        }
        while let Some(arrays) = self.rows.next(is_end)? {
            self.into.write(arrays).await.map_err(|error| of_query(&error, &self.piece))?;
        }
        Ok(())
    }
}

/// Tells how many rows were left out, if any.
fn skipped_notice(skipped: u64) -> Option<PgWireBackendMessage> {
    let what = match skipped {
        0 => return None,
        1 => "row was",
        _ => "rows were",
    };
    let message = format!("{skipped} {what} skipped due to data type incompatibility");
    let notice = ErrorInfo::new("NOTICE".to_string(), "00000".to_string(), message);
    Some(PgWireBackendMessage::NoticeResponse(NoticeResponse::from(notice)))
}

/// The time zone of the session, in which times that name none are meant.
fn zone_of<C: ClientInfo + ?Sized>(client: &C) -> Tz {
    let named = settings::show(client, "TimeZone").and_then(|(_, zone)| zone.parse().ok());
    named.unwrap_or_else(|| "+00:00".parse().expect("a constant offset"))
}

/// The query whose rows are copied, at its place in the client's text.
fn query_of(piece: &Piece, subject: &CopySubject) -> PgWireResult<Piece> {
    let query = split(&subject.query()).into_iter().next();
    let query = query.ok_or_else(|| user_error("42601", "COPY needs a query"))?;
    Ok(match subject {
        CopySubject::Query(_) => Piece { offset: piece.offset + query.offset, ..query },
        CopySubject::Table { .. } => query,
    })
}

/// Sends the rows of a result. Returns how many.
async fn send<C>(client: &mut C, result: QueryResponse, copy: &ClientCopy) -> PgWireResult<usize>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let QueryResponse { row_schema, mut data_rows, .. } = result;
    let writer = out::Writer::new(copy, &row_schema)?;
    let code = code_of(copy.format);
    let codes = vec![code; row_schema.len()];
    let count = i16::try_from(row_schema.len()).unwrap_or(i16::MAX);
    let response = CopyOutResponse::new(i8::try_from(code).unwrap_or(0), count, codes);
    client.feed(PgWireBackendMessage::CopyOutResponse(response)).await?;
    if let Some(head) = writer.head() {
        client.feed(PgWireBackendMessage::CopyData(CopyData::new(head))).await?;
    }
    let mut rows = 0;
    while let Some(row) = data_rows.next().await {
        let line = writer.row(&row?)?;
        client.feed(PgWireBackendMessage::CopyData(CopyData::new(line))).await?;
        rows += 1;
    }
    if let Some(tail) = writer.tail() {
        client.feed(PgWireBackendMessage::CopyData(CopyData::new(tail))).await?;
    }
    client.feed(PgWireBackendMessage::CopyDone(CopyDone::new())).await?;
    Ok(rows)
}

#[async_trait]
impl CopyHandler for Connection {
    async fn on_copy_data<C>(&self, _: &mut C, data: CopyData) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.take_rows(&data.data).await
    }

    async fn on_copy_done<C>(&self, client: &mut C, _: CopyDone) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let (copied, skipped) = Box::pin(self.finish_rows()).await?;
        // The library would not look at the Sync that ends an extended query.
        client.set_state(PgWireConnectionState::ReadyForQuery);
        if let Some(notice) = skipped_notice(skipped) {
            client.feed(notice).await?;
        }
        let rows = usize::try_from(copied).unwrap_or(usize::MAX);
        send_execution_response(client, Tag::new("COPY").with_rows(rows)).await
    }

    async fn on_copy_fail<C>(&self, _: &mut C, fail: CopyFail) -> PgWireError
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let mut info = ErrorInfo::new(
            "ERROR".to_string(),
            "57014".to_string(),
            format!("COPY from stdin failed: {}", fail.message),
        );
        let Some(incoming) = self.incoming.lock().take() else {
            return PgWireError::UserError(Box::new(info));
        };
        info.where_context = Some(format!("COPY {}, line {}", incoming.table, incoming.rows.number() + 1));
        self.failed(*incoming, PgWireError::UserError(Box::new(info)))
    }
}
