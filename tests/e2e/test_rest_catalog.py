"""The Iceberg REST catalog: DuckDB, PyIceberg and our SQL read and write the same tables; and the protocol itself."""

import datetime
import decimal
import uuid

import pyarrow as pa
import pytest
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NamespaceNotEmptyError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.schema import Schema
from pyiceberg.types import IntegerType, LongType, NestedField, StringType

from rig.readers import assert_same_values, duckdb_table, open_duckdb, open_pyiceberg, readers
from rig.tarn import Tarn


def rows_of(tarn: Tarn, table: str, key: str) -> list[dict]:
    """What all three readers see, which must be the same."""
    seen = {name: read(table).to_pylist() for name, read in readers(tarn).items()}
    order = {name: sorted(rows, key=lambda row: row[key]) for name, rows in seen.items()}
    first = order["Tarn's SQL"]
    for name, rows in order.items():
        assert rows == first, f"{name} sees {rows}, Tarn sees {first}"
    return first


def test_duckdb_writes_pyiceberg_appends_and_all_read_the_same(tarn):
    with open_duckdb(tarn) as duck:
        duck.execute("CREATE SCHEMA lake.mart")
        duck.execute("CREATE TABLE lake.mart.item (id BIGINT, name VARCHAR, price DECIMAL(10, 2), made TIMESTAMPTZ)")
        duck.execute("INSERT INTO lake.mart.item SELECT n, 'item ' || n, n / 4.0, TIMESTAMPTZ '2026-01-01 00:00:00+00' FROM range(1, 101) r(n)")
    assert len(rows_of(tarn, "mart.item", "id")) == 100
    with open_duckdb(tarn) as duck:
        duck.execute("UPDATE lake.mart.item SET name = 'new ' || id, price = 0.25 WHERE id <= 10")
        duck.execute("DELETE FROM lake.mart.item WHERE id > 90")
        duck.execute(
            "MERGE INTO lake.mart.item USING (SELECT n AS id FROM range(85, 96) r(n)) s ON item.id = s.id "
            "WHEN MATCHED THEN UPDATE SET name = 'merged' "
            "WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'inserted', 1, NULL)")
    rows = rows_of(tarn, "mart.item", "id")
    assert [row["id"] for row in rows] == list(range(1, 96))
    by_id = {row["id"]: row for row in rows}
    assert by_id[3]["name"] == "new 3" and by_id[3]["price"] == decimal.Decimal("0.25")
    assert by_id[90]["name"] == "merged" and by_id[91]["name"] == "inserted" and by_id[91]["made"] is None
    table = open_pyiceberg(tarn).load_table("mart.item")
    table.append(pa.table({
        "id": pa.array([1001, 1002], pa.int64()), "name": ["from python", None],
        "price": pa.array([decimal.Decimal("9.99"), None], pa.decimal128(10, 2)),
        "made": pa.array([datetime.datetime(2026, 5, 1, tzinfo=datetime.timezone.utc), None], pa.timestamp("us", "UTC")),
    }))
    rows = rows_of(tarn, "mart.item", "id")
    assert len(rows) == 97 and rows[-2]["name"] == "from python"
    # An append to a table with position deletes, and a delete by copy-on-write of another engine.
    table.refresh()
    table.delete("id < 5")
    with open_duckdb(tarn) as duck:
        duck.execute("INSERT INTO lake.mart.item VALUES (2000, 'last', 1, NULL)")
    rows = rows_of(tarn, "mart.item", "id")
    assert [row["id"] for row in rows] == [*range(5, 96), 1001, 1002, 2000]
    assert tarn.value("SELECT count(*) FROM mart.item WHERE price = 0.25") == 6


def test_a_schema_that_pyiceberg_changes_is_read_by_all(tarn):
    catalog = open_pyiceberg(tarn)
    catalog.create_namespace("mart")
    schema = Schema(NestedField(1, "id", LongType(), required=False), NestedField(2, "name", StringType(), required=False),
                    NestedField(3, "size", IntegerType(), required=False))
    table = catalog.create_table("mart.thing", schema)
    table.append(pa.table({"id": pa.array([1, 2], pa.int64()), "name": ["a", "b"], "size": pa.array([1, 2], pa.int32())}))
    with table.update_schema() as update:
        update.add_column("colour", StringType())
        update.rename_column("name", "title")
        update.update_column("size", LongType())
    table.refresh()
    table.append(pa.table({"id": pa.array([3], pa.int64()), "title": ["c"], "size": pa.array([2**40], pa.int64()), "colour": ["red"]}))
    assert rows_of(tarn, "mart.thing", "id") == [
        {"id": 1, "title": "a", "size": 1, "colour": None},
        {"id": 2, "title": "b", "size": 2, "colour": None},
        {"id": 3, "title": "c", "size": 2**40, "colour": "red"},
    ]
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("size")
        update.add_column("size", StringType())
    # A dropped name that is used again is another column.
    assert [row["size"] for row in rows_of(tarn, "mart.thing", "id")] == [None, None, None]
    # As it was: the first snapshot has the first schema.
    first = table.history()[0].snapshot_id
    assert tarn.rows(f"SELECT id, name, size FROM mart.thing FOR VERSION AS OF {first} ORDER BY id") == [[1, "a", 1], [2, "b", 2]]


