//! Dropping whole segments that are too old or too much.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tarn_core::HumanDuration;

use super::fault::io_error;
use super::folder::sync_folder;
use super::partition::Partition;
use super::segment::Segment;
use crate::error::EventLogError;
use crate::port::Retention;

/// A topic that keeps little is written in segments of at least this size.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// A topic limited in size is written in at least this many segments, so that dropping one drops little.
const SEGMENTS_PER_SIZE: u64 = 8;

/// The size at which a topic's segments are sealed.
pub(super) fn segment_bytes(configured: u64, retention: &Retention) -> u64 {
    let Some(size) = retention.size else { return configured };
    configured.min((size.0 / SEGMENTS_PER_SIZE).max(SEGMENT_BYTES_MIN))
}

fn cutoff_ms(now_ms: i64, age: Option<HumanDuration>) -> Option<i64> {
    let age_ms = i64::try_from(age?.0.as_millis()).unwrap_or(i64::MAX);
    Some(now_ms.saturating_sub(age_ms))
}

impl Partition {
    /// Drops segments beyond retention and returns the bytes freed. Blocks on the disk.
    /// Errors: `Io`, `DiskFull` when the newest segment must be sealed first and there is no room to do so.
    pub(super) fn apply_retention(&self, retention: &Retention) -> Result<u64, EventLogError> {
        let mut writer = self.writer.lock();
        if writer.failure.is_some() {
            return Ok(0);
        }
        let cutoff_ms = cutoff_ms(self.env.clock.now_ms(), retention.age);
        let has_rows = writer.segment.header.first_offset < writer.next_offset;
        if has_rows && cutoff_ms.is_some_and(|cutoff| writer.last_ms < cutoff) {
            writer.roll(self)?;
        }
        if !std::mem::take(&mut writer.is_used) {
            // Thousands of idle partitions should not hold as many open files.
            writer.file = None;
        }
        let dropped = self.take_beyond(cutoff_ms, retention.size.map(|size| size.0));
        let mut freed = 0;
        for segment in &dropped {
            remove(&segment.path)?;
            freed += segment.len();
        }
        if freed > 0 {
            let folder = &self.place.folder;
            sync_folder(folder).map_err(|error| io_error("sync", folder, error))?;
        }
        Ok(freed)
    }

    /// Takes the segments that must go out of the view, oldest first; the newest stays.
    fn take_beyond(&self, cutoff_ms: Option<i64>, size_max: Option<u64>) -> Vec<Arc<Segment>> {
        let mut view = self.view.write();
        let mut size: u64 = view.segments.iter().map(|segment| segment.len()).sum();
        let mut count = 0;
        for pair in view.segments.windows(2) {
            // The last row of a segment was appended when the next one was begun.
            let is_old = cutoff_ms.is_some_and(|cutoff| pair[1].header.started_ms < cutoff);
            if !is_old && size_max.is_none_or(|max| size <= max) {
                break;
            }
            size -= pair[0].len();
            count += 1;
        }
        view.segments.drain(..count).collect()
    }
}

fn remove(path: &Path) -> Result<(), EventLogError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
