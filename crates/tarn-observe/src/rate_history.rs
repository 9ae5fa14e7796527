//! The last five minutes of the rates that the console draws: rows by tenant and source, queries by tenant.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tarn_core::{Env, TenantId};

use crate::metric::Metric;
use crate::metrics::Metrics;

/// Time between two points.
const STEP: Duration = Duration::from_secs(2);
/// Five minutes.
const POINTS_MAX: usize = 150;

/// The rates of two seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RatePoint {
    /// End of the two seconds, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Rows that sources made durable, per second.
    pub rows_per_s: f64,
    /// Queries that ended, per second.
    pub queries_per_s: f64,
}

type Totals = BTreeMap<(TenantId, Arc<str>), u64>;
type Rates = BTreeMap<(TenantId, Arc<str>), f64>;

#[derive(Debug)]
struct Last {
    at_ms: i64,
    rows: Totals,
    queries: Totals,
}

impl Last {
    fn of(metrics: &Metrics, at_ms: i64) -> Self {
        Self { at_ms, rows: metrics.totals(Metric::IngestRows), queries: metrics.totals(Metric::Queries) }
    }
}

/// What happened in the time up to a moment; what has no entry did nothing.
#[derive(Debug)]
struct Step {
    at_ms: i64,
    /// By source.
    rows_per_s: Rates,
    /// By protocol.
    queries_per_s: Rates,
}

/// A ring of steps.
#[derive(Debug)]
pub struct RateHistory {
    metrics: Arc<Metrics>,
    steps: Mutex<(Last, VecDeque<Step>)>,
}

impl RateHistory {
    /// Empty; the first point counts from `now_ms`.
    pub fn new(metrics: Arc<Metrics>, now_ms: i64) -> Arc<Self> {
        let last = Last::of(&metrics, now_ms);
        Arc::new(Self { metrics, steps: Mutex::new((last, VecDeque::with_capacity(POINTS_MAX))) })
    }

    /// Adds the point that ends now.
    pub fn record(&self, now_ms: i64) {
        let now = Last::of(&self.metrics, now_ms);
        let mut state = self.steps.lock();
        let (last, steps) = &mut *state;
        let seconds = (now_ms - last.at_ms) as f64 / 1_000.0;
        if seconds <= 0.0 {
            return;
        }
        if steps.len() == POINTS_MAX {
            steps.pop_front();
        }
        steps.push_back(Step {
            at_ms: now_ms,
            rows_per_s: rates(&last.rows, &now.rows, seconds),
            queries_per_s: rates(&last.queries, &now.queries, seconds),
        });
        *last = now;
    }

    /// The points of a tenant, oldest first.
    pub fn points(&self, tenant: &TenantId) -> Vec<RatePoint> {
        let of = |rates: &Rates| {
            let own = rates.range((tenant.clone(), Arc::from(""))..).take_while(|((t, _), _)| t == tenant);
            own.fold(0.0, |sum, (_, rate)| sum + rate)
        };
        let steps = self.steps.lock();
        let points = steps.1.iter().map(|step| RatePoint {
            at_ms: step.at_ms,
            rows_per_s: of(&step.rows_per_s),
            queries_per_s: of(&step.queries_per_s),
        });
        points.collect()
    }

    /// Rows per second of one source with the ends of the two seconds, oldest first.
    pub fn rows_of(&self, tenant: &TenantId, source: &str) -> Vec<(i64, f64)> {
        let key = (tenant.clone(), Arc::from(source));
        let steps = self.steps.lock();
        let points = steps.1.iter();
        points.map(|step| (step.at_ms, step.rows_per_s.get(&key).copied().unwrap_or_default())).collect()
    }

    /// Records a point each two seconds until shutdown.
    pub fn start(self: &Arc<Self>, env: &Env) {
        let (history, clock, stop) = (Arc::clone(self), Arc::clone(&env.clock), env.spawner.stopping());
        drop(env.spawner.spawn(async move {
            while stop.run_until_cancelled(clock.sleep(STEP)).await.is_some() {
                history.record(clock.now_ms());
            }
        }));
    }
}

/// Rates of those for whom something happened. A series that was removed and made again starts at zero.
fn rates(before: &Totals, now: &Totals, seconds: f64) -> Rates {
    let grown = now.iter().map(|(key, total)| {
        let grown = total.saturating_sub(before.get(key).copied().unwrap_or_default());
        (key.clone(), grown)
    });
    grown.filter(|(_, grown)| *grown > 0).map(|(key, grown)| (key, grown as f64 / seconds)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tarn_core::SystemClock;

    #[test]
    fn a_point_holds_what_happened_since_the_last_one() {
        let metrics = Metrics::new(Arc::new(SystemClock));
        let history = RateHistory::new(Arc::clone(&metrics), 0);
        let main = TenantId::default();
        let own = metrics.of(&main);
        own.counter(Metric::IngestRows, "a").add(100);
        metrics.of(&TenantId::new("other")).counter(Metric::IngestRows, "a").add(7);
        history.record(2_000);
        history.record(2_000);
        own.counter(Metric::Queries, "http").add(10);
        history.record(4_000);
        let expected = [
            RatePoint { at_ms: 2_000, rows_per_s: 50.0, queries_per_s: 0.0 },
            RatePoint { at_ms: 4_000, rows_per_s: 0.0, queries_per_s: 5.0 },
        ];
        assert_eq!(history.points(&main), expected);
        assert_eq!(history.rows_of(&main, "a"), [(2_000, 50.0), (4_000, 0.0)]);
        assert_eq!(history.rows_of(&main, "b"), [(2_000, 0.0), (4_000, 0.0)]);
        (0..1_000).for_each(|n| history.record(5_000 + n * 2_000));
        assert_eq!(history.points(&main).len(), POINTS_MAX);
    }
}
