//! Topics: named, partitioned, ordered, durable logs of Arrow batches of change rows.
//!
//! [`EventLog`] is the port; [`SegmentLog`] is the embedded implementation on local files.

pub mod bench;
mod error;
mod port;
mod segment_log;

pub use error::EventLogError;
pub use port::{
    Append, Appended, ConsumerPosition, EventLog, LogBatch, Offset, PartitionInfo, ProducerState,
    ReadBatches, ReadLimits, Retention, TopicInfo, TopicSpec,
};
pub use segment_log::{Compression, EventLogConfig, LogStats, SegmentLog, TopicStats};
