"""The databases of the project."""

from collections.abc import Iterable
from typing import Any, Final

from django.db import DatabaseError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

DUMMY: Final = "django.db.backends.dummy"
# The state of a connection in libpq, as both versions of psycopg give it: in a transaction that failed.
FAILED: Final = 3
# The exception of both versions of psycopg for a statement that is refused, since another one has failed before.
REFUSAL: Final = "InFailedSqlTransaction"
# The number of the error by which MySQL has rolled back a whole transaction, and not the statement alone.
DEADLOCK: Final = 1213


class UndoneError(OperationalError):
    """A write of the database cache has lost the caller's transaction, and Django has swallowed the error."""


def databases() -> list[str]:
    """Return the aliases of all databases; "default" without settings, where routers choose among others, is none."""
    return [alias for alias, settings in connections.settings.items() if settings["ENGINE"] != DUMMY]


def refuses_statements(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a statement has failed, and the database refuses others until a rollback: PostgreSQL does."""
    driver: Any = connection.connection
    return connection.vendor == "postgresql" and driver is not None and driver.info.transaction_status == FAILED


def fails_transaction(error: Exception, using: Iterable[BaseDatabaseWrapper]) -> bool:
    """
    Tell whether the query that has raised this has cost the caller what its open transaction has written.

    After an error PostgreSQL makes a rollback of the COMMIT, and raises nothing; after a deadlock MySQL has rolled
    back, and commits what follows, as SQLite after an error of the disk. Of a transaction that had failed before, its
    caller knows: PostgreSQL refuses the query, or Django does.
    """
    is_refusal = isinstance(error, TransactionManagementError) or type(error.__cause__).__name__ == REFUSAL
    if not isinstance(error, DatabaseError) or is_refusal:
        return False
    is_undone = isinstance(error, UndoneError) or error.args[:1] == (DEADLOCK,)
    return any(_is_open(each) if is_undone else refuses_statements(each) or _has_rolled_back(each) for each in using)


def _is_open(connection: BaseDatabaseWrapper) -> bool:
    return connection.connection is not None and not connection.autocommit


def _has_rolled_back(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether SQLite has ended the transaction of a block: it does so where it can't undo a statement alone."""
    driver: Any = connection.connection
    return connection.vendor == "sqlite" and connection.in_atomic_block and not getattr(driver, "in_transaction", True)
