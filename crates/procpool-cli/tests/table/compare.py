"""Compares the tables that procpool makes with what Python's own csv, json and xml modules read from the same files.

The files are made up at random, the same in every run, with the accidents that files have. Prints a line per kind and exits
with 1 if anything differs.
"""

import argparse
import csv
import io
import json
import math
import random
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from datetime import date, datetime, timezone
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import duckdb
import polars
import pyarrow.ipc
import pyarrow.parquet

ROUNDS = 25
WORDS = ["a", "word", "é🦦", '"', '""', ",", ";", "\n", "\r\n", "\r", " ", "\t", "'", "\\", "x" * 40, "NULL", "日本"]
NUMBERS = ["0", "-1", "7", "007", "1.5", "1e3", "-0.25", "9223372036854775807", "9223372036854775808", "1.", ".5", "+1"]


def text(chance):
    return "".join(chance.choices(WORDS, k=chance.randrange(5)))


def run(program, folder, output, *arguments):
    command = [program, "table", "in", "-o", output, "--quiet", *arguments]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    if ended.returncode != 0:
        raise AssertionError(f"{arguments}: {ended.returncode} {ended.stderr}")
    misfits = folder / f"{output}.misfits.jsonl"
    if misfits.exists():
        raise AssertionError(f"{arguments}: misfits: {misfits.read_text()[:500]}")


def same(expected, found):
    """Whether a typed value is what this text says."""
    if expected == "":
        return found in (None, "")
    if isinstance(found, bool):
        return expected.lower() == str(found).lower()
    if isinstance(found, int):
        return str(found) == expected
    if isinstance(found, float):
        return float(expected) == found
    return found == expected


def csv_files(chance, folder):
    """Fields that are quoted, half quoted and not at all, lines of different ends and lengths. Returns the expected rows."""
    rows = []
    for number in range(4):
        end = chance.choice(["\n", "\r\n", "\r"])
        width = chance.randrange(1, 6)
        names = [f"c{chance.randrange(8)}" for _ in range(width)]
        names = list(dict.fromkeys(names))
        # A comma in the first line says what separates.
        names += [f"end{number}", "e"]
        lines = [",".join(names)]
        for _ in range(chance.randrange(60)):
            fields = []
            for index in range(chance.randrange(1, len(names) + 1)):
                kind = chance.randrange(5)
                if kind == 0:
                    fields.append('"' + text(chance).replace('"', '""') + '"')
                elif kind == 1:
                    plain = "".join(c for c in text(chance) if c not in ",\n\r")
                    fields.append(("x" + plain) if plain.startswith('"') else plain)
                elif kind == 2:
                    fields.append('"ab"' + chance.choice(["", "c", ' "d"', "''"]))
                else:
                    fields.append(chance.choice(NUMBERS) if index % 2 else str(chance.randrange(1000)))
            lines.append(",".join(fields))
            if chance.random() < 0.05:
                lines.append("")
        content = end.join(lines) + chance.choice(["", end])
        content = chance.choice(["", "\ufeff"]) + content
        (folder / f"{number}.csv").write_text(content, encoding="utf-8", newline="")
        read = csv.reader(io.StringIO(content.removeprefix("\ufeff"), newline=""))
        header, *records = [record for record in read if record]
        rows += [dict(zip(header, record)) for record in records]
    return rows


def flat(value, path=""):
    """The leaves of an object by their path; lists stay lists."""
    if isinstance(value, dict):
        leaves = {}
        for key, member in value.items():
            leaves.update(flat(member, f"{path}.{key}" if path else key))
        return leaves
    return {path: value}


def member(chance, depth=0):
    kind = chance.randrange(9)
    if kind == 0 and depth < 3:
        return {chance.choice("abcde"): member(chance, depth + 1) for _ in range(chance.randrange(1, 4))}
    if kind == 1:
        return [member(chance, 3) for _ in range(chance.randrange(3))]
    return chance.choice([None, True, False, chance.randrange(-5, 5), chance.random(), 10**25, 2**63 - 1, text(chance)])


