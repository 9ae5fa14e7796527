"""Parquet files that stay where they are: registered as files of a table, read by everybody, never changed, and taken over in
the end."""

import datetime
import decimal
import hashlib
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from test_import import ended, imported, plan_of

from rig.bucket import KEY_ID, SECRET
from rig.engines import difference, engines, sorted_rows
from rig.process import wait_until
from rig.readers import assert_same_rows, readers
from rig.tarn import ApiError, Tarn

SEED = int(os.environ.get("TARN_SEED", random.SystemRandom().randrange(2**31)))


def rows(first: int, count: int) -> pa.Table:
    ids = range(first, first + count)
    return pa.table({
        "id": pa.array(ids, pa.int64()),
        "name": pa.array([None if i % 7 == 0 else f"名称 {i}" for i in ids]),
        "price": pa.array([decimal.Decimal(i) / 4 for i in ids], pa.decimal128(12, 2)),
        "day": pa.array([datetime.date(2024, 1, 1) + datetime.timedelta(days=i % 30) for i in ids]),
        "at": pa.array([datetime.datetime(2024, 1, 1) + datetime.timedelta(seconds=i) for i in ids], pa.timestamp("us")),
        "seconds": pa.array([datetime.datetime(2024, 1, 1) + datetime.timedelta(milliseconds=i) for i in ids], pa.timestamp("ms")),
        "ratio": pa.array([i * 1.5 for i in ids], pa.float64()),
        "small": pa.array([i % 100 for i in ids], pa.int16()),
        "tags": pa.array([[f"t{i % 3}", None] if i % 5 else None for i in ids], pa.list_(pa.string())),
        "size": pa.array([{"w": i, "h": i * 0.5} for i in ids]),
    })


def write(table: pa.Table, file: Path, **more) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file, row_group_size=100, **more)
    return file


def fill(folder: Path) -> None:
    write(rows(0, 500), folder / "year=2023/region=north/a.parquet")
    write(rows(500, 300), folder / "year=2024/region=north/b.parquet")
    write(rows(800, 200), folder / "year=2024/region=south%20x/c.parquet", compression="zstd")
    write(rows(1000, 50), folder / "year=2024/region=__HIVE_DEFAULT_PARTITION__/d.parquet", use_dictionary=False)


def oracle(folder: Path) -> pa.Table:
    """The same folder as pyarrow reads it."""
    fields = pa.schema([("year", pa.int32()), ("region", pa.string())])
    partitioning = ds.HivePartitioning(fields, segment_encoding="uri")
    return ds.dataset(folder, partitioning=partitioning, format="parquet").to_table()


def prints(folder: Path) -> dict[str, str]:
    """What each file below a folder holds."""
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.rglob("*.parquet"))}


