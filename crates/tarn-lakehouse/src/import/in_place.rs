//! Parquet files as data files of a table where they lie: what the footer says becomes a manifest's entry.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit};
use iceberg::arrow::arrow_primitive_to_literal;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, Literal, PrimitiveType, Struct,
    TableMetadata, Transform, Type,
};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::async_reader::ParquetObjectReader;
use parquet::file::metadata::ParquetMetaData;
use tarn_core::change::META_COLUMNS;
use tarn_core::files::{FilesFault, ListedFile};

use crate::error::LakehouseError;
use crate::io::Warehouse;
use crate::layout::names_of;
use crate::statistics::each_value;

/// Bytes of a text up to which it is a bound; of longer ones the beginning is a lower bound.
const BOUND_BYTES_MAX: usize = 64;
const ADVICE: &str = "import the files instead of registering them, which converts them";

/// What stands in the way of reading a column of a file as a column of a table, in any engine: Iceberg's types leave no
/// room for some of Parquet's.
pub(super) fn obstacle(from: &DataType, to: &DataType) -> Option<String> {
    use DataType as T;
    let unfit = || Some(format!("{from} cannot be read as {to}"));
    let nested = |from: &Fields, to: &Fields| {
        from.iter().find_map(|field| match to.find(field.name()) {
            Some((_, own)) => obstacle(field.data_type(), own.data_type())
                .map(|what| format!("its field `{}`: {what}", field.name())),
            None => Some(format!("the table's column has no field `{}`", field.name())),
        })
    };
    match (from, to) {
        (T::Timestamp(TimeUnit::Nanosecond, _), _) => {
            Some("timestamps of nanoseconds (or INT96) are none of Iceberg's".to_string())
        }
        (T::Timestamp(TimeUnit::Microsecond | TimeUnit::Millisecond, a), T::Timestamp(_, b)) => {
            if a.is_some() == b.is_some() { None } else { unfit() }
        }
        (T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64, _) => {
            Some("numbers without a sign are none of Iceberg's".to_string())
        }
        (T::Time32(_) | T::Time64(TimeUnit::Nanosecond), _) => {
            Some("times of other units than microseconds are none of Iceberg's".to_string())
        }
        (T::Boolean, T::Boolean)
        | (T::Date32, T::Date32)
        | (T::Int8 | T::Int16 | T::Int32, T::Int32 | T::Int64)
        | (T::Int64, T::Int64)
        | (T::Float32, T::Float32 | T::Float64)
        | (T::Float64, T::Float64)
        | (T::Time64(_), T::Time64(_)) => None,
        (T::Decimal128(p, s), T::Decimal128(q, t)) if s == t && p <= q => None,
        (T::Utf8 | T::LargeUtf8 | T::Utf8View, T::Utf8 | T::LargeUtf8 | T::Utf8View) => None,
        (T::Binary | T::LargeBinary | T::BinaryView, T::Binary | T::LargeBinary | T::BinaryView) => None,
        (T::FixedSizeBinary(a), T::FixedSizeBinary(b)) if a == b => None,
        (T::Dictionary(_, value), to) => obstacle(value, to),
        (T::List(a) | T::LargeList(a) | T::FixedSizeList(a, _), T::List(b) | T::LargeList(b)) => {
            obstacle(a.data_type(), b.data_type())
        }
        (T::Struct(a), T::Struct(b)) => nested(a, b),
        (T::Map(a, _), T::Map(b, _)) => match (a.data_type(), b.data_type()) {
            (T::Struct(a), T::Struct(b)) => {
                a.iter().zip(b).find_map(|(a, b)| obstacle(a.data_type(), b.data_type()))
            }
            _ => unfit(),
        },
        _ => unfit(),
    }
}

/// A table as files come to it.
pub(super) struct Target<'a> {
    pub(super) name: &'a str,
    pub(super) metadata: &'a TableMetadata,
    /// Its columns.
    pub(super) schema: &'a SchemaRef,
    pub(super) warehouse: &'a Warehouse,
}

