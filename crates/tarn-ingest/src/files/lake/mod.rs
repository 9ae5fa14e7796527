//! Tables of other lakes as files: which rows of which data files they hold, in which columns.
//!
//! `place` says where files of a table may lie, `column` and `adapt` bring rows of any of its files into its columns,
//! `deletes` and `bitmap` tell deleted rows, `reader` reads. What a table holds is found by `delta` and `iceberg`.

mod adapt;
mod bitmap;
mod column;
mod deletes;
mod place;
mod reader;

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tarn_core::files::{FileReader, FilesFault, FilesPlan, FoundColumn, FoundFiles, FoundTable, ListedFile};
use tarn_core::{FaultKind, FaultReport, RequestContext};

use super::FileReaders;
use super::config::{FilesConfig, FilesFormat};
use super::plan::{FILES_MAX, kept};
use super::samples::{SAMPLE_ROWS, found_column, shown_rows};
use crate::sources::file::config::BucketConfig;
pub(crate) use bitmap::z85;
pub(crate) use column::{FoundBy, LakeColumn, LakeType, primitive};
use deletes::Deletes;
pub(crate) use deletes::{DeleteCache, DeleteFile, Vector};
pub(crate) use place::{METADATA_BYTES_MAX, Place, Roots, normal, read_at};
use reader::{LakeReader, Wanted, schema_of};

/// How the data files of a table are read. Kept with an import, so that going on finds the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LakePlan {
    pub(crate) columns: Vec<LakeColumn>,
    #[serde(default)]
    pub(crate) by: FoundBy,
    /// Whether values that the table's log gives for a file count more than those in the file.
    #[serde(default)]
    pub(crate) constants_win: bool,
    pub(crate) roots: Roots,
    /// Files of deletes, which data files name by their place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) deletes: Vec<DeleteFile>,
    /// The table's identifier there.
    #[serde(default)]
    pub(crate) table: String,
}

/// What reading one data file needs beside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FileDetail {
    /// Values of columns, by their place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) constants: BTreeMap<usize, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vector: Option<Vector>,
    /// Rows that the vector deletes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vector_rows: Option<u64>,
    /// Files of deletes that may concern it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) deletes: Vec<usize>,
    /// What the table's own files call it, where that is not its location.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) called: Option<String>,
}

impl FileDetail {
    /// As a listing keeps it.
    pub(crate) fn kept(&self) -> Option<Value> {
        serde_json::to_value(self).ok().filter(|_| *self != Self::default())
    }
}

/// A table as its format finds it.
pub(crate) struct FoundLake {
    pub(crate) format: FilesFormat,
    pub(crate) version: String,
    pub(crate) plan: LakePlan,
    pub(crate) table: FoundTable,
    pub(crate) files: Vec<ListedFile>,
    pub(crate) warnings: Vec<String>,
    /// How its files are reached, where its catalog says so.
    pub(crate) s3: Option<BucketConfig>,
}

/// A fault of a table's metadata.
pub(crate) fn damaged(what: impl Into<String>) -> FilesFault {
    FilesFault(FaultReport {
        kind: FaultKind::Corrupt,
        message: what.into(),
        hint: Some("check that the table was copied whole, and that its own engine reads it".to_string()),
    })
}

/// Changes whenever the rows of a data file may have changed.
pub(crate) fn tag_of(location: &str, bytes: u64, detail: &FileDetail) -> u64 {
    let detail = serde_json::to_string(detail).unwrap_or_default();
    let mut tag = crate::records::Fingerprint::new().add(location.as_bytes()).add(&bytes.to_le_bytes());
    tag = tag.add(detail.as_bytes());
    tag.value()
}

enum Kind {
    Delta(Place),
    Iceberg(Option<Place>),
}

