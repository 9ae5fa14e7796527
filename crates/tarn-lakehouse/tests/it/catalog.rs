//! Namespaces, tables and commits of the embedded catalog.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::spec::{NestedField, PrimitiveType, Schema, Type, UnboundPartitionSpec};
use iceberg::{TableRequirement, TableUpdate};
use tarn_core::{Fault, FaultKind, TableName};
use tarn_lakehouse::{CreateTable, LakehouseError, LoadedTable, TableCommit};
use uuid::Uuid;

use crate::world::World;

fn name(text: &str) -> TableName {
    TableName::parse(text).unwrap()
}

fn schema() -> Schema {
    let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
    let note = NestedField::optional(2, "note", Type::Primitive(PrimitiveType::String));
    Schema::builder().with_fields([Arc::new(id), Arc::new(note)]).build().unwrap()
}

fn create(text: &str) -> CreateTable {
    CreateTable {
        name: name(text),
        schema: schema(),
        partition_spec: None,
        write_order: None,
        location: None,
        properties: HashMap::new(),
        stage: false,
    }
}

fn set(key: &str, value: &str) -> Vec<TableUpdate> {
    vec![TableUpdate::SetProperties { updates: HashMap::from([(key.to_string(), value.to_string())]) }]
}

fn change(table: &str, requirements: Vec<TableRequirement>, updates: Vec<TableUpdate>) -> TableCommit {
    TableCommit { name: name(table), requirements, updates }
}

struct Rig {
    world: World,
    folder: tempfile::TempDir,
}

impl Rig {
    /// With the namespace `mart` and the tables `mart.a` and `mart.b`.
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::open(folder.path()).await;
        let rig = Self { world, folder };
        rig.catalog().create_namespace(&rig.world.ctx, "mart", Default::default()).await.unwrap();
        for table in ["mart.a", "mart.b"] {
            rig.catalog().create_table(&rig.world.ctx, create(table)).await.unwrap();
        }
        rig
    }

    fn catalog(&self) -> &tarn_lakehouse::Catalog {
        self.world.lake.catalog()
    }

    async fn load(&self, table: &str) -> LoadedTable {
        self.catalog().load_table(&self.world.ctx, &name(table)).await.unwrap()
    }

    async fn commit(&self, commits: Vec<TableCommit>) -> Result<Vec<LoadedTable>, LakehouseError> {
        self.catalog().commit(&self.world.ctx, commits).await
    }

    async fn property(&self, table: &str, key: &str) -> Option<String> {
        self.load(table).await.metadata.properties().get(key).cloned()
    }

    /// Metadata files below the warehouse, so that what a failed commit leaves behind shows.
    fn metadata_files(&self) -> usize {
        let mut folders = vec![self.folder.path().join("lake")];
        let mut found = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_string_lossy().ends_with(".metadata.json") {
                    found += 1;
                }
            }
        }
        found
    }
}

#[tokio::test]
async fn a_name_is_taken_once_and_the_nearest_one_is_suggested() {
    let rig = Rig::open().await;
    let ctx = &rig.world.ctx;
    let twice = rig.catalog().create_table(ctx, create("mart.a")).await.unwrap_err();
    assert!(matches!(&twice, LakehouseError::AlreadyExists { kind: "table", name } if name == "mart.a"));
    assert_eq!(twice.kind(), FaultKind::Conflict);
    let twice = rig.catalog().create_namespace(ctx, "mart", Default::default()).await.unwrap_err();
    assert!(matches!(twice, LakehouseError::AlreadyExists { kind: "namespace", .. }));
    let nowhere = rig.catalog().create_table(ctx, create("nowhere.a")).await.unwrap_err();
    assert!(matches!(nowhere, LakehouseError::NamespaceNotFound { .. }));
    rig.catalog().create_table(ctx, create("mart.orders")).await.unwrap();
    let missing = rig.catalog().load_table(ctx, &name("mart.ordres")).await.unwrap_err();
    assert_eq!(missing.hint().unwrap(), "did you mean `mart.orders`?");
    let full = rig.catalog().drop_namespace(ctx, "mart").await.unwrap_err();
    assert!(matches!(full, LakehouseError::NamespaceNotEmpty { .. }));
}

#[tokio::test]
async fn a_rename_moves_the_pointer_and_nothing_else() {
    let rig = Rig::open().await;
    let ctx = &rig.world.ctx;
    rig.catalog().create_namespace(ctx, "other", Default::default()).await.unwrap();
    let before = rig.load("mart.a").await;
    rig.catalog().rename_table(ctx, &name("mart.a"), &name("other.z")).await.unwrap();
    let after = rig.load("other.z").await;
    assert_eq!(after.metadata_location, before.metadata_location);
    assert!(matches!(
        rig.catalog().load_table(ctx, &name("mart.a")).await.unwrap_err(),
        LakehouseError::TableNotFound { .. }
    ));
    let taken = rig.catalog().rename_table(ctx, &name("other.z"), &name("mart.b")).await.unwrap_err();
    assert!(matches!(taken, LakehouseError::AlreadyExists { .. }));
    let nowhere = rig.catalog().rename_table(ctx, &name("other.z"), &name("no.z")).await.unwrap_err();
    assert!(matches!(nowhere, LakehouseError::NamespaceNotFound { .. }));
}

