//! `FROM t FOR VERSION AS OF 7` and `FROM t FOR TIMESTAMP AS OF '…'`.
//!
//! The planner below would read past these words, so they are taken out of the text before parsing (white space takes
//! their place, which keeps every position) and the table's name gets a suffix that no table name can have.

use std::ops::ControlFlow;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Ident, ObjectNamePart, TableAlias, TableFactor, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::sql::SqlText;
use crate::sql::text::{position, word};
use crate::{AsOf, QueryError};

const VERSION_MARK: &str = "@version:";
const TIME_MARK: &str = "@time:";
pub(super) const REF_MARK: &str = "@ref:";

/// One `AS OF` and the name it follows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Travel {
    table_at: Location,
    as_of: AsOf,
}

/// Takes every `AS OF` out of `sql`. Errors: `Syntax`.
pub(super) fn extract(sql: &str, text: &SqlText) -> Result<(String, Vec<Travel>), QueryError> {
    let tokens = text.tokens();
    let mut travels = Vec::new();
    let mut cuts: Vec<(Location, Location)> = Vec::new();
    let mut next = 1;
    while next < tokens.len() {
        let index = next;
        next += 1;
        let Some((kind, length)) = clause(&tokens[index..]) else { continue };
        let value = &tokens[index + length..];
        let Some((as_of, value_length)) = value_of(kind, value)? else { continue };
        let table = &tokens[index - 1];
        if word(table).is_none() {
            continue;
        }
        next = index + length + value_length;
        travels.push(Travel { table_at: table.span.start, as_of });
        cuts.push((tokens[index].span.start, tokens[next - 1].span.end));
    }
    Ok((if cuts.is_empty() { sql.to_string() } else { blank(sql, &cuts) }, travels))
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Version,
    Time,
}

/// `[FOR] VERSION|SYSTEM_VERSION|TIMESTAMP|SYSTEM_TIME AS OF` at the start of `tokens`, and how many tokens it has.
fn clause(tokens: &[TokenWithSpan]) -> Option<(Kind, usize)> {
    let is = |at: usize, wanted: &str| {
        tokens.get(at).and_then(word).is_some_and(|word| word.value.eq_ignore_ascii_case(wanted))
    };
    let skip = usize::from(is(0, "FOR"));
    let kind = match () {
        () if is(skip, "VERSION") || is(skip, "SYSTEM_VERSION") => Kind::Version,
        () if is(skip, "TIMESTAMP") || is(skip, "SYSTEM_TIME") => Kind::Time,
        () => return None,
    };
    (is(skip + 1, "AS") && is(skip + 2, "OF")).then_some((kind, skip + 3))
}

fn value_of(kind: Kind, tokens: &[TokenWithSpan]) -> Result<Option<(AsOf, usize)>, QueryError> {
    let typed =
        tokens.first().and_then(word).is_some_and(|word| word.value.eq_ignore_ascii_case("TIMESTAMP"));
    let skip = usize::from(typed);
    let Some(token) = tokens.get(skip) else { return Ok(None) };
    let text = match &token.token {
        Token::Number(text, _) | Token::SingleQuotedString(text) => text,
        _ => return Ok(None),
    };
    let as_of = match kind {
        // A number is a snapshot, also in quotes; another text names a branch or tag.
        Kind::Version => match text.trim().parse() {
            Ok(id) => Some(AsOf::Snapshot(id)),
            Err(_) => Some(text.trim()).filter(|name| is_ref(name)).map(|name| AsOf::Ref(name.into())),
        },
        Kind::Time => parse_time_ms(text).map(AsOf::TimestampMs),
    };
    match as_of {
        Some(as_of) => Ok(Some((as_of, skip + 1))),
        None => Err(QueryError::Syntax {
            message: match kind {
                Kind::Version => format!("`{text}` is neither a snapshot id nor the name of a branch or tag"),
                Kind::Time => format!("`{text}` is not a time"),
            },
            position: position(token.span.start),
            hint: Some(match kind {
                Kind::Version => {
                    "the table's page lists its snapshots, and `SELECT * FROM \"t$refs\"` its names".into()
                }
                Kind::Time => {
                    "write it like '2026-01-31 12:00:00' (UTC) or '2026-01-31T12:00:00+08:00'".into()
                }
            }),
        }),
    }
}

/// Whether a text can name a branch or tag.
pub(crate) fn is_ref(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ' ');
    (1..=256).contains(&name.len()) && name.chars().all(plain)
}

/// Milliseconds since 1970 of a time as people write it; without an offset it is UTC.
pub(crate) fn parse_time_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    let naive = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let naive = naive.or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))?;
    Some(naive.and_utc().timestamp_millis())
}

/// `sql` with the text between each pair of places turned into spaces.
pub(super) fn blank(sql: &str, cuts: &[(Location, Location)]) -> String {
    let (mut line, mut column) = (1_u64, 1_u64);
    sql.chars()
        .map(|char| {
            let here = (line, column);
            if char == '\n' {
                line += 1;
                column = 1;
                return char;
            }
            column += 1;
            let inside =
                cuts.iter().any(|(from, to)| here >= (from.line, from.column) && here < (to.line, to.column));
            if inside { ' ' } else { char }
        })
        .collect()
}

