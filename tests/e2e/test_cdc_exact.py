"""From a live PostgreSQL to an Iceberg table, row for row, while everything is killed again and again.

The oracle is PostgreSQL's own table at the end.
"""

import datetime
import decimal
import json
import os
import random
import threading
import time
import uuid

import psycopg
import pyarrow as pa
import pytest

from rig.postgres import PASSWORD, Postgres, cdc_source
from rig.process import wait_until
from rig.readers import as_float32, assert_same_rows, assert_same_values, readers
from rig.tarn import ApiError, Tarn

SEED = int(os.environ.get("TARN_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)

ORDERS = """
CREATE TABLE orders (
    id bigint PRIMARY KEY,
    customer text NOT NULL,
    amount numeric(14, 2),
    paid boolean NOT NULL,
    at timestamptz NOT NULL,
    note text
)"""
ORDERS_SCHEMA = pa.schema([
    ("id", pa.int64()), ("customer", pa.string()), ("amount", pa.decimal128(14, 2)), ("paid", pa.bool_()),
    ("at", pa.timestamp("us", "UTC")), ("note", pa.string()),
])
# Large enough to be stored out of line, so that PostgreSQL does not send it with updates of other columns.
NOTE_BYTES = 4_000
MARK = -1


def fill(connection: psycopg.Connection, rows: int) -> None:
    connection.execute(ORDERS)
    connection.execute("ALTER TABLE orders ALTER COLUMN note SET STORAGE EXTERNAL")
    # Every tenth note is stored out of line.
    connection.execute(
        "INSERT INTO orders SELECT n, 'customer ' || n %% 977, (n %% 100000) / 7.0, n %% 3 = 0, "
        "timestamptz '2026-01-01 00:00:00+00' + n * interval '1 second', "
        "CASE WHEN n %% 10 = 0 THEN repeat(md5(n::text), %s) WHEN n %% 10 = 1 THEN NULL ELSE 'note ' || n END "
        "FROM generate_series(1, %s) n", [NOTE_BYTES // 32, rows])


class Writer(threading.Thread):
    """Changes rows in transactions, some of them rolled back, at a given rate, until it is told to stop."""

    def __init__(self, connect, rows: int, changes_per_s: float, seed: int):
        super().__init__(daemon=True)
        self.connect = connect
        self.random = random.Random(seed)
        self.changes_per_s = changes_per_s
        self.rows = rows
        self.next_id = rows + 1
        self.asked_to_stop = threading.Event()
        self.changes = 0
        self.reconnects = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self.write()
        except BaseException as error:  # noqa: BLE001 - shown by finish()
            self.failure = error

    def write(self) -> None:
        connection = self.connect()
        began, due = time.monotonic(), 0
        while not self.asked_to_stop.is_set():
            size = self.random.choice([1, 1, 2, 5, 20, 60])
            try:
                with connection.transaction(force_rollback=self.random.random() < 0.05):
                    for _ in range(size):
                        self.change(connection)
            except psycopg.OperationalError:
                # The server was killed; whether the last transaction took place, the server knows.
                connection.close()
                connection = self.connect()
                self.reconnects += 1
                continue
            except psycopg.errors.UniqueViolation:
                continue
            self.changes += size
            due += size
            ahead = due / self.changes_per_s - (time.monotonic() - began)
            if ahead > 0:
                self.asked_to_stop.wait(ahead)
        connection.close()

    def some_id(self) -> int:
        return self.random.randrange(1, max(self.next_id, 2))

    def change(self, connection: psycopg.Connection) -> None:
        kind = self.random.random()
        if kind < 0.30:
            note = self.random.choice([None, "new", "n" * NOTE_BYTES, "x" * 100])
            connection.execute(
                "INSERT INTO orders VALUES (%s, %s, %s, %s, now(), %s)",
                [self.next_id, f"customer {self.random.randrange(977)}", self.amount(), self.random.random() < 0.5, note])
            self.next_id += 1
        elif kind < 0.65:
            # The note is left alone: for large ones PostgreSQL does not send it.
            connection.execute("UPDATE orders SET amount = %s, paid = NOT paid WHERE id = %s", [self.amount(), self.some_id()])
        elif kind < 0.75:
            text = self.random.choice([None, "changed", chr(self.random.randrange(97, 123)) * NOTE_BYTES])
            connection.execute("UPDATE orders SET note = %s WHERE id = %s", [text, self.some_id()])
        elif kind < 0.90:
            connection.execute("DELETE FROM orders WHERE id = %s", [self.some_id()])
        else:
            # The key itself changes, with the large note unchanged.
            connection.execute("UPDATE orders SET id = %s WHERE id = %s", [self.next_id, self.some_id()])
            self.next_id += 1

    def amount(self) -> decimal.Decimal | None:
        return None if self.random.random() < 0.05 else decimal.Decimal(self.random.randrange(-10**9, 10**9)) / 100

    def finish(self) -> None:
        self.asked_to_stop.set()
        self.join(120)
        assert not self.is_alive(), "the writer hangs"
        if self.failure:
            raise self.failure


def orders_of(connection: psycopg.Connection) -> pa.Table:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, customer, amount, paid, at, note FROM orders")
        columns = list(zip(*cursor.fetchall(), strict=True))
    arrays = [pa.array(column, field.type) for column, field in zip(columns, ORDERS_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=ORDERS_SCHEMA)


def wait_for_mark(tarn: Tarn, connection: psycopg.Connection, patience_s: float) -> float:
    """Writes a last row and waits for it; topics keep the order, so everything before it is there too."""
    connection.execute(
        "INSERT INTO orders VALUES (%s, 'mark', 0, true, '2026-01-01 00:00:00+00', 'mark')", [MARK])
    began = time.monotonic()
    tarn.wait_for_rows(f"SELECT count(*) FROM shop.orders WHERE id = {MARK}", 1, patience_s)
    return time.monotonic() - began


def run_history(tarn: Tarn, *, rows: int, changes_per_s: float, seconds: float, kill_every_s: float, patience_s: float,
                partitioned_by: str = "") -> None:
    print(f"\nTARN_SEED={SEED}: {rows:,} rows, then {changes_per_s:,.0f} changes/s for {seconds:.0f} s")
    # A server of its own, since it is killed.
    postgres = Postgres()
    try:
        with postgres.connect() as connection:
            fill(connection, rows)
        tarn.start()
        tarn.set_secret("shop_password", PASSWORD)
        tarn.write_resource("shop", cdc_source(postgres, "shop", "[public.orders]"))
        if partitioned_by:
            tarn.write_resource(
                "orders", f"kind: table\nname: shop.orders\nspec:\n  freshness: 2s\n  partitioned_by: {partitioned_by}\n")
        tarn.ok("apply", "--yes")
        began = time.monotonic()
        tarn.wait_for_rows("SELECT count(*) FROM shop.orders", rows, patience_s)
        took = time.monotonic() - began
        print(f"  snapshot: {rows:,} rows in {took:.1f} s, {rows / took:,.0f} rows/s until they are in the table")

        writer = Writer(postgres.connect_patiently, rows, changes_per_s, SEED)
        writer.start()
        kills, killed_database = 0, False
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            time.sleep(kill_every_s)
            tarn.restart()
            kills += 1
            if not killed_database and time.monotonic() - began > seconds / 2:
                postgres.kill()
                postgres.start()
                killed_database = True
        writer.finish()
        assert killed_database and writer.reconnects > 0, "the database was not killed under the writer"
        elapsed = time.monotonic() - began
        print(f"  {writer.changes:,} changes in {elapsed:.1f} s ({writer.changes / elapsed:,.0f}/s), {kills} kill -9 of Tarn, 1 of PostgreSQL")
        with postgres.connect() as connection:
            lag = wait_for_mark(tarn, connection, patience_s)
            expected = orders_of(connection)
        print(f"  the last change was in the table {lag:.2f} s after its commit; {expected.num_rows:,} rows remain")
        for reader, read in readers(tarn).items():
            began = time.monotonic()
            actual = read("shop.orders")
            took = time.monotonic() - began
            assert_same_rows(expected, actual, "id", reader)
            print(f"  {reader}: equal, read in {took:.2f} s")
        assert tarn.source("shop")["dead_letters"] == 0
        # One more start from what is on disk, by a clean stop this time.
        assert tarn.stop() == 0, tarn.last_words()
        tarn.start()
        assert_same_rows(expected, tarn.arrow("SELECT * FROM shop.orders"), "id", "Tarn after a clean stop")
    finally:
        postgres.close()


def test_a_table_equals_its_source_after_kills_of_both_sides(make_tarn):
    rows = int(os.environ.get("TARN_E2E_ROWS", "20000"))
    run_history(make_tarn(), rows=rows, changes_per_s=500, seconds=20, kill_every_s=5, patience_s=300)


def test_a_partitioned_table_equals_its_source_after_kills_of_both_sides(make_tarn):
    """Updates of `paid` move rows to other partitions, changes of the key to other buckets."""
    rows = int(os.environ.get("TARN_E2E_ROWS", "20000"))
    tarn = make_tarn()
    partitioned_by = '[paid, "bucket(4, id)"]'
    run_history(tarn, rows=rows, changes_per_s=500, seconds=20, kill_every_s=5, patience_s=300, partitioned_by=partitioned_by)
    partitions = tarn.rows("SELECT DISTINCT partition FROM shop.orders.data_files ORDER BY 1")
    assert partitions == [[f"paid={paid}/id_bucket_4={bucket}"] for paid in ("false", "true") for bucket in range(4)]
    # Changed settings hold for rows that come from then on.
    tarn.write_resource("orders", "kind: table\nname: shop.orders\nspec:\n  partitioned_by: [month(at)]\n")
    tarn.ok("apply", "--yes")
    wait_until("the partitioning is another one", lambda: [
        column["name"] for column in tarn.api("GET", "/lakehouse/shop/orders")["partition_spec"]] == ["at_month"], 30, tarn.state)
    count = tarn.value("SELECT count(*) FROM shop.orders")
    tarn.query("OPTIMIZE TABLE shop.orders")
    assert {text.partition("=")[0] for (text,) in tarn.rows("SELECT partition FROM shop.orders.data_files")} == {"at_month"}
    assert tarn.value("SELECT count(*) FROM shop.orders") == count


def test_a_table_that_was_made_by_sql_takes_the_rows_of_a_source(tarn: Tarn, postgres: Postgres, database: str):
    tarn.query("CREATE SCHEMA shop")
    tarn.query("CREATE TABLE shop.item (id bigint PRIMARY KEY, kind text, n int) PARTITIONED BY (kind, bucket(2, id))")
    with postgres.connect(database) as connection:
        connection.execute("CREATE TABLE item (id bigint PRIMARY KEY, kind text, n int)")
        connection.execute("INSERT INTO item SELECT n, 'kind ' || n % 3, n FROM generate_series(1, 300) n")
        tarn.set_secret("shop_password", PASSWORD)
        tarn.apply(cdc_source(postgres, database, "[public.item]"))
        tarn.wait_for_rows("SELECT count(*) FROM shop.item", 300)
        connection.execute("UPDATE item SET kind = 'kind 9' WHERE id % 10 = 0")
        connection.execute("DELETE FROM item WHERE id % 7 = 0")
        connection.execute("UPDATE item SET id = id + 1000 WHERE id % 11 = 0")
        connection.execute("INSERT INTO item VALUES (-1, NULL, 0)")
        tarn.wait_for_rows("SELECT count(*) FROM shop.item WHERE id = -1", 1)
        expected = connection.execute("SELECT id, kind, n FROM item ORDER BY id").fetchall()
    for reader, read in readers(tarn).items():
        found = sorted(tuple(row[name] for name in ("id", "kind", "n")) for row in read("shop.item").to_pylist())
        assert found == expected, reader
    tarn.ok("lakehouse", "flush", "shop.item")
    partitions = {text.partition("/")[0] for (text,) in tarn.rows("SELECT partition FROM shop.item.data_files")}
    assert partitions == {"kind=kind 0", "kind=kind 1", "kind=kind 2", "kind=kind 9", "kind=null"}


@pytest.mark.parametrize("wrong, says", [
    ("[week(at)]", "form"), ("[day(nope)]", "no such column"), ("[day(paid)]", "partitioned so")])
def test_a_partitioning_that_cannot_be_says_why(tarn: Tarn, postgres: Postgres, database: str, wrong: str, says: str):
    with postgres.connect(database) as connection:
        connection.execute(ORDERS)
        connection.execute("INSERT INTO orders VALUES (1, 'a', 1, true, now(), NULL)")
    tarn.set_secret("shop_password", PASSWORD)
    table = f"kind: table\nname: shop.orders\nspec:\n  partitioned_by: {wrong}\n"
    if says == "form":
        with pytest.raises(ApiError, match="does not have the form"):
            tarn.apply(table)
        return
    tarn.apply(table)
    tarn.apply(cdc_source(postgres, database, "[public.orders]"))
    wait_until("the table says why it stands still", lambda: any(
        says in fault["message"] for fault in tarn.api("GET", "/overview")["faults"]), 30, tarn.state)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_million_rows_and_two_thousand_changes_a_second(make_tarn):
    rows = int(os.environ.get("TARN_E2E_ROWS", "1000000"))
    run_history(make_tarn(), rows=rows, changes_per_s=2000, seconds=60, kill_every_s=5, patience_s=1200)


EVERY_TYPE = """
CREATE TYPE mood AS ENUM ('glad', 'so so', 'sad');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TABLE everything (
    id bigint PRIMARY KEY, b boolean, i2 smallint, i4 integer, i8 bigint, r real, d double precision,
    n numeric(20, 6), n38 numeric(38, 10), nx numeric, t text, v varchar(40), c char(5), e mood, j json, jb jsonb,
    raw bytea, da date, ti time, ts timestamp, tz timestamptz, u uuid, ia integer[], ta text[], na numeric(10, 2)[],
    ua uuid[], tza timestamptz[], ba boolean[], dom positive, iv interval, ip inet, rng int4range
)"""
# Columns that Tarn keeps as PostgreSQL writes them.
AS_TEXT = {"nx", "j", "jb", "iv", "ip", "rng", "e"}
VALUES = [
    {},
    {
        "b": True, "i2": -32768, "i4": 2**31 - 1, "i8": -(2**63), "r": 1.1, "d": 0.1, "n": "12345678901234.567890",
        "n38": "-9999999999999999999999999999.9999999999", "nx": "1234567890123456789012345678901234567890.000100",
        "t": "naïve 数据 🦆 'quoted'\n\ttab", "v": "", "c": "ab", "e": "so so", "j": '{"a" :  [1, 2.50]}',
        "jb": '{"b": null, "a": "ü"}', "raw": bytes(range(256)), "da": "0001-01-01", "ti": "23:59:59.999999",
        "ts": "1969-12-31 23:59:59.999999", "tz": "2026-03-29 02:30:00.123456+02", "u": str(uuid.UUID(int=1)),
        "ia": [1, None, -3], "ta": ["", None, "a,b", '"', "NULL"], "na": [decimal.Decimal("1.50"), None],
        "ua": [uuid.UUID(int=2**128 - 1), None], "tza": [datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)],
        "ba": [True, False, None], "dom": 7, "iv": "1 year 2 days 03:00:00", "ip": "10.0.0.0/8", "rng": "[1,5)",
    },
    {
        "b": False, "i2": 0, "i4": 0, "i8": 2**63 - 1, "r": float("nan"), "d": float("-inf"), "n": "0", "n38": "0.0000000001",
        "nx": "0.00", "t": "", "v": "x" * 40, "c": "", "e": "sad", "j": "null", "jb": "[]", "raw": b"",
        "da": "9999-12-31", "ti": "00:00:00", "ts": "9999-12-31 23:59:59.999999", "tz": "1900-01-01 00:00:00+00",
        "u": str(uuid.UUID(int=0)), "ia": [], "ta": [], "na": [], "ua": [], "tza": [], "ba": [], "dom": 1,
        "iv": "-1 days", "ip": "::1", "rng": "empty",
    },
]


def insert(connection: psycopg.Connection, row_id: int, values: dict) -> None:
    row = {"id": row_id, **values}
    columns = ", ".join(row)
    # The server casts from text; arrays and bytes are sent as what they are.
    marks = ", ".join(["%s"] * len(row))
    connection.execute(f"INSERT INTO everything ({columns}) VALUES ({marks})", list(row.values()))


def everything_of(connection: psycopg.Connection) -> list[dict]:
    names = [name for (name,) in connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'everything' ORDER BY ordinal_position")]
    # `format` writes a value as the server sends it; a cast to text may write it otherwise (`inet`).
    text = "CASE WHEN {0} IS NOT NULL THEN format('%s', {0}) END AS {0}"
    picked = ", ".join(text.format(name) if name in AS_TEXT else name for name in names)
    rows = [dict(zip(names, row, strict=True)) for row in connection.execute(f"SELECT {picked} FROM everything")]
    for row in rows:
        row["r"] = as_float32(row["r"])
        if row["tz"] is not None:
            row["tz"] = row["tz"].astimezone(datetime.timezone.utc)
        if row["tza"]:
            row["tza"] = [value.astimezone(datetime.timezone.utc) for value in row["tza"]]
    return rows


def wait_for_everything(tarn: Tarn, connection: psycopg.Connection, mark: int) -> list[dict]:
    insert(connection, mark, {})
    tarn.wait_for_rows(f"SELECT count(*) FROM shop.everything WHERE id = {mark}", 1)
    return everything_of(connection)


def test_every_type_keeps_its_value_in_snapshot_and_stream(postgres, database, make_tarn):
    tarn = make_tarn().start()
    tarn.set_secret("shop_password", PASSWORD)
    with postgres.connect(database) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        # The form that Tarn writes, whatever the server's settings.
        connection.execute("SET IntervalStyle = 'iso_8601'")
        connection.execute(EVERY_TYPE)
        for number, values in enumerate(VALUES, 1):
            insert(connection, number, values)
        tarn.write_resource("shop", cdc_source(postgres, database, "[public.*]"))
        tarn.ok("apply", "--yes")
        tarn.wait_for_rows("SELECT count(*) FROM shop.everything", len(VALUES))
        # The same values once more, by the stream; then each row takes the values of another.
        for number, values in enumerate(VALUES, 11):
            insert(connection, number, values)
        expected = wait_for_everything(tarn, connection, 100)
        for reader, read in readers(tarn).items():
            assert_same_values(expected, read("shop.everything"), "id", reader)
        names = [name for name in VALUES[1]]
        for row, other in ((1, 2), (11, 12), (12, 13)):
            pairs = ", ".join(f"{name} = other.{name}" for name in names)
            connection.execute(f"UPDATE everything mine SET {pairs} FROM everything other WHERE mine.id = %s AND other.id = %s", [row, other])
        expected = wait_for_everything(tarn, connection, 101)
        for reader, read in readers(tarn).items():
            assert_same_values(expected, read("shop.everything"), "id", reader)
    assert tarn.source("shop")["dead_letters"] == 0, tarn.api("GET", "/ingest/shop/dead-letters")


def test_schema_changes_of_the_source_lose_no_row(postgres, database, make_tarn):
    tarn = make_tarn().start()
    tarn.set_secret("shop_password", PASSWORD)
    with postgres.connect(database) as connection:
        connection.execute("CREATE TABLE item (id int PRIMARY KEY, name text, price numeric(8, 2), old text)")
        connection.execute("INSERT INTO item SELECT n, 'item ' || n, n, 'old' FROM generate_series(1, 50) n")
        tarn.write_resource("shop", cdc_source(postgres, database, "[public.*]"))
        tarn.ok("apply", "--yes")
        tarn.wait_for_rows("SELECT count(*) FROM shop.item", 50)
        connection.execute("ALTER TABLE item ADD COLUMN colour text")
        connection.execute("INSERT INTO item VALUES (51, 'with colour', 1, 'old', 'red')")
        connection.execute("ALTER TABLE item RENAME COLUMN name TO title")
        connection.execute("UPDATE item SET title = 'renamed ' || id WHERE id <= 10")
        connection.execute("ALTER TABLE item DROP COLUMN old")
        connection.execute("UPDATE item SET colour = 'blue' WHERE id BETWEEN 20 AND 29")
        connection.execute("ALTER TABLE item ALTER COLUMN price TYPE numeric(12, 2)")
        connection.execute("INSERT INTO item VALUES (52, 'dear', 1234567890.12, 'green')")
        tarn.wait_for_rows("SELECT count(*) FROM shop.item WHERE id = 52", 1)
        with connection.cursor() as cursor:
            expected = cursor.execute("SELECT id, title, price, colour FROM item ORDER BY id").fetchall()
    for reader, read in readers(tarn).items():
        rows = read("shop.item").select(["id", "title", "price", "colour"]).sort_by("id").to_pylist()
        assert [tuple(row.values()) for row in rows] == expected, reader
    assert tarn.value("SELECT count(*) FROM shop.item WHERE old IS NOT NULL") == 41, "rows that nobody touched keep the dropped column"


def test_tables_without_a_key_truncation_and_tables_of_two_schemas(postgres, database, make_tarn):
    tarn = make_tarn().start()
    tarn.set_secret("shop_password", PASSWORD)
    with postgres.connect(database) as connection:
        connection.execute("CREATE TABLE log (at timestamptz, line text)")
        connection.execute("CREATE SCHEMA other")
        connection.execute("CREATE TABLE item (id int PRIMARY KEY, name text)")
        connection.execute("CREATE TABLE other.item (id int PRIMARY KEY, name text)")
        connection.execute("INSERT INTO log SELECT now(), 'line ' || n FROM generate_series(1, 10) n")
        connection.execute("INSERT INTO item VALUES (1, 'here')")
        connection.execute("INSERT INTO other.item VALUES (1, 'there')")
        tarn.write_resource("shop", cdc_source(postgres, database, "[public.*, other.*]"))
        tarn.ok("apply", "--yes")
        tarn.wait_for_rows("SELECT count(*) FROM shop.log", 10)
        connection.execute("INSERT INTO log VALUES (now(), 'line 11')")
        # A table without a key must not hinder the application.
        connection.execute("UPDATE log SET line = line || '!'")
        tarn.wait_for_rows("SELECT count(*) FROM shop.log WHERE line = 'line 11'", 1)
        assert tarn.value("SELECT count(*) FROM shop.log") == 11
        # Of two tables of one name, that of `public` keeps it.
        tarn.wait_for_rows("SELECT count(*) FROM shop.item WHERE name = 'here'", 1)
        tarn.wait_for_rows("SELECT count(*) FROM shop.other_item WHERE name = 'there'", 1)
        connection.execute("TRUNCATE item")
        connection.execute("INSERT INTO item VALUES (2, 'after')")
        tarn.wait_for_rows("SELECT count(*) FROM shop.item WHERE id = 2", 1)
        assert tarn.rows("SELECT id, name FROM shop.item") == [[2, "after"]]
        assert tarn.rows("SELECT id, name FROM shop.other_item") == [[1, "there"]]


def test_pause_resume_and_removal_with_the_slot(postgres, database, make_tarn):
    tarn = make_tarn().start()
    tarn.set_secret("shop_password", PASSWORD)
    with postgres.connect(database) as connection:
        connection.execute("CREATE TABLE item (id int PRIMARY KEY)")
        connection.execute("INSERT INTO item SELECT generate_series(1, 100)")
        path = tarn.write_resource("shop", cdc_source(postgres, database, "[public.*]"))
        tarn.ok("apply", "--yes")
        tarn.wait_for_rows("SELECT count(*) FROM shop.item", 100)
        assert postgres.slots(database) == [f"tarn_{database}"]
        tarn.ok("ingest", "pause", "shop")
        wait_until("it stands still", lambda: tarn.source("shop")["state"] == "paused")
        connection.execute("INSERT INTO item SELECT generate_series(101, 150)")
        tarn.restart()
        tarn.ok("ingest", "resume", "shop")
        tarn.wait_for_rows("SELECT count(*) FROM shop.item", 150)
        path.unlink()
        answer = tarn.apply("", delete=[{"kind": "source", "name": "shop"}])
        assert [change["action"] for change in answer["changes"]] == ["delete"], json.dumps(answer)
        wait_until("the slot is gone", lambda: postgres.slots(database) == [], say=tarn.state)
        publications = "SELECT count(*) FROM pg_publication"
        wait_until("the publications are gone", lambda: connection.execute(publications).fetchone() == (0,), say=tarn.state)
    # What was read stays.
    assert tarn.value("SELECT count(*) FROM shop.item") == 150
