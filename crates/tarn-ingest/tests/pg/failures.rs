//! What a connection test says when something is missing: the sentence must tell what to do.

use std::process::Command;

use serde_json::json;
use tarn_core::{Fault, FaultKind};
use tarn_ingest::{CheckReport, IngestError};
use tarn_testkit::PostgresServer;

use super::mirror::{Mirror, connector, context, shared_server, table};

async fn check(config: serde_json::Value) -> CheckReport {
    connector("checked", config).unwrap().check(&context()).await
}

/// The step that failed and what it says.
async fn failure(config: serde_json::Value) -> (String, String) {
    let report = check(config).await;
    let failed: Vec<_> = report.steps.iter().filter(|step| !step.ok).collect();
    assert_eq!(failed.len(), 1, "{report:?}");
    assert!(!report.steps.last().unwrap().ok, "the first that failed is last");
    (failed[0].name.clone(), failed[0].detail.clone())
}

#[track_caller]
fn says(failure: (String, String), step: &str, words: &[&str]) {
    assert_eq!(failure.0, step, "{}", failure.1);
    for word in words {
        assert!(failure.1.contains(word), "`{word}` is not in: {}", failure.1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_fails_says_why() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://a@127.0.0.1:{closed}/d");
    says(
        failure(json!({ "url": url })).await,
        "connect",
        &["could not reach PostgreSQL at 127.0.0.1", "refused", "firewall"],
    );
    let nowhere = failure(json!({ "url": "postgres://a@no-such-host.invalid/d" })).await;
    says(nowhere, "connect", &["could not reach PostgreSQL at no-such-host.invalid:5432"]);

    let server = shared_server();
    let url = server.url("no_such_database");
    says(
        failure(json!({ "url": url })).await,
        "connect",
        &["database \"no_such_database\" does not exist", "psql -l"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_and_checked_by_each_method() {
    let options = PostgresServer::options()
        .access("host all scrammer 127.0.0.1/32 scram-sha-256")
        .access("host all hasher 127.0.0.1/32 md5")
        .access("host all plain 127.0.0.1/32 password")
        .access("host all nobody 127.0.0.1/32 reject");
    let server = options.start().unwrap();
    let sql = "CREATE TABLE t (id int PRIMARY KEY);
               SET password_encryption = 'scram-sha-256'; CREATE ROLE scrammer LOGIN SUPERUSER PASSWORD 's3cret'; CREATE ROLE plain LOGIN SUPERUSER PASSWORD 's3cret';
               SET password_encryption = 'md5'; CREATE ROLE hasher LOGIN SUPERUSER PASSWORD 's3cret'; CREATE ROLE nobody LOGIN;";
    server.psql(sql).unwrap();
    for user in ["scrammer", "hasher", "plain"] {
        let url = server.url_as(user, "postgres");
        let report = check(json!({ "url": url, "password": "s3cret" })).await;
        assert!(report.is_ok(), "{user}: {report:?}");
        let wrong = failure(json!({ "url": url, "password": "guess" })).await;
        says(
            wrong,
            "connect",
            &["password authentication failed", &format!("check the password of user `{user}`")],
        );
        let none = failure(json!({ "url": url })).await;
        says(none, "connect", &["asks for a password", "password: { secret: name }"]);
    }
    let refused = failure(json!({ "url": server.url_as("nobody", "postgres") })).await;
    says(refused, "connect", &["pg_hba.conf", "`nobody`"]);
    let mut mirror =
        Mirror::new("denied", json!({ "url": server.url_as("scrammer", "postgres"), "password": "guess" }));
    let error = mirror.try_open().await.unwrap_err();
    assert!(matches!(error, IngestError::Denied { .. }) && error.kind() == FaultKind::Denied, "{error:?}");
    assert!(!format!("{error:?} {error} {:?}", connector("x", mirror.config.clone())).contains("guess"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_set_up_says_how_to() {
    let server = PostgresServer::options().setting("wal_level", "replica").start().unwrap();
    let wrong = failure(json!({ "url": server.url("postgres") })).await;
    says(wrong, "wal_level is logical", &["ALTER SYSTEM SET wal_level = logical; and restart"]);

    let server = PostgresServer::options().setting("max_replication_slots", "1").start().unwrap();
    server
        .psql("CREATE TABLE t (id int PRIMARY KEY); SELECT pg_create_physical_replication_slot('other')")
        .unwrap();
    let full = failure(json!({ "url": server.url("postgres") })).await;
    says(
        full,
        "room for a replication slot",
        &["all 1 replication slots are in use", "max_replication_slots = 3"],
    );
    let taken = failure(json!({ "url": server.url("postgres"), "slot": "other" })).await;
    says(taken, "room for a replication slot", &["`other` exists with plugin", "set another `slot`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_says_which() {
    let server = shared_server();
    server.database("rights").unwrap();
    let sql = "CREATE TABLE orders (id int PRIMARY KEY); CREATE TABLE customers (id int PRIMARY KEY);
               CREATE ROLE reader LOGIN; CREATE ROLE owner_of_orders;";
    server.psql_in("rights", sql).unwrap();
    let url = server.url_as("reader", "rights");
    let config = json!({ "url": url, "tables": ["public.orders"] });
    says(failure(config.clone()).await, "role may replicate", &["ALTER ROLE \"reader\" REPLICATION;"]);
    server.psql("ALTER ROLE reader REPLICATION").unwrap();
    says(
        failure(config.clone()).await,
        "tables can be read",
        &["GRANT SELECT ON \"public\".\"orders\" TO \"reader\";"],
    );
    server.psql_in("rights", "GRANT SELECT ON orders TO reader").unwrap();
    says(
        failure(config.clone()).await,
        "publication",
        &["GRANT CREATE ON DATABASE \"rights\" TO \"reader\";"],
    );
    server.psql("GRANT CREATE ON DATABASE rights TO reader").unwrap();
    says(
        failure(config.clone()).await,
        "publication",
        &["does not own table `public.orders`", "CREATE PUBLICATION \"tarn_checked\" FOR TABLE"],
    );
    server.psql_in("rights", "CREATE PUBLICATION tarn_checked FOR TABLE customers").unwrap();
    says(
        failure(config.clone()).await,
        "publication",
        &["lacks table `public.orders`", "ALTER PUBLICATION \"tarn_checked\" ADD TABLE"],
    );
    let mut mirror = Mirror::new("checked", config.clone());
    mirror.open().await;
    let error = loop {
        if let Err(error) = mirror.step().await {
            break error;
        }
    };
    assert!(matches!(error, IngestError::Unsuitable { .. }), "{error:?}");
    // With the publication that the owner made, the role needs nothing else.
    server
        .psql_in("rights", "ALTER PUBLICATION tarn_checked ADD TABLE orders; INSERT INTO orders VALUES (1)")
        .unwrap();
    let report = check(config).await;
    assert!(report.is_ok(), "{report:?}");
    assert_eq!(report.tables, [table("orders")]);
    mirror.open().await;
    mirror.read_until(|mirror| mirror.count("orders") == 1).await;
    server.psql_in("rights", "INSERT INTO orders VALUES (2)").unwrap();
    mirror.read_until_same(&server, "rights", "orders").await;
    mirror.source = None;
    mirror.connector().remove(&context()).await.unwrap();
    let left = server.psql_in("rights", "SELECT pubname FROM pg_publication").unwrap();
    assert_eq!(left, "tarn_checked", "what someone else made stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_table_suggests_the_nearest() {
    let server = shared_server();
    let url = server.database("names").unwrap();
    server
        .psql_in("names", "CREATE TABLE orders (id int PRIMARY KEY); CREATE UNLOGGED TABLE notes (id int)")
        .unwrap();
    let wrong = failure(json!({ "url": url, "tables": ["public.ordres"] })).await;
    says(wrong, "tables exist", &["table `public.ordres` not found", "did you mean `public.orders`?"]);
    let wrong = failure(json!({ "url": url, "tables": ["sales.*"] })).await;
    says(wrong, "tables exist", &["no table matches `sales.*`", "there are `public.orders`"]);
    let report = check(json!({ "url": url })).await;
    assert!(report.is_ok());
    assert_eq!(report.tables, [table("orders")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_is_used_and_verified() {
    let folder = tempfile_with_certificates();
    let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
    let options = PostgresServer::options().setting("ssl", "on");
    let options = options.setting("ssl_cert_file", certificate.to_str().unwrap());
    let server = options.setting("ssl_key_file", key.to_str().unwrap()).start().unwrap();
    server.psql("CREATE TABLE t (id int PRIMARY KEY, v text)").unwrap();
    let url = server.url("postgres").replace("127.0.0.1", "localhost");
    for config in [
        json!({ "url": url }),
        json!({ "url": url, "tls": "require" }),
        json!({ "url": url, "tls": "verify-full", "ca": folder.join("ca.crt") }),
    ] {
        let report = check(config.clone()).await;
        assert!(report.is_ok() && report.steps[0].detail.ends_with(", encrypted"), "{report:?}");
    }
    let report = check(json!({ "url": url, "tls": "disable" })).await;
    assert!(report.steps[0].detail.ends_with("not encrypted"), "{report:?}");
    let stranger = json!({ "url": url, "tls": "verify-full", "ca": folder.join("stranger.crt") });
    says(failure(stranger).await, "connect", &["no encrypted connection", "certificate"]);
    let other_name =
        json!({ "url": server.url("postgres"), "tls": "verify-full", "ca": folder.join("ca.crt") });
    says(failure(other_name).await, "connect", &["no encrypted connection", "not valid for name"]);
    let config = json!({ "url": url, "tls": "verify-full", "ca": folder.join("ca.crt") });
    let mut mirror = Mirror::new("encrypted", config);
    mirror.open().await;
    mirror.read_until(|mirror| mirror.batches.len() == 1).await;
    server.psql("INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1, 5000) g").unwrap();
    mirror.read_until_same(&server, "postgres", "t").await;
    drop(server);
    std::fs::remove_dir_all(folder).unwrap();

    let plain = shared_server();
    let wrong = failure(json!({ "url": plain.url("postgres"), "tls": "require" })).await;
    says(wrong, "connect", &["does not offer encryption"]);
}

/// A certificate authority, a certificate of it for `localhost`, and one of a stranger.
fn tempfile_with_certificates() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("tarn-pg-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let script = "set -e
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 30 -subj /CN=tarn-test-ca
        openssl req -x509 -newkey rsa:2048 -nodes -keyout stranger.key -out stranger.crt -days 30 -subj /CN=stranger
        openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost
        printf 'subjectAltName=DNS:localhost\\nbasicConstraints=CA:FALSE\\n' > server.ext
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 30 -extfile server.ext
        if [ \"$(id -u)\" = 0 ]; then chown postgres . server.key server.crt; fi
        chmod 755 . && chmod 600 server.key && chmod 644 *.crt";
    let output = Command::new("sh").arg("-c").arg(script).current_dir(&folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}
