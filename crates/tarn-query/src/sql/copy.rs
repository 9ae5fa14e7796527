//! `COPY`, with the options of PostgreSQL. The grammar below knows half of them, so it is read here.

use std::fmt;

use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::sql::SqlText;
use crate::sql::copy_options::{CopyOption, CopyValue};
use crate::sql::text::{position, word};
use crate::sql::time_travel::blank;
use crate::{QueryError, SqlPosition};

/// A `COPY`.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyStatement {
    /// What is copied.
    pub subject: CopySubject,
    /// Whether rows come into the table.
    pub is_from: bool,
    /// Where the rows come from or go to.
    pub place: CopyPlace,
    /// As they are written.
    pub options: Vec<CopyOption>,
}

/// What is copied.
#[derive(Clone, Debug, PartialEq)]
pub enum CopySubject {
    /// A table, or some of its columns.
    Table {
        /// The parts of its name, as SQL means them.
        name: Vec<String>,
        /// As SQL means them; none: all.
        columns: Vec<String>,
    },
    /// The text of a query, each of its words where it stands in the whole statement.
    Query(String),
}

/// Where rows come from or go to.
#[derive(Clone, Debug, PartialEq)]
pub enum CopyPlace {
    /// The client: `STDIN` and `STDOUT`.
    Client,
    /// A file or a folder of files: a path or a URL.
    File(String),
}

impl CopyStatement {
    /// The format of files that rows come from, such as `parquet`, where it is none of PostgreSQL's own. Without `FORMAT`
    /// the ending of their names tells it, and what it does not tell is PostgreSQL's text. Errors: CSV by the ending, which
    /// does not say whether there is a header.
    pub fn files_format(&self) -> Result<Option<String>, QueryError> {
        let CopyPlace::File(path) = &self.place else { return Ok(None) };
        if let Some(option) = self.options.iter().find(|option| option.name == "format") {
            let format = option.text()?.to_lowercase();
            let is_own = matches!(format.as_str(), "text" | "csv" | "binary");
            return Ok((!is_own).then_some(format));
        }
        let lower = path.to_lowercase();
        let name = lower.strip_suffix(".gz").unwrap_or(&lower);
        match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some(ending @ ("parquet" | "avro" | "orc" | "json")) => Ok(Some(ending.to_string())),
            Some("ndjson" | "jsonl") => Ok(Some("json".to_string())),
            Some("csv") if !self.options.iter().any(|option| option.name == "delimiter") => {
                let message =
                    "the name of the file tells CSV, but not whether it begins with the names of columns";
                Err(QueryError::coded("22023", message)
                    .with_hint("write `(FORMAT csv, HEADER true)`, HEADER false or HEADER match"))
            }
            _ => Ok(None),
        }
    }

    /// Whether the client sends rows.
    pub fn takes_rows(&self) -> bool {
        self.is_from && self.place == CopyPlace::Client
    }
}

impl CopySubject {
    /// The query that gives its rows.
    pub fn query(&self) -> String {
        match self {
            Self::Query(sql) => sql.clone(),
            Self::Table { name, columns } => {
                let all = |names: &[String], between: &str| {
                    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(between)
                };
                let columns = if columns.is_empty() { "*".to_string() } else { all(columns, ", ") };
                format!("SELECT {columns} FROM {}", all(name, "."))
            }
        }
    }
}

impl fmt::Display for CopySubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { name, .. } => f.write_str(&name.join(".")),
            Self::Query(sql) => f.write_str(sql.trim()),
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Reads a `COPY`; `None` for another statement. Errors: `Syntax`, `Plan` for what is not possible.
pub fn parse_copy(sql: &str) -> Option<Result<CopyStatement, QueryError>> {
    let text = match SqlText::new(sql) {
        Ok(text) => text,
        Err(error) => {
            let is_copy = sql.trim_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case("copy"));
            return is_copy.then_some(Err(error));
        }
    };
    let tokens: Vec<&TokenWithSpan> = text.tokens().iter().filter(|one| one.token != Token::EOF).collect();
    let reader = CopyReader { sql, tokens, at: 0 };
    reader.is(0, "COPY").then(|| reader.read())
}

struct CopyReader<'a> {
    sql: &'a str,
    tokens: Vec<&'a TokenWithSpan>,
    at: usize,
}

