"""Figures that are printed and not judged: they depend on the machine and on how the program was built."""

import time

from rig.process import POLL_S, resident_mb, wait_until
from rig.tarn import BINARY, ApiError


def test_start_first_answer_and_memory_of_the_demo(make_tarn):
    tarn = make_tarn()
    began = time.monotonic()
    tarn.start("demo")
    ready = time.monotonic() - began

    def answered():
        try:
            return tarn.value("SELECT count(*) FROM nyc.flights") > 0
        except ApiError:
            return False
    assert tarn.value("SELECT 1") == 1
    first = time.monotonic() - began
    wait_until("the demo has rows", answered, say=tarn.state)
    rows = time.monotonic() - began
    memory = []
    for _ in range(int(30 / POLL_S)):
        time.sleep(POLL_S)
        memory.append(resident_mb(tarn.pid))
    print(f"\n  {BINARY}: ready after {ready:.2f} s, first answer after {first:.2f} s, first rows of the demo after {rows:.2f} s; "
          f"resident memory over 30 s: at most {max(memory):.0f} MB, last {memory[-1]:.0f} MB")
    moved = tarn.value("SELECT count(*) FROM nyc.flights WHERE arrival IS NOT NULL")
    wait_until("flights land", lambda: tarn.value("SELECT count(*) FROM nyc.flights WHERE arrival IS NOT NULL") > moved, say=tarn.state)
    # A second start goes on.
    tarn.kill()
    tarn.start("demo")
    assert tarn.value("SELECT count(*) FROM nyc.flights WHERE arrival IS NOT NULL") >= moved
    assert tarn.stop() == 0, tarn.last_words()


def test_start_and_memory_of_an_empty_project(make_tarn):
    tarn = make_tarn()
    began = time.monotonic()
    tarn.start()
    assert tarn.value("SELECT 1") == 1
    print(f"\n  empty project: first answer after {time.monotonic() - began:.2f} s, resident memory {resident_mb(tarn.pid):.0f} MB")
