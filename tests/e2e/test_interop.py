"""One table that a source feeds and other engines write into, read by every engine after every step.

An engine that is not installed is told as `missing`.
"""

import collections
import datetime
import decimal
from dataclasses import dataclass, field
from urllib.parse import urlparse

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from rig.engines import Engine, Row, difference, engines, sorted_rows
from rig.process import wait_until
from rig.readers import open_duckdb, open_pyiceberg
from rig.spark import open_spark
from rig.tarn import Tarn

TABLE = "shop.item"
# Commits only when they are asked for.
RESOURCES = """
kind: source
name: shop
spec:
  type: http_push
  table: item
  key: [id]
  schema:
    - { name: id, type: int64 }
    - { name: name, type: string }
    - { name: size, type: int64 }
    - { name: price, type: 'decimal(12,2)' }
    - { name: ratio, type: float64 }
    - { name: paid, type: boolean }
    - { name: at, type: timestamptz }
    - { name: day, type: date }
---
kind: table
name: shop.item
spec: { freshness: 1h }
"""
SCHEMA = pa.schema([
    pa.field("id", pa.int64(), nullable=False), ("name", pa.string()), ("size", pa.int64()), ("price", pa.decimal128(12, 2)),
    ("ratio", pa.float64()), ("paid", pa.bool_()), ("at", pa.timestamp("us", "UTC")), ("day", pa.date32()),
])
COLUMNS = SCHEMA.names


def item(number: int, turn: int) -> dict:
    """A row of values that depend on both, where every column but the key is null now and then."""
    seed = number * 31 + turn * 17
    values = {
        "name": ["", "naïve 数据 🦆", f"item {number} of turn {turn}"][seed % 3],
        "size": [-(2**63), 2**63 - 1, 2**53 + 1, seed][seed % 4],
        "price": decimal.Decimal(seed * 37 - 500_000).scaleb(-2),
        "ratio": [-0.0, 0.1, 1e300, seed / 8][seed % 4],
        "paid": seed % 2 == 0,
        "at": datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999, datetime.timezone.utc) + datetime.timedelta(hours=seed % 9999, microseconds=seed),
        "day": datetime.date(1950, 1, 1) + datetime.timedelta(days=seed % 60_000),
    }
    return {"id": number} | {name: None if seed % (11 + place) == 0 else value for place, (name, value) in enumerate(values.items())}


def as_json(row: dict) -> dict:
    plain = (int, float, str, type(None))
    return {name: value if isinstance(value, plain) else value.isoformat() if hasattr(value, "isoformat") else str(value)
            for name, value in row.items()}


@dataclass
class Loop:
    """The table, what its rows must be, and what was seen of it."""

    tarn: Tarn
    engines: list[Engine]
    rows: dict[int, dict] = field(default_factory=dict)
    commits: dict[str, tuple[int, list[Row]]] = field(default_factory=dict)

    def expected(self) -> list[Row]:
        return [tuple(row[name] for name in COLUMNS) for _, row in sorted(self.rows.items())]

    def put(self, rows: list[dict]) -> None:
        self.rows |= {row["id"]: row for row in rows}

    def push(self, numbers: list[int] | range, turn: int) -> None:
        """Rows by the source, which replace those of the same key. They are seen before they are committed."""
        rows = [item(number, turn) for number in numbers]
        receipt = self.tarn.push("shop", [as_json(row) for row in rows])
        assert receipt["dead_letters"] == 0, receipt
        self.put(rows)
        self.tarn.wait_for_table(TABLE)
        wait_until("the rows are applied", lambda: (self.status().get("applied_offset") or 0) >= receipt["next_offset"], say=self.tarn.state)
        told = difference(self.expected(), sorted_rows(self.engines[0].arrow(TABLE), COLUMNS))
        assert not told, f"rows in memory, turn {turn}: {told}"

    def commit(self) -> None:
        self.tarn.api("POST", f"/lakehouse/{TABLE.replace('.', '/')}/flush")

    def status(self) -> dict:
        return self.tarn.api("GET", f"/lakehouse/{TABLE.replace('.', '/')}")

    def check(self, step: str) -> None:
        """Every engine sees the expected rows."""
        self.commit()
        expected = self.expected()
        told = [engine.compare(TABLE, COLUMNS, expected) for engine in self.engines if engine.version]
        if any(told):
            raise AssertionError("\n".join([f"after {step!r}:", *filter(None, told)]))
        self.commits[step] = (int(self.status()["snapshot_id"]), expected)

    def duckdb(self) -> None:
        """Another engine inserts, updates and deletes rows, of files and of rows that it just wrote."""
        incoming = [item(number, 4) for number in range(3000, 3020)]
        self.put(incoming)
        for number, row in list(self.rows.items()):
            if number % 10 == 1:
                paid = None if row["paid"] is None else not row["paid"]
                self.rows[number] = row | {"name": "by duckdb", "price": decimal.Decimal("-0.01"), "paid": paid}
            if number % 10 == 2:
                del self.rows[number]
        with open_duckdb(self.tarn) as duck:
            duck.register("incoming", pa.Table.from_pylist(incoming, SCHEMA))
            duck.execute(f"INSERT INTO lake.{TABLE} SELECT * FROM incoming")
            duck.execute(f"UPDATE lake.{TABLE} SET name = 'by duckdb', price = -0.01, paid = NOT paid WHERE id % 10 = 1")
            duck.execute(f"DELETE FROM lake.{TABLE} WHERE id % 10 = 2")

    def pyiceberg(self) -> None:
        appended = [item(number, 5) for number in range(4000, 4020)]
        self.put(appended)
        open_pyiceberg(self.tarn).load_table(TABLE).append(pa.Table.from_pylist(appended, SCHEMA))

    def check_delete_files(self) -> set[str]:
        """At most one live delete file names rows of a data file, and it names each once. Returns those files."""
        table = open_pyiceberg(self.tarn).load_table(TABLE)
        data = set(table.inspect.data_files()["file_path"].to_pylist())
        covering: dict[str, list[str]] = collections.defaultdict(list)
        for delete_file in table.inspect.delete_files()["file_path"].to_pylist():
            deletes = pq.read_table(urlparse(delete_file).path)
            assert deletes.group_by(["file_path", "pos"]).aggregate([]).num_rows == deletes.num_rows, "a position is there twice"
            for path in pc.unique(deletes["file_path"]).to_pylist():
                covering[path].append(delete_file)
        assert set(covering) <= data, "a delete file is kept for a data file that is gone"
        assert {path: files for path, files in covering.items() if len(files) > 1} == {}, "two delete files for one data file"
        return {file for files in covering.values() for file in files}

    def check_history(self) -> None:
        """The table as it was after each step."""
        table = open_pyiceberg(self.tarn).load_table(TABLE)
        with open_duckdb(self.tarn) as duck:
            for step, (snapshot, expected) in self.commits.items():
                then = {
                    "Tarn": self.tarn.arrow(f"SELECT * FROM {TABLE} FOR VERSION AS OF {snapshot}"),
                    "DuckDB": duck.execute(f"SELECT * FROM lake.{TABLE} AT (VERSION => {snapshot})").to_arrow_table(),
                    "PyIceberg": table.scan(snapshot_id=snapshot).to_arrow(),
                }
                for name, seen in then.items():
                    told = difference(expected, sorted_rows(seen, COLUMNS))
                    assert not told, f"{name}, as it was after {step!r}: {told}"


