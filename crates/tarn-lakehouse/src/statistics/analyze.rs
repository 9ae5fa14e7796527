//! Counts the different values of all columns of a table, and registers what it found.

use std::collections::HashMap;

use futures::TryStreamExt;
use iceberg::TableUpdate;
use iceberg::puffin::{APACHE_DATASKETCHES_THETA_V1, Blob, CompressionCodec, PuffinWriter};
use iceberg::spec::{BlobMetadata, StatisticsFile, TableMetadata};
use tarn_core::RequestContext;

use super::NDV;
use super::theta::ThetaSketch;
use super::value::{each, is_counted};
use crate::error::LakehouseError;
use crate::layout::Layout;
use crate::service::{Need, Outcome, RunFigures, Service};
use crate::sink::{Base, Committer, conform, read_rows};
use crate::types::arrow_schema;

/// Rows that may come or go before statistics are made anew: one of so many.
const CHANGED_ONE_IN: u64 = 5;
const MAGIC_BYTES: i64 = 4;

/// Statistics that were registered.
#[derive(Debug)]
pub(crate) struct Analyzed {
    figures: RunFigures,
    snapshot_id: i64,
}

impl Analyzed {
    /// For the list of runs.
    pub(crate) fn outcome(analyzed: &Option<Self>) -> Outcome {
        analyzed.as_ref().map(|analyzed| (analyzed.figures, Some(analyzed.snapshot_id)))
    }
}

fn rows_at(metadata: &TableMetadata, snapshot_id: i64) -> Option<u64> {
    let summary = &metadata.snapshot_by_id(snapshot_id)?.summary().additional_properties;
    summary.get("total-records")?.parse().ok()
}

/// Whether statistics are there and so many rows came or went since that they mislead.
pub(crate) fn statistics_need(metadata: &TableMetadata) -> Option<Need> {
    let current = metadata.current_snapshot()?;
    let now = rows_at(metadata, current.snapshot_id())?;
    let known = metadata.statistics_iter().filter_map(|file| metadata.snapshot_by_id(file.snapshot_id));
    let last = known.max_by_key(|snapshot| snapshot.sequence_number());
    let bytes = current.summary().additional_properties.get("total-files-size");
    let bytes = bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
    let need = |reason: String, benefit: f64| Need { service: Service::Statistics, reason, benefit, bytes };
    let Some(last) = last else { return (now > 0).then(|| need("there are no statistics".into(), 1.0)) };
    let then = rows_at(metadata, last.snapshot_id())?;
    let changed = now.abs_diff(then);
    (changed * CHANGED_ONE_IN > then.max(1)).then(|| {
        let limit = then / CHANGED_ONE_IN;
        need(
            format!("{changed} rows came or went since the statistics of {then} rows (limit {limit})"),
            changed as f64 * CHANGED_ONE_IN as f64 / then.max(1) as f64,
        )
    })
}

