"""Plans the same scans of an Iceberg table by PyIceberg and DuckDB and prints times as JSON.

The argument names a JSON file with the metadata file of the table, ranges of ids and how often each is planned.
"""
import importlib.util, json, pathlib, sys, time

ask = json.load(open(sys.argv[1]))


def timed(plan):
    times, files = [], 0
    for low, high in ask["ranges"]:
        started = time.perf_counter()
        files = plan(low, high)
        times.append((time.perf_counter() - started) * 1000)
    return {"ms": times, "files": files}


def pyiceberg():
    from pyiceberg import __version__
    from pyiceberg.table import StaticTable
    table = StaticTable.from_metadata(ask["metadata"])
    plan = lambda low, high: len(list(table.scan(row_filter=f"id >= {low} and id <= {high}").plan_files()))
    plan(*ask["ranges"][0])
    return {"version": __version__} | timed(plan)


def duck():
    import duckdb
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for name in ("avro", "iceberg"):
        spec = importlib.util.find_spec(f"duckdb_extension_{name}")
        if spec and spec.origin:
            file = next(pathlib.Path(spec.origin).parent.rglob(f"{name}.duckdb_extension"))
            connection.execute(f"LOAD '{file}'")
        else:
            connection.execute(f"INSTALL {name}; LOAD {name}")
    path = ask["metadata"].removeprefix("file://")

    def plan(low, high):
        sql = f"EXPLAIN SELECT count(quantity) FROM iceberg_scan('{path}') WHERE id >= {low} AND id <= {high}"
        connection.execute(sql).fetchall()
        return 0

    plan(*ask["ranges"][0])
    return {"version": duckdb.__version__} | timed(plan)


answer = {}
for name, run in (("pyiceberg", pyiceberg), ("duckdb", duck)):
    try:
        answer[name] = run()
    except Exception as error:  # whatever a peer cannot do is told beside the others
        answer[name] = {"error": f"{type(error).__name__}: {error}"[:300]}
print(json.dumps(answer))
