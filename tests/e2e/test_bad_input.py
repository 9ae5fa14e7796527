"""What is wrong is said with what to do, the rest goes on, and nothing acknowledged is lost."""

import gzip
import http.client
import os
import shutil
import socket
import subprocess

import psycopg
import pytest

from rig.postgres import PASSWORD, cdc_source
from rig.process import end, free_port, peak_resident_mb, resident_mb, wait_until
from rig.tarn import ApiError, Tarn

NUMBERS = "kind: source\nname: numbers\nspec: {type: http_push, schema: [{name: n, type: int64}, {name: text, type: string}]}\n"


def push_numbers(tarn: Tarn, first: int, count: int, width: int = 10) -> None:
    tarn.push("numbers", [{"n": n, "text": f"{n:0{width}}"} for n in range(first, first + count)])


def fault_of(tarn: Tarn, subject: str) -> str:
    """Message and advice that the overview shows beside a name, empty without."""
    faults = tarn.api("GET", "/overview")["faults"]
    return " ".join(f"{fault['message']} {fault.get('hint') or ''}" for fault in faults if fault["subject"] == subject)


# Sources

def test_a_wrong_password_is_said_and_its_correction_is_followed(postgres, database, make_tarn):
    with postgres.connect(database) as connection:
        connection.execute("CREATE TABLE item (id int PRIMARY KEY)")
        connection.execute("INSERT INTO item VALUES (1)")
    tarn = make_tarn().start()
    tarn.set_secret("shop_password", "wrong-on-purpose")
    tarn.write_resource("shop", cdc_source(postgres, database))
    tarn.ok("apply", "--yes")
    wait_until("it is told", lambda: "password" in fault_of(tarn, "shop"), say=tarn.state)
    shown = tarn.source("shop")
    assert shown["state"] in ("failed", "backing_off") and "password" in shown["message"] + (shown["hint"] or "")
    assert "wrong-on-purpose" not in tarn.said() + str(shown)
    check = tarn.cli("ingest", "check", "shop")
    assert check.returncode != 0 and "password" in check.stdout + check.stderr
    assert "password" in tarn.cli("doctor").stdout
    tarn.set_secret("shop_password", PASSWORD)
    tarn.wait_for_rows("SELECT count(*) FROM shop.item", 1)
    wait_until("the fault is gone", lambda: fault_of(tarn, "shop") == "")


def test_an_unknown_table_is_named_with_its_neighbour(postgres, database, make_tarn):
    with postgres.connect(database) as connection:
        connection.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    tarn = make_tarn().start()
    tarn.set_secret("shop_password", PASSWORD)
    tarn.write_resource("shop", cdc_source(postgres, database, "[public.ordrs]"))
    tarn.ok("apply", "--yes")
    wait_until("it is told", lambda: "public.ordrs" in fault_of(tarn, "shop"), say=tarn.state)
    assert "public.orders" in fault_of(tarn, "shop")


def test_a_database_that_is_away_is_waited_for(make_tarn):
    tarn = make_tarn().start()
    tarn.set_secret("shop_password", PASSWORD)
    tarn.apply(f"kind: source\nname: shop\nspec: {{type: postgres_cdc, url: 'postgres://reader@127.0.0.1:{free_port()}/shop', password: {{secret: shop_password}}}}")
    wait_until("it is told", lambda: "127.0.0.1" in fault_of(tarn, "shop"), say=tarn.state)
    assert tarn.source("shop")["state"] == "backing_off"


