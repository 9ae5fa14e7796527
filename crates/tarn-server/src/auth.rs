//! Who a caller is, in the terms of every protocol.

use axum::http::StatusCode;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tarn_access::{AccessError, Credentials};
use tarn_core::{Fault, FaultReport};

use crate::fault::http_status;
use crate::http::error::ApiError;

/// Why a caller is not known.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// Of an HTTP response.
    pub status: StatusCode,
    /// What to say.
    pub report: FaultReport,
}

impl Refusal {
    /// From what access control says.
    pub(crate) fn of(error: &AccessError) -> Self {
        let status = match error.is_unauthenticated() {
            true => StatusCode::UNAUTHORIZED,
            false => http_status(error.kind()),
        };
        Self { status, report: FaultReport::of(error) }
    }

    /// As the HTTP API says it.
    pub(crate) fn to_api(&self) -> ApiError {
        ApiError { status: self.status, ..ApiError::of(self.report.clone()) }
    }

    /// Message and advice in one line.
    pub(crate) fn text(&self) -> String {
        match &self.report.hint {
            Some(hint) => format!("{}; {hint}", self.report.message),
            None => self.report.message.clone(),
        }
    }
}

/// What an `Authorization` header says. A scheme that we do not know is a key that is wrong, not nobody: its sender
/// believes to be somebody.
pub(crate) fn credentials_of_header(value: &str) -> Credentials {
    let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value, ""));
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => credentials_of_token(rest.trim()),
        "basic" => basic(rest.trim()).unwrap_or_else(|| Credentials::key("")),
        _ => Credentials::key(""),
    }
}

/// What stands before the token of a login that is sent as a bearer token, as clients of the Iceberg catalog and of
/// Flight SQL do after they showed a password.
pub(crate) const SESSION_PREFIX: &str = "session:";

/// A bearer token: an API key, or a login.
pub(crate) fn credentials_of_token(token: &str) -> Credentials {
    match token.strip_prefix(SESSION_PREFIX) {
        Some(session) => Credentials::session(session),
        None => Credentials::key(token),
    }
}

/// Clients of Flight SQL leave the padding out, HTTP clients write it.
const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn basic(encoded: &str) -> Option<Credentials> {
    let text = String::from_utf8(ANY_PADDING.decode(encoded).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(Credentials::password(user, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_are_read_and_others_are_wrong_keys() {
        assert!(
            matches!(credentials_of_header("Bearer tarn_x"), Credentials::Key(key) if key.expose() == "tarn_x")
        );
        let Credentials::Password { user, password } = credentials_of_header("basic bGk6YTpi") else {
            panic!("not a password")
        };
        assert_eq!((user.as_str(), password.expose()), ("li", "a:b"));
        let Credentials::Password { password, .. } = credentials_of_header("Basic bGk6YWI") else {
            panic!("not a password without padding")
        };
        assert_eq!(password.expose(), "ab");
        assert!(
            matches!(credentials_of_header("Negotiate abc"), Credentials::Key(key) if key.expose().is_empty())
        );
        assert!(matches!(credentials_of_header("Basic §"), Credentials::Key(key) if key.expose().is_empty()));
    }
}
