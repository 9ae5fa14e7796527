//! The task behind an open source: decides what must be read anew, then snapshots and streams until it fails.

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tarn_core::{Env, Position, nearest};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::catalog::{CatalogTable, find_tables, load_tables, load_types, single};
use super::config::{OnSlotLost, Settings, SnapshotMode, TablePattern};
use super::fault::explain;
use super::layout::{ColumnTypes, Layout, Note, Phase, is_rewritten};
use super::slots::{
    self, NewSlot, create_slot, drop_slot, ensure_publications, find_publication, find_slot, lost,
    system_identifier,
};
use super::snapshot::{Outbox, Snapshot, Tasks, Wanted};
use super::stream::{Ended, Shared, Stream, StreamParts};
use super::tables::Tables;
use super::types::ServerTypes;
use super::wire::{Connection, WireError, connect_normal, connect_replication, identifier, literal};
use crate::error::IngestError;
use crate::source::{MissingTable, Resume, SourceEvent, SourceTable};

/// A table's end in the log of an earlier reader is noticed by the server within this many tries, a quarter of a
/// second apart.
const SLOT_TRIES: usize = 20;

/// How far a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Some existing rows were read, and must be removed before they are read again.
    Partial,
    /// All existing rows were read, or are not wanted.
    Complete,
}

#[derive(Clone, Debug)]
struct TableState {
    stage: Stage,
    oid: u32,
    system: String,
    position: Position,
    types: ColumnTypes,
}

/// Reads until the source is dropped or fails.
pub struct Reader {
    settings: Arc<Settings>,
    env: Env,
    out: Outbox,
    shared: Arc<Shared>,
    states: FxHashMap<SourceTable, TableState>,
}

/// What is known of the server at the start of a session.
struct Session {
    side: Connection,
    system: String,
    types: ServerTypes,
    tables: Vec<CatalogTable>,
    publications: Vec<String>,
    slot_exists: bool,
}

impl Reader {
    /// Takes up what was durable. Errors: a stored state cannot be read.
    pub fn new(
        settings: Arc<Settings>,
        env: Env,
        resume: &Resume,
        out: Outbox,
        shared: Arc<Shared>,
    ) -> Result<Self, IngestError> {
        let mut states = FxHashMap::default();
        for (table, _, state) in &resume.states {
            let note: Note = serde_json::from_slice(&state.note).map_err(|error| IngestError::Decode {
                what: format!("the stored state of table `{table}`"),
                source: error.into(),
            })?;
            let stage = match note.phase {
                Phase::Snapshot => Stage::Partial,
                Phase::Stream => Stage::Complete,
            };
            let Note { oid, system, types, .. } = note;
            let state = TableState { stage, oid, system, position: state.position, types };
            states.insert(table.clone(), state);
        }
        Ok(Self { settings, env, out, shared, states })
    }

