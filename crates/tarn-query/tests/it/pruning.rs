//! Which files are read.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use iceberg::spec::{Literal, PrimitiveType, Struct, Transform, UnboundPartitionSpec};
use iceberg::transform::create_transform_function;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tarn_lakehouse::{DataFileView, TableView};

use crate::lake::{FileOptions, Lake, Table, context, engine, field, run, session};
use crate::oracle::{Oracle, agree, rows_of};

fn sales() -> Table {
    Table::new(
        "main.sales",
        vec![
            field(1, "id", PrimitiveType::Long),
            field(2, "city", PrimitiveType::String),
            field(3, "price", PrimitiveType::Double),
            field(4, "day", PrimitiveType::Date),
            field(5, "amount", PrimitiveType::Decimal { precision: 12, scale: 2 }),
            field(6, "at", PrimitiveType::Timestamptz),
        ],
    )
}

fn rows(table: &Table, ids: std::ops::Range<i64>) -> RecordBatch {
    let ids: Vec<i64> = ids.collect();
    let city = |id: &i64| (id % 7 != 0).then(|| format!("a city with a long name {:04}", id / 10));
    let amount = Decimal128Array::from_iter_values(ids.iter().map(|id| i128::from(*id) * 101));
    let at = TimestampMicrosecondArray::from_iter_values(ids.iter().map(|id| id * 3_600_000_000));
    table.batch(vec![
        Arc::new(Int64Array::from(ids.clone())) as ArrayRef,
        Arc::new(ids.iter().map(city).collect::<StringArray>()),
        Arc::new(ids.iter().map(|id| Some(*id as f64 / 4.0)).collect::<Float64Array>()),
        Arc::new(Date32Array::from_iter_values(ids.iter().map(|id| *id as i32))),
        Arc::new(amount.with_precision_and_scale(12, 2).unwrap()),
        Arc::new(at.with_timezone("+00:00")),
    ])
}

/// Ten files of a hundred rows each: ids 0..100, 100..200, ….
async fn ten_files() -> (Table, Vec<RecordBatch>) {
    let mut table = sales();
    let mut all = Vec::new();
    for file in 0..10 {
        let batch = rows(&table, file * 100..file * 100 + 100);
        table.add(&batch, FileOptions { row_group_rows: 40, cut_at: 40, ..FileOptions::default() }).await;
        all.push(batch);
    }
    (table, all)
}

#[tokio::test]
async fn files_whose_bounds_rule_out_the_filter_are_not_read() {
    let (table, all) = ten_files().await;
    let session = session(&[&table]);
    let oracle = Oracle::new().with("main.sales", &all);
    let cases = [
        ("id = 250", 1),
        ("id BETWEEN 250 AND 349", 2),
        ("id < 100", 1),
        ("id <= 100", 2),
        ("id IN (5, 905)", 2),
        ("id > 5000", 0),
        ("city = 'a city with a long name 0012'", 1),
        ("city < 'a city with a long name 0010'", 1),
        ("city LIKE 'a city with a long name 003%'", 1),
        ("price > 249.5", 1),
        ("day = date '1970-01-11'", 1),
        ("amount >= 909.00 AND amount < 1010.00", 1),
        ("at < timestamp '1970-01-01 05:00:00'", 1),
        ("id + 1 = 250", 10),
        ("id = 250 OR city IS NULL", 10),
        ("id IS NULL", 0),
        ("id = 250 AND price < 1", 0),
    ];
    for (filter, files) in cases {
        let stats = agree(&session, &oracle, &format!("SELECT * FROM sales WHERE {filter}")).await;
        assert_eq!((stats.scan.files_total, stats.scan.files_scanned), (10, files), "{filter}");
    }
}

#[tokio::test]
async fn row_groups_and_pages_that_cannot_match_are_not_decoded() {
    let (table, all) = ten_files().await;
    let session = session(&[&table]);
    let oracle = Oracle::new().with("main.sales", &all);
    let stats =
        agree(&session, &oracle, "SELECT count(*), sum(price) FROM sales WHERE id BETWEEN 205 AND 210").await;
    assert_eq!(stats.scan.files_scanned, 1);
    assert!(stats.scan.rows_scanned <= 16, "one page holds 16 rows, read were {}", stats.scan.rows_scanned);
}

#[tokio::test]
async fn counts_least_and_greatest_come_from_figures_alone() {
    let (table, all) = ten_files().await;
    let session = session(&[&table]);
    let oracle = Oracle::new().with("main.sales", &all);
    let sql = "SELECT count(*), count(city), min(id), max(id), min(day), max(amount), min(at) FROM sales";
    let stats = agree(&session, &oracle, sql).await;
    assert_eq!((stats.scan.rows_scanned, stats.scan.bytes_scanned), (0, 0), "no file needs to be read");
    // Bounds of texts may be cut and those of floats leave NaN out, so these are read.
    let stats = agree(&session, &oracle, "SELECT min(city), max(city), max(price) FROM sales").await;
    assert!(stats.scan.rows_scanned > 0);
}

