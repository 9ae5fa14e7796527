"""Each command's usual way, and the exit codes that scripts act on."""

import json
import re
import signal
import subprocess
import time

import pyarrow as pa
import pytest

from rig.process import wait_until
from rig.tarn import ApiError, Tarn

INBOX = "kind: source\nname: inbox\nspec:\n  type: http_push\n  key: [id]\n"


def test_from_an_empty_folder_to_a_query_as_the_readme_says(make_tarn, folder):
    tarn = make_tarn()
    home = folder / "work"
    home.mkdir()
    done = tarn.cli("init", "shop", cwd=home)
    assert done.returncode == 0 and "tarn up" in done.stdout, done
    assert {path.name for path in (home / "shop").iterdir()} >= {"tarn.toml", "resources", "README.md", ".gitignore"}
    again = tarn.cli("init", "shop", cwd=home)
    assert again.returncode == 4 and "not empty" in again.stderr
    tarn.project = home / "shop"
    tarn.start()
    # Where to go from here is written once the server is ready, which this test may see first.
    wait_until("it says where to go", lambda: "Iceberg REST" in tarn.said() and "psql" in tarn.said(), say=tarn.said)
    wait_until("the source of the template takes rows", lambda: tarn.takes_rows("inbox"), say=tarn.state)
    tarn.push("inbox", {"id": 1, "note": "hello"})
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox", 1)
    assert "hello" in tarn.ok("sql", "select * from inbox.inbox")
    # The template's other example is valid once its comment signs are gone.
    template = (tarn.project / "resources" / "sources.yaml").read_text()
    example = template.partition("# Try it")[0]
    first = "\n".join(line[2:] for line in example.splitlines() if re.match(r"# ( |kind|name|spec)", line))
    plan = tarn.api("POST", "/resource/plan", {"documents": first})
    problems = [problem for change in plan["changes"] for problem in change["problems"] if "shop_password" not in problem["message"]]
    assert plan["changes"] and not problems, plan
    assert tarn.stop() == 0
    assert "stopped" in tarn.said()
    assert not tarn.note().exists()


def test_plan_apply_rollback_export_without_a_restart(tarn):
    path = tarn.write_resource("inbox", INBOX)
    out = tarn.ok("plan")
    assert "create source `inbox`" in out and "one change" in out
    assert tarn.api("GET", "/ingest")["items"] == []
    out = tarn.ok("apply", "--yes", "--message", "first")
    first = int(re.search(r"revision (\d+)", out)[1])
    wait_until("it runs", lambda: tarn.takes_rows("inbox"))
    tarn.push("inbox", {"id": 1})
    assert "nothing to change" in tarn.ok("plan")
    assert "nothing to change" in tarn.ok("apply", "--yes")
    path.write_text(INBOX + "  table: mail\n")
    out = tarn.ok("plan")
    assert "update source `inbox`" in out and re.search(r"^\s*\+ *table: mail$", out, re.M), out
    second = int(re.search(r"revision (\d+)", tarn.ok("apply", "--yes"))[1])
    assert second == first + 1
    wait_until("it follows", lambda: tarn.source("inbox")["running_revision"] == second, say=tarn.state)
    tarn.push("inbox", {"id": 2})
    tarn.wait_for_rows("SELECT count(*) FROM inbox.mail", 1)
    out = tarn.ok("export")
    assert "table: mail" in out and "kind: source" in out
    out = tarn.ok("rollback", str(first))
    assert "update source `inbox`" in out
    assert "table: mail" not in tarn.ok("export")
    wait_until("it follows", lambda: tarn.source("inbox")["running_revision"] == first + 2, say=tarn.state)
    tarn.push("inbox", {"id": 3})
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox WHERE id = 3", 1)
    listed = json.loads(tarn.ok("--json", "resource", "revisions"))["items"]
    assert [item["revision"] for item in listed] == [first + 2, second, first] and listed[-1]["message"] == "first"
    assert "inbox" in tarn.ok("resource", "show", str(second))
    missing = tarn.cli("rollback", "999")
    assert missing.returncode == 3 and "999" in missing.stderr
    # What the console changed goes back into the file, with its comments.
    path.write_text("# mine\n" + INBOX)
    tarn.apply(INBOX + "  table: post\n")
    assert "inbox.yaml" in tarn.ok("export", "--write")
    assert path.read_text().startswith("# mine\n") and "table: post" in path.read_text()


