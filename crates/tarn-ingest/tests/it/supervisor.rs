//! What the supervisor promises.

use std::time::Duration;

use tarn_core::{Fault, FaultKind, Position};
use tarn_ingest::{IngestError, SourceState};
use tarn_observe::Metric;

use crate::bed::{Bed, name};
use crate::faulty_log::AppendFault;
use crate::scripted::{TYPES, dead_letter, describe, part_rows, rows, script, unreachable};

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|n| format!("+ | {n}")).collect()
}

#[tokio::test]
async fn rows_become_durable_and_are_acknowledged_in_order() {
    let bed = Bed::new(TYPES).await;
    let played = script("order", true, |_, _| {
        let mut steps = vec![describe("a", &["n"]), describe("b", &["n"])];
        for n in 0..50 {
            steps.push(rows("a", &["n"], n * 10 + 1..=n * 10 + 10));
            steps.push(rows("b", &["n"], n + 1..=n + 1));
        }
        steps
    });
    bed.apply("order", "scripted", "script: order");
    bed.until_state("order", SourceState::Done).await;
    assert_eq!(bed.rows("order.a").await, numbers(1..=500));
    assert_eq!(bed.rows("order.b").await, numbers(1..=50));
    let acknowledged = played.acknowledged.lock().expect("not poisoned").clone();
    let of =
        |table: &str| acknowledged.iter().filter(|(t, ..)| t == table).map(|(.., p)| *p).collect::<Vec<_>>();
    assert!(of("a").is_sorted() && of("a").last() == Some(&Position::new(0, 500)));
    assert!(of("b").is_sorted() && of("b").last() == Some(&Position::new(0, 50)));
    let summary = bed.ingest.status(&bed.ctx, &name("order")).expect("exists");
    assert_eq!((summary.rows_total, summary.tables, summary.restarts), (550, 2, 0));
    assert_eq!(bed.metrics.total(Metric::IngestRows), 550);
    let routes = bed.ingest.routes(&bed.ctx);
    assert_eq!(
        routes.iter().map(|r| r.lakehouse_table.to_string()).collect::<Vec<_>>(),
        ["order.a", "order.b"]
    );
}

#[tokio::test]
async fn a_restart_goes_on_behind_the_last_durable_row_of_every_part() {
    let mut bed = Bed::new(TYPES).await;
    // Plays everything from the start each time; what is durable must be dropped.
    let played = script("again", true, |_, _| {
        vec![
            describe("a", &["n"]),
            part_rows("a", "snapshot-1", &["n"], 1..=5),
            part_rows("a", "snapshot-2", &["n"], 101..=105),
            rows("a", &["n"], 1_001..=1_005),
            part_rows("a", "snapshot-2", &["n"], 104..=109),
            rows("a", &["n"], 1_001..=1_010),
        ]
    });
    bed.apply("again", "scripted", "script: again");
    bed.until_state("again", SourceState::Done).await;
    let first = bed.rows("again.a").await;
    let expected: Vec<String> =
        [1..=5, 101..=105, 1_001..=1_005, 106..=109, 1_006..=1_010].into_iter().flat_map(numbers).collect();
    assert_eq!(first, expected);
    bed.restart().await;
    bed.apply("again", "scripted", "script: again");
    bed.until_state("again", SourceState::Done).await;
    assert_eq!(bed.rows("again.a").await, expected);
    let openings = played.openings.lock().expect("not poisoned").clone();
    assert!(openings[0].states.is_empty());
    let mut resumed: Vec<_> = openings[1]
        .states
        .iter()
        .map(|(_, part, s)| (part.clone(), s.position.minor, s.note.clone()))
        .collect();
    resumed.sort();
    let state = |part: &str, n: u64| (part.to_string(), n, n.to_string().into_bytes());
    assert_eq!(resumed, [state("", 1_010), state("snapshot-1", 5), state("snapshot-2", 109)]);
}

