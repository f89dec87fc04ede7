"""What catches exceptions lets those of a signal's handler pass."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import cachedeco

PACKAGE = Path(cachedeco.__file__).parent
TREES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text())
    for path in sorted(PACKAGE.rglob("*.py"))
}
# Calls that raise an interrupt again; `is_interrupt` and `raise` decide themselves.
PASSES = {"pass_interrupt", "pass_on", "is_interrupt"}
# Where the exception goes on as an outcome, or nothing can be raised.
EXEMPT = {
    ("loading.materializing", "materialize"),  # the driver raises it
    ("runtime.background", "_run_detached"),  # in a thread that runs no handlers
    ("storage.connections", "__del__"),
}


def catching(node: ast.AST, function: str = "") -> Iterator[tuple[str, ast.ExceptHandler | ast.Call]]:
    """Give each `except Exception` and `suppress(Exception)`, with the function around it."""
    for child in ast.iter_child_nodes(node):
        inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        if isinstance(child, ast.ExceptHandler):
            yield from [(inside, child)] if child.type and ast.unparse(child.type) == "Exception" else []
        elif isinstance(child, ast.Call):
            yield from [(inside, child)] if ast.unparse(child) == "suppress(Exception)" else []
        yield from catching(child, inside)


def lets_pass(node: ast.AST) -> bool:
    """Tell whether a handler begins by passing interrupts on, or raises all that it has caught."""
    if not isinstance(node, ast.ExceptHandler):
        return False
    first = node.body[0]
    if isinstance(first, ast.Raise):
        return True
    called = {ast.unparse(each.func).rpartition(".")[2] for each in ast.walk(first) if isinstance(each, ast.Call)}
    return bool(called & PASSES)


@pytest.mark.parametrize("module", [name for name in TREES if name.partition(".")[0] not in {"testing", "management"}])
def test_what_catches_any_exception_lets_interrupts_pass(module: str) -> None:
    """An `except Exception` begins with `pass_interrupt()`, and none is suppressed."""
    found = [(function, node.lineno) for function, node in catching(TREES[module]) if not lets_pass(node)]

    assert [] == [(function, line) for function, line in found if (module, function) not in EXEMPT]


# In loading.promise it is what a thread waits with, and in testing.races what a test does.
@pytest.mark.parametrize("module", [name for name in TREES if name not in {"loading.promise", "testing.races"}])
def test_locks_are_reentrant_and_never_stay_taken(module: str) -> None:
    """A signal's handler, or a finalizer, may use the cache while its own thread holds one."""
    imported = {
        name.name
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.ImportFrom) and node.module == "threading"
        for name in node.names
    }

    assert not imported & {"Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"}
