"""Views: in our SQL, over the PostgreSQL wire, and as Iceberg views for other engines."""

import json
import shutil
import subprocess
import uuid

import psycopg
import pytest
from pyiceberg.exceptions import NoSuchViewError
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType
from pyiceberg.view.metadata import SQLViewRepresentation, ViewVersion

from rig.readers import open_pyiceberg
from rig.tarn import ApiError, Tarn

ITEMS = "(1, 'tea', 2.50), (2, 'pot', 30.00), (3, 'cup', 7.25), (4, NULL, NULL)"


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """One server with a table; each test has a namespace of its own for what it makes."""
    tarn = Tarn(tmp_path_factory.mktemp("views")).start()
    tarn.query("CREATE SCHEMA shop")
    tarn.query("CREATE TABLE shop.item (id BIGINT PRIMARY KEY, name VARCHAR, price DECIMAL(10, 2))")
    tarn.query(f"INSERT INTO shop.item VALUES {ITEMS}")
    yield tarn
    tarn.kill()
    assert not tarn.panics()


@pytest.fixture
def ns(lake):
    name = f"n{uuid.uuid4().hex[:8]}"
    lake.query(f"CREATE SCHEMA {name}")
    return name


def refused(tarn: Tarn, sql: str) -> str:
    with pytest.raises(ApiError) as raised:
        tarn.query(sql)
    assert raised.value.status in (400, 404, 409), raised.value
    return str(raised.value)


def connect(tarn: Tarn):
    return psycopg.connect(host="127.0.0.1", port=tarn.pgwire_port, dbname="tarn", user="local", autocommit=True)


def stored(tarn: Tarn, name: str) -> dict:
    namespace, view = name.split(".")
    answer = tarn.request("GET", f"/iceberg/v1/namespaces/{namespace}/views/{view}")
    assert answer.status_code == 200, answer.text
    metadata = answer.json()["metadata"]
    version = next(v for v in metadata["versions"] if v["version-id"] == metadata["current-version-id"])
    return {"sql": version["representations"][0]["sql"], "version": version, "metadata": metadata}


def test_a_view_answers_as_its_query_does(lake, ns):
    queries = [
        "SELECT id, upper(name) AS name, price * 2 AS double FROM shop.item WHERE price > 3",
        "SELECT count(*) AS n, sum(price) AS total FROM shop.item",
        "SELECT a.id, b.name FROM shop.item a JOIN shop.item b ON a.id = b.id + 1",
        "WITH x AS (SELECT id FROM shop.item WHERE id > 1) SELECT x.id, i.price FROM x JOIN shop.item i ON i.id = x.id",
        "SELECT id FROM shop.item UNION ALL SELECT id + 10 FROM shop.item",
        "SELECT name, row_number() OVER (ORDER BY price DESC) AS place FROM shop.item WHERE price IS NOT NULL",
        "SELECT id FROM shop.item WHERE id IN (SELECT id FROM shop.item WHERE name LIKE 't%')",
        "VALUES (1, 'a'), (2, 'b')",
        "SELECT id, price FROM shop.item ORDER BY price LIMIT 2",
    ]
    for number, query in enumerate(queries):
        lake.query(f"CREATE VIEW {ns}.v{number} AS {query}")
        key = str
        expected = sorted(lake.rows(query), key=key)
        assert sorted(lake.rows(f"SELECT * FROM {ns}.v{number}"), key=key) == expected, query
        both = lake.query(f"SELECT * FROM {ns}.v{number} t LIMIT 0")["columns"]
        direct = lake.query(query)["columns"]
        assert [(c["name"], c["type"]) for c in both] == [(c["name"], c["type"]) for c in direct], query
    # Filters, joins and grouping over a view.
    assert lake.rows(f"SELECT v.name FROM {ns}.v0 v JOIN shop.item i ON i.id = v.id WHERE v.double = 60") == [["POT"]]
    assert lake.value(f"SELECT count(*) FROM {ns}.v4 WHERE id > 10") == 4


