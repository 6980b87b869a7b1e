"""The rows of `count` and `logs`."""

import subprocess
import sys
from pathlib import Path

from turns import Row, command, installed

LINES, SEED = 1_500_000, 1


def rows(place):
    script = Path(__file__).parent / "make_logs.py"
    log = place.made("access.log", [sys.executable, script, str(LINES), str(SEED)])
    packed = place.made("access.log.gz", ["gzip", "-c", log])
    size = log.stat().st_size / 1e6
    ours = [place.procpool]
    count = {
        "procpool count": [*ours, "count", log],
        "procpool count -j 1": [*ours, "count", "-j", "1", log],
    }
    if installed("wc"):
        count["wc -clwm"] = ["wc", "-clwm", log]
        count["wc -l"] = ["wc", "-l", log]
    logs = {
        "procpool logs": [*ours, "logs", log],
        "procpool logs -j 1": [*ours, "logs", "-j", "1", log],
    }
    gz = {
        "procpool logs": [*ours, "logs", packed],
        "gzip -dc": ["gzip", "-dc", packed],
    }
    if installed("goaccess"):
        flags = ["--log-format=COMBINED", "--no-global-config", "--no-progress", "-o", place.folder / "goaccess.json"]
        logs["goaccess"] = ["goaccess", log, *flags]
        piped = subprocess.list2cmdline(map(str, flags))
        gz["zcat, goaccess"] = f"zcat {packed} | goaccess - {piped}"

    def row(work, programs, environment=None):
        return Row(work, size, {name: command(words, environment) for name, words in programs.items()})

    million = f"{LINES / 1e6:.1f} million lines, {size:.0f} MB"
    return [
        row(f"lines, words, characters of {million}", count, {"LC_ALL": "C.UTF-8"}),
        row(f"statistics of {million}", logs),
        row("the same, gzip", gz),
    ]
