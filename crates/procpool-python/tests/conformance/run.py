"""Runs CPython's own tests of process pools on procpool: `run.py ENVIRONMENTS [PATTERN]`.

In each virtual environment below that folder whose Python has them (3.13 and later), procpool's pools are put in the place of the
standard library's before the tests are imported; the executor with ``on_crash="break"``, which is the standard library's rule.
What is not to pass is listed below and in docs/CONFORMANCE.md, with the reason; anything else that fails, and anything of the
list that passes, fails this run.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

METHODS = ("fork", "spawn", "forkserver")

#: Of the executor: modules of test.test_concurrent_futures, and the tests that fail, with all three start methods.
EXECUTOR = ["test_as_completed", "test_deadlock", "test_init", "test_process_pool", "test_shutdown", "test_wait"]
EXECUTOR_FAILS = {
    # They look at private attributes: the manager's thread, the queue of calls.
    "test_del_shutdown",
    "test_shutdown_no_wait",
    "test_shutdown_deadlock_pickle",
    # They count private processes of calls that cannot be pickled, which here never get as far as a process.
    "test_saturation",
    "test_processes_terminate",
    # It makes a private thread of the standard library's fail to start.
    "test_python_finalization_error",
    # What cannot be unpickled fails its own future, with its own exception; there it breaks the pool.
    "test_error_at_task_unpickle",
    "test_exit_at_task_unpickle",
    "test_error_during_result_unpickle_in_result_handler",
    "test_exit_during_result_unpickle_in_result_handler",
}

#: Of `Pool`: the cases of test._test_multiprocessing whose names have this, and the tests that fail, with all start methods.
POOL = "TestPool"
POOL_FAILS = {
    # They count the processes in the private `_pool` before there is any work; here workers start with the calls that need them.
    "test_make_pool",
    "test_pool_worker_lifetime",
    # A lambda as a result cannot be pickled there, and can here.
    "test_unpickleable_result",
    # It hands `Pool` a private class of processes that fail to start.
    "test_release_unused_processes",
}

HERE = Path(__file__).parent


def swap_into(python: Path) -> None:
    """Makes every interpreter of this environment import swap.py at its start."""
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.run([python, "-I", "-c", where], check=True, capture_output=True, text=True).stdout.strip())
    (packages / "procpool_conformance.py").write_text((HERE / "swap.py").read_text())
    (packages / "procpool_conformance.pth").write_text("import procpool_conformance\n")


def run(python: Path, names: list[str], pattern: str, expected: set[str]) -> bool:
    """Runs test modules in one environment and returns whether what was to pass has passed."""
    command = [python, "-m", "unittest", "-v", "-k", pattern, *names]
    environment = {**os.environ, "PROCPOOL_CONFORMANCE": "break"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=500)
    # Those of the thread pool are not about us.
    results = re.findall(r"^(?:ERROR|FAIL): (\w+) \((\S+)\)", ran.stderr, re.MULTILINE)
    failed = {(test, where) for test, where in results if "Thread" not in where and "Interpreter" not in where}
    counted = re.search(r"Ran (\d+) tests", ran.stderr)
    if not counted:
        print(ran.stderr[-5000:])
        return False
    wrong = sorted(where for test, where in failed if test not in expected)
    surprise = sorted(test for test in expected if pattern in ("*", POOL) and not any(test == name for name, _ in failed))
    print(f"{counted[1]} of CPython's tests were run, {len(failed)} do not pass, {len(failed) - len(wrong)} of them as expected")
    for name in wrong:
        print(f"NOT AS EXPECTED, fails: {name}")
    for name in surprise:
        print(f"NOT AS EXPECTED, passes: {name}")
    if wrong:
        print(ran.stderr[-20000:])
    return not wrong and not surprise


def main() -> int:
    """Runs them wherever they are."""
    folder, *pattern = sys.argv[1:]
    found, good = False, True
    for python in sorted(Path(folder).glob("3.*/bin/python")):
        probe = "import sys, test.test_concurrent_futures.util; sys.exit(sys.version_info < (3, 13))"
        if subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode:
            continue
        found = True
        print(f"== CPython's own tests, of {python.parent.parent.name}", flush=True)
        swap_into(python)
        executor = [f"test.test_concurrent_futures.{module}" for module in EXECUTOR]
        good &= run(python, executor, pattern[0] if pattern else "*", EXECUTOR_FAILS)
        for method in METHODS:
            modules = [f"test.test_multiprocessing_{method}.{module}" for module in ("test_processes", "test_misc")]
            good &= run(python, modules, pattern[0] if pattern else POOL, POOL_FAILS)
    if not found:
        print("SKIPPED: CPython's own tests; no Python 3.13 or later is there that has its test package")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
