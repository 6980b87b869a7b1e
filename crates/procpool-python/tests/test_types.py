"""The types that programs see."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import procpool

TYPED = str(Path(__file__).parent / "typed.py")


def test_the_typed_program_runs():
    ran = subprocess.run([sys.executable, TYPED], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_a_strict_checker_finds_nothing_wrong(tmp_path):
    pytest.importorskip("mypy", reason="SKIPPED: mypy is not installed")
    command = [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", TYPED]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def parameters(function):
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args]
    return [argument.arg for argument in (*named, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg) if argument is not None]


def test_the_types_are_those_of_the_package():
    stub = ast.parse((Path(procpool.__file__).parent / "__init__.pyi").read_text())
    names = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names if alias.asname}
    missing = {name for name in dir(procpool) if not name.startswith("_")} - names
    for node in stub.body:
        if isinstance(node, ast.FunctionDef):
            missing.discard(node.name)
            assert parameters(node) == list(inspect.signature(getattr(procpool, node.name)).parameters), node.name
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            missing.discard(node.name)
            methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
            kind = getattr(procpool, node.name)
            for name, method in methods.items():
                if (node.name, name) != ("ProcessPoolExecutor", "options"):
                    # It takes whatever it is given, and says which names it does not know.
                    assert parameters(method) == list(inspect.signature(getattr(kind, name)).parameters), f"{node.name}.{name}"
            public = {name for name in vars(kind) if not name.startswith("_") and callable(getattr(kind, name))}
            if node.name != "Future":
                assert public <= methods.keys(), node.name
    # Submodules that were imported are attributes too.
    assert {name for name in missing if not inspect.ismodule(getattr(procpool, name))} == set()