def test_partitions_and_nested_types_of_other_writers(tarn):
    nested = pa.table({
        "day": pa.array([datetime.date(2026, 1, 1), datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)]),
        "id": pa.array([1, 2, 3], pa.int64()),
        "tags": pa.array([["a", None], [], None], pa.list_(pa.string())),
        "point": pa.array([{"x": 1.5, "y": None}, None, {"x": 0.0, "y": 2.0}], pa.struct([("x", pa.float64()), ("y", pa.float64())])),
        "more": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        "raw": pa.array([b"\x00\xff", b"", None], pa.binary()),
    })
    catalog = open_pyiceberg(tarn)
    catalog.create_namespace("mart")
    table = catalog.create_table("mart.nested", nested.schema)
    with table.update_spec() as update:
        update.add_identity("day")
    table.append(nested)
    assert_same_values(nested.to_pylist(), tarn.arrow("SELECT * FROM mart.nested"), "id", "Tarn's SQL")
    assert tarn.rows("SELECT id FROM mart.nested WHERE day = DATE '2026-01-02'") == [[3]]
    answer = tarn.query("SELECT id FROM mart.nested WHERE day = DATE '2026-01-01' ORDER BY id")
    assert answer["rows"] == [[1], [2]]
    stats = answer["stats"]
    assert stats["files_total"] == 2 and stats["files_scanned"] == 1, f"partitions are not pruned: {stats}"
    assert tarn.rows("SELECT point['x'] FROM mart.nested WHERE id = 1") == [[1.5]]


def test_two_tables_change_together_or_not_at_all(tarn):
    with open_duckdb(tarn) as duck:
        duck.execute("CREATE SCHEMA lake.bank")
        duck.execute("CREATE TABLE lake.bank.a (v BIGINT)")
        duck.execute("CREATE TABLE lake.bank.b (v BIGINT)")
        duck.execute("BEGIN")
        duck.execute("INSERT INTO lake.bank.a VALUES (1)")
        duck.execute("INSERT INTO lake.bank.b VALUES (-1)")
        assert tarn.value("SELECT count(*) FROM bank.a") == 0
        duck.execute("COMMIT")
    assert (tarn.value("SELECT sum(v) FROM bank.a"), tarn.value("SELECT sum(v) FROM bank.b")) == (1, -1)
    # By hand: the second requirement fails, so the first table must not move.
    uuids = {name: open_pyiceberg(tarn).load_table(f"bank.{name}").metadata.table_uuid for name in "ab"}
    before = {name: open_pyiceberg(tarn).load_table(f"bank.{name}").metadata_location for name in "ab"}

    def change(name: str, table_uuid: object) -> dict:
        return {
            "identifier": {"namespace": ["bank"], "name": name},
            "requirements": [{"type": "assert-table-uuid", "uuid": str(table_uuid)}],
            "updates": [{"action": "set-properties", "updates": {"owner": name}}],
        }
    answer = tarn.request("POST", "/iceberg/v1/transactions/commit",
                          json={"table-changes": [change("a", uuids["a"]), change("b", uuid.uuid4())]})
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "CommitFailedException"), answer.text
    assert {name: open_pyiceberg(tarn).load_table(f"bank.{name}").metadata_location for name in "ab"} == before
    answer = tarn.request("POST", "/iceberg/v1/transactions/commit",
                          json={"table-changes": [change("a", uuids["a"]), change("b", uuids["b"])]})
    assert answer.status_code == 204, answer.text
    assert [open_pyiceberg(tarn).load_table(f"bank.{name}").properties["owner"] for name in "ab"] == ["a", "b"]


def test_a_staged_table_exists_after_its_first_commit_only(tarn):
    catalog = open_pyiceberg(tarn)
    catalog.create_namespace("mart")
    schema = pa.schema([("id", pa.int64())])
    with pytest.raises(RuntimeError, match="changed my mind"):
        with catalog.create_table_transaction("mart.staged", schema):
            raise RuntimeError("changed my mind")
    assert not catalog.table_exists("mart.staged")
    with catalog.create_table_transaction("mart.staged", schema) as transaction:
        assert not open_pyiceberg(tarn).table_exists("mart.staged")
        transaction.append(pa.table({"id": pa.array([1, 2], pa.int64())}))
    assert tarn.value("SELECT sum(id) FROM mart.staged") == 3


