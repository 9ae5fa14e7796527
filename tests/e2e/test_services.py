"""Table services: what OPTIMIZE and ANALYZE do for readers, what is noted of each run, and what other engines say to it."""

import datetime
import decimal
import json
import random

import datasketches
import pytest
from rig.process import wait_until
from rig.readers import open_pyiceberg, readers
from rig.tarn import ApiError, Tarn

ROWS = 60_000


def fill(tarn: Tarn, table: str, **properties: str) -> None:
    """Points of a plane in random order, so that every file covers all of it."""
    options = ", ".join(f"'{name}' = '{value}'" for name, value in properties.items())
    tarn.query(f"CREATE TABLE {table} (x bigint, y double, name text, note text)" + (f" WITH ({options})" if options else ""))
    for part in range(6):
        first = part * ROWS // 6
        tarn.query(f"""
            INSERT INTO {table}
            SELECT (n * 7919) % 60013, ((n * 104729) % 60013) / 7.0, 'name ' || ((n * 31) % 997),
                   'a note of some length, so that files have bytes, number ' || n
            FROM (SELECT value AS n FROM generate_series({first + 1}, {first + ROWS // 6}))""")


def scanned(tarn: Tarn, sql: str) -> tuple[int, int, object]:
    answer = tarn.query(sql)
    return answer["stats"]["files_total"], answer["stats"]["files_scanned"], answer["rows"]


BOX = "SELECT count(*), sum(x), min(name) FROM {} WHERE x BETWEEN 10000 AND 14000 AND y BETWEEN 3000 AND 3600"


def test_z_order_leaves_out_files_by_either_column_and_sorting_by_the_first(tarn: Tarn):
    tarn.query("CREATE SCHEMA shop")
    answers = {}
    for table, how in (("shop.z", "ZORDER BY (x, y)"), ("shop.s", "ORDER BY x, y DESC NULLS LAST")):
        fill(tarn, table, **{"write.target-file-size-bytes": "65536"})
        total, before, expected = scanned(tarn, BOX.format(table))
        assert before == total == 6, "every file covers the plane"
        tarn.query(f"OPTIMIZE TABLE {table} {how}")
        total, after, rows = scanned(tarn, BOX.format(table))
        assert rows == expected
        by = {}
        for column, where in (("x", "x BETWEEN 10000 AND 14000"), ("y", "y BETWEEN 3000 AND 3600")):
            by[column] = scanned(tarn, f"SELECT count(*) FROM {table} WHERE {where}")[1]
        answers[table] = (total, after, by["x"], by["y"])
        print(f"\n  {table} {how}: {total} files, {after} read for the box, {by['x']} for x alone, {by['y']} for y alone")
        assert tarn.value(f"SELECT count(*) FROM {table}") == ROWS
    total, box, x, y = answers["shop.z"]
    assert total >= 12 and box <= total / 4 and x <= total * 0.6 and y <= total * 0.6
    total, box, x, y = answers["shop.s"]
    assert total >= 12 and x <= total / 4 and y == total, "sorting by x says nothing about y"
    # Other engines read the same rows.
    counts = {name: read("shop.z").num_rows for name, read in readers(tarn).items()}
    assert set(counts.values()) == {ROWS}, counts
    runs = tarn.api("GET", "/lakehouse/shop/z/runs")["items"]
    run = next(run for run in runs if run["service"] == "compact" and run["trigger"] == "statement")
    assert run["strategy"] == "zorder" and run["state"] == "done" and run["files_before"] == 6, run
    assert run["files_after"] == answers["shop.z"][0] and run["rows_written"] == ROWS and run["bytes_read"] > 0


