"""How the jobs of the command gain from more workers: `scaling.py PROCPOOL [--workers 1,2,4] [--rounds N] [--folder FOLDER]`.

Makes the inputs of the other benchmarks in FOLDER (needs Pillow), unless they are there, and runs every job with each number of
workers, in turns, round after round; the files are in memory by then. Prints a table: medians of the wall-clock time, and how many
times faster than with the first number of workers.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
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
    with tempfile.TemporaryDirectory() as out:
        command = [str(word).replace("OUT", f"{out}/out") for word in command]
        begun = time.monotonic()
        subprocess.run(
            [procpool, *command, "-q", "-j", str(workers)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True
        )
        return time.monotonic() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("procpool", type=os.path.abspath)
    parser.add_argument("--workers", default="1,2,4,8,16", help="numbers of workers [default: 1,2,4,8,16]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=HERE.parent / "target" / "bench-scaling")
    args = parser.parse_args()
    counts = [int(count) for count in args.workers.split(",")]
    args.folder.mkdir(parents=True, exist_ok=True)
    commands = work(args.folder)
    runs = {(name, count): [] for name in commands for count in counts}
    before = os.getloadavg()[0]
    for number in range(args.rounds + 1):
        for name, command in commands.items():
            # The first round brings the files into memory.
            for count in counts if number else counts[-1:]:
                taken = once(args.procpool, command, count)
                if number:
                    runs[name, count].append(taken)
    cpus = len(os.sched_getaffinity(0))
    print(f"{cpus} CPUs, medians of {args.rounds} rounds, load average {before:.1f} before.\n")
    print("| job | " + " | ".join(f"{count} worker{'s' * (count > 1)}, s" for count in counts) + " | times faster |")
    print("|---" + "|---:" * (len(counts) + 1) + "|")
    for name in commands:
        medians = [statistics.median(runs[name, count]) for count in counts]
        faster = " / ".join(f"{medians[0] / median:.1f}" for median in medians[1:])
        print(f"| {name} | " + " | ".join(f"{median:.2f}" for median in medians) + f" | {faster} |")


if __name__ == "__main__":
    main()
