//! What the grammar below does not read of nested columns: paths such as `address.zip` in `ALTER TABLE`, and the types
//! `MAP<TEXT, INT>` and `ROW(a INT)`, are written as it reads them.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::sql::SqlText;
use crate::sql::text::word;

/// Texts that take the place of others.
type Edits = BTreeMap<(u64, u64), (Location, String)>;

/// Writes paths and types of a `CREATE TABLE` or `ALTER TABLE` so that they can be parsed; another statement is left as it is.
pub(super) fn readable(sql: String, text: &SqlText) -> String {
    let tokens = text.tokens();
    let is = |at: usize, wanted: &str| is_word(tokens, at, wanted);
    let (creates, alters) = (is(0, "CREATE") && is(1, "TABLE"), is(0, "ALTER") && is(1, "TABLE"));
    if !creates && !alters {
        return sql;
    }
    let mut edits = Edits::new();
    // Behind AS stands a query, where `ROW(...)` is a value.
    let end = (0..tokens.len()).find(|at| creates && is(*at, "AS")).unwrap_or(tokens.len());
    types(&tokens[..end], &mut edits);
    let starts = ["ADD", "DROP", "ALTER", "RENAME"];
    let operation = (3..tokens.len()).find(|at| starts.iter().any(|word| is(*at, word)));
    if let Some(first) = operation.filter(|at| alters && !is(at + 1, "TO")) {
        paths(&tokens[first..], &mut edits);
    }
    edited(&sql, &edits)
}

fn is_word(tokens: &[TokenWithSpan], at: usize, wanted: &str) -> bool {
    tokens.get(at).and_then(word).is_some_and(|word| word.value.eq_ignore_ascii_case(wanted))
}

fn put(edits: &mut Edits, from: Location, to: Location, text: &str) {
    edits.insert((from.line, from.column), (to, text.to_string()));
}

/// `MAP<k, v>` becomes `MAP(k, v)`, `ROW(a t)` becomes `STRUCT<a t>`.
fn types(tokens: &[TokenWithSpan], edits: &mut Edits) {
    // What closes each bracket that is open: the text that takes its place, or nothing.
    let mut open: Vec<Option<&str>> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let is_type = |name: &str| at > 0 && is_word(tokens, at - 1, name);
        match token.token {
            Token::Lt if is_type("MAP") => {
                put(edits, token.span.start, token.span.end, "(");
                open.push(Some(")"));
            }
            Token::LParen if is_type("ROW") => {
                put(edits, tokens[at - 1].span.start, token.span.end, "STRUCT<");
                open.push(Some("> "));
            }
            Token::Lt | Token::LParen => open.push(None),
            Token::Gt | Token::RParen => {
                if let Some(Some(close)) = open.pop() {
                    put(edits, token.span.start, token.span.end, close);
                }
            }
            Token::ShiftRight => {
                let (first, second) = (open.pop().flatten(), open.pop().flatten());
                let text = format!("{}{}", first.unwrap_or(">"), second.unwrap_or(">"));
                put(edits, token.span.start, token.span.end, &text);
            }
            _ => {}
        }
    }
}

/// `a.b` becomes one name, `"a.b"`.
fn paths(tokens: &[TokenWithSpan], edits: &mut Edits) {
    let mut at = 0;
    while at < tokens.len() {
        let mut end = at;
        while word(&tokens[end]).is_some()
            && tokens.get(end + 1).is_some_and(|token| token.token == Token::Period)
            && tokens.get(end + 2).is_some_and(|token| word(token).is_some())
        {
            end += 2;
        }
        if end > at {
            let names: Vec<String> = tokens[at..=end].iter().filter_map(name_of).collect();
            let name = names.join(".").replace('"', "\"\"");
            put(edits, tokens[at].span.start, tokens[end].span.end, &format!("\"{name}\""));
        }
        at = end + 1;
    }
}

fn name_of(token: &TokenWithSpan) -> Option<String> {
    let word = word(token)?;
    Some(if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() })
}

fn edited(sql: &str, edits: &Edits) -> String {
    if edits.is_empty() {
        return sql.to_string();
    }
    let (mut line, mut column) = (1_u64, 1_u64);
    let mut skip_to: Option<(u64, u64)> = None;
    let mut out = String::with_capacity(sql.len() + 16);
    for char in sql.chars() {
        let here = (line, column);
        if char == '\n' {
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
        if skip_to.is_some_and(|end| here >= end) {
            skip_to = None;
        }
        if let Some((end, text)) = edits.get(&here) {
            out.push_str(text);
            skip_to = Some((end.line, end.column));
        }
        if skip_to.is_none() {
            out.push(char);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_types_are_written_as_they_can_be_read() {
        for (sql, expected) in [
            (
                "ALTER TABLE a.t ADD COLUMN Address.zip TEXT",
                "ALTER TABLE a.t ADD COLUMN \"address.zip\" TEXT",
            ),
            (
                "ALTER TABLE t RENAME COLUMN a.\"B\" TO c, DROP COLUMN x.y.z",
                "ALTER TABLE t RENAME COLUMN \"a.B\" TO c, DROP COLUMN \"x.y.z\"",
            ),
            ("ALTER TABLE a.t RENAME TO b.u", "ALTER TABLE a.t RENAME TO b.u"),
            ("CREATE TABLE t (m MAP<TEXT, INT>, n INT)", "CREATE TABLE t (m MAP(TEXT, INT), n INT)"),
            ("CREATE TABLE t (m MAP<TEXT, ARRAY<INT>>)", "CREATE TABLE t (m MAP(TEXT, ARRAY<INT>))"),
            (
                "CREATE TABLE t (m MAP<TEXT, MAP<INT, DECIMAL(4, 2)>>)",
                "CREATE TABLE t (m MAP(TEXT, MAP(INT, DECIMAL(4, 2))))",
            ),
            ("CREATE TABLE t (r ROW(a INT, b TEXT)) ", "CREATE TABLE t (r STRUCT<a INT, b TEXT> ) "),
            ("CREATE TABLE t AS SELECT ROW(1, 2) AS r", "CREATE TABLE t AS SELECT ROW(1, 2) AS r"),
            ("SELECT a < b, MAP < c FROM t", "SELECT a < b, MAP < c FROM t"),
        ] {
            assert_eq!(readable(sql.to_string(), &SqlText::new(sql).expect("tokens")), expected);
        }
    }
}
