//! What the server's catalogue says about types, tables, columns and keys.

use rustc_hash::FxHashMap;

use super::config::Settings;
use super::types::{ServerType, ServerTypes};
use super::wire::{Connection, TextRow, WireError, literal};
use crate::source::SourceTable;

/// A column as it is now.
#[derive(Clone, Debug)]
pub struct CatalogColumn {
    /// Its number, which stays when it is renamed.
    pub number: i16,
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_oid: u32,
    /// The type's modifier, -1 without.
    pub modifier: i32,
    /// Declared dimensions of an array.
    pub dimensions: i32,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// The type as SQL writes it, such as `numeric(10,2)`.
    pub type_name: String,
}

/// How a row that is updated or deleted is identified in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// By the primary key, if there is one.
    Default,
    /// By a unique index.
    Index,
    /// By the whole old row.
    Full,
    /// Not at all.
    Nothing,
}

/// A table as it is now.
#[derive(Clone, Debug)]
pub struct CatalogTable {
    /// Its number.
    pub oid: u32,
    /// Its name.
    pub table: SourceTable,
    /// Whether it is split into partitions.
    pub partitioned: bool,
    /// How old rows are identified.
    pub identity: Identity,
    /// The planner's estimate of rows; 0 if unknown.
    pub rows_estimated: u64,
    /// Columns in their order, without generated ones: the stream does not send them.
    pub columns: Vec<CatalogColumn>,
    /// Numbers of the primary key's columns, in key order.
    pub primary_key: Vec<i16>,
    /// Numbers of the identity index's columns, in key order.
    pub identity_index: Vec<i16>,
}

impl CatalogTable {
    /// Whether updates and deletes say which row they mean. Without it PostgreSQL refuses updates of a table that
    /// publishes them.
    pub fn has_identity(&self) -> bool {
        match self.identity {
            Identity::Default => !self.primary_key.is_empty(),
            Identity::Index => !self.identity_index.is_empty(),
            Identity::Full => true,
            Identity::Nothing => false,
        }
    }

    /// Numbers of the key's columns, in key order; empty without a key.
    pub fn key(&self) -> &[i16] {
        match self.identity {
            Identity::Index => &self.identity_index,
            Identity::Default | Identity::Full | Identity::Nothing => &self.primary_key,
        }
    }

    /// The name of a column.
    pub fn column_name(&self, number: i16) -> Option<&str> {
        self.columns.iter().find(|column| column.number == number).map(|column| column.name.as_str())
    }
}

fn cell(row: &TextRow, at: usize) -> Result<&str, WireError> {
    row.get(at)
        .and_then(|value| value.as_deref())
        .ok_or_else(|| WireError::Protocol(format!("a row of the catalogue lacks column {at}")))
}

fn number<T: std::str::FromStr>(row: &TextRow, at: usize) -> Result<T, WireError> {
    let text = cell(row, at)?;
    text.parse().map_err(|_| WireError::Protocol(format!("`{text}` in the catalogue is not a number")))
}

/// The one value of a query that gives one row of one column; `None` for no row or NULL.
pub async fn single(connection: &mut Connection, sql: &str) -> Result<Option<String>, WireError> {
    let mut rows = connection.query(sql).await?;
    Ok(rows.first_mut().and_then(|row| row.first_mut()).and_then(Option::take))
}

/// All types of the database but those of table rows.
pub async fn load_types(connection: &mut Connection) -> Result<ServerTypes, WireError> {
    let rows = connection
        .query(
            "SELECT t.oid, t.typname, t.typtype, t.typbasetype, t.typtypmod, \
             CASE WHEN e.typarray = t.oid THEN t.typelem ELSE 0 END, t.typdelim, t.typndims, t.typoutput::regproc::text \
             FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typelem <> 0 \
             WHERE t.typtype <> 'p'",
        )
        .await?;
    let mut types = Vec::with_capacity(rows.len());
    for row in &rows {
        let found = ServerType {
            name: cell(row, 1)?.to_string(),
            kind: cell(row, 2)?.chars().next().unwrap_or('b'),
            base: number(row, 3)?,
            modifier: number(row, 4)?,
            element: number(row, 5)?,
            delimiter: cell(row, 6)?.as_bytes().first().copied().unwrap_or(b','),
            dimensions: number(row, 7)?,
            output: cell(row, 8)?.to_string(),
        };
        types.push((number(row, 0)?, found));
    }
    Ok(ServerTypes::new(types))
}

/// The condition that a row of `pg_class c` is a table whose changes can be published.
fn publishable(version: u32) -> &'static str {
    // Since 13 a partitioned table is published as one; before, each partition is a table of its own.
    if version >= 13 { "c.relkind IN ('r', 'p') AND NOT c.relispartition" } else { "c.relkind = 'r'" }
}

/// Numbers and names of all tables that could be read, by name, those of `public` first: the first of two tables of
/// one name gets the plain name.
pub async fn find_tables(connection: &mut Connection) -> Result<Vec<(u32, SourceTable)>, WireError> {
    let sql = format!(
        "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE {} AND c.relpersistence = 'p' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
         ORDER BY n.nspname <> 'public', 2, 3",
        publishable(connection.version)
    );
    let rows = connection.query(&sql).await?;
    rows.iter()
        .map(|row| {
            let table = SourceTable { namespace: cell(row, 1)?.to_string(), name: cell(row, 2)?.to_string() };
            Ok((number(row, 0)?, table))
        })
        .collect()
}

