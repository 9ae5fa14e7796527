//! Decodes `COPY … TO STDOUT (FORMAT binary)` straight into Arrow.

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::layout::Layout;
use super::values::{Unmapped, Values};
use super::wire::{Fields, Malformed};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const ROWS_MAX: usize = 16_384;
const BYTES_MAX: usize = 4 << 20;

/// Rows of one COPY.
#[derive(Debug)]
pub struct CopiedRows {
    /// Columns of the layout, of one length.
    pub columns: Vec<ArrayRef>,
    /// Their length.
    pub rows: usize,
    /// Values that have no place in their column: row, column, why.
    pub unmapped: Vec<(usize, usize, Unmapped)>,
}

/// The rows of one COPY under construction.
#[derive(Debug)]
pub struct CopyDecoder {
    values: Vec<(Values, bool)>,
    started: bool,
    rows: usize,
    bytes: usize,
    unmapped: Vec<(usize, usize, Unmapped)>,
}

impl CopyDecoder {
    /// For a COPY of the layout's columns in their order.
    pub fn new(layout: &Arc<Layout>) -> Self {
        let values = layout.columns.iter();
        Self {
            values: values.map(|column| (Values::new(column.kind), column.kind.reads_text_form())).collect(),
            started: false,
            rows: 0,
            bytes: 0,
            unmapped: Vec::new(),
        }
    }

    /// Adds a message: a row, with the header before the first and the trailer after the last.
    pub fn push(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let mut fields = Fields::new(body);
        if !self.started {
            if fields.bytes(SIGNATURE.len())? != SIGNATURE {
                return Err(Malformed("is not the start of a binary COPY"));
            }
            fields.u32()?;
            let extension =
                usize::try_from(fields.i32()?).map_err(|_| Malformed("holds a negative length"))?;
            fields.bytes(extension)?;
            self.started = true;
        }
        while !fields.rest().is_empty() {
            let count = fields.i16()?;
            if count == -1 {
                return Ok(());
            }
            self.push_row(count, &mut fields)?;
        }
        self.bytes += body.len();
        Ok(())
    }

    fn push_row(&mut self, count: i16, fields: &mut Fields<'_>) -> Result<(), Malformed> {
        if usize::try_from(count) != Ok(self.values.len()) {
            return Err(Malformed("holds a row with another number of columns than its table"));
        }
        for (column, (values, reads_text)) in self.values.iter_mut().enumerate() {
            let length = fields.i32()?;
            let Ok(length) = usize::try_from(length) else {
                values.push_null();
                continue;
            };
            let raw = fields.bytes(length)?;
            let pushed = match (&mut *values, *reads_text) {
                // The text form of an array still has to be taken apart; a single text is the value itself.
                (list @ Values::List(_), true) => list.push_text(raw),
                (single, _) => single.push_binary(raw),
            };
            if let Err(unmapped) = pushed {
                self.unmapped.push((self.rows, column, unmapped));
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Whether it is time to take the rows.
    pub fn is_full(&self) -> bool {
        self.rows >= ROWS_MAX || self.bytes >= BYTES_MAX
    }

    /// Takes the rows, if there are any.
    pub fn take(&mut self) -> Option<CopiedRows> {
        if self.rows == 0 {
            return None;
        }
        self.bytes = 0;
        Some(CopiedRows {
            columns: self.values.iter_mut().map(|(values, _)| values.finish()).collect(),
            rows: std::mem::take(&mut self.rows),
            unmapped: std::mem::take(&mut self.unmapped),
        })
    }
}
