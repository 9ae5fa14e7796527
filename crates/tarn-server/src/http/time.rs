//! Times as the API writes them.

use chrono::{DateTime, SecondsFormat, Utc};

/// ISO-8601 UTC with milliseconds.
pub(crate) fn iso(ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}
