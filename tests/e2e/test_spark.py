"""Spark with the Iceberg runtime reads and writes the same tables through the REST catalog.

Spark is large, so this runs only with `-m spark`: `make test-spark` installs it first.
"""

import pytest

from rig.readers import readers
from rig.spark import open_spark
from rig.tarn import Tarn

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def tarn(tmp_path_factory):
    tarn = Tarn(tmp_path_factory.mktemp("spark")).start()
    yield tarn
    assert tarn.stop() == 0
    assert not tarn.panics()


@pytest.fixture(scope="module")
def spark(tarn: Tarn):
    session = open_spark(tarn)
    yield session
    session.stop()


def seen_by_all(tarn: Tarn, spark, table: str) -> list[dict]:
    """Rows by `id` as Tarn, DuckDB, PyIceberg and Spark see them, which must be the same."""
    found = {name: read(table).to_pylist() for name, read in readers(tarn).items()}
    found["Spark"] = [row.asDict(recursive=True) for row in spark.table(f"tarn.{table}").collect()]
    ordered = {name: sorted(rows, key=lambda row: row["id"]) for name, rows in found.items()}
    for name, rows in ordered.items():
        assert rows == ordered["Spark"], f"{name} sees {rows}, Spark sees {ordered['Spark']}"
    return ordered["Spark"]


@pytest.mark.parametrize("mode", ["merge-on-read", "copy-on-write"])
def test_spark_makes_a_table_and_changes_its_rows(tarn, spark, mode):
    table = f"mart.{mode.replace('-', '_')}"
    spark.sql("CREATE NAMESPACE IF NOT EXISTS tarn.mart")
    spark.sql(
        f"CREATE TABLE tarn.{table} (id BIGINT, name STRING, price DECIMAL(10, 2), day DATE) USING iceberg "
        f"PARTITIONED BY (months(day)) TBLPROPERTIES ('format-version' = '2', 'write.delete.mode' = '{mode}', "
        f"'write.update.mode' = '{mode}', 'write.merge.mode' = '{mode}')")
    spark.sql(
        f"INSERT INTO tarn.{table} SELECT id, concat('item ', id), CAST(id / 4 AS DECIMAL(10, 2)), "
        "date_add(DATE '2026-01-01', CAST(id AS INT)) FROM range(1, 101)")
    assert len(seen_by_all(tarn, spark, table)) == 100
    spark.sql(f"UPDATE tarn.{table} SET name = 'new' WHERE id <= 10")
    spark.sql(f"DELETE FROM tarn.{table} WHERE id % 50 = 0 OR id = 41")
    spark.sql(
        f"MERGE INTO tarn.{table} t USING (SELECT id FROM range(95, 111)) s ON t.id = s.id "
        "WHEN MATCHED THEN UPDATE SET name = 'merged' "
        "WHEN NOT MATCHED THEN INSERT (id, name, price, day) VALUES (s.id, 'inserted', NULL, DATE '2026-12-31')")
    rows = {row["id"]: row for row in seen_by_all(tarn, spark, table)}
    assert set(rows) == set(range(1, 111)) - {41, 50}
    assert (rows[3]["name"], rows[99]["name"], rows[100]["name"], rows[110]["name"]) == ("new", "merged", "inserted", "inserted")
    # The same rows as they were, in Spark and in our SQL.
    first = spark.sql(f"SELECT snapshot_id FROM tarn.{table}.snapshots ORDER BY committed_at LIMIT 1").collect()[0][0]
    assert spark.sql(f"SELECT count(*) FROM tarn.{table} VERSION AS OF {first}").collect()[0][0] == 100
    assert tarn.value(f"SELECT count(*) FROM {table} FOR VERSION AS OF {first}") == 100


def test_spark_changes_a_schema(tarn, spark):
    spark.sql("CREATE NAMESPACE IF NOT EXISTS tarn.mart")
    spark.sql("CREATE TABLE tarn.mart.shape (id BIGINT, old STRING, size INT) USING iceberg TBLPROPERTIES ('format-version' = '2')")
    spark.sql("INSERT INTO tarn.mart.shape VALUES (1, 'a', 1)")
    spark.sql("ALTER TABLE tarn.mart.shape RENAME COLUMN old TO title")
    spark.sql("ALTER TABLE tarn.mart.shape ALTER COLUMN size TYPE BIGINT")
    spark.sql("ALTER TABLE tarn.mart.shape ADD COLUMN colour STRING")
    spark.sql("INSERT INTO tarn.mart.shape VALUES (2, 'b', 4294967296, 'red')")
    assert seen_by_all(tarn, spark, "mart.shape") == [
        {"id": 1, "title": "a", "size": 1, "colour": None},
        {"id": 2, "title": "b", "size": 2**32, "colour": "red"},
    ]
    spark.sql("DROP TABLE tarn.mart.shape PURGE")
    assert not spark.catalog.tableExists("tarn.mart.shape")


def test_spark_writes_into_a_table_that_a_source_feeds(tarn, spark):
    tarn.apply("kind: source\nname: inbox\nspec: {type: http_push, key: [id], schema: [{name: id, type: int64}, {name: note, type: string}]}")
    tarn.push("inbox", [{"id": number, "note": "pushed"} for number in range(10)])
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox", 10)
    tarn.push("inbox", [{"id": 1, "note": "pushed again"}])
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox WHERE note = 'pushed again'", 1)
    # Rows that Tarn marked as deleted stay deleted for Spark, and the other way round.
    assert spark.sql("SELECT count(*) FROM tarn.inbox.inbox").collect()[0][0] == 10
    spark.sql("DELETE FROM tarn.inbox.inbox WHERE id = 9")
    spark.sql("UPDATE tarn.inbox.inbox SET note = 'by spark' WHERE id < 3")
    spark.sql("INSERT INTO tarn.inbox.inbox VALUES (100, 'by spark')")
    tarn.push("inbox", [{"id": 0, "note": "once more"}, {"id": 11, "note": "new"}])
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox WHERE id = 11", 1)
    expected = {0: "once more", 1: "by spark", 2: "by spark", **{n: "pushed" for n in range(3, 9)}, 11: "new", 100: "by spark"}
    assert {row["id"]: row["note"] for row in seen_by_all(tarn, spark, "inbox.inbox")} == expected
