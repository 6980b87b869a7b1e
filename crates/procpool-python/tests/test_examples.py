"""The programs of examples/python: as they are, with the import changed, and unmodified through ``python -m procpool``. All three
print the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "python"

CHANGES = [
    ("import multiprocessing\n", "import procpool as multiprocessing\n"),
    ("from concurrent.futures import", "from procpool import"),
]


def run(*command):
    # Unbuffered, a line is two writes, between which another process may write.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ran = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("thumbnails.py", [ROOT / "images", "OUTPUT"]),
        ("characters.py", ["/etc/*.conf"]),
        ("counting.py", ["1000000"]),
        ("queues.py", ["50"]),
    ],
)
def test_classic_programs(name, arguments, tmp_path):
    if name == "thumbnails.py":
        pytest.importorskip("PIL", reason="SKIPPED: Pillow is not installed")
    source = (EXAMPLES / name).read_text()
    changed = source
    for old, new in CHANGES:
        changed = changed.replace(old, new)
    assert changed != source
    (tmp_path / name).write_text(changed)
    told, files = [], []
    for number, command in enumerate([[EXAMPLES / name], [tmp_path / name], ["-m", "procpool", EXAMPLES / name]]):
        output = tmp_path / str(number)
        told.append(sorted(run(*command, *(output if a == "OUTPUT" else a for a in arguments)).splitlines()))
        files.append({p.name: p.read_bytes() for p in output.iterdir()} if output.exists() else {})
    assert told[0] == told[1] == told[2] and told[0]
    assert files[0] == files[1] == files[2]
    if name == "thumbnails.py":
        assert len(files[0]) == 5
