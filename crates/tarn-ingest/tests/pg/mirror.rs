//! A stand-in for the supervisor: stores what a source yields, forgets what was not durable at a crash, and applies
//! the rows to tables that can be compared with the server's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use arrow::array::{Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use rand::Rng;
use rand::rngs::StdRng;
use tarn_core::change::{ChangeColumns, META_COLUMNS};
use tarn_core::{ChangeKind, Env, Position, RequestContext, ResourceName, TenantId, TraceId};
use tarn_eventlog::ProducerState;
use tarn_ingest::{
    Connector, ConnectorContext, DeadLetter, IngestError, Resume, Source, SourceBatch, SourceEvent,
    SourceTable, TableDescription, source_spec,
};
use tarn_testkit::PostgresServer;

/// How long a test waits for rows.
pub const PATIENCE: Duration = Duration::from_secs(60);

static SHARED: Mutex<Weak<PostgresServer>> = Mutex::new(Weak::new());

/// The server of all tests that do not change it; it stops with the last of them.
pub fn shared_server() -> Arc<PostgresServer> {
    let mut shared = SHARED.lock().unwrap();
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let options = PostgresServer::options();
    let options = options.setting("max_replication_slots", "60").setting("max_wal_senders", "60");
    let options = options.setting("max_connections", "300").setting("wal_sender_timeout", "20s");
    let server = Arc::new(options.start().expect("PostgreSQL starts"));
    *shared = Arc::downgrade(&server);
    server
}

pub fn context() -> RequestContext {
    RequestContext::system(TenantId::default(), TraceId(1))
}

/// A connector of the type under test.
pub fn connector(name: &str, config: serde_json::Value) -> Result<Arc<dyn Connector>, IngestError> {
    let context = ConnectorContext {
        name: ResourceName::parse(name).unwrap(),
        env: Env::system(),
        project: std::env::temp_dir(),
    };
    (source_spec("postgres_cdc").unwrap().build)(context, config)
}

pub fn table(name: &str) -> SourceTable {
    let (namespace, name) = name.split_once('.').unwrap_or(("public", name));
    SourceTable { namespace: namespace.to_string(), name: name.to_string() }
}

/// A row as text by column; `None` is NULL.
pub type Row = BTreeMap<String, Option<String>>;

/// A change as it is stored.
#[derive(Clone, Debug)]
pub struct Change {
    pub kind: ChangeKind,
    pub position: Position,
    pub row: Row,
    pub unchanged: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct StoredBatch {
    changes: Vec<Change>,
    state: Option<ProducerState>,
    key: Vec<String>,
}

/// What is stored of a table.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    batches: Vec<StoredBatch>,
    /// Batches that survive a crash.
    durable: usize,
}

/// A source and what it yielded.
pub struct Mirror {
    pub name: String,
    pub config: serde_json::Value,
    pub source: Option<Box<dyn Source>>,
    pub tables: BTreeMap<SourceTable, Stored>,
    pub descriptions: BTreeMap<SourceTable, TableDescription>,
    pub history: Vec<TableDescription>,
    pub dead: Vec<DeadLetter>,
    pub batches: Vec<SourceBatch>,
    resumed: BTreeMap<SourceTable, Position>,
    pub acknowledges: bool,
}

impl Mirror {
    pub fn new(name: &str, config: serde_json::Value) -> Self {
        Self {
            name: name.to_string(),
            config,
            source: None,
            tables: BTreeMap::new(),
            descriptions: BTreeMap::new(),
            history: Vec::new(),
            dead: Vec::new(),
            batches: Vec::new(),
            resumed: BTreeMap::new(),
            acknowledges: true,
        }
    }

    pub fn connector(&self) -> Arc<dyn Connector> {
        connector(&self.name, self.config.clone()).unwrap()
    }

    fn resume(&mut self) -> Resume {
        let mut states = Vec::new();
        self.resumed.clear();
        for (table, stored) in &self.tables {
            if let Some(state) = stored.batches.iter().rev().find_map(|batch| batch.state.clone()) {
                self.resumed.insert(table.clone(), state.position);
                states.push((table.clone(), String::new(), state));
            }
        }
        Resume { states }
    }

    pub async fn try_open(&mut self) -> Result<(), IngestError> {
        let resume = self.resume();
        self.source = Some(self.connector().open(&context(), resume).await?);
        Ok(())
    }

    pub async fn open(&mut self) {
        self.try_open().await.unwrap();
    }

    /// Drops the source as a crash does: of each table only a random part of what was not durable stays.
    pub fn crash(&mut self, random: &mut StdRng) {
        self.source = None;
        for stored in self.tables.values_mut() {
            let keep = random.random_range(stored.durable..=stored.batches.len());
            stored.batches.truncate(keep);
            stored.durable = keep;
        }
    }

