"""`procpool table` beside polars, DuckDB and Python, on the same files in the same run.

The tools take turns, round after round, with two workers or threads each; the figures are medians. procpool is timed as a
whole command; of the others only the work itself, without starting Python and importing. Wall-clock time is what counts on a
quiet machine; CPU time (user and system, all processes) says more on a busy one. The outputs are checked to have as many rows.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

CLDR = Path("/usr/share/unicode/cldr/common")
HERE = Path(__file__).resolve()


def cpu():
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in usage)


def names_of_a_file(path):
    """The annotations of a file, as a plain Python program gets them."""
    import xml.etree.ElementTree as ElementTree

    rows = []
    for _, element in ElementTree.iterparse(path):
        if element.tag == "annotation":
            rows.append((element.get("cp"), element.get("type"), (element.text or "").strip()))
        if element.tag not in ("annotations", "ldml"):
            element.clear()
    return rows


def peer(tool, kind, inputs, output):
    """Runs in a process of its own: does the work and prints wall-clock and CPU time and the number of rows."""
    if tool == "polars":
        import polars

        scan = polars.scan_csv if kind == "csv" else polars.scan_ndjson
        wall, used = time.perf_counter(), cpu()
        scan(f"{inputs}/*.{kind}").sink_parquet(output, compression="snappy")
    elif tool == "DuckDB":
        import duckdb

        connection = duckdb.connect()
        connection.execute("SET threads = 2")
        read = "read_csv" if kind == "csv" else "read_json"
        wall, used = time.perf_counter(), cpu()
        connection.execute(f"COPY (SELECT * FROM {read}('{inputs}/*.{kind}')) TO '{output}' (FORMAT parquet)")
    else:
        import csv
        from concurrent.futures import ProcessPoolExecutor

        files = sorted(Path(inputs).rglob("*.xml"))
        wall, used = time.perf_counter(), cpu()
        with ProcessPoolExecutor(2) as pool, open(output, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            for rows in pool.map(names_of_a_file, files, chunksize=8):
                writer.writerows(rows)
    print(time.perf_counter() - wall, cpu() - used)


def rows(output):
    if output.suffix == ".csv":
        import csv

        with output.open(encoding="utf-8", newline="") as file:
            return sum(1 for _ in csv.reader(file))
    import pyarrow.parquet

    return pyarrow.parquet.read_metadata(output).num_rows


def measure(program, tool, kind, inputs, folder, more, before=()):
    suffix = "csv" if kind == "xml" else "parquet"
    output = folder / f"out-{tool}.{suffix}"
    output.unlink(missing_ok=True)
    if tool == "procpool":
        wall, used = time.perf_counter(), cpu()
        command = [*before, program, "table", f"{inputs}/**/*.{kind}", "-j", "2", "-q", "-o", output, *more]
        subprocess.run(command, check=True)
        figures = time.perf_counter() - wall, cpu() - used
    else:
        command = [*before, sys.executable, HERE, "--peer", tool, kind, inputs, output]
        environment = {**os.environ, "POLARS_MAX_THREADS": "2"}
        ended = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        figures = tuple(map(float, ended.stdout.split()))
    # Ours has a line of names.
    return figures, rows(output) - (kind == "xml" and tool == "procpool")


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--peer":
        return peer(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="where make_inputs.py has put its files")
    parser.add_argument("--cldr", type=Path, default=CLDR, help="XML files: Debian's package unicode-cldr-core")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--real-time", action="store_true", help="before all other work of a busy machine; needs root")
    arguments = parser.parse_args()
    before = ["chrt", "--fifo", "1"] if arguments.real_time else []
    print(f"load average {os.getloadavg()[0]:.1f} before", flush=True)
    print("| work | tool | wall clock, s | CPU time, s | times procpool's: wall clock, CPU |")
    print("|---|---|---|---|---|")
    works = [(kind, arguments.folder / kind, ["polars", "DuckDB"], []) for kind in ["csv", "jsonl"]]
    if arguments.cldr.exists():
        picked = ["--record", "annotation", "--columns", "cp=@cp,type=@type,text=#text"]
        works.append(("xml", arguments.cldr, ["iterparse"], picked))
    else:
        print(f"SKIPPED: XML, since there is no {arguments.cldr} (Debian's package unicode-cldr-core)", file=sys.stderr)
    for kind, inputs, peers, more in works:
        files = [path for path in Path(inputs).rglob(f"*.{kind}")]
        size = sum(path.stat().st_size for path in files) / 1e6
        figures, counts = {}, {}
        for _ in range(arguments.rounds):
            for tool in ["procpool", *peers]:
                found, counts[tool] = measure(arguments.program, tool, kind, inputs, arguments.folder, more, before)
                figures.setdefault(tool, []).append(found)
        if len(set(counts.values())) != 1:
            sys.exit(f"the outputs have different numbers of rows: {counts}")
        ours = None
        for tool, found in figures.items():
            wall, used = (statistics.median(values) for values in zip(*found))
            ours = ours or (wall, used)
            work = f"{len(files)} {kind} files, {size:.0f} MB, {counts[tool]} records"
            print(f"| {work} | {tool} | {wall:.2f} | {used:.2f} | {wall / ours[0]:.1f}, {used / ours[1]:.1f} |", flush=True)
    print(f"load average {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
