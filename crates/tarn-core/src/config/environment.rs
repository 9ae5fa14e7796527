//! `TARN_<SECTION>__<KEY>` variables.

use std::fmt;

use schemars::JsonSchema;
use serde_json::Value;

use super::shape::Shape;
use super::{ConfigError, json_schema, value_to_json};
use crate::fault::nearest;

const PREFIX: &str = "TARN_";

/// Variables that are read elsewhere; one that ends with `*` stands for all that begin so.
const NOT_CONFIG: &[&str] = &[
    "TARN_LOG",        // log filter, needed before the configuration is read
    "TARN_SECRET_KEY", // key of the stored secrets
    "TARN_URL",        // server that the command line talks to
    "TARN_API_KEY",    // its key
    "TARN_USER",       // or a user
    "TARN_PASSWORD",   // with a password
    "TARN_DATA",       // data folder
    "TARN_SEED",       // seed of tests
    "TARN_BIN",        // binary under test
    "TARN_CACHE",      // folder of the scripts of the repository
    "TARN_VENV",       // Python of those scripts
    "TARN_BENCH_*",
    "TARN_TEST_*",
];

/// Kubernetes sets these in every pod beside a service named `tarn`.
const KUBERNETES: &[&str] = &["TARN_SERVICE_HOST", "TARN_SERVICE_PORT*", "TARN_PORT", "TARN_PORT_*"];

/// One value from the environment.
#[derive(Debug)]
pub(super) struct Override {
    pub(super) variable: String,
    pub(super) path: Vec<String>,
    pub(super) value: Value,
}

/// A `TARN_` variable that changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVariable {
    /// Its name.
    pub name: String,
    /// The nearest variable that exists.
    pub similar: Option<String>,
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "environment variable `{}` is unknown and changes nothing", self.name)?;
        match &self.similar {
            Some(similar) => write!(f, "; did you mean `{similar}`?"),
            None => Ok(()),
        }
    }
}

/// Which of some variables look like configuration but are not. `names`: of all variables of the process.
pub fn unknown_variables<'a, T: JsonSchema>(names: impl Iterator<Item = &'a str>) -> Vec<UnknownVariable> {
    let schema = json_schema::<T>();
    let shape = Shape::of(&schema);
    let mut known = Vec::new();
    list_variables(&shape, PREFIX.to_string(), &mut known);
    names
        .filter(|name| {
            name.starts_with(PREFIX) && !is_listed(name, NOT_CONFIG) && !is_listed(name, KUBERNETES)
        })
        .filter(|name| find(&shape, name).is_none())
        .map(|name| UnknownVariable {
            name: name.to_string(),
            similar: nearest(name, known.iter().map(String::as_str)).map(str::to_string),
        })
        .collect()
}

/// The variable that sets a key.
pub(super) fn variable_name(path: &[&str]) -> String {
    format!("{PREFIX}{}", path.join("__").to_uppercase())
}

/// The overrides among `variables`, by name. Errors: a value that does not parse as its key's type.
pub(super) fn overrides(
    shape: &Shape<'_>,
    mut variables: Vec<(String, String)>,
) -> Result<Vec<Override>, ConfigError> {
    variables.sort();
    variables
        .into_iter()
        .filter_map(|(variable, text)| {
            let (path, key) = find(shape, &variable)?;
            Some((variable, text, path, key))
        })
        .map(|(variable, text, path, key)| match parse(&text, &key) {
            Ok(value) => Ok(Override { variable, path, value }),
            Err(message) => Err(ConfigError::InvalidVariable { variable, message }),
        })
        .collect()
}

fn is_listed(name: &str, list: &[&str]) -> bool {
    list.iter().any(|entry| entry.strip_suffix('*').map_or(*entry == name, |start| name.starts_with(start)))
}

/// The key that a variable sets, with its shape.
fn find<'a>(shape: &Shape<'a>, variable: &str) -> Option<(Vec<String>, Shape<'a>)> {
    if is_listed(variable, NOT_CONFIG) {
        return None;
    }
    let mut shape = shape.clone();
    let mut path = Vec::new();
    for part in variable.strip_prefix(PREFIX)?.split("__") {
        let lower = part.to_lowercase();
        let declared = shape.property_names().find(|name| name.eq_ignore_ascii_case(part));
        let name = declared.map_or(lower, str::to_string);
        shape = shape.property(&name)?;
        path.push(name);
    }
    Some((path, shape))
}

fn list_variables(shape: &Shape<'_>, prefix: String, into: &mut Vec<String>) {
    for name in shape.property_names() {
        let variable = format!("{prefix}{}", name.to_uppercase());
        match shape.property(name) {
            Some(inner) if inner.property_names().next().is_some() => {
                list_variables(&inner, format!("{variable}__"), into);
            }
            _ => into.push(variable),
        }
    }
}

/// Reads a variable's text as the first of the key's types that fits.
fn parse(text: &str, shape: &Shape<'_>) -> Result<Value, String> {
    let types = shape.types();
    if types.is_empty() {
        return Ok(parse_toml(text).unwrap_or_else(|| Value::String(text.to_string())));
    }
    for name in ["null", "boolean", "integer", "number", "array", "object", "string"] {
        if types.contains(&name)
            && let Some(value) = parse_as(text, name)
        {
            return Ok(value);
        }
    }
    Err(format!("`{text}` is not {}", describe(&types)))
}

fn parse_as(text: &str, name: &str) -> Option<Value> {
    let trimmed = text.trim();
    match name {
        "null" => trimmed.is_empty().then_some(Value::Null),
        "boolean" => match trimmed.to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(Value::Bool(true)),
            "false" | "0" | "no" | "off" => Some(Value::Bool(false)),
            _ => None,
        },
        "integer" => {
            trimmed.parse::<i64>().map(Value::from).or_else(|_| trimmed.parse::<u64>().map(Value::from)).ok()
        }
        "number" => trimmed.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from),
        "array" if trimmed.starts_with('[') => parse_toml(trimmed),
        "array" if trimmed.is_empty() => Some(Value::Array(Vec::new())),
        "array" => Some(trimmed.split(',').map(|item| Value::String(item.trim().to_string())).collect()),
        "object" => parse_toml(trimmed).filter(Value::is_object),
        _ => Some(Value::String(text.to_string())),
    }
}

/// A TOML value, such as `["a", "b"]`, `{ x = 1 }` or `17`.
fn parse_toml(text: &str) -> Option<Value> {
    toml::de::DeValue::parse(text).ok().map(|value| value_to_json(value.get_ref()))
}

fn describe(types: &[&str]) -> String {
    let names: Vec<&str> = types
        .iter()
        .map(|name| match *name {
            "boolean" => "true or false",
            "integer" => "a whole number",
            "number" => "a number",
            "array" => "a list such as a,b",
            "object" => "a table such as { key = \"value\" }",
            "null" => "empty",
            _ => "a text",
        })
        .collect();
    names.join(" or ")
}
