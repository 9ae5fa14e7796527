//! Words of statements that change rows and that the grammar below does not know: the name in `INSERT INTO t AS name`, and
//! `DO NOTHING` in `MERGE`. They are taken out of the text before parsing, like `AS OF`.

use datafusion::sql::sqlparser::ast::{Ident, Statement, TableAliasWithoutColumns};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::sql::text::word;
use crate::sql::time_travel::blank;
use crate::sql::{SqlText, WriteStatement};

/// What was taken out.
#[derive(Debug, Default)]
pub(super) struct DmlWords {
    alias: Option<Ident>,
    nothing: Vec<usize>,
}

impl DmlWords {
    /// Puts it where the statement has a place for it.
    pub(super) fn put_into(self, write: &mut WriteStatement) {
        if let (Some(alias), Statement::Insert(insert)) = (self.alias, &mut write.statement) {
            insert.table_alias = Some(TableAliasWithoutColumns { explicit: true, alias });
        }
        write.nothing = self.nothing;
    }
}

/// Takes the words out of `sql`, so that every other word stays where it is.
pub(super) fn extract(sql: &str, text: &SqlText) -> (String, DmlWords) {
    let tokens = text.tokens();
    let is = |at: usize, wanted: &str| is_word(tokens, at, wanted);
    let first = ["INSERT", "MERGE", "WITH", "EXPLAIN"].iter().any(|verb| is(0, verb));
    if !first {
        return (sql.to_string(), DmlWords::default());
    }
    let mut words = DmlWords::default();
    let (mut depth, mut cases, mut clauses, mut verb) = (0_i64, 0_usize, 0_usize, "");
    let mut done = sql.to_string();
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth != 0 {
            continue;
        }
        if verb.is_empty() && is(at, "INSERT") && (is(at + 1, "INTO") || is(at + 1, "OVERWRITE")) {
            verb = "INSERT";
            if let Some((name, alias)) = alias_behind(tokens, at + 2) {
                words.alias = Some(alias);
                done = blank(&done, &[(tokens[name].span.start, tokens[name + 1].span.end)]);
            }
        } else if verb.is_empty() && is(at, "MERGE") && is(at + 1, "INTO") {
            verb = "MERGE";
        } else if is(at, "CASE") {
            cases += 1;
        } else if is(at, "END") && cases > 0 {
            cases -= 1;
        } else if verb == "MERGE" && cases == 0 && is(at, "WHEN") {
            clauses += 1;
        } else if verb == "MERGE" && cases == 0 && is(at, "THEN") && is(at + 1, "DO") && is(at + 2, "NOTHING")
        {
            words.nothing.push(clauses.saturating_sub(1));
            let put = if clause_matches(tokens, at) { "DELETE" } else { "INSERT ROW" };
            let (from, to) = (tokens[at + 1].span.start, tokens[at + 2].span.end);
            done = put_at(&blank(&done, &[(from, to)]), (from.line, from.column), put);
        }
    }
    (done, words)
}

fn is_word(tokens: &[TokenWithSpan], at: usize, wanted: &str) -> bool {
    let found = tokens.get(at).and_then(word);
    found.is_some_and(|word| word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}

/// Where `AS name` stands behind the name of a table that starts at `at`.
fn alias_behind(tokens: &[TokenWithSpan], mut at: usize) -> Option<(usize, Ident)> {
    if is_word(tokens, at, "TABLE") {
        at += 1;
    }
    word(tokens.get(at)?)?;
    at += 1;
    while tokens.get(at).is_some_and(|token| token.token == Token::Period) {
        at += 2;
    }
    let alias = word(tokens.get(at + 1)?)?;
    let is_alias = is_word(tokens, at, "AS") && !is_word(tokens, at + 1, "SELECT");
    is_alias.then(|| {
        (at, Ident { value: alias.value.clone(), quote_style: alias.quote_style, span: tokens[at + 1].span })
    })
}

/// Whether the clause of `MERGE` before a `THEN` may delete rows: it is not `NOT MATCHED`, or that `BY SOURCE`.
fn clause_matches(tokens: &[TokenWithSpan], then: usize) -> bool {
    let when = (0..then).rev().find(|at| {
        is_word(tokens, *at, "WHEN") && (is_word(tokens, at + 1, "MATCHED") || is_word(tokens, at + 1, "NOT"))
    });
    let Some(when) = when else { return true };
    !is_word(tokens, when + 1, "NOT") || is_word(tokens, when + 4, "SOURCE")
}

/// `sql` with `text` over the characters from a place on.
fn put_at(sql: &str, (line, column): (u64, u64), text: &str) -> String {
    let mut put = text.chars();
    let (mut at_line, mut at_column) = (1_u64, 1_u64);
    sql.chars()
        .map(|char| {
            let inside = at_line == line && at_column >= column;
            if char == '\n' {
                (at_line, at_column) = (at_line + 1, 1);
                return char;
            }
            at_column += 1;
            if inside { put.next().unwrap_or(char) } else { char }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extracted(sql: &str) -> (String, DmlWords) {
        extract(sql, &SqlText::new(sql).expect("tokens"))
    }

    #[test]
    fn the_name_of_the_table_gives_way_to_spaces() {
        let (text, words) = extracted("INSERT INTO a.\"B\" AS x (id) SELECT 1 AS id");
        assert_eq!(text, "INSERT INTO a.\"B\"      (id) SELECT 1 AS id");
        assert_eq!(words.alias.map(|alias| alias.value).as_deref(), Some("x"));
        let (text, words) = extracted("WITH s AS (SELECT 1) INSERT INTO t SELECT * FROM s");
        assert!(text.starts_with("WITH s AS") && words.alias.is_none());
    }

    #[test]
    fn a_clause_that_does_nothing_becomes_one_that_the_grammar_knows() {
        let sql = "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED AND CASE WHEN s.a THEN true END THEN DO NOTHING \
                   WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN DO NOTHING";
        let (text, words) = extracted(sql);
        assert_eq!(words.nothing, [0, 2]);
        assert_eq!(text.chars().count(), sql.chars().count());
        assert!(text.contains("END THEN DELETE     WHEN") && text.ends_with("THEN INSERT ROW"), "{text}");
    }
}
