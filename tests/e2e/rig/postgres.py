"""A PostgreSQL server in a folder of its own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from .process import children_of, end, free_port, wait_until

PROGRAMS = Path(os.environ.get("TARN_TEST_POSTGRES_BIN", "/usr/lib/postgresql/15/bin"))
PASSWORD = "correct horse battery staple"
SETTINGS = {
    "wal_level": "logical",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "max_connections": "60",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    # A killed process loses nothing that the kernel has; only a power cut would.
    "fsync": "off",
    "listen_addresses": "127.0.0.1",
}


def _as_server_user() -> dict:
    """`initdb` refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Postgres:
    """A server with the database `shop`, whose owner `reader` may replicate."""

    def __init__(self):
        # Below a folder that the server's user may pass through.
        self.folder = Path(tempfile.mkdtemp(prefix="tarn-postgres-"))
        self.folder.chmod(0o755)
        self.cluster = self.folder / "cluster"
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        self.who = _as_server_user()
        if self.who:
            os.chown(self.folder, self.who["user"], self.who["group"])
        (self.folder / "password").write_text(PASSWORD)
        self._run("initdb", "--pgdata", self.cluster, "--username", "postgres", "--auth", "scram-sha-256",
                  "--pwfile", self.folder / "password", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")
        self.start()
        with self.connect("postgres", user="postgres") as connection:
            connection.execute(f"CREATE ROLE reader LOGIN REPLICATION PASSWORD '{PASSWORD}'")
            connection.execute("CREATE DATABASE shop OWNER reader")

    def _run(self, program: str, *arguments) -> None:
        done = subprocess.run([PROGRAMS / program, *map(str, arguments)], capture_output=True, text=True,
                              cwd=self.folder, env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}, **self.who)
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def start(self) -> None:
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [PROGRAMS / "postgres", "-D", self.cluster, "-p", str(self.port), "-k", self.folder, *settings],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder,
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}, **self.who,
            )
        wait_until("PostgreSQL answers", self._answers, 120, lambda: (self.folder / "log").read_text()[-2000:])

    def _answers(self) -> bool:
        try:
            with self.connect("postgres", user="postgres", connect_timeout=5):
                return True
        except psycopg.OperationalError:
            return False

    def kill(self) -> None:
        """As `kill -9` of all its processes does."""
        assert self.process is not None
        children = children_of(self.process.pid)
        self.process.kill()
        self.process.wait()
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_until("PostgreSQL's processes are gone", lambda: not any(Path(f"/proc/{child}/cmdline").exists()
                   and Path(f"/proc/{child}/cmdline").read_bytes() for child in children), 30)

    def close(self) -> None:
        if self.process is not None:
            # Fast shutdown: open connections are ended.
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
                try:
                    self.process.wait(30)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
            end(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, database: str = "shop", user: str = "reader", **options) -> psycopg.Connection:
        options = {"autocommit": True, "connect_timeout": 10} | options
        return psycopg.connect(host="127.0.0.1", port=self.port, dbname=database, user=user, password=PASSWORD, **options)

    def connect_patiently(self, patience_s: float = 60) -> psycopg.Connection:
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return self.connect()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def create_database(self, name: str) -> None:
        with self.connect("postgres", user="postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} OWNER reader")

    def slots(self, database: str) -> list[str]:
        with self.connect("postgres", user="postgres") as connection:
            found = connection.execute("SELECT slot_name FROM pg_replication_slots WHERE database = %s", [database])
            return [name for (name,) in found]

    def drop_slots(self, database: str) -> None:
        """Drops what a killed reader left behind, so that the server does not keep its log for it."""
        with self.connect("postgres", user="postgres") as connection:
            connection.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
                "WHERE database = %s AND active_pid IS NOT NULL", [database])

            def dropped():
                try:
                    connection.execute(
                        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s",
                        [database])
                    return True
                except psycopg.errors.ObjectInUse:
                    return False
            wait_until("the slots are gone", dropped, 30)

    def url(self, database: str = "shop") -> str:
        return f"postgres://reader@127.0.0.1:{self.port}/{database}"


def cdc_source(postgres: Postgres, database: str, tables: str | None = None, **more: str) -> str:
    """The source `shop` that follows a database, with a slot and publication of its name. `more`: further settings."""
    settings = ({"tables": tables} if tables else {}) | more
    extra = "".join(f"\n  {key}: {value}" for key, value in settings.items())
    return f"""kind: source
name: shop
spec:
  type: postgres_cdc
  url: {postgres.url(database)}
  password: {{ secret: shop_password }}
  slot: tarn_{database}
  publication: tarn_{database}{extra}
"""
