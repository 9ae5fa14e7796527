//! Change rows become rows of the table: each finds the row that it replaces by its key, and takes it away.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{Schema, SchemaRef};
use tarn_core::ChangeKind;
use tarn_core::change::ChangeColumns;

use super::index::{FileRow, KeyHash, Location};
use super::state::TableState;
use crate::error::LakehouseError;
use crate::io::Warehouse;
use crate::layout::Layout;
use crate::types::Conformer;

/// What applying a batch came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Applied {
    /// Updates and deletes of rows that a table without a key has not.
    pub ignored: u64,
    /// Rows of data files that were taken away.
    pub deleted: u64,
}

/// Values that rows of a batch take from elsewhere because the source did not send them: by row of the batch, the
/// table's columns and where each comes from.
type Borrowed = HashMap<usize, Vec<(usize, Location)>>;

/// Whether a batch of change rows takes all rows of the table away. Errors: the rows are not change rows.
pub fn truncates(table: &str, batch: &RecordBatch) -> Result<bool, LakehouseError> {
    let changes = ChangeColumns::of(batch).map_err(|source| arrow_error(table, source))?;
    Ok(changes.kind.values().contains(&(ChangeKind::Truncate as i8)))
}

/// Whether a batch of change rows takes some rows away. Errors: the rows are not change rows.
pub fn takes_rows_away(table: &str, batch: &RecordBatch) -> Result<bool, LakehouseError> {
    let changes = ChangeColumns::of(batch).map_err(|source| arrow_error(table, source))?;
    let goes = [ChangeKind::UpdateBefore as i8, ChangeKind::Delete as i8];
    Ok(changes.kind.values().iter().any(|kind| goes.contains(kind)))
}

fn arrow_error(table: &str, source: arrow::error::ArrowError) -> LakehouseError {
    LakehouseError::Arrow { table: table.into(), source }
}

/// The schema of rows of which some values are still missing.
fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// One batch on its way into a state.
struct Batch<'a> {
    table: String,
    changes: ChangeColumns,
    hashes: Vec<KeyHash>,
    /// The table's columns of all change rows, in a table without a key.
    images: Vec<ArrayRef>,
    conformer: &'a Conformer,
    borrowed: Borrowed,
    /// The row that the last change took away.
    taken: Option<Location>,
    applied: Applied,
}

impl TableState {
    /// Applies a batch of change rows. Batches with a truncate may only come while nothing is flushed.
    /// Errors: the rows are not change rows, do not fit the table, or a value that was not sent cannot be read; the
    /// state is of no use then and has to be opened again.
    pub async fn apply(
        &mut self,
        batch: &RecordBatch,
        conformer: &Conformer,
        warehouse: &Warehouse,
    ) -> Result<Applied, LakehouseError> {
        let table = self.name.to_string();
        let changes = ChangeColumns::of(batch).map_err(|source| arrow_error(&table, source))?;
        let kinds = (0..batch.num_rows()).map(|row| changes.kind_at(row)).collect::<Result<Vec<_>, _>>();
        let kinds = kinds.map_err(|source| arrow_error(&table, source))?;
        let mut columns = conformer.columns(batch)?;
        let hashes = match &self.hasher {
            Some(hasher) => hasher.hash(&table, &columns)?,
            None => vec![0; batch.num_rows()],
        };
        let is_of_rows = self.hasher.as_ref().is_some_and(|hasher| hasher.is_of_rows());
        let images = if is_of_rows { columns.clone() } else { Vec::new() };
        let stays = |kind: &ChangeKind| matches!(kind, ChangeKind::Insert | ChangeKind::UpdateAfter);
        if !kinds.iter().all(stays) {
            let rows = kinds.iter().zip(0_u32..).filter(|(kind, _)| stays(kind)).map(|(_, row)| row);
            let rows = UInt32Array::from_iter_values(rows);
            let taken: Result<Vec<ArrayRef>, _> =
                columns.iter().map(|column| take(column, &rows, None)).collect();
            columns = taken.map_err(|source| arrow_error(&table, source))?;
        }
        let first = self.rows.next();
        let is_whole = changes.unchanged.null_count() == changes.unchanged.len();
        let schema = if is_whole { Arc::clone(&self.schema) } else { nullable(&self.schema) };
        let rows = RecordBatch::try_new(schema, columns);
        self.rows.push(rows.map_err(|source| arrow_error(&table, source))?);
        let mut batch = Batch {
            table,
            changes,
            hashes,
            images,
            conformer,
            borrowed: Borrowed::new(),
            taken: None,
            applied: Applied::default(),
        };
        let mut next = first;
        self.keys.reserve(if self.hasher.is_some() { kinds.len() } else { 0 });
        for (row, kind) in kinds.into_iter().enumerate() {
            self.apply_row(&mut batch, row, kind, &mut next)?;
        }
        let Batch { borrowed, applied, .. } = batch;
        if !is_whole {
            self.fill_in(first, &borrowed, warehouse).await?;
        }
        let name = self.name.to_string();
        self.rows.merge().map_err(|source| arrow_error(&name, source))?;
        Ok(applied)
    }

