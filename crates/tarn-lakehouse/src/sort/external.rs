//! Sorting with bounded memory: sorted runs on the local disk, merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::{concat_batches, interleave_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};

use crate::error::LakehouseError;

/// Rows of a spilled batch, and of one that is given out.
const BATCH_ROWS: usize = 4 * 1024;
/// Runs merged at a time: each holds a batch in memory.
const MERGED_MAX: usize = 48;
/// Bytes in memory before a run is spilled. While one is sorted it takes twice as much again.
const MEMORY_BYTES: usize = 64 << 20;

/// Takes rows in any order, each with a key and where it came from.
pub(crate) struct Sorter {
    table: String,
    /// Rows, then key, then origin.
    schema: SchemaRef,
    folder: PathBuf,
    unique: String,
    waiting: Vec<RecordBatch>,
    bytes: usize,
    memory_bytes: usize,
    runs: Vec<Run>,
    made: usize,
}

/// A sorted run on disk; it goes with this.
struct Run(PathBuf);

impl Drop for Run {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "a sorted run stays behind");
        }
    }
}

/// Rows in order.
pub(crate) struct SortedRows {
    table: String,
    merge: Merge,
    _runs: Vec<Run>,
}

fn failed(table: &str, path: &Path, source: impl std::fmt::Display) -> LakehouseError {
    let what = format!("rows of table `{table}` could not be sorted in `{}`: {source}", path.display());
    LakehouseError::Invalid { what }
}

fn with_key(schema: &Schema) -> SchemaRef {
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new("@key", DataType::Binary, false)));
    fields.push(Arc::new(Field::new("@origin", DataType::UInt64, false)));
    Arc::new(Schema::new(fields))
}

impl Sorter {
    /// Of rows of a schema. `folder`: where runs are kept meanwhile; `unique`: tells its runs from others there.
    pub(crate) fn new(table: &str, schema: &Schema, folder: PathBuf, unique: String) -> Self {
        Self {
            table: table.into(),
            schema: with_key(schema),
            folder,
            unique,
            waiting: Vec::new(),
            bytes: 0,
            memory_bytes: MEMORY_BYTES,
            runs: Vec::new(),
            made: 0,
        }
    }

    fn arrow(&self, source: ArrowError) -> LakehouseError {
        LakehouseError::Arrow { table: self.table.clone(), source }
    }

    /// Takes rows. `origins`: one per row, given back with it.
    pub(crate) fn push(
        &mut self,
        rows: &RecordBatch,
        keys: BinaryArray,
        origins: UInt64Array,
    ) -> Result<(), LakehouseError> {
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        columns.push(Arc::new(keys));
        columns.push(Arc::new(origins));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|e| self.arrow(e))?;
        self.bytes += batch.get_array_memory_size();
        self.waiting.push(batch);
        if self.bytes >= self.memory_bytes { self.spill() } else { Ok(()) }
    }

    /// What waits, in order, in batches.
    fn sorted(&mut self) -> Result<Vec<RecordBatch>, LakehouseError> {
        let waiting = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        let all = concat_batches(&self.schema, &waiting).map_err(|e| self.arrow(e))?;
        drop(waiting);
        let keys = key_of(&all).clone();
        let rows = u32::try_from(all.num_rows()).map_err(|_| LakehouseError::Invalid {
            what: format!("too many rows of table `{}` at once", self.table),
        })?;
        let mut order: Vec<u32> = (0..rows).collect();
        // Stable, so that equal rows stay in the order in which they came.
        order.sort_by(|a, b| keys.value(*a as usize).cmp(keys.value(*b as usize)));
        let parts =
            order.chunks(BATCH_ROWS).map(|part| take_record_batch(&all, &UInt32Array::from(part.to_vec())));
        parts.collect::<Result<_, _>>().map_err(|e| self.arrow(e))
    }

    fn spill(&mut self) -> Result<(), LakehouseError> {
        let batches = self.sorted()?;
        let mut batches = batches.into_iter().map(Ok);
        let run = self.write(&mut batches)?;
        self.runs.push(run);
        Ok(())
    }

    fn write(
        &mut self,
        batches: &mut dyn Iterator<Item = Result<RecordBatch, LakehouseError>>,
    ) -> Result<Run, LakehouseError> {
        self.made += 1;
        let path = self.folder.join(format!("sort-{}-{}.arrow", self.unique, self.made));
        let told = |source: &dyn std::fmt::Display| failed(&self.table, &path, source);
        std::fs::create_dir_all(&self.folder).map_err(|e| told(&e))?;
        let file = BufWriter::new(File::create(&path).map_err(|e| told(&e))?);
        let run = Run(path.clone());
        let options = IpcWriteOptions::default();
        let options =
            options.clone().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap_or(options);
        let writer = StreamWriter::try_new_with_options(file, &self.schema, options);
        let mut writer = writer.map_err(|e| told(&e))?;
        for batch in batches {
            writer.write(&batch?).map_err(|e| told(&e))?;
        }
        writer.finish().map_err(|e| told(&e))?;
        Ok(run)
    }

    /// All rows, in order.
    pub(crate) fn finish(mut self) -> Result<SortedRows, LakehouseError> {
        if self.runs.is_empty() {
            let batches = if self.waiting.is_empty() { Vec::new() } else { self.sorted()? };
            let merge = Merge::new(vec![Source::held(batches)], &self.table)?;
            return Ok(SortedRows { table: self.table, merge, _runs: Vec::new() });
        }
        if !self.waiting.is_empty() {
            self.spill()?;
        }
        while self.runs.len() > MERGED_MAX {
            let some: Vec<Run> = self.runs.drain(..MERGED_MAX).collect();
            let mut merge = self.merge(&some)?;
            let table = self.table.clone();
            let run = self.write(&mut std::iter::from_fn(|| merge.next(&table).transpose()))?;
            // Behind the others, which came later: rows of equal keys may change places, no other.
            self.runs.push(run);
        }
        let runs = std::mem::take(&mut self.runs);
        let merge = self.merge(&runs)?;
        Ok(SortedRows { table: self.table, merge, _runs: runs })
    }

    fn merge(&self, runs: &[Run]) -> Result<Merge, LakehouseError> {
        let open = |run: &Run| {
            let told = |source: &dyn std::fmt::Display| failed(&self.table, &run.0, source);
            let file = BufReader::new(File::open(&run.0).map_err(|e| told(&e))?);
            let reader = StreamReader::try_new(file, None).map_err(|e| told(&e))?;
            Ok(Source { rest: Box::new(reader), batch: None, row: 0 })
        };
        let sources: Result<Vec<Source>, LakehouseError> = runs.iter().map(open).collect();
        Merge::new(sources?, &self.table)
    }
}

