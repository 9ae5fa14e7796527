//! The sink of a table: it follows a topic and applies its change rows, each exactly once.
//!
//! The topic is the table's write-ahead log. Rows are applied in memory, where our SQL sees them at once, and committed
//! in the background. The offset up to which a table is committed is a property of the table, set in the same commit as
//! the rows, so a crash at any point repeats nothing and skips nothing: what was only in memory is read again.

mod apply;
mod budget;
mod compact;
mod config;
mod expire;
mod flush;
mod gather;
mod index;
mod job;
mod lane;
mod manifests;
mod open;
mod order;
mod orphans;
mod read;
mod rows;
mod run;
mod scatter;
mod serve;
mod shape;
mod sorted;
mod spread;
mod state;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tarn_core::{Env, Fault, FaultReport, RequestContext};
use tarn_eventlog::{EventLog, ReadBatches, ReadLimits};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::catalog::Catalog;
use crate::error::LakehouseError;
use crate::load::ViewLoader;
use crate::service::{Services, Trigger};
use crate::view::TableView;
use job::Done;
use open::Open;

pub(crate) use budget::HotBudget;
pub(crate) use compact::{Compact, Compacted};
pub use compact::{Compaction, Optimize};
pub use config::{SinkConfig, SinkSpec, SinkStatus, WithoutKey};
pub(crate) use expire::{Expired, delete_old_metadata, need as expiry_need};
pub(crate) use flush::{Base, Committer, JobFault};
pub(crate) use index::{KeyHash, KeyHasher};
pub(crate) use read::{conform, read_rows};
pub(crate) use run::Run;
pub(crate) use serve::{asked_for, orphans_need};
pub(crate) use shape::Shape;
pub(crate) use sorted::scratch;
pub(crate) use state::RunFolder;

/// What the sink is asked from outside.
pub(crate) enum SinkCommand {
    /// Commit what is applied.
    Flush(oneshot::Sender<()>),
    /// Rewrite small and worn files.
    Compact(CompactAsked),
    /// Another writer changed the table.
    Reopen,
}

/// A compaction that somebody waits for.
pub(crate) struct CompactAsked {
    pub optimize: Optimize,
    pub trigger: Trigger,
    pub reply: oneshot::Sender<Result<Compaction, LakehouseError>>,
}

/// Everything a sink needs.
#[derive(Clone, Debug)]
pub(crate) struct SinkContext {
    pub ctx: RequestContext,
    pub catalog: Catalog,
    pub loader: Arc<ViewLoader>,
    pub log: Arc<dyn EventLog>,
    pub env: Env,
    pub config: SinkConfig,
    /// Folder of key runs of all tables; in memory without one.
    pub runs: Option<PathBuf>,
    /// Memory of the rows of all tables.
    pub budget: Arc<HotBudget>,
    /// What looks after tables.
    pub services: Services,
    /// A person changed the table: what stood still may go on.
    pub news: Arc<Notify>,
}

/// The newest state of a table that queries may see, and the next offset of the topic that is not in it.
#[derive(Clone, Debug)]
pub(crate) struct ShownState {
    pub offset: u64,
    pub view: Arc<TableView>,
}

/// What a sink shows, once there is something. The next sink of the same topic and table goes on from it.
pub(crate) type Shown = watch::Sender<Option<ShownState>>;

pub(crate) struct Sink {
    context: SinkContext,
    spec: SinkSpec,
    committer: Committer,
    status: Arc<parking_lot::Mutex<SinkStatus>>,
    shown: Arc<Shown>,
    commands: mpsc::Receiver<SinkCommand>,
    /// Who waits for a commit, and for which offset.
    flush_asked: Vec<(u64, oneshot::Sender<()>)>,
    compact_asked: Vec<CompactAsked>,
    /// How far the topic was when the sink began, and until when nothing is shown that is not as far: what was seen before
    /// a restart is seen after it.
    catch_up: Option<(u64, Instant)>,
    /// Where changes could not be applied last. What comes before is committed before it is tried again.
    stumbled: Option<u64>,
}

/// How long a sink that begins may take until it is as far as its topic before it shows what it has.
pub(crate) const CATCH_UP_MAX: Duration = Duration::from_secs(3);
/// How long a read waits at the tail.
const TAIL_WAIT: Duration = Duration::from_millis(200);
/// Pauses after an error, doubled each time up to the last.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Rows of one read: applying them should not take long, since nothing of them is seen before all are.
const READ_ROWS_MAX: usize = 16_384;