def test_a_table_says_its_order_and_files_say_that_they_have_it(tarn: Tarn):
    tarn.query("CREATE SCHEMA shop")
    fill(tarn, "shop.item", **{"write.target-file-size-bytes": "131072"})
    tarn.query("ALTER TABLE shop.item WRITE ORDERED BY name DESC NULLS LAST, x")
    order = open_pyiceberg(tarn).load_table("shop.item").sort_order()
    shown = [(field.source_id, field.direction.value, field.null_order.value) for field in order.fields]
    assert shown == [(3, "desc", "nulls-last"), (1, "asc", "nulls-last")]
    tarn.query("OPTIMIZE TABLE shop.item")
    table = open_pyiceberg(tarn).load_table("shop.item")
    orders = {task.file.sort_order_id for task in table.scan().plan_files()}
    assert orders == {order.order_id}
    _, read, _ = scanned(tarn, "SELECT count(*) FROM shop.item WHERE name = 'name 500'")
    assert read <= 2
    # Only files that may hold such rows are rewritten.
    before = {task.file.file_path for task in table.scan().plan_files()}
    tarn.query("OPTIMIZE shop.item WHERE name >= 'name 95' ORDER BY x")
    after = {task.file.file_path for task in open_pyiceberg(tarn).load_table("shop.item").scan().plan_files()}
    kept = before & after
    assert kept and before - after and after - before
    assert tarn.value("SELECT count(*) FROM shop.item") == ROWS
    tarn.query("ALTER TABLE shop.item WRITE UNORDERED")
    assert open_pyiceberg(tarn).load_table("shop.item").sort_order().fields == []


def theta(values) -> datasketches.compact_theta_sketch:
    sketch = datasketches.update_theta_sketch(12)
    for value in values:
        sketch.update(value)
    return sketch.compact()


def test_statistics_are_those_that_datasketches_makes_and_other_engines_find_them(tarn: Tarn):
    tarn.query("CREATE SCHEMA shop")
    tarn.query("CREATE TABLE shop.item (id bigint, city text, price numeric(9, 2), day date, note text)")
    rng = random.Random(7)
    rows = []
    for n in range(3_000):
        day = datetime.date(2026, 1, 1) + datetime.timedelta(days=rng.randrange(200))
        rows.append((n, f"city {rng.randrange(40)}", decimal.Decimal(rng.randrange(-900, 900)) / 100, day))
    for part in range(0, len(rows), 1_000):
        values = ", ".join(f"({n}, '{city}', {price}, '{day}', NULL)" for n, city, price, day in rows[part:part + 1_000])
        tarn.query(f"INSERT INTO shop.item VALUES {values}")
    tarn.query("DELETE FROM shop.item WHERE id >= 2500")
    tarn.query("ANALYZE shop.item")
    left = rows[:2_500]

    metadata = open_pyiceberg(tarn).load_table("shop.item").metadata
    statistics = metadata.statistics[-1]
    assert statistics.snapshot_id == metadata.current_snapshot_id
    path = statistics.statistics_path.removeprefix("file://")
    content = open(path, "rb").read()
    assert len(content) == statistics.file_size_in_bytes and content[:4] == content[-4:] == b"PFA1"
    footer = content[-statistics.file_footer_size_in_bytes:]
    assert footer[:4] == b"PFA1"
    blobs = {blob["fields"][0]: blob for blob in json.loads(footer[4:-12])["blobs"]}
    assert {blob["type"] for blob in blobs.values()} == {"apache-datasketches-theta-v1"}

    def sketch(field: int) -> bytes:
        return content[blobs[field]["offset"]:blobs[field]["offset"] + blobs[field]["length"]]

    # Up to some thousands of values sketches are exact, and byte for byte those of the library.
    assert sketch(1) == theta(row[0] for row in left).serialize()
    assert sketch(2) == theta(row[1] for row in left).serialize()
    counts = [len({row[at] for row in left}) for at in range(4)] + [0]
    for field, count in zip(sorted(blobs), counts):
        assert round(datasketches.compact_theta_sketch.deserialize(sketch(field)).get_estimate()) == count
        assert blobs[field]["properties"]["ndv"] == str(count)
    run = tarn.api("GET", "/lakehouse/shop/item/runs")["items"][0]
    assert (run["service"], run["trigger"], run["state"]) == ("statistics", "statement", "done")
    again = tarn.api("POST", "/lakehouse/shop/item/analyze")
    assert again["service"] == "statistics" and again["trigger"] == "api" and again["rows_written"] == 2_500

    # Many values are estimated.
    fill(tarn, "shop.many")
    tarn.query("ANALYZE TABLE shop.many")
    blobs = open_pyiceberg(tarn).load_table("shop.many").metadata.statistics[-1].blob_metadata
    ndv = {blob.fields[0]: int(blob.properties["ndv"]) for blob in blobs}
    exact = {field: tarn.value(f"SELECT count(DISTINCT {name}) FROM shop.many") for field, name in ((1, "x"), (3, "name"))}
    assert ndv[3] == exact[3] == 997
    assert abs(ndv[1] / exact[1] - 1) < 0.06, (ndv, exact)


