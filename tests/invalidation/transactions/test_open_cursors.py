"""On SQLite in WAL mode a cursor that is open keeps a snapshot; one that is merely held does not."""

from typing import Any

import pytest
from django.db import connection, connections

from cachedeco import MISSING
from cachedeco.invalidation import open_cursors
from tests.models import Club
from tests.support.clubs import made_club, name_of, names
from tests.support.threads import in_thread

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


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


def test_function_that_sqlite_is_asked_to_replace_is_there() -> None:
    """A recent SQLite refuses nothing where there is nothing to replace: no snapshot would be found old."""
    connection.ensure_connection()

    assert not open_cursors.keep_snapshot(connections["default"])
    with connection.cursor() as cursor:
        cursor.execute("SELECT cachedeco_is_idle()")
        assert (0,) == cursor.fetchone()
