"""What every test has: a watchdog, and a look at what it leaves behind."""

import gc
import os
import sys
import time
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

import procpool
from procpool import _template

sys.path.insert(0, str(Path(__file__).parent))

def children() -> set[int]:
    found = set()
    for task in os.listdir("/proc/self/task"):
        try:
            text = Path(f"/proc/self/task/{task}/children").read_text()
        except FileNotFoundError:
            continue
        found.update(map(int, text.split()))
    # multiprocessing's own, which stays as long as this process.
    tracker = resource_tracker._resource_tracker._pid
    return found - {*_template.pids(), tracker}


@pytest.fixture(autouse=True)
def alone():
    before = children()
    yield
    gc.collect()
    procpool._core.join_lingering()
    # The engine reaps before it says that it is over, but for the process that workers are copied from.
    left = children() - before
    for _ in range(200):
        if not left:
            break
        time.sleep(0.01)
        left = children() - before
    assert not left, f"processes are left: {left}"


@pytest.fixture
def pool():
    with procpool.ProcessPoolExecutor(2) as executor:
        yield executor
