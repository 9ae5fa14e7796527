//! Z-order: the bits of several columns interleaved, so that each prefix of a key narrows all of them.
//!
//! Bits of raw values would let the column with the widest range decide alone, and long common prefixes of text would
//! decide nothing. So a value counts by its rank among a sample of its column: each bit halves the rows, whatever the
//! distribution (Databricks, "Processing Petabytes of Data in Seconds with Databricks Delta", 2018, does so by ranges).

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Schema, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::key::position;
use crate::error::LakehouseError;

/// Ranks have so many bits.
const RANK_BITS: u32 = 16;
/// Values of a column in the sample, at most.
const SAMPLE_MAX: usize = 64 * 1024;
/// Columns that a curve may have; beyond a few it tells none of them apart.
const COLUMNS_MAX: usize = 8;

/// A number that compares as the value does; null is the smallest.
type Ordinal = u128;

/// Values of each column of the curve, to rank others by.
#[derive(Debug)]
pub(crate) struct Sampler {
    table: String,
    columns: Vec<usize>,
    samples: Vec<Vec<Ordinal>>,
    /// Of so many rows one is taken.
    stride: usize,
    seen: usize,
}

/// Ranks and interleaves.
#[derive(Debug)]
pub(crate) struct Curve {
    columns: Vec<usize>,
    /// By column, the largest value of each rank, ascending.
    bounds: Vec<Vec<Ordinal>>,
}

impl Sampler {
    /// Over these columns of a schema. Errors: none or too many of them, one that is not there or has no order.
    pub(crate) fn new(table: &str, schema: &Schema, names: &[String]) -> Result<Self, LakehouseError> {
        let refuse = |what: String| LakehouseError::Invalid {
            what: format!("table `{table}` cannot be z-ordered: {what}"),
        };
        if names.is_empty() || names.len() > COLUMNS_MAX {
            return Err(refuse(format!("name 1 to {COLUMNS_MAX} columns")));
        }
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let at = position(table, schema, name)?;
            if columns.contains(&at) {
                return Err(refuse(format!("`{name}` is named twice")));
            }
            if !is_orderable(schema.field(at).data_type()) {
                return Err(refuse(format!(
                    "`{name}` is {}, which has no order",
                    schema.field(at).data_type()
                )));
            }
            columns.push(at);
        }
        let samples = vec![Vec::new(); columns.len()];
        Ok(Self { table: table.into(), columns, samples, stride: 1, seen: 0 })
    }

    /// The columns by position in the schema.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Takes some of these rows. `rows`: the columns of the curve alone, in its order.
    pub(crate) fn take(&mut self, rows: &RecordBatch) -> Result<(), LakehouseError> {
        for row in 0..rows.num_rows() {
            if (self.seen + row).is_multiple_of(self.stride) {
                for (column, sample) in rows.columns().iter().zip(&mut self.samples) {
                    sample.push(ordinal(&self.table, column, row)?);
                }
            }
        }
        self.seen += rows.num_rows();
        while self.samples.first().is_some_and(|sample| sample.len() > SAMPLE_MAX) {
            // Rows come in the order of files, so one of two is as good as any half.
            self.stride *= 2;
            for sample in &mut self.samples {
                let mut at = 0;
                sample.retain(|_| {
                    at += 1;
                    at % 2 == 1
                });
            }
        }
        Ok(())
    }

    /// The curve.
    pub(crate) fn curve(self) -> Curve {
        let ranks = 1_usize << RANK_BITS;
        let bounds = self.samples.into_iter().map(|mut sample| {
            sample.sort_unstable();
            let ranks = ranks.min(sample.len());
            let mut bounds: Vec<Ordinal> =
                (1..=ranks).map(|rank| sample[rank * sample.len() / ranks - 1]).collect();
            bounds.dedup();
            bounds
        });
        Curve { columns: self.columns, bounds: bounds.collect() }
    }
}