    /// `next`: the hot row of the next change that leaves one.
    fn apply_row(
        &mut self,
        batch: &mut Batch<'_>,
        row: usize,
        kind: ChangeKind,
        next: &mut u64,
    ) -> Result<(), LakehouseError> {
        let key = batch.hashes[row];
        if self.hasher.as_ref().is_some_and(|hasher| hasher.is_of_rows()) && kind != ChangeKind::Truncate {
            return self.apply_whole_row(batch, row, kind, next);
        }
        match (kind, self.hasher.is_some()) {
            (ChangeKind::Truncate, _) => {
                // The later rows of this batch are in memory already.
                self.truncate(*next);
                batch.borrowed.clear();
                batch.taken = None;
            }
            (ChangeKind::Insert | ChangeKind::UpdateAfter, false) => *next += 1,
            // Without a key there is no telling which row goes; the table's state says how many were left.
            (ChangeKind::UpdateBefore | ChangeKind::Delete, false) => batch.applied.ignored += 1,
            (ChangeKind::Insert | ChangeKind::UpdateAfter, true) => {
                let old = self.locate(key);
                if !batch.changes.unchanged.is_null(row)
                    && let Some(image) = old.or(batch.taken)
                {
                    self.borrow_unsent(batch, row, *next, image)?;
                }
                self.take_away(batch, old);
                self.keys.put(key, *next);
                batch.taken = None;
                *next += 1;
            }
            (ChangeKind::UpdateBefore | ChangeKind::Delete, true) => {
                // An update that follows may need values of this image.
                batch.taken = self.locate(key);
                self.take_away(batch, batch.taken);
            }
        }
        Ok(())
    }

    /// A change of a table without a key, whose rows are found by all their values: of several equal ones, one goes.
    fn apply_whole_row(
        &mut self,
        batch: &mut Batch<'_>,
        row: usize,
        kind: ChangeKind,
        next: &mut u64,
    ) -> Result<(), LakehouseError> {
        let key = batch.hashes[row];
        if matches!(kind, ChangeKind::UpdateBefore | ChangeKind::Delete) {
            let found = match self.locate(key) {
                Some(found) => Some(found),
                None => self.locate_older(&batch.images, row)?,
            };
            batch.applied.ignored += u64::from(found.is_none());
            batch.taken = found;
            self.take_away(batch, found);
            return Ok(());
        }
        if !batch.changes.unchanged.is_null(row)
            && let Some(image) = batch.taken
        {
            self.borrow_unsent(batch, row, *next, image)?;
        }
        self.keys.put_another(key, *next);
        batch.taken = None;
        *next += 1;
        Ok(())
    }

    fn take_away(&mut self, batch: &mut Batch<'_>, row: Option<Location>) {
        let Some(row) = row else { return };
        batch.applied.deleted += u64::from(matches!(row, Location::File(_)));
        self.kill(row);
    }

