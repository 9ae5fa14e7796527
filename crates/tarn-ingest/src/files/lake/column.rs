//! Columns of a table of another lake: what they are called in its files, and their types here.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, FixedSizeBinaryArray, Int64Array, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Values that do not fit are errors, and never null.
const STRICT: CastOptions<'static> = CastOptions { safe: false, format_options: FormatOptions::new() };

/// A column, or a field within one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LakeColumn {
    pub(crate) name: String,
    /// Its name in the files, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) physical: Option<String>,
    /// Its number in the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<i32>,
    #[serde(rename = "type")]
    pub(crate) kind: LakeType,
    /// Its value in rows of files that lack it, as the Iceberg specification writes single values in JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<Value>,
    /// Its names in files without numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) aliases: Vec<String>,
    /// Only rows that others delete by value need it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) hidden: bool,
}

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LakeType {
    /// As [`primitive`] reads it.
    One(String),
    Struct(Vec<LakeColumn>),
    List(Box<LakeColumn>),
    Map(Box<(LakeColumn, LakeColumn)>),
}

/// How columns are found in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FoundBy {
    #[default]
    Name,
    Id,
}

/// The Arrow type of a primitive type's name: `int`, `decimal(9,2)`, `timestamptz`, … `None`: there is no such type.
pub(crate) fn primitive(name: &str) -> Option<DataType> {
    let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let nanos = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Nanosecond, zone.map(Into::into));
    Some(match name {
        "boolean" => DataType::Boolean,
        "byte" => DataType::Int8,
        "short" => DataType::Int16,
        "int" | "integer" => DataType::Int32,
        "long" => DataType::Int64,
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "string" | "void" => DataType::Utf8,
        "binary" => DataType::Binary,
        "date" => DataType::Date32,
        "time" => DataType::Time64(TimeUnit::Microsecond),
        "timestamp" => micros(None),
        "timestamptz" => micros(Some("UTC")),
        "timestamp_ns" => nanos(None),
        "timestamptz_ns" => nanos(Some("UTC")),
        "uuid" => DataType::FixedSizeBinary(16),
        "decimal" => DataType::Decimal128(10, 0),
        other => return with_arguments(other),
    })
}

fn with_arguments(name: &str) -> Option<DataType> {
    let (kind, rest) = name.split_once(['(', '['])?;
    let arguments = rest.strip_suffix([')', ']'])?;
    match kind.trim() {
        "decimal" => {
            let (precision, scale) = arguments.split_once(',')?;
            let (precision, scale): (u8, i8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            let is_valid = (1..=38).contains(&precision) && scale >= 0 && scale.unsigned_abs() <= precision;
            is_valid.then_some(DataType::Decimal128(precision, scale))
        }
        "fixed" => {
            let length: i32 = arguments.trim().parse().ok()?;
            (length > 0).then_some(DataType::FixedSizeBinary(length))
        }
        _ => None,
    }
}

impl LakeColumn {
    /// A column with nothing but name and type.
    pub(crate) fn new(name: impl Into<String>, kind: LakeType) -> Self {
        let name = name.into();
        Self { name, physical: None, id: None, kind, default: None, aliases: Vec::new(), hidden: false }
    }

    /// Its name in files where names count.
    pub(crate) fn physical(&self) -> &str {
        self.physical.as_deref().unwrap_or(&self.name)
    }

    /// Its Arrow type.
    pub(crate) fn data_type(&self) -> DataType {
        match &self.kind {
            // Names were checked when the plan was made.
            LakeType::One(name) => primitive(name).unwrap_or(DataType::Utf8),
            LakeType::Struct(fields) => DataType::Struct(fields.iter().map(Self::field).collect()),
            LakeType::List(element) => DataType::List(element.field_named("element", true)),
            LakeType::Map(entry) => {
                let fields =
                    Fields::from(vec![entry.0.field_named("key", false), entry.1.field_named("value", true)]);
                DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(fields), false)), false)
            }
        }
    }

    /// It as a field of rows.
    pub(crate) fn field(&self) -> FieldRef {
        self.field_named(&self.name, true)
    }

    fn field_named(&self, name: &str, nullable: bool) -> FieldRef {
        let field = Field::new(name, self.data_type(), nullable);
        Arc::new(match &self.kind {
            LakeType::One(kind) if kind == "uuid" => field.with_metadata(HashMap::from([(
                "ARROW:extension:name".to_string(),
                "arrow.uuid".to_string(),
            )])),
            _ => field,
        })
    }

    /// The type for people.
    pub(crate) fn shown(&self) -> String {
        match &self.kind {
            LakeType::One(name) => name.clone(),
            LakeType::Struct(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|field| format!("{}: {}", field.name, field.shown())).collect();
                format!("struct<{}>", fields.join(", "))
            }
            LakeType::List(element) => format!("list<{}>", element.shown()),
            LakeType::Map(entry) => format!("map<{}, {}>", entry.0.shown(), entry.1.shown()),
        }
    }

    /// Whether it or a field in it is of the type.
    pub(crate) fn holds(&self, name: &str) -> bool {
        match &self.kind {
            LakeType::One(own) => own == name,
            LakeType::Struct(fields) => fields.iter().any(|field| field.holds(name)),
            LakeType::List(element) => element.holds(name),
            LakeType::Map(entry) => entry.0.holds(name) || entry.1.holds(name),
        }
    }

    /// One value of a text or JSON value, as an array of one row. Errors: it is none of the column's type.
    pub(crate) fn one(&self, value: Option<&Value>) -> Result<ArrayRef, ArrowError> {
        let data_type = self.data_type();
        let text = match value {
            None | Some(Value::Null) => return Ok(arrow::array::new_null_array(&data_type, 1)),
            Some(Value::String(text)) => text.clone(),
            // Dates and times by their numbers since 1970.
            Some(Value::Number(number)) if data_type.is_temporal() => {
                let number = number.as_i64();
                let number =
                    number.ok_or_else(|| ArrowError::CastError("a time is no whole number".into()))?;
                let numbers: ArrayRef = match &data_type {
                    DataType::Date32 => {
                        cast(&(Arc::new(Int64Array::from(vec![number])) as ArrayRef), &DataType::Int32)?
                    }
                    _ => Arc::new(Int64Array::from(vec![number])),
                };
                return cast(&numbers, &data_type);
            }
            Some(other) => other.to_string(),
        };
        let wrong = || ArrowError::CastError(format!("`{text}` is no {}", self.shown()));
        let bytes = || hex::decode(text.replace('-', "")).map_err(|_| wrong());
        match (&data_type, &self.kind) {
            (DataType::FixedSizeBinary(_), _) => {
                let array = FixedSizeBinaryArray::try_from_iter(std::iter::once(bytes()?))?;
                if *arrow::array::Array::data_type(&array) == data_type {
                    Ok(Arc::new(array))
                } else {
                    Err(wrong())
                }
            }
            (DataType::Binary, _) if self.id.is_some() => {
                Ok(Arc::new(BinaryArray::from_iter_values([bytes()?])))
            }
            (_, LakeType::One(_)) => {
                let array: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
                cast(&array, &data_type)
            }
            _ => Err(wrong()),
        }
    }
}