def test_files_stay_where_they_are_and_everybody_reads_them(tarn: Tarn):
    """Registered, read by every engine that follows the specification, changed by SQL; no byte of the files changes."""
    folder = tarn.project / "events"
    fill(folder)
    before, expected = prints(folder), oracle(folder)
    shown = tarn.ok("import", str(folder), "--into", "shop.event", "--register", "--dry-run")
    assert "partitioned by year, region" in shown and "stay where they are" in shown, shown
    said = tarn.ok("import", str(folder), "--into", "shop.event", "--register")
    assert "1050 rows of 4 files are in the table and stay where they are" in said, said
    own = [file for file in (tarn.data / "lake").rglob("*.parquet")]
    assert own == [], "nothing was copied"
    for name, read in readers(tarn).items():
        assert_same_rows(expected, read("shop.event"), "id", name)
    for engine in engines(tarn):
        if engine.version is None or engine.name == "Daft":
            continue  # Daft knows no name mapping and says so
        columns = expected.column_names
        if engine.name == "chDB":  # It puts a zone to timestamps, and its lists are never null.
            columns = [name for name in columns if name not in ("at", "seconds", "tags")]
        seen = engine.arrow("shop.event").select(columns)
        wanted = sorted(zip(*(expected[name].to_pylist() for name in columns), strict=True))
        told = difference(wanted, sorted_rows(seen, columns))
        assert not told, f"{engine.name} {engine.version}: {told}"
        print(f"{engine.name} {engine.version}: equal")
    assert "1050 rows read, 1050 rows in the table, hashes equal" in tarn.ok("import", "verify", str(folder), "--into", "shop.event")

    # Files are left out by folders and by the figures of their footers.
    plan = tarn.rows("EXPLAIN ANALYZE SELECT * FROM shop.event WHERE year = 2024 AND region = 'south x'")
    assert tarn.value("SELECT count(*) FROM shop.event WHERE region IS NULL AND id >= 1000") == 50, plan
    assert tarn.value("SELECT count(*) FROM shop.event.files WHERE file_path LIKE '%/events/%'") == 4
    assert tarn.value("SELECT sum(size['w']) FROM shop.event WHERE year = 2023") == sum(range(500))

    # SQL changes the table and no file of it.
    tarn.query("DELETE FROM shop.event WHERE id % 10 = 3")
    tarn.query("UPDATE shop.event SET name = 'changed', region = 'west' WHERE id % 10 = 4")
    tarn.query("INSERT INTO shop.event (id, name, year, region) VALUES (5000, 'new', 2025, 'north')")
    tarn.query("ALTER TABLE shop.event RENAME COLUMN name TO title")
    tarn.query("ALTER TABLE shop.event ADD COLUMN name string")
    tarn.query("ALTER TABLE shop.event ALTER COLUMN small TYPE bigint")
    state = "SELECT id, title, name, region, small, price FROM shop.event ORDER BY id"
    seen = tarn.rows(state)
    assert len(seen) == 1050 - 105 + 1
    assert [row for row in seen if row[0] in (0, 4, 8, 5000)] == [
        [0, None, None, "north", 0, "0.00"], [4, "changed", None, "west", 4, "1.00"],
        [8, "名称 8", None, "north", 8, "2.00"], [5000, "new", None, "north", None, None]]
    tables = {name: read("shop.event") for name, read in readers(tarn).items()}
    for name, table in tables.items():
        assert_same_rows(tables["Tarn's SQL"].select(["id", "title", "name", "region", "small"]),
                         table.select(["id", "title", "name", "region", "small"]), "id", name)
    tarn.query("OPTIMIZE shop.event")
    assert tarn.value("SELECT count(*) FROM shop.event.files WHERE file_path LIKE '%/events/%'") == 4, "not copied unasked"
    assert tarn.rows(state) == seen
    tarn.restart()
    assert tarn.rows(state) == seen
    assert prints(folder) == before
    tarn.query("DROP TABLE shop.event PURGE")
    assert prints(folder) == before, "not ours to delete"


def test_new_files_come_until_the_cut_over(tarn: Tarn):
    folder = tarn.project / "events"
    fill(folder)
    tarn.ok("import", str(folder), "--into", "shop.event", "--register")
    again = tarn.cli("import", str(folder), "--into", "shop.event", "--register")
    assert again.returncode != 0 and "already" in again.stderr and "--only-new" in again.stderr, again.stderr
    write(rows(2000, 100), folder / "year=2025/region=north/e.parquet")
    done = imported(tarn, folder, "shop.event", mode="register", only_new=True)
    assert done["progress"]["rows"] == 100 and done["progress"]["files_total"] == 1, done
    # Comes between the last look and the cut-over.
    write(rows(3000, 10), folder / "year=2025/region=east/f.parquet")
    said = tarn.ok("import", "cutover", "shop.event")
    assert "1160 rows read, 1160 rows in the table, hashes equal" in said and "6 registered files were copied" in said, said
    expected = oracle(folder)
    shutil.move(folder, tarn.project / "gone")
    tarn.restart()
    for name, read in readers(tarn).items():
        assert_same_rows(expected, read("shop.event"), "id", name)
    assert tarn.value("SELECT count(*) FROM shop.event.files WHERE file_path LIKE '%/events/%'") == 0


