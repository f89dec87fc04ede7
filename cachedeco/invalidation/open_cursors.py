"""
Open cursors on SQLite: a cursor whose rows are not fetched to the end keeps its snapshot, in WAL mode.

All statements of the connection see that snapshot meanwhile, as in `for club in clubs.iterator(): page(club)`. In the
other modes no writer commits while a cursor is open.

A cursor that somebody still holds is often read to the end, or closed. SQLite knows, and tells it in one way only: it
refuses to replace a function while a statement is under way.
"""

from typing import Any, Final
from weakref import ref

from django.db.backends.base.base import BaseDatabaseWrapper

# References that are kept before those of cursors that are gone are dropped.
MOST_REFERENCES: Final = 20
# The function that is replaced; nobody calls it.
FUNCTION: Final = "cachedeco_open_cursors"


class OpenCursors:
    """A wrapper of statements that remembers the cursors of one connection, as long as they are used."""

    def __init__(self) -> None:
        """Start without cursors."""
        self._references: list[ref[Any]] = []

    def __call__(self, execute: Any, sql: Any, params: Any, many: Any, context: dict[str, Any]) -> Any:
        """Run a statement, and remember its cursor."""
        result = execute(sql, params, many, context)
        if len(self._references) >= MOST_REFERENCES:
            self._references = [each for each in self._references if each() is not None]
        self._references.append(ref(context["cursor"]))
        return result

    def are_open(self, connection: BaseDatabaseWrapper, own: object) -> bool:
        """Tell whether a cursor other than *own* may be open."""
        # First, as SQLite prepares all statements anew after a function was replaced. Django drops its own cursors.
        if not any(each() is not None and each() is not own for each in self._references):
            return False
        driver: Any = connection.connection
        try:
            driver is None or driver.create_function(FUNCTION, 0, int)
        except connection.Database.Error:  # type: ignore[attr-defined] # the driver's module
            return True
        return False


def follow(connection: BaseDatabaseWrapper) -> None:
    """Remember the cursors of a connection that was just made, if its snapshots can be old."""
    wrappers = connection.execute_wrappers
    wrappers[:] = [each for each in wrappers if not isinstance(each, OpenCursors)]
    follow_again(connection)


def follow_again(connection: BaseDatabaseWrapper) -> None:
    """Do as `follow()` if a connection is not followed: somebody may have emptied the list of its wrappers."""
    wrappers = connection.execute_wrappers
    if any(isinstance(each, OpenCursors) for each in wrappers):
        return
    if connection.vendor == "sqlite":
        driver: Any = connection.connection
        [mode] = driver.execute("PRAGMA journal_mode").fetchone()
        if mode == "wal":
            driver.create_function(FUNCTION, 0, int)  # it must be there, to be replaced
            wrappers.insert(1, OpenCursors())


def keep_snapshot(connection: BaseDatabaseWrapper, own: object = None) -> bool:
    """Tell whether an open cursor of a connection, other than *own*, may keep an old snapshot."""
    return any(isinstance(each, OpenCursors) and each.are_open(connection, own) for each in connection.execute_wrappers)
