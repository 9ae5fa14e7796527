//! `SET` and `SHOW`: what a session remembers. Settings that change nothing here are remembered all the same, since
//! drivers set and read them without need.

use std::time::Duration;

use datafusion::sql::sqlparser::ast::{Set, Statement};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use pgwire::api::ClientInfo;
use pgwire::error::PgWireResult;

use super::error::user_error;

/// The version that clients are told; they choose their catalog queries by it.
pub(crate) const SERVER_VERSION: &str = "16.6";

const STATEMENT_TIMEOUT: &str = "statement_timeout";
/// The branch of tables that the session reads and writes.
const BRANCH: &str = "branch";

/// Settings with their first values, as PostgreSQL spells them.
const DEFAULTS: &[(&str, &str)] = &[
    ("application_name", ""),
    (BRANCH, "main"),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("DateStyle", "ISO, YMD"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("extra_float_digits", "1"),
    ("idle_in_transaction_session_timeout", "0"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("IntervalStyle", "postgres"),
    ("is_superuser", "off"),
    ("lc_collate", "C.UTF-8"),
    ("lc_ctype", "C.UTF-8"),
    ("lock_timeout", "0"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("row_security", "on"),
    ("search_path", "\"$user\", public"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "160006"),
    ("session_authorization", ""),
    ("standard_conforming_strings", "on"),
    (STATEMENT_TIMEOUT, "0"),
    ("TimeZone", "UTC"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "off"),
];

/// Those that a client is told about when they change, as the protocol demands.
const REPORTED: &[&str] = &[
    "application_name",
    "client_encoding",
    "DateStyle",
    "IntervalStyle",
    "standard_conforming_strings",
    "TimeZone",
];

/// A setting that was changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    /// As PostgreSQL spells it.
    pub name: String,
    /// Its value now.
    pub value: String,
    /// Whether the client must be told.
    pub reported: bool,
}

/// Carries out a `SET`. Errors: a value that the setting cannot have, or a statement that is no `SET`.
pub(crate) fn set<C: ClientInfo + ?Sized>(client: &mut C, sql: &str) -> PgWireResult<Option<Changed>> {
    let statements = Parser::parse_sql(&PostgreSqlDialect {}, sql)
        .map_err(|error| user_error("42601", error.to_string()))?;
    let Some(Statement::Set(set)) = statements.into_iter().next() else {
        return Err(user_error("42601", "this is not a SET statement"));
    };
    let (name, value) = match set {
        Set::SingleAssignment { variable, values, .. } => {
            let texts: Vec<String> = values.iter().map(|value| unquoted(&value.to_string())).collect();
            (variable.to_string(), texts.join(", "))
        }
        Set::SetTimeZone { value, .. } => ("TimeZone".to_string(), unquoted(&value.to_string())),
        Set::SetNames { charset_name, .. } => {
            ("client_encoding".to_string(), unquoted(&charset_name.to_string()))
        }
        // Every statement reads one consistent state of each table, whatever level is asked for; roles are not
        // switched within a connection.
        _ => return Ok(None),
    };
    assign(client, &name, &value).map(Some)
}

fn assign<C: ClientInfo + ?Sized>(client: &mut C, name: &str, value: &str) -> PgWireResult<Changed> {
    let bare = unquoted(name);
    let known = DEFAULTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(&bare));
    let name = known.map_or(bare, |(known, _)| (*known).to_string());
    let value = match (value.eq_ignore_ascii_case("default"), known) {
        (true, Some((_, default))) => (*default).to_string(),
        _ => value.to_string(),
    };
    check(&name, &value)?;
    client.metadata_mut().insert(name.to_lowercase(), value.clone());
    let reported = REPORTED.contains(&name.as_str());
    Ok(Changed { name, value, reported })
}

/// Takes over a setting that a client sends at the start; one that cannot be is left out, as clients send their own
/// time zone and encoding without being asked.
pub(crate) fn start<C: ClientInfo + ?Sized>(client: &mut C, name: &str, value: &str) {
    if !name.eq_ignore_ascii_case("timezone") {
        let _ = assign(client, name, value);
    }
}

/// Takes over the settings in `-c name=value -c …`, as `PGOPTIONS` has them.
pub(crate) fn start_options<C: ClientInfo + ?Sized>(client: &mut C, options: &str) {
    for part in options.split("-c ").flat_map(|part| part.split("--")) {
        if let Some((name, value)) = part.trim().split_once('=') {
            start(client, name.trim(), value.trim());
        }
    }
}

/// The statement by which the engine learns of a setting that is also its own.
pub(crate) fn for_engine(changed: &Changed) -> Option<String> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    match changed.name.as_str() {
        "TimeZone" => Some(format!("SET timezone = {}", quoted(&changed.value))),
        "search_path" => {
            // The first name that is a namespace of ours: PostgreSQL has `public` and the user's own by default.
            let own = changed.value.split(',').map(unquoted).find(|name| {
                !matches!(name.as_str(), "" | "$user" | "public" | "pg_catalog" | "information_schema")
            });
            Some(own.map_or("RESET search_path".to_string(), |name| {
                format!("SET search_path = {}", quoted(&name))
            }))
        }
        BRANCH | "tarn.branch" | "spark.wap.branch" => {
            Some(format!("SET {BRANCH} = {}", quoted(&changed.value)))
        }
        name if name.starts_with("datafusion.") => Some(format!("SET {name} = {}", quoted(&changed.value))),
        _ => None,
    }
}