fn key_of(batch: &RecordBatch) -> &BinaryArray {
    batch.column(batch.num_columns() - 2).as_binary::<i32>()
}

/// A sorted run that is read.
struct Source {
    rest: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>,
    batch: Option<RecordBatch>,
    row: usize,
}

impl Source {
    fn held(batches: Vec<RecordBatch>) -> Self {
        Self { rest: Box::new(batches.into_iter().map(Ok)), batch: None, row: 0 }
    }

    /// Goes on to the next batch.
    fn advance(&mut self) -> Result<(), ArrowError> {
        self.row = 0;
        self.batch = loop {
            match self.rest.next().transpose()? {
                Some(batch) if batch.num_rows() == 0 => {}
                next => break next,
            }
        };
        Ok(())
    }
}

/// Merges sorted runs.
struct Merge {
    sources: Vec<Source>,
    heap: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
}

impl Merge {
    fn new(mut sources: Vec<Source>, table: &str) -> Result<Self, LakehouseError> {
        let mut heap = BinaryHeap::with_capacity(sources.len());
        for (at, source) in sources.iter_mut().enumerate() {
            source.advance().map_err(|source| LakehouseError::Arrow { table: table.into(), source })?;
            if let Some(batch) = &source.batch {
                heap.push(Reverse((key_of(batch).value(0).to_vec(), at)));
            }
        }
        Ok(Self { sources, heap })
    }

    fn next(&mut self, table: &str) -> Result<Option<RecordBatch>, LakehouseError> {
        let arrow = |source| LakehouseError::Arrow { table: table.into(), source };
        // By source and row; ends where a batch does, which is then let go.
        let mut picked: Vec<(usize, usize)> = Vec::with_capacity(BATCH_ROWS);
        let mut ended = None;
        while picked.len() < BATCH_ROWS && ended.is_none() {
            let Some(Reverse((mut key, at))) = self.heap.pop() else { break };
            let source = &mut self.sources[at];
            let Some(batch) = &source.batch else { continue };
            picked.push((at, source.row));
            source.row += 1;
            if source.row < batch.num_rows() {
                key.clear();
                key.extend_from_slice(key_of(batch).value(source.row));
                self.heap.push(Reverse((key, at)));
            } else {
                ended = Some(at);
            }
        }
        if picked.is_empty() {
            return Ok(None);
        }
        let mut places = vec![usize::MAX; self.sources.len()];
        let mut batches: Vec<&RecordBatch> = Vec::new();
        for (at, source) in self.sources.iter().enumerate() {
            if let Some(batch) = &source.batch {
                places[at] = batches.len();
                batches.push(batch);
            }
        }
        let indices: Vec<(usize, usize)> = picked.into_iter().map(|(at, row)| (places[at], row)).collect();
        let merged = interleave_record_batch(&batches, &indices).map_err(arrow)?;
        if let Some(at) = ended {
            let source = &mut self.sources[at];
            source.advance().map_err(arrow)?;
            if let Some(batch) = &source.batch {
                self.heap.push(Reverse((key_of(batch).value(0).to_vec(), at)));
            }
        }
        Ok(Some(merged))
    }
}