#[tokio::test]
async fn deletes_make_counts_exact_and_bounds_inexact() {
    let mut table = sales();
    let batch = rows(&table, 0..100);
    table.add(&batch, FileOptions { deletes: vec![0, 1, 99], ..FileOptions::default() }).await;
    let session = session(&[&table]);
    let oracle = Oracle::new().with("main.sales", &[batch.slice(2, 97)]);
    let stats = agree(&session, &oracle, "SELECT count(*) FROM sales").await;
    assert_eq!(stats.scan.rows_scanned, 0);
    let stats = agree(&session, &oracle, "SELECT min(id), max(id), count(city) FROM sales").await;
    assert_eq!(stats.scan.rows_scanned, 97);
}

#[tokio::test]
async fn a_limit_reads_no_more_files_than_it_needs() {
    let (table, _) = ten_files().await;
    let session = session(&[&table]);
    for (limit, files) in [(1, 1), (100, 1), (101, 2), (250, 3), (5_000, 10)] {
        let (batches, stats) = run(&session, &format!("SELECT id FROM sales LIMIT {limit}")).await;
        assert_eq!(rows_of(&batches).len(), limit.min(1_000));
        assert_eq!(stats.scan.files_scanned, files, "limit {limit}");
    }
    let (batches, _) = run(&session, "SELECT id FROM sales WHERE id >= 500 LIMIT 7").await;
    assert_eq!(rows_of(&batches).len(), 7);
    let (batches, _) = run(&session, "SELECT id FROM sales ORDER BY id DESC LIMIT 3").await;
    assert_eq!(rows_of(&batches), ["997", "998", "999"]);
}

#[tokio::test]
async fn a_bloom_filter_spares_the_row_groups_without_the_value() {
    let mut table = sales();
    let batch = rows(&table, 0..1_000);
    table.add(&batch, FileOptions { row_group_rows: 100, bloom: true, ..FileOptions::default() }).await;
    let session = session(&[&table]);
    let oracle = Oracle::new().with("main.sales", &[batch]);
    // Within the bounds of every row group, in none of them.
    let stats = agree(&session, &oracle, "SELECT * FROM sales WHERE price = 12.3456").await;
    assert_eq!(stats.scan.rows_scanned, 0);
}

#[tokio::test]
async fn a_big_file_is_read_by_several_threads() {
    let mut table =
        Table::new("main.t", vec![field(1, "id", PrimitiveType::Long), field(2, "s", PrimitiveType::String)]);
    let ids: Vec<i64> = (0..60_000).collect();
    let texts: StringArray = ids.iter().map(|id| Some(format!("{:064}", id * 7_919 % 1_000_003))).collect();
    let batch = table.batch(vec![Arc::new(Int64Array::from(ids)), Arc::new(texts)]);
    table.add(&batch, FileOptions { row_group_rows: 5_000, ..FileOptions::default() }).await;
    let session = session(&[&table]);
    run(&session, "SET datafusion.optimizer.repartition_file_min_size = 1000").await;
    let (batches, _) = run(&session, "EXPLAIN SELECT max(s) FROM t WHERE id % 3 = 1").await;
    let plan = rows_of(&batches).join("\n");
    assert!(plan.contains("3 groups"), "{plan}");
    let oracle = Oracle::new().with("main.t", &[batch]);
    agree(&session, &oracle, "SELECT max(s), count(*), sum(id) FROM t WHERE id % 3 = 1").await;
}

#[tokio::test]
async fn partition_values_rule_files_out_and_stand_for_missing_columns() {
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(2, "region", Transform::Identity)
        .unwrap()
        .add_partition_field(1, "bucket", Transform::Bucket(8))
        .unwrap()
        .build();
    let fields = || vec![field(1, "id", PrimitiveType::Long), field(2, "region", PrimitiveType::String)];
    let mut table = Table::partitioned("main.p", fields(), Some(spec));
    let bucket = create_transform_function(&Transform::Bucket(8)).unwrap();
    let mut all = Vec::new();
    for region in [Some("north"), Some("south"), None] {
        for of in 0..8 {
            let ids: Vec<i64> = (0..200_i64)
                .filter(|id| {
                    let found = bucket.transform_literal(&iceberg::spec::Datum::long(*id)).unwrap().unwrap();
                    found == iceberg::spec::Datum::int(of)
                })
                .collect();
            let regions: StringArray = ids.iter().map(|_| region).collect();
            let batch = table.batch(vec![Arc::new(Int64Array::from(ids)), Arc::new(regions)]);
            let partition = Struct::from_iter([region.map(Literal::string), Some(Literal::int(of))]);
            // The partition column is not in the file, as in tables migrated from Hive.
            let stored = batch.project(&[0]).unwrap();
            table.add(&stored, FileOptions { partition, row_group_rows: 10, ..FileOptions::default() }).await;
            all.push(batch);
        }
    }
    let session = session(&[&table]);
    let oracle = Oracle::new().with("main.p", &all);
    let cases = [
        ("region = 'south'", 8),
        ("region IS NULL", 8),
        ("region IN ('north', 'west')", 8),
        ("id = 17", 3),
        ("id = 17 AND region = 'south'", 1),
        ("id IN (17, 18) AND region > 'p'", 2),
        ("region = 'west'", 0),
    ];
    for (filter, files) in cases {
        let stats = agree(&session, &oracle, &format!("SELECT id, region FROM p WHERE {filter}")).await;
        assert!(stats.scan.files_scanned <= files, "{filter}: {} files", stats.scan.files_scanned);
    }
    agree(&session, &oracle, "SELECT region, count(*), count(region), sum(id) FROM p GROUP BY region").await;
    agree(&session, &oracle, "SELECT count(region), min(region), max(region) FROM p").await;
}

