//! Iceberg tables of others (Iceberg specification, versions 1 to 3): by the metadata in their folder, or by a REST catalog.
//!
//! `metadata` finds the metadata and the state that is read, `rest` asks a catalog for them, `manifests` lists data files
//! with their deletes, `columns` the columns. Only the library's types are used: what is read, and where, is decided here.

mod columns;
mod manifests;
mod metadata;
mod rest;

use serde::{Deserialize, Serialize};
use tarn_component::Secret;
use tarn_core::RequestContext;
use tarn_core::files::{FilesFault, FoundTable};

use super::FileReaders;
use super::config::{FilesConfig, FilesFormat};
use super::lake::{FoundBy, FoundLake, LakeColumn, LakePlan, Place, Roots};
use iceberg::spec::{Schema, TableMetadata};
use manifests::{Content, Reading};
use metadata::Moved;
pub(crate) use metadata::{is_metadata_file, is_table};
pub(crate) use rest::{Vended, with_credentials};

/// Which state of an Iceberg table is read, the current one without it; and who knows where the table lies.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct IcebergOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
    /// A branch or tag.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The snapshot that was current at this time, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// A REST catalog; `path` is then the table's name there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogOptions>,
}

/// A snapshot, also as text, since not every language has numbers so large.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum SnapshotId {
    Number(i64),
    Text(String),
}

impl SnapshotId {
    fn number(&self) -> Result<i64, FilesFault> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Text(text) => text.trim().parse().map_err(|_| {
                FilesFault::invalid(
                    format!("`iceberg.snapshot`: `{text}` is no snapshot"),
                    "name its number; branches and tags are `iceberg.ref`",
                )
            }),
        }
    }
}

/// How a REST catalog is reached.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CatalogOptions {
    /// Its address, without `/v1`.
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warehouse: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Of OAuth2 client credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Secret>,
    /// Where tokens are given out; the catalog itself without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// The table that a folder, a file of metadata or a catalog names. Errors: what stands in the way of reading it.
pub(crate) async fn found(
    files: &FileReaders,
    ctx: &RequestContext,
    config: &FilesConfig,
    place: Option<&Place>,
) -> Result<FoundLake, FilesFault> {
    let (metadata, place, config) = match (place, &config.iceberg.catalog) {
        (Some(place), _) => {
            let (metadata, place) = metadata::found(place).await?;
            (metadata, Some(place), config.clone())
        }
        (None, Some(catalog)) => {
            let loaded = rest::load(catalog, &config.path).await?;
            let config = loaded.credentials.as_ref().map_or_else(|| config.clone(), |own| own.over(config));
            // A catalog may have named a server that nobody may ask.
            files.endpoints.check_config(&config)?;
            (loaded.metadata, None, config)
        }
        (None, None) => return Err(FilesFault::invalid("no table is named", "name its folder")),
    };
    if let Some(place) = &place {
        files.check_place(ctx, &place.location())?;
    }
    let moved = Moved::new(&metadata, place.as_ref(), &files.project);
    // A folder is trusted by who names it; what a catalog says of this machine is not.
    let own = match &place {
        Some(place) => Some(place.location()),
        None => moved.from.clone().filter(|location| !location.starts_with("file://")),
    };
    let roots = Roots::new(own, &config, &files.project)?;
    let chosen = metadata::chosen(&metadata, &config.iceberg)?;
    let aliases = columns::aliases(&metadata)?;
    let mut columns = columns::columns(&chosen.schema, &aliases)?;
    let content = match &chosen.snapshot {
        Some(snapshot) => {
            let reading =
                Reading { files, ctx, config: &config, roots: &roots, moved: &moved, metadata: &metadata };
            Box::pin(reading.content(snapshot, &columns)).await?
        }
        None => Content::default(),
    };
    add_hidden(&metadata, &content, &mut columns)?;
    let mut warnings = warnings_of(&metadata, (&moved, place.as_ref()), &columns);
    let table = table_of(&metadata, &chosen.schema, &mut warnings);
    let version =
        chosen.snapshot.as_ref().map_or_else(|| "none".to_string(), |s| s.snapshot_id().to_string());
    let plan = LakePlan {
        columns,
        by: FoundBy::Id,
        constants_win: false,
        roots,
        deletes: content.deletes,
        table: table.id.clone(),
    };
    let (format, files) = (FilesFormat::Iceberg, content.files);
    Ok(FoundLake { format, version, plan, table, files, warnings, s3: Some(config.s3) })
}

/// What a person should know of a table.
fn warnings_of(
    metadata: &TableMetadata,
    (moved, place): (&Moved<'_>, Option<&Place>),
    columns: &[LakeColumn],
) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(place) = place.filter(|_| moved.is_moved()) {
        warnings.push(format!(
            "the metadata says that the table lies in `{}`; its files are read below `{}`",
            metadata.location(),
            super::shown(&place.location()),
        ));
    }
    let nanos =
        columns.iter().filter(|column| column.holds("timestamp_ns") || column.holds("timestamptz_ns"));
    warnings.extend(
        nanos.map(|column| format!("column `{}` has nanoseconds; microseconds are kept", column.name)),
    );
    warnings
}

/// What a table says of itself.
fn table_of(metadata: &TableMetadata, schema: &Schema, warnings: &mut Vec<String>) -> FoundTable {
    let fields = schema.as_struct().fields();
    let comment = |doc: &Option<String>| doc.clone().filter(|doc| !doc.is_empty());
    FoundTable {
        id: metadata.uuid().to_string(),
        partition_by: columns::terms(metadata.default_partition_spec(), schema, warnings),
        key: metadata::key_of(schema),
        required: fields.iter().filter(|field| field.required).map(|field| field.name.clone()).collect(),
        comments: fields
            .iter()
            .filter_map(|field| Some((field.name.clone(), comment(&field.doc)?)))
            .collect(),
    }
}

/// Adds columns by whose values rows are deleted and that the rows do not have any more. Errors: they are not known.
fn add_hidden(
    metadata: &TableMetadata,
    content: &Content,
    columns: &mut Vec<LakeColumn>,
) -> Result<(), FilesFault> {
    let ids = content.deletes.iter().flat_map(|file| file.ids.iter().copied());
    for id in ids.collect::<std::collections::BTreeSet<i32>>() {
        if columns.iter().any(|column| column.id == Some(id)) {
            continue;
        }
        let field = metadata
            .schemas_iter()
            .find_map(|schema| schema.as_struct().fields().iter().find(|field| field.id == id));
        let field = field.ok_or_else(|| {
            FilesFault::invalid(
                format!("rows are deleted by the values of field {id}, which is no column of the table"),
                "rewrite the table there (`rewrite_data_files`), so that no deletes are left",
            )
        })?;
        columns.push(LakeColumn { hidden: true, ..columns::column(field, &Default::default())? });
    }
    Ok(())
}
