//! Faults of the disk: which of them mean that it is full, and copies for every append of a group.

use std::io;
use std::path::Path;

use crate::error::EventLogError;

/// Whether a write failed for want of room: disk, quota or the process's file size limit.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// An error of the system while doing something with a file.
pub(super) fn io_error(action: &'static str, path: &Path, source: io::Error) -> EventLogError {
    if is_full(&source) {
        return EventLogError::DiskFull { source };
    }
    EventLogError::Io { action, path: path.display().to_string(), source }
}

/// Bytes of a file that are not what was written.
pub(super) fn corrupt(path: &Path, at: u64, what: impl Into<String>) -> EventLogError {
    EventLogError::CorruptSegment { path: path.display().to_string(), at, what: what.into() }
}

/// A copy of an error for each append that shares it. Only errors of the disk are shared; an error of Arrow loses
/// its type and keeps its text.
pub(super) fn copy_of(error: &EventLogError) -> EventLogError {
    let copy_io = |source: &io::Error| match source.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(source.kind(), source.to_string()),
    };
    match error {
        EventLogError::DiskFull { source } => EventLogError::DiskFull { source: copy_io(source) },
        EventLogError::CorruptSegment { path, at, what } => {
            EventLogError::CorruptSegment { path: path.clone(), at: *at, what: what.clone() }
        }
        EventLogError::TopicNotFound { topic, similar } => {
            EventLogError::TopicNotFound { topic: topic.clone(), similar: similar.clone() }
        }
        EventLogError::Io { action, path, source } => {
            EventLogError::Io { action, path: path.clone(), source: copy_io(source) }
        }
        EventLogError::Closed => EventLogError::Closed,
        other => EventLogError::Io {
            action: "write",
            path: "event log".to_string(),
            source: io::Error::other(tarn_core::chain_text(other)),
        },
    }
}