def test_a_bad_revision_of_a_source_leaves_the_good_one_running(postgres, database, make_tarn):
    with postgres.connect(database) as connection:
        connection.execute("CREATE TABLE item (id int PRIMARY KEY)")
    tarn = make_tarn().start()
    tarn.set_secret("shop_password", PASSWORD)
    tarn.write_resource("shop", cdc_source(postgres, database))
    tarn.ok("apply", "--yes")
    wait_until("it runs", lambda: tarn.takes_rows("shop"), say=tarn.state)
    # Passes the schema, cannot run.
    tarn.write_resource("shop", cdc_source(postgres, database, tls="verify-full", ca="missing.pem"))
    tarn.cli("apply", "--yes")

    def told():
        item = next(item for item in tarn.api("GET", "/resource")["items"] if item["name"] == "shop")
        return item["state"] == "failed" and item["message"]
    message = wait_until("the resource failed", told, say=tarn.state)
    assert "missing.pem" in message
    with postgres.connect(database) as connection:
        connection.execute("INSERT INTO item VALUES (1)")
    tarn.wait_for_rows("SELECT count(*) FROM shop.item", 1)
    # Also after a restart.
    tarn.restart()
    with postgres.connect(database) as connection:
        connection.execute("INSERT INTO item VALUES (2)")
    tarn.wait_for_rows("SELECT count(*) FROM shop.item", 2)


# Files of the project

@pytest.mark.parametrize(("text", "line", "suggestion"), [
    ("kind: source\nname: shop\nspec:\n  type: postgres_cdc\n  url: postgres://a@b/c\n  tabels: [a.b]\n", 6, "tables"),
    ("kind: sauce\nname: shop\nspec: {}\n", 1, "source"),
    ("kind: source\nname: shop\nspec:\n  type: http_psh\n", 4, "http_push"),
    ("kind: source\nnam: shop\nspec: {type: http_push}\n", 2, "name"),
    ("kind: source\nname: shop\nspec:\n  type: http_push\n   key: [id]\n", 5, ""),
    ("kind: source\nname: shop\nspec:\n  type: http_push\n  key: id\n", 5, ""),
    ("kind: source\nname: shop\nspec: {type: http_push}\n---\nkind: source\nname: shop\nspec: {type: http_push}\n", 5, ""),
])
def test_a_typo_in_a_resource_file_is_shown_with_file_line_and_suggestion(make_tarn, text, line, suggestion):
    tarn = make_tarn()
    tarn.write_resource("shop", text)
    process = tarn.spawn()
    code = process.wait(60)
    said = tarn.said()
    assert code == 2, said
    assert f"resources/shop.yaml:{line}" in said, said
    assert suggestion in said
    done = tarn.cli("doctor")
    assert done.returncode == 2 and f"shop.yaml:{line}" in done.stdout


def test_a_typo_is_refused_by_plan_and_apply_of_a_running_server(tarn):
    tarn.write_resource("shop", "kind: source\nname: shop\nspec:\n  type: http_push\n  keey: [id]\n")
    for command in (["plan"], ["apply", "--yes"]):
        done = tarn.cli(*command)
        text = done.stdout + done.stderr
        assert done.returncode == 2 and "keey" in text and "key" in text and "shop.yaml:5" in text, text
    assert tarn.api("GET", "/resource")["items"] == []


@pytest.mark.parametrize(("text", "expected"), [
    ("[query]\nmemry = \"1GB\"\n", ("tarn.toml:2", "memory")),
    ("[query]\nmemory = \"1 potato\"\n", ("tarn.toml:2", "memory")),
    ("[quary]\n", ("tarn.toml:1", "query")),
    ("[query\n", ("tarn.toml:1", "")),
])
def test_a_typo_in_the_configuration_is_shown_with_line_and_suggestion(make_tarn, text, expected):
    tarn = make_tarn()
    (tarn.project / "tarn.toml").write_text(text)
    assert tarn.spawn().wait(60) == 2, tarn.said()
    for part in expected:
        assert part in tarn.said()


def test_a_folder_that_is_no_project_is_refused(make_tarn, folder):
    tarn = make_tarn()
    empty = folder / "empty"
    empty.mkdir()
    done = tarn.cli("up", "--no-browser", cwd=empty)
    assert done.returncode == 2 and "tarn init" in done.stderr


# The process

@pytest.mark.parametrize("flag", ["--http", "--pgwire", "--flight"])
def test_a_port_in_use_is_said_with_the_flag_that_changes_it(make_tarn, flag):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        tarn = make_tarn()
        code = tarn.spawn(flag, f"127.0.0.1:{port}").wait(60)
    assert code not in (0, 1, 101), tarn.said()
    assert str(port) in tarn.said() and flag in tarn.said()
    tarn.start()


