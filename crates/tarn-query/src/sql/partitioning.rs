//! `PARTITIONED BY (day(at), bucket(16, id), region)` of `CREATE TABLE`, and what changes it: `ADD`, `DROP` and `REPLACE
//! PARTITION FIELD` and `SET PARTITIONED BY` of `ALTER TABLE`; and `ALTER COLUMN c FIRST` or `AFTER d`.
//!
//! The grammar below knows only columns there, so the clause is taken out of the text before parsing, like `AS OF`.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use iceberg::spec::Transform;
use tarn_lakehouse::{PartitionChange, TableAlteration};

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

/// Takes what changes the partitioning or the order of columns out of an `ALTER TABLE`. What is left names the table and is
/// no change by itself. Errors: `Syntax`.
pub(super) fn changes(sql: String, text: &SqlText) -> Result<(String, Vec<TableAlteration>), QueryError> {
    let tokens: &[TokenWithSpan] = text.tokens();
    let end = tokens.iter().rposition(|token| !matches!(token.token, Token::EOF | Token::SemiColon));
    let tokens = &tokens[..end.map_or(0, |end| end + 1)];
    if !is_word(tokens, 0, "ALTER") || !is_word(tokens, 1, "TABLE") {
        return Ok((sql, Vec::new()));
    }
    let Some(start) = (3..tokens.len()).find(|at| operation(&tokens[*at..]).is_some()) else {
        return Ok((sql, Vec::new()));
    };
    if let Some(other) = (2..start).find(|at| tokens[*at].token == Token::Comma) {
        return Err(wrong(ALONE, tokens.get(other)));
    }
    let parts = split(&tokens[start..]).into_iter().map(alteration);
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    let cut = (tokens[start].span.start, tokens[tokens.len() - 1].span.end);
    // The grammar wants some operation.
    Ok((blank(&sql, &[cut]) + " DROP COLUMN x", parts))
}

fn is_word(tokens: &[TokenWithSpan], at: usize, wanted: &str) -> bool {
    tokens.get(at).and_then(word).is_some_and(|word| word.value.eq_ignore_ascii_case(wanted))
}

/// What is said where another change stands beside these.
const ALONE: &str = "a change of the partitioning, or of the order of columns, is a statement of its own";

#[derive(Clone, Copy)]
enum Operation {
    Move,
    Add,
    Drop,
    Replace,
    Set,
}

/// An operation on the partitioning at the start of `tokens`; it takes three words.
fn operation(tokens: &[TokenWithSpan]) -> Option<Operation> {
    let is = |at, wanted| is_word(tokens, at, wanted);
    if is(0, "SET") && is(1, "PARTITIONED") && is(2, "BY") {
        return Some(Operation::Set);
    }
    if is(0, "ALTER") {
        // `ALTER [COLUMN] a.b FIRST`, or `AFTER a.c` as its end.
        let parts: Vec<&[TokenWithSpan]> = split(tokens);
        let words = parts.first().copied().unwrap_or_default();
        let after = words
            .iter()
            .rposition(|token| word(token).is_some_and(|w| w.value.eq_ignore_ascii_case("AFTER")));
        let is_first = words.len() >= 3 && is_word(words, words.len() - 1, "FIRST");
        return (is_first || after.is_some_and(|at| at >= 2)).then_some(Operation::Move);
    }
    if !is(1, "PARTITION") || !is(2, "FIELD") {
        return None;
    }
    let known = [("ADD", Operation::Add), ("DROP", Operation::Drop), ("REPLACE", Operation::Replace)];
    known.into_iter().find(|(name, _)| is(0, name)).map(|(_, operation)| operation)
}

fn alteration(tokens: &[TokenWithSpan]) -> Result<TableAlteration, QueryError> {
    match operation(tokens).ok_or_else(|| wrong(ALONE, tokens.first()))? {
        Operation::Move => {
            let bad = || wrong("write ALTER COLUMN c FIRST, or ALTER COLUMN c AFTER d", tokens.first());
            let from = if is_word(tokens, 1, "COLUMN") { 2 } else { 1 };
            let place = (from + 1..tokens.len())
                .find(|at| is_word(tokens, *at, "FIRST") || is_word(tokens, *at, "AFTER"));
            let place = place.ok_or_else(bad)?;
            let name = path_of(&tokens[from..place]).ok_or_else(bad)?;
            let after = match (is_word(tokens, place, "FIRST"), &tokens[place + 1..]) {
                (true, []) => String::new(),
                (false, behind) => path_of(behind).ok_or_else(bad)?,
                (true, _) => return Err(bad()),
            };
            Ok(TableAlteration::MoveColumn { name, after })
        }
        operation => partition_change(operation, tokens).map(TableAlteration::Partition),
    }
}

