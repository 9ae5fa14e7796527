//! Group commit: appends of all partitions that arrive together share one round of disk flushes.
//!
//! A round is due when every append under way is queued (waiting longer would gain nothing), when enough bytes are
//! queued, or when the interval since the first queued append is over. While a round runs, the next one gathers. The
//! task that runs rounds lives only while there is something to write.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use parking_lot::Mutex;
use tarn_core::Env;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::partition::{Partition, Pending};
use super::topics::Topics;
use crate::error::EventLogError;

/// Files flushed at the same time; file systems merge such flushes into one write of their journal.
const FLUSHES_MAX: usize = 16;
/// Bytes that may wait to become durable; appends beyond it wait for room.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Unit in which the queue's bytes are shared out.
const SHARE_BYTES: usize = 1 << 10;

#[derive(Debug, Default)]
struct Round {
    /// Partitions with queued appends, each once.
    dirty: Vec<Arc<Partition>>,
    bytes: u64,
    queued_at: Option<Instant>,
    is_running: bool,
    is_closed: bool,
}

/// Gathers appends and commits them in rounds.
#[derive(Debug)]
pub(super) struct Committer {
    env: Env,
    /// Keeps the folder locked until the last round is over.
    _topics: Arc<Topics>,
    interval: Duration,
    round_bytes: u64,
    arriving: AtomicUsize,
    round: Mutex<Round>,
    /// A round may have become due.
    changed: Notify,
    /// The task ended.
    idle: Notify,
    room: Arc<Semaphore>,
}

/// An append under way that is not queued yet; rounds wait a little for it.
#[derive(Debug)]
pub(super) struct Arrival(Arc<Committer>);

impl Drop for Arrival {
    fn drop(&mut self) {
        if self.0.arriving.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_one();
        }
    }
}

impl Committer {
    pub(super) fn new(env: Env, topics: Arc<Topics>, interval: Duration, round_bytes: u64) -> Self {
        Self {
            env,
            _topics: topics,
            interval,
            round_bytes,
            arriving: AtomicUsize::new(0),
            round: Mutex::default(),
            changed: Notify::new(),
            idle: Notify::new(),
            room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX / SHARE_BYTES)),
        }
    }

    /// Announces an append.
    pub(super) fn arrive(self: &Arc<Self>) -> Arrival {
        self.arriving.fetch_add(1, Ordering::AcqRel);
        Arrival(self.clone())
    }

    /// Waits for room in the queue. Errors: `Closed`.
    pub(super) async fn share(&self, bytes: u64) -> Result<OwnedSemaphorePermit, EventLogError> {
        let shares = usize::try_from(bytes).unwrap_or(usize::MAX) / SHARE_BYTES + 1;
        // The cap fits and lets a frame longer than the queue through on its own.
        let shares = shares.min(QUEUE_BYTES_MAX / SHARE_BYTES) as u32;
        self.room.clone().acquire_many_owned(shares).await.map_err(|_| EventLogError::Closed)
    }

    /// Takes room in the queue where it is free at once.
    pub(super) fn share_now(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let shares = usize::try_from(bytes).unwrap_or(usize::MAX) / SHARE_BYTES + 1;
        self.room.clone().try_acquire_many_owned(shares.min(QUEUE_BYTES_MAX / SHARE_BYTES) as u32).ok()
    }

    /// Queues an append; its reply comes when it is durable. Errors: `Closed`.
    pub(super) fn enqueue(
        self: &Arc<Self>,
        partition: &Arc<Partition>,
        pending: Pending,
    ) -> Result<(), EventLogError> {
        let mut round = self.round.lock();
        if round.is_closed {
            return Err(EventLogError::Closed);
        }
        round.bytes += pending.frame.len();
        let mut queue = partition.queue.lock();
        if queue.is_empty() {
            round.dirty.push(partition.clone());
        }
        queue.push(pending);
        drop(queue);
        if round.queued_at.is_none() {
            round.queued_at = Some(self.env.clock.instant());
        }
        if round.is_running {
            if round.bytes >= self.round_bytes {
                self.changed.notify_one();
            }
        } else {
            round.is_running = true;
            let committer = self.clone();
            self.env.spawner.spawn(async move { committer.run().await });
        }
        Ok(())
    }

    /// Refuses further appends and waits until all queued ones are durable.
    pub(super) async fn close(&self) {
        self.round.lock().is_closed = true;
        self.room.close();
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if !self.round.lock().is_running {
                return;
            }
            idle.await;
        }
    }

    async fn run(&self) {
        loop {
            self.gather().await;
            let dirty = {
                let mut round = self.round.lock();
                round.bytes = 0;
                round.queued_at = None;
                round.is_running = !round.dirty.is_empty();
                std::mem::take(&mut round.dirty)
            };
            if dirty.is_empty() {
                self.idle.notify_waiters();
                return;
            }
            let commits = dirty.into_iter().map(|partition| {
                let work = self.env.spawner.spawn_blocking(move || partition.commit());
                async move {
                    if let Err(error) = work.await {
                        // Those who wait are told by their dropped reply.
                        tracing::error!(%error, "commit ended early");
                    }
                }
            });
            futures::stream::iter(commits).buffer_unordered(FLUSHES_MAX).for_each(|()| async {}).await;
        }
    }

    /// Waits until a round is due.
    async fn gather(&self) {
        loop {
            let (bytes, queued_at) = {
                let round = self.round.lock();
                (round.bytes, round.queued_at)
            };
            let Some(queued_at) = queued_at else { return };
            let waited = self.env.clock.instant().saturating_duration_since(queued_at);
            let is_gathered = self.arriving.load(Ordering::Acquire) == 0 || bytes >= self.round_bytes;
            if is_gathered || waited >= self.interval {
                return;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = self.env.clock.sleep(self.interval - waited) => {}
            }
        }
    }
}
