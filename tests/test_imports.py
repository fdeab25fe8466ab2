"""Imports go one way, queries -> lake <- builders, and every package is declared: read from the syntax trees."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("lake", "builders", "queries")
ALLOWED = {"lake": {"lake"}, "builders": {"builders", "lake"}, "queries": {"queries", "lake"}}
IMPORT_NAMES = {"scikit-learn": "sklearn", "pillow": "PIL"}
COMES_WITH = {"llvmlite": "numba", "markupsafe": "jinja2", "pydantic_core": "pydantic", "yaml": "huggingface_hub"}
"""What a declared dependency cannot be without."""
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported(tree: ast.AST) -> Iterator[str]:
    """Top-level names of everything that is imported, also inside functions and by `import_module("...")`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "a relative import" if node.level else str(node.module).split(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (a.value.split(".")[0] for a in node.args[:1] if isinstance(a, ast.Constant))


def test_the_trees_are_really_read():
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(PACKAGES)
    assert len(MODULES) > 30
    source = "import lake.store as s\ndef f():\n    from builders import x\n    import_module('queries.run')\nfrom . import y"
    assert list(imported(ast.parse(source))) == ["lake", "a relative import", "builders", "queries"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    names = set(imported(ast.parse(path.read_text("utf-8"))))
    assert "a relative import" not in names
    assert names & {*PACKAGES, "tests"} <= ALLOWED[path.relative_to(ROOT).parts[0]]


def test_everything_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [line for name, lines in project["optional-dependencies"].items() if name != "dev" for line in lines]
    declared = {re.split("[<>=[]", line)[0].strip() for line in [*project["dependencies"], *extras]}
    known = {IMPORT_NAMES.get(name, name) for name in declared} | sys.stdlib_module_names | set(PACKAGES)
    used = {name for path in MODULES for name in imported(ast.parse(path.read_text("utf-8")))}
    assert {name for name in used - known if COMES_WITH.get(name) not in declared} == set()
