"""
Open cursors on SQLite: a cursor whose rows are not fetched to the end keeps its snapshot, in WAL mode.

All statements of the connection see that snapshot meanwhile, as in `for club in clubs.iterator(): page(club)`. In the
other modes no writer commits while a cursor is open.
"""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper


def keep_snapshot(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a cursor of a connection that is open may keep an old snapshot."""
    driver: Any = connection.connection
    if connection.vendor != "sqlite" or driver is None or not _has_open_cursor(connection):
        return False
    [mode] = driver.execute("PRAGMA journal_mode").fetchone()
    return bool(mode == "wal")


def _has_open_cursor(connection: Any) -> bool:
    """Ask SQLite: it refuses to replace a function while a statement has rows left."""
    try:
        for _ in range(2):  # the first time may be the one that makes it
            # A function, not None: a recent SQLite says nothing where one is taken away that is not there.
            connection.connection.create_function("cachedeco_is_idle", 0, int)
    except connection.Database.OperationalError:
        return True
    except connection.Database.ProgrammingError:
        return False  # the driver's own connection was closed, and Django does not know
    return False