/// Values in another type. Errors: one that has no counterpart there.
pub(crate) fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &STRICT)
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;
    use serde_json::json;

    use super::*;

    #[test]
    fn types_and_values_are_read() {
        assert_eq!(primitive("decimal(38, 4)"), Some(DataType::Decimal128(38, 4)));
        assert_eq!(primitive("fixed[3]"), Some(DataType::FixedSizeBinary(3)));
        for none in ["variant", "decimal(39,1)", "decimal(4,5)", "decimal(x,1)", "fixed[0]", "geometry"] {
            assert_eq!(primitive(none), None, "{none}");
        }
        let shown = |kind: &str, id: Option<i32>, value: Value| {
            let column = LakeColumn { id, ..LakeColumn::new("c", LakeType::One(kind.into())) };
            let array = column.one(Some(&value)).map_err(|error| error.to_string())?;
            assert_eq!(array.data_type(), &column.data_type());
            arrow::util::display::array_value_to_string(&array, 0).map_err(|error| error.to_string())
        };
        for (kind, value, expected) in [
            ("int", json!("7"), "7"),
            ("long", json!(7), "7"),
            ("boolean", json!("true"), "true"),
            ("decimal(9,2)", json!("12.50"), "12.50"),
            ("date", json!("2024-02-29"), "2024-02-29"),
            ("timestamp", json!("2024-02-29 10:00:00.123456"), "2024-02-29T10:00:00.123456"),
            ("timestamptz", json!("2024-02-29T10:00:00.5+02:00"), "2024-02-29T08:00:00.500Z"),
            ("timestamptz", json!("2024-02-29 10:00:00"), "2024-02-29T10:00:00Z"),
            ("double", json!(1.5), "1.5"),
            ("double", json!("NaN"), "NaN"),
            ("date", json!(-1), "1969-12-31"),
            ("timestamptz", json!(1_500_000), "1970-01-01T00:00:01.500Z"),
            ("time", json!(3_600_000_000_i64), "01:00:00"),
            ("uuid", json!("f79c3e09-677c-4bbd-a479-3f349cb785e7"), "f79c3e09677c4bbda4793f349cb785e7"),
        ] {
            assert_eq!(shown(kind, None, value).as_deref(), Ok(expected), "{kind}");
        }
        assert_eq!(shown("binary", Some(1), json!("00ff")).as_deref(), Ok("00ff"));
        assert_eq!(shown("binary", None, json!("ab")).as_deref(), Ok("6162"));
        assert!(shown("int", None, json!("x")).is_err());
        assert!(shown("byte", None, json!("300")).is_err());
        assert!(shown("date", None, json!("2024-02-30")).is_err());
    }
}