def test_commits_from_two_writers_do_not_lose_one_another(tarn):
    catalog = open_pyiceberg(tarn)
    catalog.create_namespace("mart")
    rows = pa.table({"id": pa.array([1], pa.int64())})
    mine = catalog.create_table("mart.race", rows.schema)
    theirs = open_pyiceberg(tarn).load_table("mart.race")
    theirs.append(rows)
    try:
        mine.append(pa.table({"id": pa.array([2], pa.int64())}))
    except CommitFailedException:
        mine.refresh()
        mine.append(pa.table({"id": pa.array([2], pa.int64())}))
    assert tarn.rows("SELECT id FROM mart.race ORDER BY id") == [[1], [2]]


def test_drop_keeps_the_files_and_purge_deletes_them(tarn):
    catalog = open_pyiceberg(tarn)
    catalog.create_namespace("mart")
    rows = pa.table({"id": pa.array([1], pa.int64())})
    folders = {}
    for name in ("kept", "purged"):
        table = catalog.create_table(f"mart.{name}", rows.schema)
        table.append(rows)
        folders[name] = table.location().removeprefix("file://")
        metadata = catalog.load_table(f"mart.{name}").metadata_location
        if name == "kept":
            kept = metadata
    catalog.drop_table("mart.kept")
    catalog.purge_table("mart.purged")
    files = {name: sum(1 for path in (tarn.data / "lake").rglob("*.parquet") if str(path).startswith(folder))
             for name, folder in folders.items()}
    assert files == {"kept": 1, "purged": 0}
    for name in ("kept", "purged"):
        assert not catalog.table_exists(f"mart.{name}")
    # What was dropped without purge can be taken over again.
    catalog.register_table("mart.again", kept)
    assert tarn.rows("SELECT id FROM mart.again") == [[1]]
    # A table of an old name does not meet old files.
    table = catalog.create_table("mart.purged", rows.schema)
    assert table.location().removeprefix("file://") != folders["purged"]
    assert tarn.value("SELECT count(*) FROM mart.purged") == 0


def test_namespaces_and_names(tarn):
    catalog = open_pyiceberg(tarn)
    catalog.create_namespace("mart", {"owner": "ada"})
    with pytest.raises(NamespaceAlreadyExistsError):
        catalog.create_namespace("mart")
    assert catalog.load_namespace_properties("mart")["owner"] == "ada"
    catalog.update_namespace_properties("mart", removals={"owner"}, updates={"team": "数据"})
    assert catalog.load_namespace_properties("mart").get("team") == "数据"
    assert "owner" not in catalog.load_namespace_properties("mart")
    schema = pa.schema([("id", pa.int64())])
    catalog.create_table("mart.t", schema)
    with pytest.raises(TableAlreadyExistsError):
        catalog.create_table("mart.t", schema)
    with pytest.raises(NamespaceNotEmptyError):
        catalog.drop_namespace("mart")
    with pytest.raises(NoSuchNamespaceError):
        catalog.list_tables("nowhere")
    with pytest.raises(NoSuchTableError):
        catalog.load_table("mart.nothing")
    catalog.create_namespace("other")
    catalog.rename_table("mart.t", "other.u")
    assert catalog.list_tables("other") == [("other", "u")] and catalog.list_tables("mart") == []
    with pytest.raises(NoSuchTableError):
        catalog.rename_table("mart.t", "other.v")
    catalog.create_table("other.v", schema)
    with pytest.raises(TableAlreadyExistsError):
        catalog.rename_table("other.u", "other.v")
    catalog.drop_namespace("mart")
    assert ("mart",) not in catalog.list_namespaces()


def test_lists_come_in_pages(tarn):
    catalog = open_pyiceberg(tarn)
    catalog.create_namespace("many")
    schema = pa.schema([("id", pa.int64())])
    wanted = sorted(f"t{number:02}" for number in range(25))
    for name in wanted:
        catalog.create_table(f"many.{name}", schema)
    seen, token, pages = [], "", 0
    while token is not None:
        answer = tarn.request("GET", "/iceberg/v1/namespaces/many/tables", params={"pageToken": token, "pageSize": 10}).json()
        seen += [table["name"] for table in answer["identifiers"]]
        token, pages = answer.get("next-page-token"), pages + 1
    assert (seen, pages) == (wanted, 3)
    assert sorted(name for _, name in catalog.list_tables("many")) == wanted
    with open_duckdb(tarn) as duck:
        found = duck.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'many'").fetchall()
    assert sorted(name for (name,) in found) == wanted


