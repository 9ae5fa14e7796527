//! The audit log tells who did what, and shows every kind of tampering.

use sqlx::{Connection, Executor, SqliteConnection};
use tarn_access::{AuditEvent, AuditVerification, Outcome};
use tarn_core::Role;

use crate::world::{PASSWORD, World, admin, admin_of, context};

async fn raw(world: &World, sql: &'static str) {
    let url = format!("sqlite://{}", world.folder.path().join("meta.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    for trigger in
        ["DROP TRIGGER IF EXISTS audit_log_no_update", "DROP TRIGGER IF EXISTS audit_log_no_delete", sql]
    {
        connection.execute(trigger).await.unwrap();
    }
}

/// With ten records, the first three by the making of users and a refused login.
async fn with_records() -> World {
    let world = World::with_users().await;
    let _ = world.password("li", "wrong").await;
    for number in 4..=10 {
        let event = AuditEvent::new("resource.apply", &format!("revision {number}"), Outcome::Ok);
        world.access.audit(&context("li", Role::Editor), &event).await.unwrap();
    }
    world
}

async fn verify(world: &World) -> AuditVerification {
    world.access.verify_audit(&admin()).await.unwrap()
}

#[tokio::test]
async fn records_tell_who_did_what() {
    let world = with_records().await;
    let log = world.access.audit_log(&admin(), 100).await.unwrap();
    let lines: Vec<_> =
        log.iter().rev().map(|own| format!("{} {} {}", own.principal, own.action, own.target)).collect();
    assert_eq!(
        lines[..4],
        [
            "system user.create li",
            "system user.create wang",
            "anonymous session.create li",
            "li resource.apply revision 4"
        ]
    );
    assert_eq!(log[7].outcome, Outcome::Denied);
    assert_eq!(world.access.audit_log(&admin(), 3).await.unwrap(), log[..3]);
    let json = serde_json::to_value(&log[0]).unwrap();
    assert_eq!(json["at"], "2023-11-14T22:13:20.000Z");
    assert_eq!(json["outcome"], "ok");
    assert_eq!(json["hash"].as_str().unwrap().len(), 64);
    assert_eq!(world.access.audit_log(&admin_of("other"), 10).await.unwrap(), [], "tenants have their own");
    // A password in the field of the name is not written down.
    let _ = world.password(PASSWORD, "li").await;
    let log = world.access.audit_log(&admin(), 1).await.unwrap();
    assert_eq!(log[0].target, "unknown user");
}

#[tokio::test]
async fn a_whole_log_verifies() {
    let world = with_records().await;
    let found = verify(&world).await;
    assert_eq!((found.records, &found.broken), (10, &None));
    assert_eq!(found.hash, Some(world.access.audit_log(&admin(), 1).await.unwrap().remove(0).hash));
    let empty = world.access.verify_audit(&admin_of("other")).await.unwrap();
    assert_eq!((empty.records, empty.hash, empty.broken), (0, None, None));
}

#[tokio::test]
async fn tampering_is_found_at_its_record() {
    let cases: [(&str, u64); 9] = [
        ("UPDATE audit_log SET body = replace(body, 'revision 5', 'revision 6') WHERE sequence = 5", 5),
        ("UPDATE audit_log SET hash = replace(hash, substr(hash, 1, 4), 'ffff') WHERE sequence = 5", 5),
        ("DELETE FROM audit_log WHERE sequence = 5", 5),
        ("DELETE FROM audit_log WHERE sequence = 1", 1),
        ("DELETE FROM audit_log WHERE sequence > 7", 8),
        ("DELETE FROM audit_log", 1),
        ("DELETE FROM audit_head", 10),
        ("UPDATE audit_head SET hash = 'x'", 10),
        ("UPDATE audit_log SET sequence = CASE sequence WHEN 5 THEN -6 WHEN 6 THEN -5 ELSE sequence END", 1),
    ];
    for (sql, sequence) in cases {
        let world = with_records().await;
        raw(&world, sql).await;
        let broken = verify(&world).await.broken.unwrap_or_else(|| panic!("not found: {sql}"));
        if !sql.contains("CASE") {
            assert_eq!(broken.sequence, sequence, "{sql}: {broken:?}");
        }
    }
}

#[tokio::test]
async fn a_record_of_another_tenant_does_not_fit() {
    let world = with_records().await;
    let event = AuditEvent::new("resource.apply", "theirs", Outcome::Ok);
    world.access.audit(&admin_of("other"), &event).await.unwrap();
    raw(&world, "DELETE FROM audit_log WHERE tenant = 'main'").await;
    raw(&world, "DELETE FROM audit_head WHERE tenant = 'main'").await;
    raw(&world, "UPDATE audit_log SET tenant = 'main'").await;
    raw(&world, "UPDATE audit_head SET tenant = 'main'").await;
    let broken = verify(&world).await.broken.unwrap();
    assert_eq!((broken.sequence, broken.what.as_str()), (1, "the record belongs elsewhere"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn records_of_many_callers_make_one_chain() {
    let world = World::with_users().await;
    // Two processes on one store.
    let other = tarn_access::Access::new(
        tarn_meta::open(world.folder.path().join("meta.db").to_str().unwrap(), world.env.clone())
            .await
            .unwrap(),
        world.env.clone(),
        crate::world::config(),
    )
    .unwrap();
    let tasks = (0..40).map(|number| {
        let access = if number % 2 == 0 { world.access.clone() } else { other.clone() };
        tokio::spawn(async move {
            let event = AuditEvent::new("test", &format!("{number}"), Outcome::Ok);
            access.audit(&admin(), &event).await.unwrap()
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let found = verify(&world).await;
    assert_eq!((found.records, found.broken), (42, None));
}
