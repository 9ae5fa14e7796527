"""What the Iceberg REST specification asks of servers and clients rarely show: keys of requests, tags, reports, crashes."""

import concurrent.futures
import json
import sqlite3
import threading
import uuid

import pyarrow as pa
import pytest

from rig.readers import open_pyiceberg
from rig.tarn import Tarn


def key() -> str:
    """A UUID of version 7 is what the specification asks for; its version does not matter here."""
    return str(uuid.uuid4())


def make_table(tarn: Tarn, name: str) -> str:
    namespace, table = name.split(".")
    catalog = open_pyiceberg(tarn)
    catalog.create_namespace_if_not_exists(namespace)
    return str(catalog.create_table(name, pa.schema([("id", pa.int64())])).metadata.table_uuid)


def change(name: str, table_uuid: str, **properties: str) -> dict:
    namespace, table = name.split(".")
    return {
        "identifier": {"namespace": [namespace], "name": table},
        "requirements": [{"type": "assert-table-uuid", "uuid": table_uuid}],
        "updates": [{"action": "set-properties", "updates": properties}],
    }


def test_the_configuration_tells_how_long_answers_are_kept(tarn):
    config = tarn.request("GET", "/iceberg/v1/config").json()
    assert config["idempotency-key-lifetime"] == "PT30M"
    assert "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/unregister" in config["endpoints"]
    assert "POST /v1/{prefix}/views/rename" in config["endpoints"]


def test_a_change_under_a_key_takes_place_once(tarn):
    table_uuid = make_table(tarn, "mart.t")
    headers = {"Idempotency-Key": key()}
    path, body = "/iceberg/v1/namespaces/mart/tables/t", change("mart.t", table_uuid, colour="red")
    first = tarn.request("POST", path, json=body, headers=headers)
    assert first.status_code == 200, first.text
    # Somebody changes it meanwhile; the answer is the first one all the same, and nothing is undone.
    assert tarn.request("POST", path, json=change("mart.t", table_uuid, colour="blue")).status_code == 200
    for _ in range(2):
        again = tarn.request("POST", path, json=body, headers=headers)
        assert (again.status_code, again.json()) == (200, first.json())
        assert again.headers["etag"] == first.headers["etag"]
        tarn.restart()
    assert open_pyiceberg(tarn).load_table("mart.t").properties["colour"] == "blue"


def test_a_change_whose_answer_was_lost_is_not_made_again(tarn):
    """What the store holds when the process died between a change and its answer."""
    table_uuid = make_table(tarn, "mart.t")
    path, changed, dropped = "/iceberg/v1/namespaces/mart/tables/t", {"Idempotency-Key": key()}, {"Idempotency-Key": key()}
    body = change("mart.t", table_uuid, colour="red")
    assert tarn.request("POST", path, json=body, headers=changed).status_code == 200
    tarn.kill()
    with sqlite3.connect(tarn.data / "meta.db") as store:
        place = ("iceberg_idempotency", changed["Idempotency-Key"])
        (text,) = store.execute("SELECT value FROM documents WHERE space = ? AND key = ?", place).fetchone()
        receipt = {**json.loads(text), "status": 0, "etag": None, "body": None}
        store.execute("UPDATE documents SET value = ? WHERE space = ? AND key = ?", (json.dumps(receipt), *place))
    tarn.start()
    assert tarn.request("POST", path, json=change("mart.t", table_uuid, colour="blue")).status_code == 200
    again = tarn.request("POST", path, json=body, headers=changed)
    # Clients look at the table then.
    assert (again.status_code, again.json()["error"]["type"]) == (500, "CommitStateUnknownException"), again.text
    assert open_pyiceberg(tarn).load_table("mart.t").properties["colour"] == "blue"
    assert tarn.request("DELETE", path, headers=dropped).status_code == 204
    make_table(tarn, "mart.t")
    assert tarn.request("DELETE", path, headers=dropped).status_code == 204
    assert tarn.request("HEAD", path).status_code in (200, 204), "the new table stays"


