//! What can go wrong with the log.

use tarn_core::{Fault, FaultKind, Position, TopicName};

/// Errors of the event log.
#[derive(Debug, thiserror::Error)]
pub enum EventLogError {
    /// No such topic.
    #[error("topic `{topic}` not found")]
    TopicNotFound {
        /// The name asked for.
        topic: TopicName,
        /// The nearest name that exists.
        similar: Option<String>,
    },
    /// A topic of that name exists with another shape.
    #[error("topic `{topic}` exists with {what}")]
    TopicConflict {
        /// The topic.
        topic: TopicName,
        /// How it differs.
        what: String,
    },
    /// No such partition.
    #[error("topic `{topic}` has {partitions} partitions, not partition {partition}")]
    PartitionNotFound {
        /// The topic.
        topic: TopicName,
        /// The partition asked for.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// The offset was dropped by retention or is not written yet.
    #[error("offset {offset} of topic `{topic}`/{partition} is out of range: {low} to {high} are held")]
    OffsetOutOfRange {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: u32,
        /// The offset asked for.
        offset: u64,
        /// The oldest held offset.
        low: u64,
        /// One past the newest.
        high: u64,
    },
    /// The state of an append does not grow.
    #[error("producer `{producer}` appended at {offered}, but {stored} is already durable")]
    StaleProducer {
        /// Who wrote.
        producer: String,
        /// The position offered.
        offered: Position,
        /// The position stored.
        stored: Position,
    },
    /// No room; nothing of the append was kept.
    #[error("the disk of the event log is full")]
    DiskFull {
        /// What the system said.
        source: std::io::Error,
    },
    /// Bytes before the tail of a segment are damaged.
    #[error("segment `{path}` is damaged at byte {at}: {what}")]
    CorruptSegment {
        /// The file.
        path: String,
        /// Where.
        at: u64,
        /// How.
        what: String,
    },
    /// The input cannot be stored.
    #[error("{what}")]
    InvalidAppend {
        /// Why not.
        what: String,
    },
    /// Another process holds the folder.
    #[error("the event log in `{path}` is in use by another process")]
    Locked {
        /// The folder.
        path: String,
    },
    /// The disk failed.
    #[error("could not {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Arrow refused the bytes or the batch.
    #[error("could not {action} a batch of topic `{topic}`")]
    Codec {
        /// What was tried.
        action: &'static str,
        /// The topic.
        topic: TopicName,
        /// What Arrow said.
        source: arrow::error::ArrowError,
    },
    /// The log is shutting down.
    #[error("the event log is closed")]
    Closed,
}

impl Fault for EventLogError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::TopicNotFound { .. } | Self::PartitionNotFound { .. } => FaultKind::NotFound,
            Self::TopicConflict { .. } | Self::StaleProducer { .. } | Self::Locked { .. } => {
                FaultKind::Conflict
            }
            Self::OffsetOutOfRange { .. } | Self::InvalidAppend { .. } => FaultKind::Invalid,
            Self::DiskFull { .. } => FaultKind::Exhausted,
            Self::CorruptSegment { .. } => FaultKind::Corrupt,
            Self::Io { .. } | Self::Closed => FaultKind::Unavailable,
            Self::Codec { .. } => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::TopicNotFound { similar, .. } => {
                similar.as_ref().map(|name| format!("did you mean `{name}`?"))
            }
            Self::DiskFull { .. } => Some(
                "free space or lower the retention of topics; writers wait and go on by themselves"
                    .to_string(),
            ),
            Self::OffsetOutOfRange { low, .. } => Some(format!("read from {low}, the oldest row still held")),
            Self::CorruptSegment { .. } => {
                Some("restore the file from a backup, or move it away to go on without its rows".to_string())
            }
            Self::Locked { .. } => {
                Some("stop the other process, or choose another folder with --data".to_string())
            }
            Self::TopicConflict { .. }
            | Self::PartitionNotFound { .. }
            | Self::StaleProducer { .. }
            | Self::InvalidAppend { .. }
            | Self::Io { .. }
            | Self::Codec { .. }
            | Self::Closed => None,
        }
    }
}
