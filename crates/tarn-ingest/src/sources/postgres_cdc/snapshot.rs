//! Reads the existing rows of tables as they were at one point of the server's log, in parallel.
//!
//! Every connection imports the snapshot that the slot exported, so all of them see exactly the transactions that
//! committed before the slot's consistent point; the stream has exactly the others. Rows get positions just below
//! that point: `(consistent - 1, n)`. Commit records start at multiples of eight, so no change has such a position,
//! and all changes that are in the snapshot are below it and all others above.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use parking_lot::Mutex;
use tarn_core::change::ChangeColumns;
use tarn_core::{ChangeKind, Env, Position, change};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::catalog::{CatalogTable, load_tables_by_oid, single};
use super::config::Settings;
use super::copy::{CopiedRows, CopyDecoder};
use super::fault::explain;
use super::layout::{Layout, Note, Phase};
use super::rows::dead_letter;
use super::slots::{NewSlot, quoted};
use super::types::ServerTypes;
use super::wire::{Connection, WireError, connect_normal, identifier, literal};
use crate::error::IngestError;
use crate::source::{Progress, SourceBatch, SourceEvent, SourceTable};

const CHUNK_BLOCKS_MIN: u64 = 1_024;
const CHUNK_BLOCKS_MAX: u64 = 16_384;
/// Pieces that wait to be numbered.
const PIECES_MAX: usize = 4;

/// Where events of the source go.
pub type Outbox = mpsc::Sender<Result<SourceEvent, IngestError>>;

/// What a snapshot tells the stream.
#[derive(Debug)]
pub enum Signal {
    /// All rows of a table were handed out, up to this position.
    Done {
        /// The table's number.
        oid: u32,
        /// Position of its last row.
        last: Position,
    },
    /// The snapshot cannot go on.
    Failed(IngestError),
}

/// A table to read.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its number.
    pub oid: u32,
    /// Whether rows of an earlier attempt must be removed first.
    pub truncate: bool,
}

/// Part of a table.
#[derive(Clone, Debug)]
struct Chunk {
    table: usize,
    sql: String,
}

#[derive(Debug)]
struct Target {
    layout: Arc<Layout>,
    truncate: bool,
    rows_estimated: u64,
    chunks: usize,
}

/// Connections that share the snapshot, and the work to do.
#[derive(Debug)]
pub struct Snapshot {
    settings: Arc<Settings>,
    connections: Vec<Connection>,
    targets: Vec<Target>,
    chunks: VecDeque<Chunk>,
    consistent: u64,
    system: String,
}

/// Ends its tasks when dropped.
#[derive(Debug, Default)]
pub struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

fn busy(what: String) -> IngestError {
    IngestError::Busy { what, advice: "it is tried again with a new snapshot".to_string() }
}

impl Snapshot {
    /// Imports the snapshot on all connections and locks the tables against changes of their shape, as `pg_dump`
    /// does. The slot's connection may be used for other things afterwards.
    pub async fn prepare(
        settings: Arc<Settings>,
        system: String,
        slot: &NewSlot,
        types: &ServerTypes,
        wanted: &[Wanted],
    ) -> Result<Self, IngestError> {
        let explained = |error| explain(&settings.server, error);
        let mut first = import(&settings, slot).await.map_err(explained)?;
        let oids: Vec<u32> = wanted.iter().map(|wanted| wanted.oid).collect();
        let tables = load_tables_by_oid(&mut first, &oids).await.map_err(explained)?;
        lock(&mut first, &settings, &tables).await?;
        let (mut targets, mut chunks) = (Vec::new(), VecDeque::new());
        for table in &tables {
            let layout = Arc::new(Layout::of_catalog(table, types));
            let truncate = wanted.iter().any(|wanted| wanted.oid == table.oid && wanted.truncate);
            let planned =
                plan(&mut first, table, &layout, types, settings.workers).await.map_err(explained)?;
            targets.push(Target {
                layout,
                truncate,
                rows_estimated: table.rows_estimated,
                chunks: planned.len(),
            });
            let table = targets.len() - 1;
            chunks.extend(planned.into_iter().map(|sql| Chunk { table, sql }));
        }
        let mut connections = vec![first];
        for _ in 1..settings.workers.min(chunks.len()) {
            connections.push(import(&settings, slot).await.map_err(explained)?);
        }
        Ok(Self { settings, connections, targets, chunks, consistent: slot.consistent, system })
    }