impl Target<'_> {
    /// The entry of a file. Errors: it changed since it was listed, it is no Parquet file, a column does not fit.
    pub(super) async fn entry(&self, file: &ListedFile) -> Result<DataFile, LakehouseError> {
        let path = self.warehouse.path(&file.location)?;
        let damaged = |source| LakehouseError::Parquet { path: file.location.as_str().into(), source };
        let reader =
            ParquetObjectReader::new(Arc::clone(self.warehouse.objects()), path).with_file_size(file.bytes);
        let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(damaged)?;
        let (footer, columns) = (builder.metadata(), builder.schema());
        let partition = self.partition(file)?;
        let known = self.columns(file, columns)?;
        let mut entry = DataFileBuilder::default();
        let rows = u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
        let offsets = footer.row_groups().iter().map(|group| {
            let first = group.columns().first();
            first.map_or(0, |column| column.dictionary_page_offset().unwrap_or(column.data_page_offset()))
        });
        entry
            .content(DataContentType::Data)
            .file_path(file.location.clone())
            .file_format(DataFileFormat::Parquet)
            .partition(partition)
            .partition_spec_id(self.metadata.default_partition_spec_id())
            .record_count(rows)
            .file_size_in_bytes(file.bytes)
            .split_offsets(Some(offsets.collect()));
        self.figures(&known, (footer, columns), &mut entry);
        self.check_folders(file, &known_folders(file, columns), (footer, columns))?;
        entry.build().map_err(|error| LakehouseError::Invalid {
            what: format!("the entry of `{}` is incomplete: {error}", file.location),
        })
    }

    fn refused(&self, file: &ListedFile, what: String, hint: impl Into<String>) -> LakehouseError {
        FilesFault::invalid(format!("`{}`: {what}", file.location), hint).into()
    }

    /// Names of the file's columns with their ids in the table. Errors: one that the table lacks or that does not fit.
    fn columns(
        &self,
        file: &ListedFile,
        columns: &ArrowSchema,
    ) -> Result<Vec<(String, i32)>, LakehouseError> {
        let ids = names_of(self.metadata).unwrap_or_default();
        let own_id = |field: &Field| {
            field
                .metadata()
                .get(parquet::arrow::PARQUET_FIELD_ID_META_KEY)
                .and_then(|id| id.parse::<i32>().ok())
        };
        let mut known = Vec::new();
        for field in columns.fields().iter().filter(|field| !META_COLUMNS.contains(&field.name().as_str())) {
            if file.partition.iter().any(|(name, _)| name == field.name()) {
                continue;
            }
            let id = ids.get(field.name()).copied();
            if let Some(own) = own_id(field)
                && id != Some(own)
            {
                let what = format!(
                    "column `{}` carries the field id {own} of another table, by which readers would take it",
                    field.name()
                );
                return Err(self.refused(file, what, ADVICE));
            }
            let Some(id) = id else {
                let hint = format!("add it first: `ALTER TABLE {} ADD COLUMN {} …`", self.name, field.name());
                return Err(self.refused(file, format!("the table has no column `{}`", field.name()), hint));
            };
            let target = self.metadata.current_schema().name_by_field_id(id);
            let target = target.and_then(|name| self.schema.field_with_name(name).ok());
            // A column that the table dropped is not read.
            let Some(target) = target else { continue };
            if let Some(what) = obstacle(field.data_type(), target.data_type()) {
                return Err(self.refused(file, format!("column `{}`: {what}", field.name()), ADVICE));
            }
            known.push((field.name().clone(), id));
        }
        for target in self.schema.fields().iter().filter(|field| !field.is_nullable()) {
            let id = self.metadata.current_schema().field_id_by_name(target.name());
            let in_path = file.partition.iter().any(|(name, _)| name == target.name());
            if !in_path && !known.iter().any(|(_, known)| Some(*known) == id) {
                let what = format!("it lacks column `{}`, which the table requires", target.name());
                return Err(self.refused(
                    file,
                    what,
                    "drop the NOT NULL of the column, or import other files",
                ));
            }
        }
        Ok(known)
    }

    /// The values that the file's folders say.
    fn partition(&self, file: &ListedFile) -> Result<Struct, LakehouseError> {
        let spec = self.metadata.default_partition_spec();
        let schema = self.metadata.current_schema();
        let mut values: Vec<Option<Literal>> = Vec::with_capacity(spec.fields().len());
        for field in spec.fields() {
            if field.transform == Transform::Void {
                values.push(None);
                continue;
            }
            let column = schema.field_by_id(field.source_id);
            let value =
                column.and_then(|column| file.partition.iter().find(|(name, _)| *name == column.name));
            let (Some(column), Some((_, value)), Transform::Identity) = (column, value, field.transform)
            else {
                let what = format!("its folders do not tell partition `{}` of the table", field.name);
                return Err(self.refused(file, what, ADVICE));
            };
            let value = value.as_deref().map(|text| literal(text, &column.field_type)).transpose();
            let value = value.map_err(|what| {
                self.refused(file, format!("`{}={what}` is no {}", column.name, column.field_type), ADVICE)
            })?;
            values.push(value);
        }
        if let Some((name, _)) = file.partition.iter().find(|(name, _)| {
            let id = schema.field_id_by_name(name);
            !spec.fields().iter().any(|field| Some(field.source_id) == id)
        }) {
            let what = format!("the table is not partitioned by `{name}`, which only its folders tell");
            return Err(self.refused(file, what, ADVICE));
        }
        Ok(Struct::from_iter(values))
    }

    /// Columns that stand in the files and in their folders have one value, so that nobody prunes by another one than is read.
    fn check_folders(
        &self,
        file: &ListedFile,
        names: &[String],
        (footer, columns): (&Arc<ParquetMetaData>, &SchemaRef),
    ) -> Result<(), LakehouseError> {
        let descriptor = footer.file_metadata().schema_descr();
        for name in names {
            let said =
                file.partition.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.clone());
            let field = self.metadata.current_schema().field_by_name(name);
            let wanted = match (&said, field) {
                (Some(text), Some(field)) => literal(text, &field.field_type).ok(),
                _ => None,
            };
            let found = StatisticsConverter::try_new(name, columns, descriptor).ok();
            let bounds = found.and_then(|found| {
                let of = |values: parquet::errors::Result<ArrayRef>| {
                    let field = field?;
                    let to = iceberg::arrow::type_to_arrow_type(&field.field_type).ok()?;
                    let values = cast_with_options(&values.ok()?, &to, &CastOptions::default()).ok()?;
                    arrow_primitive_to_literal(&values, &field.field_type).ok()
                };
                let groups = || footer.row_groups().iter();
                let nulls = found.row_group_null_counts(groups()).ok()?;
                let none = nulls.null_count() == 0 && nulls.values().iter().all(|count| *count == 0);
                none.then_some(
                    [of(found.row_group_mins(groups()))?, of(found.row_group_maxes(groups()))?].concat(),
                )
            });
            let is_equal = wanted.is_some() && bounds.is_some_and(|all| all.iter().all(|one| *one == wanted));
            if !is_equal {
                let what = format!(
                    "column `{name}` stands in the file too, and is not known to be as its folder says"
                );
                return Err(self.refused(file, what, ADVICE));
            }
        }
        Ok(())
    }

    /// Counts and bounds of the columns.
    fn figures(
        &self,
        known: &[(String, i32)],
        (footer, columns): (&Arc<ParquetMetaData>, &SchemaRef),
        entry: &mut DataFileBuilder,
    ) {
        let (mut counts, mut nulls, mut lower, mut upper) =
            (HashMap::new(), HashMap::new(), HashMap::new(), HashMap::new());
        let descriptor = footer.file_metadata().schema_descr();
        for (name, id) in known {
            let field = self.metadata.current_schema().field_by_id(*id);
            let Some(Type::Primitive(primitive)) = field.map(|field| field.field_type.as_ref()) else {
                continue;
            };
            let Ok(found) = StatisticsConverter::try_new(name, columns, descriptor) else { continue };
            let target = field.and_then(|field| self.schema.field_with_name(&field.name).ok());
            let Some(target) = target else { continue };
            let groups = || footer.row_groups().iter();
            counts.insert(*id, u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0));
            if let Ok(of_groups) = found.row_group_null_counts(groups())
                && of_groups.null_count() == 0
            {
                nulls.insert(*id, of_groups.values().iter().sum::<u64>());
            }
            let bound = |values: parquet::errors::Result<ArrayRef>| {
                let values = values.ok().filter(|values| values.null_count() == 0)?;
                let strict = CastOptions { safe: false, ..CastOptions::default() };
                let values = cast_with_options(&values, target.data_type(), &strict).ok()?;
                Some(data_of(&values, primitive))
            };
            if let Some(values) = bound(found.row_group_mins(groups()))
                && let Some(least) = values.into_iter().reduce(|a, b| if b < a { b } else { a })
            {
                lower.extend(cut(least).map(|least| (*id, least)));
            }
            if let Some(values) = bound(found.row_group_maxes(groups()))
                && let Some(most) = values.into_iter().reduce(|a, b| if b > a { b } else { a })
                && !is_long(&most)
            {
                upper.insert(*id, most);
            }
        }
        entry.value_counts(counts).null_value_counts(nulls).lower_bounds(lower).upper_bounds(upper);
    }
}

