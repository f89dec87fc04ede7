"""The databases of the project."""

from collections.abc import Iterable
from typing import Any, Final

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

DUMMY: Final = "django.db.backends.dummy"
# The state of a connection in libpq, as both versions of psycopg give it: in a transaction that failed.
FAILED: Final = 3
# The exception of both versions of psycopg for a statement that is refused, since another one has failed before.
REFUSAL: Final = "InFailedSqlTransaction"


def databases() -> list[str]:
    """Return the aliases of all databases; "default" without settings, where routers choose among others, is none."""
    return [alias for alias, settings in connections.settings.items() if settings["ENGINE"] != DUMMY]


def refuses_statements(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a statement has failed, and the database refuses others until a rollback: PostgreSQL does."""
    driver: Any = connection.connection
    return connection.vendor == "postgresql" and driver is not None and driver.info.transaction_status == FAILED


def fails_transaction(error: Exception, using: Iterable[BaseDatabaseWrapper]) -> bool:
    """
    Tell whether the query that has raised this has made PostgreSQL refuse all further statements of a transaction.

    Its COMMIT is a rollback then, and raises nothing: without the exception what the caller has written would be lost
    in silence. Of a transaction that had failed before, its caller knows: PostgreSQL refuses the query, or Django does.
    """
    is_refusal = isinstance(error, TransactionManagementError) or type(error.__cause__).__name__ == REFUSAL
    return isinstance(error, DatabaseError) and not is_refusal and any(map(refuses_statements, using))
