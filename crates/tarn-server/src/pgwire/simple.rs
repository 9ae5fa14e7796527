//! The simple query protocol, and how a query is started.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::common::{DataFusionError, ScalarValue};
use futures::{Sink, SinkExt, StreamExt, stream};
use pgwire::api::portal::Format;
use pgwire::api::query::{
    SimpleQueryHandler, send_execution_response, send_query_response, send_ready_for_query,
};
use pgwire::api::results::{QueryResponse, Response, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireConnectionState};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};
use pgwire::messages::simplequery::Query;
use pgwire::types::format::FormatOptions;
use tarn_query::{Changes, Command, QueryError, QueryOptions};

use super::catalog::{CatalogPlan, planning_error};
use super::connection::{Busy, Connection};
use super::control::{Kind, kind_of};
use super::copy;
use super::encode::Encoding;
use super::error::{is_ours, of_query, user_error};
use super::settings;
use super::split::{Piece, split};
use crate::sql::Protocol;

/// What every statement of a failed transaction is answered with.
pub(super) fn transaction_failed() -> PgWireError {
    user_error("25P02", "current transaction is aborted, commands ignored until end of transaction block")
}

pub(super) fn formats<C: ClientInfo + ?Sized>(client: &C) -> Arc<FormatOptions> {
    Arc::new(FormatOptions::from_client_metadata(client.metadata()))
}

#[async_trait]
impl SimpleQueryHandler for Connection {
    /// Like the library's own, but sends the answer of each statement before the next one is run, and waits for the rows
    /// of a COPY.
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let pieces = split(&query.query);
        if pieces.is_empty() {
            client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
        }
        let last = pieces.len().saturating_sub(1);
        for (at, piece) in pieces.iter().enumerate() {
            let status = client.transaction_status();
            let started = self.app().env.clock.instant();
            let answer = self.answer(client, piece, status, at == last).await;
            let Some(response) = self.measured(started, answer)? else { return Ok(()) };
            let status = status_after(status, &response);
            match response {
                Response::Query(result) => {
                    send_query_response(client, result, true).await?;
                }
                Response::Execution(tag)
                | Response::TransactionStart(tag)
                | Response::TransactionEnd(tag) => {
                    send_execution_response(client, tag).await?;
                }
                _ => return Err(user_error("0A000", "this statement cannot be run here")),
            }
            client.set_transaction_status(status);
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        let status = client.transaction_status();
        send_ready_for_query(client, status).await
    }

    /// [`SimpleQueryHandler::on_query`] does it all.
    async fn do_query<C>(&self, _: &mut C, _: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Err(user_error("XX000", "a query came on a way of its own"))
    }
}

fn status_after(status: TransactionStatus, response: &Response) -> TransactionStatus {
    match response {
        // From the start, or from a savepoint on after an error.
        Response::TransactionStart(_) => TransactionStatus::Transaction,
        Response::TransactionEnd(_) => status.to_idle_state(),
        _ => status,
    }
}

impl Connection {
    async fn answer<C>(
        &self,
        client: &mut C,
        piece: &Piece,
        status: TransactionStatus,
        is_last: bool,
    ) -> PgWireResult<Option<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let kind = kind_of(piece);
        if matches!(status, TransactionStatus::Error) && !kind.mends_transaction() {
            return Err(transaction_failed());
        }
        match kind {
            Kind::Query => self.start_query(client, piece, status, &Format::UnifiedText).await.map(Some),
            Kind::Copy => {
                let is_from = copy::parse(piece)?.takes_rows();
                if is_from && !is_last {
                    let message = "COPY FROM STDIN must be the last statement of its text";
                    return Err(user_error("0A000", message));
                }
                self.copy(client, piece, status, false).await
            }
            other => self.control(client, piece, other, status).await.map(Some),
        }
    }

    /// Counts a statement whose first answer came.
    pub(super) fn measured<T>(&self, started: Instant, answer: PgWireResult<T>) -> PgWireResult<T> {
        let elapsed = self.app().env.clock.instant() - started;
        self.server().meter.answered(elapsed, answer.as_ref().is_err_and(is_ours));
        answer
    }

    pub(super) fn limit<C: ClientInfo + ?Sized>(&self, client: &C) -> Duration {
        settings::statement_timeout(client).unwrap_or(self.app().config.pgwire.statement_timeout.0)
    }

    pub(super) fn busy(&self) -> Busy {
        self.running().start(Protocol::Pgwire.query_id(&self.app().env))
    }

    /// Starts a query and describes its result.
    pub(super) async fn start_query<C>(
        &self,
        client: &mut C,
        piece: &Piece,
        status: TransactionStatus,
        format: &Format,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let (formats, limit) = (formats(client), self.limit(client));
        if piece.is_about_catalog()
            && let Some(plan) = self.server().catalog.plan(self.session()?, piece).await?
        {
            let rows = self.run_plan(plan, Vec::new(), limit, format, formats).await;
            return rows.map(Response::Query);
        }
        self.run_query(piece, Vec::new(), (limit, changes(client, status)), format, formats).await
    }

    /// Runs a query on the engine. A statement whose effect a ROLLBACK could not undo is refused within a transaction.
    pub(super) async fn run_query(
        &self,
        piece: &Piece,
        params: Vec<ScalarValue>,
        (limit, changes): (Duration, Changes),
        format: &Format,
        formats: Arc<FormatOptions>,
    ) -> PgWireResult<Response> {
        let session = self.session()?;
        let busy = self.busy();
        let options = QueryOptions {
            rows_max: None,
            timeout: Some(limit),
            query_id: Some(busy.query_id.clone()),
            params,
            explain: false,
            changes,
        };
        let rows = tokio::select! {
            rows = session.execute(&piece.text, options) => rows.map_err(|error| of_query(&error, piece))?,
            () = busy.token.cancelled() => return Err(PgWireError::QueryCanceled),
        };
        let command = rows.command();
        if let Some(command) = command.filter(|command| !command.returns) {
            return Ok(Response::Execution(tag_of(command)));
        }
        let encoding = Encoding::of(&rows.schema(), format, formats)?;
        let fields = Arc::clone(&encoding.fields);
        let rows = watched(rows, busy, self.app().state.engine.clone(), session.context().clone());
        let told = piece.clone();
        let rows = encoding.stream(Box::pin(rows), move |error| of_query(&error, &told));
        let mut response = QueryResponse::new(fields, rows);
        if let Some(command) = command {
            // The number of rows comes behind it.
            response.set_command_tag(if command.tag == "INSERT" { "INSERT 0" } else { command.tag });
        }
        Ok(Response::Query(response))
    }

    /// Runs a statement about the system catalog.
    pub(super) async fn run_plan(
        &self,
        plan: CatalogPlan,
        params: Vec<ScalarValue>,
        limit: Duration,
        format: &Format,
        formats: Arc<FormatOptions>,
    ) -> PgWireResult<QueryResponse> {
        let busy = self.busy();
        let (schema, started) = plan.bind(params).map_err(|error| planning_error(&error))?;
        let expired = self.app().env.clock.sleep(limit);
        let rows = tokio::select! {
            rows = started => rows.map_err(|error| planning_error(&error))?,
            () = busy.token.cancelled() => return Err(PgWireError::QueryCanceled),
        };
        let encoding = Encoding::of(&schema, format, formats)?;
        let fields = Arc::clone(&encoding.fields);
        let stopped = busy.token.clone();
        let ends = Box::pin(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = expired => {}
            }
        });
        Ok(QueryResponse::new(
            fields,
            encoding.stream(bounded(rows, ends, busy), |error| planning_error(&error)),
        ))
    }
}