/// What a configuration names, if it is a table. Errors: it says so, and there is none.
async fn kind_of(
    files: &FileReaders,
    ctx: &RequestContext,
    config: &FilesConfig,
) -> Result<Option<Kind>, FilesFault> {
    let none = |what: &str, hint: &str| {
        Err(FilesFault(FaultReport {
            kind: FaultKind::NotFound,
            message: format!("`{}` is no {what} table", config.path),
            hint: Some(hint.to_string()),
        }))
    };
    if config.iceberg.catalog.is_some() {
        return Ok(Some(Kind::Iceberg(None)));
    }
    if !matches!(config.format, None | Some(FilesFormat::Delta | FilesFormat::Iceberg)) {
        return Ok(None);
    }
    let place = Place::of(files, ctx, config)?;
    let is_metadata = super::iceberg::is_metadata_file(&config.path);
    match (config.format, place) {
        (Some(FilesFormat::Delta), Some(place)) if place.has("_delta_log").await? => {
            Ok(Some(Kind::Delta(place)))
        }
        (Some(FilesFormat::Delta), _) => none("Delta", "name the folder in which `_delta_log` lies"),
        (Some(FilesFormat::Iceberg), Some(place)) if is_metadata || place.has("metadata").await? => {
            Ok(Some(Kind::Iceberg(Some(place))))
        }
        (Some(FilesFormat::Iceberg), _) => {
            none("Iceberg", "name the folder in which `metadata` lies, or a file `….metadata.json`")
        }
        (None, Some(place)) if is_metadata => Ok(Some(Kind::Iceberg(Some(place)))),
        // A file with an ending is one.
        (None, Some(_)) if config.kind_of(&config.path).is_ok() => Ok(None),
        (None, Some(place)) if place.has("_delta_log").await? => Ok(Some(Kind::Delta(place))),
        (None, Some(place)) if super::iceberg::is_table(&place).await? => {
            Ok(Some(Kind::Iceberg(Some(place))))
        }
        _ => Ok(None),
    }
}

/// The plan of a table; `None` where a configuration names files. Errors: what stands in the way of reading the table.
pub(crate) async fn plan(
    files: &FileReaders,
    ctx: &RequestContext,
    config: &FilesConfig,
) -> Result<Option<FilesPlan>, FilesFault> {
    let Some(kind) = kind_of(files, ctx, config).await? else {
        if config.delta != super::delta::DeltaOptions::default() {
            return Err(FilesFault::invalid(
                format!("`{}` is no Delta table", config.path),
                "leave `delta` out",
            ));
        }
        if config.iceberg != super::iceberg::IcebergOptions::default() {
            let what = format!("`{}` is no Iceberg table", config.path);
            return Err(FilesFault::invalid(what, "leave `iceberg` out"));
        }
        return Ok(None);
    };
    if !config.columns.is_empty() || config.hive.is_some() || config.compression.is_some() {
        let hint = "leave `columns`, `hive` and `compression` out; CREATE TABLE … AS SELECT changes types";
        return Err(FilesFault::invalid("a table has its own columns and types", hint));
    }
    let found = match kind {
        Kind::Delta(place) => Box::pin(super::delta::found(files, ctx, config, &place)).await?,
        Kind::Iceberg(place) => Box::pin(super::iceberg::found(files, ctx, config, place.as_ref())).await?,
    };
    finish(files, ctx, config, found).await.map(Some)
}

