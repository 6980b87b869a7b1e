"""Whole programs, run by an interpreter of their own."""

import subprocess
import sys
import textwrap


def run_program(text, *arguments, timeout=60, **more):
    program = subprocess.run(
        [sys.executable, *arguments, "-c", textwrap.dedent(text)], capture_output=True, text=True, timeout=timeout, check=False, **more
    )
    return program.returncode, program.stdout, program.stderr
