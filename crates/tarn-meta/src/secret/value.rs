//! Values that are never printed and do not stay in memory.

use std::fmt;

use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

/// The value of a secret. `Debug` does not show it, it cannot be serialised, and its memory is cleared.
#[derive(Clone, Default)]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The value, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl From<String> for SecretValue {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

/// A spec whose references are replaced by the values of secrets. `Debug` does not show it, it cannot be serialised,
/// and its memory is cleared.
#[derive(Default)]
pub struct ResolvedSpec(Value);

impl ResolvedSpec {
    pub(super) fn new(spec: Value) -> Self {
        Self(spec)
    }

    /// The spec, for the connector that is built from it.
    pub fn expose(&self) -> &Value {
        &self.0
    }

    /// The spec, for a connector that takes it over.
    pub fn into_exposed(mut self) -> Value {
        std::mem::take(&mut self.0)
    }
}

impl fmt::Debug for ResolvedSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(spec with secrets)")
    }
}

impl Drop for ResolvedSpec {
    fn drop(&mut self) {
        clear(&mut self.0);
    }
}

/// Overwrites all text of a value.
pub(super) fn clear(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(clear),
        Value::Object(map) => map.values_mut().for_each(clear),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
