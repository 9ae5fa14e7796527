//! What every store must do.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tarn_core::{Fault, FaultKind, RequestContext, chain_text};
use tarn_meta::{Expected, MetaError, MetaStore};

use crate::postgres::{self, Postgres};
use crate::world::{self, World};
use crate::{catalog, laws, resources, revisions, secrets};

async fn suite(world: &World) {
    documents_change_only_as_expected(world).await;
    documents_are_listed_by_prefix(world).await;
    concurrent_counters_lose_nothing(world).await;
    leases_exclude_and_expire(world).await;
    one_of_many_gets_the_lease(world).await;
    tenants_see_nothing_of_each_other(world).await;
    audit_rows_cannot_be_changed(world).await;
    a_cancelled_call_changes_nothing(world).await;
    catalog::suite(world).await;
    revisions::suite(world).await;
    secrets::suite(world).await;
    resources::suite(world).await;
    laws::suite(world).await;
    what_was_written_is_there_after_a_restart(world).await;
    a_newer_schema_is_refused(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_the_contract() {
    let (_folder, world) = world::sqlite().await;
    suite(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_the_contract() {
    if !postgres::is_installed() {
        eprintln!("PostgreSQL 15 is not installed: the contract was tested on SQLite alone");
        return;
    }
    let server = Postgres::start();
    let world = World::open(&server.url("postgres")).await;
    suite(&world).await;
    wrong_passwords_and_databases_are_told(&server).await;
    a_server_that_goes_away_is_told(server).await;
}

async fn wrong_passwords_and_databases_are_told(server: &Postgres) {
    let open =
        |url: String| async move { tarn_meta::open(&url, tarn_core::Env::system()).await.unwrap_err() };
    let error = open(server.url_with("postgres", "hunter2")).await;
    assert_eq!(error.kind(), FaultKind::Denied, "{error:?}");
    let text = format!("{} {:?}", chain_text(&error), error);
    assert!(text.contains(&server.port().to_string()) && !text.contains("hunter2"), "{text}");
    let error = open(server.url("nowhere")).await;
    assert_eq!(error.kind(), FaultKind::NotFound, "{error:?}");
    assert!(error.hint().unwrap().contains("create the database"));
}

async fn a_server_that_goes_away_is_told(server: Postgres) {
    let world = World::open(&server.url("postgres")).await;
    drop(server);
    let ctx = world.ctx();
    let deadline = std::time::Duration::from_secs(30);
    let error =
        tokio::time::timeout(deadline, world.store.count_documents(&ctx, "any")).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), FaultKind::Unavailable, "{error:?}");
}

async fn documents_change_only_as_expected(world: &World) {
    let (store, ctx) = (&world.store, world.ctx());
    let put = |value, expected| {
        let ctx = ctx.clone();
        async move { store.put_document(&ctx, "space", "key", &json!(value), expected).await }
    };
    assert_eq!(store.document(&ctx, "space", "key").await.unwrap(), None);
    assert!(put(0, Expected::Version(1)).await.is_err());
    let first = put(1, Expected::Absent).await.unwrap();
    let error = put(2, Expected::Absent).await.unwrap_err();
    assert!(matches!(error, MetaError::DocumentConflict { .. }), "{error:?}");
    assert_eq!(error.kind(), FaultKind::Conflict);
    let second = put(2, Expected::Version(first)).await.unwrap();
    assert!(put(3, Expected::Version(first)).await.is_err(), "an old version");
    let found = store.document(&ctx, "space", "key").await.unwrap().unwrap();
    assert_eq!((found.value, found.version), (json!(2), second));
    assert_eq!(found.updated_ms, 1_700_000_000_000);
    assert!(store.delete_document(&ctx, "space", "key", Expected::Version(first)).await.is_err());
    assert!(store.delete_document(&ctx, "space", "key", Expected::Version(second)).await.unwrap());
    assert!(!store.delete_document(&ctx, "space", "key", Expected::Any).await.unwrap());
    let third = put(4, Expected::Any).await.unwrap();
    assert!(third > second, "a version is never used twice: {third} {second}");
    assert!(put(5, Expected::Version(second)).await.is_err());
    // Any JSON comes back as it was, keys in order.
    let value = json!({"z": [null, 1.5, -7, u64::MAX, "门 \u{0} \\ ' \""], "a": {}});
    store.put_document(&ctx, "space", "json", &value, Expected::Any).await.unwrap();
    let found = store.document(&ctx, "space", "json").await.unwrap().unwrap();
    assert_eq!(found.value.to_string(), value.to_string());
}

async fn documents_are_listed_by_prefix(world: &World) {
    let (store, ctx) = (&world.store, world.ctx());
    for key in ["a%", "a_", "ab", "a", "b", "A", "é", "ä/1", "ä/2"] {
        store.put_document(&ctx, "space", key, &json!(key), Expected::Absent).await.unwrap();
    }
    let keys = |prefix: &'static str| {
        let ctx = ctx.clone();
        async move {
            let all = store.documents(&ctx, "space", prefix).await.unwrap();
            all.into_iter().map(|document| document.key).collect::<Vec<_>>()
        }
    };
    assert_eq!(keys("a").await, ["a", "a%", "a_", "ab"]);
    assert_eq!(keys("a%").await, ["a%"]);
    assert_eq!(keys("ä/").await, ["ä/1", "ä/2"]);
    assert_eq!(keys("").await.len(), 9);
    assert_eq!(keys("no").await.len(), 0);
    assert_eq!(store.count_documents(&ctx, "space").await.unwrap(), 9);
    assert_eq!(store.count_documents(&ctx, "other").await.unwrap(), 0);
}

async fn concurrent_counters_lose_nothing(world: &World) {
    let ctx = world.ctx();
    let count = |_| {
        let (store, ctx) = (world.store.clone(), ctx.clone());
        tokio::spawn(async move {
            for _ in 0..10 {
                loop {
                    let found = store.document(&ctx, "space", "counter").await.unwrap();
                    let expected =
                        found.as_ref().map_or(Expected::Absent, |own| Expected::Version(own.version));
                    let next = found.map_or(0, |own| own.value.as_i64().unwrap()) + 1;
                    match store.put_document(&ctx, "space", "counter", &json!(next), expected).await {
                        Ok(_) => break,
                        Err(error) => assert_eq!(error.kind(), FaultKind::Conflict, "{error:?}"),
                    }
                }
            }
        })
    };
    for task in (0..4).map(count).collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let found = world.store.document(&ctx, "space", "counter").await.unwrap().unwrap();
    assert_eq!(found.value, json!(40));
}

async fn leases_exclude_and_expire(world: &World) {
    let (store, ctx) = (&world.store, world.ctx());
    let long = Duration::from_secs(3_600);
    let short = Duration::from_millis(300);
    let first = store.acquire_lease(&ctx, "source/shop", "node1", long).await.unwrap();
    let error = store.acquire_lease(&ctx, "source/shop", "node2", long).await.unwrap_err();
    assert!(matches!(&error, MetaError::LeaseHeld { holder, .. } if holder == "node1"), "{error:?}");
    store.acquire_lease(&ctx, "source/other", "node2", long).await.unwrap();
    let again = store.acquire_lease(&ctx, "source/shop", "node1", long).await.unwrap();
    assert!(again.token > first.token, "a restarted holder fences its former self");
    let error = store.renew_lease(&ctx, &first, long).await.unwrap_err();
    assert!(matches!(error, MetaError::LeaseLost { .. }));
    let renewed = store.renew_lease(&ctx, &again, short).await.unwrap();
    assert_eq!(renewed.token, again.token);
    assert_eq!(store.leases(&ctx).await.unwrap().len(), 2);
    world.pass(short + Duration::from_millis(50)).await;
    assert!(matches!(store.renew_lease(&ctx, &renewed, long).await, Err(MetaError::LeaseLost { .. })));
    assert_eq!(store.leases(&ctx).await.unwrap().len(), 1);
    let taken = store.acquire_lease(&ctx, "source/shop", "node2", long).await.unwrap();
    assert!(taken.token > renewed.token);
    store.release_lease(&ctx, &renewed).await.unwrap();
    assert!(
        store.acquire_lease(&ctx, "source/shop", "node1", long).await.is_err(),
        "a lost lease frees nothing"
    );
    store.release_lease(&ctx, &taken).await.unwrap();
    let last = store.acquire_lease(&ctx, "source/shop", "node1", long).await.unwrap();
    assert!(last.token > taken.token, "tokens grow over a release, too");
}

async fn one_of_many_gets_the_lease(world: &World) {
    let ctx = world.ctx();
    let take = |number| {
        let (store, ctx) = (world.store.clone(), ctx.clone());
        let holder = format!("node{number}");
        tokio::spawn(
            async move { store.acquire_lease(&ctx, "one", &holder, Duration::from_secs(3_600)).await },
        )
    };
    let mut winners = 0;
    for task in (0..8).map(take).collect::<Vec<_>>() {
        match task.await.unwrap() {
            Ok(_) => winners += 1,
            Err(error) => assert!(matches!(error, MetaError::LeaseHeld { .. }), "{error:?}"),
        }
    }
    assert_eq!(winners, 1);
}

async fn tenants_see_nothing_of_each_other(world: &World) {
    let store = &world.store;
    let (one, two) = (world.ctx(), world.ctx());
    let hour = Duration::from_secs(3_600);
    store.put_document(&one, "space", "key", &json!(1), Expected::Any).await.unwrap();
    store.acquire_lease(&one, "lease", "node", hour).await.unwrap();
    store.create_namespace(&one, "shop", &Default::default()).await.unwrap();
    store.put_sealed(&one, "secret", "sealed").await.unwrap();
    store.append_audit(&one, &|_, _| ("body".into(), "hash".into())).await.unwrap();
    assert_eq!(store.document(&two, "space", "key").await.unwrap(), None);
    assert!(!store.delete_document(&two, "space", "key", Expected::Any).await.unwrap());
    store.acquire_lease(&two, "lease", "another node", hour).await.unwrap();
    assert_eq!(store.namespaces(&two).await.unwrap().len(), 0);
    assert!(!store.delete_sealed(&two, "secret").await.unwrap());
    assert_eq!(store.audit_head(&two).await.unwrap(), None);
    assert!(store.document(&one, "space", "key").await.unwrap().is_some());
    assert!(store.sealed(&one, "secret").await.unwrap().is_some());
}

async fn audit_rows_cannot_be_changed(world: &World) {
    let (store, ctx) = (&world.store, world.ctx());
    let seal = |sequence: u64, previous: Option<&str>| {
        (format!("body {sequence}"), format!("{}+{sequence}", previous.unwrap_or("start")))
    };
    let add = |_| {
        let (store, ctx) = (store.clone(), ctx.clone());
        tokio::spawn(async move { store.append_audit(&ctx, &seal).await.unwrap() })
    };
    let mut sequences = BTreeSet::new();
    for task in (0..10).map(add).collect::<Vec<_>>() {
        sequences.insert(task.await.unwrap().sequence);
    }
    assert_eq!(sequences, (1..=10).collect());
    let rows = store.audit_rows(&ctx, 0, 100).await.unwrap();
    assert_eq!(rows[2].hash, "start+1+2+3", "each row is sealed over the one before");
    assert_eq!(store.audit_rows(&ctx, 3, 2).await.unwrap(), rows[3..5]);
    let newest = store.newest_audit_rows(&ctx, 2).await.unwrap();
    assert_eq!((&newest[0], &newest[1]), (&rows[9], &rows[8]));
    assert_eq!(store.audit_head(&ctx).await.unwrap().unwrap().hash, rows[9].hash);
    for sql in ["UPDATE audit_log SET body = 'x'", "DELETE FROM audit_log"] {
        let error = world.raw(sql).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

async fn a_cancelled_call_changes_nothing(world: &World) {
    let (store, ctx) = (&world.store, world.ctx());
    ctx.cancel.cancel();
    let error = store.put_document(&ctx, "space", "key", &json!(1), Expected::Any).await.unwrap_err();
    assert!(matches!(error, MetaError::Cancelled), "{error:?}");
    let fresh = RequestContext { cancel: Default::default(), ..ctx };
    assert_eq!(store.document(&fresh, "space", "key").await.unwrap(), None);
}

async fn what_was_written_is_there_after_a_restart(world: &World) {
    let ctx = world.ctx();
    world.store.put_document(&ctx, "space", "key", &json!("kept"), Expected::Any).await.unwrap();
    world.store.close().await;
    let error = world.store.document(&ctx, "space", "key").await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::Unavailable, "a closed store says so");
    let again = tarn_meta::open(&world.address, world.env.clone()).await.unwrap();
    assert_eq!(again.document(&ctx, "space", "key").await.unwrap().unwrap().value, json!("kept"));
    let third = <dyn MetaStore>::open(&world.address, world.env.clone()).await.unwrap();
    assert_eq!(third.count_documents(&ctx, "space").await.unwrap(), 1, "two processes may open one store");
    assert!(!again.place().contains("horse"), "{}", again.place());
}

async fn a_newer_schema_is_refused(world: &World) {
    world.raw("INSERT INTO tarn_migrations (version, at_ms) VALUES (99, 0)").await.unwrap();
    let error = tarn_meta::open(&world.address, world.env.clone()).await.unwrap_err();
    assert!(matches!(error, MetaError::NewerSchema { found: 99, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("newer"));
    world.raw("DELETE FROM tarn_migrations WHERE version = 99").await.unwrap();
    tarn_meta::open(&world.address, world.env.clone()).await.unwrap();
}
