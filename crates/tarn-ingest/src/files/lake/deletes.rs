//! Rows of data files that are deleted: by deletion vectors, by files of positions, and by files of values.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use futures::TryStreamExt;
use parking_lot::Mutex;
use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};
use tarn_core::RequestContext;
use tarn_core::files::FilesFault;

use super::adapt::{Finder, absent, adapted};
use super::column::{FoundBy, LakeColumn, LakeType};
use super::place::{open_at, read_part};
use super::reader::parquet_rows;
use super::{LakePlan, bitmap};
use crate::files::config::FilesConfig;
use crate::files::text::broken;
use crate::files::{FileReaders, OpenFile};

/// Memory for deletes that further files of the same table may need too.
const CACHE_BYTES_MAX: usize = 128 << 20;
/// The columns of files of positions (Iceberg specification, reserved field ids).
const PATH_ID: i32 = 2_147_483_546;
const POSITION_ID: i32 = 2_147_483_545;

/// A deletion vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Vector {
    /// In Z85.
    Inline(String),
    /// Part of a file: the whole frame.
    At { location: String, offset: u64, bytes: u64 },
}

/// A file of deletes that may concern several data files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeleteFile {
    pub(crate) location: String,
    pub(crate) bytes: u64,
    /// The columns by whose values rows are deleted; none: by their positions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ids: Vec<i32>,
}

/// A vector of a data file. `rows`: how many it deletes, where that is known.
pub(crate) async fn vector(
    files: &FileReaders,
    ctx: &RequestContext,
    (config, lake): (&FilesConfig, &LakePlan),
    (vector, rows): (&Vector, Option<u64>),
    file: &str,
) -> Result<RoaringTreemap, FilesFault> {
    let set = match vector {
        Vector::Inline(text) => match bitmap::z85(text) {
            Some(bytes) => bitmap::bare(&bytes),
            None => Err("its deletion vector is no Z85 text".to_string()),
        },
        Vector::At { location, offset, bytes } => {
            let open = open_at(files, ctx, (config, &lake.roots), location, None).await?;
            bitmap::framed(&read_part(&open, *offset, *bytes).await?)
        }
    };
    let set = set.map_err(|what| broken(file, &what))?;
    match rows {
        Some(rows) if rows != set.len() => {
            let what =
                format!("its deletion vector holds {} rows, and {rows} according to the table", set.len());
            Err(broken(file, &what))
        }
        _ => Ok(set),
    }
}

/// What a file of deletes holds.
#[derive(Debug)]
pub(crate) enum Deletes {
    /// Positions by the path of the data file, as the file writes it.
    Positions(HashMap<String, RoaringTreemap>),
    Values(Values),
}

/// Values of some columns; rows with them are deleted.
#[derive(Debug)]
pub(crate) struct Values {
    /// Places of the columns in the plan.
    columns: Vec<usize>,
    types: Vec<DataType>,
    rows: HashSet<Box<[u8]>>,
}

impl Values {
    /// Tells the rows that are not deleted. `columns`: those of the plan.
    pub(crate) fn keep(&self, columns: &[ArrayRef]) -> Result<BooleanArray, ArrowError> {
        let own: Option<Vec<ArrayRef>> =
            self.columns.iter().map(|column| columns.get(*column).cloned()).collect();
        let own = own.ok_or_else(|| ArrowError::SchemaError("a column of deletes is missing".to_string()))?;
        let converter = converter(&self.types)?;
        let rows = converter.convert_columns(&own)?;
        Ok(rows.iter().map(|row| Some(!self.rows.contains(row.as_ref()))).collect())
    }
}

fn converter(types: &[DataType]) -> Result<RowConverter, ArrowError> {
    RowConverter::new(types.iter().cloned().map(SortField::new).collect())
}

/// Deletes that were read lately.
#[derive(Debug, Default)]
pub(crate) struct DeleteCache(Mutex<VecDeque<(String, Arc<Deletes>, usize)>>);

impl DeleteCache {
    fn get(&self, key: &str) -> Option<Arc<Deletes>> {
        let all = self.0.lock();
        all.iter().find(|(known, ..)| known == key).map(|(_, deletes, _)| Arc::clone(deletes))
    }

    fn put(&self, key: String, deletes: &Arc<Deletes>, bytes: usize) {
        let mut all = self.0.lock();
        all.push_back((key, Arc::clone(deletes), bytes));
        while all.iter().map(|(.., bytes)| bytes).sum::<usize>() > CACHE_BYTES_MAX
            && all.pop_front().is_some()
        {}
    }
}

