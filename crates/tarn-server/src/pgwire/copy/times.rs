//! Dates and times, year first, as PostgreSQL reads and writes them.

use arrow::array::timezone::Tz;
use chrono::{NaiveDate, Offset, TimeZone};

/// Why a text is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Syntax,
    /// Such as the 13th month.
    Range,
}

const DAY_MICROS: i64 = 86_400_000_000;
const UNIX_EPOCH_DAYS: i64 = 719_163;

/// Days since 1970 of a date; a time behind it is not looked at.
pub(super) fn date(text: &str) -> Result<i64, Wrong> {
    let (date, rest) = split_date(text)?;
    if !rest.is_empty() {
        time_and_zone(rest)?;
    }
    Ok(date)
}

/// Microseconds since midnight.
pub(super) fn time(text: &str) -> Result<i64, Wrong> {
    let (micros, zone) = time_and_zone(text)?;
    match zone.is_empty() {
        true => Ok(micros),
        false => Err(Wrong::Syntax),
    }
}

/// Microseconds since 1970. `zone`: where the column has one, that of times which name none.
pub(super) fn timestamp(text: &str, zone: Option<Tz>) -> Result<i64, Wrong> {
    let (days, rest) = split_date(text)?;
    let (micros, named) = if rest.is_empty() { (0, "") } else { time_and_zone(rest)? };
    let local = days.checked_mul(DAY_MICROS).and_then(|day| day.checked_add(micros)).ok_or(Wrong::Range)?;
    let Some(zone) = zone else {
        // A zone behind a time that has none is not looked at, but it must be one.
        if !named.is_empty() {
            offset_of(named, local)?;
        }
        return Ok(local);
    };
    let offset = if named.is_empty() { offset_in(zone, local)? } else { offset_of(named, local)? };
    Ok(local - i64::from(offset) * 1_000_000)
}

fn number(text: &str) -> Result<u32, Wrong> {
    match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().map_err(|_| Wrong::Range),
        false => Err(Wrong::Syntax),
    }
}

/// Days since 1970, and what stands behind the date.
fn split_date(text: &str) -> Result<(i64, &str), Wrong> {
    let end = text.find(|c: char| c == 'T' || c == 't' || c.is_ascii_whitespace()).unwrap_or(text.len());
    let (date, rest) = text.split_at(end);
    let mut rest = rest.trim_start_matches(['T', 't']).trim_start();
    let separator = date.find(['-', '/', '.']).and_then(|at| date.get(at..=at));
    let (year, month, day) = match separator {
        Some(separator) => {
            let mut parts = date.split(separator);
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(year), Some(month), Some(day), None) => (year, month, day),
                _ => return Err(Wrong::Syntax),
            }
        }
        None => match (date.get(..4), date.get(4..6), date.get(6..8)) {
            (Some(year), Some(month), Some(day)) if date.len() == 8 => (year, month, day),
            _ => return Err(Wrong::Syntax),
        },
    };
    if year.len() < 4 || month.len() > 2 || day.len() > 2 {
        return Err(Wrong::Syntax);
    }
    let (year, month, day) = (number(year)?, number(month)?, number(day)?);
    let mut year = i32::try_from(year).map_err(|_| Wrong::Range)?;
    if year == 0 {
        return Err(Wrong::Range);
    }
    if let Some(before) = rest.strip_suffix("BC") {
        rest = before.trim_end();
        year = 1 - year;
    }
    let date = NaiveDate::from_ymd_opt(year, month, day).ok_or(Wrong::Range)?;
    Ok((i64::from(chrono::Datelike::num_days_from_ce(&date)) - UNIX_EPOCH_DAYS, rest))
}

/// Microseconds since midnight, and the zone behind them.
fn time_and_zone(text: &str) -> Result<(i64, &str), Wrong> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.'))).unwrap_or(text.len());
    let (time, zone) = text.split_at(end);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = clock.split(':');
    let (hours, minutes) = (parts.next().unwrap_or_default(), parts.next().ok_or(Wrong::Syntax)?);
    let (seconds, more) = (parts.next(), parts.next());
    if more.is_some() || (seconds.is_none() && time.contains('.')) {
        return Err(Wrong::Syntax);
    }
    let (hours, minutes, seconds) = (number(hours)?, number(minutes)?, number(seconds.unwrap_or("0"))?);
    if hours > 24 || minutes > 59 || seconds > 60 {
        return Err(Wrong::Range);
    }
    let micros = fraction_micros(fraction)?;
    let whole = i64::from(hours) * 3_600 + i64::from(minutes) * 60 + i64::from(seconds);
    let total = whole * 1_000_000 + micros;
    match total > DAY_MICROS {
        true => Err(Wrong::Range),
        false => Ok((total, zone.trim())),
    }
}

