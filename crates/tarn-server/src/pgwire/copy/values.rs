//! Values of columns, read from their texts as PostgreSQL reads them.

use std::borrow::Cow;

use arrow::array::timezone::Tz;
use arrow::datatypes::{DataType, Field, TimeUnit};

use super::fault::CopyFault;
use super::times;

/// What a column holds.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Bool,
    Int32,
    Int64,
    Float32,
    Float64,
    Decimal(u8, i8),
    Date,
    Time,
    /// `is_nanos`, and whether it has a zone.
    Timestamp {
        is_nanos: bool,
        is_zoned: bool,
    },
    Text,
    Bytes,
    /// So many bytes; 16 of them are also written as UUID.
    Fixed(i32),
    List(Box<Kind>),
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Decimal(i128),
    Bytes(Cow<'a, [u8]>),
    List(Vec<Value<'a>>),
}

impl Kind {
    /// Of a column. Errors: `COPY` does not read its type.
    pub(super) fn of(field: &Field) -> Result<Self, CopyFault> {
        Ok(match field.data_type() {
            DataType::Boolean => Self::Bool,
            DataType::Int32 => Self::Int32,
            DataType::Int64 => Self::Int64,
            DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::Decimal128(precision, scale) => Self::Decimal(*precision, *scale),
            DataType::Date32 => Self::Date,
            DataType::Time64(TimeUnit::Microsecond) => Self::Time,
            DataType::Timestamp(unit @ (TimeUnit::Microsecond | TimeUnit::Nanosecond), zone) => {
                Self::Timestamp { is_nanos: *unit == TimeUnit::Nanosecond, is_zoned: zone.is_some() }
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Self::Bytes,
            DataType::FixedSizeBinary(bytes) => Self::Fixed(*bytes),
            DataType::List(item) => Self::List(Box::new(Self::of(item)?)),
            _ => {
                let message =
                    format!("COPY does not read column \"{}\", which has fields of its own", field.name());
                return Err(CopyFault::new("0A000", message)
                    .hint("name the other columns: `COPY t (a, b) FROM STDIN`, or use INSERT"));
            }
        })
    }

    /// As PostgreSQL names it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Int32 => "integer",
            Self::Int64 => "bigint",
            Self::Float32 => "real",
            Self::Float64 => "double precision",
            Self::Decimal(..) => "numeric",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp { is_zoned: false, .. } => "timestamp",
            Self::Timestamp { is_zoned: true, .. } => "timestamp with time zone",
            Self::Text => "text",
            Self::Bytes => "bytea",
            Self::Fixed(16) => "uuid",
            Self::Fixed(_) => "bytea",
            Self::List(_) => "array",
        }
    }

    /// The value of a text. `zone`: of times that name none. Errors: those of PostgreSQL.
    pub(super) fn read<'a>(&self, bytes: &'a [u8], zone: Tz) -> Result<Value<'a>, CopyFault> {
        let text = utf8(bytes)?;
        let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
        let invalid = |code| {
            CopyFault::value(code, format!("invalid input syntax for type {}: \"{text}\"", self.name()))
        };
        let outside = || {
            let message = format!("value \"{text}\" is out of range for type {}", self.name());
            CopyFault::value("22003", message)
        };
        let at = |found: Result<i64, times::Wrong>| match found {
            Ok(value) => Ok(Value::Int(value)),
            Err(times::Wrong::Syntax) => Err(invalid("22007")),
            Err(times::Wrong::Range) => {
                Err(CopyFault::value("22008", format!("date/time field value out of range: \"{text}\"")))
            }
        };
        match self {
            Self::Bool => boolean(trimmed).map(Value::Bool).ok_or_else(|| invalid("22P02")),
            Self::Int32 | Self::Int64 => {
                if !is_whole(trimmed) {
                    return Err(invalid("22P02"));
                }
                match self {
                    Self::Int32 => trimmed.parse::<i32>().map(i64::from),
                    _ => trimmed.parse::<i64>(),
                }
                .map(Value::Int)
                .map_err(|_| outside())
            }
            Self::Float32 | Self::Float64 => {
                self.float(trimmed).map(Value::Float).map_err(|is_range| match is_range {
                    true => CopyFault::value(
                        "22003",
                        format!("\"{text}\" is out of range for type {}", self.name()),
                    ),
                    false => invalid("22P02"),
                })
            }
            Self::Decimal(precision, scale) => decimal(trimmed, *scale)
                .ok_or_else(|| invalid("22P02"))
                .and_then(|digits| self.fitting(digits, *precision, *scale)),
            Self::Date => at(times::date(trimmed)),
            Self::Time => at(times::time(trimmed)),
            Self::Timestamp { is_nanos, is_zoned } => {
                let micros = times::timestamp(trimmed, is_zoned.then_some(zone));
                at(micros.and_then(|micros| match is_nanos {
                    true => micros.checked_mul(1_000).ok_or(times::Wrong::Range),
                    false => Ok(micros),
                }))
            }
            Self::Text => Ok(Value::Bytes(Cow::Borrowed(bytes))),
            Self::Bytes => binary(bytes).map(|bytes| Value::Bytes(Cow::Owned(bytes))),
            Self::Fixed(size) => {
                let value = match uuid::Uuid::parse_str(trimmed) {
                    Ok(uuid) if *size == 16 => uuid.as_bytes().to_vec(),
                    _ if *size == 16 && !text.starts_with("\\x") => return Err(invalid("22P02")),
                    _ => binary(bytes)?,
                };
                match usize::try_from(*size) == Ok(value.len()) {
                    true => Ok(Value::Bytes(Cow::Owned(value))),
                    false => Err(CopyFault::value(
                        "22P02",
                        format!("{size} bytes are needed, not {}", value.len()),
                    )),
                }
            }
            Self::List(item) => {
                let malformed = || CopyFault::value("22P02", format!("malformed array literal: \"{text}\""));
                let items = items(trimmed).ok_or_else(malformed)?;
                let read = items.iter().map(|one| match one {
                    None => Ok(Value::Null),
                    Some(text) => item.read(text.as_bytes(), zone).map(Value::owned),
                });
                read.collect::<Result<_, _>>().map(Value::List)
            }
        }
    }

    /// Errors: whether it is a number outside of the range.
    fn float(&self, text: &str) -> Result<f64, bool> {
        let lower = text.to_ascii_lowercase();
        if !lower.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-')) {
            return Err(false);
        }
        let is_named = lower.contains(['i', 'a']);
        let is_zero = !is_named
            && lower
                .split('e')
                .next()
                .is_some_and(|mantissa| !mantissa.contains(|c: char| ('1'..='9').contains(&c)));
        let (value, is_finite) = match self {
            Self::Float32 => text.parse::<f32>().map(|value| (f64::from(value), value.is_finite())),
            _ => text.parse::<f64>().map(|value| (value, value.is_finite())),
        }
        .map_err(|_| false)?;
        let fits = is_named || (is_finite && (is_zero || value != 0.0));
        if fits { Ok(value) } else { Err(true) }
    }

    pub(super) fn fitting(
        &self,
        digits: Digits,
        precision: u8,
        scale: i8,
    ) -> Result<Value<'static>, CopyFault> {
        let bound = 10_i128.checked_pow(u32::from(precision));
        match (digits, bound) {
            (Digits::Number(value), Some(bound)) if value.unsigned_abs() < bound.unsigned_abs() => {
                Ok(Value::Decimal(value))
            }
            _ => Err(CopyFault::value("22003", "numeric field overflow").detail(format!(
                "A field with precision {precision}, scale {scale} must round to an absolute value less than 10^{}.",
                i32::from(precision) - i32::from(scale)
            ))),
        }
    }
}

