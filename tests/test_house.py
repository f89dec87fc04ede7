"""The house: imports run downwards, files and functions stay short, what is public is described."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import cachedeco

# From the ground up. A module may import those before it, and none after.
FLOORS = [
    "forks", "signing", "encoders", "events", "accepted", "conf", "transactions", "breaker", "store", "formats",
    "entries", "journal", "invalidation", "rows", "namespaces", "relations", "receivers", "expressions",
    "dependencies", "keys", "nesting", "values", "background", "steps", "keeping", "batch", "computing", "leases",
    "flights", "refreshing", "auditing", "bulk", "options", "recipe", "reach", "cached", "many", "decorator",
    "__init__",
]  # fmt: skip
# They are taken away by deleting a file: nothing inside may need them.
DOORS = ["apps", "backends", "checks", "checks_caches", "management", "managers", "outbox", "tasks"]
LONGEST_FILE = 350
LONGEST_FUNCTION = 30

PACKAGE = Path(cachedeco.__file__).parent
TREES = {path.stem: ast.parse(path.read_text()) for path in sorted(PACKAGE.glob("*.py"))}
SOURCES = {path.stem: path.read_text().splitlines() for path in sorted(PACKAGE.glob("*.py"))}

INSIDE = [name for name in TREES if name in FLOORS]
modules = pytest.mark.parametrize("module", TREES)
inside = pytest.mark.parametrize("module", INSIDE)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def imports(node: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Give each import of one of our modules under a node, with the module's name."""
    for each in ast.walk(node):
        if isinstance(each, ast.ImportFrom) and each.module and each.module.partition(".")[0] == "cachedeco":
            below = each.module.partition(".")[2].partition(".")[0]
            for alias in [below] if below else [name.name for name in each.names]:
                yield each, alias
        elif isinstance(each, ast.Import):
            for name in each.names:
                package, _, below = name.name.partition(".")
                if package == "cachedeco":
                    yield each, below or "__init__"


def functions(module: str) -> list[Function]:
    """Return the functions and methods of a module."""
    return [node for node in ast.walk(TREES[module]) if isinstance(node, Function)]


def code_lines(module: str, function: Function) -> int:
    """Count the lines of a function's body, without docstring, comments and blank lines."""
    nodes = function.body[1:] if ast.get_docstring(function) else function.body
    if not nodes:
        return 0
    body = range(nodes[0].lineno, (function.end_lineno or 0) + 1)
    lines = [SOURCES[module][n - 1].strip() for n in body]
    return sum(bool(line) and not line.startswith("#") for line in lines)


def test_every_floor_is_there() -> None:
    """The list of floors names what exists."""
    assert set() == set(FLOORS) - set(TREES)


def test_every_module_is_on_the_map() -> None:
    """Who looks for a room finds it on the map of docs/contributing.md."""
    text = (PACKAGE.parent / "docs" / "contributing.md").read_text()
    packages = [f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")]

    assert [] == [name for name in [*packages, *[path.name for path in PACKAGE.glob("*.py")]] if name not in text]


@inside
def test_imports_run_downwards(module: str) -> None:
    """A module imports what lies below it: nothing above, no door, and so in no circle."""
    below = FLOORS[: FLOORS.index(module)]

    assert [] == [name for _, name in imports(TREES[module]) if name not in below]


@modules
def test_imports_stand_at_the_top(module: str) -> None:
    """An import of ours inside a function says in a comment why it is there."""
    found = [
        SOURCES[module][statement.lineno - 1].strip()
        for function in functions(module)
        for statement, _ in imports(function)
    ]

    assert [] == [line for line in found if " -- " not in line.partition("#")[2]]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_file_is_short(path: Path) -> None:
    """A file is read from top to bottom in a few minutes."""
    assert len(path.read_text().splitlines()) < LONGEST_FILE


@modules
def test_functions_are_short(module: str) -> None:
    """A function is seen at one glance."""
    long = {each.name: code_lines(module, each) for each in functions(module)}

    assert {} == {name: lines for name, lines in long.items() if lines > LONGEST_FUNCTION}


@modules
def test_public_names_are_described(module: str) -> None:
    """Each module, and each public class and function in it, has a docstring."""
    tree = TREES[module]
    public = [
        node
        for scope in [tree, *(each for each in tree.body if isinstance(each, ast.ClassDef))]
        for node in scope.body
        if isinstance(node, Function | ast.ClassDef)
        and not node.name.startswith("_")
        and not any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list)
    ]

    assert [] == [node.name for node in public if not ast.get_docstring(node)]
    assert ast.get_docstring(tree)
