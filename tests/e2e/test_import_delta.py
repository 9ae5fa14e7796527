"""Delta tables of others become tables: their rows are those that deltalake and DuckDB read of the same version."""

import datetime
import decimal
import json
import os
import random
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, Field, QueryBuilder, Schema, write_deltalake
from deltalake.schema import PrimitiveType

from rig.bucket import KEY_ID, SECRET, BucketServer
from rig.delta import DeltaLog, deltalake_table, duckdb_delta
from rig.readers import readers
from rig.tarn import ApiError, Tarn
from test_import import SEED, ended_over_kills, imported, plan_of, types

UTC = datetime.UTC


def rows_of(chance: random.Random, ids: range) -> pa.Table:
    """Rows of all types, with nulls, and texts that folders must escape."""
    def maybe(value):
        return None if chance.random() < 0.1 else value

    rows = [{
        "id": n,
        "small": maybe(chance.randrange(-128, 128)),
        "medium": maybe(chance.randrange(-2**31, 2**31)),
        "ratio": maybe(chance.random()),
        "price": maybe(decimal.Decimal(chance.randrange(-10**9, 10**9)).scaleb(-2)),
        "ok": maybe(chance.random() < 0.5),
        "name": maybe(chance.choice(["", "a", "数据 é", "x" * 50])),
        "raw": maybe(bytes([chance.randrange(256)])),
        "day": maybe(datetime.date(1900, 1, 1) + datetime.timedelta(days=chance.randrange(80_000))),
        "at": maybe(datetime.datetime(1850, 1, 1, tzinfo=UTC) + datetime.timedelta(microseconds=chance.randrange(10**16))),
        "deep": maybe({"a": maybe(n), "b": maybe([maybe("x"), maybe("y")])}),
        "tags": maybe([("k", maybe(n))]),
        "region": maybe(chance.choice(["north", "süd/ost", "a b%20c", "x=1:?", "数"])),
        "month": maybe(datetime.date(2024, chance.randrange(1, 13), 1)),
    } for n in ids]
    return pa.Table.from_pylist(rows, pa.schema([
        ("id", pa.int64()), ("small", pa.int8()), ("medium", pa.int32()), ("ratio", pa.float64()),
        ("price", pa.decimal128(12, 2)), ("ok", pa.bool_()), ("name", pa.string()), ("raw", pa.binary()),
        ("day", pa.date32()), ("at", pa.timestamp("us", "UTC")),
        ("deep", pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))])),
        ("tags", pa.map_(pa.string(), pa.int64())), ("region", pa.string()), ("month", pa.date32())]))


def plain(table: pa.Table) -> list[dict]:
    """Rows by id, in values that compare."""
    def value(of):
        if isinstance(of, list) and of and isinstance(of[0], tuple):
            return dict(of)
        if isinstance(of, datetime.datetime) and of.tzinfo:
            return of.astimezone(UTC)
        return of

    rows = [{name: value(of) for name, of in row.items()} for row in table.to_pylist()]
    return sorted(rows, key=lambda row: row["id"])


