//! Values in PostgreSQL's text form, as the stream sends them (ISO dates, UTC, hexadecimal bytes).

use std::str::FromStr;

use super::binary::{END_OF_DAY, NOT_A_DECIMAL, TOO_LATE};
use super::values::{DATE_MAX, DATE_MIN, TIMESTAMP_MAX, TIMESTAMP_MIN, Unmapped};

const UNREADABLE: &str = "the text is not a value of the column's type";
const DAY_US: i64 = 86_400_000_000;

fn unreadable(raw: &[u8]) -> Unmapped {
    Unmapped::text(raw, UNREADABLE)
}

/// `bool`: `t` or `f`.
pub fn boolean(raw: &[u8]) -> Result<bool, Unmapped> {
    match raw {
        b"t" => Ok(true),
        b"f" => Ok(false),
        _ => Err(unreadable(raw)),
    }
}

/// Integers and floating-point numbers.
pub fn number<T: FromStr>(raw: &[u8]) -> Result<T, Unmapped> {
    std::str::from_utf8(raw).ok().and_then(|text| text.parse().ok()).ok_or_else(|| unreadable(raw))
}

/// `numeric` as an integer of `scale` digits after the point.
pub fn decimal(raw: &[u8], precision: u8, scale: u8) -> Result<i128, Unmapped> {
    if matches!(raw, b"NaN" | b"Infinity" | b"-Infinity") {
        return Err(Unmapped::text(raw, NOT_A_DECIMAL));
    }
    let (negative, digits) = match raw.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, raw),
    };
    let mut value: i128 = 0;
    let mut after_point: Option<u8> = None;
    for byte in digits {
        match (byte, &mut after_point) {
            (b'.', None) => after_point = Some(0),
            (b'0'..=b'9', after) => {
                if let Some(count) = after {
                    *count = count.saturating_add(1);
                }
                let shifted =
                    value.checked_mul(10).and_then(|value| value.checked_add(i128::from(byte - b'0')));
                value = shifted.ok_or_else(|| unreadable(raw))?;
            }
            _ => return Err(unreadable(raw)),
        }
    }
    let missing = scale.checked_sub(after_point.unwrap_or(0)).ok_or_else(|| unreadable(raw))?;
    let factor = 10_i128.checked_pow(u32::from(missing));
    let value = factor.and_then(|factor| value.checked_mul(factor)).ok_or_else(|| unreadable(raw))?;
    if digits.is_empty() || value >= 10_i128.pow(u32::from(precision.min(38))) {
        return Err(unreadable(raw));
    }
    Ok(if negative { -value } else { value })
}

/// `bytea` in hexadecimal form.
pub fn bytes(raw: &[u8]) -> Result<Vec<u8>, Unmapped> {
    let digits = raw.strip_prefix(b"\\x").ok_or_else(|| unreadable(raw))?;
    hex::decode(digits).map_err(|_| unreadable(raw))
}

/// `uuid`.
pub fn uuid(raw: &[u8]) -> Result<[u8; 16], Unmapped> {
    uuid::Uuid::try_parse_ascii(raw).map(uuid::Uuid::into_bytes).map_err(|_| unreadable(raw))
}

/// `date` as days since 1970.
pub fn date(raw: &[u8]) -> Result<i32, Unmapped> {
    match raw {
        b"infinity" => return Ok(DATE_MAX),
        b"-infinity" => return Ok(DATE_MIN),
        _ => {}
    }
    let (text, before_christ) = strip_era(raw);
    let days = date_part(text, before_christ).ok_or_else(|| unreadable(raw))?;
    i32::try_from(days).map_err(|_| unreadable(raw))
}

/// `time` as microseconds of the day.
pub fn time(raw: &[u8]) -> Result<i64, Unmapped> {
    match time_part(raw) {
        Some((value, [])) if value < DAY_US => Ok(value),
        Some((DAY_US, [])) => Err(Unmapped::text(raw, END_OF_DAY)),
        _ => Err(unreadable(raw)),
    }
}

