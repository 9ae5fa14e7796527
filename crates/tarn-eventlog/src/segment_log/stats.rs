//! What was written since the log was opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tarn_core::{TenantId, TopicName};

/// Counters of a topic; those of the log are their sum.
#[derive(Debug, Default)]
pub(super) struct Counters {
    rows: AtomicU64,
    bytes: AtomicU64,
    flushes: AtomicU64,
    total: Option<Arc<Counters>>,
}

impl Counters {
    /// Counters that also count into `total`.
    pub(super) fn within(total: Arc<Self>) -> Self {
        Self { total: Some(total), ..Self::default() }
    }

    pub(super) fn appended(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(total) = &self.total {
            total.appended(rows, bytes);
        }
    }

    pub(super) fn flushed(&self) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        if let Some(total) = &self.total {
            total.flushed();
        }
    }

    pub(super) fn log_stats(&self, topics: Vec<TopicStats>) -> LogStats {
        LogStats {
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            flushes: self.flushes.load(Ordering::Relaxed),
            topics,
        }
    }

    pub(super) fn topic_stats(&self, tenant: &TenantId, topic: &TopicName) -> TopicStats {
        TopicStats {
            tenant: tenant.clone(),
            topic: topic.clone(),
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// What was written since the log was opened.
#[derive(Clone, Debug, Serialize)]
pub struct LogStats {
    /// Rows made durable.
    pub rows: u64,
    /// Bytes made durable, with headers and after compression.
    pub bytes: u64,
    /// Disk flushes of segment files.
    pub flushes: u64,
    /// One entry per topic that exists now, by tenant and name.
    pub topics: Vec<TopicStats>,
}

/// What was written to a topic since the log was opened.
#[derive(Clone, Debug, Serialize)]
pub struct TopicStats {
    /// Whose topic.
    pub tenant: TenantId,
    /// Its name.
    pub topic: TopicName,
    /// Rows made durable.
    pub rows: u64,
    /// Bytes made durable, with headers and after compression.
    pub bytes: u64,
}
