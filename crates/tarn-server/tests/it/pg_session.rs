//! PostgreSQL: transactions, settings, time limits, cancelling.

use serde_json::Value;

use crate::lake::within;
use crate::pg_client::{code, rows, run, told};
use crate::world::World;

const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000000000) AS t(n) WHERE n % 7 = 3";

#[tokio::test]
async fn transaction_statements_are_taken_and_change_nothing() {
    let world = World::start().await;
    let mut client = world.psql().await;
    for sql in [
        "BEGIN; SELECT 1; COMMIT",
        "START TRANSACTION READ ONLY; SELECT 1; END",
        "BEGIN ISOLATION LEVEL SERIALIZABLE; ROLLBACK",
        "BEGIN; SAVEPOINT s; ROLLBACK TO SAVEPOINT s; RELEASE SAVEPOINT s; COMMIT",
        "BEGIN; BEGIN; COMMIT",
        "COMMIT",
        "ROLLBACK",
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    ] {
        client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let transaction = client.transaction().await.unwrap();
    let found = transaction.query_one("SELECT 41::bigint + 1", &[]).await.unwrap();
    assert_eq!(found.get::<_, i64>(0), 42);
    transaction.commit().await.unwrap();
    let transaction = client.build_transaction().read_only(true).deferrable(true).start().await.unwrap();
    transaction.rollback().await.unwrap();
}

#[tokio::test]
async fn after_an_error_a_transaction_takes_only_its_end() {
    let world = World::start().await;
    let client = world.psql().await;
    for end in ["ROLLBACK", "COMMIT", "END", "ABORT"] {
        run(&client, "BEGIN").await;
        assert_eq!(code(client.simple_query("SELECT nope").await), "42703");
        for sql in ["SELECT 1", "SHOW server_version", "SET application_name = 'x'", "SELECT version()"] {
            assert_eq!(code(client.simple_query(sql).await), "25P02", "{end}: {sql}");
            assert_eq!(code(client.query(sql, &[]).await), "25P02", "{end}: {sql}");
        }
        run(&client, end).await;
        assert_eq!(rows(&client, "SELECT 1").await, ["1"], "{end}");
    }
    // Within one text, too.
    assert_eq!(code(client.simple_query("BEGIN; SELECT nope; SELECT 1").await), "42703");
    assert_eq!(code(client.simple_query("SELECT 1").await), "25P02");
    run(&client, "ROLLBACK").await;
}

#[tokio::test]
async fn without_a_transaction_an_error_holds_nothing_up() {
    let world = World::start().await;
    let client = world.psql().await;
    assert_eq!(code(client.simple_query("SELECT nope").await), "42703");
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
}

#[tokio::test]
async fn a_transaction_that_is_dropped_is_rolled_back() {
    let world = World::start().await;
    let mut client = world.psql().await;
    let transaction = client.transaction().await.unwrap();
    assert_eq!(code(transaction.query("SELECT nope", &[]).await), "42703");
    drop(transaction);
    assert_eq!(client.query_one("SELECT 1::bigint", &[]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_ends_at_the_time_limit_of_its_session() {
    let world = World::start().await;
    let client = world.psql().await;
    run(&client, "SET statement_timeout = 5").await;
    for sql in [ENDLESS, &format!("SELECT 1; {ENDLESS}")] {
        let ended = within("the statement ends", client.simple_query(sql)).await;
        assert_eq!(code(ended), "57014", "{sql}");
    }
    let ended = within("the statement ends", client.query(ENDLESS, &[])).await;
    assert_eq!(code(ended), "57014");
    run(&client, "SET statement_timeout TO DEFAULT").await;
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
}

/// Waits until a query of this protocol runs.
async fn runs(world: &World, sql: &str) {
    let caller = world.caller();
    let running = async {
        loop {
            let list = caller.get("/api/v1/query").await.ok();
            let is_ours = |one: &Value| {
                one["state"] == "running"
                    && one["query_id"].as_str().unwrap().starts_with("pg-")
                    && one["sql"].as_str().unwrap().contains(sql)
            };
            if list["items"].as_array().unwrap().iter().any(is_ours) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within("a query of a PostgreSQL client runs", running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_request_stops_the_statement_of_its_connection_alone() {
    let world = World::start().await;
    let (client, other) = (std::sync::Arc::new(world.psql().await), std::sync::Arc::new(world.psql().await));
    for is_simple in [true, false] {
        let asked = |client: &std::sync::Arc<tokio_postgres::Client>, sql: String| {
            let client = std::sync::Arc::clone(client);
            world.env.spawner.spawn(async move {
                match is_simple {
                    true => client.simple_query(&sql).await.map(|_| ()),
                    false => client.query(&sql, &[]).await.map(|_| ()),
                }
            })
        };
        let running = asked(&client, format!("{ENDLESS} AND n > 1"));
        let bystander = asked(&other, format!("{ENDLESS} AND n > 2"));
        runs(&world, "n > 1").await;
        runs(&world, "n > 2").await;
        world.cancel(&client).await;
        let ended = within("the statement ends", running).await.unwrap();
        let error = told(ended);
        assert_eq!(error.code().code(), "57014", "{error:?}");
        assert!(!bystander.is_finished());
        assert_eq!(rows(&client, "SELECT 1").await, ["1"], "the connection lives on");
        world.cancel(&other).await;
        assert_eq!(code(within("the statement ends", bystander).await.unwrap()), "57014");
    }
    // Nothing runs: nothing happens.
    world.cancel(&client).await;
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
}

#[tokio::test]
async fn settings_are_remembered_by_their_session_alone() {
    let world = World::start().await;
    world.fill_shop().await;
    let (client, other) = (world.psql().await, world.psql().await);
    run(&client, "SET search_path TO shop; SET TIME ZONE 'Asia/Shanghai'; SET my.own = 'x'").await;
    assert_eq!(rows(&client, "SELECT count(*) FROM orders").await, ["3"]);
    assert_eq!(rows(&client, "SHOW TimeZone").await, ["Asia/Shanghai"]);
    assert_eq!(rows(&client, "SHOW my.own").await, ["x"]);
    let placed = rows(&client, "SELECT placed_at FROM orders WHERE id = 1").await.concat();
    assert!(placed.starts_with("2024-05-01 18:00:00") && placed.ends_with("+08"), "{placed}");
    assert_eq!(rows(&other, "SHOW TimeZone").await, ["UTC"]);
    assert_eq!(code(other.simple_query("SELECT count(*) FROM orders").await), "42P01");
    run(&client, "SET TIME ZONE 'Asia/Kolkata'").await;
    assert_eq!(
        rows(&client, "SELECT placed_at FROM orders WHERE id = 1").await,
        ["2024-05-01 15:30:00+05:30"]
    );
    run(&client, "RESET ALL").await;
    assert_eq!(rows(&client, "SHOW TimeZone").await, ["UTC"]);
    for (sql, sqlstate) in [
        ("SET client_encoding TO 'LATIN1'", "22023"),
        ("SET TimeZone TO 'Nowhere/Land'", "22023"),
        ("SET statement_timeout TO 'soon'", "22023"),
        ("SET server_version TO '9'", "55P02"),
    ] {
        assert_eq!(code(client.simple_query(sql).await), sqlstate, "{sql}");
    }
    assert_eq!(rows(&client, "SHOW TimeZone").await, ["UTC"], "a refused value is not kept");
    run(&client, "DISCARD ALL; DEALLOCATE ALL; UNLISTEN *").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_stops_its_statement() {
    let world = World::start().await;
    let caller = world.caller();
    for sql in [ENDLESS.to_string(), format!("SELECT 1; {ENDLESS}")] {
        let (client, line) = world.pg_line("tarn", "", |_| {}).await.unwrap();
        let waiting = world.env.spawner.spawn(async move { client.simple_query(&sql).await.map(|_| ()) });
        runs(&world, "= 3").await;
        line.abort();
        assert!(waiting.await.unwrap().is_err());
        let ended = async {
            while caller.get("/api/v1/query").await.ok()["items"][0]["state"] != "cancelled" {
                tokio::task::yield_now().await;
            }
        };
        within("the query is cancelled", ended).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_more_while_a_statement_runs_is_not_taken_for_gone() {
    let world = World::start().await;
    let client = world.psql().await;
    // The statements are sent at once, and answered one after the other.
    let long = "SELECT count(*) FROM generate_series(1, 3000000) AS t(n) WHERE n % 7 = 3";
    let texts = [long, "SELECT 2", long, "SELECT 4"];
    let answers = futures::future::join_all(texts.map(|sql| rows(&client, sql))).await;
    assert_eq!(answers.concat(), ["428572", "2", "428572", "4"]);
}
