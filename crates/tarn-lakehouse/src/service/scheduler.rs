//! What runs next, over all tables: a few runs at a time, within a quota of bytes and processor time, tenants in turn, the
//! most useful run first.
//!
//! Whoever looks after a table asks again and again until it gets a permit; one that no longer asks is forgotten. So a table
//! that is busy with a flush holds nobody up, and nothing has to be told when a table goes.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use tarn_core::{Env, RequestContext, TableName, TenantId};

use super::config::ServiceConfig;
use super::run::Service;

/// A table of a tenant.
pub(crate) type Key = (TenantId, TableName);

/// A request that was not repeated in this time is forgotten.
const STALE: Duration = Duration::from_secs(3);
/// Quotas are averages over this time: so much may be used at once after a rest, and so much debt is made at most.
const WINDOW: Duration = Duration::from_secs(60);
/// After this time a tenant's past use counts half.
const USAGE_HALF_LIFE: Duration = Duration::from_secs(600);
/// Bytes that weigh as much as a millisecond of processor time when tenants take turns.
const BYTES_PER_MS: u64 = 128 << 10;

/// A run that is due.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Need {
    pub service: Service,
    /// Which threshold was passed.
    pub reason: String,
    /// How much good it does; 1 where it has just become worth it.
    pub benefit: f64,
    /// Bytes that it reads, about.
    pub bytes: u64,
}

#[derive(Debug)]
struct Waiting {
    need: Need,
    since: Instant,
    since_ms: i64,
    asked: Instant,
}

#[derive(Debug)]
struct Running {
    key: Key,
    service: Service,
    reason: String,
    since_ms: i64,
}

#[derive(Debug)]
struct State {
    waiting: HashMap<Key, Waiting>,
    running: HashMap<u64, Running>,
    next_id: u64,
    paused: HashSet<TenantId>,
    bytes_left: f64,
    cpu_left_ms: f64,
    usage: HashMap<TenantId, f64>,
    refilled: Instant,
}

/// Decides what runs next.
#[derive(Debug)]
pub(crate) struct Scheduler {
    env: Env,
    config: ServiceConfig,
    state: Mutex<State>,
}

/// Leave to run; dropped, the next one may.
#[derive(Debug)]
pub(crate) struct Permit {
    scheduler: Arc<Scheduler>,
    id: u64,
    tenant: TenantId,
    /// Bytes that were taken off the quota.
    bytes: u64,
}

/// A run under way, for people.
#[derive(Clone, Debug, Serialize)]
pub struct RunningService {
    /// `namespace.table`.
    pub table: String,
    /// The service.
    pub service: Service,
    /// Which threshold was passed.
    pub reason: String,
    /// Since when, milliseconds since 1970 UTC.
    pub since_ms: i64,
}

/// A run that waits, for people.
#[derive(Clone, Debug, Serialize)]
pub struct WaitingService {
    /// `namespace.table`.
    pub table: String,
    /// The service.
    pub service: Service,
    /// Which threshold was passed.
    pub reason: String,
    /// Since when, milliseconds since 1970 UTC.
    pub since_ms: i64,
    /// How much good it does; 1 where it has just become worth it.
    pub benefit: f64,
    /// Why it does not run.
    pub blocked_by: String,
}

/// What the scheduler does.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceState {
    /// Whether the tenant's runs are held.
    pub paused: bool,
    /// Runs at a time.
    pub concurrent_max: usize,
    /// Quota of bytes.
    pub bytes_per_minute: u64,
    /// What is left of it now; below 0 where a run read more.
    pub bytes_left: i64,
    /// Share of all cores that runs may use on average.
    pub cpu_share: f64,
    /// Of the tenant.
    pub running: Vec<RunningService>,
    /// Of the tenant, in the order in which they come.
    pub waiting: Vec<WaitingService>,
}

