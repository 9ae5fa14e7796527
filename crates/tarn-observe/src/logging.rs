//! Log lines of the process, to standard error.

use std::io::IsTerminal;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarn_core::{Fault, FaultKind};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged, and how it looks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Level, or levels by module, such as `"info"` or `"info,tarn_ingest=debug"`. `TARN_LOG`, then `RUST_LOG`, win.
    pub level: String,
    /// Whether each line is a JSON object.
    pub json: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_string(), json: false }
    }
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is not understood.
    #[error("log level `{level}` from {origin} is not understood")]
    InvalidLevel {
        /// As given.
        level: String,
        /// Where it was given.
        origin: &'static str,
        /// What the parser said.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something else logs already in this process.
    #[error("logging is set up already")]
    AlreadySet,
}

impl Fault for LogError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::InvalidLevel { .. } => FaultKind::Invalid,
            Self::AlreadySet => FaultKind::Conflict,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::InvalidLevel { .. } => {
                Some("write error, warn, info, debug or trace, or `info,tarn_ingest=debug`".to_string())
            }
            Self::AlreadySet => None,
        }
    }
}

/// Libraries that say too much at `info`.
const QUIET: &str =
    "datafusion=warn,sqlx=warn,hyper=warn,h2=warn,tower_http=warn,object_store=warn,rustls=warn";

fn filter(level: &str, origin: &'static str) -> Result<EnvFilter, LogError> {
    // What is given comes last, so it wins over the quiet libraries.
    EnvFilter::try_new(format!("{QUIET},{level}")).map_err(|source| LogError::InvalidLevel {
        level: level.to_string(),
        origin,
        source,
    })
}

fn chosen_level<'a>(
    config: &'a LogConfig,
    variable: impl Fn(&str) -> Option<String>,
) -> (std::borrow::Cow<'a, str>, &'static str) {
    for name in ["TARN_LOG", "RUST_LOG"] {
        if let Some(level) = variable(name).filter(|level| !level.trim().is_empty()) {
            return (level.into(), name);
        }
    }
    (config.level.as_str().into(), "`log.level`")
}

/// Starts logging for the whole process. Errors: `InvalidLevel`, `AlreadySet`.
pub fn init_logging(config: &LogConfig) -> Result<(), LogError> {
    let (level, origin) = chosen_level(config, |name| std::env::var(name).ok());
    let registry = tracing_subscriber::registry().with(filter(&level, origin)?);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let set = if config.json {
        registry.with(layer.json().flatten_event(true)).try_init()
    } else {
        let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        registry.with(layer.compact().with_ansi(colours)).try_init()
    };
    set.map_err(|_| LogError::AlreadySet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_wins_over_the_file() {
        let config = LogConfig { level: "warn".to_string(), json: false };
        assert_eq!(chosen_level(&config, |_| None).0, "warn");
        assert_eq!(
            chosen_level(&config, |name| (name == "RUST_LOG").then(|| "debug".to_string())).0,
            "debug"
        );
        assert_eq!(chosen_level(&config, |name| Some(name.to_string())).0, "TARN_LOG");
    }

    #[test]
    fn a_wrong_level_names_its_origin() {
        let error = filter("tarn=loud", "TARN_LOG").expect_err("no such level");
        assert_eq!(error.to_string(), "log level `tarn=loud` from TARN_LOG is not understood");
        assert!(filter("info,tarn_ingest=debug", "TARN_LOG").is_ok());
    }
}
