//! Rows of a data file as rows of the table: columns found by number or name, nested ones too, in the table's types.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::error::ArrowError;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use super::column::{FoundBy, LakeColumn, LakeType, cast};

fn id_of(field: &Field) -> Option<i32> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY)?.parse().ok()
}

/// Whether a field or one within it has a number.
pub(crate) fn has_ids(fields: &[FieldRef]) -> bool {
    fields.iter().any(|field| {
        id_of(field).is_some()
            || match field.data_type() {
                DataType::Struct(fields) => has_ids(fields),
                DataType::List(inner) | DataType::Map(inner, _) => has_ids(std::slice::from_ref(inner)),
                _ => false,
            }
    })
}

/// How the columns of one file are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finder {
    Name,
    Id,
    /// A file without numbers: by the names that the table remembers for such files.
    Alias,
}

impl Finder {
    /// For a file of a table.
    pub(crate) fn of(by: FoundBy, file: &Schema) -> Self {
        match by {
            FoundBy::Name => Self::Name,
            FoundBy::Id if has_ids(file.fields()) => Self::Id,
            FoundBy::Id => Self::Alias,
        }
    }

    /// The place of a column among fields.
    pub(crate) fn find(self, column: &LakeColumn, fields: &[FieldRef]) -> Option<usize> {
        fields.iter().position(|field| match self {
            Self::Name => field.name() == column.physical(),
            Self::Id => column.id.is_some() && id_of(field) == column.id,
            Self::Alias => column.aliases.iter().any(|alias| alias == field.name()),
        })
    }
}

/// A value for each of `rows` rows.
pub(crate) fn repeated(value: &ArrayRef, rows: usize) -> Result<ArrayRef, ArrowError> {
    take(value.as_ref(), &UInt32Array::from(vec![0; rows]), None)
}

/// The values of a column that a file lacks.
pub(crate) fn absent(column: &LakeColumn, rows: usize) -> Result<ArrayRef, ArrowError> {
    match &column.default {
        Some(value) => repeated(&column.one(Some(value))?, rows),
        None => Ok(new_null_array(&column.data_type(), rows)),
    }
}

/// Whether values of a file's type may stand in a column: written before the column was widened, or by another writer.
fn fits(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    let is_bytes = |t: &T| matches!(t, T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_));
    let is_text = |t: &T| matches!(t, T::Utf8 | T::LargeUtf8 | T::Utf8View);
    match (from, to) {
        (from, to) if from == to => true,
        (T::Null, _) => true,
        (from, to) if from.is_integer() => {
            to.is_integer() || matches!(to, T::Float32 | T::Float64 | T::Decimal128(..))
        }
        (from, T::Float32 | T::Float64) => from.is_floating(),
        (T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..), T::Decimal128(..)) => true,
        (T::Date32, T::Timestamp(_, None)) => true,
        (T::Timestamp(..), T::Timestamp(..)) | (T::Time32(_) | T::Time64(_), T::Time64(_)) => true,
        // Writers of old mark neither texts nor their bytes.
        (from, to) if is_text(to) => is_text(from) || is_bytes(from),
        (from, T::Binary) => is_bytes(from),
        _ => false,
    }
}

