//! What the platform says about itself: metrics, current faults, process and disk figures, log lines.

mod fault_board;
mod logging;
mod metric;
mod metrics;
mod process;
mod rate;
mod rate_history;
mod window;

pub use fault_board::{CurrentFault, FaultAction, FaultBoard, FaultNote, Severity, SubjectKind};
pub use logging::{LogConfig, LogError, init_logging};
pub use metric::{Label, Metric, MetricKind, Scope};
pub use metrics::{Counter, Gauge, Histogram, Metrics, TenantMetrics};
pub use process::{DiskSpace, disk_space, folder_bytes, memory_bytes, thread_cpu_ns};
pub use rate_history::{RateHistory, RatePoint};
pub use window::Quantiles;