def json_files(chance, folder, lines):
    rows = []
    for number in range(4):
        records = []
        for _ in range(chance.randrange(1, 40)):
            records.append({chance.choice("abcdefgh"): member(chance) for _ in range(chance.randrange(6))})
        ascii_only = chance.random() < 0.5
        if lines:
            body = "\n".join(json.dumps(record, ensure_ascii=ascii_only) for record in records)
            (folder / f"{number}.jsonl").write_text(body, encoding="utf-8", newline="")
        else:
            indent = chance.choice([None, 2])
            body = json.dumps({"n": 1, "data": {"rows": records}}, ensure_ascii=ascii_only, indent=indent)
            (folder / f"{number}.json").write_text(body, encoding="utf-8", newline="")
        rows += [flat(record) for record in records]
    return rows


def same_member(expected, found):
    if isinstance(expected, list):
        return json.loads(found) == expected
    if isinstance(found, str) and not isinstance(expected, str):
        return found == json.dumps(expected)
    if isinstance(expected, bool) or isinstance(found, bool):
        return found is expected
    return found == expected


def xml_files(chance, folder):
    for number in range(4):
        records = []
        for row in range(chance.randrange(2, 40)):
            inner = "".join(f"<{tag}>{escape(text(chance))}</{tag}>" for tag in chance.sample("abcd", chance.randrange(4)))
            if chance.random() < 0.2:
                inner += f"<deep><er k={quoteattr(text(chance))}/><!-- no --></deep>"
            if chance.random() < 0.2:
                inner += "<e><![CDATA[a <b> & c]]></e>"
            records.append(f"<row n='{row}' t={quoteattr(text(chance))}>{escape(text(chance))}{inner}</row>")
        body = f"<?xml version='1.0' encoding='utf-8'?>\n<!DOCTYPE all>\n<all><rows>{' '.join(records)}</rows></all>"
        (folder / f"{number}.xml").write_text(body, encoding="utf-8", newline="")


def xml_rows(folder):
    rows = []
    for path in sorted(folder.iterdir()):
        for _, element in ElementTree.iterparse(path):
            if element.tag == "row":
                row = {}

                def visit(element, place):
                    own = (element.text or "") + "".join(child.tail or "" for child in element)
                    row[place or "#text"] = own.strip(" \t\r\n")
                    for name, value in element.attrib.items():
                        row[f"{place}/@{name}" if place else f"@{name}"] = value
                    for child in element:
                        visit(child, f"{place}/{child.tag}" if place else child.tag)

                visit(element, "")
                rows.append({place: value for place, value in row.items() if value != ""})
    return rows


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def check(expected, found, equal, what):
    assert len(expected) == len(found), f"{what}: {len(found)} records, not {len(expected)}"
    for number, (want, have) in enumerate(zip(expected, found)):
        for column in want.keys() | have.keys():
            assert equal(want.get(column), have.get(column)), (
                f"{what}: record {number}, column {column}: {have.get(column)!r}, not {want.get(column)!r}"
            )


def plain(value):
    """What JSON lines say of a value."""
    if isinstance(value, datetime):
        shown = value.strftime("%Y-%m-%dT%H:%M:%S") + (f".{value.microsecond:06}".rstrip("0") if value.microsecond else "")
        return shown + ("Z" if value.tzinfo else "")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def readers(folder):
    """The rows of out.parquet and out.arrow as several programs see them."""
    parquet, arrow = folder / "out.parquet", folder / "out.arrow"
    yield "pyarrow, Parquet", pyarrow.parquet.read_table(parquet).to_pylist()
    yield "polars, Parquet", polars.read_parquet(parquet).to_dicts()
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    found = connection.execute(f"SELECT * FROM read_parquet('{parquet}')")
    names = [column[0] for column in found.description]
    rows = [dict(zip(names, row)) for row in found.fetchall()]
    yield "DuckDB, Parquet", [{k: utc(v) for k, v in row.items()} for row in rows]
    yield "pyarrow, Arrow", pyarrow.ipc.open_file(arrow).read_all().to_pylist()
    yield "polars, Arrow", polars.read_ipc(arrow).to_dicts()