/// Numbers and names of the tables that the settings select, by name.
pub async fn find_selected(
    connection: &mut Connection,
    settings: &Settings,
) -> Result<Vec<(u32, SourceTable)>, WireError> {
    let mut tables = find_tables(connection).await?;
    tables.retain(|(_, table)| settings.selects(&table.namespace, &table.name));
    Ok(tables)
}

/// The tables that the settings select, by name.
pub async fn load_tables(
    connection: &mut Connection,
    settings: &Settings,
) -> Result<Vec<CatalogTable>, WireError> {
    let oids: Vec<u32> = find_selected(connection, settings).await?.into_iter().map(|(oid, _)| oid).collect();
    load_tables_by_oid(connection, &oids).await
}

/// Tables by number; a number that is no table is left out.
pub async fn load_tables_by_oid(
    connection: &mut Connection,
    oids: &[u32],
) -> Result<Vec<CatalogTable>, WireError> {
    if oids.is_empty() {
        return Ok(Vec::new());
    }
    let list = oids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let list = literal(&format!("{{{list}}}"));
    let rows = connection
        .query(&format!(
            "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident, greatest(c.reltuples, 0)::bigint \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.oid = ANY({list}::oid[]) ORDER BY n.nspname <> 'public', 2, 3"
        ))
        .await?;
    let mut columns = load_columns(connection, &list).await?;
    let mut keys = load_keys(connection, &list).await?;
    rows.iter()
        .map(|row| {
            let oid = number(row, 0)?;
            let (primary_key, identity_index) = keys.remove(&oid).unwrap_or_default();
            Ok(CatalogTable {
                oid,
                table: SourceTable { namespace: cell(row, 1)?.to_string(), name: cell(row, 2)?.to_string() },
                partitioned: cell(row, 3)? == "p",
                identity: match cell(row, 4)? {
                    "f" => Identity::Full,
                    "i" => Identity::Index,
                    "n" => Identity::Nothing,
                    _ => Identity::Default,
                },
                rows_estimated: number(row, 5)?,
                columns: columns.remove(&oid).unwrap_or_default(),
                primary_key,
                identity_index,
            })
        })
        .collect()
}

async fn load_columns(
    connection: &mut Connection,
    oids: &str,
) -> Result<FxHashMap<u32, Vec<CatalogColumn>>, WireError> {
    let rows = connection
        .query(&format!(
            "SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attndims, a.attnotnull, \
             pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a \
             WHERE a.attrelid = ANY({oids}::oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' \
             ORDER BY 1, 2"
        ))
        .await?;
    let mut columns: FxHashMap<u32, Vec<CatalogColumn>> = FxHashMap::default();
    for row in &rows {
        columns.entry(number(row, 0)?).or_default().push(CatalogColumn {
            number: number(row, 1)?,
            name: cell(row, 2)?.to_string(),
            type_oid: number(row, 3)?,
            modifier: number(row, 4)?,
            dimensions: number(row, 5)?,
            not_null: cell(row, 6)? == "t",
            type_name: cell(row, 7)?.to_string(),
        });
    }
    Ok(columns)
}

type Keys = (Vec<i16>, Vec<i16>);

async fn load_keys(connection: &mut Connection, oids: &str) -> Result<FxHashMap<u32, Keys>, WireError> {
    let rows = connection
        .query(&format!(
            "SELECT i.indrelid, i.indisprimary, i.indisreplident, i.indkey::text, i.indnkeyatts \
             FROM pg_catalog.pg_index i \
             WHERE i.indrelid = ANY({oids}::oid[]) AND i.indislive AND (i.indisprimary OR i.indisreplident)"
        ))
        .await?;
    let mut keys: FxHashMap<u32, Keys> = FxHashMap::default();
    for row in &rows {
        let entry = keys.entry(number(row, 0)?).or_default();
        // Columns that the index only includes come after the key ones.
        let count = number(row, 4)?;
        let columns: Vec<i16> =
            cell(row, 3)?.split(' ').filter_map(|text| text.parse().ok()).take(count).collect();
        if cell(row, 1)? == "t" {
            entry.0.clone_from(&columns);
        }
        if cell(row, 2)? == "t" {
            entry.1 = columns;
        }
    }
    Ok(keys)
}

/// Reads a log position such as `16/B374D848`.
pub fn parse_lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some(
        (u64::from(u32::from_str_radix(high, 16).ok()?) << 32)
            | u64::from(u32::from_str_radix(low, 16).ok()?),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_positions_are_read_as_the_server_writes_them() {
        assert_eq!(parse_lsn("0/0"), Some(0));
        assert_eq!(parse_lsn("16/B374D848"), Some(0x16_b374_d848));
        assert_eq!(parse_lsn("FFFFFFFF/FFFFFFFF"), Some(u64::MAX));
        assert_eq!(parse_lsn("1"), None);
        assert_eq!(parse_lsn("x/1"), None);
    }
}
