//! Names that cannot be wrong: checked once where they enter.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, FaultKind};

/// A name broke the rules of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a {kind} name")]
pub struct InvalidName {
    name: String,
    kind: &'static str,
    rule: &'static str,
}

impl Fault for InvalidName {
    fn kind(&self) -> FaultKind {
        FaultKind::Invalid
    }

    fn hint(&self) -> Option<String> {
        Some(self.rule.to_string())
    }
}

const SIMPLE_RULE: &str =
    "use 1 to 128 letters, digits, `_` or `-`, starting with a letter; Chinese letters are letters";
const TOPIC_RULE: &str =
    "use parts of letters, digits, `_` or `-`, joined by dots, such as `shop.public.orders`";
const TABLE_RULE: &str =
    "use `namespace.table`, each of letters, digits and `_`, starting with a letter or `_`";

fn is_simple(name: &str, extra: &[char], length_max: usize) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || extra.contains(&c))
        && name.len() <= length_max
}

macro_rules! text_name {
    ($name:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.to_string()
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }
    };
}

text_name!(ResourceName, "The name of a resource, unique within its kind and tenant.");
text_name!(TopicName, "The name of a topic: parts joined by dots, such as `shop.public.orders`.");

impl ResourceName {
    /// Checks a name. Errors: `InvalidName`.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if is_simple(text, &['_', '-'], 128) {
            return Ok(Self(text.into()));
        }
        Err(InvalidName { name: text.into(), kind: "resource", rule: SIMPLE_RULE })
    }
}

impl TopicName {
    /// Checks a name. Errors: `InvalidName`.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let part_ok = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'))
        };
        if text.len() <= 249 && text.split('.').all(part_ok) {
            return Ok(Self(text.into()));
        }
        Err(InvalidName { name: text.into(), kind: "topic", rule: TOPIC_RULE })
    }
}

/// A table of the lakehouse: one namespace level and a name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableName {
    namespace: Arc<str>,
    name: Arc<str>,
}

impl TableName {
    /// Checks both parts. Errors: `InvalidName`.
    pub fn new(namespace: &str, name: &str) -> Result<Self, InvalidName> {
        // `$` and `-` occur in source tables; they are quoted in SQL.
        if is_simple(namespace, &['_', '-'], 128) && is_simple(name, &['_', '-', '$'], 128) {
            return Ok(Self { namespace: namespace.into(), name: name.into() });
        }
        Err(InvalidName { name: format!("{namespace}.{name}"), kind: "table", rule: TABLE_RULE })
    }

    /// Checks `namespace.table`. Errors: `InvalidName`.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let bad = || InvalidName { name: text.into(), kind: "table", rule: TABLE_RULE };
        let (namespace, name) = text.split_once('.').ok_or_else(bad)?;
        Self::new(namespace, name).map_err(|_| bad())
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The table's own name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

impl fmt::Debug for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl TryFrom<String> for TableName {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(&text)
    }
}

impl From<TableName> for String {
    fn from(name: TableName) -> String {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_are_checked() {
        assert!(ResourceName::parse("shop-1").is_ok());
        assert!(ResourceName::parse("门店").is_ok());
        assert!(ResourceName::parse("../etc").is_err());
        assert!(ResourceName::parse("").is_err());
        assert!(TopicName::parse("shop.public.orders").is_ok());
        assert!(TopicName::parse("shop..orders").is_err());
        assert!(TopicName::parse("shop/orders").is_err());
        assert!(TableName::parse("shop.orders").is_ok());
        assert!(TableName::parse("orders").is_err());
        assert!(TableName::parse("a.b.c").is_err());
    }
}