def test_what_no_file_names_goes_with_prune_only(tarn):
    tarn.apply(INBOX)
    tarn.apply("kind: source\nname: other\nspec: {type: http_push}")
    tarn.write_resource("inbox", INBOX)
    assert "nothing to change" in tarn.ok("plan")
    assert "delete source `other`" in tarn.ok("plan", "--prune")
    tarn.ok("apply", "--yes", "--prune")
    assert [item["name"] for item in tarn.api("GET", "/resource")["items"]] == ["inbox"]
    wait_until("it is gone", lambda: [item["name"] for item in tarn.api("GET", "/ingest")["items"]] == ["inbox"])


def test_somebody_else_applied_first(tarn):
    base = tarn.api("POST", "/resource/plan", {"documents": INBOX})["base_revision"]
    tarn.apply("kind: source\nname: other\nspec: {type: http_push}")
    with pytest.raises(ApiError) as raised:
        tarn.apply(INBOX, base_revision=base)
    assert raised.value.status == 409


def test_files_are_applied_at_the_start_and_edits_of_the_console_stay(make_tarn):
    tarn = make_tarn()
    tarn.write_resource("inbox", INBOX)
    tarn.start()
    tarn.apply(INBOX + "  table: mail\n")
    tarn.restart()
    # The file did not change, so the edit wins.
    assert "table: mail" in tarn.ok("export")
    tarn.write_resource("inbox", INBOX + "  table: post\n")
    tarn.restart()
    assert "table: post" in tarn.ok("export")


def test_sql_prints_each_format(tarn):
    out = tarn.ok("sql", "SELECT 1 AS one, 'x' AS word, NULL AS nothing")
    assert "one" in out and "NULL" in out and "1 rows" in out or "1 row" in out
    assert json.loads(tarn.ok("--json", "sql", "SELECT 1 AS one"))["rows"] == [[1]]
    assert tarn.ok("sql", "--format", "csv", "SELECT 1 AS one").split() == ["one", "1"]
    done = subprocess.run(tarn.command("sql", "--format", "arrow", "SELECT 1 AS one", "--project", str(tarn.project), "--data", str(tarn.data)),
                          capture_output=True, env=tarn.env(), timeout=60)
    assert pa.ipc.open_stream(done.stdout).read_all().to_pylist() == [{"one": 1}]
    assert "42" in tarn.ok("sql", stdin="SELECT 40 +\n 2")
    assert "more with --limit" in tarn.ok("sql", "--limit", "2", "SELECT * FROM generate_series(1, 5)")
    wrong = tarn.cli("sql", "SELECT\n  nothing")
    assert wrong.returncode == 2 and "line 2, column 3" in wrong.stderr
    slow = tarn.cli("sql", "--timeout", "200ms", "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 1000) c")
    assert slow.returncode == 6, slow
    told = tarn.cli("--json", "sql", "SELECT nothing")
    assert json.loads(told.stderr)["error"]["kind"] == "invalid"
    # A pipe that is closed early is no error.
    piped = subprocess.run(f"{' '.join(tarn.command('sql', '--format', 'csv'))} 'SELECT * FROM generate_series(1, 500000)' --project {tarn.project} --data {tarn.data} | head -n 2",
                           shell=True, capture_output=True, text=True, env=tarn.env(), timeout=60)
    assert piped.stdout.splitlines()[1] == "1" and "panicked" not in piped.stderr


