//! The source's schema changes: columns keep their identity, and no row is lost.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::DataType as D;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tarn_core::{ChangeKind, FaultKind};

use crate::rows::{changes, numbered};
use crate::world::{World, rows_of};

struct Rig {
    world: World,
    folder: tempfile::TempDir,
    position: u64,
}

impl Rig {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::open(folder.path()).await;
        world.create_topic(&["id"]).await;
        world.attach();
        Self { world, folder, position: 0 }
    }

    /// Appends rows `ids` with further columns; the key has number 1.
    async fn append(&mut self, ids: &[i64], columns: Vec<(&str, u32, ArrayRef)>) {
        let mut fields = vec![numbered("id", D::Int64, 1)];
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ids.to_vec()))];
        for (name, number, array) in columns {
            fields.push(numbered(name, array.data_type().clone(), number));
            arrays.push(array);
        }
        self.world.append(changes(ChangeKind::Insert, fields, arrays, self.position)).await;
        self.position += ids.len() as u64;
    }

    /// Rows as text by key, with the columns of the newest schema.
    async fn table(&self) -> Vec<String> {
        self.world.settle().await;
        self.newest().await
    }

    async fn newest(&self) -> Vec<String> {
        let view = self.world.view().await;
        // Files have the columns of their time; Iceberg readers match them by field id.
        let mut batches = Vec::new();
        for batch in rows_of(&view).await {
            let schema = batch.schema();
            let columns = view.schema.fields().iter().map(|field| {
                let id = &field.metadata()["PARQUET:field_id"];
                let at =
                    schema.fields().iter().position(|f| f.metadata().get("PARQUET:field_id") == Some(id));
                match at {
                    Some(at) => arrow::compute::cast(batch.column(at), field.data_type()).unwrap(),
                    None => arrow::array::new_null_array(field.data_type(), batch.num_rows()),
                }
            });
            batches.push(RecordBatch::try_new(Arc::clone(&view.schema), columns.collect()).unwrap());
        }
        let all = concat_batches(&view.schema, &batches).unwrap();
        let options = FormatOptions::default().with_null("-");
        let columns: Vec<_> =
            all.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        let ids = all.column(0).as_primitive::<arrow::datatypes::Int64Type>();
        let mut rows: Vec<(i64, String)> = (0..all.num_rows())
            .map(|row| {
                let cells: Vec<String> = columns.iter().map(|c| c.value(row).to_string()).collect();
                (ids.value(row), cells.join(" | "))
            })
            .collect();
        rows.sort();
        rows.into_iter().map(|(_, row)| row).collect()
    }

    async fn names(&self) -> Vec<String> {
        let view = self.world.view().await;
        view.schema.fields().iter().map(|f| f.name().clone()).collect()
    }
}