impl State {
    fn refill(&mut self, config: &ServiceConfig, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled);
        self.refilled = now;
        let quota = config.bytes_per_minute.0 as f64;
        let ms = passed.as_secs_f64() * 1_000.0;
        let window_ms = WINDOW.as_secs_f64() * 1_000.0;
        self.bytes_left = (self.bytes_left + quota * ms / 60_000.0).min(quota);
        self.cpu_left_ms = (self.cpu_left_ms + config.cpu_rate() * ms).min(config.cpu_rate() * window_ms);
        let left = 0.5_f64.powf(passed.as_secs_f64() / USAGE_HALF_LIFE.as_secs_f64());
        self.usage.values_mut().for_each(|used| *used *= left);
        self.waiting.retain(|_, waiting| now.saturating_duration_since(waiting.asked) < STALE);
    }

    fn used(&self, tenant: &TenantId) -> f64 {
        self.usage.get(tenant).copied().unwrap_or(0.0)
    }

    /// Runs that wait, the next one first: of the tenant that used least, the one that does most good; what waits gains, so
    /// everything comes at last.
    fn ordered(&self, now: Instant) -> Vec<&Key> {
        let score = |waiting: &Waiting| {
            let waited = now.saturating_duration_since(waiting.since).as_secs_f64();
            waiting.need.benefit * (1.0 + waited / WINDOW.as_secs_f64())
        };
        let mut keys: Vec<(&Key, &Waiting)> = self.waiting.iter().collect();
        keys.sort_by(|(a, of_a), (b, of_b)| {
            let held = self.paused.contains(&a.0).cmp(&self.paused.contains(&b.0));
            let used = self.used(&a.0).partial_cmp(&self.used(&b.0)).unwrap_or(Ordering::Equal);
            let good = score(of_b).partial_cmp(&score(of_a)).unwrap_or(Ordering::Equal);
            held.then(used).then(good).then_with(|| a.cmp(b))
        });
        keys.into_iter().map(|(key, _)| key).collect()
    }

    /// Why a run does not start; `None` if it may.
    fn blocked_by(&self, config: &ServiceConfig, key: &Key, now: Instant) -> Option<String> {
        let running = self.running.len();
        if !config.enabled {
            return Some("services are off: `enabled` under `[lakehouse.services]`".into());
        }
        if self.paused.contains(&key.0) {
            return Some("services are paused".into());
        }
        if self.running.values().any(|running| running.key == *key) {
            return Some("another run of the table is under way".into());
        }
        if running >= config.slots() {
            return Some(format!("{running} of {} runs at a time are under way", config.slots()));
        }
        if self.bytes_left <= 0.0 {
            return Some("the bytes per minute are used up".into());
        }
        if self.cpu_left_ms <= 0.0 {
            return Some("the share of the processor is used up".into());
        }
        let first = self.ordered(now).into_iter().next()?;
        (first != key).then(|| match first.0 == key.0 {
            true => format!("`{}` comes first", first.1),
            false => "another tenant comes first".into(),
        })
    }

    fn start(&mut self, key: Key, need: Need, since_ms: i64) -> u64 {
        self.next_id += 1;
        self.bytes_left -= need.bytes as f64;
        let Need { service, reason, .. } = need;
        self.running.insert(self.next_id, Running { key, service, reason, since_ms });
        self.next_id
    }
}

impl Scheduler {
    pub(crate) fn new(config: ServiceConfig, env: Env) -> Arc<Self> {
        let state = State {
            waiting: HashMap::new(),
            running: HashMap::new(),
            next_id: 0,
            paused: HashSet::new(),
            bytes_left: config.bytes_per_minute.0 as f64,
            cpu_left_ms: config.cpu_rate() * WINDOW.as_secs_f64() * 1_000.0,
            usage: HashMap::new(),
            refilled: env.clock.instant(),
        };
        Arc::new(Self { env, config, state: Mutex::new(state) })
    }

    pub(crate) fn config(&self) -> &ServiceConfig {
        &self.config
    }

    fn permit(self: &Arc<Self>, id: u64, tenant: TenantId, bytes: u64) -> Permit {
        Permit { scheduler: Arc::clone(self), id, tenant, bytes }
    }

    /// Leave to run what is due, or `None`: then ask again within a second.
    pub(crate) fn ask(self: &Arc<Self>, key: &Key, need: &Need) -> Option<Permit> {
        let (now, now_ms) = (self.env.clock.instant(), self.env.clock.now_ms());
        let mut state = self.state.lock();
        state.refill(&self.config, now);
        let waiting = state.waiting.entry(key.clone()).or_insert_with(|| Waiting {
            need: need.clone(),
            since: now,
            since_ms: now_ms,
            asked: now,
        });
        waiting.need.clone_from(need);
        waiting.asked = now;
        if state.blocked_by(&self.config, key, now).is_some() {
            return None;
        }
        state.waiting.remove(key);
        let id = state.start(key.clone(), need.clone(), now_ms);
        drop(state);
        Some(self.permit(id, key.0.clone(), need.bytes))
    }

    /// Leave for a run that somebody asked for. It counts against the quotas and is not held back by them.
    pub(crate) fn asked(self: &Arc<Self>, key: &Key, need: Need) -> Permit {
        let (now, now_ms, bytes) = (self.env.clock.instant(), self.env.clock.now_ms(), need.bytes);
        let mut state = self.state.lock();
        state.refill(&self.config, now);
        let id = state.start(key.clone(), need, now_ms);
        drop(state);
        self.permit(id, key.0.clone(), bytes)
    }

