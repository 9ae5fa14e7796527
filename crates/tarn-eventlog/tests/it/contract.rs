//! What every event log promises, stated over the port alone.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use tarn_core::{Fault, FaultKind, HumanDuration, RequestContext, TenantId, TopicName, TraceId};
use tarn_eventlog::{
    Append, Appended, EventLog, EventLogConfig, EventLogError, LogBatch, ReadLimits, Retention, TopicSpec,
};

use crate::rig::{Rig, context, ids, read_all, rows, small_segments, spec, state, topic};

type Log = Arc<dyn EventLog>;

async fn append(log: &Log, partition: u32, batch: RecordBatch) -> Appended {
    log.append(&context(), &topic(), partition, Append { batch, state: None }).await.unwrap()
}

async fn read(log: &Log, offset: u64, limits: ReadLimits) -> Result<Vec<LogBatch>, EventLogError> {
    log.read(&context(), &topic(), 0, offset, limits).await.map(|read| read.batches)
}

async fn rows_come_back_in_order_and_partitions_are_apart(log: Log) {
    log.create_topic(&context(), spec(2)).await.unwrap();
    assert_eq!(append(&log, 0, rows(0..3)).await, Appended { first_offset: 0, next_offset: 3 });
    assert_eq!(append(&log, 1, rows(100..101)).await, Appended { first_offset: 0, next_offset: 1 });
    assert_eq!(append(&log, 0, rows(3..10)).await, Appended { first_offset: 3, next_offset: 10 });
    let first = read_all(&*log, &context(), 0, 0).await.unwrap();
    assert_eq!(first.iter().flat_map(|one| ids(&one.batch)).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    let second = read_all(&*log, &context(), 1, 0).await.unwrap();
    assert_eq!(ids(&second[0].batch), [100]);
    let info = log.topic(&context(), &topic()).await.unwrap();
    assert_eq!(info.schema, Some(rows(0..1).schema()));
    assert_eq!((info.partitions[0].low_offset, info.partitions[0].high_offset), (0, 10));
}

async fn a_read_starts_within_a_batch_and_ends_at_its_limits(log: Log) {
    log.create_topic(&context(), spec(1)).await.unwrap();
    for start in [0, 10, 20] {
        append(&log, 0, rows(start..start + 10)).await;
    }
    let rest = read(&log, 7, ReadLimits { rows_max: 1, ..ReadLimits::default() }).await.unwrap();
    assert_eq!((rest.len(), rest[0].first_offset), (1, 7));
    assert_eq!(ids(&rest[0].batch), [7, 8, 9]);
    let two = read(&log, 0, ReadLimits { rows_max: 11, ..ReadLimits::default() }).await.unwrap();
    assert_eq!(two.len(), 2);
    let one = read(&log, 0, ReadLimits { bytes_max: 1, ..ReadLimits::default() }).await.unwrap();
    assert_eq!(one.len(), 1);
    assert!(read(&log, 30, ReadLimits::default()).await.unwrap().is_empty());
    let beyond = read(&log, 31, ReadLimits::default()).await.unwrap_err();
    assert!(matches!(beyond, EventLogError::OffsetOutOfRange { low: 0, high: 30, .. }), "{beyond}");
}

async fn a_tail_read_wakes_when_a_row_is_durable(log: Log) {
    log.create_topic(&context(), spec(1)).await.unwrap();
    let waiting = {
        let log = log.clone();
        let limits = ReadLimits { wait: Duration::from_secs(60), ..ReadLimits::default() };
        tokio::spawn(async move { read(&log, 0, limits).await.unwrap() })
    };
    tokio::task::yield_now().await;
    append(&log, 0, rows(0..2)).await;
    let found = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
    assert_eq!(ids(&found[0].batch), [0, 1]);
    let limits = ReadLimits { wait: Duration::from_millis(5), ..ReadLimits::default() };
    assert!(read(&log, 2, limits).await.unwrap().is_empty(), "ends when the wait is over");
}

async fn readers_are_told_where_source_transactions_end(log: Log) {
    log.create_topic(&context(), spec(1)).await.unwrap();
    let put = |producer: &'static str, minor: u64, open: bool, batch: RecordBatch| {
        let mut state = state(producer, minor);
        state.transaction_open = open;
        let log = log.clone();
        async move {
            let append = Append { batch, state: Some(state) };
            log.append(&context(), &topic(), 0, append).await.unwrap()
        }
    };
    put("shop", 1, true, rows(0..2)).await;
    // Another part of the source ends its own transaction, not that one.
    put("shop/snapshot-1", 1, false, rows(2..4)).await;
    put("shop", 2, true, rows(4..5)).await;
    let read = log.read(&context(), &topic(), 0, 0, ReadLimits::default()).await.unwrap();
    assert!(read.batches.iter().all(|batch| batch.transaction_open));
    assert_eq!((read.high_offset, read.settled_offset), (5, 0));
    let waiting = {
        let log = log.clone();
        let limits = ReadLimits { wait: Duration::from_secs(60), ..ReadLimits::default() };
        tokio::spawn(async move { log.read(&context(), &topic(), 0, 5, limits).await.unwrap() })
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    put("shop", 3, false, rows(0..0)).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
    assert_eq!((ended.batches.len(), ended.settled_offset), (0, 5), "an end without rows is told too");
    append(&log, 0, rows(5..6)).await;
    let read = log.read(&context(), &topic(), 0, 4, ReadLimits::default()).await.unwrap();
    assert_eq!(read.batches.iter().map(|batch| batch.transaction_open).collect::<Vec<_>>(), [true, false]);
    assert_eq!(read.settled_offset, 6);
}

async fn a_waiting_read_ends_with_its_caller(log: Log) {
    log.create_topic(&context(), spec(1)).await.unwrap();
    let ctx = context();
    ctx.cancel.cancel();
    let limits = ReadLimits { wait: Duration::from_secs(3600), ..ReadLimits::default() };
    let topic = topic();
    let read = log.read(&ctx, &topic, 0, 0, limits);
    let read = tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
    assert!(read.batches.is_empty());
}

async fn a_topic_is_made_once_and_takes_over_its_retention(log: Log) {
    log.create_topic(&context(), spec(2)).await.unwrap();
    let other = log.create_topic(&context(), spec(3)).await.unwrap_err();
    assert!(matches!(other, EventLogError::TopicConflict { .. }), "{other}");
    let keyless = TopicSpec { key: vec![], ..spec(2) };
    assert_eq!(log.create_topic(&context(), keyless).await.unwrap_err().kind(), FaultKind::Conflict);
    let retention = Retention { age: Some(HumanDuration::from_secs(60)), size: None };
    let kept =
        log.create_topic(&context(), TopicSpec { retention: retention.clone(), ..spec(2) }).await.unwrap();
    assert_eq!(kept.spec.retention, retention);
    assert_eq!(log.topic(&context(), &topic()).await.unwrap().spec.retention, retention);
    let none = log.create_topic(&context(), TopicSpec { name: name("none"), ..spec(0) }).await;
    assert_eq!(none.unwrap_err().kind(), FaultKind::Invalid);
}

fn name(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

async fn what_is_missing_is_named(log: Log) {
    log.create_topic(&context(), spec(1)).await.unwrap();
    let error = log.topic(&context(), &name("shop.public.order")).await.unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("did you mean `shop.public.orders`?"));
    let error =
        log.append(&context(), &topic(), 1, Append { batch: rows(0..1), state: None }).await.unwrap_err();
    assert!(matches!(error, EventLogError::PartitionNotFound { partition: 1, partitions: 1, .. }), "{error}");
}

async fn a_producer_state_grows_or_is_refused(log: Log) {
    log.create_topic(&context(), spec(2)).await.unwrap();
    let put = |minor: u64, partition: u32, batch: RecordBatch| {
        let append = Append { batch, state: Some(state("shop", minor)) };
        let log = log.clone();
        async move { log.append(&context(), &topic(), partition, append).await }
    };
    put(5, 0, rows(0..2)).await.unwrap();
    let again = put(5, 0, rows(0..2)).await.unwrap_err();
    assert!(matches!(again, EventLogError::StaleProducer { .. }), "{again}");
    assert_eq!(put(4, 0, rows(0..2)).await.unwrap_err().kind(), FaultKind::Conflict);
    put(1, 1, rows(0..1)).await.unwrap();
    let alone = put(9, 0, rows(0..0)).await.unwrap();
    assert_eq!(alone, Appended { first_offset: 2, next_offset: 2 });
    let stored = log.producer_state(&context(), &topic(), 0, "shop").await.unwrap();
    assert_eq!(stored, Some(state("shop", 9)));
    assert_eq!(log.producer_state(&context(), &topic(), 0, "other").await.unwrap(), None);
    assert_eq!(read_all(&*log, &context(), 0, 0).await.unwrap().len(), 1, "refused rows are not kept");
    let mut long = state("shop", 10);
    long.note = vec![0; (1 << 20) + 1];
    let long = log.append(&context(), &topic(), 0, Append { batch: rows(0..1), state: Some(long) }).await;
    assert_eq!(long.unwrap_err().kind(), FaultKind::Invalid);
}

async fn positions_are_kept_per_consumer_and_partition(log: Log) {
    log.create_topic(&context(), spec(2)).await.unwrap();
    append(&log, 0, rows(0..5)).await;
    append(&log, 1, rows(0..5)).await;
    let put = |consumer: &'static str, partition: u32, offset: u64| {
        let log = log.clone();
        async move { log.commit_position(&context(), &topic(), partition, consumer, offset).await }
    };
    put("table", 0, 3).await.unwrap();
    put("table", 1, 5).await.unwrap();
    put("flow", 0, 1).await.unwrap();
    put("table", 0, 4).await.unwrap();
    let stored = log.positions(&context(), &topic()).await.unwrap();
    let stored: Vec<_> =
        stored.iter().map(|one| (one.consumer.as_str(), one.partition, one.offset)).collect();
    assert_eq!(stored, [("flow", 0, 1), ("table", 0, 4), ("table", 1, 5)]);
    assert_eq!(put("table", 0, 6).await.unwrap_err().kind(), FaultKind::Invalid);
    assert_eq!(put("", 0, 1).await.unwrap_err().kind(), FaultKind::Invalid);
}

