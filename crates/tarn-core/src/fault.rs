//! Errors that say what the caller must do.

use std::error::Error;

use serde::{Deserialize, Serialize};

/// What the caller can do about an error. Only `Conflict`, `Exhausted` and `Unavailable` are worth a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The input is wrong; sending it again will fail again.
    Invalid,
    /// The named thing does not exist.
    NotFound,
    /// Someone else changed the thing first, or it exists already.
    Conflict,
    /// The caller may not do this, or did not say who they are.
    Denied,
    /// A limit (memory, disk, quota, body size) is reached.
    Exhausted,
    /// Another system does not answer now.
    Unavailable,
    /// Stored bytes are not what was written.
    Corrupt,
    /// A broken promise of our own.
    Internal,
}

impl FaultKind {
    /// Whether the same call may succeed later without any change by the caller.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Conflict | Self::Exhausted | Self::Unavailable)
    }

    /// The name in JSON and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Denied => "denied",
            Self::Exhausted => "exhausted",
            Self::Unavailable => "unavailable",
            Self::Corrupt => "corrupt",
            Self::Internal => "internal",
        }
    }
}

/// An error with a kind and, where we know it, advice.
pub trait Fault: Error + Send + Sync + 'static {
    /// What the caller can do about it.
    fn kind(&self) -> FaultKind;

    /// One sentence that says what to do next, shown under the message.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// A fault as text, made once at the edge: message with its chain of causes, kind and hint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultReport {
    /// What the caller can do about it.
    pub kind: FaultKind,
    /// The error and its causes, joined by `: `.
    pub message: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl FaultReport {
    /// Renders a fault with its chain of causes.
    pub fn of(fault: &dyn Fault) -> Self {
        Self { kind: fault.kind(), message: chain_text(fault), hint: fault.hint() }
    }
}

/// The message of an error followed by those of its causes, `a: b: c`, without repeating equal neighbours.
pub fn chain_text<E: Error + ?Sized>(error: &E) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// The candidate nearest to `wanted` by edit distance, if it is near enough to be what was meant.
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    let limit = (wanted.chars().count() / 3).max(1) + 1;
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn the_chain_is_printed_once() {
        let error = Outer(std::io::Error::other("inner"));
        assert_eq!(chain_text(&error), "outer: inner");
    }

    #[test]
    fn the_nearest_name_is_suggested_only_when_it_is_near() {
        assert_eq!(nearest("flihgts", ["flights", "weather"]), Some("flights"));
        assert_eq!(nearest("customers", ["flights", "weather"]), None);
    }
}
