//! Figures about requests and connections, by protocol.

use std::time::Duration;

use tarn_observe::{Counter, Gauge, Histogram, Metric, Metrics};

use crate::sql::Protocol;

/// Counts the requests of a protocol as they are answered. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RequestMeter {
    requests: Counter,
    faults: Counter,
    times: Histogram,
}

impl RequestMeter {
    pub(crate) fn new(metrics: &Metrics, protocol: Protocol) -> Self {
        let label = protocol.as_str();
        Self {
            requests: metrics.counter(Metric::ServerRequests, label),
            faults: metrics.counter(Metric::ServerFaults, label),
            times: metrics.histogram(Metric::ServerMs, label),
        }
    }

    /// `is_fault`: the answer says that the server failed, not that the request was wrong.
    pub(crate) fn answered(&self, elapsed: Duration, is_fault: bool) {
        self.requests.add(1);
        self.times.record(elapsed);
        if is_fault {
            self.faults.add(1);
        }
    }
}

/// Counts as one open connection until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection(Gauge);

impl OpenConnection {
    pub(crate) fn new(connections: &Gauge) -> Self {
        connections.add(1.0);
        Self(connections.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.add(-1.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tarn_core::SystemClock;

    use super::*;

    #[test]
    fn answers_are_counted_by_protocol_and_faults_among_them() {
        let metrics = Metrics::new(Arc::new(SystemClock));
        let http = RequestMeter::new(&metrics, Protocol::Http);
        http.answered(Duration::from_millis(3), false);
        http.answered(Duration::from_millis(3), true);
        RequestMeter::new(&metrics, Protocol::Flight).answered(Duration::from_millis(3), false);
        let text = metrics.render();
        for line in [
            "tarn_server_requests_total{protocol=\"http\"} 2",
            "tarn_server_requests_total{protocol=\"flight\"} 1",
            "tarn_server_faults_total{protocol=\"http\"} 1",
            "tarn_server_request_milliseconds_count{protocol=\"http\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_connection_counts_while_it_is_open() {
        let metrics = Metrics::new(Arc::new(SystemClock));
        let gauge = metrics.gauge(Metric::ServerConnections, "http");
        let open = OpenConnection::new(&gauge);
        assert_eq!(gauge.get(), 1.0);
        drop(open);
        assert_eq!(gauge.get(), 0.0);
    }
}
