//! The object store fails at any write, read or delete: nothing is lost, nothing is doubled.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tarn_storage::Store;

use tarn_lakehouse::service::Trigger;

use crate::rows::{deletes, notes};
use crate::world::{World, contents, table};

/// When operations fail.
#[derive(Debug, Default)]
struct Faults {
    /// Operations until one fails; negative for never.
    countdown: AtomicI64,
    /// The failing operation takes place before it fails, as a lost answer does.
    late: AtomicBool,
    /// Reads and listings fail as well as writes.
    reads: AtomicBool,
    /// Everything fails.
    away: AtomicBool,
}

impl Faults {
    fn arm(&self, after: i64, late: bool, reads: bool) {
        self.late.store(late, Ordering::SeqCst);
        self.reads.store(reads, Ordering::SeqCst);
        self.countdown.store(after, Ordering::SeqCst);
    }

    fn disarm(&self) {
        self.countdown.store(-1, Ordering::SeqCst);
    }

    fn is_spent(&self) -> bool {
        self.countdown.load(Ordering::SeqCst) < 0
    }

    fn hits(&self) -> bool {
        self.away.load(Ordering::SeqCst) || self.countdown.fetch_sub(1, Ordering::SeqCst) == 0
    }

    fn fails_reads(&self) -> bool {
        let counts = self.reads.load(Ordering::SeqCst) || self.away.load(Ordering::SeqCst);
        counts && self.hits()
    }

    fn error() -> object_store::Error {
        object_store::Error::Generic { store: "faulty", source: "the network went away".into() }
    }
}