#[tokio::test]
async fn a_passing_fault_is_waited_out_and_nothing_is_lost_or_doubled() {
    let bed = Bed::new(TYPES).await;
    let played = script("flaky", true, |opening, resume| {
        let done = resume.states.first().map_or(0, |(.., state)| state.position.minor);
        let mut steps = vec![describe("a", &["n"])];
        steps.extend((done + 1..=done + 3).map(|n| rows("a", &["n"], n..=n)));
        if opening < 4 {
            steps.push(unreachable());
        }
        steps
    });
    bed.apply("flaky", "scripted", "script: flaky");
    bed.until_state("flaky", SourceState::BackingOff).await;
    assert_eq!(bed.faults.list(&bed.ctx.tenant).len(), 1);
    assert_eq!(bed.faults.list(&bed.ctx.tenant)[0].note.message, "could not reach the test: no answer");
    bed.until_state("flaky", SourceState::Done).await;
    assert_eq!(bed.rows("flaky.a").await, numbers(1..=15));
    assert_eq!(played.opened(), 5);
    assert_eq!(bed.ingest.status(&bed.ctx, &name("flaky")).expect("exists").restarts, 4);
    assert!(bed.faults.list(&bed.ctx.tenant).is_empty(), "the fault is over");
}

#[tokio::test]
async fn a_lasting_fault_stops_the_source_until_it_is_restarted_or_changed() {
    let bed = Bed::new(TYPES).await;
    let played = script("denied", false, |opening, _| match opening {
        0 | 1 => vec![crate::scripted::Step::Fail(IngestError::Denied {
            system: "the test".to_string(),
            what: "wrong password".to_string(),
            advice: "set the right one".to_string(),
        })],
        _ => vec![describe("a", &["n"]), rows("a", &["n"], 1..=1)],
    });
    bed.apply("denied", "scripted", "script: denied");
    bed.until_state("denied", SourceState::Failed).await;
    bed.clock.advance(Duration::from_secs(600));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(played.opened(), 1, "no endless restart");
    let summary = bed.ingest.status(&bed.ctx, &name("denied")).expect("exists");
    assert_eq!(summary.hint.as_deref(), Some("set the right one"));
    bed.ingest.restart(&bed.ctx, &name("denied")).expect("restarted");
    bed.eventually("failed again", async || {
        played.opened() == 2 && bed.state("denied") == SourceState::Failed
    })
    .await;
    let mut changed = Bed::instance("denied", "scripted", "{script: denied, flavour: new}");
    changed.revision = 2;
    bed.ingest.apply(&bed.ctx, changed).expect("applied");
    bed.until_rows("denied.a", 1).await;
    assert_eq!(bed.ingest.status(&bed.ctx, &name("denied")).expect("exists").running_revision, 2);
}