/// What a sink turns to next.
enum Event {
    Stop,
    Job(Box<Done>),
    Command(SinkCommand),
    Read(ReadBatches),
    Nothing,
}

impl Sink {
    pub(crate) fn new(
        context: SinkContext,
        spec: SinkSpec,
        status: Arc<parking_lot::Mutex<SinkStatus>>,
        shown: Arc<Shown>,
        commands: mpsc::Receiver<SinkCommand>,
    ) -> Self {
        let committer = Committer {
            catalog: context.catalog.clone(),
            loader: Arc::clone(&context.loader),
            env: context.env.clone(),
            status: Arc::clone(&status),
            scratch: scratch(context.runs.as_deref()),
            branch: None,
            makes_branch: false,
        };
        Self {
            context,
            spec,
            committer,
            status,
            shown,
            commands,
            flush_asked: Vec::new(),
            compact_asked: Vec::new(),
            catch_up: None,
            stumbled: None,
        }
    }

    /// Follows the topic until the context is cancelled. Errors are kept in the status and tried again.
    pub(crate) async fn run(mut self) {
        let stop = self.context.ctx.cancel.clone();
        let mut pause = BACK_OFF.0;
        while !stop.is_cancelled() {
            let Err(error) = self.follow(&mut pause).await else { break };
            // Another writer committed first: the state is read anew at once.
            let lost_race = matches!(error, LakehouseError::CommitFailed { .. });
            if lost_race {
                tracing::info!(table = %self.spec.table, %error, "another writer changed the table; reading it anew");
            } else {
                tracing::warn!(table = %self.spec.table, error = tarn_core::chain_text(&error), "table stands still");
                self.status.lock().fault = Some(FaultReport::of(&error));
            }
            let wait = if lost_race { Duration::from_millis(1) } else { pause };
            tokio::select! {
                () = self.context.env.clock.sleep(wait) => {}
                () = self.context.news.notified() => {}
                () = stop.cancelled() => {}
            }
            pause = (pause * 2).min(BACK_OFF.1);
        }
    }

    /// Opens the table and applies changes until an error or the end.
    async fn follow(&mut self, pause: &mut Duration) -> Result<(), LakehouseError> {
        let Some(mut open) = self.open().await? else { return Ok(()) };
        self.show(&mut open);
        loop {
            self.start_job(&mut open);
            match self.next(&mut open).await? {
                Event::Stop => break,
                Event::Job(done) => self.finish_job(&mut open, *done, pause)?,
                Event::Command(command) => self.obey(&open, command)?,
                Event::Read(read) => self.take_in(&mut open, read).await?,
                Event::Nothing => {}
            }
        }
        // When the process ends, what is in memory is in the topic and is applied at the next start.
        if !self.context.env.spawner.stopping().is_cancelled() {
            self.flush_last(open).await;
        }
        Ok(())
    }

    async fn next(&mut self, open: &mut Open) -> Result<Event, LakehouseError> {
        let wait = self.wait_for(open);
        let reads = self.may_read(open);
        let limits = ReadLimits { wait, rows_max: READ_ROWS_MAX, ..ReadLimits::default() };
        let (context, topic) = (&self.context, &self.spec.topic);
        let read = context.log.read(&context.ctx, topic, 0, open.offset, limits);
        Ok(tokio::select! {
            biased;
            () = context.ctx.cancel.cancelled() => Event::Stop,
            done = job::finished(&mut open.job) => Event::Job(Box::new(done)),
            Some(command) = self.commands.recv() => Event::Command(command),
            read = read, if reads => Event::Read(read?),
            () = context.env.clock.sleep(wait), if !reads => Event::Nothing,
        })
    }

    fn obey(&mut self, open: &Open, command: SinkCommand) -> Result<(), LakehouseError> {
        match command {
            SinkCommand::Flush(reply) => {
                self.flush_asked.push((open.offset, reply));
                self.answer_flushed(open);
            }
            SinkCommand::Compact(asked) => self.compact_asked.push(asked),
            SinkCommand::Reopen => {
                let what = "its metadata is not what this process committed".into();
                return Err(LakehouseError::CommitFailed { table: self.spec.table.to_string(), what });
            }
        }
        Ok(())
    }

