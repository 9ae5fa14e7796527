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
    DataFile, DataFileFormat, Datum, Literal, PrimitiveLiteral, PrimitiveType, TableMetadata, Transform, Type,
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
    nulls: ArrayRef,
}

/// Where the files of an index stood in the one before it: what is known of them is taken over.
#[derive(Debug)]
struct Inherited {
    /// For each file, its place in the index before (`0`) or among the new ones (`1`).
    places: Vec<(usize, usize)>,
    /// Places of the new files.
    fresh: Vec<usize>,
}

impl Inherited {
    /// Files that stay keep their order, nearly always, so they are found by walking along both lists.
    fn of(before: &[Arc<DataFile>], files: &[DataFileView]) -> Self {
        let mut by_address: Option<HashMap<*const DataFile, usize>> = None;
        let (mut next, mut fresh) = (0, Vec::new());
        let mut places = Vec::with_capacity(files.len());
        for (at, file) in files.iter().enumerate() {
            let is_next = before.get(next).is_some_and(|known| Arc::ptr_eq(known, &file.file));
            let place = match is_next {
                true => Some(next),
                false => {
                    let known = by_address.get_or_insert_with(|| {
                        before.iter().enumerate().map(|(at, file)| (Arc::as_ptr(file), at)).collect()
                    });
                    known.get(&Arc::as_ptr(&file.file)).copied()
                }
            };
            match place {
                Some(place) => {
                    next = place + 1;
                    places.push((0, place));
                }
                None => {
                    places.push((1, fresh.len()));
                    fresh.push(at);
                }
            }
        }
        Self { places, fresh }
    }

    fn apply(&self, before: &ArrayRef, fresh: &ArrayRef) -> Option<ArrayRef> {
        arrow::compute::interleave(&[before.as_ref(), fresh.as_ref()], &self.places).ok()
    }
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
    /// Rows of each file.
    rows: ArrayRef,
    /// Whether some file is not Parquet, and which.
    other_format: Option<usize>,
    /// Columns of floats of which some file does not promise to hold no NaN.
    maybe_nan: HashSet<usize>,
}

impl FileIndex {
    fn new(
        view: &TableView,
        schema: SchemaRef,
        field_ids: Vec<Option<i32>>,
        before: Option<&FileIndex>,
    ) -> Self {
        let plain = schema.fields().iter().map(|field| {
            Arc::new(field.as_ref().clone().with_data_type(plain_text(field.data_type()))) as FieldRef
        });
        let mut index = Self {
            plain: Arc::new(Schema::new(plain.collect::<Vec<_>>())),
            schema,
            field_ids,
            files: view.files.iter().map(|file| Arc::clone(&file.file)).collect(),
            spec_ids: view.files.iter().map(|file| file.partition_spec_id).collect(),
            metadata: Arc::clone(&view.metadata),
            columns: Mutex::default(),
            rows: Arc::new(UInt64Array::from(Vec::<u64>::new())),
            other_format: None,
            maybe_nan: HashSet::new(),
        };
        let same = |before: &&FileIndex| before.schema == index.schema && before.field_ids == index.field_ids;
        let before = before.filter(same);
        let inherited = before.map(|before| Inherited::of(&before.files, &view.files));
        index.inherit(before.zip(inherited.as_ref()));
        index
    }

