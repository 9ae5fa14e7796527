//! Options of `COPY`, checked as PostgreSQL checks them.

use crate::{QueryError, SqlPosition};

/// An option as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyOption {
    /// In small letters.
    pub name: String,
    /// Its value.
    pub value: CopyValue,
    position: Option<SqlPosition>,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq)]
pub enum CopyValue {
    /// None is written.
    None,
    /// A text, a word or a number.
    Text(String),
    /// `*`.
    All,
    /// `(a, b)`.
    Names(Vec<String>),
}

impl CopyOption {
    pub(super) fn new(name: &str, value: CopyValue, position: Option<SqlPosition>) -> Self {
        Self { name: name.to_lowercase(), value, position }
    }

    /// Its value where it is on or off. Errors: it is neither.
    pub fn is_on(&self) -> Result<bool, QueryError> {
        let text = match &self.value {
            CopyValue::None => return Ok(true),
            CopyValue::Text(text) => text.to_lowercase(),
            _ => String::new(),
        };
        match text.as_str() {
            "true" | "on" | "1" => Ok(true),
            "false" | "off" | "0" => Ok(false),
            _ => Err(QueryError::coded("42601", format!("{} requires a Boolean value", self.name))
                .at(self.position)),
        }
    }

    /// Its value where it is a text. Errors: it is none.
    pub fn text(&self) -> Result<&str, QueryError> {
        match &self.value {
            CopyValue::Text(text) => Ok(text),
            _ => {
                Err(QueryError::coded("42601", format!("{} requires a parameter", self.name))
                    .at(self.position))
            }
        }
    }

    fn columns(&self) -> Result<CopyColumns, QueryError> {
        match &self.value {
            CopyValue::All => Ok(CopyColumns::All),
            CopyValue::Names(names) => Ok(CopyColumns::Named(names.clone())),
            _ => {
                let message = format!("argument to option \"{}\" must be a list of column names", self.name);
                Err(QueryError::coded("22023", message).at(self.position))
            }
        }
    }

    /// The error for an option that is there twice.
    pub fn again(&self) -> QueryError {
        QueryError::coded("42601", "conflicting or redundant options").at(self.position)
    }

    /// The error for an option that nobody knows.
    pub fn unknown(&self, hint: &str) -> QueryError {
        let error = QueryError::coded("42601", format!("option \"{}\" not recognized", self.name));
        error.at(self.position).with_hint(hint)
    }
}

/// How a client writes or reads rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyFormat {
    /// Fields between tabs, with backslashes.
    #[default]
    Text,
    /// Comma-separated values.
    Csv,
    /// The binary form of PostgreSQL.
    Binary,
}

/// The first line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyHeader {
    /// A row.
    #[default]
    None,
    /// Names of columns.
    Names,
    /// Names of columns, which must be those of the table.
    Match,
}

/// Columns that an option is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CopyColumns {
    /// None of them.
    #[default]
    None,
    /// All of them.
    All,
    /// These.
    Named(Vec<String>),
}

impl CopyColumns {
    /// Whether a column is one of them.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Named(names) => names.iter().any(|one| one == name),
        }
    }
}

/// How rows go to or come from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCopy {
    /// How rows are written.
    pub format: CopyFormat,
    /// The first line.
    pub header: CopyHeader,
    /// Between fields.
    pub delimiter: u8,
    /// Stands for null.
    pub null: String,
    /// Around fields.
    pub quote: u8,
    /// Before a quote within a field.
    pub escape: u8,
    /// Columns that are always quoted.
    pub force_quote: CopyColumns,
    /// Columns in which also a quoted [`ClientCopy::null`] is null.
    pub force_null: CopyColumns,
    /// Columns in which [`ClientCopy::null`] is a text.
    pub force_not_null: CopyColumns,
    /// Stands for the column's default.
    pub default: Option<String>,
    /// Rows with a value that is none of its type are left out.
    pub ignores_errors: bool,
}

#[derive(Default)]
struct Given {
    format: Option<CopyFormat>,
    header: Option<CopyHeader>,
    delimiter: Option<String>,
    null: Option<String>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Option<CopyColumns>,
    force_null: Option<CopyColumns>,
    force_not_null: Option<CopyColumns>,
    default: Option<String>,
    on_error: Option<bool>,
    encoding: Option<String>,
    freeze: Option<bool>,
    log: Option<String>,
}