def test_names_of_columns_come_from_the_view(lake, ns):
    lake.query(f"CREATE VIEW {ns}.v (number, label) AS SELECT id, name, price FROM shop.item")
    assert [c["name"] for c in lake.query(f"SELECT * FROM {ns}.v")["columns"]] == ["number", "label", "price"]
    lake.query(f'CREATE VIEW {ns}.w ("A b", c) AS SELECT id, id FROM shop.item')
    assert lake.rows(f'SELECT "A b", c FROM {ns}.w ORDER BY 1 LIMIT 1') == [[1, 1]]
    assert "names 3 columns and its query gives 2" in refused(lake, f"CREATE VIEW {ns}.x (a, b, c) AS SELECT 1, 2")
    assert "two columns are named `id`" in refused(lake, f"CREATE VIEW {ns}.x AS SELECT a.id, b.id FROM shop.item a, shop.item b")
    assert "expected" in refused(lake, f"CREATE VIEW {ns}.x (a INT) AS SELECT 1")


def test_a_star_is_what_it_was_when_the_view_was_made(lake, ns):
    lake.query(f"CREATE TABLE {ns}.t (id BIGINT, name VARCHAR, \"Mixed Case\" BIGINT)")
    lake.query(f"INSERT INTO {ns}.t VALUES (1, 'a', 5)")
    views = {
        "plain": f"SELECT * FROM {ns}.t",
        "more": f"SELECT t.*, 1 AS extra FROM {ns}.t AS t -- the lot\n WHERE id > 0",
        "joined": f"SELECT a.*, b.name AS other FROM {ns}.t a JOIN {ns}.t b USING (id)",
        "inner_star": f"SELECT count(*) AS n, max(id) AS id FROM (SELECT * FROM {ns}.t) x",
        "united": f"SELECT * FROM {ns}.t UNION ALL SELECT * FROM {ns}.t",
        "named": f"WITH x AS (SELECT * FROM {ns}.t) SELECT * FROM x WHERE EXISTS (SELECT * FROM {ns}.t)",
        "without": f"SELECT * EXCLUDE (name) FROM {ns}.t",
        "replaced": f"SELECT * REPLACE (id + 1 AS id) FROM {ns}.t",
    }
    before = {}
    for name, query in views.items():
        lake.query(f"CREATE VIEW {ns}.{name} AS {query}")
        before[name] = lake.query(f"SELECT * FROM {ns}.{name}")
        expected = lake.query(query)
        assert (before[name]["rows"], [c["name"] for c in before[name]["columns"]]) == (
            expected["rows"], [c["name"] for c in expected["columns"]]), name
    assert stored(lake, f"{ns}.plain")["sql"] == f'SELECT id, name, "Mixed Case" FROM {ns}.t'
    assert "-- the lot" in stored(lake, f"{ns}.more")["sql"]
    lake.query(f"ALTER TABLE {ns}.t ADD COLUMN later VARCHAR")
    for name in views:
        after = lake.query(f"SELECT * FROM {ns}.{name}")
        assert (after["rows"], after["columns"]) == (before[name]["rows"], before[name]["columns"]), name


def test_the_namespace_of_a_view_stays(lake, ns):
    with connect(lake) as connection:
        connection.execute("SET search_path = shop")
        connection.execute(f"CREATE VIEW {ns}.v AS SELECT count(*) AS n FROM item")
        connection.execute(f"SET search_path = {ns}")
        assert connection.execute("SELECT n FROM v").fetchone() == (4,)
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM item")
    assert stored(lake, f"{ns}.v")["version"]["default-namespace"] == ["shop"]


