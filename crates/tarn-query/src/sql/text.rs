//! SQL text as tokens with places.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Word};

use crate::{QueryError, SqlPosition};

const SQL_BYTES_MAX: usize = 1 << 20;

/// Tokens of a statement without white space and comments.
#[derive(Clone, Debug)]
pub(crate) struct SqlText {
    tokens: Vec<TokenWithSpan>,
}

impl SqlText {
    /// Splits `sql` into tokens. Errors: `Syntax`.
    pub(crate) fn new(sql: &str) -> Result<Self, QueryError> {
        if sql.len() > SQL_BYTES_MAX {
            return Err(QueryError::Syntax {
                message: format!("the SQL text has {} bytes; at most {SQL_BYTES_MAX} are read", sql.len()),
                position: None,
                hint: Some("put long lists of values into a table and join it".into()),
            });
        }
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().map_err(|error| {
            QueryError::Syntax {
                message: lower_first(&error.message),
                position: position(error.location),
                hint: None,
            }
        })?;
        let tokens =
            tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
        Ok(Self { tokens })
    }

    pub(crate) fn tokens(&self) -> &[TokenWithSpan] {
        &self.tokens
    }

    /// The first token.
    pub(crate) fn start(&self) -> Option<SqlPosition> {
        self.tokens
            .iter()
            .find(|token| token.token != Token::SemiColon)
            .and_then(|token| position(token.span.start))
    }

    /// Right behind the last token.
    pub(crate) fn end(&self) -> Option<SqlPosition> {
        self.tokens.iter().rfind(|token| token.token != Token::EOF).and_then(|token| position(token.span.end))
    }

    /// Where the second of several statements starts.
    pub(crate) fn second_statement(&self) -> Option<SqlPosition> {
        let mut seen_one = false;
        let mut seen_end = false;
        for token in &self.tokens {
            match (&token.token, seen_one, seen_end) {
                (Token::SemiColon, true, _) => seen_end = true,
                (Token::SemiColon, false, _) | (Token::EOF, _, _) => {}
                (_, _, true) => return position(token.span.start),
                (_, _, false) => seen_one = true,
            }
        }
        None
    }

    /// The leading words in capitals, at most `words_max`, such as `CREATE TABLE`.
    pub(crate) fn leading_words(&self, words_max: usize) -> String {
        let words = self.tokens.iter().filter(|token| token.token != Token::SemiColon).map_while(word);
        words.take(words_max).map(|word| word.value.to_uppercase()).collect::<Vec<_>>().join(" ")
    }

    /// Where `name` stands as a word, qualified by `qualifier` if one is given.
    pub(crate) fn find_name(&self, qualifier: Option<&str>, name: &str) -> Option<SqlPosition> {
        let matches = |token: &TokenWithSpan, wanted: &str| {
            word(token).is_some_and(|word| word.value.eq_ignore_ascii_case(wanted))
        };
        let found = self.tokens.iter().enumerate().find(|(index, token)| {
            if !matches(token, name) {
                return false;
            }
            let Some(qualifier) = qualifier else { return true };
            let dot = index.checked_sub(1).and_then(|at| self.tokens.get(at));
            let before = index.checked_sub(2).and_then(|at| self.tokens.get(at));
            dot.is_some_and(|dot| dot.token == Token::Period)
                && before
                    .is_some_and(|before| matches(before, qualifier.rsplit('.').next().unwrap_or(qualifier)))
        });
        let found = found.or_else(|| self.tokens.iter().enumerate().find(|(_, token)| matches(token, name)));
        found.and_then(|(_, token)| position(token.span.start))
    }

    /// Whether `name` stands somewhere behind `qualifier` and a point.
    pub(crate) fn is_qualified(&self, qualifier: &str, name: &str) -> bool {
        let is = |token: &TokenWithSpan, wanted: &str| {
            word(token).is_some_and(|word| word.value.eq_ignore_ascii_case(wanted))
        };
        self.tokens
            .windows(3)
            .any(|three| is(&three[0], qualifier) && three[1].token == Token::Period && is(&three[2], name))
    }

    /// Where the table `parts` (namespace and name, or name) is named after FROM, JOIN or a comma.
    pub(crate) fn find_table(&self, parts: &[&str]) -> Option<SqlPosition> {
        let (name, namespace) = parts.split_last().map(|(name, rest)| (*name, rest.last().copied()))?;
        let at = |index: usize, wanted: &str| {
            let token = self.tokens.get(index);
            token.and_then(word).is_some_and(|word| word.value.eq_ignore_ascii_case(wanted))
        };
        let namespace = namespace.filter(|namespace| {
            (2..self.tokens.len()).any(|index| at(index, name) && at(index - 2, namespace))
        });
        let found = (0..self.tokens.len()).find(|index| match namespace {
            Some(namespace) => at(*index, namespace) && at(index + 2, name),
            None => {
                at(*index, name) && index.checked_sub(1).is_some_and(|before| self.precedes_table(before))
            }
        });
        let found =
            found.and_then(|index| self.tokens.get(index)).and_then(|token| position(token.span.start));
        found.or_else(|| self.find_name(None, name))
    }

    fn precedes_table(&self, index: usize) -> bool {
        let Some(token) = self.tokens.get(index) else { return false };
        let words = ["FROM", "JOIN", "TABLE", "DESCRIBE", "DESC"];
        token.token == Token::Comma
            || word(token)
                .is_some_and(|word| words.iter().any(|wanted| word.value.eq_ignore_ascii_case(wanted)))
    }

    /// Where the function `name` is called.
    pub(crate) fn find_call(&self, name: &str) -> Option<SqlPosition> {
        let called = self.tokens.windows(2).find(|pair| {
            word(&pair[0]).is_some_and(|word| word.value.eq_ignore_ascii_case(name))
                && pair[1].token == Token::LParen
        });
        called.and_then(|pair| position(pair[0].span.start)).or_else(|| self.find_name(None, name))
    }
}

pub(crate) fn word(token: &TokenWithSpan) -> Option<&Word> {
    match &token.token {
        Token::Word(word) => Some(word),
        _ => None,
    }
}

/// Where in `sql` a place is, in bytes.
pub(crate) fn offset(sql: &str, location: Location) -> usize {
    let line = usize::try_from(location.line).unwrap_or(usize::MAX).saturating_sub(1);
    let column = usize::try_from(location.column).unwrap_or(usize::MAX).saturating_sub(1);
    let start: usize = sql.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = sql.get(start..).unwrap_or_default();
    start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
}

/// A place, unless the parser does not know it.
pub(crate) fn position(location: Location) -> Option<SqlPosition> {
    (location.line > 0).then_some(SqlPosition { line: location.line, column: location.column })
}

/// The text with a small first letter, as all our messages start.
pub(crate) fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        // An acronym or a quoted name stays as it is.
        Some(first) if !chars.as_str().starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_string(),
    }
}
