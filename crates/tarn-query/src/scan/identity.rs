//! Columns that stand in no file but in its partition (Iceberg specification, "Column Projection"): files that others wrote
//! below folders such as `year=2024` leave them out.
//!
//! The reader asks for a mapping of columns by the file's schema alone, so the file's number travels in its footer.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result as DfResult;
use iceberg::spec::{Literal, TableMetadata, Transform};
use parquet::file::metadata::{FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataBuilder};
use tarn_lakehouse::DataFileView;

use super::bounds::primitive_scalar;
use super::nested::field_id;

/// Key of a footer's metadata: the file's place in [`Partitions`].
const PLACE: &str = "tarn.file";

/// The partitions of some files.
#[derive(Clone, Debug)]
pub(super) struct Partitions {
    metadata: Arc<TableMetadata>,
    files: Arc<Vec<DataFileView>>,
}

/// Ids of the columns by whose values some file of a table is partitioned.
pub(super) fn identity_columns(metadata: &TableMetadata) -> Vec<i32> {
    let fields = metadata.partition_specs_iter().flat_map(|spec| spec.fields());
    fields.filter(|field| field.transform == Transform::Identity).map(|field| field.source_id).collect()
}

impl Partitions {
    /// Of files; `None` where no column is in partitions only.
    pub(super) fn of(metadata: &Arc<TableMetadata>, files: &Arc<Vec<DataFileView>>) -> Option<Self> {
        let has_some = !identity_columns(metadata).is_empty();
        has_some.then(|| Self { metadata: Arc::clone(metadata), files: Arc::clone(files) })
    }

    /// The value of a column in all rows of the file of this schema; `None` where its partition does not tell. Errors: a
    /// value of a type that cannot be told.
    pub(super) fn value(
        &self,
        file: &Schema,
        id: i32,
        data_type: &DataType,
    ) -> DfResult<Option<ScalarValue>> {
        let place = file.metadata().get(PLACE).and_then(|place| place.parse::<usize>().ok());
        let Some(file) = place.and_then(|place| self.files.get(place)) else { return Ok(None) };
        let Some(spec) = self.metadata.partition_spec_by_id(file.partition_spec_id) else { return Ok(None) };
        let is_it = |field: &iceberg::spec::PartitionField| {
            field.source_id == id && field.transform == Transform::Identity
        };
        let Some(at) = spec.fields().iter().position(is_it) else { return Ok(None) };
        match file.partition().fields().get(at) {
            None => Ok(None),
            Some(None) => ScalarValue::try_new_null(data_type).map(Some),
            Some(Some(Literal::Primitive(value))) if primitive_scalar(value, data_type).is_some() => {
                Ok(primitive_scalar(value, data_type))
            }
            Some(Some(_)) => {
                exec_err!("the partition of `{}` has a value that is no {data_type}", file.file.file_path())
            }
        }
    }
}

/// The number of a file, beside the columns that it may lack.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) at: usize,
    pub(super) columns: Arc<[i32]>,
}

impl Place {
    /// The footer of the file, with its number where it lacks one of the columns.
    pub(super) fn in_footer(&self, footer: Arc<ParquetMetaData>) -> Arc<ParquetMetaData> {
        let own = footer.file_metadata();
        let fields = own.schema_descr().root_schema().get_fields();
        let has = |id: &i32| {
            fields.iter().any(|field| {
                let info = field.get_basic_info();
                info.has_id() && info.id() == *id
            })
        };
        if self.columns.iter().all(has) {
            return footer;
        }
        let mut notes = own.key_value_metadata().cloned().unwrap_or_default();
        notes.push(KeyValue::new(PLACE.to_string(), self.at.to_string()));
        let told = FileMetaData::new(
            own.version(),
            own.num_rows(),
            own.created_by().map(str::to_string),
            Some(notes),
            own.schema_descr_ptr(),
            own.column_orders().cloned(),
        );
        let told = ParquetMetaDataBuilder::new(told)
            .set_row_groups(footer.row_groups().to_vec())
            .set_column_index(footer.column_index().cloned())
            .set_offset_index(footer.offset_index().cloned());
        Arc::new(told.build())
    }

    /// The same for a schema that was read from the footer.
    pub(super) fn in_schema(&self, schema: &SchemaRef) -> SchemaRef {
        if self.columns.iter().all(|id| schema.fields().iter().any(|field| field_id(field) == Some(*id))) {
            return Arc::clone(schema);
        }
        let mut notes = schema.metadata().clone();
        notes.insert(PLACE.to_string(), self.at.to_string());
        Arc::new(schema.as_ref().clone().with_metadata(notes))
    }
}
