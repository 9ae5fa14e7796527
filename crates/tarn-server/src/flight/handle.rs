//! Tickets and handles. A ticket of a statement holds the statement itself, so nothing is kept for results that are
//! never fetched; whoever shows it is asked who they are all the same.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::sql::{Any, Command, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightInfo, IpcMessage, SchemaAsIpc, Ticket};
use bytes::Bytes;
use datafusion::common::ScalarValue;
use parking_lot::Mutex;
use prost::Message;
use tarn_core::{Principal, RequestContext, TenantId};
use tonic::Status;

use super::caller::of_arrow;

const SEPARATOR: char = '\n';

/// A statement that was planned, with the values that were bound to it last.
#[derive(Debug)]
pub(super) struct PreparedQuery {
    pub sql: String,
    pub schema: SchemaRef,
    pub params: Vec<(String, Option<DataType>)>,
    pub values: Mutex<Vec<ScalarValue>>,
    tenant: TenantId,
    owner: Principal,
}

impl PreparedQuery {
    pub(super) fn new(
        ctx: &RequestContext,
        sql: String,
        schema: SchemaRef,
        params: Vec<(String, Option<DataType>)>,
    ) -> Self {
        let (tenant, owner) = (ctx.tenant.clone(), ctx.principal.clone());
        Self { sql, schema, params, values: Mutex::default(), tenant, owner }
    }

    pub(super) fn belongs_to(&self, ctx: &RequestContext) -> bool {
        self.tenant == ctx.tenant && self.owner.name == ctx.principal.name
    }

    /// The values that were bound last.
    pub(super) fn params(&self) -> Vec<ScalarValue> {
        self.values.lock().clone()
    }

    /// Schema of a batch of values; what planning says nothing about is text.
    pub(super) fn parameter_schema(&self) -> Schema {
        let field = |(name, data_type): &(String, Option<DataType>)| {
            Field::new(name, data_type.clone().unwrap_or(DataType::Utf8), true)
        };
        Schema::new(self.params.iter().map(field).collect::<Vec<_>>())
    }

    /// Takes the values of one row. Errors: their number or a type does not fit.
    pub(super) fn bind(&self, batch: &RecordBatch) -> Result<(), Status> {
        if batch.num_columns() < self.params.len() {
            let (given, needed) = (batch.num_columns(), self.params.len());
            return Err(Status::invalid_argument(format!("{given} values for {needed} parameters")));
        }
        let mut values = Vec::with_capacity(batch.num_columns());
        for (index, column) in batch.columns().iter().enumerate() {
            let value = ScalarValue::try_from_array(column, 0).map_err(of_arrow)?;
            let planned = self.params.get(index).and_then(|(_, data_type)| data_type.as_ref());
            values.push(match planned {
                Some(target) if value.data_type() != *target => value.cast_to(target).map_err(|error| {
                    let why = error.strip_backtrace();
                    Status::invalid_argument(format!("parameter {} does not fit {target}: {why}", index + 1))
                })?,
                _ => value,
            });
        }
        *self.values.lock() = values;
        Ok(())
    }
}

/// The ticket of a statement.
pub(super) fn statement_ticket(query_id: &str, sql: &str) -> Ticket {
    let handle = Bytes::from(format!("{query_id}{SEPARATOR}{sql}"));
    Ticket::new(TicketStatementQuery { statement_handle: handle }.as_any().encode_to_vec())
}

/// Name and text of the query in the ticket of a statement. Errors: it is not one of ours.
pub(super) fn read_statement(ticket: &TicketStatementQuery) -> Result<(String, String), Status> {
    std::str::from_utf8(&ticket.statement_handle)
        .ok()
        .and_then(|text| text.split_once(SEPARATOR))
        .map(|(query_id, sql)| (query_id.to_string(), sql.to_string()))
        .ok_or_else(|| Status::invalid_argument("this ticket is not one of this server"))
}

/// The name of the query that a flight belongs to, if it has one.
pub(super) fn query_of_flight(info: &FlightInfo) -> Option<String> {
    let ticket = info.endpoint.first()?.ticket.as_ref()?;
    let any = Any::decode(ticket.ticket.clone()).ok()?;
    match Command::try_from(any).ok()? {
        Command::TicketStatementQuery(ticket) => read_statement(&ticket).ok().map(|(query_id, _)| query_id),
        _ => None,
    }
}

/// A schema as the protocol sends it in answers. Errors: a type that Arrow IPC cannot hold.
pub(super) fn schema_bytes(schema: &Schema) -> Result<Bytes, Status> {
    let options = IpcWriteOptions::default();
    let message = IpcMessage::try_from(SchemaAsIpc::new(schema, &options)).map_err(of_arrow)?;
    Ok(message.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_carries_its_query() {
        let ticket = statement_ticket("flight-1", "select 1;\nselect 2");
        let info =
            FlightInfo::new().with_endpoint(arrow_flight::FlightEndpoint::new().with_ticket(ticket.clone()));
        assert_eq!(query_of_flight(&info).as_deref(), Some("flight-1"));
        let any = Any::decode(ticket.ticket).unwrap();
        let Ok(Command::TicketStatementQuery(ticket)) = Command::try_from(any) else {
            panic!("another command")
        };
        assert_eq!(read_statement(&ticket).unwrap().1, "select 1;\nselect 2");
    }
}
