//! `SET`: what a session may change for itself.

use std::sync::Arc;
use std::time::Duration;

use datafusion::config::ConfigOptions;
use datafusion::prelude::SessionConfig;
use iceberg::spec::MAIN_BRANCH;
use tarn_core::{HumanDuration, TableName, nearest};

use crate::engine::QueryConfig;
use crate::sql::is_ref;
use crate::{QueryError, SqlPosition};

/// Settings that PostgreSQL clients send on connecting; they change nothing here.
const IGNORED: &[&str] = &[
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "lock_timeout",
    "row_security",
    "session.characteristics",
    "standard_conforming_strings",
    "transaction_isolation",
    "default_transaction_read_only",
    "names",
];
const SEARCH_PATH: &[&str] = &["search_path", "schema", "datafusion.catalog.default_schema"];
const TIME_ZONE: &[&str] = &["timezone", "time_zone", "time zone", "datafusion.execution.time_zone"];
const STATEMENT_TIMEOUT: &str = "statement_timeout";
const BRANCH: &[&str] = &["branch", "tarn.branch", "spark.wap.branch"];
const TARGET_PARTITIONS: &str = "datafusion.execution.target_partitions";
const BATCH_SIZE: &str = "datafusion.execution.batch_size";
const FREE_PREFIXES: &[&str] = &["datafusion.explain.", "datafusion.optimizer."];
const PARTITIONS_MAX: usize = 256;
const BATCH_SIZE_MAX: usize = 65_536;

/// The settings of one session.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) config: SessionConfig,
    pub(crate) timeout: Option<Duration>,
    /// The branch of each table that is read, where it has one, and written.
    pub(crate) branch: Option<Arc<str>>,
    base: SessionConfig,
    default_namespace: String,
}

impl Settings {
    pub(crate) fn new(engine: &QueryConfig, base: &SessionConfig) -> Self {
        Self {
            config: base.clone(),
            timeout: None,
            branch: None,
            base: base.clone(),
            default_namespace: engine.default_namespace.clone(),
        }
    }

    /// Namespace of names without one.
    pub(crate) fn namespace(&self) -> &str {
        &self.config.options().catalog.default_schema
    }

    /// A time zone to set, the engine's own for `None`. Errors: `Plan`, at `at`.
    fn checked_zone(
        &self,
        value: Option<&str>,
        at: Option<SqlPosition>,
    ) -> Result<Option<String>, QueryError> {
        let zone = value.map(str::to_string).or_else(|| self.base.options().execution.time_zone.clone());
        if zone.as_deref().is_some_and(|zone| zone.parse::<arrow::array::timezone::Tz>().is_err()) {
            return Err(QueryError::plan(
                format!("`{}` is not a time zone", zone.unwrap_or_default()),
                at,
                Some("write `UTC`, `+08:00` or `Asia/Shanghai`".to_string()),
            ));
        }
        Ok(zone)
    }

    /// The branch that is read and written; the tables themselves for `None`. Errors: `Plan`, at `at`.
    fn set_branch(&mut self, value: Option<&str>, at: Option<SqlPosition>) -> Result<(), QueryError> {
        if let Some(wrong) = value.filter(|value| !value.is_empty() && !is_ref(value)) {
            return Err(QueryError::plan(
                format!("`{wrong}` cannot name a branch"),
                at,
                Some(
                    "use letters, digits, `_`, `-`, `.`, `/` and spaces; `RESET branch` goes back to the tables \
                     themselves"
                        .into(),
                ),
            ));
        }
        let named = value.filter(|value| !value.is_empty() && *value != MAIN_BRANCH);
        self.branch = named.map(Arc::from);
        Ok(())
    }

    /// Changes or (with `None`) resets a setting. Errors: `Plan`, at `at`.
    pub(crate) fn set(
        &mut self,
        name: &str,
        value: Option<&str>,
        at: Option<SqlPosition>,
    ) -> Result<(), QueryError> {
        let invalid =
            |message: String, hint: &str| Err(QueryError::plan(message, at, Some(hint.to_string())));
        if IGNORED.contains(&name) {
            return Ok(());
        }
        if SEARCH_PATH.contains(&name) {
            let namespace = value.map_or(self.default_namespace.as_str(), first_namespace);
            if TableName::new(namespace, "t").is_err() {
                return invalid(
                    format!("`{namespace}` is not a namespace"),
                    "`SHOW SCHEMAS` lists the namespaces",
                );
            }
            self.config.options_mut().catalog.default_schema = namespace.to_string();
            return Ok(());
        }
        if TIME_ZONE.contains(&name) {
            let zone = self.checked_zone(value, at)?;
            self.config.options_mut().execution.time_zone = zone;
            return Ok(());
        }
        if BRANCH.contains(&name) {
            return self.set_branch(value, at);
        }
        if name == STATEMENT_TIMEOUT {
            let timeout = value.map(parse_timeout);
            if timeout == Some(None) {
                return invalid(
                    "`statement_timeout` is a time".into(),
                    "write milliseconds or `'30s'`; 0 takes the engine's limit",
                );
            }
            self.timeout = timeout.flatten().filter(|timeout| !timeout.is_zero());
            return Ok(());
        }
        let bound = match name {
            TARGET_PARTITIONS => Some(PARTITIONS_MAX),
            BATCH_SIZE => Some(BATCH_SIZE_MAX),
            _ => None,
        };
        if let Some(bound) = bound
            && let Some(value) = value
            && !value.parse::<usize>().is_ok_and(|value| (1..=bound).contains(&value))
        {
            return invalid(
                format!("`{name}` cannot be `{value}`"),
                &format!("write a number from 1 to {bound}"),
            );
        }
        if bound.is_none() && !FREE_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            let own = ["search_path", "timezone", "branch", STATEMENT_TIMEOUT, TARGET_PARTITIONS, BATCH_SIZE];
            let hint = match nearest(name, own) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "can be set: {}, and settings under `datafusion.explain.` and `datafusion.optimizer.`",
                    own.map(|name| format!("`{name}`")).join(", ")
                ),
            };
            return invalid(format!("setting `{name}` cannot be changed here"), &hint);
        }
        let value = value.map(str::to_string).or_else(|| current(self.base.options(), name));
        let set = self.config.options_mut().set(name, value.as_deref().unwrap_or_default());
        set.or_else(|error| {
            let message = error.message().lines().next().unwrap_or_default().to_string();
            invalid(
                format!("setting `{name}` was not changed: {message}"),
                "`SHOW ALL` lists settings and values",
            )
        })
    }
}

fn first_namespace(path: &str) -> &str {
    path.split(',').next().unwrap_or_default().trim().trim_matches(['"', '\''])
}

fn parse_timeout(text: &str) -> Option<Duration> {
    let text = text.trim();
    let ms = text.parse::<u64>().ok().map(Duration::from_millis);
    ms.or_else(|| text.parse::<HumanDuration>().ok().map(|duration| duration.0))
}

fn current(options: &ConfigOptions, name: &str) -> Option<String> {
    options.entries().into_iter().find(|entry| entry.key == name).and_then(|entry| entry.value)
}
