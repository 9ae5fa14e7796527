//! Values to YAML text, always the same text for the same value.

use serde_json::{Map, Value};

use super::scalar;

const INDENT: &str = "  ";

/// Block style, two spaces, keys in the order of the map, one line feed at the end. Text with several lines becomes
/// a literal block where that keeps every character.
pub(crate) fn emit(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => mapping(&mut out, map, 0),
        Value::Array(items) if !items.is_empty() => sequence(&mut out, items, 0),
        other => {
            leaf(&mut out, other, 0);
            out.push('\n');
        }
    }
    out
}

fn indent(out: &mut String, level: usize) {
    for _ in 0..level {
        out.push_str(INDENT);
    }
}

fn mapping(out: &mut String, map: &Map<String, Value>, level: usize) {
    for (index, (key, value)) in map.iter().enumerate() {
        // The first entry of a mapping in a list stands behind its dash.
        if index > 0 || out.is_empty() || out.ends_with('\n') {
            indent(out, level);
        }
        text(out, key, None);
        out.push(':');
        child(out, value, level);
    }
}

fn child(out: &mut String, value: &Value, level: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            mapping(out, map, level + 1);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            sequence(out, items, level + 1);
        }
        other => {
            out.push(' ');
            leaf(out, other, level);
            if !out.ends_with('\n') {
                out.push('\n');
            }
        }
    }
}

fn sequence(out: &mut String, items: &[Value], level: usize) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 || out.is_empty() || out.ends_with('\n') {
            indent(out, level);
        }
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => mapping(out, map, level + 1),
            Value::Array(items) if !items.is_empty() => sequence(out, items, level + 1),
            other => {
                leaf(out, other, level);
                if !out.ends_with('\n') {
                    out.push('\n');
                }
            }
        }
    }
}

fn leaf(out: &mut String, value: &Value, level: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        // `1e30` of JSON is a float for YAML, too.
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(string) => text(out, string, Some(level)),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

// `block_level`: where a literal block may be used, the level of what holds it.
fn text(out: &mut String, text: &str, block_level: Option<usize>) {
    if is_plain(text) {
        out.push_str(text);
    } else if let Some(level) = block_level.filter(|_| is_literal(text)) {
        literal(out, text, level);
    } else {
        quoted(out, text);
    }
}

fn is_plain(text: &str) -> bool {
    const NOT_FIRST: &str = "-?:,[]{}#&*!|>'\"%@` ";
    let first_ok = text.chars().next().is_some_and(|c| !NOT_FIRST.contains(c));
    let inside_ok =
        text.chars().all(|c| is_printable(c) && !matches!(c, '\n' | '\t' | '\u{a0}' | '\u{feff}'));
    first_ok
        && inside_ok
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.contains(['[', ']', '{', '}', ','])
        && scalar::is_plain_text(text)
}

// What every reader takes as it is; others are escaped.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
        || c == '\n'
        || c == '\t'
}

fn is_literal(text: &str) -> bool {
    let lines = text.strip_suffix('\n').unwrap_or(text);
    lines.contains('\n')
        && text.chars().all(is_printable)
        && !text.starts_with([' ', '\t', '\n'])
        && !lines.ends_with('\n')
        && lines.split('\n').all(|line| !line.ends_with([' ', '\t']) && !line.starts_with('\t'))
}

