//! `PARTITIONED BY (day(at), bucket(16, id), region)` of `CREATE TABLE`.
//!
//! The grammar below knows only columns there, so the clause is taken out of the text before parsing, like `AS OF`.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use iceberg::spec::Transform;

use crate::sql::SqlText;
use crate::sql::text::{position, word};
use crate::sql::time_travel::blank;
use crate::{QueryError, SqlPosition};

/// How rows are partitioned by a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PartitionTerm {
    /// The column, as the table names it.
    pub(crate) column: String,
    /// What is taken of its values.
    pub(crate) transform: Transform,
    /// Where it stands.
    pub(crate) position: Option<SqlPosition>,
}

/// Takes the clause out of `sql`. Errors: `Syntax`.
pub(super) fn extract(sql: &str, text: &SqlText) -> Result<(String, Vec<PartitionTerm>), QueryError> {
    let tokens = text.tokens();
    let is = |at: usize, wanted: &str| {
        tokens.get(at).and_then(word).is_some_and(|word| word.value.eq_ignore_ascii_case(wanted))
    };
    if !is(0, "CREATE") {
        return Ok((sql.to_string(), Vec::new()));
    }
    let starts = |at: &usize| {
        (is(*at, "PARTITIONED") || is(*at, "PARTITION"))
            && is(at + 1, "BY")
            && tokens.get(at + 2).is_some_and(|token| token.token == Token::LParen)
    };
    let Some(start) = (1..tokens.len()).find(starts) else { return Ok((sql.to_string(), Vec::new())) };
    let mut depth = 0;
    let end = tokens.iter().enumerate().skip(start + 2).find(|(_, token)| {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    let Some((end, _)) = end else {
        return Err(wrong("a `)` is missing behind PARTITIONED BY", tokens.get(start)));
    };
    let terms = split(&tokens[start + 3..end]).into_iter().map(term).collect::<Result<Vec<_>, _>>()?;
    let cut = (tokens[start].span.start, tokens[end].span.end);
    Ok((blank(sql, &[cut]), terms))
}

/// Parts between commas that stand in no parentheses.
pub(super) fn split(tokens: &[TokenWithSpan]) -> Vec<&[TokenWithSpan]> {
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            Token::Comma if depth == 0 => {
                parts.push(&tokens[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[from..]);
    parts
}

fn wrong(message: &str, at: Option<&TokenWithSpan>) -> QueryError {
    QueryError::Syntax {
        message: message.to_string(),
        position: at.and_then(|token| position(token.span.start)),
        hint: Some(
            "write columns, or `year(c)`, `month(c)`, `day(c)`, `hour(c)`, `bucket(n, c)`, `truncate(n, c)` of them"
                .into(),
        ),
    }
}

/// A name as SQL means it: small unless it is quoted.
pub(super) fn name_of(token: &TokenWithSpan) -> Option<String> {
    let word = word(token)?;
    Some(if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() })
}

fn term(tokens: &[TokenWithSpan]) -> Result<PartitionTerm, QueryError> {
    let first = tokens.first().ok_or_else(|| wrong("PARTITIONED BY names nothing here", None))?;
    let bad = || wrong("this is not a way to partition rows", Some(first));
    let name = name_of(first).ok_or_else(bad)?;
    let place = position(first.span.start);
    if tokens.len() == 1 {
        return Ok(PartitionTerm { column: name, transform: Transform::Identity, position: place });
    }
    let [_, open, args @ .., close] = tokens else { return Err(bad()) };
    if open.token != Token::LParen || close.token != Token::RParen {
        return Err(bad());
    }
    let (mut column, mut number) = (None, None);
    for arg in split(args) {
        match arg {
            [one] => match &one.token {
                Token::Number(text, _) if number.is_none() => {
                    number = Some(text.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(bad)?);
                }
                _ if column.is_none() => column = Some(name_of(one).ok_or_else(bad)?),
                _ => return Err(bad()),
            },
            _ => return Err(bad()),
        }
    }
    let column = column.ok_or_else(bad)?;
    let transform = match (name.to_lowercase().as_str(), number) {
        ("identity", None) => Transform::Identity,
        ("year" | "years", None) => Transform::Year,
        ("month" | "months", None) => Transform::Month,
        ("day" | "days" | "date", None) => Transform::Day,
        ("hour" | "hours" | "date_hour", None) => Transform::Hour,
        ("void", None) => Transform::Void,
        ("bucket", Some(n)) => Transform::Bucket(n),
        ("truncate", Some(n)) => Transform::Truncate(n),
        _ => return Err(bad()),
    };
    Ok(PartitionTerm { column, transform, position: place })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(sql: &str) -> Result<(String, Vec<(String, Transform)>), QueryError> {
        let text = SqlText::new(sql).expect("tokens");
        let (blanked, terms) = extract(sql, &text)?;
        Ok((blanked, terms.into_iter().map(|term| (term.column, term.transform)).collect()))
    }

    #[test]
    fn the_clause_gives_way_and_every_transform_is_known() {
        let sql = "CREATE TABLE t (a int, \"B\" text) PARTITIONED BY (day(at), bucket(16, a), truncate(\"B\", 4), c)";
        let (blanked, found) = terms(sql).expect("valid");
        assert_eq!(blanked.trim_end(), "CREATE TABLE t (a int, \"B\" text)");
        let expected = [
            ("at", Transform::Day),
            ("a", Transform::Bucket(16)),
            ("B", Transform::Truncate(4)),
            ("c", Transform::Identity),
        ];
        assert_eq!(found, expected.map(|(name, transform)| (name.to_string(), transform)));
    }

    #[test]
    fn what_is_no_transform_is_told_where_it_stands() {
        for (sql, column) in [
            ("CREATE TABLE t (a int) PARTITIONED BY (week(a))", 40),
            ("CREATE TABLE t (a int) PARTITIONED BY (bucket(a))", 40),
            ("CREATE TABLE t (a int) PARTITIONED BY (a int)", 40),
        ] {
            let error = terms(sql).expect_err(sql);
            assert_eq!(error.position(), Some(SqlPosition { line: 1, column }), "{sql}");
        }
        assert!(terms("CREATE TABLE t (a int) PARTITIONED BY (day(a)").is_err());
        assert_eq!(terms("SELECT 1").expect("valid").1, []);
    }
}
