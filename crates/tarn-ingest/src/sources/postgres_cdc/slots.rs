//! The replication slot and the publications: looked at, made, extended, removed.

use tracing::info;

use super::catalog::{CatalogTable, parse_lsn, single};
use super::config::Settings;
use super::fault::{LOST_ADVICE, explain};
use super::wire::{Connection, WireError, identifier, literal};
use crate::error::IngestError;
use crate::source::SourceTable;

/// A replication slot as the server has it.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The output plugin; empty for a physical slot.
    pub plugin: String,
    /// The database it decodes.
    pub database: String,
    /// The server's process that reads it now.
    pub active_process: Option<i32>,
    /// The application of that process.
    pub active_application: Option<String>,
    /// Whether the log it needs was removed.
    pub lost: bool,
}

/// A slot that was just made.
#[derive(Clone, Debug)]
pub struct NewSlot {
    /// Transactions whose commit record stands before are in the snapshot; the others are in the stream.
    pub consistent: u64,
    /// The snapshot, until the connection runs another command.
    pub snapshot: String,
}

/// The slot of a name.
pub async fn find_slot(connection: &mut Connection, name: &str) -> Result<Option<Slot>, WireError> {
    // Older servers lack some of the columns; as JSON they are simply absent.
    let rows = connection
        .query(&format!(
            "SELECT coalesce(s.plugin, ''), coalesce(s.database, ''), s.active_pid, a.application_name, \
             coalesce(to_jsonb(s)->>'wal_status' = 'lost', false) OR coalesce(to_jsonb(s)->>'conflicting' = 'true', false) \
             FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid \
             WHERE s.slot_name = {}",
            literal(name)
        ))
        .await?;
    Ok(rows.into_iter().next().map(|row| {
        let text = |at: usize| row.get(at).cloned().flatten();
        Slot {
            plugin: text(0).unwrap_or_default(),
            database: text(1).unwrap_or_default(),
            active_process: text(2).and_then(|process| process.parse().ok()),
            active_application: text(3),
            lost: text(4).as_deref() == Some("t"),
        }
    }))
}

/// Makes a slot with an exported snapshot on a replication connection. Waits for the transactions that run now.
pub async fn create_slot(
    connection: &mut Connection,
    name: &str,
    temporary: bool,
) -> Result<NewSlot, WireError> {
    let temporary = if temporary { "TEMPORARY " } else { "" };
    let sql =
        format!("CREATE_REPLICATION_SLOT {} {temporary}LOGICAL pgoutput EXPORT_SNAPSHOT", identifier(name));
    let rows = connection.query(&sql).await?;
    let cell = |at: usize| rows.first().and_then(|row| row.get(at)).and_then(|value| value.as_deref());
    match (cell(1).and_then(parse_lsn), cell(2)) {
        (Some(consistent), Some(snapshot)) => Ok(NewSlot { consistent, snapshot: snapshot.to_string() }),
        _ => Err(WireError::Protocol("the answer to CREATE_REPLICATION_SLOT cannot be read".to_string())),
    }
}

/// Removes a slot; it is no error if there is none.
pub async fn drop_slot(connection: &mut Connection, name: &str) -> Result<(), WireError> {
    let name = literal(name);
    connection
        .run(&format!(
            "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots \
             WHERE slot_name = {name}"
        ))
        .await
}

/// A publication as the server has it.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Publishes every table.
    pub all_tables: bool,
    /// Made by this source.
    pub ours: bool,
    /// Changes of partitions appear as changes of the whole table.
    pub via_root: bool,
    /// The tables, unless it publishes all.
    pub tables: Vec<SourceTable>,
}

fn mark(settings: &Settings) -> String {
    format!("made by Tarn for source {}", settings.source)
}

/// The publication of a name.
pub async fn find_publication(
    connection: &mut Connection,
    settings: &Settings,
    name: &str,
) -> Result<Option<Publication>, WireError> {
    let wanted = literal(name);
    let rows = connection
        .query(&format!(
            "SELECT p.puballtables, coalesce(pg_catalog.obj_description(p.oid, 'pg_publication'), ''), \
             coalesce(to_jsonb(p)->>'pubviaroot', 'false') FROM pg_catalog.pg_publication p WHERE p.pubname = {wanted}"
        ))
        .await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let text = |at: usize| row.get(at).and_then(|value| value.as_deref()).unwrap_or_default();
    let tables = connection
        .query(&format!(
            "SELECT n.nspname, c.relname FROM pg_catalog.pg_publication p \
             JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid JOIN pg_catalog.pg_class c ON c.oid = r.prrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = {wanted} ORDER BY 1, 2"
        ))
        .await?;
    let tables = tables.into_iter().filter_map(|row| {
        let mut cells = row.into_iter().flatten();
        Some(SourceTable { namespace: cells.next()?, name: cells.next()? })
    });
    Ok(Some(Publication {
        all_tables: text(0) == "t",
        ours: text(1) == mark(settings),
        via_root: text(2) == "true",
        tables: tables.collect(),
    }))
}

/// A table's name for SQL.
pub fn quoted(table: &SourceTable) -> String {
    format!("{}.{}", identifier(&table.namespace), identifier(&table.name))
}

