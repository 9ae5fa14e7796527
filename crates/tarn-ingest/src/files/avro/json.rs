//! Data of Avro as JSON: what no column can hold, and records that are no rows.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta};
use serde_json::{Map, Value, json};

use super::decode::{decimal, duration, micros_of_day};
use super::input::Input;
use super::schema::{Layout, Shape, Unit, Width};

/// Values within each other; each takes some of the stack.
const DEPTH_MAX: usize = 100;
/// Memory that an element takes, about.
const ELEMENT_BYTES: usize = 96;

/// A record, for people.
pub(super) fn record(layout: &Layout, input: &mut Input<'_>) -> Result<String, String> {
    let mut fields = Map::new();
    for (name, shape) in &layout.columns {
        fields.insert(name.clone(), value(shape, layout, input, 0)?);
    }
    Ok(Value::Object(fields).to_string())
}

fn float(number: f64) -> Value {
    if number.is_finite() { json!(number) } else { json!(number.to_string()) }
}

/// A number with its point, as text: JSON's own would lose digits.
fn pointed(value: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale == 0 { "" } else { "." };
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{whole}{point}{fraction}")
}

fn date(days: i32) -> Value {
    let day = NaiveDate::default().checked_add_signed(TimeDelta::days(i64::from(days)));
    day.map_or(json!(days), |day| json!(day.to_string()))
}

fn timestamp(value: i64, unit: Unit, utc: bool) -> Value {
    let moment = match unit {
        Unit::Millis => DateTime::from_timestamp_millis(value),
        Unit::Micros => DateTime::from_timestamp_micros(value),
        Unit::Nanos => Some(DateTime::from_timestamp_nanos(value)),
    };
    let text = moment.map(|moment| match utc {
        true => moment.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        false => moment.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
    });
    text.map_or(json!(value), Value::String)
}

fn time(micros: i64) -> Value {
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    let fraction = if rest == 0 { String::new() } else { format!(".{rest:06}") };
    json!(format!("{:02}:{:02}:{:02}{fraction}", seconds / 3_600, seconds / 60 % 60, seconds % 60))
}

/// A value. Errors: the data cannot be that, or stands too deep.
pub(super) fn value(
    shape: &Shape,
    layout: &Layout,
    input: &mut Input<'_>,
    depth: usize,
) -> Result<Value, String> {
    if depth > DEPTH_MAX {
        return Err(format!("values stand more than {DEPTH_MAX} deep within each other"));
    }
    let inner = |shape: &Shape, input: &mut Input<'_>| value(shape, layout, input, depth + 1);
    Ok(match shape {
        Shape::Null => Value::Null,
        Shape::Boolean => json!(input.boolean()?),
        Shape::Int => json!(input.int()?),
        Shape::Long => json!(input.long()?),
        Shape::Float => {
            let number = f32::from_le_bytes(input.array()?);
            // The digits that it is written with, not those that come in when it is widened.
            float(number.to_string().parse().unwrap_or(f64::from(number)))
        }
        Shape::Double => float(f64::from_le_bytes(input.array()?)),
        Shape::Bytes => json!(STANDARD.encode(input.bytes()?)),
        Shape::String => json!(String::from_utf8_lossy(input.bytes()?)),
        Shape::Fixed(size) => json!(STANDARD.encode(input.take(*size)?)),
        Shape::Enum(symbols) => json!(input.choice(symbols, "symbol")?),
        Shape::Decimal { width, precision, scale } => {
            let bytes = input.wide(*width)?;
            decimal(bytes, *precision)
                .map_or_else(|_| json!(STANDARD.encode(bytes)), |value| json!(pointed(value, *scale)))
        }
        Shape::Date => date(input.int()?),
        Shape::Time(unit) => micros_of_day(*unit, input)?.map_or(Value::Null, time),
        Shape::Timestamp { unit, utc } => timestamp(input.long()?, *unit, *utc),
        Shape::Uuid(Width::Counted) => json!(String::from_utf8_lossy(input.bytes()?)),
        Shape::Uuid(_) => json!(uuid::Uuid::from_bytes(input.array()?).to_string()),
        Shape::Duration => json!(duration(input)?),
        Shape::Record(fields) => {
            let mut object = Map::new();
            for (name, shape) in fields {
                object.insert(name.clone(), inner(shape, input)?);
            }
            Value::Object(object)
        }
        Shape::Array(items) => {
            let mut array = Vec::new();
            input.elements(ELEMENT_BYTES, |input| {
                array.push(inner(items, input)?);
                Ok(())
            })?;
            Value::Array(array)
        }
        Shape::Map(values) => {
            let mut object = Map::new();
            input.elements(ELEMENT_BYTES, |input| {
                let key = String::from_utf8_lossy(input.bytes()?).into_owned();
                object.insert(key, inner(values, input)?);
                Ok(())
            })?;
            Value::Object(object)
        }
        Shape::Union(branches) => inner(input.choice(branches, "branch")?, input)?,
        Shape::Named(name) => {
            let shape = layout.named.get(name).ok_or_else(|| format!("there is no type `{name}`"))?;
            inner(shape, input)?
        }
    })
}