fn literal(out: &mut String, text: &str, level: usize) {
    let (lines, header) = text.strip_suffix('\n').map_or((text, "|-"), |lines| (lines, "|"));
    out.push_str(header);
    out.push('\n');
    for line in lines.split('\n') {
        if !line.is_empty() {
            indent(out, level + 1);
            out.push_str(line);
        }
        out.push('\n');
    }
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            c => match u32::from(c) {
                code @ 0..=0xff => out.push_str(&format!("\\x{code:02x}")),
                code @ 0x100..=0xffff => out.push_str(&format!("\\u{code:04x}")),
                code => out.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::super::{NodeValue, read};
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use serde_json::json;

    #[test]
    fn values_look_as_a_person_would_write_them() {
        let value = json!({
            "type": "postgres_cdc",
            "password": {"secret": "shop_password"},
            "tables": ["public.orders", {"name": "x", "keys": [1, 2.5]}, [], [["a"]]],
            "on": "yes",
            "sql": "select 1\nfrom t\n",
            "empty": {},
            "版本": "1.0"
        });
        let text = "\
type: postgres_cdc
password:
  secret: shop_password
tables:
  - public.orders
  - name: x
    keys:
      - 1
      - 2.5
  - []
  - - - a
\"on\": \"yes\"
sql: |
  select 1
  from t
empty: {}
版本: \"1.0\"
";
        assert_eq!(emit(&value), text);
        assert_eq!(read(text).unwrap()[0].to_json(), value);
    }

    fn random_text(rng: &mut StdRng) -> String {
        const PIECES: &[&str] = &[
            "a", "b", " ", "  ", "\n", "\n\n", "\t", "\r", ":", ": ", "#", " #", "-", "- ", "'", "\"", "\\",
            "[", "]", "{", "}", ",", "&", "*", "!", "|", ">", "%", "@", "`", "?", "~", "null", "true", "yes",
            "0", "1e3", "0x1", ".5", "---", "...", "<<", "=", "é", "门", "😀", "\u{7}", "\u{85}", "\u{a0}",
            "\u{2028}", "\u{feff}", "\u{1b}", "---\n", "\n...\n", "%YAML", "\u{fffe}", "\u{7f}", "\u{9f}",
        ];
        (0..rng.random_range(0..6)).map(|_| PIECES[rng.random_range(0..PIECES.len())]).collect()
    }

    fn random_value(rng: &mut StdRng, depth: usize) -> Value {
        match rng.random_range(0..if depth == 0 { 6 } else { 9 }) {
            0 => Value::Null,
            1 => Value::Bool(rng.random()),
            2 => json!(rng.random::<i64>()),
            3 => json!(rng.random::<u64>()),
            4 => json!(f64::from(rng.random::<i32>()) * 1e-7),
            5 | 6 => Value::String(random_text(rng)),
            7 => (0..rng.random_range(0..4)).map(|_| random_value(rng, depth - 1)).collect(),
            _ => Value::Object(
                (0..rng.random_range(0..4))
                    .map(|_| (random_text(rng), random_value(rng, depth - 1)))
                    .collect(),
            ),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for seed in 0..20_000 {
            let mut rng = StdRng::seed_from_u64(seed);
            // A document that is nothing but null is empty, and `<<` is a merge by design.
            let value = json!({"v": random_value(&mut rng, 4)});
            if value.to_string().contains("\"<<\":") {
                continue;
            }
            let text = emit(&value);
            let nodes = read(&text).unwrap_or_else(|error| panic!("seed {seed}: {error:?}\n{text}"));
            assert_eq!(nodes.len(), 1, "seed {seed}\n{text}");
            assert_eq!(nodes[0].to_json(), value, "seed {seed}\n{text}");
            assert_eq!(emit(&nodes[0].to_json()), text, "seed {seed}");
        }
    }

    #[test]
    fn no_text_makes_the_reader_fail_without_an_error() {
        for seed in 0..50_000 {
            let mut rng = StdRng::seed_from_u64(seed);
            let text: String = (0..rng.random_range(0..12)).map(|_| random_text(&mut rng)).collect();
            if let Err(error) = read(&text) {
                assert!(error.line >= 1 && !error.message.is_empty(), "seed {seed}");
            }
        }
    }

    #[test]
    fn bombs_are_refused() {
        let deep = "[".repeat(100_000);
        assert!(read(&deep).is_err());
        assert!(read(&"[".repeat(100)).unwrap_err().message.contains("deeper"));
        assert!(read(&format!("{}{}", "[".repeat(64), "]".repeat(64))).is_ok());
        let deep_block: String = (0..200).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        assert!(read(&deep_block).unwrap_err().message.contains("deeper"));
        let mut laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_string();
        for level in 1..30 {
            let alias = format!("*a{}", level - 1);
            laughs.push_str(&format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(",")));
        }
        let error = read(&laughs).unwrap_err();
        assert!(error.message.contains("more than"), "{error:?}");
        let own = "a: &a [*a]";
        assert!(read(own).is_err());
    }

    #[test]
    fn places_and_merges_are_right() {
        let text =
            "base: &base\n  url: x\n  port: 1\nshop:\n  <<: *base\n  port: 2\nlist:\n  - a\n  - b: c\n";
        let node = &read(text).unwrap()[0];
        assert_eq!(node.to_json()["shop"], json!({"url": "x", "port": 2}));
        let mut lines = Vec::new();
        node.visit_lines(&mut |pointer, line| lines.push((pointer.to_string(), line)));
        assert!(lines.contains(&("/shop/port".to_string(), 6)), "{lines:?}");
        assert!(lines.contains(&("/list/1/b".to_string(), 9)));
        assert!(matches!(node.value, NodeValue::Mapping(_)));
        let error = read("a: 1\nb:\n  c: 1\n  c: 2\n").unwrap_err();
        assert_eq!((error.line, error.message.as_str()), (4, "the key `c` occurs twice"));
        assert_eq!(read("a: b: c\n").unwrap_err().line, 1);
        assert_eq!(read("a: !include x\n").unwrap_err().line, 1);
        assert_eq!(read("? [a]\n: b\n").unwrap_err().message, "a key must be text");
    }
}
