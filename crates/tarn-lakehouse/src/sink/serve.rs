//! Services of a table that a topic feeds: they run beside the sink, one at a time, when the scheduler lets them.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Sink;
use super::compact::{Compact, Compacted, Optimize};
use super::expire;
use super::flush::Base;
use super::job::{Done, Kind};
use super::open::Open;
use super::shape::Shape;
use crate::service::{Need, OpenRun, RunKind, Service, Strategy, Trigger};

/// Time between two looks for files that nothing needs.
const ORPHANS_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// How long a service that failed, or found nothing to do, waits.
const SERVICE_PAUSE: Duration = Duration::from_secs(10);

/// What a run that somebody asks for is due for.
pub(crate) fn asked_for(service: Service, bytes: u64) -> Need {
    Need { service, reason: "asked for".into(), benefit: 0.0, bytes }
}

/// The removal of files that nothing needs, which costs a listing of the folder and little is gained by.
pub(crate) fn orphans_need() -> Need {
    let reason = "a day since the last look".into();
    Need { service: Service::Orphans, reason, benefit: 0.1, bytes: 0 }
}

impl Sink {
    /// Starts the service that is due, if it may.
    pub(super) fn start_service(&mut self, open: &mut Open) {
        let now = self.context.env.clock.instant();
        if let Some(asked) = self.compact_asked.first() {
            let (optimize, trigger) = (asked.optimize.clone(), asked.trigger);
            self.start_compact(open, asked_for(Service::Compact, 0), Some((&optimize, trigger)));
            return;
        }
        if open.orphans_asked.is_some() && open.settled && self.start_orphans(open) {
            return;
        }
        let is_paused =
            open.service_failed.is_some_and(|at| now.saturating_duration_since(at) < SERVICE_PAUSE);
        // A commit in the middle of a source transaction could not be shown before its end.
        if !open.settled || is_paused {
            self.status.lock().work = None;
            return;
        }
        if open.is_unkept {
            // Looking costs a walk over all files, so it is done once per commit.
            open.is_unkept = false;
            open.need = self.need(open);
        }
        let orphans_due = now >= open.orphans_due;
        let is_started = match open.need.clone() {
            Some(need) if need.service == Service::Compact => self.start_compact(open, need, None),
            Some(need) => self.start_expire(open, need),
            None if orphans_due => self.start_orphans(open),
            None => false,
        };
        if !is_started {
            self.status.lock().work = None;
        }
    }

    fn need(&self, open: &Open) -> Option<Need> {
        let is_on = |service| self.context.services.is_enabled(&open.state.metadata, service);
        let compact = || is_on(Service::Compact).then(|| Shape::of(&open.state).need()).flatten();
        let now_ms = self.context.env.clock.now_ms();
        let expire = || expire::need(&open.state.metadata, now_ms).filter(|_| is_on(Service::Expire));
        compact().or_else(expire)
    }

    /// Begins a run. `None`: it has to wait.
    fn begin(
        &self,
        open: &Open,
        need: Need,
        strategy: Option<Strategy>,
        trigger: Trigger,
    ) -> Option<OpenRun> {
        let kind = RunKind { need, strategy, trigger };
        let table = (&self.spec.table, open.state.metadata.as_ref());
        self.context.services.begin(&self.context.ctx, table, kind)
    }

    fn start_compact(&mut self, open: &mut Open, need: Need, asked: Option<(&Optimize, Trigger)>) -> bool {
        let trigger = asked.map_or(Trigger::Automatic, |(_, trigger)| trigger);
        let strategy = asked.map_or(Strategy::Minor, |(optimize, _)| optimize.strategy());
        let Some(run) = self.begin(open, need, Some(strategy), trigger) else { return false };
        open.need = None;
        let shape = Shape::of(&open.state);
        let (base, schema) = (Base::of(&open.state), Arc::clone(&open.state.schema));
        let mut work = Compact::begin(base, schema, &shape, asked.map(|(optimize, _)| optimize));
        // What somebody waits for goes on to its end.
        let give_way = asked.is_none().then(CancellationToken::new);
        work.give_way(give_way.clone());
        let (committer, ctx) = (self.committer.clone(), self.context.ctx.clone());
        let task =
            async move { Done::Compact(run.track(work.run(&committer, &ctx), Compacted::outcome).await) };
        self.spawn(open, Kind::Compact, give_way, task);
        true
    }

    fn start_expire(&mut self, open: &mut Open, need: Need) -> bool {
        let Some(run) = self.begin(open, need, None, Trigger::Automatic) else { return false };
        open.need = None;
        let (committer, ctx) = (self.committer.clone(), self.context.ctx.clone());
        let base = Base::of(&open.state);
        let outcome = |expired: &Option<expire::Expired>| {
            let expired = expired.as_ref()?;
            Some((expired.figures, None))
        };
        let task = async move { Done::Expire(run.track(committer.expire(&ctx, base), outcome).await) };
        self.spawn(open, Kind::Expire, None, task);
        true
    }

    fn start_orphans(&mut self, open: &mut Open) -> bool {
        let now = self.context.env.clock.instant();
        let asked = open.orphans_asked;
        if asked.is_none() && !self.context.services.is_enabled(&open.state.metadata, Service::Orphans) {
            open.orphans_due = now + ORPHANS_PAUSE;
            return false;
        }
        let need = asked.map_or_else(orphans_need, |_| asked_for(Service::Orphans, 0));
        let trigger = asked.unwrap_or(Trigger::Automatic);
        let Some(run) = self.begin(open, need, None, trigger) else { return false };
        open.orphans_due = now + ORPHANS_PAUSE;
        open.orphans_asked = None;
        let name = self.spec.table.clone();
        let staged = open.state.staged_files().map(|file| file.file.file_path().to_string()).collect();
        let (committer, ctx) = (self.committer.clone(), self.context.ctx.clone());
        let task = async move {
            let work = committer.remove_orphans(&ctx, &name, staged);
            Done::Orphans(run.track(work, |done| done.map(|figures| (figures, None))).await)
        };
        self.spawn(open, Kind::Orphans, None, task);
        true
    }
}