def test_services_are_paused_and_bad_words_are_told_where_they_are_said(tarn: Tarn):
    tarn.query("CREATE SCHEMA shop")
    tarn.query("CREATE TABLE shop.item (id bigint, note text)")
    assert tarn.api("GET", "/lakehouse/services")["paused"] is False
    state = tarn.api("POST", "/lakehouse/services", {"paused": True})
    assert state["paused"] is True and state["concurrent_max"] >= 1
    for n in range(14):
        tarn.query(f"INSERT INTO shop.item VALUES ({n}, 'x')")
    tarn.restart()

    def waits():
        return [run for run in tarn.api("GET", "/lakehouse/services")["waiting"] if run["service"] == "compact"]
    wait_until("a compaction waits", waits, say=tarn.state)
    assert waits()[0]["blocked_by"] == "services are paused" and waits()[0]["table"] == "shop.item"
    tarn.api("POST", "/lakehouse/services", {"paused": False})

    def compacted():
        runs = tarn.api("GET", "/lakehouse/runs")["items"]
        return [run for run in runs if run["service"] == "compact" and run["state"] == "done"]
    wait_until("it runs", compacted, say=tarn.state)
    assert compacted()[0]["trigger"] == "automatic" and compacted()[0]["files_after"] < compacted()[0]["files_before"]
    rows = tarn.rows("SELECT service, trigger, state, files_before FROM shop.item.runs WHERE service = 'compact'")
    assert rows[0][:3] == ["compact", "automatic", "done"]
    wait_until("metrics count it", lambda: 'tarn_lakehouse_service_runs_total{table="shop.item"}' in tarn.request("GET", "/metrics").text)

    for sql, words in (
        ("ALTER TABLE shop.item SET ('gc.enabled' = 'maybe')", "`gc.enabled` is `true` or `false`, not `maybe`"),
        ("ALTER TABLE shop.item SET ('tarn.services.compakt.enabled' = 'true')", "did you mean `tarn.services.compact.enabled`?"),
        ("ALTER TABLE shop.item SET ('write.target-file-size-bytes' = '128MB')", "is a whole number"),
        ("ALTER TABLE shop.item WRITE ORDERED BY nota", "did you mean `note`?"),
        ("OPTIMIZE shop.item ZORDER BY (id, nota)", "did you mean `note`?"),
        ("OPTIMIZE shop.item ORDER BY lower(note)", "this is not a way to order rows"),
        ("OPTIMIZE shop.item WHERE nota = 'x'", "nota"),
        ("OPTIMIZE shop.nothing", "nothing"),
        ("CREATE TABLE shop.other (id bigint) WITH ('gc.enabled' = '1')", "`gc.enabled` is `true` or `false`"),
    ):
        with pytest.raises(ApiError) as refused:
            tarn.query(sql)
        assert refused.value.status in (400, 404), sql
        assert words in json.dumps(refused.value.error, ensure_ascii=False), (sql, refused.value.error)