    /// Notes where the values come from that an update did not send: the row's image before it.
    fn borrow_unsent(
        &self,
        batch: &mut Batch<'_>,
        row: usize,
        at: u64,
        image: Location,
    ) -> Result<(), LakehouseError> {
        let names: Vec<String> =
            serde_json::from_str(batch.changes.unchanged.value(row)).map_err(|error| {
                LakehouseError::Invalid {
                    what: format!(
                        "the list of unsent columns of a row of `{}` is damaged: {error}",
                        batch.table
                    ),
                }
            })?;
        let first = at - self.rows.place(at).map_or(0, |(_, within)| within as u64);
        let mut borrowed = Vec::new();
        for column in names.iter().filter_map(|name| batch.conformer.target_of(name)) {
            // The image itself may be of this batch and have borrowed the value.
            let origin = match image {
                Location::Hot(hot) if hot >= first => {
                    let known =
                        usize::try_from(hot - first).ok().and_then(|within| batch.borrowed.get(&within));
                    let known = known.and_then(|list| list.iter().find(|(c, _)| *c == column));
                    known.map_or(image, |(_, origin)| *origin)
                }
                Location::Hot(_) | Location::File(_) => image,
            };
            borrowed.push((column, origin));
        }
        batch.borrowed.insert(usize::try_from(at - first).unwrap_or_default(), borrowed);
        Ok(())
    }

    /// Puts the values that were not sent into the batch that was pushed last, which begins at hot row `first`.
    async fn fill_in(
        &mut self,
        first: u64,
        borrowed: &Borrowed,
        warehouse: &Warehouse,
    ) -> Result<(), LakehouseError> {
        let table = self.name.to_string();
        let Some((last, _)) = self.rows.place(first) else { return Ok(()) };
        let rows = self.rows.slot(last).rows.clone();
        let mut columns: Vec<usize> = borrowed.values().flatten().map(|(column, _)| *column).collect();
        columns.sort_unstable();
        columns.dedup();
        // Only these columns of each.
        let project =
            |batch: &RecordBatch| batch.project(&columns).map_err(|source| arrow_error(&table, source));
        let mut sources = vec![project(&rows)?];
        let mut places: HashMap<Location, (usize, usize)> = HashMap::new();
        let mut by_file: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (_, origin) in borrowed.values().flatten() {
            match origin {
                Location::File(at) => by_file.entry(at.file).or_default().push(at.row),
                Location::Hot(row) => {
                    let Some((slot, within)) = self.rows.place(*row) else { continue };
                    let source = match slot == last {
                        true => 0,
                        false => {
                            sources.push(project(&self.rows.slot(slot).rows.slice(within, 1))?);
                            sources.len() - 1
                        }
                    };
                    places.insert(*origin, (source, if slot == last { within } else { 0 }));
                }
            }
        }
        let layout = Layout::of(&self.base);
        for (file, mut wanted) in by_file {
            wanted.sort_unstable();
            wanted.dedup();
            let mut wanted = wanted.as_slice();
            for batch in self.rows_of_file((warehouse, &layout), file, wanted, &columns).await? {
                let (here, rest) = wanted.split_at(batch.num_rows().min(wanted.len()));
                for (n, row) in here.iter().enumerate() {
                    places.insert(Location::File(FileRow { file, row: *row }), (sources.len(), n));
                }
                wanted = rest;
                sources.push(batch);
            }
        }
        let mut filled: Vec<ArrayRef> = Vec::with_capacity(rows.num_columns());
        for column in 0..rows.num_columns() {
            let from = |row: usize| {
                let origin = borrowed.get(&row)?.iter().find(|(c, _)| *c == column)?;
                places.get(&origin.1).copied()
            };
            let Ok(at) = columns.binary_search(&column) else {
                filled.push(Arc::clone(rows.column(column)));
                continue;
            };
            let arrays: Vec<&dyn Array> = sources.iter().map(|batch| batch.column(at).as_ref()).collect();
            let from: Vec<(usize, usize)> =
                (0..rows.num_rows()).map(|row| from(row).unwrap_or((0, row))).collect();
            filled.push(interleave(&arrays, &from).map_err(|source| arrow_error(&table, source))?);
        }
        let filled = RecordBatch::try_new(Arc::clone(&self.schema), filled);
        self.rows.replace_last(filled.map_err(|source| arrow_error(&table, source))?);
        Ok(())
    }
}