    /// Applies what was read and shows it.
    async fn take_in(&mut self, open: &mut Open, read: ReadBatches) -> Result<(), LakehouseError> {
        {
            let mut status = self.status.lock();
            status.high_offset = read.high_offset;
            if read.batches.is_empty() && open.flush_failed.is_none() {
                status.fault = None;
            }
        }
        // Where one could not be applied, those before it are applied one by one.
        let batches = if self.stumbled.is_some() { read.batches } else { gather::gathered(read.batches) };
        for batch in &batches {
            if batch.transaction_open && open.settled {
                self.show(open);
            }
            if self.stumbled == Some(batch.first_offset) {
                self.keep(open).await?;
            }
            if let Err(error) = self.take(open, batch).await {
                self.stumbled = Some(batch.first_offset);
                return Err(error);
            }
            if self.stumbled == Some(batch.first_offset) {
                self.stumbled = None;
            }
            open.settled = !batch.transaction_open;
        }
        open.settled |= read.settled_offset == open.offset;
        self.show(open);
        Ok(())
    }

    /// Lets queries see the state, if it is at the end of a source transaction and not behind what they saw before.
    fn show(&mut self, open: &mut Open) {
        // A state that was opened again is shown once it is as far as the one before.
        let now = self.context.env.clock.instant();
        let catches_up = self.catch_up.is_some_and(|(offset, until)| open.offset < offset && now < until);
        let is_behind =
            catches_up || self.shown.borrow().as_ref().is_some_and(|shown| open.offset < shown.offset);
        // Rows in files that are in no commit are seen with it.
        if !open.settled || is_behind || open.state.is_staged() || !open.is_changed {
            return;
        }
        let view = Arc::new(open.state.view(self.context.loader.next_version()));
        let next = ShownState { offset: open.offset, view };
        // The sink before this one may still be at its last commit, and show it: whoever is farther stays.
        let is_shown = self.shown.send_if_modified(|shown| {
            let is_newer = shown.as_ref().is_none_or(|shown| shown.offset <= next.offset);
            if is_newer {
                *shown = Some(next);
            }
            is_newer
        });
        if !is_shown {
            return;
        }
        open.is_changed = false;
        let mut status = self.status.lock();
        status.applied_offset = open.offset;
        (status.hot_rows, status.hot_bytes) = open.held();
        let now_ms = self.context.env.clock.now_ms();
        status.shown_ms = Some(now_ms);
        if let Some(oldest) = open.oldest_ms.take() {
            status.freshness_ms = Some(now_ms - oldest);
        }
    }

    /// Commits and shows what is applied, before something that cannot be. Errors: the state has to be opened again, since a
    /// commit was lost or may have come about.
    async fn keep(&mut self, open: &mut Open) -> Result<(), LakehouseError> {
        if !open.settled || open.is_broken {
            return Ok(());
        }
        if !self.try_flush(open).await? {
            tracing::debug!(table = %self.spec.table, "rows before a change that cannot be applied wait too");
        }
        Ok(())
    }

    fn answer_flushed(&mut self, open: &Open) {
        let done = |(offset, reply): (u64, oneshot::Sender<()>)| {
            if offset > open.committed_offset {
                return Some((offset, reply));
            }
            // Who asked may have gone.
            let _ = reply.send(());
            None
        };
        self.flush_asked = std::mem::take(&mut self.flush_asked).into_iter().filter_map(done).collect();
    }

    fn answer_compact(&mut self, answer: &Result<Compaction, LakehouseError>) {
        // Others that ask for the same are answered too; the rest comes next.
        let Some(done) = self.compact_asked.first().map(|asked| asked.optimize.clone()) else { return };
        let (asked, rest) = self.compact_asked.drain(..).partition(|asked| asked.optimize == done);
        self.compact_asked = rest;
        let asked: Vec<CompactAsked> = asked;
        for CompactAsked { reply, .. } in asked {
            let answer = match answer {
                Ok(report) => Ok(*report),
                Err(LakehouseError::CommitFailed { table, what }) => {
                    Err(LakehouseError::CommitFailed { table: table.clone(), what: what.clone() })
                }
                Err(error) => Err(LakehouseError::Invalid { what: tarn_core::chain_text(error) }),
            };
            drop(reply.send(answer));
        }
    }
}

/// Whether an error says that another writer was faster.
fn is_conflict(error: &LakehouseError) -> bool {
    error.kind() == tarn_core::FaultKind::Conflict
}
