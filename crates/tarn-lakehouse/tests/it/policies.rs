//! What becomes of a table when the columns of its source change, policy by policy.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, Int64Array, StringArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tarn_core::{ChangeKind, Fault, HumanDuration};
use tarn_lakehouse::{PartitionTerm, SchemaPolicy, SchemaRule, SinkConfig};

use crate::rows::{changes, numbered};
use crate::world::{World, rows_of, table};

struct Rig {
    world: World,
    _folder: tempfile::TempDir,
    position: u64,
}

/// A column of the source: name, number, values.
type Column<'a> = (&'a str, u32, ArrayRef);

impl Rig {
    async fn open(policy: SchemaPolicy, drop_columns: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::open(folder.path()).await;
        world.create_topic(&["id"]).await;
        let rig = Self { world, _folder: folder, position: 0 };
        rig.attach(policy, drop_columns, None);
        rig
    }

    fn attach(&self, policy: SchemaPolicy, drop_columns: bool, partitioned_by: Option<Vec<PartitionTerm>>) {
        self.world.attach_with(SinkConfig {
            freshness: HumanDuration::from_millis(5),
            schema_rule: SchemaRule { policy, drop_columns },
            partitioned_by,
            ..SinkConfig::default()
        });
    }

    async fn append(&mut self, ids: &[i64], columns: Vec<Column<'_>>) {
        let mut fields = vec![numbered("id", arrow::datatypes::DataType::Int64, 1)];
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ids.to_vec()))];
        for (name, number, array) in columns {
            fields.push(numbered(name, array.data_type().clone(), number));
            arrays.push(array);
        }
        self.world.append(changes(ChangeKind::Insert, fields, arrays, self.position)).await;
        self.position += ids.len() as u64;
    }

    /// Column names, and rows of the newest schema by key.
    async fn table(&self) -> (String, Vec<String>) {
        self.world.settle().await;
        let view = self.world.view().await;
        let options = FormatOptions::default().with_null("-");
        let mut rows: Vec<(i64, String)> = Vec::new();
        for batch in rows_of(&view).await {
            let schema = batch.schema();
            let columns: Vec<ArrayRef> = view
                .schema
                .fields()
                .iter()
                .map(|field| {
                    let id = &field.metadata()["PARQUET:field_id"];
                    let at = schema.fields().iter().position(|f| &f.metadata()["PARQUET:field_id"] == id);
                    match at {
                        Some(at) => arrow::compute::cast(batch.column(at), field.data_type()).unwrap(),
                        None => arrow::array::new_null_array(field.data_type(), batch.num_rows()),
                    }
                })
                .collect();
            let shown: Vec<_> =
                columns.iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
            for row in 0..batch.num_rows() {
                let cells: Vec<String> = shown.iter().map(|column| column.value(row).to_string()).collect();
                rows.push((cells[0].parse().unwrap(), cells.join(" | ")));
            }
        }
        rows.sort();
        let names: Vec<&str> = view.schema.fields().iter().map(|field| field.name().as_str()).collect();
        (names.join(" "), rows.into_iter().map(|(_, row)| row).collect())
    }

    async fn notes(&self) -> Vec<String> {
        let view = self.world.view().await;
        let text = view.metadata.properties().get("tarn.schema.changes").cloned().unwrap_or_default();
        let notes: Vec<tarn_lakehouse::SchemaNote> = serde_json::from_str(&text).unwrap_or_default();
        notes.into_iter().map(|note| format!("{}: {}", note.change, note.outcome)).collect()
    }

    fn left_out(&self) -> u64 {
        self.world.lake.sink(&self.world.ctx, &table()).unwrap().1.left_out
    }
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

fn int(value: i32) -> ArrayRef {
    Arc::new(Int32Array::from(vec![value]))
}

fn long(value: i64) -> ArrayRef {
    Arc::new(Int64Array::from(vec![value]))
}

const POLICIES: [SchemaPolicy; 5] = [
    SchemaPolicy::Evolve,
    SchemaPolicy::Try,
    SchemaPolicy::Lenient,
    SchemaPolicy::Ignore,
    SchemaPolicy::Fail,
];

/// Columns beside the key before and after a change, and for each policy the table's columns and rows then, with what is
/// remembered. `Fail` stands still first, and then follows as `Evolve` does.
struct Case<'a> {
    before: Vec<Column<'a>>,
    after: Vec<Column<'a>>,
    drop_columns: bool,
    expected: [(&'a str, [&'a str; 2], &'a str); 4],
    left_out: u64,
}

