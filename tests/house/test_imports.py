"""The house: imports run downwards between packages and inside each, and public names have docstrings."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter

from tests.house.modules import CORE, DOORS, PACKAGE, PACKAGES, PATHS, tree_of

MOST_AT_THE_TOP = 10
MOST_LINES = 500


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


def test_imports_run_downwards_between_packages() -> None:
    """A module of the core imports its own package and those below it: no door, and nothing above."""
    places = {package: place for place, package in enumerate(PACKAGES)}
    arrows = [(module, name) for module in CORE for _, name in imported(tree_of(module))]

    assert len(arrows) > len(CORE)
    assert [] == [
        (module, name)
        for module, name in arrows
        if places.get(name.partition(".")[0], len(places)) > places[module.partition(".")[0]]
    ]


def test_imports_inside_a_package_have_no_circle() -> None:
    """The modules of the core can be put in an order in which each imports earlier ones only."""
    arrows = {module: {name for _, name in imported(tree_of(module))} & set(CORE) for module in CORE}

    assert sorted(CORE) == sorted(TopologicalSorter(arrows).static_order())


def test_imports_stand_at_the_top() -> None:
    """An import of ours inside a function of the core has a comment that says why; doors wait for Django."""
    inside = {
        (module, statement.lineno)
        for module in CORE
        for function in ast.walk(tree_of(module))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for statement, _ in imported(function)
    }

    assert [] == [
        (module, line) for module, line in inside if "#" not in PATHS[module].read_text().splitlines()[line - 1]
    ]


def test_file_is_one_idea() -> None:
    """A file stays short enough to be read from top to bottom."""
    lengths = {module: len(path.read_text().splitlines()) for module, path in PATHS.items()}

    assert {} == {module: length for module, length in lengths.items() if length >= MOST_LINES}


def test_public_names_have_docstrings() -> None:
    """Each module, and each public class and function in it, has a docstring."""
    public = [
        (module, node)
        for module in CORE
        for tree in [tree_of(module)]
        for scope in [tree, *(each for each in tree.body if isinstance(each, ast.ClassDef))]
        for node in scope.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list)
    ]

    assert [] == [(module, node.name) for module, node in public if not ast.get_docstring(node)]
    assert [] == [module for module in CORE if not ast.get_docstring(tree_of(module))]
