"""Threads that wait for each other by events: a step of a race happens when the test says so."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from django.db import connections

T = TypeVar("T")

# Far longer than anything takes, also on a machine that does ten other things; a deadlock fails the test instead of
# hanging it.
PATIENCE_SECONDS = 60
# The same for a whole program, which may need the processor for seconds.
PROGRAM_SECONDS = 600


def in_thread(work: Callable[[], T]) -> T:
    """Return what some work gives in a thread of its own, with connections of its own, which it leaves closed."""
    with started(work) as running:
        return running.result(PATIENCE_SECONDS)


@contextmanager
def started(work: Callable[[], T]) -> Iterator[Future[T]]:
    """Run some work in a thread of its own while the block runs; wait for it at the end, and raise what it raised."""

    def run() -> T:
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=1) as executor:
        running = executor.submit(run)
        yield running
        running.result(PATIENCE_SECONDS)


class Gate:
    """
    Stop one passer, and tell when it stands there.

    Open at first. `shut()` stops the next passer, and only that one, until `open()`.
    """

    def __init__(self) -> None:
        """Begin open."""
        self._lock = threading.Lock()
        self._shut = False
        self._reached = threading.Event()
        self._opened = threading.Event()

    def shut(self) -> None:
        """Stop the next passer."""
        with self._lock:
            self._shut = True
            self._reached.clear()
            self._opened.clear()

    def open(self) -> None:
        """Let the thread that waits go on, and stop no other."""
        with self._lock:
            self._shut = False
            self._opened.set()

    def wait_reached(self) -> None:
        """Return when a thread stands at the gate."""
        assert self._reached.wait(PATIENCE_SECONDS), "nobody came to the gate"

    def wait_to_pass(self) -> None:
        """Pass at once, or when the gate opens."""
        with self._lock:
            stopped, self._shut = self._shut, False
        if stopped:
            self._reached.set()
            assert self._opened.wait(PATIENCE_SECONDS), "nobody opened the gate"
