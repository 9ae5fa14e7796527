//! Rows that are gone.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use iceberg::spec::{Literal, PrimitiveType, Struct, Transform, UnboundPartitionSpec};
use roaring::RoaringTreemap;
use tarn_lakehouse::{DeadRows, HotBatch};

use crate::lake::{FileOptions, Lake, Table, context, engine, field, run, session};
use crate::oracle::{Oracle, agree, rows_of};

fn people() -> Table {
    Table::new(
        "main.people",
        vec![
            field(1, "id", PrimitiveType::Long),
            field(2, "name", PrimitiveType::String),
            field(3, "age", PrimitiveType::Long),
        ],
    )
}

fn batch(table: &Table, rows: &[(Option<i64>, Option<&str>, Option<i64>)]) -> RecordBatch {
    let ids: Int64Array = rows.iter().map(|row| row.0).collect();
    let names: StringArray = rows.iter().map(|row| row.1).collect();
    let ages: Int64Array = rows.iter().map(|row| row.2).collect();
    table.batch(vec![Arc::new(ids) as ArrayRef, Arc::new(names), Arc::new(ages)])
}

#[tokio::test]
async fn deleted_positions_are_left_out_whatever_the_row_groups() {
    for row_group_rows in [1, 3, 10, 64, 1_000] {
        let mut table = people();
        let rows: Vec<_> = (0..200).map(|id| (Some(id), Some("x"), Some(id % 5))).collect();
        let all = batch(&table, &rows);
        let deletes: Vec<u64> = (0..200).filter(|row| row % 3 == 0 || (60..80).contains(row)).collect();
        let live: Vec<_> = rows
            .iter()
            .enumerate()
            .filter(|(row, _)| !deletes.contains(&(*row as u64)))
            .map(|(_, row)| *row)
            .collect();
        let oracle = Oracle::new().with("main.people", &[batch(&table, &live)]);
        table.add(&all, FileOptions { row_group_rows, deletes, ..FileOptions::default() }).await;
        let session = session(&[&table]);
        for sql in [
            "SELECT * FROM people",
            "SELECT * FROM people WHERE age = 2",
            "SELECT count(*), sum(id), min(id), max(id) FROM people",
            "SELECT age, count(*) FROM people WHERE id > 50 GROUP BY age",
            "SELECT id FROM people WHERE id >= 0 ORDER BY id DESC LIMIT 9",
            "SELECT id FROM people ORDER BY id LIMIT 9",
            "SELECT count(*) FROM (SELECT * FROM people WHERE age >= 0 LIMIT 1000)",
        ] {
            agree(&session, &oracle, sql).await;
        }
    }
}

#[tokio::test]
async fn a_limit_over_row_groups_that_match_whole_still_leaves_deleted_rows_out() {
    let mut table = people();
    let rows: Vec<_> = (0..100).map(|id| (Some(id), Some("x"), Some(7))).collect();
    let all = batch(&table, &rows);
    let deletes: Vec<u64> = (0..100).filter(|row| row % 10 != 9).collect();
    table.add(&all, FileOptions { row_group_rows: 20, deletes, ..FileOptions::default() }).await;
    let session = session(&[&table]);
    // Every row group's bounds satisfy the filter, so the reader could count all its rows towards the limit.
    let (batches, _) = run(&session, "SELECT id FROM people WHERE age >= 7 LIMIT 8").await;
    let ids = rows_of(&batches);
    assert_eq!(ids.len(), 8);
    assert!(ids.iter().all(|id| id.ends_with('9')), "{ids:?}");
}

