//! Work beside the sink: one flush, compaction or expiry at a time, while changes go on being applied.

use std::sync::Arc;
use std::time::Duration;

use tarn_core::{FaultReport, RequestContext};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::compact::Compacted;
use super::expire::Expired;
use super::flush::{Flush, Flushed, JobFault, thaw};
use super::open::Open;
use super::{BACK_OFF, Sink, TAIL_WAIT, is_conflict};
use crate::error::LakehouseError;
use crate::service::RunFigures;

/// After so long without a change, what waits is committed, unless the last commit was a short time ago.
const QUIET: Duration = Duration::from_secs(1);
/// Time between two commits that are made because somebody asks, such as engines that load the table for each query.
const ASKED_PAUSE: Duration = Duration::from_millis(200);
/// How long the last flush of a table that is no longer fed may take.
const LAST_FLUSH_MAX: Duration = Duration::from_secs(30);

/// What came of the work.
pub(super) enum Done {
    Flush(Result<Flushed, JobFault>),
    Compact(Result<Compacted, JobFault>),
    Expire(Result<Option<Expired>, JobFault>),
    Orphans(Result<Option<RunFigures>, LakehouseError>),
}

/// Work under way. Dropped, it stops, and whether it committed is open.
pub(super) struct Running {
    task: AbortOnDropHandle<Done>,
    kind: Kind,
    give_way: Option<CancellationToken>,
}

impl Running {
    /// Makes a service that nobody waits for end early.
    fn give_way(&self) {
        if let Some(token) = &self.give_way {
            token.cancel();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Flush,
    Compact,
    Expire,
    Orphans,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Flush => "flush",
            Self::Compact => "compact",
            Self::Expire => "expire",
            Self::Orphans => "remove orphans",
        }
    }
}

/// The end of the work under way; waits forever without any.
pub(super) async fn finished(job: &mut Option<Running>) -> Done {
    let Some(running) = job else { return std::future::pending().await };
    let (outcome, kind) = ((&mut running.task).await, running.kind);
    *job = None;
    outcome.unwrap_or_else(|error| {
        let fault =
            JobFault::Commit(LakehouseError::Invalid { what: format!("work on a table ended: {error}") });
        match kind {
            Kind::Flush => Done::Flush(Err(fault)),
            Kind::Compact => Done::Compact(Err(fault)),
            Kind::Expire => Done::Expire(Err(fault)),
            Kind::Orphans => Done::Orphans(Ok(None)),
        }
    })
}

impl Sink {
    /// How long to wait for changes before something else may be due.
    pub(super) fn wait_for(&self, open: &Open) -> Duration {
        let now = self.context.env.clock.instant();
        let left = |since, time: Duration| time.saturating_sub(now.saturating_duration_since(since));
        let mut wait = TAIL_WAIT;
        if open.job.is_none() && open.flush_failed.is_none() && open.settled {
            if let Some(since) = open.since {
                wait = wait.min(left(since, self.context.config.freshness.0));
            }
            if let (true, Some(flushed)) = (self.is_asked(open), open.flushed) {
                wait = wait.min(left(flushed, ASKED_PAUSE));
            }
            if let (true, Some(touched)) = (self.may_be_early(open), open.touched) {
                wait = wait.min(left(touched, QUIET));
            }
        }
        wait.max(Duration::from_millis(1))
    }

    /// Whether there is room for more rows in memory.
    pub(super) fn may_read(&self, open: &Open) -> bool {
        let own = (open.state.rows.bytes() as u64) < self.context.config.flush_bytes.0.saturating_mul(2);
        own && !open.share.is_spent()
    }

    /// Whether the last commit was long enough ago for one that is made because nothing more comes.
    fn may_be_early(&self, open: &Open) -> bool {
        let now = self.context.env.clock.instant();
        open.since.is_some()
            && open
                .flushed
                .is_none_or(|last| now.saturating_duration_since(last) >= self.context.config.freshness.0)
    }

    fn is_flush_due(&self, open: &Open) -> bool {
        let now = self.context.env.clock.instant();
        let past = |since, time: Duration| now.saturating_duration_since(since) >= time;
        let config = &self.context.config;
        let (rows, bytes) = (open.state.rows.live_rows(), open.state.rows.bytes() as u64);
        let is_full = rows >= config.flush_rows || bytes >= config.flush_bytes.0 || open.share.is_tight();
        let is_paused = open.flush_failed.is_some_and(|(at, pause)| !past(at, pause));
        if open.offset == open.committed_offset || is_paused {
            return false;
        }
        if !open.settled {
            return !self.may_read(open);
        }
        is_full
            || open.state.is_staged()
            || !self.compact_asked.is_empty()
            || (self.is_asked(open) && open.flushed.is_none_or(|at| past(at, ASKED_PAUSE)))
            || open.since.is_some_and(|since| past(since, config.freshness.0))
            || (self.may_be_early(open) && open.touched.is_some_and(|touched| past(touched, QUIET)))
    }

