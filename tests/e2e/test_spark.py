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


def test_spark_reads_and_changes_a_table_of_our_sql_and_its_branches(tarn, spark):
    def sql(text: str) -> None:
        tarn.query(text)

    sql("CREATE SCHEMA IF NOT EXISTS mart")
    sql("CREATE TABLE mart.written (id BIGINT PRIMARY KEY, name TEXT, at TIMESTAMP, amount DECIMAL(12, 2)) "
        "PARTITIONED BY (day(at), bucket(2, id))")
    sql("INSERT INTO mart.written VALUES (1, 'a', '2026-01-01 10:00:00', 1.25), (2, 'b', '2026-01-01 11:00:00', 2.50), "
        "(3, NULL, '2026-01-02 10:00:00', NULL), (4, 'd', NULL, 4.00)")
    sql("UPDATE mart.written SET name = 'changed' WHERE id = 2")
    sql("DELETE FROM mart.written WHERE id = 1")
    sql("MERGE INTO mart.written t USING (VALUES (3, 'c'), (5, 'e')) s (id, name) ON t.id = s.id "
        "WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)")
    sql("ALTER TABLE mart.written DROP PARTITION FIELD day(at)")
    sql("ALTER TABLE mart.written ADD COLUMN note TEXT")
    sql("INSERT INTO mart.written VALUES (6, 'f', '2026-01-03 10:00:00', 6.00, 'new')")
    rows = {row["id"]: row for row in seen_by_all(tarn, spark, "mart.written")}
    assert {id: row["name"] for id, row in rows.items()} == {2: "changed", 3: "c", 4: "d", 5: "e", 6: "f"}
    # Spark changes rows in files of both partitionings, and evolves it once more.
    spark.sql("ALTER TABLE tarn.mart.written ADD PARTITION FIELD truncate(1, name)")
    spark.sql("UPDATE tarn.mart.written SET note = 'by spark' WHERE id IN (2, 6)")
    spark.sql("DELETE FROM tarn.mart.written WHERE id = 3")
    sql("UPDATE mart.written SET amount = 9.75 WHERE note = 'by spark'")
    sql("OPTIMIZE TABLE mart.written")
    rows = {row["id"]: (row["note"], str(row["amount"])) for row in seen_by_all(tarn, spark, "mart.written")}
    assert rows == {2: ("by spark", "9.75"), 4: (None, "4.00"), 5: (None, "None"), 6: ("by spark", "9.75")}
    # Branches and tags, written by either.
    sql("CALL create_tag('mart.written', 'before')")
    sql("CALL create_branch('mart.written', 'audit')")
    sql("INSERT INTO mart.written.branch_audit (id, name) VALUES (7, 'ours')")
    spark.sql("INSERT INTO tarn.mart.written.branch_audit VALUES (8, 'theirs', NULL, NULL, NULL)")
    sql("DELETE FROM mart.written.branch_audit WHERE id = 4")
    expected = [2, 5, 6, 7, 8]
    in_spark = spark.sql("SELECT id FROM tarn.mart.written VERSION AS OF 'audit' ORDER BY id").collect()
    assert [row[0] for row in in_spark] == expected
    assert [row[0] for row in tarn.rows("SELECT id FROM mart.written.branch_audit ORDER BY id")] == expected
    assert {row["id"] for row in seen_by_all(tarn, spark, "mart.written")} == {2, 4, 5, 6}
    spark.sql("CALL tarn.system.fast_forward('mart.written', 'main', 'audit')")
    assert [row["id"] for row in seen_by_all(tarn, spark, "mart.written")] == expected
    assert tarn.value("SELECT count(*) FROM mart.written.tag_before") == 4


def test_views_of_spark_and_of_our_sql_are_read_by_both(tarn, spark):
    spark.sql("CREATE NAMESPACE IF NOT EXISTS tarn.mart")
    spark.sql("CREATE TABLE tarn.mart.seen (id BIGINT, name STRING) USING iceberg TBLPROPERTIES ('format-version' = '2')")
    spark.sql("INSERT INTO tarn.mart.seen VALUES (1, 'a'), (2, 'b'), (3, 'a')")
    spark.sql("CREATE VIEW tarn.mart.by_spark AS SELECT name, count(*) AS n FROM tarn.mart.seen GROUP BY name")
    assert tarn.rows("SELECT name, n FROM mart.by_spark ORDER BY name") == [["a", 2], ["b", 1]]
    tarn.query("CREATE VIEW mart.by_tarn AS SELECT * FROM mart.seen WHERE id > 1")
    assert sorted(row["id"] for row in spark.sql("SELECT id FROM tarn.mart.by_tarn").collect()) == [2, 3]
    listed = {row["viewName"] for row in spark.sql("SHOW VIEWS IN tarn.mart").collect()}
    assert {"by_spark", "by_tarn"} <= listed, listed
    spark.sql("CREATE OR REPLACE VIEW tarn.mart.by_spark AS SELECT max(id) AS highest FROM tarn.mart.seen")
    assert tarn.value("SELECT highest FROM mart.by_spark") == 3
    spark.sql("ALTER VIEW tarn.mart.by_spark RENAME TO tarn.mart.renamed")
    assert tarn.value("SELECT highest FROM mart.renamed") == 3
    spark.sql("DROP VIEW tarn.mart.renamed")
    assert "not found" in str(tarn.request("POST", "/api/v1/query", json={"sql": "SELECT * FROM mart.renamed"}).text)