impl ClientCopy {
    /// Reads options. Errors: those of PostgreSQL, with its codes.
    pub fn new(options: &[CopyOption], is_from: bool) -> Result<Self, QueryError> {
        let given = Given::read(options, is_from)?;
        let (format, header) = (given.format.unwrap_or_default(), given.header.unwrap_or_default());
        let is_csv = format == CopyFormat::Csv;
        if format == CopyFormat::Binary {
            let also = [
                ("DELIMITER", given.delimiter.is_some()),
                ("NULL", given.null.is_some()),
                ("DEFAULT", given.default.is_some()),
            ];
            if let Some((name, _)) = also.iter().find(|(_, is_there)| *is_there) {
                return Err(QueryError::coded("42601", format!("cannot specify {name} in BINARY mode")));
            }
            if header != CopyHeader::None {
                return Err(impossible("cannot specify HEADER in BINARY mode"));
            }
            if given.on_error == Some(true) {
                return Err(QueryError::coded("42601", "only ON_ERROR STOP is allowed in BINARY mode"));
            }
        }
        let single = |text: Option<&String>, default: u8, what: &str| match text.map(|text| text.as_bytes()) {
            None => Ok(default),
            Some([byte]) => Ok(*byte),
            Some(_) => Err(impossible(&format!("COPY {what} must be a single one-byte character"))),
        };
        let delimiter = single(given.delimiter.as_ref(), if is_csv { b',' } else { b'\t' }, "delimiter")?;
        let for_csv = [
            ("quote", given.quote.is_some()),
            ("escape", given.escape.is_some()),
            ("force quote", given.force_quote.is_some()),
            ("force not null", given.force_not_null.is_some()),
            ("force null", given.force_null.is_some()),
        ];
        if let Some((name, _)) = for_csv.iter().find(|(_, is_there)| *is_there && !is_csv) {
            return Err(impossible(&format!("COPY {name} available only in CSV mode")));
        }
        if given.force_quote.is_some() && is_from {
            return Err(impossible("COPY force quote only available using COPY TO"));
        }
        let only_from =
            [("force not null", given.force_not_null.is_some()), ("force null", given.force_null.is_some())];
        if let Some((name, _)) = only_from.iter().find(|(_, is_there)| *is_there && !is_from) {
            return Err(impossible(&format!("COPY {name} only available using COPY FROM")));
        }
        let quote = single(given.quote.as_ref(), b'"', "quote")?;
        let escape = single(given.escape.as_ref(), quote, "escape")?;
        let null = given.null.unwrap_or_else(|| if is_csv { String::new() } else { "\\N".into() });
        let copy = Self {
            format,
            header,
            delimiter,
            null,
            quote,
            escape,
            force_quote: given.force_quote.unwrap_or_default(),
            force_null: given.force_null.unwrap_or_default(),
            force_not_null: given.force_not_null.unwrap_or_default(),
            default: given.default,
            ignores_errors: given.on_error.unwrap_or_default(),
        };
        copy.check(is_from)?;
        Ok(copy)
    }

    fn check(&self, is_from: bool) -> Result<(), QueryError> {
        let invalid = |message: String| Err(QueryError::coded("22023", message));
        let is_csv = self.format == CopyFormat::Csv;
        let (delimiter, quote) = (char::from(self.delimiter), char::from(self.quote));
        let breaks = |text: &str| text.contains(['\r', '\n']);
        if matches!(delimiter, '\r' | '\n') {
            return invalid("COPY delimiter cannot be newline or carriage return".into());
        }
        if breaks(&self.null) {
            return invalid("COPY null representation cannot use newline or carriage return".into());
        }
        if self.default.as_deref().is_some_and(breaks) {
            return invalid("COPY default representation cannot use newline or carriage return".into());
        }
        if !is_csv
            && (matches!(delimiter, '\\' | '.')
                || delimiter.is_ascii_lowercase()
                || delimiter.is_ascii_digit())
        {
            return invalid(format!("COPY delimiter cannot be \"{delimiter}\""));
        }
        if is_csv && self.delimiter == self.quote {
            return invalid("COPY delimiter and quote must be different".into());
        }
        if self.null.contains(delimiter) {
            return Err(impossible("COPY delimiter must not appear in the NULL specification"));
        }
        if is_csv && self.null.contains(quote) {
            return Err(impossible("CSV quote character must not appear in the NULL specification"));
        }
        if let Some(default) = &self.default {
            if !is_from {
                return Err(impossible("COPY DEFAULT only available using COPY FROM"));
            }
            if default.contains(delimiter) {
                return Err(impossible("COPY delimiter must not appear in the DEFAULT specification"));
            }
            if is_csv && default.contains(quote) {
                return Err(impossible("CSV quote character must not appear in the DEFAULT specification"));
            }
            if *default == self.null {
                return Err(impossible("NULL specification and DEFAULT specification cannot be the same"));
            }
        }
        if self.header == CopyHeader::Match && !is_from {
            return Err(impossible("cannot use \"match\" with HEADER in COPY TO"));
        }
        Ok(())
    }
}

