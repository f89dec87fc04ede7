"""On SQLite in WAL mode a cursor that is open keeps a snapshot; one that is merely held does not."""

import sqlite3
from typing import Any

import pytest
from django.db import connection, connections

from cachedeco import MISSING
from cachedeco.invalidation import open_cursors
from tests.models import Club
from tests.support.clubs import made_club, name_of, names
from tests.support.programs import output_of
from tests.support.threads import in_thread

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


# One that shares all with the first, as mod_wsgi makes them.
IN_SUB_INTERPRETER = """
import sys
if sys.version_info >= (3, 13):
    import _interpreters
    failed = _interpreters.exec(_interpreters.create("legacy"), sys.argv[1])
    sys.exit(failed and failed.formatted)
import _xxsubinterpreters
_xxsubinterpreters.run_string(_xxsubinterpreters.create(isolated=False), sys.argv[1])
"""
SITE = """
import django
from django.conf import settings
from django.db import connection

database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
settings.configure(INSTALLED_APPS=["cachedeco"], DATABASES={"default": database}, SECRET_KEY="x")
django.setup()

from cachedeco import cached_query

@cached_query(60, depends_on=())
def one():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone()[0]

connection.ensure_connection()
print([one(), one()], flush=True)
"""


@pytest.mark.parametrize("end", ["fetchall", "close"])
def test_cursor_that_has_ended_keeps_nothing(end: str) -> None:
    """A value is stored while the caller holds a cursor whose rows are all fetched, or that is closed."""
    pk = made_club()
    name_of.invalidate(pk)
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM tests_club UNION ALL SELECT 'another'")
        cursor.fetchone()
        getattr(cursor, end)()

        name_of(pk)

    assert name_of.peek(pk) is not MISSING


def test_cursor_with_rows_left_keeps_its_snapshot() -> None:
    """What is read meanwhile is older than a commit, and is not stored."""
    pk = made_club()
    name_of.invalidate(pk)
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM tests_club UNION ALL SELECT 'another'")
        in_thread(lambda: Club.objects.update(name="new"))

        assert "old" == name_of(pk)

    assert "new" == name_of(pk)


def test_iterator_keeps_its_snapshot_until_its_end() -> None:
    """Inside a loop over iterator() nothing is stored, and after it all is."""
    made_club()
    Club.objects.bulk_create([Club(name="other"), Club(name="another")])
    names.invalidate()

    iterator = Club.objects.iterator(chunk_size=1)
    next(iterator)
    names()
    inside = names.peek()
    del iterator
    names()

    assert inside is MISSING

    assert names.peek() is not MISSING


def test_connection_that_is_closed_keeps_nothing() -> None:
    """A cursor of a connection that was closed since is no snapshot of the next one."""
    cursor = connection.cursor()
    cursor.execute("SELECT 1 UNION ALL SELECT 2")
    connection.close()

    assert not open_cursors.keep_snapshot(connection)
    Club.objects.count()
    assert not open_cursors.keep_snapshot(connection)


@pytest.mark.django_db(databases=["default", "other"])
def test_connection_that_is_closed_in_the_block_of_a_test_breaks_nothing() -> None:
    """Django keeps the driver's connection until the block of the TestCase ends; calls on other databases go on."""
    pk = made_club()
    name_of.invalidate(pk)

    connections["other"].close()

    assert connections["other"].connection is not None
    assert "old" == name_of(pk)
    assert "old" == name_of.peek(pk)


@pytest.mark.django_db(databases=["default"])
def test_connection_of_the_driver_that_is_closed_keeps_nothing() -> None:
    """It was closed past Django, whose next statement fails; to ask does not."""
    other = connection.copy("closed")
    with other.cursor() as cursor:
        cursor.execute("SELECT 1 UNION ALL SELECT 2")
    driver: Any = other.connection
    driver.close()

    assert not open_cursors.keep_snapshot(other)


@pytest.mark.django_db(databases=["default"])
def test_database_that_is_not_in_wal_mode_has_no_old_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the other modes no writer commits while a cursor is open."""
    other = connection.copy("memory")
    monkeypatch.setitem(other.settings_dict, "NAME", ":memory:")
    before = open_cursors.keep_snapshot(other)
    try:
        cursor = other.cursor()
        cursor.execute("SELECT 1 UNION ALL SELECT 2")
        while_open = open_cursors.keep_snapshot(other)
    finally:
        other.close()

    assert (False, False) == (before, while_open)


def test_question_leaves_the_statements_of_a_connection_prepared() -> None:
    """SQLite would prepare each of them anew after a change of what it knows, as of a function."""
    connection.ensure_connection()
    driver: Any = connection.connection
    prepared: list[object] = []

    def allow(action: int, *_: object) -> int:
        prepared.append(action)
        return sqlite3.SQLITE_OK

    driver.set_authorizer(allow)
    try:
        driver.execute("SELECT name FROM tests_club").fetchall()
        assert not open_cursors.keep_snapshot(connection)
        prepared.clear()
        driver.execute("SELECT name FROM tests_club").fetchall()
    finally:
        driver.set_authorizer(None)

    assert [] == prepared


def test_cached_function_returns_in_a_sub_interpreter() -> None:
    """mod_wsgi runs each site in one, where some callbacks of SQLite would wait for ever."""
    assert "[1, 1]\n" == output_of("-c", IN_SUB_INTERPRETER, SITE)
