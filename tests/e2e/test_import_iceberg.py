"""Iceberg tables of others become tables: their rows are those that PyIceberg and DuckDB read of the same snapshot."""

import datetime
import decimal
import json
import random
import shutil
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.manifest import ManifestContent
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, DayTransform, IdentityTransform, TruncateTransform
from pyiceberg.types import (
    BinaryType, BooleanType, DateType, DecimalType, DoubleType, FixedType, FloatType, IntegerType, ListType, LongType, MapType,
    NestedField, StringType, StructType, TimestampType, TimestamptzType, TimeType, UUIDType,
)

from rig.bucket import KEY_ID, SECRET, BucketServer
from rig.iceberg import HandMade, catalog_in, duckdb_iceberg, folder_of, newest_metadata
from rig.readers import open_duckdb, open_pyiceberg
from rig.tarn import ApiError, Tarn
from test_import import SEED, imported, plan_of, types
from test_import_delta import assert_same, plain

UTC = datetime.UTC
SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=True, doc="who it is"),
    NestedField(2, "region", StringType(), required=False),
    NestedField(3, "at", TimestamptzType(), required=False),
    NestedField(4, "day", DateType(), required=False),
    NestedField(5, "price", DecimalType(12, 2), required=False),
    NestedField(6, "ratio", FloatType(), required=False),
    NestedField(7, "count", IntegerType(), required=False),
    NestedField(8, "ok", BooleanType(), required=False),
    NestedField(9, "local", TimestampType(), required=False),
    NestedField(10, "clock", TimeType(), required=False),
    NestedField(11, "uid", UUIDType(), required=False),
    NestedField(12, "code", FixedType(3), required=False),
    NestedField(13, "raw", BinaryType(), required=False),
    NestedField(14, "deep", StructType(
        NestedField(15, "a", IntegerType(), required=False),
        NestedField(16, "b", ListType(17, StringType(), element_required=False), required=False)), required=False),
    NestedField(18, "tags", MapType(19, StringType(), 20, LongType(), value_required=False), required=False),
    NestedField(21, "gone", StringType(), required=False),
    identifier_field_ids=[1],
)


def rows(chance: random.Random, ids: range, schema: pa.Schema) -> pa.Table:
    def maybe(value):
        return None if chance.random() < 0.1 else value

    made = [{
        "id": n,
        "region": maybe(chance.choice(["north", "süd/ost", "a=b c%", "数"])),
        "zone": maybe(chance.choice(["north", "süd/ost", "a=b c%", "数"])),
        "at": maybe(datetime.datetime(2024, 1, 1, tzinfo=UTC) + datetime.timedelta(microseconds=chance.randrange(10**12))),
        "day": maybe(datetime.date(1950, 1, 1) + datetime.timedelta(days=chance.randrange(40_000))),
        "price": maybe(decimal.Decimal(chance.randrange(-10**9, 10**9)).scaleb(-2)),
        "ratio": maybe(float(chance.randrange(1000)) / 8),
        "count": maybe(chance.randrange(-2**31, 2**31)),
        "ok": maybe(chance.random() < 0.5),
        "local": maybe(datetime.datetime(1900, 1, 1) + datetime.timedelta(microseconds=chance.randrange(10**15))),
        "clock": maybe(datetime.time(chance.randrange(24), chance.randrange(60), 1, 5)),
        "uid": maybe(uuid.UUID(int=chance.getrandbits(128)).bytes),
        "code": maybe(bytes(chance.randrange(256) for _ in range(3))),
        "raw": maybe(bytes([chance.randrange(256)])),
        "deep": maybe({"a": maybe(n), "b": maybe([maybe("x"), "y"]), "new": maybe(1.5)}),
        "tags": maybe([("k", maybe(n))]),
        "gone": maybe("x"),
        "added": maybe("added"),
    } for n in ids]
    return pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in made], schema)


def told(tarn: Tarn, table: str) -> pa.Table:
    return tarn.arrow(f"SELECT * FROM {table}")


