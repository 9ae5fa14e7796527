//! Another engine commits between the sink's commits: what it wrote stays, and the sink goes on.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use roaring::RoaringTreemap;
use tarn_lakehouse::service::Trigger;
use tarn_lakehouse::{FileFactory, Lakehouse, LakehouseError, ManifestCache, RowDelta, TableView};

use crate::rows::{deletes, notes};
use crate::world::{TABLE, World, contents, rows_of, table};

struct Rig {
    world: World,
    other: Arc<Lakehouse>,
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::open(folder.path()).await;
        world.create_topic(&["id"]).await;
        world.attach();
        let other = neighbour(&world, folder.path()).await;
        Self { world, other, _folder: folder }
    }

    /// Commits what `change` makes of the newest state, again when the sink was faster.
    async fn commit(&self, change: impl AsyncFn(&Self, &TableView) -> RowDelta) {
        for _ in 0..1_000 {
            let view = self.other.view(&self.world.ctx, &table()).await.unwrap();
            let delta = change(self, &view).await;
            let cache = ManifestCache::new(self.other.catalog().warehouse().clone());
            let produced = delta.produce(TABLE, &view.metadata, &cache, &self.world.env).await.unwrap();
            let catalog = self.other.catalog();
            let (requirements, updates) = (produced.requirements, produced.updates);
            match catalog.commit_table(&self.world.ctx, &table(), requirements, updates).await {
                Ok(_) => return,
                Err(LakehouseError::CommitFailed { .. } | LakehouseError::CommitConflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the other engine never wins");
    }

    fn factory(&self) -> FileFactory {
        FileFactory::new(self.other.catalog().warehouse().clone(), TABLE, self.world.env.clone())
    }

    async fn file(&self, view: &TableView, batches: &[RecordBatch]) -> iceberg::spec::DataFile {
        let mut file = self.factory().data(&view.metadata).await.unwrap();
        for batch in batches {
            file.write(batch).await.unwrap();
        }
        file.close().await.unwrap()
    }

    /// Another engine appends rows.
    async fn append(&self, ids: std::ops::Range<i64>) {
        self.commit(async |rig, view| {
            let ids: Vec<i64> = ids.clone().collect();
            let text = StringArray::from(vec!["foreign"; ids.len()]);
            let batch = RecordBatch::try_new(
                Arc::clone(&view.schema),
                vec![Arc::new(Int64Array::from(ids)), Arc::new(text)],
            );
            RowDelta { add_data: vec![rig.file(view, &[batch.unwrap()]).await], ..RowDelta::default() }
        })
        .await;
    }

    /// Another engine rewrites all files into one, as a compaction does: every row has another place after it.
    async fn rewrite(&self) {
        self.commit(async |rig, view| {
            let mut batches = rows_of(view).await;
            batches.reverse();
            let remove_data: HashSet<String> =
                view.files.iter().map(|file| file.file.file_path().to_string()).collect();
            let add_data = vec![rig.file(view, &batches).await];
            RowDelta { add_data, remove_data, is_rewrite: true, ..RowDelta::default() }
        })
        .await;
    }

    /// Another engine deletes a row by position.
    async fn delete(&self, id: i64) {
        self.commit(async |rig, view| {
            let mut at = BTreeMap::new();
            for file in view.files.iter() {
                let one = TableView { files: Arc::new(vec![file.clone()]), ..view.clone() };
                // Positions count deleted rows too.
                let mut whole = one.clone();
                whole.files = Arc::new(vec![tarn_lakehouse::DataFileView { deletes: None, ..file.clone() }]);
                let mut row = 0_u64;
                for batch in rows_of(&whole).await {
                    let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>().clone();
                    for value in ids.iter() {
                        let is_live = file.deletes.as_ref().is_none_or(|gone| !gone.contains(row));
                        if value == Some(id) && is_live {
                            let path = file.file.file_path().to_string();
                            at.entry(path).or_insert_with(RoaringTreemap::new).insert(row);
                        }
                        row += 1;
                    }
                }
            }
            if at.is_empty() {
                return RowDelta::default();
            }
            let file = rig
                .factory()
                .position_deletes(&view.metadata, &at, (&iceberg::spec::Struct::empty(), 0))
                .await
                .unwrap();
            RowDelta { add_deletes: vec![file], ..RowDelta::default() }
        })
        .await;
    }

    async fn rows(&self) -> BTreeMap<i64, String> {
        let all = contents(&*self.world.view().await, &["note"]).await;
        all.into_iter().map(|(id, mut values)| (id, values.remove(0).unwrap())).collect()
    }
}

async fn neighbour(world: &World, folder: &Path) -> Arc<Lakehouse> {
    world.neighbour(folder).await
}

fn expected(parts: &[(std::ops::Range<i64>, &str)]) -> BTreeMap<i64, String> {
    parts.iter().flat_map(|(ids, note)| ids.clone().map(|id| (id, (*note).to_string()))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_another_engine_appends_between_commits_stay_and_none_is_lost() {
    let rig = Rig::open().await;
    rig.world.append(notes(0..10, "ours", 0)).await;
    rig.world.settle().await;
    for round in 1..30_i64 {
        // Both commit at the same time.
        let ours = rig.world.append(notes(round * 10..round * 10 + 10, "ours", round as u64 * 10));
        tokio::join!(ours, rig.append(10_000 + round * 5..10_000 + round * 5 + 5));
    }
    rig.world.settle().await;
    assert_eq!(rig.rows().await, expected(&[(0..300, "ours"), (10_005..10_150, "foreign")]));
    rig.world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_another_engine_wrote_is_replaced_by_its_key() {
    let rig = Rig::open().await;
    rig.world.append(notes(0..10, "ours", 0)).await;
    rig.world.settle().await;
    rig.append(100..110).await;
    rig.world.append(notes(105..115, "ours", 10)).await;
    rig.world.append(deletes([100], 20)).await;
    rig.world.settle().await;
    assert_eq!(rig.rows().await, expected(&[(0..10, "ours"), (101..105, "foreign"), (105..115, "ours")]));
    rig.world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_another_engine_moved_are_found_again() {
    let rig = Rig::open().await;
    for part in 0..5_u64 {
        let first = part as i64 * 20;
        rig.world.append(notes(first..first + 20, "old", part * 20)).await;
        rig.world.settle().await;
    }
    rig.world.append(notes(0..5, "new", 100)).await;
    rig.world.settle().await;
    rig.rewrite().await;
    // The sink's idea of where rows lie is of before the rewrite.
    rig.world.append(notes(5..15, "new", 110)).await;
    rig.world.append(deletes(90..100, 130)).await;
    rig.world.settle().await;
    assert_eq!(rig.rows().await, expected(&[(0..15, "new"), (15..90, "old")]));
    for round in 0..10 {
        tokio::join!(rig.world.append(notes(20..30, "again", 200 + round * 10)), rig.rewrite());
    }
    rig.world.settle().await;
    assert_eq!(
        rig.rows().await,
        expected(&[(0..15, "new"), (15..20, "old"), (20..30, "again"), (30..90, "old")])
    );
    rig.world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_another_engine_deleted_does_not_come_back_and_can_be_made_again() {
    let rig = Rig::open().await;
    rig.world.append(notes(0..20, "old", 0)).await;
    rig.world.settle().await;
    for id in [3, 4, 5] {
        rig.delete(id).await;
    }
    rig.world.append(notes([4], "new", 20)).await;
    rig.world.append(deletes([5], 21)).await;
    rig.world.settle().await;
    let parts = [(0..3, "old"), (4..5, "new"), (6..20, "old")];
    assert_eq!(rig.rows().await, expected(&parts));
    // Nor does a compaction of ours bring it back.
    rig.delete(10).await;
    rig.world
        .lake
        .compact(&rig.world.ctx, &table(), Trigger::Api)
        .await
        .map(drop)
        .or_else(|error| match error {
            // The first try finds the state changed.
            LakehouseError::CommitFailed { .. } => Ok(()),
            other => Err(other),
        })
        .unwrap();
    rig.world.settle().await;
    rig.world.lake.compact(&rig.world.ctx, &table(), Trigger::Api).await.unwrap();
    let parts = [(0..3, "old"), (4..5, "new"), (6..10, "old"), (11..20, "old")];
    assert_eq!(rig.rows().await, expected(&parts));
    let detail = rig.world.lake.table(&rig.world.ctx, &table()).await.unwrap();
    let rewrite = detail.snapshot_list.iter().find(|snapshot| snapshot.operation == "replace").unwrap();
    assert_eq!((rewrite.added_rows, rewrite.deleted_rows), (0, 0), "a rewrite changes no rows");
    assert_ne!(rewrite.summary["added-records"], "0", "what its writer noted stays");
    let files = rig.world.lake.files(&rig.world.ctx, &table(), 10).await.unwrap();
    assert!(files.iter().all(|file| file.partition.is_none()), "{files:?}");
    rig.world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_dropped_while_a_sink_feeds_it_is_made_again_from_its_topic() {
    let rig = Rig::open().await;
    rig.world.append(notes(0..10, "ours", 0)).await;
    rig.world.settle().await;
    rig.other.catalog().drop_table(&rig.world.ctx, &table(), true).await.unwrap();
    rig.world.append(notes(5..15, "later", 10)).await;
    // The fault of the moment may be seen; what counts is where it ends.
    for _ in 0..2_000 {
        let seen = rig.world.lake.view(&rig.world.ctx, &table()).await.map(|view| view.live_rows());
        if seen.is_ok_and(|rows| rows == 15) {
            break;
        }
        rig.world.env.clock.sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(rig.rows().await, expected(&[(0..5, "ours"), (5..15, "later")]));
    rig.world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delete_files_that_another_engine_left_without_their_data_files_go_and_cause_no_endless_work() {
    let rig = Rig::open().await;
    rig.world.append(notes(0..60, "old", 0)).await;
    rig.world.settle().await;
    for id in 0..30 {
        rig.delete(id).await;
    }
    // Its rewriting leaves the thirty delete files where they are.
    rig.rewrite().await;
    rig.world.append(notes(100..110, "new", 60)).await;
    rig.world.settle().await;
    for _ in 0..400 {
        let detail = rig.world.lake.table(&rig.world.ctx, &table()).await.unwrap();
        if detail.summary.delete_files == 0 {
            break;
        }
        rig.world.env.clock.sleep(std::time::Duration::from_millis(5)).await;
    }
    let detail = rig.world.lake.table(&rig.world.ctx, &table()).await.unwrap();
    assert_eq!(detail.summary.delete_files, 0);
    rig.world.env.clock.sleep(std::time::Duration::from_millis(300)).await;
    let (_, status) = rig.world.lake.sink(&rig.world.ctx, &table()).unwrap();
    assert!(status.compactions <= 3, "{} compactions of a table that rests", status.compactions);
    assert_eq!(rig.rows().await, expected(&[(30..60, "old"), (100..110, "new")]));
    rig.world.crash().await;
}