impl Curve {
    pub(super) fn keys(&self, table: &str, rows: &RecordBatch) -> Result<BinaryArray, LakehouseError> {
        let mut keys = Vec::with_capacity(rows.num_rows());
        let mut ranks = vec![0_u16; self.columns.len()];
        for row in 0..rows.num_rows() {
            for (at, (column, bounds)) in self.columns.iter().zip(&self.bounds).enumerate() {
                let value = ordinal(table, rows.column(*column), row)?;
                ranks[at] = spread(bounds.partition_point(|bound| *bound < value), bounds.len());
            }
            keys.push(interleaved(&ranks));
        }
        Ok(BinaryArray::from_iter_values(keys))
    }
}

/// A rank among `of`, stretched over all 16 bits, so that few distinct values still take the first bits.
fn spread(rank: usize, of: usize) -> u16 {
    let ranks = 1_usize << RANK_BITS;
    u16::try_from(rank * ranks / (of + 1)).unwrap_or(u16::MAX)
}

/// The highest bit of each, then the next one of each, and so on.
fn interleaved(ranks: &[u16]) -> Vec<u8> {
    let mut key = vec![0_u8; (ranks.len() * RANK_BITS as usize).div_ceil(8)];
    let mut bit = 0;
    for at in (0..RANK_BITS).rev() {
        for rank in ranks {
            if rank >> at & 1 == 1 {
                key[bit / 8] |= 0x80 >> (bit % 8);
            }
            bit += 1;
        }
    }
    key
}

fn is_orderable(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Boolean
            | T::Int8
            | T::Int16
            | T::Int32
            | T::Int64
            | T::UInt8
            | T::UInt16
            | T::UInt32
            | T::UInt64
            | T::Float32
            | T::Float64
            | T::Date32
            | T::Time64(_)
            | T::Timestamp(..)
            | T::Decimal128(..)
            | T::Utf8
            | T::LargeUtf8
            | T::Utf8View
            | T::Binary
            | T::LargeBinary
            | T::FixedSizeBinary(_)
    )
}

/// The first 15 bytes and how many there were, so that a prefix comes first.
fn prefix(bytes: &[u8]) -> Ordinal {
    let mut all = [0_u8; 16];
    let length = bytes.len().min(15);
    all[..length].copy_from_slice(&bytes[..length]);
    all[15] = length as u8;
    Ordinal::from_be_bytes(all)
}

fn signed(value: i128) -> Ordinal {
    (value as u128) ^ (1 << 127)
}

/// Bits of a float that compare as it does; NaN is the largest.
fn float(value: f64) -> Ordinal {
    let value = if value == 0.0 { 0.0 } else { value };
    if value.is_nan() {
        return Ordinal::from(u64::MAX);
    }
    let bits = value.to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    Ordinal::from(ordered)
}

