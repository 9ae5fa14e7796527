//! Counting, and the text that Prometheus reads.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tarn_core::{Clock, TenantId};

use crate::metric::{Label, Metric, MetricKind, Scope};
use crate::rate::Rate;
use crate::window::{Counts, Quantiles, Window};

/// Series per metric and tenant; further label values are counted together under [`OTHER`].
const SERIES_MAX: usize = 1_000;
/// The label value of series beyond the bound.
const OTHER: &str = "other";
/// Upper bounds of Prometheus buckets, milliseconds.
const BOUNDS_MS: [u64; 14] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000];

#[derive(Debug)]
struct CounterCell {
    total: AtomicU64,
    rate: Mutex<Rate>,
}

#[derive(Debug)]
struct HistogramCell {
    counts: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
    window: Mutex<Window>,
}

#[derive(Clone, Debug)]
enum Cell {
    Counter(Arc<CounterCell>),
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<HistogramCell>),
}

/// Something that only grows. Cheap to clone and to add to.
#[derive(Clone, Debug)]
pub struct Counter {
    cell: Arc<CounterCell>,
    clock: Arc<dyn Clock>,
}

impl Counter {
    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.cell.total.fetch_add(count, Ordering::Relaxed);
        self.cell.rate.lock().add(self.clock.now_ms(), count);
    }

    /// The sum since the process started.
    pub fn total(&self) -> u64 {
        self.cell.total.load(Ordering::Relaxed)
    }

    /// Per second, over the last ten seconds.
    pub fn per_second(&self) -> f64 {
        self.cell.rate.lock().per_second(self.clock.now_ms())
    }
}

/// A value at a moment. Cheap to clone and to set.
#[derive(Clone, Debug)]
pub struct Gauge {
    bits: Arc<AtomicU64>,
}

impl Gauge {
    /// Replaces the value.
    pub fn set(&self, value: f64) {
        self.bits.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds to the value; negative to take away.
    pub fn add(&self, difference: f64) {
        let add = |bits| Some((f64::from_bits(bits) + difference).to_bits());
        // The closure never gives `None`, so the update cannot fail.
        let _ = self.bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// The value; 0 before the first set.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.bits.load(Ordering::Relaxed))
    }
}

/// A distribution of times. Cheap to clone and to record into.
#[derive(Clone, Debug)]
pub struct Histogram {
    cell: Arc<HistogramCell>,
    clock: Arc<dyn Clock>,
}

impl Histogram {
    /// Records one time.
    pub fn record(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MS.iter().position(|bound| us <= bound * 1_000).unwrap_or(BOUNDS_MS.len());
        self.cell.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.cell.sum_us.fetch_add(us, Ordering::Relaxed);
        self.cell.window.lock().record(self.clock.now_ms(), us);
    }

    /// Quantiles of the last minute.
    pub fn quantiles(&self) -> Quantiles {
        let mut counts = Counts::new();
        self.cell.window.lock().add_to(self.clock.now_ms(), &mut counts);
        counts.quantiles()
    }
}

/// Metric, tenant if the metric is of one, and label value.
type SeriesKey = (Metric, Option<TenantId>, Arc<str>);

/// All series of a process.
pub struct Metrics {
    clock: Arc<dyn Clock>,
    series: RwLock<BTreeMap<SeriesKey, Cell>>,
}

/// The series of one tenant.
#[derive(Clone, Debug)]
pub struct TenantMetrics {
    metrics: Arc<Metrics>,
    tenant: TenantId,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metrics({} series)", self.series.read().len())
    }
}