    /// Reads until something fails; the failure is the last thing that is handed out.
    pub async fn run(mut self) {
        loop {
            match Box::pin(self.session()).await {
                Ok(Ended::TablesChanged) => {
                    info!(source = %self.settings.source, "tables changed, their reading starts");
                }
                Err(error) => {
                    let _ = self.out.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    async fn session(&mut self) -> Result<Ended, IngestError> {
        let mut session = self.look().await?;
        let mut replication = self.connect_replication().await?;
        self.find_rewritten(&session);
        let wanted = self.wanted(&session.tables);
        let (prepared, sender_timeout) = {
            let made = if session.slot_exists {
                None
            } else {
                Some(self.create_slot(&mut replication, &self.settings.slot, false).await?)
            };
            let prepared = self.prepare_snapshot(&session, made, &wanted).await?;
            (prepared, self.sender_timeout(&mut session.side).await?)
        };
        let tables = self.stream_tables(&session, prepared.as_ref()).await?;
        let (signals_in, signals) = mpsc::channel(16);
        let _tasks = match prepared {
            Some(snapshot) => snapshot.start(&self.env, self.out.clone(), signals_in),
            None => Tasks::default(),
        };
        let names: Vec<String> = session.publications.iter().map(|name| identifier(name)).collect();
        let sql = format!(
            "START_REPLICATION SLOT {} LOGICAL 0/0 (proto_version '1', publication_names {})",
            identifier(&self.settings.slot),
            literal(&names.join(","))
        );
        replication.start_replication(&sql).await.map_err(|error| explain(&self.settings.server, error))?;
        let mut stream = Stream::new(StreamParts {
            replication,
            side: session.side,
            settings: self.settings.clone(),
            env: self.env.clone(),
            out: self.out.clone(),
            shared: self.shared.clone(),
            types: session.types,
            tables,
            signals,
            sender_timeout,
        });
        let ended = Box::pin(stream.run()).await.map_err(|error| self.missing_publication(error))?;
        for (oid, table, position) in stream.tables.emitted() {
            let (system, types) = (session.system.clone(), stream.tables.types(oid));
            let stage = if stream.rewritten.contains(&oid) { Stage::Partial } else { Stage::Complete };
            self.states.insert(table.clone(), TableState { stage, oid, system, position, types });
        }
        Ok(ended)
    }

    /// The server looks up publications as they were at each change; one that was made anew did not exist then.
    fn missing_publication(&self, error: IngestError) -> IngestError {
        match error {
            IngestError::Unsuitable { what, .. }
                if what.contains("publication") && what.contains("does not exist") =>
            {
                lost(format!("publication `{}` was removed: {what}", self.settings.publication))
            }
            other => other,
        }
    }

    async fn connect_replication(&self) -> Result<Connection, IngestError> {
        connect_replication(&self.settings.server)
            .await
            .map_err(|error| explain(&self.settings.server, error))
    }

    async fn create_slot(
        &self,
        replication: &mut Connection,
        name: &str,
        temporary: bool,
    ) -> Result<NewSlot, IngestError> {
        info!(source = %self.settings.source, slot = name, temporary, "replication slot is made");
        create_slot(replication, name, temporary).await.map_err(|error| explain(&self.settings.server, error))
    }

    /// Connects, compares the server with what was read before, and brings the publications up to date.
    async fn look(&mut self) -> Result<Session, IngestError> {
        let settings = self.settings.clone();
        let explained = |error| explain(&settings.server, error);
        let mut side = connect_normal(&settings.server).await.map_err(explained)?;
        let system = system_identifier(&mut side).await.map_err(explained)?;
        let slot_exists = self.look_at_slot(&mut side, &system).await?;
        let tables = load_tables(&mut side, &settings).await.map_err(explained)?;
        let missing = missing_tables(&mut side, &settings, &tables).await.map_err(explained)?;
        self.out.send(Ok(SourceEvent::Missing(missing))).await.map_err(|_| IngestError::Stopping)?;
        let publications = ensure_publications(&mut side, &settings, &tables).await?;
        let types = load_types(&mut side).await.map_err(explained)?;
        Ok(Session { side, system, types, tables, publications, slot_exists })
    }

    /// Returns whether the slot can be streamed from. Errors: rows may be missing, or someone else reads it.
    async fn look_at_slot(&mut self, side: &mut Connection, system: &str) -> Result<bool, IngestError> {
        let settings = self.settings.clone();
        let explained = |error| explain(&settings.server, error);
        let mut slot = find_slot(side, &settings.slot).await.map_err(explained)?;
        for _ in 0..SLOT_TRIES {
            if slot.as_ref().is_none_or(|slot| slot.active_process.is_none()) {
                break;
            }
            self.env.clock.sleep(Duration::from_millis(250)).await;
            slot = find_slot(side, &settings.slot).await.map_err(explained)?;
        }
        if let Some(busy) = slot.as_ref().filter(|slot| slot.active_process.is_some()) {
            return Err(slots::in_use(&settings, busy));
        }
        if let Some(other) =
            slot.as_ref().filter(|s| s.plugin != "pgoutput" || s.database != settings.server.database)
        {
            return Err(IngestError::Unsuitable {
                system: settings.server.system(),
                what: format!(
                    "replication slot `{}` is of plugin `{}` in database `{}`",
                    settings.slot, other.plugin, other.database
                ),
                advice: "set another `slot`".to_string(),
            });
        }
        let publication =
            find_publication(side, &settings, &settings.publication).await.map_err(explained)?;
        let read_before = self.states.values().any(|state| state.stage == Stage::Complete);
        let other_server = self.states.values().find(|state| state.system != system);
        let reason = match (&slot, &publication, other_server) {
            (_, _, Some(_)) => {
                Some(format!("{} is not the server that was read before", settings.server.system()))
            }
            (None, ..) => Some(format!("replication slot `{}` is gone", settings.slot)),
            (Some(slot), ..) if slot.lost => {
                Some(format!("the server removed log that replication slot `{}` still needed", settings.slot))
            }
            (_, None, _) => Some(format!("publication `{}` is gone", settings.publication)),
            _ => None,
        };
        let Some(reason) = reason else { return Ok(true) };
        if read_before && settings.on_slot_lost == OnSlotLost::Fail {
            return Err(lost(format!("{reason}, so changes since the last read row cannot be read")));
        }
        if read_before {
            warn!(source = %settings.source, reason, "all tables are read again");
        }
        if slot.is_some() {
            drop_slot(side, &settings.slot).await.map_err(explained)?;
        }
        for state in self.states.values_mut() {
            state.stage = Stage::Partial;
            state.system = system.to_string();
        }
        Ok(false)
    }

    /// A column that changed its type while nobody read means that its table is read anew.
    fn find_rewritten(&mut self, session: &Session) {
        for table in &session.tables {
            let Some(state) = self.states.get_mut(&table.table).filter(|state| state.oid == table.oid) else {
                continue;
            };
            let types = Layout::of_catalog(table, &session.types).types();
            if state.stage == Stage::Complete && is_rewritten(&state.types, &types) {
                info!(source = %self.settings.source, table = %table.table, "a column changed its type; the table is read anew");
                state.stage = Stage::Partial;
            }
        }
    }

    /// The tables whose existing rows must be read.
    fn wanted(&self, tables: &[CatalogTable]) -> Vec<Wanted> {
        let wanted = tables.iter().filter_map(|table| match self.states.get(&table.table) {
            None if self.settings.snapshot == SnapshotMode::Never => None,
            None => Some(Wanted { oid: table.oid, truncate: false }),
            Some(state) if state.stage == Stage::Complete && state.oid == table.oid => None,
            Some(_) => Some(Wanted { oid: table.oid, truncate: true }),
        });
        wanted.collect()
    }

    /// `made`: the slot, if it was made just now; otherwise a temporary one lends its snapshot.
    async fn prepare_snapshot(
        &self,
        session: &Session,
        made: Option<NewSlot>,
        wanted: &[Wanted],
    ) -> Result<Option<Snapshot>, IngestError> {
        if wanted.is_empty() {
            return Ok(None);
        }
        let (slot, _holder) = match made {
            Some(slot) => (slot, None),
            None => {
                let mut holder = self.connect_replication().await?;
                let name: String = self.settings.slot.chars().take(54).chain("_snapshot".chars()).collect();
                let slot = self.create_slot(&mut holder, &name, true).await?;
                (slot, Some(holder))
            }
        };
        let newest = self.states.values().map(|state| state.position.major).max().unwrap_or(0);
        if slot.consistent <= newest + 1 {
            return Err(lost(format!(
                "{} is behind what was read before; was it restored from a backup?",
                self.settings.server.system()
            )));
        }
        let (settings, system) = (self.settings.clone(), session.system.clone());
        Snapshot::prepare(settings, system, &slot, &session.types, wanted).await.map(Some)
    }

    async fn stream_tables(
        &self,
        session: &Session,
        snapshot: Option<&Snapshot>,
    ) -> Result<Tables, IngestError> {
        let snapshotted: FxHashMap<u32, &SourceTable> =
            snapshot.map(|snapshot| snapshot.tables().collect()).unwrap_or_default();
        let mut tables = Tables::default();
        for table in &session.tables {
            let state = self.states.get(&table.table);
            let position = state.map_or(Position::START, |state| state.position);
            let held = snapshotted.contains_key(&table.oid);
            let types = match held {
                true => Layout::of_catalog(table, &session.types).types(),
                false => state.map(|state| state.types.clone()).unwrap_or_default(),
            };
            tables.add(table.oid, table.table.clone(), &session.system, types, position, held);
            if !held && state.is_none() {
                let description = Layout::of_catalog(table, &session.types).description;
                let sent = self.out.send(Ok(SourceEvent::Table(description))).await;
                sent.map_err(|_| IngestError::Stopping)?;
            }
        }
        Ok(tables)
    }

    async fn sender_timeout(&self, side: &mut Connection) -> Result<Duration, IngestError> {
        let sql = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'";
        let found = single(side, sql).await.map_err(|error| explain(&self.settings.server, error))?;
        Ok(Duration::from_millis(found.and_then(|text| text.parse().ok()).unwrap_or(0)))
    }
}

/// Tables that the settings name and `tables` lacks, each with the nearest name that the server has.
async fn missing_tables(
    side: &mut Connection,
    settings: &Settings,
    tables: &[CatalogTable],
) -> Result<Vec<MissingTable>, WireError> {
    let is_there = |pattern: &TablePattern| {
        tables.iter().any(|table| pattern.matches(&table.table.namespace, &table.table.name))
    };
    let missing: Vec<String> = settings
        .tables
        .iter()
        .filter(|pattern| pattern.is_exact() && !is_there(pattern))
        .map(ToString::to_string)
        .collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let known: Vec<String> = find_tables(side).await?.iter().map(|(_, table)| table.to_string()).collect();
    let told = missing.into_iter().map(|table| {
        warn!(source = %settings.source, %table, "table not found; it is read once it is there");
        let similar = nearest(&table, known.iter().map(String::as_str)).map(str::to_string);
        MissingTable { table, similar }
    });
    Ok(told.collect())
}