/// `timestamp` and `timestamptz` (in UTC) as microseconds since 1970.
pub fn timestamp(raw: &[u8]) -> Result<i64, Unmapped> {
    match raw {
        b"infinity" => return Ok(TIMESTAMP_MAX),
        b"-infinity" => return Ok(TIMESTAMP_MIN),
        _ => {}
    }
    let (text, before_christ) = strip_era(raw);
    let parts = || {
        let space = text.iter().position(|byte| *byte == b' ')?;
        let days = date_part(&text[..space], before_christ)?;
        let (micros, rest) = time_part(&text[space + 1..])?;
        // The session's time zone is UTC.
        matches!(rest, b"" | b"+00").then_some((days, micros))
    };
    let (days, micros) = parts().ok_or_else(|| unreadable(raw))?;
    let value = days.checked_mul(DAY_US).and_then(|start| start.checked_add(micros));
    value.ok_or_else(|| Unmapped::text(raw, TOO_LATE))
}

fn strip_era(raw: &[u8]) -> (&[u8], bool) {
    match raw.strip_suffix(b" BC") {
        Some(text) => (text, true),
        None => (raw, false),
    }
}

fn digits(raw: &[u8]) -> Option<i64> {
    if raw.is_empty() || raw.len() > 9 {
        return None;
    }
    raw.iter()
        .try_fold(0_i64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

/// `YYYY-MM-DD` with four or more digits of the year, as days since 1970.
fn date_part(raw: &[u8], before_christ: bool) -> Option<i64> {
    let (year, month_day) = raw.split_at_checked(raw.len().checked_sub(6)?)?;
    let [b'-', m1, m2, b'-', d1, d2] = month_day else { return None };
    let year = digits(year)?;
    let (month, day) = (digits(&[*m1, *m2])?, digits(&[*d1, *d2])?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // There is no year 0: 1 BC is the year before 1.
    Some(days_of(if before_christ { 1 - year } else { year }, month, day))
}

/// Days since 1970 in the proleptic Gregorian calendar (Howard Hinnant's `days_from_civil`).
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// `HH:MM:SS[.ffffff]` as microseconds, and what follows.
fn time_part(raw: &[u8]) -> Option<(i64, &[u8])> {
    let (clock, mut rest) = raw.split_at_checked(8)?;
    let [h1, h2, b':', m1, m2, b':', s1, s2] = clock else { return None };
    let (hours, minutes, seconds) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?, digits(&[*s1, *s2])?);
    if hours > 24 || minutes > 59 || seconds > 60 {
        return None;
    }
    let mut micros = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000;
    if let Some(after) = rest.strip_prefix(b".") {
        let length = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let missing = u32::try_from(6_usize.checked_sub(length)?).ok()?;
        micros += digits(&after[..length])? * 10_i64.pow(missing);
        rest = &after[length..];
    }
    Some((micros, rest))
}

/// The elements of a one-dimensional array in text form, such as `{1,NULL,"a b"}` or `[2:3]={1,2}`.
#[derive(Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    delimiter: u8,
    scratch: Vec<u8>,
}

impl<'a> Elements<'a> {
    /// Checks the shape of the whole array first. Errors: whether it has more than one dimension, or cannot be read.
    pub fn new(raw: &'a [u8], delimiter: u8) -> Result<Self, bool> {
        let braces = match raw.first() {
            Some(b'[') => {
                let equals = raw.iter().position(|byte| *byte == b'=').ok_or(false)?;
                &raw[equals + 1..]
            }
            _ => raw,
        };
        let rest = braces.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")).ok_or(false)?;
        if rest.first() == Some(&b'{') {
            return Err(true);
        }
        check_quotes(rest)?;
        Ok(Self { rest, delimiter, scratch: Vec::new() })
    }

    /// The next element: `Some(None)` for NULL, `None` at the end.
    #[expect(clippy::option_option, reason = "an element, a null element, no element")]
    pub fn next_element(&mut self) -> Option<Option<&[u8]>> {
        if self.rest.is_empty() {
            return None;
        }
        self.scratch.clear();
        let mut quoted = false;
        let mut inside = false;
        let mut at = 0;
        while at < self.rest.len() {
            let byte = self.rest[at];
            match byte {
                b'\\' => {
                    at += 1;
                    self.scratch.extend(self.rest.get(at));
                }
                b'"' => {
                    quoted = true;
                    inside = !inside;
                }
                _ if byte == self.delimiter && !inside => break,
                _ => self.scratch.push(byte),
            }
            at += 1;
        }
        self.rest = self.rest.get(at + 1..).unwrap_or_default();
        let is_null = !quoted && self.scratch.eq_ignore_ascii_case(b"null");
        Some((!is_null).then_some(&self.scratch))
    }
}

/// Every quote and escape must end within the array.
fn check_quotes(rest: &[u8]) -> Result<(), bool> {
    let mut inside = false;
    let mut bytes = rest.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next().ok_or(false)?;
            }
            b'"' => inside = !inside,
            _ => {}
        }
    }
    if inside { Err(false) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tarn_testkit::{for_each_seed, random_bytes};

    fn elements(raw: &str) -> Result<Vec<Option<String>>, bool> {
        let mut elements = Elements::new(raw.as_bytes(), b',')?;
        let mut found = Vec::new();
        while let Some(element) = elements.next_element() {
            found.push(element.map(|bytes| String::from_utf8(bytes.to_vec()).expect("ascii")));
        }
        Ok(found)
    }

    #[test]
    fn arrays_are_taken_apart_with_quotes_and_nulls() {
        let some = |text: &str| Some(text.to_string());
        assert_eq!(elements("{1,NULL,3}"), Ok(vec![some("1"), None, some("3")]));
        assert_eq!(
            elements(r#"{"a,b","NULL","q\"\\","",x}"#),
            Ok(vec![some("a,b"), some("NULL"), some("q\"\\"), some(""), some("x")])
        );
        assert_eq!(elements("[2:3]={7,8}"), Ok(vec![some("7"), some("8")]));
        assert_eq!(elements("{}"), Ok(vec![]));
        assert_eq!(elements("{{1},{2}}"), Err(true));
        assert_eq!(elements("{\"a}"), Err(false));
        assert_eq!(elements("1"), Err(false));
    }

    #[test]
    fn dates_before_christ_and_far_ahead_are_exact() {
        assert_eq!(date(b"1970-01-01"), Ok(0));
        assert_eq!(date(b"2000-02-29"), Ok(11_016));
        assert_eq!(date(b"0001-01-01"), Ok(DATE_MIN));
        assert_eq!(date(b"0001-12-31 BC"), Ok(DATE_MIN - 1));
        assert_eq!(date(b"9999-12-31"), Ok(DATE_MAX));
        assert_eq!(date(b"5874897-12-31"), Ok(2_145_042_905));
        assert!(date(b"2000-13-01").is_err());
        assert_eq!(timestamp(b"1969-12-31 23:59:59.5"), Ok(-500_000));
        assert_eq!(timestamp(b"2000-01-01 00:00:00+00"), Ok(946_684_800_000_000));
        assert_eq!(time(b"23:59:59.999999"), Ok(DAY_US - 1));
        assert!(time(b"24:00:00").is_err());
    }

    #[test]
    fn decimals_keep_every_digit() {
        assert_eq!(decimal(b"-0.05", 10, 2), Ok(-5));
        assert_eq!(decimal(b"99999999999999999999999999999999999999", 38, 0), Ok(10_i128.pow(38) - 1));
        assert_eq!(decimal(b"12", 10, 2), Ok(1_200));
        assert!(decimal(b"1.234", 10, 2).is_err());
        assert!(decimal(b"", 10, 2).is_err());
        assert!(decimal(b"NaN", 10, 2).is_err());
    }

    #[test]
    fn no_text_makes_a_parser_panic() {
        const LETTERS: &[u8] = b"-0123456789:. BCinfty+{}\\\",[]=NUL";
        for_each_seed(5_000, |random| {
            let raw: Vec<u8> =
                random_bytes(random, 40).iter().map(|byte| LETTERS[*byte as usize % LETTERS.len()]).collect();
            let _ = (boolean(&raw), number::<i64>(&raw), decimal(&raw, 38, 4), bytes(&raw), uuid(&raw));
            let _ = (date(&raw), time(&raw), timestamp(&raw));
            if let Ok(mut elements) = Elements::new(&raw, b',') {
                while elements.next_element().is_some() {}
            }
        });
    }
}