/// Microseconds of the digits behind the point, rounded.
fn fraction_micros(fraction: &str) -> Result<i64, Wrong> {
    if fraction.is_empty() {
        return Ok(0);
    }
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Wrong::Syntax);
    }
    let digit = |at: usize| fraction.as_bytes().get(at).map_or(0, |byte| i64::from(byte - b'0'));
    let micros = (0..6).fold(0, |sum, at| sum * 10 + digit(at));
    Ok(micros + i64::from(digit(6) >= 5))
}

/// Seconds east of Greenwich of `+08`, `+08:00`, `-0330`, `Z` or `Asia/Shanghai`.
fn offset_of(zone: &str, local: i64) -> Result<i32, Wrong> {
    if matches!(zone.to_ascii_lowercase().as_str(), "z" | "utc" | "gmt" | "zulu") {
        return Ok(0);
    }
    let Some(digits) = zone.strip_prefix(['+', '-']) else {
        return offset_in(zone.parse().map_err(|_| Wrong::Syntax)?, local);
    };
    let parts: Vec<&str> = match digits.contains(':') {
        true => digits.split(':').collect(),
        false if digits.len() <= 2 => vec![digits],
        false => vec![
            digits.get(..digits.len() - 2).unwrap_or_default(),
            digits.get(digits.len() - 2..).unwrap_or_default(),
        ],
    };
    if parts.len() > 3 {
        return Err(Wrong::Syntax);
    }
    let part = |at: usize| parts.get(at).map_or(Ok(0), |text| number(text));
    let (hours, minutes, seconds) = (part(0)?, part(1)?, part(2)?);
    if hours > 15 || minutes > 59 || seconds > 59 {
        return Err(Wrong::Range);
    }
    let offset = i32::try_from(hours * 3_600 + minutes * 60 + seconds).map_err(|_| Wrong::Range)?;
    Ok(if zone.starts_with('-') { -offset } else { offset })
}

/// The offset of a zone at a local time: of an hour that comes twice the second one, and of one that is skipped that
/// of before, as in PostgreSQL.
fn offset_in(zone: Tz, local: i64) -> Result<i32, Wrong> {
    let at = |micros: i64| {
        chrono::DateTime::from_timestamp_micros(micros).map(|at| at.naive_utc()).ok_or(Wrong::Range)
    };
    let found = zone.offset_from_local_datetime(&at(local)?);
    let offset = match found.latest() {
        Some(offset) => offset,
        None => zone.offset_from_utc_datetime(&at(local - DAY_MICROS / 2)?),
    };
    Ok(offset.fix().local_minus_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str, zone: &str) -> Result<i64, Wrong> {
        timestamp(text, Some(zone.parse().unwrap()))
    }

    #[test]
    fn times_are_read_as_postgresql_writes_them() {
        let noon = 1_772_539_200_000_000;
        for text in [
            "2026-03-03 12:00:00+00",
            "2026-03-03T12:00:00Z",
            "2026-03-03 20:00+08",
            "20260303 12:00:00 UTC",
            "2026-03-03 20:00:00 Asia/Shanghai",
            "2026/3/3 08:30:00-0330",
            "2026-03-03 12:00:00",
        ] {
            assert_eq!(micros(text, "UTC"), Ok(noon), "{text}");
        }
        assert_eq!(micros("2026-03-03 20:00:00", "Asia/Shanghai"), Ok(noon));
        assert_eq!(timestamp("2026-03-03 12:00:00.1234567+05", None), Ok(noon + 123_457));
        assert_eq!(date("1970-01-02"), Ok(1));
        assert_eq!(date("0001-01-01 BC"), Ok(-719_528));
        assert_eq!(time("24:00"), Ok(DAY_MICROS));
    }

    #[test]
    fn what_is_no_time_is_told_from_one_that_does_not_exist() {
        for text in ["", "x", "2026-03", "2026-03-03 12", "2026-03-03 12:00 Nowhere/At", "1/2/2026"] {
            assert_eq!(micros(text, "UTC"), Err(Wrong::Syntax), "{text}");
        }
        for text in ["2026-13-03", "2026-02-30", "2026-03-03 25:00", "2026-03-03 12:61", "0000-01-01"] {
            assert_eq!(micros(text, "UTC"), Err(Wrong::Range), "{text}");
        }
    }
}
