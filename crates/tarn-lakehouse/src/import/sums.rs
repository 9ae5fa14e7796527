//! Sums of rows that do not depend on their order: the hash of each row, and of each value by column, added up.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

/// Sums of some rows. Those of rows taken away are subtracted, so sums of two states tell what lies between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sums {
    pub(super) rows: u64,
    #[serde(with = "hex128")]
    pub(super) all: u128,
    #[serde(with = "hex128s")]
    pub(super) columns: Vec<u128>,
}

impl Sums {
    /// With the rows of others.
    pub(super) fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.all = self.all.wrapping_add(other.all);
        self.columns.resize(self.columns.len().max(other.columns.len()), 0);
        for (own, other) in self.columns.iter_mut().zip(&other.columns) {
            *own = own.wrapping_add(*other);
        }
    }
}

mod hex128 {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{value:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}

mod hex128s {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(values: &[u128], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|value| format!("{value:032x}")))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u128>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let parsed =
            texts.iter().map(|text| u128::from_str_radix(text, 16).map_err(serde::de::Error::custom));
        parsed.collect()
    }
}

/// Adds rows of one schema up.
pub(super) struct Summer {
    row: RowConverter,
    columns: Vec<RowConverter>,
}

/// A type with lists of entries in place of maps, of which no bytes are made.
fn listed_type(data_type: &DataType) -> DataType {
    let inner =
        |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(listed_type(field.data_type())));
    match data_type {
        DataType::Map(entries, _) => DataType::List(inner(entries)),
        DataType::List(element) => DataType::List(inner(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        other => other.clone(),
    }
}

/// Values with lists of entries in place of maps.
fn listed(values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let to = listed_type(values.data_type());
    Ok(match (values.data_type(), &to) {
        (from, to) if from == to => Arc::clone(values),
        (DataType::Map(..), DataType::List(element)) => {
            let map = values.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Arc::new(ListArray::try_new(Arc::clone(element), offsets, listed(&entries)?, nulls)?)
        }
        (DataType::List(_), DataType::List(element)) => {
            let list = values.as_list::<i32>();
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(ListArray::try_new(Arc::clone(element), offsets, listed(list.values())?, nulls)?)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let own = values.as_struct();
            let columns = own.columns().iter().map(listed).collect::<Result<Vec<_>, _>>()?;
            let nulls = own.nulls().cloned();
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, own.len())?)
        }
        _ => Arc::clone(values),
    })
}

/// Whether values of this type have bytes that stand for them.
fn is_comparable(data_type: &DataType) -> bool {
    RowConverter::supports_fields(&[SortField::new(data_type.clone())])
}

impl Summer {
    /// For rows of `schema`. `None` where a column has a type whose values cannot be compared.
    pub(super) fn new(schema: &SchemaRef) -> Result<Option<Self>, ArrowError> {
        let types = || schema.fields().iter().map(|field| listed_type(field.data_type()));
        if types().next().is_none() || !types().all(|data_type| is_comparable(&data_type)) {
            return Ok(None);
        }
        let row = RowConverter::new(types().map(SortField::new).collect())?;
        let columns = types().map(|data_type| RowConverter::new(vec![SortField::new(data_type)]));
        Ok(Some(Self { row, columns: columns.collect::<Result<_, _>>()? }))
    }

    /// Adds rows, or with `gone` takes them away.
    pub(super) fn add(&mut self, sums: &mut Sums, batch: &RecordBatch, gone: bool) -> Result<(), ArrowError> {
        sums.columns.resize(self.columns.len(), 0);
        let columns = batch.columns().iter().map(listed).collect::<Result<Vec<_>, _>>()?;
        let rows = self.row.convert_columns(&columns)?;
        let total = rows.iter().fold(0_u128, |sum, row| sum.wrapping_add(XxHash3_128::oneshot(row.as_ref())));
        add(&mut sums.all, total, gone);
        let count = batch.num_rows() as u64;
        sums.rows = if gone { sums.rows.wrapping_sub(count) } else { sums.rows.wrapping_add(count) };
        for ((converter, column), sum) in self.columns.iter_mut().zip(&columns).zip(&mut sums.columns) {
            let values = converter.convert_columns(std::slice::from_ref(column))?;
            let total = values
                .iter()
                .fold(0_u128, |sum, value| sum.wrapping_add(XxHash3_128::oneshot(value.as_ref())));
            add(sum, total, gone);
        }
        Ok(())
    }
}

fn add(sum: &mut u128, value: u128, gone: bool) {
    *sum = if gone { sum.wrapping_sub(value) } else { sum.wrapping_add(value) };
}

/// As people see it.
pub(super) fn shown(sum: u128) -> String {
    format!("{sum:032x}")
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, MapBuilder, StringArray, StringBuilder};

    use super::*;

    fn sums(rows: &[(i64, Option<&str>)]) -> Sums {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
        let names: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1)));
        let batch = RecordBatch::try_from_iter([("id", ids), ("name", names)]).expect("a batch");
        let mut sums = Sums::default();
        let mut summer = Summer::new(&batch.schema()).expect("valid").expect("comparable");
        summer.add(&mut sums, &batch, false).expect("added");
        sums
    }

    #[test]
    fn the_order_does_not_matter_and_everything_else_does() {
        let base = sums(&[(1, Some("a")), (2, None), (1, Some("a"))]);
        assert_eq!(sums(&[(2, None), (1, Some("a")), (1, Some("a"))]), base);
        assert_ne!(sums(&[(2, Some("")), (1, Some("a")), (1, Some("a"))]).all, base.all);
        // Equal columns, other rows.
        let (a, b) = (sums(&[(1, Some("a")), (2, Some("b"))]), sums(&[(1, Some("b")), (2, Some("a"))]));
        assert_eq!(a.columns, b.columns);
        assert_ne!(a.all, b.all);
        let text = serde_json::to_string(&base).expect("text");
        assert_eq!(serde_json::from_str::<Sums>(&text).expect("sums"), base);
    }

    #[test]
    fn maps_are_compared_by_their_entries() {
        let sums = |entries: &[Option<(&str, Option<&str>)>]| {
            let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
            for entry in entries {
                if let Some((key, value)) = entry {
                    maps.keys().append_value(key);
                    maps.values().append_option(*value);
                }
                maps.append(entry.is_some()).expect("whole");
            }
            let maps: ArrayRef = Arc::new(maps.finish());
            let batch = RecordBatch::try_from_iter([("m", maps)]).expect("a batch");
            let mut sums = Sums::default();
            let mut summer = Summer::new(&batch.schema()).expect("valid").expect("comparable");
            summer.add(&mut sums, &batch, false).expect("added");
            sums
        };
        let base = sums(&[Some(("k", Some("v"))), None]);
        assert_eq!(sums(&[None, Some(("k", Some("v")))]), base);
        for other in [Some(("k", None)), Some(("l", Some("v"))), None] {
            assert_ne!(sums(&[other, None]), base);
        }
    }

    #[test]
    fn rows_taken_away_leave_the_others() {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_from_iter([("id", ids)]).expect("a batch");
        let mut summer = Summer::new(&batch.schema()).expect("valid").expect("comparable");
        let (mut all, mut some) = (Sums::default(), Sums::default());
        summer.add(&mut all, &batch, false).expect("added");
        summer.add(&mut all, &batch.slice(0, 1), true).expect("taken away");
        summer.add(&mut some, &batch.slice(1, 2), false).expect("added");
        assert_eq!(all, some);
    }
}
