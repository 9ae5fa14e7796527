//! The reference page of a configuration.

use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::environment::variable_name;
use super::json_schema;
use super::shape::Shape;

/// The page `docs/reference/config.md`: one table per section with key, type, default, variable and meaning.
pub fn reference_markdown<T: Serialize + JsonSchema + Default>() -> String {
    let schema = json_schema::<T>();
    let defaults = serde_json::to_value(T::default()).unwrap_or(Value::Null);
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Written by `tarn reference` from doc comments; edit those. -->\n\n\
         Tarn reads `tarn.toml` in the project folder. Every key has a default, so the file may be missing. An \
         environment variable replaces one value: `TARN_<SECTION>__<KEY>`, with two underscores between the parts.\n",
    );
    let shape = Shape::of(&schema);
    if !shape.description().is_empty() {
        let _ = write!(page, "\n{}\n", paragraph(shape.description()));
    }
    write_section(&mut page, &shape, &defaults, &[]);
    page
}

fn write_section(page: &mut String, shape: &Shape<'_>, defaults: &Value, path: &[&str]) {
    let (sections, keys): (Vec<_>, Vec<_>) = shape
        .property_names()
        .filter_map(|name| Some((name, shape.property(name)?)))
        .partition(|(_, inner)| inner.property_names().next().is_some());
    if !keys.is_empty() {
        page.push_str("\n| key | type | default | variable | meaning |\n|---|---|---|---|---|\n");
    }
    for (name, inner) in keys {
        let full: Vec<&str> = path.iter().copied().chain([name]).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| `{name}` | {} | {} | `{}` | {} |",
            type_name(&inner),
            default_text(defaults.get(name)),
            variable_name(&full),
            cell(inner.description()),
        );
    }
    for (name, inner) in sections {
        let full: Vec<&str> = path.iter().copied().chain([name]).collect();
        let _ = write!(page, "\n## [{}]\n", full.join("."));
        if !inner.description().is_empty() {
            let _ = write!(page, "\n{}\n", paragraph(inner.description()));
        }
        write_section(page, &inner, defaults.get(name).unwrap_or(&Value::Null), &full);
    }
}

fn type_name(shape: &Shape<'_>) -> String {
    let choices = shape.choices();
    if !choices.is_empty() {
        return choices.iter().map(|choice| format!("`\"{choice}\"`")).collect::<Vec<_>>().join(", ");
    }
    let names: Vec<&str> = shape
        .types()
        .into_iter()
        .filter(|name| *name != "null")
        .map(|name| match name {
            "string" => "text",
            "boolean" => "true or false",
            "array" => "list",
            "object" => "table",
            other => other,
        })
        .collect();
    if names.is_empty() { "any".to_string() } else { names.join(" or ") }
}

fn default_text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "none".to_string(),
        Some(Value::Object(map)) if map.is_empty() => "none".to_string(),
        Some(value) => format!("`{value}`"),
    }
}

fn paragraph(text: &str) -> String {
    text.split("\n\n").map(|part| part.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