#[tokio::test]
async fn a_panic_in_a_connector_is_a_failed_source() {
    let bed = Bed::new(TYPES).await;
    script("panics", false, |_, _| {
        vec![describe("a", &["n"]), rows("a", &["n"], 1..=1), crate::scripted::Step::Panic]
    });
    bed.apply("panics", "scripted", "script: panics");
    bed.until_state("panics", SourceState::Failed).await;
    let message = bed.ingest.status(&bed.ctx, &name("panics")).expect("exists").message.expect("a message");
    assert!(message.contains("the connector fell over"), "{message}");
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_nothing_is_lost_or_doubled() {
    let bed = Bed::new(TYPES).await;
    let played = script("full", true, |_, _| {
        let mut steps = vec![describe("a", &["n"])];
        steps.extend((1..=20).map(|n| rows("a", &["n"], n..=n)));
        steps
    });
    bed.log.inject([AppendFault::DiskFull; 12]);
    bed.apply("full", "scripted", "script: full");
    bed.eventually("backing off", async || bed.state("full") == SourceState::BackingOff).await;
    let message = bed.ingest.status(&bed.ctx, &name("full")).expect("exists").message.expect("a message");
    assert!(message.contains("the disk of the event log is full"), "{message}");
    bed.until_state("full", SourceState::Done).await;
    assert_eq!(bed.log.faults_left(), 0);
    assert_eq!(bed.rows("full.a").await, numbers(1..=20));
    assert_eq!(played.opened(), 1, "the source was not started again");
}

#[tokio::test]
async fn an_append_that_failed_or_seemed_to_fail_is_neither_lost_nor_doubled() {
    let bed = Bed::new(TYPES).await;
    script("uncertain", true, |_, resume| {
        let done = resume.states.first().map_or(0, |(.., state)| state.position.minor);
        let mut steps = vec![describe("a", &["n"])];
        steps.extend((done + 1..=20).map(|n| rows("a", &["n"], n..=n)));
        steps
    });
    use AppendFault::{Lost, Uncertain};
    bed.log.inject([Uncertain, Lost, Lost, Lost, Lost, Lost, Lost, Lost, Uncertain, Lost, Uncertain]);
    bed.apply("uncertain", "scripted", "script: uncertain");
    bed.until_state("uncertain", SourceState::Done).await;
    assert_eq!(bed.rows("uncertain.a").await, numbers(1..=20));
}

#[tokio::test]
async fn dead_letters_are_durable_before_the_rows_behind_them() {
    let bed = Bed::new(TYPES).await;
    script("letters", true, |_, _| {
        let mut steps = vec![describe("a", &["n"])];
        for n in 1..=5 {
            steps.push(dead_letter(&format!("record {n}")));
            steps.push(rows("a", &["n"], n..=n));
        }
        steps.push(dead_letter("last"));
        steps
    });
    bed.apply("letters", "scripted", "script: letters");
    bed.eventually("rows follow letters", async || {
        let (rows, letters) = (bed.count("letters.a").await, bed.count("letters.dead_letters").await);
        assert!(letters >= rows, "{rows} rows, {letters} dead letters");
        bed.state("letters") == SourceState::Done
    })
    .await;
    let letters = bed.ingest.dead_letters(&bed.ctx, &name("letters"), 3).await.expect("read");
    let records: Vec<_> = letters.iter().map(|letter| (letter.offset, letter.record.as_str())).collect();
    assert_eq!(records, [(5, "last"), (4, "record 5"), (3, "record 4")]);
    assert_eq!(letters[0].reason, "bad");
    assert_eq!(bed.ingest.status(&bed.ctx, &name("letters")).expect("exists").dead_letters, 6);
}

#[tokio::test]
async fn rows_after_a_schema_change_have_the_new_columns() {
    let bed = Bed::new(TYPES).await;
    script("schema", true, |_, _| {
        vec![
            describe("a", &["n"]),
            rows("a", &["n"], 1..=2),
            describe("a", &["n", "m"]),
            rows("a", &["n", "m"], 3..=3),
        ]
    });
    bed.apply("schema", "scripted", "script: schema");
    bed.until_state("schema", SourceState::Done).await;
    assert_eq!(bed.rows("schema.a").await, ["+ | 1", "+ | 2", "+ | 3 | 3"]);
}

#[tokio::test]
async fn a_broken_promise_of_a_connector_is_said() {
    let bed = Bed::new(TYPES).await;
    script("broken", false, |_, _| vec![describe("a", &["n"]), rows("a", &["n", "m"], 1..=1)]);
    script("undescribed", false, |_, _| vec![rows("a", &["n"], 1..=1)]);
    for (source, expected) in
        [("broken", "another schema than described"), ("undescribed", "before its description")]
    {
        bed.apply(source, "scripted", &format!("script: {source}"));
        bed.until_state(source, SourceState::Failed).await;
        let message = bed.ingest.status(&bed.ctx, &name(source)).expect("exists").message.expect("a message");
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn a_paused_source_stands_still_and_goes_on_where_it_stopped() {
    let bed = Bed::new(TYPES).await;
    let played = script("paused", false, |_, resume| {
        let done = resume.states.first().map_or(0, |(.., state)| state.position.minor);
        vec![describe("a", &["n"]), rows("a", &["n"], done + 1..=done + 10)]
    });
    bed.apply("paused", "scripted", "script: paused");
    bed.until_rows("paused.a", 10).await;
    bed.until_state("paused", SourceState::Idle).await;
    bed.ingest.pause(&bed.ctx, &name("paused")).expect("paused");
    assert_eq!(bed.state("paused"), SourceState::Paused);
    // Applying the same again changes nothing, applying it unpaused is a change.
    bed.ingest.resume(&bed.ctx, &name("paused")).expect("resumed");
    bed.until_rows("paused.a", 20).await;
    bed.apply("paused", "scripted", "script: paused");
    bed.until_state("paused", SourceState::Idle).await;
    assert_eq!(played.opened(), 2, "an unchanged resource does not disturb its source");
    let states: Vec<_> = bed
        .ingest
        .history(&bed.ctx, &name("paused"))
        .expect("exists")
        .iter()
        .map(|h| h.state)
        .rev()
        .collect();
    assert!(states.windows(2).any(|pair| pair == [SourceState::Idle, SourceState::Paused]), "{states:?}");
}

#[tokio::test]
async fn removing_a_source_cleans_up_and_a_new_one_starts_afresh() {
    let bed = Bed::new(TYPES).await;
    let played =
        script("gone", true, |_, _| vec![describe("a", &["n"]), dead_letter("x"), rows("a", &["n"], 1..=3)]);
    bed.apply("gone", "scripted", "script: gone");
    bed.until_state("gone", SourceState::Done).await;
    bed.ingest.remove(&bed.ctx, &name("gone"), true).await.expect("removed");
    assert_eq!(*played.removed.lock().expect("not poisoned"), 1);
    assert!(bed.ingest.statuses(&bed.ctx).is_empty());
    assert_eq!(bed.count("gone.a").await + bed.count("gone.dead_letters").await, 0);
    let error = bed.ingest.status(&bed.ctx, &name("gome")).expect_err("no such source");
    assert_eq!(error.kind(), FaultKind::NotFound);
    bed.apply("gone", "scripted", "script: gone");
    bed.until_state("gone", SourceState::Done).await;
    assert_eq!(bed.rows("gone.a").await, numbers(1..=3));
}

#[tokio::test]
async fn two_sources_cannot_write_one_table() {
    let bed = Bed::new(TYPES).await;
    for source in ["one", "two"] {
        script(source, true, |_, _| vec![describe("a", &["n"]), rows("a", &["n"], 1..=1)]);
        let mut instance = Bed::instance(source, "scripted", &format!("script: {source}"));
        instance.into = Some("shop".to_string());
        bed.ingest.apply(&bed.ctx, instance).expect("applied");
        bed.eventually("over", async || {
            matches!(bed.state(source), SourceState::Done | SourceState::BackingOff)
        })
        .await;
    }
    assert_eq!(bed.state("one"), SourceState::Done);
    let two = bed.ingest.status(&bed.ctx, &name("two")).expect("exists");
    assert!(two.message.expect("a message").contains("table `shop.a`, which source `one` writes"));
    bed.ingest.remove(&bed.ctx, &name("one"), true).await.expect("removed");
    bed.until_state("two", SourceState::Done).await;
}

#[tokio::test]
async fn a_topic_with_another_key_is_not_written_to() {
    let bed = Bed::new(TYPES).await;
    script("key", false, |opening, _| {
        let columns: &[&str] = if opening == 0 { &["n", "m"] } else { &["m", "n"] };
        vec![describe("a", columns), rows("a", columns, 1..=1)]
    });
    bed.apply("key", "scripted", "script: key");
    bed.until_rows("key.a", 1).await;
    bed.ingest.restart(&bed.ctx, &name("key")).expect("restarted");
    bed.until_state("key", SourceState::Failed).await;
    let summary = bed.ingest.status(&bed.ctx, &name("key")).expect("exists");
    assert!(summary.message.expect("a message").contains("key"));
    assert!(summary.hint.expect("a hint").contains("drop the topic"));
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_seen_and_named() {
    let bed = Bed::new(TYPES).await;
    bed.apply("typo", "scripted", "scirpt: x");
    assert_eq!(bed.state("typo"), SourceState::Failed);
    let summary = bed.ingest.status(&bed.ctx, &name("typo")).expect("exists");
    assert_eq!(summary.hint.as_deref(), Some("did you mean `script`?"));
    let error =
        bed.ingest.validate(&name("x"), "scriptd", crate::bed::yaml("script: x")).expect_err("no such type");
    assert_eq!(error.hint().as_deref(), Some("did you mean `scripted`?"));
    let report = bed.ingest.check(&bed.ctx, None, "scripted", crate::bed::yaml("scirpt: x")).await;
    assert!(!report.is_ok() && report.steps[0].detail.contains("scirpt"), "{report:?}");
}

#[tokio::test]
async fn shutdown_ends_also_a_source_that_hangs() {
    let bed = Bed::new(TYPES).await;
    script("hangs", false, |_, _| {
        vec![describe("a", &["n"]), rows("a", &["n"], 1..=1), crate::scripted::Step::Hang]
    });
    bed.apply("hangs", "scripted", "script: hangs");
    bed.until_rows("hangs.a", 1).await;
    tokio::time::timeout(Duration::from_secs(5), bed.ingest.shutdown()).await.expect("in time");
    let error =
        bed.ingest.apply(&bed.ctx, Bed::instance("x", "scripted", "script: hangs")).expect_err("stopped");
    assert_eq!(error.kind(), FaultKind::Unavailable);
    assert_eq!(bed.count("hangs.a").await, 1);
}