def test_creating_and_dropping_under_a_key(tarn):
    make_table(tarn, "mart.t")
    table = {"name": "n", "schema": {"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": "id", "required": False, "type": "long"}]}}
    headers = {"Idempotency-Key": key()}
    made = [tarn.request("POST", "/iceberg/v1/namespaces/mart/tables", json=table, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in made] == [200] * 3
    assert len({answer.json()["metadata"]["table-uuid"] for answer in made}) == 1
    headers = {"Idempotency-Key": key()}
    dropped = [tarn.request("DELETE", "/iceberg/v1/namespaces/mart/tables/n", headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in dropped] == [204] * 3
    assert tarn.request("DELETE", "/iceberg/v1/namespaces/mart/tables/n").status_code == 404
    # A final error is final under its key, even when it would work now.
    headers = {"Idempotency-Key": key()}
    body = {"namespace": ["mart"]}
    first = tarn.request("POST", "/iceberg/v1/namespaces", json=body, headers=headers)
    assert (first.status_code, first.json()["error"]["type"]) == (409, "AlreadyExistsException")
    assert tarn.request("POST", "/iceberg/v1/namespaces", json=body, headers=headers).json() == first.json()


def test_a_key_is_for_one_request_of_one_kind(tarn):
    headers = {"Idempotency-Key": key()}
    assert tarn.request("POST", "/iceberg/v1/namespaces", json={"namespace": ["a"]}, headers=headers).status_code == 200
    other = tarn.request("POST", "/iceberg/v1/namespaces", json={"namespace": ["b"]}, headers=headers)
    assert (other.status_code, other.json()["error"]["type"]) == (422, "UnprocessableEntityException"), other.text
    bad = tarn.request("POST", "/iceberg/v1/namespaces", json={"namespace": ["c"]}, headers={"Idempotency-Key": "once"})
    assert (bad.status_code, bad.json()["error"]["type"]) == (400, "BadRequestException")
    assert sorted(open_pyiceberg(tarn).list_namespaces()) == [("a",)]


def test_many_at_once_under_one_key_make_one_table(tarn):
    open_pyiceberg(tarn).create_namespace("mart")
    table = {"name": "once", "schema": {"type": "struct", "schema-id": 0, "fields": []}}
    headers = {"Idempotency-Key": key()}

    def create(_: int):
        return tarn.request("POST", "/iceberg/v1/namespaces/mart/tables", json=table, headers=headers)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(create, range(24)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["metadata-location"] for answer in answers}) == 1


def test_tags_come_with_every_state_of_a_table(tarn):
    open_pyiceberg(tarn).create_namespace("mart")
    table = {"name": "t", "schema": {"type": "struct", "schema-id": 0, "fields": []}}
    made = tarn.request("POST", "/iceberg/v1/namespaces/mart/tables", json=table)
    path = "/iceberg/v1/namespaces/mart/tables/t"
    for known in (made.headers["etag"], f"W/{made.headers['etag']}", f"\"other\", {made.headers['etag']}", "*"):
        answer = tarn.request("GET", path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b""), known
    # What only has the named snapshots is another answer.
    assert tarn.request("GET", path, params={"snapshots": "refs"}, headers={"If-None-Match": made.headers["etag"]}).status_code == 200
    changed = tarn.request("POST", path, json=change("mart.t", made.json()["metadata"]["table-uuid"], a="b"))
    assert changed.headers["etag"] != made.headers["etag"]
    assert tarn.request("GET", path, headers={"If-None-Match": changed.headers["etag"]}).status_code == 304
    assert tarn.request("GET", path, params={"snapshots": "some"}).status_code == 400


def test_snapshots_without_a_name_are_left_out_when_asked(tarn):
    make_table(tarn, "mart.t")
    table = open_pyiceberg(tarn).load_table("mart.t")
    for number in range(3):
        table.append(pa.table({"id": pa.array([number], pa.int64())}))
    path = "/iceberg/v1/namespaces/mart/tables/t"
    everything = tarn.request("GET", path, params={"snapshots": "all"}).json()["metadata"]
    named = tarn.request("GET", path, params={"snapshots": "refs"}).json()["metadata"]
    assert len(everything["snapshots"]) == 3 and len(named["snapshots"]) == 1
    assert named["snapshots"][0]["snapshot-id"] == everything["current-snapshot-id"]
    assert open_pyiceberg(tarn, **{"snapshot-loading-mode": "refs"}).load_table("mart.t").scan().to_arrow().num_rows == 3


def test_a_table_moves_to_another_catalog_and_back(tarn):
    make_table(tarn, "mart.t")
    table = open_pyiceberg(tarn).load_table("mart.t")
    table.append(pa.table({"id": pa.array([7], pa.int64())}))
    path = "/iceberg/v1/namespaces/mart/tables/t"
    last = tarn.request("GET", path).json()
    gone = tarn.request("POST", f"{path}/unregister")
    assert (gone.status_code, gone.json()["metadata-location"]) == (200, last["metadata-location"]), gone.text
    assert tarn.request("GET", path).status_code == 404
    assert tarn.request("POST", f"{path}/unregister").status_code == 404
    refused = tarn.request("POST", path, json=change("mart.t", last["metadata"]["table-uuid"], a="b"))
    assert (refused.status_code, refused.json()["error"]["type"]) == (404, "NoSuchTableException")
    open_pyiceberg(tarn).register_table("mart.back", last["metadata-location"])
    assert tarn.rows("SELECT id FROM mart.back") == [[7]]


def test_a_table_that_a_topic_feeds_is_not_let_go(tarn):
    tarn.apply("kind: source\nname: inbox\nspec: {type: http_push, key: [id]}")
    tarn.push("inbox", {"id": 1})
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox", 1)
    answer = tarn.request("POST", "/iceberg/v1/namespaces/inbox/tables/inbox/unregister")
    assert answer.status_code == 409 and "feeds table" in answer.text


def test_reports_of_clients_are_kept_and_can_be_looked_at(tarn):
    make_table(tarn, "mart.t")
    path = "/iceberg/v1/namespaces/mart/tables/t/metrics"
    assert tarn.request("GET", path).json() == {"reports": []}
    for number in range(60):
        report = {"report-type": "scan-report", "table-name": "mart.t", "snapshot-id": number, "schema-id": 0,
                  "filter": True, "projected-field-ids": [1], "projected-field-names": ["id"], "metrics": {"result-data-files": {"unit": "count", "value": number}}}
        answer = tarn.request("POST", path, json=report)
        assert answer.status_code == 204, answer.text
    tarn.restart()
    reports = tarn.request("GET", path).json()["reports"]
    assert [one["report"]["snapshot-id"] for one in reports] == list(range(59, 9, -1))
    assert tarn.request("POST", path, json={"what": 1}).status_code == 400
    missing = tarn.request("POST", "/iceberg/v1/namespaces/mart/tables/none/metrics", json={"report-type": "scan-report"})
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "NoSuchTableException")


