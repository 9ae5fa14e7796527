//! Topics: named, partitioned, ordered, durable logs of Arrow batches of change rows.

mod error;
mod port;

pub use error::EventLogError;
pub use port::{
    Append, Appended, ConsumerPosition, EventLog, LogBatch, Offset, PartitionInfo, ProducerState, ReadBatches,
    ReadLimits, Retention, TopicInfo, TopicSpec,
};
