//! The spec of a family member: its name, documentation, configuration schema and examples. One spec is the
//! reference page, the web form, the JSON Schema and the test.

mod parse;
mod secret;

use serde::Serialize;

pub use parse::{ConfigError, parse};
pub use secret::Secret;

/// How much a member may still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stability {
    /// Its configuration keeps working in later versions.
    Stable,
    /// Works and is tested; its configuration may still change, with a note in the changelog.
    Beta,
}

/// A configuration that works, with what it does.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Example {
    /// What it shows, one line.
    pub title: &'static str,
    /// The `spec` part of the resource, YAML.
    pub config: &'static str,
}

/// Name, documentation, configuration schema and examples of a family member.
#[derive(Clone, Copy)]
pub struct ComponentSpec {
    /// As written in resources, such as `postgres_cdc`.
    pub name: &'static str,
    /// For people, English, such as `PostgreSQL (change data capture)`.
    pub title: &'static str,
    /// For people, Chinese.
    pub title_zh: &'static str,
    /// One or two sentences, English.
    pub summary: &'static str,
    /// One or two sentences, Chinese.
    pub summary_zh: &'static str,
    /// Group in lists, such as `database`, `file`, `http`, `demo`.
    pub category: &'static str,
    /// How much it may still change.
    pub stability: Stability,
    /// JSON Schema of the configuration. A field with `"format": "secret"` takes a secret reference.
    pub config: fn() -> schemars::Schema,
    /// At least one.
    pub examples: &'static [Example],
    /// More documentation, Markdown, English.
    pub docs: &'static str,
}

/// The JSON Schema of a configuration type, inlined so that a form can be drawn from it alone.
pub fn schema_of<T: schemars::JsonSchema>() -> schemars::Schema {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>()
}
