//! Collects rows into columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int32Builder, Int64Builder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::error::ArrowError;

use super::cell::Cell;
use super::column_type::{ColumnConfig, ColumnType};

enum ColumnBuilder {
    Boolean(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder, u8, u8),
    Text(StringBuilder),
    Date(Date32Builder),
    Micros(TimestampMicrosecondBuilder, bool),
}

impl ColumnBuilder {
    fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::Int32 => Self::Int32(Int32Builder::new()),
            ColumnType::Int64 => Self::Int64(Int64Builder::new()),
            ColumnType::Float64 => Self::Float64(Float64Builder::new()),
            ColumnType::Decimal { precision, scale } => {
                Self::Decimal(Decimal128Builder::new(), precision, scale)
            }
            ColumnType::String | ColumnType::Json => Self::Text(StringBuilder::new()),
            ColumnType::Date => Self::Date(Date32Builder::new()),
            ColumnType::Timestamp => Self::Micros(TimestampMicrosecondBuilder::new(), false),
            ColumnType::Timestamptz => Self::Micros(TimestampMicrosecondBuilder::new(), true),
        }
    }

    /// A cell of another type reads as null; the caller made the cell for this column's type.
    fn append(&mut self, cell: &Cell<'_>) {
        match (self, cell) {
            (Self::Boolean(builder), Cell::Boolean(value)) => builder.append_value(*value),
            (Self::Boolean(builder), _) => builder.append_null(),
            (Self::Int32(builder), Cell::Int(value)) => builder.append_option(i32::try_from(*value).ok()),
            (Self::Int32(builder), _) => builder.append_null(),
            (Self::Int64(builder), Cell::Int(value)) => builder.append_value(*value),
            (Self::Int64(builder), _) => builder.append_null(),
            (Self::Float64(builder), Cell::Float(value)) => builder.append_value(*value),
            (Self::Float64(builder), _) => builder.append_null(),
            (Self::Decimal(builder, ..), Cell::Decimal(value)) => builder.append_value(*value),
            (Self::Decimal(builder, ..), _) => builder.append_null(),
            (Self::Text(builder), Cell::Text(value)) => builder.append_value(value),
            (Self::Text(builder), _) => builder.append_null(),
            (Self::Date(builder), Cell::Date(value)) => builder.append_value(*value),
            (Self::Date(builder), _) => builder.append_null(),
            (Self::Micros(builder, _), Cell::Micros(value)) => builder.append_value(*value),
            (Self::Micros(builder, _), _) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Int32(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::Float64(builder) => Arc::new(builder.finish()),
            // The scale is at most 38, so it fits.
            Self::Decimal(builder, precision, scale) => {
                Arc::new(builder.finish().with_precision_and_scale(*precision, *scale as i8)?)
            }
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Micros(builder, true) => Arc::new(builder.finish().with_timezone("UTC")),
            Self::Micros(builder, false) => Arc::new(builder.finish()),
        })
    }
}

/// Rows under construction. A row is appended whole or not at all.
pub(crate) struct RowBuilder {
    columns: Vec<ColumnBuilder>,
    rows: usize,
    bytes: usize,
}

impl RowBuilder {
    pub(crate) fn new(columns: &[ColumnConfig]) -> Self {
        let columns = columns.iter().map(|column| ColumnBuilder::new(column.column_type)).collect();
        Self { columns, rows: 0, bytes: 0 }
    }

    /// `cells`: one per column, made for that column's type.
    pub(crate) fn append(&mut self, cells: &[Cell<'_>]) {
        debug_assert_eq!(cells.len(), self.columns.len(), "one cell per column");
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            self.bytes += if let Cell::Text(text) = cell { text.len() + 4 } else { 8 };
            column.append(cell);
        }
        self.rows += 1;
    }

    /// Rows since the last `finish`.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// About the bytes of these rows.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The columns; empty afterwards.
    pub(crate) fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.rows = 0;
        self.bytes = 0;
        self.columns.iter_mut().map(ColumnBuilder::finish).collect()
    }
}