def test_a_second_process_on_the_same_data_is_refused(tarn, make_tarn):
    second = Tarn(tarn.project.parent)
    second.log = second.log.with_name("second.log")
    code = second.spawn().wait(60)
    assert code not in (0, 1, 101) and "in use" in second.said(), second.said()
    # The first one is not disturbed, and clients still find it.
    assert tarn.value("SELECT 1") == 1
    assert "answers at" in tarn.ok("doctor")


def test_other_machines_are_not_let_in_before_there_is_a_user(make_tarn):
    tarn = make_tarn()
    for flag in ("--http", "--pgwire", "--flight"):
        code = tarn.spawn(flag, "0.0.0.0:0").wait(60)
        assert code == 5, tarn.said()
        assert "tarn access user add" in tarn.said()
    tarn.start()
    tarn.ok("access", "user", "add", "ada", "--role", "admin", stdin="a long password\n")
    assert tarn.stop() == 0
    tarn.start("--http", "0.0.0.0:0")
    tarn.running["http"] = tarn.running["http"].replace("0.0.0.0", "127.0.0.1")
    assert tarn.request("GET", "/api/v1/overview").status_code == 401


def test_a_data_folder_that_cannot_be_written_is_said(make_tarn):
    tarn = make_tarn()
    tarn.data.parent.mkdir(parents=True, exist_ok=True)
    tarn.data.write_text("a file")
    code = tarn.spawn().wait(60)
    assert code not in (0, 101) and str(tarn.data) in tarn.said(), tarn.said()


# Bodies

def test_a_body_of_a_gigabyte_is_refused_before_it_is_read(tarn):
    tarn.apply(NUMBERS)
    tarn.value("SELECT 1")
    before = resident_mb(tarn.pid)
    gigabyte = 1 << 30
    for path, length in (("/api/v1/query", gigabyte), ("/api/v1/resource/apply", gigabyte), ("/iceberg/v1/namespaces", gigabyte),
                         ("/api/v1/ingest/numbers/push", gigabyte + 1)):
        host, _, port = tarn.running["http"].rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        connection.putrequest("POST", path)
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(length))
        connection.endheaders(b"{")
        # Answered although no more than one byte was sent.
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 413, f"{path}: {answer.status} {text}"
        assert "server.http." in text or "bytes" in text.lower(), text
        connection.close()
    after = peak_resident_mb(tarn.pid)
    print(f"\n  memory before {before:.0f} MB, at most {after:.0f} MB")
    assert after < before + 100
    assert tarn.value("SELECT 1") == 1


def test_a_body_without_a_length_is_counted_while_it_is_read(tarn):
    tarn.apply(NUMBERS)
    before = resident_mb(tarn.pid)
    sent = [0]

    def endless():
        piece = b'"' + b"x" * 65_536
        while sent[0] < 1 << 30:
            sent[0] += len(piece)
            yield piece

    for path in ("/api/v1/query", "/api/v1/ingest/numbers/push"):
        sent[0] = 0
        try:
            answer = tarn.request("POST", path, data=endless(), headers={"content-type": "application/json"})
            assert answer.status_code == 413, answer.text
        except OSError:
            # The server may close before the client has stopped sending.
            pass
        assert sent[0] < 200 << 20, f"{path} reads on after {sent[0] >> 20} MB"
    assert peak_resident_mb(tarn.pid) < before + 150
    assert tarn.value("SELECT 1") == 1


def test_a_large_stream_of_lines_is_taken_in_flat_memory(tarn):
    tarn.apply(NUMBERS)
    wait_until("the source takes rows", lambda: tarn.takes_rows("numbers"))
    rows = 1_200_000

    def lines():
        for first in range(0, rows, 10_000):
            yield "".join(f'{{"n": {n}, "text": "{n:040}"}}\n' for n in range(first, first + 10_000)).encode()

    before = resident_mb(tarn.pid)
    answer = tarn.request("POST", "/api/v1/ingest/numbers/push", data=lines(), headers={"content-type": "application/x-ndjson"}, timeout=600)
    assert answer.ok and answer.json()["rows"] == rows, answer.text
    tarn.wait_for_rows("SELECT count(*) FROM numbers.numbers", rows)
    assert tarn.rows("SELECT count(DISTINCT n), max(n) FROM numbers.numbers") == [[rows, rows - 1]]
    print(f"\n  {rows:,} rows by lines; memory before {before:.0f} MB, at most {peak_resident_mb(tarn.pid):.0f} MB")


