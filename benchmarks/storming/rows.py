"""The rows that the storm is about, each a number and its version, in plain SQL: the readers have to be lean."""

from django.db import connection

from benchmarks.storming.plan import Plan


def make(plan: Plan) -> None:
    """Make the table and its rows, in version 1, and the tables of the outbox."""
    from django.core.management import call_command

    if plan.outbox:
        call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS storm_row")
        cursor.execute("CREATE TABLE storm_row (id integer PRIMARY KEY, version integer NOT NULL)")
        cursor.executemany("INSERT INTO storm_row VALUES (%s, 1)", [(row,) for row in range(plan.all_rows)])


def version(row: int) -> int:
    """Return a row's version."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT version FROM storm_row WHERE id = %s", (row,))
        return int(cursor.fetchone()[0])


def next_version(row: int) -> int:
    """Increase a row's version and return it."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE storm_row SET version = version + 1 WHERE id = %s RETURNING version", (row,))
        return int(cursor.fetchone()[0])