async fn tenants_do_not_see_each_other(log: Log) {
    let other = RequestContext::system(TenantId::new("../other"), TraceId(2));
    log.create_topic(&context(), spec(1)).await.unwrap();
    append(&log, 0, rows(0..1)).await;
    assert!(log.topics(&other).await.unwrap().is_empty());
    assert_eq!(log.topic(&other, &topic()).await.unwrap_err().kind(), FaultKind::NotFound);
    log.create_topic(&other, spec(1)).await.unwrap();
    log.append(&other, &topic(), 0, Append { batch: rows(50..52), state: None }).await.unwrap();
    assert_eq!(ids(&read_all(&*log, &context(), 0, 0).await.unwrap()[0].batch), [0]);
    assert_eq!(ids(&read_all(&*log, &other, 0, 0).await.unwrap()[0].batch), [50, 51]);
}

async fn a_dropped_topic_is_gone_and_may_come_back_empty(log: Log) {
    log.create_topic(&context(), spec(1)).await.unwrap();
    append(&log, 0, rows(0..4)).await;
    let waiting = {
        let log = log.clone();
        let limits = ReadLimits { wait: Duration::from_secs(60), ..ReadLimits::default() };
        tokio::spawn(async move { read(&log, 4, limits).await })
    };
    tokio::task::yield_now().await;
    log.drop_topic(&context(), &topic()).await.unwrap();
    let woken = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
    assert_eq!(woken.unwrap_err().kind(), FaultKind::NotFound);
    assert_eq!(log.drop_topic(&context(), &topic()).await.unwrap_err().kind(), FaultKind::NotFound);
    assert!(log.topics(&context()).await.unwrap().is_empty());
    log.create_topic(&context(), spec(1)).await.unwrap();
    assert_eq!(append(&log, 0, rows(0..1)).await.first_offset, 0);
}