def test_a_table_that_changed_its_columns_and_its_partitioning(tarn: Tarn):
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    catalog = catalog_in(tarn.project / "others")
    catalog.create_namespace("shop")
    spec = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "region"), PartitionField(3, 1001, DayTransform(), "at_day"))
    table = catalog.create_table("shop.sale", SCHEMA, partition_spec=spec)
    table.append(rows(chance, range(200), table.schema().as_arrow()))
    first = table.current_snapshot().snapshot_id
    table.append(rows(chance, range(200, 300), table.schema().as_arrow()))
    table.delete("id < 20")
    table.manage_snapshots().create_tag(table.current_snapshot().snapshot_id, "before").commit()
    with table.update_schema() as change:
        change.rename_column("region", "zone")
        change.delete_column("gone")
        change.add_column("added", StringType())
        change.add_column(("deep", "new"), DoubleType())
        change.update_column("count", LongType())
        change.update_column("ratio", DoubleType())
        change.update_column("price", DecimalType(20, 2))
        change.move_first("price")
    with table.update_spec() as change:
        change.remove_field("at_day")
        change.add_field("id", BucketTransform(4), "id_bucket")
        change.add_field("added", TruncateTransform(2), "added_trunc")
    table.append(rows(chance, range(300, 400), table.schema().as_arrow()))
    table.delete("id >= 390")
    folder = folder_of(table)
    plan = plan_of(tarn, folder, "shop.sale")
    assert plan["format"] == "iceberg" and plan["version"] == str(table.current_snapshot().snapshot_id), plan
    assert plan["table"]["partition_by"] == ["zone", "bucket(4, id)", "truncate(2, added)"], plan["table"]
    assert plan["table"]["key"] == ["id"] and types(plan)["price"] == "decimal(20,2)", plan
    assert plan["warnings"] == [], plan
    done = imported(tarn, folder, "shop.sale")
    assert done["report"]["verified"] is True and done["report"]["rows_added"] == 370, done
    ours = told(tarn, "shop.sale")
    assert_same(ours, table.scan().to_arrow(), "PyIceberg")
    assert duckdb_iceberg(newest_metadata(folder)).num_rows == ours.num_rows
    mine = open_pyiceberg(tarn).load_table("shop.sale")
    assert [str(field.transform) for field in mine.spec().fields] == ["identity", "bucket[4]", "truncate[2]"]
    assert {f.name: str(f.field_type) for f in mine.schema().fields if not f.name.startswith(("deep", "tags"))} == {
        f.name: str(f.field_type) for f in table.schema().fields if not f.name.startswith(("deep", "tags"))}
    assert mine.schema().find_field("id").required and mine.schema().find_field("id").doc == "who it is"
    # Older states come in the columns that they had.
    for number, (choice, scan) in enumerate([
        ({"snapshot": first}, table.scan(snapshot_id=first)), ({"snapshot": str(first)}, table.scan(snapshot_id=first)),
        ({"ref": "before"}, table.scan(snapshot_id=table.snapshot_by_name("before").snapshot_id)),
    ]):
        done = imported(tarn, folder, f"shop.then{number}", iceberg=choice)
        assert done["report"]["verified"] is True, done
        assert_same(told(tarn, f"shop.then{number}"), scan.to_arrow(), f"PyIceberg of {choice}")
    assert "hashes equal" in tarn.ok("import", "verify", str(folder), "--into", "shop.sale")
    for choice, words in [({"snapshot": 1}, "no snapshot 1"), ({"ref": "none"}, "no branch or tag `none`"),
                          ({"snapshot": 1, "ref": "x"}, "more than one"), ({"timestamp": "2001-01-01T00:00:00Z"}, "no snapshot at"),
                          ({"snapshot": "x"}, "is no snapshot")]:
        with pytest.raises(ApiError) as refused:
            plan_of(tarn, folder, iceberg=choice)
        assert words in str(refused.value)
    # Copied elsewhere, it is read where it lies now.
    copy = tarn.project / "copy"
    shutil.copytree(folder, copy)
    shutil.rmtree(folder / "data")
    plan = plan_of(tarn, "copy", "shop.copied")
    assert "its files are read below" in plan["warnings"][0], plan
    done = imported(tarn, newest_metadata(copy), "shop.copied")
    assert done["report"]["verified"] is True and done["report"]["rows_added"] == 370, done
    assert plain(told(tarn, "shop.copied")) == plain(ours)