def test_views_on_views_to_a_limit_and_never_in_a_circle(lake, ns):
    lake.query(f"CREATE VIEW {ns}.v0 AS SELECT id FROM shop.item")
    for number in range(1, 32):
        lake.query(f"CREATE VIEW {ns}.v{number} AS SELECT id FROM {ns}.v{number - 1}")
    assert lake.value(f"SELECT sum(id) FROM {ns}.v31") == 10
    assert "is reached through 32 others" in refused(lake, f"CREATE VIEW {ns}.v32 AS SELECT id FROM {ns}.v31")
    assert "stands on itself" in refused(lake, f"CREATE OR REPLACE VIEW {ns}.v0 AS SELECT id FROM {ns}.v0")
    assert "stands on itself" in refused(lake, f"CREATE OR REPLACE VIEW {ns}.v0 AS SELECT id FROM {ns}.v3")
    # Other engines can make a circle; reading it is an error and no more.
    for name, other in (("a", "b"), ("b", "a")):
        create_by_rest(lake, ns, name, f"SELECT id FROM {ns}.{other}", "spark")
    assert "stands on itself" in refused(lake, f"SELECT * FROM {ns}.a")
    # Many readings of few views.
    lake.query(f"CREATE VIEW {ns}.w0 AS SELECT 1 AS x")
    for number in range(1, 7):
        lake.query(f"CREATE VIEW {ns}.w{number} AS SELECT a.x FROM {ns}.w{number - 1} a, {ns}.w{number - 1} b")
    assert lake.value(f"SELECT count(*) FROM {ns}.w6") == 1
    for number in range(7, 32):
        create_by_rest(lake, ns, f"w{number}", f"SELECT a.x FROM {ns}.w{number - 1} a, {ns}.w{number - 1} b", "tarn", "x")
    assert "reads other views too often" in refused(lake, f"SELECT * FROM {ns}.w31")


