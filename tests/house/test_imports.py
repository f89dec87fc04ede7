"""The house: imports run downwards between packages and inside each, and public names have docstrings."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import cachedeco

# From the ground up. A package may import those before it, and none after.
PACKAGES = ["runtime", "storage", "invalidation", "tracking", "loading", "keys", "functions"]
# Each can be deleted: no package imports them.
DOORS = ["auditing", "backends", "checks", "contrib", "diagnosis", "management", "outbox", "testing"]
MOST_AT_THE_TOP = 10
MOST_LINES = 500

PACKAGE = Path(cachedeco.__file__).parent
PATHS = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "migrations" not in path.parts
}
TREES = {name: ast.parse(path.read_text()) for name, path in PATHS.items()}
CORE = [name for name in TREES if name.partition(".")[0] in PACKAGES]

modules = pytest.mark.parametrize("module", TREES)


def imported(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Give each import of one of our modules, with the module's name as in `PATHS`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "cachedeco":
            below = node.module.partition(".")[2]
            for alias in node.names:
                whole = f"{below}.{alias.name}".removeprefix(".")
                yield node, whole if whole in PATHS else below or "__init__"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                package, _, below = alias.name.partition(".")
                if package == "cachedeco":
                    yield node, below or "__init__"


def test_packages_and_doors_are_the_folders() -> None:
    """Every folder is a package of the core or a door, and the contributing page names each."""
    folders = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    text = (PACKAGE.parent / "docs" / "contributing.md").read_text()

    assert {*PACKAGES} <= {*folders} <= {*PACKAGES, *DOORS}
    assert [] == [name for name in folders if f"{name}/" not in text]


def test_few_modules_stand_at_the_top() -> None:
    """The top folder has the front door, the app and what settings name, and not the core."""
    assert len(list(PACKAGE.glob("*.py"))) <= MOST_AT_THE_TOP


@pytest.mark.parametrize("module", CORE)
def test_imports_run_downwards_between_packages(module: str) -> None:
    """A module of the core imports its own package and those below it: no door, and nothing above."""
    package = module.partition(".")[0]
    below = PACKAGES[: PACKAGES.index(package) + 1]

    assert [] == [name for _, name in imported(TREES[module]) if name.partition(".")[0] not in below]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_inside_a_package_have_no_circle(package: str) -> None:
    """The modules of a package can be put in an order in which each imports earlier ones only."""
    inside = [name for name in CORE if name.partition(".")[0] == package]
    arrows = {name: {target for _, target in imported(TREES[name])} & set(inside) for name in inside}

    assert sorted(inside) == sorted(TopologicalSorter(arrows).static_order())


@pytest.mark.parametrize("module", CORE)
def test_imports_stand_at_the_top(module: str) -> None:
    """An import of ours inside a function of the core has a comment that says why; doors wait for Django."""
    lines = PATHS[module].read_text().splitlines()
    inside = {
        statement
        for function in ast.walk(TREES[module])
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for statement, _ in imported(function)
    }

    assert [] == [each.lineno for each in inside if "#" not in lines[each.lineno - 1]]


@modules
def test_file_is_one_idea(module: str) -> None:
    """A file stays short enough to be read from top to bottom."""
    assert len(PATHS[module].read_text().splitlines()) < MOST_LINES


@pytest.mark.parametrize("module", CORE)
def test_public_names_have_docstrings(module: str) -> None:
    """Each module, and each public class and function in it, has a docstring."""
    tree = TREES[module]
    public = [
        node
        for scope in [tree, *(each for each in tree.body if isinstance(each, ast.ClassDef))]
        for node in scope.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list)
    ]

    assert [] == [node.name for node in public if not ast.get_docstring(node)]
    assert ast.get_docstring(tree)
