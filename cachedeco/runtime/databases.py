"""The databases of the project."""

from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

DUMMY: Final = "django.db.backends.dummy"
# The state of a connection in libpq, as both versions of psycopg give it: in a transaction that failed.
FAILED: Final = 3


def databases() -> list[str]:
    """Return the aliases of all databases; "default" without settings, where routers choose among others, is none."""
    return [alias for alias, settings in connections.settings.items() if settings["ENGINE"] != DUMMY]


def refuses_statements(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a statement has failed, and the database refuses others until a rollback: PostgreSQL does."""
    driver: Any = connection.connection
    return connection.vendor == "postgresql" and driver is not None and driver.info.transaction_status == FAILED