fn partition_change(operation: Operation, tokens: &[TokenWithSpan]) -> Result<PartitionChange, QueryError> {
    let rest = &tokens[3..];
    let nothing = || wrong("a partition field is missing here", tokens.last());
    let named = |tokens: &[TokenWithSpan]| -> Result<tarn_lakehouse::PartitionTerm, QueryError> {
        let named = tokens.len().checked_sub(2).filter(|at| *at > 0 && is_word(tokens, *at, "AS"));
        let (body, name) = match named {
            Some(at) => (&tokens[..at], name_of(&tokens[at + 1])),
            None => (tokens, None),
        };
        if body.is_empty() {
            return Err(nothing());
        }
        let known = term(body)?;
        Ok(tarn_lakehouse::PartitionTerm { name, ..known.into() })
    };
    Ok(match operation {
        Operation::Move => return Err(wrong(ALONE, tokens.first())),
        Operation::Add => PartitionChange::Add(named(rest)?),
        Operation::Drop if rest.is_empty() => return Err(nothing()),
        Operation::Drop => PartitionChange::Drop(term(rest)?.into()),
        Operation::Replace => {
            let with = (0..rest.len()).find(|at| is_word(rest, *at, "WITH"));
            let with = with
                .filter(|at| *at > 0)
                .ok_or_else(|| wrong("write REPLACE PARTITION FIELD x WITH y here", tokens.first()))?;
            let field = term(&rest[..with])?.into();
            PartitionChange::Replace { field, with: named(&rest[with + 1..])? }
        }
        Operation::Set => {
            let [open, inner @ .., close] = rest else { return Err(nothing()) };
            if open.token != Token::LParen || close.token != Token::RParen {
                return Err(wrong("SET PARTITIONED BY takes its fields in parentheses", rest.first()));
            }
            let terms = if inner.is_empty() { Vec::new() } else { split(inner) };
            PartitionChange::Set(terms.into_iter().map(named).collect::<Result<_, _>>()?)
        }
    })
}

impl From<PartitionTerm> for tarn_lakehouse::PartitionTerm {
    fn from(term: PartitionTerm) -> Self {
        Self { column: term.column, transform: term.transform, name: None }
    }
}

/// A column, or a path to one within structs.
fn path_of(tokens: &[TokenWithSpan]) -> Option<String> {
    let names = tokens.chunks(2).map(|part| match part {
        [name] => name_of(name),
        [name, point] if point.token == Token::Period => name_of(name),
        _ => None,
    });
    let names: Option<Vec<String>> = names.collect();
    names.filter(|_| tokens.len() % 2 == 1).map(|names| names.join("."))
}

/// A name as SQL means it: small unless it is quoted.
pub(super) fn name_of(token: &TokenWithSpan) -> Option<String> {
    let word = word(token)?;
    Some(if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() })
}

