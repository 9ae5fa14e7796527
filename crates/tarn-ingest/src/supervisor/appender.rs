//! Writes batches to topics: in order within a table, side by side between tables, within a bound of bytes.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, FixedSizeBinaryArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tarn_core::change::{EVENT_TIME, POSITION};
use tarn_core::{Env, Fault, FaultKind, Position, RequestContext, ResourceName, TopicName};
use tarn_eventlog::{Append, EventLog, EventLogError, ProducerState};
use tokio_util::sync::CancellationToken;

use super::pause::Pauses;
use super::status::{DurableRows, SourceState, StatusCell};
use crate::error::IngestError;
use crate::source::{SourceBatch, SourceTable};

/// Waiting batches of a table are joined into appends of about this size.
const APPEND_BYTES_MAX: usize = 8 << 20;
/// Attempts of an append that fails for another reason than a full disk.
const ATTEMPTS_MAX: u32 = 6;
/// The part whose state lists the parts of a table.
pub(crate) const PARTS: &str = ".parts";

/// What the appender works with.
#[derive(Clone)]
pub(crate) struct AppendPorts {
    pub(crate) ctx: RequestContext,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) env: Env,
    pub(crate) source: ResourceName,
    pub(crate) status: Arc<StatusCell>,
    pub(crate) stop: CancellationToken,
    /// Rows come from a sender who keeps them until they are durable. A full disk is told to it, not waited out.
    pub(crate) sender_waits: bool,
}

/// The producer of a part in the states of a topic.
pub(crate) fn producer_of(source: &ResourceName, part: &str) -> String {
    if part.is_empty() { source.to_string() } else { format!("{source}/{part}") }
}

/// What is durable of a part.
#[derive(Debug)]
pub(crate) struct Durable {
    pub(crate) table: SourceTable,
    pub(crate) part: String,
    pub(crate) position: Position,
}

/// What the log held of a table when the source was opened.
#[derive(Debug, Default)]
pub(crate) struct LaneStart {
    /// Position per part.
    pub(crate) positions: HashMap<String, Position>,
    /// Registered parts and the position of their list.
    pub(crate) parts: BTreeSet<String>,
    pub(crate) parts_version: u64,
}

/// The queue of one table.
struct Lane {
    topic: TopicName,
    schema: SchemaRef,
    busy: bool,
    pending: VecDeque<SourceBatch>,
    /// Position of the newest batch taken in, per part.
    accepted: HashMap<String, Position>,
    parts: BTreeSet<String>,
    parts_version: u64,
}

struct Finished {
    durable: Durable,
    rows: DurableRows,
    held_bytes: usize,
    result: Result<(), IngestError>,
}

pub(crate) struct Appender {
    ports: AppendPorts,
    lanes: HashMap<SourceTable, Lane>,
    running: FuturesUnordered<BoxFuture<'static, Finished>>,
    in_flight_bytes: usize,
}

impl Appender {
    pub(crate) fn new(ports: AppendPorts) -> Self {
        ports.status.in_flight.set(0.0);
        Self { ports, lanes: HashMap::new(), running: FuturesUnordered::new(), in_flight_bytes: 0 }
    }

    /// Takes in a table, or its new schema. `schema`: of its change rows.
    pub(crate) fn describe(
        &mut self,
        table: SourceTable,
        topic: TopicName,
        schema: SchemaRef,
        start: LaneStart,
    ) {
        match self.lanes.get_mut(&table) {
            Some(lane) => lane.schema = schema,
            None => {
                let LaneStart { positions: accepted, parts, parts_version } = start;
                let pending = VecDeque::new();
                self.lanes.insert(
                    table,
                    Lane { topic, schema, busy: false, pending, accepted, parts, parts_version },
                );
            }
        }
    }

