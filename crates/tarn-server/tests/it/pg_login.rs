//! PostgreSQL: who is let in, and as whom.

use std::time::Duration;

use tarn_core::{HumanDuration, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::NoTls;

use crate::pg_client::{code, rows, told};
use crate::world::{PASSWORD, World, system};

async fn guarded() -> World {
    let world = World::start().await;
    world.add_user("main", "ada", Role::Admin).await;
    world
}

#[tokio::test]
async fn an_open_server_lets_this_machine_in_under_any_name() {
    let world = World::start().await;
    for user in ["tarn", "postgres", "anyone"] {
        let client = world.pg(user, "").await.unwrap();
        assert_eq!(rows(&client, "SELECT 1 + 1").await, ["2"]);
    }
    // A password that nobody asked for does no harm.
    world.pg("tarn", "whatever").await.unwrap();
}

#[tokio::test]
async fn the_right_password_logs_in_as_that_user() {
    let world = guarded().await;
    let client = world.pg("ada", PASSWORD).await.unwrap();
    assert_eq!(rows(&client, "SELECT current_user").await, ["ada"]);
    assert_eq!(rows(&client, "SELECT session_user").await, ["ada"]);
}

#[tokio::test]
async fn a_wrong_password_is_28p01_and_does_not_tell_whether_the_user_exists() {
    let world = guarded().await;
    let wrong = told(world.pg("ada", "wrong password").await);
    let unknown = told(world.pg("eve", "wrong password").await);
    for error in [&wrong, &unknown] {
        assert_eq!((error.severity(), error.code().code()), ("FATAL", "28P01"));
    }
    assert_eq!(wrong.message(), "password authentication failed for user \"ada\"");
    assert_eq!(unknown.message(), "password authentication failed for user \"eve\"");
    assert_eq!(wrong.hint(), unknown.hint());
}

#[tokio::test]
async fn without_a_password_nobody_gets_in() {
    let world = guarded().await;
    // The client itself ends the login, since it is asked for what it does not have.
    let refused = world.pg("ada", "").await;
    assert!(refused.is_err_and(|error| error.as_db_error().is_none()));
}

#[tokio::test]
async fn failed_logins_slow_down_the_next_ones() {
    let world = guarded().await;
    for _ in 0..5 {
        assert_eq!(code(world.pg("ada", "wrong password").await), "28P01");
    }
    let error = told(world.pg("ada", PASSWORD).await);
    assert_eq!(error.code().code(), "28000");
    assert!(error.message().contains("too many failed logins"), "{error:?}");
    world.clock.advance(Duration::from_secs(1));
    world.pg("ada", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn a_key_is_taken_as_the_password_until_it_ends() {
    let world = guarded().await;
    let access = &world.state.access;
    let hour = Some(HumanDuration::from_secs(3_600));
    let key = access.create_key(&system("main"), "board", Role::Viewer, hour).await.unwrap();
    let client = world.pg("key", &key.key).await.unwrap();
    assert_eq!(rows(&client, "SELECT current_user").await, ["key/board"]);
    world.clock.advance(Duration::from_secs(3_600));
    let expired = told(world.pg("key", &key.key).await);
    assert_eq!(expired.code().code(), "28000");
    assert!(
        expired.message().contains("has expired") && !expired.message().contains(&key.key),
        "{expired:?}"
    );
    let other = world.key("main", "other", Role::Viewer).await;
    world.pg("key/other", &other).await.unwrap();
    let id = other.split('_').nth(1).unwrap();
    access.delete_key(&system("main"), id).await.unwrap();
    assert_eq!(code(world.pg("key/other", &other).await), "28P01");
}

#[tokio::test]
async fn a_full_server_says_so() {
    let world = World::with(|setup| setup.server.pgwire.connections_max = 1).await;
    let client = world.psql().await;
    let error = told(world.pg("tarn", "").await);
    assert_eq!((error.severity(), error.code().code()), ("FATAL", "53300"));
    assert!(error.hint().unwrap().contains("connections_max"), "{error:?}");
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
    drop(client);
    let free = async { while world.pg("tarn", "").await.is_err() {} };
    crate::lake::within("the place of a client that left is free", free).await;
}

#[tokio::test]
async fn replication_is_refused() {
    let world = World::start().await;
    let address = world.server.pgwire_addr.unwrap();
    let text = format!(
        "host={} port={} user=tarn dbname=tarn options='-c application_name=x'",
        address.ip(),
        address.port()
    );
    let (client, connection) = tokio_postgres::connect(&text, NoTls).await.unwrap();
    drop(world.env.spawner.spawn(connection));
    assert_eq!(rows(&client, "SHOW application_name").await, ["x"]);
    for sql in ["IDENTIFY_SYSTEM", "START_REPLICATION SLOT x LOGICAL 0/0"] {
        let refused = code(client.simple_query(sql).await);
        assert!(refused.starts_with("42") || refused.starts_with("25"), "{sql}: {refused}");
    }
}

#[tokio::test]
async fn the_start_tells_what_drivers_ask_for() {
    let world = World::start().await;
    let client = world.pg_with("tarn", "", |config| {
        config.application_name("report").dbname("any name is fine");
    });
    let client = client.await.unwrap();
    let shown = async |name: &str| rows(&client, &format!("SHOW {name}")).await.concat();
    assert_eq!(shown("application_name").await, "report");
    assert_eq!(shown("server_version").await, "16.6");
    assert_eq!(shown("client_encoding").await, "UTF8");
    assert_eq!(shown("standard_conforming_strings").await, "on");
    assert_eq!(shown("TimeZone").await, "UTC");
    assert_eq!(shown("is_superuser").await, "off");
    assert_eq!(code(client.simple_query("SHOW nonsense").await), "42704");
}

/// The code of what a client that names a user is asked for: 3 is the password, 10 a proof by SASL.
async fn asked_for(world: &World, user: &str) -> u32 {
    let mut line = TcpStream::connect(world.server.pgwire_addr.unwrap()).await.unwrap();
    let parameters = format!("user\0{user}\0\0");
    let length = u32::try_from(8 + parameters.len()).unwrap();
    let start = [&length.to_be_bytes()[..], &196_608_u32.to_be_bytes(), parameters.as_bytes()].concat();
    line.write_all(&start).await.unwrap();
    assert_eq!(line.read_u8().await.unwrap(), b'R');
    line.read_u32().await.unwrap();
    line.read_u32().await.unwrap()
}

#[tokio::test]
async fn users_prove_their_password_and_do_not_send_it() {
    let world = guarded().await;
    assert_eq!(asked_for(&world, "ada").await, 10);
    assert_eq!(asked_for(&world, "nobody").await, 10, "a name without user is not told apart");
    assert_eq!(asked_for(&world, "key").await, 3);
    let access = &world.state.access;
    let new = tarn_meta::SecretValue::new("another p\u{e4}ssword");
    access.set_password(&system("main"), "ada", &new).await.unwrap();
    assert_eq!(code(world.pg("ada", PASSWORD).await), "28P01");
    world.pg("ada", "another p\u{e4}ssword").await.unwrap();
    // The same characters written in another way are the same password.
    world.pg("ada", "another pa\u{308}ssword").await.unwrap();
    let error = told(world.pg("ada", &world.key("main", "board", Role::Viewer).await).await);
    assert!(error.hint().unwrap().contains("user name `key`"), "{error:?}");
}
