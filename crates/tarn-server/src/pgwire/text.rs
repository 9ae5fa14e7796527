//! Numbers and times as PostgreSQL writes them: the library writes all six digits of a fraction and leaves the form of
//! floating-point numbers to Rust.

use std::error::Error;
use std::fmt::{LowerExp, Write};
use std::str::FromStr;

use bytes::{BufMut, BytesMut};
use chrono::{DateTime, FixedOffset};
use datafusion_postgres::arrow_pg::encoder::Encoder;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo};
use pgwire::error::PgWireResult;
use pgwire::messages::data::DataRow;
use pgwire::types::ToSqlText;
use pgwire::types::format::FormatOptions;
use postgres_types::{IsNull, Kind, ToSql, Type, to_sql_checked};

/// Digits of the fraction of a second.
const FRACTION_DIGITS: usize = 6;
/// Numbers from ten to this power on have an exponent, as `printf("%.15g")` and `printf("%.6g")` write them.
const DOUBLE_POWER_MAX: i32 = 15;
const REAL_POWER_MAX: i32 = 6;

/// Writes rows with the texts of PostgreSQL.
pub(super) struct TextEncoder<'a> {
    rows: &'a mut DataRowEncoder,
    written: BytesMut,
}

impl<'a> TextEncoder<'a> {
    pub(super) fn new(rows: &'a mut DataRowEncoder) -> Self {
        Self { rows, written: BytesMut::new() }
    }
}

impl Encoder for TextEncoder<'_> {
    type Item = DataRow;

    fn encode_field<T>(&mut self, value: &T, field: &FieldInfo) -> PgWireResult<()>
    where
        T: ToSql + ToSqlText + Sized,
    {
        let (data_type, format, options) = (field.datatype(), field.format(), field.format_options());
        let restyle = restyle_of(data_type).filter(|_| format == FieldFormat::Text);
        let Some(restyle) = restyle else {
            return self.rows.encode_field_with_type_and_format(value, data_type, format, options);
        };
        self.written.clear();
        let text = match value.to_sql_text(data_type, &mut self.written, options)? {
            IsNull::Yes => None,
            IsNull::No => Some(Text(restyle(&String::from_utf8_lossy(&self.written)))),
        };
        self.rows.encode_field_with_type_and_format(&text, data_type, format, options)
    }

    fn take_row(&mut self) -> DataRow {
        self.rows.take_row()
    }
}

/// An instant at the offset of its time zone, of which the library writes the hours alone.
#[derive(Debug)]
pub(super) struct Moment(pub DateTime<FixedOffset>);

impl ToSqlText for Moment {
    fn to_sql_text(
        &self,
        data_type: &Type,
        out: &mut BytesMut,
        options: &FormatOptions,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.0.to_sql_text(data_type, out, options)?;
        let seconds = self.0.offset().local_minus_utc().unsigned_abs() % 3_600;
        // The other styles name the whole offset.
        if seconds != 0 && options.date_style.starts_with("ISO") {
            write!(out, ":{:02}", seconds / 60)?;
            if !seconds.is_multiple_of(60) {
                write!(out, ":{:02}", seconds % 60)?;
            }
        }
        Ok(IsNull::No)
    }
}

impl ToSql for Moment {
    fn to_sql(&self, data_type: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.0.to_sql(data_type, out)
    }

    fn accepts(data_type: &Type) -> bool {
        <DateTime<FixedOffset> as ToSql>::accepts(data_type)
    }

    to_sql_checked!();
}

/// A value that is text already.
#[derive(Debug)]
struct Text(String);