#[tokio::test]
async fn a_dropped_table_can_be_taken_over_again_and_a_purged_one_is_gone() {
    let rig = Rig::open().await;
    let ctx = &rig.world.ctx;
    let kept = rig.load("mart.a").await.metadata_location.unwrap();
    let purged = rig.load("mart.b").await.metadata_location.unwrap();
    rig.catalog().drop_table(ctx, &name("mart.a"), false).await.unwrap();
    rig.catalog().drop_table(ctx, &name("mart.b"), true).await.unwrap();
    assert_eq!(rig.metadata_files(), 1);
    rig.catalog().register_table(ctx, &name("mart.again"), &kept, false).await.unwrap();
    assert_eq!(rig.load("mart.again").await.metadata_location.unwrap(), kept);
    let twice = rig.catalog().register_table(ctx, &name("mart.again"), &kept, false).await.unwrap_err();
    assert!(matches!(twice, LakehouseError::AlreadyExists { .. }));
    rig.catalog().register_table(ctx, &name("mart.again"), &kept, true).await.unwrap();
    // The metadata of a purged table is still known to the process, but its file is gone.
    let fresh = rig.world.neighbour(rig.folder.path()).await;
    let gone = fresh.catalog().register_table(ctx, &name("mart.gone"), &purged, false).await.unwrap_err();
    assert_eq!(gone.kind(), FaultKind::Corrupt, "{gone}");
    let outside = fresh.catalog().register_table(ctx, &name("mart.o"), "file:///etc/passwd", false).await;
    assert!(matches!(outside.unwrap_err(), LakehouseError::BadLocation { .. }));
}

#[tokio::test]
async fn a_table_that_is_made_again_lies_elsewhere() {
    let rig = Rig::open().await;
    let ctx = &rig.world.ctx;
    let first = rig.load("mart.a").await.metadata.location().to_string();
    rig.catalog().drop_table(ctx, &name("mart.a"), false).await.unwrap();
    rig.catalog().create_table(ctx, create("mart.a")).await.unwrap();
    assert_ne!(rig.load("mart.a").await.metadata.location(), first);
    let outside = CreateTable { location: Some("s3://other/t".into()), ..create("mart.c") };
    let outside = rig.catalog().create_table(ctx, outside).await.unwrap_err();
    assert!(matches!(outside, LakehouseError::BadLocation { .. }) && outside.hint().is_some());
    let up = format!("{}/../outside", rig.catalog().warehouse().url());
    let outside =
        rig.catalog().create_table(ctx, CreateTable { location: Some(up), ..create("mart.c") }).await;
    assert!(matches!(outside.unwrap_err(), LakehouseError::BadLocation { .. }));
}