    pub(crate) fn is_described(&self, table: &SourceTable) -> bool {
        self.lanes.contains_key(table)
    }

    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.running.is_empty()
    }

    /// Queues a batch. Returns what is durable already if the log held all of it before.
    /// Errors: the batch breaks a promise of its connector.
    pub(crate) fn push(&mut self, mut batch: SourceBatch) -> Result<Option<Durable>, String> {
        let Some(lane) = self.lanes.get_mut(&batch.table) else {
            return Err(format!("rows of table {:?} came before its description", batch.table));
        };
        if batch.rows.schema_ref() != &lane.schema && batch.rows.schema().fields() != lane.schema.fields() {
            return Err(format!("rows of table {:?} have another schema than described", batch.table));
        }
        if batch.part == PARTS {
            return Err(format!("`{PARTS}` is not a part name"));
        }
        if let Some(accepted) = lane.accepted.get(&batch.part).copied() {
            batch.rows = rows_after(&batch.rows, accepted)?;
            if batch.position <= accepted {
                if batch.rows.num_rows() > 0 {
                    return Err(format!("a batch of table {:?} ends after its own position", batch.table));
                }
                let (table, part) = (batch.table, batch.part);
                // What is still in flight is acknowledged by its own append.
                return Ok((!lane.busy).then_some(Durable { table, part, position: accepted }));
            }
        }
        lane.accepted.insert(batch.part.clone(), batch.position);
        self.in_flight_bytes += held_bytes(&batch);
        self.ports.status.in_flight.set(self.in_flight_bytes as f64);
        lane.pending.push_back(batch);
        if !lane.busy {
            start(&self.ports, lane, &self.running)?;
        }
        Ok(None)
    }

    /// Waits for the next append to become durable; pending for ever without one.
    pub(crate) async fn next(&mut self) -> Result<Durable, IngestError> {
        let Some(finished) = self.running.next().await else { return std::future::pending().await };
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(finished.held_bytes);
        self.ports.status.in_flight.set(self.in_flight_bytes as f64);
        finished.result?;
        self.ports.status.add_rows(&finished.durable.table, finished.rows);
        if let Some(lane) = self.lanes.get_mut(&finished.durable.table) {
            lane.busy = false;
            if !lane.pending.is_empty() {
                start(&self.ports, lane, &self.running).map_err(|what| broken(&self.ports, what))?;
            }
        }
        Ok(finished.durable)
    }
}

fn broken(ports: &AppendPorts, what: String) -> IngestError {
    IngestError::Broken { source_type: ports.source.to_string(), what }
}

fn held_bytes(batch: &SourceBatch) -> usize {
    batch.rows.get_array_memory_size() + batch.note.len()
}

/// The rows behind a position. Positions grow within a batch.
fn rows_after(rows: &RecordBatch, position: Position) -> Result<RecordBatch, String> {
    let column =
        rows.column_by_name(POSITION).and_then(|c| c.as_any().downcast_ref::<FixedSizeBinaryArray>());
    let positions = column.ok_or_else(|| format!("rows lack the column `{POSITION}`"))?;
    let bound = position.to_bytes();
    if positions.is_empty() || positions.value(0) > bound.as_slice() {
        return Ok(rows.clone());
    }
    let (mut low, mut high) = (0, positions.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if positions.value(middle) <= bound.as_slice() { low = middle + 1 } else { high = middle }
    }
    Ok(rows.slice(low, rows.num_rows() - low))
}

fn newest_event_us(rows: &RecordBatch) -> Option<i64> {
    let times = rows.column_by_name(EVENT_TIME)?.as_any().downcast_ref::<TimestampMicrosecondArray>()?;
    arrow::compute::max(times)
}

/// Starts the next append of a lane: as many waiting batches of one part and schema as fit.
fn start(
    ports: &AppendPorts,
    lane: &mut Lane,
    running: &FuturesUnordered<BoxFuture<'static, Finished>>,
) -> Result<(), String> {
    let Some(mut last) = lane.pending.pop_front() else { return Ok(()) };
    let mut held = held_bytes(&last);
    let mut rows = vec![last.rows.clone()];
    while let Some(next) = lane.pending.front()
        && next.part == last.part
        && next.rows.schema_ref() == last.rows.schema_ref()
        && held + held_bytes(next) <= APPEND_BYTES_MAX
        && let Some(next) = lane.pending.pop_front()
    {
        held += held_bytes(&next);
        rows.push(next.rows.clone());
        last = next;
    }
    let batch = match rows.as_slice() {
        [one] => one.clone(),
        many => concat_batches(last.rows.schema_ref(), many).map_err(|error| error.to_string())?,
    };
    let mut appends = Vec::new();
    if !last.part.is_empty() && lane.parts.insert(last.part.clone()) {
        lane.parts_version += 1;
        appends.push(parts_append(&ports.source, lane, batch.schema())?);
    }
    let durable_rows = DurableRows {
        rows: batch.num_rows() as u64,
        bytes: batch.get_array_memory_size() as u64,
        event_time_us: newest_event_us(&batch),
        snapshot: last.part.starts_with("snapshot"),
    };
    let producer = producer_of(&ports.source, &last.part);
    appends.push(Append {
        batch,
        state: Some(ProducerState {
            producer,
            position: last.position,
            note: last.note,
            transaction_open: !last.transaction_end,
        }),
    });
    let durable = Durable { table: last.table, part: last.part, position: last.position };
    let (ports, topic) = (ports.clone(), lane.topic.clone());
    lane.busy = true;
    running.push(Box::pin(async move {
        let result = append_all(&ports, &topic, appends).await;
        Finished { durable, rows: durable_rows, held_bytes: held, result }
    }));
    Ok(())
}

