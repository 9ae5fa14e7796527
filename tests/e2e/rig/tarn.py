"""The program under test: started, killed and asked over each of its protocols."""

import base64
import io
import json
import os
import re
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import requests

from .process import PATIENCE_S, end, wait_until

BINARY = Path(os.environ.get("TARN_BIN") or Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "debug" / "tarn")
# Settings of the shell that runs the tests are not settings of the program under test.
KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "RUST_BACKTRACE", "LLVM_PROFILE_FILE")


class ApiError(AssertionError):
    """An answer that is not a success."""

    def __init__(self, status: int, text: str):
        super().__init__(f"status {status}: {text[:600]}")
        self.status = status
        try:
            self.error = json.loads(text)["error"]
        except (ValueError, KeyError, TypeError):
            self.error = {}


class Tarn:
    """One project folder with its data folder, and at most one process on it."""

    def __init__(self, folder: Path, **environment: str):
        self.project = folder / "project"
        self.data = folder / "data"
        self.log = folder / "tarn.log"
        self.environment = environment
        self.process: subprocess.Popen | None = None
        self.running: dict = {}
        self.auth: tuple[str, str] | None = None
        self.key: str | None = None
        self.started_s = 0.0
        (self.project / "resources").mkdir(parents=True, exist_ok=True)

    # The process.

    def env(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        return kept | {"TARN_LOG": "info", "RUST_BACKTRACE": "1"} | self.environment

    def command(self, *arguments: str) -> list[str]:
        return [str(BINARY), *arguments]

    def spawn(self, *arguments: str, preexec_fn=None) -> subprocess.Popen:
        """Starts `tarn up` and does not wait."""
        self.running = {}
        self.started_s = time.monotonic()
        listen = ["--http", "127.0.0.1:0", "--pgwire", "127.0.0.1:0", "--flight", "127.0.0.1:0", "--no-browser"]
        for flag in ("--http", "--pgwire", "--flight"):
            if flag in arguments:
                listen = [word for at, word in enumerate(listen) if listen[at - 1] != flag and word != flag]
        verb = [] if arguments and arguments[0] in ("up", "demo") else ["up"]
        where = ["--project", str(self.project), "--data", str(self.data)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(*verb, *arguments, *where, *listen),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env=self.env(), cwd=self.project, preexec_fn=preexec_fn,
            )
        return self.process

    def start(self, *arguments: str, patience_s: float = PATIENCE_S, preexec_fn=None) -> "Tarn":
        """Starts `tarn up` and returns once it is ready."""
        self.spawn(*arguments, preexec_fn=preexec_fn)
        wait_until("the server is ready", self.is_ready, patience_s, self.last_words)
        return self

    def note(self) -> Path:
        files = [self.data / "server.json", self.data / "data" / "server.json"]
        return next((file for file in files if file.exists()), files[0])

    def is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"tarn ended with {self.process.returncode} before it was ready. {self.last_words()}")
        try:
            running = json.loads(self.note().read_text())
        except (OSError, ValueError):
            return False
        if running["pid"] != self.process.pid:
            # What a killed process left behind.
            return False
        self.running = running
        try:
            return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def kill(self) -> None:
        """As `kill -9` does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, patience_s: float = 60) -> int:
        if self.process is None:
            return 0
        return end(self.process, patience_s)

    def restart(self) -> "Tarn":
        self.kill()
        return self.start()

    def last_words(self, lines: int = 40) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "It said:\n" + "\n".join(text.splitlines()[-lines:])

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    # Addresses.

    @property
    def pid(self) -> int:
        return self.running["pid"]

    @property
    def url(self) -> str:
        return f"http://{self.running['http']}"

    @property
    def iceberg(self) -> str:
        return f"{self.url}/iceberg"

    @property
    def pgwire_port(self) -> int:
        return int(self.running["pgwire"].rpartition(":")[2])

    @property
    def flight(self) -> str:
        return f"grpc://{self.running['flight']}"

    # The HTTP API.

    def request(self, method: str, path: str, timeout: float = 120, **options) -> requests.Response:
        headers = dict(options.pop("headers", {}))
        if self.key and "authorization" not in {name.lower() for name in headers}:
            headers["Authorization"] = f"Bearer {self.key}"
        if self.auth and not self.key:
            pair = base64.b64encode(":".join(self.auth).encode()).decode()
            headers.setdefault("Authorization", f"Basic {pair}")
        return requests.request(method, self.url + path, headers=headers, timeout=timeout, **options)

    def api(self, method: str, path: str, body: object = None, **options):
        """The JSON of a successful answer, `None` for an empty one."""
        if body is not None:
            options["json"] = body
        answer = self.request(method, f"/api/v1{path}", **options)
        if not answer.ok:
            raise ApiError(answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def query(self, sql: str, **options) -> dict:
        return self.api("POST", "/query", {"sql": sql, **options})

    def rows(self, sql: str, **options) -> list[list]:
        answer = self.query(sql, **options)
        assert not answer["truncated"], "the limit cut the answer off"
        return answer["rows"]

    def value(self, sql: str):
        rows = self.rows(sql)
        assert len(rows) == 1 and len(rows[0]) == 1, rows
        return rows[0][0]

    def arrow(self, sql: str) -> pa.Table:
        answer = self.request("POST", "/api/v1/query", json={"sql": sql, "format": "arrow"}, timeout=600)
        if not answer.ok:
            raise ApiError(answer.status_code, answer.text)
        return pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()

    # What is declared.

    def write_resource(self, name: str, text: str) -> Path:
        path = self.project / "resources" / f"{name}.yaml"
        path.write_text(text)
        return path

    def apply(self, text: str, **more) -> dict:
        return self.api("POST", "/resource/apply", {"documents": text, **more})

    def source(self, name: str) -> dict:
        return self.api("GET", f"/ingest/{name}")

    def takes_rows(self, name: str) -> bool:
        """Whether a source runs. One that was just declared may not be there yet."""
        try:
            return self.source(name)["state"] in ("streaming", "idle")
        except ApiError as error:
            if error.status != 404:
                raise
            return False

    def topics(self) -> list[dict]:
        return self.api("GET", "/eventlog")["items"]

    def wait_for_table(self, name: str, patience_s: float = PATIENCE_S) -> None:
        def there():
            return any(table["name"] == name for table in self.api("GET", "/lakehouse")["items"])
        wait_until(f"table {name} is there", there, patience_s, self.state)

    def wait_for_rows(self, sql: str, expected: int, patience_s: float = PATIENCE_S) -> None:
        """Waits until a query that counts gives `expected`; a table that is not there yet counts as empty."""
        seen: list[object] = [None]

        def reached():
            try:
                seen[0] = self.value(sql)
            except ApiError as error:
                if error.status != 400 and error.status != 404:
                    raise
                seen[0] = str(error)
            return seen[0] == expected
        wait_until(f"`{sql}` gives {expected}", reached, patience_s, lambda: f"It gives {seen[0]}. {self.state()}")

    def state(self) -> str:
        """For messages of failures: what the sources and tables say, and the end of the log."""
        try:
            overview = self.api("GET", "/overview", timeout=10)
        except (ApiError, requests.RequestException) as error:
            return f"No overview: {error}. {self.last_words()}"
        keys = ("faults", "sources_list", "tables_list")
        return json.dumps({key: overview.get(key) for key in keys}, indent=1) + "\n" + self.last_words()

    # The command line.

    def cli(self, *arguments: str, stdin: str = "", cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
        env = self.env() | environment
        if self.key:
            env.setdefault("TARN_API_KEY", self.key)
        where = [] if cwd else ["--project", str(self.project), "--data", str(self.data)]
        return subprocess.run(
            self.command(*arguments, *where), input=stdin, capture_output=True, text=True, timeout=PATIENCE_S,
            env=env, cwd=cwd or self.project,
        )

    def ok(self, *arguments: str, **options) -> str:
        """Standard output of a command that must succeed."""
        done = self.cli(*arguments, **options)
        assert done.returncode == 0, f"{arguments} ended with {done.returncode}: {done.stderr}\n{done.stdout}"
        return done.stdout

    def set_secret(self, name: str, value: str) -> None:
        self.api("PUT", f"/access/secrets/{name}", {"value": value})

    def push(self, source: str, records: object, **options) -> dict:
        """`records`: one object or a list. Returns the receipt."""
        return self.api("POST", f"/ingest/{source}/push", records, **options)

    def panics(self) -> list[str]:
        return [line for line in self.said().splitlines() if re.search(r"\bpanicked at\b", line)]
