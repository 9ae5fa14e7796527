//! The tables, in numbered steps. A step that was released is never edited; a new one is added.

use super::{SqlStore, Tx};
use crate::error::MetaError;
use crate::store::MetaStore;

struct Migration {
    version: i64,
    /// For both databases.
    statements: &'static [&'static str],
    sqlite: &'static [&'static str],
    postgres: &'static [&'static str],
}

const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    statements: &[
        "CREATE TABLE documents (tenant TEXT NOT NULL, space TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, \
         version BIGINT NOT NULL, updated_ms BIGINT NOT NULL, PRIMARY KEY (tenant, space, key))",
        "CREATE TABLE document_versions (tenant TEXT NOT NULL, space TEXT NOT NULL, last BIGINT NOT NULL, \
         PRIMARY KEY (tenant, space))",
        "CREATE TABLE leases (tenant TEXT NOT NULL, name TEXT NOT NULL, holder TEXT NOT NULL, token BIGINT NOT NULL, \
         expires_ms BIGINT NOT NULL, PRIMARY KEY (tenant, name))",
        // Names and columns of the JDBC catalog of Iceberg, so that its other users can read them.
        "CREATE TABLE iceberg_tables (catalog_name TEXT NOT NULL, table_namespace TEXT NOT NULL, \
         table_name TEXT NOT NULL, metadata_location TEXT, \
         previous_metadata_location TEXT, iceberg_type TEXT, \
         PRIMARY KEY (catalog_name, table_namespace, table_name))",
        "CREATE TABLE iceberg_namespace_properties (catalog_name TEXT NOT NULL, \
         namespace TEXT NOT NULL, property_key TEXT NOT NULL, property_value TEXT, \
         PRIMARY KEY (catalog_name, namespace, property_key))",
        "CREATE TABLE resource_revisions (tenant TEXT NOT NULL, revision BIGINT NOT NULL, at_ms BIGINT NOT NULL, \
         author TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (tenant, revision))",
        "CREATE TABLE resource_changes (tenant TEXT NOT NULL, revision BIGINT NOT NULL, kind TEXT NOT NULL, \
         name TEXT NOT NULL, action TEXT NOT NULL, spec TEXT, origin TEXT, \
         PRIMARY KEY (tenant, revision, kind, name))",
        "CREATE INDEX resource_changes_by_name ON resource_changes (tenant, kind, name, revision)",
        "CREATE TABLE resources (tenant TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, spec TEXT NOT NULL, \
         origin TEXT, revision BIGINT NOT NULL, updated_ms BIGINT NOT NULL, author TEXT NOT NULL, \
         PRIMARY KEY (tenant, kind, name))",
        "CREATE TABLE resource_status (tenant TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, \
         state TEXT NOT NULL, message TEXT, revision BIGINT NOT NULL, running_revision BIGINT, good_revision BIGINT, \
         updated_ms BIGINT NOT NULL, PRIMARY KEY (tenant, kind, name))",
        "CREATE TABLE secrets (tenant TEXT NOT NULL, name TEXT NOT NULL, sealed TEXT NOT NULL, \
         updated_ms BIGINT NOT NULL, PRIMARY KEY (tenant, name))",
        "CREATE TABLE audit_log (tenant TEXT NOT NULL, sequence BIGINT NOT NULL, body TEXT NOT NULL, \
         hash TEXT NOT NULL, PRIMARY KEY (tenant, sequence))",
        "CREATE TABLE audit_head (tenant TEXT NOT NULL, sequence BIGINT NOT NULL, hash TEXT NOT NULL, \
         PRIMARY KEY (tenant))",
    ],
    sqlite: &[
        "CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log \
         BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
        "CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log \
         BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
    ],
    postgres: &[
        "CREATE FUNCTION tarn_audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$",
        "CREATE TRIGGER audit_log_no_change BEFORE UPDATE OR DELETE ON audit_log \
         FOR EACH ROW EXECUTE FUNCTION tarn_audit_log_is_append_only()",
        "CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log \
         FOR EACH STATEMENT EXECUTE FUNCTION tarn_audit_log_is_append_only()",
    ],
}];

// A name that no tenant can have, for the lock that migrations of several nodes share.
const LOCK: &str = "\u{1}migrations";

/// Runs the steps that are missing, all in one transaction. Errors: `NewerSchema` and those of the database.
pub(super) async fn run(store: &SqlStore) -> Result<(), MetaError> {
    let mut tx = store.write_locked(LOCK).await?;
    tx.execute(
        "CREATE TABLE IF NOT EXISTS tarn_migrations (version BIGINT NOT NULL PRIMARY KEY, at_ms BIGINT NOT NULL)",
        &[],
    )
    .await?;
    let found = match tx.row("SELECT COALESCE(MAX(version), 0) FROM tarn_migrations", &[]).await? {
        Some(row) => row.int(0)?,
        None => 0,
    };
    let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
    if found > known {
        return Err(MetaError::NewerSchema { place: store.place().to_string(), found, known });
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > found) {
        step(&mut tx, migration, store.is_postgres()).await?;
    }
    tx.commit().await
}

async fn step(tx: &mut Tx, migration: &Migration, is_postgres: bool) -> Result<(), MetaError> {
    let own = if is_postgres { migration.postgres } else { migration.sqlite };
    for statement in migration.statements.iter().chain(own) {
        tx.execute(statement, &[]).await?;
    }
    let now_ms = tx.now_ms();
    tx.execute(
        "INSERT INTO tarn_migrations (version, at_ms) VALUES ($1, $2)",
        &[migration.version.into(), now_ms.into()],
    )
    .await?;
    Ok(())
}
