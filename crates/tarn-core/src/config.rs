//! Configuration: one file, environment overrides, and unknown keys refused with the nearest right one.
//!
//! A configuration is a struct of sections, each a struct with `#[serde(default, deny_unknown_fields)]`. Its doc
//! comments are its manual: [`reference_markdown`] and [`json_schema`] are made from them.
//!
//! Precedence, lowest first: the struct's `Default`, the file, the environment.

mod environment;
mod reference;
mod shape;

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::fault::{Fault, FaultKind, nearest};

pub use environment::{UnknownVariable, unknown_variables};
pub use reference::reference_markdown;

use environment::{Override, overrides};
use shape::Shape;

/// Keys that the hint of an unknown one lists.
const KEYS_LISTED_MAX: usize = 10;

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file is not TOML.
    #[error("{file}:{line}: {message}")]
    Syntax {
        /// The file as it was named.
        file: Box<str>,
        /// From 1.
        line: usize,
        /// What the parser said.
        message: String,
    },
    /// The file has a key that nothing reads.
    #[error("{file}:{line}: unknown key `{key}` in {section}{}", did_you_mean(similar))]
    UnknownKey {
        /// The file as it was named.
        file: Box<str>,
        /// From 1.
        line: usize,
        /// The key.
        key: Box<str>,
        /// `[section]`, or `the top level`.
        section: Box<str>,
        /// The nearest key that exists there.
        similar: Option<Box<str>>,
        /// All keys that exist there.
        known: Vec<String>,
    },
    /// A value of the file has the wrong type or is out of range.
    #[error("{file}:{line}: {message}")]
    InvalidValue {
        /// The file as it was named.
        file: Box<str>,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A value of the environment has the wrong type or is out of range.
    #[error("environment variable `{variable}`: {message}")]
    InvalidVariable {
        /// Its name.
        variable: String,
        /// What is wrong with its value.
        message: String,
    },
}

fn did_you_mean(similar: &Option<Box<str>>) -> String {
    similar.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

impl Fault for ConfigError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Syntax { .. }
            | Self::UnknownKey { .. }
            | Self::InvalidValue { .. }
            | Self::InvalidVariable { .. } => FaultKind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { section, known, .. } if !known.is_empty() => {
                let first =
                    known.iter().take(KEYS_LISTED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
                let more = match known.len().saturating_sub(KEYS_LISTED_MAX) {
                    0 => String::new(),
                    more => format!(" and {more} more, see docs/reference/config.md"),
                };
                Some(format!("keys of {section}: {first}{more}"))
            }
            Self::Syntax { .. } | Self::InvalidValue { .. } => {
                Some("all keys, types and defaults are in docs/reference/config.md".to_string())
            }
            Self::UnknownKey { .. } => None,
            Self::InvalidVariable { .. } => Some("correct the variable or unset it".to_string()),
        }
    }
}

