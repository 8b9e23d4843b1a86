"""What is in the repository fits together: packages, package data, constraints, commands of make, links of the docs."""

from __future__ import annotations

import re
import subprocess
import tomllib
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
SHIPPED = ("cli", "search", "reports", "evaluators", "spaces", "examples", "testing")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {normal(name): version for name, version in pairs}


def test_every_folder_with_modules_is_a_listed_package() -> None:
    modules = [path for name in SHIPPED for path in (ROOT / name).rglob("*.py")]
    folders = {".".join(("espalier", *path.parent.relative_to(ROOT).parts)) for path in modules}
    assert folders | {"espalier"} == set(SETUPTOOLS["packages"])


def test_everything_that_is_not_a_module_is_package_data() -> None:
    patterns = [
        f"{package.removeprefix('espalier.').replace('.', '/')}/{pattern}"
        for package, globs in SETUPTOOLS["package-data"].items()
        for pattern in globs
    ]
    files = [p.relative_to(ROOT).as_posix() for name in SHIPPED for p in (ROOT / name).rglob("*") if p.is_file()]
    data = [f for f in files if not f.endswith(".py") and "__pycache__" not in f]
    assert data
    assert [f for f in data if not any(fnmatch(f, pattern) for pattern in patterns)] == []


def test_every_direct_dependency_is_pinned_and_in_range() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = [*PROJECT["project"]["dependencies"], *(r for extra in extras for r in extra)]
    names = {normal(re.split(r"[\[<>=]", requirement)[0]) for requirement in wanted} - {"espalier"}
    assert names <= pinned().keys()
    assert "torch" in names
    assert pinned()["torch"] == "2.13.0"


def test_everything_that_espalier_needs_is_pinned_transitively() -> None:
    todo, seen = ["espalier"], set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for requirement in metadata.requires(name) or ():
            needed, _, marker = requirement.partition(";")
            dependency = normal(re.split(r"[\s\[<>=!~(]", needed.strip())[0])
            if "extra ==" not in marker and _installed(dependency):
                todo.append(dependency)
    assert sorted(seen - {"espalier"} - pinned().keys()) == []


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def test_pins_are_exact_and_name_no_local_build() -> None:
    for name, version in pinned().items():
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), f"{name}=={version}"


@pytest.mark.parametrize("target", ["demo", "test", "test-all", "lint", "bench"])
def test_make_knows_its_targets(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_ci_runs_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_of_the_documents_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)\s]+)\)", text) if not t.startswith(("http:", "https:"))]
    for target in targets:
        file, _, anchor = target.partition("#")
        linked = (path.parent / file) if file else path
        assert linked.exists(), f"{path.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), flags=re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in anchors, f"{path.name} links to {target}"


FLOORS = ("cli", "search", "reports", "evaluators", "spaces", "testing", "examples", "benchmarks")


@pytest.mark.parametrize("floor", FLOORS)
def test_the_tests_of_a_module_lie_where_the_module_does(floor: str) -> None:
    """A test file named after a module mirrors its folder, and no folder of tests is without one of the package."""
    places: dict[str, set[Path]] = {}
    for module in (ROOT / floor).rglob("*.py"):
        places.setdefault(module.stem, set()).add(module.parent.relative_to(ROOT))
    for test in (ROOT / "tests" / floor).rglob("test_*.py"):
        here = test.parent.relative_to(ROOT / "tests")
        assert (ROOT / here).is_dir(), f"{test.relative_to(ROOT)} mirrors no folder of the package"
        wanted = places.get(test.stem.removeprefix("test_"), {here})
        assert here in wanted, f"{test.relative_to(ROOT)} tests a module of {', '.join(map(str, sorted(wanted)))}"
