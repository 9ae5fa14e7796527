//! Tables and numbers for people, and the one place that writes to standard output.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde_json::Value;

use super::Failure;

/// Prints a line on standard output. See [`print_bytes`] for what happens when it cannot be written.
pub fn print_line(line: impl Display) {
    print_text(format_args!("{line}\n"));
}

/// Prints text on standard output as it is, and at once.
pub fn print_text(text: impl Display) {
    print_bytes(text.to_string().as_bytes());
}

/// Prints bytes on standard output, and at once. Ends the process when they cannot be written: quietly when nobody
/// reads them any more, as behind `| head`, and else with the failure on standard error.
pub fn print_bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) else { return };
    drop(out);
    let code = match unwritten(&error) {
        None => 0,
        Some(failure) => failure.say(false),
    };
    std::process::exit(i32::from(code))
}

/// Why output is lost; `None` where its reader has seen enough.
fn unwritten(error: &io::Error) -> Option<Failure> {
    match error.kind() {
        ErrorKind::BrokenPipe => None,
        _ => Some(Failure::internal(format!("could not write to standard output: {error}"))),
    }
}

/// Prints a line of a server on standard output. It goes on when nobody reads it.
pub fn announce_line(line: impl Display) {
    // What it says is on the console and in the log, too.
    let _ = writeln!(io::stdout(), "{line}");
}

/// Says something on standard error that stops nothing.
pub fn warn(text: impl Display) {
    // Nothing is left to say it on when that fails.
    let _ = writeln!(io::stderr(), "warning: {text}");
}

/// Prints rows of `items` as a table; each column is a title and a path such as `snapshot.rows_done`.
pub fn print_items(items: &[Value], columns: &[(&str, &str)], empty: &str) {
    if items.is_empty() {
        print_line(empty);
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
    print_line(table);
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
    print_line(format_args!("{value:#}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure() {
        assert!(unwritten(&ErrorKind::BrokenPipe.into()).is_none());
        let failure = unwritten(&ErrorKind::StorageFull.into()).unwrap();
        assert!(failure.message().starts_with("could not write to standard output: "), "{failure:?}");
    }
}