async fn check(case: Case<'_>) {
    for (at, policy) in POLICIES.into_iter().enumerate() {
        let mut rig = Rig::open(policy, case.drop_columns).await;
        rig.append(&[1], case.before.clone()).await;
        rig.world.settle().await;
        rig.append(&[2], case.after.clone()).await;
        let follows_as = if policy == SchemaPolicy::Fail { 0 } else { at };
        let (columns, rows, note) = case.expected[follows_as];
        if policy == SchemaPolicy::Fail {
            let fault = rig.world.fault().await;
            let (what, _) = note.split_once(": ").unwrap();
            assert!(fault.message.contains(what), "{}: {what}", fault.message);
            assert!(fault.hint.unwrap().contains("CALL accept_schema_change('shop.orders')"));
            // What came before is seen, and committed.
            let view = rig.world.view().await;
            assert_eq!((view.live_rows(), view.is_flushed()), (1, true));
            rig.world.lake.accept_schema_change(&rig.world.ctx, &table()).await.unwrap();
            while rig.world.lake.sink(&rig.world.ctx, &table()).unwrap().1.fault.is_some() {
                rig.world.env.clock.sleep(std::time::Duration::from_millis(5)).await;
            }
        }
        let found = rig.table().await;
        assert_eq!((found.0.as_str(), found.1), (columns, rows.map(str::to_string).to_vec()), "{policy:?}");
        assert_eq!(rig.notes().await, [note], "{policy:?}");
        assert_eq!(
            rig.left_out(),
            if policy == SchemaPolicy::Ignore { case.left_out } else { 0 },
            "{policy:?}"
        );
        if policy == SchemaPolicy::Fail {
            let error = rig.world.lake.accept_schema_change(&rig.world.ctx, &table()).await.unwrap_err();
            assert!(error.to_string().contains("does not stand still"), "{error}");
        }
        // The next rows of the same columns change nothing more, also after a restart.
        rig.attach(policy, case.drop_columns, Some(Vec::new()));
        rig.append(&[2], case.after.clone()).await;
        assert_eq!(rig.table().await.1, rows, "{policy:?}");
        assert_eq!(rig.notes().await, [note], "{policy:?}");
        rig.world.crash().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_added_column() {
    let note = "column `note` was added (string): added here";
    let added = ("id name note", ["1 | a | -", "2 | b | n"], note);
    check(Case {
        before: vec![("name", 2, text("a"))],
        after: vec![("name", 2, text("b")), ("note", 3, text("n"))],
        drop_columns: false,
        expected: [
            added,
            added,
            added,
            ("id name", ["1 | a", "2 | b"], "column `note` was added (string): its values are left out"),
        ],
        left_out: 1,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_column() {
    let stays = (
        "id name note",
        ["1 | a | n", "2 | b | -"],
        "column `note` was dropped: it stays here, null from now on",
    );
    let goes = ("id name", ["1 | a", "2 | b"], "column `note` was dropped: dropped here");
    for (drop_columns, follows) in [(false, stays), (true, goes)] {
        check(Case {
            before: vec![("name", 2, text("a")), ("note", 3, text("n"))],
            after: vec![("name", 2, text("b"))],
            drop_columns,
            expected: [follows, follows, stays, stays],
            left_out: 0,
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_column() {
    let renamed = ("id title", ["1 | a", "2 | b"], "column `name` was renamed to `title`: renamed here");
    check(Case {
        before: vec![("name", 2, text("a"))],
        after: vec![("title", 2, text("b"))],
        drop_columns: false,
        expected: [
            renamed,
            renamed,
            (
                "id name title",
                ["1 | a | -", "2 | - | b"],
                "column `name` was renamed to `title`: `title` was added here, `name` stays with what it had",
            ),
            (
                "id name",
                ["1 | a", "2 | b"],
                "column `name` was renamed to `title`: it goes on as `name` here",
            ),
        ],
        left_out: 0,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_widened_column() {
    let what = "the type of column `n` was widened from int to long";
    let wider = format!("{what}: widened here");
    let stays = format!("{what}: it stays; values that do not fit become null");
    let widened = ("id n", ["1 | 7", "2 | 5000000000"], wider.as_str());
    check(Case {
        before: vec![("n", 2, int(7))],
        after: vec![("n", 2, long(5_000_000_000))],
        drop_columns: false,
        expected: [widened, widened, widened, ("id n", ["1 | 7", "2 | -"], stays.as_str())],
        left_out: 1,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_of_another_type() {
    let what = "the type of column `n` was changed from int to string";
    let new = format!("{what}: a new column here, the old one stays as `n_dropped_1`");
    let stays = format!("{what}: it stays; values that do not fit become null");
    let changed = ("id n_dropped_1 n", ["1 | 7 | -", "2 | - | eight"], new.as_str());
    check(Case {
        before: vec![("n", 2, int(7))],
        after: vec![("n", 2, text("eight"))],
        drop_columns: false,
        expected: [changed, changed, changed, ("id n", ["1 | 7", "2 | -"], stays.as_str())],
        left_out: 1,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrower_type_that_fits_changes_nothing() {
    for policy in POLICIES {
        let mut rig = Rig::open(policy, true).await;
        rig.append(&[1], vec![("n", 2, long(7))]).await;
        rig.append(&[2], vec![("n", 2, int(8))]).await;
        assert_eq!(rig.table().await, ("id n".to_string(), vec!["1 | 7".to_string(), "2 | 8".to_string()]));
        assert_eq!(rig.notes().await, Vec::<String>::new());
        rig.world.crash().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_type_stands_still_under_every_policy() {
    for policy in POLICIES {
        let folder = tempfile::tempdir().unwrap();
        let world = World::open(folder.path()).await;
        world.create_topic(&["id"]).await;
        let rig = Rig { world, _folder: folder, position: 0 };
        rig.attach(policy, false, None);
        let field = |array: &ArrayRef| vec![numbered("id", array.data_type().clone(), 1)];
        let (first, second) = (long(1), text("two"));
        rig.world.append(changes(ChangeKind::Insert, field(&first), vec![first], 0)).await;
        rig.world.settle().await;
        rig.world.append(changes(ChangeKind::Insert, field(&second), vec![second], 1)).await;
        let fault = rig.world.fault().await;
        assert!(
            fault.message.contains("part of the key") || fault.message.contains("could not be converted"),
            "{policy:?}: {}",
            fault.message
        );
        assert_eq!(rig.world.view().await.live_rows(), 1);
        rig.world.crash().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_followed_is_left_out_where_the_policy_is_to_try() {
    // The name of a partition field cannot become that of a column.
    for policy in [SchemaPolicy::Try, SchemaPolicy::Evolve] {
        let mut rig = Rig::open(policy, false).await;
        rig.attach(policy, false, Some(vec!["bucket(4, id)".parse().unwrap()]));
        rig.append(&[1], vec![("name", 2, text("a"))]).await;
        rig.world.settle().await;
        rig.append(&[2], vec![("name", 2, text("b")), ("id_bucket_4", 3, text("n"))]).await;
        if policy == SchemaPolicy::Evolve {
            let fault = rig.world.fault().await;
            assert!(fault.message.contains("conflicts with existing partition field"), "{}", fault.message);
        } else {
            let expected = ("id name".to_string(), vec!["1 | a".to_string(), "2 | b".to_string()]);
            assert_eq!(rig.table().await, expected);
            assert_eq!(
                rig.notes().await,
                ["column `id_bucket_4` was added (string): its values are left out"]
            );
            assert_eq!(rig.left_out(), 1);
        }
        rig.world.crash().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_policy_lets_a_table_go_on() {
    let mut rig = Rig::open(SchemaPolicy::Fail, false).await;
    rig.append(&[1], vec![("name", 2, text("a"))]).await;
    rig.world.settle().await;
    rig.append(&[2], vec![("name", 2, text("b")), ("note", 3, text("n"))]).await;
    assert_eq!(rig.world.fault().await.kind, tarn_core::FaultKind::Invalid);
    rig.attach(SchemaPolicy::Ignore, false, None);
    assert_eq!(rig.table().await, ("id name".to_string(), vec!["1 | a".to_string(), "2 | b".to_string()]));
    // Later the column is wanted after all: rows from then on have it.
    rig.attach(SchemaPolicy::Evolve, false, None);
    rig.append(&[3], vec![("name", 2, text("c")), ("note", 3, text("m"))]).await;
    let rows = ["1 | a | -", "2 | b | -", "3 | c | m"].map(str::to_string).to_vec();
    assert_eq!(rig.table().await, ("id name note".to_string(), rows));
    rig.world.crash().await;
    let error = tarn_lakehouse::LakehouseError::SchemaChange { table: "t".into(), changes: "x".into() };
    assert!(error.hint().unwrap().contains("on_schema_change"));
}
