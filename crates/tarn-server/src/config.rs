//! Where the server listens and what it refuses.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarn_core::{ByteSize, HumanDuration};
use tarn_storage::DelegationConfig;

/// Addresses and limits of the wire protocols.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Console, HTTP API and Iceberg REST catalog.
    pub http: HttpConfig,
    /// PostgreSQL wire protocol, for psql, BI tools and drivers.
    pub pgwire: PgwireConfig,
    /// Arrow Flight SQL, for ADBC and JDBC drivers.
    pub flight: FlightConfig,
    /// Certificate for all three protocols. Without it nothing is encrypted, which is right on loopback only.
    pub tls: Option<TlsConfig>,
    /// How long open requests may go on after a stop was asked for.
    pub shutdown_timeout: HumanDuration,
}

/// Console, HTTP API and Iceberg REST catalog.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Address, such as `"127.0.0.1:8080"`; port 0 takes a free one, `"off"` does not listen.
    pub listen: Listen,
    /// Largest body of a request. A larger one is refused with status 413 before it is read.
    pub body_bytes_max: ByteSize,
    /// Largest body of a push into an `http_push` source, which is read as a stream.
    pub push_bytes_max: ByteSize,
    /// Longest time for a request that is not a query, a push or an event stream.
    pub request_timeout: HumanDuration,
    /// Longest time for a query that names no `timeout` of its own.
    pub query_timeout: HumanDuration,
    /// Connections served at once; further ones wait.
    pub connections_max: u32,
    /// Event streams (open console pages) served at once; further ones are refused with status 429.
    pub event_streams_max: u32,
    /// Host names that a browser may use for this server. Loopback names always work; on other addresses an
    /// empty list allows every name.
    pub hosts: Vec<String>,
}

/// PostgreSQL wire protocol.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PgwireConfig {
    /// Address, such as `"127.0.0.1:15432"`; port 0 takes a free one, `"off"` does not listen.
    pub listen: Listen,
    /// Connections served at once; further ones are refused.
    pub connections_max: u32,
    /// Longest time for a statement until the client sets its own `statement_timeout`.
    pub statement_timeout: HumanDuration,
}

/// Arrow Flight SQL.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FlightConfig {
    /// Address, such as `"127.0.0.1:15433"`; port 0 takes a free one, `"off"` does not listen.
    pub listen: Listen,
    /// Calls served at once on one connection.
    pub streams_max: u32,
    /// Calls served at once over all connections; further ones are refused.
    pub calls_max: u32,
    /// How long a prepared statement or a planned query is kept when its client does not come back.
    pub handle_duration: HumanDuration,
}

/// A certificate and its key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file with the certificate chain, the server's own certificate first.
    pub cert: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// An address to listen on, or none.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Listen(Option<String>);

impl Listen {
    /// Listens on `host:port`.
    pub fn at(address: impl Into<String>) -> Self {
        Self::from(address.into())
    }

    /// Does not listen.
    pub const OFF: Self = Self(None);

    /// The address, `None` when off.
    pub fn address(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Whether nobody but this machine can connect.
    pub fn is_loopback(&self) -> bool {
        let Some(address) = self.address() else { return true };
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl From<String> for Listen {
    fn from(text: String) -> Self {
        Self(Some(text).filter(|text| !text.is_empty() && text != "off"))
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.0.unwrap_or_else(|| "off".to_string())
    }
}

impl fmt::Debug for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.address().unwrap_or("off"))
    }
}

impl JsonSchema for Listen {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Listen".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "host:port to listen on, or `off`.",
            "examples": ["127.0.0.1:8080", "0.0.0.0:8080", "off"]
        })
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            http: HttpConfig::default(),
            pgwire: PgwireConfig::default(),
            flight: FlightConfig::default(),
            tls: None,
            shutdown_timeout: HumanDuration::from_secs(10),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: Listen::at("127.0.0.1:8080"),
            body_bytes_max: ByteSize(16 << 20),
            push_bytes_max: ByteSize(1 << 30),
            request_timeout: HumanDuration::from_secs(60),
            query_timeout: HumanDuration::from_secs(300),
            connections_max: 4_096,
            event_streams_max: 256,
            hosts: Vec::new(),
        }
    }
}

impl Default for PgwireConfig {
    fn default() -> Self {
        Self {
            listen: Listen::at("127.0.0.1:15432"),
            connections_max: 512,
            statement_timeout: HumanDuration::from_secs(3_600),
        }
    }
}

impl Default for FlightConfig {
    fn default() -> Self {
        Self {
            listen: Listen::at("127.0.0.1:15433"),
            streams_max: 64,
            calls_max: 512,
            handle_duration: HumanDuration::from_secs(600),
        }
    }
}

/// What the server says about itself and to clients of the Iceberg catalog.
#[derive(Clone, Debug, Default)]
pub struct Installation {
    /// Version of the program.
    pub version: String,
    /// Name of the project that is served.
    pub project: String,
    /// Whether this is the demo project.
    pub demo: bool,
    /// Whether resources may only be read.
    pub read_only: bool,
    /// When the process started, milliseconds since 1970 UTC.
    pub started_ms: i64,
    /// Settings handed to clients of the Iceberg catalog so that they find the files, such as `s3.endpoint`. Never a
    /// secret.
    pub iceberg_client: BTreeMap<String, String>,
    /// How those clients get at the files of a table without keys of their own.
    pub delegation: DelegationConfig,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_configuration_survives_a_round_trip() {
        let config = ServerConfig::default();
        let text = serde_json::to_string(&config).unwrap();
        let back: ServerConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }

    #[test]
    fn off_means_no_address() {
        let config: HttpConfig = serde_json::from_str(r#"{"listen": "off"}"#).unwrap();
        assert_eq!(config.listen.address(), None);
        assert!(serde_json::from_str::<HttpConfig>(r#"{"lisen": "off"}"#).is_err());
    }
}
