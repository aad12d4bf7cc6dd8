"""The house holds: who imports whom, how long a file is, what `import refnorm` costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import refnorm

ROOT = Path(refnorm.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MAY_ENTER = {
    "autodiff": "",
    "oracles": "",
    "operations": "autodiff",
    "anatomy": "operations autodiff",
    "kernels": "anatomy operations",
    "methods": "anatomy operations autodiff",
    "data": "methods anatomy autodiff",
    "strategies": "methods anatomy",
    "nets": "methods anatomy operations autodiff data",
    "conformance": "methods anatomy operations autodiff oracles data strategies",
    "proofs": "methods anatomy operations autodiff oracles",
    "display": "claims proofs conformance methods anatomy",
    "bench": "methods anatomy operations autodiff kernels conformance",
    "analysis": "nets methods anatomy operations autodiff data",
    "claims": "analysis nets methods anatomy operations autodiff data",
    "atlas": "claims analysis nets methods anatomy operations autodiff proofs conformance data display",
}
TOP = {"__init__", "__main__", "cli"}


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path):
    """The rooms of refnorm that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".")
            if node.level:
                package = path.relative_to(ROOT).parent.parts
                parts = ["refnorm", *package[: len(package) - node.level + 1], *[p for p in parts if p]]
            if parts[0] == "refnorm":
                yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("refnorm."))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downward_only(path):
    here = room(path)
    if here in TOP:
        return
    allowed = {here, *MAY_ENTER[here].split()}
    wrong = {r for r in imported(path) if r not in allowed and (r in MAY_ENTER or r in TOP)}
    assert not wrong, f"{here} may not import {wrong}"


def test_the_import_rule_can_fail(tmp_path):
    path = ROOT / "operations" / "imaginary.py"
    source = "from refnorm.methods import batch\nfrom ..anatomy import area\n"
    rooms = set()
    for node in ast.parse(source).body:
        assert isinstance(node, ast.ImportFrom)
    fake = type("P", (), {"read_text": lambda self: source, "relative_to": lambda self, r: path.relative_to(r)})()
    rooms.update(imported(fake))
    assert rooms == {"methods", "anatomy"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_is_a_drawer(path):
    assert path.stem not in {"utils", "helpers", "common", "misc"}


def test_operations_read_like_mathematics():
    """They import NumPy, autodiff.matrix and each other, nothing else, so that the same text is traced."""
    for path in (ROOT / "operations").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                standard = {"typing", "collections.abc", "dataclasses", "__future__"}
                assert node.module in {*standard, "refnorm.autodiff.matrix", "refnorm.autodiff"}
            if isinstance(node, ast.Import):
                assert {a.name for a in node.names} <= {"numpy", "math"}


def test_importing_refnorm_loads_nothing_heavy():
    code = "import sys, refnorm; print(*sorted(sys.modules))"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {"numba", "scipy", "hypothesis", "rich", "mpmath", "torch", "matplotlib", "jinja2"}
