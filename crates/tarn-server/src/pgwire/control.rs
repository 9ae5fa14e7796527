//! Statements that are about the session and not about data.

use std::fmt::Debug;
use std::sync::Arc;

use futures::{Sink, SinkExt, stream};
use pgwire::api::portal::Format;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::TransactionStatus;
use pgwire::messages::startup::ParameterStatus;
use tarn_query::QueryOptions;

use super::connection::Connection;
use super::cursor::{self, CursorCall};
use super::error::{of_query, user_error};
use super::settings::{self, Changed};
use super::split::Piece;

/// What a statement is to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Begin,
    Commit,
    Rollback,
    Savepoint,
    RollbackTo,
    Set,
    Reset,
    Show,
    Cursor,
    Fetch,
    Discard,
    Deallocate,
    Ignored,
    Copy,
    /// For the engine, or for the emulated catalog.
    Query,
}

impl Kind {
    /// Whether it is carried out in a transaction that failed.
    pub(crate) fn mends_transaction(self) -> bool {
        matches!(self, Self::Commit | Self::Rollback | Self::RollbackTo)
    }
}

/// Tells a statement by its leading words.
pub(crate) fn kind_of(piece: &Piece) -> Kind {
    match piece.head() {
        ["begin", ..] | ["start", "transaction", _] => Kind::Begin,
        ["commit" | "end", ..] => Kind::Commit,
        ["rollback" | "abort", ..] if piece.words.iter().any(|word| word == "to") => Kind::RollbackTo,
        ["rollback" | "abort", ..] => Kind::Rollback,
        ["savepoint" | "release", ..] => Kind::Savepoint,
        ["set", ..] => Kind::Set,
        ["reset", ..] => Kind::Reset,
        [
            "show",
            "tables" | "columns" | "schemas" | "databases" | "functions" | "create" | "variables",
            _,
        ] => Kind::Query,
        ["show", ..] => Kind::Show,
        ["fetch", ..] => Kind::Fetch,
        ["declare" | "move" | "close", ..] => Kind::Cursor,
        ["discard", ..] => Kind::Discard,
        ["deallocate", ..] => Kind::Deallocate,
        ["copy", ..] => Kind::Copy,
        ["listen" | "unlisten", ..] => Kind::Ignored,
        _ => Kind::Query,
    }
}

fn column(name: &str) -> FieldInfo {
    FieldInfo::new(name.to_string(), None, None, Type::TEXT, FieldFormat::Text)
}

/// Columns that a `SHOW` gives.
pub(crate) fn show_fields(piece: &Piece) -> Vec<FieldInfo> {
    match piece.head() {
        ["show", "all", ""] => vec![column("name"), column("setting")],
        _ => vec![column(&setting_name(piece))],
    }
}

/// The setting that a `SHOW` names; some have a name of several words.
fn setting_name(piece: &Piece) -> String {
    match piece.head() {
        ["show", "time", "zone"] => "TimeZone".to_string(),
        ["show", "transaction", "isolation"] => "transaction_isolation".to_string(),
        ["show", "session", "authorization"] => "session_authorization".to_string(),
        _ => {
            let text = piece.text.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
            text.trim_matches('"').to_lowercase()
        }
    }
}

impl Connection {
    /// Carries out a statement about the session. `status`: of the transaction, which a text of several statements
    /// may have changed since the client was told.
    pub(super) async fn control<C>(
        &self,
        client: &mut C,
        piece: &Piece,
        kind: Kind,
        status: TransactionStatus,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let done = |tag: &str| Ok(Response::Execution(Tag::new(tag)));
        match kind {
            Kind::Begin if matches!(status, TransactionStatus::Transaction) => done("BEGIN"),
            Kind::Begin => {
                self.session()?.begin();
                Ok(Response::TransactionStart(Tag::new("BEGIN")))
            }
            Kind::Commit if !matches!(status, TransactionStatus::Error) => {
                if let Err(error) = self.session()?.commit().await {
                    // It is over all the same.
                    client.set_transaction_status(TransactionStatus::Idle);
                    return Err(of_query(&error, piece));
                }
                Ok(Response::TransactionEnd(Tag::new("COMMIT")))
            }
            Kind::Commit | Kind::Rollback => {
                self.session()?.rollback().await;
                Ok(Response::TransactionEnd(Tag::new("ROLLBACK")))
            }
            Kind::Savepoint | Kind::RollbackTo => self.savepoint(piece, kind).await,
            Kind::Set => {
                self.set(client, piece).await?;
                done("SET")
            }
            Kind::Reset => {
                let name = piece.head()[1].to_string();
                for changed in settings::reset(client, &name)? {
                    self.changed(client, &changed).await?;
                }
                done("RESET")
            }
            Kind::Show => show(client, piece).map(Response::Query),
            Kind::Cursor | Kind::Fetch => self.cursor(client, piece).await,
            Kind::Discard => {
                self.cursors.close(None)?;
                client.portal_store().clear_portals();
                if piece.head()[1] == "all" {
                    // Pools send it before they hand a connection on: no setting may go along.
                    for changed in settings::reset(client, "all")? {
                        self.changed(client, &changed).await?;
                    }
                }
                done(&format!("DISCARD {}", piece.head()[1].to_uppercase()))
            }
            Kind::Deallocate => {
                let name = piece.words.iter().rev().find(|word| *word != "all" && *word != "prepare");
                if let Some(name) = name.filter(|name| *name != "deallocate") {
                    client.portal_store().rm_statement(name);
                }
                done("DEALLOCATE")
            }
            Kind::Ignored => done(&piece.head()[0].to_uppercase()),
            Kind::Query | Kind::Copy => Err(user_error("XX000", "this is not a control statement")),
        }
    }

