//! The life of a query: limits, cancelling, the list.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::Int64Array;
use futures::StreamExt;
use iceberg::spec::PrimitiveType;
use parking_lot::Mutex;
use tarn_core::{ByteSize, Fault, FaultKind, HumanDuration, Principal, RequestContext, Role, TenantId};
use tarn_query::{
    LatencySummary, QueryConfig, QueryError, QueryObserver, QueryOptions, QueryOutcome, QueryState,
};

use crate::lake::{FileOptions, Lake, Table, config, context, engine, engine_with, fails, field, run};
use crate::oracle::rows_of;

/// Runs for hours.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 100000000) a CROSS JOIN generate_series(1, 1000000) b WHERE a.value < b.value";

async fn lake() -> Arc<Lake> {
    let mut table = Table::new("main.t", vec![field(1, "id", PrimitiveType::Long)]);
    let batch = table.batch(vec![Arc::new(Int64Array::from((0..5_000).collect::<Vec<i64>>()))]);
    table.add(&batch, FileOptions::default()).await;
    let lake = Arc::new(Lake::default());
    lake.put(table.view());
    lake
}

fn options() -> QueryOptions {
    QueryOptions::default()
}

#[tokio::test]
async fn a_row_limit_cuts_and_says_so() {
    let session = engine(&lake().await).session(&context());
    for (rows_max, rows, truncated) in
        [(0, 0, true), (10, 10, true), (4_999, 4_999, true), (5_000, 5_000, false)]
    {
        let options = QueryOptions { rows_max: Some(rows_max), ..options() };
        let stream = session.execute("SELECT id FROM t", options).await.unwrap();
        let stats = stream.stats();
        let batches = stream.collect().await.unwrap();
        assert_eq!(rows_of(&batches).len(), rows);
        let stats = stats.get();
        assert_eq!((stats.rows, stats.truncated), (rows as u64, truncated), "limit {rows_max}");
    }
    let options = QueryOptions { rows_max: Some(3), ..options() };
    let stream = session.execute("SELECT id FROM t ORDER BY id DESC", options).await.unwrap();
    assert_eq!(rows_of(&stream.collect().await.unwrap()), ["4997", "4998", "4999"]);
}

/// Joins of all rows with all, which keep a thread busy and let none of the others in.
const GREEDY: [&str; 3] = [
    "SELECT count(*) FROM generate_series(1, 40000) a CROSS JOIN generate_series(1, 40000) b CROSS JOIN \
     generate_series(1, 40000) c WHERE a.value + b.value + c.value = -1",
    "SELECT count(*) FROM generate_series(1, 40000) a JOIN generate_series(1, 40000) b ON a.value * b.value < 0",
    "SELECT count(*) FROM generate_series(1, 40000) a JOIN generate_series(1, 40000) b ON a.value % 2 = b.value % \
     2 WHERE a.value + b.value = -1",
];

