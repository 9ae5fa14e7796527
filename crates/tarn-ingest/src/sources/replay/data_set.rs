//! The data set in memory, and the order of its events.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tarn_core::change::{ChangeColumns, positions_array};
use tarn_core::{ChangeKind, Position};

use super::config::{EventKind, EventTime, ReplayConfig, ReplayTable, start_us};
use crate::error::IngestError;
use crate::records::{Fingerprint, plain_batch, plain_schema, plain_table};
use crate::source::{SourceTable, TableDescription};

/// Bytes of all tables in memory at most.
const DATA_BYTES_MAX: usize = 2 << 30;
/// Events of all tables at most; each takes 16 bytes.
const EVENTS_MAX: usize = 50_000_000;

/// One event of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Event {
    /// Simulated time, microseconds since 1970.
    pub(super) at_us: i64,
    pub(super) table: u16,
    row: u32,
    step: u16,
}

/// An event of a table's rows, with its columns found.
struct Step {
    kind: ChangeKind,
    at: EventTime,
    /// Which columns are known from this event on.
    known: Vec<bool>,
}

/// What a table is, before its rows are read.
pub(super) struct TablePlan {
    pub(super) description: TableDescription,
    path: PathBuf,
    steps: Vec<Step>,
}

struct LoadedTable {
    table: SourceTable,
    schema: SchemaRef,
    columns: Vec<ArrayRef>,
    steps: Vec<Step>,
}

/// All rows and the order of their events.
pub(super) struct DataSet {
    pub(super) descriptions: Vec<TableDescription>,
    tables: Vec<LoadedTable>,
    pub(super) events: Vec<Event>,
    /// When the simulated clock starts.
    pub(super) start_us: i64,
    /// Stands for the order of events; a changed data set has another one.
    pub(super) fingerprint: u64,
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, IngestError> {
    let shown = path.display().to_string();
    let file =
        File::open(path).map_err(|source| IngestError::Io { action: "open", path: shown.clone(), source })?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| IngestError::Decode {
        what: format!("the Parquet file `{shown}`"),
        source: error.into(),
    })
}

/// Reads the schema of a table and finds the columns of its events. `n`: its number in the configuration.
pub(super) fn plan_table(folder: &Path, n: usize, table: &ReplayTable) -> Result<TablePlan, IngestError> {
    let default_file = format!("{}.parquet", table.name);
    let path = folder.join(table.file.as_deref().unwrap_or(&default_file));
    let schema = plain_schema(open(&path)?.schema());
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let missing = |field: String, column: &str| {
        let advice = match tarn_core::nearest(column, names.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("use one of its columns: {}", names.join(", ")),
        };
        IngestError::config(field, format!("`{}` has no column `{column}`", path.display()), advice)
    };
    if let Some(column) = table.key.iter().find(|column| !names.contains(&column.as_str())) {
        return Err(missing(format!("tables[{n}].key"), column));
    }
    let mut known = vec![false; names.len()];
    for column in &table.key {
        known.iter_mut().zip(&names).filter(|(_, name)| *name == column).for_each(|(known, _)| *known = true);
    }
    let key_only = known.clone();
    let mut steps = Vec::new();
    for (m, event) in table.events.iter().enumerate() {
        let field = format!("tables[{n}].events[{m}]");
        for column in &event.columns {
            let place = names.iter().position(|name| name == column);
            known[place.ok_or_else(|| missing(format!("{field}.columns"), column))?] = true;
        }
        if event.columns.is_empty() && event.kind != EventKind::Delete {
            known.fill(true);
        }
        let at = EventTime::parse(&event.at)
            .map_err(|what| IngestError::config(format!("{field}.at"), what, ""))?;
        if let Some(column) = &at.column {
            let found = schema.field_with_name(column).map_err(|_| missing(format!("{field}.at"), column))?;
            if !matches!(found.data_type(), DataType::Timestamp(..) | DataType::Date32) {
                let what = format!("column `{column}` is of type {}, not a time", found.data_type());
                return Err(IngestError::config(
                    format!("{field}.at"),
                    what,
                    "name a timestamp or date column",
                ));
            }
        }
        steps.push(match event.kind {
            EventKind::Insert => Step { kind: ChangeKind::Insert, at, known: known.clone() },
            EventKind::Update => Step { kind: ChangeKind::UpdateAfter, at, known: known.clone() },
            EventKind::Delete => Step { kind: ChangeKind::Delete, at, known: key_only.clone() },
        });
    }
    if steps.is_empty() {
        let at = EventTime { column: None, shift_us: 0 };
        steps.push(Step { kind: ChangeKind::Insert, at, known: vec![true; names.len()] });
    }
    let description = TableDescription { table: plain_table(&table.name), schema, key: table.key.clone() };
    Ok(TablePlan { description, path, steps })
}

