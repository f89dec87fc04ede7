"""
A promise: a value that one thread sets once, and that others wait for.

`concurrent.futures.Future` guards its value by a condition, whose methods are Python code: an exception of a signal's
handler at the wrong line of it leaves the condition locked, and then all that wait do so for ever. Here each step is
one operation of a list or of a lock, and what is interrupted can be repeated.
"""

from collections.abc import Callable
from contextlib import suppress
from threading import TIMEOUT_MAX, Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Promise(Generic[T]):
    """A value to come. Thread-safe."""

    __slots__ = ("_callbacks", "is_kept", "value")

    def __init__(self) -> None:
        """Begin without a value."""
        self.is_kept = False
        self.value: T | None = None  #: None until it is kept
        self._callbacks: list[Callable[[], object]] = []

    def keep(self, value: T) -> None:
        """Set the value, unless there is one, and wake all that wait. To be repeated after an interrupt."""
        if not self.is_kept:
            self.value = value
            self.is_kept = True
        while self._callbacks:
            with suppress(IndexError):  # another thread was quicker
                self._callbacks[-1]()
                self._callbacks.pop()

    def result(self, seconds: float) -> T | None:
        """Return the value; None if there is none after so many seconds."""
        if not self.is_kept and seconds > 0:
            lock = Lock()
            lock.acquire()
            self.call_when_kept(lambda: _release(lock))
            lock.acquire(timeout=min(seconds, TIMEOUT_MAX))
        return self.value

    def call_when_kept(self, callback: Callable[[], object]) -> None:
        """Call a function when there is a value, at once if there is one; perhaps more than once."""
        self._callbacks.append(callback)
        if self.is_kept:
            callback()


def _release(lock: Lock) -> None:
    """Release a lock that may have been released."""
    with suppress(RuntimeError):
        lock.release()
