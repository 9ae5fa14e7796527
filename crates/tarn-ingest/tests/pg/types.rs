//! Every type, by the snapshot's binary form and by the stream's text form, against the server's own arithmetic.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use serde_json::json;

use super::mirror::{Mirror, shared_server, table};

/// A type, its values as SQL, and an expression of `$v` that gives the canonical text of a value.
struct Case {
    name: &'static str,
    sql: &'static str,
    values: &'static [&'static str],
    canonical: &'static str,
}

const PLAIN: &str = "$v::text";
const TEXT: &str = "encode(convert_to(format('%s', $v), 'UTF8'), 'hex')";
const HEX: &str = "encode($v, 'hex')";
const DAYS: &str = "CASE $v WHEN 'infinity' THEN '2932896' WHEN '-infinity' THEN '-719162' ELSE ($v - DATE '1970-01-01')::text END";
const DAY_MICROS: &str = "(extract(epoch FROM $v) * 1000000)::bigint::text";
const MICROS: &str = "CASE $v WHEN 'infinity' THEN '253402300799999999' WHEN '-infinity' THEN '-62135596800000000' \
                      ELSE (extract(epoch FROM $v) * 1000000)::numeric(30,0)::text END";
const UUID: &str = "replace($v::text, '-', '')";

const CASES: &[Case] = &[
    Case { name: "bool", sql: "boolean", values: &["true", "false"], canonical: PLAIN },
    Case { name: "int2", sql: "smallint", values: &["-32768", "32767", "0"], canonical: PLAIN },
    Case { name: "int4", sql: "integer", values: &["-2147483648", "2147483647"], canonical: PLAIN },
    Case {
        name: "int8",
        sql: "bigint",
        values: &["-9223372036854775808", "9223372036854775807"],
        canonical: PLAIN,
    },
    Case {
        name: "float4",
        sql: "real",
        values: &["0.1", "'NaN'", "'Infinity'", "'-Infinity'", "3.4028235e38", "1e-45", "-0.0", "16777217"],
        canonical: PLAIN,
    },
    Case {
        name: "float8",
        sql: "double precision",
        values: &[
            "0.1",
            "'NaN'",
            "'-Infinity'",
            "1.7976931348623157e308",
            "5e-324",
            "0.30000000000000004",
            "-0.0",
        ],
        canonical: PLAIN,
    },
    Case {
        name: "dec10_2",
        sql: "numeric(10,2)",
        values: &["0", "-0.05", "99999999.99", "-99999999.99", "1.005", "10000", "0.1", "100000.01"],
        canonical: PLAIN,
    },
    Case {
        name: "dec38_0",
        sql: "numeric(38,0)",
        values: &[
            "99999999999999999999999999999999999999",
            "-99999999999999999999999999999999999999",
            "1e37",
        ],
        canonical: PLAIN,
    },
    Case {
        name: "dec38_38",
        sql: "numeric(38,38)",
        values: &["0.99999999999999999999999999999999999999", "-1e-38"],
        canonical: PLAIN,
    },
    Case {
        name: "dec5_4",
        sql: "numeric(5,4)",
        values: &["1.2345", "-9.9999", "0.0001", "0.0100"],
        canonical: PLAIN,
    },
    Case {
        name: "dec39",
        sql: "numeric(39,1)",
        values: &["12345678901234567890123456789012345678.9", "'NaN'"],
        canonical: TEXT,
    },
    Case { name: "decneg", sql: "numeric(3,-2)", values: &["12345", "-99900"], canonical: TEXT },
    Case {
        name: "numeric",
        sql: "numeric",
        values: &["1e-100", "'NaN'", "'Infinity'", "123456789012345678901234567890123456789012.5", "1.500"],
        canonical: TEXT,
    },
    Case {
        name: "text",
        sql: "text",
        values: &["''", "'ÅÄÖ 漢字 😀'", "E'tab\\tquote\\'\\\\back\\nline'", "repeat('long ', 20000)"],
        canonical: TEXT,
    },
    Case { name: "varchar", sql: "varchar(20)", values: &["'abc'", "''"], canonical: TEXT },
    Case { name: "bpchar", sql: "char(6)", values: &["'ab'", "''"], canonical: TEXT },
    Case { name: "name", sql: "name", values: &["'tarn'"], canonical: TEXT },
    Case { name: "onechar", sql: "\"char\"", values: &["'z'"], canonical: TEXT },
    Case {
        name: "bytea",
        sql: "bytea",
        values: &["'\\x'", "'\\x00ff10'", "decode(repeat('00ff', 3000), 'hex')"],
        canonical: HEX,
    },
    Case {
        name: "date",
        sql: "date",
        values: &[
            "'1970-01-01'",
            "'0001-01-01'",
            "'4713-01-01 BC'",
            "'0044-03-15 BC'",
            "'5874897-12-31'",
            "'infinity'",
            "'-infinity'",
            "'2000-02-29'",
            "'1969-12-31'",
        ],
        canonical: DAYS,
    },
    Case {
        name: "time",
        sql: "time",
        values: &["'00:00'", "'23:59:59.999999'", "'12:34:56.5'"],
        canonical: DAY_MICROS,
    },
    Case {
        name: "timetz",
        sql: "timetz",
        values: &["'12:34:56.789+05:30'", "'24:00:00-08'"],
        canonical: TEXT,
    },
    Case {
        name: "timestamp",
        sql: "timestamp",
        values: &[
            "'1970-01-01'",
            "'4713-01-01 00:00:00 BC'",
            "'294246-12-31 23:59:59.999999'",
            "'infinity'",
            "'-infinity'",
            "'1969-12-31 23:59:59.999999'",
            "'0001-12-31 23:59:59.000001 BC'",
        ],
        canonical: MICROS,
    },
    Case {
        name: "timestamptz",
        sql: "timestamptz",
        values: &[
            "'2024-02-29 12:00:00+14'",
            "'1900-01-01 00:00:00 Asia/Shanghai'",
            "'infinity'",
            "'-infinity'",
            "'4713-02-01 BC'",
            "'1883-11-18 12:03:58 America/New_York'",
        ],
        canonical: MICROS,
    },
    Case {
        name: "interval",
        sql: "interval",
        values: &["'1 year 2 mons 3 days 04:05:06.789'", "'-1 day'", "'0'", "'-1 mon +2 days -00:00:01'"],
        canonical: TEXT,
    },
    Case {
        name: "uuid",
        sql: "uuid",
        values: &["'00000000-0000-0000-0000-000000000000'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"],
        canonical: UUID,
    },
    Case { name: "json", sql: "json", values: &["'{ \"b\": 1,  \"a\": [null, \"é\"] }'"], canonical: TEXT },
    Case {
        name: "jsonb",
        sql: "jsonb",
        values: &["'{ \"b\": 1,  \"a\": [null, \"é\"] }'", "'null'"],
        canonical: TEXT,
    },
    Case { name: "mood", sql: "mood", values: &["'very happy'", "'sad'"], canonical: TEXT },
    Case { name: "money_d", sql: "price", values: &["12.345", "-0.001"], canonical: PLAIN },
    Case { name: "deep", sql: "deeper", values: &["7"], canonical: PLAIN },
    Case {
        name: "inet",
        sql: "inet",
        values: &["'192.168.1.5'", "'192.168.1.5/24'", "'::1'"],
        canonical: TEXT,
    },
    Case { name: "cidr", sql: "cidr", values: &["'10.0.0.0/8'"], canonical: TEXT },
    Case { name: "macaddr", sql: "macaddr", values: &["'08:00:2b:01:02:03'"], canonical: TEXT },
    Case { name: "bit", sql: "bit(5)", values: &["B'10101'"], canonical: TEXT },
    Case { name: "varbit", sql: "bit varying", values: &["B''", "B'1'"], canonical: TEXT },
    Case { name: "xml", sql: "xml", values: &["'<a>x</a>'"], canonical: TEXT },
    Case { name: "tsvector", sql: "tsvector", values: &["'a fat cat'"], canonical: TEXT },
    Case { name: "point", sql: "point", values: &["'(1.5,-2)'"], canonical: TEXT },
    Case { name: "box", sql: "box", values: &["'(1,2),(3,4)'"], canonical: TEXT },
    Case { name: "int4range", sql: "int4range", values: &["'[1,10)'", "'empty'"], canonical: TEXT },
    Case {
        name: "multirange",
        sql: "tsmultirange",
        values: &["'{[2020-01-01,2020-02-01)}'"],
        canonical: TEXT,
    },
    Case { name: "composite", sql: "pair", values: &["ROW(1, 'a,\"b')", "ROW(NULL, NULL)"], canonical: TEXT },
    Case { name: "hstore", sql: "public.hstore", values: &["'a=>1, b=>NULL'"], canonical: TEXT },
    Case { name: "citext", sql: "public.citext", values: &["'MiXed'"], canonical: TEXT },
    Case {
        name: "money",
        sql: "money",
        values: &["'345.67'"],
        canonical: "encode(convert_to('$' || ($v::numeric)::text, 'UTF8'), 'hex')",
    },
    Case { name: "oid", sql: "oid", values: &["4294967295"], canonical: TEXT },
    Case { name: "grid", sql: "int[][]", values: &["'{{1,2},{3,4}}'"], canonical: TEXT },
    Case {
        name: "ints_list",
        sql: "int[]",
        values: &["'{}'", "'{1,NULL,-3}'", "'[5:6]={7,8}'"],
        canonical: PLAIN,
    },
    Case {
        name: "texts_list",
        sql: "text[]",
        values: &["ARRAY['a,b', '\"q\"', '', NULL, 'NULL', E'back\\\\slash', '{x}', 'é']", "'{}'"],
        canonical: TEXT,
    },
    Case { name: "decs_list", sql: "numeric(6,2)[]", values: &["'{1.5,-2000,NULL}'"], canonical: PLAIN },
    Case {
        name: "times_list",
        sql: "timestamptz[]",
        values: &["'{2020-01-01 00:00:00+00,NULL,infinity}'"],
        canonical: MICROS,
    },
    Case {
        name: "uuids_list",
        sql: "uuid[]",
        values: &["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"],
        canonical: UUID,
    },
    Case {
        name: "byteas_list",
        sql: "bytea[]",
        values: &["ARRAY['\\x00ff'::bytea, NULL, '\\x']"],
        canonical: HEX,
    },
    Case { name: "bools_list", sql: "boolean[]", values: &["'{t,f,NULL}'"], canonical: PLAIN },
    Case { name: "dates_list", sql: "date[]", values: &["'{2020-01-01,0044-03-15 BC}'"], canonical: DAYS },
    Case { name: "floats_list", sql: "float8[]", values: &["'{1.5,NaN}'"], canonical: PLAIN },
    Case { name: "inets_list", sql: "inet[]", values: &["'{10.0.0.1,10.0.0.0/8}'"], canonical: TEXT },
    Case { name: "boxes_list", sql: "box[]", values: &["'{(1,2),(3,4);(5,6),(7,8)}'"], canonical: TEXT },
    Case { name: "moods_list", sql: "mood[]", values: &["'{sad,\"very happy\"}'"], canonical: TEXT },
    Case { name: "prices_list", sql: "price[]", values: &["'{1.5,2}'"], canonical: PLAIN },
    Case { name: "jsonbs_list", sql: "jsonb[]", values: &["ARRAY['{\"a\": 1}'::jsonb]"], canonical: TEXT },
    Case {
        name: "pairs_list",
        sql: "pair[]",
        values: &["ARRAY[ROW(1, 'a \"b\"')::pair, NULL]"],
        canonical: TEXT,
    },
];