def test_rows_deleted_by_positions_values_and_vectors(tarn: Tarn):
    """Files of deletes by the specification: DuckDB reads the same rows of the same metadata."""
    catalog = catalog_in(tarn.project / "others")
    catalog.create_namespace("shop")
    schema = pa.schema([("id", pa.int64()), ("name", pa.string()), ("part", pa.int32())])

    def made(ids: range, part: int) -> pa.Table:
        return pa.table({"id": ids, "name": [None if n % 10 == 7 else f"n{n % 50}" for n in ids], "part": [part] * len(ids)}, schema)

    spec = PartitionSpec(PartitionField(3, 1000, IdentityTransform(), "part"))
    plain_table = catalog.create_table("shop.whole", schema)
    parts = catalog.create_table("shop.parts", plain_table.schema(), partition_spec=spec)
    for table in (plain_table, parts):
        table.append(made(range(20_000), 1))
        table.append(made(range(20_000, 30_000), 2))
    whole, by_part = HandMade(plain_table), HandMade(parts)
    gone = {n for n in range(30_000) if n % 10 == 7} | {0, 19_999, 20_000}
    whole.commit(whole.positions({file.file_path: [0] for file in whole.data_files()}))
    whole.commit(whole.positions({next(f.file_path for f in whole.data_files() if f.record_count == 20_000): [0, 19_999]}))
    # Null is a value; rows of the same commit and later ones stay.
    whole.commit(whole.values([("name", pa.string(), 2)], [(None,)]))
    # Values of one partition, of which the other knows nothing.
    by_part.commit(by_part.values([("name", pa.string(), 2), ("id", pa.int64(), 1)], [("n5", 5), ("n5", 20_005), (None, 7)], (1,)))
    cases = [("whole", whole, set(range(30_000)) - gone), ("parts", by_part, set(range(30_000)) - {5, 7})]
    vectors = catalog.create_table("shop.vectors", schema)
    vectors.append(made(range(80_000), 1))
    by_vector = HandMade(vectors)
    rows_gone = sorted(random.Random(SEED).sample(range(80_000), 2_000))
    by_vector.commit(by_vector.vector(by_vector.data_files()[0], rows_gone), version=3)
    cases.append(("vectors", by_vector, set(range(80_000)) - set(rows_gone)))
    for name, hand, expected in cases:
        done = imported(tarn, hand.metadata, f"shop.{name}")
        assert done["state"] == "done" and done["report"]["verified"] is True, done
        ours = told(tarn, f"shop.{name}")["id"].to_pylist()
        assert len(ours) == len(expected) and set(ours) == expected, name
        # DuckDB takes deletes of values in one partition for deletes in all of them.
        theirs = set(duckdb_iceberg(hand.metadata)["id"].to_pylist()) | ({20_005} if name == "parts" else set())
        assert theirs == set(ours), f"DuckDB of {name}"
        assert tarn.value(f"SELECT count(*) FROM read_iceberg('{hand.metadata}')") == len(expected)
    puffin = next((by_vector.folder / "data").glob("*.puffin"))
    damaged = bytearray(puffin.read_bytes())
    damaged[40] ^= 1
    puffin.write_bytes(bytes(damaged))
    with pytest.raises(ApiError) as refused:
        tarn.api("POST", "/imports", {"path": str(by_vector.metadata), "into": "s.t"})
    assert "deletion vector" in str(refused.value)


