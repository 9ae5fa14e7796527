//! Arrow Flight SQL: who is let in, queries, prepared statements, what there is.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{Any, CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTables, SqlInfo};
use arrow_flight::{Action, FlightDescriptor, FlightInfo, HandshakeRequest, Ticket};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use tarn_core::Role;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::world::{PASSWORD, World};

pub type Client = FlightSqlServiceClient<Channel>;

pub async fn connect(world: &World) -> Client {
    let address = world.server.flight_addr.unwrap();
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    FlightSqlServiceClient::new(channel)
}

/// What the server said.
pub fn told<T>(result: Result<T, FlightError>) -> Status {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(FlightError::Tonic(status)) => *status,
        Err(other) => panic!("not an answer of the server: {other:?}"),
    }
}

pub async fn fetch(client: &mut Client, info: FlightInfo) -> Result<Vec<RecordBatch>, FlightError> {
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    client.do_get(ticket).await?.try_collect().await
}

async fn query(client: &mut Client, sql: &str) -> Result<Vec<RecordBatch>, FlightError> {
    let info = client.execute(sql.to_string(), None).await?;
    fetch(client, info).await
}

fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// Texts of a column over all batches.
pub fn texts(batches: &[RecordBatch], name: &str) -> Vec<String> {
    let column = |batch: &RecordBatch| -> Vec<String> {
        let array = batch.column_by_name(name).unwrap();
        array.as_string::<i32>().iter().map(|text| text.unwrap_or("∅").to_string()).collect()
    };
    batches.iter().flat_map(column).collect()
}

/// A login as drivers do it. Gives the token for later calls.
async fn handshake(client: &mut Client, authorization: Option<&str>) -> Result<String, Status> {
    let mut request = Request::new(stream::iter([HandshakeRequest::default()]));
    if let Some(text) = authorization {
        request.metadata_mut().insert("authorization", text.parse().unwrap());
    }
    let answer = client.inner_mut().handshake(request).await?;
    let token = answer.metadata().get("authorization").unwrap().to_str().unwrap().to_string();
    let payloads: Vec<_> = answer.into_inner().try_collect().await?;
    let token = token.strip_prefix("Bearer ").unwrap();
    assert_eq!(payloads[0].payload, token.as_bytes());
    Ok(token.to_string())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn a_query_gives_its_schema_first_and_then_its_rows() {
    let world = World::start().await;
    world.fill_shop().await;
    let mut client = connect(&world).await;
    let info =
        client.execute("SELECT id, item FROM shop.orders ORDER BY id".to_string(), None).await.unwrap();
    let schema = info.clone().try_decode_schema().unwrap();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "item"]);
    let batches = fetch(&mut client, info).await.unwrap();
    assert_eq!(*batches[0].schema(), schema, "rows come as they were announced");
    assert_eq!(numbers(&batches), [1, 2, 3]);
    let none = query(&mut client, "SELECT id FROM shop.orders WHERE id > 9").await.unwrap();
    assert_eq!(none.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    let many = query(&mut client, "SELECT value FROM generate_series(1, 100000)").await.unwrap();
    assert_eq!(numbers(&many).iter().sum::<i64>(), (1..=100_000_i64).sum::<i64>());
}

#[tokio::test]
async fn errors_have_the_code_of_their_kind_and_their_place() {
    let world = World::start().await;
    world.fill_shop().await;
    let mut client = connect(&world).await;
    let wrong = told(client.execute("SELECT itme FROM shop.orders".to_string(), None).await);
    assert_eq!(wrong.code(), Code::InvalidArgument);
    for part in ["column `itme` not found", "line 1, column 8", "did you mean `item`?"] {
        assert!(wrong.message().contains(part), "{wrong:?}");
    }
    let failed = told(query(&mut client, "SELECT 1 / (id - 1) FROM shop.orders").await);
    assert_eq!((failed.code(), failed.message().contains("division by zero")), (Code::InvalidArgument, true));
    let refused = told(client.execute("GRANT SELECT ON shop.orders TO bob".to_string(), None).await);
    assert_eq!(refused.code(), Code::InvalidArgument);
    let ticket = Ticket::new("nonsense");
    assert!(client.do_get(ticket).await.is_err());
    let update = told(client.execute_update("SELECT 1".to_string(), None).await);
    assert_eq!(update.code(), Code::InvalidArgument);
    let changed = client.execute_update("DELETE FROM shop.orders WHERE id = 1".to_string(), None).await;
    assert_eq!(changed.unwrap(), 1);
}

