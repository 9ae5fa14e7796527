"""Statements that change tables: the same random history in PostgreSQL and here, and what bad ones say.

The seed is printed; TARN_SEED repeats a history.
"""

import decimal
import os
import random
import threading

import psycopg
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from pyiceberg.exceptions import CommitFailedException
from rig.postgres import Postgres
from rig.readers import open_duckdb, open_pyiceberg, readers
from rig.tarn import Tarn

SEED = int(os.environ.get("TARN_SEED", random.SystemRandom().randrange(2**31)))
STEPS = int(os.environ.get("TARN_E2E_STEPS", "120"))
COLUMNS = "id, name, qty, price, at, paid"
# Typed alike in both; `at` is written with its offset.
KEYED = "(id bigint PRIMARY KEY, name text NOT NULL, qty int, price numeric(10, 2), at timestamptz, paid boolean)"
PLAIN = "(id bigint, name text, qty int, price numeric(10, 2), at timestamptz, paid boolean)"


def connect(tarn: Tarn) -> psycopg.Connection:
    return psycopg.connect(
        host="127.0.0.1", port=tarn.pgwire_port, user="tarn", dbname="tarn", connect_timeout=20, autocommit=True)


class History:
    """Random statements over `item` (with a key) and `log` (without), which both databases understand."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.added = 0

    def id(self) -> int:
        return self.random.randrange(60)

    def text(self) -> str:
        return "'" + self.random.choice(["a", "b", "it''s", "数据", "", "a longer name than most", "z"]) + "'"

    def number(self) -> str:
        return self.random.choice(["NULL", str(self.random.randrange(-100, 100))])

    def price(self) -> str:
        return self.random.choice(["NULL", f"{self.random.randrange(-9999, 9999) / 100:.2f}"])

    def at(self) -> str:
        return self.random.choice(["NULL", f"'2026-0{self.random.randrange(1, 9)}-11 10:20:30.12345+08'"])

    def paid(self) -> str:
        return self.random.choice(["NULL", "true", "false"])

    def row(self, key: int) -> str:
        return f"({key}, {self.text()}, {self.number()}, {self.price()}, {self.at()}, {self.paid()})"

    def distinct_rows(self) -> str:
        keys = self.random.sample(range(80), self.random.randrange(1, 6))
        return ", ".join(self.row(key) for key in keys)

    def condition(self, alias: str = "") -> str:
        dot = f"{alias}." if alias else ""
        return self.random.choice([
            f"{dot}id = {self.id()}",
            f"{dot}id BETWEEN {self.id()} AND {self.id()}",
            f"{dot}name = {self.text()}",
            f"{dot}qty > {self.random.randrange(-50, 50)} AND {dot}paid",
            f"{dot}price IS NULL",
            f"{dot}id IN ({self.id()}, {self.id()}, {self.id()})",
            f"({dot}name LIKE 'a%' OR {dot}qty < 0)",
        ])

    def statement(self) -> str:
        table = self.random.choice(["item", "item", "log"])
        kind = self.random.randrange(14)
        if kind < 3:
            return f"INSERT INTO {table} VALUES {self.distinct_rows()}"
        if kind == 3:
            return f"INSERT INTO log (qty, id) SELECT qty + 1, id FROM item WHERE {self.condition()}"
        if kind == 4:
            return f"INSERT INTO item ({COLUMNS}) VALUES {self.distinct_rows()} ON CONFLICT DO NOTHING"
        if kind == 5:
            return (f"INSERT INTO item ({COLUMNS}) VALUES {self.distinct_rows()} ON CONFLICT (id) DO UPDATE "
                    "SET qty = coalesce(item.qty, 0) + coalesce(excluded.qty, 1), name = excluded.name || item.name "
                    f"WHERE {self.condition('item')}")
        if kind == 6:
            return f"UPDATE {table} SET qty = qty + 1, price = price * 2 WHERE {self.condition()}"
        if kind == 7:
            return f"UPDATE {table} SET (name, paid) = ({self.text()}, NOT paid), at = NULL WHERE {self.condition()}"
        if kind == 8:
            return ("UPDATE item SET qty = s.total FROM (SELECT id, sum(qty) AS total FROM log GROUP BY id) s "
                    f"WHERE s.id = item.id AND {self.condition('item')}")
        if kind == 9:
            # The key itself changes.
            return f"UPDATE item SET id = id + 1000 WHERE id = {self.id()}"
        if kind == 10:
            return f"DELETE FROM {table} WHERE {self.condition()}"
        if kind == 11:
            return f"DELETE FROM log USING item WHERE item.id = log.id AND {self.condition('item')}"
        if kind == 12:
            return f"DELETE FROM {table} WHERE id IN (SELECT id FROM item WHERE {self.condition()})"
        return (f"MERGE INTO item t USING (SELECT DISTINCT ON (id) {COLUMNS} FROM log "
                f"WHERE id IS NOT NULL AND name IS NOT NULL ORDER BY {COLUMNS}) s ON t.id = s.id "
                f"WHEN MATCHED AND {self.condition('s')} THEN DELETE "
                "WHEN MATCHED AND t.qty IS NOT NULL THEN UPDATE SET price = s.price, name = t.name || '+' "
                f"WHEN NOT MATCHED AND {self.condition('s')} THEN INSERT (id, name, qty) VALUES (s.id, s.name, s.qty)")

    def repartition(self) -> str:
        """A change of the partitioning, which PostgreSQL has no word for."""
        table = self.random.choice(["item", "log"])
        fields = ["bucket(4, id)", "truncate(1, name)", "day(at)", "month(at)", "bucket(3, name)", "paid", "bucket(2, price)",
                  "truncate(10, id)", "hour(at)", "qty"]
        chosen = self.random.sample(fields, self.random.randrange(3))
        if sum(field.endswith("(at)") for field in chosen) > 1:
            # Times may be taken one way only.
            chosen = chosen[:1]
        return f"ALTER TABLE {table} SET PARTITIONED BY ({', '.join(chosen)})"

    def alteration(self) -> list[str]:
        """What changes columns, at some steps of the history."""
        self.added += 1
        name = f"more_{self.added}"
        return [
            f"ALTER TABLE log ADD COLUMN {name} int",
            f"UPDATE log SET {name} = qty WHERE {self.condition()}",
            f"ALTER TABLE log RENAME COLUMN {name} TO renamed_{self.added}",
            f"ALTER TABLE log DROP COLUMN renamed_{self.added}" if self.added % 2 else f"DELETE FROM log WHERE {self.condition()}",
        ]


def rows_of(connection: psycopg.Connection, table: str) -> list:
    rows = connection.execute(f"SELECT * FROM {table}").fetchall()
    return sorted(rows, key=repr)


def both(statement: str, ours: psycopg.Connection, theirs: psycopg.Connection) -> None:
    """Runs a statement in both. Each must do the same: change as many rows, or refuse."""
    outcomes = []
    for connection in (theirs, ours):
        try:
            outcomes.append(connection.execute(statement).rowcount)
        except psycopg.Error as error:
            outcomes.append(error.sqlstate or str(error))
    assert outcomes[0] == outcomes[1], f"{statement}: PostgreSQL {outcomes[0]}, Tarn {outcomes[1]}"


@pytest.mark.parametrize("evolves", [False, True], ids=["", "evolving"])
@pytest.mark.parametrize("partitioning", ["", "PARTITIONED BY (bucket(4, id), truncate(1, name))"])
def test_a_random_history_of_statements_equals_postgresql(
        tarn: Tarn, postgres: Postgres, database: str, partitioning: str, evolves: bool):
    print(f"\nTARN_SEED={SEED}")
    history = History(SEED)
    with connect(tarn) as ours, postgres.connect(database) as theirs:
        for connection in (ours, theirs):
            connection.execute("CREATE SCHEMA shop")
            connection.execute("SET search_path TO shop")
            connection.execute("SET TimeZone TO 'UTC'")
        ours.execute(f"CREATE TABLE item {KEYED} {partitioning}")
        theirs.execute(f"CREATE TABLE item {KEYED}")
        ours.execute(f"CREATE TABLE log {PLAIN} {partitioning}")
        theirs.execute(f"CREATE TABLE log {PLAIN}")
        # What PostgreSQL had at each snapshot of ours.
        states: dict[tuple[str, int], list] = {}
        for step in range(STEPS):
            if evolves and step % 5 == 3:
                ours.execute(history.repartition())
            if evolves and history.random.random() < 0.05:
                table = history.random.choice(["item", "log"])
                ours.execute(f"OPTIMIZE TABLE {table}")
                # Its snapshot has the columns of now; the next statement may change them.
                remember(states, ours, table, rows_of(theirs, table))
            statements = history.alteration() if step % 40 == 20 else [history.statement()]
            for statement in statements:
                both(statement, ours, theirs)
                for table in ("item", "log"):
                    rows = rows_of(theirs, table)
                    assert rows_of(ours, table) == rows, f"step {step}, {table} after {statement}"
                    remember(states, ours, table, rows)
        for table in ("item", "log"):
            columns = [name for (name,) in theirs.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position", [table])]
            expected = sorted(theirs.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall(), key=repr)
            for reader, read in readers(tarn).items():
                found = read(f"shop.{table}").select(columns).to_pylist()
                found = sorted((tuple(plain(row[name]) for name in columns) for row in found), key=repr)
                wanted = sorted((tuple(plain(value) for value in row) for row in expected), key=repr)
                assert found == wanted, f"{reader} reads {table} otherwise"
            if evolves:
                specs = ours.execute(f"SELECT count(DISTINCT spec_id) FROM shop.{table}.files").fetchone()
                print(f"files of {table} have {specs[0]} specifications")
        assert_states(tarn, ours, states)


def remember(states: dict[tuple[str, int], list], ours: psycopg.Connection, table: str, rows: list) -> None:
    head = ours.execute(f"SELECT snapshot_id FROM shop.{table}.refs").fetchone()
    if head:
        states.setdefault((table, head[0]), rows)


def assert_states(tarn: Tarn, ours: psycopg.Connection, states: dict[tuple[str, int], list]) -> None:
    """Three observers see at every snapshot what PostgreSQL had then. `log` changes its columns on the way, and DuckDB
    gives a past snapshot the columns of today, so it looks at `item` alone."""
    catalog = open_pyiceberg(tarn)
    tables = {table: catalog.load_table(f"shop.{table}") for table, _ in states}
    with open_duckdb(tarn) as duckdb:
        for (table, snapshot), rows in states.items():
            wanted = sorted((tuple(plain(value) for value in row) for row in rows), key=repr)
            seen = {
                "our SQL": ours.execute(f"SELECT * FROM {table} FOR VERSION AS OF {snapshot}").fetchall(),
                "PyIceberg": values(tables[table].scan(snapshot_id=snapshot).to_arrow()),
            }
            if table == "item":
                seen["DuckDB"] = values(duckdb.execute(
                    f"SELECT * FROM lake.shop.{table} AT (VERSION => {snapshot})").to_arrow_table())
            for reader, found in seen.items():
                found = sorted((tuple(plain(value) for value in row) for row in found), key=repr)
                assert found == wanted, f"{reader} sees snapshot {snapshot} of {table} otherwise (seed {SEED})"


def values(table: pa.Table) -> list[tuple]:
    return list(zip(*(column.to_pylist() for column in table.columns)))


def test_partitioning_changes_without_rewriting_files(tarn: Tarn):
    with connect(tarn) as connection:
        run = connection.execute
        run("CREATE SCHEMA shop")
        run("SET search_path TO shop")
        run("CREATE TABLE visit (id bigint PRIMARY KEY, at timestamptz NOT NULL, town text)")

        def insert(first: int) -> None:
            rows = ", ".join(f"({n}, '2026-01-{n % 9 + 1:02} 10:00:00+00', 'town {n % 3}')" for n in range(first, first + 30))
            run(f"INSERT INTO visit VALUES {rows}")

        def specs() -> list:
            return run("SELECT spec_id, count(*), sum(record_count) FROM shop.visit.data_files GROUP BY 1 ORDER BY 1").fetchall()

        insert(0)
        before = {path for (path,) in run("SELECT file_path FROM shop.visit.files").fetchall()}
        assert run("ALTER TABLE visit ADD PARTITION FIELD day(at)").statusmessage == "ALTER TABLE"
        insert(30)
        run("ALTER TABLE visit REPLACE PARTITION FIELD at_day WITH month(at) AS at_month, ADD PARTITION FIELD bucket(4, id)")
        insert(60)
        assert specs() == [(0, 1, 30), (1, 9, 30), (2, 4, 30)]
        assert before < {path for (path,) in run("SELECT file_path FROM shop.visit.files").fetchall()}, "no file was rewritten"
        # Each row is deleted where it lies, by a delete file of the same partition.
        assert run("DELETE FROM visit WHERE id % 10 = 3").rowcount == 9
        assert run("UPDATE visit SET at = at + interval '1 day' WHERE town = 'town 1' AND id < 40").rowcount == 12
        expected = run("SELECT id, at, town FROM visit ORDER BY id").fetchall()
        assert len(expected) == 81
        for reader, read in readers(tarn).items():
            found = sorted((row["id"], row["at"].timestamp(), row["town"]) for row in read("shop.visit").to_pylist())
            assert found == [(key, at.timestamp(), town) for key, at, town in expected], reader
        # Files are left out by the partitioning that each was written with.
        for condition, most in {"at < '2026-01-02'": 6, "id = 61": 3}.items():
            text = "\n".join(line for (line, *_) in run(f"EXPLAIN SELECT * FROM visit WHERE {condition}").fetchall())
            assert text.count(".parquet") <= most or "parquet" not in text, text
        run("ALTER TABLE visit DROP PARTITION FIELD bucket(4, id)")
        run("OPTIMIZE TABLE visit")
        spec, files, rows = specs()[0]
        assert (len(specs()), rows) == (1, 81), "all files are of the partitioning of today"
        assert run("SELECT id, at, town FROM visit ORDER BY id").fetchall() == expected
        partition = [field.name for field in open_pyiceberg(tarn).load_table("shop.visit").spec().fields]
        assert partition == ["at_month"]
        wrong = {
            "ALTER TABLE visit ADD PARTITION FIELD day(when_)": ("42000", "no column `when_` to partition by"),
            "ALTER TABLE visit ADD PARTITION FIELD month(at)": ("42000", "partitioned by `month(at)` already"),
            "ALTER TABLE visit ADD PARTITION FIELD week(at)": ("42601", "not a way to partition"),
            "ALTER TABLE visit DROP PARTITION FIELD town": ("42000", "it has `at_month`"),
            "ALTER TABLE visit ADD PARTITION FIELD truncate(2, at)": ("42000", ""),
            "ALTER TABLE visit DROP COLUMN at": ("42000", "DROP PARTITION FIELD at_month"),
            "ALTER TABLE visit DROP COLUMN town, ADD PARTITION FIELD town": ("42601", "a statement of its own"),
            "ALTER TABLE nope ADD PARTITION FIELD town": ("42P01", "not found"),
        }
        for statement, (code, message) in wrong.items():
            with pytest.raises(psycopg.Error) as raised:
                run(statement)
            assert (raised.value.sqlstate, message in raised.value.diag.message_primary) == (code, True), (
                f"{statement}: {raised.value.sqlstate} {raised.value.diag.message_primary}")


def plain(value: object) -> object:
    if hasattr(value, "timestamp"):
        return round(value.timestamp() * 1_000_000)
    return value.quantize(decimal.Decimal("0.01")) if isinstance(value, decimal.Decimal) else value


def test_statements_that_fail_say_why_and_change_nothing(tarn: Tarn):
    with connect(tarn) as connection:
        run = connection.execute
        run("CREATE SCHEMA shop")
        run("CREATE TABLE shop.item (id bigint PRIMARY KEY, name text NOT NULL, qty int)")
        run("INSERT INTO shop.item VALUES (1, 'a', 1), (2, 'b', 2)")
        wrong = {
            "INSERT INTO shop.item VALUES (1, 'again', 3)": ("23505", "two rows of one key (id)", "ON CONFLICT"),
            "INSERT INTO shop.item VALUES (3, 'x', 1), (3, 'y', 1)": ("23505", "two rows of one key", "ON CONFLICT"),
            "INSERT INTO shop.item (id) VALUES (3)": ("23502", "`name` is never null", "coalesce"),
            "INSERT INTO shop.item VALUES (3, 'c', 1, 2)": ("42000", "4 values for 3 columns (id, name, qty)", "one value"),
            "INSERT INTO shop.item (id, name, qty) VALUES (3, 'c')": ("42000", "2 values for 3 columns", "fewer columns"),
            "INSERT INTO shop.item SELECT 3, 'c', 1, 2": ("42000", "4 columns for 3 columns", "name the columns"),
            "INSERT INTO shop.item (id, nam) VALUES (3, 'c')": ("42703", "column `nam` is not one of", "did you mean `name`?"),
            "INSERT INTO shop.item VALUES (3, 'c', 1.5)": ("22000", "`qty` is no whole number", "round"),
            "INSERT INTO shop.item SELECT 3, 'c', 99999999999": ("22000", "does not fit column `qty`", "TRY_CAST"),
            "INSERT INTO shop.itm VALUES (3, 'c', 1)": ("42P01", "`shop.itm` not found", "did you mean `shop.item`?"),
            "UPDATE shop.item SET qty = 1, qty = 2": ("42701", "`qty` is set twice", "once"),
            "UPDATE shop.item SET colour = 1": ("42703", "column `colour` is not one of", "DESCRIBE"),
            "UPDATE shop.item SET id = 7": ("23505", "two rows of one key", "MERGE"),
            "UPDATE shop.item SET qty = s.n FROM (VALUES (1, 5), (1, 6)) s (id, n) WHERE s.id = item.id":
                ("22000", "changed twice", "GROUP BY"),
            "MERGE INTO shop.item t USING (VALUES (1), (1)) s (id) ON s.id = t.id WHEN MATCHED THEN UPDATE SET qty = 9":
                ("22000", "changed twice", "GROUP BY"),
            "DELETE FROM shop.item WHERE qty / 0 = 1": ("22012", "by zero", ""),
            "DELETE FROM shop.item LIMIT 1": ("42000", "DELETE takes neither", "WHERE"),
            "CREATE TABLE shop.item (id int)": ("42P07", "exists already", ""),
            "CREATE TABLE nowhere.t (id int)": ("3F000", "namespace `nowhere` not found", ""),
            "CREATE TABLE shop.t (id money)": ("42704", "`money`", "possible are"),
            "CREATE TABLE shop.t (id int) PARTITIONED BY (week(id))": ("42601", "not a way to partition", "bucket"),
            "CREATE TABLE shop.t (id int) PARTITIONED BY (day(at))": ("42703", "no column `at`", "columns"),
            "CREATE TABLE shop.t (id int) PARTITIONED BY (day(id))": ("42000", "", ""),
            "CREATE TABLE shop.t (id int, id text)": ("42701", "`id` is there twice", "its own name"),
            "CREATE TABLE shop.t AS SELECT 1 AS a, 1 / (qty - qty) AS b FROM shop.item": ("22012", "by zero", ""),
            "ALTER TABLE shop.item DROP COLUMN id": ("42000", "part of its key", ""),
            "ALTER TABLE shop.item ADD COLUMN more int NOT NULL": ("42000", "without NOT NULL", ""),
            "ALTER TABLE shop.item ALTER COLUMN qty TYPE text": ("42000", "cannot become", ""),
            "ALTER TABLE shop.item RENAME COLUMN qty TO name": ("42000", "a column `name` already", ""),
            "DROP SCHEMA shop": ("2BP01", "not empty", "drop its tables"),
            "DROP TABLE shop.nope": ("42P01", "`shop.nope` not found", ""),
            "BEGIN; DROP TABLE shop.item": ("25001", "cannot run in a transaction", "autocommit"),
        }
        otherwise = []
        for statement, (code, message, hint) in wrong.items():
            with pytest.raises(psycopg.Error) as raised:
                run(statement)
            said = raised.value.diag
            if (raised.value.sqlstate, message in said.message_primary, hint in (said.message_hint or "")) != (code, True, True):
                otherwise.append((statement, raised.value.sqlstate, said.message_primary, said.message_hint))
            if statement.startswith("BEGIN"):
                run("ROLLBACK")
        assert not otherwise, "\n".join(map(str, otherwise))
        assert run("SELECT * FROM shop.item ORDER BY id").fetchall() == [(1, "a", 1), (2, "b", 2)]
        assert run("SELECT table_name FROM information_schema.tables WHERE table_schema = 'shop'").fetchall() == [("item",)]
        # What a statement wrote before it failed is taken away again.
        files = [path for path in tarn.data.rglob("*.parquet") if "shop" in str(path)]
        assert len(files) == 1, files


def test_nested_columns_come_go_and_change(tarn: Tarn):
    with connect(tarn) as connection:
        run = connection.execute
        run("CREATE SCHEMA shop")
        run("SET search_path TO shop")
        run("CREATE TABLE person (id bigint PRIMARY KEY, address STRUCT<street TEXT, zip INT>, tags TEXT[], "
            "scores MAP<TEXT, INT>, homes ARRAY<STRUCT<town TEXT>>, size ROW(w REAL, h REAL), note text)")
        run("INSERT INTO person VALUES (1, named_struct('street', 'Main', 'zip', 10), ARRAY['a', 'b'], MAP {'x': 1}, "
            "ARRAY[named_struct('town', 'Ulm')], named_struct('w', 1.5, 'h', 2.5), 'n'), (2, NULL, NULL, NULL, NULL, NULL, NULL)")
        for change in (
            "ADD COLUMN address.town TEXT AFTER street",
            "RENAME COLUMN address.zip TO code",
            "ALTER COLUMN address.code TYPE BIGINT",
            "ADD COLUMN homes.element.rooms INT",
            "ALTER COLUMN size.w TYPE DOUBLE",
            "DROP COLUMN size.h",
            "ALTER COLUMN note FIRST",
            "ALTER COLUMN tags AFTER id",
            "ADD COLUMN more STRUCT<deep STRUCT<er INT>>",
            "ADD COLUMN more.deep.est MAP<TEXT, ARRAY<INT>>",
        ):
            run(f"ALTER TABLE person {change}")
        run("INSERT INTO person (id, address, homes) VALUES (3, named_struct('street', 'Side', 'town', 'Köln', 'code', 5000000000), "
            "ARRAY[named_struct('town', 'Bonn', 'rooms', 3), NULL])")
        run("UPDATE person SET note = 'changed' WHERE id = 1")
        expected = [
            {"note": "changed", "id": 1, "tags": ["a", "b"], "address": {"street": "Main", "town": None, "code": 10},
             "scores": [("x", 1)], "homes": [{"town": "Ulm", "rooms": None}], "size": {"w": 1.5}, "more": None},
            {"note": None, "id": 2, "tags": None, "address": None, "scores": None, "homes": None, "size": None, "more": None},
            {"note": None, "id": 3, "tags": None, "address": {"street": "Side", "town": "Köln", "code": 5_000_000_000}, "scores": None,
             "homes": [{"town": "Bonn", "rooms": 3}, None], "size": None, "more": None},
        ]
        for tidied in (False, True):
            if tidied:
                run("OPTIMIZE TABLE person")
                assert run("SELECT count(*) FROM shop.person.data_files").fetchone() == (1,)
            for reader, read in readers(tarn).items():
                found = read("shop.person")
                assert found.column_names == list(expected[0]), reader
                found = sorted(found.to_pylist(), key=lambda row: row["id"])
                for row in found:
                    row["scores"] = list(row["scores"].items()) if isinstance(row["scores"], dict) else row["scores"]
                if reader == "PyIceberg":
                    # It makes lists of structs anew from their offsets, which know no null (apache/arrow#38809).
                    found[1]["homes"] = found[1]["homes"] or None
                assert found == expected, (reader, tidied)
        assert run("SELECT address['code'] + 1 FROM person WHERE id = 3").fetchone() == (5_000_000_001,)
        # NOT NULL only where no row has a null.
        run("CREATE TABLE item (id bigint PRIMARY KEY, name text)")
        run("INSERT INTO item VALUES (1, 'a'), (2, NULL)")
        wrong = {
            "ALTER TABLE item ALTER COLUMN name SET NOT NULL": "some rows have no value for `name`",
            "ALTER TABLE item ALTER COLUMN nope SET NOT NULL": "no column `nope`",
            "ALTER TABLE item ALTER COLUMN name AFTER name": "cannot stand behind itself",
            "ALTER TABLE item ALTER COLUMN name AFTER nam": "no column `nam`",
            "ALTER TABLE person ADD COLUMN address.town TEXT": "a column `address.town` already",
            "ALTER TABLE person ADD COLUMN adress.x TEXT": "no column `adress.x`",
            "ALTER TABLE person DROP COLUMN size.w": "the only column there",
            "ALTER TABLE person RENAME COLUMN address.town TO street": "a column `street` already",
            "ALTER TABLE person ALTER COLUMN address.code TYPE INT": "cannot become",
            "CREATE TABLE x (a STRUCT<b money>)": "which tables do not have",
        }
        for statement, message in wrong.items():
            with pytest.raises(psycopg.Error) as raised:
                run(statement)
            assert message in raised.value.diag.message_primary, f"{statement}: {raised.value}"
        run("DELETE FROM item WHERE name IS NULL")
        run("ALTER TABLE item ALTER COLUMN name SET NOT NULL")
        with pytest.raises(psycopg.Error, match="`name` is never null"):
            run("INSERT INTO item VALUES (3, NULL)")
        run("ALTER TABLE item ALTER COLUMN name DROP NOT NULL")
        run("INSERT INTO item VALUES (3, NULL)")
        assert run("SELECT * FROM item ORDER BY id").fetchall() == [(1, "a"), (3, None)]


def test_statements_at_the_same_time_lose_nothing(tarn: Tarn):
    """Several connections, and another engine that commits between their statements."""
    with connect(tarn) as connection:
        connection.execute("CREATE SCHEMA shop")
        connection.execute("CREATE TABLE shop.log (who int, n bigint)")
        connection.execute("CREATE TABLE shop.counter (id bigint PRIMARY KEY, n bigint)")
        connection.execute("INSERT INTO shop.counter VALUES (1, 0), (2, 0)")
    turns, failures = 12, []

    def work(who: int) -> None:
        try:
            with connect(tarn) as own:
                for n in range(turns):
                    own.execute(f"INSERT INTO shop.log VALUES ({who}, {n})")
                    own.execute(f"UPDATE shop.counter SET n = n + 1 WHERE id = {1 + n % 2}")
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=[who]) for who in range(3)]
    for thread in threads:
        thread.start()
    catalog, foreign = open_pyiceberg(tarn), 0
    while any(thread.is_alive() for thread in threads):
        table = catalog.load_table("shop.log")
        rows = pa.table({"who": pa.array([9], pa.int32()), "n": pa.array([foreign], pa.int64())})
        try:
            table.append(rows)
            foreign += 1
        except CommitFailedException:
            # It has no way to try again by itself; nothing of it is there then.
            pass
    for thread in threads:
        thread.join()
    assert not failures, failures
    expected = [[who, turns] for who in range(3)] + ([[9, foreign]] if foreign else [])
    assert tarn.rows("SELECT who, count(DISTINCT n) FROM shop.log GROUP BY 1 ORDER BY 1") == expected
    assert tarn.rows("SELECT who, count(*) FROM shop.log GROUP BY 1 ORDER BY 1") == expected
    assert tarn.rows("SELECT * FROM shop.counter ORDER BY id") == [[1, 3 * turns // 2], [2, 3 * turns // 2]]


def test_statements_are_open_to_every_protocol_and_to_editors_only(make_tarn):
    tarn = make_tarn().start()
    assert tarn.query("CREATE SCHEMA shop")["rows"] == []
    tarn.query("CREATE TABLE shop.item AS SELECT * FROM (VALUES (1, 'a'), (2, 'b')) t (id, name)")
    changed = tarn.query("INSERT INTO shop.item VALUES (3, 'c')")
    assert (changed["columns"][0]["name"], changed["rows"]) == ("rows", [[1]])
    with connect(tarn) as connection:
        # Parameters take the types of the columns.
        run = connection.execute
        assert run("INSERT INTO shop.item VALUES (%s, %s), (%s, %s)", [4, "d", 5, None]).rowcount == 2
        assert run("UPDATE shop.item SET name = %s WHERE id = %s", ["changed", 4]).rowcount == 1
        assert run("DELETE FROM shop.item WHERE id > %s", [4]).statusmessage == "DELETE 1"
        cursor = connection.cursor()
        cursor.executemany("INSERT INTO shop.item VALUES (%s, %s)", [(n, str(n)) for n in range(10, 20)])
        assert run("SELECT count(*) FROM shop.item").fetchone() == (14,)
        # Names without a namespace mean `main`, which a new project has not; numbers are taken as they are written.
        run("CREATE TABLE price (id int, version int, amount decimal(4, 2))")
        run("INSERT INTO price VALUES (1, 1, 1.005), (2, 1, -1.005)")
        run("UPDATE price SET version = version + 1 WHERE version = 1")
        assert run("SELECT * FROM price ORDER BY id").fetchall() == [
            (1, 2, decimal.Decimal("1.01")), (2, 2, decimal.Decimal("-1.01"))]
        snapshot = tarn.api("GET", "/lakehouse/main/price")["snapshot_id"]
        versions = run(f"SELECT version FROM price FOR VERSION AS OF {snapshot}").fetchall()
        assert versions in ([(1,), (1,)], [(2,), (2,)])
    import adbc_driver_flightsql.dbapi as flight

    with flight.connect(tarn.flight, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM shop.item WHERE id >= 10")
        assert cursor.fetchall() == [(10,)]
        assert cursor.adbc_statement is not None
        cursor.adbc_statement.set_sql_query("UPDATE shop.item SET name = upper(name)")
        assert cursor.adbc_statement.execute_update() == 4
    assert tarn.rows("SELECT id, name FROM shop.item ORDER BY id") == [[1, "A"], [2, "B"], [3, "C"], [4, "CHANGED"]]


# Columns of rows about a table that PyIceberg shows in the same form.
ABOUT = {
    "snapshots": ["snapshot_id", "parent_id", "operation", "manifest_list"],
    "history": ["snapshot_id", "parent_id", "is_current_ancestor"],
    "refs": ["name", "type", "snapshot_id"],
    "manifests": [
        "content", "path", "length", "partition_spec_id", "added_snapshot_id", "added_data_files_count",
        "existing_data_files_count", "deleted_data_files_count", "added_delete_files_count",
        "existing_delete_files_count", "deleted_delete_files_count"],
    "all_manifests": ["content", "path", "length", "added_snapshot_id", "reference_snapshot_id"],
    "entries": ["status", "snapshot_id", "sequence_number", "file_sequence_number"],
    "files": ["content", "file_path", "file_format", "spec_id", "record_count", "file_size_in_bytes"],
    "data_files": ["content", "file_path", "record_count"],
    "delete_files": ["content", "file_path", "record_count"],
    "all_files": ["content", "file_path", "record_count"],
    "partitions": ["record_count", "file_count", "position_delete_record_count", "position_delete_file_count"],
    "metadata_log_entries": ["file", "latest_snapshot_id", "latest_schema_id", "latest_sequence_number"],
}


@pytest.mark.parametrize("partitioning", ["", "PARTITIONED BY (bucket(3, id))"])
def test_rows_about_a_table_are_those_that_pyiceberg_shows(tarn: Tarn, partitioning: str):
    with connect(tarn) as connection:
        run = connection.execute
        run("CREATE SCHEMA shop")
        run(f"CREATE TABLE shop.item (id bigint PRIMARY KEY, name text) {partitioning}")
        run("INSERT INTO shop.item VALUES " + ", ".join(f"({n}, 'row {n}')" for n in range(20)))
        run("CALL create_tag('shop.item', 'first')")
        run("DELETE FROM shop.item WHERE id < 3")
        run("UPDATE shop.item SET name = 'changed' WHERE id = 7")
        run("CALL create_branch('shop.item', 'side')")
        table = open_pyiceberg(tarn).load_table("shop.item")
        for kind, columns in ABOUT.items():
            ours = run(f"SELECT {', '.join(columns)} FROM shop.item.{kind}").fetchall()
            theirs = getattr(table.inspect, kind)().select(columns).to_pylist()
            theirs = [tuple(row[name] for name in columns) for row in theirs]
            if kind == "all_files":
                # There a file occurs once for each manifest of each snapshot that names it.
                theirs = set(theirs)
            assert sorted(ours, key=repr) == sorted(theirs, key=repr), kind
        deleted = run("SELECT delete_file_path, file_path, pos FROM shop.item.position_deletes").fetchall()
        held = []
        for (path,) in run("SELECT file_path FROM shop.item.delete_files").fetchall():
            rows = parquet.read_table(path.removeprefix("file://")).to_pylist()
            held += [(path, row["file_path"], row["pos"]) for row in rows]
        assert len(deleted) >= 4 and sorted(deleted) == sorted(held)
        # The other spelling, and what does not exist.
        assert run('SELECT count(*) FROM shop."item$snapshots"').fetchone() == (3,)
        with pytest.raises(psycopg.Error, match="no rows `snapshot`") as raised:
            run('SELECT * FROM shop."item$snapshot"')
        assert "item$snapshots" in raised.value.diag.message_hint
        with pytest.raises(psycopg.Error, match="not found"):
            run("SELECT * FROM shop.nope.snapshots")


def test_a_table_goes_back_to_a_name_or_a_snapshot(tarn: Tarn):
    with connect(tarn) as connection:
        run = connection.execute
        run("CREATE SCHEMA shop")
        run("SET search_path TO shop")
        run("CREATE TABLE item (id bigint PRIMARY KEY, name text)")
        run("INSERT INTO item VALUES (1, 'a')")
        assert run("CALL create_tag('shop.item', 'before the sale')").statusmessage == "CALL"
        run("INSERT INTO item VALUES (2, 'b')")
        run("CALL create_tag('item', 'after')")
        run("UPDATE item SET name = 'c'")
        now, then = "SELECT * FROM item ORDER BY id", "SELECT * FROM item FOR VERSION AS OF '{}' ORDER BY id"
        assert run(now).fetchall() == [(1, "c"), (2, "c")]
        assert run(then.format("before the sale")).fetchall() == [(1, "a")]
        assert run(then.format("after")).fetchall() == [(1, "a"), (2, "b")]
        run("CALL rollback_to_tag('item', 'after')")
        assert run(now).fetchall() == [(1, "a"), (2, "b")]
        run("INSERT INTO item VALUES (3, 'd')")
        (first,) = run("SELECT snapshot_id FROM shop.item.snapshots ORDER BY committed_at LIMIT 1").fetchone()
        run(f"CALL rollback_to_snapshot('item', {first})")
        assert run(now).fetchall() == [(1, "a")]
        for reader, read in readers(tarn).items():
            assert read("shop.item").to_pylist() == [{"id": 1, "name": "a"}], reader
        run("INSERT INTO item VALUES (2, 'again')")
        run("CALL drop_tag('item', 'after')")
        assert run("SELECT name, type FROM shop.item.refs ORDER BY 1").fetchall() == [
            ("before the sale", "TAG"), ("main", "BRANCH")]
        wrong = {
            "CALL create_tag('item', 'before the sale')": ("exists already", ""),
            "CALL create_tag('item', 'x', 42)": ("no snapshot 42", ""),
            "CALL create_tag('item')": ("is not called like this", "CALL create_tag("),
            "CALL make_tag('item', 'x')": ("no procedure `make_tag`", "create_tag"),
            "CALL drop_branch('item', 'main')": ("`main` is table", ""),
            "CALL drop_tag('item', 'after')": ("no snapshot named `after`", ""),
            "CALL rollback_to_snapshot('item', 42)": ("no snapshot 42", ""),
            "CALL rollback_to_timestamp('item', '1970-01-02')": ("no snapshot at 1970-01-02", ""),
            "SELECT * FROM item FOR VERSION AS OF 'nope'": ("no snapshot named `nope`", ""),
        }
        for statement, (message, hint) in wrong.items():
            with pytest.raises(psycopg.Error) as raised:
                run(statement)
            assert message in raised.value.diag.message_primary, f"{statement}: {raised.value}"
            assert hint in (raised.value.diag.message_hint or ""), f"{statement}: {raised.value}"
        assert run(now).fetchall() == [(1, "a"), (2, "again")]
