//! What is wrong with the data of a COPY, and where.

use pgwire::error::{ErrorInfo, PgWireError};

/// Longest piece of the data that an error shows, as in PostgreSQL.
const SHOWN_BYTES_MAX: usize = 100;

/// An error in the data.
#[derive(Clone, Debug)]
pub(super) struct CopyFault {
    code: &'static str,
    pub message: String,
    detail: Option<String>,
    hint: Option<String>,
    place: Place,
    /// A value that is none of its type: ON_ERROR may leave the row out.
    pub is_value: bool,
}

/// What of the data an error is about.
#[derive(Clone, Debug)]
enum Place {
    Nothing,
    Line,
    Text(String),
    Column(String, Option<String>),
    /// A column whose value has no text.
    Binary(String),
    /// The data as a whole.
    Nowhere,
}

impl CopyFault {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message, detail: None, hint: None, place: Place::Nothing, is_value: false }
    }

    /// A value that is none of its type.
    pub(super) fn value(code: &'static str, message: impl Into<String>) -> Self {
        Self { is_value: true, ..Self::new(code, message) }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(super) fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// It is about a line whose text is not known.
    pub(super) fn at_line(self) -> Self {
        Self { place: Place::Line, ..self }
    }

    /// It is about a line.
    pub(super) fn in_line(self, text: &[u8]) -> Self {
        match self.place {
            Place::Nothing => Self { place: Place::Text(shown(text)), ..self },
            _ => self,
        }
    }

    /// It is about the value of a column.
    pub(super) fn in_column(self, name: &str, value: Option<&[u8]>) -> Self {
        Self { place: Place::Column(name.to_string(), value.map(shown)), ..self }
    }

    /// It is about the value of a column, which is in binary form.
    pub(super) fn in_column_of(self, name: &str) -> Self {
        Self { place: Place::Binary(name.to_string()), ..self }
    }

    /// It is about no line.
    pub(super) fn nowhere(self) -> Self {
        Self { place: Place::Nowhere, ..self }
    }

    /// As the client is told.
    pub(super) fn told(self, table: &str, line: u64) -> PgWireError {
        let place = match self.place {
            Place::Nowhere => None,
            other => Some(other),
        };
        let place = place.map(|place| match place {
            Place::Nowhere | Place::Nothing | Place::Line => format!("COPY {table}, line {line}"),
            Place::Text(text) => format!("COPY {table}, line {line}: \"{text}\""),
            Place::Column(name, None) => format!("COPY {table}, line {line}, column {name}: null input"),
            Place::Column(name, Some(value)) => {
                format!("COPY {table}, line {line}, column {name}: \"{value}\"")
            }
            Place::Binary(name) => format!("COPY {table}, line {line}, column {name}"),
        });
        let mut info = ErrorInfo::new("ERROR".to_string(), self.code.to_string(), self.message);
        info.where_context = place;
        (info.detail, info.hint) = (self.detail, self.hint);
        PgWireError::UserError(Box::new(info))
    }
}

/// As much of a piece of data as an error shows.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.len() <= SHOWN_BYTES_MAX {
        return text.into_owned();
    }
    let end = (0..=SHOWN_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}...", &text[..end])
}
