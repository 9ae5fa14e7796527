"""Rows that are sent to Tarn, and rows that lie in files."""

import gzip
import json
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from rig.process import wait_until
from rig.readers import readers
from rig.tarn import ApiError, Tarn

INBOX = "kind: source\nname: inbox\nspec:\n  type: http_push\n  key: [id]\n"


def test_every_acknowledged_push_is_there_exactly_once_after_kills(make_tarn):
    tarn = make_tarn()
    # Without a key, so that a row that is stored twice shows.
    tarn.write_resource("inbox", "kind: source\nname: inbox\nspec: {type: http_push, schema: [{name: n, type: int64}, {name: text, type: string}]}\n")
    tarn.start()
    acknowledged: list[int] = []
    uncertain: set[int] = set()
    asked_to_stop = threading.Event()

    def push_for_ever() -> None:
        number = 0
        while not asked_to_stop.is_set():
            batch = list(range(number, number + 1 + number % 7))
            number += len(batch)
            key = f"batch-{batch[0]}"
            while not asked_to_stop.is_set():
                try:
                    # Sent again with the same key until it is acknowledged.
                    tarn.push("inbox", [{"n": n, "text": f"row {n}"} for n in batch], headers={"idempotency-key": key}, timeout=10)
                    acknowledged.extend(batch)
                    uncertain.difference_update(batch)
                    break
                except (requests.RequestException, ApiError, KeyError):
                    # The answer was lost, or the server is just starting.
                    uncertain.update(batch)
                    asked_to_stop.wait(0.05)

    wait_until("the source takes rows", lambda: tarn.takes_rows("inbox"))
    pusher = threading.Thread(target=push_for_ever)
    pusher.start()
    for _ in range(6):
        reached = len(acknowledged) + 50
        wait_until("rows are acknowledged", lambda: len(acknowledged) > reached)
        tarn.restart()
    reached = len(acknowledged) + 20
    wait_until("rows are acknowledged", lambda: len(acknowledged) > reached)
    asked_to_stop.set()
    pusher.join(60)
    assert not pusher.is_alive() and len(acknowledged) == len(set(acknowledged)) > 300
    tarn.push("inbox", {"n": -1, "text": "mark"})
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox WHERE n = -1", 1)
    for reader, read in readers(tarn).items():
        stored = [n for n in read("inbox.inbox")["n"].to_pylist() if n >= 0]
        assert len(stored) == len(set(stored)), f"{reader}: rows are there twice"
        assert set(acknowledged) <= set(stored), f"{reader}: acknowledged rows are lost"
        # The last push may have arrived without its answer.
        assert set(stored) - set(acknowledged) <= uncertain, f"{reader}: rows that nobody sent"


def test_forms_of_a_push(tarn):
    tarn.apply(INBOX)
    receipt = tarn.push("inbox", {"id": 1, "name": "one"})
    assert receipt["rows"] == 1 and receipt["next_offset"] == receipt["first_offset"] + 1
    assert tarn.push("inbox", [{"id": 2, "name": "two"}, {"id": 3, "name": None}])["rows"] == 2
    lines = "".join(json.dumps({"id": n, "name": f"line {n}"}) + "\n" for n in range(4, 7))
    answer = tarn.request("POST", "/api/v1/ingest/inbox/push", data=lines.encode(), headers={"content-type": "application/x-ndjson"})
    assert answer.json()["rows"] == 3, answer.text
    packed = gzip.compress(json.dumps([{"id": 7, "name": "packed"}]).encode())
    answer = tarn.request("POST", "/api/v1/ingest/inbox/push", data=packed, headers={"content-type": "application/json", "content-encoding": "gzip"})
    assert answer.ok and answer.json()["rows"] == 1, answer.text
    # A later row of a key replaces the earlier one; a new field is a new column.
    tarn.push("inbox", {"id": 1, "name": "uno", "size": 2.5})
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox WHERE size = 2.5", 1)
    assert tarn.rows("SELECT id, name, size FROM inbox.inbox ORDER BY id") == [
        [1, "uno", 2.5], [2, "two", None], [3, None, None], [4, "line 4", None], [5, "line 5", None], [6, "line 6", None], [7, "packed", None]]
    key = {"headers": {"idempotency-key": "once"}}
    first, again = tarn.push("inbox", {"id": 8}, **key), tarn.push("inbox", {"id": 8}, **key)
    assert (first["first_offset"], again["first_offset"]) == (first["first_offset"],) * 2


def test_a_double_keeps_its_last_bit(make_tarn):
    tarn = make_tarn()
    doubles = {number: number / 7 for number in range(2000)}
    incoming = tarn.project / "incoming"
    incoming.mkdir()
    (incoming / "a.ndjson").write_text("".join(json.dumps({"id": number, "v": v}) + "\n" for number, v in doubles.items()))
    (incoming / "a.csv").write_text("id,v\n" + "".join(f"{number},{v!r}\n" for number, v in doubles.items()))
    for kind in ("ndjson", "csv"):
        tarn.write_resource(kind, f"kind: source\nname: {kind}s\nspec: {{type: file, path: incoming/*.{kind}, poll: 200ms}}\n")
    tarn.write_resource("inbox", INBOX)
    tarn.start()
    wait_until("the source takes rows", lambda: tarn.takes_rows("inbox"))
    tarn.push("inbox", [{"id": number, "v": v} for number, v in doubles.items()])
    for table in ("csvs.csvs", "ndjsons.ndjsons", "inbox.inbox"):
        tarn.wait_for_rows(f"SELECT count(*) FROM {table}", len(doubles))
        stored = {row["id"]: row["v"] for row in tarn.arrow(f"SELECT id, v FROM {table}").to_pylist()}
        wrong = [(v, stored[number]) for number, v in doubles.items() if stored[number] != v]
        assert not wrong, f"{table}: {len(wrong)} of {len(doubles)} differ, such as {wrong[0]}"