impl Metrics {
    /// Without series.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, series: RwLock::new(BTreeMap::new()) })
    }

    fn new_cell(&self, metric: Metric) -> Cell {
        match metric.kind() {
            MetricKind::Counter => Cell::Counter(Arc::new(CounterCell {
                total: AtomicU64::new(0),
                rate: Mutex::new(Rate::new(self.clock.now_ms())),
            })),
            MetricKind::Gauge => Cell::Gauge(Arc::new(AtomicU64::new(0f64.to_bits()))),
            MetricKind::Histogram => Cell::Histogram(Arc::new(HistogramCell {
                counts: Default::default(),
                sum_us: AtomicU64::new(0),
                window: Mutex::new(Window::new()),
            })),
        }
    }

    /// A metric in the wrong scope would show figures of a tenant to others.
    fn cell(&self, metric: Metric, tenant: Option<&TenantId>, label: &str) -> Cell {
        assert_eq!(metric.scope() == Scope::Tenant, tenant.is_some(), "{metric:?} is of a tenant or is not");
        let label = if metric.label() == Label::None { "" } else { label };
        let key = (metric, tenant.cloned(), Arc::from(label));
        if let Some(cell) = self.series.read().get(&key) {
            return cell.clone();
        }
        let mut series = self.series.write();
        let siblings = series
            .range((metric, tenant.cloned(), Arc::from(""))..)
            .take_while(|((m, t, _), _)| *m == metric && t.as_ref() == tenant)
            .count();
        let key = match siblings < SERIES_MAX || series.contains_key(&key) {
            true => key,
            false => (metric, tenant.cloned(), Arc::from(OTHER)),
        };
        series.entry(key).or_insert_with(|| self.new_cell(metric)).clone()
    }

    fn counter_in(&self, metric: Metric, tenant: Option<&TenantId>, label: &str) -> Counter {
        match self.cell(metric, tenant, label) {
            Cell::Counter(cell) => Counter { cell, clock: Arc::clone(&self.clock) },
            Cell::Gauge(_) | Cell::Histogram(_) => panic!("{metric:?} is not a counter"),
        }
    }

    fn gauge_in(&self, metric: Metric, tenant: Option<&TenantId>, label: &str) -> Gauge {
        match self.cell(metric, tenant, label) {
            Cell::Gauge(bits) => Gauge { bits },
            Cell::Counter(_) | Cell::Histogram(_) => panic!("{metric:?} is not a gauge"),
        }
    }

    fn histogram_in(&self, metric: Metric, tenant: Option<&TenantId>, label: &str) -> Histogram {
        match self.cell(metric, tenant, label) {
            Cell::Histogram(cell) => Histogram { cell, clock: Arc::clone(&self.clock) },
            Cell::Counter(_) | Cell::Gauge(_) => panic!("{metric:?} is not a histogram"),
        }
    }

    /// The counter of a label value of the process; `""` for a metric without label. Keep it where it is used often.
    pub fn counter(&self, metric: Metric, label: &str) -> Counter {
        self.counter_in(metric, None, label)
    }

    /// The gauge of a label value of the process; `""` for a metric without label.
    pub fn gauge(&self, metric: Metric, label: &str) -> Gauge {
        self.gauge_in(metric, None, label)
    }

    /// The histogram of a label value of the process; `""` for a metric without label.
    pub fn histogram(&self, metric: Metric, label: &str) -> Histogram {
        self.histogram_in(metric, None, label)
    }

    /// The series of a tenant.
    pub fn of(self: &Arc<Self>, tenant: &TenantId) -> TenantMetrics {
        TenantMetrics { metrics: Arc::clone(self), tenant: tenant.clone() }
    }

    /// Series of a metric; those of all tenants, or of one.
    fn cells(&self, metric: Metric, tenant: Option<&TenantId>) -> Vec<Cell> {
        let series = self.series.read();
        let of_metric = series
            .range((metric, tenant.cloned(), Arc::from(""))..)
            .take_while(|((m, t, _), _)| *m == metric && (tenant.is_none() || t.as_ref() == tenant));
        of_metric.map(|(_, cell)| cell.clone()).collect()
    }

    fn total_in(&self, metric: Metric, tenant: Option<&TenantId>) -> u64 {
        self.cells(metric, tenant).iter().map(counted).sum()
    }

    fn per_second_in(&self, metric: Metric, tenant: Option<&TenantId>) -> f64 {
        let now_ms = self.clock.now_ms();
        let rates = self.cells(metric, tenant).into_iter().filter_map(|cell| match cell {
            Cell::Counter(cell) => Some(cell.rate.lock().per_second(now_ms)),
            Cell::Gauge(_) | Cell::Histogram(_) => None,
        });
        // The sum of no numbers at all is -0.0.
        rates.fold(0.0, |sum, rate| sum + rate)
    }

    /// The sum of a counter over all its label values and tenants.
    pub fn total(&self, metric: Metric) -> u64 {
        self.total_in(metric, None)
    }

    /// A counter by tenant and label value.
    pub(crate) fn totals(&self, metric: Metric) -> BTreeMap<(TenantId, Arc<str>), u64> {
        let series = self.series.read();
        let of_metric =
            series.range((metric, None, Arc::from(""))..).take_while(|((m, _, _), _)| *m == metric);
        let totals = of_metric.filter_map(|((_, tenant, label), cell)| {
            Some(((tenant.clone()?, Arc::clone(label)), counted(cell)))
        });
        totals.collect()
    }

    /// The rate of a counter over all its label values and tenants, per second over the last ten seconds.
    pub fn per_second(&self, metric: Metric) -> f64 {
        self.per_second_in(metric, None)
    }

    /// The series of the process as Prometheus text, version 0.0.4.
    pub fn render(&self) -> String {
        self.render_for(None)
    }

    fn render_for(&self, viewer: Option<&TenantId>) -> String {
        let series = self.series.read().clone();
        let mut text = String::new();
        let mut last = None;
        for ((metric, tenant, label), cell) in &series {
            if tenant.is_some() && tenant.as_ref() != viewer {
                continue;
            }
            if last != Some(*metric) {
                let (name, kind) = (metric.name(), metric.kind().as_str());
                let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", metric.help());
                last = Some(*metric);
            }
            write_cell(&mut text, *metric, label, cell);
        }
        text
    }
}