/// Renames the tables that `travels` speak of. Errors: `Syntax` where an `AS OF` follows no table.
pub(super) fn apply(statement: &mut DfStatement, travels: &[Travel]) -> Result<(), QueryError> {
    let mut rename = Rename { travels, applied: 0 };
    let mut inner = statement;
    loop {
        match inner {
            DfStatement::Explain(explain) => inner = explain.statement.as_mut(),
            DfStatement::Statement(statement) => {
                let _: ControlFlow<()> = statement.visit(&mut rename);
                break;
            }
            DfStatement::CreateExternalTable(_) | DfStatement::CopyTo(_) | DfStatement::Reset(_) => break,
        }
    }
    match travels.get(rename.applied) {
        None => Ok(()),
        Some(travel) => Err(QueryError::Syntax {
            message: "`AS OF` follows no table".into(),
            position: position(travel.table_at),
            hint: Some("write it right after the table's name: `FROM t FOR VERSION AS OF 7 AS alias`".into()),
        }),
    }
}

struct Rename<'a> {
    travels: &'a [Travel],
    applied: usize,
}

impl VisitorMut for Rename<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, alias, .. } = factor else { return ControlFlow::Continue(()) };
        let Some(ObjectNamePart::Identifier(last)) = name.0.last_mut() else {
            return ControlFlow::Continue(());
        };
        let Some(travel) = self.travels.iter().find(|travel| travel.table_at == last.span.start) else {
            return ControlFlow::Continue(());
        };
        self.applied += 1;
        if alias.is_none() {
            let name = Ident { span: last.span, ..last.clone() };
            *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
        }
        // Quoted, an unquoted name keeps its meaning only in small letters.
        let base = if last.quote_style.is_some() { last.value.clone() } else { last.value.to_lowercase() };
        last.value = match &travel.as_of {
            AsOf::Snapshot(id) => format!("{base}{VERSION_MARK}{id}"),
            AsOf::TimestampMs(ms) => format!("{base}{TIME_MARK}{ms}"),
            AsOf::Ref(name) | AsOf::Branch(name) => format!("{base}{REF_MARK}{name}"),
        };
        last.quote_style = Some('"');
        ControlFlow::Continue(())
    }
}

/// Undoes the renaming: the table's own name and the state asked for.
pub(crate) fn split_version(name: &str) -> (&str, Option<AsOf>) {
    let version =
        name.split_once(VERSION_MARK).and_then(|(name, id)| Some((name, AsOf::Snapshot(id.parse().ok()?))));
    let time = || {
        name.split_once(TIME_MARK).and_then(|(name, ms)| Some((name, AsOf::TimestampMs(ms.parse().ok()?))))
    };
    let named = || name.split_once(REF_MARK).map(|(name, reference)| (name, AsOf::Ref(reference.into())));
    match version.or_else(time).or_else(named) {
        Some((name, as_of)) => (name, Some(as_of)),
        None => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn travels(sql: &str) -> (String, Vec<AsOf>) {
        let text = SqlText::new(sql).expect("tokens");
        let (blanked, travels) = extract(sql, &text).expect("valid");
        (blanked, travels.into_iter().map(|travel| travel.as_of).collect())
    }

    #[test]
    fn the_clause_gives_way_to_spaces_of_the_same_width() {
        let sql = "select 'é', version as of_ from a.t FOR VERSION AS OF 42 x\nwhere 1=1";
        let (blanked, found) = travels(sql);
        assert_eq!(found, [AsOf::Snapshot(42)]);
        assert_eq!(blanked.chars().count(), sql.chars().count());
        assert_eq!(blanked, "select 'é', version as of_ from a.t                      x\nwhere 1=1");
    }

    #[test]
    fn times_are_read_in_the_usual_forms() {
        for text in ["1970-01-02", "1970-01-02 00:00:00", "1970-01-02T00:00:00Z", "1970-01-02T08:00:00+08:00"]
        {
            assert_eq!(parse_time_ms(text), Some(86_400_000), "{text}");
            let (_, found) = travels(&format!("select * from t for system_time as of '{text}'"));
            assert_eq!(found, [AsOf::TimestampMs(86_400_000)]);
        }
        assert_eq!(parse_time_ms("yesterday"), None);
    }

    #[test]
    fn a_marked_name_splits_back() {
        assert_eq!(split_version("t@version:-3"), ("t", Some(AsOf::Snapshot(-3))));
        assert_eq!(split_version("t"), ("t", None));
        let (_, named) = travels("select * from t FOR VERSION AS OF 'before the sale'");
        assert_eq!(named, [AsOf::Ref("before the sale".into())]);
        assert_eq!(split_version("t@ref:a/b"), ("t", Some(AsOf::Ref("a/b".into()))));
    }
}
