//! Cutting the text of a simple query into statements, and telling which of them are ours to answer.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

/// A statement within a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its text, without the semicolon.
    pub text: String,
    /// Characters before it in the whole text.
    pub offset: usize,
    /// Its words in order, in lower case unless quoted; no literals, no comments.
    pub words: Vec<String>,
}

/// Cuts a text at its semicolons. A text that cannot be read as tokens is one piece, so that whoever plans it says
/// what is wrong with it.
pub(crate) fn split(sql: &str) -> Vec<Piece> {
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location() else {
        return vec![Piece { text: sql.to_string(), offset: 0, words: Vec::new() }];
    };
    let chars: Vec<char> = sql.chars().collect();
    let lines = line_starts(&chars);
    let at = |location: Location| char_index(&lines, location).min(chars.len());
    let mut pieces = Vec::new();
    let mut current: Vec<&TokenWithSpan> = Vec::new();
    for token in &tokens {
        match &token.token {
            Token::SemiColon | Token::EOF => {
                let end = match token.token {
                    Token::SemiColon => at(token.span.start),
                    _ => chars.len(),
                };
                pieces.extend(piece(&chars, &current, end, &at));
                current.clear();
            }
            Token::Whitespace(_) => {}
            _ => current.push(token),
        }
    }
    pieces.extend(piece(&chars, &current, chars.len(), &at));
    pieces
}

fn piece(
    chars: &[char],
    tokens: &[&TokenWithSpan],
    end: usize,
    at: &dyn Fn(Location) -> usize,
) -> Option<Piece> {
    let start = at(tokens.first()?.span.start);
    let text: String = chars.get(start..end.max(start))?.iter().collect();
    let words = tokens.iter().filter_map(|token| match &token.token {
        Token::Word(word) if word.quote_style.is_some() => Some(word.value.clone()),
        Token::Word(word) => Some(word.value.to_lowercase()),
        _ => None,
    });
    Some(Piece { text: text.trim_end().to_string(), offset: start, words: words.collect() })
}

fn line_starts(chars: &[char]) -> Vec<usize> {
    let breaks = chars.iter().enumerate().filter(|(_, c)| **c == '\n').map(|(index, _)| index + 1);
    std::iter::once(0).chain(breaks).collect()
}

fn char_index(lines: &[usize], location: Location) -> usize {
    let line = usize::try_from(location.line.saturating_sub(1)).unwrap_or(0);
    let column = usize::try_from(location.column.saturating_sub(1)).unwrap_or(0);
    lines.get(line).copied().unwrap_or(0) + column
}

/// The number of a character in the whole text, from 1, of a place in a piece.
pub(crate) fn position_in(piece: &Piece, line: u64, column: u64) -> usize {
    let chars: Vec<char> = piece.text.chars().collect();
    piece.offset + char_index(&line_starts(&chars), Location { line, column }).min(chars.len()) + 1
}

/// First words of statements that change tables.
const CHANGES: &[&str] = &["insert", "update", "delete", "merge", "truncate", "create", "alter", "drop"];

/// Functions that only the emulated system catalog knows.
const CATALOG_FUNCTIONS: &[&str] = &[
    "current_database",
    "current_catalog",
    "current_schema",
    "current_schemas",
    "current_user",
    "session_user",
    "current_setting",
    "format_type",
    "has_schema_privilege",
    "has_table_privilege",
    "has_database_privilege",
    "has_any_column_privilege",
    "pg_get_constraintdef",
    "obj_description",
    "col_description",
    "shobj_description",
    "quote_ident",
    "to_regclass",
    "set_config",
    "inet_server_addr",
    "inet_server_port",
];

impl Piece {
    /// Whether the statement speaks of the system catalog of PostgreSQL.
    pub(crate) fn is_about_catalog(&self) -> bool {
        if self.words.first().is_some_and(|verb| CHANGES.contains(&verb.as_str())) {
            // What changes tables finds none of the system's there, and columns may have any name.
            return self.words.iter().any(|word| word == "pg_catalog");
        }
        self.words.iter().any(|word| {
            word == "information_schema"
                || word.starts_with("pg_")
                || matches!(word.as_str(), "regclass" | "regtype" | "regproc" | "regnamespace" | "oid")
                || CATALOG_FUNCTIONS.contains(&word.as_str())
                || (word == "version" && self.calls_version())
        })
    }

    /// Whether `version` is the function and not a column or a part of `FOR VERSION AS OF`.
    fn calls_version(&self) -> bool {
        let text = self.text.to_lowercase();
        text.match_indices("version").any(|(at, word)| text[at + word.len()..].trim_start().starts_with('('))
    }

    /// The leading words, for telling statements apart.
    pub(crate) fn head(&self) -> [&str; 3] {
        let word = |index: usize| self.words.get(index).map_or("", String::as_str);
        [word(0), word(1), word(2)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_of_the_catalog_only_where_it_is_called() {
        let is_about = |sql: &str| split(sql).remove(0).is_about_catalog();
        assert!(is_about("SELECT version()") && is_about("select pg_catalog.version ( )"));
        assert!(!is_about("SELECT * FROM t FOR VERSION AS OF 7") && !is_about("SELECT version FROM t"));
        assert!(
            !is_about("UPDATE t SET oid = 1, pg_x = current_user") && is_about("DROP TABLE pg_catalog.x")
        );
    }

    #[test]
    fn semicolons_separate_statements_but_not_within_literals_or_comments() {
        let pieces = split("select ';' -- not; here\n;; /* ; */ SELECT \"A;b\"  ;\n set x = 1");
        let texts: Vec<&str> = pieces.iter().map(|piece| piece.text.as_str()).collect();
        assert_eq!(texts, ["select ';' -- not; here", "SELECT \"A;b\"", "set x = 1"]);
        assert_eq!(pieces[1].words, ["select", "A;b"]);
        assert_eq!(split(" ; ;"), []);
    }

    #[test]
    fn a_place_in_a_piece_is_a_character_of_the_whole_text() {
        let sql = "select 'é';\nselect\n  nope";
        let pieces = split(sql);
        // Line 2, column 3 of the second statement is the `n`.
        let position = position_in(&pieces[1], 2, 3);
        assert_eq!(sql.chars().nth(position - 1), Some('n'));
    }

    #[test]
    fn the_system_catalog_is_recognised_by_words_and_not_by_literals() {
        assert!(split("SELECT * FROM pg_catalog.pg_class")[0].is_about_catalog());
        assert!(split("select version()")[0].is_about_catalog());
        assert!(!split("select 'pg_catalog' from shop.orders")[0].is_about_catalog());
    }

    #[test]
    fn what_is_not_sql_stays_whole() {
        assert_eq!(split("select 'open")[0].text, "select 'open");
    }
}
