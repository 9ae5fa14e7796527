//! What the sink of a table knows: its files with their deleted rows, and where each key lies.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use iceberg::spec::{DataFile, TableMetadata};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection, RowSelector};
use parquet::arrow::async_reader::ParquetObjectReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use roaring::RoaringTreemap;
use tarn_core::{RequestContext, TableName};

use super::index::{FileRow, KeyHasher, KeyIndex};
use crate::catalog::LoadedTable;
use crate::error::LakehouseError;
use crate::io::Warehouse;
use crate::load::ViewLoader;
use crate::types::{arrow_schema, key_of};

/// A live data file.
#[derive(Clone, Debug)]
pub struct FileState {
    /// What the manifest says.
    pub file: Arc<DataFile>,
    /// Deleted rows, committed.
    pub deleted: RoaringTreemap,
}

/// The state of a table at one commit.
#[derive(Debug)]
pub struct TableState {
    /// The table.
    pub name: TableName,
    /// Metadata of the commit.
    pub metadata: Arc<TableMetadata>,
    /// Live files; a number is never given twice, so a file that went is `None`.
    pub files: Vec<Option<FileState>>,
    /// Live delete files, by location.
    pub delete_files: Vec<Arc<DataFile>>,
    /// Where each key lies; empty without a key.
    pub index: KeyIndex,
    /// Hashes keys; `None` for a table without a key.
    pub hasher: Option<KeyHasher>,
    /// Arrow schema of the table.
    pub schema: SchemaRef,
    /// Whether other engines left equality deletes, which the key index does not know.
    pub has_equality_deletes: bool,
}

impl TableState {
    /// Reads the state of a table and builds its key index from the key columns of its files.
    pub async fn open(
        _ctx: &RequestContext,
        name: &TableName,
        table: &LoadedTable,
        loader: &ViewLoader,
    ) -> Result<Self, LakehouseError> {
        let metadata = Arc::clone(&table.metadata);
        let location = table.metadata_location.as_deref().unwrap_or_default();
        let view = loader.load(name, Arc::clone(&metadata), location, None).await?;
        let text = name.to_string();
        let schema = arrow_schema(&text, metadata.current_schema())?;
        let key = key_of(&metadata);
        let hasher = match key.is_empty() {
            true => None,
            false => Some(KeyHasher::new(&text, &schema, &key)?),
        };
        let files = view.files.iter().map(|file| {
            let deleted = file.deletes.as_ref().map(|rows| rows.as_ref().clone()).unwrap_or_default();
            Some(FileState { file: Arc::clone(&file.file), deleted })
        });
        let mut state = Self {
            name: name.clone(),
            files: files.collect(),
            delete_files: live_delete_files(&text, &metadata, loader).await?,
            index: KeyIndex::default(),
            hasher,
            schema,
            metadata,
            has_equality_deletes: !view.equality_deletes.is_empty(),
        };
        state.rebuild_index(loader.manifests().warehouse()).await?;
        Ok(state)
    }

    /// Fills the key index from the files.
    async fn rebuild_index(&mut self, warehouse: &Warehouse) -> Result<(), LakehouseError> {
        self.index.clear();
        let Some(hasher) = &self.hasher else { return Ok(()) };
        let table = self.name.to_string();
        let live: u64 = self.files.iter().flatten().map(|f| f.file.record_count() - f.deleted.len()).sum();
        self.index.reserve(usize::try_from(live).unwrap_or(0));
        for (number, state) in self.files.iter().enumerate() {
            let Some(state) = state else { continue };
            let number = file_number(number)?;
            let mut row = 0u32;
            let columns = hasher.columns();
            let mut batches = read_rows(warehouse, &self.schema, columns, &state.file, None).await?;
            while let Some(batch) = batches.try_next().await.map_err(|e| damaged(&state.file, e))? {
                let batch = conform(&table, &self.schema, columns, &batch)?;
                for hash in hasher.hash_keys(&table, batch.columns())? {
                    if !state.deleted.contains(u64::from(row)) {
                        self.index.put(hash, FileRow { file: number, row });
                    }
                    row += 1;
                }
            }
        }
        Ok(())
    }

    /// Adds a file and returns its number.
    pub fn add_file(&mut self, file: DataFile) -> Result<u32, LakehouseError> {
        self.files.push(Some(FileState { file: Arc::new(file), deleted: RoaringTreemap::new() }));
        file_number(self.files.len() - 1)
    }

    /// Values of one row of one file, in the table's columns. Errors: the file is gone or damaged.
    pub async fn rows_of_file(
        &self,
        warehouse: &Warehouse,
        file: u32,
        rows: &[u32],
    ) -> Result<Vec<RecordBatch>, LakehouseError> {
        let state = self.files.get(file as usize).and_then(Option::as_ref);
        let state = state.ok_or_else(|| LakehouseError::Invalid {
            what: format!("a row of table `{}` lies in a file that is gone", self.name),
        })?;
        let selection = selection_of(rows, state.file.record_count());
        let columns: Vec<usize> = (0..self.schema.fields().len()).collect();
        let mut stream = read_rows(warehouse, &self.schema, &columns, &state.file, Some(selection)).await?;
        let mut batches = Vec::new();
        while let Some(batch) = stream.try_next().await.map_err(|e| damaged(&state.file, e))? {
            batches.push(conform(&self.name.to_string(), &self.schema, &columns, &batch)?);
        }
        Ok(batches)
    }
}