fn impossible(message: &str) -> QueryError {
    QueryError::coded("0A000", message)
}

fn once<T>(slot: &mut Option<T>, option: &CopyOption, value: T) -> Result<(), QueryError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(option.again()),
    }
}

impl Given {
    fn read(options: &[CopyOption], is_from: bool) -> Result<Self, QueryError> {
        let mut given = Self::default();
        for option in options {
            let text = || option.text().map(str::to_string);
            match option.name.as_str() {
                "format" => once(&mut given.format, option, format_of(option)?)?,
                "header" => once(&mut given.header, option, header_of(option)?)?,
                "delimiter" => once(&mut given.delimiter, option, text()?)?,
                "null" => once(&mut given.null, option, text()?)?,
                "quote" => once(&mut given.quote, option, text()?)?,
                "escape" => once(&mut given.escape, option, text()?)?,
                "default" => once(&mut given.default, option, text()?)?,
                "force_quote" => once(&mut given.force_quote, option, option.columns()?)?,
                "force_null" => once(&mut given.force_null, option, option.columns()?)?,
                "force_not_null" => once(&mut given.force_not_null, option, option.columns()?)?,
                "freeze" => once(&mut given.freeze, option, option.is_on()?)?,
                "log_verbosity" => once(&mut given.log, option, text()?)?,
                "encoding" => {
                    let name = text()?;
                    if !matches!(name.to_uppercase().as_str(), "UTF8" | "UTF-8" | "UNICODE") {
                        let message = format!("argument to option \"encoding\" must be UTF8, not \"{name}\"");
                        return Err(QueryError::coded("22023", message)
                            .with_hint("convert the file, such as by `iconv`"));
                    }
                    once(&mut given.encoding, option, name)?;
                }
                "on_error" => {
                    let ignores = match text()?.to_lowercase().as_str() {
                        "stop" => false,
                        "ignore" => true,
                        other => {
                            let message = format!("COPY ON_ERROR \"{other}\" not recognized");
                            return Err(QueryError::coded("22023", message));
                        }
                    };
                    if !is_from {
                        return Err(impossible("COPY ON_ERROR cannot be used with COPY TO"));
                    }
                    once(&mut given.on_error, option, ignores)?;
                }
                _ => {
                    return Err(option.unknown(
                        "possible are FORMAT, HEADER, DELIMITER, NULL, DEFAULT, QUOTE, ESCAPE, FORCE_QUOTE, FORCE_NULL, \
                         FORCE_NOT_NULL, ENCODING and ON_ERROR",
                    ));
                }
            }
        }
        Ok(given)
    }
}

fn format_of(option: &CopyOption) -> Result<CopyFormat, QueryError> {
    match option.text()? {
        "text" => Ok(CopyFormat::Text),
        "csv" => Ok(CopyFormat::Csv),
        "binary" => Ok(CopyFormat::Binary),
        other => {
            let error = QueryError::coded("22023", format!("COPY format \"{other}\" not recognized"))
                .at(option.position);
            Err(error.with_hint("a client reads and writes text, csv and binary"))
        }
    }
}

fn header_of(option: &CopyOption) -> Result<CopyHeader, QueryError> {
    if let CopyValue::Text(text) = &option.value
        && text.eq_ignore_ascii_case("match")
    {
        return Ok(CopyHeader::Match);
    }
    match option.is_on() {
        Ok(is_on) => Ok(if is_on { CopyHeader::Names } else { CopyHeader::None }),
        Err(_) => {
            let message = "header requires a Boolean value or \"match\"";
            Err(QueryError::coded("42601", message).at(option.position))
        }
    }
}