    /// Takes one event. Returns whether it was one of rows or a new table.
    pub async fn step(&mut self) -> Result<bool, IngestError> {
        match self.source.as_mut().expect("open").next().await? {
            Some(SourceEvent::Table(description)) => {
                self.descriptions.insert(description.table.clone(), description.clone());
                self.tables.entry(description.table.clone()).or_default();
                self.history.push(description);
                Ok(true)
            }
            Some(SourceEvent::Rows(batch)) => {
                self.store(&batch);
                self.batches.push(batch);
                if self.acknowledges {
                    self.acknowledge_all().await;
                }
                Ok(true)
            }
            Some(SourceEvent::DeadLetter(letter)) => {
                self.dead.push(letter);
                Ok(true)
            }
            Some(SourceEvent::Progress(_)) => Ok(true),
            Some(SourceEvent::Idle { .. } | SourceEvent::Missing(_)) => Ok(false),
            None => panic!("a change source has no end"),
        }
    }

    /// Makes everything so far durable.
    pub async fn acknowledge_all(&mut self) {
        for (table, stored) in &mut self.tables {
            if stored.durable < stored.batches.len() {
                stored.durable = stored.batches.len();
                let last = stored.batches.iter().rev().find_map(|batch| batch.state.as_ref());
                if let (Some(source), Some(state)) = (&mut self.source, last) {
                    source.acknowledge(table, "", state.position).await.unwrap();
                }
            }
        }
    }

    fn store(&mut self, batch: &SourceBatch) {
        let description = self.descriptions.get(&batch.table).expect("described before its rows");
        assert_eq!(
            tarn_core::change::data_schema(&batch.rows.schema()).fields().len(),
            description.schema.fields().len(),
            "rows have the announced schema"
        );
        let resumed = self.resumed.get(&batch.table).copied().unwrap_or_default();
        let stored = self.tables.entry(batch.table.clone()).or_default();
        let previous =
            stored.batches.iter().rev().find_map(|batch| batch.state.as_ref()).map(|state| state.position);
        let changes = changes_of(&batch.rows);
        let last = changes.last().map(|change| change.position);
        assert!(last.is_none_or(|last| last == batch.position), "the position is that of the last row");
        let mut at = resumed;
        for change in &changes {
            assert!(change.position > at || at == resumed, "positions grow: {} after {at}", change.position);
            at = change.position;
        }
        // As the supervisor does: rows that were durable at the start are dropped.
        let new: Vec<Change> = changes.into_iter().filter(|change| change.position > resumed).collect();
        if batch.position <= resumed {
            return;
        }
        assert!(previous.is_none_or(|previous| batch.position > previous), "{:?} does not grow", batch.table);
        if let (Some(first), Some(previous)) = (new.first(), previous) {
            assert!(first.position > previous, "rows do not overlap what was handed out");
        }
        let state = ProducerState {
            producer: self.name.clone(),
            position: batch.position,
            note: batch.note.clone(),
            transaction_open: !batch.transaction_end,
        };
        stored.batches.push(StoredBatch { changes: new, state: Some(state), key: description.key.clone() });
    }

    /// Reads until `done` holds. Fails the test when it takes too long.
    pub async fn read_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < PATIENCE, "waited too long; rows: {:?}", self.counts());
            self.step().await.unwrap();
        }
    }

    /// Reads until the rows of a table are the ones of the server.
    pub async fn read_until_same(&mut self, server: &PostgresServer, database: &str, name: &str) {
        let start = Instant::now();
        loop {
            let wanted = server_rows(server, database, name);
            let have = self.rows(name);
            if have == wanted {
                return;
            }
            let late = start.elapsed() > PATIENCE;
            assert!(
                !late,
                "{name} differs: {} rows, the server has {}: {}",
                have.len(),
                wanted.len(),
                diff(&have, &wanted)
            );
            // Several events per comparison, which is slow.
            for _ in 0..20 {
                if !self.step().await.unwrap() {
                    break;
                }
            }
        }
    }

    pub fn counts(&self) -> BTreeMap<String, usize> {
        let count = |stored: &Stored| stored.batches.iter().map(|batch| batch.changes.len()).sum();
        self.tables.iter().map(|(table, stored)| (table.to_string(), count(stored))).collect()
    }

    /// Number of changes of a table.
    pub fn count(&self, name: &str) -> usize {
        let stored = self.tables.get(&table(name));
        stored.map_or(0, |stored| stored.batches.iter().map(|batch| batch.changes.len()).sum())
    }

    pub fn changes(&self, name: &str) -> Vec<Change> {
        let stored = self.tables.get(&table(name)).cloned().unwrap_or_default();
        stored.batches.into_iter().flat_map(|batch| batch.changes).collect()
    }

    /// The rows of a table after all changes, sorted, as `a|b|c` in column order of the newest schema.
    pub fn rows(&self, name: &str) -> Vec<String> {
        let Some(stored) = self.tables.get(&table(name)) else { return Vec::new() };
        let Some(description) = self.descriptions.get(&table(name)) else { return Vec::new() };
        let names: Vec<String> =
            description.schema.fields().iter().map(|field| field.name().clone()).collect();
        let mut applied = Applied::default();
        for batch in &stored.batches {
            for change in &batch.changes {
                applied.apply(change, &batch.key);
            }
        }
        let text = |row: &Row| {
            let cells = names.iter().map(|name| row.get(name).cloned().flatten().unwrap_or_default());
            cells.collect::<Vec<_>>().join("|")
        };
        let mut rows: Vec<String> = applied.rows.iter().map(text).collect();
        rows.sort();
        rows
    }
}

