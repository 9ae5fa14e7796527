#!/usr/bin/env python3
"""Runs the SQL of examples/flights/README.md in DuckDB over the example's Parquet files.

Fails if a statement fails or gives no row, or if the two languages of the page differ in their SQL.
"""

import re
import sys
from pathlib import Path

import duckdb

EXAMPLE = Path(__file__).parent.parent / "examples" / "flights"
TABLES = ("flights", "weather", "planes", "airlines", "airports")


def statements(page: str) -> list[str]:
    return re.findall(r"```sql\n(.*?)\n```", (EXAMPLE / page).read_text(encoding="utf-8"), re.DOTALL)


def main() -> None:
    english = statements("README.md")
    if not english or english != statements("README.zh-CN.md"):
        sys.exit("the SQL of README.md and README.zh-CN.md differs; make them equal")
    database = duckdb.connect()
    database.execute("SET timezone = 'UTC'; CREATE SCHEMA nyc")
    for table in TABLES:
        database.execute(f"CREATE VIEW nyc.{table} AS SELECT * FROM '{EXAMPLE}/data/{table}.parquet'")
    for number, sql in enumerate(english, start=1):
        rows = database.execute(sql).fetchall()
        if not rows:
            sys.exit(f"question {number} of examples/flights/README.md has no answer")
        print(f"question {number}: {len(rows)} rows, first {rows[0]}")


if __name__ == "__main__":
    main()
