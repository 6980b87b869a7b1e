"""Does the same faults to procpool and to the pools of Python and prints one table of what became of them.

Each fault is done to each pool in a process of its own, with a limit of time; whatever is left of it is then killed.
Linux only. `run.sh` beside this file prepares what it needs.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import textwrap
import time

import processes
from pools import POOLS

HERE = os.path.dirname(os.path.abspath(__file__))
OURS = "procpool"
LIMIT = 60
WIDTH = 24

FAULTS = {
    "storm": "SIGKILL a random worker every 100 ms, 200 tasks",
    "killed": "one of 8 tasks has its worker killed (SIGKILL)",
    "exits": "one of 8 tasks calls `_exit(0)`",
    "initializer": "no worker can start: the initializer fails, 8 tasks",
    "stopped": "one of 8 tasks gets SIGSTOP; timeout 1 s if there is one",
    "endless": "one of 8 tasks is endless; timeout 1 s if there is one",
    "ignores-sigterm": "one of 8 tasks is endless and ignores SIGTERM; likewise",
    "parent-busy": "what is left 1 s after SIGKILL to the parent of 2 busy workers",
    "parent-idle": "the same, 2 idle workers",
    "parent-grandchildren": "the same, 2 busy workers and a program that each has started",
    "grandchild": "a program that a task has left running, 1 s after an orderly shutdown",
    "two-arguments": "one of 8 tasks fails with an error that cannot be decoded",
    "unpicklable": "one of 8 tasks returns what cannot be encoded",
    "descriptors": "`ulimit -n 64`, 40 workers, 200 tasks",
    "cancel": "cancel of a running task",
    "memory": "growth of the parent, 10^6 tiny tasks, the reader pauses",
}


def do(fault, pool, peer):
    """The facts about one fault in one pool; None if they did not come in time."""
    mark = f"PROCPOOL_FAULTS_RUN={os.getpid()}-{time.monotonic_ns()}"
    environment = os.environ | dict([mark.split("=", 1)])
    command = [peer, fault] if pool == OURS else [sys.executable, os.path.join(HERE, "subject.py"), pool, fault]
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        subject = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment, start_new_session=True
        )

        def told():
            output.seek(0)
            line = output.readline()
            return json.loads(line) if line.endswith("\n") else None

        try:
            until = time.monotonic() + LIMIT
            while (facts := told()) is None and subject.poll() is None and time.monotonic() < until:
                time.sleep(0.02)
            if (facts := facts or told()) and fault.startswith("parent-"):
                facts["alive_before"] = sum(map(processes.lives, facts["workers"] + facts["grandchildren"]))
                subject.kill()
                subject.wait()
                time.sleep(1)
                for who in "workers", "grandchildren":
                    facts[f"{who}_left"] = sum(map(processes.lives, facts[who]))
            if facts is None and subject.poll() is not None:
                errors.seek(0)
                raise SystemExit(f"{pool}, {fault}: ended with {subject.returncode}\n{errors.read()}")
            return facts
        finally:
            subject.kill()
            subject.wait()
            # Once more, for those that were being started.
            while processes.kill_marked(mark):
                time.sleep(0.05)


def live_on(left, of, who):
    return f"{left or 'none'} of {of} {who}"


def say(fault, facts):
    """The facts in a few words."""
    if facts is None:
        return f"hangs for more than {LIMIT} s"
    if fault.startswith("parent-"):
        workers = live_on(facts["workers_left"], len(facts["workers"]), "workers")
        if not facts["grandchildren"]:
            return workers
        programs = live_on(facts["grandchildren_left"], len(facts["grandchildren"]), "programs")
        return f"{workers}, {programs}"
    if fault == "grandchild":
        said = ["it lives on" if facts["left"] else "it is gone"]
        return ", ".join(said + ([] if facts["ends"] else ["shutdown hangs"]))
    if fault == "memory":
        whole = facts["read"] == 1_000_000
        return f"{facts['grown'] / 2**20:.0f} MiB" + ("" if whole else f", {facts['read']} outputs read")
    said = []
    if fault == "cancel":
        if facts["cancelled"] is None:
            return "no such call"
        said.append("cancelled" if facts["cancelled"] else "refused")
        said.append("it runs on" if facts["ran_on"] else "it is ended")
    elif "refused" in facts:
        said.append(f"no pool ({facts['refused']})")
    else:
        if "kills" in facts:
            said.append(f"{facts['kills']} kill{'' if facts['kills'] == 1 else 's'}")
        if facts.get("has_timeout") is False:
            said.append("no timeout")
        why = f" ({facts['error']})" if fault in ("initializer", "descriptors") else ""
        if facts["failed"]:
            said.append(f"{facts['failed']} of {facts['tasks']} failed{why}")
        if facts["lost"]:
            said.append(f"{facts['lost']} of {facts['tasks']} never end{'s' if facts['lost'] == 1 else ''}")
        if facts["ok"] == facts["tasks"]:
            said.append(f"all {facts['tasks']} done")
        if "starts" in facts:
            said.append(f"{facts['starts']} starts tried")
    if "pool" in facts:
        said.append(f"pool {facts['pool']}")
    if not facts.get("ends", True):
        said.append("cannot be ended")
    if left := facts.get("children_left"):
        said.append(f"{left} processes left")
    return ", ".join(said)


def table(rows):
    """The rows below each other in columns of one width."""
    lines = []
    for row in rows:
        cells = [textwrap.wrap(cell, WIDTH) for cell in row]
        for k in range(max(map(len, cells))):
            line = (cell[k] if k < len(cell) else "" for cell in cells)
            lines.append("  ".join(part.ljust(WIDTH) for part in line).rstrip())
        lines.append("")
    return "\n".join(lines)


def markdown(rows):
    heading, *body = ("| " + " | ".join(row) + " |\n" for row in rows)
    return heading + "|---" * len(rows[0]) + "|\n" + "".join(body)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="the program `peer` of the crate procpool-faults")
    parser.add_argument("--markdown", metavar="FILE", help="also write the table there, as Markdown")
    parser.add_argument("--only", metavar="FAULT", choices=FAULTS, action="append", help="this fault (may be repeated)")
    parser.add_argument("--pool", choices=[OURS, *POOLS], action="append", help="this pool (may be repeated)")
    parser.add_argument("--facts", action="store_true", help="print what was measured as lines of JSON too")
    options = parser.parse_args()
    pools = options.pool or [OURS, *POOLS]
    rows = [["fault", *pools]]
    for fault in options.only or FAULTS:
        row = [FAULTS[fault]]
        for pool in pools:
            facts = do(fault, pool, os.path.abspath(options.peer))
            row.append(say(fault, facts))
            print(f"{fault}, {pool}: {row[-1]}", file=sys.stderr)
            if options.facts:
                print(json.dumps({"fault": fault, "pool": pool, "facts": facts}))
        rows.append(row)
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.system()}; 2 workers unless said\n")
    print(table(rows))
    if options.markdown:
        with open(options.markdown, "w") as file:
            file.write(markdown(rows))


if __name__ == "__main__":
    main()
