//! The binary form of `COPY`: a head, then for each row the number of fields and each field with its length.

use std::borrow::Cow;

use super::super::params::binary_numeric;
use super::fault::CopyFault;
use super::values::{Kind, Value, decimal, utf8};

/// The first bytes of a file.
pub(super) const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Stands in place of the number of fields behind the last row.
pub(super) const END: i16 = -1;
const ROW_BYTES_MAX: usize = 64 << 20;
const MICROS_1970_TO_2000: i64 = 946_684_800_000_000;
const DAYS_1970_TO_2000: i64 = 10_957;

/// What has come and is no whole row yet.
#[derive(Debug, Default)]
pub(super) struct Tuples {
    bytes: Vec<u8>,
    at: usize,
    has_head: bool,
    is_over: bool,
    /// Of the row that is read, from 1.
    pub number: u64,
}

/// The next row, or why there is none.
pub(super) enum Tuple {
    /// Where each of its fields lies, `None` for a null.
    Row(Vec<Option<(usize, usize)>>),
    More,
    Over,
}

impl Tuples {
    /// More comes. Errors: a row is too long to be held, data behind the end.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), CopyFault> {
        if self.is_over {
            let message = "received copy data after EOF marker";
            return Err(CopyFault::new("22P04", message).at_line());
        }
        self.bytes.drain(..self.at);
        self.at = 0;
        if self.bytes.len() > ROW_BYTES_MAX {
            return Err(
                CopyFault::new("54000", format!("a row is longer than {} MB", ROW_BYTES_MAX >> 20)).at_line()
            );
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn bytes(&self, (start, end): (usize, usize)) -> &[u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The next whole row of `count` fields. Errors: the data is not in this form.
    pub(super) fn next(&mut self, count: usize, is_end: bool) -> Result<Tuple, CopyFault> {
        let found = if self.is_over { Tuple::Over } else { self.read(count)? };
        match found {
            Tuple::More if is_end => Err(self.cut_off()),
            Tuple::Over if is_end && self.at < self.bytes.len() => {
                Err(CopyFault::new("22P04", "received copy data after EOF marker").at_line())
            }
            found => Ok(found),
        }
    }

    fn int(&self, at: usize) -> Option<i32> {
        let bytes = self.bytes.get(at..at + 4)?;
        bytes.try_into().ok().map(i32::from_be_bytes)
    }

    fn read(&mut self, count: usize) -> Result<Tuple, CopyFault> {
        if !self.has_head && !self.head()? {
            return Ok(Tuple::More);
        }
        let Some(Ok(fields)) = self.bytes.get(self.at..self.at + 2).map(<[u8; 2]>::try_from) else {
            return Ok(Tuple::More);
        };
        let fields = i16::from_be_bytes(fields);
        if fields == END {
            self.at += 2;
            self.is_over = true;
            return Ok(Tuple::Over);
        }
        if usize::try_from(fields) != Ok(count) {
            self.number += 1;
            let message = format!("row field count is {fields}, expected {count}");
            return Err(CopyFault::new("22P04", message).at_line());
        }
        let mut at = self.at + 2;
        let mut row = Vec::with_capacity(count);
        for _ in 0..count {
            let Some(length) = self.int(at) else { return Ok(Tuple::More) };
            at += 4;
            if length == -1 {
                row.push(None);
                continue;
            }
            let Ok(length) = usize::try_from(length) else {
                self.number += 1;
                return Err(CopyFault::new("22P04", "invalid field size").at_line());
            };
            if length > ROW_BYTES_MAX {
                self.number += 1;
                return Err(CopyFault::new(
                    "54000",
                    format!("a field is longer than {} MB", ROW_BYTES_MAX >> 20),
                )
                .at_line());
            }
            if self.bytes.len() < at + length {
                return Ok(Tuple::More);
            }
            row.push(Some((at, at + length)));
            at += length;
        }
        self.at = at;
        self.number += 1;
        Ok(Tuple::Row(row))
    }

    fn head(&mut self) -> Result<bool, CopyFault> {
        let seen = self.bytes.get(..SIGNATURE.len().min(self.bytes.len())).unwrap_or_default();
        let wrong = |message: &str| CopyFault::new("22P04", message).nowhere();
        if !SIGNATURE.starts_with(seen) {
            return Err(wrong("COPY file signature not recognized"));
        }
        let (Some(flags), Some(length)) = (self.int(SIGNATURE.len()), self.int(SIGNATURE.len() + 4)) else {
            return Ok(false);
        };
        if flags & (1 << 16) != 0 {
            return Err(wrong("invalid COPY file header (WITH OIDS)"));
        }
        let length = usize::try_from(length).ok().filter(|length| *length <= ROW_BYTES_MAX);
        let end =
            SIGNATURE.len() + 8 + length.ok_or_else(|| wrong("invalid COPY file header (wrong length)"))?;
        self.has_head = self.bytes.len() >= end;
        if self.has_head {
            self.at = end;
        }
        Ok(self.has_head)
    }

    /// The data ends within a row or the head.
    fn cut_off(&self) -> CopyFault {
        let message = match self.bytes.len() {
            _ if self.has_head => return CopyFault::new("22P04", "unexpected EOF in COPY data").at_line(),
            length if length < SIGNATURE.len() => "COPY file signature not recognized",
            length if length < SIGNATURE.len() + 4 => "invalid COPY file header (missing flags)",
            length if length < SIGNATURE.len() + 8 => "invalid COPY file header (missing length)",
            _ => "invalid COPY file header (wrong length)",
        };
        CopyFault::new("22P04", message).nowhere()
    }
}

/// The value of a field in binary form. Errors: it is not of the column's type.
pub(super) fn value<'a>(kind: &Kind, bytes: &'a [u8]) -> Result<Value<'a>, CopyFault> {
    let wrong = || CopyFault::value("22P03", "incorrect binary data format");
    let least = match kind {
        Kind::Bool => 1,
        Kind::Int32 | Kind::Float32 | Kind::Date => 4,
        Kind::Int64 | Kind::Float64 | Kind::Time | Kind::Timestamp { .. } | Kind::Decimal(..) => 8,
        Kind::Fixed(size) => usize::try_from(*size).unwrap_or_default(),
        Kind::List(_) => 12,
        Kind::Text | Kind::Bytes => 0,
    };
    if bytes.len() < least {
        return Err(CopyFault::value("08P01", "insufficient data left in message"));
    }
    let small = || <[u8; 4]>::try_from(bytes).map(i32::from_be_bytes).map(i64::from).map_err(|_| wrong());
    let large = || <[u8; 8]>::try_from(bytes).map(i64::from_be_bytes).map_err(|_| wrong());
    let far = || CopyFault::value("22008", format!("{} out of range", kind.name()));
    Ok(match kind {
        Kind::Bool => match bytes {
            [byte] => Value::Bool(*byte != 0),
            _ => return Err(wrong()),
        },
        Kind::Int32 => Value::Int(small()?),
        Kind::Int64 => Value::Int(large()?),
        Kind::Float32 => {
            let bytes = <[u8; 4]>::try_from(bytes).map_err(|_| wrong())?;
            Value::Float(f64::from(f32::from_be_bytes(bytes)))
        }
        Kind::Float64 => Value::Float(f64::from_be_bytes(bytes.try_into().map_err(|_| wrong())?)),
        Kind::Decimal(precision, scale) => {
            let text = binary_numeric(bytes).ok_or_else(wrong)?;
            return kind.fitting(decimal(&text, *scale).ok_or_else(wrong)?, *precision, *scale);
        }
        Kind::Date => Value::Int(small()? + DAYS_1970_TO_2000),
        Kind::Time => Value::Int(large()?),
        Kind::Timestamp { is_nanos, .. } => {
            let micros = large()?.checked_add(MICROS_1970_TO_2000).ok_or_else(far)?;
            Value::Int(if *is_nanos { micros.checked_mul(1_000).ok_or_else(far)? } else { micros })
        }
        Kind::Text => {
            utf8(bytes)?;
            Value::Bytes(Cow::Borrowed(bytes))
        }
        Kind::Bytes => Value::Bytes(Cow::Borrowed(bytes)),
        Kind::Fixed(size) if usize::try_from(*size) == Ok(bytes.len()) => Value::Bytes(Cow::Borrowed(bytes)),
        Kind::Fixed(_) => return Err(wrong()),
        Kind::List(item) => Value::List(items(item, bytes)?),
    })
}

/// Dimensions, a flag, the type of the items, then per dimension its length and its first number, then the items.
fn items<'a>(item: &Kind, bytes: &'a [u8]) -> Result<Vec<Value<'a>>, CopyFault> {
    let wrong = || CopyFault::value("22P03", "incorrect binary data format");
    let int = |at: usize| {
        let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(i32::from_be_bytes).ok_or_else(wrong)
    };
    let count = match int(0)? {
        0 => return Ok(Vec::new()),
        1 => int(12)?,
        _ => return Err(CopyFault::value("0A000", "columns hold lists of one dimension")),
    };
    let mut at = 20;
    let mut values = Vec::new();
    for _ in 0..count.max(0) {
        let length = int(at)?;
        at += 4;
        if length == -1 {
            values.push(Value::Null);
            continue;
        }
        let length = usize::try_from(length).map_err(|_| wrong())?;
        values.push(value(item, bytes.get(at..at + length).ok_or_else(wrong)?)?);
        at += length;
    }
    match at == bytes.len() {
        true => Ok(values),
        false => Err(wrong()),
    }
}