impl Value<'_> {
    fn owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Bool(value) => Value::Bool(value),
            Value::Int(value) => Value::Int(value),
            Value::Float(value) => Value::Float(value),
            Value::Decimal(value) => Value::Decimal(value),
            Value::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
            Value::List(items) => Value::List(items.into_iter().map(Value::owned).collect()),
        }
    }
}

/// The text of bytes. Errors: they are none, or one of them is zero.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, CopyFault> {
    let wrong = |bytes: &[u8]| {
        let shown: Vec<String> = bytes.iter().take(4).map(|byte| format!("0x{byte:02x}")).collect();
        CopyFault::new("22021", format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")))
    };
    match std::str::from_utf8(bytes) {
        Ok(_) if bytes.contains(&0) => Err(wrong(&[0])),
        Ok(text) => Ok(text),
        Err(error) => {
            let from = error.valid_up_to();
            let length = error.error_len().unwrap_or(bytes.len() - from);
            Err(wrong(bytes.get(from..from + length).unwrap_or_default()))
        }
    }
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn boolean(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let starts = |word: &str, least: usize| text.len() >= least && word.starts_with(text.as_str());
    if starts("true", 1) || starts("yes", 1) || text == "on" || text == "1" {
        return Some(true);
    }
    (starts("false", 1) || starts("no", 1) || starts("off", 2) || text == "0").then_some(false)
}

/// A number with its fraction rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digits {
    Number(i128),
    TooMany,
}

