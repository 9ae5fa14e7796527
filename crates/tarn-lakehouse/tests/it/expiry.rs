//! Old snapshots go with what only they need; what is reachable stays.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use iceberg::TableUpdate;
use tarn_lakehouse::ManifestCache;
use tarn_lakehouse::service::Trigger;

use crate::rows::notes;
use crate::world::{World, contents, table};

/// Files below the table's folder, by kind of ending.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut folders = vec![folder.join("lake")];
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(format!("file://{}", path.display()));
            }
        }
    }
    found
}

/// Everything that the newest metadata leads to.
async fn reachable(world: &World) -> BTreeSet<String> {
    let loaded = world.lake.catalog().load_table(&world.ctx, &table()).await.unwrap();
    let cache = ManifestCache::new(world.lake.catalog().warehouse().clone());
    let metadata = &loaded.metadata;
    let mut found = BTreeSet::from([loaded.metadata_location.clone().unwrap()]);
    found.extend(metadata.metadata_log().iter().map(|log| log.metadata_file.clone()));
    for snapshot in metadata.snapshots() {
        let location = snapshot.manifest_list();
        found.insert(location.to_string());
        let list = cache.list("t", location, metadata.format_version()).await.unwrap();
        for manifest in list.entries() {
            found.insert(manifest.manifest_path.clone());
            let manifest = cache.manifest("t", manifest).await.unwrap();
            let live = manifest.entries().iter().filter(|entry| entry.is_alive());
            found.extend(live.map(|entry| entry.file_path().to_string()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_snapshots_go_with_their_files_and_the_rest_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    world.create_topic(&["id"]).await;
    world.attach();
    world.append(notes([0], "first", 0)).await;
    world.settle().await;
    let catalog = world.lake.catalog();
    let properties = HashMap::from([
        ("history.expire.min-snapshots-to-keep".to_string(), "10".to_string()),
        ("history.expire.max-snapshot-age-ms".to_string(), "0".to_string()),
        ("write.metadata.previous-versions-max".to_string(), "5".to_string()),
        ("write.metadata.delete-after-commit.enabled".to_string(), "true".to_string()),
    ]);
    let set = TableUpdate::SetProperties { updates: properties };
    catalog.commit_table(&world.ctx, &table(), vec![], vec![set]).await.unwrap();
    let mut seen = 0;
    for round in 1..60 {
        // Upserts, so that data files die as well.
        world.append(notes(round % 7..round % 7 + 5, &format!("round {round}"), round as u64 * 10)).await;
        world.settle().await;
        seen = seen.max(world.view().await.metadata.snapshots().len());
    }
    let view = world.view().await;
    let kept = view.metadata.snapshots().len();
    assert!((10..=16).contains(&kept), "{kept} snapshots are left of {seen}");
    // Each kept snapshot can be read in full.
    for snapshot in view.metadata.snapshots() {
        let past = world.lake.view_at_snapshot(&world.ctx, &table(), snapshot.snapshot_id()).await.unwrap();
        assert!(!contents(&past, &["note"]).await.is_empty());
    }
    let gone = world.lake.view_at_snapshot(&world.ctx, &table(), 42).await.unwrap_err();
    assert!(gone.to_string().contains("42"));
    // Nothing is missing; what is too much is at most what the very last commits left.
    let (there, needed) = (files(folder.path()), reachable(&world).await);
    let missing: Vec<_> = needed.difference(&there).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let superfluous: Vec<_> = there.difference(&needed).collect();
    assert!(
        superfluous.is_empty(),
        "{} files are not needed by anything: {superfluous:?}",
        superfluous.len()
    );
    world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_a_tag_names_stays() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    world.create_topic(&["id"]).await;
    world.attach();
    world.append(notes([0], "tagged", 0)).await;
    world.settle().await;
    let tagged = world.view().await.snapshot_id.unwrap();
    let updates: Vec<TableUpdate> = serde_json::from_value(serde_json::json!([
        { "action": "set-snapshot-ref", "ref-name": "audit", "type": "tag", "snapshot-id": tagged },
        { "action": "set-properties", "updates": {
            "history.expire.min-snapshots-to-keep": "1", "history.expire.max-snapshot-age-ms": "0" } },
    ]))
    .unwrap();
    world.lake.catalog().commit_table(&world.ctx, &table(), vec![], updates).await.unwrap();
    for round in 1..30 {
        world.append(notes([0], &format!("round {round}"), round)).await;
        world.settle().await;
    }
    let view = world.view().await;
    assert!(view.metadata.snapshots().len() < 10, "{} snapshots", view.metadata.snapshots().len());
    let past = world.lake.view_at_snapshot(&world.ctx, &table(), tagged).await.unwrap();
    assert_eq!(contents(&past, &["note"]).await[&0], [Some("tagged".to_string())]);
    world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_nothing_needs_go_and_strange_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await;
    world.create_topic(&["id"]).await;
    world.attach();
    for round in 0..20 {
        world.append(notes(round..round + 5, &format!("round {round}"), round as u64 * 5)).await;
        world.settle().await;
    }
    let place =
        std::path::PathBuf::from(world.view().await.metadata.location().trim_start_matches("file://"));
    let orphans = [
        place.join("data/data-0c0a.parquet"),
        place.join("data/deletes-0c0b.parquet"),
        place.join("metadata/0c0d-m0.avro"),
        place.join("metadata/00099-0c0e.metadata.json"),
    ];
    let strange = [place.join("data/part-00000.parquet"), place.join("data/read me.txt")];
    orphans.iter().chain(&strange).for_each(|path| std::fs::write(path, "left behind").unwrap());
    let compact = async || {
        world.lake.compact(&world.ctx, &table(), Trigger::Api).await.unwrap();
        world.settle().await;
    };
    compact().await;
    assert!(orphans.iter().all(|path| path.exists()), "they are young");
    let set = TableUpdate::SetProperties {
        updates: HashMap::from([("tarn.orphan-age-ms".to_string(), "-1000".to_string())]),
    };
    world.lake.catalog().commit_table(&world.ctx, &table(), vec![], vec![set]).await.unwrap();
    // The first finds that the table is another one.
    drop(world.lake.compact(&world.ctx, &table(), Trigger::Api).await);
    world.settle().await;
    compact().await;
    assert!(orphans.iter().all(|path| !path.exists()), "{orphans:?}");
    assert!(strange.iter().all(|path| path.exists()));
    let (there, needed) = (files(folder.path()), reachable(&world).await);
    let missing: Vec<_> = needed.difference(&there).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for snapshot in world.view().await.metadata.snapshots() {
        let past = world.lake.view_at_snapshot(&world.ctx, &table(), snapshot.snapshot_id()).await.unwrap();
        assert!(!contents(&past, &["note"]).await.is_empty());
    }
    world.crash().await;
}