    /// Whether somebody waits for a commit.
    fn is_asked(&self, open: &Open) -> bool {
        self.flush_asked.iter().any(|(offset, _)| *offset > open.committed_offset)
    }

    /// Starts what is due, if nothing is under way.
    pub(super) fn start_job(&mut self, open: &mut Open) {
        if let Some(running) = &open.job {
            // Rows wait for memory: a service begins anew when they are committed.
            if !self.may_read(open) && self.is_flush_due(open) {
                running.give_way();
            }
            return;
        }
        if self.is_flush_due(open) {
            // Of a source transaction that does not fit in memory, rows wait in files for its end.
            return self.start_flush(open, open.settled);
        }
        self.start_service(open);
    }

    fn start_flush(&mut self, open: &mut Open, commits: bool) {
        let work = Flush::begin(&mut open.state, commits.then_some(open.offset), open.touched_ms);
        if commits {
            // Changes from now on wait for the next commit.
            open.since = None;
        }
        let (committer, ctx, topic) =
            (self.committer.clone(), self.context.ctx.clone(), self.spec.topic.clone());
        let task = async move { Done::Flush(work.run(&committer, &ctx, &topic).await) };
        self.spawn(open, Kind::Flush, None, task);
    }

    /// Starts work. `give_way`: makes it end early.
    pub(super) fn spawn(
        &self,
        open: &mut Open,
        kind: Kind,
        give_way: Option<CancellationToken>,
        task: impl Future<Output = Done> + Send + 'static,
    ) {
        let task = AbortOnDropHandle::new(self.context.env.spawner.spawn(task));
        self.status.lock().work = Some(kind.name());
        open.job = Some(Running { task, kind, give_way });
    }

    /// Takes over what came of the work. Errors: the state has to be opened again.
    pub(super) fn finish_job(
        &mut self,
        open: &mut Open,
        done: Done,
        pause: &mut Duration,
    ) -> Result<(), LakehouseError> {
        let now = self.context.env.clock.instant();
        match done {
            Done::Flush(Ok(flushed)) => {
                *pause = BACK_OFF.0;
                open.flush_failed = None;
                if let Some(offset) = flushed.offset {
                    open.flushed = Some(now);
                    self.note_flush(open, offset);
                }
                self.status.lock().rows += flushed.written;
                flushed.adopt(&mut open.state)?;
            }
            Done::Flush(Err(JobFault::Before(error))) => {
                self.put_off_flush(open, error);
                return Ok(());
            }
            Done::Flush(Err(JobFault::Commit(error))) => return Err(error),
            Done::Compact(Ok(compacted)) => {
                if compacted.is_empty() {
                    open.service_failed = Some(now);
                }
                let is_partial = compacted.is_partial;
                let report = compacted.adopt(&mut open.state)?;
                let mut status = self.status.lock();
                status.compactions += 1;
                status.last_compaction = Some(report);
                drop(status);
                // Whoever tidies up means this too.
                if let Some(asked) = self.compact_asked.first() {
                    open.orphans_due = now;
                    open.orphans_asked = Some(asked.trigger);
                }
                if !is_partial {
                    self.answer_compact(&Ok(report));
                }
            }
            Done::Expire(Ok(Some(expired))) => {
                let committed = expired.committed;
                open.state.adopt(committed.view, committed.delete_files)?;
            }
            Done::Expire(Ok(None)) => open.service_failed = Some(now),
            Done::Orphans(outcome) => {
                if let Err(error) = outcome {
                    tracing::warn!(table = %self.spec.table, error = tarn_core::chain_text(&error), "orphans stay");
                }
                return Ok(());
            }
            Done::Compact(Err(JobFault::Before(error))) | Done::Expire(Err(JobFault::Before(error))) => {
                tracing::warn!(table = %self.spec.table, error = tarn_core::chain_text(&error), "upkeep is put off");
                open.service_failed = Some(now);
                self.answer_compact(&Err(error));
                return Ok(());
            }
            Done::Compact(Err(JobFault::Commit(error))) | Done::Expire(Err(JobFault::Commit(error))) => {
                self.answer_compact(&Err(LakehouseError::CommitFailed {
                    table: self.spec.table.to_string(),
                    what: "another writer changed the table during a compaction".into(),
                }));
                return Err(error);
            }
        }
        open.is_unkept = true;
        open.share.set(open.held().1);
        // Also where nothing new can be shown yet.
        {
            let mut status = self.status.lock();
            (status.hot_rows, status.hot_bytes) = open.held();
        }
        open.is_changed = true;
        self.show(open);
        self.answer_flushed(open);
        Ok(())
    }

