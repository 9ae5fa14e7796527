//! The source `http_push`.

use serde_json::json;
use tarn_core::{Fault, FaultKind};
use tarn_ingest::{IngestError, Push, PushReceipt, SOURCES, SourceState};

use crate::bed::{Bed, name};
use crate::faulty_log::AppendFault;

async fn push_to(
    bed: &Bed,
    source: &str,
    table: Option<&str>,
    key: Option<&str>,
    body: &str,
) -> Result<PushReceipt, IngestError> {
    let push = Push {
        table: table.map(str::to_string),
        body: body.to_string().into(),
        content_type: None,
        idempotency_key: key.map(str::to_string),
    };
    let ingest = bed.ingest.clone();
    let (ctx, source) = (bed.ctx.clone(), name(source));
    let task = tokio::spawn(async move { ingest.push(&ctx, &source, push).await });
    // Nothing here takes simulated time.
    tokio::time::timeout(std::time::Duration::from_secs(30), task).await.expect("answered").expect("no panic")
}

async fn push(bed: &Bed, body: &str) -> PushReceipt {
    push_to(bed, "in", None, None, body).await.expect("stored")
}

#[tokio::test]
async fn a_receipt_names_durable_rows() {
    let bed = Bed::new(SOURCES).await;
    bed.apply("in", "http_push", "key: [id]");
    let one = push(&bed, r#"{"id": 1, "v": "a"}"#).await;
    assert_eq!((one.rows, one.first_offset, one.next_offset), (1, 0, 1));
    let two = push(&bed, r#"[{"id": 2, "v": "b"}, {"id": 3, "v": null}]"#).await;
    assert_eq!((two.rows, two.first_offset, two.next_offset), (2, 1, 3));
    let three = push(&bed, "{\"id\": 4, \"v\": \"d\"}\n{\"id\": 5, \"v\": \"e\"}\n").await;
    assert_eq!((three.first_offset, three.next_offset), (3, 5));
    assert_eq!(bed.rows("in.in").await, ["+ | 1 | a", "+ | 2 | b", "+ | 3 | ∅", "+ | 4 | d", "+ | 5 | e"]);
}

#[tokio::test]
async fn columns_appear_and_widen() {
    let mut bed = Bed::new(SOURCES).await;
    bed.apply("in", "http_push", "{}");
    push(&bed, r#"{"n": 1}"#).await;
    push(&bed, r#"{"n": 1.5, "at": "2013-01-31T00:00:00Z"}"#).await;
    bed.restart().await;
    bed.apply("in", "http_push", "{}");
    push(&bed, r#"[{"n": "x", "tags": {"a": [1]}}, {"n": 2}]"#).await;
    assert_eq!(
        bed.rows("in.in").await,
        ["+ | 1", "+ | 1.5 | 2013-01-31T00:00:00", "+ | x | ∅ | {\"a\":[1]}", "+ | 2 | ∅ | ∅"]
    );
}

#[tokio::test]
async fn records_that_do_not_fit_are_dead_letters_and_named() {
    let bed = Bed::new(SOURCES).await;
    bed.apply(
        "in",
        "http_push",
        "{key: [id], schema: [{name: id, type: int64}, {name: amount, type: 'decimal(5,2)'}]}",
    );
    let body = json!([
        { "id": 1, "amount": 1.25 },
        { "id": null },
        { "id": 2, "amuont": 1 },
        { "id": 3, "amount": "much" },
        7,
        { "id": 4 },
    ]);
    let receipt = push(&bed, &body.to_string()).await;
    assert_eq!((receipt.rows, receipt.dead_letters), (2, 4));
    let reasons: Vec<(u64, &str)> = receipt.reasons.iter().map(|r| (r.record, r.reason.as_str())).collect();
    assert_eq!(reasons[0], (1, "the key column `id` is missing or null"));
    assert_eq!(reasons[1], (2, "the table has no column `amuont`; did you mean `amount`?"));
    assert_eq!(reasons[2], (3, "column `amount`: `much` is not of type decimal(5,2)"));
    assert_eq!(reasons[3], (4, "the record is not a JSON object"));
    assert_eq!(bed.count("in.dead_letters").await, 4);
    assert_eq!(bed.rows("in.in").await, ["+ | 1 | 1.25", "+ | 4 | ∅"]);
    let none = push(&bed, r#"{"x": 1}"#).await;
    assert_eq!((none.rows, none.dead_letters), (0, 1));
    assert_eq!(bed.count("in.dead_letters").await, 5, "durable when the answer comes");
}

#[tokio::test]
async fn a_repeated_key_stores_nothing_also_after_a_restart() {
    let mut bed = Bed::new(SOURCES).await;
    bed.apply("in", "http_push", "{}");
    let first = push_to(&bed, "in", None, Some("k1"), r#"[{"a": 1}, {"a": 2}]"#).await.expect("stored");
    let again = push_to(&bed, "in", None, Some("k1"), r#"[{"a": 1}, {"a": 2}]"#).await.expect("known");
    assert_eq!(again, PushReceipt { repeated: true, ..first.clone() });
    for n in 0..990 {
        let ingest = bed.ingest.clone();
        let push = Push {
            body: json!({ "a": n }).to_string().into(),
            idempotency_key: Some(format!("n{n}")),
            ..Push::default()
        };
        ingest.push(&bed.ctx, &name("in"), push).await.expect("stored");
    }
    bed.restart().await;
    bed.apply("in", "http_push", "{}");
    let later = push_to(&bed, "in", None, Some("k1"), r#"{"a": 9}"#).await.expect("known");
    assert_eq!(later, PushReceipt { repeated: true, ..first });
    assert_eq!(bed.count("in.in").await, 992);
}

#[tokio::test]
async fn many_pushes_at_once_are_all_stored_once() {
    let bed = Bed::new(SOURCES).await;
    bed.apply("in", "http_push", "{}");
    bed.log.inject([AppendFault::Lost, AppendFault::Uncertain]);
    let pushes = (0..500).map(|n| {
        let (ingest, ctx) = (bed.ingest.clone(), bed.ctx.clone());
        tokio::spawn(async move {
            let push = Push { body: json!({ "n": n }).to_string().into(), ..Push::default() };
            ingest.push(&ctx, &name("in"), push).await.expect("stored")
        })
    });
    let pushes: Vec<_> = pushes.collect();
    let pace = std::time::Duration::from_millis(100);
    bed.eventually_by(pace, "all answered", async || pushes.iter().all(tokio::task::JoinHandle::is_finished))
        .await;
    let mut offsets = Vec::new();
    for push in pushes {
        offsets.push(push.await.expect("no panic").first_offset);
    }
    let rows = bed.rows("in.in").await;
    assert_eq!(rows.len(), 500);
    for (n, offset) in offsets.iter().enumerate() {
        assert_eq!(rows[usize::try_from(*offset).expect("small")], format!("+ | {n}"));
    }
}

#[tokio::test]
async fn a_full_disk_is_told_to_the_sender_and_nothing_of_the_push_is_stored() {
    let bed = Bed::new(SOURCES).await;
    bed.apply("in", "http_push", "{}");
    push_to(&bed, "in", None, None, r#"{"n": 1}"#).await.expect("stored");
    bed.log.inject([AppendFault::DiskFull]);
    let error = push_to(&bed, "in", None, None, r#"{"n": 2}"#).await.expect_err("no room");
    assert_eq!(error.kind(), FaultKind::Exhausted, "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("free space")));
    bed.eventually("with room again rows are taken", async || {
        push_to(&bed, "in", None, None, r#"{"n": 3}"#).await.is_ok()
    })
    .await;
    assert_eq!(bed.rows("in.in").await, ["+ | 1", "+ | 3"]);
}

#[tokio::test]
async fn what_cannot_be_pushed_is_refused_with_advice() {
    let bed = Bed::new(SOURCES).await;
    bed.apply("in", "http_push", "{body_max: 1KB, depth_max: 3, tables: [{name: orders}]}");
    bed.write("x.csv", "id\n1\n");
    bed.apply("files", "file", "path: x.csv");
    let kind = async |source: &str, table: Option<&str>, body: &str| {
        let error = push_to(&bed, source, table, None, body).await.expect_err("refused");
        assert!(error.hint().is_some(), "{error}");
        error.kind()
    };
    assert_eq!(
        kind("in", None, &format!("{{\"a\": \"{}\"}}", "x".repeat(1_024))).await,
        FaultKind::Exhausted
    );
    assert_eq!(kind("in", None, r#"{"a": [[[[1]]]]}"#).await, FaultKind::Invalid);
    assert_eq!(kind("in", None, "{").await, FaultKind::Invalid);
    assert_eq!(kind("in", Some("order"), "{}").await, FaultKind::Invalid);
    assert_eq!(kind("files", None, "{}").await, FaultKind::Conflict);
    assert_eq!(kind("inn", None, "{}").await, FaultKind::NotFound);
    bed.ingest.pause(&bed.ctx, &name("in")).expect("paused");
    assert_eq!(kind("in", None, "{}").await, FaultKind::Conflict);
    bed.ingest.resume(&bed.ctx, &name("in")).expect("resumed");
    push_to(&bed, "in", Some("orders"), None, r#"{"a": 1}"#).await.expect("stored");
    assert_eq!(bed.count("in.orders").await, 1);
    assert_ne!(bed.state("in"), SourceState::Failed);
}

#[tokio::test]
async fn pushes_may_make_tables_if_the_source_allows_it() {
    let mut bed = Bed::new(SOURCES).await;
    bed.apply("in", "http_push", "new_tables: true");
    push_to(&bed, "in", Some("events"), None, r#"{"a": 1}"#).await.expect("stored");
    bed.restart().await;
    bed.apply("in", "http_push", "new_tables: true");
    let receipt = push_to(&bed, "in", Some("events"), None, r#"{"a": 2}"#).await.expect("stored");
    assert_eq!(receipt.first_offset, 1);
    let error = push_to(&bed, "in", Some("../x"), None, r#"{"a": 2}"#).await.expect_err("not a name");
    assert_eq!(error.kind(), FaultKind::Invalid);
}