/// The digits of a number at a scale, half a digit rounded away from zero. `None`: it is no number.
pub(super) fn decimal(text: &str, scale: i8) -> Option<Digits> {
    let (is_negative, rest) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if matches!(rest.to_ascii_lowercase().as_str(), "nan" | "inf" | "infinity") {
        // PostgreSQL has them, tables have not.
        return Some(Digits::TooMany);
    }
    let (mantissa, power) = match rest.split_once(['e', 'E']) {
        Some((mantissa, power)) if is_whole(power) => (mantissa, power.parse::<i32>().unwrap_or(i32::MAX)),
        Some(_) => return None,
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0').collect();
    // So many digits of the number are kept.
    let kept = i64::try_from(whole.len()).ok()? + i64::from(power) + i64::from(scale);
    let mut value: i128 = 0;
    let is_zero = digits.iter().all(|digit| *digit == 0);
    if is_zero {
        return Some(Digits::Number(0));
    }
    for place in 0..kept.max(0) {
        let digit = usize::try_from(place).ok().and_then(|place| digits.get(place)).copied().unwrap_or(0);
        value = match value.checked_mul(10).and_then(|value| value.checked_add(i128::from(digit))) {
            Some(value) => value,
            None => return Some(Digits::TooMany),
        };
    }
    let next = usize::try_from(kept).ok().and_then(|place| digits.get(place)).copied().unwrap_or(0);
    if kept >= 0 && next >= 5 {
        value = match value.checked_add(1) {
            Some(value) => value,
            None => return Some(Digits::TooMany),
        };
    }
    Some(Digits::Number(if is_negative { -value } else { value }))
}

/// Bytes as `\xdeadbeef`, or as text in which `\\` and `\123` stand for what is no letter.
fn binary(bytes: &[u8]) -> Result<Vec<u8>, CopyFault> {
    if let Some(hex) = bytes.strip_prefix(b"\\x") {
        let digits: Vec<u8> = hex.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let digit = |byte: u8| {
            char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or_else(|| {
                CopyFault::value("22023", format!("invalid hexadecimal digit: \"{}\"", char::from(byte)))
            })
        };
        let pair = |pair: &[u8]| match pair {
            [high, low] => Ok(digit(*high)? << 4 | digit(*low)?),
            _ => Err(CopyFault::value("22023", "invalid hexadecimal data: odd number of digits")),
        };
        return digits.chunks(2).map(pair).collect();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        let rest = bytes.get(at + 1..).unwrap_or_default();
        match (byte, rest) {
            (b'\\', [b'\\', ..]) => {
                out.push(b'\\');
                at += 2;
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                at += 4;
            }
            (b'\\', _) => return Err(CopyFault::value("22P02", "invalid input syntax for type bytea")),
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Ok(out)
}

/// The items of `{1,NULL,"a b"}`. `None`: it is not written so, or has lists in it.
fn items(text: &str) -> Option<Vec<Option<String>>> {
    let mut chars = text.strip_prefix('{')?.strip_suffix('}')?.chars().peekable();
    let mut items = Vec::new();
    if chars.clone().all(char::is_whitespace) {
        return Some(items);
    }
    loop {
        while chars.peek().is_some_and(|c| c.is_ascii_whitespace()) {
            chars.next();
        }
        let (mut item, is_quoted) = (String::new(), chars.peek() == Some(&'"'));
        if is_quoted {
            chars.next();
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => item.push(chars.next()?),
                    other => item.push(other),
                }
            }
            while chars.peek().is_some_and(|c| c.is_ascii_whitespace()) {
                chars.next();
            }
        } else {
            while let Some(c) = chars.peek().copied().filter(|c| *c != ',') {
                chars.next();
                match c {
                    '{' | '}' | '"' => return None,
                    '\\' => item.push(chars.next()?),
                    other => item.push(other),
                }
            }
            item.truncate(item.trim_end().len());
            if item.is_empty() {
                return None;
            }
        }
        let is_null = !is_quoted && item.eq_ignore_ascii_case("null");
        items.push((!is_null).then_some(item));
        match chars.next() {
            None => return Some(items),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &Kind, text: &str) -> Result<Value<'static>, String> {
        kind.read(text.as_bytes(), "UTC".parse().unwrap()).map(Value::owned).map_err(|fault| fault.message)
    }

    #[test]
    fn numbers_are_read_and_refused_like_in_postgresql() {
        assert_eq!(read(&Kind::Int32, " +12 "), Ok(Value::Int(12)));
        assert_eq!(read(&Kind::Int32, "1.5").unwrap_err(), "invalid input syntax for type integer: \"1.5\"");
        let far = "value \"99999999999\" is out of range for type integer";
        assert_eq!(read(&Kind::Int32, "99999999999").unwrap_err(), far);
        assert_eq!(read(&Kind::Float64, "-Infinity"), Ok(Value::Float(f64::NEG_INFINITY)));
        assert_eq!(
            read(&Kind::Float64, "1e400").unwrap_err(),
            "\"1e400\" is out of range for type double precision"
        );
        assert_eq!(read(&Kind::Float32, "1e-60").unwrap_err(), "\"1e-60\" is out of range for type real");
        assert!(read(&Kind::Float64, "").is_err() && read(&Kind::Float64, "0x1").is_err());
        let money = Kind::Decimal(6, 2);
        for (text, digits) in [
            ("1.005", 101),
            ("-1.005", -101),
            ("1e2", 10_000),
            ("123e-3", 12),
            (".5", 50),
            ("5.", 500),
            ("0e99", 0),
        ] {
            assert_eq!(read(&money, text), Ok(Value::Decimal(digits)), "{text}");
        }
        assert_eq!(read(&money, "9999.995").unwrap_err(), "numeric field overflow");
        assert_eq!(read(&money, "NaN").unwrap_err(), "numeric field overflow");
        assert!(read(&money, "1,5").is_err());
    }

    #[test]
    fn other_values_are_read_like_in_postgresql() {
        for (text, value) in
            [("t", true), ("ON", true), ("1", true), ("fal", false), ("of", false), (" no ", false)]
        {
            assert_eq!(read(&Kind::Bool, text), Ok(Value::Bool(value)), "{text}");
        }
        assert!(read(&Kind::Bool, "o").is_err() && read(&Kind::Bool, "").is_err());
        let bytes = |bytes: &[u8]| Ok(Value::Bytes(Cow::Owned(bytes.to_vec())));
        assert_eq!(read(&Kind::Bytes, "\\x00fF"), bytes(&[0, 255]));
        assert_eq!(read(&Kind::Bytes, "a\\\\b\\001"), bytes(b"a\\b\x01"));
        assert_eq!(read(&Kind::Fixed(16), "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}").is_ok(), true);
        let list = Kind::List(Box::new(Kind::Int32));
        assert_eq!(
            read(&list, "{1, NULL ,3}"),
            Ok(Value::List(vec![Value::Int(1), Value::Null, Value::Int(3)]))
        );
        assert_eq!(read(&list, "{}"), Ok(Value::List(vec![])));
        assert_eq!(read(&list, "{1,}").unwrap_err(), "malformed array literal: \"{1,}\"");
        let texts = Kind::List(Box::new(Kind::Text));
        assert_eq!(
            items("{a,\"NULL\",\"b\\\"c\"}").unwrap(),
            [Some("a".into()), Some("NULL".into()), Some("b\"c".into())]
        );
        assert!(read(&texts, "{\"a").is_err());
    }
}