impl SortedRows {
    /// The next rows and their origins.
    pub(crate) fn next(
        &mut self,
        schema: &SchemaRef,
    ) -> Result<Option<(RecordBatch, UInt64Array)>, LakehouseError> {
        let Some(batch) = self.merge.next(&self.table)? else { return Ok(None) };
        let last = batch.num_columns() - 1;
        let origins = batch.column(last).as_primitive::<UInt64Type>().clone();
        let columns = batch.columns()[..last - 1].to_vec();
        let rows = RecordBatch::try_new(Arc::clone(schema), columns)
            .map_err(|source| LakehouseError::Arrow { table: self.table.clone(), source })?;
        Ok(Some((rows, origins)))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::sort::{KeyMaker, OrderColumn, RowOrder};

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Utf8, true),
        ]))
    }

    /// Sorts random rows with so little memory; returns what came out and how many files there were.
    fn sort(
        rows: &[(Option<i64>, Option<String>)],
        memory_bytes: usize,
    ) -> (Vec<(Option<i64>, Option<String>, u64)>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new("t", &schema(), folder.path().to_path_buf(), "x".into());
        sorter.memory_bytes = memory_bytes;
        let order = RowOrder::Columns(vec![
            OrderColumn { name: "a".into(), descending: true, nulls_first: false },
            OrderColumn { name: "b".into(), descending: false, nulls_first: true },
        ]);
        let maker = KeyMaker::columns("t", &schema(), &order).unwrap();
        for (at, part) in rows.chunks(100).enumerate() {
            let a = Int64Array::from_iter(part.iter().map(|row| row.0));
            let b = StringArray::from_iter(part.iter().map(|row| row.1.clone()));
            let batch = RecordBatch::try_new(schema(), vec![Arc::new(a), Arc::new(b)]).unwrap();
            let origins = UInt64Array::from_iter_values((0..part.len()).map(|row| (at * 100 + row) as u64));
            sorter.push(&batch, maker.keys("t", &batch).unwrap(), origins).unwrap();
        }
        let mut sorted = sorter.finish().unwrap();
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        let mut out = Vec::new();
        while let Some((batch, origins)) = sorted.next(&schema()).unwrap() {
            let (a, b) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
            for row in 0..batch.num_rows() {
                let a = a.is_valid(row).then(|| a.value(row));
                let b = b.is_valid(row).then(|| b.value(row).to_string());
                out.push((a, b, origins.value(row)));
            }
        }
        drop(sorted);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "runs stay behind");
        (out, files)
    }

    #[test]
    fn rows_come_out_in_order_with_where_they_came_from_however_little_memory_there_is() {
        let seed = std::env::var("TARN_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
        println!("TARN_SEED={seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let rows: Vec<(Option<i64>, Option<String>)> = (0..30_000)
            .map(|_| {
                let a = rng.random_bool(0.9).then(|| rng.random_range(-50..50));
                (a, rng.random_bool(0.9).then(|| format!("{:03}", rng.random_range(0..1_000))))
            })
            .collect();
        let mut expected: Vec<(Option<i64>, Option<String>)> = rows.clone();
        expected.sort_by(|x, y| {
            let a = |row: &(Option<i64>, _)| row.0.map_or((1, 0), |a| (0, -a));
            a(x).cmp(&a(y)).then_with(|| x.1.cmp(&y.1))
        });
        for (memory, files_min) in [(usize::MAX, 0), (200_000, 2), (4_000, 2)] {
            let (out, files) = sort(&rows, memory);
            assert!(files >= files_min && files <= MERGED_MAX, "{files} files");
            let values: Vec<_> = out.iter().map(|(a, b, _)| (*a, b.clone())).collect();
            assert_eq!(values, expected, "with {memory} bytes");
            assert!(out.iter().all(|(a, b, origin)| rows[*origin as usize] == (*a, b.clone())));
            let origins: std::collections::HashSet<u64> = out.iter().map(|row| row.2).collect();
            assert_eq!(origins.len(), rows.len());
        }
        assert_eq!(sort(&[], 1_000).0, []);
    }
}