def test_values_of_columns_that_files_lack(tarn: Tarn):
    """Files of another system that were added: without field ids, the partition only in their folders."""
    catalog = catalog_in(tarn.project / "others")
    catalog.create_namespace("shop")
    schema = Schema(NestedField(1, "id", LongType(), required=False), NestedField(2, "part", StringType(), required=False))
    spec = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "part"))
    table = catalog.create_table("shop.added", schema, partition_spec=spec)
    table.append(pa.table({"id": [1], "part": ["own"]}))
    folder = folder_of(table)
    file = folder / "data" / "part=old" / "a.parquet"
    file.parent.mkdir()
    pq.write_table(pa.table({"id": pa.array([2, 3], pa.int64()), "part": ["old", "old"]}), file)
    table.add_files([f"file://{file}"])
    # The column is taken out of the file: its partition says it.
    pq.write_table(pa.table({"id": pa.array([2, 3], pa.int64())}), file)
    hand = HandMade(table)
    document = json.loads(hand.metadata.read_text())
    assert "schema.name-mapping.default" in document["properties"]
    document["format-version"] = 3
    document["next-row-id"] = 10
    document["schemas"][-1]["fields"].append({"id": 3, "name": "level", "type": "int", "required": False, "initial-default": 42})
    document["last-column-id"] = 3
    sizes = {entry.file_path: entry.file_size_in_bytes for entry in hand.data_files()}
    assert sizes[f"file://{file}"] != file.stat().st_size
    hand.metadata = hand.metadata.with_name("00099-default.metadata.json")
    hand.metadata.write_text(json.dumps(document))
    with pytest.raises(ApiError) as refused:
        plan_of(tarn, folder)
    assert "according to the table's metadata" in str(refused.value)
    # As large as the manifest says.
    short = pa.table({"id": pa.array([2, 3], pa.int64())})
    for name, padding in ((name, padding) for padding in range(2_000) for name in ("pad", "padd")):
        with pq.ParquetWriter(file, short.schema, store_schema=False) as writer:
            writer.write_table(short)
            writer.add_key_value_metadata({name: "x" * padding})
        if file.stat().st_size == sizes[f"file://{file}"]:
            break
    assert file.stat().st_size == sizes[f"file://{file}"]
    done = imported(tarn, folder, "shop.added")
    assert done["state"] == "done" and done["report"]["verified"] is True, done
    assert tarn.rows("SELECT id, part, level FROM shop.added ORDER BY id") == [[1, "own", 42], [2, "old", 42], [3, "old", 42]]


def test_a_table_of_a_rest_catalog(make_tarn, request):
    """Another server's catalog: deletes of DuckDB, a token, files of a bucket and of this machine."""
    theirs = make_tarn("theirs").start()
    ours = make_tarn("ours").start()
    theirs.query("CREATE SCHEMA shop")
    theirs.query("CREATE TABLE shop.item AS SELECT value AS id, 'n' || value AS name FROM generate_series(1, 1000)")
    with open_duckdb(theirs) as connection:
        connection.execute("DELETE FROM lake.shop.item WHERE id % 3 = 0")
    expected = open_pyiceberg(theirs).load_table("shop.item").scan().to_arrow()
    catalog = {"url": theirs.iceberg, "warehouse": "main"}
    with pytest.raises(ApiError) as refused:
        plan_of(ours, "shop.item", iceberg={"catalog": catalog})
    assert "does not lie in its folder" in str(refused.value), "a catalog may not name files of this machine by itself"
    options = {"iceberg": {"catalog": catalog}, "locations": [str(theirs.data)]}
    done = imported(ours, "shop.item", "shop.item", **options)
    assert done["report"]["verified"] is True and done["report"]["rows_added"] == 667, done
    assert plain(told(ours, "shop.item")) == plain(expected)
    said = ours.ok("import", "shop.item", "--into", "shop.again", "--iceberg-catalog", theirs.iceberg, "--iceberg-warehouse", "main",
                   "--location", str(theirs.data))
    assert "667 rows read, 667 rows in the table, hashes equal" in said
    for body, words in [
        ({"path": "shop.none", "iceberg": {"catalog": catalog}}, "404"),
        ({"path": "item", "iceberg": {"catalog": catalog}}, "no table of a catalog"),
        ({"iceberg": {"catalog": catalog | {"url": "http://169.254.169.254/"}}}, "cloud's own metadata"),
        ({"iceberg": {"catalog": catalog | {"token": "plain"}}}, "is written out"),
        ({"iceberg": {"catalog": catalog | {"client_id": "x"}}}, "client with its secret"),
        ({"iceberg": {"catalog": {"url": f"{theirs.url}/nothing"}}}, "configuration"),
        ({"iceberg": {"catalog": {"url": "http://127.0.0.1:1/"}}}, "does not answer"),
    ]:
        with pytest.raises(ApiError) as refused:
            ours.api("POST", "/imports", {"path": "shop.item", "into": "s.t"} | body)
        assert words in str(refused.value), (body, str(refused.value))