impl Committer {
    /// Counts the different values in the rows of a commit. `None` for a table without rows in files.
    pub(crate) async fn analyze(
        &self,
        ctx: &RequestContext,
        base: &Base,
    ) -> Result<Option<Analyzed>, LakehouseError> {
        let metadata = base.metadata();
        let Some(snapshot) = metadata.current_snapshot().cloned() else { return Ok(None) };
        let table = base.name.to_string();
        let schema = arrow_schema(&table, metadata.current_schema())?;
        let fields = metadata.current_schema().as_struct().fields();
        let mut figures = RunFigures { files_before: base.view.files.len() as u64, ..RunFigures::default() };
        figures.files_after = figures.files_before;
        let columns: Vec<usize> =
            (0..schema.fields().len()).filter(|at| is_counted(schema.field(*at).data_type())).collect();
        let mut sketches: Vec<ThetaSketch> = columns.iter().map(|_| ThetaSketch::default()).collect();
        let layout = Layout::of(&base.view);
        for file in base.view.files.iter() {
            figures.bytes_read += file.file.file_size_in_bytes();
            let mut rows =
                read_rows(self.catalog.warehouse(), &schema, &columns, (&file.file, &layout), None).await?;
            let mut first = 0_u64;
            let damaged = |source| LakehouseError::Parquet { path: file.file.file_path().into(), source };
            while let Some(batch) = rows.try_next().await.map_err(damaged)? {
                let batch = conform(&table, &schema, &columns, &batch)?;
                let deletes = file.deletes.as_ref();
                let is_live = |row: usize| deletes.is_none_or(|gone| !gone.contains(first + row as u64));
                for (column, sketch) in batch.columns().iter().zip(&mut sketches) {
                    each(column, is_live, |value| sketch.update(value));
                }
                first += batch.num_rows() as u64;
            }
            figures.rows_written += file.live_rows();
        }
        let counted = columns.iter().filter_map(|at| fields.get(*at)).map(|field| field.id);
        let sketches: Vec<(i32, ThetaSketch)> = counted.zip(sketches).collect();
        let statistics = self
            .write_statistics(base, (snapshot.snapshot_id(), snapshot.sequence_number()), &sketches)
            .await?;
        figures.bytes_written = u64::try_from(statistics.file_size_in_bytes).unwrap_or(0);
        let path = statistics.statistics_path.clone();
        let update = TableUpdate::SetStatistics { statistics };
        let requirements = vec![iceberg::TableRequirement::UuidMatch { uuid: metadata.uuid() }];
        if let Err(error) = self.catalog.commit_table(ctx, &base.name, requirements, vec![update]).await {
            if matches!(error, LakehouseError::CommitFailed { .. }) {
                self.discard(std::iter::once(path)).await;
            }
            return Err(error);
        }
        Ok(Some(Analyzed { figures, snapshot_id: snapshot.snapshot_id() }))
    }

    async fn write_statistics(
        &self,
        base: &Base,
        (snapshot_id, sequence_number): (i64, i64),
        sketches: &[(i32, ThetaSketch)],
    ) -> Result<StatisticsFile, LakehouseError> {
        let table = base.name.to_string();
        let failed =
            |source| LakehouseError::Format { action: "write statistics", table: table.clone(), source };
        let folder = base.metadata().location().trim_end_matches('/');
        let path = format!("{folder}/metadata/{snapshot_id}-{}.stats", self.env.entropy.uuid());
        let warehouse = self.catalog.warehouse();
        let output = warehouse.file_io().new_output(&path).map_err(failed)?;
        let by = concat!("tarn version ", env!("CARGO_PKG_VERSION"));
        let properties = HashMap::from([("created-by".to_string(), by.to_string())]);
        let mut writer = PuffinWriter::new(&output, properties, false).await.map_err(failed)?;
        let (mut blob_metadata, mut blob_bytes) = (Vec::with_capacity(sketches.len()), 0_i64);
        for (field, sketch) in sketches {
            let bytes = sketch.to_bytes();
            blob_bytes += bytes.len() as i64;
            let ndv = format!("{:.0}", sketch.estimate());
            let blob = BlobMetadata {
                r#type: APACHE_DATASKETCHES_THETA_V1.into(),
                snapshot_id,
                sequence_number,
                fields: vec![*field],
                properties: HashMap::from([(NDV.to_string(), ndv)]),
            };
            let content = Blob::builder()
                .r#type(blob.r#type.clone())
                .fields(blob.fields.clone())
                .snapshot_id(snapshot_id)
                .sequence_number(sequence_number)
                .data(bytes)
                .properties(blob.properties.clone())
                .build();
            writer.add(content, CompressionCodec::None).await.map_err(failed)?;
            blob_metadata.push(blob);
        }
        writer.close().await.map_err(failed)?;
        let size = warehouse.read(&path).await?.len() as i64;
        Ok(StatisticsFile {
            snapshot_id,
            statistics_path: path,
            file_size_in_bytes: size,
            // It begins, with a magic of its own, behind the first magic and the sketches.
            file_footer_size_in_bytes: size - MAGIC_BYTES - blob_bytes,
            key_metadata: None,
            blob_metadata,
        })
    }
}
