//! Kinds to test with, in the shape that the program's own have.

use std::collections::BTreeMap;

use serde_json::json;
use tarn_meta::{KindSpec, Kinds, NameRule, Problem, ResourceDocument, Variants};

pub fn kinds() -> Kinds {
    let secret = json!({ "type": ["string", "null"], "format": "secret" });
    let postgres = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["url"],
        "properties": {
            "url": { "type": "string", "pattern": "^postgres://" },
            "password": secret,
            "tables": { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            "port": { "type": "integer", "minimum": 1, "maximum": 65535 },
            "mode": { "enum": ["snapshot", "stream"] },
            "retry": { "$ref": "#/$defs/Retry" },
            "filter": { "anyOf": [
                { "type": "object", "additionalProperties": false, "required": ["by", "column"],
                  "properties": { "by": { "const": "column" }, "column": { "type": "string" } } },
                { "type": "object", "additionalProperties": false, "required": ["by", "pattern"],
                  "properties": { "by": { "const": "pattern" }, "pattern": { "type": "string" } } },
                { "type": "null" }
            ] }
        },
        "$defs": { "Retry": { "type": "object", "additionalProperties": false,
            "properties": { "attempts": { "type": "integer" }, "wait": {
                "type": ["string", "null"], "pattern": "^[0-9]+ ?(s|m)$", "examples": ["30s"] } } } }
    });
    let generator = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": { "rows": { "type": "integer" }, "note": { "type": "string" } }
    });
    let variants = Variants {
        key: "type",
        noun: "source type",
        schemas: BTreeMap::from([
            ("postgres_cdc".to_string(), postgres),
            ("generator".to_string(), generator),
        ]),
    };
    let base = || {
        json!({ "type": "object", "properties": {
        "into": { "type": "string" }, "paused": { "type": "boolean" } } })
    };
    let source = KindSpec::new("source", base).with_variants(variants).with_validate(own_check);
    let table_schema = || {
        json!({ "type": "object", "additionalProperties": false,
        "properties": { "freshness": { "type": "string" } } })
    };
    let table = KindSpec::new("table", table_schema).with_names(NameRule::Table);
    Kinds::new(vec![source, table])
}

fn own_check(document: &ResourceDocument) -> Vec<Problem> {
    match document.spec["into"].as_str() {
        Some("system") => {
            vec![document.problem("/into", "`into` cannot be `system`").with_hint("choose another")]
        }
        _ => Vec::new(),
    }
}
