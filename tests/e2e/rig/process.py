"""Processes of a test: free ports, waiting with a bound, ending what was started."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

# No step of a healthy run comes near this; it only keeps a broken one from hanging for ever.
PATIENCE_S = float(os.environ.get("TARN_TEST_PATIENCE", "180"))
POLL_S = 0.1


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_until(what: str, condition: Callable[[], object], patience_s: float = PATIENCE_S, say: Callable[[], str] = str):
    """Returns the first true value of `condition`; `say` tells more when it never becomes true."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"after {patience_s:.0f} s still not: {what}. {say()}")
        time.sleep(POLL_S)


def end(process: subprocess.Popen, patience_s: float = 30) -> int:
    """Asks a process to end, and kills it when it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"process {process.args} did not stop within {patience_s:.0f} s of SIGTERM") from None
    return process.returncode


def children_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        # The name in parentheses may hold spaces.
        if int(stat.rpartition(")")[2].split()[1]) == pid:
            found.append(int(entry.name))
    return found


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} has no memory any more")


def peak_resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} has no memory any more")