def test_several_tables_change_together_at_every_kill(make_tarn):
    """Writers set one number on three tables in one transaction while the server is killed; all three always agree."""
    tarn = make_tarn().start()
    names = ["bank.a", "bank.b", "bank.c"]
    uuids = {name: make_table(tarn, name) for name in names}
    acknowledged = 0
    for crash in range(4):
        stop = threading.Event()
        done: list[int] = []
        sent: list[tuple[int, dict, dict]] = []

        def write(start: int, stop: threading.Event = stop, done: list[int] = done, sent: list = sent) -> None:
            number = start
            while not stop.is_set():
                number += 1
                body = {"table-changes": [change(name, uuids[name], number=str(number)) for name in names]}
                headers = {"Idempotency-Key": key()}
                sent.append((number, body, headers))
                try:
                    answer = tarn.request("POST", "/iceberg/v1/transactions/commit", json=body, headers=headers)
                except Exception:  # noqa: BLE001 - the server is being killed
                    return
                if answer.status_code == 204:
                    done.append(number)
        writer = threading.Thread(target=write, args=(acknowledged,))
        writer.start()
        while len(done) < 5 + crash * 3:
            pass
        tarn.kill()
        stop.set()
        writer.join()
        tarn.start()
        catalog = open_pyiceberg(tarn)
        seen = {name: int(catalog.load_table(name).properties["number"]) for name in names}
        assert len(set(seen.values())) == 1, f"crash {crash}: {seen}"
        # Acknowledged is there; at most the one in flight is there as well.
        assert done[-1] <= seen["bank.a"] <= done[-1] + 1, (crash, seen, done[-1])
        # The last request is sent again after somebody else changed the tables: it takes place now only if it did not before.
        number, body, headers = sent[-1]
        between = {"table-changes": [change(name, uuids[name], number="-1") for name in names]}
        assert tarn.request("POST", "/iceberg/v1/transactions/commit", json=between).status_code == 204
        assert tarn.request("POST", "/iceberg/v1/transactions/commit", json=body, headers=headers).status_code == 204
        now = {int(open_pyiceberg(tarn).load_table(name).properties["number"]) for name in names}
        assert now == ({-1} if seen["bank.a"] == number else {number}), (crash, seen, number, now)
        acknowledged = max(number, seen["bank.a"])


@pytest.mark.parametrize("path", ["/v1/namespaces/a%1Fb", "/v1/namespaces/a%1Fb/tables", "/v1/namespaces/a%1Fb/views"])
def test_deeper_namespaces_do_not_exist(tarn, path):
    answer = tarn.request("GET", f"/iceberg{path}")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "NoSuchNamespaceException"), answer.text