/// The deletes of a file.
pub(crate) async fn load(
    files: &FileReaders,
    ctx: &RequestContext,
    (config, lake): (&FilesConfig, &LakePlan),
    file: &DeleteFile,
) -> Result<Arc<Deletes>, FilesFault> {
    let endpoint = config.s3.endpoint.as_deref().unwrap_or_default();
    let key = format!("{}|{endpoint}|{}|{}|{:?}", ctx.tenant.as_str(), file.location, file.bytes, file.ids);
    // Whether it may be read is asked each time.
    let open = open_at(files, ctx, (config, &lake.roots), &file.location, Some(file.bytes)).await?;
    if let Some(known) = files.deletes.get(&key) {
        return Ok(known);
    }
    let (deletes, bytes) = match file.ids.is_empty() {
        true => positions(&open).await?,
        false => values(&open, lake, &file.ids).await?,
    };
    let deletes = Arc::new(deletes);
    files.deletes.put(key, &deletes, bytes);
    Ok(deletes)
}

async fn positions(open: &OpenFile) -> Result<(Deletes, usize), FilesFault> {
    let one = |name: &str, id: i32, kind: &str| LakeColumn {
        id: Some(id),
        aliases: vec![name.to_string()],
        ..LakeColumn::new(name, LakeType::One(kind.into()))
    };
    let columns = [one("file_path", PATH_ID, "string"), one("pos", POSITION_ID, "long")];
    let wrong = |error: ArrowError| broken(&open.shown, &error.to_string());
    let mut found: HashMap<String, RoaringTreemap> = HashMap::new();
    let mut rows = parquet_rows(open, &columns, FoundBy::Id, None, 0).await?.0;
    while let Some(batch) =
        rows.try_next().await.map_err(|error| crate::files::parquet::fault_of(open, error))?
    {
        let read = read_columns(&columns, &batch).map_err(wrong)?;
        let [paths, positions] = read.as_slice() else { continue };
        let (paths, positions) = (paths.as_string::<i32>(), positions.as_primitive::<Int64Type>());
        for (path, position) in paths.iter().zip(positions) {
            let position = position.and_then(|position| u64::try_from(position).ok());
            let (Some(path), Some(position)) = (path, position) else {
                return Err(broken(&open.shown, "a position in it is null or negative"));
            };
            match found.get_mut(path) {
                Some(set) => drop(set.insert(position)),
                None => drop(found.insert(path.to_string(), RoaringTreemap::from_iter([position]))),
            }
        }
    }
    let bytes = found.iter().map(|(path, set)| path.len() + set.serialized_size() + 64).sum();
    Ok((Deletes::Positions(found), bytes))
}

async fn values(open: &OpenFile, lake: &LakePlan, ids: &[i32]) -> Result<(Deletes, usize), FilesFault> {
    let places: Option<Vec<usize>> =
        ids.iter().map(|id| lake.columns.iter().position(|column| column.id == Some(*id))).collect();
    let places = places.ok_or_else(|| broken(&open.shown, "it deletes by a column that is not known"))?;
    let columns: Vec<LakeColumn> = places.iter().filter_map(|at| lake.columns.get(*at).cloned()).collect();
    let types: Vec<DataType> = columns.iter().map(LakeColumn::data_type).collect();
    let wrong = |error: ArrowError| broken(&open.shown, &error.to_string());
    let converter = converter(&types).map_err(wrong)?;
    let mut set: HashSet<Box<[u8]>> = HashSet::new();
    let mut rows = parquet_rows(open, &columns, lake.by, None, 0).await?.0;
    while let Some(batch) =
        rows.try_next().await.map_err(|error| crate::files::parquet::fault_of(open, error))?
    {
        let read = read_columns(&columns, &batch).map_err(wrong)?;
        let rows = converter.convert_columns(&read).map_err(wrong)?;
        set.extend(rows.iter().map(|row| Box::from(row.as_ref())));
    }
    let bytes = set.iter().map(|row| row.len() + 48).sum();
    Ok((Deletes::Values(Values { columns: places, types, rows: set }), bytes))
}

fn read_columns(columns: &[LakeColumn], batch: &RecordBatch) -> Result<Vec<ArrayRef>, ArrowError> {
    let schema = batch.schema();
    let finder = Finder::of(FoundBy::Id, &schema);
    let read = |column: &LakeColumn| match finder.find(column, schema.fields()) {
        Some(at) => adapted(column, batch.column(at), finder),
        None => absent(column, batch.num_rows()),
    };
    columns.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray};

    use super::*;

    #[test]
    fn rows_with_deleted_values_go_and_null_equals_null() {
        let ids: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("b"), None]));
        let types = vec![DataType::Int32, DataType::Utf8];
        let gone = converter(&types).expect("types");
        let gone = gone
            .convert_columns(&[
                Arc::new(Int32Array::from(vec![None, Some(3), Some(1)])) as ArrayRef,
                Arc::new(StringArray::from(vec![Some("b"), None, Some("x")])),
            ])
            .expect("rows");
        let rows = gone.iter().map(|row| Box::from(row.as_ref())).collect();
        let values = Values { columns: vec![0, 1], types, rows };
        let kept: Vec<bool> = values.keep(&[ids, names]).expect("told").iter().flatten().collect();
        assert_eq!(kept, [true, false, false]);
    }
}
