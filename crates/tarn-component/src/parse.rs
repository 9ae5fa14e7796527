//! Parses a configuration and says which field is wrong.

use serde::de::DeserializeOwned;
use tarn_core::{Fault, FaultKind, nearest};

/// A configuration that cannot be used: which field, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", field_prefix(field))]
pub struct ConfigError {
    /// Path of the field, such as `tables[0].file`; empty for the whole.
    pub field: String,
    /// What is wrong with it.
    pub what: String,
    /// What to write instead, where we know it.
    pub advice: Option<String>,
}

fn field_prefix(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!("`{field}`: ") }
}

impl Fault for ConfigError {
    fn kind(&self) -> FaultKind {
        FaultKind::Invalid
    }

    fn hint(&self) -> Option<String> {
        self.advice.clone()
    }
}

/// Parses a configuration. Errors: names the field; for an unknown field or value also the nearest known one.
pub fn parse<T: DeserializeOwned>(config: serde_json::Value) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(config).map_err(|error| {
        let field = match error.path().to_string() {
            path if path == "." => String::new(),
            path => path,
        };
        describe(field, &error.inner().to_string())
    })
}

/// Turns serde's text into ours. The text of an unknown field or variant lists the known ones in backticks.
fn describe(field: String, text: &str) -> ConfigError {
    for (start, noun) in [("unknown field `", "field"), ("unknown variant `", "value")] {
        let Some((wanted, rest)) = text.strip_prefix(start).and_then(|rest| rest.split_once('`')) else {
            continue;
        };
        let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        let advice = match nearest(wanted, known.iter().copied()) {
            Some(name) => Some(format!("did you mean `{name}`?")),
            None if known.is_empty() => Some(format!("remove `{wanted}`")),
            None => Some(format!("use one of `{}`", known.join("`, `"))),
        };
        // The path of an unknown field ends with that field; it is named in the text already.
        let parent = field.strip_suffix(wanted).map_or(field.as_str(), |path| path.trim_end_matches('.'));
        return ConfigError { field: parent.to_string(), what: format!("unknown {noun} `{wanted}`"), advice };
    }
    ConfigError { field, what: text.to_string(), advice: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(default)]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        path: String,
        #[serde(default)]
        format: Option<Format>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Format {
        Csv,
    }

    #[test]
    fn an_unknown_field_names_the_nearest_and_its_place() {
        let error =
            parse::<Outer>(json!({ "inner": [{ "path": "a", "fromat": "csv" }] })).expect_err("unknown");
        assert_eq!(error.to_string(), "`inner[0]`: unknown field `fromat`");
        assert_eq!(error.hint().as_deref(), Some("did you mean `format`?"));
        let error =
            parse::<Outer>(json!({ "inner": [{ "path": "a", "format": "cvs" }] })).expect_err("unknown");
        assert_eq!(error.hint().as_deref(), Some("did you mean `csv`?"));
    }

    #[test]
    fn a_wrong_type_and_a_missing_field_name_the_place() {
        let error = parse::<Outer>(json!({ "inner": [{ "path": 7 }] })).expect_err("wrong type");
        assert!(error.to_string().starts_with("`inner[0].path`: "), "{error}");
        let error = parse::<Outer>(json!({ "inner": [{}] })).expect_err("missing");
        assert_eq!(error.to_string(), "`inner[0]`: missing field `path`");
    }

    #[test]
    fn a_right_configuration_parses() {
        let outer = parse::<Outer>(json!({ "inner": [{ "path": "a", "format": "csv" }] })).expect("right");
        assert_eq!(outer.inner[0].path, "a");
        assert!(outer.inner[0].format.is_some());
    }
}