/// The state that lists a table's parts, so that a restart knows whose states to ask for.
fn parts_append(source: &ResourceName, lane: &Lane, schema: SchemaRef) -> Result<Append, String> {
    let note = serde_json::to_vec(&lane.parts).map_err(|error| error.to_string())?;
    let position = Position::new(0, lane.parts_version);
    let producer = producer_of(source, PARTS);
    let state = ProducerState { producer, position, note, transaction_open: false };
    Ok(Append { batch: RecordBatch::new_empty(schema), state: Some(state) })
}

async fn append_all(ports: &AppendPorts, topic: &TopicName, appends: Vec<Append>) -> Result<(), IngestError> {
    for append in appends {
        append_retrying(ports, topic, append).await?;
    }
    Ok(())
}

/// Appends until it is durable. A full disk is waited for as long as it takes, unless a sender waits; another passing
/// fault is tried a few times.
pub(crate) async fn append_retrying(
    ports: &AppendPorts,
    topic: &TopicName,
    append: Append,
) -> Result<(), IngestError> {
    let (mut pauses, mut attempts, mut uncertain) = (Pauses::new(), 0, false);
    loop {
        let started = ports.env.clock.instant();
        let error = match ports.log.append(&ports.ctx, topic, 0, append.clone()).await {
            Ok(_) => {
                ports.status.append_ms.record(ports.env.clock.instant() - started);
                return Ok(());
            }
            // An attempt that seemed to fail was durable after all.
            Err(EventLogError::StaleProducer { stored, .. })
                if uncertain && append.state.as_ref().is_some_and(|state| state.position == stored) =>
            {
                return Ok(());
            }
            Err(error) => error,
        };
        let full = matches!(error, EventLogError::DiskFull { .. });
        let passing = error.kind() == FaultKind::Unavailable && !matches!(error, EventLogError::Closed);
        attempts += 1;
        if full && ports.sender_waits {
            // Told before the sender's call ends, which looks for it.
            let error = IngestError::from(error);
            ports.status.fail(SourceState::BackingOff, &error);
            return Err(error);
        }
        if !full && (!passing || attempts >= ATTEMPTS_MAX) {
            return Err(error.into());
        }
        uncertain |= !full;
        tracing::warn!(source = %ports.source, %topic, attempts, error = %tarn_core::chain_text(&error), "append repeated");
        ports.status.fail(SourceState::BackingOff, &IngestError::from(error));
        if !pauses.wait(&ports.env, &ports.stop).await {
            return Err(IngestError::Stopping);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use tarn_core::ChangeKind;
    use tarn_core::change::ChangeColumns;

    fn rows(first: u64, count: usize) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
        let columns = ChangeColumns::uniform(ChangeKind::Insert, count, Position::new(0, first), Some(7));
        let values: Int64Array = (0..count as i64).collect();
        columns.attach(&schema, vec![Arc::new(values)]).expect("change rows")
    }

    #[test]
    fn rows_up_to_a_position_are_dropped() {
        let batch = rows(10, 5);
        for (position, left) in [(9, 5), (10, 4), (12, 2), (14, 0), (99, 0)] {
            let rest = rows_after(&batch, Position::new(0, position)).expect("change rows");
            assert_eq!(rest.num_rows(), left, "after {position}");
        }
        assert_eq!(newest_event_us(&batch), Some(7));
    }
}