    /// A flush did not come about. Nothing is lost: the rows stay in memory and seen, and it is tried again.
    fn put_off_flush(&mut self, open: &mut Open, error: LakehouseError) {
        tracing::warn!(table = %self.spec.table, error = tarn_core::chain_text(&error), "rows wait in memory");
        self.status.lock().fault = Some(FaultReport::of(&error));
        thaw(&mut open.state);
        let now = self.context.env.clock.instant();
        let waited = open.flush_failed.map_or(BACK_OFF.0, |(_, waited)| (waited * 2).min(BACK_OFF.1));
        open.flush_failed = Some((now, waited));
        open.since.get_or_insert(now);
        self.answer_compact(&Err(error));
    }

    fn note_flush(&self, open: &mut Open, offset: u64) {
        open.committed_offset = offset;
        let mut status = self.status.lock();
        status.committed_offset = offset;
        status.committed_ms = Some(self.context.env.clock.now_ms());
        status.fault = None;
        status.commits += 1;
        drop(status);
        // For people who ask who reads the topic; the table's own offset is what counts.
        let (ctx, log) = (self.context.ctx.clone(), Arc::clone(&self.context.log));
        let (topic, table) = (self.spec.topic.clone(), self.spec.table.clone());
        drop(self.context.env.spawner.spawn(async move {
            let consumer = format!("table {table}");
            if let Err(error) = log.commit_position(&ctx, &topic, 0, &consumer, offset).await {
                tracing::debug!(%table, %error, "the position in the topic is not shown");
            }
        }));
    }

    /// Waits until nothing is under way. Errors: the state has to be opened again.
    pub(super) async fn wait_for_job(&mut self, open: &mut Open) -> Result<(), LakehouseError> {
        if open.job.is_some() {
            let done = finished(&mut open.job).await;
            let finished = self.finish_job(open, done, &mut BACK_OFF.0.clone());
            open.is_broken |= finished.is_err();
            finished?;
        }
        Ok(())
    }

    /// Commits everything that is applied, the rows of an unfinished source transaction too. Returns whether that came about;
    /// else the rows wait in memory. Errors: the state has to be opened again.
    pub(super) async fn try_flush(&mut self, open: &mut Open) -> Result<bool, LakehouseError> {
        self.wait_for_job(open).await?;
        if open.offset == open.committed_offset && !open.state.is_ahead() {
            return Ok(true);
        }
        self.start_flush(open, true);
        self.wait_for_job(open).await?;
        Ok(open.flush_failed.is_none())
    }

    /// The same for whoever cannot go on without. Errors: it could not be.
    pub(super) async fn flush_now(&mut self, open: &mut Open) -> Result<(), LakehouseError> {
        if !self.try_flush(open).await? {
            let cause = self.status.lock().fault.as_ref().map(|fault| fault.message.clone());
            let cause = cause.unwrap_or_else(|| "see the log".into());
            let what = format!("rows of table `{}` cannot be committed: {cause}", self.spec.table);
            return Err(LakehouseError::Invalid { what });
        }
        Ok(())
    }

    /// Commits what is in memory of a table that is no longer fed.
    pub(super) async fn flush_last(&mut self, mut open: Open) {
        let ctx = RequestContext { cancel: CancellationToken::new(), ..self.context.ctx.clone() };
        self.context.ctx = ctx;
        if !open.settled {
            return;
        }
        let clock = self.context.env.clock.clone();
        let flushed = tokio::select! {
            flushed = self.flush_now(&mut open) => flushed,
            () = clock.sleep(LAST_FLUSH_MAX) => return,
        };
        match flushed {
            Err(error) if !is_conflict(&error) => {
                tracing::warn!(table = %self.spec.table, %error, "the last rows are in the topic only");
            }
            _ => {}
        }
    }
}