def test_a_bomb_of_compressed_bytes_is_refused(tarn):
    tarn.apply(NUMBERS)
    wait_until("the source takes rows", lambda: tarn.takes_rows("numbers"))
    before = resident_mb(tarn.pid)
    bomb = gzip.compress(b'{"n": 1, "text": "' + b"a" * (300 << 20) + b'"}')
    answer = tarn.request("POST", "/api/v1/ingest/numbers/push", data=bomb, headers={"content-type": "application/json", "content-encoding": "gzip"})
    assert answer.status_code in (400, 413), answer.text
    assert peak_resident_mb(tarn.pid) < before + 150
    assert tarn.value("SELECT 1") == 1


# The log on disk

def segments(tarn: Tarn) -> list:
    files = [path for path in (tarn.data / "log").rglob("*") if path.is_file() and "numbers" in str(path) and path.suffix not in (".json", ".tmp")]
    return sorted(path for path in files if path.stat().st_size > 100)


def test_a_torn_tail_of_the_log_is_cut_and_loses_nothing_acknowledged(make_tarn):
    tarn = make_tarn()
    tarn.write_resource("numbers", NUMBERS)
    tarn.start()
    wait_until("the source takes rows", lambda: tarn.takes_rows("numbers"))
    push_numbers(tarn, 0, 500)
    tarn.wait_for_rows("SELECT count(*) FROM numbers.numbers", 500)
    tarn.kill()
    # What a crash in the middle of the next append leaves behind.
    newest = segments(tarn)[-1]
    with newest.open("ab") as file:
        file.write(newest.read_bytes()[: 300])
    tarn.start()
    wait_until("the source takes rows", lambda: tarn.takes_rows("numbers"))
    push_numbers(tarn, 500, 10)
    tarn.wait_for_rows("SELECT count(*) FROM numbers.numbers", 510)
    assert tarn.rows("SELECT count(DISTINCT n), max(n) FROM numbers.numbers") == [[510, 509]]


