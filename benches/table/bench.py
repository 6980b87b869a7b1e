"""`procpool table` beside polars, DuckDB and Python, on the same files in the same run.

Each has two workers or threads. procpool is timed as a whole command; of the others only the work itself, without starting
Python and importing. The outputs are checked to have as many rows.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent.parent))
import turns  # noqa: E402

CLDR = Path("/usr/share/unicode/cldr/common")


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
    """Runs in a process of its own: does the work and tells how long it took."""
    if tool == "polars":
        import polars

        scan = polars.scan_csv if kind == "csv" else polars.scan_ndjson
        turns.tell(lambda: scan(f"{inputs}/*.{kind}").sink_parquet(output, compression="snappy"))
    elif tool == "DuckDB":
        import duckdb

        connection = duckdb.connect()
        connection.execute("SET threads = 2")
        read = "read_csv" if kind == "csv" else "read_json"
        copy = f"COPY (SELECT * FROM {read}('{inputs}/*.{kind}')) TO '{output}' (FORMAT parquet)"
        turns.tell(lambda: connection.execute(copy))
    else:
        import csv
        from concurrent.futures import ProcessPoolExecutor

        files = sorted(Path(inputs).rglob("*.xml"))

        def work():
            with ProcessPoolExecutor(2) as pool, open(output, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                for rows in pool.map(names_of_a_file, files, chunksize=8):
                    writer.writerows(rows)

        turns.tell(work)


def rows(output):
    if output.suffix == ".csv":
        import csv

        with output.open(encoding="utf-8", newline="") as file:
            return sum(1 for _ in csv.reader(file))
    import pyarrow.parquet

    return pyarrow.parquet.read_metadata(output).num_rows


def row(arguments, kind, inputs, peers, more):
    """What is done with the files of a kind, by whom."""
    before = ["chrt", "--fifo", "1"] if arguments.real_time else []
    suffix = "csv" if kind == "xml" else "parquet"
    counts = {}

    def program(tool):
        output = arguments.folder / f"out-{tool}.{suffix}"

        def once():
            output.unlink(missing_ok=True)
            if tool == "procpool table":
                pattern = f"{inputs}/**/*.{kind}"
                options = ["-j", "2", "-q", "-o", output, *more]
                taken = turns.command([*before, arguments.program, "table", pattern, *options])()
            else:
                words = [*before, sys.executable, HERE, "--peer", tool, kind, inputs, output]
                taken = turns.told(words, {"POLARS_MAX_THREADS": "2"})
            # Ours has a line of names.
            counts[tool] = rows(output) - (kind == "xml" and tool == "procpool table")
            if len(set(counts.values())) != 1:
                sys.exit(f"the outputs have different numbers of rows: {counts}")
            return taken

        return once

    files = list(Path(inputs).rglob(f"*.{kind}"))
    size = sum(path.stat().st_size for path in files) / 1e6
    tools = ["procpool table", *peers]
    return turns.Row(f"{len(files)} {kind} files, {size:.0f} MB", size, {tool: program(tool) for tool in tools})


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--peer":
        return peer(*sys.argv[2:])
    parser = turns.arguments(__doc__)
    parser.add_argument("--program", type=os.path.abspath, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="where make_inputs.py has put its files")
    parser.add_argument("--cldr", type=Path, default=CLDR, help="XML files: Debian's package unicode-cldr-core")
    parser.add_argument("--real-time", action="store_true", help="before all other work of a busy machine; needs root")
    arguments = parser.parse_args()
    works = [(kind, arguments.folder / kind, ["polars", "DuckDB"], []) for kind in ["csv", "jsonl"]]
    if arguments.cldr.exists():
        picked = ["--record", "annotation", "--columns", "cp=@cp,type=@type,text=#text"]
        works.append(("xml", arguments.cldr, ["iterparse"], picked))
    else:
        print(f"SKIPPED: XML, since there is no {arguments.cldr} (Debian's package unicode-cldr-core)", file=sys.stderr)
    table = turns.table([row(arguments, *work) for work in works], arguments.rounds, "MB")
    turns.publish(table, "bench-table", arguments.document)


if __name__ == "__main__":
    main()
