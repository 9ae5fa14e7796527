//! The list of metrics. A metric is a variant, so a name cannot be misspelt and every metric has a help text.

/// What the label of a metric names. A metric has at most one label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// The metric has no label.
    None,
    /// A source by name.
    Source,
    /// A topic by name.
    Topic,
    /// A table, `namespace.table`.
    Table,
    /// `http`, `flight` or `pgwire`.
    Protocol,
}

impl Label {
    /// The label's name in Prometheus text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Source => "source",
            Self::Topic => "topic",
            Self::Table => "table",
            Self::Protocol => "protocol",
        }
    }
}

/// Whose figures a metric holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Those of the process, which everybody may see who may see figures.
    Process,
    /// Those of one tenant, which nobody else may see.
    Tenant,
}

/// How a metric is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// A value at a moment.
    Gauge,
    /// A distribution of milliseconds.
    Histogram,
}

impl MetricKind {
    /// The kind's name in Prometheus text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Scope, kind, label, name and help of every metric: one row each, so that the list and the texts cannot drift apart.
macro_rules! metrics {
    ($($variant:ident, $scope:ident, $kind:ident, $label:ident, $name:literal, $help:literal;)*) => {
        /// Everything that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Metric {
            $(#[doc = $help] $variant,)*
        }

        impl Metric {
            /// All metrics, in the order of the text.
            pub const ALL: &'static [Metric] = &[$(Metric::$variant,)*];

            /// The name in Prometheus text.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One line for people.
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }

            /// Whose figures it holds.
            pub fn scope(self) -> Scope {
                match self { $(Self::$variant => Scope::$scope,)* }
            }

            /// How it is counted.
            pub fn kind(self) -> MetricKind {
                match self { $(Self::$variant => MetricKind::$kind,)* }
            }

            /// What its label names.
            pub fn label(self) -> Label {
                match self { $(Self::$variant => Label::$label,)* }
            }
        }
    };
}

metrics! {
    IngestRows, Tenant, Counter, Source, "tarn_ingest_rows_total", "Change rows that a source made durable.";
    IngestBytes, Tenant, Counter, Source, "tarn_ingest_bytes_total", "Bytes of change rows that a source made durable, in memory.";
    IngestTableRows, Tenant, Counter, Topic, "tarn_ingest_table_rows_total", "Change rows that a source made durable in a topic.";
    IngestDeadLetters, Tenant, Counter, Source, "tarn_ingest_dead_letters_total", "Records of a source that could not be used.";
    IngestRestarts, Tenant, Counter, Source, "tarn_ingest_restarts_total", "Times that a source was started again after a fault.";
    IngestLagMs, Tenant, Gauge, Source, "tarn_ingest_lag_milliseconds", "Age of the newest durable change of a source when it became durable.";
    IngestLagBytes, Tenant, Gauge, Source, "tarn_ingest_lag_bytes", "Bytes that a source's system holds and that were not read yet.";
    IngestInFlightBytes, Tenant, Gauge, Source, "tarn_ingest_in_flight_bytes", "Bytes read from a source that are not durable yet.";
    IngestAppendMs, Tenant, Histogram, Source, "tarn_ingest_append_milliseconds", "Time until an append of a source was durable.";
    LakehouseCommits, Tenant, Counter, Table, "tarn_lakehouse_commits_total", "Snapshots committed to a table.";
    LakehouseRows, Tenant, Counter, Table, "tarn_lakehouse_rows_total", "Change rows applied to a table.";
    LakehouseFreshnessMs, Tenant, Gauge, Table, "tarn_lakehouse_freshness_milliseconds", "Age of the newest change of a table that queries cannot see yet.";
    LakehouseCompactions, Tenant, Counter, Table, "tarn_lakehouse_compactions_total", "Times that files of a table were rewritten.";
    LakehouseServiceRuns, Tenant, Counter, Table, "tarn_lakehouse_service_runs_total", "Runs of services on a table that ended: compaction, expiry, orphans, manifests, statistics.";
    LakehouseServiceFaults, Tenant, Counter, Table, "tarn_lakehouse_service_faults_total", "Runs of services on a table that failed.";
    LakehouseServiceCpuMs, Tenant, Counter, Table, "tarn_lakehouse_service_cpu_milliseconds_total", "Processor time of runs of services on a table.";
    LakehouseServiceBytesRead, Tenant, Counter, Table, "tarn_lakehouse_service_bytes_read_total", "Bytes of files that services read of a table.";
    LakehouseServiceBytesWritten, Tenant, Counter, Table, "tarn_lakehouse_service_bytes_written_total", "Bytes of files that services wrote for a table.";
    LakehouseServiceBytesFreed, Tenant, Counter, Table, "tarn_lakehouse_service_bytes_freed_total", "Bytes of files of a table that services deleted.";
    LakehouseServicesRunning, Tenant, Gauge, None, "tarn_lakehouse_services_running", "Runs of table services under way.";
    LakehouseServicesWaiting, Tenant, Gauge, None, "tarn_lakehouse_services_waiting", "Runs of table services that are due and wait.";
    Queries, Tenant, Counter, Protocol, "tarn_query_total", "Queries that ended.";
    QueryFaults, Tenant, Counter, Protocol, "tarn_query_faults_total", "Queries that ended with an error.";
    QueryMs, Tenant, Histogram, Protocol, "tarn_query_milliseconds", "Time from a query's arrival to its last row.";
    QueriesRunning, Tenant, Gauge, None, "tarn_query_running", "Queries that run now.";
    QueryRows, Tenant, Counter, Protocol, "tarn_query_rows_total", "Rows returned by queries.";
    QueryBytesScanned, Tenant, Counter, None, "tarn_query_bytes_scanned_total", "Bytes of data files read by queries.";
    ServerRequests, Process, Counter, Protocol, "tarn_server_requests_total", "Requests answered; of the PostgreSQL protocol, statements.";
    ServerFaults, Process, Counter, Protocol, "tarn_server_faults_total", "Requests answered with a fault of the server.";
    ServerMs, Process, Histogram, Protocol, "tarn_server_request_milliseconds", "Time from a request's arrival to the first byte of its answer.";
    ServerConnections, Process, Gauge, Protocol, "tarn_server_connections", "Open connections.";
    ProcessMemoryBytes, Process, Gauge, None, "tarn_process_memory_bytes", "Resident memory of the process.";
    DiskBytes, Process, Gauge, None, "tarn_disk_used_bytes", "Bytes in the data folder.";
    DiskFreeBytes, Process, Gauge, None, "tarn_disk_free_bytes", "Free bytes on the disk of the data folder.";
}