    pub(crate) fn set_paused(&self, tenant: &TenantId, paused: bool) {
        let mut state = self.state.lock();
        match paused {
            true => state.paused.insert(tenant.clone()),
            false => state.paused.remove(tenant),
        };
    }

    /// What a tenant may know.
    pub(crate) fn state(&self, ctx: &RequestContext) -> ServiceState {
        let now = self.env.clock.instant();
        let mut state = self.state.lock();
        state.refill(&self.config, now);
        let running = state.running.values().filter(|running| running.key.0 == ctx.tenant);
        let running = running.map(|running| RunningService {
            table: running.key.1.to_string(),
            service: running.service,
            reason: running.reason.clone(),
            since_ms: running.since_ms,
        });
        let waiting = state.ordered(now).into_iter().filter(|key| key.0 == ctx.tenant).filter_map(|key| {
            let waiting = state.waiting.get(key)?;
            let blocked_by = state.blocked_by(&self.config, key, now);
            Some(WaitingService {
                table: key.1.to_string(),
                service: waiting.need.service,
                reason: waiting.need.reason.clone(),
                since_ms: waiting.since_ms,
                benefit: waiting.need.benefit,
                blocked_by: blocked_by.unwrap_or_else(|| "it comes next".into()),
            })
        });
        let (mut running, waiting): (Vec<_>, Vec<_>) = (running.collect(), waiting.collect());
        running.sort_by_key(|running| running.since_ms);
        ServiceState {
            paused: state.paused.contains(&ctx.tenant),
            concurrent_max: self.config.slots(),
            bytes_per_minute: self.config.bytes_per_minute.0,
            bytes_left: state.bytes_left as i64,
            cpu_share: self.config.cpu_share,
            running,
            waiting,
        }
    }
}

impl Permit {
    /// What the run cost.
    pub(crate) fn spent(&mut self, bytes: u64, cpu_ms: u64) {
        let mut state = self.scheduler.state.lock();
        state.bytes_left += self.bytes as f64 - bytes as f64;
        state.bytes_left = state.bytes_left.max(-(self.scheduler.config.bytes_per_minute.0 as f64));
        state.cpu_left_ms -= cpu_ms as f64;
        let floor = -self.scheduler.config.cpu_rate() * WINDOW.as_secs_f64() * 1_000.0;
        state.cpu_left_ms = state.cpu_left_ms.max(floor);
        *state.usage.entry(self.tenant.clone()).or_default() += (cpu_ms + bytes / BYTES_PER_MS) as f64;
        self.bytes = bytes;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.scheduler.state.lock().running.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;

    use tarn_core::{ByteSize, Clock, TraceId};

    use super::*;

    /// A clock that a test moves.
    #[derive(Debug)]
    struct TestClock {
        start: Instant,
        passed: Mutex<Duration>,
    }

    impl Clock for TestClock {
        fn now_ms(&self) -> i64 {
            self.passed.lock().as_millis() as i64
        }
        fn now_us(&self) -> i64 {
            self.passed.lock().as_micros() as i64
        }
        fn instant(&self) -> Instant {
            self.start + *self.passed.lock()
        }
        fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(std::future::ready(()))
        }
    }

    struct Rig {
        clock: Arc<TestClock>,
        scheduler: Arc<Scheduler>,
    }

    impl Rig {
        fn new(config: ServiceConfig) -> Self {
            let system = Env::system();
            let clock = Arc::new(TestClock { start: system.clock.instant(), passed: Mutex::default() });
            let env = Env { clock: clock.clone(), ..system };
            Self { clock, scheduler: Scheduler::new(config, env) }
        }

        fn pass(&self, seconds: u64) {
            *self.clock.passed.lock() += Duration::from_secs(seconds);
        }

        fn ask(&self, tenant: &str, table: &str, benefit: f64, bytes: u64) -> Option<Permit> {
            let need = Need { service: Service::Compact, reason: "test".into(), benefit, bytes };
            self.scheduler.ask(&key(tenant, table), &need)
        }

        fn state(&self, tenant: &str) -> ServiceState {
            self.scheduler.state(&RequestContext::system(TenantId::new(tenant), TraceId(1)))
        }
    }

    fn key(tenant: &str, table: &str) -> Key {
        (TenantId::new(tenant), TableName::new("s", table).unwrap())
    }

    fn one_at_a_time() -> ServiceConfig {
        ServiceConfig { concurrent_max: 1, ..ServiceConfig::default() }
    }

