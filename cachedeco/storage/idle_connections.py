"""
Idle connections to a server of memcached or Redis: kept from one command to the next, each for one caller at a time.

A caller puts a connection back only after it has read the whole answer. After an exception, an interrupt or a killed
greenlet the connection does not return, so the next caller never reads the rest of an old answer.

Thread-safe without a lock, since pushing to and popping from a deque are atomic; so a fork never happens while a lock
is held. In a forked child a connection may be closed: that sends nothing to the server, and leaves the parent's open.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TypeVar

C = TypeVar("C")  # a connection


class IdleConnections(deque[tuple[C, float]]):
    """The idle connections to one server, each with the time since when it is idle, the latest last."""

    def __init__(self, close: Callable[[C], object], *, most: float, seconds: float) -> None:
        """Keep at most so many, each for so many seconds; *close* closes one."""
        super().__init__()
        self._close = close
        self._most = most
        self._seconds = seconds

    def take(self, is_usable: Callable[[C], object]) -> C | None:
        """Return the latest connection that is usable, and close others on the way; None if there is none."""
        while True:
            try:
                connection, since = self.pop()
            except IndexError:
                return None
            try:
                if monotonic() - since <= self._seconds and is_usable(connection):
                    return connection
            except BaseException:  # to ask a socket of gevent lets others run, and a Timeout fall
                self._close(connection)
                raise
            self._close(connection)

    def put(self, connection: C) -> None:
        """Keep a connection after a complete answer; close it if enough are kept."""
        if len(self) < self._most:
            self.append((connection, monotonic()))
        else:
            self._close(connection)

    def prune(self) -> None:
        """Close those that were idle for too long. The latest are taken first, so that others can time out."""
        limit = monotonic() - self._seconds
        with suppress(IndexError):  # none is left, of which another thread may have taken the last
            while True:
                connection, since = self.popleft()  # not only looked at: another thread may be here, too
                if since >= limit:
                    self.appendleft((connection, since))
                    return
                self._close(connection)

    def clear(self) -> None:
        """Close all."""
        with suppress(IndexError):
            while True:
                self._close(self.pop()[0])