#[tokio::test]
async fn equality_deletes_concern_older_files_only_and_null_equals_null() {
    let mut table = people();
    let old = batch(
        &table,
        &[
            (Some(1), Some("ann"), Some(30)),
            (Some(2), Some("bob"), None),
            (Some(3), None, Some(50)),
            (Some(4), Some("dan"), Some(60)),
            (None, Some("eve"), None),
        ],
    );
    let new = batch(&table, &[(Some(1), Some("ann"), Some(31)), (Some(4), None, None)]);
    table.add(&old, FileOptions { sequence: 1, deletes: vec![3], ..FileOptions::default() }).await;
    table.add(&new, FileOptions { sequence: 3, ..FileOptions::default() }).await;
    let by_id =
        table.batch(batch(&table, &[(Some(1), None, None), (Some(9), None, None)]).columns().to_vec());
    table
        .add_equality_delete(
            &by_id.project(&[0]).unwrap(),
            vec![1],
            FileOptions { sequence: 2, ..FileOptions::default() },
        )
        .await;
    let by_two =
        batch(&table, &[(None, None, Some(50)), (None, Some("bob"), None), (None, Some("zoe"), Some(1))]);
    table
        .add_equality_delete(
            &by_two.project(&[1, 2]).unwrap(),
            vec![2, 3],
            FileOptions { sequence: 4, ..FileOptions::default() },
        )
        .await;
    let live =
        batch(&table, &[(None, Some("eve"), None), (Some(1), Some("ann"), Some(31)), (Some(4), None, None)]);
    let session = session(&[&table]);
    let oracle = Oracle::new().with("main.people", &[live]);
    for sql in [
        "SELECT * FROM people",
        "SELECT name FROM people WHERE id = 1",
        "SELECT count(*), count(id), min(age), max(id) FROM people",
        "SELECT count(*) FROM people WHERE age IS NULL",
        "SELECT a.id, b.name FROM people a JOIN people b ON a.id = b.id",
        "SELECT age FROM people ORDER BY age LIMIT 2",
    ] {
        agree(&session, &oracle, sql).await;
    }
}

#[tokio::test]
async fn an_equality_delete_of_a_partition_spares_the_others() {
    let spec =
        UnboundPartitionSpec::builder().add_partition_field(2, "name", Transform::Identity).unwrap().build();
    let mut table = Table::partitioned(
        "main.people",
        vec![
            field(1, "id", PrimitiveType::Long),
            field(2, "name", PrimitiveType::String),
            field(3, "age", PrimitiveType::Long),
        ],
        Some(spec),
    );
    let of = |name: &str| Struct::from_iter([Some(Literal::string(name))]);
    for name in ["a", "b"] {
        let rows = batch(&table, &[(Some(1), Some(name), None), (Some(2), Some(name), None)]);
        table.add(&rows, FileOptions { partition: of(name), ..FileOptions::default() }).await;
    }
    let gone = batch(&table, &[(Some(1), None, None)]).project(&[0]).unwrap();
    let options = FileOptions { partition: of("a"), sequence: 2, ..FileOptions::default() };
    table.add_equality_delete(&gone, vec![1], options).await;
    let session = session(&[&table]);
    let (batches, _) = run(&session, "SELECT id, name FROM people").await;
    assert_eq!(rows_of(&batches), ["1 | b", "2 | a", "2 | b"]);
}

#[tokio::test]
async fn an_equality_delete_may_compare_a_column_that_was_dropped_since() {
    let mut table = people();
    let rows = batch(&table, &[(Some(1), Some("ann"), Some(30)), (Some(2), Some("bob"), Some(40))]);
    table.add(&rows, FileOptions::default()).await;
    let gone = batch(&table, &[(None, Some("bob"), None)]).project(&[1]).unwrap();
    table.add_equality_delete(&gone, vec![2], FileOptions { sequence: 2, ..FileOptions::default() }).await;
    table.evolve(vec![field(1, "id", PrimitiveType::Long), field(3, "age", PrimitiveType::Long)]);
    let session = session(&[&table]);
    let (batches, _) = run(&session, "SELECT * FROM people").await;
    assert_eq!(rows_of(&batches), ["1 | 30"]);
}