#[tokio::test]
async fn a_commit_of_two_tables_is_all_or_nothing() {
    let rig = Rig::open().await;
    let right = TableRequirement::UuidMatch { uuid: rig.load("mart.a").await.metadata.uuid() };
    let wrong = TableRequirement::UuidMatch { uuid: Uuid::from_u128(7) };
    let files = rig.metadata_files();
    for order in [false, true] {
        let mut commits = vec![
            change("mart.a", vec![right.clone()], set("k", "1")),
            change("mart.b", vec![wrong.clone()], set("k", "1")),
        ];
        if order {
            commits.reverse();
        }
        let failed = rig.commit(commits).await.unwrap_err();
        assert!(
            matches!(&failed, LakehouseError::CommitFailed { table, .. } if table == "mart.b"),
            "{failed}"
        );
        assert_eq!(failed.kind(), FaultKind::Conflict);
        assert_eq!(rig.property("mart.a", "k").await, None);
        assert_eq!(rig.property("mart.b", "k").await, None);
    }
    assert_eq!(rig.metadata_files(), files, "files of refused commits stay behind");
    let missing =
        vec![change("mart.a", vec![], set("k", "1")), change("mart.nothing", vec![], set("k", "1"))];
    assert!(matches!(rig.commit(missing).await.unwrap_err(), LakehouseError::TableNotFound { .. }));
    assert_eq!(rig.property("mart.a", "k").await, None);
    let twice = vec![change("mart.a", vec![], set("k", "1")), change("mart.a", vec![], set("k", "2"))];
    assert_eq!(rig.commit(twice).await.unwrap_err().kind(), FaultKind::Invalid);
    let both = vec![change("mart.a", vec![right], set("k", "2")), change("mart.b", vec![], set("k", "2"))];
    let committed = rig.commit(both).await.unwrap();
    assert_eq!(committed.len(), 2);
    assert_eq!(rig.property("mart.a", "k").await.as_deref(), Some("2"));
    assert_eq!(rig.property("mart.b", "k").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn each_requirement_is_checked_on_the_newest_state() {
    let rig = Rig::open().await;
    let metadata = rig.load("mart.a").await.metadata;
    let wrong = [
        TableRequirement::NotExist,
        TableRequirement::UuidMatch { uuid: Uuid::from_u128(1) },
        TableRequirement::RefSnapshotIdMatch { r#ref: "main".into(), snapshot_id: Some(1) },
        TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: 99 },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: 99 },
        TableRequirement::LastAssignedPartitionIdMatch { last_assigned_partition_id: 99 },
        TableRequirement::DefaultSpecIdMatch { default_spec_id: 99 },
        TableRequirement::DefaultSortOrderIdMatch { default_sort_order_id: 99 },
    ];
    for requirement in wrong {
        let text = format!("{requirement:?}");
        let failed = rig.commit(vec![change("mart.a", vec![requirement], set("k", "1"))]).await.unwrap_err();
        assert!(matches!(failed, LakehouseError::CommitFailed { .. }), "{text}: {failed}");
    }
    let right = vec![
        TableRequirement::UuidMatch { uuid: metadata.uuid() },
        TableRequirement::RefSnapshotIdMatch { r#ref: "main".into(), snapshot_id: None },
        TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: metadata.last_column_id() },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
        TableRequirement::DefaultSpecIdMatch { default_spec_id: metadata.default_partition_spec_id() },
    ];
    rig.commit(vec![change("mart.a", right, set("k", "1"))]).await.unwrap();
    assert_eq!(rig.property("mart.a", "k").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_staged_table_is_there_after_its_first_commit_and_only_once() {
    let rig = Rig::open().await;
    let ctx = &rig.world.ctx;
    let staged = CreateTable { stage: true, ..create("mart.staged") };
    let staged = rig.catalog().create_table(ctx, staged).await.unwrap();
    assert_eq!(staged.metadata_location, None);
    assert!(rig.catalog().load_table(ctx, &name("mart.staged")).await.is_err());
    let metadata = &staged.metadata;
    // What PyIceberg and DuckDB send.
    let updates = vec![
        TableUpdate::AssignUuid { uuid: metadata.uuid() },
        TableUpdate::UpgradeFormatVersion { format_version: metadata.format_version() },
        TableUpdate::AddSchema { schema: metadata.current_schema().as_ref().clone() },
        TableUpdate::SetCurrentSchema { schema_id: -1 },
        TableUpdate::AddSpec { spec: UnboundPartitionSpec::builder().with_spec_id(0).build() },
        TableUpdate::SetDefaultSpec { spec_id: -1 },
        TableUpdate::SetLocation { location: metadata.location().to_string() },
        TableUpdate::SetProperties { updates: HashMap::from([("owner".into(), "ada".into())]) },
    ];
    let first = || vec![change("mart.staged", vec![TableRequirement::NotExist], updates.clone())];
    rig.commit(first()).await.unwrap();
    let loaded = rig.load("mart.staged").await;
    assert_eq!(loaded.metadata.uuid(), metadata.uuid());
    assert_eq!(loaded.metadata.current_schema().as_struct(), metadata.current_schema().as_struct());
    assert_eq!(loaded.metadata.location(), metadata.location());
    assert_eq!(loaded.metadata.properties()["owner"], "ada");
    let again = rig.commit(first()).await.unwrap_err();
    assert!(matches!(again, LakehouseError::CommitFailed { .. }), "{again}");
    // Without its parts a first commit is refused.
    let bare = rig.commit(vec![change("mart.bare", vec![TableRequirement::NotExist], set("k", "1"))]).await;
    assert_eq!(bare.unwrap_err().kind(), FaultKind::Invalid);
    // All or nothing also holds between a new table and an old one.
    let mut mixed =
        vec![change("mart.a", vec![TableRequirement::UuidMatch { uuid: Uuid::nil() }], set("k", "1"))];
    let location = format!("{}-2", metadata.location());
    let mut moved = updates.clone();
    moved[6] = TableUpdate::SetLocation { location };
    mixed.insert(0, change("mart.second", vec![TableRequirement::NotExist], moved));
    rig.commit(mixed).await.unwrap_err();
    assert!(rig.catalog().load_table(ctx, &name("mart.second")).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_of_many_at_once_lose_nothing_while_their_requirements_hold() {
    let rig = Rig::open().await;
    let neighbour = rig.world.neighbour(rig.folder.path()).await;
    let mut tasks = Vec::new();
    for (writer, lake) in [Arc::clone(&rig.world.lake), neighbour].into_iter().enumerate() {
        let ctx = rig.world.ctx.clone();
        let env = rig.world.env.clone();
        tasks.push(env.spawner.clone().spawn(async move {
            for n in 0..25 {
                let key = format!("writer-{writer}-{n}");
                let commits = || {
                    let each = ["mart.a", "mart.b"].iter();
                    each.map(|table| change(table, vec![], set(&key, "x"))).collect::<Vec<_>>()
                };
                // A race that is lost again and again is told, and nothing of it is kept.
                while let Err(error) = lake.catalog().commit(&ctx, commits()).await {
                    assert!(matches!(error, LakehouseError::CommitConflict { .. }), "{error}");
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for table in ["mart.a", "mart.b"] {
        let metadata = rig.load(table).await.metadata;
        let keys = metadata.properties().keys().filter(|key| key.starts_with("writer-")).count();
        assert_eq!(keys, 50, "{table}");
    }
}