fn term(tokens: &[TokenWithSpan]) -> Result<PartitionTerm, QueryError> {
    let first = tokens.first().ok_or_else(|| wrong("PARTITIONED BY names nothing here", None))?;
    let bad = || wrong("this is not a way to partition rows", Some(first));
    let place = position(first.span.start);
    if let Some(column) = path_of(tokens) {
        return Ok(PartitionTerm { column, transform: Transform::Identity, position: place });
    }
    let name = name_of(first).ok_or_else(bad)?;
    let [_, open, args @ .., close] = tokens else { return Err(bad()) };
    if open.token != Token::LParen || close.token != Token::RParen {
        return Err(bad());
    }
    let (mut column, mut number) = (None, None);
    for arg in split(args) {
        match arg {
            [TokenWithSpan { token: Token::Number(text, _), .. }] if number.is_none() => {
                number = Some(text.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(bad)?);
            }
            _ if column.is_none() => column = Some(path_of(arg).ok_or_else(bad)?),
            _ => return Err(bad()),
        }
    }
    let column = column.ok_or_else(bad)?;
    let transform = tarn_lakehouse::PartitionTerm::transform_named(&name, number).ok_or_else(bad)?;
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

    fn changed(sql: &str) -> Result<Vec<PartitionChange>, QueryError> {
        let text = SqlText::new(sql).expect("tokens");
        let partitions = |change| match change {
            TableAlteration::Partition(change) => change,
            other => panic!("{other:?}"),
        };
        changes(sql.to_string(), &text).map(|(_, changes)| changes.into_iter().map(partitions).collect())
    }

    #[test]
    fn columns_take_other_places() {
        let moved = |sql: &str| {
            let (_, changes) = changes(sql.to_string(), &SqlText::new(sql).expect("tokens")).expect(sql);
            let moves = changes.into_iter().map(|change| match change {
                TableAlteration::MoveColumn { name, after } => (name, after),
                other => panic!("{other:?}"),
            });
            moves.collect::<Vec<_>>()
        };
        let pair = |name: &str, after: &str| (name.to_string(), after.to_string());
        assert_eq!(moved("ALTER TABLE t ALTER COLUMN c FIRST"), [pair("c", "")]);
        let two = moved("ALTER TABLE a.t ALTER COLUMN address.zip AFTER address.\"Town\", ALTER c AFTER d;");
        assert_eq!(two, [pair("address.zip", "address.Town"), pair("c", "d")]);
        assert_eq!(moved("ALTER TABLE t ALTER COLUMN c TYPE bigint"), []);
    }

    #[test]
    fn changes_of_the_partitioning_are_read() {
        let term = |text: &str| text.parse::<tarn_lakehouse::PartitionTerm>().expect(text);
        let known = [
            (
                "ALTER TABLE t ADD PARTITION FIELD bucket(16, ID)",
                vec![PartitionChange::Add(term("bucket(16, id)"))],
            ),
            (
                "alter table if exists a.t add partition field days(at) as \"Day\";",
                vec![PartitionChange::Add(term("day(at) AS Day"))],
            ),
            ("ALTER TABLE t DROP PARTITION FIELD at_day", vec![PartitionChange::Drop(term("at_day"))]),
            (
                "ALTER TABLE t DROP PARTITION FIELD address.zip",
                vec![PartitionChange::Drop(term("address.zip"))],
            ),
            (
                "ALTER TABLE t REPLACE PARTITION FIELD at_day WITH hour(at) AS h, ADD PARTITION FIELD region",
                vec![
                    PartitionChange::Replace { field: term("at_day"), with: term("hour(at) AS h") },
                    PartitionChange::Add(term("region")),
                ],
            ),
            (
                "ALTER TABLE t SET PARTITIONED BY (day(at), truncate(2, a.b))",
                vec![PartitionChange::Set(vec![term("day(at)"), term("truncate(2, a.b)")])],
            ),
            ("ALTER TABLE t SET PARTITIONED BY ()", vec![PartitionChange::Set(Vec::new())]),
            ("ALTER TABLE t ADD COLUMN partition int", Vec::new()),
            ("SELECT 1", Vec::new()),
        ];
        for (sql, expected) in known {
            assert_eq!(changed(sql).expect(sql), expected, "{sql}");
        }
        let left = "ALTER TABLE t ADD PARTITION FIELD a";
        let (left, _) = changes(left.to_string(), &SqlText::new(left).expect("tokens")).expect("valid");
        assert_eq!(left.split_whitespace().collect::<Vec<_>>().join(" "), "ALTER TABLE t DROP COLUMN x");
        for (sql, column) in [
            ("ALTER TABLE t ADD PARTITION FIELD", 29),
            ("ALTER TABLE t ADD PARTITION FIELD week(a)", 35),
            ("ALTER TABLE t DROP COLUMN a, ADD PARTITION FIELD b", 28),
            ("ALTER TABLE t ADD PARTITION FIELD b, DROP COLUMN a", 38),
            ("ALTER TABLE t REPLACE PARTITION FIELD b", 15),
            ("ALTER TABLE t SET PARTITIONED BY day(a)", 34),
        ] {
            let error = changed(sql).expect_err(sql);
            assert_eq!(error.position(), Some(SqlPosition { line: 1, column }), "{sql}");
        }
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
