//! Random tables against rows in memory.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use iceberg::spec::PrimitiveType;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::lake::{FileOptions, Table, field, session};
use crate::oracle::{Oracle, agree};

const ROUNDS: u64 = 10;

#[derive(Clone, Debug)]
struct Row {
    id: Option<i64>,
    text: Option<String>,
    number: Option<f64>,
    day: Option<i32>,
}

fn table() -> Table {
    Table::new(
        "main.t",
        vec![
            field(1, "id", PrimitiveType::Long),
            field(2, "text", PrimitiveType::String),
            field(3, "number", PrimitiveType::Double),
            field(4, "day", PrimitiveType::Date),
        ],
    )
}

fn batch(table: &Table, rows: &[Row]) -> RecordBatch {
    table.batch(vec![
        Arc::new(rows.iter().map(|row| row.id).collect::<Int64Array>()) as ArrayRef,
        Arc::new(rows.iter().map(|row| row.text.clone()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.number).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.day).collect::<Date32Array>()),
    ])
}

fn row(random: &mut StdRng, spread: i64) -> Row {
    let base = random.random_range(0..10) * spread;
    let numbers = [0.0, -0.0, 1.5, -2.5, f64::NAN, f64::INFINITY, 7.25];
    let text = match random.random_range(0..4) {
        0 => format!("k{}", base % 20),
        1 => format!("a long text shared by many rows {}", base % 5),
        2 => String::new(),
        _ => format!("ünïcode {}", base % 7),
    };
    Row {
        id: random.random_bool(0.9).then_some(base + random.random_range(0..5)),
        text: random.random_bool(0.85).then_some(text),
        number: random.random_bool(0.9).then(|| *numbers.choose(random).unwrap()),
        day: random.random_bool(0.9).then_some((base % 40) as i32),
    }
}

/// A condition made of the columns and values that occur.
fn condition(random: &mut StdRng, depth: u32) -> String {
    if depth > 0 && random.random_bool(0.5) {
        let (a, b) = (condition(random, depth - 1), condition(random, depth - 1));
        return match random.random_range(0..3) {
            0 => format!("({a} AND {b})"),
            1 => format!("({a} OR {b})"),
            _ => format!("NOT ({a})"),
        };
    }
    let operator = *["=", "<", "<=", ">", ">=", "<>"].choose(random).unwrap();
    match random.random_range(0..9) {
        0 | 1 => format!("id {operator} {}", random.random_range(0..100)),
        2 => format!("text {operator} 'k{}'", random.random_range(0..20)),
        3 => format!("number {operator} {}", ["0.0", "1.5", "-2.5", "7", "100"].choose(random).unwrap()),
        4 => format!("day {operator} date '1970-01-{:02}'", random.random_range(1..31)),
        5 => format!("{} IS NULL", ["id", "text", "number", "day"].choose(random).unwrap()),
        6 => format!("text LIKE '{}'", ["k%", "a long text%", "%rows 3", "ün%"].choose(random).unwrap()),
        7 => format!("id IN ({}, {}, 3)", random.random_range(0..50), random.random_range(0..50)),
        _ => format!("id % 3 {operator} {}", random.random_range(0..3)),
    }
}

fn queries(random: &mut StdRng) -> Vec<String> {
    let filter = condition(random, 2);
    let limit = random.random_range(1..40);
    vec![
        format!("SELECT * FROM t WHERE {filter}"),
        format!(
            "SELECT count(*), count(id), sum(id), min(id), max(day), min(text), max(number) FROM t WHERE {filter}"
        ),
        "SELECT count(*), count(text), min(id), max(id), min(day), max(text), min(number) FROM t".into(),
        format!("SELECT text, count(*), max(id) FROM t WHERE {filter} GROUP BY text"),
        format!("SELECT id FROM t WHERE {filter} ORDER BY id LIMIT {limit}"),
        format!("SELECT count(*) FROM (SELECT id FROM t WHERE {filter} LIMIT {limit})"),
        format!("SELECT count(*) FROM t a JOIN t b ON a.id = b.id AND a.day < b.day WHERE a.{}", "id > 20"),
        format!(
            "SELECT day FROM t WHERE id IN (SELECT id FROM t WHERE {filter}) AND day > date '1970-01-09'"
        ),
    ]
}

struct World {
    table: Table,
    live: Vec<Row>,
}

async fn world(random: &mut StdRng) -> World {
    let mut table = table();
    let mut live: Vec<(i64, Row)> = Vec::new();
    let spread = random.random_range(1..12);
    let files = random.random_range(0..8);
    let mut sequence = 1;
    for _ in 0..files {
        let count = random.random_range(1..150);
        let mut rows: Vec<Row> = (0..count).map(|_| row(random, spread)).collect();
        if random.random_bool(0.5) {
            rows.sort_by_key(|row| row.id);
        }
        let share = *[0.0, 0.0, 0.1, 0.5, 1.0].choose(random).unwrap();
        let deletes: Vec<u64> = (0..count).filter(|_| random.random_bool(share)).collect();
        let gone: HashSet<u64> = deletes.iter().copied().collect();
        let options = FileOptions {
            row_group_rows: *[1, 7, 30, 1_000].choose(random).unwrap(),
            cut_at: *[4, 16, 64].choose(random).unwrap(),
            sequence,
            deletes,
            without_figures: random.random_bool(0.2),
            without_nan_counts: random.random_bool(0.3),
            bloom: random.random_bool(0.3),
            ..FileOptions::default()
        };
        table.add(&batch(&table, &rows), options).await;
        let kept = rows.into_iter().enumerate().filter(|(index, _)| !gone.contains(&(*index as u64)));
        live.extend(kept.map(|(_, row)| (sequence, row)));
        sequence += 1;
        if random.random_bool(0.2) {
            let victims: Vec<Row> = live.choose_multiple(random, 4).map(|(_, row)| row.clone()).collect();
            if victims.is_empty() {
                continue;
            }
            let by_text = random.random_bool(0.5);
            let (columns, ids) = if by_text { (vec![0, 1], vec![1, 2]) } else { (vec![0], vec![1]) };
            let deletes = batch(&table, &victims).project(&columns).unwrap();
            table
                .add_equality_delete(&deletes, ids, FileOptions { sequence, ..FileOptions::default() })
                .await;
            live.retain(|(_, row)| {
                !victims.iter().any(|victim| victim.id == row.id && (!by_text || victim.text == row.text))
            });
            sequence += 1;
        }
    }
    let mut live: Vec<Row> = live.into_iter().map(|(_, row)| row).collect();
    for _ in 0..random.random_range(0..3) {
        let rows: Vec<Row> = (0..random.random_range(0..40)).map(|_| row(random, spread)).collect();
        table.hot.push(batch(&table, &rows));
        live.extend(rows);
    }
    World { table, live }
}

#[tokio::test]
async fn any_table_answers_as_its_rows_do() {
    let seed = std::env::var("TARN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_260_101_u64);
    for round in 0..ROUNDS {
        println!("TARN_SEED={} gives this round", seed + round);
        let mut random = StdRng::seed_from_u64(seed + round);
        let world = world(&mut random).await;
        let session = session(&[&world.table]);
        let oracle = Oracle::new().with("main.t", &[batch(&world.table, &world.live)]);
        for _ in 0..2 {
            for sql in queries(&mut random) {
                agree(&session, &oracle, &sql).await;
            }
        }
    }
}
