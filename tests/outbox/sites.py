"""Databases for the tests of the outbox, each under the alias "outbox", and what is cached in front of them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.core.management import call_command
from django.db import connections
from django.db.models import Model

from cachedeco import cached_query
from cachedeco.outbox.models import Row, rows
from cachedeco.storage.store import Item, Store
from cachedeco.storage.writers import Acknowledged
from tests.models import Club

ALIAS = "outbox"
# A MariaDB is tested where there is one: a directory's worth of server is too much for every machine.
MARIADB = os.environ.get("CACHEDECO_TEST_MARIADB", "")  # its socket
KINDS = ["sqlite", "postgresql", *(["mariadb"] if MARIADB else [])]


class OnlyThere:
    """A router that has the outbox's table in the database "outbox" alone."""

    def allow_migrate(self, db: str, app_label: str, **_: object) -> bool | None:
        """Say where the table is."""
        return db == ALIAS if app_label == "cachedeco_outbox" else None


class Nowhere:
    """A router that has the outbox's table nowhere."""

    def allow_migrate(self, db: str, app_label: str, **_: object) -> bool | None:  # noqa: ARG002 -- Django's signature
        """Say that the table is not to be."""
        return False if app_label == "cachedeco_outbox" else None


class Elsewhere:
    """A router that has the models of the tests in no database."""

    def allow_migrate(self, db: str, app_label: str, **_: object) -> bool | None:  # noqa: ARG002 -- Django's signature
        """Say that the tables are not to be."""
        return False if app_label == "tests" else None


@cached_query(using=ALIAS, namespace="club:{pk}", name="outbox.name_of")
def name_of(pk: int) -> str:
    """Return the name of a club."""
    return Club.objects.using(ALIAS).get(pk=pk).name


def create_club() -> int:
    """Create a club of the name "old", and forget what that has recorded; return its primary key."""
    key: int = Club.objects.using(ALIAS).create(name="old").pk
    rows(ALIAS)._raw_delete(ALIAS)
    return key


def rename(pk: int, name: str) -> None:
    """Change a club's name past the watcher, on the driver's own connection, so that this invalidates nothing."""
    connections[ALIAS].ensure_connection()
    driver: Any = connections[ALIAS].connection
    driver.cursor().execute(f"UPDATE tests_club SET name = '{name}' WHERE id = {pk:d}")  # noqa: S608


def all_rows() -> list[Row]:
    """Return the rows of the outbox."""
    return list(rows(ALIAS).order_by("pk"))


def waiting_and_done() -> tuple[int, int]:
    """Return how many rows wait, and how many were acknowledged."""
    done = [row.acknowledged is not None for row in all_rows()]
    return done.count(False), done.count(True)


def sqlite_at(path: Path) -> dict[str, Any]:
    """Return the settings of a database in a file."""
    options = {"timeout": 5, "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF"}
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": options}


def mariadb() -> dict[str, Any]:
    """Return the settings of the MariaDB that the environment names."""
    return {"ENGINE": "django.db.backends.mysql", "NAME": "test", "USER": "root", "HOST": MARIADB}


def migrate() -> None:
    """Make the outbox's table as users do, and the one of the clubs."""
    call_command("migrate", "cachedeco_outbox", database=ALIAS, verbosity=0)
    make_table(Club)


def make_table(model: type[Model]) -> None:
    """Make the table of one model, if it is not there."""
    connection = connections[ALIAS]
    if model._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(model)


def drop_table(model: type[Model]) -> None:
    """Drop the table of one model."""
    with connections[ALIAS].schema_editor() as editor:
        editor.delete_model(model)


@contextmanager
def refusing(*keys: str) -> Iterator[None]:
    """Have every cache refuse to store these keys, and take all others."""
    original = Store.write_unguarded

    def written(self: Store, items: Sequence[Item]) -> Acknowledged:
        taken = [item for item in items if item[0] not in keys]
        answers = iter(original(self, taken) if taken else ())
        return Acknowledged([item[0] not in keys and next(answers) for item in items])

    with patch.object(Store, "write_unguarded", written):
        yield