def test_what_cannot_be_read_is_a_dead_letter_and_the_rest_goes_on(tarn):
    tarn.apply(INBOX + "  schema: [{name: id, type: int64}, {name: size, type: int32}]\n")
    receipt = tarn.push("inbox", [{"id": 1, "size": 1}, {"id": 2, "size": "large"}, {"id": 3, "size": 3}])
    assert receipt["dead_letters"] >= 1, receipt
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox WHERE id = 3", 1)
    letters = tarn.api("GET", "/ingest/inbox/dead-letters")["items"]
    assert any("large" in json.dumps(letter) for letter in letters), letters
    wait_until("it is counted", lambda: tarn.source("inbox")["dead_letters"] >= 1)


@pytest.mark.parametrize("body", [b"", b"{", b"[1, 2]", b"nonsense", b"\xff\xfe\x00", b"[" * 100_000, b'{"id": ' + b"[" * 1000 + b"]" * 1000 + b"}"])
def test_a_body_that_is_no_record_is_refused(pushable, body):
    answer = pushable.request("POST", "/api/v1/ingest/inbox/push", data=body, headers={"content-type": "application/json"})
    told = answer.json()
    if answer.ok:
        assert told["rows"] == 0 and told["dead_letters"] > 0, told
    else:
        assert answer.status_code == 400 and told["error"]["message"], answer.text


@pytest.fixture(scope="module")
def pushable(tmp_path_factory):
    tarn = Tarn(tmp_path_factory.mktemp("pushable"))
    tarn.write_resource("inbox", INBOX)
    tarn.start()
    wait_until("the source takes rows", lambda: tarn.takes_rows("inbox"))
    yield tarn
    assert tarn.value("SELECT 1") == 1
    tarn.kill()
    assert not tarn.panics()


def test_unknown_sources_and_tables_are_named_with_their_neighbour(pushable):
    with pytest.raises(ApiError) as raised:
        pushable.push("inbx", {"id": 1})
    assert raised.value.status == 404 and "inbox" in raised.value.error["hint"]
    with pytest.raises(ApiError) as raised:
        pushable.api("POST", "/ingest/inbox/push?table=other", {"id": 1})
    assert raised.value.status in (400, 404) and "other" in raised.value.error["message"]


def test_files_of_each_format_are_read_once_and_followed(make_tarn):
    tarn = make_tarn()
    incoming = tarn.project / "incoming"
    incoming.mkdir()
    (incoming / "a.csv").write_text("id,name,price\n1,ann,1.5\n2,\"b, ob\",\n")
    (incoming / "b.ndjson").write_text('{"id": 1, "tag": "x"}\n{"id": 2, "tag": null}\n')
    pq.write_table(pa.table({"id": pa.array([1, 2, 3], pa.int64()), "v": [0.5, None, 1.5]}), incoming / "c.parquet")
    for kind in ("csv", "ndjson", "parquet"):
        tarn.write_resource(kind, f"kind: source\nname: {kind}s\nspec:\n  type: file\n  path: incoming/*.{kind}\n  poll: 200ms\n")
    tarn.start()
    tarn.wait_for_rows("SELECT count(*) FROM csvs.csvs", 2)
    tarn.wait_for_rows("SELECT count(*) FROM ndjsons.ndjsons", 2)
    tarn.wait_for_rows("SELECT count(*) FROM parquets.parquets", 3)
    assert tarn.rows("SELECT id, name, price FROM csvs.csvs ORDER BY id") == [[1, "ann", 1.5], [2, "b, ob", None]]
    with (incoming / "a.csv").open("a") as file:
        file.write("3,appended,2\n")
    (incoming / "later.csv").write_text("id,name,price\n4,later,3\nfive,broken,4\n6,after,5\n")
    tarn.wait_for_rows("SELECT count(*) FROM csvs.csvs", 5)
    tarn.restart()
    (incoming / "last.csv").write_text("id,name,price\n7,last,6\n")
    tarn.wait_for_rows("SELECT count(*) FROM csvs.csvs WHERE id = 7", 1)
    assert tarn.rows("SELECT id FROM csvs.csvs ORDER BY id") == [[1], [2], [3], [4], [6], [7]]
    letters = json.dumps(tarn.api("GET", "/ingest/csvs/dead-letters")["items"])
    assert "five" in letters and "later.csv" in letters, letters
    assert tarn.rows("SELECT id, v FROM parquets.parquets ORDER BY id") == [[1, 0.5], [2, None], [3, 1.5]]


def test_many_rows_of_a_file_survive_kills_exactly_once(make_tarn):
    tarn = make_tarn()
    incoming = tarn.project / "incoming"
    incoming.mkdir()
    rows = 60_000
    for part in range(6):
        lines = "".join(f"{n},row {n}\n" for n in range(part * rows // 6, (part + 1) * rows // 6))
        (incoming / f"part{part}.csv").write_text("n,text\n" + lines)
    tarn.write_resource("numbers", "kind: source\nname: numbers\nspec: {type: file, path: incoming/*.csv, poll: 200ms}\n")
    tarn.start()
    for _ in range(3):
        tarn.restart()
    tarn.wait_for_rows("SELECT count(*) FROM numbers.numbers", rows)
    assert tarn.rows("SELECT count(*), count(DISTINCT n), min(n), max(n) FROM numbers.numbers") == [[rows, rows, 0, rows - 1]]
