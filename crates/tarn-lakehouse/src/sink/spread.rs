//! Rows on their way into data files: those of one partition go into one file, in order, and few files are open at a time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::row::{OwnedRow, RowConverter, SortField};
use iceberg::arrow::{PartitionValueCalculator, arrow_struct_to_literal};
use iceberg::spec::{Literal, PartitionKey, StructType, TableMetadata};

use super::flush::{Base, Committer, NewFile};
use super::index::KeyHash;
use super::lane::{Lane, lanes};
use super::order::{CHUNK_ROWS, Part, SORTED_BYTES_MAX, ordered};
use super::state::row_number;
use crate::data_file::FileFactory;
use crate::error::LakehouseError;

/// The place of a row that is in no file.
pub const NOWHERE: (u32, u32) = (u32::MAX, u32::MAX);

/// Files that were written, and for each row its number among them and its row there, or [`NOWHERE`].
pub type Spread = (Vec<NewFile>, Vec<(u32, u32)>);

/// Finds the partition of rows, by a table's current specification.
struct Partitioner {
    table: String,
    metadata: Arc<TableMetadata>,
    calculator: PartitionValueCalculator,
    of: StructType,
}

/// Rows of one partition: by the number of their batch and the row there.
struct Group {
    key: PartitionKey,
    rows: Vec<(usize, usize)>,
}

/// A file that is being written.
struct OpenLane {
    lane: Lane,
    /// Numbers of the rows that went into it, and their keys.
    rows: Vec<usize>,
    keys: Vec<KeyHash>,
}

impl Partitioner {
    /// `None` for a table without partitions.
    fn of(table: &str, metadata: &Arc<TableMetadata>) -> Result<Option<Self>, LakehouseError> {
        let spec = metadata.default_partition_spec();
        if spec.is_unpartitioned() {
            return Ok(None);
        }
        let calculator = PartitionValueCalculator::try_new(spec, metadata.current_schema());
        let calculator = calculator.map_err(|source| failed(table, source))?;
        let of = calculator.partition_type().clone();
        Ok(Some(Self { table: table.into(), metadata: Arc::clone(metadata), calculator, of }))
    }

    /// The rows of some batches by partition, in the order of the partitions' values.
    fn groups(&self, batches: &[&RecordBatch]) -> Result<Vec<Group>, LakehouseError> {
        let arrow = |source| LakehouseError::Arrow { table: self.table.clone(), source };
        let mut found: HashMap<OwnedRow, Group> = HashMap::new();
        for (number, batch) in batches.iter().enumerate() {
            let values = self.calculator.calculate(batch).map_err(|source| failed(&self.table, source))?;
            let columns = values.as_struct();
            let fields = columns.fields().iter().map(|field| SortField::new(field.data_type().clone()));
            let converter = RowConverter::new(fields.collect()).map_err(arrow)?;
            let rows = converter.convert_columns(columns.columns()).map_err(arrow)?;
            // Neighbours are mostly of one partition.
            let mut run = 0;
            while run < rows.num_rows() {
                let row = rows.row(run);
                let end = (run + 1..rows.num_rows()).find(|at| rows.row(*at) != row);
                let end = end.unwrap_or(rows.num_rows());
                let members = (run..end).map(|at| (number, at));
                match found.get_mut(&row.owned()) {
                    Some(group) => group.rows.extend(members),
                    None => {
                        let group = Group { key: self.key(&values, run)?, rows: members.collect() };
                        found.insert(row.owned(), group);
                    }
                }
                run = end;
            }
        }
        let mut groups: Vec<(OwnedRow, Group)> = found.into_iter().collect();
        groups.sort_by(|(a, _), (b, _)| a.row().cmp(&b.row()));
        Ok(groups.into_iter().map(|(_, group)| group).collect())
    }

    fn key(&self, values: &ArrayRef, row: usize) -> Result<PartitionKey, LakehouseError> {
        let one = values.slice(row, 1);
        let literals =
            arrow_struct_to_literal(&one, &self.of).map_err(|source| failed(&self.table, source))?;
        let Some(Some(Literal::Struct(data))) = literals.into_iter().next() else {
            let what = format!("a row of table `{}` has no partition", self.table);
            return Err(LakehouseError::Invalid { what });
        };
        let spec = self.metadata.default_partition_spec().as_ref().clone();
        Ok(PartitionKey::new(spec, Arc::clone(self.metadata.current_schema()), data))
    }
}

fn failed(table: &str, source: iceberg::Error) -> LakehouseError {
    LakehouseError::Format { action: "partition rows", table: table.into(), source }
}

impl Committer {
    /// Writes rows, each partition's into a file of its own. `total`: how many numbers rows have.
    pub(super) async fn spread(
        &self,
        base: &Base,
        parts: Vec<Part>,
        total: usize,
    ) -> Result<Spread, LakehouseError> {
        let mut spread = (Vec::new(), vec![NOWHERE; total]);
        let table = base.name.to_string();
        match Partitioner::of(&table, base.metadata())? {
            _ if parts.is_empty() => {}
            None => self.spread_over_lanes(base, parts, &mut spread).await?,
            Some(partitioner) => {
                let batches: Vec<&RecordBatch> = parts.iter().map(|part| &part.batch).collect();
                let groups = partitioner.groups(&batches)?;
                self.spread_over_partitions(base, &parts, groups, &mut spread).await?;
            }
        }
        Ok(spread)
    }