fn load_table(plan: TablePlan, bytes_left: &mut usize) -> Result<LoadedTable, IngestError> {
    let shown = plan.path.display().to_string();
    let decode = |source: crate::error::BoxError| IngestError::Decode { what: format!("`{shown}`"), source };
    let reader = open(&plan.path)?.with_batch_size(65_536).build().map_err(|error| decode(error.into()))?;
    let mut batches = Vec::new();
    for batch in reader {
        let batch = plain_batch(&batch.map_err(|error| decode(error.into()))?)
            .map_err(|error| decode(error.into()))?;
        *bytes_left =
            bytes_left.checked_sub(batch.get_array_memory_size()).ok_or_else(|| IngestError::Unsuitable {
                system: "the data set".to_string(),
                what: format!("it takes more than {} MiB in memory", DATA_BYTES_MAX >> 20),
                advice: "replay a part of it, or read it as a `file` source".to_string(),
            })?;
        batches.push(batch);
    }
    let column = |n: usize| {
        let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(n).as_ref()).collect();
        match parts.as_slice() {
            [] => Ok(arrow::array::new_empty_array(plan.description.schema.field(n).data_type())),
            parts => concat(parts).map_err(|error| decode(error.into())),
        }
    };
    let columns = (0..plan.description.schema.fields().len()).map(column).collect::<Result<_, _>>()?;
    Ok(LoadedTable {
        table: plan.description.table,
        schema: plan.description.schema,
        columns,
        steps: plan.steps,
    })
}

impl LoadedTable {
    fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.len())
    }

    /// Times of an event of all rows, microseconds; null where it does not happen. `None`: at the start.
    fn times(&self, step: &Step) -> Result<Option<ArrayRef>, IngestError> {
        let Some(name) = &step.at.column else { return Ok(None) };
        let column = self.schema.index_of(name).map(|n| &self.columns[n]);
        let column = column
            .map_err(|error| IngestError::Decode { what: self.table.to_string(), source: error.into() })?;
        let micros = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None));
        micros
            .map(Some)
            .map_err(|error| IngestError::Decode { what: self.table.to_string(), source: error.into() })
    }

    /// Adds this table's events. `times`: of each step.
    fn add_events(&self, number: u16, times: &[Option<ArrayRef>], start_us: i64, events: &mut Vec<Event>) {
        for row in 0..self.rows() {
            let mut before = i64::MIN;
            for (step, (time, plan)) in times.iter().zip(&self.steps).enumerate() {
                let at_us = match time {
                    None => start_us,
                    Some(time) => {
                        let time = time.as_primitive::<TimestampMicrosecondType>();
                        if time.is_null(row) {
                            continue;
                        }
                        time.value(row)
                    }
                };
                before = at_us.saturating_add(plan.at.shift_us).max(before);
                events.push(Event { at_us: before, table: number, row: row as u32, step: step as u16 });
            }
        }
    }
}

/// The earliest time of an event, shifts included.
fn first_us(tables: &[LoadedTable], times: &[Vec<Option<ArrayRef>>]) -> Option<i64> {
    let steps = tables.iter().zip(times).flat_map(|(table, times)| table.steps.iter().zip(times));
    let firsts = steps.filter_map(|(step, time)| {
        let first = arrow::compute::min(time.as_ref()?.as_primitive::<TimestampMicrosecondType>())?;
        Some(first.saturating_add(step.at.shift_us))
    });
    firsts.min()
}

