use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;
use crate::{ByteSize, HumanDuration};

/// Settings of a test.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    server: Server,
    eventlog: Log,
    /// Free labels.
    labels: BTreeMap<String, String>,
}

/// What the server listens on.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Server {
    /// Address of the console,
    /// such as `127.0.0.1:8080`.
    #[schemars(with = "String")]
    http: SocketAddr,
    /// Certificates.
    tls: Option<Tls>,
    /// Who may embed the console.
    origins: Vec<String>,
    compress: bool,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Tls {
    cert: String,
    key: String,
}

/// The log.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Log {
    /// Time between flushes.
    interval: HumanDuration,
    /// Size of a segment.
    segment_size: ByteSize,
    retries: Option<u32>,
    codec: Codec,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Codec {
    None,
    Lz4,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls: None,
            origins: Vec::new(),
            compress: true,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            interval: HumanDuration::from_millis(5),
            segment_size: ByteSize(64 << 20),
            retries: None,
            codec: Codec::Lz4,
        }
    }
}

fn read(text: &str, env: &[(&str, &str)]) -> Result<Settings, String> {
    let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    load(Some((Path::new("tarn.toml"), text)), env).map_err(|error| error.to_string())
}

#[test]
fn without_file_and_variables_the_defaults_hold() {
    assert_eq!(load::<Settings>(None, std::iter::empty()), Ok(Settings::default()));
    assert_eq!(read("", &[]), Ok(Settings::default()));
}

#[test]
fn the_file_replaces_defaults_and_the_environment_replaces_the_file() {
    let text =
        "[server]\nhttp = \"0.0.0.0:1\"\ncompress = false\n[eventlog]\ninterval = \"1s\"\nretries = 3\n";
    let settings = read(text, &[("TARN_SERVER__HTTP", "127.0.0.1:0"), ("PATH", "/bin")]).expect("valid");
    assert_eq!(settings.server.http, SocketAddr::from(([127, 0, 0, 1], 0)));
    assert!(!settings.server.compress);
    assert_eq!(settings.eventlog.interval, HumanDuration::from_secs(1));
    assert_eq!(settings.eventlog.retries, Some(3));
}

#[test]
fn a_variable_is_parsed_by_the_type_of_its_key() {
    let settings = read(
        "",
        &[
            ("TARN_SERVER__COMPRESS", "off"),
            ("TARN_SERVER__ORIGINS", "a.example, b.example"),
            ("TARN_SERVER__TLS", "{ cert = \"c.pem\", key = \"k.pem\" }"),
            ("TARN_EVENTLOG__RETRIES", "7"),
            ("TARN_EVENTLOG__SEGMENT_SIZE", "1GB"),
            ("TARN_EVENTLOG__CODEC", "none"),
            ("TARN_LABELS__TEAM", "17"),
        ],
    )
    .expect("valid");
    assert!(!settings.server.compress);
    assert_eq!(settings.server.origins, ["a.example", "b.example"]);
    assert_eq!(settings.server.tls, Some(Tls { cert: "c.pem".into(), key: "k.pem".into() }));
    assert_eq!(settings.eventlog.retries, Some(7));
    assert_eq!(settings.eventlog.segment_size, ByteSize(1 << 30));
    assert_eq!(settings.eventlog.codec, Codec::None);
    assert_eq!(settings.labels["team"], "17");
}

#[test]
fn an_empty_variable_takes_an_optional_value_away() {
    let settings = read("[eventlog]\nretries = 3\n", &[("TARN_EVENTLOG__RETRIES", "")]).expect("valid");
    assert_eq!(settings.eventlog.retries, None);
}