def test_nouns_list_and_show(tarn):
    tarn.apply(INBOX)
    wait_until("it runs", lambda: tarn.takes_rows("inbox"))
    tarn.push("inbox", [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}])
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox", 2)
    assert "inbox" in tarn.ok("ingest", "list")
    assert "http_push" in tarn.ok("ingest", "show", "inbox")
    assert {"postgres_cdc", "file", "http_push", "replay"} <= set(re.findall(r"\w+", tarn.ok("ingest", "types")))
    assert "tables" in tarn.ok("ingest", "types", "postgres_cdc")
    assert "inbox.inbox" in tarn.ok("eventlog", "list")
    assert "insert" in tarn.ok("eventlog", "rows", "inbox.inbox")
    assert "id" in tarn.ok("eventlog", "show", "inbox.inbox")
    assert "inbox.inbox" in tarn.ok("lakehouse", "list")
    assert "snapshot" in tarn.ok("lakehouse", "show", "inbox.inbox")
    assert "hot_rows" in tarn.ok("lakehouse", "flush", "inbox.inbox")
    assert ".parquet" in tarn.ok("lakehouse", "files", "inbox.inbox")
    tarn.push("inbox", {"id": 1, "v": "c"})
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox WHERE v = 'c'", 1)
    tarn.ok("lakehouse", "compact", "inbox.inbox")
    assert tarn.rows("SELECT id, v FROM inbox.inbox ORDER BY id") == [[1, "c"], [2, "b"]]
    assert "SELECT" in tarn.ok("query", "list")
    for command in (["ingest", "restart", "inbox"], ["ingest", "pause", "inbox"], ["ingest", "resume", "inbox"], ["ingest", "dead-letters", "inbox"]):
        tarn.ok(*command)
    for command in (["ingest", "show", "inbx"], ["eventlog", "show", "inbox.inbx"], ["lakehouse", "show", "inbox.inbx"], ["query", "cancel", "nothing"]):
        done = tarn.cli(*command)
        assert done.returncode == 3, (command, done)
    assert "inbox" in tarn.cli("ingest", "show", "inbx").stderr
    for noun in ("ingest", "eventlog", "lakehouse", "query", "resource"):
        json.loads(tarn.ok("--json", noun, "list"))


def test_users_keys_and_secrets(tarn):
    tarn.ok("access", "secret", "set", "token", stdin="value\n")
    assert "token" in tarn.ok("access", "secret", "list") and "value" not in tarn.ok("access", "secret", "list")
    tarn.ok("access", "secret", "remove", "token")
    short = tarn.cli("access", "user", "add", "ada", stdin="short\n")
    assert short.returncode == 2, short
    key = json.loads(tarn.ok("--json", "access", "key", "create", "deploy", "--role", "admin"))["key"]
    denied = tarn.cli("access", "user", "list")
    assert denied.returncode == 5 and "--key" in denied.stderr
    tarn.key = key
    tarn.ok("access", "user", "add", "ada", "--role", "admin", stdin="a long password\n")
    assert "ada" in tarn.ok("access", "user", "list") and "deploy" in tarn.ok("access", "key", "list")
    assert "ada" in tarn.ok("access", "audit")
    wrong = tarn.cli("--key", "tarn_wrong", "access", "user", "list")
    assert wrong.returncode == 5 and "hint:" in wrong.stderr
    tarn.key = None
    assert "deploy" in tarn.ok("--user", "ada", "access", "key", "list", TARN_PASSWORD="a long password")
    assert "deploy" in tarn.ok("access", "key", "list", TARN_USER="ada", TARN_PASSWORD="a long password")
    wrong = tarn.cli("--user", "ada", "access", "key", "list", TARN_PASSWORD="a wrong password")
    assert wrong.returncode == 5 and "user or password refused" in wrong.stderr and "hint:" in wrong.stderr


def test_a_reader_of_the_output_may_leave_early(tarn):
    for command in (["sql", "SHOW FUNCTIONS"], ["sql", "--format", "csv", "SHOW FUNCTIONS"], ["ingest", "types"], ["--json", "ingest", "types"],
                    ["ingest", "types", "postgres_cdc"], ["doctor"], ["completions", "bash"], ["resource", "list"]):
        where = ["--project", str(tarn.project), "--data", str(tarn.data)]
        with subprocess.Popen(tarn.command(*command, *where), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=tarn.env()) as process:
            process.stdout.close()
            said = process.stderr.read()
            assert process.wait(60) == 0 and said == "", (command, said)


def test_a_mistyped_variable_is_warned_of(make_tarn):
    tarn = make_tarn(TARN_QUERY__MEMRY="1GB").start()
    assert "warning: environment variable `TARN_QUERY__MEMRY` is unknown" in tarn.said() and "`TARN_QUERY__MEMORY`" in tarn.said()
    doctor = tarn.cli("doctor")
    assert doctor.returncode == 0 and "`TARN_QUERY__MEMRY`" in doctor.stdout and "`TARN_QUERY__MEMORY`" in doctor.stdout


