//! Columns of files that bring their types: those of all files together, and what people want to know of them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use tarn_core::change::META_COLUMNS;
use tarn_core::files::{FilesFault, FoundColumn};

use super::hive::repeated;
use super::samples::{SAMPLE_ROWS, found_column, shown_rows};

const EXTENSION: &str = "ARROW:extension:name";
const UUID: &str = "arrow.uuid";

/// A field with nothing that only its writer means, nullable throughout at the top.
pub(crate) fn plain(field: &Field) -> FieldRef {
    let plain = Field::new(field.name(), field.data_type().clone(), true);
    Arc::new(match field.metadata().get(EXTENSION).is_some_and(|name| name == UUID) {
        true => uuid(plain),
        false => plain,
    })
}

/// A field of 16 bytes that is a UUID.
pub(crate) fn uuid(field: Field) -> Field {
    field.with_metadata(HashMap::from([(EXTENSION.to_string(), UUID.to_string())]))
}

/// The wider of two types of one column.
fn wider(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    let rank = |data_type: &DataType| match data_type {
        T::Int8 => Some(1),
        T::Int16 | T::UInt8 => Some(2),
        T::Int32 | T::UInt16 => Some(3),
        T::Int64 | T::UInt32 => Some(4),
        _ => None,
    };
    match (a, b) {
        (a, b) if a == b => Some(a.clone()),
        (a, b) if rank(a).is_some() && rank(b).is_some() => {
            Some(if rank(a) >= rank(b) { a.clone() } else { b.clone() })
        }
        (T::Float32, T::Float64) | (T::Float64, T::Float32) => Some(T::Float64),
        (T::Utf8 | T::LargeUtf8 | T::Utf8View, T::Utf8 | T::LargeUtf8 | T::Utf8View) => Some(T::Utf8),
        (T::Timestamp(_, a), T::Timestamp(_, b)) if a == b => {
            Some(T::Timestamp(TimeUnit::Microsecond, a.clone()))
        }
        (T::Decimal128(p, s), T::Decimal128(q, t)) if s == t => Some(T::Decimal128(*p.max(q), *s)),
        (T::Null, other) | (other, T::Null) => Some(other.clone()),
        _ => None,
    }
}

/// Columns of files seen so far.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    fields: Vec<(FieldRef, String)>,
    pub(crate) found: Vec<FoundColumn>,
    pub(crate) sample_rows: Vec<Vec<Option<String>>>,
    pub(crate) rows: u64,
    pub(crate) warnings: Vec<String>,
    reasons: HashMap<String, String>,
}

impl Columns {
    /// Whether no file was seen.
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Takes the columns of a file in. Errors: a column of another kind than before.
    pub(crate) fn see(&mut self, file: &str, schema: &Schema) -> Result<(), FilesFault> {
        let is_first = self.fields.is_empty();
        let own = schema.fields().iter().filter(|field| !META_COLUMNS.contains(&field.name().as_str()));
        for field in own {
            let Some((known, of)) = self.fields.iter_mut().find(|(known, _)| known.name() == field.name())
            else {
                if !is_first {
                    self.warnings
                        .push(format!("column `{}` is not in all files; it is null there", field.name()));
                }
                self.fields.push((plain(field), file.to_string()));
                continue;
            };
            let wide = wider(known.data_type(), field.data_type()).ok_or_else(|| {
                FilesFault::invalid(
                    format!(
                        "column `{}` is {} in `{of}` and {} in `{file}`",
                        field.name(),
                        known.data_type(),
                        field.data_type()
                    ),
                    "import files of one schema at a time",
                )
            })?;
            *known = Arc::new(known.as_ref().clone().with_data_type(wide));
        }
        Ok(())
    }

    /// Why a column has its type, where that is no matter of course.
    pub(crate) fn say_why(&mut self, column: &str, why: String) {
        self.reasons.entry(column.to_string()).or_insert(why);
    }

    /// Takes rows of the first file as samples.
    pub(crate) fn show(&mut self, batch: Option<&RecordBatch>) {
        let column = |(field, _): &(FieldRef, String)| batch?.column_by_name(field.name());
        let columns: Vec<Option<&ArrayRef>> = self.fields.iter().map(column).collect();
        self.sample_rows = shown_rows(&columns, batch.map_or(0, RecordBatch::num_rows));
    }

    /// The schema with what people want to know of it.
    pub(crate) fn finish(&mut self) -> SchemaRef {
        for (field, _) in &self.fields {
            if matches!(field.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _)) {
                let name = field.name();
                self.warnings.push(format!("column `{name}` has nanoseconds; a table keeps microseconds"));
            }
        }
        let found = |(at, (field, _)): (usize, &(FieldRef, String))| FoundColumn {
            reason: self.reasons.get(field.name()).cloned(),
            ..found_column(field.name(), field.data_type().to_string(), &self.sample_rows, at)
        };
        self.found = self.fields.iter().enumerate().map(found).collect();
        self.sample_rows.truncate(SAMPLE_ROWS);
        Arc::new(Schema::new(self.fields.iter().map(|(field, _)| Arc::clone(field)).collect::<Vec<_>>()))
    }
}

/// Rows of a file with the columns of its folders, which take the place of its own ones of the same name.
pub(crate) fn with_constants(
    batch: &RecordBatch,
    constants: &[(FieldRef, ArrayRef)],
) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut columns): (Vec<FieldRef>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if constants.iter().all(|(known, _)| known.name() != field.name()) {
            fields.push(plain(field));
            columns.push(Arc::clone(column));
        }
    }
    for (field, value) in constants {
        fields.push(Arc::clone(field));
        columns.push(repeated(value, batch.num_rows())?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}