#[tokio::test]
async fn nan_is_found_although_bounds_leave_it_out() {
    let mut table = Table::new("main.f", vec![field(1, "x", PrimitiveType::Double)]);
    let mut all = Vec::new();
    let values =
        [vec![1.0, 2.0, f64::NAN], vec![-0.0, 5.0], vec![f64::NAN], vec![0.0, -1.0, f64::NEG_INFINITY]];
    for (index, values) in values.into_iter().enumerate() {
        let batch = table.batch(vec![Arc::new(Float64Array::from(values))]);
        let without_nan_counts = index % 2 == 1;
        table
            .add(&batch, FileOptions { without_nan_counts, row_group_rows: 2, ..FileOptions::default() })
            .await;
        all.push(batch);
    }
    let session = session(&[&table]);
    let oracle = Oracle::new().with("main.f", &all);
    for filter in
        ["x > 3", "x < 2", "x >= 5", "x <> 1", "x < 0", "x <= 0", "x > 0", "x = 0", "x > 100", "NOT (x < 3)"]
    {
        agree(&session, &oracle, &format!("SELECT x FROM f WHERE {filter}")).await;
    }
    agree(&session, &oracle, "SELECT max(x), min(x), count(*) FROM f").await;
    assert_eq!(all.iter().map(|batch| batch.column(0).len()).sum::<usize>(), 9);
}

/// What is known of files is taken over from the state of the table before; it leaves out what is left out by what is found
/// anew.
#[tokio::test]
async fn files_are_left_out_alike_whatever_comes_and_goes() {
    let seed = std::env::var("TARN_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("TARN_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut table = sales();
    for file in 0..30 {
        let batch = rows(&table, file * 20..file * 20 + 20);
        let options = FileOptions {
            without_figures: file % 11 == 5,
            without_nan_counts: file % 7 == 3,
            cut_at: if file % 2 == 0 { 40 } else { 6 },
            ..FileOptions::default()
        };
        table.add(&batch, options).await;
    }
    let whole = table.view();
    let lake = Arc::new(Lake::default());
    let following = engine(&lake);
    let filters = [
        "id BETWEEN 100 AND 140",
        "id = 333",
        "city < 'a city with a long name 0020'",
        "city IS NULL AND id < 200",
        "price > 100.5",
        "day >= DATE '1970-11-01' AND price < 140",
        "amount = 30.30",
    ];
    let mut chosen: Vec<usize> = Vec::new();
    for step in 0..60_u64 {
        chosen.retain(|_| random.random_bool(0.9));
        let left: Vec<usize> = (0..30).filter(|file| !chosen.contains(file)).collect();
        chosen.extend(left.into_iter().filter(|_| random.random_bool(0.2)));
        if random.random_bool(0.1) {
            chosen.reverse();
        }
        let files: Vec<DataFileView> = chosen.iter().map(|file| whole.files[*file].clone()).collect();
        let view = || {
            let files = Arc::new(files.clone());
            Arc::new(TableView { files, version: step + 1, ..whole.as_ref().clone() })
        };
        lake.put(view());
        let fresh = Arc::new(Lake::default());
        fresh.put(view());
        let anew = engine(&fresh);
        for filter in filters {
            let sql = format!("SELECT count(*), sum(id) FROM main.sales WHERE {filter}");
            let (found, stats) = run(&following.session(&context()), &sql).await;
            let (expected, expected_stats) = run(&anew.session(&context()), &sql).await;
            assert_eq!(found, expected, "TARN_SEED={seed} step {step}: {sql}");
            let files = |stats: &tarn_query::QueryStats| (stats.scan.files_total, stats.scan.files_scanned);
            assert_eq!(files(&stats), files(&expected_stats), "TARN_SEED={seed} step {step}: {sql}");
        }
    }
}
