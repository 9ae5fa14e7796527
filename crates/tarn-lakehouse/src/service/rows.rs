//! Runs as rows, for SQL: `SELECT * FROM shop.orders.runs`.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use chrono::DateTime;

use super::run::{RunFigures, RunState, ServiceRun, Strategy, Trigger};

fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Minor => "minor",
        Strategy::Major => "major",
        Strategy::Sort => "sort",
        Strategy::Zorder => "zorder",
    }
}

fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Automatic => "automatic",
        Trigger::Statement => "statement",
        Trigger::Api => "api",
    }
}

fn state(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::Done => "done",
        RunState::Nothing => "nothing",
        RunState::Failed => "failed",
    }
}

/// One row per run.
pub(crate) fn rows(runs: &[ServiceRun]) -> Result<RecordBatch, ArrowError> {
    let mut columns: Vec<(Field, ArrayRef)> = Vec::new();
    let mut add = |name: &str, array: ArrayRef| {
        columns.push((Field::new(name, array.data_type().clone(), true), array));
    };
    let micros = runs.iter().map(|run| {
        let at = DateTime::parse_from_rfc3339(&run.started_at).ok()?;
        Some(at.timestamp_micros())
    });
    let started = micros.collect::<TimestampMicrosecondArray>().with_timezone("+00:00");
    add("started_at", Arc::new(started));
    let text = |of: fn(&ServiceRun) -> Option<&str>| -> ArrayRef {
        Arc::new(runs.iter().map(of).collect::<StringArray>())
    };
    add("service", text(|run| Some(run.service.name())));
    add("strategy", text(|run| run.strategy.map(strategy)));
    add("trigger", text(|run| Some(trigger(run.trigger))));
    add("reason", text(|run| Some(&run.reason)));
    add("state", text(|run| Some(state(run.state))));
    let number = |of: fn(&ServiceRun) -> Option<u64>| -> ArrayRef {
        Arc::new(runs.iter().map(of).collect::<UInt64Array>())
    };
    add("duration_ms", number(|run| Some(run.duration_ms)));
    add("cpu_ms", number(|run| run.cpu_ms));
    let figure = |of: fn(&RunFigures) -> u64| -> ArrayRef {
        Arc::new(runs.iter().map(|run| Some(of(&run.figures))).collect::<UInt64Array>())
    };
    add("bytes_read", figure(|f| f.bytes_read));
    add("bytes_written", figure(|f| f.bytes_written));
    add("rows_written", figure(|f| f.rows_written));
    add("files_before", figure(|f| f.files_before));
    add("files_after", figure(|f| f.files_after));
    add("delete_files_before", figure(|f| f.delete_files_before));
    add("delete_files_after", figure(|f| f.delete_files_after));
    add("deletes_removed", figure(|f| f.deletes_removed));
    add("files_removed", figure(|f| f.files_removed));
    add("bytes_freed", figure(|f| f.bytes_freed));
    add("snapshots_removed", figure(|f| f.snapshots_removed));
    add("manifests_before", figure(|f| f.manifests_before));
    add("manifests_after", figure(|f| f.manifests_after));
    add("snapshot_id", text(|run| run.snapshot_id.as_deref()));
    add("message", text(|run| run.message.as_deref()));
    add("hint", text(|run| run.hint.as_deref()));
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}
