"""What becomes of a table here when its table in PostgreSQL changes, policy by policy; and tables without a key.

The oracle is PostgreSQL's own table.
"""

import collections
import json
import os
import random

import psycopg
import pytest

from rig.postgres import PASSWORD, Postgres, cdc_source
from rig.process import wait_until
from rig.readers import readers
from rig.tarn import ApiError, Tarn

SEED = int(os.environ.get("TARN_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
POLICIES = ("evolve", "try", "lenient", "ignore", "fail")


def summary(tarn: Tarn, table: str) -> dict:
    return next(item for item in tarn.api("GET", "/lakehouse")["items"] if item["name"] == f"shop.{table}")


def notes(tarn: Tarn, table: str) -> list[str]:
    properties = tarn.api("GET", f"/lakehouse/shop/{table}")["properties"]
    return [f"{note['change']}: {note['outcome']}" for note in json.loads(properties.get("tarn.schema.changes", "[]"))]


def columns(tarn: Tarn, table: str) -> list[str]:
    return [column["name"] for column in tarn.query(f"SELECT * FROM shop.{table} LIMIT 0")["columns"]]


class Tables:
    """One table for each policy, changed alike."""

    def __init__(self, tarn: Tarn, connection: psycopg.Connection):
        self.tarn, self.connection, self.rows = tarn, connection, 0

    def each(self, statement: str) -> None:
        for policy in POLICIES:
            self.connection.execute(statement.format(t=f"{policy}_t"))

    def insert(self, values: str) -> None:
        self.rows += 1
        self.each(f"INSERT INTO {{t}} VALUES ({self.rows}, {values})")

    def wait(self, decides: str = "") -> None:
        """Waits for the last row. `decides`: what the table stands still before that is to be decided about."""
        for policy in POLICIES:
            table, sql = f"{policy}_t", f"SELECT count(*) FROM shop.{policy}_t WHERE id = {self.rows}"
            if policy == "fail" and decides:
                wait_until("the table stands still", lambda: summary(self.tarn, "fail_t")["state"] == "failed", 60, self.tarn.state)
                said = summary(self.tarn, "fail_t")
                assert decides in said["message"], said
                assert "accept_schema_change" in said["hint"], said
                assert self.tarn.value(sql) == 0, "nothing is seen from behind the change"
                assert self.tarn.query(f"CALL accept_schema_change('shop.{table}')")["rows"] == []
            self.tarn.wait_for_rows(sql, 1)


def test_each_policy_does_with_each_change_what_it_says(tarn: Tarn, postgres: Postgres, database: str):
    with postgres.connect(database) as connection:
        tables = Tables(tarn, connection)
        tables.each("CREATE TABLE {t} (id bigint PRIMARY KEY, a int, b text, c int, d text)")
        tables.insert("10, 'one', 1, 'd'")
        tarn.set_secret("shop_password", PASSWORD)
        named = ", ".join(f"public.{policy}_t: {policy}" for policy in POLICIES[2:])
        tarn.apply(cdc_source(postgres, database, on_schema_change="try", on_schema_change_of=f"{{ public.evolve_t: evolve, {named} }}"))
        tables.wait()

        tables.each("ALTER TABLE {t} ADD COLUMN e text DEFAULT 'x'")
        tables.insert("20, 'two', 2, 'd', 'e2'")
        tables.wait("column `e` was added (string)")
        tables.each("ALTER TABLE {t} RENAME COLUMN b TO bb")
        tables.insert("30, 'three', 3, 'd', 'e3'")
        tables.wait("column `b` was renamed to `bb`")
        tables.each("ALTER TABLE {t} DROP COLUMN d")
        tables.insert("40, 'four', 4, 'e4'")
        tables.wait("column `d` was dropped")
        tables.each("ALTER TABLE {t} ALTER COLUMN a TYPE bigint")
        tables.insert("5000000000, 'five', 5, 'e5'")
        tables.wait("the type of column `a` was widened from int to long")
        # PostgreSQL changes the values of all rows: the table is read anew.
        tables.each("ALTER TABLE {t} ALTER COLUMN c TYPE text USING CASE WHEN c > 2 THEN 'c' || c ELSE c::text END")
        tables.insert("60, 'six', 'six', 'e6'")
        tables.wait("the type of column `c` was changed from int to string")
        # These change nothing here.
        tables.each("ALTER TABLE {t} ALTER COLUMN bb SET NOT NULL")
        tables.insert("70, 'seven', '7', 'e7'")
        tables.each("ALTER TABLE {t} ALTER COLUMN bb DROP NOT NULL")
        tables.insert("80, NULL, '8', 'e8'")
        tables.wait()
        expected = connection.execute("SELECT id, a, bb, c, e FROM evolve_t ORDER BY id").fetchall()
        assert len(expected) == 8

        def all_read(table: str) -> bool:
            return tarn.value(f"SELECT count(*) FROM shop.{table}") == 8
        for policy in POLICIES:
            table = f"{policy}_t"
            wait_until(f"{table} is read anew", lambda: all_read(table), 90, tarn.state)
            tarn.ok("lakehouse", "flush", f"shop.{table}")
            shape = {
                "lenient": ["id", "a", "b", "c_dropped_1", "d", "e", "bb", "c"],
                "ignore": ["id", "a", "b", "c", "d"],
            }.get(policy, ["id", "a", "bb", "c_dropped_1", "d", "e", "c"])
            assert columns(tarn, table) == shape, policy
            for reader, read in readers(tarn).items():
                found = sorted(read(f"shop.{table}").to_pylist(), key=lambda row: row["id"])
                if policy == "ignore":
                    wanted = [
                        {"id": key, "a": a if a < 2**31 else None, "b": bb, "c": int(c) if c.isdigit() else None, "d": None}
                        for key, a, bb, c, _ in expected]
                    assert found == wanted, reader
                    continue
                assert [tuple(row[name] for name in ("id", "a", "bb", "c", "e")) for row in found] == expected, (reader, policy)
        added = "column `e` was added (string)"
        renamed = "column `b` was renamed to `bb`"
        widened = "the type of column `a` was widened from int to long"
        changed = "the type of column `c` was changed from int to string"
        dropped = "column `d` was dropped: it stays here, null from now on"
        follows = [f"{added}: added here", f"{renamed}: renamed here", dropped, f"{widened}: widened here",
                   f"{changed}: a new column here, the old one stays as `c_dropped_1`"]
        assert notes(tarn, "evolve_t") == notes(tarn, "try_t") == notes(tarn, "fail_t") == follows
        assert notes(tarn, "lenient_t")[1] == f"{renamed}: `bb` was added here, `b` stays with what it had"
        stays = "it stays; values that do not fit become null"
        assert notes(tarn, "ignore_t") == [
            f"{added}: its values are left out", f"{renamed}: it goes on as `b` here", dropped, f"{widened}: {stays}", f"{changed}: {stays}"]
        assert "values were left out" in summary(tarn, "ignore_t")["message"]

        # A truncate is a change of rows, and a table that is dropped sends nothing: what is here stays.
        tables.each("TRUNCATE {t}")
        tables.insert("90, 'nine', '9', 'e9'")
        tables.wait()
        for policy in POLICIES:
            assert tarn.value(f"SELECT count(*) FROM shop.{policy}_t") == 1, policy
        connection.execute("DROP TABLE ignore_t")
        tables.rows += 1
        connection.execute(f"INSERT INTO evolve_t VALUES ({tables.rows}, 1, 'ten', '10', 'e10')")
        tarn.wait_for_rows(f"SELECT count(*) FROM shop.evolve_t WHERE id = {tables.rows}", 1)
        assert tarn.value("SELECT count(*) FROM shop.ignore_t") == 1
        with pytest.raises(ApiError, match="does not stand still"):
            tarn.query("CALL accept_schema_change('shop.fail_t')")


def test_a_dropped_column_goes_where_that_is_wished_for(tarn: Tarn, postgres: Postgres, database: str):
    with postgres.connect(database) as connection:
        connection.execute("CREATE TABLE item (id bigint PRIMARY KEY, a text, b text)")
        connection.execute("INSERT INTO item VALUES (1, 'a', 'b')")
        tarn.set_secret("shop_password", PASSWORD)
        tarn.apply(cdc_source(postgres, database, drop_columns="true"))
        tarn.wait_for_rows("SELECT count(*) FROM shop.item", 1)
        connection.execute("ALTER TABLE item DROP COLUMN b")
        connection.execute("INSERT INTO item VALUES (2, 'c')")
        tarn.wait_for_rows("SELECT count(*) FROM shop.item", 2)
    assert columns(tarn, "item") == ["id", "a"]
    assert notes(tarn, "item") == ["column `b` was dropped: dropped here"]


def test_another_key_stops_the_source_before_it(tarn: Tarn, postgres: Postgres, database: str):
    with postgres.connect(database) as connection:
        connection.execute("CREATE TABLE item (id bigint PRIMARY KEY, code text NOT NULL)")
        connection.execute("INSERT INTO item VALUES (1, 'a'), (2, 'b')")
        tarn.set_secret("shop_password", PASSWORD)
        tarn.apply(cdc_source(postgres, database))
        tarn.wait_for_rows("SELECT count(*) FROM shop.item", 2)
        connection.execute("ALTER TABLE item DROP CONSTRAINT item_pkey, ADD PRIMARY KEY (code)")
        connection.execute("DELETE FROM item WHERE code = 'a'")
        wait_until("the source stops", lambda: tarn.source("shop")["state"] == "failed", 60, tarn.state)
        said = json.dumps(tarn.source("shop"))
        assert "its key is" in said and "drop the topic and its table" in said, said
        assert tarn.rows("SELECT id, code FROM shop.item ORDER BY id") == [[1, "a"], [2, "b"]]


def test_a_policy_that_does_not_exist_is_told(tarn: Tarn, postgres: Postgres, database: str):
    with pytest.raises(ApiError, match="on_schema_change"):
        tarn.apply(cdc_source(postgres, database, on_schema_change="evolv"))


def test_equal_rows_of_a_table_without_a_key_are_changed_one_by_one(tarn: Tarn, postgres: Postgres, database: str):
    print(f"\nTARN_SEED={SEED}")
    rng = random.Random(SEED)
    with postgres.connect(database) as connection:
        connection.execute("CREATE TABLE event (kind text, n int, x double precision, at timestamptz, tags text[], note text)")
        connection.execute("ALTER TABLE event ALTER COLUMN note SET STORAGE EXTERNAL")
        connection.execute("ALTER TABLE event REPLICA IDENTITY FULL")
        values = {
            "kind": ["NULL", "''", "'a'", "'b'"], "n": ["NULL", "1", "2"],
            "x": ["NULL", "'NaN'", "'-0'", "0", "'Infinity'"], "at": ["NULL", "'2026-01-01 00:00:00+00'"],
            "tags": ["NULL", "'{}'", "'{a,NULL}'"], "note": ["NULL", "'short'", "repeat('x', 4000)"],
        }
        row = lambda: "(" + ", ".join(rng.choice(of) for of in values.values()) + ")"  # noqa: E731
        connection.execute("INSERT INTO event VALUES " + ", ".join(row() for _ in range(200)))
        tarn.set_secret("shop_password", PASSWORD)
        tarn.apply(cdc_source(postgres, database))
        tarn.wait_for_rows("SELECT count(*) FROM shop.event", 200)
        one = "WHERE ctid = (SELECT ctid FROM event OFFSET {} LIMIT 1)"
        for step in range(400):
            kind = rng.random()
            if kind < 0.35:
                connection.execute("INSERT INTO event VALUES " + ", ".join(row() for _ in range(rng.randrange(1, 4))))
            elif kind < 0.65:
                name = rng.choice(list(values))
                # Large notes stay where they are, and are not sent anew.
                connection.execute(f"UPDATE event SET {name} = {rng.choice(values[name])} {one.format(rng.randrange(150))}")
            elif kind < 0.95:
                connection.execute(f"DELETE FROM event {one.format(rng.randrange(150))}")
            elif kind < 0.97:
                connection.execute("UPDATE event SET n = coalesce(n, 0) + 1 WHERE kind = 'a'")
            else:
                connection.execute("DELETE FROM event WHERE n > 2 AND kind = 'a'")
            if step == 200:
                # Old rows have the default at the source, and nothing here.
                connection.execute("ALTER TABLE event ADD COLUMN more int DEFAULT 7")
                values["more"] = ["NULL", "7", "8"]
            if step in (100, 150, 300):
                tarn.restart()
        connection.execute("UPDATE event SET more = 1 WHERE more = 7")
        connection.execute("INSERT INTO event (kind) VALUES ('mark')")
        tarn.wait_for_rows("SELECT count(*) FROM shop.event WHERE kind = 'mark'", 1)
        names = ["kind", "n", "x", "at", "tags", "note", "more"]
        shown = lambda row: repr([str(value) if isinstance(value, float) else value.timestamp() if hasattr(value, "timestamp")  # noqa: E731
                                  else value for value in row])
        expected = collections.Counter(map(shown, connection.execute(f"SELECT {', '.join(names)} FROM event").fetchall()))
    assert max(expected.values()) > 1, "no two rows are equal"
    for reader, read in readers(tarn).items():
        found = collections.Counter(shown([row[name] for name in names]) for row in read("shop.event").to_pylist())
        assert found == expected, (reader, found - expected, expected - found)
    assert not summary(tarn, "event")["message"], summary(tarn, "event")
