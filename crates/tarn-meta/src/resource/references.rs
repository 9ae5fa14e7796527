//! References to secrets: `{secret: name}` stands wherever a spec takes text.

use std::collections::BTreeSet;

use serde_json::Value;
use tarn_core::{Fault, ResourceName};

use super::document::ResourceDocument;
use super::problem::Problem;

/// The key of a reference.
pub const SECRET_KEY: &str = "secret";

/// The secret that a value refers to, if it is a reference: a mapping with the one key `secret` and a text.
pub(crate) fn reference(value: &Value) -> Option<&str> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    map.get(SECRET_KEY)?.as_str()
}

/// Names of the secrets that a spec refers to, sorted, each once.
pub fn secret_references(spec: &Value) -> Vec<String> {
    let mut names = BTreeSet::new();
    visit(spec, "", &mut |_, value| {
        if let Some(name) = reference(value) {
            names.insert(name.to_string());
        }
    });
    names.into_iter().collect()
}

/// JSON pointers of the references of a spec, with the names.
pub(crate) fn reference_places(spec: &Value) -> Vec<(String, String)> {
    let mut places = Vec::new();
    visit(spec, "", &mut |pointer, value| {
        if let Some(name) = reference(value) {
            places.push((pointer.to_string(), name.to_string()));
        }
    });
    places
}

/// References whose name no secret can have.
pub(crate) fn malformed(document: &ResourceDocument) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (pointer, name) in reference_places(&document.spec) {
        if let Err(error) = ResourceName::parse(&name) {
            let problem = document.problem(&pointer, format!("`{name}` cannot be the name of a secret"));
            problems.push(problem.with_hint(error.hint().unwrap_or_default()));
        }
    }
    problems
}

/// The spec with each reference replaced by what `replace` gives for its name.
pub(crate) fn replace<E>(
    spec: &mut Value,
    replace_one: &mut impl FnMut(&str) -> Result<String, E>,
) -> Result<(), E> {
    if let Some(name) = reference(spec) {
        *spec = Value::String(replace_one(name)?);
        return Ok(());
    }
    match spec {
        Value::Array(items) => items.iter_mut().try_for_each(|item| replace(item, replace_one)),
        Value::Object(map) => map.values_mut().try_for_each(|value| replace(value, replace_one)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

// Recursion is bounded: specs come from text that is nested at most 64 levels.
fn visit(value: &Value, pointer: &str, found: &mut impl FnMut(&str, &Value)) {
    found(pointer, value);
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                visit(item, &format!("{pointer}/{index}"), found);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                visit(item, &format!("{pointer}/{key}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
