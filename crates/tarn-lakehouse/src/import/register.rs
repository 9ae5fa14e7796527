//! Files become files of a table where they lie: nothing is copied, and queries read both the old place and what the table
//! writes itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use iceberg::TableUpdate;
use iceberg::spec::{DEFAULT_SCHEMA_NAME_MAPPING, DataFile, TableMetadata};
use parquet::errors::ParquetError;
use tarn_core::files::{FilesFault, FilesPlan, ListedFile};
use tarn_core::{RequestContext, TableName};

use super::in_place::{Target, obstacle};
use super::run::{Job, Mark, Stop};
use super::state::{ImportOptions, ImportReport};
use super::{Imports, SUMMARY, mark_property};
use crate::catalog::LoadedTable;
use crate::error::LakehouseError;
use crate::layout::{maps_all, name_mapping};
use crate::types::{arrow_schema, key_of, new_schema};

/// Files of a commit, and how many footers are read at a time.
const FILES_AT_ONCE: usize = 1_000;
const FOOTERS_AT_ONCE: usize = 16;

fn invalid(what: impl Into<String>, hint: impl Into<String>) -> LakehouseError {
    FilesFault::invalid(what, hint).into()
}

/// The folder in which all files lie.
fn folder_of(files: &[ListedFile]) -> String {
    let mut folders =
        files.iter().map(|file| file.location.rsplit_once('/').map_or("", |(folder, _)| folder));
    let first = folders.next().unwrap_or_default().to_string();
    folders.fold(first, |common, folder| {
        let mut common = common.as_str();
        while !(folder == common || folder.starts_with(&format!("{common}/"))) {
            common = common.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
        common.to_string()
    })
}

impl Imports {
    /// Whether files can be registered, and which of them are still to be. Errors: what stands in the way.
    pub(super) async fn check_register(
        &self,
        ctx: &RequestContext,
        (options, table): (&ImportOptions, &TableName),
        existing: Option<&LoadedTable>,
        files: &mut FilesPlan,
    ) -> Result<(), LakehouseError> {
        let format = &files.found.format;
        if format != "parquet" {
            let what = format!("only Parquet files can be registered, and these are {format}");
            return Err(invalid(what, "import them, which copies their rows"));
        }
        let is_keyed = existing.is_some_and(|table| !key_of(&table.metadata).is_empty());
        if !options.key.is_empty() || is_keyed {
            let what = "files that are registered come to a table without a key: nobody looks whether a key occurs twice";
            return Err(invalid(what, "leave the key out, or import the files"));
        }
        self.check_place(files)?;
        if let Some(asked) = options.partition_by.as_ref().filter(|asked| **asked != files.path_columns) {
            let what =
                format!("files that are registered are partitioned as they lie, not by {}", asked.join(", "));
            return Err(invalid(what, "leave `partition_by` out, or import the files"));
        }
        self.leave_registered(ctx, (table, options.only_new), existing, files).await?;
        let name = table.to_string();
        let schema = match existing {
            Some(table) => arrow_schema(&name, table.metadata.current_schema())?,
            None => arrow_schema(&name, &new_schema(&name, &files.schema, &[])?.schema)?,
        };
        for field in files.schema.fields() {
            let Ok(column) = schema.field_with_name(field.name()) else { continue };
            if let Some(what) = obstacle(field.data_type(), column.data_type()) {
                let hint = "import the files instead, which converts them";
                return Err(invalid(
                    format!("column `{}` cannot be read in place: {what}", field.name()),
                    hint,
                ));
            }
        }
        files.found.warnings.push(
            "the files stay where they are: do not change or remove them while the table or one of its snapshots needs them"
                .to_string(),
        );
        Ok(())
    }

    fn check_place(&self, files: &FilesPlan) -> Result<(), LakehouseError> {
        let warehouse = self.lakehouse.catalog().warehouse();
        let elsewhere = files.files.iter().find(|file| !warehouse.is_outside(&file.location));
        let Some(file) = elsewhere else { return Ok(()) };
        let known = warehouse.outside().collect::<Vec<_>>().join(", ");
        let what = format!("`{}` lies in no place where files of tables may lie", file.location);
        let folder = folder_of(&files.files);
        let hint = format!(
            "name the place in tarn.toml and start the server again: `[[lakehouse.outside]]` with `url = \"{folder}\"` \
             (now: {known}); or import the files, which copies them"
        );
        Err(invalid(what, hint))
    }

    /// Leaves files out that the table has. Errors: there are some, and all should be new.
    async fn leave_registered(
        &self,
        ctx: &RequestContext,
        (table, only_new): (&TableName, bool),
        existing: Option<&LoadedTable>,
        files: &mut FilesPlan,
    ) -> Result<(), LakehouseError> {
        let Some(existing) = existing else { return Ok(()) };
        let known = self.registered(ctx, table, existing).await?;
        if only_new {
            files.files.retain(|file| !known.contains(&file.location));
            files.found.files = files.files.len() as u64;
            files.found.bytes = files.files.iter().map(|file| file.bytes).sum();
            return Ok(());
        }
        match files.files.iter().find(|file| known.contains(&file.location)) {
            None => Ok(()),
            Some(file) => Err(invalid(
                format!("table `{table}` has `{}` already", file.location),
                "take the new ones only (`only_new`: `--only-new`)",
            )),
        }
    }

    /// Files that the table has, or had when an import of it was over: a cut-over takes them into the table.
    async fn registered(
        &self,
        ctx: &RequestContext,
        table: &TableName,
        existing: &LoadedTable,
    ) -> Result<HashSet<String>, LakehouseError> {
        let location = existing.metadata_location.clone().unwrap_or_default();
        let metadata = Arc::clone(&existing.metadata);
        let uuid = metadata.uuid().to_string();
        let view = self.lakehouse.loader().load(table, metadata, &location, None).await?;
        let mut known: HashSet<String> =
            view.files.iter().map(|file| file.file.file_path().to_string()).collect();
        known.extend(self.known_files(ctx, &uuid).await?.into_keys());
        Ok(known)
    }

    /// A table whose files may lack ids finds its columns by their names.
    async fn map_names(&self, ctx: &RequestContext, table: &TableName) -> Result<(), LakehouseError> {
        let catalog = self.lakehouse.catalog();
        let metadata = catalog.load_table(ctx, table).await?.metadata;
        if maps_all(&metadata) {
            return Ok(());
        }
        let known = metadata.properties().get(DEFAULT_SCHEMA_NAME_MAPPING).map(String::as_str);
        let mapping = name_mapping(metadata.current_schema().as_struct().fields(), known);
        let updates = HashMap::from([(DEFAULT_SCHEMA_NAME_MAPPING.to_string(), mapping)]);
        catalog.commit_table(ctx, table, Vec::new(), vec![TableUpdate::SetProperties { updates }]).await?;
        Ok(())
    }

    /// What became of a registration. Nothing was compared: there is one copy of the values.
    pub(super) async fn registered_report(
        &self,
        ctx: &RequestContext,
        table: &TableName,
        mark: &Mark,
    ) -> Result<ImportReport, LakehouseError> {
        let loaded = self.lakehouse.catalog().load_table(ctx, table).await?;
        let rows = mark.sums.rows;
        Ok(ImportReport {
            rows_read: rows,
            rows_added: rows,
            snapshot_id: loaded.metadata.current_snapshot_id().map(|id| id.to_string()),
            detail: format!(
                "{rows} rows of {} files are in the table and stay where they are; `tarn import verify` compares their values",
                mark.file
            ),
            ..ImportReport::default()
        })
    }
}

impl Job<'_> {
    /// Makes files that the table does not have yet files of it. Returns how far it is then.
    pub(super) async fn register(&self, mut mark: Mark) -> Result<Mark, Stop> {
        if mark.file < self.files.len() {
            Box::pin(self.imports.map_names(self.ctx, &self.table)).await?;
        }
        while mark.file < self.files.len() {
            self.check_going()?;
            let end = self.files.len().min(mark.file + FILES_AT_ONCE);
            let Some(batch) = self.files.get(mark.file..end) else { break };
            let mut writer = self.imports.lakehouse.write(self.ctx, &self.table).await?;
            let view = Arc::clone(writer.view());
            let known: HashSet<&str> = view.files.iter().map(|file| file.file.file_path()).collect();
            if let Some(file) = batch.iter().find(|file| known.contains(file.location.as_str())) {
                let what = format!("table `{}` has `{}` already", self.table, file.location);
                return Err(
                    invalid(what, "start again with the new ones only (`only_new`: `--only-new`)").into()
                );
            }
            let before =
                view.metadata.properties().get(&mark_property(self.stored.import.id.as_str())).cloned();
            for file in self.entries(&view.metadata, batch).await? {
                mark.sums.rows += file.record_count();
                writer.register(file);
            }
            mark.file = end;
            let id = &self.stored.import.id;
            let summary = (SUMMARY.to_string(), id.clone());
            writer.mark(mark_property(id), before, mark.text(), summary);
            Box::pin(writer.commit()).await?;
            self.show(&mark, self.files.iter().take(end).map(|file| file.bytes).sum());
            self.imports.keep_progress(self.ctx, id).await?;
        }
        Ok(mark)
    }

    async fn entries(&self, metadata: &TableMetadata, files: &[ListedFile]) -> Result<Vec<DataFile>, Stop> {
        let name = self.table.to_string();
        let schema = arrow_schema(&name, metadata.current_schema())?;
        let warehouse = self.imports.lakehouse.catalog().warehouse();
        let target = Target { name: &name, metadata, schema: &schema, warehouse };
        let entries: Vec<BoxFuture<'_, _>> = files.iter().map(|file| target.entry(file).boxed()).collect();
        let mut entries = stream::iter(entries).buffered(FOOTERS_AT_ONCE);
        let mut made = Vec::with_capacity(files.len());
        while let Some(entry) = entries.next().await {
            match entry {
                // A file without rows is none of the table's.
                Ok(entry) if entry.record_count() == 0 => {}
                Ok(entry) => made.push(entry),
                Err(LakehouseError::Files(fault)) => return Err(Stop::Record(fault)),
                // As with a column that does not fit, nothing of the import stays; a store that is away may come back.
                Err(LakehouseError::Parquet { path, source })
                    if !matches!(source, ParquetError::External(_)) =>
                {
                    let what = format!("`{path}` cannot be read as Parquet: {source}");
                    let hint = "mend the file, or take it out of the folder";
                    return Err(Stop::Record(FilesFault::invalid(what, hint)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_files_is_what_all_have_in_common() {
        let file = |location: &str| ListedFile {
            location: location.to_string(),
            bytes: 1,
            tag: 1,
            partition: Vec::new(),
            detail: None,
        };
        let of = |locations: &[&str]| folder_of(&locations.iter().map(|one| file(one)).collect::<Vec<_>>());
        assert_eq!(of(&["file:///d/a.parquet"]), "file:///d");
        assert_eq!(of(&["file:///d/y=1/a.parquet", "file:///d/y=12/b.parquet"]), "file:///d");
        assert_eq!(of(&["s3://b/x/1.parquet", "s3://b/2.parquet"]), "s3://b");
    }
}