async fn finish(
    files: &FileReaders,
    ctx: &RequestContext,
    config: &FilesConfig,
    mut lake: FoundLake,
) -> Result<FilesPlan, FilesFault> {
    if lake.files.len() > FILES_MAX {
        return Err(FilesFault::invalid(
            format!("the table has {} data files, {FILES_MAX} can be imported at a time", lake.files.len()),
            "compact it there (`OPTIMIZE`, `rewrite_data_files`) first",
        ));
    }
    lake.files.sort_by(|a, b| a.location.cmp(&b.location));
    let mut settled = FilesConfig { format: Some(lake.format), lake: Some(lake.plan), ..config.clone() };
    settled.s3 = lake.s3.unwrap_or(settled.s3);
    let Some(plan) = &settled.lake else { return Err(damaged("the table has no columns")) };
    let schema = schema_of(&plan.columns);
    let first = match lake.files.first() {
        Some(file) => {
            let mut reader = open(files, ctx, (&settled, plan), file, 0).await?;
            reader.next().await?.map(|chunk| chunk.rows.slice(0, chunk.rows.num_rows().min(SAMPLE_ROWS)))
        }
        None => None,
    };
    let own: Vec<Option<&ArrayRef>> = first.iter().flat_map(|rows| rows.columns()).map(Some).collect();
    let sample_rows = shown_rows(&own, first.as_ref().map_or(0, RecordBatch::num_rows));
    let partitions = &lake.table.partition_by;
    let visible = plan.columns.iter().filter(|column| !column.hidden);
    let columns = visible.enumerate().map(|(at, column)| FoundColumn {
        reason: partitions.contains(&column.name).then(|| "the table is partitioned by it".to_string()),
        ..found_column(&column.name, column.shown(), &sample_rows, at)
    });
    let columns: Vec<FoundColumn> = columns.collect();
    let found = FoundFiles {
        format: lake.format.name().to_string(),
        compression: "none".to_string(),
        version: Some(lake.version),
        excel: None,
        csv: None,
        files: lake.files.len() as u64,
        bytes: lake.files.iter().map(|file| file.bytes).sum(),
        rows_seen: sample_rows.len() as u64,
        columns,
        sample_rows,
        warnings: lake.warnings,
    };
    let value = serde_json::to_value(&settled)
        .map_err(|error| FilesFault::invalid(format!("the plan cannot be kept: {error}"), "report this"))?;
    let (table, files) = (Some(lake.table), lake.files);
    Ok(FilesPlan { settled: kept(value), schema, path_columns: Vec::new(), files, table, found })
}

/// Opens a data file behind its first `skip` rows that are not deleted.
pub(crate) async fn open(
    files: &FileReaders,
    ctx: &RequestContext,
    (config, lake): (&FilesConfig, &LakePlan),
    file: &ListedFile,
    skip: u64,
) -> Result<Box<dyn FileReader>, FilesFault> {
    let detail: FileDetail = match &file.detail {
        Some(detail) => FileDetail::deserialize(detail).map_err(|error| {
            FilesFault::invalid(format!("the plan is of another kind: {error}"), "plan anew")
        })?,
        None => FileDetail::default(),
    };
    let open = place::open_at(files, ctx, (config, &lake.roots), &file.location, Some(file.bytes)).await?;
    let constant = |(at, column): (usize, &LakeColumn)| {
        let Some(value) = detail.constants.get(&at) else { return Ok(None) };
        column.one(Some(value)).map(Some).map_err(|error| {
            super::text::broken(
                &open.shown,
                &format!("the table's value of column `{}`: {error}", column.name),
            )
        })
    };
    let constants = lake.columns.iter().enumerate().map(constant).collect::<Result<Vec<_>, _>>()?;
    let mut deleted = roaring::RoaringTreemap::new();
    if let Some(vector) = &detail.vector {
        let vector = (vector, detail.vector_rows);
        deleted = deletes::vector(files, ctx, (config, lake), vector, &open.shown).await?;
    }
    let mut values = Vec::new();
    for at in &detail.deletes {
        let file_of = lake.deletes.get(*at).ok_or_else(|| damaged("the plan names deletes that it lacks"))?;
        let loaded = deletes::load(files, ctx, (config, lake), file_of).await?;
        match loaded.as_ref() {
            Deletes::Positions(by_file) => {
                let called = detail.called.as_ref().unwrap_or(&file.location);
                if let Some(own) = by_file.get(called) {
                    deleted |= own;
                }
            }
            Deletes::Values(_) => values.push(loaded),
        }
    }
    let (columns, by, win) = (lake.columns.clone(), lake.by, lake.constants_win);
    let wanted = Wanted { open, columns, by, constants, win, deleted, values };
    Ok(Box::new(LakeReader::open(wanted, skip).await?))
}