    /// The tables it reads.
    pub fn tables(&self) -> impl Iterator<Item = (u32, &SourceTable)> {
        self.targets.iter().map(|target| (target.layout.oid, target.layout.table()))
    }

    /// Starts reading. Events go to `out`; the end of each table is told to `signals`.
    pub fn start(self, env: &Env, out: Outbox, signals: mpsc::Sender<Signal>) -> Tasks {
        let (pieces_in, pieces) = mpsc::channel(PIECES_MAX);
        let queue = Arc::new(Mutex::new(self.chunks));
        let layouts: Arc<[Arc<Layout>]> = self.targets.iter().map(|target| target.layout.clone()).collect();
        let mut tasks = Tasks::default();
        for connection in self.connections {
            let worker = Worker {
                settings: self.settings.clone(),
                queue: queue.clone(),
                layouts: layouts.clone(),
                pieces: pieces_in.clone(),
            };
            tasks.0.push(env.spawner.spawn(worker.run(connection)));
        }
        let sequencer = Sequencer {
            targets: self.targets,
            numbers: Vec::new(),
            major: self.consistent - 1,
            system: self.system,
            out,
            signals,
            rows: 0,
        };
        tasks.0.push(env.spawner.spawn(sequencer.run(pieces)));
        tasks
    }
}

async fn import(settings: &Settings, slot: &NewSlot) -> Result<Connection, WireError> {
    let mut connection = connect_normal(&settings.server).await?;
    connection.run("SET row_security = off").await?;
    connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    connection.run(&format!("SET TRANSACTION SNAPSHOT {}", literal(&slot.snapshot))).await?;
    Ok(connection)
}

/// A table that was rewritten or emptied between the snapshot and the lock looks empty to the snapshot, so its rows
/// would be missed. The number of its file tells: as the snapshot sees it, and as it is now.
async fn lock(
    connection: &mut Connection,
    settings: &Settings,
    tables: &[CatalogTable],
) -> Result<(), IngestError> {
    if tables.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = tables.iter().map(|table| quoted(&table.table)).collect();
    match connection.run(&format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "))).await {
        Err(WireError::Server(error)) if error.code == "42P01" => {
            return Err(busy(format!("a table is gone since the snapshot was taken: {error}")));
        }
        result => result.map_err(|error| explain(&settings.server, error))?,
    }
    let oids = tables.iter().map(|table| table.oid.to_string()).collect::<Vec<_>>().join(",");
    let sql = format!(
        "WITH RECURSIVE parts AS (SELECT unnest('{{{oids}}}'::oid[]) AS oid UNION ALL \
         SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN parts p ON i.inhparent = p.oid) \
         SELECT c.oid::regclass::text FROM parts p JOIN pg_catalog.pg_class c ON c.oid = p.oid \
         WHERE c.relfilenode <> 0 AND c.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid) LIMIT 1"
    );
    match single(connection, &sql).await.map_err(|error| explain(&settings.server, error))? {
        Some(table) => Err(busy(format!("table `{table}` was rewritten while its snapshot started"))),
        None => Ok(()),
    }
}

/// The COPY statements that together read a table.
async fn plan(
    connection: &mut Connection,
    table: &CatalogTable,
    layout: &Layout,
    types: &ServerTypes,
    workers: usize,
) -> Result<Vec<String>, WireError> {
    let columns: Vec<String> = layout.columns.iter().map(|column| select_item(column, types)).collect();
    let columns = columns.join(", ");
    let sql = if table.partitioned {
        format!(
            "SELECT t.relid::regclass::text, pg_catalog.pg_relation_size(t.relid) \
             FROM pg_catalog.pg_partition_tree({}) t WHERE t.isleaf ORDER BY 1",
            table.oid
        )
    } else {
        format!(
            "SELECT c.oid::regclass::text, pg_catalog.pg_relation_size(c.oid) FROM pg_catalog.pg_class c WHERE c.oid = {}",
            table.oid
        )
    };
    let parts = connection.query(&sql).await?;
    let block: u64 =
        single(connection, "SHOW block_size").await?.and_then(|size| size.parse().ok()).unwrap_or(8192);
    // Ranges of row addresses are read without a scan of the whole table since 14.
    let can_split = connection.version >= 14;
    let mut statements = Vec::new();
    for part in parts {
        let mut cells = part.into_iter().flatten();
        let (Some(name), Some(bytes)) = (cells.next(), cells.next()) else { continue };
        let blocks = bytes.parse::<u64>().unwrap_or(0) / block.max(1);
        let step = (blocks / (workers as u64 * 4)).clamp(CHUNK_BLOCKS_MIN, CHUNK_BLOCKS_MAX);
        let count = if can_split { blocks.div_ceil(step).max(1) } else { 1 };
        for at in 0..count {
            let from = (at > 0).then(|| format!("ctid >= '({},0)'", at * step));
            let to = (at + 1 < count).then(|| format!("ctid < '({},0)'", (at + 1) * step));
            let bounds: Vec<String> = from.into_iter().chain(to).collect();
            let filter =
                if bounds.is_empty() { String::new() } else { format!(" WHERE {}", bounds.join(" AND ")) };
            statements
                .push(format!("COPY (SELECT {columns} FROM ONLY {name}{filter}) TO STDOUT (FORMAT binary)"));
        }
    }
    Ok(statements)
}