/// Makes both publications, or brings them up to date. They must exist before the slot does: the server reads them as
/// they were at each change. Returns the names to stream.
pub async fn ensure_publications(
    connection: &mut Connection,
    settings: &Settings,
    tables: &[CatalogTable],
) -> Result<Vec<String>, IngestError> {
    let explained = |error| explain(&settings.server, error);
    let main = find_publication(connection, settings, &settings.publication).await.map_err(explained)?;
    if let Some(foreign) = main.as_ref().filter(|publication| !publication.ours) {
        check_foreign(settings, foreign, tables)?;
        return Ok(vec![settings.publication.clone()]);
    }
    let inserts_name = settings.publication_of_inserts();
    let inserts = find_publication(connection, settings, &inserts_name).await.map_err(explained)?;
    let (with, without): (Vec<&CatalogTable>, Vec<&CatalogTable>) =
        tables.iter().partition(|table| table.has_identity());
    let groups = [
        (&settings.publication, main, with, "insert, update, delete, truncate"),
        (&inserts_name, inserts, without, "insert, truncate"),
    ];
    let mut statements = Vec::new();
    let mut additions = Vec::new();
    for (name, existing, members, actions) in groups {
        let wanted: Vec<&SourceTable> = members.iter().map(|table| &table.table).collect();
        let name_sql = identifier(name);
        let current = match existing {
            Some(existing) => existing.tables,
            None => {
                let root = if connection.version >= 13 { ", publish_via_partition_root = true" } else { "" };
                statements.push(format!("CREATE PUBLICATION {name_sql} WITH (publish = '{actions}'{root})"));
                statements.push(format!("COMMENT ON PUBLICATION {name_sql} IS {}", literal(&mark(settings))));
                Vec::new()
            }
        };
        for table in current.iter().filter(|table| !wanted.contains(table)) {
            statements.push(format!("ALTER PUBLICATION {name_sql} DROP TABLE {}", quoted(table)));
        }
        // Added after all removals, so that a table can move from one publication to the other.
        for table in wanted.iter().filter(|table| !current.contains(table)) {
            additions.push(format!("ALTER PUBLICATION {name_sql} ADD TABLE {}", quoted(table)));
        }
    }
    statements.extend(additions);
    if !statements.is_empty() {
        info!(source = %settings.source, statements = statements.len(), "publications are brought up to date");
        connection.run(&format!("BEGIN; {}; COMMIT", statements.join("; "))).await.map_err(explained)?;
    }
    Ok(vec![settings.publication.clone(), inserts_name])
}

/// A publication that someone else made is used as it is.
fn check_foreign(
    settings: &Settings,
    found: &Publication,
    tables: &[CatalogTable],
) -> Result<(), IngestError> {
    let unsuitable = |what: String, advice: String| IngestError::Unsuitable {
        system: settings.server.system(),
        what,
        advice,
    };
    let name = identifier(&settings.publication);
    let missing = tables.iter().find(|table| !found.all_tables && !found.tables.contains(&table.table));
    if let Some(table) = missing {
        return Err(unsuitable(
            format!(
                "publication `{}` was not made by this source and lacks table `{}`",
                settings.publication, table.table
            ),
            format!(
                "run ALTER PUBLICATION {name} ADD TABLE {}; or set another `publication`",
                quoted(&table.table)
            ),
        ));
    }
    let partitioned = tables.iter().find(|table| table.partitioned && !found.via_root);
    if let Some(table) = partitioned {
        return Err(unsuitable(
            format!(
                "publication `{}` publishes partitions of `{}` one by one",
                settings.publication, table.table
            ),
            format!("run ALTER PUBLICATION {name} SET (publish_via_partition_root = true);"),
        ));
    }
    Ok(())
}

/// The slot or the publication is gone though rows were read before.
pub fn lost(what: String) -> IngestError {
    IngestError::SourceGone { what, advice: LOST_ADVICE.to_string() }
}

/// Removes the slot and our publications.
pub async fn remove_all(connection: &mut Connection, settings: &Settings) -> Result<(), IngestError> {
    let explained = |error| explain(&settings.server, error);
    for attempt in 0..20 {
        let slot = find_slot(connection, &settings.slot).await.map_err(explained)?;
        let Some(slot) = slot else { break };
        let Some(process) = slot.active_process else {
            drop_slot(connection, &settings.slot).await.map_err(explained)?;
            break;
        };
        // Our own reader may not have been missed by the server yet.
        let ours = slot.active_application.as_deref() == Some(settings.server.application.as_str());
        if !ours || attempt == 19 {
            return Err(in_use(settings, &slot));
        }
        let sql = format!("SELECT pg_catalog.pg_terminate_backend({process}), pg_catalog.pg_sleep(0.25)");
        connection.run(&sql).await.map_err(explained)?;
    }
    for name in [settings.publication.clone(), settings.publication_of_inserts()] {
        let found = find_publication(connection, settings, &name).await.map_err(explained)?;
        if found.is_some_and(|publication| publication.ours) {
            connection.run(&format!("DROP PUBLICATION {}", identifier(&name))).await.map_err(explained)?;
        }
    }
    Ok(())
}

/// Someone else reads the slot.
pub fn in_use(settings: &Settings, slot: &Slot) -> IngestError {
    let process = slot.active_process.unwrap_or_default();
    let application = slot.active_application.clone().unwrap_or_default();
    IngestError::Busy {
        what: format!("replication slot `{}` is in use by process {process} ({application})", settings.slot),
        advice: "stop the other reader, or set another `slot`; it is tried again".to_string(),
    }
}

/// The number that tells this server from every other.
pub async fn system_identifier(connection: &mut Connection) -> Result<String, WireError> {
    let found = single(connection, "SELECT system_identifier FROM pg_catalog.pg_control_system()").await?;
    found.ok_or_else(|| WireError::Protocol("the server does not tell its system identifier".to_string()))
}