fn text(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_column_keeps_its_values_and_its_field_id() {
    let mut rig = Rig::open().await;
    rig.append(&[1], vec![("name", 2, text(&["a"]))]).await;
    rig.append(&[2], vec![("title", 2, text(&["b"]))]).await;
    assert_eq!(rig.table().await, ["1 | a", "2 | b"]);
    assert_eq!(rig.names().await, ["id", "title"]);
    let (before, after) = {
        let view = rig.world.view().await;
        let schemas: Vec<_> = view.metadata.schemas_iter().cloned().collect();
        let id = |name: &str| schemas.iter().find_map(|s| s.field_id_by_name(name));
        (id("name"), id("title"))
    };
    assert!(before.is_some() && before == after);
    rig.world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_columns_that_swap_their_names_swap_their_values() {
    let mut rig = Rig::open().await;
    rig.append(&[1], vec![("a", 2, text(&["two"])), ("b", 3, text(&["three"]))]).await;
    rig.append(&[2], vec![("b", 2, text(&["2"])), ("a", 3, text(&["3"]))]).await;
    rig.world.settle().await;
    let names = rig.names().await;
    let (two, three) =
        (names.iter().position(|n| n == "b").unwrap(), names.iter().position(|n| n == "a").unwrap());
    let rows = rig.table().await;
    let cell = |row: &str, at: usize| row.split(" | ").nth(at).unwrap().to_string();
    assert_eq!([cell(&rows[0], two), cell(&rows[0], three)], ["two", "three"], "{names:?} {rows:?}");
    assert_eq!([cell(&rows[1], two), cell(&rows[1], three)], ["2", "3"], "{names:?} {rows:?}");
    rig.world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn added_dropped_and_newly_made_columns_of_an_old_name() {
    let mut rig = Rig::open().await;
    rig.append(&[1], vec![("old", 2, text(&["first"]))]).await;
    rig.append(&[2], vec![("old", 2, text(&["second"])), ("more", 3, text(&["x"]))]).await;
    // `old` is dropped, then another column takes its name and another type.
    rig.append(&[3], vec![("more", 3, text(&["y"]))]).await;
    rig.append(&[4], vec![("more", 3, text(&["z"])), ("old", 4, Arc::new(Int32Array::from(vec![7])))]).await;
    let rows = rig.table().await;
    let names = rig.names().await;
    assert_eq!(names, ["id", "old_dropped_1", "more", "old"]);
    assert_eq!(rows, ["1 | first | - | -", "2 | second | x | -", "3 | - | y | -", "4 | - | z | 7"]);
    rig.world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_widen_where_iceberg_allows_it_and_narrow_rows_still_fit() {
    let mut rig = Rig::open().await;
    let narrow: Vec<(&str, u32, ArrayRef)> = vec![
        ("n", 2, Arc::new(Int32Array::from(vec![1]))),
        ("f", 3, Arc::new(Float32Array::from(vec![0.5]))),
        ("d", 4, Arc::new(Decimal128Array::from(vec![150]).with_precision_and_scale(5, 2).unwrap())),
    ];
    let wide: Vec<(&str, u32, ArrayRef)> = vec![
        ("n", 2, Arc::new(Int64Array::from(vec![1_i64 << 40]))),
        ("f", 3, Arc::new(Float64Array::from(vec![0.1]))),
        (
            "d",
            4,
            Arc::new(Decimal128Array::from(vec![12_345_678_901]).with_precision_and_scale(20, 2).unwrap()),
        ),
    ];
    rig.append(&[1], narrow.clone()).await;
    rig.append(&[2], wide).await;
    // A narrow batch after a wide one, as a restart that reads an older part of the topic sees it.
    rig.append(&[3], narrow).await;
    let wanted = ["1 | 1 | 0.5 | 1.50", "2 | 1099511627776 | 0.1 | 123456789.01", "3 | 1 | 0.5 | 1.50"];
    assert_eq!(rig.table().await, wanted);
    rig.world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_that_does_not_widen_makes_a_new_column_and_keeps_the_old_values() {
    let mut rig = Rig::open().await;
    rig.append(&[1], vec![("n", 2, Arc::new(Int32Array::from(vec![1])))]).await;
    rig.append(&[2], vec![("n", 2, text(&["two"]))]).await;
    rig.append(&[3], vec![("n", 2, text(&["three"]))]).await;
    assert_eq!(rig.table().await, ["1 | 1 | -", "2 | - | two", "3 | - | three"]);
    assert_eq!(rig.names().await, ["id", "n_dropped_1", "n"]);
    rig.world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_after_nested_ones_stay_themselves() {
    use arrow::array::ListArray;
    use arrow::datatypes::Int32Type;
    let mut rig = Rig::open().await;
    let numbers = || -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]))
    };
    let row = |word: &str| vec![("a", 2, numbers()), ("b", 3, numbers()), ("c", 4, text(&[word]))];
    rig.append(&[1], row("one")).await;
    rig.append(&[2], row("two")).await;
    assert_eq!(rig.table().await, ["1 | [1, -] | [1, -] | one", "2 | [1, -] | [1, -] | two"]);
    rig.world.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_cannot_be_followed_is_told_and_loses_no_row() {
    let mut rig = Rig::open().await;
    rig.append(&[1], vec![("n", 2, Arc::new(Int32Array::from(vec![1])))]).await;
    rig.append(&[2], vec![("n", 2, Arc::new(Int32Array::from(vec![2])))]).await;
    let retyped = |id: &str| {
        let fields = vec![numbered("id", D::Utf8, 1), numbered("n", D::Int32, 2)];
        (fields, vec![text(&[id]), Arc::new(Int32Array::from(vec![3])) as ArrayRef])
    };
    let (fields, arrays) = retyped("three");
    rig.world.append(changes(ChangeKind::Insert, fields, arrays, 2)).await;
    let fault = rig.world.fault().await;
    assert_eq!(fault.kind, FaultKind::Invalid);
    assert!(
        fault.message.contains("column `id`")
            && fault.message.contains("long")
            && fault.message.contains("string"),
        "{}",
        fault.message
    );
    assert!(fault.hint.is_some());
    // Everything before it is there, and the topic holds what comes after, also across a crash.
    assert_eq!(rig.newest().await, ["1 | 1", "2 | 2"]);
    let (fields, arrays) = retyped("four");
    rig.world.append(changes(ChangeKind::Insert, fields, arrays, 3)).await;
    let Rig { world, folder, .. } = rig;
    world.crash().await;
    let world = World::open(folder.path()).await;
    world.attach();
    let fault = world.fault().await;
    assert!(fault.message.contains("column `id`"), "{}", fault.message);
    let topic =
        tarn_eventlog::EventLog::topic(world.log.as_ref(), &world.ctx, &crate::world::topic()).await.unwrap();
    assert_eq!(topic.partitions[0].high_offset, 4);
    assert_eq!(world.view().await.live_rows(), 2);
    world.crash().await;
}