/// A value without a binary reader is read as the text that the stream would send: by the type's own output function,
/// because a cast to text may write it differently (`inet`, `char`).
fn select_item(column: &super::layout::Column, types: &ServerTypes) -> String {
    let name = identifier(&column.name);
    match types.output(column.type_oid) {
        Some(output) if column.kind.reads_text_form() => format!("pg_catalog.textin({output}({name}))"),
        _ if column.kind.reads_text_form() => format!("{name}::pg_catalog.text"),
        _ => name,
    }
}

enum Piece {
    Rows(usize, CopiedRows),
    ChunkDone(usize),
    Failed(IngestError),
}

/// Reads chunk after chunk on one connection.
struct Worker {
    settings: Arc<Settings>,
    queue: Arc<Mutex<VecDeque<Chunk>>>,
    layouts: Arc<[Arc<Layout>]>,
    pieces: mpsc::Sender<Piece>,
}

impl Worker {
    async fn run(self, mut connection: Connection) {
        while let Some(chunk) = self.next_chunk() {
            let piece = match self.read(&mut connection, &chunk).await {
                Ok(true) => Piece::ChunkDone(chunk.table),
                // Nobody listens any more.
                Ok(false) => return,
                Err(error) => Piece::Failed(explain(&self.settings.server, error)),
            };
            let failed = matches!(piece, Piece::Failed(_));
            if self.pieces.send(piece).await.is_err() || failed {
                return;
            }
        }
        // The transaction has held the locks of all tables; its end lets them go.
        connection.close().await;
    }

    fn next_chunk(&self) -> Option<Chunk> {
        self.queue.lock().pop_front()
    }

    async fn read(&self, connection: &mut Connection, chunk: &Chunk) -> Result<bool, WireError> {
        connection.copy_out(&chunk.sql).await?;
        let mut decoder = CopyDecoder::new(&self.layouts[chunk.table]);
        while let Some(frame) = connection.copy_frame().await? {
            decoder.push(connection.body(frame))?;
            connection.consume(frame);
            if decoder.is_full() && !self.hand_over(chunk, &mut decoder).await {
                return Ok(false);
            }
        }
        Ok(self.hand_over(chunk, &mut decoder).await)
    }

    async fn hand_over(&self, chunk: &Chunk, decoder: &mut CopyDecoder) -> bool {
        match decoder.take() {
            Some(rows) => self.pieces.send(Piece::Rows(chunk.table, rows)).await.is_ok(),
            None => true,
        }
    }
}

/// Numbers the rows of each table and says when it is complete.
struct Sequencer {
    targets: Vec<Target>,
    /// Position of the last row per table.
    numbers: Vec<u64>,
    major: u64,
    system: String,
    out: Outbox,
    signals: mpsc::Sender<Signal>,
    rows: u64,
}

/// Nobody listens any more.
struct Closed;

impl Sequencer {
    async fn run(mut self, mut pieces: mpsc::Receiver<Piece>) {
        if self.announce().await.is_err() {
            return;
        }
        while let Some(piece) = pieces.recv().await {
            let result = match piece {
                Piece::Rows(table, rows) => self.number(table, rows).await,
                Piece::ChunkDone(table) => self.finish_chunk(table).await,
                Piece::Failed(error) => {
                    let _ = self.signals.send(Signal::Failed(error)).await;
                    return;
                }
            };
            if result.is_err() {
                return;
            }
        }
    }