def test_a_damaged_segment_is_told_with_its_name_and_nothing_is_made_up(make_tarn):
    tarn = make_tarn()
    (tarn.project / "tarn.toml").write_text('[eventlog]\nsegment_bytes = "64KB"\n[lakehouse.sink]\nfreshness = "1h"\n')
    tarn.write_resource("numbers", NUMBERS)
    tarn.start()
    wait_until("the source takes rows", lambda: tarn.takes_rows("numbers"))
    for first in range(0, 40_000, 1_000):
        push_numbers(tarn, first, 1_000, width=60)
    tarn.kill()
    files = segments(tarn)
    assert len(files) >= 4, files
    damaged = files[len(files) // 2]
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    (tarn.project / "tarn.toml").write_text('[eventlog]\nsegment_bytes = "64KB"\n')
    # Either the start says it, or the part that needs the segment does; the rest answers.
    process = tarn.spawn()
    try:
        wait_until("it is ready or has ended", lambda: process.poll() is not None or tarn.is_ready())
    except AssertionError:
        pass
    if process.poll() is not None:
        assert process.returncode == 8 and damaged.name in tarn.said(), tarn.said()
        return
    assert tarn.value("SELECT 1") == 1
    told = wait_until("it is told", lambda: fault_of(tarn, "numbers.numbers"), say=tarn.state)
    assert damaged.name in told and "damaged" in told, told
    stored = [n for (n,) in tarn.rows("SELECT n FROM numbers.numbers ORDER BY n", limit=100_000)] if "numbers" in str(tarn.api("GET", "/lakehouse")) else []
    assert stored == list(range(len(stored))), "rows behind the damage were taken although rows before them are missing"
    for path in (tarn.data / "log").rglob(damaged.name):
        assert path.stat().st_size == len(content), "the damaged file was changed"


# The disk

@pytest.fixture
def small_disk(folder):
    """A file system of its own with 96 MB; skipped where a test may not mount one."""
    place = folder / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=755", "tmpfs", place], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk_refuses_rows_and_goes_on_when_there_is_room(make_tarn, small_disk):
    tarn = make_tarn()
    tarn.data = small_disk / "data"
    tarn.write_resource("numbers", NUMBERS)
    tarn.start()
    wait_until("the source takes rows", lambda: tarn.takes_rows("numbers"))
    ballast = small_disk / "ballast"
    push_numbers(tarn, 0, 1_000)
    tarn.wait_for_rows("SELECT count(*) FROM numbers.numbers", 1_000)
    with ballast.open("wb") as file:
        free = shutil.disk_usage(small_disk).free
        file.write(b"\0" * (free - (6 << 20)))
    taken, refused = 1_000, None
    for _ in range(400):
        # Text that does not compress.
        rows = [{"n": n, "text": os.urandom(400).hex()} for n in range(taken, taken + 100)]
        try:
            tarn.push("numbers", rows, timeout=60)
            taken += len(rows)
        except ApiError as error:
            refused = error
            break
    assert refused is not None, "the disk never was full"
    assert refused.error["kind"] == "exhausted" and "full" in str(refused).lower(), refused
    assert "space" in (refused.error.get("hint") or "") + refused.error["message"], refused.error
    # Reading goes on, and the fault is shown.
    assert tarn.value("SELECT count(*) FROM numbers.numbers WHERE n < 1000") == 1_000
    print(f"\n  {taken:,} rows taken; then: {refused.error}")
    ballast.unlink()

    def takes_again():
        try:
            tarn.push("numbers", [{"n": 10_000_000, "text": "after"}], headers={"idempotency-key": "after"})
            return True
        except ApiError as error:
            assert error.error["kind"] in ("exhausted", "unavailable"), error
            return False
    wait_until("rows are taken again", takes_again, say=tarn.state)
    tarn.wait_for_rows("SELECT count(*) FROM numbers.numbers WHERE n = 10000000", 1)
    stored = tarn.rows("SELECT count(*), count(DISTINCT n) FROM numbers.numbers WHERE n < 10000000")[0]
    # A refused push may not have been kept in part.
    assert stored == [taken, taken], f"{taken} rows were acknowledged, {stored} are there"
    wait_until("no fault is left", lambda: tarn.api("GET", "/overview")["faults"] == [], say=tarn.state)
    assert tarn.stop() == 0
    tarn.start()
    assert tarn.value("SELECT count(*) FROM numbers.numbers") == taken + 1


def test_a_full_disk_at_the_start_is_said(make_tarn, small_disk):
    tarn = make_tarn()
    tarn.data = small_disk / "data"
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file:
        file.write(b"\0" * shutil.disk_usage(small_disk).free)
    code = tarn.spawn().wait(60)
    assert code not in (0, 101), tarn.said()
    assert "space" in tarn.said().lower() or "full" in tarn.said().lower(), tarn.said()
    ballast.unlink()
    tarn.start()
    assert tarn.value("SELECT 1") == 1


# Bytes that are no protocol

@pytest.mark.parametrize("noise", [b"\0" * 64, b"\xff" * 4096, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"\x7f\xff\xff\xff\x00\x03\x00\x00"])
def test_noise_on_a_port_does_not_hurt(noisy, noise):
    for name in ("http", "pgwire", "flight"):
        host, _, port = noisy.running[name].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.settimeout(20)
            try:
                connection.sendall(noise)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass
            except OSError:
                pass
    assert noisy.value("SELECT 1") == 1
    with psycopg.connect(host="127.0.0.1", port=noisy.pgwire_port, user="tarn", dbname="tarn", connect_timeout=20) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    tarn = Tarn(tmp_path_factory.mktemp("noisy")).start()
    yield tarn
    end(tarn.process)
    assert not tarn.panics()
