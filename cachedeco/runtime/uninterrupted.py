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
Outcome = tuple[Any, BaseException | None]


def uninterrupted(function: Callable[[], T]) -> T:
    """
    Return what a function returns that no handler of a signal interrupts: the main thread has another one call it.

    What it raises is raised. What interrupts the wait for it is raised, too, and the function is called all the same.

    The other thread ends with the call. Python aborts where one is left at the end of a sub-interpreter, as mod_wsgi
    uses them, and a child that a server forks behind Python's back would wait for one of its parent's.

    Raises:
        RuntimeError: The interpreter is ending.
    """
    if current_thread() is not main_thread():
        return function()
    if sys.is_finalizing():  # the thread would not run
        msg = "the interpreter is ending"
        raise RuntimeError(msg)
    outcomes: SimpleQueue[Outcome] = SimpleQueue()
    start_new_thread(_call, (function, outcomes))  # one operation, unlike `Thread.start()`
    result, error = outcomes.get()
    try:
        if error is not None:
            raise error
    finally:
        del error  # or it and this frame would be a reference cycle
    returned: T = result
    return returned


def _call(function: Callable[[], object], outcomes: SimpleQueue[Outcome]) -> None:
    try:
        outcomes.put((function(), None))
    except BaseException as error:  # noqa: BLE001 -- raised where it is waited for
        outcomes.put((None, error))