#[tokio::test]
async fn greedy_queries_leave_the_callers_thread_alone_and_end_when_they_are_cancelled() {
    let engine = engine(&lake().await);
    for sql in GREEDY {
        let mut running = Vec::new();
        // More than there are threads for queries.
        for n in 0..4 {
            let options = QueryOptions { query_id: Some(format!("greedy-{n}")), ..options() };
            let stream = engine.session(&context()).execute(sql, options).await.unwrap();
            running.push(Box::pin(stream.collect()));
        }
        // This test has one thread: it goes on although none of them ends.
        for query in &mut running {
            assert!(futures::poll!(query).is_pending());
        }
        for n in 0..4 {
            engine.cancel(&context(), &format!("greedy-{n}")).unwrap();
        }
        for query in running {
            assert!(matches!(query.await, Err(QueryError::Cancelled { .. })), "{sql}");
        }
        // The threads are free again.
        let small = engine.session(&context()).execute("SELECT max(id) FROM t", options()).await.unwrap();
        assert_eq!(rows_of(&small.collect().await.unwrap()), ["4999"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_ends_at_its_time_limit() {
    let session = engine(&lake().await).session(&context());
    let started = Instant::now();
    let options = QueryOptions { timeout: Some(Duration::from_millis(200)), ..options() };
    let stream = session.execute(ENDLESS, options).await.unwrap();
    let error = stream.collect().await.unwrap_err();
    assert!(matches!(error, QueryError::TimedOut { .. }), "{error:?}");
    assert_eq!(error.kind(), FaultKind::Exhausted);
    assert!(started.elapsed() < Duration::from_secs(10), "took {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_deadline_holds_while_planning_too() {
    let lake = lake().await;
    *lake.delay.lock() = Some(Duration::from_secs(60));
    let deadline = Instant::now() + Duration::from_millis(100);
    let session = engine(&lake).session(&context().with_deadline(deadline));
    let error = fails(&session, "SELECT * FROM t").await;
    assert!(matches!(error, QueryError::TimedOut { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_is_cancelled_by_its_id_and_listed() {
    let engine = engine(&lake().await);
    let ctx = context();
    let options = QueryOptions { query_id: Some("mine".into()), ..options() };
    let mut stream = engine.session(&ctx).execute(ENDLESS, options.clone()).await.unwrap();
    assert_eq!(stream.query_id(), "mine");
    let listed = engine.queries(&ctx);
    assert_eq!((listed.len(), listed[0].state), (1, QueryState::Running));
    let again = engine.session(&ctx).execute("SELECT 1", options).await.unwrap_err();
    assert!(matches!(again, QueryError::QueryIdInUse { .. }));
    let mut stranger = ctx.clone();
    stranger.principal = Principal { name: "eve".into(), role: Role::Viewer };
    assert!(engine.cancel(&stranger, "mine").is_err(), "someone else's query");
    let mut other_tenant = ctx.clone();
    other_tenant.tenant = TenantId::new("other");
    assert!(engine.cancel(&other_tenant, "mine").is_err() && engine.queries(&other_tenant).is_empty());
    let canceller = engine.clone();
    let by = ctx.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        canceller.cancel(&by, "mine").unwrap();
    });
    let error = stream.next().await.unwrap().unwrap_err();
    assert!(matches!(error, QueryError::Cancelled { .. }), "{error:?}");
    assert!(stream.next().await.is_none());
    let listed = engine.queries(&ctx);
    assert_eq!(listed[0].state, QueryState::Cancelled);
    assert!(matches!(engine.cancel(&ctx, "mine"), Err(QueryError::QueryNotFound { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_stops_the_query() {
    let engine = engine(&lake().await);
    let ctx = context();
    let stream = engine.session(&ctx).execute(ENDLESS, options()).await.unwrap();
    drop(stream);
    assert_eq!(engine.queries(&ctx)[0].state, QueryState::Cancelled);
    let stream = engine.session(&ctx).execute(ENDLESS, options()).await.unwrap();
    ctx.cancel.cancel();
    assert!(matches!(stream.collect().await, Err(QueryError::Cancelled { .. })));
}

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<QueryOutcome>>);

impl QueryObserver for Seen {
    fn finished(&self, outcome: &QueryOutcome) {
        self.0.lock().push(outcome.clone());
    }
}

#[tokio::test]
async fn ended_queries_are_listed_observed_and_timed() {
    let engine = engine(&lake().await);
    let ctx = context();
    let seen = Arc::new(Seen::default());
    engine.observe(Arc::clone(&seen) as Arc<dyn QueryObserver>);
    let session = engine.session(&ctx);
    run(&session, "SELECT id FROM t WHERE id < 10").await;
    fails(&session, "SELECT nothing FROM t").await;
    let listed = engine.queries(&ctx);
    assert_eq!(
        listed.iter().map(|record| record.state).collect::<Vec<_>>(),
        [QueryState::Failed, QueryState::Done]
    );
    assert_eq!(listed[1].rows, 10);
    assert!(listed[0].message.as_deref().unwrap().contains("nothing"));
    let outcomes = seen.0.lock().clone();
    assert_eq!(outcomes[0].stats.scan.files_scanned, 1);
    assert!(outcomes[0].stats.scan.bytes_scanned > 0 && outcomes[0].stats.planning_ms > 0.0);
    let latency = engine.latency(&ctx);
    assert_eq!(latency.running, 0);
    assert!(latency.p50_ms > 0.0 && latency.p99_ms >= latency.p50_ms);
    let other = RequestContext::system(TenantId::new("other"), ctx.trace);
    assert_eq!(engine.latency(&other), LatencySummary::default(), "of another tenant nothing is told");
    for _ in 0..150 {
        run(&session, "SELECT 1").await;
    }
    assert_eq!(engine.queries(&ctx).len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_wait_for_a_place_and_give_up_after_a_while() {
    let config = QueryConfig {
        concurrent_max: 1,
        queue_timeout: HumanDuration(Duration::from_millis(100)),
        ..config()
    };
    let engine = engine_with(&lake().await, config);
    let session = engine.session(&context());
    let running = session.execute(ENDLESS, options()).await.unwrap();
    let error = fails(&session, "SELECT 1").await;
    assert!(matches!(error, QueryError::TooManyQueries { .. }), "{error:?}");
    drop(running);
    run(&session, "SELECT 1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_limited_for_all_and_sorts_spill_to_disk() {
    let folder = tempfile::tempdir().unwrap();
    let config = QueryConfig {
        memory: ByteSize(24 << 20),
        spill_folder: folder.path().display().to_string(),
        parallelism: 2,
        ..config()
    };
    let engine = engine_with(&lake().await, config);
    let session = engine.session(&context());
    let sort = "SELECT count(*), max(v) FROM (SELECT value % 9973 AS v, row_number() OVER (ORDER BY value % 9973, value) \
                AS n FROM generate_series(1, 2000000)) WHERE n % 2 = 0";
    let (batches, _) = run(&session, sort).await;
    assert_eq!(rows_of(&batches), ["1000000 | 9972"]);
    let hash = "SELECT count(*) FROM generate_series(1, 3000000) a JOIN generate_series(1, 3000000) b ON a.value = b.value";
    let error = fails(&session, hash).await;
    assert!(matches!(error, QueryError::MemoryExhausted { .. }), "{error:?}");
    assert_eq!(error.kind(), FaultKind::Exhausted);
    let until = Instant::now() + Duration::from_secs(20);
    while engine.memory_reserved() > 0 {
        assert!(Instant::now() < until, "{} bytes were not given back", engine.memory_reserved());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