def assert_same(ours: pa.Table, theirs: pa.Table, who: str) -> None:
    mine, other = plain(ours), plain(theirs.select(ours.column_names))
    assert len(mine) == len(other), f"{who} sees {len(other)} rows, we {len(mine)}"
    for a, b in zip(mine, other, strict=True):
        assert a == b, f"{who} sees {b}, we {a}"


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_a_delta_table_with_its_history(tarn: Tarn, request, place: str):
    """Written, changed, rewritten by deltalake: each version is imported as deltalake reads it."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    folder = tarn.project / "delta sale"
    write_deltalake(folder, rows_of(chance, range(300)), partition_by=["region", "month"],
                    configuration={"delta.checkpointInterval": "1000"})
    table = DeltaTable(str(folder))
    write_deltalake(folder, rows_of(chance, range(300, 400)), mode="append")
    table.update_incremental()
    table.delete("id % 5 = 2")
    table.update(updates={"name": "'changed'", "price": "price + 1"}, predicate="id % 7 = 3")
    table.create_checkpoint()
    write_deltalake(folder, rows_of(chance, range(400, 450)), mode="append")
    table.update_incremental()
    table.optimize.compact()
    newest = DeltaTable(str(folder)).version()
    path, options = str(folder), {}
    if place == "bucket":
        bucket: BucketServer = request.getfixturevalue("bucket")
        for file in folder.rglob("*"):
            if file.is_file():
                bucket.client.upload_file(str(file), "lake", f"t/{file.relative_to(folder)}")
        tarn.set_secret("lake_key", SECRET)
        path = "s3a://lake/t/"
        options = {"s3": {"endpoint": bucket.endpoint, "access_key_id": KEY_ID, "allow_http": True,
                          "secret_access_key": {"secret": "lake_key"}}}
    plan = plan_of(tarn, path, "shop.sale", **options)
    assert plan["format"] == "delta" and plan["version"] == str(newest), plan
    assert plan["table"]["partition_by"] == ["region", "month"], plan
    assert types(plan)["price"] == "decimal(12,2)" and types(plan)["deep"] == "struct<a: long, b: list<string>>"
    done = imported(tarn, path, "shop.sale", **options)
    assert done["state"] == "done" and done["report"]["verified"] is True, done
    assert done["report"]["version"] == str(newest), done["report"]
    ours = tarn.arrow("SELECT * FROM shop.sale")
    assert_same(ours, deltalake_table(folder), "deltalake")
    assert_same(ours, duckdb_delta(folder), "DuckDB")
    for name, read in readers(tarn).items():
        if name != "Tarn's SQL":
            assert read("shop.sale").num_rows == ours.num_rows, name
    for version in [0, chance.randrange(1, newest)] if place == "folder" else []:
        done = imported(tarn, path, "shop.then", mode="replace" if version else "create", delta={"version": version}, **options)
        assert done["report"]["verified"] is True and done["report"]["version"] == str(version), done
        assert_same(tarn.arrow("SELECT * FROM shop.then"), deltalake_table(folder, version), f"deltalake at {version}")
    if place == "folder":
        assert "hashes equal" in tarn.ok("import", "verify", path, "--into", "shop.sale")
        differs = tarn.cli("import", "verify", path, "--into", "shop.sale", "--delta-version", "0")
        assert differs.returncode != 0 and "rows in the table" in differs.stderr, differs.stderr


def test_checkpoints_old_versions_and_times(tarn: Tarn):
    folder = tarn.project / "steps"
    for step in range(6):
        write_deltalake(folder, pa.table({"id": range(step * 10, step * 10 + 10)}), mode="append")
    log = folder / "_delta_log"
    DeltaTable(str(folder), version=3).create_checkpoint()
    for version in range(4):
        (log / f"{version:020}.json").unlink()
    # A note of a checkpoint that is gone again is no obstacle.
    (log / "_last_checkpoint").write_text('{"version":5,"size":3}')
    assert plan_of(tarn, "steps")["version"] == "5"
    for version, words in [(2, "oldest version left is 3"), (9, "newest is 5")]:
        with pytest.raises(ApiError) as refused:
            plan_of(tarn, "steps", delta={"version": version})
        assert words in str(refused.value)
    done = imported(tarn, "steps", "shop.steps", delta={"version": 3})
    assert done["report"]["verified"] is True and tarn.rows("SELECT count(*), max(id) FROM shop.steps") == [[40, 39]]
    # The last version at a time, by the times of the commits.
    for version, at in [(4, 1_700_000_000), (5, 1_700_000_600)]:
        os.utime(log / f"{version:020}.json", (at, at))
    assert plan_of(tarn, "steps", delta={"timestamp": "2023-11-14T22:20:00Z"})["version"] == "4"
    assert plan_of(tarn, "steps", delta={"timestamp": "2030-01-01T00:00:00+08:00"})["version"] == "5"
    for timestamp, words in [("2020-01-01T00:00:00Z", "no version of 2020"), ("soon", "is no time")]:
        with pytest.raises(ApiError) as refused:
            plan_of(tarn, "steps", delta={"timestamp": timestamp})
        assert words in str(refused.value)
    (log / f"{4:020}.json").unlink()
    with pytest.raises(ApiError) as refused:
        plan_of(tarn, "steps")
    assert "lacks the commit of version 4" in str(refused.value)


def test_deletion_vectors_of_all_kinds(tarn: Tarn):
    """Written by the protocol, read by DuckDB and by us."""
    folder = tarn.project / "vectors"
    for part in range(4):
        write_deltalake(folder, pa.table({"id": range(part * 70_000, part * 70_000 + 70_000), "part": [part] * 70_000}),
                        mode="append", partition_by=["part"])
    log = DeltaLog(folder)
    log.with_features("deletionVectors")
    files = sorted(log.live(), key=lambda add: add["partitionValues"]["part"])
    chance = random.Random(SEED)
    gone = [sorted(chance.sample(range(70_000), count)) for count in (3, 900, 1_500)]
    for add, rows, kind in zip(files, gone, ["i", "u", "p"], strict=False):
        log.delete_rows(add, rows, kind)
    # More rows of a file go: its vector is replaced.
    again = next(add for add in log.live() if add["partitionValues"]["part"] == "0")
    log.delete_rows(again, gone[0] + [69_999], "u")
    removed = {part * 70_000 + row for part, rows in enumerate(gone) for row in rows} | {69_999}
    expected = set(range(280_000)) - removed
    theirs = set(duckdb_delta(folder)["id"].to_pylist())
    done = imported(tarn, "vectors", "shop.vectors")
    assert done["state"] == "done" and done["report"]["verified"] is True, done
    ours = tarn.arrow("SELECT id FROM shop.vectors")["id"].to_pylist()
    assert len(ours) == len(expected) and set(ours) == expected
    assert theirs == expected
    vector = next((folder / "xy").glob("*.bin"))
    damaged = bytearray(vector.read_bytes())
    damaged[-1] ^= 1
    for file in (folder / "xy").glob("*.bin"):
        file.write_bytes(bytes(damaged))
    with pytest.raises(ApiError) as refused:
        tarn.api("POST", "/imports", {"path": "vectors", "into": "shop.damaged"})
    assert "deletion vector" in str(refused.value), str(refused.value)


def test_columns_that_were_renamed_are_found_by_their_names_in_files(tarn: Tarn):
    folder = tarn.project / "mapped"
    write_deltalake(folder, pa.table({"id": [1, 2, 3], "a b": ["x", None, "z"], "region": ["n/1", None, "s"]}),
                    partition_by=["region"], configuration={"delta.columnMapping.mode": "name"})
    log = DeltaLog(folder)
    metadata = next(action["metaData"] for action in log.actions() if "metaData" in action)
    schema = json.loads(metadata["schemaString"])
    schema["fields"][1]["name"] = "renamed"
    schema["fields"][2]["name"] = "area"
    schema["fields"].append({"name": "a b", "type": "long", "nullable": True, "metadata": {
        "delta.columnMapping.id": 9, "delta.columnMapping.physicalName": "col-new"}})
    log.commit({"metaData": metadata | {"schemaString": json.dumps(schema), "partitionColumns": ["area"]}})
    done = imported(tarn, "mapped", "shop.mapped")
    assert done["report"]["verified"] is True, done
    assert done["plan"]["table"]["partition_by"] == ["area"]
    assert tarn.rows('SELECT id, renamed, area, "a b" FROM shop.mapped ORDER BY id') == [
        [1, "x", "n/1", None], [2, None, None, None], [3, "z", "s", None]]
    # The other reader knows the names in files as they were written.
    theirs = QueryBuilder().register("t", DeltaTable(str(folder), version=0)).execute('SELECT id, "a b", region FROM t ORDER BY id')
    assert [list(row.values()) for row in pa.table(theirs.read_all()).to_pylist()] == tarn.rows(
        "SELECT id, renamed, area FROM shop.mapped ORDER BY id")


def test_what_a_table_says_of_its_columns_is_taken_over(tarn: Tarn):
    folder = tarn.project / "said"
    schema = Schema([
        Field("id", PrimitiveType("integer"), nullable=False, metadata={"comment": "who it is"}),
        Field("at", PrimitiveType("timestamp_ntz"), nullable=True),
    ])
    DeltaTable.create(str(folder), schema)
    done = imported(tarn, "said", "shop.said")
    assert done["state"] == "done" and done["report"]["rows_read"] == 0, done
    told = {row[0]: row[1:] for row in tarn.rows(
        "SELECT column_name, is_nullable, data_type FROM information_schema.columns WHERE table_name = 'said'")}
    assert told["id"][0] == "NO" and told["at"][1] == "timestamp without time zone", told
    properties = tarn.api("GET", "/lakehouse/shop/said")
    assert "who it is" in json.dumps(properties)
    # An empty version takes the place of all rows.
    tarn.query("INSERT INTO shop.said VALUES (1, NULL)")
    done = imported(tarn, "said", "shop.said", mode="replace")
    assert done["state"] == "done" and tarn.value("SELECT count(*) FROM shop.said") == 0, done


def test_what_must_not_be_read_and_what_is_not_known(tarn: Tarn):
    folder = tarn.project / "odd"
    write_deltalake(folder, pa.table({"id": [1, 2, 3]}))
    outside = tarn.project.parent / "secret.parquet"
    pq.write_table(pa.table({"id": [42]}), outside)
    inside = tarn.data / "inside.parquet"
    shutil.copy(outside, inside)

    def fresh() -> DeltaLog:
        for file in (folder / "_delta_log").glob("*.json"):
            if int(file.name[:20]) > 0:
                file.unlink()
        return DeltaLog(folder)

    def refused(*words: str, **more) -> None:
        with pytest.raises(ApiError) as error:
            tarn.api("POST", "/imports", {"path": "odd", "into": "s.t"} | more)
        for word in words:
            assert word in str(error.value), str(error.value)

    def add(path: str, size: int) -> dict:
        return {"add": {"path": path, "partitionValues": {}, "size": size, "modificationTime": 1, "dataChange": True}}

    size = outside.stat().st_size
    for path in (str(outside), outside.as_uri(), f"file:{outside}", "../../secret.parquet", "%2e%2e/secret.parquet",
                 "/etc/passwd", "hdfs://n/a.parquet"):
        fresh().commit(add(path, size))
        refused()
    fresh().commit(add(outside.as_uri(), size))
    refused("does not lie in its folder", "--location")
    # Who names the folder may read it, but never the server's own.
    done = imported(tarn, "odd", "s.named", locations=[str(outside.parent)])
    assert done["state"] == "done" and tarn.rows("SELECT sum(id) FROM s.named") == [[48]], done
    fresh().commit(add(inside.as_uri(), size))
    refused("belongs to the server", locations=[str(tarn.data)])
    link = folder / "link.parquet"
    link.symlink_to(outside)
    fresh().commit(add("link.parquet", size))
    refused("does not lie in its folder")
    link.unlink()
    fresh().with_features("columnMapping", "tensorTypes")
    refused("`tensorTypes`", "not supported")
    fresh().with_features("catalogManaged")
    refused("`catalogManaged`", "catalog")
    real = next(file["path"] for file in fresh().live())
    fresh().commit(add(real, 5))
    refused("according to the table's metadata")
    fresh()
    (folder / "_delta_log" / f"{1:020}.json").write_text('{"add": {"path"')
    refused("no action of a Delta log", "line 1")
    fresh()
    for body, words in [
        ({"delta": {"version": 0, "timestamp": "2024-01-01T00:00:00Z"}}, "both `version` and `timestamp`"),
        ({"delta": {"verison": 0}}, "verison"),
        ({"columns": [{"name": "id", "type": "string"}]}, "its own columns"),
        ({"path": "odd/*.parquet", "delta": {"version": 0}}, "is no Delta table"),
        ({"path": ".", "format": "delta"}, "is no Delta table"),
        ({"path": str(tarn.data), "format": "delta"}, "belongs to the server"),
    ]:
        refused(words, **body)
    assert tarn.rows("SELECT count(*) FROM read_files('odd')") == [[3]]


def test_each_row_comes_once_over_kills(make_tarn):
    """Files with deleted rows, killed on the way: each row that is left comes once."""
    tarn = make_tarn().start()
    folder = tarn.project / "many"
    count, files = 220_000, 5
    for part in range(files):
        write_deltalake(folder, pa.table({"id": range(part * count, (part + 1) * count)}), mode="append")
    log = DeltaLog(folder)
    log.with_features("deletionVectors")
    gone = [n for n in range(0, 60_000, 17)]
    for add in log.live():
        log.delete_rows(add, gone, "u")
    total = files * (count - len(gone))
    begun = tarn.api("POST", "/imports", {"path": "many", "into": "shop.many"})["id"]

    ended_over_kills(tarn, begun, total, 0.2, 0.7)
    assert tarn.rows("SELECT count(*), count(DISTINCT id) FROM shop.many") == [[total, total]]


def test_rows_that_come_are_followed_and_changes_are_told(tarn: Tarn):
    folder = tarn.project / "live"
    write_deltalake(folder, pa.table({"id": range(10)}))
    assert "version 0 of the table, 10 rows read" in tarn.ok("import", str(folder), "--into", "shop.live")
    write_deltalake(folder, pa.table({"id": range(10, 15)}), mode="append")
    done = imported(tarn, "live", "shop.live", mode="append", only_new=True)
    assert done["report"]["rows_added"] == 5 and done["report"]["verified"] is True, done
    assert "15 rows in the table, hashes equal" in tarn.ok("import", "verify", str(folder), "--into", "shop.live")
    with pytest.raises(ApiError) as refused:
        imported(tarn, "live", "shop.live", mode="append", only_new=True)
    assert "imported before" in str(refused.value)
    for change in (lambda: DeltaTable(str(folder)).delete("id = 3"), lambda: DeltaTable(str(folder)).optimize.compact()):
        change()
        with pytest.raises(ApiError) as refused:
            imported(tarn, "live", "shop.live", mode="append", only_new=True)
        assert "--replace" in str(refused.value) and "rewrote" in str(refused.value), str(refused.value)
    newest = DeltaTable(str(folder)).version()
    assert f"version {newest} of the table" in tarn.ok("import", str(folder), "--into", "shop.live", "--replace")
    assert tarn.rows("SELECT count(*), sum(id) FROM shop.live") == [[14, 102]]
    assert tarn.rows("SELECT count(*) FROM read_delta('live', version => 0)") == [[10]]
    assert tarn.rows("SELECT count(*), max(id) FROM read_delta('live')") == [[14, 14]]