impl CopyReader<'_> {
    fn is(&self, ahead: usize, wanted: &str) -> bool {
        let token = self.tokens.get(self.at + ahead);
        token
            .and_then(|token| word(token))
            .is_some_and(|word| word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.is(0, wanted);
        self.at += usize::from(found);
        found
    }

    fn symbol(&mut self, wanted: &Token) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|token| token.token == *wanted);
        self.at += usize::from(found);
        found
    }

    fn place(&self) -> Option<SqlPosition> {
        match self.tokens.get(self.at) {
            Some(token) => position(token.span.start),
            None => self.tokens.last().and_then(|token| position(token.span.end)),
        }
    }

    fn wrong(&self, expected: &str) -> QueryError {
        let found =
            self.tokens.get(self.at).map_or("the end".to_string(), |token| format!("`{}`", token.token));
        QueryError::Syntax {
            message: format!("expected {expected}, found {found}"),
            position: self.place(),
            hint: Some(
                "write `COPY t (columns) FROM STDIN (FORMAT csv)` or `COPY (SELECT ...) TO STDOUT`".into(),
            ),
        }
    }

    fn read(mut self) -> Result<CopyStatement, QueryError> {
        self.at = 1;
        let mut options = Vec::new();
        if self.is(0, "BINARY") && !self.is(1, "FROM") && !self.is(1, "TO") {
            // As it was written before PostgreSQL 7.3.
            options.push(CopyOption::new("format", CopyValue::Text("binary".into()), self.place()));
            self.at += 1;
        }
        let subject = match self.symbol(&Token::LParen) {
            true => CopySubject::Query(self.query()?),
            false => self.table()?,
        };
        let is_from = match (self.take("FROM"), subject.clone()) {
            (true, CopySubject::Query(_)) => {
                self.at -= 1;
                return Err(self.wrong("TO, as rows cannot come into a query"));
            }
            (true, _) => true,
            (false, _) if self.take("TO") => false,
            (false, _) => return Err(self.wrong("FROM or TO")),
        };
        let place = self.target()?;
        let _ = self.take("WITH");
        match self.symbol(&Token::LParen) {
            true => self.option_list(&mut options)?,
            false => self.old_options(&mut options)?,
        }
        if self.is(0, "WHERE") {
            return Err(QueryError::coded("0A000", "COPY FROM with WHERE is not possible").with_hint(
                "copy all rows into a table of their own, then `INSERT INTO t SELECT ... WHERE ...`",
            ));
        }
        while self.symbol(&Token::SemiColon) {}
        match self.at < self.tokens.len() {
            true => Err(self.wrong("an option or the end")),
            false => Ok(CopyStatement { subject, is_from, place, options }),
        }
    }

    /// The query up to its closing parenthesis, everything else blank.
    fn query(&mut self) -> Result<String, QueryError> {
        let first = self.at;
        let mut depth = 1;
        while let Some(token) = self.tokens.get(self.at) {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let start = self.tokens[first - 1].span.end;
                let end = token.span.start;
                let begin = Location { line: 1, column: 1 };
                let over = Location { line: u64::MAX, column: u64::MAX };
                self.at += 1;
                let text = blank(self.sql, &[(begin, start), (end, over)]);
                return Ok(text.trim_end().to_string());
            }
            self.at += 1;
        }
        Err(self.wrong("`)`"))
    }

    fn name(&mut self) -> Result<String, QueryError> {
        match self.tokens.get(self.at).and_then(|token| word(token)) {
            Some(word) => {
                self.at += 1;
                Ok(if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() })
            }
            None => Err(self.wrong("a name")),
        }
    }

    fn names(&mut self) -> Result<Vec<String>, QueryError> {
        let mut names = vec![self.name()?];
        while self.symbol(&Token::Comma) {
            names.push(self.name()?);
        }
        Ok(names)
    }

    fn table(&mut self) -> Result<CopySubject, QueryError> {
        let mut name = vec![self.name()?];
        while self.symbol(&Token::Period) {
            name.push(self.name()?);
        }
        let mut columns = Vec::new();
        if self.symbol(&Token::LParen) {
            columns = self.names()?;
            if !self.symbol(&Token::RParen) {
                return Err(self.wrong("`)`"));
            }
        }
        Ok(CopySubject::Table { name, columns })
    }

    fn target(&mut self) -> Result<CopyPlace, QueryError> {
        if self.take("STDIN") || self.take("STDOUT") {
            return Ok(CopyPlace::Client);
        }
        if self.is(0, "PROGRAM") {
            let error = QueryError::coded("0A000", "COPY does not start programs");
            return Err(error.with_hint("let the client start it: `\\copy ... program '...'` of psql"));
        }
        match self.text() {
            Some(path) => Ok(CopyPlace::File(path)),
            None => Err(self.wrong("STDIN, STDOUT or the path of a file in quotes")),
        }
    }

    fn text(&mut self) -> Option<String> {
        let text = match &self.tokens.get(self.at)?.token {
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text.clone(),
            Token::DollarQuotedString(text) => text.value.clone(),
            _ => return None,
        };
        self.at += 1;
        Some(text)
    }

    /// `(FORMAT csv, HEADER, …)`.
    fn option_list(&mut self, options: &mut Vec<CopyOption>) -> Result<(), QueryError> {
        loop {
            let place = self.place();
            let name = self.name()?;
            options.push(CopyOption::new(&name, self.value()?, place));
            if self.symbol(&Token::RParen) {
                return Ok(());
            }
            if !self.symbol(&Token::Comma) {
                return Err(self.wrong("`,` or `)`"));
            }
        }
    }

    fn value(&mut self) -> Result<CopyValue, QueryError> {
        if let Some(text) = self.text() {
            return Ok(CopyValue::Text(text));
        }
        if self.symbol(&Token::Mul) {
            return Ok(CopyValue::All);
        }
        if self.symbol(&Token::LParen) {
            let names = self.names()?;
            return match self.symbol(&Token::RParen) {
                true => Ok(CopyValue::Names(names)),
                false => Err(self.wrong("`)`")),
            };
        }
        match self.tokens.get(self.at).map(|token| &token.token) {
            Some(Token::Word(_)) => self.name().map(CopyValue::Text),
            Some(Token::Number(digits, _)) => {
                let digits = digits.clone();
                self.at += 1;
                Ok(CopyValue::Text(digits))
            }
            _ => Ok(CopyValue::None),
        }
    }

    /// `CSV HEADER DELIMITER AS ';' …`, as it was written before PostgreSQL 9.0.
    fn old_options(&mut self, options: &mut Vec<CopyOption>) -> Result<(), QueryError> {
        loop {
            let place = self.place();
            let text = |value: &str| CopyValue::Text(value.into());
            let (name, value) = if self.take("BINARY") {
                ("format", text("binary"))
            } else if self.take("CSV") {
                ("format", text("csv"))
            } else if self.take("HEADER") {
                ("header", CopyValue::None)
            } else if self.take("FREEZE") {
                ("freeze", CopyValue::None)
            } else if let Some(name) =
                ["DELIMITER", "NULL", "QUOTE", "ESCAPE", "ENCODING"].into_iter().find(|name| self.is(0, name))
            {
                self.at += 1;
                let _ = self.take("AS");
                let value = self.text().ok_or_else(|| self.wrong("a text in quotes"))?;
                (name, CopyValue::Text(value))
            } else if self.take("FORCE") {
                self.forced()?
            } else {
                return Ok(());
            };
            options.push(CopyOption::new(name, value, place));
        }
    }

    fn forced(&mut self) -> Result<(&'static str, CopyValue), QueryError> {
        let name = if self.take("QUOTE") {
            "force_quote"
        } else if self.take("NULL") {
            "force_null"
        } else if self.take("NOT") && self.take("NULL") {
            "force_not_null"
        } else {
            return Err(self.wrong("QUOTE, NULL or NOT NULL"));
        };
        match self.symbol(&Token::Mul) {
            true => Ok((name, CopyValue::All)),
            false => Ok((name, CopyValue::Names(self.names()?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> CopyStatement {
        parse_copy(sql).expect("a COPY").expect("valid")
    }

    #[test]
    fn both_ways_of_writing_options_say_the_same() {
        let new = read(
            "copy a.\"B\" (x, \"Y\") from stdin with (format csv, header, delimiter E'\\t', force_null (x))",
        );
        let old = read("COPY a.\"B\" (x, \"Y\") FROM STDIN WITH CSV HEADER DELIMITER AS '\t' FORCE NULL x");
        let plain = |copy: &CopyStatement| {
            copy.options.iter().map(|one| (one.name.clone(), one.value.clone())).collect::<Vec<_>>()
        };
        assert_eq!(plain(&new), plain(&old));
        assert_eq!(new.subject, old.subject);
        assert_eq!(new.subject.query(), "SELECT \"x\", \"Y\" FROM \"a\".\"B\"");
    }

    #[test]
    fn the_words_of_a_query_stay_where_they_are() {
        let sql = "COPY (SELECT ')' AS a, (1)\nFROM t) TO STDOUT";
        let CopySubject::Query(query) = read(sql).subject else { panic!("a query") };
        assert_eq!(query, "      SELECT ')' AS a, (1)\nFROM t");
        assert_eq!(sql.find("FROM"), query.find("FROM"));
    }

    #[test]
    fn what_is_no_copy_is_left_alone_and_what_is_half_of_one_is_refused() {
        assert!(parse_copy("SELECT copy FROM t").is_none());
        for sql in [
            "COPY",
            "COPY t",
            "COPY t FROM",
            "COPY (SELECT 1 TO STDOUT",
            "COPY t FROM STDIN (FORMAT csv",
            "COPY (SELECT 1) FROM STDIN",
            "COPY t TO STDOUT nonsense",
            "COPY t FROM PROGRAM 'x'",
            "copy 'open",
        ] {
            assert!(parse_copy(sql).expect("a COPY").is_err(), "{sql}");
        }
    }
}
