//! The last five minutes of the two rates that the overview draws.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tarn_core::Env;

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

#[derive(Debug)]
struct Last {
    at_ms: i64,
    rows: u64,
    queries: u64,
}

/// A ring of points.
#[derive(Debug)]
pub struct RateHistory {
    metrics: Arc<Metrics>,
    points: Mutex<(Last, VecDeque<RatePoint>)>,
}

impl RateHistory {
    /// Empty; the first point counts from `now_ms`.
    pub fn new(metrics: Arc<Metrics>, now_ms: i64) -> Arc<Self> {
        let last = Last {
            at_ms: now_ms,
            rows: metrics.total(Metric::IngestRows),
            queries: metrics.total(Metric::Queries),
        };
        Arc::new(Self { metrics, points: Mutex::new((last, VecDeque::with_capacity(POINTS_MAX))) })
    }

    /// Adds the point that ends now.
    pub fn record(&self, now_ms: i64) {
        let (rows, queries) = (self.metrics.total(Metric::IngestRows), self.metrics.total(Metric::Queries));
        let mut state = self.points.lock();
        let (last, points) = &mut *state;
        let seconds = (now_ms - last.at_ms) as f64 / 1_000.0;
        if seconds <= 0.0 {
            return;
        }
        if points.len() == POINTS_MAX {
            points.pop_front();
        }
        // A removed series takes its total along, so a sum may shrink.
        points.push_back(RatePoint {
            at_ms: now_ms,
            rows_per_s: rows.saturating_sub(last.rows) as f64 / seconds,
            queries_per_s: queries.saturating_sub(last.queries) as f64 / seconds,
        });
        *last = Last { at_ms: now_ms, rows, queries };
    }

    /// The points, oldest first.
    pub fn points(&self) -> Vec<RatePoint> {
        self.points.lock().1.iter().copied().collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use tarn_core::SystemClock;

    #[test]
    fn a_point_holds_what_happened_since_the_last_one() {
        let metrics = Metrics::new(Arc::new(SystemClock));
        let history = RateHistory::new(Arc::clone(&metrics), 0);
        metrics.counter(Metric::IngestRows, "a").add(100);
        history.record(2_000);
        history.record(2_000);
        metrics.counter(Metric::Queries, "http").add(10);
        history.record(4_000);
        let expected = [
            RatePoint { at_ms: 2_000, rows_per_s: 50.0, queries_per_s: 0.0 },
            RatePoint { at_ms: 4_000, rows_per_s: 0.0, queries_per_s: 5.0 },
        ];
        assert_eq!(history.points(), expected);
        (0..1_000).for_each(|n| history.record(5_000 + n * 2_000));
        assert_eq!(history.points().len(), POINTS_MAX);
    }
}
