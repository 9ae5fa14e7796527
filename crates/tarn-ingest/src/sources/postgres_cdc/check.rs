//! The connection test: what is looked at, what was found, what to do.

use tarn_core::{Fault, nearest};

use super::catalog::{CatalogTable, find_tables, load_tables, load_types, single};
use super::config::Settings;
use super::fault::explain;
use super::layout::Layout;
use super::slots::{find_publication, find_slot, quoted};
use super::types::Scalar;
use super::wire::{Connection, WireError, connect_normal, connect_replication, identifier};
use crate::error::IngestError;
use crate::source::{CheckReport, CheckStep, SourceTable};

const VERSION_MIN: u32 = 12;

/// Steps so far; the first that failed ends the test.
#[derive(Debug, Default)]
struct Steps {
    steps: Vec<CheckStep>,
    tables: Vec<SourceTable>,
}

/// A step failed, and is in the list.
struct Failed;

type Step<T = ()> = Result<T, Failed>;

impl Steps {
    fn ok(&mut self, name: &str, detail: impl Into<String>) {
        self.steps.push(CheckStep { name: name.to_string(), ok: true, detail: detail.into() });
    }

    fn fail<T>(&mut self, name: &str, detail: impl Into<String>) -> Step<T> {
        self.steps.push(CheckStep { name: name.to_string(), ok: false, detail: detail.into() });
        Err(Failed)
    }

    fn error<T>(&mut self, name: &str, error: &IngestError) -> Step<T> {
        let mut detail = tarn_core::chain_text(error);
        if let Some(hint) = error.hint() {
            detail = format!("{detail}: {hint}");
        }
        self.fail(name, detail)
    }

    fn wire<T>(&mut self, settings: &Settings, name: &str, result: Result<T, WireError>) -> Step<T> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => self.error(name, &explain(&settings.server, error)),
        }
    }
}

/// Looks at everything that reading needs, and changes nothing.
pub async fn check(settings: &Settings) -> CheckReport {
    let mut steps = Steps::default();
    // A failed step is in the list already.
    let _ = Box::pin(run(settings, &mut steps)).await;
    CheckReport { steps: steps.steps, tables: steps.tables }
}

async fn run(settings: &Settings, steps: &mut Steps) -> Step {
    let mut connection = connect(settings, steps).await?;
    version(settings, steps, &mut connection).await?;
    wal_level(settings, steps, &mut connection).await?;
    role(settings, steps, &mut connection).await?;
    room(settings, steps, &mut connection).await?;
    let tables = tables(settings, steps, &mut connection).await?;
    rights(settings, steps, &mut connection, &tables).await?;
    publication(settings, steps, &mut connection, &tables).await?;
    identity(steps, &tables);
    types(settings, steps, &mut connection, &tables).await
}

async fn connect(settings: &Settings, steps: &mut Steps) -> Step<Connection> {
    let server = &settings.server;
    let connection = steps.wire(settings, "connect", connect_normal(server).await)?;
    let encrypted = if connection.encrypted { "encrypted" } else { "not encrypted" };
    steps.ok(
        "connect",
        format!("{} as `{}`, database `{}`, {encrypted}", server.system(), server.user, server.database),
    );
    Ok(connection)
}

async fn version(settings: &Settings, steps: &mut Steps, connection: &mut Connection) -> Step {
    let name = "server version";
    if connection.version < VERSION_MIN {
        let detail = format!(
            "PostgreSQL {} is too old; {VERSION_MIN} is the oldest that can be read",
            connection.version
        );
        return steps.fail(name, detail);
    }
    let recovering = single(connection, "SELECT pg_catalog.pg_is_in_recovery()").await;
    if steps.wire(settings, name, recovering)?.as_deref() == Some("t") {
        return steps.fail(name, "the server is a standby; connect to its primary");
    }
    steps.ok(name, format!("PostgreSQL {}", connection.version));
    Ok(())
}

async fn wal_level(settings: &Settings, steps: &mut Steps, connection: &mut Connection) -> Step {
    let name = "wal_level is logical";
    let found = single(connection, "SHOW wal_level").await;
    let level = steps.wire(settings, name, found)?.unwrap_or_default();
    if level != "logical" {
        return steps.fail(
            name,
            format!(
                "wal_level is `{level}`; run ALTER SYSTEM SET wal_level = logical; and restart PostgreSQL"
            ),
        );
    }
    steps.ok(name, "wal_level is `logical`");
    Ok(())
}

async fn role(settings: &Settings, steps: &mut Steps, connection: &mut Connection) -> Step {
    let name = "role may replicate";
    // Amazon RDS grants the right by membership of a role.
    let sql = "SELECT bool_or(r.rolreplication OR r.rolsuper) OR EXISTS (SELECT FROM pg_catalog.pg_roles m \
               WHERE m.rolname = 'rds_replication' AND pg_catalog.pg_has_role(current_user, m.oid, 'MEMBER')) \
               FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";
    let found = single(connection, sql).await;
    let user = &settings.server.user;
    if steps.wire(settings, name, found)?.as_deref() != Some("t") {
        let user_sql = identifier(user);
        return steps.fail(
            name,
            format!("role `{user}` has no replication right; run ALTER ROLE {user_sql} REPLICATION;"),
        );
    }
    let replication = steps.wire(settings, name, connect_replication(&settings.server).await)?;
    replication.close().await;
    steps.ok(name, format!("role `{user}` may replicate"));
    Ok(())
}