fn check(name: &str, value: &str) -> PgWireResult<()> {
    let invalid = |hint: &str| {
        user_error("22023", format!("invalid value for parameter \"{name}\": \"{value}\"; {hint}"))
    };
    match name {
        "client_encoding" if !matches!(value.to_uppercase().as_str(), "UTF8" | "UTF-8" | "UNICODE") => {
            Err(invalid("only UTF8 is possible"))
        }
        STATEMENT_TIMEOUT => {
            parse_timeout(value).map(|_| ()).ok_or_else(|| invalid("write milliseconds, or '30s'"))
        }
        "server_version" | "server_version_num" | "server_encoding" | "integer_datetimes"
        | "is_superuser" => Err(user_error("55P02", format!("parameter \"{name}\" cannot be changed"))),
        _ => Ok(()),
    }
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    let inner = ['\'', '"'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    inner.unwrap_or(text).to_string()
}

/// Carries out a `RESET`.
pub(crate) fn reset<C: ClientInfo + ?Sized>(client: &mut C, name: &str) -> PgWireResult<Vec<Changed>> {
    let names: Vec<&str> = match name {
        "all" => DEFAULTS.iter().map(|(known, _)| *known).filter(|known| !is_fixed(known)).collect(),
        one => vec![one],
    };
    names.into_iter().map(|name| assign(client, name, "default")).collect()
}

fn is_fixed(name: &str) -> bool {
    matches!(
        name,
        "server_version"
            | "server_version_num"
            | "server_encoding"
            | "integer_datetimes"
            | "is_superuser"
            | "session_authorization"
    )
}

/// The value of a setting: of the session, or the first one. `None` for a name that nobody set and PostgreSQL has not.
pub(crate) fn show<C: ClientInfo + ?Sized>(client: &C, name: &str) -> Option<(String, String)> {
    let default = DEFAULTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let spelled = default.map_or_else(|| name.to_string(), |(known, _)| (*known).to_string());
    let own = client.metadata().get(&name.to_lowercase()).filter(|_| !is_fixed(&spelled)).cloned();
    own.or_else(|| default.map(|(_, value)| (*value).to_string())).map(|value| (spelled, value))
}

/// The first value of a setting of PostgreSQL.
pub(crate) fn default_of(name: &str) -> Option<String> {
    DEFAULTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| (*value).to_string())
}

