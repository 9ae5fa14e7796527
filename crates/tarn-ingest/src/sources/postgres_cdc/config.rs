//! The configuration of `postgres_cdc`, and what it becomes once it is checked.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tarn_component::Secret;
use tarn_core::{HumanDuration, ResourceName};

use super::wire::certificates;
use crate::error::IngestError;

/// Reads tables of a PostgreSQL database: their rows as they are, then every change as it is committed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresCdcConfig {
    /// Address of the database, such as `postgres://reader@db.example:5432/shop`, without a password.
    pub url: String,
    /// Password of the user in the address.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Tables to read, as `schema.table`; `*` stands for any letters. Without it: all tables of the database.
    #[serde(default)]
    pub tables: Vec<String>,
    /// Name of the replication slot, which is made if it is absent. Default: `tarn_` and the source's name.
    #[serde(default)]
    pub slot: Option<String>,
    /// Name of the publication, which is made if it is absent and extended when tables are added. A second one of
    /// that name and `_inserts` holds the tables without a key. Default: `tarn_` and the source's name.
    #[serde(default)]
    pub publication: Option<String>,
    /// Whether the rows that exist already are read before the changes.
    #[serde(default)]
    pub snapshot: SnapshotMode,
    /// Connections that read existing rows in parallel, 1 to 32. Small tables use fewer.
    #[serde(default = "default_workers")]
    #[schemars(range(min = 1, max = 32))]
    pub snapshot_workers: usize,
    /// How often a mark is written to the server's log, so that a database without changes does not hold back the
    /// log of the others, such as `"10s"`.
    #[serde(default = "default_heartbeat")]
    pub heartbeat: HumanDuration,
    /// Encryption of the connection.
    #[serde(default)]
    pub tls: TlsMode,
    /// File with the certificates (PEM) that may sign the server's one; needed by `verify-full`. A relative path
    /// starts at the project folder.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// What to do when the slot is gone, so that changes since the last start cannot be read any more.
    #[serde(default)]
    pub on_slot_lost: OnSlotLost,
}

fn default_workers() -> usize {
    4
}

fn default_heartbeat() -> HumanDuration {
    HumanDuration::from_secs(10)
}

/// Whether the rows that exist already are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotMode {
    /// Once for each table, before its changes.
    #[default]
    Initial,
    /// Only changes from the first start on.
    Never,
}

/// Encryption of the connection, with the meaning of libpq's `sslmode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Never.
    Disable,
    /// When the server offers it; its certificate is not checked.
    #[default]
    Prefer,
    /// Always; the certificate is not checked.
    Require,
    /// Always; the certificate must be signed by `ca` and name the host.
    VerifyFull,
}

/// What to do when the replication slot is gone while rows were read before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnSlotLost {
    /// Stop and say so.
    #[default]
    Fail,
    /// Empty the tables here and read them again from the start.
    Snapshot,
}

/// The address of a server with what is needed to log in. `Debug` and `Display` show no password.
#[derive(Clone)]
pub struct Server {
    /// Host name, address or, starting with `/`, the folder of the socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password, if any.
    pub password: Option<Secret>,
    /// Database.
    pub database: String,
    /// Encryption.
    pub tls: TlsMode,
    /// Certificates that may sign the server's.
    pub ca: Option<PathBuf>,
    /// Shown by the server in `pg_stat_activity`.
    pub application: String,
}