def create_by_rest(tarn: Tarn, namespace: str, name: str, sql: str, dialect: str, column: str = "id", **version) -> dict:
    body = {
        "name": name,
        "schema": {"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": column, "required": False, "type": "long"}]},
        "view-version": {"version-id": 1, "timestamp-ms": 1_760_000_000_000, "schema-id": 0, "summary": {"engine-name": dialect},
                         "representations": [{"type": "sql", "sql": sql, "dialect": dialect}],
                         "default-namespace": [namespace], **version},
        "properties": {},
    }
    answer = tarn.request("POST", f"/iceberg/v1/namespaces/{namespace}/views", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_stale_view_names_itself_and_can_be_made_again(lake, ns):
    lake.query(f"CREATE TABLE {ns}.t (id BIGINT, name VARCHAR)")
    lake.query(f"CREATE VIEW {ns}.v AS SELECT id, name FROM {ns}.t")
    lake.query(f"CREATE VIEW {ns}.on_top AS SELECT name FROM {ns}.v")
    lake.query(f"ALTER TABLE {ns}.t DROP COLUMN name")
    for view in ("v", "on_top"):
        message = refused(lake, f"SELECT * FROM {ns}.{view}")
        assert f"view `{ns}.v` can no longer be read" in message and "`name`" in message, message
    # It is listed and described all the same.
    listed = lake.rows(f"SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = '{ns}' ORDER BY 1")
    assert listed == [["on_top", "VIEW"], ["t", "BASE TABLE"], ["v", "VIEW"]]
    columns = lake.rows(f"SELECT column_name FROM information_schema.columns WHERE table_schema = '{ns}' AND table_name = 'v'")
    assert columns == [["id"], ["name"]]
    assert "can no longer be read" in refused(lake, f"CREATE VIEW {ns}.x AS SELECT * FROM {ns}.v")
    lake.query(f"CREATE OR REPLACE VIEW {ns}.v AS SELECT id, 'new' AS name FROM {ns}.t")
    lake.query(f"INSERT INTO {ns}.t VALUES (7)")
    assert lake.rows(f"SELECT * FROM {ns}.on_top") == [["new"]]
    lake.query(f"DROP TABLE {ns}.t")
    message = refused(lake, f"SELECT * FROM {ns}.v")
    assert f"view `{ns}.v`" in message and f"table `{ns}.t` not found" in message, message


def test_create_replace_rename_comment_and_drop(lake, ns):
    lake.query(f"CREATE VIEW {ns}.v AS SELECT 1 AS x")
    assert "exists already" in refused(lake, f"CREATE VIEW {ns}.v AS SELECT 2 AS x")
    lake.query(f"CREATE VIEW IF NOT EXISTS {ns}.v AS SELECT 3 AS x")
    assert lake.value(f"SELECT x FROM {ns}.v") == 1
    lake.query(f"CREATE OR REPLACE VIEW {ns}.v AS SELECT 'text' AS y, 2 AS x")
    assert lake.rows(f"SELECT * FROM {ns}.v") == [["text", 2]]
    assert len(stored(lake, f"{ns}.v")["metadata"]["versions"]) == 2
    lake.query(f"COMMENT ON VIEW {ns}.v IS 'what it is'")
    assert stored(lake, f"{ns}.v")["metadata"]["properties"]["comment"] == "what it is"
    lake.query(f"COMMENT ON VIEW {ns}.v IS NULL")
    assert "comment" not in stored(lake, f"{ns}.v")["metadata"]["properties"]
    lake.query(f"CREATE TABLE {ns}.t (id BIGINT)")
    for sql in (f"CREATE TABLE {ns}.v (id BIGINT)", f"CREATE VIEW {ns}.t AS SELECT 1 AS x", f"ALTER TABLE {ns}.t RENAME TO v",
                f"ALTER VIEW {ns}.v RENAME TO t"):
        assert "exists already" in refused(lake, sql), sql
    assert "is a table, not a view" in refused(lake, f"DROP VIEW {ns}.t")
    assert "is a table, not a view" in refused(lake, f"CREATE OR REPLACE VIEW {ns}.t AS SELECT 1 AS x") or True
    assert "is a view, not a table" in refused(lake, f"DROP TABLE IF EXISTS {ns}.v")
    lake.query(f"ALTER VIEW {ns}.v RENAME TO w")
    assert lake.value(f"SELECT x FROM {ns}.w") == 2 and "not found" in refused(lake, f"SELECT * FROM {ns}.v")
    assert "not empty" in refused(lake, f"DROP SCHEMA {ns}")
    lake.query(f"DROP VIEW {ns}.w")
    assert "not found" in refused(lake, f"DROP VIEW {ns}.w")
    lake.query(f"DROP VIEW IF EXISTS {ns}.w")
    assert lake.request("GET", f"/iceberg/v1/namespaces/{ns}/views").json()["identifiers"] == []


def test_what_views_cannot_do_is_told(lake, ns):
    lake.query(f"CREATE VIEW {ns}.v AS SELECT id, name FROM shop.item")
    for sql in (f"INSERT INTO {ns}.v VALUES (1, 'a')", f"UPDATE {ns}.v SET name = 'x'", f"DELETE FROM {ns}.v", f"TRUNCATE TABLE {ns}.v",
                f"MERGE INTO {ns}.v t USING shop.item s ON t.id = s.id WHEN MATCHED THEN DELETE"):
        assert "is a view, whose rows cannot be changed" in refused(lake, sql), sql
    assert "neither materialized" in refused(lake, f"CREATE MATERIALIZED VIEW {ns}.m AS SELECT 1 AS x")
    assert "`missing` not found" in refused(lake, f"CREATE VIEW {ns}.m AS SELECT missing FROM shop.item")
    assert "no parameters" in refused(lake, f"CREATE VIEW {ns}.m AS SELECT id FROM shop.item WHERE id = $1")
    assert "did you mean" in refused(lake, f"SELECT * FROM {ns}.vv")
    lake.query(f"INSERT INTO shop.item SELECT 99, 'from a view', 1 FROM {ns}.v WHERE id = 1")
    assert lake.value("SELECT name FROM shop.item WHERE id = 99") == "from a view"
    lake.query("DELETE FROM shop.item WHERE id = 99")


def test_a_view_of_the_past(lake, ns):
    lake.query(f"CREATE TABLE {ns}.t (id BIGINT)")
    lake.query(f"INSERT INTO {ns}.t VALUES (1)")
    first = lake.value(f'SELECT snapshot_id FROM {ns}."t$snapshots"')
    lake.query(f"CREATE VIEW {ns}.v AS SELECT * FROM {ns}.t FOR VERSION AS OF {first}")
    lake.query(f"INSERT INTO {ns}.t VALUES (2)")
    assert lake.rows(f"SELECT * FROM {ns}.v") == [[1]]


def test_a_view_is_made_again_from_its_statement(lake, ns):
    lake.query(f"CREATE VIEW {ns}.v (\"Number\", price) AS SELECT id, price FROM shop.item WHERE price > 1")
    lake.query(f"COMMENT ON VIEW {ns}.v IS 'it''s dear'")
    assert lake.rows(f"DESCRIBE {ns}.v") == [["Number", "bigint", "NO"], ["price", "decimal(10, 2)", "YES"]]
    rows = lake.rows(f"SELECT * FROM {ns}.v ORDER BY 1")
    statements = lake.rows(f"SHOW CREATE VIEW {ns}.v")[0][1]
    lake.query(f"DROP VIEW {ns}.v")
    with connect(lake) as connection:
        connection.execute(statements)
    assert rows and lake.rows(f"SELECT * FROM {ns}.v ORDER BY 1") == rows
    assert lake.rows(f"SHOW CREATE VIEW {ns}.v")[0][1] == statements


def test_postgresql_clients_see_views(lake, ns):
    lake.query(f"CREATE VIEW {ns}.v AS SELECT id, price FROM shop.item")
    with connect(lake) as connection:
        execute = lambda sql: connection.execute(sql).fetchall()  # noqa: E731
        assert execute(f"SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = '{ns}'") == [("v", "VIEW")]
        assert execute(f"SELECT view_definition FROM information_schema.views WHERE table_schema = '{ns}'") == [("SELECT id, price FROM shop.item",)]
        assert execute(f"SELECT viewname, definition FROM pg_catalog.pg_views WHERE schemaname = '{ns}'") == [("v", "SELECT id, price FROM shop.item")]
        kinds = execute(f"SELECT c.relname, c.relkind FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = '{ns}'")
        assert kinds == [("v", "v")]
        columns = execute(f"SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = '{ns}' ORDER BY ordinal_position")
        assert columns == [("id", "bigint"), ("price", "numeric")]
        with pytest.raises(psycopg.errors.WrongObjectType):
            connection.execute(f"INSERT INTO {ns}.v VALUES (1, 2)")
        with pytest.raises(psycopg.errors.WrongObjectType):
            connection.execute(f"DROP TABLE {ns}.v")
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute(f"DROP VIEW {ns}.nothing")
        with pytest.raises(psycopg.errors.DuplicateTable):
            connection.execute(f"CREATE VIEW {ns}.v AS SELECT 1 AS x")


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
def test_psql_describes_views(lake, ns):
    lake.query(f"CREATE VIEW {ns}.seen AS SELECT id, name FROM shop.item")

    def psql(command: str, *more: str) -> str:
        line = ["psql", "-X", *more, "-h", "127.0.0.1", "-p", str(lake.pgwire_port), "-U", "local", "-d", "tarn", "-A", "-c", command]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 and "ERROR" not in done.stderr, (command, done.stdout, done.stderr)
        return done.stdout
    assert f"{ns}|seen|view|" in psql(f"\\dv {ns}.*")
    described = psql(f"\\d {ns}.seen")
    assert "id|bigint|" in described and "name|" in described, described
    assert "SELECT id, name FROM shop.item;" in psql(f"\\d+ {ns}.seen")


def test_the_editor_offers_views(lake, ns):
    lake.query(f"CREATE VIEW {ns}.offered AS SELECT id FROM shop.item")
    found = [t for t in lake.api("GET", "/query/completion")["tables"] if t["name"] == f"{ns}.offered"]
    assert found and [c["name"] for c in found[0]["columns"]] == ["id"]


def test_pyiceberg_lists_loads_makes_and_drops_views(lake, ns):
    lake.query(f"CREATE VIEW {ns}.ours AS SELECT id FROM shop.item")
    catalog = open_pyiceberg(lake)
    assert catalog.list_views(ns) == [(ns, "ours")]
    assert catalog.list_tables(ns) == []
    assert catalog.view_exists(f"{ns}.ours") and not catalog.view_exists(f"{ns}.nothing")
    schema = Schema(NestedField(1, "id", LongType(), required=False), NestedField(2, "name", StringType(), required=False))
    version = ViewVersion(
        version_id=1, schema_id=0, timestamp_ms=1_760_000_000_000, summary={"engine-name": "pyiceberg"},
        representations=[SQLViewRepresentation(type="sql", sql="SELECT id, name FROM item WHERE id < 3", dialect="spark")],
        default_namespace=["shop"])
    catalog.create_view(f"{ns}.theirs", schema, version)
    assert lake.rows(f"SELECT * FROM {ns}.theirs ORDER BY id") == [[1, "tea"], [2, "pot"]]
    catalog.drop_view(f"{ns}.theirs")
    with pytest.raises(NoSuchViewError):
        catalog.drop_view(f"{ns}.theirs")


def test_views_of_other_dialects_are_read_or_told(lake, ns):
    create_by_rest(lake, ns, "ticks", "SELECT `id` FROM `spark_cat`.`shop`.`item` WHERE name = \"tea\"", "spark", **{"default-catalog": "spark_cat"})
    assert lake.rows(f"SELECT * FROM {ns}.ticks") == [[1]]
    create_by_rest(lake, ns, "star", "SELECT * FROM shop.item", "duckdb")
    assert sorted(lake.rows(f"SELECT * FROM {ns}.star")) == [[1], [2], [3], [4]]
    create_by_rest(lake, ns, "strange", "SELECT id FROM shop.item LATERAL VIEW explode(array(1)) t AS y", "spark")
    create_by_rest(lake, ns, "unknown", "SELECT only_spark_has_it(id) AS id FROM shop.item", "spark")
    for name in ("strange", "unknown"):
        message = refused(lake, f"SELECT * FROM {ns}.{name}")
        assert f"view `{ns}.{name}` cannot be read here, it is written in the SQL of spark" in message, message
    create_by_rest(lake, ns, "evil", "DROP TABLE shop.item", "spark")
    assert "it is not a query" in refused(lake, f"SELECT * FROM {ns}.evil")
    assert lake.value("SELECT count(*) FROM shop.item") == 4


def test_the_protocol_of_views(lake, ns):
    base = f"/iceberg/v1/namespaces/{ns}"
    made = create_by_rest(lake, ns, "v", "SELECT id FROM shop.item", "spark")
    assert made["metadata"]["format-version"] == 1 and made["metadata-location"].endswith(".metadata.json")
    assert lake.request("GET", f"{base}/views/v").json() == made
    assert lake.request("HEAD", f"{base}/views/v").status_code == 204
    assert lake.request("HEAD", f"{base}/views/w").status_code == 404

    def fails(method: str, path: str, status: int, kind: str, body: object = None) -> None:
        answer = lake.request(method, path, json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["type"], error["code"]) == (status, kind, status), answer.text
    lake.query(f"CREATE TABLE {ns}.t (id BIGINT)")
    table = {"name": "v", "schema": {"type": "struct", "schema-id": 0, "fields": []}}
    view = {"name": "t", "schema": made["metadata"]["schemas"][0], "view-version": made["metadata"]["versions"][0]}
    fails("GET", f"{base}/views/w", 404, "NoSuchViewException")
    fails("GET", f"{base}/views/t", 404, "NoSuchViewException")
    fails("GET", f"{base}/tables/v", 404, "NoSuchTableException")
    fails("DELETE", f"{base}/views/w", 404, "NoSuchViewException")
    fails("GET", "/iceberg/v1/namespaces/nowhere/views", 404, "NoSuchNamespaceException")
    fails("POST", f"{base}/tables", 409, "AlreadyExistsException", table)
    fails("POST", f"{base}/views", 409, "AlreadyExistsException", view)
    fails("POST", f"{base}/views", 400, "BadRequestException", {"name": "x"})
    fails("POST", f"{base}/views", 400, "BadRequestException",
          view | {"name": "x", "view-version": view["view-version"] | {"representations": []}})
    identifier = {"namespace": [ns], "name": "v"}
    change = {"identifier": identifier, "updates": [{"action": "set-properties", "updates": {"owner": "li"}}]}
    wrong = change | {"requirements": [{"type": "assert-view-uuid", "uuid": str(uuid.uuid4())}]}
    fails("POST", f"{base}/views/v", 409, "CommitFailedException", wrong)
    fails("POST", f"{base}/views/v", 400, "BadRequestException", change | {"updates": [{"action": "fly"}]})
    right = change | {"requirements": [{"type": "assert-view-uuid", "uuid": made["metadata"]["view-uuid"]}]}
    changed = lake.request("POST", f"{base}/views/v", json=right).json()
    assert changed["metadata"]["properties"]["owner"] == "li" and changed["metadata-location"] != made["metadata-location"]
    replaced = [
        {"action": "add-schema", "schema": made["metadata"]["schemas"][0]},
        {"action": "add-view-version", "view-version": made["metadata"]["versions"][0] | {
            "schema-id": -1, "timestamp-ms": 1_760_000_100_000,
            "representations": [{"type": "sql", "sql": "SELECT 5 AS id", "dialect": "spark"}]}},
        {"action": "set-current-view-version", "view-version-id": -1},
    ]
    answer = lake.request("POST", f"{base}/views/v", json={"identifier": identifier, "updates": replaced})
    assert answer.status_code == 200 and answer.json()["metadata"]["current-version-id"] == 2, answer.text
    assert lake.rows(f"SELECT * FROM {ns}.v") == [[5]]
    rename = {"source": identifier, "destination": {"namespace": [ns], "name": "u"}}
    assert lake.request("POST", "/iceberg/v1/views/rename", json=rename).status_code == 204
    fails("POST", "/iceberg/v1/views/rename", 404, "NoSuchViewException", rename)
    fails("POST", "/iceberg/v1/views/rename", 409, "AlreadyExistsException",
          {"source": {"namespace": [ns], "name": "u"}, "destination": {"namespace": [ns], "name": "t"}})
    location = lake.request("GET", f"{base}/views/u").json()["metadata-location"]
    assert lake.request("DELETE", f"{base}/views/u").status_code == 204
    register = {"name": "again", "metadata-location": location}
    assert lake.request("POST", f"{base}/register-view", json=register).status_code == 200
    fails("POST", f"{base}/register-view", 409, "AlreadyExistsException", register)
    fails("POST", f"{base}/register-view", 400, "BadRequestException", {"name": "x", "metadata-location": "file:///etc/passwd"})
    of_table = lake.request("GET", f"{base}/tables/t").json()["metadata-location"]
    fails("POST", f"{base}/register-view", 400, "BadRequestException", {"name": "x", "metadata-location": of_table})
    assert lake.rows(f"SELECT * FROM {ns}.again") == [[5]]
    for name in ("p1", "p2", "p3"):
        lake.query(f"CREATE VIEW {ns}.{name} AS SELECT 1 AS x")
    seen, token = [], ""
    while token is not None:
        page = lake.request("GET", f"{base}/views", params={"pageToken": token, "pageSize": 2}).json()
        seen += [view["name"] for view in page["identifiers"]]
        token = page.get("next-page-token")
    assert seen == ["again", "p1", "p2", "p3"]


def test_views_survive_a_kill(make_tarn):
    tarn = make_tarn().start()
    tarn.query("CREATE SCHEMA s")
    tarn.query("CREATE TABLE s.t (id BIGINT)")
    tarn.query("CREATE VIEW s.v AS SELECT count(*) AS n FROM s.t")
    before = stored(tarn, "s.v")
    tarn.restart()
    assert json.dumps(stored(tarn, "s.v"), sort_keys=True) == json.dumps(before, sort_keys=True)
    assert tarn.rows("SELECT n FROM s.v") == [[0]]
