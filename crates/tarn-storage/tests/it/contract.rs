//! What every store promises.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tarn_core::{Fault, FaultKind};
use tarn_storage::{StorageConfig, StorageError, Store};

/// Runs the contract on an empty store.
pub async fn check_store(store: &Store) {
    store.check(true).await.expect("the store takes reads and writes");
    replaces_whole_objects(store).await;
    lets_one_of_many_writers_win(store).await;
    turns_locations_into_paths_and_back(store).await;
    lists_what_is_there(store).await;
}

async fn replaces_whole_objects(store: &Store) {
    let path = Path::from("a/b/object");
    store.put_durable(&path, Bytes::from_static(b"one")).await.expect("written");
    store.put_durable(&path, Bytes::from_static(b"two")).await.expect("replaced");
    assert_eq!(store.get(&path).await.expect("read"), "two");
    store.sync(&path).await.expect("flushed");
    assert_eq!(store.head(&path).await.expect("there").size, 3);
    store.delete(&path).await.expect("removed");
    store.delete(&path).await.expect("removed already");
    let error = store.get(&path).await.expect_err("gone");
    assert!(matches!(error, StorageError::NotFound { .. }), "{error:?}");
    assert_eq!(error.kind(), FaultKind::NotFound);
}

async fn lets_one_of_many_writers_win(store: &Store) {
    let path = Path::from("race/metadata.json");
    let writers = (0..8u8).map(|n| {
        let path = path.clone();
        async move { store.put_if_absent(&path, Bytes::from(vec![n])).await }
    });
    let results = futures::future::join_all(writers).await;
    let winners: Vec<usize> = results.iter().enumerate().filter(|(_, r)| r.is_ok()).map(|(n, _)| n).collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    assert!(
        results
            .iter()
            .flat_map(|r| r.as_ref().err())
            .all(|e| matches!(e, StorageError::AlreadyExists { .. }))
    );
    assert_eq!(store.get(&path).await.expect("read"), vec![winners[0] as u8]);
}

async fn turns_locations_into_paths_and_back(store: &Store) {
    let path = Path::parse("表/year=2013/a b.parquet").expect("a path");
    store.put_durable(&path, Bytes::from_static(b"x")).await.expect("written");
    let location = store.location_of(&path);
    assert_eq!(location, format!("{}/表/year=2013/a b.parquet", store.url()));
    let back = store.path_of(&location).expect("inside");
    assert_eq!(back, path);
    assert_eq!(store.get(&back).await.expect("read"), "x");
    let outside = format!("{}-other/x", store.url());
    assert!(matches!(store.path_of(&outside), Err(StorageError::InvalidLocation { .. })));
    let inner = store.at(&Path::parse("表").expect("a path")).expect("a folder");
    assert_eq!(inner.get(&Path::from("year=2013/a b.parquet")).await.expect("read"), "x");
}

async fn lists_what_is_there(store: &Store) {
    let folder = Path::from("list");
    assert!(store.list(&folder).try_collect::<Vec<_>>().await.expect("no folder").is_empty());
    for n in 0..3 {
        let name = folder.clone().join(format!("{n}"));
        store.objects().put(&name, Bytes::from_static(b"x").into()).await.expect("written");
    }
    let found: Vec<_> = store.list(&folder).try_collect().await.expect("a folder");
    assert_eq!(found.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_folder_keeps_the_contract() {
    let temp = tempfile::tempdir().expect("a folder");
    let folder = temp.path().join("数据 lake");
    let store = Store::open(&StorageConfig::at("数据 lake"), temp.path()).expect("opens");
    assert_eq!(store.folder(), Some(folder.canonicalize().expect("made").as_path()));
    check_store(&store).await;
    let url = StorageConfig::at(store.url());
    let again = Store::open(&url, temp.path()).expect("opens by its own URL");
    assert_eq!(again.url(), store.url());
}

#[tokio::test]
async fn what_a_dead_writer_left_is_not_listed() {
    let temp = tempfile::tempdir().expect("a folder");
    let store = Store::open_folder(temp.path()).expect("opens");
    std::fs::write(temp.path().join("a#17"), b"half").expect("written");
    store.put_durable(&Path::from("a"), Bytes::from_static(b"whole")).await.expect("written");
    let found: Vec<_> = store.list(&Path::default()).try_collect().await.expect("listed");
    assert_eq!(found.iter().map(|meta| meta.location.as_ref()).collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn a_file_in_place_of_a_folder_is_a_clear_error() {
    let temp = tempfile::tempdir().expect("a folder");
    let file = temp.path().join("file");
    std::fs::write(&file, b"x").expect("written");
    let error = Store::open_folder(&file.join("lake")).expect_err("not a folder");
    assert!(error.to_string().contains("could not create the folder"), "{error}");
}