    #[tokio::test]
    async fn the_most_useful_run_comes_first_and_what_waits_gains() {
        let rig = Rig::new(one_at_a_time());
        let first = rig.ask("main", "a", 1.0, 0).unwrap();
        assert!(rig.ask("main", "b", 1.0, 0).is_none(), "a slot is taken");
        assert!(rig.ask("main", "c", 5.0, 0).is_none());
        let waiting: Vec<String> = rig.state("main").waiting.into_iter().map(|w| w.table).collect();
        assert_eq!(waiting, ["s.c", "s.b"]);
        drop(first);
        assert!(rig.ask("main", "b", 1.0, 0).is_none());
        assert_eq!(rig.state("main").waiting[1].blocked_by, "`s.c` comes first");
        let c = rig.ask("main", "c", 5.0, 0).unwrap();
        // It waits for ten minutes, then comes before one that has just come.
        for _ in 0..600 {
            rig.pass(1);
            assert!(rig.ask("main", "b", 1.0, 0).is_none());
        }
        assert!(rig.ask("main", "d", 5.0, 0).is_none());
        drop(c);
        assert!(rig.ask("main", "d", 5.0, 0).is_none());
        assert!(rig.ask("main", "b", 1.0, 0).is_some());
    }

    #[tokio::test]
    async fn one_that_no_longer_asks_holds_nobody_up() {
        let rig = Rig::new(one_at_a_time());
        let first = rig.ask("main", "a", 1.0, 0).unwrap();
        assert!(rig.ask("main", "b", 9.0, 0).is_none());
        drop(first);
        assert!(rig.ask("main", "c", 1.0, 0).is_none());
        rig.pass(4);
        assert!(rig.ask("main", "c", 1.0, 0).is_some());
    }

    #[tokio::test]
    async fn bytes_and_processor_time_are_averages() {
        let config = ServiceConfig {
            concurrent_max: 9,
            bytes_per_minute: ByteSize(60),
            cpu_share: 1.0,
            ..ServiceConfig::default()
        };
        let rig = Rig::new(config);
        // A large run is not refused: the next one waits for it.
        let mut large = rig.ask("main", "a", 1.0, 70).unwrap();
        assert!(rig.ask("main", "b", 1.0, 1).is_none());
        assert_eq!(rig.state("main").waiting[0].blocked_by, "the bytes per minute are used up");
        large.spent(90, 0);
        drop(large);
        rig.pass(29);
        assert!(rig.ask("main", "b", 1.0, 1).is_none());
        rig.pass(2);
        let mut b = rig.ask("main", "b", 1.0, 1).unwrap();
        let minute = (ServiceConfig::default().cpu_rate() * 2.0 * 60_000.0) as u64;
        b.spent(1, minute + 10_000);
        drop(b);
        rig.pass(1);
        assert!(rig.ask("main", "c", 1.0, 0).is_none());
        rig.pass(1);
        assert!(rig.ask("main", "c", 1.0, 0).is_none() || rig.state("main").waiting.is_empty());
        rig.pass(20);
        assert!(rig.ask("main", "c", 1.0, 0).is_some());
    }

    #[tokio::test]
    async fn tenants_take_turns_whatever_they_ask_for() {
        let rig = Rig::new(one_at_a_time());
        let mut ran = Vec::new();
        for _ in 0..20 {
            for (tenant, table, benefit) in [("loud", "a", 50.0), ("loud", "b", 40.0), ("quiet", "a", 1.0)] {
                if let Some(mut permit) = rig.ask(tenant, table, benefit, 0) {
                    permit.spent(0, 100);
                    ran.push(tenant);
                }
            }
        }
        let quiet = ran.iter().filter(|tenant| **tenant == "quiet").count();
        assert!((ran.len() / 3..=ran.len() * 2 / 3).contains(&quiet), "{ran:?}");
    }

    #[tokio::test]
    async fn a_pause_holds_one_tenant_and_what_was_asked_for_goes_on() {
        let rig = Rig::new(one_at_a_time());
        rig.scheduler.set_paused(&TenantId::new("a"), true);
        assert!(rig.ask("a", "t", 9.0, 0).is_none());
        let state = rig.state("a");
        assert!(state.paused && state.waiting[0].blocked_by == "services are paused");
        let other = rig.ask("b", "t", 1.0, 0).unwrap();
        assert!(rig.state("a").running.is_empty(), "of another tenant");
        let need = Need { service: Service::Compact, reason: "asked".into(), benefit: 0.0, bytes: 0 };
        let asked = rig.scheduler.asked(&key("a", "t"), need);
        assert_eq!(rig.state("a").running.len(), 1);
        drop((asked, other));
        rig.scheduler.set_paused(&TenantId::new("a"), false);
        assert!(rig.ask("a", "t", 9.0, 0).is_some());
    }
}