def utc(value):
    return value.astimezone(timezone.utc) if isinstance(value, datetime) and value.tzinfo else value


def typed_file(chance, folder):
    rows = []
    for row in range(500):
        day = f"20{chance.randrange(10, 40)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}"
        clock = f"{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}"
        cells = [row, chance.random(), day, f"{day} {clock}", f"{day}T{clock}.{chance.randrange(1000):03}+01:00", row % 3 == 0]
        cells += [chance.choice(["x", "é", "", "long text " * 5])]
        rows.append(",".join("" if chance.random() < 0.1 else str(cell) for cell in cells))
    (folder / "typed.csv").write_text("int,float,date,time,instant,bool,text\n" + "\n".join(rows), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=Path, required=True)
    program = parser.parse_args().program.resolve()
    failed = 0

    def attempt(kind, round_of):
        nonlocal failed
        try:
            records = sum(round_of(random.Random(f"{kind} {number}")) for number in range(ROUNDS))
            print(f"{kind}: {records} records are the same")
        except AssertionError as error:
            failed += 1
            print(f"{kind}: {error}")

    def in_folder(body):
        def round_of(chance):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                (folder / "in").mkdir()
                return body(chance, folder)

        return round_of

    options = ["--sample", "all", "--row-group", "700", "-j", "2"]

    def csv_round(chance, folder):
        expected = csv_files(chance, folder / "in")
        run(program, folder, "out.jsonl", *options, "--separator", ",")
        want = [{name: value for name, value in row.items()} for row in expected]
        check(want, read_lines(folder / "out.jsonl"), lambda a, b: same(a or "", b), "csv")
        # And once more through our own separated values.
        run(program, folder, "out.csv", *options, "--separator", ",")
        with (folder / "out.csv").open(encoding="utf-8", newline="") as file:
            names, *records = csv.reader(file)
        again = [{name: value for name, value in zip(names, record) if value != ""} for record in records]
        lines = [{name: value for name, value in row.items() if value != ""} for row in read_lines(folder / "out.jsonl")]
        check(again, lines, lambda a, b: same(a or "", b), "csv, written again")
        return len(expected)

    def json_round(lines):
        def round_of(chance, folder):
            expected = json_files(chance, folder / "in", lines)
            run(program, folder, "out.jsonl", *options, *([] if lines else ["--record", "data.rows"]))
            want = [{k: v for k, v in row.items() if k != ""} for row in expected]
            check(want, read_lines(folder / "out.jsonl"), same_member, "json")
            return len(expected)

        return in_folder(round_of)

    def xml_round(chance, folder):
        xml_files(chance, folder / "in")
        run(program, folder, "out.jsonl", *options)
        expected = xml_rows(folder / "in")
        check(expected, read_lines(folder / "out.jsonl"), lambda a, b: same(a or "", b), "xml")
        return len(expected)

    def readers_round(chance, folder):
        typed_file(chance, folder / "in")
        csv_files(chance, folder / "in")
        for format in ["jsonl", "parquet", "arrow"]:
            run(program, folder, f"out.{format}", *options, "--separator", ",", "--file-column", "file")
        lines = read_lines(folder / "out.jsonl")
        for reader, rows in readers(folder):
            shown = [{name: plain(value) for name, value in row.items()} for row in rows]
            check(lines, shown, lambda a, b: a == b, reader)
        return len(lines)

    attempt("csv as Python's csv reads it", in_folder(csv_round))
    attempt("JSON lines as Python's json reads them", json_round(True))
    attempt("JSON documents as Python's json reads them", json_round(False))
    attempt("XML as Python's ElementTree reads it", in_folder(xml_round))
    attempt("Parquet and Arrow as pyarrow, polars and DuckDB read them", in_folder(readers_round))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