def run_loop(tarn: Tarn, readers: list[Engine]) -> None:
    tarn.apply(RESOURCES)
    wait_until("the source takes rows", lambda: tarn.takes_rows("shop"))
    loop = Loop(tarn, readers)

    loop.push(range(1000), 1)
    loop.commit()
    loop.push(range(1000, 1500), 1)
    loop.check("first rows of two files")

    replaced = [*range(100, 200), *range(1490, 1500), 7, 999]
    loop.push([*replaced, *range(2000, 2050)], 2)
    loop.check("rows of files replaced")
    before = loop.check_delete_files()

    # The same rows again, and their neighbours: files that have a delete file get another in its place.
    loop.push([*replaced, *range(190, 210), *range(1480, 1490), 2049, 2050], 3)
    loop.check("the same rows replaced again")
    after = loop.check_delete_files()
    assert len(before) == 2 and len(after) == 3 and not before & after, (before, after)

    loop.duckdb()
    loop.check("DuckDB inserted, updated and deleted")

    loop.pyiceberg()
    loop.check("PyIceberg appended")

    # What DuckDB updated, deleted and inserted, what PyIceberg appended; and a row of each file that DuckDB deleted from.
    loop.push([*range(1, 200, 10), *range(2, 200, 10), *range(3000, 3005), *range(4000, 4010), 4020, 105, 300, 1100, 2005], 6)
    loop.check("rows of other engines replaced")
    loop.check_delete_files()

    tarn.ok("lakehouse", "compact", TABLE)
    loop.check("compacted")
    status = loop.status()
    assert (status["files"], status["delete_files"]) == (1, 0), status

    loop.push([*range(0, 1500, 7), 3001, 4001, 5000], 8)
    loop.check("rows of the compacted file replaced")
    loop.check_delete_files()
    loop.check_history()


def run_and_report(tarn: Tarn, readers: list[Engine]) -> None:
    try:
        run_loop(tarn, readers)
    finally:
        print("", *(f"  {engine.report()}" for engine in readers), sep="\n")


def test_every_engine_sees_the_same_rows_after_every_step(tarn):
    run_and_report(tarn, engines(tarn))


def test_a_delete_file_is_planned_with_its_own_data_file_only(tarn):
    tarn.apply(RESOURCES)
    wait_until("the source takes rows", lambda: tarn.takes_rows("shop"))
    loop = Loop(tarn, engines(tarn))
    for turn in range(3):
        loop.push(range(turn * 5, turn * 5 + 10), turn)
        loop.commit()
    loop.check_delete_files()
    planned = [len(task.delete_files) for task in open_pyiceberg(tarn).load_table(TABLE).scan().plan_files()]
    assert sorted(planned) == [0, 1, 1]


@pytest.mark.spark
@pytest.mark.timeout(1200)
def test_spark_sees_the_same_rows_after_every_step(tarn):
    spark = open_spark(tarn)
    try:
        run_and_report(tarn, engines(tarn, spark))
    finally:
        spark.stop()
