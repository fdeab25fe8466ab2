"""The house rules that a syntax tree can tell: module and function docstrings, sizes, annotations, no assert, nothing swallowed."""

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [path for package in ("lake", "builders", "queries") for path in sorted((ROOT / package).rglob("*.py"))]
TREES = {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in MODULES}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def public(tree: ast.Module) -> Iterator[Function]:
    """Functions of a module and methods of its public classes whose names do not start with an underscore."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for scope in (tree, *classes):
        yield from (node for node in scope.body if isinstance(node, Function) and not node.name.startswith("_"))


def length(function: Function) -> int:
    """Lines from the name to the end, docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 1


@pytest.fixture(params=TREES, scope="module")
def module(request):
    """Name and syntax tree of each module."""
    return request.param, TREES[request.param]


def test_modules_say_what_they_are_and_stay_short(module):
    name, tree = module
    assert ast.get_docstring(tree)
    assert len((ROOT / name).read_text("utf-8").splitlines()) <= 300


def test_public_functions_are_described_and_typed(module):
    _, tree = module
    assert [f.name for f in public(tree) if not ast.get_docstring(f)] == []
    inferred = {inner for f in functions(tree) if _is_compiled(f) for inner in functions(f)}
    assert [f.name for f in functions(tree) if f.returns is None and f not in inferred] == []


def _is_compiled(function: Function) -> bool:
    """Whether numba infers the types of the function and of what stands in it."""
    return any(ast.unparse(d).split("(")[0] in ("njit", "intrinsic", "compiled") for d in function.decorator_list)


def test_nothing_is_asserted_outside_tests(module):
    _, tree = module
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)] == []


def test_nothing_is_swallowed(module):
    _, tree = module
    handlers = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]
    assert [h.lineno for h in handlers if h.type is None or ast.unparse(h.type) == "BaseException"] == []
    assert [h.lineno for h in handlers if all(isinstance(s, ast.Pass) for s in h.body)] == []


def test_no_function_is_long(module):
    _, tree = module
    assert [(f.name, length(f)) for f in functions(tree) if length(f) > 60] == []


def test_most_functions_are_short():
    lengths = [length(f) for tree in TREES.values() for f in functions(tree)]
    assert median(lengths) <= 12
    assert quantiles(lengths, n=10)[-1] <= 30


def test_the_rules_find_what_they_forbid():
    """The control: a module that breaks each rule is found by it."""
    tree = ast.parse(
        "def f(x):\n    assert x\n    try:\n        g()\n    except ValueError:\n        pass\n    except:\n        raise"
    )
    for rule in (
        test_public_functions_are_described_and_typed,
        test_nothing_is_asserted_outside_tests,
        test_nothing_is_swallowed,
    ):
        with pytest.raises(AssertionError):
            rule(("control", tree))
    with pytest.raises(AssertionError):
        test_no_function_is_long(("control", ast.parse("def f():\n" + "    x = 1\n" * 61)))