impl TenantMetrics {
    /// The counter of a label value; `""` for a metric without label. Keep it where it is used often.
    pub fn counter(&self, metric: Metric, label: &str) -> Counter {
        self.metrics.counter_in(metric, Some(&self.tenant), label)
    }

    /// The gauge of a label value; `""` for a metric without label.
    pub fn gauge(&self, metric: Metric, label: &str) -> Gauge {
        self.metrics.gauge_in(metric, Some(&self.tenant), label)
    }

    /// The histogram of a label value; `""` for a metric without label.
    pub fn histogram(&self, metric: Metric, label: &str) -> Histogram {
        self.metrics.histogram_in(metric, Some(&self.tenant), label)
    }

    /// The sum of a counter over all its label values.
    pub fn total(&self, metric: Metric) -> u64 {
        self.metrics.total_in(metric, Some(&self.tenant))
    }

    /// The rate of a counter over all its label values, per second over the last ten seconds.
    pub fn per_second(&self, metric: Metric) -> f64 {
        self.metrics.per_second_in(metric, Some(&self.tenant))
    }

    /// The rate of a counter of one label value; 0 when nothing was counted for it.
    pub fn per_second_of(&self, metric: Metric, label: &str) -> f64 {
        let key = (metric, Some(self.tenant.clone()), Arc::from(label));
        match self.metrics.series.read().get(&key) {
            Some(Cell::Counter(cell)) => cell.rate.lock().per_second(self.metrics.clock.now_ms()),
            _ => 0.0,
        }
    }

    /// Forgets the series of a thing that is gone.
    pub fn remove(&self, label: Label, value: &str) {
        self.metrics.series.write().retain(|(metric, tenant, series_value), _| {
            let is_of_it = metric.label() == label && &**series_value == value && label != Label::None;
            !is_of_it || tenant.as_ref() != Some(&self.tenant)
        });
    }

    /// What somebody of the tenant may see as Prometheus text, version 0.0.4: its series and those of the process.
    pub fn render(&self) -> String {
        self.metrics.render_for(Some(&self.tenant))
    }
}

