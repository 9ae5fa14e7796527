"""Files of others that become tables: found out, imported once, compared with what other readers see."""

import csv
import datetime
import decimal
import gzip
import json
import os
import random
import subprocess

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rig.bucket import KEY_ID, SECRET, BucketServer
from rig.process import wait_until
from rig.readers import readers
from rig.tarn import ApiError, Tarn

SEED = int(os.environ.get("TARN_SEED", random.SystemRandom().randrange(2**31)))
SALES = "id;name;zip;price;day;at;paid\n" + "".join(
    f"{n};{'名称' if n % 2 else 'a ''b'} {n};0{n:04};{n}.50;2024-05-{n % 28 + 1:02};2024-05-01 10:00:{n % 60:02};{'true' if n % 3 else ''}\n"
    for n in range(1, 501)
)


def plan_of(tarn: Tarn, path: object, into: str = "shop.sale", **more) -> dict:
    return tarn.api("POST", "/imports", {"path": str(path), "into": into, "dry_run": True} | more)["plan"]


def types(plan: dict) -> dict:
    return {column["name"]: column["type"] for column in plan["columns"]}


def imported(tarn: Tarn, path: object, into: str, **more) -> dict:
    """Imports and waits for the end."""
    begun = tarn.api("POST", "/imports", {"path": str(path), "into": into} | more)
    return ended(tarn, begun["id"])


def ended(tarn: Tarn, name: str) -> dict:
    def state():
        last = tarn.api("GET", f"/imports/{name}")
        return last if last["state"] not in ("running", "verifying") else None

    wait_until("the import ends", state, 120)
    return state()


def ended_over_kills(tarn: Tarn, name: str, total: int, *shares: float) -> None:
    """Kills the server when these shares of an import's rows are read, and waits for its end: all rows are there, once."""
    def reached(rows: int):
        now = tarn.api("GET", f"/imports/{name}")
        return now["progress"]["rows"] >= rows or now["state"] not in ("running", "verifying")

    kills = 0
    for share in shares:
        wait_until("rows are read", lambda: reached(int(total * share)), 120)
        if tarn.api("GET", f"/imports/{name}")["state"] != "running":
            break
        tarn.kill()
        kills += 1
        tarn.start()
    assert kills >= 1, "the import was over before it could be killed"
    done = ended(tarn, name)
    assert done["state"] == "done" and done["report"]["verified"] is True, done
    assert done["report"]["rows_added"] == total


def test_the_first_ten_minutes(tarn: Tarn):
    """What is typed first, and what is said: shown, imported, compared, and read by everybody alike."""
    file = tarn.project / "sales.csv"
    file.write_text(SALES, "utf-8")
    said = tarn.ok("import", str(file), "--into", "shop.sale", "--dry-run")
    for part in ('delimiter ";"', "header", "utf-8", "500 rows looked at", "decimal(18,2)", "leading zero", "nothing was imported"):
        assert part in said, said
    with pytest.raises(ApiError):
        tarn.query("SELECT * FROM shop.sale")
    assert "500 rows read, 500 rows in the table, hashes equal" in tarn.ok("import", str(file), "--into", "shop.sale")
    assert tarn.rows("SELECT sum(price), min(zip), count(paid), max(at) FROM shop.sale") == [
        ["125500.00", "00001", 334, "2024-05-01T10:00:59"]]
    rows = {name: read("shop.sale").sort_by("id").to_pylist() for name, read in readers(tarn).items()}
    first = rows["Tarn's SQL"][0]
    assert first["price"] == decimal.Decimal("1.50") and first["day"] == datetime.date(2024, 5, 2)
    assert all(seen == rows["Tarn's SQL"] for seen in rows.values()), f"{rows.keys()} differ"

    again = tarn.cli("import", str(file), "--into", "shop.sale")
    assert again.returncode != 0 and "exists already" in again.stderr and "append" in again.stderr, again.stderr
    assert "1000 rows in the table" not in tarn.ok("import", str(file), "--into", "shop.sale", "--append")
    assert tarn.value("SELECT count(*) FROM shop.sale") == 1000
    assert "500 rows in the table, hashes equal" in tarn.ok("import", str(file), "--into", "shop.sale", "--replace")
    assert tarn.value("SELECT count(*) FROM shop.sale") == 500
    assert tarn.ok("import", "list").count("done") == 3