impl DataSet {
    /// Reads all files and sorts the events; blocks. Errors: those of the files and `InvalidConfig`.
    pub(super) fn load(config: &ReplayConfig, folder: &Path) -> Result<Self, IngestError> {
        let (mut tables, mut descriptions): (Vec<LoadedTable>, Vec<_>) = (Vec::new(), Vec::new());
        let (mut bytes_left, mut event_count) = (DATA_BYTES_MAX, 0);
        for (n, table) in config.tables.iter().enumerate() {
            let plan = plan_table(folder, n, table)?;
            descriptions.push(plan.description.clone());
            let loaded = load_table(plan, &mut bytes_left)?;
            event_count += loaded.rows() * loaded.steps.len();
            if loaded.rows() > u32::MAX as usize || event_count > EVENTS_MAX {
                return Err(IngestError::Unsuitable {
                    system: "the data set".to_string(),
                    what: format!("it has more than {EVENTS_MAX} events"),
                    advice: "replay a part of it".to_string(),
                });
            }
            tables.push(loaded);
        }
        let times = |table: &LoadedTable| table.steps.iter().map(|step| table.times(step)).collect();
        let times: Vec<Vec<Option<ArrayRef>>> = tables.iter().map(times).collect::<Result<_, _>>()?;
        let start_us = start_us(config)?.or(first_us(&tables, &times)).unwrap_or(0);
        let mut events = Vec::with_capacity(event_count);
        for (number, (table, times)) in tables.iter().zip(&times).enumerate() {
            table.add_events(number as u16, times, start_us, &mut events);
        }
        events.sort_unstable();
        let fingerprint = events.iter().fold(Fingerprint::new(), |print, event| {
            let place = (u64::from(event.row) << 32) | (u64::from(event.table) << 16) | u64::from(event.step);
            print.add(&event.at_us.to_le_bytes()).add(&place.to_le_bytes())
        });
        Ok(Self { descriptions, tables, events, start_us, fingerprint: fingerprint.value() })
    }

    /// Simulated time from the start of the clock to just after the last event.
    pub(super) fn span_us(&self) -> i64 {
        self.events.last().map_or(0, |event| event.at_us.saturating_sub(self.start_us).max(0) + 1_000_000)
    }

    pub(super) fn table(&self, number: u16) -> &SourceTable {
        &self.tables[usize::from(number)].table
    }

    /// Change rows of some events of one table. `ordinals`: their positions; `shift_us`: added to event times.
    pub(super) fn rows(
        &self,
        number: u16,
        chosen: &[(u64, Event)],
        shift_us: i64,
    ) -> Result<RecordBatch, IngestError> {
        let table = &self.tables[usize::from(number)];
        let take_column = |n: usize| {
            let known = |event: &Event| table.steps[usize::from(event.step)].known[n];
            let rows: UInt32Array =
                chosen.iter().map(|(_, event)| known(event).then_some(event.row)).collect();
            take(table.columns[n].as_ref(), &rows, None)
        };
        let columns: Result<Vec<ArrayRef>, _> = (0..table.columns.len()).map(take_column).collect();
        let kinds = chosen.iter().map(|(_, event)| table.steps[usize::from(event.step)].kind as i8);
        let times = chosen.iter().map(|(_, event)| Some(event.at_us.saturating_add(shift_us)));
        let added = ChangeColumns {
            kind: kinds.collect(),
            event_time: times.collect::<arrow::array::TimestampMicrosecondArray>().with_timezone("UTC"),
            position: positions_array(chosen.iter().map(|(ordinal, _)| Position::new(0, *ordinal))),
            transaction: arrow::array::UInt64Array::from(vec![None; chosen.len()]),
            unchanged: arrow::array::StringArray::from(vec![None::<&str>; chosen.len()]),
        };
        columns.and_then(|columns| added.attach(&table.schema, columns)).map_err(|error| {
            IngestError::Broken { source_type: "replay".to_string(), what: error.to_string() }
        })
    }
}

/// The data set, shared by the lives of a source.
pub(super) type SharedDataSet = Arc<DataSet>;
