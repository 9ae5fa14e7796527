//! Plain types at the edge: inside, text is `Utf8View`, which many clients cannot read, and instants are in UTC, which is
//! shown in the session's time zone.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{can_cast_types, cast};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::sql::ShownNames;

/// Turns the engine's batches into those that leave it.
#[derive(Clone, Debug)]
pub(crate) struct OutputTypes {
    schema: SchemaRef,
    casts: Vec<Option<DataType>>,
}

impl OutputTypes {
    /// For rows of `inner`, shown in a time zone, `None` for the one that they have, and by other names.
    pub(crate) fn of(inner: &Schema, zone: Option<&str>, names: &ShownNames) -> Self {
        let zone: Option<Arc<str>> = zone.filter(|zone| !is_utc(zone)).map(Arc::from);
        let mut casts = Vec::with_capacity(inner.fields().len());
        let fields: Vec<FieldRef> = inner
            .fields()
            .iter()
            .map(|field| {
                let shown = match names.get(field.name()) {
                    Some(name) => Arc::new(field.as_ref().clone().with_name(name)),
                    None => Arc::clone(field),
                };
                let plain = plain_type(field.data_type(), zone.as_ref());
                if plain == *field.data_type() || !can_cast_types(field.data_type(), &plain) {
                    casts.push(None);
                    return shown;
                }
                casts.push(Some(plain.clone()));
                Arc::new(shown.as_ref().clone().with_data_type(plain))
            })
            .collect();
        Self { schema: Arc::new(Schema::new_with_metadata(fields, inner.metadata().clone())), casts }
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    pub(crate) fn apply(&self, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns: Result<Vec<ArrayRef>, ArrowError> = batch
            .columns()
            .iter()
            .zip(&self.casts)
            .map(|(column, target)| match target {
                Some(target) => cast(column, target),
                None => Ok(Arc::clone(column)),
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema(), columns?, &options)
    }
}

fn is_utc(zone: &str) -> bool {
    ["UTC", "Etc/UTC", "Z", "+00:00", "+00"].iter().any(|name| zone.eq_ignore_ascii_case(name))
}

fn plain_field(field: &FieldRef, zone: Option<&Arc<str>>) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(plain_type(field.data_type(), zone)))
}

/// The same type without views and with instants in `zone`, at any depth.
fn plain_type(data_type: &DataType, zone: Option<&Arc<str>>) -> DataType {
    match data_type {
        DataType::Timestamp(unit, Some(own)) => {
            DataType::Timestamp(*unit, Some(Arc::clone(zone.unwrap_or(own))))
        }
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(plain_field(item, zone)),
        DataType::LargeList(item) => DataType::LargeList(plain_field(item, zone)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(plain_field(item, zone), *size),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| plain_field(field, zone)).collect())
        }
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries, zone), *sorted),
        DataType::Dictionary(key, value) => {
            DataType::Dictionary(key.clone(), Box::new(plain_type(value, zone)))
        }
        other => other.clone(),
    }
}
