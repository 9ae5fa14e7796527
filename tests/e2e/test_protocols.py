"""The same answers over HTTP, the PostgreSQL wire protocol and Flight SQL, with the clients that people use."""

import csv
import datetime
import decimal
import io
import os
import shutil
import signal
import socket
import subprocess
import threading
import uuid

import adbc_driver_flightsql.dbapi as flight_sql
import psycopg
import pyarrow as pa
import pytest
import requests

from rig.postgres import PROGRAMS
from rig.process import wait_until
from rig.readers import open_pyiceberg
from rig.tarn import ApiError, Tarn

UTC = datetime.timezone.utc
# Endless for practical purposes, and cancelled by each test that starts it.
ENDLESS = "SELECT count(*) FROM generate_series(1, 30000) a(x), generate_series(1, 30000) b(y), generate_series(1, 30000) c(z) WHERE (a.x * b.y + c.z) % 7 = 3"

TYPES = pa.table({
    "id": pa.array([1, 2], pa.int64()),
    "i": pa.array([2**31 - 1, None], pa.int32()),
    "big": pa.array([2**53 + 1, None], pa.int64()),
    "f": pa.array([0.1, None], pa.float64()),
    "amount": pa.array([decimal.Decimal("12345678901234567890.12"), None], pa.decimal128(22, 2)),
    "ok": pa.array([True, None], pa.bool_()),
    "day": pa.array([datetime.date(2026, 1, 31), None], pa.date32()),
    "at": pa.array([datetime.datetime(2026, 1, 31, 1, 2, 3, 456789, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
    "local": pa.array([datetime.datetime(2026, 1, 31, 1, 2, 3, 456789), None], pa.timestamp("us")),
    "word": pa.array(['ü "quoted", with\nline', None], pa.string()),
    "raw": pa.array([b"\x00\xff", None], pa.binary()),
    "tags": pa.array([["a", None], None], pa.list_(pa.string())),
})


@pytest.fixture(scope="module")
def tarn(tmp_path_factory):
    tarn = Tarn(tmp_path_factory.mktemp("protocols")).start()
    catalog = open_pyiceberg(tarn)
    catalog.create_namespace("shop")
    catalog.create_table("shop.types", TYPES.schema).append(TYPES)
    catalog.create_table("shop.orders", pa.schema([("id", pa.int64()), ("customer", pa.string())])).append(
        pa.table({"id": pa.array(range(1000), pa.int64()), "customer": [f"c{n % 10}" for n in range(1000)]}))
    yield tarn
    assert tarn.stop() == 0
    assert not tarn.panics()


def psql(tarn: Tarn, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess:
    env = {"PATH": os.environ["PATH"], "PGCONNECT_TIMEOUT": "20", "PAGER": "cat", "LANG": "C.UTF-8"}
    return subprocess.run(
        [PROGRAMS / "psql", "-X", "-h", "127.0.0.1", "-p", str(tarn.pgwire_port), "-U", "tarn", "-d", "tarn", *arguments],
        input=stdin, capture_output=True, text=True, timeout=120, env=env)


def asked(tarn: Tarn, *commands: str) -> str:
    done = psql(tarn, *[word for command in commands for word in ("-c", command)])
    assert done.returncode == 0 and "ERROR" not in done.stderr, done.stderr + done.stdout
    return done.stdout


def connect(tarn: Tarn, **options) -> psycopg.Connection:
    return psycopg.connect(host="127.0.0.1", port=tarn.pgwire_port, user="tarn", dbname="tarn", autocommit=True, connect_timeout=20, **options)


# psql

def test_psql_shows_tables_columns_and_namespaces(tarn):
    assert "orders" in asked(tarn, r"\dt shop.*") and "types" in asked(tarn, r"\dt shop.*")
    columns = asked(tarn, r"\d shop.orders")
    assert "customer" in columns and "bigint" in columns and "text" in columns, columns
    assert "shop" in asked(tarn, r"\dn")
    assert "tarn" in asked(tarn, r"\l")
    for command in (r"\d", r"\dt", r"\dv", r"\df", r"\du", r"\d+ shop.types", r"\dt+ shop.*", r"\conninfo", r"\encoding"):
        asked(tarn, command)


def test_psql_runs_statements_in_turn_and_stops_at_an_error(tarn):
    assert asked(tarn, "SELECT 1 AS one; SELECT 2 AS two").count("(1 row)") == 2
    done = psql(tarn, "-v", "ON_ERROR_STOP=1", stdin="SELECT 1;\nSELECT nothing FROM shop.orders;\nSELECT 'not reached';\n")
    assert done.returncode == 3 and "not reached" not in done.stdout
    assert asked(tarn, "SET search_path = shop", "SELECT count(*) FROM orders").splitlines()[-2].strip() == "(1 row)"


def test_psql_points_at_the_place_of_an_error_and_suggests(tarn):
    done = psql(tarn, "-c", "SELECT id,\n       custmer\nFROM shop.orders")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("LINE 2:"))
    # psql draws the caret below the place that the server names.
    assert lines[at][lines[at + 1].index("^"):].startswith("custmer"), done.stderr
    assert "customer" in done.stderr
    done = psql(tarn, "-c", "SELECT * FROM shop.order")
    assert "shop.orders" in done.stderr
    done = psql(tarn, "-c", "SELEC 1")
    assert "LINE 1:" in done.stderr and "^" in done.stderr


def test_control_c_in_psql_cancels_the_query(tarn):
    process = subprocess.Popen(
        [PROGRAMS / "psql", "-X", "-h", "127.0.0.1", "-p", str(tarn.pgwire_port), "-U", "tarn", "-d", "tarn", "-c", ENDLESS],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_until("the query runs", lambda: running(tarn, "30000"))
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "cancel" in stderr.lower(), stderr
    wait_until("the query has ended", lambda: not running(tarn, "30000"))


def running(tarn: Tarn, text: str) -> list[dict]:
    items = tarn.api("GET", "/query")["items"]
    return [query for query in items if query["state"] == "running" and text in query["sql"]]


# Drivers

def test_prepared_statements_and_types_through_a_driver(tarn):
    with connect(tarn) as connection:
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            row = cursor.execute("SELECT id, i, big, f, amount, ok, day, at, local, word, raw, tags FROM shop.types WHERE id = %s",
                                 [1], prepare=True).fetchone()
            expected = TYPES.to_pylist()[0]
            assert row == tuple(expected.values()), f"binary={binary}"
            nulls = cursor.execute("SELECT i, big, f, amount, ok, day, at, local, word, raw, tags FROM shop.types WHERE id = %s",
                                   [2], prepare=True).fetchone()
            assert nulls == (None,) * 11
        for number in range(20):
            found = connection.execute("SELECT customer FROM shop.orders WHERE id = %s", [number], prepare=True).fetchone()
            assert found == (f"c{number % 10}",)
        cursor = connection.execute("SELECT %s::text, %s::numeric, %s::timestamptz, %s::date, %s::bool", [
            "ü'", decimal.Decimal("1.50"), datetime.datetime(2026, 1, 1, tzinfo=UTC), datetime.date(2026, 2, 3), True])
        assert cursor.fetchone() == ("ü'", decimal.Decimal("1.50"), datetime.datetime(2026, 1, 1, tzinfo=UTC), datetime.date(2026, 2, 3), True)


def test_an_error_has_its_code_and_position_and_the_connection_goes_on(tarn):
    with connect(tarn) as connection:
        with pytest.raises(psycopg.Error) as raised:
            connection.execute("SELECT nothing FROM shop.orders")
        assert raised.value.sqlstate == "42703" and raised.value.diag.statement_position == "8"
        with pytest.raises(psycopg.Error) as raised:
            connection.execute("SELECT 1 FROM shop.nothing")
        assert raised.value.sqlstate == "42P01"
        with pytest.raises(psycopg.Error) as raised:
            connection.execute("SELEC 1")
        assert raised.value.sqlstate == "42601"
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_transactions_of_drivers_are_accepted(tarn):
    with psycopg.connect(host="127.0.0.1", port=tarn.pgwire_port, user="tarn", dbname="tarn") as connection:
        assert connection.execute("SELECT count(*) FROM shop.orders").fetchone() == (1000,)
        connection.commit()
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT nothing")
        connection.rollback()
        assert connection.execute("SELECT 2").fetchone() == (2,)


def test_large_results_come_in_pieces_through_a_driver(tarn):
    with connect(tarn) as connection, connection.cursor() as cursor:
        total = 0
        for (value,) in cursor.stream("SELECT a.id * 1000 + b.id FROM shop.orders a, shop.orders b WHERE b.id < 300"):
            total += value
        assert total == sum(a * 1000 + b for a in range(1000) for b in range(300))


def test_a_driver_cancels_and_a_statement_timeout_ends(tarn):
    with connect(tarn) as connection:
        canceller = threading.Thread(target=lambda: (wait_until("it runs", lambda: running(tarn, "30000")), connection.cancel()))
        canceller.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute(ENDLESS)
        canceller.join()
        connection.execute("SET statement_timeout = '300ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute(ENDLESS)
        connection.execute("SET statement_timeout = 0")
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_client_that_goes_away_ends_its_query(tarn):
    connection = connect(tarn)
    thread = threading.Thread(target=lambda: pytest.raises(psycopg.Error, connection.execute, ENDLESS))
    thread.start()
    wait_until("it runs", lambda: running(tarn, "30000"))
    # What a killed client does: the socket is closed without a word.
    with socket.socket(fileno=os.dup(connection.fileno())) as raw:
        raw.shutdown(socket.SHUT_RDWR)
    thread.join(60)
    wait_until("the query has ended", lambda: not running(tarn, "30000"))


def test_what_tools_ask_the_catalog(tarn):
    with connect(tarn) as connection:
        ask = lambda sql: connection.execute(sql).fetchall()  # noqa: E731
        assert ("shop", "orders") in ask("SELECT table_schema, table_name FROM information_schema.tables")
        assert ask("SELECT column_name, data_type, is_nullable FROM information_schema.columns "
                   "WHERE table_schema = 'shop' AND table_name = 'orders' ORDER BY ordinal_position") == [
            ("id", "bigint", "YES"), ("customer", "text", "YES")]
        assert ("shop",) in ask("SELECT schema_name FROM information_schema.schemata")
        assert ("shop", "orders") in ask("SELECT n.nspname, c.relname FROM pg_catalog.pg_class c "
                                          "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'")
        assert ask("SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a "
                   "WHERE a.attrelid = 'shop.orders'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum") == [
            ("id", "bigint"), ("customer", "text")]
        # Drivers read the version of PostgreSQL whose behaviour they may expect.
        assert ask("SELECT version()")[0][0].startswith("PostgreSQL ")
        assert ask("SELECT current_database()") == [("tarn",)]
        assert ask("SHOW server_version")[0][0]


# Flight SQL

def test_flight_sql_gives_arrow_types_as_they_are(tarn):
    with flight_sql.connect(tarn.flight) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM shop.types ORDER BY id")
        table = cursor.fetch_arrow_table()
        assert [field.name for field in table.schema] == TYPES.column_names
        for field in TYPES.schema:
            seen = table.schema.field(field.name).type
            if pa.types.is_timestamp(seen) and seen.tz == "+00:00":
                # Another name of the same zone.
                seen = pa.timestamp(seen.unit, "UTC")
            if pa.types.is_string(field.type) or pa.types.is_binary(field.type) or pa.types.is_list(field.type):
                continue
            assert seen == field.type, f"{field.name}: {seen}"
        assert table.to_pylist() == TYPES.to_pylist()
        cursor.execute("SELECT count(*) FROM shop.orders a, shop.orders b")
        assert cursor.fetchone() == (1_000_000,)


def test_flight_sql_prepares_lists_and_reports_errors(tarn):
    with flight_sql.connect(tarn.flight) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT customer FROM shop.orders WHERE id = ?", [7])
            assert cursor.fetchall() == [("c7",)]
            with pytest.raises(Exception, match="customer") as raised:
                cursor.execute("SELECT custmer FROM shop.orders")
                cursor.fetchall()
            assert "line 1" in str(raised.value)
        objects = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
        tables = {(schema["db_schema_name"], table["table_name"]) for catalog in objects
                  for schema in catalog["catalog_db_schemas"] or [] for table in schema["db_schema_tables"] or []}
        assert ("shop", "orders") in tables
        assert connection.adbc_get_table_schema("orders", db_schema_filter="shop").names == ["id", "customer"]


def test_flight_sql_streams_a_large_result_and_cancels(tarn):
    with flight_sql.connect(tarn.flight) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT a.id AS a, b.id AS b FROM shop.orders a, shop.orders b")
        rows = sum(batch.num_rows for batch in cursor.fetch_record_batch())
        assert rows == 1_000_000


# HTTP

def test_http_json_keeps_every_digit(tarn):
    answer = tarn.query("SELECT * FROM shop.types ORDER BY id")
    row = dict(zip([column["name"] for column in answer["columns"]], answer["rows"][0], strict=True))
    assert row["big"] == str(2**53 + 1) and row["amount"] == "12345678901234567890.12"
    assert row["i"] == 2**31 - 1 and row["f"] == 0.1 and row["ok"] is True and row["day"] == "2026-01-31"
    assert row["at"].startswith("2026-01-31T01:02:03.456789") and row["at"][-1] == "Z"
    assert row["local"] == "2026-01-31T01:02:03.456789" and row["raw"] == "00ff" and row["tags"] == ["a", None]
    assert answer["rows"][1] == [2] + [None] * 11
    assert answer["row_count"] == 2 and answer["truncated"] is False and answer["stats"]["rows_scanned"] == 2


def test_http_csv_and_arrow(tarn):
    answer = tarn.request("POST", "/api/v1/query", json={"sql": "SELECT id, word, amount FROM shop.types ORDER BY id", "format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    answer.encoding = "utf-8"
    rows = list(csv.reader(io.StringIO(answer.text, newline="")))
    assert rows == [["id", "word", "amount"], ["1", 'ü "quoted", with\nline', "12345678901234567890.12"], ["2", "", ""]]
    table = tarn.arrow("SELECT * FROM shop.types ORDER BY id")
    assert table.to_pylist() == TYPES.to_pylist()
    empty = tarn.arrow("SELECT id FROM shop.orders WHERE id < 0")
    assert empty.num_rows == 0 and empty.column_names == ["id"]


def test_http_limit_says_that_there_were_more(tarn):
    answer = tarn.query("SELECT id FROM shop.orders ORDER BY id", limit=10)
    assert (answer["row_count"], answer["truncated"], answer["rows"][-1]) == (10, True, [9])
    answer = tarn.query("SELECT id FROM shop.orders", limit=1000)
    assert (answer["row_count"], answer["truncated"]) == (1000, False)
    answer = tarn.query("SELECT a.id FROM shop.orders a, shop.orders b")
    assert (answer["row_count"], answer["truncated"]) == (10_000, True)


def test_http_timeout_and_cancel(tarn):
    with pytest.raises(ApiError) as raised:
        tarn.query(ENDLESS, timeout="300ms")
    assert raised.value.error["kind"] == "exhausted" and "300" in raised.value.error["message"], raised.value
    query_id = f"e2e-{uuid.uuid4()}"
    outcome: list = []

    def ask() -> None:
        try:
            outcome.append(tarn.query(ENDLESS, query_id=query_id))
        except ApiError as error:
            outcome.append(error)
    thread = threading.Thread(target=ask)
    thread.start()
    wait_until("it runs", lambda: any(query["query_id"] == query_id for query in running(tarn, "30000")))
    tarn.api("DELETE", f"/query/{query_id}")
    thread.join(60)
    assert isinstance(outcome[0], ApiError) and "cancel" in str(outcome[0])
    with pytest.raises(ApiError) as raised:
        tarn.api("DELETE", "/query/nothing-of-this-name")
    assert raised.value.status == 404


def test_a_request_that_is_dropped_ends_its_query(tarn):
    with pytest.raises(requests.exceptions.ReadTimeout):
        tarn.request("POST", "/api/v1/query", json={"sql": ENDLESS}, timeout=1)
    wait_until("the query has ended", lambda: not running(tarn, "30000"))


def test_http_errors_name_place_kind_and_neighbour(tarn):
    with pytest.raises(ApiError) as raised:
        tarn.query("SELECT id,\n  custmer FROM shop.orders")
    assert raised.value.status == 400 and raised.value.error["kind"] == "invalid"
    assert raised.value.error["position"] == {"line": 2, "column": 3}
    assert "customer" in raised.value.error["hint"] + raised.value.error["message"]
    for sql in ("", "   ", "SELECT", "DROP TABLE shop.orders; SELECT 1", "\x00", "SELECT " + "(" * 5000 + "1" + ")" * 5000,
                "SELECT 1/0", "SELECT CAST('x' AS int)", "INSERT INTO shop.orders VALUES (1, 'x', 2)"):
        with pytest.raises(ApiError) as raised:
            tarn.query(sql)
        assert raised.value.status in (400, 422, 501), (sql[:40], raised.value)
        assert raised.value.error["message"], sql[:40]
    assert tarn.value("SELECT count(*) FROM shop.orders") == 1000
    answer = tarn.request("POST", "/api/v1/query", data=b"{broken", headers={"content-type": "application/json"})
    assert answer.status_code == 400 and answer.json()["error"]["kind"] == "invalid"
    answer = tarn.request("POST", "/api/v1/query", json={"sql": "SELECT 1", "formt": "csv"})
    assert answer.status_code == 400 and "format" in answer.text


def test_explain_analyze_says_what_was_read(tarn):
    rows = tarn.rows("EXPLAIN ANALYZE SELECT customer, count(*) FROM shop.orders WHERE id > 500 GROUP BY customer")
    text = " ".join(str(cell) for row in rows for cell in row)
    assert "output_rows" in text and "shop/orders" in text, text
    assert tarn.query("SELECT count(*) FROM shop.orders", explain=True)["plan"]


def test_information_schema_over_http(tarn):
    # The same as over the protocol of PostgreSQL.
    with connect(tarn) as connection:
        for columns, table in [("table_schema, table_name, table_type", "tables"), ("column_name, data_type, is_nullable, udt_name", "columns"),
                               ("schema_name", "schemata"), ("table_name, column_name, ordinal_position", "key_column_usage")]:
            sql = f"SELECT {columns} FROM information_schema.{table} ORDER BY {columns}"
            rows = tarn.rows(sql)
            assert (rows or table == "key_column_usage") and rows == [list(row) for row in connection.execute(sql).fetchall()], table
    assert tarn.rows("SELECT column_name FROM information_schema.columns WHERE table_schema = 'shop' AND table_name = 'orders' ORDER BY ordinal_position") == [["id"], ["customer"]]
    completion = tarn.api("GET", "/query/completion")
    orders = next(table for table in completion["tables"] if table["name"] == "shop.orders")
    assert [column["name"] for column in orders["columns"]] == ["id", "customer"]
    assert completion["functions"] and completion["keywords"]


def test_curl_as_the_readme_writes_it(tarn):
    assert shutil.which("curl"), "curl is missing"
    done = subprocess.run(["curl", "-sS", f"{tarn.url}/api/v1/query", "-H", "content-type: application/json", "-d", '{"sql": "SELECT 1"}'],
                          capture_output=True, text=True, timeout=60)
    assert '"rows":[[1]]' in done.stdout.replace(" ", ""), done.stdout + done.stderr


def test_machines_that_watch(tarn):
    assert tarn.request("GET", "/healthz").json()["status"] == "ok"
    assert tarn.request("GET", "/readyz").json()["status"] == "ok"
    metrics = tarn.request("GET", "/metrics").text
    assert "tarn_query" in metrics and "# TYPE" in metrics
    document = tarn.request("GET", "/openapi.json").json()
    assert document["openapi"].startswith("3.") and "/api/v1/query" in document["paths"]
    with tarn.request("GET", "/api/v1/events", stream=True, headers={"accept": "text/event-stream"}) as events:
        lines = events.iter_lines(decode_unicode=True)
        assert any(line.startswith("event:") and "overview" in line for line, _ in zip(lines, range(50)))
    home = tarn.request("GET", "/")
    assert home.status_code == 200 and "text/html" in home.headers["content-type"]
