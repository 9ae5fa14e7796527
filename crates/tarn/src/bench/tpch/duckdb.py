"""Runs the queries of a JSON file in DuckDB and prints times and rows as JSON."""
import datetime, decimal, json, sys, time
import duckdb

ask = json.load(open(sys.argv[1]))
con = duckdb.connect()
con.execute("set enable_progress_bar = false")
for table, files in ask["files"].items():
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in files)
    con.execute(f'create view "{table}" as select * from read_parquet([{names}])')


def plain(value):
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return value


answers = []
for sql in ask["queries"]:
    best, rows = float("inf"), []
    for _ in range(ask["runs"]):
        started = time.perf_counter()
        rows = con.execute(sql).fetchall()
        best = min(best, (time.perf_counter() - started) * 1000)
    answers.append({
        "ms": best, "columns": len(con.description), "rows": [[plain(v) for v in row] for row in rows],
    })
print(json.dumps({"version": duckdb.__version__, "answers": answers}))
