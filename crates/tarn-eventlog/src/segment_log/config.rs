//! How the embedded log writes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarn_core::{ByteSize, HumanDuration};

/// How rows are compressed on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As they are: least processor time.
    None,
    /// LZ4 blocks: a half to a tenth of the size at little processor time.
    #[default]
    Lz4,
}

/// How the embedded log writes its segments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventLogConfig {
    /// Size at which a segment file is sealed and a new one begun. Retention drops whole segments.
    pub segment_bytes: ByteSize,
    /// The longest that an append waits for others to share its disk flush. Nobody waits for nothing: when every
    /// append under way is queued, the flush starts at once.
    pub flush_interval: HumanDuration,
    /// Queued bytes that start a flush before the interval is over.
    pub flush_bytes: ByteSize,
    /// Memory for the rows appended last, in all topics together: readers at the tail take them from there instead of
    /// from files. Rows of the last two seconds are kept.
    pub recent_bytes: ByteSize,
    /// How rows are compressed on disk. Topics written with another setting stay readable.
    pub compression: Compression,
    /// Time between two looks for segments beyond retention.
    pub retention_check_interval: HumanDuration,
}

impl Default for EventLogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: ByteSize(64 << 20),
            flush_interval: HumanDuration::from_millis(5),
            flush_bytes: ByteSize(1 << 20),
            recent_bytes: ByteSize(16 << 20),
            compression: Compression::Lz4,
            retention_check_interval: HumanDuration::from_secs(30),
        }
    }
}