def test_a_local_file_is_sent_to_a_server_elsewhere(tarn: Tarn):
    file = tarn.project.parent / "elsewhere" / "sales.csv.gz"
    file.parent.mkdir()
    file.write_bytes(gzip.compress(SALES.encode()))
    said = tarn.ok("--server", tarn.url, "import", str(file), "--into", "shop.sent")
    assert "500 rows read, 500 rows in the table, hashes equal" in said
    uploads = list((tarn.data / "uploads").rglob("*.gz"))
    assert uploads == [], "an upload goes when it is imported"
    refused = tarn.request("POST", "/api/v1/imports/uploads?name=x.csv", data=b"")
    assert refused.status_code == 400 and "empty" in refused.text


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "utf-8-sig"])
def test_encodings(tarn: Tarn, encoding: str):
    (tarn.project / "a.csv").write_bytes(SALES.encode(encoding))
    plan = plan_of(tarn, "a.csv")
    assert plan["columns"][1]["samples"][0] == "名称 1", plan
    done = imported(tarn, "a.csv", "shop.sale")
    assert done["report"]["verified"] is True, done
    assert tarn.value("SELECT count(*) FROM shop.sale WHERE name LIKE '名称 %'") == 250


def test_types_are_those_of_duckdb_or_wider(tarn: Tarn):
    """The same random file read by DuckDB and by us: the same values, whatever was found out."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    makers = [
        lambda: str(chance.randrange(-1000, 1000)),
        lambda: f"{chance.randrange(-9999, 9999) / 100:.2f}",
        lambda: chance.choice(["true", "false"]),
        lambda: (datetime.date(2020, 1, 1) + datetime.timedelta(days=chance.randrange(900))).isoformat(),
        lambda: chance.choice(["", "a,b", 'say "hi"', "line\nbreak", "数据", "007", " x "]),
        lambda: f"{chance.random():.{chance.randrange(1, 12)}f}",
    ]
    chosen = [chance.choice(makers) for _ in range(8)]
    file = tarn.project / "random.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["id"] + [f"c{n}" for n in range(8)])
        for row in range(700):
            writer.writerow([row] + [("" if chance.random() < 0.1 else maker()) for maker in chosen])
    done = imported(tarn, "random.csv", "main.random")
    assert done["report"]["verified"] is True, done
    ours = tarn.arrow("SELECT * FROM main.random ORDER BY id").to_pylist()
    theirs = duckdb.sql(f"SELECT * FROM read_csv('{file}', all_varchar = true, nullstr = '') ORDER BY id::int").arrow()
    theirs = (theirs.read_all() if hasattr(theirs, "read_all") else theirs).to_pylist()
    for mine, text in zip(ours, theirs, strict=True):
        for name, value in mine.items():
            raw = text[name]
            if value is None or raw is None:
                assert (value is None) == (raw in (None, "")), (name, value, raw)
            elif isinstance(value, bool):
                assert str(value).lower() == raw
            elif isinstance(value, (int, float, decimal.Decimal)):
                assert type(value)(raw) == value, (name, value, raw)
            else:
                assert str(value) == raw, (name, value, raw)


def test_json_lines_arrays_and_nested_values(tarn: Tarn):
    rows = [{"id": n, "at": f"2024-01-01T00:00:{n:02}Z", "tags": ["a", n], "note": None if n % 2 else "x"} for n in range(50)]
    (tarn.project / "lines.ndjson").write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    (tarn.project / "array.json").write_text(json.dumps(rows, indent=2), "utf-8")
    (tarn.project / "pretty.json").write_text("\n".join(json.dumps(row, indent=1) for row in rows), "utf-8")
    for name in ("lines.ndjson", "array.json", "pretty.json"):
        table = name.split(".")[0]
        done = imported(tarn, name, f"j.{table}")
        assert done["report"]["verified"] is True and done["report"]["rows_read"] == 50, done
        assert types(done["plan"])["at"] == "timestamptz"
        assert tarn.rows(f"SELECT sum(id), count(note), max(tags) FROM j.{table}") == [[1225, 25, '["a",9]']]


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_hive_folders_become_columns_and_partitions(tarn: Tarn, request, place: str):
    table = pa.table({"n": pa.array(range(10), pa.int64()), "deep": [{"a": n, "b": [n]} for n in range(10)]})
    written = {}
    for year in (2023, 2024):
        for month in ("01", "12"):
            key = f"events/year={year}/month={month}/part 1.parquet"
            written[key] = tarn.project / key
            written[key].parent.mkdir(parents=True)
            pq.write_table(table, written[key])
    options: dict = {}
    path = "events"
    if place == "bucket":
        bucket: BucketServer = request.getfixturevalue("bucket")
        for key, file in written.items():
            bucket.client.upload_file(str(file), "lake", key)
        tarn.set_secret("lake_key", SECRET)
        path = "s3://lake/events/"
        options = {"s3": {"endpoint": bucket.endpoint, "access_key_id": KEY_ID, "allow_http": True,
                          "secret_access_key": {"secret": "lake_key"}}}
        with pytest.raises(ApiError) as refused:
            plan_of(tarn, path, s3=options["s3"] | {"secret_access_key": SECRET})
        assert "secret" in str(refused.value)
    plan = plan_of(tarn, path, "shop.event", **options)
    assert types(plan)["year"] == "int32" and plan["table"]["partition_by"] == ["year", "month"] and plan["files"] == 4
    done = imported(tarn, path, "shop.event", **options)
    assert done["report"]["verified"] is True and done["report"]["rows_added"] == 40, done
    assert tarn.rows("SELECT year, month, count(*) FROM shop.event GROUP BY 1, 2 ORDER BY 1, 2") == [
        [2023, 1, 10], [2023, 12, 10], [2024, 1, 10], [2024, 12, 10]]
    assert len(tarn.api("GET", "/lakehouse/shop/event/files")["items"]) == 4
    seen = {name: read("shop.event").num_rows for name, read in readers(tarn).items()}
    assert set(seen.values()) == {40}, seen


def test_bad_records_fail_are_skipped_or_kept(tarn: Tarn):
    lines = ["id,qty"] + [f"{n},{n}" for n in range(20_000)]
    lines[15_000] = "14999,many"
    lines[16_000] = "1,2,3"
    (tarn.project / "bad.csv").write_text("\n".join(lines), "utf-8")
    failed = imported(tarn, "bad.csv", "shop.bad")
    assert failed["state"] == "failed" and "bad.csv:15001" in failed["error"]["message"], failed
    assert "`many` is not of type int64" in failed["error"]["message"] and "`on_error`" in failed["error"]["hint"]
    with pytest.raises(ApiError):
        tarn.query("SELECT * FROM shop.bad")
    kept = imported(tarn, "bad.csv", "shop.bad", on_error="quarantine")
    assert kept["state"] == "done" and kept["report"]["verified"] is True and kept["report"]["problems"] == 2, kept
    problems = tarn.api("GET", f"/imports/{kept['id']}/problems")["items"]
    assert [(p["line"], p["record"]) for p in problems] == [(15001, "14999,many"), (16001, "1,2,3")]
    assert tarn.value("SELECT count(*) FROM shop.bad") == 19_998
    # Rows that came before the bad one go again; those of before stay.
    failed = imported(tarn, "bad.csv", "shop.bad", mode="append")
    assert failed["state"] == "failed" and tarn.value("SELECT count(*) FROM shop.bad") == 19_998
    few = imported(tarn, "bad.csv", "shop.few", on_error="skip", errors_max=1)
    assert few["state"] == "failed" and "more than 1 records" in few["error"]["message"]
    (tarn.project / "na.csv").write_text("id,qty\n1,5\n2,NA\n", "utf-8")
    assert "--null 'NA'" in " ".join(plan_of(tarn, "na.csv")["warnings"])
    assert types(plan_of(tarn, "na.csv", csv={"null": ["", "NA"]}))["qty"] == "int64"


def test_each_record_comes_once_over_kills(make_tarn):
    """Killed again and again, the import goes on by itself, and the table holds each row once."""
    tarn = make_tarn().start()
    folder = tarn.project / "many"
    folder.mkdir()
    total, files = 0, 12
    for number in range(files):
        rows = 260_000
        numbers = pa.array(range(total, total + rows), pa.int64())
        pq.write_table(pa.table({"n": numbers, "text": [f"row {n}" for n in range(total, total + rows)]}), folder / f"{number:02}.parquet")
        total += rows
    begun = tarn.api("POST", "/imports", {"path": "many", "into": "shop.many"})["id"]

    ended_over_kills(tarn, begun, total, 0.15, 0.4, 0.7)
    assert tarn.rows("SELECT count(*), count(DISTINCT n), sum(n) FROM shop.many") == [[total, total, total * (total - 1) // 2]]
    properties = tarn.api("GET", "/lakehouse/shop/many").get("properties", {})
    assert not [name for name in properties if name.startswith("tarn.import.")]


def test_a_folder_is_followed_and_compared_until_the_cut_over(tarn: Tarn):
    folder = tarn.project / "live"
    folder.mkdir()
    write = lambda name, rows: (folder / name).write_text("id,price\n" + "".join(f"{n},{n}.25\n" for n in rows))
    write("a.csv", range(100))
    following = subprocess.Popen(
        tarn.command("import", str(folder), "--into", "shop.live", "--follow", "--every", "1",
                     "--project", str(tarn.project), "--data", str(tarn.data)), env=tarn.env(), cwd=tarn.project)
    try:
        tarn.wait_for_rows("SELECT count(*) FROM shop.live", 100)
        write("b.csv", range(100, 150))
        tarn.wait_for_rows("SELECT count(*) FROM shop.live", 150)
    finally:
        following.terminate()
        following.wait(30)
    assert "150 rows read, 150 rows in the table, hashes equal" in tarn.ok("import", "verify", str(folder), "--into", "shop.live")
    nothing = tarn.cli("import", str(folder), "--into", "shop.live", "--append", "--only-new")
    assert nothing.returncode != 0 and "imported before" in nothing.stderr
    tarn.query("UPDATE shop.live SET price = 1.00 WHERE id = 7")
    differs = tarn.cli("import", "verify", str(folder), "--into", "shop.live")
    assert differs.returncode != 0 and "values of price differ" in differs.stderr, differs.stderr
    write("a.csv", range(101))
    plan = plan_of(tarn, "live", "shop.live", mode="append", only_new=True)
    assert plan["files"] == 0 and "changed after they were imported" in " ".join(plan["warnings"]), plan
    assert "151 rows in the table, hashes equal" in tarn.ok("import", str(folder), "--into", "shop.live", "--replace")
    assert "151 rows in the table, hashes equal" in tarn.ok("import", "verify", str(folder), "--into", "shop.live")


def test_cancelled_and_resumed(tarn: Tarn):
    """What is committed stays, and the rest comes once."""
    total = 3_000_000
    (tarn.project / "big.csv").write_text("n\n" + "\n".join(map(str, range(total))))
    begun = tarn.api("POST", "/imports", {"path": "big.csv", "into": "shop.big"})["id"]
    wait_until("rows are read", lambda: tarn.api("GET", f"/imports/{begun}")["progress"]["rows"] > 0, 120)
    tarn.api("POST", f"/imports/{begun}/cancel")
    stopped = ended(tarn, begun)
    assert stopped["state"] == "cancelled", stopped
    tarn.api("POST", f"/imports/{begun}/resume")
    done = ended(tarn, begun)
    assert done["state"] == "done" and done["report"]["verified"] is True, done
    assert tarn.rows("SELECT count(*), count(DISTINCT n) FROM shop.big") == [[total, total]]
    with pytest.raises(ApiError):
        tarn.api("POST", f"/imports/{begun}/resume")


def test_what_must_not_be_read_and_what_is_wrong(tarn: Tarn):
    (tarn.project / "a.csv").write_text("id,x\n1,a\n", "utf-8")
    for body, words in [
        ({"path": "a.csv"}, "`into` is missing"),
        ({"path": "a.csv", "into": "a b.c"}, "into"),
        ({"path": "b.csv", "into": "s.t"}, "no file matches"),
        ({"path": "../a.csv", "into": "s.t"}, "`..` is not allowed"),
        ({"path": "a.csv", "into": "s.t", "fromat": "csv"}, "fromat"),
        ({"path": "a.csv", "into": "s.t", "columns": [{"name": "y", "type": "int64"}]}, "no column `y`"),
        ({"path": "a.csv", "into": "s.t", "partition_by": ["month(x)"]}, "cannot be taken"),
        ({"path": "a.csv", "into": "s.t", "csv": {"encoding": "klingon"}}, "klingon"),
        ({"path": "upload://../../meta.db", "into": "s.t", "format": "csv"}, "no upload"),
        ({"path": str(tarn.data / "meta.db"), "into": "s.t", "format": "csv"}, "belongs to the server"),
        ({"path": str(tarn.data), "into": "s.t", "format": "csv"}, "belongs to the server"),
    ]:
        with pytest.raises(ApiError) as refused:
            tarn.api("POST", "/imports", body)
        assert words in str(refused.value), (body, str(refused.value))
    with pytest.raises(ApiError) as refused:
        tarn.query("SELECT * FROM s.t")
    assert tarn.request("GET", "/api/v1/imports/imp-none").status_code == 404


def test_files_are_read_by_sql(tarn: Tarn):
    (tarn.project / "sales.csv").write_text(SALES, "utf-8")
    (tarn.project / "more.ndjson").write_text('{"id": 1, "tag": "x"}\n{"id": 3, "tag": null}\n', "utf-8")
    assert tarn.rows("SELECT sum(price), min(zip) FROM read_csv('sales.csv')") == [["125500.00", "00001"]]
    assert tarn.rows("SELECT s.id, m.tag FROM read_csv('sales.csv', delim => ';', header => true) s JOIN read_json('more.ndjson') m USING (id) ORDER BY 1") == [
        [1, "x"], [3, None]]
    tarn.query("CREATE SCHEMA shop")
    tarn.query("CREATE TABLE shop.sale AS SELECT * FROM read_files('sales.csv')")
    assert tarn.rows("SELECT count(*), count(DISTINCT name) FROM shop.sale") == [[500, 500]]
    tarn.query("INSERT INTO shop.sale SELECT * FROM read_csv('sales.csv') WHERE id <= 10")
    assert tarn.value("SELECT count(*) FROM shop.sale") == 510
    pq.write_table(pa.table({"n": range(100_000)}), tarn.project / "n.parquet")
    assert tarn.rows("SELECT count(*), sum(n) FROM read_parquet('n.parquet') WHERE n % 2 = 0") == [[50_000, 2_499_950_000]]
    (tarn.project / "bad.csv").write_text("a,b\n" + "1,2\n" * 3 + "1\n", "utf-8")
    for sql, words in [
        ("SELECT * FROM read_csv('bad.csv')", "bad.csv:5"),
        ("SELECT * FROM read_csv('none.csv')", "no file matches"),
        ("SELECT * FROM read_csv('bad.csv', colour => 'red')", "no option `colour`"),
        (f"SELECT * FROM read_csv('{tarn.data}/meta.db')", "belongs to the server"),
    ]:
        with pytest.raises(ApiError) as refused:
            tarn.rows(sql)
        assert words in str(refused.value), (sql, str(refused.value))
    assert tarn.value("SELECT count(*) FROM read_csv('bad.csv', ignore_errors => true)") == 3


def test_only_listed_s3_servers_are_asked(make_tarn, bucket: BucketServer):
    """A server that the network reaches asks no address that an editor makes up; one of this machine alone does."""
    tarn = make_tarn()
    bucket.client.put_object(Bucket="lake", Key="a.csv", Body=b"id,x\n1,a\n")
    config = tarn.project / "tarn.toml"
    s3 = {"endpoint": bucket.endpoint, "access_key_id": KEY_ID, "allow_http": True, "secret_access_key": {"secret": "k"}}
    body = {"path": "s3://lake/a.csv", "into": "s.t", "dry_run": True, "s3": s3}

    def asked(**more) -> tuple[int, str]:
        tarn.set_secret("k", SECRET)
        answer = tarn.request("POST", "/api/v1/imports", json=body | {"s3": s3 | more})
        return answer.status_code, answer.text

    tarn.start()
    assert asked()[0] == 200
    assert asked(endpoint="http://169.254.169.254")[0] == 403
    tarn.kill()
    # Names of its own mean that others reach it, here through a proxy.
    config.write_text('[server.http]\nhosts = ["tarn.example.com"]\n')
    tarn.start()
    status, text = asked()
    assert status == 403 and "endpoints" in text and bucket.endpoint in text, text
    assert asked(endpoint="https://s3.eu-central-1.amazonaws.com.evil.example")[0] == 403
    assert asked(region="evil.example/#", endpoint=None)[0] == 400
    # A catalog is such a server too, and the one that gives out its tokens.
    for catalog in ({"url": "http://127.0.0.1:9"}, {"url": "https://glue.eu-central-1.amazonaws.com/iceberg", "oauth_url": "http://127.0.0.1:9"}):
        refused = tarn.request("POST", "/api/v1/imports", json={"path": "a.b", "format": "iceberg", "into": "s.t", "dry_run": True, "iceberg": {"catalog": catalog}})
        assert refused.status_code == 403 and "127.0.0.1:9" in refused.text, refused.text
    tarn.kill()
    config.write_text(f'[server.http]\nhosts = ["tarn.example.com"]\n[ingest]\nendpoints = ["{bucket.endpoint}"]\n')
    tarn.start()
    assert asked()[0] == 200
    tarn.kill()
    config.write_text('[ingest]\nendpoints = ["ftp://a"]\n')
    with pytest.raises(AssertionError) as refused:
        tarn.start()
    assert "ingest.endpoints" in str(refused.value) and "ftp://a" in str(refused.value), str(refused.value)