fn file_number(number: usize) -> Result<u32, LakehouseError> {
    u32::try_from(number)
        .map_err(|_| LakehouseError::Invalid { what: "a table has more than 4 billion files".into() })
}

fn damaged(file: &DataFile, source: parquet::errors::ParquetError) -> LakehouseError {
    LakehouseError::Parquet { path: file.file_path().into(), source }
}

/// Delete files of the current snapshot.
pub(crate) async fn live_delete_files(
    table: &str,
    metadata: &TableMetadata,
    loader: &ViewLoader,
) -> Result<Vec<Arc<DataFile>>, LakehouseError> {
    let Some(snapshot) = metadata.current_snapshot() else { return Ok(Vec::new()) };
    let list = loader.manifests().list(table, snapshot.manifest_list(), metadata.format_version()).await?;
    let mut files = Vec::new();
    for manifest in list.entries() {
        if manifest.content != iceberg::spec::ManifestContentType::Deletes {
            continue;
        }
        let manifest = loader.manifests().manifest(table, manifest).await?;
        let live = manifest.entries().iter().filter(|entry| entry.is_alive());
        files.extend(live.map(|entry| Arc::new(entry.data_file().clone())));
    }
    Ok(files)
}

/// Rows to read, as the reader wants them; `rows` ascending.
pub fn selection_of(rows: &[u32], total: u64) -> RowSelection {
    let mut selectors = Vec::with_capacity(rows.len() * 2 + 1);
    let mut next = 0usize;
    for row in rows {
        let row = *row as usize;
        if row > next {
            selectors.push(RowSelector::skip(row - next));
        }
        selectors.push(RowSelector::select(1));
        next = row + 1;
    }
    let total = usize::try_from(total).unwrap_or(usize::MAX);
    if total > next {
        selectors.push(RowSelector::skip(total - next));
    }
    RowSelection::from(selectors)
}

/// Reads columns (by position in `schema`) of a file, matched by field id.
pub async fn read_rows(
    warehouse: &Warehouse,
    schema: &SchemaRef,
    columns: &[usize],
    file: &DataFile,
    selection: Option<RowSelection>,
) -> Result<parquet::arrow::async_reader::ParquetRecordBatchStream<ParquetObjectReader>, LakehouseError> {
    let path = warehouse.path(file.file_path())?;
    let reader = ParquetObjectReader::new(Arc::clone(warehouse.objects()), path)
        .with_file_size(file.file_size_in_bytes());
    let options = ArrowReaderOptions::new();
    let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await;
    let builder = builder.map_err(|e| damaged(file, e))?;
    let wanted: Vec<Option<String>> = columns.iter().map(|at| field_id(schema.field(*at))).collect();
    let roots = builder.schema().fields().iter().enumerate().filter(|(_, field)| {
        let id = field_id(field);
        match id {
            Some(_) => wanted.contains(&id),
            None => columns.iter().any(|at| schema.field(*at).name() == field.name()),
        }
    });
    let roots: Vec<usize> = roots.map(|(at, _)| at).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let builder = builder.with_projection(mask).with_batch_size(16 * 1024);
    let builder = match selection {
        Some(selection) => builder.with_row_selection(selection),
        None => builder,
    };
    builder.build().map_err(|e| damaged(file, e))
}

fn field_id(field: &arrow::datatypes::Field) -> Option<String> {
    field.metadata().get(parquet::arrow::PARQUET_FIELD_ID_META_KEY).cloned()
}

/// Brings rows read from a file of an older schema into columns (by position) of `schema`.
pub fn conform(
    table: &str,
    schema: &SchemaRef,
    columns: &[usize],
    batch: &RecordBatch,
) -> Result<RecordBatch, LakehouseError> {
    let arrow = |source| LakehouseError::Arrow { table: table.into(), source };
    let by_id: HashMap<Option<String>, usize> =
        batch.schema().fields().iter().enumerate().map(|(at, field)| (field_id(field), at)).collect();
    let mut arrays = Vec::with_capacity(columns.len());
    let mut fields = Vec::with_capacity(columns.len());
    for at in columns {
        let field = schema.field(*at);
        let id = field_id(field);
        let from = by_id.get(&id).copied().or_else(|| batch.schema().index_of(field.name()).ok());
        arrays.push(match from {
            None => arrow::array::new_null_array(field.data_type(), batch.num_rows()),
            Some(from) => arrow::compute::cast(batch.column(from), field.data_type()).map_err(arrow)?,
        });
        fields.push(field.clone().with_nullable(true));
    }
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    RecordBatch::try_new_with_options(
        schema,
        arrays,
        &arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
    )
    .map_err(arrow)
}
