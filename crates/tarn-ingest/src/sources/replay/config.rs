//! Configuration of `replay`.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarn_component::ConfigError;

use crate::error::IngestError;
use crate::records::repeated_name;

/// Plays a data set of Parquet files as if it happened now: rows appear, change and go at the times that the data
/// itself holds, at a chosen speed. State: the data set and 16 bytes per event in memory.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayConfig {
    /// Folder with the Parquet files; a relative one lies in the project folder.
    pub path: String,
    /// The tables, at least one.
    pub tables: Vec<ReplayTable>,
    /// Simulated seconds per second, such as 600, or `max` for as fast as possible.
    #[serde(default)]
    pub speed: Speed,
    /// Simulated time at which the clock starts, such as `2013-01-01T00:00:00`. Earlier events come at once. Without
    /// it, the time of the first event.
    #[serde(default)]
    pub start: Option<String>,
    /// Whether to begin again after the last event. Event times go on growing; values stay those of the data set.
    #[serde(default, rename = "loop")]
    pub repeat: bool,
}

/// One table of the data set.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayTable {
    /// Its name.
    pub name: String,
    /// Its file in the folder; `<name>.parquet` without it.
    #[serde(default)]
    pub file: Option<String>,
    /// Key columns; needed if the table has updates or deletes.
    #[serde(default)]
    pub key: Vec<String>,
    /// What happens to each row, in order. Without it, each row is inserted when the replay starts.
    #[serde(default)]
    pub events: Vec<ReplayEvent>,
}

/// What happens to each row of a table once.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayEvent {
    /// `insert`, `update` or `delete`.
    pub kind: EventKind,
    /// When: a timestamp column, optionally with a shift, such as `departure` or `arrival + 5 minutes`; or `start`.
    /// It does not happen to rows where the column is null. Never earlier than the row's event before it.
    #[serde(default = "at_start")]
    pub at: String,
    /// Columns that are known from this event on; all without it.
    #[serde(default)]
    pub columns: Vec<String>,
}

/// What an event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The row appears.
    Insert,
    /// More of its columns become known.
    Update,
    /// It goes.
    Delete,
}

fn at_start() -> String {
    "start".to_string()
}

/// How fast the simulated clock runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// Simulated seconds per second; greater than 0.
    Times(f64),
    /// Every event is due at once.
    Max,
}

impl Default for Speed {
    fn default() -> Self {
        Self::Times(1.0)
    }
}

impl Serialize for Speed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Times(times) => serializer.serialize_f64(*times),
            Self::Max => serializer.serialize_str("max"),
        }
    }
}

impl<'de> Deserialize<'de> for Speed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(f64),
            Text(String),
        }
        let bad = || serde::de::Error::custom("write a number greater than 0, such as 600, or \"max\"");
        match Raw::deserialize(deserializer).map_err(|_| bad())? {
            Raw::Number(times) if times > 0.0 && times <= 1e9 => Ok(Self::Times(times)),
            Raw::Text(text) if text == "max" => Ok(Self::Max),
            Raw::Number(_) | Raw::Text(_) => Err(bad()),
        }
    }
}

impl JsonSchema for Speed {
    fn schema_name() -> Cow<'static, str> {
        "Speed".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [{ "type": "number", "exclusiveMinimum": 0, "maximum": 1e9 }, { "const": "max" }]
        })
    }
}

/// When an event happens: `column + shift`, or the start of the replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventTime {
    pub(super) column: Option<String>,
    pub(super) shift_us: i64,
}

const UNITS: [(&str, i64); 4] =
    [("second", 1_000_000), ("minute", 60_000_000), ("hour", 3_600_000_000), ("day", 86_400_000_000)];

impl EventTime {
    /// Parses `column`, `column + 5 minutes`, `column - 1 hour`, `start`. Errors: what is wrong, for people.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (name, shift_us) = match words.as_slice() {
            [name] => (*name, 0),
            [name, sign @ ("+" | "-"), number, unit] => {
                let unit = unit.strip_suffix('s').unwrap_or(unit);
                let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
                let shift =
                    number.parse::<i64>().ok().zip(factor).and_then(|(n, factor)| n.checked_mul(factor));
                let shift = shift.ok_or_else(|| format!("`{text}` has no valid shift"))?;
                (*name, if *sign == "-" { -shift } else { shift })
            }
            _ => return Err(format!("`{text}` is not a time")),
        };
        Ok(Self { column: (name != "start").then(|| name.to_string()), shift_us })
    }
}

