//! What all SQL protocols share: names of queries and figures about them.

use std::sync::Arc;

use tarn_core::Env;
use tarn_observe::{Metric, Metrics};
use tarn_query::{QueryObserver, QueryOutcome, QueryState};

/// Who speaks SQL to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Pgwire,
    Flight,
}

impl Protocol {
    /// As metrics label it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Pgwire => "pgwire",
            Self::Flight => "flight",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Http => "http-",
            Self::Pgwire => "pg-",
            Self::Flight => "flight-",
        }
    }

    /// A new name for a query, which tells its protocol.
    pub(crate) fn query_id(self, env: &Env) -> String {
        format!("{}{}", self.prefix(), env.entropy.uuid().simple())
    }

    /// Clients of the HTTP API may choose names of their own.
    fn of(query_id: &str) -> Self {
        [Self::Pgwire, Self::Flight]
            .into_iter()
            .find(|one| query_id.starts_with(one.prefix()))
            .unwrap_or(Self::Http)
    }
}

/// Counts queries of every protocol as they end.
#[derive(Debug)]
pub(crate) struct QueryMeter(pub Arc<Metrics>);

impl QueryObserver for QueryMeter {
    fn finished(&self, outcome: &QueryOutcome) {
        let metrics = self.0.of(&outcome.tenant);
        let label = Protocol::of(&outcome.record.query_id).as_str();
        metrics.counter(Metric::Queries, label).add(1);
        metrics.histogram(Metric::QueryMs, label).record(outcome.elapsed);
        metrics.counter(Metric::QueryRows, label).add(outcome.record.rows);
        metrics.counter(Metric::QueryBytesScanned, "").add(outcome.stats.scan.bytes_scanned);
        if outcome.record.state == QueryState::Failed {
            metrics.counter(Metric::QueryFaults, label).add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_query_tells_its_protocol() {
        let env = Env::system();
        for protocol in [Protocol::Http, Protocol::Pgwire, Protocol::Flight] {
            assert_eq!(Protocol::of(&protocol.query_id(&env)), protocol);
        }
        assert_eq!(Protocol::of("my-report"), Protocol::Http);
    }
}