    async fn send(&self, event: SourceEvent) -> Result<(), Closed> {
        self.out.send(Ok(event)).await.map_err(|_| Closed)
    }

    fn batch(&self, table: usize, rows: RecordBatch, phase: Phase) -> SourceEvent {
        let layout = &self.targets[table].layout;
        let (oid, system) = (layout.oid, self.system.clone());
        let note = Note { phase, oid, system, types: layout.types() };
        SourceEvent::Rows(SourceBatch {
            table: layout.table().clone(),
            rows,
            part: String::new(),
            position: Position::new(self.major, self.numbers[table]),
            note: note.encode(),
            transaction_end: true,
        })
    }

    async fn announce(&mut self) -> Result<(), Closed> {
        self.numbers = vec![0; self.targets.len()];
        for table in 0..self.targets.len() {
            self.send(SourceEvent::Table(self.targets[table].layout.description.clone())).await?;
            if self.targets[table].truncate {
                self.numbers[table] = 1;
                match truncate_row(&self.targets[table].layout, Position::new(self.major, 1)) {
                    Ok(rows) => self.send(self.batch(table, rows, Phase::Snapshot)).await?,
                    Err(error) => return self.fail(&error).await,
                }
            }
        }
        self.tell_progress().await
    }

    async fn fail(&self, error: &arrow::error::ArrowError) -> Result<(), Closed> {
        let broken = IngestError::Broken { source_type: "postgres_cdc".to_string(), what: error.to_string() };
        let _ = self.signals.send(Signal::Failed(broken)).await;
        Err(Closed)
    }

    async fn tell_progress(&self) -> Result<(), Closed> {
        let estimated: u64 = self.targets.iter().map(|target| target.rows_estimated).sum();
        let rows_estimated = (estimated > 0).then(|| estimated.max(self.rows));
        self.send(SourceEvent::Progress(Progress { rows_done: self.rows, rows_estimated, message: None }))
            .await
    }

    async fn number(&mut self, table: usize, copied: CopiedRows) -> Result<(), Closed> {
        let first = Position::new(self.major, self.numbers[table] + 1);
        let layout = self.targets[table].layout.clone();
        for (row, column, unmapped) in &copied.unmapped {
            let position = Position::new(first.major, first.minor + *row as u64);
            self.send(SourceEvent::DeadLetter(dead_letter(&layout, *column, unmapped, position))).await?;
        }
        let added = ChangeColumns::uniform(ChangeKind::Insert, copied.rows, first, None);
        match attach(&layout, added, copied.columns) {
            Ok(rows) => {
                self.numbers[table] += copied.rows as u64;
                self.rows += copied.rows as u64;
                self.send(self.batch(table, rows, Phase::Snapshot)).await?;
                self.tell_progress().await
            }
            Err(error) => self.fail(&error).await,
        }
    }

    async fn finish_chunk(&mut self, table: usize) -> Result<(), Closed> {
        let target = &mut self.targets[table];
        target.chunks -= 1;
        if target.chunks > 0 {
            return Ok(());
        }
        self.numbers[table] += 1;
        let layout = &self.targets[table].layout;
        let oid = layout.oid;
        let empty = RecordBatch::new_empty(layout.change_schema.clone());
        self.send(self.batch(table, empty, Phase::Stream)).await?;
        let last = Position::new(self.major, self.numbers[table]);
        self.signals.send(Signal::Done { oid, last }).await.map_err(|_| Closed)
    }
}

fn attach(
    layout: &Layout,
    added: ChangeColumns,
    columns: Vec<arrow::array::ArrayRef>,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut all = columns;
    all.push(Arc::new(added.kind));
    all.push(Arc::new(added.event_time));
    all.push(Arc::new(added.position));
    all.push(Arc::new(added.transaction));
    all.push(Arc::new(added.unchanged));
    RecordBatch::try_new(layout.change_schema.clone(), all)
}

fn truncate_row(layout: &Layout, position: Position) -> Result<RecordBatch, arrow::error::ArrowError> {
    let data = change::data_schema(&layout.change_schema);
    let columns = data.fields().iter().map(|field| arrow::array::new_null_array(field.data_type(), 1));
    attach(layout, ChangeColumns::uniform(ChangeKind::Truncate, 1, position, None), columns.collect())
}
