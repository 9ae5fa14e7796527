"""Query engines that read one table, by name and version, and a comparison of what they see with a model."""

import contextlib
import importlib
import importlib.metadata
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

import pyarrow as pa

from .readers import duckdb_table, is_same, open_pyiceberg
from .tarn import BINARY, Tarn

Row = tuple


@dataclass
class Engine:
    """A reader of tables; one that is not installed has no version."""

    name: str
    version: str | None
    arrow: Callable[[str], pa.Table]
    read: int = 0
    wrong: int = 0

    def compare(self, table: str, columns: list[str], expected: list[Row]) -> str:
        """Reads the table and says what is otherwise than expected; empty when nothing is."""
        try:
            told = difference(expected, sorted_rows(self.arrow(table), columns))
        except Exception as error:  # noqa: BLE001 - whatever an engine throws is told with its name
            told = f"{type(error).__name__}: {error}"
        self.read += 1
        self.wrong += bool(told)
        return told and f"{self.name} {self.version}: {told}"

    def report(self) -> str:
        if self.version is None:
            return f"{self.name:<10} missing"
        return f"{self.name:<10} {self.version:<10} {self.read} steps read, {self.wrong} wrong"


def sorted_rows(table: pa.Table, columns: list[str]) -> list[Row]:
    """By their first column."""
    assert sorted(table.column_names) == sorted(columns), f"other columns: {table.column_names}"
    return sorted(zip(*(table[name].to_pylist() for name in columns), strict=True), key=lambda row: row[0])


def difference(expected: list[Row], seen: list[Row]) -> str:
    """What is otherwise in `seen`, by the first column of the rows."""
    wanted, found = ({row[0]: row for row in rows} for rows in (expected, seen))
    lacking, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if lacking or extra or len(seen) != len(found):
        return (f"lacks {len(lacking)} rows such as {lacking[:5]}, has {len(extra)} too many such as {extra[:5]}, "
                f"sees {len(seen) - len(found)} twice")
    wrong = [identity for identity, row in wanted.items() if not all(map(is_same, row, found[identity]))]
    if wrong:
        return f"{len(wrong)} rows differ, such as {found[wrong[0]]}, which must be {wanted[wrong[0]]}"
    return ""


def _version(package: str, module: str) -> str | None:
    try:
        importlib.import_module(module)
        return importlib.metadata.version(package)
    except ImportError:
        return None


def _polars(tarn: Tarn, table: str) -> pa.Table:
    import polars
    return polars.scan_iceberg(open_pyiceberg(tarn).load_table(table)).collect().to_arrow()


def _daft(tarn: Tarn, table: str) -> pa.Table:
    import daft
    return daft.read_iceberg(open_pyiceberg(tarn).load_table(table)).to_arrow()


def _chdb(tarn: Tarn, table: str) -> pa.Table:
    """ClickHouse knows the table by its folder only, and takes the metadata file of the highest number there."""
    import chdb
    folder = open_pyiceberg(tarn).load_table(table).location().removeprefix("file://")
    # It reads files below the working directory only.
    with contextlib.chdir("/"):
        return chdb.query(f"SELECT * FROM icebergLocal('{folder}')", "ArrowTable")


def _spark(session, table: str) -> pa.Table:
    rows = [row.asDict() for row in session.table(f"tarn.{table}").collect()]
    for row in rows:
        # Spark gives times of day of this machine, without a zone.
        row |= {name: value.astimezone(timezone.utc) for name, value in row.items() if isinstance(value, datetime)}
    return pa.Table.from_pylist(rows)


def engines(tarn: Tarn, spark=None) -> list[Engine]:
    """All that the test requirements name, also those that are not installed. `spark`: a session with the catalog."""
    own = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    found = [
        Engine("Tarn", own, lambda table: tarn.arrow(f"SELECT * FROM {table}")),
        Engine("DuckDB", _version("duckdb", "duckdb"), lambda table: duckdb_table(tarn, table)),
        Engine("PyIceberg", _version("pyiceberg", "pyiceberg"), lambda table: open_pyiceberg(tarn).load_table(table).scan().to_arrow()),
        Engine("Polars", _version("polars", "polars"), lambda table: _polars(tarn, table)),
        Engine("Daft", _version("daft", "daft"), lambda table: _daft(tarn, table)),
        Engine("chDB", _version("chdb", "chdb"), lambda table: _chdb(tarn, table)),
    ]
    if spark is not None:
        found.append(Engine("Spark", spark.version, lambda table: _spark(spark, table)))
    return found
