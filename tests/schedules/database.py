"""
The database of a schedule: rows of the world, and what an open transaction of an actor has written and not committed.

Django's own code runs the transactions. The commit is one step, and in doubt if the answer to it is lost.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.db.backends.sqlite3 import base

from tests.schedules import simulation

ALIAS = "schedules"
SETTINGS = {"ENGINE": "tests.schedules.database_engine", "NAME": ":memory:"}


class SteppedDatabase(base.DatabaseWrapper):
    """A database as Django knows it. Each read has a snapshot of its own, unless the connection keeps one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin without a transaction."""
        super().__init__(*args, **kwargs)
        self.isolation_level: str | None = "read committed"
        self.written: dict[str, int] = {}
        self.snapshot: dict[str, int] | None = None
        self.has_open_cursor = False

    def ensure_connection(self) -> None:
        """Connect; pytest-django keeps tests from databases, and this is none."""
        if self.connection is None:
            self.connect()

    def read(self, row: str) -> int:
        """Return the version of a row that this connection sees."""
        world = simulation.world()
        rows = world.rows
        if self.keeps_snapshot:
            if self.snapshot is None:
                self.snapshot = dict(rows)
                if world.running:  # of which it has more in the hand than it has read
                    world.running.saw("a snapshot", tuple(rows.items()))
            rows = self.snapshot
        return self.written.get(row, rows.get(row, 0))

    @property
    def keeps_snapshot(self) -> bool:
        """Tell whether all reads have the snapshot of the first one."""
        return self.has_open_cursor or (self.in_atomic_block and self.isolation_level != "read committed")

    @contextmanager
    def open_cursor(self) -> Iterator[None]:
        """Keep a snapshot until the block ends, as SQLite does in WAL mode while rows are left to be fetched."""
        self.has_open_cursor = True
        try:
            yield
        finally:
            self.has_open_cursor = False
            self._end()

    def write(self, row: str) -> int:
        """Write a row, and return its version."""
        version = simulation.world().rows.get(row, 0) + 1
        if self.in_atomic_block:
            self.written[row] = version
        else:
            self.publish({row: version})
        return version

    @staticmethod
    def publish(written: dict[str, int]) -> None:
        """Let all see some versions."""
        world = simulation.world()
        for row, version in written.items():
            world.wrote(row)
            world.rows[row] = version

    def _commit(self) -> None:
        try:
            simulation.step("command", ("commit",), lambda: self.publish(self.written))
            super()._commit()
        finally:
            self._end()

    def _rollback(self) -> None:
        super()._rollback()
        self._end()

    def _end(self) -> None:
        self.written, self.snapshot = {}, None


def here() -> SteppedDatabase:
    """Return this thread's connection."""
    connection = connections[ALIAS]
    assert isinstance(connection, SteppedDatabase)
    return connection


def is_open() -> bool:
    """Tell whether this thread is in a transaction."""
    return any(each.alias == ALIAS and each.in_atomic_block for each in connections.all(initialized_only=True))


@contextmanager
def opened() -> Iterator[SteppedDatabase]:
    """Give a connection of its own to this thread until the block ends: who was stopped leaves nothing to the next."""
    try:
        yield here()
    finally:
        here().run_on_commit.clear()  # a traceback may keep the connection, and its hooks, for a while
        del connections[ALIAS]


@contextmanager
def connected() -> Iterator[None]:
    """Have the database until the block ends."""
    connections.settings[ALIAS] = connections.configure_settings({"default": {}, ALIAS: SETTINGS})[ALIAS]
    try:
        yield
    finally:
        del connections.settings[ALIAS]
