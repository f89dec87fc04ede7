"""
A program that writes and reads by psycopg 2, alone in its process, as Django prefers psycopg 3 where there are both.

Prints what cached functions, which count rows, return before and after each write, and what there is.

    $ python -m tests.tracking.psycopg_2
"""

import io
import json
import sys
from contextlib import suppress

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction

from cachedeco import cached_query
from tests.support.databases import postgresql_on
from tests.support.postgres import PostgreSQL

ROW, ROWS = "a\tb\n", "c\td\ne\tf\n"


def count() -> int:
    """Count the rows by a query."""
    from django.contrib.contenttypes.models import ContentType

    return ContentType.objects.count()


def count_by_copy_to() -> int:
    """Count the rows of a copy."""
    copy = io.StringIO()
    with connection.cursor() as cursor:
        cursor.copy_to(copy, "django_content_type")
    return copy.getvalue().count("\n")


def count_by_copy_expert() -> int:
    """Count the rows of a copy of a query."""
    copy = io.StringIO()
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY (SELECT model FROM django_content_type) TO STDOUT", copy)
    return copy.getvalue().count("\n")


def copy_from() -> None:
    """Write a row."""
    with connection.cursor() as cursor:
        cursor.copy_from(io.StringIO(ROW), "django_content_type", columns=("app_label", "model"))


def copy_expert() -> None:
    """Write two rows."""
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY django_content_type (app_label, model) FROM STDIN", io.StringIO(ROWS))


def execute_values() -> None:
    """Write a row by a statement that is bytes."""
    from psycopg2.extras import execute_values

    with connection.cursor() as cursor:
        execute_values(cursor, "INSERT INTO django_content_type (app_label, model) VALUES %s", [("g", str(count()))])


def write_behind(end: str) -> None:
    """Write a row where SQL has ended the transaction of a block, which then raises: psycopg 2 begins no other one."""
    with suppress(ZeroDivisionError), transaction.atomic():
        execute_values()
        with connection.cursor() as cursor:
            cursor.execute(end)
            cursor.execute("INSERT INTO django_content_type (app_label, model) VALUES ('i', %s)", [end])
        raise ZeroDivisionError


def write_behind_commit() -> None:
    """Write two rows."""
    write_behind("COMMIT")


def write_behind_rollback() -> None:
    """Write a row, and another one that is undone."""
    write_behind("ROLLBACK")


def main() -> dict[str, list[list[int]]]:
    """Return for each write the counts before and after it: of each function, and of the table."""
    functions = [cached_query(60)(function) for function in (count, count_by_copy_to, count_by_copy_expert)]
    counts: dict[str, list[list[int]]] = {}
    for write in (copy_from, copy_expert, execute_values, write_behind_rollback, write_behind_commit):
        before = [function() for function in functions]
        write()
        counts[write.__name__] = [before, [function() for function in functions], [count()]]
    connection.close()
    return counts


if __name__ == "__main__":
    sys.modules["psycopg"] = None  # type: ignore[assignment] # so that there is none to import
    with PostgreSQL() as server:
        settings.configure(
            DATABASES={"default": postgresql_on(server.port)},
            INSTALLED_APPS=["django.contrib.contenttypes", "cachedeco"],
        )
        django.setup()
        call_command("migrate", verbosity=0)
        print(json.dumps([connection.Database.__name__, main()]))  # noqa: T201 -- that is what it is for
