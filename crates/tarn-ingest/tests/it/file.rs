//! The source `file`.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use tarn_ingest::sources::file::SPEC;
use tarn_ingest::{SOURCES, SourceState};

use crate::bed::{Bed, name, write_parquet, yaml};
use crate::conformance::{Subject, check_source};

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("compressed");
    encoder.finish().expect("compressed")
}

fn csv(rows: std::ops::Range<u64>) -> String {
    rows.fold("id,name,price\n".to_string(), |text, n| text + &format!("{n},\"name, {n}\",{n}.5\n"))
}

fn parquet(path: &std::path::Path, rows: std::ops::Range<i64>) {
    let ids: Int64Array = rows.clone().collect();
    let names: StringArray = rows.map(|n| Some(format!("n{n}"))).collect();
    let columns = [("id", Arc::new(ids) as ArrayRef), ("name", Arc::new(names) as ArrayRef)];
    write_parquet(path, &RecordBatch::try_from_iter(columns).expect("a batch"));
}

async fn conforms(config: &str, fill: impl FnOnce(&std::path::Path), rows: usize, dead_letters: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("in")).expect("made");
    fill(&folder.path().join("in"));
    let subject = Subject { spec: &SPEC, config: yaml(config), project: folder.path().to_path_buf() };
    let reading = check_source(&subject).await;
    assert_eq!(reading.rows.values().map(Vec::len).sum::<usize>(), rows);
    assert_eq!(reading.dead_letters.len(), dead_letters, "{:?}", reading.dead_letters);
}

#[tokio::test]
async fn csv_conforms() {
    let fill = |folder: &std::path::Path| {
        std::fs::write(folder.join("a.csv"), csv(0..20_000)).expect("written");
        std::fs::write(folder.join("b.csv"), csv(20_000..20_010) + "x,y,z\n1,2\n").expect("written");
        std::fs::write(folder.join("c.csv.gz"), gzip(&csv(30_000..70_000))).expect("written");
    };
    conforms("{path: in, watch: false, key: [id]}", fill, 60_010, 2).await;
}

#[tokio::test]
async fn ndjson_conforms() {
    let fill = |folder: &std::path::Path| {
        let line =
            |n: u64| format!("{{\"id\": {n}, \"tags\": [\"a\", {n}], \"at\": \"2013-01-01T00:00:00Z\"}}\n");
        let text: String = (0..20_000).map(line).collect();
        std::fs::write(folder.join("a.ndjson"), text + "nonsense\n{\"id\": \"x\"}\n{\"id\": 7}")
            .expect("written");
        std::fs::write(folder.join("b.jsonl.gz"), gzip(&(0..100).map(line).collect::<String>()))
            .expect("written");
    };
    conforms("{path: 'in/*', watch: false}", fill, 20_101, 2).await;
}

#[tokio::test]
async fn parquet_conforms() {
    let fill = |folder: &std::path::Path| {
        parquet(&folder.join("a.parquet"), 0..20_000);
        parquet(&folder.join("x/b.parquet"), 20_000..20_010);
        std::fs::write(folder.join("broken.parquet"), "PAR1 this is none").expect("written");
    };
    conforms("{path: 'in/**/*.parquet', watch: false}", fill, 20_010, 1).await;
}

#[tokio::test]
async fn types_are_found_and_nulls_are_kept() {
    let bed = Bed::new(SOURCES).await;
    bed.write("in.csv", "\u{feff}id,zip,day,ratio,flag,note,_kind\n1,007,2013-01-31,1,true,NA,x\n2,NA,NA,0.5,false,\"a \"\"b\"\"\",y\n");
    bed.apply("types", "file", "{path: in.csv, watch: false, csv: {null: ['', NA]}}");
    bed.until_state("types", SourceState::Done).await;
    assert_eq!(
        bed.rows("types.types").await,
        ["+ | 1 | 007 | 2013-01-31 | 1.0 | true | ∅ | x", "+ | 2 | ∅ | ∅ | 0.5 | false | a \"b\" | y"]
    );
    let names: Vec<String> = bed.batches("types.types").await[0]
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(names[..7], ["id", "zip", "day", "ratio", "flag", "note", "source_kind"]);
}