#[tokio::test]
async fn hot_rows_stand_beside_files() {
    let mut table = people();
    let cold = batch(&table, &[(Some(1), Some("ann"), Some(30)), (Some(2), Some("bob"), None)]);
    table.add(&cold, FileOptions { deletes: vec![1], ..FileOptions::default() }).await;
    let hot = vec![
        batch(&table, &[(Some(2), Some("robert"), Some(41))]),
        batch(&table, &[(Some(3), None, Some(5)), (Some(4), Some("dan"), None)]),
    ];
    table.hot = hot.clone();
    let session = session(&[&table]);
    let mut all = vec![cold.slice(0, 1)];
    all.extend(hot);
    let oracle = Oracle::new().with("main.people", &all);
    for sql in [
        "SELECT * FROM people",
        "SELECT name FROM people WHERE age > 10",
        "SELECT count(*), sum(age), min(name), max(id), count(name) FROM people",
        "SELECT id FROM people WHERE name LIKE 'r%' OR name IS NULL",
        "SELECT id FROM people ORDER BY id DESC LIMIT 2",
        "SELECT a.name, b.age FROM people a LEFT JOIN people b ON a.id = b.id + 1",
        "SELECT upper(name), count(*) FROM people GROUP BY 1",
        "SELECT id FROM people WHERE id IN (SELECT id FROM people WHERE age IS NULL)",
    ] {
        agree(&session, &oracle, sql).await;
    }
    let (batches, _) = run(&session, "SELECT id FROM people LIMIT 3").await;
    assert_eq!(rows_of(&batches).len(), 3);
}

#[tokio::test]
async fn rows_that_went_after_the_commit_are_left_out_of_files_and_memory() {
    for row_group_rows in [2, 1_000] {
        let mut table = people();
        let rows: Vec<_> = (0..40).map(|id| (Some(id), Some("cold"), Some(id % 5))).collect();
        let cold = batch(&table, &rows);
        let options = FileOptions { row_group_rows, deletes: vec![3, 4], ..FileOptions::default() };
        table.add(&cold.slice(0, 20), options).await;
        table.add(&cold.slice(20, 20), FileOptions { row_group_rows, ..FileOptions::default() }).await;
        let rows: Vec<_> = (100..170).map(|id| (Some(id), Some("hot"), Some(id % 5))).collect();
        let hot = batch(&table, &rows);
        let mut view = table.view().as_ref().clone();
        // The first file: what is committed and more; the second: the first deletes of all.
        let deletes = |rows: &[u64]| Arc::new(rows.iter().copied().collect::<RoaringTreemap>());
        view.unflushed = Arc::new(HashMap::from([
            (0, deletes(&[3, 4, 5, 19])),
            (1, deletes(&(0..19).collect::<Vec<_>>())),
        ]));
        let mut dead = DeadRows::default();
        let gone = [0, 1, 63, 64, 65, 69];
        assert!(gone.into_iter().all(|row| dead.insert(row)) && !dead.insert(64));
        let empty = HotBatch { rows: hot.slice(0, 1), dead: Some(Arc::new(DeadRows::of([0]))) };
        view.hot = Arc::new(vec![HotBatch { rows: hot.clone(), dead: Some(Arc::new(dead)) }, empty]);
        assert_eq!(view.live_rows(), 16 + 1 + 64);
        let mut all: Vec<RecordBatch> =
            (0..20).filter(|row| ![3, 4, 5, 19].contains(row)).map(|row| cold.slice(row, 1)).collect();
        all.push(cold.slice(39, 1));
        all.extend((0..70).filter(|row| !gone.contains(row)).map(|row| hot.slice(row, 1)));
        let oracle = Oracle::new().with("main.people", &all);
        let lake = Arc::new(Lake::default());
        lake.put(Arc::new(view));
        let session = engine(&lake).session(&context());
        for sql in [
            "SELECT * FROM people",
            "SELECT count(*) FROM people",
            "SELECT count(*), sum(id), min(id), max(id), count(name) FROM people",
            "SELECT name, count(*) FROM people WHERE age = 4 GROUP BY name",
            "SELECT id FROM people WHERE id > 30 ORDER BY id LIMIT 5",
            "SELECT age FROM people WHERE name = 'hot' AND id < 105",
            "SELECT count(*) FROM people a JOIN people b ON a.id = b.id",
        ] {
            agree(&session, &oracle, sql).await;
        }
    }
}

#[tokio::test]
async fn a_table_without_files_has_no_rows() {
    let table = people();
    let session = session(&[&table]);
    let (batches, stats) = run(&session, "SELECT * FROM people").await;
    assert_eq!((rows_of(&batches).len(), stats.scan.files_total), (0, 0));
    let (batches, _) = run(&session, "SELECT count(*), max(name) FROM people").await;
    assert_eq!(rows_of(&batches), ["0 | ∅"]);
}