/// All settings with their values, by name.
pub(crate) fn show_all<C: ClientInfo + ?Sized>(client: &C) -> Vec<(String, String)> {
    DEFAULTS.iter().filter_map(|(name, _)| show(client, name)).collect()
}

/// What a client is told at the start.
pub(crate) fn reported<C: ClientInfo + ?Sized>(client: &C) -> Vec<(String, String)> {
    let also = ["server_version", "server_encoding", "integer_datetimes", "is_superuser", "in_hot_standby"];
    let names = REPORTED.iter().chain(also.iter());
    names.filter_map(|name| show(client, name)).collect()
}

/// Whether the client wants that nothing is changed.
pub(crate) fn reads_only<C: ClientInfo + ?Sized>(client: &C) -> bool {
    let is_on = |name: &str| client.metadata().get(name).is_some_and(|value| !is_off(value));
    is_on("default_transaction_read_only") || is_on("transaction_read_only")
}

fn is_off(value: &str) -> bool {
    matches!(value.to_lowercase().as_str(), "off" | "false" | "0" | "no" | "f" | "n")
}

/// The session's time limit for a statement; `None` without one.
pub(crate) fn statement_timeout<C: ClientInfo + ?Sized>(client: &C) -> Option<Duration> {
    client
        .metadata()
        .get(STATEMENT_TIMEOUT)
        .and_then(|text| parse_timeout(text))
        .filter(|limit| !limit.is_zero())
}

/// A number of milliseconds, or a number with `ms`, `s`, `min`, `h` or `d`.
fn parse_timeout(text: &str) -> Option<Duration> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use pgwire::api::DefaultClient;

    use super::*;

    fn client() -> DefaultClient<()> {
        DefaultClient::new(SocketAddr::from(([127, 0, 0, 1], 1)), false)
    }

    #[test]
    fn a_setting_is_remembered_under_any_spelling() {
        let mut client = client();
        let changed = set(&mut client, "SET datestyle TO 'ISO'").unwrap().unwrap();
        assert_eq!((changed.name.as_str(), changed.reported), ("DateStyle", true));
        assert_eq!(show(&client, "dateSTYLE"), Some(("DateStyle".to_string(), "ISO".to_string())));
        set(&mut client, "set my.own = 5").unwrap();
        assert_eq!(show(&client, "my.own").unwrap().1, "5");
        assert_eq!(show(&client, "nonsense"), None);
        reset(&mut client, "all").unwrap();
        assert_eq!(show(&client, "datestyle").unwrap().1, "ISO, YMD");
    }

    #[test]
    fn time_limits_are_read_with_their_unit() {
        let mut client = client();
        for (text, ms) in [("5000", 5_000), ("'2s'", 2_000), ("'1min'", 60_000)] {
            set(&mut client, &format!("SET statement_timeout = {text}")).unwrap();
            assert_eq!(statement_timeout(&client), Some(Duration::from_millis(ms)));
        }
        set(&mut client, "SET statement_timeout TO DEFAULT").unwrap();
        assert_eq!(statement_timeout(&client), None);
        assert!(set(&mut client, "SET statement_timeout = 'soon'").is_err());
    }

    #[test]
    fn a_client_can_keep_itself_from_changing_anything() {
        let mut client = client();
        assert!(!reads_only(&client));
        set(&mut client, "SET default_transaction_read_only TO on").unwrap();
        assert!(reads_only(&client));
        set(&mut client, "SET default_transaction_read_only TO off").unwrap();
        assert!(!reads_only(&client));
    }

    #[test]
    fn what_would_change_answers_is_refused_rather_than_ignored() {
        let mut client = client();
        assert!(set(&mut client, "SET client_encoding TO 'LATIN1'").is_err());
        assert!(set(&mut client, "SET NAMES 'UTF8'").is_ok());
        assert!(
            set(&mut client, "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE")
                .is_ok()
        );
    }
}