impl Server {
    /// Kind and address, for messages.
    pub fn system(&self) -> String {
        format!("PostgreSQL at {}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The source's name.
    pub source: ResourceName,
    /// Where to connect.
    pub server: Arc<Server>,
    /// Which tables.
    pub tables: Vec<TablePattern>,
    /// Replication slot.
    pub slot: String,
    /// Publication of tables with a key.
    pub publication: String,
    /// Whether existing rows are read.
    pub snapshot: SnapshotMode,
    /// Connections of a snapshot.
    pub workers: usize,
    /// Time between marks.
    pub heartbeat: Duration,
    /// What to do without the slot.
    pub on_slot_lost: OnSlotLost,
}

impl Settings {
    /// Checks a configuration. Errors: `InvalidConfig` with the field.
    pub fn new(source: ResourceName, project: &Path, config: PostgresCdcConfig) -> Result<Self, IngestError> {
        let server = parse_server(&source, project, &config)?;
        let fallback = default_object_name(source.as_str());
        let slot = config.slot.unwrap_or_else(|| fallback.clone());
        let slot_ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if slot.is_empty() || slot.len() > 63 || !slot.chars().all(slot_ok) {
            let advice = "use 1 to 63 lower-case letters, digits and `_`";
            return Err(IngestError::config("slot", format!("`{slot}` is not a slot name"), advice));
        }
        let publication = config.publication.unwrap_or(fallback);
        // The second publication adds `_inserts`; PostgreSQL cuts names at 63 bytes.
        if publication.is_empty() || publication.len() > 55 || publication.contains('\0') {
            let advice = "use a name of 1 to 55 bytes";
            return Err(IngestError::config("publication", "the name cannot be used", advice));
        }
        if !(1..=32).contains(&config.snapshot_workers) {
            let what = format!("{} is out of range", config.snapshot_workers);
            return Err(IngestError::config("snapshot_workers", what, "use 1 to 32"));
        }
        if config.heartbeat.0 < Duration::from_secs(1) {
            return Err(IngestError::config("heartbeat", "is too short", "use 1s or more"));
        }
        let tables = config.tables.iter().enumerate().map(|(at, text)| TablePattern::parse(at, text));
        Ok(Self {
            source,
            server: Arc::new(server),
            tables: tables.collect::<Result<_, _>>()?,
            slot,
            publication,
            snapshot: config.snapshot,
            workers: config.snapshot_workers,
            heartbeat: config.heartbeat.0,
            on_slot_lost: config.on_slot_lost,
        })
    }

    /// The publication of tables without a key, which publishes inserts and truncates only: PostgreSQL would refuse
    /// the application's updates of a table without a replica identity that publishes them.
    pub fn publication_of_inserts(&self) -> String {
        format!("{}_inserts", self.publication)
    }

    /// Whether a table is to be read.
    pub fn selects(&self, namespace: &str, name: &str) -> bool {
        self.tables.is_empty() || self.tables.iter().any(|pattern| pattern.matches(namespace, name))
    }
}

fn parse_server(
    source: &ResourceName,
    project: &Path,
    config: &PostgresCdcConfig,
) -> Result<Server, IngestError> {
    let example = "write it as `postgres://user@host:5432/database`";
    let wrong = |what: &str| IngestError::config("url", what, example);
    if !config.url.starts_with("postgres://") && !config.url.starts_with("postgresql://") {
        return Err(wrong("is not an address of PostgreSQL"));
    }
    let parsed: tokio_postgres::Config = config.url.parse().map_err(|_| wrong("cannot be read"))?;
    if parsed.get_password().is_some() {
        let advice = "take it out of `url` and set `password: { secret: name }`";
        return Err(IngestError::config("url", "holds a password", advice));
    }
    let host = match parsed.get_hosts() {
        [tokio_postgres::config::Host::Tcp(host)] => host.clone(),
        [tokio_postgres::config::Host::Unix(folder)] => folder.to_string_lossy().into_owned(),
        [] => return Err(wrong("lacks a host")),
        _ => return Err(wrong("names several hosts")),
    };
    let user = parsed.get_user().ok_or_else(|| wrong("lacks a user"))?.to_string();
    let database = parsed.get_dbname().ok_or_else(|| wrong("lacks a database"))?.to_string();
    if config.tls == TlsMode::VerifyFull && config.ca.is_none() {
        let advice = "set it to the PEM file of the certificates that sign the server's one";
        return Err(IngestError::config("ca", "is missing, and `tls: verify-full` needs it", advice));
    }
    if config.tls != TlsMode::VerifyFull && config.ca.is_some() {
        let advice = "set `tls: verify-full`, or remove `ca`";
        return Err(IngestError::config("ca", "is used by `tls: verify-full` only", advice));
    }
    let ca = config.ca.as_ref().map(|path| project.join(path));
    if let Some(path) = &ca {
        certificates(path).map_err(|what| {
            let advice = "name a PEM file with the certificates that sign the server's one";
            IngestError::config("ca", what, advice)
        })?;
    }
    Ok(Server {
        host,
        port: parsed.get_ports().first().copied().unwrap_or(5432),
        user,
        password: config.password.clone(),
        database,
        tls: config.tls,
        ca,
        application: format!("tarn:{source}").chars().filter(char::is_ascii).take(63).collect(),
    })
}

/// `tarn_<name>` with the letters that a slot name may have; a name that had others gets a hash, so that two sources
/// never share a slot by accident.
fn default_object_name(source: &str) -> String {
    let plain: String = source
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' { c } else { '_' })
        .take(38)
        .collect();
    if plain == source {
        return format!("tarn_{plain}");
    }
    // FNV-1a: its values must never change, or sources would lose their slots.
    let hash =
        source.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("tarn_{plain}_{hash:08x}")
}

/// `schema.table` where `*` stands for any letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePattern {
    namespace: String,
    name: String,
}

impl TablePattern {
    fn parse(at: usize, text: &str) -> Result<Self, IngestError> {
        let field = format!("tables[{at}]");
        match text.split_once('.') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                Ok(Self { namespace: namespace.to_string(), name: name.to_string() })
            }
            Some(_) => {
                Err(IngestError::config(field, format!("`{text}` lacks a part"), "write `schema.table`"))
            }
            None => {
                let advice = format!("write it with its schema, such as `public.{text}`");
                Err(IngestError::config(field, format!("`{text}` lacks a schema"), advice))
            }
        }
    }

    /// Whether a table is meant.
    pub fn matches(&self, namespace: &str, name: &str) -> bool {
        star_matches(&self.namespace, namespace) && star_matches(&self.name, name)
    }

    /// Whether it names one table.
    pub fn is_exact(&self) -> bool {
        !self.namespace.contains('*') && !self.name.contains('*')
    }
}

impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

fn star_matches(pattern: &str, text: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    while let Some((part, after)) = rest.split_once('*') {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
        rest = after;
    }
    text.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tarn_core::Fault;

    fn settings(config: serde_json::Value) -> Result<Settings, IngestError> {
        let config = tarn_component::parse(config)?;
        Settings::new(ResourceName::parse("shop").expect("a name"), Path::new("/project"), config)
    }

    fn advice(config: serde_json::Value) -> String {
        let error = settings(config).expect_err("wrong");
        format!("{} -> {}", tarn_core::chain_text(&error), error.hint().unwrap_or_default())
    }

    #[test]
    fn stars_match_any_letters() {
        for (pattern, text, matches) in [
            ("*", "orders", true),
            ("order*", "orders", true),
            ("*s", "orders", true),
            ("o*d*s", "orders", true),
            ("o*x*s", "orders", false),
            ("orders", "orders2", false),
            ("*der*", "orders", true),
            ("ab*b", "ab", false),
        ] {
            assert_eq!(star_matches(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn names_default_to_the_source_and_stay_apart() {
        let made = settings(json!({ "url": "postgres://u@h/d" })).expect("right");
        assert_eq!((made.slot.as_str(), made.publication.as_str()), ("tarn_shop", "tarn_shop"));
        assert_eq!(made.server.port, 5432);
        assert_ne!(default_object_name("a-b"), default_object_name("a_b"));
        assert_ne!(default_object_name("门店"), default_object_name("商店"));
        assert!(default_object_name(&"x".repeat(128)).len() <= 55);
    }

    #[test]
    fn a_wrong_field_says_what_to_write() {
        let url = "postgres://u@h/d";
        assert!(advice(json!({ "url": "mysql://u@h/d" })).contains("postgres://user@host:5432/database"));
        assert!(advice(json!({ "url": "postgres://u:p@h/d" })).contains("password: { secret: name }"));
        assert!(advice(json!({ "url": "postgres://h/d" })).contains("lacks a user"));
        assert!(advice(json!({ "url": url, "tables": ["orders"] })).contains("public.orders"));
        assert!(advice(json!({ "url": url, "slot": "My-Slot" })).contains("lower-case"));
        assert!(advice(json!({ "url": url, "tls": "verify-full" })).contains("PEM"));
        assert!(advice(json!({ "url": url, "heartbaet": "1s" })).contains("did you mean `heartbeat`?"));
        assert!(advice(json!({ "url": url, "snapshot_workers": 0 })).contains("1 to 32"));
    }
}