    async fn savepoint(&self, piece: &Piece, kind: Kind) -> PgWireResult<Response> {
        let session = self.session()?;
        // Its name comes last.
        let name = piece.words.last().map(String::as_str).unwrap_or_default();
        let done = match (kind, piece.head()[0]) {
            (Kind::RollbackTo, _) => session.rollback_to(name).await,
            (_, "release") => session.release(name),
            _ => session.savepoint(name).await,
        };
        done.map_err(|error| of_query(&error, piece))?;
        let tag = Tag::new(&piece.head()[0].to_uppercase());
        match kind {
            // A transaction that failed goes on from there.
            Kind::RollbackTo => Ok(Response::TransactionStart(tag)),
            _ => Ok(Response::Execution(tag)),
        }
    }

    async fn set<C>(&self, client: &mut C, piece: &Piece) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // These ask for isolation levels and roles; see `settings::set`.
        if matches!(
            piece.head(),
            ["set", "transaction" | "constraints" | "role", _] | ["set", "session", "characteristics"]
        ) {
            return Ok(());
        }
        let before = client.metadata().clone();
        match settings::set(client, &piece.text)? {
            Some(changed) => {
                let told = self.changed(client, &changed).await;
                if told.is_err() {
                    // What the engine refuses is not kept.
                    *client.metadata_mut() = before;
                }
                told
            }
            None => Ok(()),
        }
    }

    /// Hands a changed setting to the engine if it is one of its own, and tells the client if it wants to know.
    async fn changed<C>(&self, client: &mut C, changed: &Changed) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if let Some(sql) = settings::for_engine(changed) {
            let piece = Piece { text: sql, offset: 0, words: Vec::new() };
            let outcome = self.session()?.execute(&piece.text, QueryOptions::default()).await;
            outcome.map_err(|error| {
                let mut told = of_query(&error, &piece);
                if let PgWireError::UserError(info) = &mut told {
                    info.position = None;
                    info.code = "22023".to_string();
                }
                told
            })?;
        }
        if changed.reported {
            let status = ParameterStatus::new(changed.name.clone(), changed.value.clone());
            client.feed(PgWireBackendMessage::ParameterStatus(status)).await?;
        }
        Ok(())
    }

    async fn cursor<C>(&self, client: &mut C, piece: &Piece) -> PgWireResult<Response>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        match cursor::parse(&piece.text)? {
            CursorCall::Declare { name, query } => {
                let query = super::split::split(&query).into_iter().next();
                let query = query.ok_or_else(|| user_error("42601", "DECLARE needs a query"))?;
                let status = TransactionStatus::Transaction;
                let Response::Query(result) =
                    self.start_query(client, &query, status, &Format::UnifiedText).await?
                else {
                    return Err(user_error("42601", "a cursor is declared for a query"));
                };
                self.cursors.open(name, result)?;
                Ok(Response::Execution(Tag::new("DECLARE CURSOR")))
            }
            CursorCall::Fetch { name, rows } => self.cursors.fetch(&name, rows).await.map(Response::Query),
            CursorCall::Move { name, rows } => {
                let moved = self.cursors.skip(&name, rows).await?;
                Ok(Response::Execution(Tag::new("MOVE").with_rows(moved)))
            }
            CursorCall::Close { name } => {
                self.cursors.close(name.as_deref())?;
                Ok(Response::Execution(Tag::new("CLOSE CURSOR")))
            }
        }
    }
}

fn show<C: ClientInfo>(client: &C, piece: &Piece) -> PgWireResult<QueryResponse> {
    let rows = match piece.head() {
        ["show", "all", ""] => {
            settings::show_all(client).into_iter().map(|(name, value)| vec![name, value]).collect()
        }
        _ => {
            let name = setting_name(piece);
            let (_, value) = settings::show(client, &name).ok_or_else(|| {
                user_error("42704", format!("unrecognized configuration parameter \"{name}\""))
            })?;
            vec![vec![value]]
        }
    };
    let fields = Arc::new(show_fields(piece));
    let mut encoder = DataRowEncoder::new(Arc::clone(&fields));
    let mut encoded = Vec::with_capacity(rows.len());
    for row in rows {
        for value in row {
            encoder.encode_field(&Some(value))?;
        }
        encoded.push(Ok(encoder.take_row()));
    }
    let mut response = QueryResponse::new(fields, stream::iter(encoded));
    response.set_command_tag("SHOW");
    Ok(response)
}
