//! The extended query protocol: prepared statements with parameters, portals, binary results.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use futures::{Sink, SinkExt};
use pgwire::api::portal::{Format, Portal, PortalExecutionState};
use pgwire::api::query::{ExtendedQueryHandler, send_execution_response, send_partial_query_response};
use pgwire::api::results::{FieldInfo, Response, Tag};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::Execute;
use pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};
use tarn_query::parameter_types;

use super::catalog::{CatalogPlan, planning_error};
use super::connection::Connection;
use super::control::{Kind, kind_of, show_fields};
use super::copy;
use super::cursor::{self, CursorCall};
use super::encode::Encoding;
use super::error::{of_query, user_error};
use super::params::{decode, wire_type};
use super::simple::{changes, formats, ordered, transaction_failed};
use super::split::{Piece, split};

/// A prepared statement.
#[derive(Clone, Debug)]
pub(crate) struct PreparedStatement {
    piece: Option<Piece>,
    plan: Planned,
}

#[derive(Clone, Debug)]
enum Planned {
    /// Nothing, or something about the session that gives no rows.
    Control,
    /// Something about the session that gives rows.
    Rows(Arc<Vec<FieldInfo>>),
    Query {
        schema: SchemaRef,
        params: Vec<Option<DataType>>,
    },
    Catalog {
        plan: CatalogPlan,
        params: Vec<Option<DataType>>,
    },
}

impl Connection {
    async fn prepare(&self, sql: &str) -> PgWireResult<PreparedStatement> {
        let mut pieces = split(sql);
        if pieces.len() > 1 {
            return Err(user_error("42601", "cannot insert multiple commands into a prepared statement"));
        }
        let Some(piece) = pieces.pop() else {
            return Ok(PreparedStatement { piece: None, plan: Planned::Control });
        };
        let plan = match kind_of(&piece) {
            Kind::Query => self.plan(&piece).await?,
            Kind::Show => Planned::Rows(Arc::new(show_fields(&piece))),
            Kind::Fetch => match cursor::parse(&piece.text)? {
                CursorCall::Fetch { name, .. } => Planned::Rows(self.cursors.fields(&name)?),
                _ => Planned::Control,
            },
            Kind::Copy => {
                copy::parse(&piece)?;
                Planned::Control
            }
            _ => Planned::Control,
        };
        Ok(PreparedStatement { piece: Some(piece), plan })
    }

    async fn plan(&self, piece: &Piece) -> PgWireResult<Planned> {
        let session = self.session()?;
        if piece.is_about_catalog()
            && let Some(plan) = self.server().catalog.plan(session, piece).await?
        {
            let types = parameter_types(plan.plan()).map_err(|error| planning_error(&error))?;
            return Ok(Planned::Catalog { plan, params: ordered(types) });
        }
        let prepared = session.prepare(&piece.text).await.map_err(|error| of_query(&error, piece))?;
        // What changes something gives no rows here, but says how many it changed.
        let schema = if prepared.is_command { Arc::new(Schema::empty()) } else { prepared.schema };
        Ok(Planned::Query { schema, params: ordered(prepared.parameters) })
    }
}

#[async_trait]
impl QueryParser for Connection {
    type Statement = PreparedStatement;

    async fn parse_sql<C>(&self, client: &C, sql: &str, _: &[Option<Type>]) -> PgWireResult<PreparedStatement>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let statement = self.prepare(sql).await?;
        let kind = statement.piece.as_ref().map(kind_of);
        let ends = kind.is_none_or(Kind::mends_transaction);
        if matches!(client.transaction_status(), TransactionStatus::Error) && !ends {
            return Err(transaction_failed());
        }
        Ok(statement)
    }

    fn get_parameter_types(&self, statement: &PreparedStatement) -> PgWireResult<Vec<Type>> {
        let params = match &statement.plan {
            Planned::Query { params, .. } | Planned::Catalog { params, .. } => params.as_slice(),
            Planned::Control | Planned::Rows(_) => &[],
        };
        // Like PostgreSQL, what planning says nothing about is text.
        let named = |one: &Option<DataType>| one.as_ref().map(wire_type).filter(|one| *one != Type::UNKNOWN);
        Ok(params.iter().map(|one| named(one).unwrap_or(Type::TEXT)).collect())
    }

    fn get_result_schema(
        &self,
        statement: &PreparedStatement,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        let format = format.unwrap_or(&Format::UnifiedText);
        let of = |schema: &arrow::datatypes::Schema| {
            Encoding::of(schema, format, Arc::default()).map(|encoding| encoding.fields.as_ref().clone())
        };
        match &statement.plan {
            Planned::Control => Ok(Vec::new()),
            Planned::Rows(fields) => Ok(fields.as_ref().clone()),
            Planned::Query { schema, .. } => of(schema),
            Planned::Catalog { plan, .. } => of(plan.plan().schema().as_arrow()),
        }
    }
}