    /// Takes over what is known of files that were in the index before; only new ones are looked at. What is kept of each
    /// file is a value in a column, so a query of a hundred thousand files follows no pointer to any of them.
    fn inherit(&mut self, before: Option<(&FileIndex, &Inherited)>) {
        let all: Vec<usize> = (0..self.files.len()).collect();
        let fresh = before.map_or(&all, |(_, inherited)| &inherited.fresh);
        let rows: ArrayRef =
            Arc::new(fresh.iter().map(|at| Some(self.files[*at].record_count())).collect::<UInt64Array>());
        self.rows = before
            .and_then(|(before, inherited)| inherited.apply(&before.rows, &rows))
            .unwrap_or_else(|| match before {
                None => rows,
                Some(_) => {
                    Arc::new(self.files.iter().map(|file| Some(file.record_count())).collect::<UInt64Array>())
                }
            });
        let is_other = |at: &usize| self.files[*at].file_format() != DataFileFormat::Parquet;
        // A file that was of another format is still there, or was taken for new.
        self.other_format = match before {
            Some((before, _)) if before.other_format.is_some() => all.iter().copied().find(is_other),
            _ => fresh.iter().copied().find(is_other),
        };
        let floats = self.schema.fields().iter().enumerate().filter(|(_, field)| is_float(field.data_type()));
        let maybe_nan = floats.map(|(column, _)| column).filter(|column| {
            let Some(id) = self.field_ids[*column] else { return true };
            let may = |at: &usize| self.files[*at].nan_value_counts().get(&id) != Some(&0);
            match before {
                // One of the files that made it so may have gone.
                Some((before, _)) if before.maybe_nan.contains(column) => all.iter().any(may),
                _ => fresh.iter().any(may),
            }
        });
        self.maybe_nan = maybe_nan.collect();
        let Some((before, inherited)) = before else { return };
        let known: Vec<(usize, Arc<ColumnBounds>)> =
            before.columns.lock().iter().map(|(column, bounds)| (*column, Arc::clone(bounds))).collect();
        for (column, bounds) in known {
            let taken = self.bounds_of(column, fresh).and_then(|new| {
                Some(ColumnBounds {
                    lower: inherited.apply(&bounds.lower, &new.lower)?,
                    upper: inherited.apply(&bounds.upper, &new.upper)?,
                    nulls: inherited.apply(&bounds.nulls, &new.nulls)?,
                })
            });
            if let Some(taken) = taken {
                self.columns.lock().insert(column, Arc::new(taken));
            }
        }
    }

    /// The first file that is not Parquet.
    pub(super) fn other_format(&self) -> Option<DataFileFormat> {
        self.other_format.map(|at| self.files[at].file_format())
    }

    /// Columns of floats of which some file does not promise to hold no NaN.
    pub(super) fn maybe_nan(&self) -> &HashSet<usize> {
        &self.maybe_nan
    }

    fn is_of(&self, view: &TableView, schema: &SchemaRef) -> bool {
        let files = &view.files;
        let same_files =
            || self.files.iter().zip(files.iter()).all(|(own, other)| Arc::ptr_eq(own, &other.file));
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
        let all: Vec<usize> = (0..self.files.len()).collect();
        let bounds = Arc::new(self.bounds_of(column, &all)?);
        self.columns.lock().insert(column, Arc::clone(&bounds));
        Some(bounds)
    }

    /// The bounds of a column in some files.
    fn bounds_of(&self, column: usize, files: &[usize]) -> Option<ColumnBounds> {
        let data_type = self.plain.field(column).data_type();
        let null = ScalarValue::try_new_null(data_type).ok()?;
        let all: Vec<FileBounds> = files.iter().map(|file| self.bounds(*file, column)).collect();
        let array = |pick: fn(&FileBounds) -> &Option<ScalarValue>| {
            if all.is_empty() {
                return Some(arrow::array::new_empty_array(data_type));
            }
            let values =
                all.iter().map(|bounds| pick(bounds).clone().map_or_else(|| null.clone(), plain_value));
            ScalarValue::iter_to_array(values).ok()
        };
        Some(ColumnBounds {
            lower: array(|bounds| &bounds.lower)?,
            upper: array(|bounds| &bounds.upper)?,
            nulls: Arc::new(all.iter().map(|bounds| bounds.nulls).collect::<UInt64Array>()),
        })
    }

    /// Whether rows are partitioned by buckets of a column, in any of the specifications.
    fn has_buckets(&self, id: i32) -> bool {
        let is_bucket = |transform: &Transform| matches!(transform, Transform::Bucket(_));
        let mut fields = self.metadata.partition_specs_iter().flat_map(|spec| spec.fields());
        fields.any(|field| field.source_id == id && is_bucket(&field.transform))
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
        self.column(column.name()).map(|bounds| Arc::clone(&bounds.nulls))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::clone(&self.rows))
    }

    /// Tells files apart by the bucket of their partition: one whose bucket none of `values` falls into has none.
    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let index = self.schema.index_of(column.name()).ok()?;
        let id = (*self.field_ids.get(index)?)?;
        if !self.has_buckets(id) {
            return None;
        }
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
        if let Some(index) = kept.iter().find(|index| index.is_of(view, schema)) {
            return Arc::clone(index);
        }
        // The newest one differs by what the last commits did.
        let before = kept.last().map(AsRef::as_ref);
        let index = Arc::new(FileIndex::new(view, Arc::clone(schema), field_ids.to_vec(), before));
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
