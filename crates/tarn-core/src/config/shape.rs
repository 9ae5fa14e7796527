//! What a JSON Schema says about keys and types, as far as configurations use it.

use serde_json::{Map, Value};

/// A schema with its alternatives flattened: `Option`, tagged enums and `flatten` give several objects whose
/// properties count together.
#[derive(Clone, Debug)]
pub(super) struct Shape<'a> {
    alternatives: Vec<&'a Map<String, Value>>,
    own: Option<&'a Map<String, Value>>,
}

impl<'a> Shape<'a> {
    pub(super) fn of(schema: &'a Value) -> Self {
        let mut alternatives = Vec::new();
        collect(schema, &mut alternatives);
        Self { alternatives, own: schema.as_object() }
    }

    /// The shape of a key; `None` if no alternative has it.
    pub(super) fn property(&self, name: &str) -> Option<Shape<'a>> {
        let named = self.objects("properties").find_map(|properties| properties.get(name));
        let free = || {
            self.alternatives.iter().find_map(|schema| {
                schema.get("additionalProperties").filter(|rest| rest.is_object() || **rest == true)
            })
        };
        // A type that takes any JSON has neither properties nor a type.
        let any = || self.alternatives.is_empty().then_some(&Value::Bool(true));
        named.or_else(free).or_else(any).map(Shape::of)
    }

    pub(super) fn property_names(&self) -> impl Iterator<Item = &'a str> {
        self.objects("properties").flat_map(|properties| properties.keys().map(String::as_str))
    }

    /// The shape of each element, where it is an array.
    pub(super) fn items(&self) -> Option<Shape<'a>> {
        self.alternatives.iter().find_map(|schema| schema.get("items")).map(Shape::of)
    }

    pub(super) fn is_object(&self) -> bool {
        self.types().contains(&"object") || self.objects("properties").next().is_some()
    }

    /// Names of JSON types, in the schema's order; empty where any is allowed.
    pub(super) fn types(&self) -> Vec<&'a str> {
        let mut types = Vec::new();
        for schema in &self.alternatives {
            match schema.get("type") {
                Some(Value::String(one)) => types.push(one.as_str()),
                Some(Value::Array(several)) => types.extend(several.iter().filter_map(Value::as_str)),
                _ if schema.contains_key("enum") || schema.contains_key("const") => types.push("string"),
                _ => {}
            }
        }
        types.dedup();
        types
    }

    /// The values of an enumeration; empty where it is none.
    pub(super) fn choices(&self) -> Vec<&'a str> {
        self.alternatives
            .iter()
            .flat_map(|schema| {
                let several = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
                several.chain(schema.get("const"))
            })
            .filter_map(Value::as_str)
            .collect()
    }

    /// The doc comment.
    pub(super) fn description(&self) -> &'a str {
        let text = |schema: &'a Map<String, Value>| schema.get("description").and_then(Value::as_str);
        self.own
            .and_then(text)
            .or_else(|| self.alternatives.iter().find_map(|schema| text(schema)))
            .unwrap_or("")
    }

    fn objects(&self, keyword: &'static str) -> impl Iterator<Item = &'a Map<String, Value>> {
        self.alternatives.clone().into_iter().filter_map(move |schema| schema.get(keyword)?.as_object())
    }
}

fn collect<'a>(schema: &'a Value, into: &mut Vec<&'a Map<String, Value>>) {
    let Some(object) = schema.as_object() else { return };
    if ["type", "properties", "additionalProperties", "enum", "const", "items"]
        .iter()
        .any(|k| object.contains_key(*k))
    {
        into.push(object);
    }
    for keyword in ["anyOf", "oneOf", "allOf"] {
        for alternative in object.get(keyword).and_then(Value::as_array).into_iter().flatten() {
            collect(alternative, into);
        }
    }
}