impl ToSqlText for Text {
    fn to_sql_text(
        &self,
        _: &Type,
        out: &mut BytesMut,
        _: &FormatOptions,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

impl ToSql for Text {
    fn to_sql(&self, _: &Type, _: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        Err("a text has no binary form".into())
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// How the library's text of a type is rewritten; `None`: it is right.
fn restyle_of(data_type: &Type) -> Option<fn(&str) -> String> {
    let element = match data_type.kind() {
        Kind::Array(element) => element,
        _ => data_type,
    };
    match *element {
        Type::FLOAT4 => Some(|text| numbers(text, REAL_POWER_MAX, number::<f32>)),
        Type::FLOAT8 => Some(|text| numbers(text, DOUBLE_POWER_MAX, number::<f64>)),
        Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => Some(short_fractions),
        _ => None,
    }
}

/// Rewrites each number of a text such as `1.5` or `{1.5,NULL,{inf}}`.
fn numbers(text: &str, power_max: i32, number: fn(&str, i32) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(['{', '}', ',']) {
        let end = piece.trim_end_matches(['{', '}', ',']).len();
        let (word, rest) = piece.split_at(end);
        match number(word, power_max) {
            Some(number) => out.push_str(&number),
            None => out.push_str(word),
        }
        out.push_str(rest);
    }
    out
}

fn number<F: FromStr + LowerExp>(text: &str, power_max: i32) -> Option<String> {
    match text {
        "inf" => return Some("Infinity".to_string()),
        "-inf" => return Some("-Infinity".to_string()),
        "" | "NaN" | "NULL" => return None,
        _ => {}
    }
    // The fewest digits that are read back as the same number.
    let shortest = format!("{:e}", text.parse::<F>().ok()?);
    let (mantissa, power) = shortest.split_once('e')?;
    let power: i32 = power.parse().ok()?;
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    if power < -4 || power >= power_max {
        let power_sign = if power < 0 { '-' } else { '+' };
        return Some(format!("{sign}{mantissa}e{power_sign}{:02}", power.unsigned_abs()));
    }
    let digits = mantissa.replace('.', "");
    let shift = usize::try_from(power.unsigned_abs()).ok()?;
    if power < 0 {
        return Some(format!("{sign}0.{}{digits}", "0".repeat(shift - 1)));
    }
    if digits.len() <= shift + 1 {
        return Some(format!("{sign}{digits}{}", "0".repeat(shift + 1 - digits.len())));
    }
    let (whole, fraction) = digits.split_at(shift + 1);
    Some(format!("{sign}{whole}.{fraction}"))
}

/// Cuts zeros off the end of fractions of seconds, which are the six digits after `:59.`.
fn short_fractions(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(point) = rest.find('.') {
        let (before, after) = rest.split_at(point);
        out.push_str(before);
        let fraction =
            after.get(1..=FRACTION_DIGITS).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let of_seconds = before.len() >= 3 && before.as_bytes()[before.len() - 3] == b':';
        match fraction.filter(|_| of_seconds) {
            Some(fraction) => {
                let kept = fraction.trim_end_matches('0');
                if !kept.is_empty() {
                    out.push('.');
                    out.push_str(kept);
                }
                rest = &after[1 + FRACTION_DIGITS..];
            }
            None => {
                out.push('.');
                rest = &after[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PostgreSQL 15 answers to `SELECT '…'::float8` and `::float4`.
    #[test]
    fn floating_point_numbers_are_written_like_postgresql() {
        let double = |text: &str| numbers(text, DOUBLE_POWER_MAX, number::<f64>);
        for (ours, theirs) in [
            ("0.0", "0"),
            ("-0.0", "-0"),
            ("1.0", "1"),
            ("1.5", "1.5"),
            ("-0.1", "-0.1"),
            ("0.0001", "0.0001"),
            ("1e-5", "1e-05"),
            ("1.5e-7", "1.5e-07"),
            ("123456789012345.0", "123456789012345"),
            ("123456789012345.6", "123456789012345.6"),
            ("1e15", "1e+15"),
            ("1234567890123456.0", "1.234567890123456e+15"),
            ("1e300", "1e+300"),
            ("inf", "Infinity"),
            ("-inf", "-Infinity"),
            ("NaN", "NaN"),
            ("{1.0,NULL,inf}", "{1,NULL,Infinity}"),
            ("{{1e20,2.50},{NaN,-1.0}}", "{{1e+20,2.5},{NaN,-1}}"),
            ("{}", "{}"),
        ] {
            assert_eq!(double(ours), theirs, "{ours}");
        }
        let real = |text: &str| numbers(text, REAL_POWER_MAX, number::<f32>);
        for (ours, theirs) in
            [("0.1", "0.1"), ("123456.0", "123456"), ("1000000.0", "1e+06"), ("16777216.0", "1.6777216e+07")]
        {
            assert_eq!(real(ours), theirs, "{ours}");
        }
    }

    #[test]
    fn fractions_of_seconds_end_with_their_last_digit() {
        for (ours, theirs) in [
            ("01:02:03.000000", "01:02:03"),
            ("01:02:03.500000", "01:02:03.5"),
            ("2024-02-29 01:02:03.123456", "2024-02-29 01:02:03.123456"),
            ("2024-02-29 01:02:03.120000+05:30", "2024-02-29 01:02:03.12+05:30"),
            ("29.02.2024 01:02:03.000000", "29.02.2024 01:02:03"),
            ("Thu Feb 29 01:02:03.000000 2024", "Thu Feb 29 01:02:03 2024"),
            (
                "{\"2024-02-29 01:02:03.000000\",\"2024-02-29 01:02:03.100000\",NULL}",
                "{\"2024-02-29 01:02:03\",\"2024-02-29 01:02:03.1\",NULL}",
            ),
        ] {
            assert_eq!(short_fractions(ours), theirs);
        }
    }
}
