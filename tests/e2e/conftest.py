"""Fixtures: servers for one session, a Tarn of its own for each test."""

import itertools
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from rig.bucket import BucketServer  # noqa: E402
from rig.postgres import Postgres  # noqa: E402
from rig.tarn import BINARY, Tarn  # noqa: E402


NUMBERS = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    if not BINARY.is_file():
        raise pytest.UsageError(f"no program at {BINARY}: build it with `cargo build --workspace`, or set TARN_BIN")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long runs and Spark only when they are asked for by name."""
    asked = config.getoption("-m", default="")
    for name in ("long", "spark"):
        if name not in asked:
            skip = pytest.mark.skip(reason=f"only with -m {name}")
            for item in items:
                if name in item.keywords:
                    item.add_marker(skip)


@pytest.fixture
def folder(request: pytest.FixtureRequest):
    """A folder of the test's own; kept when TARN_TEST_KEEP is set, so that it can be looked at."""
    path = Path(tempfile.mkdtemp(prefix="tarn-e2e-"))
    yield path
    if os.environ.get("TARN_TEST_KEEP"):
        print(f"kept: {path}")
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def make_tarn(folder: Path):
    """Makes a Tarn that is not started yet. Whatever it was told to do, it must not panic."""
    made: list[Tarn] = []

    def make(name: str = "tarn", **environment: str) -> Tarn:
        tarn = Tarn(folder / name, **environment)
        made.append(tarn)
        return tarn

    yield make
    problems = []
    for tarn in made:
        if tarn.process is not None and tarn.process.poll() is None:
            tarn.kill()
        if tarn.log.exists():
            problems += tarn.panics()
            if os.environ.get("TARN_TEST_LOGS"):
                kept = Path(os.environ["TARN_TEST_LOGS"]) / "e2e"
                kept.mkdir(parents=True, exist_ok=True)
                shutil.copy(tarn.log, kept / f"{folder.name}-{tarn.project.parent.name}.log")
    assert not problems, f"Tarn panicked: {problems}"


@pytest.fixture
def tarn(make_tarn) -> Tarn:
    """A running Tarn on an empty project."""
    return make_tarn().start()


@pytest.fixture(scope="session")
def postgres():
    server = Postgres()
    yield server
    server.close()


@pytest.fixture
def database(postgres: Postgres):
    """A fresh database on the shared server. Names of slots are shared by all databases: give them its name."""
    name = f"shop_{next(NUMBERS)}"
    postgres.create_database(name)
    yield name
    postgres.drop_slots(name)


@pytest.fixture
def bucket(folder: Path):
    server = BucketServer(folder)
    yield server
    server.close()
