"""Makes the folder that TARN_TPCH_FOLDER names: TPC-H tables as Parquet and DuckDB's answers to the 22 queries.

Usage: python tpch_answers.py FOLDER SCALE      (needs: pip install duckdb tpchgen-cli)
The queries are read from src/tpch/queries.rs, so both engines run the same text.
"""

import pathlib
import re
import subprocess
import sys
import time

import duckdb

folder, scale = pathlib.Path(sys.argv[1]), sys.argv[2]
folder.mkdir(parents=True, exist_ok=True)
if not (folder / "lineitem.parquet").exists():
    subprocess.run(["tpchgen-cli", "parquet", "-s", scale, "--output-dir", str(folder)], check=True)

source = (pathlib.Path(__file__).parent.parent / "src/tpch/queries.rs").read_text()
order = re.findall(r"^    ([A-Z_]+),$", source, re.M)
text = dict(re.findall(r'^const ([A-Z_]+): &str = "(.*?)";$', source, re.M | re.S))

db = duckdb.connect()
for table in ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"]:
    db.execute(f"CREATE VIEW {table} AS SELECT * FROM '{folder}/{table}.parquet'")
total = 0.0
for number, name in enumerate(order, 1):
    start = time.perf_counter()
    rows = db.execute(text[name]).fetchall()
    took = (time.perf_counter() - start) * 1000
    total += took
    print(f"query {number}: {took:.0f} ms, {len(rows)} rows")
    db.execute(f"COPY ({text[name]}) TO '{folder}/q{number:02}.csv' (HEADER)")
print(f"all queries: {total:.0f} ms")
