//! Tables and numbers for people.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde_json::Value;

/// Prints rows of `items` as a table; each column is a title and a path such as `snapshot.rows_done`.
pub fn print_items(items: &[Value], columns: &[(&str, &str)], empty: &str) {
    if items.is_empty() {
        println!("{empty}");
        return;
    }
    let mut table = new_table();
    table.set_header(columns.iter().map(|(title, _)| *title));
    for item in items {
        table.add_row(columns.iter().map(|(title, path)| {
            let value = path.split('.').try_fold(item, |value, key| value.get(key)).unwrap_or(&Value::Null);
            cell(title, value)
        }));
    }
    println!("{table}");
}

/// A table without frames.
pub fn new_table() -> Table {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn cell(title: &str, value: &Value) -> Cell {
    match value {
        Value::Number(number) if title == "SIZE" => {
            Cell::new(bytes(number.as_u64().unwrap_or(0))).set_alignment(CellAlignment::Right)
        }
        Value::Number(number) => {
            let text = match number.as_f64() {
                Some(float) if !number.is_u64() && !number.is_i64() => format!("{float:.1}"),
                _ => number.to_string(),
            };
            Cell::new(text).set_alignment(CellAlignment::Right)
        }
        other => Cell::new(text(other)),
    }
}

/// A JSON value on one line, `-` for none.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A number of bytes, such as `1.5 MB`.
pub fn bytes(count: u64) -> String {
    let units = [("TB", 1u64 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)];
    match units.iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", count as f64 / *size as f64),
        None => format!("{count} B"),
    }
}

/// The list `items` of an answer.
pub fn items(answer: &Value) -> Vec<Value> {
    answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Prints JSON for programs.
pub fn print_json(value: &Value) {
    println!("{value:#}");
}