#[tokio::test]
async fn appended_and_new_files_are_read_on_across_a_restart() {
    let mut bed = Bed::new(SOURCES).await;
    bed.write_unsettled("in/a.csv", "id,v\n1,a\n2,b\n3,unfini");
    let config = "{path: 'in/*.csv', table: t, key: [id]}";
    bed.apply("grow", "file", config);
    bed.until_rows("grow.t", 2).await;
    bed.write("in/a.csv", "id,v\n1,a\n2,b\n3,unfinished\n4,d\n");
    bed.until_rows("grow.t", 4).await;
    bed.restart().await;
    bed.write("in/a.csv", "id,v\n1,a\n2,b\n3,unfinished\n4,d\n5,e\n");
    bed.write("in/b.csv", "v,id\nf,6\n");
    bed.apply("grow", "file", config);
    bed.until_rows("grow.t", 6).await;
    let rows = bed.rows("grow.t").await;
    assert_eq!(rows, ["+ | 1 | a", "+ | 2 | b", "+ | 3 | unfinished", "+ | 4 | d", "+ | 5 | e", "+ | 6 | f"]);
    bed.until_state("grow", SourceState::Idle).await;
    assert_eq!(bed.count("grow.dead_letters").await, 0);
}

#[tokio::test]
async fn the_last_line_without_an_end_is_read_once_the_file_has_settled() {
    let bed = Bed::new(SOURCES).await;
    bed.write_unsettled("in.ndjson", "{\"id\": 1}\n{\"id\": 2}");
    bed.apply("settle", "file", "path: in.ndjson");
    bed.until_rows("settle.settle", 1).await;
    bed.until_state("settle", SourceState::Idle).await;
    assert_eq!(bed.count("settle.settle").await, 1);
    bed.clock.advance(Duration::from_secs(86_400 + 11));
    bed.until_rows("settle.settle", 2).await;
}

#[tokio::test]
async fn a_rewritten_file_is_reported_once_or_read_again() {
    let bed = Bed::new(SOURCES).await;
    bed.write("a.csv", "id,v\n1,a\n2,b\n");
    bed.write("b.csv", "id,v\n1,a\n2,b\n");
    bed.apply("report", "file", "{path: a.csv}");
    bed.apply("reread", "file", "{path: b.csv, key: [id], on_rewrite: reread}");
    bed.until_rows("report.report", 2).await;
    bed.until_rows("reread.reread", 2).await;
    bed.write("a.csv", "id,v\n1,CHANGED\n2,b\n3,c\n");
    bed.write("b.csv", "id,v\n1,CHANGED\n");
    bed.until_rows("report.dead_letters", 1).await;
    bed.until_rows("reread.reread", 3).await;
    let letters = bed.ingest.dead_letters(&bed.ctx, &name("report"), 10).await.expect("read");
    assert!(letters[0].reason.contains("the part that was read before has changed"), "{letters:?}");
    assert!(letters[0].place.ends_with("/a.csv"), "{letters:?}");
    // What is appended later is read, without another report.
    bed.write("a.csv", "id,v\n1,CHANGED\n2,b\n3,c\n4,d\n");
    bed.until_rows("report.report", 3).await;
    assert_eq!(bed.rows("report.report").await.last().map(String::as_str), Some("+ | 4 | d"));
    assert_eq!(bed.count("report.dead_letters").await, 1);
    assert_eq!(bed.count("reread.dead_letters").await, 0);
}

