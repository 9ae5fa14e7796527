"""Other programs that read and write the same tables, and a comparison of what they see."""

import datetime
import decimal
import importlib.util
import math
import struct
import uuid
from pathlib import Path

import duckdb
import pyarrow as pa
from pyiceberg.catalog.rest import RestCatalog

from .tarn import Tarn


def _extension(name: str) -> Path:
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    assert spec and spec.origin, f"the Python package duckdb-extension-{name} is missing"
    return next(Path(spec.origin).parent.rglob(f"{name}.duckdb_extension"))


def duckdb_with_extensions() -> duckdb.DuckDBPyConnection:
    """DuckDB that knows Iceberg catalogs and buckets, with none attached."""
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true", "threads": "2"})
    for name in ("avro", "httpfs", "iceberg"):
        connection.execute(f"LOAD '{_extension(name)}'")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def open_duckdb(tarn: Tarn, secret: str = "") -> duckdb.DuckDBPyConnection:
    """DuckDB with the catalog attached as `lake`. `secret`: statements before, such as keys of a bucket."""
    connection = duckdb_with_extensions()
    if secret:
        connection.execute(secret)
    authorization = "AUTHORIZATION_TYPE 'none'"
    if tarn.key:
        connection.execute(f"CREATE SECRET catalog (TYPE iceberg, TOKEN '{tarn.key}')")
        authorization = "SECRET catalog"
    connection.execute(f"ATTACH 'main' AS lake (TYPE iceberg, ENDPOINT '{tarn.iceberg}', {authorization})")
    return connection


def open_pyiceberg(tarn: Tarn, **properties: str) -> RestCatalog:
    if tarn.key:
        properties["token"] = tarn.key
    return RestCatalog("tarn", uri=tarn.iceberg, **properties)


def duckdb_table(tarn: Tarn, table: str, secret: str = "") -> pa.Table:
    with open_duckdb(tarn, secret) as connection:
        return connection.execute(f"SELECT * FROM lake.{table}").to_arrow_table()


def pyiceberg_table(tarn: Tarn, table: str, **properties: str) -> pa.Table:
    return open_pyiceberg(tarn, **properties).load_table(table).scan().to_arrow()


def readers(tarn: Tarn) -> dict:
    """Each reader by name, as a function from table to rows."""
    return {
        "Tarn's SQL": lambda table: tarn.arrow(f"SELECT * FROM {table}"),
        "DuckDB": lambda table: duckdb_table(tarn, table),
        "PyIceberg": lambda table: pyiceberg_table(tarn, table),
    }


def assert_same_rows(expected: pa.Table, actual: pa.Table, key: str, reader: str) -> None:
    """Row for row and column for column, in the types of `expected`. For tables of plain types."""
    assert sorted(actual.column_names) == sorted(expected.column_names), f"{reader} sees other columns"
    actual = actual.select(expected.column_names).cast(expected.schema).sort_by(key).combine_chunks()
    expected = expected.sort_by(key).combine_chunks()
    if actual.equals(expected):
        return
    wanted, seen = set(expected[key].to_pylist()), set(actual[key].to_pylist())
    assert seen == wanted, (
        f"{reader} lacks {len(wanted - seen)} rows, such as {sorted(wanted - seen)[:5]}, "
        f"and has {len(seen - wanted)} too many, such as {sorted(seen - wanted)[:5]}"
    )
    assert actual.num_rows == expected.num_rows, f"{reader} sees rows twice: {actual.num_rows} for {expected.num_rows}"
    for name in expected.column_names:
        for row, (left, right) in enumerate(zip(expected[name].to_pylist(), actual[name].to_pylist(), strict=True)):
            identity = expected[key][row]
            assert left == right, f"{reader}: `{name}` of row {identity} is {right!r}, must be {left!r}"
    raise AssertionError(f"{reader}: tables differ, but no value does: {expected.schema} and {actual.schema}")


def canonical(value: object, expected: object) -> object:
    """`value` in the form that `expected` has, where clients of equal data differ in the Python type only."""
    if value is None or expected is None:
        return value
    if isinstance(expected, list):
        return [canonical(v, e) for v, e in zip(value, expected)] if len(value) == len(expected) else list(value)
    if isinstance(expected, uuid.UUID):
        if isinstance(value, (bytes, bytearray)):
            return uuid.UUID(bytes=bytes(value))
        return uuid.UUID(value) if isinstance(value, str) else value
    if isinstance(expected, bytes) and isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(expected, datetime.datetime) and isinstance(value, datetime.datetime) and expected.tzinfo and value.tzinfo:
        return value.astimezone(datetime.timezone.utc)
    return value


def is_same(expected: object, value: object) -> bool:
    """Equality of a value, `NaN` equal to itself and numbers of the same type only."""
    value = canonical(value, expected)
    if isinstance(expected, float) and isinstance(value, float):
        same_nan = math.isnan(expected) and math.isnan(value)
        return same_nan or struct.pack("d", expected) == struct.pack("d", value)
    if isinstance(expected, decimal.Decimal):
        return isinstance(value, decimal.Decimal) and expected == value
    if isinstance(expected, list) and isinstance(value, list):
        return len(expected) == len(value) and all(is_same(e, v) for e, v in zip(expected, value))
    return type(expected) is type(value) and expected == value


def as_float32(value: float | None) -> float | None:
    """What a client sees of a `real`: the nearest float of 32 bits."""
    return value if value is None else struct.unpack("f", struct.pack("f", value))[0]


def assert_same_values(expected: list[dict], actual: pa.Table, key: str, reader: str) -> None:
    """Value for value, for tables of every type."""
    rows = {row[key]: row for row in actual.to_pylist()}
    assert len(rows) == actual.num_rows, f"{reader} sees a key twice"
    assert set(rows) == {row[key] for row in expected}, f"{reader} sees other keys"
    for row in expected:
        assert set(rows[row[key]]) == set(row), f"{reader} sees other columns"
        for name, wanted in row.items():
            seen = rows[row[key]][name]
            assert is_same(wanted, seen), f"{reader}: `{name}` of row {row[key]} is {seen!r}, must be {wanted!r}"
