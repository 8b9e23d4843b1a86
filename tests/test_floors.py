"""The architecture, checked on the source: imports go down the floors only, and `espalier --help` stays light."""

from __future__ import annotations

import ast
import functools
import graphlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BASE = frozenset({"errors", "registry", "jsonfile"})
"""The modules that every floor may use."""
ALLOWED: dict[str, frozenset[str]] = {
    "base": BASE,
    "spaces": BASE | {"spaces"},
    "evaluators": BASE | {"spaces", "evaluators"},
    "search": BASE | {"spaces", "evaluators", "search"},
    "reports": BASE | {"spaces", "evaluators", "reports", "search.run_folder"},
    "examples": BASE | {"root", "spaces", "evaluators", "examples"},
    "testing": BASE | {"root", "spaces", "evaluators", "search", "reports", "testing"},
    "cli": BASE | {"root", "spaces", "evaluators", "search", "reports", "cli"},
    "benchmarks": BASE | {"root", "spaces", "evaluators", "search", "reports", "examples", "testing", "benchmarks"},
    "root": BASE | {"moved_modules", "spaces", "evaluators", "search", "reports"},
    "__main__": BASE | {"cli"},
}
"""What each floor may import. ``root`` is the package itself, which gives every name; ``search.run_folder`` is all of
``search`` that ``reports`` may read."""
PACKAGES = ("spaces", "evaluators", "search", "reports", "examples", "testing", "cli", "benchmarks")
HEAVY = frozenset({"torch", "torch_pruning", "optuna", "plotly", "onnx", "onnxruntime", "sklearn", "numpy", "scipy"})
LONGEST = 400


@dataclass(frozen=True)
class Import:
    """One import of a module: what it names, absolute and without ``espalier.``, and whether it runs at import time."""

    line: int
    target: str
    own: bool
    at_import_time: bool


@functools.cache  # asked for with every import of every module
def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name; the package itself is the empty name."""
    folders = [p for name in PACKAGES for p in sorted((ROOT / name).rglob("*.py"))]
    return {_dotted(path): path for path in [*sorted(ROOT.glob("*.py")), *folders]}


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(name: str, path: Path) -> Iterator[Import]:
    """Yield the imports of one module, of names in the package resolved to the module that holds them."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    yield from _imports(ast.parse(path.read_text(encoding="utf-8")).body, package, at_import_time=True)


def _imports(body: Sequence[ast.AST], package: str, *, at_import_time: bool) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _one(node.lineno, alias.name, [], at_import_time)
        elif isinstance(node, ast.ImportFrom):
            origin = _absolute(package, node.level, node.module)
            yield from _one(node.lineno, origin, [alias.name for alias in node.names], at_import_time)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _imports([*node.body, *node.orelse], package, at_import_time=False)
        else:
            inner = at_import_time and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
                    yield from _imports([child], package, at_import_time=inner)


def _absolute(package: str, level: int, module: str | None) -> str:
    if level == 0:
        return module or ""
    parents = package.split(".") if package else []
    kept = parents[: len(parents) - level + 1]
    return ".".join(["espalier", *kept, *([module] if module else [])])


def _one(line: int, origin: str, names: list[str], at_import_time: bool) -> Iterator[Import]:
    if origin != "espalier" and not origin.startswith("espalier."):
        yield Import(line, origin, own=False, at_import_time=at_import_time)
        return
    inside = origin.removeprefix("espalier").lstrip(".")
    known = modules()
    for name in names or [""]:
        deeper = ".".join(part for part in (inside, name) if part)
        yield Import(line, deeper if deeper in known else inside, own=True, at_import_time=at_import_time)


MODULES = modules()
IMPORTS = {name: tuple(imports(name, path)) for name, path in MODULES.items()}


def floor(name: str) -> str:
    """Return the floor that a module stands on."""
    first = name.partition(".")[0]
    if first in PACKAGES or first == "__main__":
        return first
    return "base" if first else "root"


def permitted(importer: str, target: str) -> bool:
    """Return whether one module may import another."""
    allowed = ALLOWED[floor(importer)]
    first = target.partition(".")[0] or "root"
    return first in allowed or any(target == a or target.startswith(f"{a}.") for a in allowed if "." in a)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down_the_floors(name: str) -> None:
    upward = [f"line {i.line}: {i.target}" for i in IMPORTS[name] if i.own and not permitted(name, i.target)]
    assert not upward, f"{name or '__init__'} imports up the floors or across them: {upward}"


def test_no_module_needs_itself_to_be_imported() -> None:
    needs = {
        name: {i.target for i in found if i.own and i.at_import_time and i.target != name and i.target in MODULES}
        for name, found in IMPORTS.items()
        if name  # the package itself gives its names lazily
    }
    try:
        tuple(graphlib.TopologicalSorter(needs).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("name", [n for n in MODULES if floor(n) in ("cli", "root", "__main__")])
def test_the_command_line_imports_heavy_libraries_only_inside_functions(name: str) -> None:
    heavy = [i for i in IMPORTS[name] if i.at_import_time and not i.own and i.target.partition(".")[0] in HEAVY]
    assert not heavy, f"{name or '__init__'} makes `espalier --help` slow: {heavy}"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_postpones_annotations_and_says_what_it_is(name: str) -> None:
    text = MODULES[name].read_text(encoding="utf-8")
    tree = ast.parse(text)
    documented = ast.get_docstring(tree) is not None
    code = len(tree.body) - documented
    postponed = "from __future__ import annotations" in text
    assert code == 0 or postponed, f"{name or '__init__'} lacks the __future__ import"
    assert code <= 1 or documented, f"{name or '__init__'} has no docstring"


FILES = {str(path.relative_to(ROOT)): path for path in [*MODULES.values(), *sorted((ROOT / "tests").rglob("*.py"))]}


@pytest.mark.parametrize("name", FILES)
def test_no_file_is_too_long_to_read(name: str) -> None:
    lines = len(FILES[name].read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST, f"{lines} lines: which idea in it deserves its own file?"


@pytest.mark.parametrize(
    ("importer", "target", "expected"),
    [
        ("spaces.graph.trace", "evaluators.task.task", False),
        ("reports.html", "search.run_folder", True),
        ("reports.html", "search.study", False),
        ("search.study", "reports.html", False),
        ("evaluators.task.task_loading", "examples.digits", False),
        ("cli.search", "reports.html", True),
        ("evaluators.task.task", "spaces.graph.groups", True),
        ("errors", "spaces.graph.groups", False),
    ],
)
def test_the_rule_itself(importer: str, target: str, expected: bool) -> None:
    assert permitted(importer, target) is expected


def test_relative_imports_are_resolved() -> None:
    source = "import json\nfrom ..errors import describe\ndef f():\n    from .digits import task\n"
    found = list(_imports(ast.parse(source).body, "examples", at_import_time=True))
    assert [(i.target, i.own, i.at_import_time) for i in found[1:]] == [
        ("errors", True, True),
        ("examples.digits", True, False),
    ]
