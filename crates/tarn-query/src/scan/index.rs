//! The files of a table as columns of bounds, so that one predicate is tried on all of them at once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Literal as LiteralExpr};
use datafusion::physical_optimizer::pruning::PruningPredicate;
use iceberg::spec::{
    DataFile, Datum, Literal, PrimitiveLiteral, PrimitiveType, TableMetadata, Transform, Type,
};
use iceberg::transform::create_transform_function;
use parking_lot::Mutex;
use tarn_lakehouse::{DataFileView, TableView};
use tracing::debug;

use super::bounds::{above_zeros, below_zeros, is_float, primitive_scalar, scalar_of};

const INDEXES_KEPT_MAX: usize = 64;
/// States of one table whose indexes are kept: the newest, and one that a query of the past may ask for.
const STATES_KEPT_MAX: usize = 2;

/// Bounds of one column in every file; null where nothing is known.
#[derive(Debug)]
struct ColumnBounds {
    lower: ArrayRef,
    upper: ArrayRef,
    nulls: UInt64Array,
}

/// The bounds of one file in one column.
#[derive(Clone, Debug, Default)]
pub(super) struct FileBounds {
    pub(super) lower: Option<ScalarValue>,
    pub(super) upper: Option<ScalarValue>,
    pub(super) nulls: Option<u64>,
    /// The value of every row, by the file's partition.
    pub(super) constant: bool,
}

/// The data files of a snapshot, ready for pruning.
#[derive(Debug)]
pub(super) struct FileIndex {
    schema: SchemaRef,
    /// The same with plain text types: comparing prefixes (`LIKE 'a%'`) with bounds does not know text views.
    plain: SchemaRef,
    field_ids: Vec<Option<i32>>,
    files: Vec<Arc<DataFile>>,
    spec_ids: Vec<i32>,
    metadata: Arc<TableMetadata>,
    columns: Mutex<HashMap<usize, Arc<ColumnBounds>>>,
}

impl FileIndex {
    fn new(view: &TableView, schema: SchemaRef, field_ids: Vec<Option<i32>>) -> Self {
        let plain = schema.fields().iter().map(|field| {
            Arc::new(field.as_ref().clone().with_data_type(plain_text(field.data_type()))) as FieldRef
        });
        Self {
            plain: Arc::new(Schema::new(plain.collect::<Vec<_>>())),
            schema,
            field_ids,
            files: view.files.iter().map(|file| Arc::clone(&file.file)).collect(),
            spec_ids: view.files.iter().map(|file| file.partition_spec_id).collect(),
            metadata: Arc::clone(&view.metadata),
            columns: Mutex::default(),
        }
    }

    fn is_of(&self, files: &[DataFileView], schema: &SchemaRef) -> bool {
        let same_files = || self.files.iter().zip(files).all(|(own, other)| Arc::ptr_eq(own, &other.file));
        self.files.len() == files.len() && self.schema == *schema && same_files()
    }

    /// For each file, whether it may hold a row that satisfies `predicate`. A predicate that cannot be tried on bounds
    /// leaves no file out.
    pub(super) fn prune(&self, predicate: &Arc<dyn PhysicalExpr>) -> Vec<bool> {
        self.try_prune(predicate).unwrap_or_else(|error| {
            debug!(%error, "filter was not tried on the bounds of files");
            vec![true; self.files.len()]
        })
    }

    fn try_prune(&self, predicate: &Arc<dyn PhysicalExpr>) -> DfResult<Vec<bool>> {
        let pruning = PruningPredicate::try_new(with_plain_text(predicate)?, Arc::clone(&self.plain))?;
        if pruning.always_true() {
            return Ok(vec![true; self.files.len()]);
        }
        pruning.prune(self)
    }

