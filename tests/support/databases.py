"""Databases that a test adds to those of the settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

from tests.support.postgres import DATABASE, USER
from tests.support.servers import HOST


@contextmanager
def connected(alias: str, settings: dict[str, Any]) -> Iterator[None]:
    """Have a database under an alias until the block ends."""
    connections.settings[alias] = connections.configure_settings({"default": {}, alias: settings})[alias]
    try:
        yield
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


def postgresql_on(port: int) -> dict[str, Any]:
    """Return the settings of the database of a PostgreSQL on a port."""
    engine = "django.db.backends.postgresql"
    return {"ENGINE": engine, "NAME": DATABASE, "USER": USER, "HOST": HOST, "PORT": str(port)}
