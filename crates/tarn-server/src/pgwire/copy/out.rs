//! Rows as a client gets them from `COPY … TO STDOUT`.

use bytes::{BufMut, Bytes, BytesMut};
use pgwire::api::results::FieldInfo;
use pgwire::error::PgWireResult;
use pgwire::messages::data::DataRow;
use tarn_query::{ClientCopy, CopyFormat, CopyHeader};

use super::super::error::user_error;
use super::binary::{END, SIGNATURE};

/// Writes the rows of a result.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    copy: &'a ClientCopy,
    names: Vec<&'a str>,
    is_forced: Vec<bool>,
}

impl<'a> Writer<'a> {
    /// For rows of `columns`. Errors: an option names a column that is none of them.
    pub(super) fn new(copy: &'a ClientCopy, columns: &'a [FieldInfo]) -> PgWireResult<Self> {
        let names: Vec<&str> = columns.iter().map(FieldInfo::name).collect();
        if let tarn_query::CopyColumns::Named(forced) = &copy.force_quote
            && let Some(other) = forced.iter().find(|name| !names.contains(&name.as_str()))
        {
            let message = format!("FORCE_QUOTE column \"{other}\" not referenced by COPY");
            return Err(user_error("42P10", message));
        }
        let is_forced = names.iter().map(|name| copy.force_quote.contains(name)).collect();
        Ok(Self { copy, names, is_forced })
    }

    /// What stands before the first row.
    pub(super) fn head(&self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        match (self.copy.format, self.copy.header) {
            (CopyFormat::Binary, _) => {
                out.put_slice(SIGNATURE);
                out.put_i32(0);
                out.put_i32(0);
            }
            (_, CopyHeader::None) => return None,
            (format, _) => {
                for (at, name) in self.names.iter().enumerate() {
                    if at > 0 {
                        out.put_u8(self.copy.delimiter);
                    }
                    match format {
                        CopyFormat::Csv => self.csv(name.as_bytes(), false, &mut out),
                        _ => self.text(name.as_bytes(), &mut out),
                    }
                }
                out.put_u8(b'\n');
            }
        }
        Some(out.freeze())
    }

    /// What stands behind the last row.
    pub(super) fn tail(&self) -> Option<Bytes> {
        (self.copy.format == CopyFormat::Binary).then(|| Bytes::copy_from_slice(&END.to_be_bytes()))
    }

    /// A row.
    pub(super) fn row(&self, row: &DataRow) -> PgWireResult<Bytes> {
        let mut out = BytesMut::with_capacity(row.data.len() + 2);
        if self.copy.format == CopyFormat::Binary {
            out.put_i16(row.field_count);
            out.put_slice(&row.data);
            return Ok(out.freeze());
        }
        let broken = || user_error("XX000", "a row was not written as it should be");
        let mut rest: &[u8] = &row.data;
        for at in 0..usize::try_from(row.field_count).unwrap_or(0) {
            if at > 0 {
                out.put_u8(self.copy.delimiter);
            }
            let (length, more) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
            let length = i32::from_be_bytes(*length);
            let Ok(length) = usize::try_from(length) else {
                out.put_slice(self.copy.null.as_bytes());
                rest = more;
                continue;
            };
            let (value, more) = more.split_at_checked(length).ok_or_else(broken)?;
            rest = more;
            match self.copy.format {
                CopyFormat::Csv => {
                    self.csv(value, self.is_forced.get(at).copied().unwrap_or(false), &mut out)
                }
                _ => self.text(value, &mut out),
            }
        }
        out.put_u8(b'\n');
        Ok(out.freeze())
    }

    fn text(&self, value: &[u8], out: &mut BytesMut) {
        for byte in value.iter().copied() {
            let letter = match byte {
                b'\\' => b'\\',
                0x08 => b'b',
                0x0c => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x0b => b'v',
                other if other == self.copy.delimiter => other,
                other => {
                    out.put_u8(other);
                    continue;
                }
            };
            out.put_u8(b'\\');
            out.put_u8(letter);
        }
    }

    fn csv(&self, value: &[u8], is_forced: bool, out: &mut BytesMut) {
        let copy = self.copy;
        let needs =
            |byte: &u8| *byte == copy.delimiter || *byte == copy.quote || matches!(byte, b'\n' | b'\r');
        let is_marker = self.names.len() == 1 && value == b"\\.";
        if !is_forced && value != copy.null.as_bytes() && !is_marker && !value.iter().any(needs) {
            out.put_slice(value);
            return;
        }
        out.put_u8(copy.quote);
        for byte in value.iter().copied() {
            if byte == copy.quote || byte == copy.escape {
                out.put_u8(copy.escape);
            }
            out.put_u8(byte);
        }
        out.put_u8(copy.quote);
    }
}