    /// What is known of column `column` in file `file`.
    pub(super) fn bounds(&self, file: usize, column: usize) -> FileBounds {
        let (Some(Some(id)), Some(data)) = (self.field_ids.get(column), self.files.get(file)) else {
            return FileBounds::default();
        };
        let data_type = self.schema.field(column).data_type();
        if let Some(constant) = self.partition_bounds(file, *id, data_type) {
            return constant;
        }
        let nulls = data.null_value_counts().get(id).copied();
        let nan_free = !is_float(data_type) || data.nan_value_counts().get(id) == Some(&0);
        if !nan_free {
            return FileBounds { nulls, ..FileBounds::default() };
        }
        let bound = |datum: Option<&Datum>| datum.and_then(|datum| scalar_of(datum, data_type));
        FileBounds {
            lower: bound(data.lower_bounds().get(id)).map(below_zeros),
            upper: bound(data.upper_bounds().get(id)).map(above_zeros),
            nulls,
            constant: false,
        }
    }

    /// An identity partition says the value of every row of a file.
    fn partition_bounds(&self, file: usize, id: i32, data_type: &DataType) -> Option<FileBounds> {
        let spec = self.metadata.partition_spec_by_id(*self.spec_ids.get(file)?)?;
        let data = self.files.get(file)?;
        let at = spec
            .fields()
            .iter()
            .position(|field| field.source_id == id && field.transform == Transform::Identity)?;
        if is_float(data_type) {
            return None;
        }
        match data.partition().fields().get(at)? {
            None => {
                Some(FileBounds { nulls: Some(data.record_count()), constant: true, ..FileBounds::default() })
            }
            Some(Literal::Primitive(value)) => {
                let value = primitive_scalar(value, data_type)?;
                Some(FileBounds {
                    lower: Some(value.clone()),
                    upper: Some(value),
                    nulls: Some(0),
                    constant: true,
                })
            }
            Some(_) => None,
        }
    }

    fn column(&self, name: &str) -> Option<Arc<ColumnBounds>> {
        let column = self.schema.index_of(name).ok()?;
        self.field_ids.get(column)?.as_ref()?;
        if let Some(bounds) = self.columns.lock().get(&column) {
            return Some(Arc::clone(bounds));
        }
        let data_type = self.plain.field(column).data_type();
        let null = ScalarValue::try_new_null(data_type).ok()?;
        let all: Vec<FileBounds> = (0..self.files.len()).map(|file| self.bounds(file, column)).collect();
        let array = |pick: fn(&FileBounds) -> &Option<ScalarValue>| {
            let values =
                all.iter().map(|bounds| pick(bounds).clone().map_or_else(|| null.clone(), plain_value));
            ScalarValue::iter_to_array(values).ok()
        };
        let bounds = Arc::new(ColumnBounds {
            lower: array(|bounds| &bounds.lower)?,
            upper: array(|bounds| &bounds.upper)?,
            nulls: all.iter().map(|bounds| bounds.nulls).collect(),
        });
        self.columns.lock().insert(column, Arc::clone(&bounds));
        Some(bounds)
    }

    /// The bucket of each file that is partitioned by `bucket(n, column)`, and `n`.
    fn bucket(&self, file: usize, id: i32) -> Option<(Transform, i32)> {
        let spec = self.metadata.partition_spec_by_id(*self.spec_ids.get(file)?)?;
        let is_bucket = |transform: &Transform| matches!(transform, Transform::Bucket(_));
        let at =
            spec.fields().iter().position(|field| field.source_id == id && is_bucket(&field.transform))?;
        match self.files.get(file)?.partition().fields().get(at)? {
            Some(Literal::Primitive(PrimitiveLiteral::Int(bucket))) => {
                Some((spec.fields()[at].transform, *bucket))
            }
            _ => None,
        }
    }
}