fn ordinal(table: &str, column: &ArrayRef, row: usize) -> Result<Ordinal, LakehouseError> {
    if column.is_null(row) {
        return Ok(0);
    }
    macro_rules! int {
        ($type:ty) => {
            signed(i128::from(column.as_primitive::<$type>().value(row)))
        };
    }
    let value = match column.data_type() {
        DataType::Boolean => Ordinal::from(column.as_boolean().value(row)),
        DataType::Int8 => int!(Int8Type),
        DataType::Int16 => int!(Int16Type),
        DataType::Int32 => int!(Int32Type),
        DataType::Int64 => int!(Int64Type),
        DataType::UInt8 => int!(UInt8Type),
        DataType::UInt16 => int!(UInt16Type),
        DataType::UInt32 => int!(UInt32Type),
        DataType::UInt64 => int!(UInt64Type),
        DataType::Date32 => int!(Date32Type),
        DataType::Time64(_) | DataType::Timestamp(..) => {
            let plain = arrow::compute::cast(&column.slice(row, 1), &DataType::Int64);
            let plain = plain.map_err(|source| LakehouseError::Arrow { table: table.into(), source })?;
            signed(i128::from(plain.as_primitive::<Int64Type>().value(0)))
        }
        DataType::Decimal128(..) => signed(column.as_primitive::<Decimal128Type>().value(row)),
        DataType::Float32 => float(f64::from(column.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => prefix(column.as_string::<i32>().value(row).as_bytes()),
        DataType::LargeUtf8 => prefix(column.as_string::<i64>().value(row).as_bytes()),
        DataType::Utf8View => prefix(column.as_string_view().value(row).as_bytes()),
        DataType::Binary => prefix(column.as_binary::<i32>().value(row)),
        DataType::LargeBinary => prefix(column.as_binary::<i64>().value(row)),
        DataType::FixedSizeBinary(_) => prefix(column.as_fixed_size_binary().value(row)),
        other => {
            let what = format!("table `{table}` cannot be z-ordered: {other} has no order");
            return Err(LakehouseError::Invalid { what });
        }
    };
    // Below every value, null is; the largest ones share a rank anyway.
    Ok(value.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, StringArray};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn ordinals_compare_as_values_do() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![
            None,
            Some(f64::NEG_INFINITY),
            Some(-2.5),
            Some(-0.0),
            Some(1e-9),
            Some(7.0),
            Some(f64::INFINITY),
            Some(f64::NAN),
        ]));
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![
            None,
            Some(i64::MIN),
            Some(-1),
            Some(0),
            Some(1),
            Some(i64::MAX),
        ]));
        let texts: ArrayRef =
            Arc::new(StringArray::from(vec![None, Some(""), Some("a"), Some("ab"), Some("b"), Some("ä")]));
        for column in [floats, ints, texts] {
            let all: Vec<Ordinal> =
                (0..column.len()).map(|row| ordinal("t", &column, row).unwrap()).collect();
            assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{column:?}: {all:?}");
        }
        let zeros: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, 0.0]));
        assert_eq!(ordinal("t", &zeros, 0).unwrap(), ordinal("t", &zeros, 1).unwrap());
    }

    #[test]
    fn bits_are_interleaved_from_the_highest() {
        assert_eq!(interleaved(&[0x8000, 0x0000]), [0x80, 0, 0, 0]);
        assert_eq!(interleaved(&[0x0000, 0x8000]), [0x40, 0, 0, 0]);
        assert_eq!(interleaved(&[0xffff, 0xffff]), [0xff; 4]);
        assert_eq!(interleaved(&[0x0001, 0x0000, 0x0001]), [0, 0, 0, 0, 0, 0b101]);
        assert_eq!(interleaved(&[0x1234]), [0x12, 0x34]);
    }

    /// A quarter of the rows, taken from a key of 2 bits, is a quarter of the plane, however wide each column is.
    #[test]
    fn a_column_counts_by_rank_however_its_values_lie() {
        let rows: Vec<(i64, String)> = (0..4_096_i64)
            .map(|n| {
                ((n * 2_654_435_761) % 4_096, format!("a long common prefix {:06}", (n * 40_503) % 4_096))
            })
            .collect();
        let schema = Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("narrow", DataType::Float64, true),
        ]);
        let n = Int64Array::from_iter_values(rows.iter().map(|row| row.0.pow(3)));
        let narrow = Float64Array::from_iter_values(rows.iter().map(|row| {
            let digits: f64 = row.1[21..].trim().parse().unwrap();
            digits / 1e9
        }));
        let batch =
            RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(n), Arc::new(narrow)]).unwrap();
        let mut sampler = Sampler::new("t", &schema, &["n".into(), "narrow".into()]).unwrap();
        sampler.take(&batch).unwrap();
        let keys = sampler.curve().keys("t", &batch).unwrap();
        let quarter: Vec<usize> = (0..4_096).filter(|row| keys.value(*row)[0] >> 6 == 0).collect();
        assert!((900..1_150).contains(&quarter.len()), "{}", quarter.len());
        let low = |column: usize, limit: f64| {
            quarter.iter().all(|row| {
                let value = arrow::compute::cast(batch.column(column), &DataType::Float64).unwrap();
                value.as_primitive::<Float64Type>().value(*row) <= limit
            })
        };
        assert!(low(0, 2_048_f64.powi(3)) && low(1, 2_048.0 / 1e9));
    }

    #[test]
    fn what_has_no_order_is_refused() {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("l", list, true)]);
        let told = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            Sampler::new("t", &schema, &names).unwrap_err().to_string()
        };
        assert!(told(&["l"]).contains("which has no order"));
        assert!(told(&["a", "a"]).contains("named twice"));
        assert!(told(&[]).contains("1 to 8 columns"));
        assert!(told(&["aa"]).contains("did you mean `a`?"));
    }
}