#[tokio::test]
async fn a_prepared_statement_is_bound_and_run() {
    let world = World::start().await;
    world.fill_shop().await;
    let mut client = connect(&world).await;
    let sql = "SELECT id, item FROM shop.orders WHERE id >= $1 ORDER BY id";
    let mut statement = client.prepare(sql.to_string(), None).await.unwrap();
    assert_eq!(statement.parameter_schema().unwrap().field(0).data_type(), &DataType::Int64);
    assert_eq!(statement.dataset_schema().unwrap().fields().len(), 2);
    for (from, ids) in [(2_i64, vec![2_i64, 3]), (3, vec![3])] {
        let schema = Arc::new(Schema::new(vec![Field::new("$1", DataType::Int64, true)]));
        let values = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![from]))]).unwrap();
        statement.set_parameters(values).unwrap();
        let info = statement.execute().await.unwrap();
        assert_eq!(numbers(&fetch(&mut client, info).await.unwrap()), ids);
    }
    let info = statement.execute().await.unwrap();
    statement.close().await.unwrap();
    let closed = told(fetch(&mut client, info).await);
    assert_eq!(closed.code(), Code::NotFound);
    let mut misfit = client.prepare(sql.to_string(), None).await.unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("$1", DataType::Utf8, true)]));
    let values = RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(vec!["two"]))]).unwrap();
    misfit.set_parameters(values).unwrap();
    assert_eq!(told(misfit.execute().await).code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_client_finds_catalogs_schemas_tables_and_keys() {
    let world = World::start().await;
    world.fill_shop().await;
    let mut client = connect(&world).await;
    let info = client.get_catalogs().await.unwrap();
    assert_eq!(texts(&fetch(&mut client, info).await.unwrap(), "catalog_name"), ["tarn"]);
    let info = client.get_db_schemas(CommandGetDbSchemas::default()).await.unwrap();
    assert_eq!(texts(&fetch(&mut client, info).await.unwrap(), "db_schema_name"), ["shop"]);
    let all = CommandGetTables { include_schema: true, ..CommandGetTables::default() };
    let info = client.get_tables(all).await.unwrap();
    let tables = fetch(&mut client, info).await.unwrap();
    assert_eq!(texts(&tables, "table_name"), ["orders"]);
    assert!(!tables[0].column_by_name("table_schema").unwrap().as_binary::<i32>().value(0).is_empty());
    let none =
        CommandGetTables { table_name_filter_pattern: Some("x%".to_string()), ..CommandGetTables::default() };
    let info = client.get_tables(none).await.unwrap();
    assert_eq!(texts(&fetch(&mut client, info).await.unwrap(), "table_name"), [] as [&str; 0]);
    let keys = CommandGetPrimaryKeys { table: "orders".to_string(), ..CommandGetPrimaryKeys::default() };
    let info = client.get_primary_keys(keys).await.unwrap();
    assert_eq!(texts(&fetch(&mut client, info).await.unwrap(), "column_name"), ["id"]);
    let info = client.get_table_types().await.unwrap();
    assert_eq!(texts(&fetch(&mut client, info).await.unwrap(), "table_type"), ["TABLE", "VIEW"]);
    let info = client.get_sql_info(vec![SqlInfo::FlightSqlServerName]).await.unwrap();
    assert_eq!(fetch(&mut client, info).await.unwrap()[0].num_rows(), 1);
}

#[tokio::test]
async fn every_call_asks_who_calls() {
    let world = World::start().await;
    world.fill_shop().await;
    let mut open = connect(&world).await;
    let info = open.execute("SELECT 1::bigint".to_string(), None).await.unwrap();
    let tables = open.get_tables(CommandGetTables::default()).await.unwrap();
    let prepared = open.prepare("SELECT 1::bigint".to_string(), None).await.unwrap();
    world.add_user("main", "ada", Role::Admin).await;
    for header in [None, Some("Bearer wrong"), Some("Bearer session:0"), Some("Digest x"), Some("Basic !")] {
        let mut client = connect(&world).await;
        if let Some(text) = header {
            client.set_header("authorization", text);
        }
        let code =
            |status: Status| assert_eq!(status.code(), Code::Unauthenticated, "{header:?}: {status:?}");
        code(told(client.execute("SELECT 1".to_string(), None).await));
        code(told(fetch(&mut client, info.clone()).await));
        code(told(fetch(&mut client, tables.clone()).await));
        code(told(client.get_catalogs().await));
        code(told(client.get_tables(CommandGetTables::default()).await));
        code(told(client.get_sql_info(vec![]).await));
        code(told(client.prepare("SELECT 1".to_string(), None).await));
        code(told(client.execute_update("SELECT 1".to_string(), None).await));
        code(handshake(&mut client, header).await.unwrap_err());
        let action = Action::new("CancelFlightInfo", "");
        code(told(client.do_action(Request::new(action)).await));
    }
    let wrong = handshake(&mut open, Some(&basic("ada", "wrong"))).await.unwrap_err();
    assert_eq!(wrong.code(), Code::Unauthenticated);
    // The handle of a statement is no way in either.
    let mut prepared = prepared;
    assert_eq!(told(prepared.execute().await).code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_password_gives_a_token_and_a_key_is_one() {
    let world = World::start().await;
    world.add_user("main", "ada", Role::Admin).await;
    let key = world.key("main", "reading", Role::Viewer).await;
    let mut client = connect(&world).await;
    let token = handshake(&mut client, Some(&basic("ada", PASSWORD))).await.unwrap();
    assert!(token.starts_with("session:") && !token.contains(PASSWORD), "{token}");
    client.set_token(token.clone());
    assert_eq!(numbers(&query(&mut client, "SELECT 7::bigint").await.unwrap()), [7]);
    // The token is a login like that of the console, and ends like one.
    let caller = world.caller().with_key(&token);
    assert_eq!(caller.get("/api/v1/session").await.ok()["user"], "ada");
    let bearer = format!("Bearer {key}");
    let by_key = handshake(&mut client, Some(&bearer)).await.unwrap();
    assert_eq!(by_key, key);
    let mut holder = connect(&world).await;
    holder.set_token(key);
    assert_eq!(numbers(&query(&mut holder, "SELECT 7::bigint").await.unwrap()), [7]);
}

#[tokio::test]
async fn a_prepared_statement_is_its_makers_alone() {
    let world = World::start().await;
    world.add_user("main", "ada", Role::Admin).await;
    let mut holders = Vec::new();
    for name in ["one", "two"] {
        let mut client = connect(&world).await;
        client.set_token(world.key("main", name, Role::Viewer).await);
        holders.push(client);
    }
    let mut statement = holders[0].prepare("SELECT 7::bigint".to_string(), None).await.unwrap();
    let info = statement.execute().await.unwrap();
    let other = told(fetch(&mut holders[1], info.clone()).await);
    assert_eq!(other.code(), Code::NotFound);
    assert_eq!(numbers(&fetch(&mut holders[0], info).await.unwrap()), [7]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_is_cancelled_through_its_flight() {
    let world = World::start().await;
    let mut client = connect(&world).await;
    let sql = "SELECT value, repeat('x', 1000) FROM generate_series(1, 1000000000000)";
    let info = client.execute(sql.to_string(), None).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let mut rows = client.do_get(ticket).await.unwrap();
    assert!(rows.next().await.unwrap().is_ok());
    let body = arrow_flight::CancelFlightInfoRequest::new(info).encode_to_vec();
    let answers = client.do_action(Request::new(Action::new("CancelFlightInfo", body))).await.unwrap();
    let answers: Vec<_> = answers.try_collect().await.unwrap();
    let result = arrow_flight::CancelFlightInfoResult::decode(answers[0].body.clone()).unwrap();
    assert_eq!(result.status, arrow_flight::CancelStatus::Cancelled as i32);
    let ended = async {
        loop {
            match rows.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break told(Err::<(), _>(error)),
                None => panic!("a cancelled result is not a whole one"),
            }
        }
    };
    let status = crate::lake::within("the rows end", ended).await;
    assert_eq!(status.code(), Code::Cancelled, "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_stops_its_query() {
    let world = World::start().await;
    let caller = world.caller();
    let counts = "SELECT count(*) FROM generate_series(1, 1000000000000) AS t(n) WHERE n % 7 = 3";
    let rows = "SELECT value, repeat('x', 1000) FROM generate_series(1, 1000000000000)";
    // Before the first row, and among them.
    for sql in [counts, rows] {
        let mut client = connect(&world).await;
        let asked = world.env.spawner.spawn(async move { query(&mut client, sql).await.map(|_| ()) });
        let becomes = async |state: &str| {
            let reached = async {
                loop {
                    let list = caller.get("/api/v1/query").await.ok();
                    let newest = &list["items"][0];
                    if newest["state"] == state && newest["sql"] == sql {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            };
            crate::lake::within(&format!("{sql} becomes {state}"), reached).await;
        };
        becomes("running").await;
        asked.abort();
        becomes("cancelled").await;
    }
}

#[tokio::test]
async fn an_unknown_command_is_refused() {
    let world = World::start().await;
    let mut client = connect(&world).await;
    let command = Any { type_url: "type.googleapis.com/nope".to_string(), value: vec![1].into() };
    let descriptor = FlightDescriptor::new_cmd(command.encode_to_vec());
    assert!(client.inner_mut().get_flight_info(Request::new(descriptor)).await.is_err());
    let unknown = told(client.do_action(Request::new(Action::new("Nope", ""))).await);
    assert_eq!(unknown.code(), Code::Unimplemented);
}