    async fn spread_over_lanes(
        &self,
        base: &Base,
        parts: Vec<Part>,
        spread: &mut Spread,
    ) -> Result<(), LakehouseError> {
        let (table, factory) = (base.name.to_string(), self.factory(base));
        let live: usize = parts.iter().map(|part| part.rows.len()).sum();
        let lanes = lanes(live);
        let mut open: Vec<OpenLane> = Vec::with_capacity(lanes);
        let mut written = 0;
        for part in ordered(&table, base.metadata(), parts)? {
            // A lane takes whole parts until it has its share.
            if open.is_empty() || written * lanes >= live * open.len() {
                open.push(self.open_lane(&factory, base, None));
            }
            written += part.rows.len();
            let at = open.len() - 1;
            if !open[at].write(base, part).await? {
                return open.swap_remove(at).fault(&table).await;
            }
        }
        for lane in open {
            self.close_lane(base, lane, spread).await?;
        }
        Ok(())
    }

    async fn spread_over_partitions(
        &self,
        base: &Base,
        parts: &[Part],
        groups: Vec<Group>,
        spread: &mut Spread,
    ) -> Result<(), LakehouseError> {
        let (table, factory) = (base.name.to_string(), self.factory(base));
        let batches: Vec<&RecordBatch> = parts.iter().map(|part| &part.batch).collect();
        let rows: usize = parts.iter().map(|part| part.rows.len()).sum();
        let bytes: usize = batches.iter().map(|batch| batch.get_array_memory_size()).sum();
        let lanes_max = lanes(rows);
        let gather = |rows: &[(usize, usize)]| {
            let batch = interleave_record_batch(&batches, rows)
                .map_err(|source| LakehouseError::Arrow { table: table.clone(), source })?;
            let rows = rows.iter().map(|(part, row)| parts[*part].rows[*row]).collect();
            Ok::<_, LakehouseError>(Part { batch, rows })
        };
        let mut open: VecDeque<OpenLane> = VecDeque::new();
        for group in groups {
            if open.len() >= lanes_max
                && let Some(lane) = open.pop_front()
            {
                self.close_lane(base, lane, spread).await?;
            }
            let mut lane = self.open_lane(&factory, base, Some(group.key));
            // A partition that is too large to be sorted keeps the order in which its rows came.
            let is_sortable = group.rows.len().saturating_mul(bytes / rows.max(1)) <= SORTED_BYTES_MAX;
            let at_a_time = if is_sortable { group.rows.len() } else { CHUNK_ROWS };
            for rows in group.rows.chunks(at_a_time) {
                let part = gather(rows)?;
                let parts = match is_sortable {
                    true => ordered(&table, base.metadata(), vec![part])?,
                    false => vec![part],
                };
                for part in parts {
                    if !lane.write(base, part).await? {
                        return lane.fault(&table).await;
                    }
                }
            }
            open.push_back(lane);
        }
        for lane in open {
            self.close_lane(base, lane, spread).await?;
        }
        Ok(())
    }

    fn open_lane(&self, factory: &FileFactory, base: &Base, partition: Option<PartitionKey>) -> OpenLane {
        let lane = Lane::open(factory, base.metadata(), partition, &self.env);
        OpenLane { lane, rows: Vec::new(), keys: Vec::new() }
    }

    async fn close_lane(
        &self,
        base: &Base,
        open: OpenLane,
        (files, places): &mut Spread,
    ) -> Result<(), LakehouseError> {
        let (mut rows, mut keys) = (open.rows.into_iter(), open.keys.into_iter());
        for file in open.lane.close().await? {
            let number = row_number(files.len())?;
            let count = u32::try_from(file.record_count()).unwrap_or(u32::MAX);
            for at in 0..count {
                if let Some(row) = rows.next() {
                    places[row] = (number, at);
                }
            }
            let run = self.run_of(base, &file, keys.by_ref().take(count as usize).zip(0..).collect());
            files.push(NewFile { file: Arc::new(file), run });
        }
        Ok(())
    }
}

impl OpenLane {
    /// Hands rows over; `false` if the file cannot be written, which [`OpenLane::fault`] explains.
    async fn write(&mut self, base: &Base, part: Part) -> Result<bool, LakehouseError> {
        self.rows.extend(part.rows);
        if let Some(hasher) = &base.hasher {
            self.keys.extend(hasher.hash(&base.name.to_string(), part.batch.columns())?);
        }
        Ok(self.lane.write(part.batch).await)
    }

    async fn fault(self, table: &str) -> Result<(), LakehouseError> {
        self.lane.close().await?;
        Err(LakehouseError::Invalid { what: format!("files of table `{table}` ended early") })
    }
}
