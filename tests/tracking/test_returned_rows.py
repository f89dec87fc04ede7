"""On SQLite a statement with RETURNING commits when its rows are fetched: what it writes is invalidated after that."""

import sqlite3
from typing import Any

import pytest
from django.db import connection, transaction

from cachedeco import Event, listening
from tests.models import Club

pytestmark = pytest.mark.django_db(transaction=True)


def names_elsewhere() -> list[str]:
    """Return the names that another connection sees."""
    other = sqlite3.connect(connection.settings_dict["NAME"])
    try:
        return [name for (name,) in other.execute("SELECT name FROM tests_club ORDER BY name")]
    finally:
        other.close()


@pytest.mark.parametrize(
    "write",
    [
        lambda: Club.objects.create(name="Judo"),
        lambda: Club.objects.bulk_create([Club(name="Judo")]),
        lambda: list(Club.objects.raw("INSERT INTO tests_club (name) VALUES ('Judo') RETURNING id, name")),
    ],
    ids=["create", "bulk_create", "raw"],
)
def test_row_is_there_for_others_when_its_table_is_invalidated(write: Any) -> None:
    """A call after the invalidation reads the row."""
    seen: list[list[str]] = []

    def look(event: Event) -> None:
        if event.kind == "invalidated" and event.key.endswith("n:table.tests_club"):
            seen.append(names_elsewhere())

    with listening(look):
        write()

    assert [["Judo"]] == seen


def test_savepoint_can_begin_before_the_rows_are_read() -> None:
    """In a transaction, too, the rows are fetched at once: SQLite begins no savepoint while it returns some."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO tests_club (name) VALUES ('A'), ('B') RETURNING name")
        with transaction.atomic():
            Club.objects.create(name="C")
        rows = cursor.fetchall()

    assert ([("A",), ("B",)], 3) == (rows, Club.objects.count())


def test_rows_are_given_in_every_way_that_a_cursor_has() -> None:
    """One, some, all, by iteration; then the cursor runs other statements, one or many times."""
    insert = "INSERT INTO tests_club (name) VALUES ('A'), ('B'), ('C'), ('D'), ('E') RETURNING name"
    with connection.cursor() as cursor:
        cursor.execute(insert)
        got = [cursor.fetchone(), cursor.fetchmany(), cursor.fetchmany(2), list(cursor), cursor.fetchall()]
        description = cursor.description
        cursor.execute(insert)
        again = cursor.fetchall()
        cursor.executemany("UPDATE tests_club SET name = 'F' WHERE name = %s", [("A",), ("B",)])
        cursor.execute(insert)
        cursor.execute("SELECT count(*) FROM tests_club WHERE name = 'F'")
        count = cursor.fetchone()
        cursor.execute(insert)
        cursor.executemany("DELETE FROM tests_club WHERE name = %s", [("F",)])

    assert [("A",), [("B",)], [("C",), ("D",)], [("E",)], []] == got
    assert ("name", 5, (4,)) == (description[0][0], len(again), count)
