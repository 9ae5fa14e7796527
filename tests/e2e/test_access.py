"""Who may do what over each protocol, and secrets that stay secret."""

import functools
import json
import os

import adbc_driver_flightsql.dbapi as flight_sql
import psycopg
import pyarrow as pa
import pytest
import requests
from adbc_driver_flightsql import DatabaseOptions
from pyiceberg.catalog.rest import RestCatalog

from rig.postgres import PASSWORD, cdc_source
from rig.process import wait_until
from rig.readers import open_duckdb, open_pyiceberg
from rig.tarn import ApiError, Tarn

ADMIN, ADMIN_PASSWORD = "ada", "a long password 密码"
VIEWER, VIEWER_PASSWORD = "vic", "only looking around"
SECRET_VALUE = "s3cr3t-value-that-must-not-show"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with an admin, an editor's key, a viewer and a viewer's key, and one table."""
    tarn = Tarn(tmp_path_factory.mktemp("guarded")).start()
    catalog = open_pyiceberg(tarn)
    catalog.create_namespace("shop")
    catalog.create_table("shop.t", pa.schema([("id", pa.int64())])).append(pa.table({"id": pa.array([1, 2], pa.int64())}))
    tarn.apply("kind: source\nname: inbox\nspec: {type: http_push}")
    tarn.api("POST", "/access/users", {"name": ADMIN, "role": "admin", "password": ADMIN_PASSWORD})
    tarn.auth = (ADMIN, ADMIN_PASSWORD)
    tarn.api("POST", "/access/users", {"name": VIEWER, "role": "viewer", "password": VIEWER_PASSWORD})
    tarn.keys = {role: tarn.api("POST", "/access/keys", {"name": f"{role}-key", "role": role})["key"] for role in ("viewer", "editor")}
    yield tarn
    tarn.kill()
    assert not tarn.panics()


def ask(tarn: Tarn, method: str, path: str, who: str | tuple[str, str] | None, **options) -> requests.Response:
    """`who`: a key, a name and password, or nobody."""
    headers = options.pop("headers", {})
    if isinstance(who, str):
        headers["Authorization"] = f"Bearer {who}"
    auth = (who[0].encode(), who[1].encode()) if isinstance(who, tuple) else None
    return requests.request(method, tarn.url + path, headers=headers, auth=auth, timeout=60, **options)


READS = [("GET", "/api/v1/overview"), ("GET", "/api/v1/ingest"), ("GET", "/api/v1/eventlog"), ("GET", "/api/v1/lakehouse"),
         ("GET", "/api/v1/resource"), ("GET", "/api/v1/query"), ("GET", "/iceberg/v1/config"), ("GET", "/iceberg/v1/namespaces"),
         ("GET", "/iceberg/v1/namespaces/shop/tables/t"), ("GET", "/metrics"), ("GET", "/api/v1/events"), ("GET", "/api/v1/lakehouse/shop/t/preview")]
WRITES = [
    ("POST", "/api/v1/ingest/inbox/push", {"id": 1}),
    ("POST", "/api/v1/resource/apply", {"documents": "kind: source\nname: other\nspec: {type: http_push}"}),
    ("POST", "/api/v1/resource/rollback", {"revision": 1}),
    ("POST", "/api/v1/ingest/inbox/pause", None),
    ("POST", "/iceberg/v1/namespaces", {"namespace": ["mine"]}),
    ("DELETE", "/iceberg/v1/namespaces/shop/tables/t", None),
    ("POST", "/iceberg/v1/namespaces/shop/tables/t", {"requirements": [], "updates": [{"action": "set-properties", "updates": {"a": "b"}}]}),
    ("POST", "/iceberg/v1/transactions/commit", {"table-changes": []}),
    ("POST", "/iceberg/v1/tables/rename", {"source": {"namespace": ["shop"], "name": "t"}, "destination": {"namespace": ["shop"], "name": "u"}}),
    ("POST", "/api/v1/lakehouse/shop/t/compact", None),
    ("POST", "/api/v1/resource/write-back", {}),
]
ADMIN_ONLY = [
    ("GET", "/api/v1/access/users", None),
    ("POST", "/api/v1/access/users", {"name": "eve", "role": "admin", "password": "let me in please"}),
    ("DELETE", f"/api/v1/access/users/{ADMIN}", None),
    ("GET", "/api/v1/access/keys", None),
    ("POST", "/api/v1/access/keys", {"name": "mine", "role": "admin"}),
    ("PUT", "/api/v1/access/secrets/mine", {"value": "x"}),
    ("DELETE", "/api/v1/access/secrets/mine", None),
    ("GET", "/api/v1/access/audit", None),
]


def test_nobody_gets_nothing(guarded):
    for method, path in READS:
        assert ask(guarded, method, path, None).status_code == 401, path
    for method, path, body in WRITES + ADMIN_ONLY:
        assert ask(guarded, method, path, None, json=body).status_code == 401, path
    # Whether the process lives may be asked by everybody, and what the login page needs.
    assert ask(guarded, "GET", "/healthz", None).status_code == 200
    assert ask(guarded, "GET", "/readyz", None).status_code == 200
    session = ask(guarded, "GET", "/api/v1/session", None).json()
    assert session["authentication_required"] is True and session["user"] is None


@pytest.mark.parametrize("who", ["tarn_wrong", "", (ADMIN, "wrong"), ("nobody", "wrong"), ("local", ""), (ADMIN, "")])
def test_a_wrong_key_or_password_is_refused_everywhere(guarded, who):
    for path in ("/api/v1/overview", "/iceberg/v1/config"):
        assert ask(guarded, "GET", path, who).status_code in (401, 429), (path, who)


def test_a_viewer_reads_and_does_not_write(guarded):
    for who in (guarded.keys["viewer"], (VIEWER, VIEWER_PASSWORD)):
        for method, path in READS:
            with ask(guarded, method, path, who, stream=True) as answer:
                assert answer.status_code == 200, (path, answer.text)
        assert ask(guarded, "POST", "/api/v1/query", who, json={"sql": "SELECT count(*) FROM shop.t"}).json()["rows"] == [[2]]
        for method, path, body in WRITES + ADMIN_ONLY:
            answer = ask(guarded, method, path, who, json=body)
            assert answer.status_code == 403, (path, answer.status_code, answer.text)
    assert guarded.value("SELECT count(*) FROM shop.t") == 2


def test_an_editor_writes_data_and_manages_nobody(guarded):
    key = guarded.keys["editor"]
    for method, path, body in ADMIN_ONLY:
        answer = ask(guarded, method, path, key, json=body)
        assert answer.status_code == 403, (path, answer.text)
    assert ask(guarded, "POST", "/iceberg/v1/namespaces", key, json={"namespace": ["editors"]}).status_code == 200
    assert ask(guarded, "POST", "/api/v1/ingest/inbox/push", key, json={"id": 1}).status_code == 200


def test_the_console_logs_in_and_out(guarded):
    browser = requests.Session()
    assert browser.post(f"{guarded.url}/api/v1/session", json={"user": ADMIN, "password": "wrong"}, timeout=60).status_code == 401
    answer = browser.post(f"{guarded.url}/api/v1/session", json={"user": ADMIN, "password": ADMIN_PASSWORD}, timeout=60)
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite" in cookie, cookie
    assert browser.get(f"{guarded.url}/api/v1/session", timeout=60).json()["user"] == ADMIN
    assert browser.get(f"{guarded.url}/api/v1/overview", timeout=60).status_code == 200
    # Another site cannot use the cookie to change something.
    forged = browser.post(f"{guarded.url}/api/v1/ingest/inbox/pause", headers={"origin": "http://evil.example"}, timeout=60)
    assert forged.status_code == 403
    foreign = browser.get(f"{guarded.url}/api/v1/overview", headers={"host": "evil.example"}, timeout=60)
    assert foreign.status_code == 403
    kept = dict(browser.cookies)
    assert browser.delete(f"{guarded.url}/api/v1/session", timeout=60).status_code == 204
    assert requests.get(f"{guarded.url}/api/v1/overview", cookies=kept, timeout=60).status_code == 401


def unless_slowed_down(connect, user, password):
    try:
        return connect(user, password)
    except psycopg.OperationalError as error:
        if "too many failed logins" not in str(error):
            raise
        return None


def test_the_wire_protocol_asks_who_you_are(guarded):
    def connect(user: str, password: str | None):
        return psycopg.connect(host="127.0.0.1", port=guarded.pgwire_port, user=user, password=password, dbname="tarn", connect_timeout=20)
    for user, password in ((VIEWER, VIEWER_PASSWORD), (ADMIN, ADMIN_PASSWORD), ("key", guarded.keys["viewer"])):
        # Wrong passwords of tests before this one slow the user down, at most a minute.
        with wait_until(f"{user} is let in", functools.partial(unless_slowed_down, connect, user, password), 120) as connection:
            assert connection.execute("SELECT count(*) FROM shop.t").fetchone() == (2,)
    for user, password in ((ADMIN, "wrong"), (ADMIN, None), ("nobody", "wrong"), ("local", "x"), ("key", "tarn_wrong"), ("anything", guarded.keys["viewer"])):
        with pytest.raises(psycopg.OperationalError) as raised:
            connect(user, password)
        if password is not None:
            assert password not in str(raised.value)


def test_flight_sql_asks_who_you_are(guarded):
    header = f"{DatabaseOptions.RPC_CALL_HEADER_PREFIX.value}authorization"
    for options in ({"username": VIEWER, "password": VIEWER_PASSWORD}, {header: f"Bearer {guarded.keys['viewer']}"}):
        with flight_sql.connect(guarded.flight, db_kwargs=options) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM shop.t")
            assert cursor.fetchone() == (2,)
    for options in ({}, {"username": VIEWER, "password": "wrong"}, {header: "Bearer tarn_wrong"}):
        with pytest.raises(Exception, match="(?i)unauthenticated|password|key|denied"):  # noqa: B017 - the driver's own classes
            with flight_sql.connect(guarded.flight, db_kwargs=options) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM shop.t")
                cursor.fetchone()


def test_the_catalog_takes_keys_as_tokens(guarded):
    viewer = RestCatalog("v", uri=guarded.iceberg, token=guarded.keys["viewer"])
    assert viewer.load_table("shop.t").scan().to_arrow().num_rows == 2
    with pytest.raises(Exception, match="(?i)forbidden|not allowed|may not"):
        viewer.create_namespace("theirs")
    with pytest.raises(Exception, match="(?i)unauthorized|not authorized|key"):
        RestCatalog("w", uri=guarded.iceberg, token="tarn_wrong").list_namespaces()
    editor = RestCatalog("e", uri=guarded.iceberg, token=guarded.keys["editor"])
    editor.create_namespace_if_not_exists("written")
    # As client credentials, the way of older clients.
    by_credential = RestCatalog("c", uri=guarded.iceberg, credential=f"any:{guarded.keys['viewer']}")
    assert by_credential.load_table("shop.t").scan().to_arrow().num_rows == 2
    reader = Tarn(guarded.project.parent)
    reader.running, reader.key = guarded.running, guarded.keys["viewer"]
    with open_duckdb(reader) as duck:
        assert duck.execute("SELECT count(*) FROM lake.shop.t").fetchone() == (2,)


def test_a_key_ends_when_it_is_revoked_or_expires(guarded):
    made = guarded.api("POST", "/access/keys", {"name": "short", "role": "viewer", "expires_in": "90d"})
    assert ask(guarded, "GET", "/api/v1/overview", made["key"]).status_code == 200
    listed = guarded.api("GET", "/access/keys")["items"]
    assert made["key"] not in json.dumps(listed)
    guarded.api("DELETE", f"/access/keys/{made['id']}")
    assert ask(guarded, "GET", "/api/v1/overview", made["key"]).status_code == 401
    with pytest.raises(ApiError) as raised:
        guarded.api("POST", "/access/keys", {"name": "bad", "role": "viewer", "expires_in": "soon"})
    assert raised.value.status == 400


def test_the_last_admin_cannot_lock_everybody_out(guarded):
    with pytest.raises(ApiError) as raised:
        guarded.api("DELETE", f"/access/users/{ADMIN}")
    assert raised.value.status in (400, 403, 409), raised.value
    assert guarded.api("GET", "/session")["user"] == ADMIN


def test_the_audit_log_says_who_did_what(guarded):
    guarded.api("POST", "/access/users", {"name": "tmp", "role": "viewer", "password": "for a moment"})
    guarded.api("DELETE", "/access/users/tmp")
    records = guarded.api("GET", "/access/audit?limit=200")["items"]
    told = {(record["principal"], record["action"].split(".")[-1], record["outcome"]) for record in records}
    assert any(principal == ADMIN for principal, _, _ in told), told
    assert any("tmp" in record["target"] for record in records)
    assert all(record["hash"] for record in records)
    assert ADMIN_PASSWORD not in json.dumps(records) and "for a moment" not in json.dumps(records)


def test_secrets_show_nowhere(postgres, database, make_tarn):
    tarn = make_tarn(TARN_LOG="debug").start()
    tarn.set_secret("shop_password", PASSWORD)
    tarn.set_secret("other", SECRET_VALUE)
    with postgres.connect(database) as connection:
        connection.execute("CREATE TABLE item (id int PRIMARY KEY)")
        connection.execute("INSERT INTO item VALUES (1)")
    tarn.write_resource("shop", cdc_source(postgres, database))
    tarn.ok("apply", "--yes")
    tarn.wait_for_rows("SELECT count(*) FROM shop.item", 1)
    tarn.ok("ingest", "check", "shop")
    # One that fails while it holds the value.
    tarn.apply("kind: source\nname: broken\nspec: {type: postgres_cdc, url: 'postgres://a@127.0.0.1:1/x', password: {secret: other}}")
    document = tarn.request("GET", "/openapi.json").json()
    answers = []
    for path, methods in document["paths"].items():
        if "get" in methods and "events" not in path:
            for name in ("shop", "broken"):
                filled = path.replace("{name}", name).replace("{ns}", "shop").replace("{namespace}", "shop").replace("{table}", "item").replace("{kind}", "source").replace("{revision}", "1").replace("{n}", "1")
                answers.append(tarn.request("GET", filled).text)
    answers.append(tarn.ok("export"))
    answers.append(tarn.ok("--json", "ingest", "show", "shop"))
    answers.append(tarn.ok("access", "secret", "list"))
    assert len(answers) > 20
    key = tarn.api("POST", "/access/keys", {"name": "k", "role": "admin"})["key"]
    tarn.key = key
    tarn.api("POST", "/access/users", {"name": "ada", "role": "admin", "password": ADMIN_PASSWORD})
    assert tarn.stop() == 0
    hidden = {"a secret": SECRET_VALUE, "the password of a source": PASSWORD, "an API key": key, "a user's password": ADMIN_PASSWORD}
    for name, value in hidden.items():
        for text in [*answers, tarn.said()]:
            assert value not in text, f"{name} is shown: ...{text[max(0, text.find(value) - 200):text.find(value)]}"
        for path in [*tarn.data.rglob("*"), *tarn.project.rglob("*")]:
            if path.is_file() and value.encode() in path.read_bytes():
                raise AssertionError(f"{name} stands in clear text in {path}")
    secret_key = tarn.data / "secret.key"
    assert secret_key.exists() and os.stat(secret_key).st_mode & 0o077 == 0, "others may read the key of the secrets"
    assert os.stat(tarn.data).st_mode & 0o077 == 0, "others may read the data folder"


def test_a_missing_secret_is_named(tarn):
    tarn.write_resource("shop", "kind: source\nname: shop\nspec:\n  type: postgres_cdc\n  url: postgres://a@127.0.0.1:1/x\n  password: { secret: nowhere }\n")
    done = tarn.cli("plan")
    assert "nowhere" in done.stdout + done.stderr, done