#[test]
fn a_list_of_a_variable_may_be_written_as_toml() {
    let settings = read("", &[("TARN_SERVER__ORIGINS", "[\"a, b\"]")]).expect("valid");
    assert_eq!(settings.server.origins, ["a, b"]);
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_one() {
    let text = "# Tarn\n\n[server]\nhttp = \"127.0.0.1:1\"\n\n[eventlog]\nintervall = \"1s\"\n";
    let error = read(text, &[]).expect_err("typo");
    assert_eq!(error, "tarn.toml:7: unknown key `intervall` in [eventlog]; did you mean `interval`?");
    let error = read("[server.tls]\ncert = \"c\"\nkey = \"k\"\nca = \"x\"\n", &[]).expect_err("no such key");
    assert_eq!(error, "tarn.toml:4: unknown key `ca` in [server.tls]");
    let error = read("[servr]\n", &[]).expect_err("typo");
    assert_eq!(error, "tarn.toml:1: unknown key `servr` in the top level; did you mean `server`?");
}

#[test]
fn an_unknown_key_lists_those_that_exist() {
    let text = "[eventlog]\nfoo = 1\n";
    let error =
        load::<Settings>(Some((Path::new("tarn.toml"), text)), std::iter::empty()).expect_err("unknown");
    assert_eq!(error.kind(), FaultKind::Invalid);
    assert_eq!(error.hint().as_deref(), Some("keys of [eventlog]: interval, segment_size, retries, codec"));
}

#[test]
fn a_long_list_of_keys_is_cut() {
    let error = ConfigError::UnknownKey {
        file: "tarn.toml".into(),
        line: 1,
        key: "foo".into(),
        section: "[server]".into(),
        similar: None,
        known: (1..=12).map(|number| format!("k{number}")).collect(),
    };
    let hint =
        "keys of [server]: k1, k2, k3, k4, k5, k6, k7, k8, k9, k10 and 2 more, see docs/reference/config.md";
    assert_eq!(error.hint().as_deref(), Some(hint));
}

#[test]
fn a_wrong_value_is_refused_with_its_line() {
    let error = read("[eventlog]\n\ninterval = \"5 parsecs\"\n", &[]).expect_err("no duration");
    assert!(error.starts_with("tarn.toml:3: `interval`: `5 parsecs` is not a duration"), "{error}");
    let error = read("[server]\ncompress = 3\n", &[]).expect_err("no flag");
    assert!(error.starts_with("tarn.toml:2: `compress`: invalid type"), "{error}");
    let error = read("[server]\nhttp = \n", &[]).expect_err("no TOML");
    assert!(error.starts_with("tarn.toml:2: "), "{error}");
}

#[test]
fn a_wrong_variable_is_refused_by_its_name() {
    let error = read("", &[("TARN_SERVER__HTTP", "nowhere")]).expect_err("no address");
    assert!(error.starts_with("environment variable `TARN_SERVER__HTTP`: invalid socket address"), "{error}");
    let error = read("", &[("TARN_EVENTLOG__RETRIES", "many")]).expect_err("no number");
    assert_eq!(error, "environment variable `TARN_EVENTLOG__RETRIES`: `many` is not a whole number or empty");
}

#[test]
fn variables_that_mean_nothing_are_named_and_others_left_alone() {
    let names = [
        "TARN_SERVER_HTTP",
        "TARN_EVENTLOG__INTERVALL",
        "TARN_SERVER__HTTP",
        "TARN_LOG",
        "TARN_DATA",
        "TARN_USER",
        "TARN_PASSWORD",
        "TARN_TEST_SERVICES",
        "TARN_PORT_8080_TCP",
        "HOME",
    ];
    let unknown = unknown_variables::<Settings>(names.into_iter());
    let found: Vec<(&str, Option<&str>)> =
        unknown.iter().map(|variable| (variable.name.as_str(), variable.similar.as_deref())).collect();
    assert_eq!(
        found,
        [
            ("TARN_SERVER_HTTP", Some("TARN_SERVER__HTTP")),
            ("TARN_EVENTLOG__INTERVALL", Some("TARN_EVENTLOG__INTERVAL")),
        ]
    );
    assert_eq!(
        unknown[0].to_string(),
        "environment variable `TARN_SERVER_HTTP` is unknown and changes nothing; did you mean `TARN_SERVER__HTTP`?"
    );
}

#[test]
fn the_reference_has_every_key_with_type_default_and_meaning() {
    let page = reference_markdown::<Settings>();
    let rows = [
        "## [server]\n\nWhat the server listens on.\n",
        "| `http` | text | `\"127.0.0.1:8080\"` | `TARN_SERVER__HTTP` | Address of the console, such as `127.0.0.1:8080`. |",
        "| `retries` | integer | none | `TARN_EVENTLOG__RETRIES` |  |",
        "| `codec` | `\"none\"`, `\"lz4\"` | `\"lz4\"` | `TARN_EVENTLOG__CODEC` |",
        "| `segment_size` | text | `\"64MB\"` |",
        "## [server.tls]\n\nCertificates.\n",
        "| `labels` | table | none | `TARN_LABELS` | Free labels. |",
    ];
    for row in rows {
        assert!(page.contains(row), "{row}\nis not in\n{page}");
    }
}