const AT_ADVICE: &str = "write a column, `column + 5 minutes`, `column - 1 hour` or `start`";

/// Microseconds since 1970 of `start`, if given.
pub(super) fn start_us(config: &ReplayConfig) -> Result<Option<i64>, IngestError> {
    let Some(text) = &config.start else { return Ok(None) };
    let cell = crate::records::cell_of_text(crate::records::ColumnType::Timestamptz, text);
    match cell {
        Ok(crate::records::Cell::Micros(us)) => Ok(Some(us)),
        _ => Err(IngestError::config(
            "start",
            format!("`{text}` is not a time"),
            "write `2013-01-01T00:00:00`",
        )),
    }
}

/// Tables of a data set at most.
const TABLES_MAX: usize = 1_000;

/// Checks what the types cannot say. Errors: `InvalidConfig`.
pub(super) fn check(config: &ReplayConfig) -> Result<(), IngestError> {
    if config.tables.len() > TABLES_MAX {
        return Err(IngestError::config("tables", "are too many", "name at most 1,000 tables"));
    }
    if config.tables.is_empty() {
        return Err(IngestError::config("tables", "no table", "name at least one table"));
    }
    if let Some(name) = repeated_name(config.tables.iter().map(|table| table.name.as_str())) {
        return Err(IngestError::config(
            "tables",
            format!("`{name}` stands twice"),
            "give each table its own name",
        ));
    }
    start_us(config)?;
    for (n, table) in config.tables.iter().enumerate() {
        check_table(n, table)?;
    }
    Ok(())
}

fn check_table(n: usize, table: &ReplayTable) -> Result<(), IngestError> {
    let at = |field: &str| format!("tables[{n}].{field}");
    let file = std::path::Path::new(table.file.as_deref().unwrap_or("x"));
    if table.name.is_empty() {
        return Err(IngestError::config(at("name"), "is empty", "name the table"));
    }
    if !file.components().all(|part| matches!(part, std::path::Component::Normal(_))) {
        return Err(IngestError::config(at("file"), "leaves the folder", "name a file in the folder"));
    }
    for (m, event) in table.events.iter().enumerate() {
        let field = format!("tables[{n}].events[{m}]");
        if (m == 0) != (event.kind == EventKind::Insert) {
            let what = "the first event of a table must be its only insert";
            return Err(ConfigError {
                field,
                what: what.to_string(),
                advice: Some("begin with `insert`".to_string()),
            }
            .into());
        }
        if m > 0 && table.key.is_empty() {
            return Err(IngestError::config(
                at("key"),
                "is missing",
                "name the key: updates and deletes need one",
            ));
        }
        EventTime::parse(&event.at)
            .map_err(|what| IngestError::config(format!("{field}.at"), what, AT_ADVICE))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_events_are_read() {
        let time = |text| EventTime::parse(text).map(|time| (time.column, time.shift_us));
        assert_eq!(time("start"), Ok((None, 0)));
        assert_eq!(time("departure"), Ok((Some("departure".to_string()), 0)));
        assert_eq!(time("arrival + 5 minutes"), Ok((Some("arrival".to_string()), 300_000_000)));
        assert_eq!(time("arrival - 1 hour"), Ok((Some("arrival".to_string()), -3_600_000_000)));
        for text in ["", "a b", "a + x minutes", "a + 1 fortnight", "a + 9223372036854775807 days"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn speed_is_a_number_or_max() {
        let speed = |text| serde_json::from_str::<Speed>(text);
        assert_eq!(speed("600").expect("a number"), Speed::Times(600.0));
        assert_eq!(speed("\"max\"").expect("max"), Speed::Max);
        for text in ["0", "-1", "\"fast\"", "null"] {
            assert!(speed(text).expect_err("not a speed").to_string().contains("max"), "{text}");
        }
    }
}