def test_a_table_in_a_bucket(tarn: Tarn, bucket: BucketServer):
    catalog = catalog_in(tarn.project / "others")
    catalog.create_namespace("shop")
    table = catalog.create_table("shop.item", pa.schema([("id", pa.int64())]))
    for step in range(3):
        table.append(pa.table({"id": range(step * 10, step * 10 + 10)}))
    folder = folder_of(table)
    for file in folder.rglob("*"):
        if file.is_file():
            bucket.client.upload_file(str(file), "lake", f"moved/item/{file.relative_to(folder)}")
    shutil.rmtree(folder)
    tarn.set_secret("lake_key", SECRET)
    options = {"s3": {"endpoint": bucket.endpoint, "access_key_id": KEY_ID, "allow_http": True,
                      "secret_access_key": {"secret": "lake_key"}}}
    done = imported(tarn, "s3://lake/moved/item", "shop.item", **options)
    assert done["report"]["verified"] is True, done
    assert tarn.rows("SELECT count(*), sum(id) FROM shop.item") == [[30, 435]]


def test_what_must_not_be_read(tarn: Tarn):
    """Metadata that points to files of others is refused, and so is what Tarn itself keeps."""
    catalog = catalog_in(tarn.project / "others")
    catalog.create_namespace("shop")
    table = catalog.create_table("shop.item", pa.schema([("id", pa.int64())]))
    table.append(pa.table({"id": range(10)}))
    folder = folder_of(table)
    secret = tarn.project.parent / "secret.parquet"
    pq.write_table(pa.table({"id": [42]}), secret)
    tarn.query("CREATE SCHEMA own")
    tarn.query("CREATE TABLE own.t AS SELECT 1 AS id")
    warehouse = next(tarn.data.rglob("*.parquet"))

    def refused(*words: str, **body) -> None:
        with pytest.raises(ApiError) as error:
            tarn.api("POST", "/imports", {"path": str(folder), "into": "s.t"} | body)
        for word in words:
            assert word in str(error.value), str(error.value)

    original = newest_metadata(folder)
    for target in (secret, warehouse, Path("/etc/passwd")):
        hand = HandMade(table)
        hand.commit(hand.elsewhere(target), content=ManifestContent.DATA)
        refused("does not lie in its folder", "--location")
        document = json.loads(original.read_text())
        document["snapshots"][-1]["manifest-list"] = target.as_uri()
        hand.metadata.write_text(json.dumps(document))
        refused("does not lie in its folder")
        hand.metadata.unlink()
    # Who names the other folder may read it, but never the server's own.
    hand = HandMade(table)
    hand.commit(hand.elsewhere(warehouse), content=ManifestContent.DATA)
    refused("belongs to the server", locations=[str(tarn.data)])
    hand.metadata.unlink()
    document = json.loads(original.read_text())
    document["location"] = tarn.project.parent.as_uri()
    document["snapshots"][-1]["manifest-list"] = (tarn.project.parent / "x" / ".." / ".." / "etc" / "passwd").as_uri()
    made = original.with_name("00051-evil.metadata.json")
    made.write_text(json.dumps(document))
    refused("`..`")
    made.unlink()
    refused("belongs to the server", path=str(warehouse.parent.parent))
    refused("belongs to the server", path=str(next(tarn.data.rglob("*.metadata.json"))))
    document = json.loads(original.read_text())
    document["format-version"] = 9
    made.write_text(json.dumps(document))
    refused("format version 9")
    made.unlink()
    refused("is no Iceberg table", path=str(tarn.project), format="iceberg")
    refused("its own columns", columns=[{"name": "id", "type": "string"}])
    assert tarn.rows(f"SELECT count(*) FROM read_iceberg('{folder}')") == [[10]]
    with pytest.raises(ApiError) as error:
        tarn.rows(f"SELECT * FROM read_delta('{folder}')")
    assert "is no Delta table" in str(error.value)