/// Rows after changes. Without a key a row is found by all its values.
#[derive(Default)]
struct Applied {
    rows: Vec<Row>,
    by_key: BTreeMap<Vec<Option<String>>, usize>,
    before: Option<Row>,
}

impl Applied {
    fn key_of(row: &Row, key: &[String]) -> Vec<Option<String>> {
        key.iter().map(|name| row.get(name).cloned().flatten()).collect()
    }

    fn remove(&mut self, row: &Row, key: &[String]) -> Option<Row> {
        let at = if key.is_empty() {
            self.rows.iter().position(|candidate| candidate == row)?
        } else {
            self.by_key.remove(&Self::key_of(row, key))?
        };
        let removed = self.rows.swap_remove(at);
        if !key.is_empty() && at < self.rows.len() {
            let moved = Self::key_of(&self.rows[at], key);
            self.by_key.insert(moved, at);
        }
        Some(removed)
    }

    fn apply(&mut self, change: &Change, key: &[String]) {
        match change.kind {
            ChangeKind::Truncate => *self = Self::default(),
            ChangeKind::UpdateBefore => {
                let removed = self.remove(&change.row, key);
                self.before = Some(removed.unwrap_or_else(|| panic!("updated row is not there: {change:?}")));
            }
            ChangeKind::Delete => {
                assert!(self.remove(&change.row, key).is_some(), "deleted row is not there: {change:?}");
            }
            ChangeKind::Insert | ChangeKind::UpdateAfter => {
                let before = match change.kind {
                    ChangeKind::Insert => {
                        let twice =
                            !key.is_empty() && self.by_key.contains_key(&Self::key_of(&change.row, key));
                        assert!(!twice, "inserted twice: {change:?}");
                        None
                    }
                    _ => self.before.take().or_else(|| self.remove(&change.row, key)),
                };
                let mut row = change.row.clone();
                for name in &change.unchanged {
                    let old = before.as_ref().and_then(|before| before.get(name).cloned());
                    row.insert(name.clone(), old.expect("an unchanged value was there before"));
                }
                if !key.is_empty() {
                    self.by_key.insert(Self::key_of(&row, key), self.rows.len());
                }
                self.rows.push(row);
            }
        }
    }
}

fn changes_of(batch: &RecordBatch) -> Vec<Change> {
    let added = ChangeColumns::of(batch).unwrap();
    let options = FormatOptions::default();
    let schema = batch.schema();
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(field, _)| !META_COLUMNS.contains(&field.name().as_str()))
        .map(|(field, column)| {
            // Arrow shows times of a named zone only with a database of zones.
            let shown = match column.data_type() {
                DataType::Timestamp(unit, Some(_)) => {
                    cast(column, &DataType::Timestamp(*unit, None)).unwrap()
                }
                DataType::List(_) => new_null_array(&DataType::Null, column.len()),
                _ => column.clone(),
            };
            (field.name().clone(), column, shown)
        })
        .collect();
    let columns: Vec<_> = columns
        .iter()
        .map(|(name, column, shown)| {
            (name, column, ArrayFormatter::try_new(shown.as_ref(), &options).unwrap())
        })
        .collect();
    let unchanged: &StringArray = &added.unchanged;
    (0..batch.num_rows())
        .map(|row| Change {
            kind: added.kind_at(row).unwrap(),
            position: added.position_at(row),
            row: columns
                .iter()
                .map(|(name, column, format)| {
                    ((*name).clone(), column.is_valid(row).then(|| format.value(row).to_string()))
                })
                .collect(),
            unchanged: match unchanged.is_valid(row) {
                true => serde_json::from_str(unchanged.value(row)).unwrap(),
                false => Vec::new(),
            },
        })
        .collect()
}

/// The server's rows, sorted, in the form of [`Mirror::rows`].
pub fn server_rows(server: &PostgresServer, database: &str, name: &str) -> Vec<String> {
    let text = server.psql_in(database, &format!("SELECT * FROM {name}")).unwrap();
    let mut rows: Vec<String> = text.lines().map(str::to_string).collect();
    rows.sort();
    rows
}

fn diff(have: &[String], wanted: &[String]) -> String {
    let missing: Vec<_> = wanted.iter().filter(|row| !have.contains(row)).take(3).collect();
    let extra: Vec<_> = have.iter().filter(|row| !wanted.contains(row)).take(3).collect();
    format!("missing {missing:?}, extra {extra:?}")
}
