//! Durations and sizes as people write them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A duration in text, such as `"500ms"`, `"30s"`, `"5m"`, `"2h"`, `"7d"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HumanDuration(pub Duration);

/// A number of bytes in text, such as `"64MB"` or `"1GiB"`; `KB` and `KiB` both mean 1,024 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

const DURATION_UNITS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZE_UNITS: &[(&str, u64)] = &[
    ("TB", 1 << 40),
    ("GB", 1 << 30),
    ("MB", 1 << 20),
    ("KB", 1 << 10),
    ("TIB", 1 << 40),
    ("GIB", 1 << 30),
    ("MIB", 1 << 20),
    ("KIB", 1 << 10),
    ("B", 1),
];

fn split_number(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text.get(..end)?.parse().ok()?, text.get(end..)?.trim()))
}

impl HumanDuration {
    /// From whole milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// From whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl TryFrom<String> for HumanDuration {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let bad = || {
            format!(
                "`{text}` is not a duration; write a number and a unit, such as \"500ms\", \"30s\" or \"2h\""
            )
        };
        let (number, unit) = split_number(&text).ok_or_else(bad)?;
        let (_, factor) = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        Ok(Self::from_millis(number.checked_mul(*factor).ok_or_else(bad)?))
    }
}

impl TryFrom<String> for ByteSize {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let bad =
            || format!("`{text}` is not a size; write a number and a unit, such as \"64MB\" or \"1GB\"");
        let (number, unit) = split_number(&text).ok_or_else(bad)?;
        let unit = unit.to_uppercase();
        let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        Ok(Self(number.checked_mul(*factor).ok_or_else(bad)?))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (unit, factor) =
            DURATION_UNITS.iter().find(|(_, factor)| ms >= *factor && ms % factor == 0).unwrap_or(&("ms", 1));
        write!(f, "{}{unit}", ms / factor)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = SIZE_UNITS[..4]
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

macro_rules! text_value {
    ($name:ident, $description:literal, $pattern:literal, $example:literal) => {
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                Self::try_from(text.to_string())
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string", "description": $description, "pattern": $pattern, "examples": [$example]
                })
            }
        }
    };
}

text_value!(HumanDuration, "A duration, such as 500ms, 30s, 5m, 2h or 7d.", "^[0-9]+ ?(ms|s|m|h|d)$", "30s");
text_value!(ByteSize, "A number of bytes, such as 64MB or 1GB.", "^[0-9]+ ?([kKmMgGtT][iI]?)?[bB]$", "64MB");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value_agree() {
        for text in ["500ms", "30s", "5m", "2h", "7d"] {
            assert_eq!(text.parse::<HumanDuration>().map(|d| d.to_string()), Ok(text.to_string()));
        }
        for text in ["64MB", "1GB", "17B"] {
            assert_eq!(text.parse::<ByteSize>().map(|d| d.to_string()), Ok(text.to_string()));
        }
        assert!("5 parsecs".parse::<HumanDuration>().is_err());
        assert!("99999999999999999999GB".parse::<ByteSize>().is_err());
    }
}