/// Reads a configuration.
///
/// `text`: the file's name (for messages) and content, `None` where there is no file. `env`: the process's variables;
/// `TARN_<SECTION>__<KEY>` replaces one value, parsed by the type that the key has. A `TARN_` variable that means
/// nothing is no error, since it may belong to another program; [`unknown_variables`] lists them.
/// Errors: the first thing that is wrong, in the order of the file, then of the variables' names.
pub fn load<T>(
    text: Option<(&Path, &str)>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<T, ConfigError>
where
    T: DeserializeOwned + Serialize + JsonSchema + Default,
{
    let schema = json_schema::<T>();
    let (mut config, mut json) = match text {
        Some((path, text)) => read_file::<T>(path, text, &schema)?,
        None => (T::default(), Value::Object(Map::new())),
    };
    for Override { variable, path, value } in overrides(&Shape::of(&schema), env.collect())? {
        put(&mut json, &path, value);
        // One by one, so that an error names its variable.
        config = T::deserialize(&json)
            .map_err(|error| ConfigError::InvalidVariable { variable, message: error.to_string() })?;
    }
    Ok(config)
}

/// The JSON Schema of a configuration, without references, so that an editor or a form needs nothing else.
pub fn json_schema<T: JsonSchema>() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

fn read_file<T: DeserializeOwned>(
    path: &Path,
    text: &str,
    schema: &Value,
) -> Result<(T, Value), ConfigError> {
    let file: Box<str> = path.display().to_string().into();
    let at = |error: &toml::de::Error| line_of(text, error.span().map_or(0, |span| span.start));
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        line: at(&error),
        message: error.message().to_string(),
        file: file.clone(),
    })?;
    refuse_unknown_keys(&File { name: &file, text }, table.get_ref(), &Shape::of(schema), &[])?;
    let config = toml::from_str(text).map_err(|error| {
        let line = at(&error);
        let key = text.lines().nth(line - 1).and_then(|line| line.split_once('='));
        let message = match key {
            Some((key, _)) => format!("`{}`: {}", key.trim(), error.message()),
            None => error.message().to_string(),
        };
        ConfigError::InvalidValue { line, message, file: file.clone() }
    })?;
    Ok((config, table_to_json(table.get_ref())))
}

struct File<'a> {
    name: &'a str,
    text: &'a str,
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn refuse_unknown_keys(
    file: &File<'_>,
    table: &DeTable<'_>,
    shape: &Shape<'_>,
    parents: &[&str],
) -> Result<(), ConfigError> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let name: &str = key.get_ref();
        let Some(inner) = shape.property(name) else {
            let known: Vec<String> = shape.property_names().map(str::to_string).collect();
            return Err(ConfigError::UnknownKey {
                file: file.name.into(),
                line: line_of(file.text, key.span().start),
                key: name.into(),
                section: section_name(parents).into(),
                similar: nearest(name, known.iter().map(String::as_str)).map(Box::from),
                known,
            });
        };
        let below: Vec<&str> = parents.iter().copied().chain([name]).collect();
        refuse_unknown_in_value(file, value, &inner, &below)?;
    }
    Ok(())
}

fn refuse_unknown_in_value(
    file: &File<'_>,
    value: &Spanned<DeValue<'_>>,
    shape: &Shape<'_>,
    parents: &[&str],
) -> Result<(), ConfigError> {
    match value.get_ref() {
        DeValue::Table(table) if shape.is_object() => refuse_unknown_keys(file, table, shape, parents),
        DeValue::Array(items) => match shape.items() {
            Some(item) => {
                items.iter().try_for_each(|value| refuse_unknown_in_value(file, value, &item, parents))
            }
            None => Ok(()),
        },
        // A table where none is expected is a wrong type, which the typed parser words better.
        _ => Ok(()),
    }
}

fn section_name(parents: &[&str]) -> String {
    if parents.is_empty() { "the top level".to_string() } else { format!("[{}]", parents.join(".")) }
}

fn table_to_json(table: &DeTable<'_>) -> Value {
    Value::Object(
        table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), value_to_json(value.get_ref())))
            .collect(),
    )
}

fn value_to_json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map(Value::from)
            .or_else(|_| u64::from_str_radix(digits.as_str(), digits.radix()).map(Value::from))
            .unwrap_or(Value::Null),
        // JSON has no infinity; a key that takes one cannot be mixed with overrides and reads as null.
        DeValue::Float(digits) => digits.as_str().parse::<f64>().map(Value::from).unwrap_or(Value::Null),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => items.iter().map(|item| value_to_json(item.get_ref())).collect(),
        DeValue::Table(table) => table_to_json(table),
    }
}

fn put(json: &mut Value, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        *json = value;
        return;
    };
    if !json.is_object() {
        *json = Value::Object(Map::new());
    }
    if let Value::Object(map) = json {
        put(map.entry(first.clone()).or_insert(Value::Null), rest, value);
    }
}

#[cfg(test)]
mod tests;
