//! `VACUUM`, `ANALYZE` and `DESCRIBE HISTORY`: statements of other databases that the grammar below does not know, or
//! knows otherwise.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::QueryError;
use crate::sql::SqlText;
use crate::sql::text::{position, word};

/// A `VACUUM` or an `ANALYZE`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Upkeep {
    /// Files are rewritten and expired.
    pub(crate) is_vacuum: bool,
    /// Different values are counted.
    pub(crate) is_analyze: bool,
    /// The parts of the names of tables; none: all.
    pub(crate) tables: Vec<Vec<String>>,
}

struct Words<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
}

impl Words<'_> {
    fn take(&mut self, wanted: &str) -> bool {
        let found = self
            .tokens
            .get(self.at)
            .and_then(word)
            .is_some_and(|word| word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted));
        self.at += usize::from(found);
        found
    }

    fn symbol(&mut self, wanted: &Token) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|token| token.token == *wanted);
        self.at += usize::from(found);
        found
    }

    /// Passes over what stands in parentheses.
    fn parentheses(&mut self) -> bool {
        if !self.symbol(&Token::LParen) {
            return true;
        }
        let mut depth = 1;
        while depth > 0 {
            match self.tokens.get(self.at).map(|token| &token.token) {
                Some(Token::LParen) => depth += 1,
                Some(Token::RParen) => depth -= 1,
                Some(Token::EOF) | None => return false,
                Some(_) => {}
            }
            self.at += 1;
        }
        true
    }

    fn name(&mut self) -> Option<Vec<String>> {
        let mut parts = Vec::new();
        loop {
            let word = self.tokens.get(self.at).and_then(word)?;
            parts.push(if word.quote_style.is_some() {
                word.value.clone()
            } else {
                word.value.to_lowercase()
            });
            self.at += 1;
            if !self.symbol(&Token::Period) {
                return Some(parts);
            }
        }
    }

    fn is_at_end(&mut self) -> bool {
        while self.symbol(&Token::SemiColon) {}
        matches!(self.tokens.get(self.at).map(|token| &token.token), None | Some(Token::EOF))
    }
}

/// Reads `VACUUM` and `ANALYZE`; `None` for another statement. Errors: `Syntax`.
pub(super) fn read(text: &SqlText) -> Option<Result<Upkeep, QueryError>> {
    let mut words = Words { tokens: text.tokens(), at: 0 };
    let is_vacuum = words.take("VACUUM");
    if !is_vacuum && !words.take("ANALYZE") && !words.take("ANALYSE") {
        return None;
    }
    // `VACUUM (FULL, ANALYZE true)` and the like.
    let mut in_parentheses = words.tokens.iter().skip(1).take_while(|token| token.token != Token::RParen);
    let says_analyze =
        |token: &TokenWithSpan| word(token).is_some_and(|word| word.value.eq_ignore_ascii_case("ANALYZE"));
    let is_opened = words.tokens.get(1).is_some_and(|token| token.token == Token::LParen);
    let mut is_analyze = !is_vacuum || (is_opened && in_parentheses.any(says_analyze));
    let mut is_whole = words.parentheses();
    loop {
        if words.take("ANALYZE") {
            is_analyze = true;
        } else if !["FULL", "FREEZE", "VERBOSE", "TABLE"].iter().any(|word| words.take(word)) {
            break;
        }
    }
    let mut tables = Vec::new();
    while is_whole && !words.is_at_end() {
        let name = words.name();
        is_whole = name.is_some() && words.parentheses();
        tables.extend(name);
        if !words.symbol(&Token::Comma) {
            is_whole &= words.is_at_end();
            break;
        }
    }
    if is_whole {
        return Some(Ok(Upkeep { is_vacuum, is_analyze, tables }));
    }
    let at = words.tokens.get(words.at).and_then(|token| position(token.span.start));
    Some(Err(QueryError::Syntax {
        message: "this is not the name of a table".into(),
        position: at,
        hint: Some(
            "write `VACUUM t`, `VACUUM FULL t`, `VACUUM ANALYZE t`, `ANALYZE t`, or no table for all".into(),
        ),
    }))
}

/// The query behind `DESCRIBE HISTORY t`; `None` for another statement.
pub(super) fn history(text: &SqlText) -> Option<String> {
    let mut words = Words { tokens: text.tokens(), at: 0 };
    if !(words.take("DESCRIBE") || words.take("DESC")) || !words.take("HISTORY") {
        return None;
    }
    let mut name = words.name()?;
    if !words.is_at_end() {
        return None;
    }
    let table = name.pop()?;
    name.push(format!("{table}$snapshots"));
    let name: Vec<String> = name.iter().map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect();
    Some(format!(
        "SELECT committed_at, snapshot_id, parent_id, operation, summary FROM {} ORDER BY committed_at DESC, snapshot_id",
        name.join(".")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_postgresql_is_read() {
        let read = |sql: &str| read(&SqlText::new(sql).expect("tokens"));
        let tables = |sql: &str| read(sql).expect("upkeep").expect("valid").tables;
        assert_eq!(tables("VACUUM"), Vec::<Vec<String>>::new());
        for sql in
            ["VACUUM FULL a.\"B\"", "vacuum (full, analyze true) a.\"B\"", "ANALYZE VERBOSE a.\"B\" (x, y);"]
        {
            assert_eq!(tables(sql), [["a", "B"]], "{sql}");
        }
        assert_eq!(tables("VACUUM ANALYZE a, b").len(), 2);
        assert!(read("SELECT 1").is_none());
        for sql in ["VACUUM a b", "VACUUM (FULL", "VACUUM 7", "ANALYZE a,,b"] {
            assert!(read(sql).expect("upkeep").is_err(), "{sql}");
        }
    }
}