#[tokio::test]
async fn records_that_do_not_fit_name_file_line_and_reason() {
    let bed = Bed::new(SOURCES).await;
    bed.write("in/1.csv", "id,price\n1,1.5\n2,2.5\n");
    bed.apply("bad", "file", "{path: 'in/*.csv', watch: false, table: t, schema: [{name: id, type: int64}, {name: price, type: 'decimal(5,2)'}]}");
    bed.write("in/2.csv", "id,price,extra\n3,3.5,x\n\"4\n\",x,y\n5,1.234,z\n6\n");
    bed.until_state("bad", SourceState::Done).await;
    assert_eq!(bed.rows("bad.t").await, ["+ | 1 | 1.50", "+ | 2 | 2.50", "+ | 3 | 3.50"]);
    let mut letters = bed.ingest.dead_letters(&bed.ctx, &name("bad"), 10).await.expect("read");
    letters.reverse();
    let folder = bed.path("in").canonicalize().expect("there");
    let found: Vec<(String, String)> = letters
        .into_iter()
        .map(|l| (l.place.trim_start_matches(&format!("{}/", folder.display())).to_string(), l.reason))
        .collect();
    let expected = [
        ("2.csv:1", "the table has no column `extra`"),
        ("2.csv:3", "column `price`: `x` is not of type decimal(5,2)"),
        ("2.csv:5", "column `price`: `1.234` is not of type decimal(5,2)"),
        ("2.csv:6", "the record has 1 fields, 3 are expected"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((place, reason), (expected_place, expected_reason)) in found.iter().zip(expected) {
        assert_eq!(place, expected_place);
        assert!(reason.starts_with(expected_reason), "{reason}");
    }
}

#[tokio::test]
async fn a_later_parquet_file_with_other_types_is_cast_row_by_row() {
    let bed = Bed::new(SOURCES).await;
    parquet(&bed.path("in/1.parquet"), 0..2);
    let columns = [
        ("id", Arc::new(StringArray::from(vec!["7", "seven"])) as ArrayRef),
        ("more", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
    ];
    bed.apply("cast", "file", "{path: 'in/*.parquet', table: t}");
    bed.until_rows("cast.t", 2).await;
    write_parquet(&bed.path("in/2.parquet"), &RecordBatch::try_from_iter(columns).expect("a batch"));
    bed.until_rows("cast.t", 3).await;
    assert_eq!(bed.rows("cast.t").await, ["+ | 0 | n0", "+ | 1 | n1", "+ | 7 | ∅"]);
    let letters = bed.ingest.dead_letters(&bed.ctx, &name("cast"), 10).await.expect("read");
    assert_eq!(letters.iter().map(|l| l.record.as_str()).collect::<Vec<_>>(), ["seven", "more"]);
}

#[tokio::test]
async fn bombs_and_broken_files_are_given_up_and_the_rest_is_read() {
    let bed = Bed::new(SOURCES).await;
    bed.write("in/bomb.csv.gz", gzip(&csv(0..200_000)));
    bed.write("in/cut.csv.gz", &gzip(&csv(0..1_000))[..500]);
    bed.write("in/what.xyz", "?");
    bed.write("in/good.csv", csv(0..3));
    bed.apply("bomb", "file", "{path: in, watch: false, table: t, decompressed_max: 1MB, schema: [{name: id, type: int64}, {name: name, type: string}, {name: price, type: float64}]}");
    bed.until_state("bomb", SourceState::Done).await;
    let letters = bed.ingest.dead_letters(&bed.ctx, &name("bomb"), 10).await.expect("read");
    for (file, reason) in
        [("bomb.csv.gz", "more than 1MB"), ("cut.csv.gz", "gzip"), ("what.xyz", "set `format`")]
    {
        let letter = letters.iter().find(|letter| letter.place.ends_with(file)).expect(file);
        assert!(letter.reason.contains(reason), "{letter:?}");
    }
    let rows = bed.rows("bomb.t").await;
    assert!(rows.contains(&"+ | 2 | name, 2 | 2.5".to_string()) && rows.len() < 100_000, "{}", rows.len());
}

#[tokio::test]
async fn ten_thousand_small_files_are_read_once_across_restarts() {
    let mut bed = Bed::new(SOURCES).await;
    let folder = bed.path("in");
    std::fs::create_dir_all(&folder).expect("made");
    (0..10_000).for_each(|n| {
        std::fs::write(folder.join(format!("{n}.csv")), format!("id\n{n}\n")).expect("written")
    });
    let config = "{path: 'in/*.csv', watch: false, table: t}";
    bed.apply("many", "file", config);
    bed.eventually("a part", async || bed.count("many.t").await > 3_000).await;
    bed.restart().await;
    bed.apply("many", "file", config);
    bed.until_state("many", SourceState::Done).await;
    bed.restart().await;
    bed.apply("many", "file", config);
    bed.until_state("many", SourceState::Done).await;
    let mut rows = bed.rows("many.t").await;
    assert_eq!(rows.len(), 10_000);
    rows.sort();
    rows.dedup();
    assert_eq!(rows.len(), 10_000);
}

#[tokio::test]
async fn a_connection_test_names_the_step_that_fails() {
    let bed = Bed::new(SOURCES).await;
    bed.write("in.csv", "id\n1\n");
    let check = async |config: &str| bed.ingest.check(&bed.ctx, None, "file", yaml(config)).await;
    assert!(check("path: in.csv").await.is_ok());
    for (config, expected) in [
        ("path: missing/*.csv", "no file matches"),
        ("{path: in.csv, key: [idd]}", "has no column `idd`"),
        ("{path: in.csv, fromat: csv}", "did you mean `format`?"),
        ("{path: in.csv, csv: {delimiter: ';;'}}", "not one ASCII character"),
    ] {
        let report = check(config).await;
        let last = report.steps.last().expect("a step");
        assert!(!last.ok && last.detail.contains(expected), "{config}: {report:?}");
    }
}