/// A folder whose operations fail when they are told to.
#[derive(Debug)]
struct Faulty {
    inner: LocalFileSystem,
    faults: Arc<Faults>,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let hit = self.faults.hits();
        if hit && !self.faults.late.load(Ordering::SeqCst) {
            return Err(Faults::error());
        }
        let done = self.inner.put_opts(location, payload, options).await?;
        if hit { Err(Faults::error()) } else { Ok(done) }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if self.faults.hits() {
            return Err(Faults::error());
        }
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if self.faults.fails_reads() {
            return Err(Faults::error());
        }
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if self.faults.fails_reads() {
            return Err(Faults::error());
        }
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        if self.faults.hits() {
            return futures::stream::once(async { Err(Faults::error()) }).boxed();
        }
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn open(folder: &FilePath, faults: &Arc<Faults>) -> World {
    let lake = folder.join("lake");
    std::fs::create_dir_all(&lake).unwrap();
    let lake = lake.canonicalize().unwrap();
    let inner = LocalFileSystem::new_with_prefix(&lake).unwrap();
    let objects = Arc::new(Faulty { inner, faults: Arc::clone(faults) });
    World::over(folder, Store::over(objects, &format!("file://{}", lake.display()))).await
}

async fn check(world: &World, model: &BTreeMap<i64, Vec<Option<String>>>, what: &str) {
    assert_eq!(&contents(&*world.view().await, &["note"]).await, model, "{what}");
}

/// Waits until the table has caught up, whatever it says in between.
async fn catch_up(world: &World, high: u64) {
    for _ in 0..12_000 {
        let (_, status) = world.lake.sink(&world.ctx, &table()).unwrap();
        let is_there = status.applied_offset == high && status.committed_offset == high;
        if is_there && status.fault.is_none() && status.work.is_none() {
            return;
        }
        world.lake.flush(&world.ctx, &table(), std::time::Duration::from_millis(5)).await;
        world.env.clock.sleep(std::time::Duration::from_millis(2)).await;
    }
    panic!("the table does not recover: {:?}", world.lake.sink(&world.ctx, &table()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_at_each_operation_of_a_commit_loses_and_doubles_nothing() {
    for (late, reads) in [(false, false), (true, false), (false, true)] {
        let folder = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults::default());
        faults.disarm();
        let world = open(folder.path(), &faults).await;
        world.create_topic(&["id"]).await;
        world.attach();
        let mut model = BTreeMap::new();
        let mut high = 0;
        let note = |text: &str| vec![Some(text.to_string())];
        world.append(notes(0..50, "first", high)).await;
        high += 50;
        model.extend((0..50).map(|id| (id, note("first"))));
        world.settle().await;
        let mut reached_the_end = false;
        for after in 0..40 {
            faults.arm(after, late, reads);
            let text = format!("fault at {after}");
            let (ids, gone) = (after % 10 * 3..after % 10 * 3 + 8, after % 17 + 30);
            world.append(notes(ids.clone(), &text, high)).await;
            world.append(deletes([gone], high + 8)).await;
            high += 9;
            model.extend(ids.map(|id| (id, note(&text))));
            model.remove(&gone);
            catch_up(&world, high).await;
            reached_the_end = !faults.is_spent();
            faults.disarm();
            check(&world, &model, &format!("{text}, late {late}, reads {reads}")).await;
            if reached_the_end {
                break;
            }
        }
        assert!(reached_the_end, "a commit has more than 40 operations");
        world.crash().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_stops_commits_but_not_what_queries_see() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    faults.disarm();
    let world = open(folder.path(), &faults).await;
    world.create_topic(&["id"]).await;
    world.attach();
    world.append(notes(0..10, "before", 0)).await;
    world.settle().await;
    faults.away.store(true, Ordering::SeqCst);
    let mut model: BTreeMap<i64, Vec<Option<String>>> = BTreeMap::new();
    for round in 0..20_i64 {
        // Rows of files and rows in memory are replaced.
        world.append(notes(round..round + 5, "while away", 10 + round as u64 * 5)).await;
        model.extend((round..round + 5).map(|id| (id, vec![Some("while away".to_string())])));
    }
    let high = 10 + 20 * 5;
    let seen = async || {
        let (_, status) = world.lake.sink(&world.ctx, &table()).unwrap();
        (status.applied_offset, status.committed_offset, status.fault.map(|fault| fault.message))
    };
    for _ in 0..4_000 {
        if let (applied, _, Some(_)) = seen().await
            && applied == high
        {
            break;
        }
        world.env.clock.sleep(std::time::Duration::from_millis(5)).await;
    }
    let (applied, committed, fault) = seen().await;
    assert_eq!((applied, committed), (high, 10), "{fault:?}");
    assert!(fault.unwrap().contains("table"), "it says why it does not commit");
    let view = world.view().await;
    assert_eq!(view.live_rows(), model.len() as u64);
    faults.away.store(false, Ordering::SeqCst);
    catch_up(&world, high).await;
    check(&world, &model, "after it is back").await;
    world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_faults_and_crashes_with_compaction_equal_the_model() {
    let seed = std::env::var("TARN_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("TARN_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    faults.disarm();
    let mut world = open(folder.path(), &faults).await;
    world.create_topic(&["id"]).await;
    world.attach();
    let mut model: BTreeMap<i64, Vec<Option<String>>> = BTreeMap::new();
    let mut high = 0;
    for round in 0..80 {
        let text = format!("round {round}");
        let first = rng.random_range(0..60);
        world.append(notes(first..first + 10, &text, high)).await;
        model.extend((first..first + 10).map(|id| (id, vec![Some(text.clone())])));
        high += 10;
        let gone = rng.random_range(0..70);
        world.append(deletes([gone], high)).await;
        model.remove(&gone);
        high += 1;
        match rng.random_range(0..8) {
            0..=2 => faults.arm(rng.random_range(0..12), rng.random_bool(0.5), rng.random_bool(0.3)),
            3 => {
                // It may fail by the fault that is armed; what counts are the rows.
                drop(world.lake.compact(&world.ctx, &table(), Trigger::Api).await);
            }
            4 => {
                world.crash().await;
                world = open(folder.path(), &faults).await;
                world.attach();
            }
            _ => {
                faults.disarm();
                catch_up(&world, high).await;
                check(&world, &model, &text).await;
            }
        }
    }
    faults.disarm();
    catch_up(&world, high).await;
    check(&world, &model, "the end").await;
    world.crash().await;
}
