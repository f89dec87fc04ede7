"""
Returned rows on SQLite: a statement with RETURNING ends when its rows have been fetched, and not before.

Until then what it writes without a transaction is not committed, and inside one no savepoint can begin, as the outbox
needs. So the watcher fetches the rows at once, and the cursor gives them from here; only then is what was written
invalidated. Other databases end such a statement before they return a row.
"""

from collections.abc import Iterator
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper


class ReturnedRows:
    """Stands in the place of the driver's cursor, until that runs another statement."""

    def __init__(self, wrapper: Any, cursor: Any, rows: list[Any]) -> None:
        """Hold the rows of the last statement of a cursor, and Django's wrapper around it."""
        self._wrapper = wrapper
        self._cursor = cursor
        self._rows = iter(rows)

    def fetchone(self) -> Any:
        """Return the next row, None behind the last."""
        return next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """Return some of the next rows."""
        count = self._cursor.arraysize if size is None else size
        return [row for _, row in zip(range(count), self._rows, strict=False)]

    def fetchall(self) -> list[Any]:
        """Return all further rows."""
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over all further rows."""
        return self._rows

    def execute(self, *args: Any) -> Any:
        """Run another statement: the cursor gives its own rows again."""
        self._wrapper.cursor = self._cursor
        return self._cursor.execute(*args)

    def executemany(self, *args: Any) -> Any:
        """Do as `execute()`."""
        self._wrapper.cursor = self._cursor
        return self._cursor.executemany(*args)

    def __getattr__(self, name: str) -> Any:
        """Leave all else to the driver's cursor."""
        return getattr(self._cursor, name)


def fetch(connection: BaseDatabaseWrapper, wrapper: Any) -> None:
    """Fetch the rows that a statement returns which has just run, if only that ends it."""
    if connection.vendor == "sqlite" and wrapper.description:
        cursor = wrapper.cursor
        wrapper.cursor = ReturnedRows(wrapper, cursor, wrapper.fetchall())