async fn a_batch_without_columns_is_refused_and_an_empty_one_is_nothing(log: Log) {
    log.create_topic(&context(), spec(1)).await.unwrap();
    append(&log, 0, rows(0..2)).await;
    assert_eq!(append(&log, 0, rows(0..0)).await, Appended { first_offset: 2, next_offset: 2 });
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(3));
    let bare = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    let refused = log.append(&context(), &topic(), 0, Append { batch: bare, state: None }).await;
    assert_eq!(refused.unwrap_err().kind(), FaultKind::Invalid);
}

macro_rules! embedded_log {
    ($($rule:ident)*) => {$(
        mod $rule {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn with_large_segments() {
                check(EventLogConfig::default()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn with_small_segments() {
                check(small_segments()).await;
            }

            async fn check(config: EventLogConfig) {
                let rig = Rig::new(config).await;
                rig.log.drop_topic(&rig.ctx, &topic()).await.unwrap();
                super::$rule(rig.log.clone()).await;
                rig.log.close().await;
            }
        }
    )*};
}

embedded_log! {
    rows_come_back_in_order_and_partitions_are_apart
    a_read_starts_within_a_batch_and_ends_at_its_limits
    a_tail_read_wakes_when_a_row_is_durable
    readers_are_told_where_source_transactions_end
    a_waiting_read_ends_with_its_caller
    a_topic_is_made_once_and_takes_over_its_retention
    what_is_missing_is_named
    a_producer_state_grows_or_is_refused
    positions_are_kept_per_consumer_and_partition
    tenants_do_not_see_each_other
    a_dropped_topic_is_gone_and_may_come_back_empty
    a_batch_without_columns_is_refused_and_an_empty_one_is_nothing
}