/// Values of a file as values of a column. Errors: they are of a kind that the column cannot hold.
pub(crate) fn adapted(column: &LakeColumn, found: &ArrayRef, by: Finder) -> Result<ArrayRef, ArrowError> {
    let wrong = || {
        let (is, wanted) = (found.data_type(), column.shown());
        Err(ArrowError::SchemaError(format!(
            "column `{}` is {is} in the file and {wanted} in the table",
            column.name
        )))
    };
    match (&column.kind, found.data_type()) {
        (LakeType::One(_), from) => {
            let to = column.data_type();
            if !fits(from, &to) {
                return wrong();
            }
            if *from == to { Ok(Arc::clone(found)) } else { cast(found, &to) }
        }
        (LakeType::Struct(wanted), DataType::Struct(fields)) => {
            let own = found.as_struct();
            let child =
                |wanted: &LakeColumn| match by.find(wanted, fields).and_then(|at| own.columns().get(at)) {
                    Some(child) => adapted(wanted, child, by),
                    None => absent(wanted, own.len()),
                };
            let children = wanted.iter().map(child).collect::<Result<Vec<_>, _>>()?;
            let DataType::Struct(fields) = column.data_type() else { return wrong() };
            let made = StructArray::try_new_with_length(fields, children, own.nulls().cloned(), own.len())?;
            Ok(Arc::new(made))
        }
        (LakeType::List(element), DataType::List(_)) => {
            let own = found.as_list::<i32>();
            let values = adapted(element, own.values(), by)?;
            let DataType::List(field) = column.data_type() else { return wrong() };
            Ok(Arc::new(ListArray::try_new(field, own.offsets().clone(), values, own.nulls().cloned())?))
        }
        (LakeType::Map(entry), DataType::Map(..)) => {
            let own = found.as_map();
            let columns = vec![adapted(&entry.0, own.keys(), by)?, adapted(&entry.1, own.values(), by)?];
            let DataType::Map(field, sorted) = column.data_type() else { return wrong() };
            let DataType::Struct(fields) = field.data_type() else { return wrong() };
            let entries = StructArray::try_new(fields.clone(), columns, None)?;
            let made =
                MapArray::try_new(field, own.offsets().clone(), entries, own.nulls().cloned(), sorted)?;
            Ok(Arc::new(made))
        }
        _ => wrong(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::array::{Int32Array, RecordBatch};
    use arrow::datatypes::Fields;
    use serde_json::json;

    use super::*;

    fn one(name: &str, id: i32, kind: &str) -> LakeColumn {
        LakeColumn { id: Some(id), ..LakeColumn::new(name, LakeType::One(kind.into())) }
    }

    fn numbered(name: &str, id: i32, data_type: DataType) -> Field {
        let id = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_string(), id.to_string())]);
        Field::new(name, data_type, true).with_metadata(id)
    }

    #[test]
    fn nested_fields_are_found_by_number_widened_and_filled() {
        let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
        let fields = Fields::from(vec![numbered("old", 2, DataType::Int32)]);
        let own: ArrayRef = Arc::new(
            StructArray::try_new(fields, vec![values], Some(vec![true, true, false].into()))
                .expect("a struct"),
        );
        let added = LakeColumn { default: Some(json!("x")), ..one("added", 4, "string") };
        let wanted = LakeColumn {
            id: Some(1),
            ..LakeColumn::new(
                "s",
                LakeType::Struct(vec![one("new", 2, "long"), one("gone", 3, "string"), added]),
            )
        };
        let made = adapted(&wanted, &own, Finder::Id).expect("adapted");
        assert_eq!(made.data_type(), &wanted.data_type());
        let batch = RecordBatch::try_from_iter([("s", made)]).expect("a batch");
        let mut out = Vec::new();
        let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
        writer.write(&batch).expect("written");
        writer.finish().expect("written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "{\"s\":{\"new\":1,\"added\":\"x\"}}\n{\"s\":{\"added\":\"x\"}}\n{}\n");
    }

    #[test]
    fn other_kinds_of_values_are_refused() {
        let values: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        for kind in ["string", "boolean", "date"] {
            assert!(adapted(&one("c", 1, kind), &values, Finder::Id).is_err(), "{kind}");
        }
        let large: ArrayRef = Arc::new(Int32Array::from(vec![300]));
        assert!(adapted(&one("c", 1, "byte"), &large, Finder::Id).is_err());
        let list = LakeColumn::new("c", LakeType::List(Box::new(one("element", 2, "int"))));
        assert!(adapted(&list, &values, Finder::Id).is_err());
    }
}
