//! The topic of records that could not be used.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use serde::Serialize;
use tarn_core::change::ChangeColumns;
use tarn_core::{ChangeKind, Position, RequestContext, TopicName};
use tarn_eventlog::{EventLog, LogBatch, ReadLimits};

use crate::error::IngestError;
use crate::source::DeadLetter;

/// Records are cut to this many bytes.
const RECORD_BYTES_MAX: usize = 64 << 10;

/// A dead letter as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredDeadLetter {
    /// Its offset in the dead-letter topic.
    pub offset: u64,
    /// When it was stored, ISO 8601 UTC.
    pub at: String,
    /// Which table, as far as known.
    pub table: Option<String>,
    /// The record as text.
    pub record: String,
    /// What was wrong and what to do.
    pub reason: String,
    /// Where it stood, such as `orders.csv:17`.
    pub place: String,
}

fn schema() -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Schema::new(vec![text("table"), text("record"), text("reason"), text("place")])
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(RECORD_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Letters as change rows; positions are their times, which grow.
pub(crate) fn batch_of(letters: &[DeadLetter], now_us: i64) -> Result<RecordBatch, ArrowError> {
    let text = |value: fn(&DeadLetter) -> Option<String>| -> ArrayRef {
        Arc::new(letters.iter().map(value).collect::<StringArray>())
    };
    let columns = vec![
        text(|letter| letter.table.as_ref().map(ToString::to_string)),
        text(|letter| Some(cut(&letter.record).to_string())),
        text(|letter| Some(letter.reason.clone())),
        text(|letter| Some(letter.at.clone())),
    ];
    let first = Position::new(u64::try_from(now_us).unwrap_or_default(), 0);
    ChangeColumns::uniform(ChangeKind::Insert, letters.len(), first, Some(now_us)).attach(&schema(), columns)
}

fn letters_of(stored: &LogBatch) -> Vec<StoredDeadLetter> {
    let column = |name: &str| {
        let array =
            stored.batch.column_by_name(name).map(|array| array.as_any().downcast_ref::<StringArray>());
        array.flatten().cloned()
    };
    let (Some(table), Some(record), Some(reason), Some(place)) =
        (column("table"), column("record"), column("reason"), column("place"))
    else {
        return Vec::new();
    };
    let at = super::status::iso(stored.appended_ms);
    let letter = |row: usize| StoredDeadLetter {
        offset: stored.first_offset + row as u64,
        at: at.clone(),
        table: table.is_valid(row).then(|| table.value(row).to_string()),
        record: record.value(row).to_string(),
        reason: reason.value(row).to_string(),
        place: place.value(row).to_string(),
    };
    (0..stored.batch.num_rows()).map(letter).collect()
}

/// The newest letters of a topic, newest first; none if there is no such topic.
pub(crate) async fn newest(
    log: &dyn EventLog,
    ctx: &RequestContext,
    topic: &TopicName,
    limit: usize,
) -> Result<Vec<StoredDeadLetter>, IngestError> {
    let info = match log.topic(ctx, topic).await {
        Err(tarn_eventlog::EventLogError::TopicNotFound { .. }) => return Ok(Vec::new()),
        info => info?,
    };
    let Some(partition) = info.partitions.first() else { return Ok(Vec::new()) };
    let mut offset = partition.high_offset.saturating_sub(limit as u64).max(partition.low_offset);
    let mut letters = Vec::new();
    while offset < partition.high_offset && letters.len() < limit {
        let read = log.read(ctx, topic, 0, offset, ReadLimits::default()).await?;
        if read.batches.is_empty() {
            break;
        }
        letters.extend(read.batches.iter().flat_map(letters_of));
        offset = read.next_offset;
    }
    letters.reverse();
    letters.truncate(limit);
    Ok(letters)
}
