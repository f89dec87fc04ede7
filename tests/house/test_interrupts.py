"""What catches exceptions lets those of a signal's handler pass."""

import ast
from collections.abc import Iterator

from tests.house.modules import PATHS, tree_of

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


def test_what_catches_any_exception_lets_interrupts_pass() -> None:
    """An `except Exception` begins with `pass_interrupt()`, and none is suppressed."""
    found = [
        (module, function, node.lineno)
        for module in PATHS
        if module.partition(".")[0] not in {"testing", "management"}
        for function, node in catching(tree_of(module))
        if not lets_pass(node)
    ]

    assert len(found) >= len(EXEMPT)
    assert [] == [place for place in found if place[:2] not in EXEMPT]


def test_locks_are_reentrant_and_never_stay_taken() -> None:
    """A signal's handler, or a finalizer, may use the cache while its own thread holds one."""
    imported = {
        (module, name.name)
        for module in PATHS
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.ImportFrom) and node.module == "threading"
        for name in node.names
    }
    locks = {"Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"}

    # With the one a thread waits, and with the other a test does.
    assert {"loading.promise", "testing.races"} & PATHS.keys() == {module for module, name in imported if name in locks}