/// Whether a client's next statement may change something.
pub(super) fn changes<C: ClientInfo + ?Sized>(client: &C, status: TransactionStatus) -> Changes {
    match status {
        _ if settings::reads_only(client) => Changes::ReadOnly,
        TransactionStatus::Transaction => Changes::InTransaction,
        _ => Changes::Allowed,
    }
}

/// As PostgreSQL tells what a statement did.
fn tag_of(command: Command) -> Tag {
    let tag = Tag::new(command.tag);
    match command.rows {
        None => tag,
        Some(rows) => {
            let tag = tag.with_rows(usize::try_from(rows).unwrap_or(usize::MAX));
            if command.tag == "INSERT" { tag.with_oid(0) } else { tag }
        }
    }
}

/// Rows of a plan that end with an error when `ends` completes first.
fn bounded(
    mut rows: datafusion::execution::SendableRecordBatchStream,
    mut ends: futures::future::BoxFuture<'static, ()>,
    busy: Busy,
) -> impl futures::Stream<Item = Result<arrow::array::RecordBatch, DataFusionError>> + Send {
    let mut over = false;
    stream::poll_fn(move |cx| {
        let _held = &busy;
        if over {
            return Poll::Ready(None);
        }
        if ends.as_mut().poll(cx).is_ready() {
            over = true;
            let what = if busy.token.is_cancelled() { "user request" } else { "statement timeout" };
            let message = format!("canceling statement due to {what}");
            return Poll::Ready(Some(Err(DataFusionError::Execution(message))));
        }
        rows.poll_next_unpin(cx)
    })
}

/// Rows of a query that end with an error when the client asks to stop.
fn watched(
    rows: tarn_query::QueryStream,
    busy: Busy,
    engine: tarn_query::QueryEngine,
    ctx: tarn_core::RequestContext,
) -> impl futures::Stream<Item = Result<arrow::array::RecordBatch, QueryError>> + Send {
    let (token, query_id) = (busy.token.clone(), busy.query_id.clone());
    let mut cancelled = false;
    let mut stop = Box::pin(token.cancelled_owned());
    let mut rows = rows;
    stream::poll_fn(move |cx| {
        let _held = &busy;
        if !cancelled && stop.as_mut().poll(cx).is_ready() {
            cancelled = true;
            // The stream itself ends with the error then, and the list of queries shows why.
            let _ = engine.cancel(&ctx, &query_id);
        }
        rows.poll_next_unpin(cx)
    })
}

/// Types that planning found for `$1`, `$2`, …
pub(super) fn ordered(found: impl IntoIterator<Item = (String, Option<DataType>)>) -> Vec<Option<DataType>> {
    let mut types = Vec::new();
    for (name, data_type) in found {
        let Some(index) =
            name.trim_start_matches('$').parse::<usize>().ok().filter(|n| (1..=65_535).contains(n))
        else {
            continue;
        };
        if types.len() < index {
            types.resize(index, None);
        }
        types[index - 1] = data_type;
    }
    types
}
