"""How the jobs of the command gain from more workers: `scaling.py PROCPOOL [--workers 1,2,4] [--rounds N] [--only WORD]`.

Makes the inputs of the other benchmarks in a folder (needs Pillow), unless they are there, and runs every job with each number of
workers, in turns (`turns.py`); the files are in memory by then. Prints a table: medians of the wall-clock time, how many times faster
than with the first number of workers, and which share of the CPU time of all processes is of the command's own one, which no further
worker makes less.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import turns  # noqa: E402

LOGS, COPIES = 4, 8


def made(path, command):
    """Whatever `command` makes at `path`: made once, under another name until it is whole."""
    if not path.exists():
        print(f"making {path}", file=sys.stderr)
        begun = path.with_name(path.name + ".begun")
        shutil.rmtree(begun, ignore_errors=True)
        command(begun)
        begun.rename(path)
    return path


def make_logs(folder):
    folder.mkdir()
    first = folder / "access-0.log"
    with open(first, "wb") as out:
        subprocess.run([sys.executable, HERE / "files" / "make_logs.py", "1500000", "1"], stdout=out, check=True)
    for number in range(1, LOGS):
        (folder / f"access-{number}.log").hardlink_to(first)


def make_pictures(folder):
    subprocess.run([sys.executable, HERE / "thumbs" / "pictures.py", HERE.parent / "images", folder], check=True)


def make_copies(photos, folder):
    folder.mkdir()
    for copy in range(COPIES):
        for photo in photos.iterdir():
            (folder / f"{copy}-{photo.name}").hardlink_to(photo)


def make_records(folder):
    subprocess.run([sys.executable, HERE / "table" / "make_inputs.py", folder], check=True)


def work(folder):
    """What is done, and the command line for it, but for the number of workers and the output."""
    makers = {"logs": make_logs, "pictures": make_pictures, "records": make_records}
    with ThreadPoolExecutor() as threads:
        logs, pictures, records = threads.map(lambda name: made(folder / name, makers[name]), makers)
    many = made(folder / "many", partial(make_copies, pictures / "photos"))
    gigabytes = sum(file.stat().st_size for file in logs.iterdir()) / 1e9
    photos = len(list(many.iterdir()))
    return {
        f"count, {gigabytes:.1f} GB": ["count", logs],
        f"logs, {gigabytes:.1f} GB": ["logs", logs],
        "table, 200 CSV files": ["table", records / "csv" / "*.csv", "-o", "OUT.parquet"],
        "table, 200 JSON-lines files": ["table", records / "jsonl" / "*.jsonl", "-o", "OUT.parquet"],
        f"thumbs, {photos} photographs": ["thumbs", many, "-o", "OUT"],
        f"thumbs, blur 2, {photos} photographs": ["thumbs", many, "-o", "OUT", "--blur", "2", "--size", "50"],
        "dataset, 84 photographs": ["dataset", pictures, "-o", "OUT"],
    }


def once(procpool, command, workers):
    """Wall-clock time, CPU time of the command's process, and CPU time of all its processes, in seconds."""
    with tempfile.TemporaryDirectory() as out:
        words = [procpool, *(str(word).replace("OUT", f"{out}/out") for word in command), "-q", "-j", str(workers)]
        begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        running = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
        wall = time.monotonic() - begun
        # The CPU clock of another process, as clock_getcpuclockid(3) makes it: it stands, until somebody has waited for the process.
        own = time.clock_gettime(~running.pid << 3 | 2)
        if running.wait():
            sys.exit(f"{words} ended with {running.returncode}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return wall, own, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("procpool", type=os.path.abspath)
    parser.add_argument("--workers", default="1,2,4,8,16", help="numbers of workers [default: 1,2,4,8,16]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="the jobs that have this in their names")
    parser.add_argument("--folder", type=Path, default=HERE.parent / "target" / "bench-scaling")
    args = parser.parse_args()
    counts = [int(count) for count in args.workers.split(",")]
    args.folder.mkdir(parents=True, exist_ok=True)
    commands = {name: command for name, command in work(args.folder).items() if args.only in name}
    cpus, before = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"{cpus} CPUs, medians of {args.rounds} rounds, load average {before:.1f} before.\n")
    heads = " | ".join(f"{count} worker{'s' * (count > 1)}, s" for count in counts)
    print(f"| job | {heads} | times faster | own CPU time, % |")
    print("|---" + "|---:" * (len(counts) + 2) + "|")
    for name, command in commands.items():
        programs = {count: partial(once, args.procpool, command, count) for count in counts}
        found = turns.figures(turns.Row(name, 0, programs), args.rounds)
        walls = [wall for wall, _, _ in found.values()]
        faster = " / ".join(f"{walls[0] / wall:.1f}" for wall in walls[1:])
        shares = " / ".join(f"{100 * own / used:.1f}" for _, own, used in found.values())
        print(f"| {name} | " + " | ".join(f"{wall:.2f}" for wall in walls) + f" | {faster} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