/// Free slots and senders. Our own slot needs none; a snapshot needs one more while it starts.
async fn room(settings: &Settings, steps: &mut Steps, connection: &mut Connection) -> Step {
    let name = "room for a replication slot";
    let sql = "SELECT current_setting('max_replication_slots'), \
               (SELECT count(*) FROM pg_catalog.pg_replication_slots), current_setting('max_wal_senders'), \
               (SELECT count(*) FROM pg_catalog.pg_stat_replication)";
    let rows = steps.wire(settings, name, connection.query(sql).await)?;
    let number = |at: usize| -> u64 {
        let cell = rows.first().and_then(|row| row.get(at)).and_then(|value| value.as_deref());
        cell.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let (slots_max, slots, senders_max, senders) = (number(0), number(1), number(2), number(3));
    let slot = find_slot(connection, &settings.slot).await;
    let slot = steps.wire(settings, name, slot)?;
    if let Some(slot) = &slot {
        if slot.plugin != "pgoutput" || slot.database != settings.server.database {
            let (plugin, database) = (&slot.plugin, &slot.database);
            let detail = format!(
                "replication slot `{}` exists with plugin `{plugin}` in database `{database}`; set another `slot`",
                settings.slot
            );
            return steps.fail(name, detail);
        }
    } else if slots >= slots_max {
        let wanted = slots + 2;
        return steps.fail(
            name,
            format!(
                "all {slots_max} replication slots are in use; drop one that is not needed, or run ALTER SYSTEM SET \
                 max_replication_slots = {wanted}; and restart PostgreSQL"
            ),
        );
    }
    if senders >= senders_max {
        let wanted = senders + 4;
        return steps.fail(
            name,
            format!(
                "all {senders_max} WAL senders are in use; run ALTER SYSTEM SET max_wal_senders = {wanted}; and restart \
                 PostgreSQL"
            ),
        );
    }
    let adopted = if slot.is_some() { format!("slot `{}` exists; ", settings.slot) } else { String::new() };
    steps.ok(
        name,
        format!("{adopted}{slots} of {slots_max} slots and {senders} of {senders_max} senders in use"),
    );
    Ok(())
}

async fn tables(
    settings: &Settings,
    steps: &mut Steps,
    connection: &mut Connection,
) -> Step<Vec<CatalogTable>> {
    let name = "tables exist";
    let tables = steps.wire(settings, name, load_tables(connection, settings).await)?;
    for pattern in &settings.tables {
        if tables.iter().any(|table| pattern.matches(&table.table.namespace, &table.table.name)) {
            continue;
        }
        let known = steps.wire(settings, name, find_tables(connection).await)?;
        let known: Vec<String> = known.iter().map(|(_, table)| table.to_string()).collect();
        let wanted = pattern.to_string();
        let advice = match nearest(&wanted, known.iter().map(String::as_str)) {
            Some(similar) if pattern.is_exact() => format!("did you mean `{similar}`?"),
            _ if known.is_empty() => "the database has no tables that this role can see".to_string(),
            _ => format!("there are `{}`", known.iter().take(10).cloned().collect::<Vec<_>>().join("`, `")),
        };
        let detail = if pattern.is_exact() {
            format!("table `{wanted}` not found; {advice}")
        } else {
            format!("no table matches `{wanted}`; {advice}")
        };
        return steps.fail(name, detail);
    }
    steps.tables = tables.iter().map(|table| table.table.clone()).collect();
    steps.ok(name, format!("{} tables", tables.len()));
    Ok(tables)
}

async fn rights(
    settings: &Settings,
    steps: &mut Steps,
    connection: &mut Connection,
    tables: &[CatalogTable],
) -> Step {
    let name = "tables can be read";
    let oids = tables.iter().map(|table| table.oid.to_string()).collect::<Vec<_>>().join(",");
    let sql = format!(
        "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid = ANY('{{{oids}}}'::oid[]) AND NOT (pg_catalog.has_table_privilege(c.oid, 'SELECT') \
         AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')) ORDER BY c.relname LIMIT 1"
    );
    let found = single(connection, &sql).await;
    let found = steps.wire(settings, name, found)?.and_then(|oid| oid.parse::<u32>().ok());
    if let Some(table) = tables.iter().find(|table| Some(table.oid) == found) {
        let (user, schema) = (identifier(&settings.server.user), identifier(&table.table.namespace));
        return steps.fail(
            name,
            format!(
                "role `{}` may not read `{}`; run GRANT USAGE ON SCHEMA {schema} TO {user}; GRANT SELECT ON {} TO {user};",
                settings.server.user,
                table.table,
                quoted(&table.table)
            ),
        );
    }
    steps.ok(name, "the role may read them");
    Ok(())
}

async fn publication(
    settings: &Settings,
    steps: &mut Steps,
    connection: &mut Connection,
    tables: &[CatalogTable],
) -> Step {
    let name = "publication";
    let found = find_publication(connection, settings, &settings.publication).await;
    let found = steps.wire(settings, name, found)?;
    let missing: Vec<&CatalogTable> = match &found {
        Some(publication) if publication.all_tables => Vec::new(),
        Some(publication) => {
            tables.iter().filter(|table| !publication.tables.contains(&table.table)).collect()
        }
        None => tables.iter().collect(),
    };
    let own = &settings.publication;
    let name_sql = identifier(own);
    if let (Some(table), Some(false)) = (missing.first(), found.as_ref().map(|publication| publication.ours))
    {
        let table_sql = quoted(&table.table);
        return steps.fail(
            name,
            format!(
                "publication `{own}` was not made by this source and lacks table `{}`; run ALTER PUBLICATION {name_sql} \
                 ADD TABLE {table_sql}; or set another `publication`",
                table.table
            ),
        );
    }
    if missing.is_empty() {
        steps.ok(name, format!("publication `{own}` has all tables"));
        return Ok(());
    }
    let oids = missing.iter().map(|table| table.oid.to_string()).collect::<Vec<_>>().join(",");
    let sql = format!(
        "SELECT pg_catalog.has_database_privilege(current_database(), 'CREATE'), (SELECT c.oid FROM \
         pg_catalog.pg_class c WHERE c.oid = ANY('{{{oids}}}'::oid[]) AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') \
         ORDER BY c.relname LIMIT 1)"
    );
    let rows = steps.wire(settings, name, connection.query(&sql).await)?;
    let cell = |at: usize| rows.first().and_then(|row| row.get(at)).and_then(|value| value.as_deref());
    let (user, user_sql) = (&settings.server.user, identifier(&settings.server.user));
    if found.is_none() && cell(0) != Some("t") {
        let database = identifier(&settings.server.database);
        return steps.fail(
            name,
            format!("role `{user}` may not make publications; run GRANT CREATE ON DATABASE {database} TO {user_sql};"),
        );
    }
    let foreign = cell(1).and_then(|oid| oid.parse::<u32>().ok());
    if let Some(table) = missing.iter().find(|table| Some(table.oid) == foreign) {
        let members: Vec<String> = tables.iter().map(|table| quoted(&table.table)).collect();
        return steps.fail(
            name,
            format!(
                "role `{user}` does not own table `{}`, and only the owner may publish it; let the owner run CREATE \
                 PUBLICATION {name_sql} FOR TABLE {}; or make `{user}` a member of the owner's role",
                table.table,
                members.join(", ")
            ),
        );
    }
    let verb = if found.is_some() { "is extended" } else { "is made" };
    steps.ok(name, format!("publication `{own}` {verb} at the start, by {} tables", missing.len()));
    Ok(())
}

/// Tables whose updates and deletes cannot be read. That is no failure: their new rows can.
fn identity(steps: &mut Steps, tables: &[CatalogTable]) {
    let name = "replica identity";
    let without: Vec<&CatalogTable> = tables.iter().filter(|table| !table.has_identity()).collect();
    let Some(first) = without.first() else {
        let without_key = tables.iter().filter(|table| table.key().is_empty()).count();
        steps.ok(
            name,
            match without_key {
                0 => "each table has a key".to_string(),
                count => format!("{count} tables have no key, and are identified by the whole row"),
            },
        );
        return;
    };
    let names: Vec<String> = without.iter().take(10).map(|table| format!("`{}`", table.table)).collect();
    steps.ok(
        name,
        format!(
            "warning: only inserts of {} are read, not updates and deletes, because a row cannot be identified; add a \
             primary key, or run ALTER TABLE {} REPLICA IDENTITY FULL;",
            names.join(", "),
            quoted(&first.table)
        ),
    );
}

async fn types(
    settings: &Settings,
    steps: &mut Steps,
    connection: &mut Connection,
    tables: &[CatalogTable],
) -> Step {
    let name = "types";
    let types = steps.wire(settings, name, load_types(connection).await)?;
    let mut as_text = Vec::new();
    let mut columns = 0;
    for table in tables {
        let layout = Layout::of_catalog(table, &types);
        columns += layout.columns.len();
        for (column, known) in layout.columns.iter().zip(&table.columns) {
            if column.kind.scalar == Scalar::TextForm {
                as_text.push(format!("`{}.{}` ({})", table.table, column.name, known.type_name));
            }
        }
    }
    let detail = match as_text.len() {
        0 => format!("{columns} columns have types of their own"),
        count => {
            let shown = as_text.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            format!("{columns} columns, {count} of them as text: {shown}")
        }
    };
    steps.ok(name, detail);
    Ok(())
}