/// Columns of a file that its folders tell too.
fn known_folders(file: &ListedFile, columns: &ArrowSchema) -> Vec<String> {
    let names = file.partition.iter().map(|(name, _)| name.clone());
    names.filter(|name| columns.field_with_name(name).is_ok()).collect()
}

fn data_of(values: &ArrayRef, primitive: &PrimitiveType) -> Vec<Datum> {
    let mut found = Vec::with_capacity(values.len());
    each_value(values, |bytes| found.extend(Datum::try_from_bytes(bytes, primitive.clone())));
    // Without one of them the others are no bound.
    if found.len() == values.len() { found } else { Vec::new() }
}

fn is_long(bound: &Datum) -> bool {
    bound.to_bytes().map_or(true, |bytes| bytes.len() > BOUND_BYTES_MAX)
}

/// A lower bound that is short.
fn cut(bound: Datum) -> Option<Datum> {
    if !is_long(&bound) {
        return Some(bound);
    }
    let iceberg::spec::PrimitiveLiteral::String(text) = bound.literal() else { return None };
    let end = (0..=BOUND_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end))?;
    Some(Datum::string(&text[..end]))
}

/// A text in a folder's name as a value. Errors: the text.
fn literal(text: &str, column: &Type) -> Result<Literal, String> {
    let wrong = || text.to_string();
    let data_type = iceberg::arrow::type_to_arrow_type(column).map_err(|_| wrong())?;
    let texts: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let value = cast_with_options(&texts, &data_type, &strict).map_err(|_| wrong())?;
    let found = arrow_primitive_to_literal(&value, column).map_err(|_| wrong())?;
    found.into_iter().next().flatten().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_other_engines_cannot_read_in_place_are_told() {
        use DataType as T;
        let micros = T::Timestamp(TimeUnit::Microsecond, None);
        let fits = [
            (T::Int32, T::Int64),
            (T::Float32, T::Float64),
            (micros.clone(), micros.clone()),
            (T::Decimal128(9, 2), T::Decimal128(12, 2)),
            (T::Dictionary(Box::new(T::Int32), Box::new(T::Utf8)), T::Utf8),
        ];
        for (from, to) in fits {
            assert_eq!(obstacle(&from, &to), None, "{from} {to}");
        }
        let unfit = [
            (T::Timestamp(TimeUnit::Nanosecond, None), micros.clone()),
            (micros, T::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            (T::UInt32, T::Int64),
            (T::Int64, T::Int32),
            (T::Decimal128(9, 2), T::Decimal128(12, 3)),
            (T::Utf8, T::Int64),
        ];
        for (from, to) in unfit {
            assert!(obstacle(&from, &to).is_some(), "{from} {to}");
        }
    }

    #[test]
    fn folders_tell_values() {
        let of = |text: &str, primitive| literal(text, &Type::Primitive(primitive));
        assert_eq!(of("05", PrimitiveType::Long), Ok(Literal::long(5)));
        assert_eq!(of("2024-03-18", PrimitiveType::Date), Ok(Literal::date(19_800)));
        assert_eq!(of("北", PrimitiveType::String), Ok(Literal::string("北")));
        assert_eq!(of("x", PrimitiveType::Int), Err("x".to_string()));
    }
}