fn counted(cell: &Cell) -> u64 {
    match cell {
        Cell::Counter(cell) => cell.total.load(Ordering::Relaxed),
        Cell::Gauge(_) | Cell::Histogram(_) => 0,
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Writing to a `String` cannot fail, so results of `write!` are dropped here.
fn write_cell(text: &mut String, metric: Metric, label: &str, cell: &Cell) {
    let name = metric.name();
    let label = match metric.label() {
        Label::None => String::new(),
        kind => format!("{}=\"{}\"", kind.as_str(), escape(label)),
    };
    let braces = |inner: String| if inner.is_empty() { inner } else { format!("{{{inner}}}") };
    match cell {
        Cell::Counter(cell) => {
            let _ = writeln!(text, "{name}{} {}", braces(label), cell.total.load(Ordering::Relaxed));
        }
        Cell::Gauge(bits) => {
            let _ =
                writeln!(text, "{name}{} {}", braces(label), f64::from_bits(bits.load(Ordering::Relaxed)));
        }
        Cell::Histogram(cell) => {
            let joined = |le: &str| match label.as_str() {
                "" => format!("{{le=\"{le}\"}}"),
                label => format!("{{{label},le=\"{le}\"}}"),
            };
            let mut count = 0;
            for (bound, bucket) in BOUNDS_MS.iter().zip(&cell.counts) {
                count += bucket.load(Ordering::Relaxed);
                let _ = writeln!(text, "{name}_bucket{} {count}", joined(&bound.to_string()));
            }
            count += cell.counts[BOUNDS_MS.len()].load(Ordering::Relaxed);
            let sum_ms = cell.sum_us.load(Ordering::Relaxed) as f64 / 1_000.0;
            let _ = writeln!(text, "{name}_bucket{} {count}", joined("+Inf"));
            let _ = writeln!(text, "{name}_sum{} {sum_ms}", braces(label.clone()));
            let _ = writeln!(text, "{name}_count{} {count}", braces(label));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tarn_core::SystemClock;

    fn metrics() -> TenantMetrics {
        Metrics::new(Arc::new(SystemClock)).of(&TenantId::default())
    }

    #[test]
    fn names_are_unique_and_follow_the_rules() {
        let mut names: Vec<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Metric::ALL.len());
        for metric in Metric::ALL {
            let name = metric.name();
            assert!(
                name.starts_with("tarn_") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                "{name}"
            );
            assert_eq!(name.ends_with("_total"), metric.kind() == MetricKind::Counter, "{name}");
            assert!(name.ends_with("_milliseconds") || metric.kind() != MetricKind::Histogram, "{name}");
        }
    }

    #[test]
    fn the_text_holds_every_series_and_escapes_labels() {
        let metrics = metrics();
        metrics.counter(Metric::IngestRows, "a\"b").add(7);
        metrics.gauge(Metric::QueriesRunning, "").add(2.0);
        metrics.histogram(Metric::QueryMs, "http").record(Duration::from_millis(3));
        let text = metrics.render();
        for line in [
            "# TYPE tarn_ingest_rows_total counter",
            "tarn_ingest_rows_total{source=\"a\\\"b\"} 7",
            "tarn_query_running 2",
            "tarn_query_milliseconds_bucket{protocol=\"http\",le=\"2\"} 0",
            "tarn_query_milliseconds_bucket{protocol=\"http\",le=\"5\"} 1",
            "tarn_query_milliseconds_bucket{protocol=\"http\",le=\"+Inf\"} 1",
            "tarn_query_milliseconds_sum{protocol=\"http\"} 3",
            "tarn_query_milliseconds_count{protocol=\"http\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn label_values_are_bounded() {
        let metrics = metrics();
        for n in 0..SERIES_MAX + 50 {
            metrics.counter(Metric::IngestTableRows, &format!("t{n}")).add(1);
        }
        let series = || metrics.metrics.cells(Metric::IngestTableRows, None).len();
        assert_eq!(series(), SERIES_MAX + 1);
        assert_eq!(metrics.counter(Metric::IngestTableRows, OTHER).total(), 50);
        assert_eq!(metrics.total(Metric::IngestTableRows), SERIES_MAX as u64 + 50);
        metrics.remove(Label::Topic, "t0");
        assert_eq!(series(), SERIES_MAX);
    }

    #[test]
    fn sums_go_over_all_labels() {
        let metrics = metrics();
        metrics.counter(Metric::Queries, "http").add(30);
        metrics.counter(Metric::Queries, "postgres").add(10);
        assert_eq!(metrics.total(Metric::Queries), 40);
        assert!(metrics.per_second(Metric::Queries) > 0.0);
    }

    #[test]
    fn nothing_per_second_is_no_negative_zero() {
        assert!(metrics().per_second(Metric::Queries).is_sign_positive());
    }

    #[test]
    fn a_tenant_sees_its_own_series_and_those_of_the_process() {
        let all = Metrics::new(Arc::new(SystemClock));
        let (a, b) = (all.of(&TenantId::new("a")), all.of(&TenantId::new("b")));
        a.counter(Metric::IngestRows, "shop").add(7);
        b.counter(Metric::IngestRows, "shop").add(1);
        all.counter(Metric::ServerRequests, "http").add(3);
        let lines = |text: String| {
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_string).collect::<Vec<_>>()
        };
        let requests = r#"tarn_server_requests_total{protocol="http"} 3"#;
        assert_eq!(lines(a.render()), [r#"tarn_ingest_rows_total{source="shop"} 7"#, requests]);
        assert_eq!(lines(b.render()), [r#"tarn_ingest_rows_total{source="shop"} 1"#, requests]);
        assert_eq!(lines(all.render()), [requests]);
        assert_eq!((a.total(Metric::IngestRows), all.total(Metric::IngestRows)), (7, 8));
        b.remove(Label::Source, "shop");
        assert_eq!((a.total(Metric::IngestRows), b.total(Metric::IngestRows)), (7, 0));
    }

    #[test]
    #[should_panic(expected = "is of a tenant or is not")]
    fn a_series_of_a_tenant_is_not_made_for_the_process() {
        Metrics::new(Arc::new(SystemClock)).counter(Metric::IngestRows, "shop");
    }
}
