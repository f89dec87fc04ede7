"""
`uninterrupted()`: call what an interrupt must not cut short, such as methods of locks that are Python code.

Python runs the handlers of signals in the main thread alone. What one raises in the middle of `Thread.start()`, or of a
`submit()` of an executor, leaves a lock of theirs taken for ever: the next one that submits waits for it, and holds the
lock that those of all executors need.
"""

import sys
from _thread import start_new_thread
from collections.abc import Callable
from queue import SimpleQueue
from threading import current_thread, main_thread
from typing import Any, TypeVar

T = TypeVar("T")

# What the main thread wants to be called, by one thread that never ends. Each step of a SimpleQueue is one operation.
_calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
_is_served = False


def uninterrupted(function: Callable[[], T]) -> T:
    """
    Return what a function returns that no handler of a signal interrupts: the main thread has another one call it.

    What it raises is raised. What interrupts the wait for it is raised, too, and the function is called all the same.

    Raises:
        RuntimeError: The interpreter is ending.
    """
    if current_thread() is not main_thread():
        return function()
    _serve()
    outcomes: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def call() -> None:
        try:
            outcomes.put((function(), None))
        except BaseException as error:  # noqa: BLE001 -- raised below
            outcomes.put((None, error))

    _calls.put(call)
    result, error = outcomes.get()
    if error is not None:
        raise error
    returned: T = result
    return returned


def _serve() -> None:
    """Start the thread, once, or twice after an interrupt: by one operation, unlike `Thread.start()`."""
    global _is_served  # noqa: PLW0603 -- until a fork
    if sys.is_finalizing():  # it runs no more
        msg = "the interpreter is ending"
        raise RuntimeError(msg)
    if not _is_served:
        start_new_thread(_call_each, (_calls,))
        _is_served = True


def _call_each(calls: SimpleQueue[Callable[[], object]]) -> None:
    while True:
        calls.get()()


def begin_anew() -> None:
    """Start another thread in a forked child, which does not have its parent's."""
    global _calls, _is_served
    _calls, _is_served = SimpleQueue(), False
