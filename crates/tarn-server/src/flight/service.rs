//! The calls of the protocol.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, CommandGetCatalogs,
    CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementQuery,
    CommandStatementUpdate, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor,
    FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, Ticket,
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use prost::Message;
use tarn_core::RequestContext;
use tarn_query::{Changes, QueryOptions};
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

use super::FlightSql;
use super::caller::{of_arrow, of_query};
use super::handle::{PreparedQuery, query_of_flight, read_statement, schema_bytes, statement_ticket};
use super::metadata::{CATALOG, TABLE_TYPE, VIEW_TYPE, primary_keys_schema};
use crate::sql::Protocol;

type GetStream = <FlightSql as FlightService>::DoGetStream;
type GetResponse = Result<Response<GetStream>, Status>;

const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";
/// Rows of one set of values; statements are run once.
const BOUND_ROWS_MAX: usize = 1;

/// A flight with one ticket.
fn flight(
    schema: &Schema,
    ticket: Ticket,
    request: Request<FlightDescriptor>,
) -> Result<Response<FlightInfo>, Status> {
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(of_arrow)?
        .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
        .with_descriptor(request.into_inner());
    Ok(Response::new(info))
}

/// A flight whose ticket is the command itself.
fn flight_of_command<C: ProstMessageExt>(
    command: &C,
    schema: &Schema,
    request: Request<FlightDescriptor>,
) -> Result<Response<FlightInfo>, Status> {
    flight(schema, Ticket::new(command.as_any().encode_to_vec()), request)
}

/// One batch as an answer.
fn batch_response(batch: RecordBatch) -> GetResponse {
    let schema = batch.schema();
    let data = FlightDataEncoderBuilder::new().with_schema(schema).build(stream::iter([Ok(batch)]));
    Ok(Response::new(Box::pin(data.map_err(Status::from))))
}

impl FlightSql {
    /// Runs a statement that changes something. Returns the rows that it changed, -1 for one that is not about rows.
    async fn update(&self, ctx: &RequestContext, sql: &str, options: QueryOptions) -> Result<i64, Status> {
        let query_id = Some(Protocol::Flight.query_id(&self.app.env));
        let session = self.app.state.engine.session(ctx);
        let rows = session.execute(sql, QueryOptions { query_id, ..options }).await;
        let rows = rows.map_err(|error| of_query(&error))?;
        let Some(command) = rows.command() else {
            return Err(Status::invalid_argument("this statement gives rows; run it as a query"));
        };
        Ok(command.rows.map_or(-1, |rows| i64::try_from(rows).unwrap_or(i64::MAX)))
    }

    async fn run(&self, ctx: &RequestContext, sql: &str, options: QueryOptions) -> GetResponse {
        let call = Arc::clone(&self.calls).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(
                "too many queries are being read; try again, or raise `server.flight.calls_max`",
            )
        })?;
        let rows = self
            .app
            .state
            .engine
            .session(ctx)
            .execute(sql, options)
            .await
            .map_err(|error| of_query(&error))?;
        let schema = rows.schema();
        let rows = rows.map_err(|error| FlightError::Tonic(Box::new(of_query(&error))));
        let data = FlightDataEncoderBuilder::new().with_schema(schema).build(rows).map_err(Status::from);
        let data = data.map(move |one| {
            let _held = &call;
            one
        });
        Ok(Response::new(Box::pin(data)))
    }

    fn prepared(&self, ctx: &RequestContext, handle: &[u8]) -> Result<Arc<PreparedQuery>, Status> {
        std::str::from_utf8(handle)
            .ok()
            .and_then(|handle| self.prepared.get(handle))
            .filter(|prepared| prepared.belongs_to(ctx))
            .ok_or_else(|| {
                Status::not_found(
                    "this prepared statement is closed or was not used for too long; prepare it again",
                )
            })
    }

    fn cancel(&self, ctx: &RequestContext, info: &FlightInfo) -> bool {
        query_of_flight(info).is_some_and(|query_id| self.app.state.engine.cancel(ctx, &query_id).is_ok())
    }
}