def test_who_stops_it_as_soon_as_it_is_there_is_heard(make_tarn):
    """No moment between the first sign of life and the end of the start at which a signal just kills it."""
    tarn = make_tarn()
    for _ in range(3):
        tarn.spawn()
        while not tarn.note().exists():
            assert tarn.process.poll() is None, tarn.last_words()
        tarn.process.send_signal(signal.SIGINT)
        assert tarn.process.wait(60) == 0, tarn.last_words()
        assert "stopped" in tarn.said() and not tarn.note().exists()


def test_a_second_interrupt_ends_at_once(make_tarn):
    tarn = make_tarn().start()
    where = ["--project", str(tarn.project), "--data", str(tarn.data)]
    slow = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 1000) c"
    # A query in progress holds up the stop.
    with subprocess.Popen(tarn.command("sql", slow, *where), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=tarn.env()) as query:
        wait_until("the query runs", lambda: any(entry["state"] == "running" for entry in tarn.api("GET", "/query")["items"]))
        tarn.process.send_signal(signal.SIGINT)
        wait_until("it stops", lambda: "stopping" in tarn.said())
        tarn.process.send_signal(signal.SIGINT)
        assert tarn.process.wait(5) == 130 and "stopped at once" in tarn.said()
        query.wait(30)


def test_without_a_server_it_is_said_how_to_start_one(make_tarn):
    tarn = make_tarn(TARN_URL="http://127.0.0.1:1")
    for command in (["sql", "SELECT 1"], ["ingest", "list"], ["export"]):
        done = tarn.cli(*command)
        assert done.returncode == 7 and "tarn up" in done.stderr, done
    empty = make_tarn("empty")
    done = empty.cli("plan")
    assert done.returncode in (2, 7)


def test_a_wrong_command_line_is_told_with_what_was_meant(make_tarn):
    tarn = make_tarn()
    done = tarn.cli("sqll")
    assert done.returncode == 2 and "sql" in done.stderr
    for command in ([], ["--help"], ["ingest", "--help"], ["up", "--help"], ["--version"], ["help", "sql"]):
        done = subprocess.run(tarn.command(*command), capture_output=True, text=True, env=tarn.env(), timeout=60)
        assert "panicked" not in done.stderr and (done.returncode == 0 or command == [])
        assert done.stdout or done.stderr
    for shell in ("bash", "zsh", "fish"):
        script = subprocess.run(tarn.command("completions", shell), capture_output=True, text=True, env=tarn.env(), timeout=60)
        assert script.returncode == 0 and "tarn" in script.stdout
    script = subprocess.run(tarn.command("completions", "bash"), capture_output=True, text=True, env=tarn.env(), timeout=60).stdout
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0


def test_doctor_says_what_is_wrong(tarn, make_tarn):
    assert "answers at" in tarn.ok("doctor")
    items = json.loads(tarn.ok("--json", "doctor"))["items"]
    assert {"configuration", "data folder", "disk", "server"} <= {item["what"] for item in items}
    broken = make_tarn("broken")
    (broken.project / "tarn.toml").write_text("[query]\nmemry = \"1GB\"\n")
    done = broken.cli("doctor")
    assert done.returncode == 2 and "memory" in done.stdout


def test_a_stop_flushes_and_a_start_after_it_is_complete(make_tarn):
    tarn = make_tarn()
    tarn.write_resource("inbox", INBOX)
    tarn.start()
    wait_until("it runs", lambda: tarn.takes_rows("inbox"))
    for number in range(50):
        tarn.push("inbox", {"id": number})
    assert tarn.stop() == 0, tarn.last_words()
    began = time.monotonic()
    tarn.start()
    print(f"\n  start after a stop: {time.monotonic() - began:.2f} s until ready")
    tarn.wait_for_rows("SELECT count(*) FROM inbox.inbox", 50)


def test_the_environment_sets_and_flags_win(make_tarn):
    tarn = make_tarn(TARN_QUERY__TIMEOUT="200ms")
    tarn.start()
    with pytest.raises(ApiError) as raised:
        tarn.query("SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 1000) c", timeout="30s")
    assert raised.value.error["kind"] == "exhausted"


def test_two_servers_on_two_projects_do_not_meet(make_tarn):
    first, second = make_tarn("first").start(), make_tarn("second").start()
    assert isinstance(first, Tarn)
    first.apply(INBOX)
    assert [item["name"] for item in first.api("GET", "/resource")["items"]] == ["inbox"]
    assert second.api("GET", "/resource")["items"] == []
    assert "inbox" in first.ok("export") and "inbox" not in second.ok("export")