@pytest.mark.parametrize(("method", "path", "body", "status", "kind"), [
    ("GET", "/v1/namespaces/nowhere", None, 404, "NoSuchNamespaceException"),
    ("GET", "/v1/namespaces/nowhere/tables", None, 404, "NoSuchNamespaceException"),
    ("GET", "/v1/namespaces/mart/tables/nothing", None, 404, "NoSuchTableException"),
    ("DELETE", "/v1/namespaces/mart/tables/nothing", None, 404, "NoSuchTableException"),
    ("POST", "/v1/namespaces", {"namespace": ["mart"]}, 409, "AlreadyExistsException"),
    ("POST", "/v1/namespaces", {"namespace": []}, 400, "BadRequestException"),
    ("POST", "/v1/namespaces", {"namespace": ["a", "b"]}, 400, "BadRequestException"),
    ("POST", "/v1/namespaces/mart/tables", {"name": "bad"}, 400, "BadRequestException"),
    ("POST", "/v1/namespaces/mart/tables/t", {"requirements": [], "updates": [{"action": "fly"}]}, 400, "BadRequestException"),
    ("POST", "/v1/namespaces/mart/tables/t", {"requirements": [{"type": "assert-sunny"}], "updates": []}, 400, "BadRequestException"),
    ("POST", "/v1/namespaces/mart/tables/t",
     {"requirements": [{"type": "assert-current-schema-id", "current-schema-id": 7}], "updates": []}, 409, "CommitFailedException"),
    ("POST", "/v1/namespaces/mart/tables/t",
     {"requirements": [{"type": "assert-create"}], "updates": []}, 409, "CommitFailedException"),
    ("POST", "/v1/namespaces/mart/register", {"name": "x", "metadata-location": "file:///etc/passwd"}, 400, "BadRequestException"),
    ("GET", "/v1/sunshine", None, 404, "NotFoundException"),
])
def test_errors_are_those_of_the_specification(shared, method, path, body, status, kind):
    answer = shared.request(method, f"/iceberg{path}", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (status, kind, status), answer.text
    assert error["message"] and "panicked" not in error["message"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One server for all cases that only fail."""
    tarn = Tarn(tmp_path_factory.mktemp("shared")).start()
    catalog = open_pyiceberg(tarn)
    catalog.create_namespace("mart")
    catalog.create_table("mart.t", pa.schema([("id", pa.int64())]))
    yield tarn
    tarn.kill()
    assert not tarn.panics()


def test_a_broken_body_is_told_as_one(shared):
    for body in (b"", b"{", b"[]", b'{"namespace": "mart"}', b"\xff\xfe", b'{"namespace": ' + b"[" * 100_000):
        answer = shared.request("POST", "/iceberg/v1/namespaces", data=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, (body[:30], answer.status_code, answer.text[:200])
        assert answer.json()["error"]["type"] == "BadRequestException"


def test_a_table_is_loaded_once_while_it_does_not_change(shared):
    path = "/iceberg/v1/namespaces/mart/tables/t"
    first = shared.request("GET", path)
    tag = first.headers["etag"]
    assert shared.request("GET", path, headers={"If-None-Match": tag}).status_code == 304
    open_pyiceberg(shared).load_table("mart.t").transaction().set_properties(colour="red").commit_transaction()
    again = shared.request("GET", path, headers={"If-None-Match": tag})
    assert again.status_code == 200 and again.json()["metadata"]["properties"]["colour"] == "red"


def test_another_engine_writes_into_a_table_that_a_source_feeds(tarn):
    tarn.apply("kind: source\nname: inbox\nspec: {type: http_push, key: [id], schema: [{name: id, type: int64}, {name: note, type: string}]}")
    tarn.push("inbox", [{"id": number, "note": "pushed"} for number in range(10)])
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox", 10)
    with open_duckdb(tarn) as duck:
        duck.execute("UPDATE lake.inbox.inbox SET note = 'by duckdb' WHERE id < 3")
        duck.execute("DELETE FROM lake.inbox.inbox WHERE id = 9")
        duck.execute("INSERT INTO lake.inbox.inbox VALUES (100, 'by duckdb')")
    tarn.push("inbox", [{"id": 0, "note": "again"}, {"id": 11, "note": "new"}])
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox WHERE id = 11", 1)
    expected = {0: "again", 1: "by duckdb", 2: "by duckdb", **{n: "pushed" for n in range(3, 9)}, 11: "new", 100: "by duckdb"}
    assert {row["id"]: row["note"] for row in rows_of(tarn, "inbox.inbox", "id")} == expected
    assert duckdb_table(tarn, "inbox.inbox").num_rows == len(expected)