#[tonic::async_trait]
impl FlightSqlService for FlightSql {
    type FlightService = FlightSql;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>, Status> {
        let token = self.log_in(&request).await?;
        let answer = HandshakeResponse { protocol_version: 0, payload: token.clone().into() };
        let answers: Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>> =
            Box::pin(stream::iter([Ok(answer)]));
        let mut response = Response::new(answers);
        let header = MetadataValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Status::internal("the token cannot be a header"))?;
        response.metadata_mut().insert("authorization", header);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ctx = self.caller(&request).await?;
        let session = self.app.state.engine.session(&ctx);
        let prepared = session.prepare(&query.query).await.map_err(|error| of_query(&error))?;
        let query_id = Protocol::Flight.query_id(&self.app.env);
        flight(&prepared.schema, statement_ticket(&query_id, &query.query), request)
    }

    async fn do_get_statement(&self, ticket: TicketStatementQuery, request: Request<Ticket>) -> GetResponse {
        let ctx = self.caller(&request).await?;
        let (query_id, sql) = read_statement(&ticket)?;
        let options = QueryOptions { query_id: Some(query_id), ..QueryOptions::default() };
        self.run(&ctx, &sql, options).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let ctx = self.caller(&request).await?;
        let session = self.app.state.engine.session(&ctx);
        let found = session.prepare(&query.query).await.map_err(|error| of_query(&error))?;
        let prepared = PreparedQuery::new(&ctx, query.query, found.schema, found.parameters);
        let (dataset_schema, parameter_schema) =
            (schema_bytes(&prepared.schema)?, schema_bytes(&prepared.parameter_schema())?);
        let handle = self.app.env.entropy.uuid().simple().to_string();
        self.prepared.insert(handle.clone(), Arc::new(prepared));
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into(),
            dataset_schema,
            parameter_schema,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let ctx = self.caller(&request).await?;
        // Closing what is closed is fine.
        if self.prepared(&ctx, &query.prepared_statement_handle).is_ok()
            && let Ok(handle) = std::str::from_utf8(&query.prepared_statement_handle)
        {
            self.prepared.invalidate(handle);
        }
        Ok(())
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let ctx = self.caller(&request).await?;
        let prepared = self.prepared(&ctx, &query.prepared_statement_handle)?;
        let data = request.into_inner().map_err(|status| FlightError::Tonic(Box::new(status)));
        let mut batches = FlightRecordBatchStream::new_from_flight_data(data);
        let mut bound = 0;
        while let Some(batch) = batches.next().await {
            let batch = batch
                .map_err(|error| Status::invalid_argument(format!("the values cannot be read: {error}")))?;
            if batch.num_rows() == 0 {
                continue;
            }
            bound += batch.num_rows();
            if bound > BOUND_ROWS_MAX {
                return Err(Status::invalid_argument(
                    "bind one row of values and run the statement for each",
                ));
            }
            prepared.bind(&batch)?;
        }
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(query.prepared_statement_handle) })
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ctx = self.caller(&request).await?;
        let prepared = self.prepared(&ctx, &query.prepared_statement_handle)?;
        flight_of_command(&query, &prepared.schema, request)
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> GetResponse {
        let ctx = self.caller(&request).await?;
        let prepared = self.prepared(&ctx, &query.prepared_statement_handle)?;
        let params = prepared.params();
        let query_id = Some(Protocol::Flight.query_id(&self.app.env));
        let options = QueryOptions { query_id, params, ..QueryOptions::default() };
        self.run(&ctx, &prepared.sql, options).await
    }

    async fn do_put_statement_update(
        &self,
        update: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let ctx = self.caller(&request).await?;
        let changes = match update.transaction_id.is_some_and(|id| !id.is_empty()) {
            true => Changes::InTransaction,
            false => Changes::Allowed,
        };
        let options = QueryOptions { changes, ..QueryOptions::default() };
        self.update(&ctx, &update.query, options).await
    }

    async fn do_put_prepared_statement_update(
        &self,
        update: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let ctx = self.caller(&request).await?;
        let prepared = self.prepared(&ctx, &update.prepared_statement_handle)?;
        let data = request.into_inner().map_err(|status| FlightError::Tonic(Box::new(status)));
        let mut batches = FlightRecordBatchStream::new_from_flight_data(data);
        let mut changed: Option<i64> = None;
        while let Some(batch) = batches.next().await {
            let batch = batch
                .map_err(|error| Status::invalid_argument(format!("the values cannot be read: {error}")))?;
            // One run of the statement for each row of values.
            for row in 0..batch.num_rows() {
                prepared.bind(&batch.slice(row, 1))?;
                let options = QueryOptions { params: prepared.params(), ..QueryOptions::default() };
                let rows = self.update(&ctx, &prepared.sql, options).await?;
                changed = Some(changed.unwrap_or(0).saturating_add(rows));
            }
        }
        match changed {
            Some(changed) => Ok(changed),
            None => {
                let options = QueryOptions { params: prepared.params(), ..QueryOptions::default() };
                self.update(&ctx, &prepared.sql, options).await
            }
        }
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let ctx = self.caller(&request).await?;
        let info =
            FlightInfo::decode(query.info).map_err(|_| Status::invalid_argument("this is not a flight"))?;
        let result =
            if self.cancel(&ctx, &info) { CancelStatus::Cancelled } else { CancelStatus::NotCancellable };
        Ok(ActionCancelQueryResult { result: result as i32 })
    }

    async fn list_custom_actions(&self) -> Option<Vec<Result<ActionType, Status>>> {
        let description = "Stops the query of a flight.".to_string();
        Some(vec![Ok(ActionType { r#type: CANCEL_FLIGHT_INFO.to_string(), description })])
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        let ctx = self.caller(&request).await?;
        let action = request.into_inner();
        if action.r#type != CANCEL_FLIGHT_INFO {
            return Err(Status::unimplemented(format!("action `{}` is unknown here", action.r#type)));
        }
        let asked = CancelFlightInfoRequest::decode(action.body)
            .map_err(|_| Status::invalid_argument("this is not a request to cancel a flight"))?;
        let cancelled = asked.info.is_some_and(|info| self.cancel(&ctx, &info));
        let status = if cancelled { CancelStatus::Cancelled } else { CancelStatus::NotCancellable };
        let result = CancelFlightInfoResult { status: status as i32 };
        let answer = arrow_flight::Result { body: result.encode_to_vec().into() };
        Ok(Response::new(Box::pin(stream::iter([Ok(answer)]))))
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.caller(&request).await?;
        flight_of_command(&query, &query.into_builder().schema(), request)
    }

    async fn do_get_catalogs(&self, query: CommandGetCatalogs, request: Request<Ticket>) -> GetResponse {
        self.caller(&request).await?;
        let mut builder = query.into_builder();
        builder.append(CATALOG);
        batch_response(builder.build().map_err(of_arrow)?)
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.caller(&request).await?;
        let schema = query.clone().into_builder().schema();
        flight_of_command(&query, &schema, request)
    }

    async fn do_get_schemas(&self, query: CommandGetDbSchemas, request: Request<Ticket>) -> GetResponse {
        let ctx = self.caller(&request).await?;
        batch_response(self.schemas(&ctx, query).await?)
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.caller(&request).await?;
        let schema = query.clone().into_builder().schema();
        flight_of_command(&query, &schema, request)
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> GetResponse {
        let ctx = self.caller(&request).await?;
        batch_response(self.tables(&ctx, query).await?)
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.caller(&request).await?;
        flight_of_command(&query, &query.into_builder().schema(), request)
    }

    async fn do_get_table_types(&self, query: CommandGetTableTypes, request: Request<Ticket>) -> GetResponse {
        self.caller(&request).await?;
        let mut builder = query.into_builder();
        builder.append(TABLE_TYPE);
        builder.append(VIEW_TYPE);
        batch_response(builder.build().map_err(of_arrow)?)
    }

    async fn get_flight_info_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.caller(&request).await?;
        flight_of_command(&query, &primary_keys_schema(), request)
    }

    async fn do_get_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<Ticket>,
    ) -> GetResponse {
        let ctx = self.caller(&request).await?;
        batch_response(self.primary_keys(&ctx, query).await?)
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.caller(&request).await?;
        let schema = query.clone().into_builder(&self.info).schema();
        flight_of_command(&query, &schema, request)
    }

    async fn do_get_sql_info(&self, query: CommandGetSqlInfo, request: Request<Ticket>) -> GetResponse {
        self.caller(&request).await?;
        batch_response(query.into_builder(&self.info).build().map_err(of_arrow)?)
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}