#[async_trait]
impl ExtendedQueryHandler for Connection {
    type Statement = PreparedStatement;
    type QueryParser = Self;

    fn query_parser(&self) -> Arc<Self> {
        self.itself()
    }

    /// Like the library's own, but sends rows as they come: the library collects all of them first, and reserves
    /// memory for as many as the client names.
    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let max_rows = usize::try_from(message.max_rows).unwrap_or(0);
        let portal = client.portal_store().get_portal(name);
        let portal = portal.ok_or_else(|| PgWireError::PortalNotFound(name.to_owned()))?;
        let mut status = client.transaction_status();
        client.set_state(PgWireConnectionState::QueryInProgress);

        let state = portal.state();
        let mut state = state.lock().await;
        if matches!(*state, PortalExecutionState::Initial) {
            let started = self.app().env.clock.instant();
            let answer = self.do_query(client, portal.as_ref(), max_rows).await;
            if matches!(client.state(), PgWireConnectionState::CopyInProgress(_)) {
                return answer.map(drop);
            }
            match self.measured(started, answer)? {
                Response::Query(result) => *state = PortalExecutionState::Suspended(result),
                Response::TransactionStart(tag) => {
                    send_execution_response(client, tag).await?;
                    status = TransactionStatus::Transaction;
                }
                Response::TransactionEnd(tag) => {
                    send_execution_response(client, tag).await?;
                    status = status.to_idle_state();
                }
                Response::Execution(tag) => send_execution_response(client, tag).await?,
                Response::EmptyQuery => {
                    client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
                }
                _ => return Err(user_error("0A000", "this statement cannot be run here")),
            }
        }
        match &mut *state {
            PortalExecutionState::Suspended(result) => {
                if !send_partial_query_response(client, result, max_rows).await? {
                    *state = PortalExecutionState::Finished;
                }
            }
            PortalExecutionState::Finished => {
                send_execution_response(client, Tag::new("SELECT").with_rows(0)).await?
            }
            PortalExecutionState::Initial => {}
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        client.set_transaction_status(status);
        Ok(())
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<PreparedStatement>,
        _: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let PreparedStatement { piece, plan } = &portal.statement.statement;
        let Some(piece) = piece else { return Ok(Response::EmptyQuery) };
        let kind = kind_of(piece);
        let status = client.transaction_status();
        if matches!(status, TransactionStatus::Error) && !kind.mends_transaction() {
            return Err(transaction_failed());
        }
        let (formats, limit) = (formats(client), self.limit(client));
        let format = &portal.result_column_format;
        match plan {
            Planned::Control if kind == Kind::Copy => {
                let done = self.copy(client, piece, status, true).await?;
                // Without one the client sends rows now.
                Ok(done.unwrap_or(Response::EmptyQuery))
            }
            Planned::Control | Planned::Rows(_) => self.control(client, piece, kind, status).await,
            Planned::Query { params, .. } => {
                let values = decode(portal, params)?;
                self.run_query(piece, values, (limit, changes(client, status)), format, formats).await
            }
            Planned::Catalog { plan, params } => {
                let values = decode(portal, params)?;
                self.run_plan(plan.clone(), values, limit, format, formats).await.map(Response::Query)
            }
        }
    }
}