def test_a_cut_over_of_sides_that_differ_changes_nothing(tarn: Tarn):
    folder = tarn.project / "events"
    fill(folder)
    tarn.ok("import", str(folder), "--into", "shop.event", "--register")
    tarn.query("DELETE FROM shop.event WHERE id = 17")
    refused = tarn.cli("import", "cutover", "shop.event")
    assert refused.returncode != 0 and "1050 rows read, but 1049 rows in the table" in refused.stderr, refused.stderr
    assert tarn.value("SELECT count(*) FROM shop.event.files WHERE file_path LIKE '%/events/%'") == 4
    # Imported rows, not registered files, are cut over as well.
    tarn.ok("import", str(folder), "--into", "shop.copied")
    said = tarn.ok("import", "cutover", "shop.copied")
    assert "hashes equal; all its files are its own" in said, said
    tarn.query("CREATE TABLE shop.other (id bigint)")
    refused = tarn.cli("import", "cutover", "shop.other")
    assert refused.returncode != 0 and "no import" in refused.stderr, refused.stderr


def test_the_last_files_of_a_cut_over_come_once(tarn: Tarn):
    """They are many rows, and the server ends in the midst of them: once by a signal, once killed. Places overlap."""
    folder = tarn.project / "live"

    def numbers(first: int, count: int, name: str) -> None:
        write(pa.table({"n": pa.array(range(first, first + count), pa.int64())}), folder / name)

    numbers(0, 1_000, "a.parquet")
    assert imported(tarn, folder, "shop.live")["state"] == "done"
    numbers(1_000, 1_000, "b.parquet")
    assert imported(tarn, folder / "*.parquet", "shop.live", mode="append", only_new=True)["state"] == "done"
    for at in range(4):
        numbers(2_000 + at * 500_000, 500_000, f"c{at}.parquet")
    total = 2_000 + 2_000_000
    begun = tarn.api("POST", "/imports/cutover", {"into": "shop.live"})["id"]

    def last_rows() -> int:
        newest = tarn.api("GET", "/imports")["items"]
        return max((item["progress"]["rows"] for item in newest if item["mode"] == "append" and item["state"] == "running"), default=0)

    ends = 0
    for rows, end in ((1_100_000, tarn.stop), (1_600_000, tarn.kill)):
        wait_until("the last files come", lambda: last_rows() >= rows or tarn.api("GET", f"/imports/{begun}")["state"] != "running", 120)
        if tarn.api("GET", f"/imports/{begun}")["state"] == "running":
            end()
            ends += 1
            tarn.start()
    assert ends >= 1, "it was over before it could be ended"
    done = ended(tarn, begun)
    assert done["state"] == "done" and done["report"]["verified"] is True, done
    assert done["report"]["rows_read"] == total
    assert tarn.rows("SELECT count(*), count(DISTINCT n), sum(n) FROM shop.live") == [[total, total, total * (total - 1) // 2]]


def test_registrations_and_cut_overs_survive_kills(tarn: Tarn):
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    folder = tarn.project / "many"
    for at in range(1_100):
        table = pa.table({"id": pa.array(range(at * 3, at * 3 + 3), pa.int64()), "text": [f"row {at}"] * 3})
        write(table, folder / f"bucket={at % 5}/{at:05}.parquet")
    begun = tarn.api("POST", "/imports", {"path": str(folder), "into": "shop.many", "mode": "register"})
    for _ in range(3):
        time.sleep(chance.random())
        tarn.kill()
        tarn.start()
    done = ended(tarn, begun["id"])
    assert done["state"] == "done" and done["progress"]["rows"] == 3_300, done
    assert tarn.rows("SELECT count(*), count(DISTINCT id), sum(bucket) FROM shop.many") == [[3_300, 3_300, 6_600]]
    begun = tarn.api("POST", "/imports/cutover", {"into": "shop.many"})
    for _ in range(3):
        time.sleep(chance.random() * 2)
        tarn.kill()
        tarn.start()
    done = ended(tarn, begun["id"])
    assert done["state"] == "done" and done["report"]["verified"] is True, done
    assert tarn.rows("SELECT count(*), count(DISTINCT id), sum(bucket) FROM shop.many") == [[3_300, 3_300, 6_600]]
    assert tarn.value("SELECT count(*) FROM shop.many.files WHERE file_path LIKE '%/many/bucket=%/0%'") == 0


def test_what_cannot_be_read_in_place_is_refused_and_leaves_nothing(tarn: Tarn, tmp_path: Path):
    def refused(path: object, *parts: str, into: str = "shop.no", **more) -> None:
        with pytest.raises(ApiError) as error:
            done = imported(tarn, path, into, mode="register", **more)
            if done["state"] == "failed":
                raise ApiError(409, str(done["error"]))
        for part in parts:
            assert part in str(error.value), error.value
        with pytest.raises(ApiError):
            tarn.query("SELECT * FROM shop.no")

    outside = write(rows(0, 5), tmp_path / "elsewhere" / "a.parquet").parent
    refused(outside, "[[lakehouse.outside]]", str(outside), "tarn.toml")
    refused(tarn.data, "belongs to the server itself")
    (tarn.project / "a.csv").write_text("id\n1\n")
    refused(tarn.project / "a.csv", "only Parquet", "csv")
    write(rows(0, 5), tarn.project / "ok" / "a.parquet")
    refused(tarn.project / "ok", "without a key", key=["id"])
    refused(tarn.project / "ok", "as they lie", partition_by=["day(at)"])

    nanos = pa.table({"at": pa.array([1], pa.timestamp("ns"))})
    refused(write(nanos, tarn.project / "nanos" / "a.parquet", version="2.6", coerce_timestamps=None).parent, "nanoseconds", "`at`")
    int96 = tarn.project / "int96" / "a.parquet"
    refused(write(nanos, int96, use_deprecated_int96_timestamps=True).parent, "INT96")
    refused(write(pa.table({"n": pa.array([1], pa.uint32())}), tarn.project / "unsigned" / "a.parquet").parent, "without a sign")

    # Only one of many files is otherwise, beyond those whose footers a plan reads.
    for at in range(200):
        table = pa.table({"id": pa.array([at], pa.int64())})
        if at == 150:
            table = pa.table({"id": pa.array(["text"])})
        write(table, tarn.project / "one" / f"{at:03}.parquet")
    refused(tarn.project / "one", "150.parquet", "`id`", "gone again")
    write(pa.table({"id": pa.array([150], pa.int64())}), tarn.project / "one" / "150.parquet")
    (tarn.project / "one" / "150.parquet").write_bytes(b"PAR1 this is no parquet PAR1")
    refused(tarn.project / "one", "150.parquet", "gone again")
    with pytest.raises(ApiError, match="cut-over is no import"):
        tarn.api("POST", "/imports", {"path": "one", "into": "shop.no", "mode": "cutover"})
    shutil.rmtree(tarn.project / "one")
    (tarn.project / "broken").mkdir()
    (tarn.project / "broken" / "a.parquet").write_bytes(b"PAR1 this is no parquet PAR1")
    refused(tarn.project / "broken", "a.parquet")
    (tarn.project / "ids").mkdir()
    marked = pa.schema([pa.field("id", pa.int64(), metadata={"PARQUET:field_id": "42"})])
    pq.write_table(pa.table({"id": [1]}, schema=marked), tarn.project / "ids" / "a.parquet")
    refused(tarn.project / "ids", "field id 42", "another table")
    # The folder says one thing and the file another.
    write(pa.table({"id": [1, 2], "year": pa.array([2023, 2024], pa.int32())}), tarn.project / "both" / "year=2024" / "a.parquet")
    refused(tarn.project / "both", "`year`", "in the file too")

    tarn.query("CREATE TABLE shop.keyed (id bigint PRIMARY KEY)")
    with pytest.raises(ApiError, match="without a key"):
        plan_of(tarn, tarn.project / "ok", "shop.keyed", mode="register")
    tarn.query("CREATE TABLE shop.narrow (id int)")
    with pytest.raises(ApiError, match="cannot be read as Int32"):
        plan_of(tarn, tarn.project / "ok", "shop.narrow", mode="register")
    tarn.query("CREATE TABLE shop.few (id bigint)")
    with pytest.raises(ApiError, match="no column"):
        plan_of(tarn, tarn.project / "ok", "shop.few", mode="register")


def test_a_place_of_the_configuration_and_one_in_a_bucket(make_tarn, bucket, tmp_path: Path):
    """Outside the project folder a place is named first; a bucket has its own keys, and the table lies elsewhere."""
    tarn = make_tarn()
    old = tmp_path / "old"
    fill(old)
    import boto3
    client = boto3.client("s3", endpoint_url=bucket.endpoint, aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET,
                          region_name="us-east-1")
    for file in sorted(old.rglob("*.parquet")):
        client.upload_file(str(file), "lake", f"landing/{file.relative_to(old)}")
    (tarn.project / "tarn.toml").write_text(f"""
[[lakehouse.outside]]
url = "{old}"

[[lakehouse.outside]]
url = "s3://lake/landing"
endpoint = "{bucket.endpoint}"
region = "us-east-1"
access_key_id = "{KEY_ID}"
secret_access_key = "{SECRET}"
allow_http = true
""")
    tarn.start()
    tarn.set_secret("lake_key", SECRET)
    expected = oracle(old)
    assert imported(tarn, old, "shop.local", mode="register")["state"] == "done"
    s3 = {"endpoint": bucket.endpoint, "region": "us-east-1", "access_key_id": KEY_ID,
          "secret_access_key": {"secret": "lake_key"}, "allow_http": True}
    done = imported(tarn, "s3://lake/landing/", "shop.remote", mode="register", s3=s3)
    assert done["state"] == "done", done
    for table in ("shop.local", "shop.remote"):
        assert_same_rows(expected, tarn.arrow(f"SELECT * FROM {table}"), "id", table)
    keys = bucket.keys()
    tarn.query("DELETE FROM shop.remote WHERE id < 100")
    assert tarn.value("SELECT count(*) FROM shop.remote") == 950
    tarn.query("INSERT INTO shop.remote SELECT * FROM shop.local WHERE id < 100")
    done = ended(tarn, tarn.api("POST", "/imports/cutover", {"into": "shop.remote"})["id"])
    assert done["state"] == "done", done
    assert bucket.keys() == keys, "the bucket is only read"
    assert tarn.value("SELECT count(*) FROM shop.remote.files WHERE file_path LIKE 's3:%'") == 0
    assert_same_rows(expected, tarn.arrow("SELECT * FROM shop.remote"), "id", "the table after the cut-over")

    # A place that is not there any more stops queries with its name, and comes back.
    shutil.move(old, tmp_path / "away")
    with pytest.raises(ApiError, match="is missing"):
        tarn.query("SELECT sum(price) FROM shop.local")
    shutil.move(tmp_path / "away", old)
    assert tarn.value("SELECT count(price) FROM shop.local") == 1050
    tarn.stop()
    shutil.move(old, tmp_path / "away")
    failed = tarn.cli("up", "--no-browser")
    assert failed.returncode != 0 and "lakehouse.outside" in failed.stderr, failed.stderr
