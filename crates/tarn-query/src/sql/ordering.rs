//! The order of rows in files: `OPTIMIZE TABLE t ORDER BY a, b DESC`, `ALTER TABLE t WRITE ORDERED BY a, b DESC NULLS LAST` and
//! `ALTER TABLE t WRITE UNORDERED`.
//!
//! The grammar below knows neither, so the clause is taken out of the text before parsing, like `PARTITIONED BY`.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use tarn_lakehouse::OrderColumn;

use crate::QueryError;
use crate::sql::SqlText;
use crate::sql::partitioning::{name_of, split};
use crate::sql::text::{position, word};
use crate::sql::time_travel::blank;

/// What stands in the place of the clause of `ALTER TABLE`: a property that no table can have. Not longer than any clause.
const STAND_IN: &str = "SET ('@'=1)";
/// The name of that property.
pub(crate) const ORDER_MARK: &str = "@";

/// Takes the clause out of `sql`; no columns where it says that rows are in no order. Errors: `Syntax`.
pub(super) fn extract(sql: &str, text: &SqlText) -> Result<(String, Option<Vec<OrderColumn>>), QueryError> {
    let tokens: Vec<TokenWithSpan> = text
        .tokens()
        .iter()
        .filter(|token| !matches!(token.token, Token::SemiColon | Token::EOF))
        .cloned()
        .collect();
    let is = |at: usize, wanted: &str| {
        tokens
            .get(at)
            .and_then(word)
            .is_some_and(|word| word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
    };
    let (from, to) = if is(0, "OPTIMIZE") {
        let mut depth = 0;
        let start = (0..tokens.len()).rev().find(|at| {
            match tokens[*at].token {
                Token::RParen => depth += 1,
                Token::LParen => depth -= 1,
                _ => {}
            }
            depth == 0 && is(*at, "ORDER") && is(at + 1, "BY")
        });
        let Some(start) = start else { return Ok((sql.to_string(), None)) };
        (start, start + 2)
    } else if is(0, "ALTER") && is(1, "TABLE") {
        let start = (2..tokens.len()).find(|at| is(*at, "WRITE"));
        match start {
            Some(start) if is(start + 1, "UNORDERED") && start + 2 == tokens.len() => (start, start + 2),
            Some(start) if is(start + 1, "ORDERED") && is(start + 2, "BY") => (start, start + 3),
            Some(start) if is(start + 1, "LOCALLY") && is(start + 2, "ORDERED") && is(start + 3, "BY") => {
                (start, start + 4)
            }
            _ => return Ok((sql.to_string(), None)),
        }
    } else {
        return Ok((sql.to_string(), None));
    };
    let last = tokens.last().map_or(tokens[from].span.end, |token| token.span.end);
    let blanked = blank(sql, &[(tokens[from].span.start, last)]);
    let blanked = match is(0, "ALTER") {
        true => stand_in(&blanked, tokens[from].span.start),
        false => blanked,
    };
    if is(0, "ALTER") && is(from + 1, "UNORDERED") {
        return Ok((blanked, Some(Vec::new())));
    }
    let columns = split(&tokens[to..]).into_iter().map(|term| column(term, &tokens[from]));
    Ok((blanked, Some(columns.collect::<Result<_, _>>()?)))
}

/// Writes [`STAND_IN`] over what was blanked.
fn stand_in(blanked: &str, at: datafusion::sql::sqlparser::tokenizer::Location) -> String {
    let (mut line, mut place) = (1_u64, 1_u64);
    let mut rest = STAND_IN.chars();
    blanked
        .chars()
        .map(|char| {
            let is_behind = (line, place) >= (at.line, at.column);
            if char == '\n' {
                (line, place) = (line + 1, 1);
                return char;
            }
            place += 1;
            if is_behind { rest.next().unwrap_or(char) } else { char }
        })
        .collect()
}

fn column(term: &[TokenWithSpan], clause: &TokenWithSpan) -> Result<OrderColumn, QueryError> {
    let wrong = |at: Option<&TokenWithSpan>| QueryError::Syntax {
        message: "this is not a way to order rows".into(),
        position: position(at.unwrap_or(clause).span.start),
        hint: Some(
            "write columns, each with ASC or DESC and NULLS FIRST or NULLS LAST if need be: `a, b DESC`"
                .into(),
        ),
    };
    let (first, rest) = term.split_first().ok_or_else(|| wrong(None))?;
    let name = name_of(first).ok_or_else(|| wrong(Some(first)))?;
    let words: Option<Vec<String>> =
        rest.iter().map(|token| word(token).map(|word| word.value.to_uppercase())).collect();
    let words = words.ok_or_else(|| wrong(rest.first()))?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (descending, nulls) = match words.as_slice() {
        ["DESC", nulls @ ..] => (true, nulls),
        ["ASC", nulls @ ..] => (false, nulls),
        nulls => (false, nulls),
    };
    let nulls_first = match nulls {
        // As in PostgreSQL, null counts as larger than every value.
        [] => descending,
        ["NULLS", "FIRST"] => true,
        ["NULLS", "LAST"] => false,
        _ => return Err(wrong(rest.first())),
    };
    Ok(OrderColumn { name, descending, nulls_first })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extracted(sql: &str) -> (String, Option<String>) {
        let (blanked, columns) = extract(sql, &SqlText::new(sql).unwrap()).unwrap();
        let shown = |column: OrderColumn| {
            let sign = if column.descending { "-" } else { "" };
            format!("{sign}{}{}", column.name, if column.nulls_first { "^" } else { "" })
        };
        (
            blanked.trim_end().into(),
            columns.map(|all| all.into_iter().map(shown).collect::<Vec<_>>().join(" ")),
        )
    }

    #[test]
    fn the_clause_is_taken_out_and_the_rest_stays_where_it_stands() {
        let all = [
            ("OPTIMIZE TABLE t ORDER BY a, B desc, \"C\" NULLS FIRST;", "OPTIMIZE TABLE t", Some("a -b^ C^")),
            ("OPTIMIZE t WHERE x > 3 ORDER BY a DESC NULLS LAST", "OPTIMIZE t WHERE x > 3", Some("-a")),
            ("OPTIMIZE t ZORDER BY (a, b)", "OPTIMIZE t ZORDER BY (a, b)", None),
            ("ALTER TABLE s.t WRITE ORDERED BY a", "ALTER TABLE s.t SET ('@'=1)", Some("a")),
            ("ALTER TABLE t WRITE UNORDERED", "ALTER TABLE t SET ('@'=1)", Some("")),
            ("ALTER TABLE t RENAME COLUMN a TO write", "ALTER TABLE t RENAME COLUMN a TO write", None),
            ("SELECT * FROM t ORDER BY a", "SELECT * FROM t ORDER BY a", None),
        ];
        for (sql, rest, columns) in all {
            let (blanked, found) = extracted(sql);
            assert_eq!(blanked.trim_end_matches(';').trim_end(), rest, "{sql}");
            assert_eq!(found.as_deref(), columns, "{sql}");
        }
    }

    #[test]
    fn what_is_no_order_is_told_with_its_place() {
        for (sql, column) in [
            ("OPTIMIZE t ORDER BY", 12),
            ("OPTIMIZE t ORDER BY a, ", 12),
            ("OPTIMIZE t ORDER BY a SIDEWAYS", 23),
            ("ALTER TABLE t WRITE ORDERED BY lower(a)", 37),
        ] {
            let error = extract(sql, &SqlText::new(sql).unwrap()).unwrap_err();
            let QueryError::Syntax { position: Some(position), .. } = &error else {
                panic!("{sql}: {error:?}")
            };
            assert_eq!(position.column, column, "{sql}");
        }
    }
}
