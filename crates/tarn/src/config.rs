//! The whole configuration: one section per noun, from `tarn.toml` and the environment.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarn_access::AccessConfig;
use tarn_core::ByteSize;
use tarn_core::config::UnknownVariable;
use tarn_eventlog::EventLogConfig;
use tarn_ingest::IngestConfig;
use tarn_lakehouse::service::ServiceConfig;
use tarn_lakehouse::{LakehouseMemory, SinkConfig};
use tarn_observe::LogConfig;
use tarn_query::QueryConfig;
use tarn_server::ServerConfig;
use tarn_storage::{DelegationConfig, StorageConfig};

use crate::cli::{Failure, io_failure};

/// Settings of an installation. All have defaults.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Addresses and limits of the wire protocols.
    pub server: ServerConfig,
    /// Users, sessions, passwords.
    pub access: AccessConfig,
    /// Where resources, users and table pointers are kept.
    pub meta: MetaConfig,
    /// Topics.
    pub eventlog: EventLogConfig,
    /// What imports may reach.
    pub ingest: IngestConfig,
    /// How changes become commits of tables.
    pub lakehouse: LakehouseConfig,
    /// What SQL queries may use.
    pub query: QueryConfig,
    /// Log lines.
    pub log: LogConfig,
}

/// Where resources, users and table pointers are kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetaConfig {
    /// `postgres://user:password@host:port/database` for a database that several processes share; a SQLite file in the
    /// data folder if left out.
    pub url: Option<String>,
}

/// How changes become commits of tables, and where tables lie.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LakehouseConfig {
    /// Where tables lie: a folder or a bucket; `lake` in the data folder if left out.
    pub storage: Option<StorageConfig>,
    /// How other engines get at the files of tables in a bucket without keys of their own.
    pub delegation: DelegationConfig,
    /// Places beside the tables in which data files of tables may lie that were registered without copying them
    /// (`tarn import --register`); they are only read. The project folder is one of them.
    pub outside: Vec<StorageConfig>,
    /// When changes of a topic become a commit of its table; a `table` resource may say otherwise for one table.
    pub sink: SinkConfig,
    /// Memory for rows of all tables that are in no file yet. Above half of it tables commit sooner, above it they wait
    /// with more rows until some are committed.
    pub hot_bytes: ByteSize,
    /// What services that look after tables may use: compaction, expiry, removal of orphans, manifests, statistics.
    pub services: ServiceConfig,
}

impl Default for LakehouseConfig {
    fn default() -> Self {
        let LakehouseMemory { hot_bytes, services, .. } = LakehouseMemory::default();
        let delegation = DelegationConfig::default();
        Self {
            storage: None,
            delegation,
            outside: Vec::new(),
            sink: SinkConfig::default(),
            hot_bytes,
            services,
        }
    }
}

/// Reads `tarn.toml` of a project, if there is one, and the environment. Errors: the first thing that is wrong, with
/// its line.
pub fn load(project: &Path) -> Result<Config, Failure> {
    let path = project.join("tarn.toml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(io_failure("read", &path, &error)),
    };
    let file = text.as_deref().map(|text| (path.as_path(), text));
    Ok(tarn_core::config::load(file, variables())?)
}

/// Variables of the environment that look like settings and are none.
pub fn unknown_variables() -> Vec<UnknownVariable> {
    let names: Vec<String> = variables().map(|(name, _)| name).collect();
    tarn_core::config::unknown_variables::<Config>(names.iter().map(String::as_str))
}

/// What the environment says in UTF-8; nothing else can be a setting.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
