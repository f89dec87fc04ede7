"""
Open cursors on SQLite: a cursor whose rows are not fetched to the end keeps its snapshot, in WAL mode.

All statements of the connection see that snapshot meanwhile, as in `for club in clubs.iterator(): page(club)`. In the
other modes no writer commits while a cursor is open.
"""

from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

# SQLite has no code of its own for it.
IN_PROGRESS: Final = "statements in progress"


def keep_snapshot(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a cursor of a connection that is open may keep an old snapshot."""
    driver: Any = connection.connection
    if connection.vendor != "sqlite" or driver is None or not _has_open_cursor(connection):
        return False
    [mode] = driver.execute("PRAGMA journal_mode").fetchone()
    return bool(mode == "wal")


def _has_open_cursor(connection: Any) -> bool:
    """
    Ask SQLite: it refuses a VACUUM while a statement has rows left, before it refuses NULL as a file to write to.

    To make a function anew, which it refuses as well, makes it prepare every statement anew; and in a sub-interpreter,
    as mod_wsgi uses them, Python may wait for ever.
    """
    try:
        connection.connection.execute("VACUUM INTO NULL")
    except connection.Database.OperationalError as error:
        return IN_PROGRESS in str(error)
    except connection.Database.ProgrammingError:
        pass  # the driver's own connection was closed, and Django does not know
    return False