fn canonical(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => float_text(f64::from(array.as_primitive::<Float32Type>().value(row)), true),
        DataType::Float64 => float_text(array.as_primitive::<Float64Type>().value(row), false),
        DataType::Decimal128(..) => arrow::util::display::array_value_to_string(array, row).unwrap(),
        DataType::Utf8 => hex(array.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(16) => hex(array.as_fixed_size_binary().value(row)),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Time64(_) => array.as_primitive::<Time64MicrosecondType>().value(row).to_string(),
        DataType::Timestamp(..) => array.as_primitive::<TimestampMicrosecondType>().value(row).to_string(),
        DataType::List(_) => {
            let elements = array.as_list::<i32>().value(row);
            let texts =
                (0..elements.len()).map(|at| canonical(&elements, at).unwrap_or_else(|| "NULL".to_string()));
            format!("[{}]", texts.collect::<Vec<_>>().join(","))
        }
        other => panic!("{other} is not a type that is made"),
    })
}

/// The server's text of a float, read back, has the same bits.
fn float_text(value: f64, single: bool) -> String {
    if value.is_nan() {
        return "NaN".to_string();
    }
    if single { format!("{:08x}", (value as f32).to_bits()) } else { format!("{:016x}", value.to_bits()) }
}

fn wanted_float(text: &str, single: bool) -> String {
    match single {
        true => float_text(f64::from(text.parse::<f32>().unwrap()), true),
        false => float_text(text.parse().unwrap(), false),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_list(case: &Case) -> bool {
    case.name.ends_with("_list")
}

/// Canonical text by (column, id) of all rows of `t` that arrived.
fn arrived(mirror: &Mirror) -> BTreeMap<(String, i32), Option<String>> {
    let mut found = BTreeMap::new();
    for batch in mirror.batches.iter().filter(|batch| batch.table == table("t")) {
        let ids = batch.rows.column_by_name("id").unwrap().as_primitive::<Int32Type>().clone();
        for case in CASES {
            let column = batch.rows.column_by_name(case.name).unwrap();
            for row in 0..batch.rows.num_rows() {
                found.insert((case.name.to_string(), ids.value(row)), canonical(column, row));
            }
        }
    }
    found
}

const KINDS: &str =
    "CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('sad', 'very happy');
                     CREATE DOMAIN price AS numeric(12,3); CREATE DOMAIN deep AS int CHECK (VALUE > 0);
                     CREATE DOMAIN deeper AS deep; CREATE TYPE pair AS (a int, b text);";

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_exact_in_the_snapshot_and_in_the_stream() {
    let server = shared_server();
    let url = server.database("types").unwrap();
    let columns: Vec<String> = CASES.iter().map(|case| format!("\"{}\" {}", case.name, case.sql)).collect();
    let mut sql = format!(
        "{KINDS} CREATE TABLE t (id int PRIMARY KEY, {}, made int GENERATED ALWAYS AS (id * 2) STORED);",
        columns.join(", ")
    );
    let mut id = 0;
    let mut ids: Vec<(&Case, i32)> = Vec::new();
    for case in CASES {
        for value in case.values {
            id += 1;
            sql.push_str(&format!("INSERT INTO t (id, \"{}\") VALUES ({id}, {value});\n", case.name));
            ids.push((case, id));
        }
    }
    server.psql_in("types", &sql).unwrap();
    let mut mirror = Mirror::new("types", json!({ "url": url }));
    mirror.open().await;
    let total = ids.len();
    mirror.read_until(|mirror| mirror.count("t") == total).await;
    let names: Vec<String> = CASES.iter().map(|case| format!("\"{}\"", case.name)).collect();
    let names = names.join(", ");
    server
        .psql_in("types", &format!("INSERT INTO t (id, {names}) SELECT id + 10000, {names} FROM t"))
        .unwrap();
    mirror.read_until(|mirror| mirror.count("t") == 2 * total).await;
    assert!(mirror.dead.is_empty(), "{:?}", mirror.dead);
    let found = arrived(&mirror);
    for case in CASES {
        let quoted = format!("\"{}\"", case.name);
        let expression = if is_list(case) {
            let element = case.canonical.replace("$v", "u.e");
            format!(
                "'[' || coalesce((SELECT string_agg(CASE WHEN u.o IS NULL OR num_nulls(u.e) = 1 THEN 'NULL' ELSE {element} END, \
                 ',' ORDER BY u.o) FROM unnest({quoted}) WITH ORDINALITY u(e, o)), '') || ']'"
            )
        } else {
            case.canonical.replace("$v", &quoted)
        };
        let condition = format!("id < 10000 AND num_nonnulls(\"{}\") = 1", case.name);
        let sql = format!(
            "SET intervalstyle = iso_8601; SET timezone = 'UTC'; SELECT id, {expression} FROM t WHERE {condition} ORDER BY id"
        );
        let answer = server.psql_in("types", &sql).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let mut compared = 0;
        for line in answer.lines() {
            let (id, wanted) = line.split_once('|').unwrap();
            let id: i32 = id.parse().unwrap();
            let wanted = match case.name {
                "float4" => wanted_float(wanted, true),
                "float8" => wanted_float(wanted, false),
                // The server's `unnest` takes composite values apart.
                "pairs_list" => format!("[{},NULL]", hex(br#"(1,"a ""b""")"#)),
                "floats_list" => "[3ff8000000000000,NaN]".to_string(),
                _ => wanted.to_string(),
            };
            let key = |id: i32| (case.name.to_string(), id);
            assert_eq!(found[&key(id)].as_ref(), Some(&wanted), "{} {id} in the snapshot", case.name);
            assert_eq!(found[&key(id + 10_000)].as_ref(), Some(&wanted), "{} {id} in the stream", case.name);
            compared += 1;
        }
        assert_eq!(compared, case.values.len(), "{}", case.name);
    }
    let schema = mirror.descriptions[&table("t")].schema.clone();
    assert!(schema.field_with_name("made").is_err(), "generated columns are left out");
    let uuid = schema.field_with_name("uuid").unwrap();
    assert_eq!(uuid.metadata().get("ARROW:extension:name").map(String::as_str), Some("arrow.uuid"));
    let source_type = schema.field_with_name("dec10_2").unwrap().metadata().get("tarn.source_type").cloned();
    assert_eq!(source_type.as_deref(), Some("numeric(10,2)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_without_a_place_becomes_null_and_a_dead_letter() {
    let server = shared_server();
    let url = server.database("misfits").unwrap();
    let rows = "(1, 'NaN', NULL, NULL, NULL, 'a'), (2, NULL, '24:00', NULL, NULL, 'b'),
                (3, NULL, NULL, '294276-12-31 23:59:59', NULL, 'c'), (4, NULL, NULL, NULL, '{{1,2},{3,4}}', 'd')";
    let sql = format!(
        "CREATE TABLE t (id int PRIMARY KEY, n numeric(10,2), h time, m timestamp, g int[], v text); INSERT INTO t VALUES {rows}"
    );
    server.psql_in("misfits", &sql).unwrap();
    let mut mirror = Mirror::new("misfits", json!({ "url": url }));
    mirror.open().await;
    mirror.read_until(|mirror| mirror.count("t") == 4).await;
    server.psql_in("misfits", "INSERT INTO t SELECT id + 10, n, h, m, g, v FROM t").unwrap();
    mirror.read_until(|mirror| mirror.count("t") == 8).await;
    assert_eq!(
        mirror.rows("t"),
        ["11|||||a", "12|||||b", "13|||||c", "14|||||d", "1|||||a", "2|||||b", "3|||||c", "4|||||d"]
    );
    let reasons: Vec<&str> = mirror.dead.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons.len(), 8);
    let words = [
        "`n` was set to null: NaN",
        "`h` was set to null: 24:00:00",
        "`m` was set to null",
        "more than one dimension",
    ];
    for (at, word) in words.iter().enumerate() {
        assert!(reasons[at].contains(word) && reasons[at + 4].contains(word), "{word}: {reasons:?}");
    }
    assert_eq!(mirror.dead[4].record, r#"{"n":"NaN"}"#);
    assert_eq!(mirror.dead[4].table, Some(table("t")));
}