impl PruningStatistics for FileIndex {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column.name()).map(|bounds| Arc::clone(&bounds.lower))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column.name()).map(|bounds| Arc::clone(&bounds.upper))
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column.name()).map(|bounds| Arc::new(bounds.nulls.clone()) as ArrayRef)
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|file| Some(file.record_count())).collect::<UInt64Array>()))
    }

    /// Tells files apart by the bucket of their partition: one whose bucket none of `values` falls into has none.
    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let index = self.schema.index_of(column.name()).ok()?;
        let id = (*self.field_ids.get(index)?)?;
        let Type::Primitive(field_type) = self.metadata.current_schema().field_by_id(id)?.field_type.as_ref()
        else {
            return None;
        };
        let mut wanted: HashMap<Transform, Option<HashSet<i32>>> = HashMap::new();
        let mut known = false;
        let answers: BooleanArray = (0..self.files.len())
            .map(|file| {
                let (transform, bucket) = self.bucket(file, id)?;
                let buckets =
                    wanted.entry(transform).or_insert_with(|| buckets_of(transform, values, field_type));
                let ruled_out = !buckets.as_ref()?.contains(&bucket);
                known |= ruled_out;
                ruled_out.then_some(false)
            })
            .collect();
        known.then_some(answers)
    }
}
fn buckets_of(
    transform: Transform,
    values: &HashSet<ScalarValue>,
    field_type: &PrimitiveType,
) -> Option<HashSet<i32>> {
    let function = create_transform_function(&transform).ok()?;
    let bucket = |value: &ScalarValue| match function
        .transform_literal(&datum_of(value, field_type)?)
        .ok()??
        .literal()
    {
        PrimitiveLiteral::Int(bucket) => Some(*bucket),
        _ => None,
    };
    values.iter().map(bucket).collect()
}

/// A literal of a query as Iceberg value, for the types whose hash is the same whatever the writer.
fn datum_of(value: &ScalarValue, field_type: &PrimitiveType) -> Option<Datum> {
    match (value, field_type) {
        (ScalarValue::Int32(Some(v)), PrimitiveType::Int) => Some(Datum::int(*v)),
        (ScalarValue::Int64(Some(v)), PrimitiveType::Long) => Some(Datum::long(*v)),
        (ScalarValue::Date32(Some(v)), PrimitiveType::Date) => Some(Datum::date(*v)),
        (
            ScalarValue::Utf8View(Some(v)) | ScalarValue::Utf8(Some(v)) | ScalarValue::LargeUtf8(Some(v)),
            PrimitiveType::String,
        ) => Some(Datum::string(v)),
        _ => None,
    }
}

fn plain_text(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

fn plain_value(value: ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Utf8View(text) => ScalarValue::Utf8(text),
        ScalarValue::BinaryView(bytes) => ScalarValue::Binary(bytes),
        other => other,
    }
}

fn with_plain_text(predicate: &Arc<dyn PhysicalExpr>) -> DfResult<Arc<dyn PhysicalExpr>> {
    let plain = |node: Arc<dyn PhysicalExpr>| -> DfResult<Transformed<Arc<dyn PhysicalExpr>>> {
        if let Some(literal) = node.downcast_ref::<LiteralExpr>() {
            return Ok(Transformed::yes(Arc::new(LiteralExpr::new(plain_value(literal.value().clone())))));
        }
        match node.downcast_ref::<CastExpr>() {
            Some(cast) => {
                let to = plain_text(cast.cast_type());
                Ok(Transformed::yes(Arc::new(CastExpr::new(Arc::clone(cast.expr()), to, None))))
            }
            None => Ok(Transformed::no(node)),
        }
    };
    Arc::clone(predicate).transform_up(plain).data()
}

/// The indexes of the tables queried last.
#[derive(Debug, Default)]
pub(super) struct IndexCache(Mutex<VecDeque<(uuid::Uuid, Arc<FileIndex>)>>);

impl IndexCache {
    /// The index of a view's files, made anew only where files or schema changed.
    pub(super) fn get(
        &self,
        view: &TableView,
        schema: &SchemaRef,
        field_ids: &[Option<i32>],
    ) -> Arc<FileIndex> {
        let table = view.metadata.uuid();
        let kept = {
            let kept = self.0.lock();
            kept.iter().filter(|(of, _)| *of == table).map(|(_, index)| Arc::clone(index)).collect::<Vec<_>>()
        };
        if let Some(index) = kept.into_iter().find(|index| index.is_of(&view.files, schema)) {
            return index;
        }
        let index = Arc::new(FileIndex::new(view, Arc::clone(schema), field_ids.to_vec()));
        let mut kept = self.0.lock();
        let oldest = kept.iter().position(|(of, _)| *of == table);
        let states = kept.iter().filter(|(of, _)| *of == table).count();
        if let Some(oldest) = oldest.filter(|_| states >= STATES_KEPT_MAX) {
            kept.remove(oldest);
        } else if kept.len() == INDEXES_KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((table, Arc::clone(&index)));
        index
    }
}
