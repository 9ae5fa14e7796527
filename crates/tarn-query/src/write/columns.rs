//! Columns of `CREATE TABLE` and `ALTER TABLE`: types of SQL as types of tables.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, ColumnDef, ColumnOption, DataType as SqlType, ExactNumberInfo, Ident, TimezoneInfo,
};

use crate::QueryError;
use crate::sql::position;

/// Precision and scale of a number that names none.
const DECIMAL: (u8, i8) = (38, 9);

/// A name as SQL means it: small unless it is quoted.
pub(crate) fn name_of(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// A column that a statement defines.
pub(super) struct DefinedColumn {
    pub(super) field: Field,
    pub(super) is_key: bool,
}

/// A column as defined. Errors: a type or an option that tables do not have.
pub(super) fn defined(column: &ColumnDef) -> Result<DefinedColumn, QueryError> {
    let at = position(column.name.span.start);
    let (mut is_key, mut nullable) = (false, true);
    for option in &column.options {
        match &option.option {
            ColumnOption::Null => {}
            ColumnOption::NotNull => nullable = false,
            ColumnOption::PrimaryKey(_) => is_key = true,
            ColumnOption::Comment(_) => {}
            other => {
                return Err(QueryError::plan(
                    format!("columns of tables have no `{other}`"),
                    at,
                    Some("PRIMARY KEY, NOT NULL and COMMENT are possible".into()),
                ));
            }
        }
    }
    let field = field(&column.name, &column.data_type)?.with_nullable(nullable && !is_key);
    Ok(DefinedColumn { field, is_key })
}

/// A column of a type. Errors: a type that tables do not have.
pub(super) fn field(name: &Ident, data_type: &SqlType) -> Result<Field, QueryError> {
    let known = arrow_type(data_type).ok_or_else(|| {
        QueryError::plan(
            format!("column `{}` has type `{data_type}`, which tables do not have", name.value),
            position(name.span.start),
            Some(
                "possible are BOOLEAN, INT, BIGINT, REAL, DOUBLE, DECIMAL(p, s), TEXT, BYTEA, DATE, TIME, TIMESTAMP, \
                 TIMESTAMPTZ, UUID, ARRAY<t> or t[], STRUCT<name t, ...> and MAP<t, t>"
                    .into(),
            ),
        )
    })?;
    let plain = Field::new(name_of(name), known, true);
    Ok(match data_type {
        SqlType::Uuid => plain.with_metadata(uuid()),
        _ => plain,
    })
}

fn uuid() -> HashMap<String, String> {
    HashMap::from([("ARROW:extension:name".to_string(), "arrow.uuid".to_string())])
}

fn arrow_type(data_type: &SqlType) -> Option<DataType> {
    use SqlType as S;
    Some(match data_type {
        S::Boolean | S::Bool => DataType::Boolean,
        S::TinyInt(_)
        | S::SmallInt(_)
        | S::Int2(_)
        | S::Int(_)
        | S::Integer(_)
        | S::Int4(_)
        | S::Int32
        | S::MediumInt(_) => DataType::Int32,
        S::BigInt(_) | S::Int8(_) | S::Int64 => DataType::Int64,
        S::Real | S::Float4 | S::Float32 => DataType::Float32,
        S::Float(info) => match info {
            ExactNumberInfo::Precision(bits) if *bits <= 24 => DataType::Float32,
            _ => DataType::Float64,
        },
        S::Double(_) | S::DoublePrecision | S::Float8 | S::Float64 => DataType::Float64,
        S::Numeric(info) | S::Decimal(info) | S::Dec(info) => decimal(info)?,
        S::Character(_)
        | S::Char(_)
        | S::CharacterVarying(_)
        | S::CharVarying(_)
        | S::Varchar(_)
        | S::Nvarchar(_)
        | S::Text
        | S::String(_)
        | S::JSON
        | S::JSONB => DataType::Utf8,
        S::Bytea | S::Blob(_) | S::Binary(_) | S::Varbinary(_) | S::Bytes(_) => DataType::Binary,
        S::Date => DataType::Date32,
        S::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            DataType::Time64(TimeUnit::Microsecond)
        }
        S::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) | S::Datetime(_) => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        S::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
        }
        S::Uuid => DataType::FixedSizeBinary(16),
        S::Array(_) | S::Struct(..) | S::Map(..) => nested_type(data_type)?,
        // A name of its own where the grammar knows none.
        S::Custom(name, _) => match name.to_string().to_lowercase().as_str() {
            "string" => DataType::Utf8,
            "long" => DataType::Int64,
            "timestamptz" => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            _ => return None,
        },
        _ => return None,
    })
}

/// Lists, structs and maps.
fn nested_type(data_type: &SqlType) -> Option<DataType> {
    use SqlType as S;
    Some(match data_type {
        S::Array(
            ArrayElemTypeDef::AngleBracket(item)
            | ArrayElemTypeDef::SquareBracket(item, _)
            | ArrayElemTypeDef::Parenthesis(item),
        ) => {
            let item_field = Field::new("element", arrow_type(item)?, true);
            let item_field = if **item == S::Uuid { item_field.with_metadata(uuid()) } else { item_field };
            DataType::List(Arc::new(item_field))
        }
        S::Struct(fields, _) => {
            let fields = fields.iter().map(|field| {
                let name = name_of(field.field_name.as_ref()?);
                let plain = Field::new(name, arrow_type(&field.field_type)?, true);
                Some(if field.field_type == S::Uuid { plain.with_metadata(uuid()) } else { plain })
            });
            DataType::Struct(fields.collect::<Option<Fields>>()?)
        }
        S::Map(key, value) => {
            let key = Field::new("key", arrow_type(key)?, false);
            let value = Field::new("value", arrow_type(value)?, true);
            let entries = Field::new("key_value", DataType::Struct(vec![key, value].into()), false);
            DataType::Map(Arc::new(entries), false)
        }
        _ => return None,
    })
}

fn decimal(info: &ExactNumberInfo) -> Option<DataType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => DECIMAL,
        ExactNumberInfo::Precision(precision) => (u8::try_from(*precision).ok()?, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => {
            (u8::try_from(*precision).ok()?, i8::try_from(*scale).ok()?)
        }
    };
    let fits = (1..=38).contains(&precision) && scale >= 0 && scale.unsigned_abs() <= precision;
    fits.then_some(DataType::Decimal128(precision, scale))
}
