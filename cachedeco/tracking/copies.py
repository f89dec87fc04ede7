"""
COPY, and rows one by one: what psycopg's cursors do beside `execute()` does not pass Django's wrappers of statements.

Connections of psycopg, 2 and 3, make cursors of any class that they are told. They get a subclass of the one that is
there, which tells what such a statement reads before it begins, and what it writes when it has ended.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from weakref import ref

from django.db.backends.base.base import BaseDatabaseWrapper

from cachedeco.invalidation.sql_tokens import quoted
from cachedeco.invalidation.tables import StatementEffect

Before = Callable[[Any, BaseDatabaseWrapper], StatementEffect]
After = Callable[[BaseDatabaseWrapper, StatementEffect], None]
Telling = Callable[[Any], AbstractContextManager[None]]


def follow(connection: BaseDatabaseWrapper, before: Before, after: After) -> None:
    """Tell what is copied and streamed on a connection that was just made, if it is one of psycopg's."""
    if connection.vendor != "postgresql":
        return
    # That of SQLAlchemy's pool stands for the driver's: what is set on it would be its own.
    driver: Any = getattr(connection.connection, "driver_connection", connection.connection)
    backend: Any = connection
    factory = driver.cursor_factory or backend.Database.extensions.cursor  # psycopg 2 begins with None
    # A pool gives connections again that have such a class already.
    factory = getattr(factory, "watched_class", factory)
    make = _watched_class if hasattr(factory, "copy") else _watched_class_of_psycopg_2
    driver.cursor_factory = make(factory, _telling(ref(connection), before, after))


def _telling(connection: Callable[[], BaseDatabaseWrapper | None], before: Before, after: After) -> Telling:
    """
    Return a context manager for a statement.

    A class of cursors lives as long as the driver's connection, and must not keep Django's alive.
    """

    @contextmanager
    def telling(statement: Any) -> Generator[None]:
        owner = connection()
        if owner is None:  # Django's own is gone, and the driver's is used by itself
            yield
            return
        effect = before(statement, owner)
        try:
            yield
        finally:
            after(owner, effect)

    return telling


def _watched_class(base: Any, telling: Telling) -> Any:
    class WatchedCursor(base):  # type: ignore[misc] # any class that is there
        watched_class = base

        @contextmanager
        def copy(self, statement: Any, *args: Any, **options: Any) -> Generator[Any]:
            """Copy as psycopg does."""
            with telling(statement), super().copy(statement, *args, **options) as copy:
                yield copy

        def stream(self, query: Any, *args: Any, **options: Any) -> Iterator[Any]:
            """Yield rows as psycopg does."""
            with telling(query):
                yield from super().stream(query, *args, **options)

    return WatchedCursor


def _watched_class_of_psycopg_2(base: Any, telling: Telling) -> Any:
    class WatchedCursor(base):  # type: ignore[misc] # as above
        watched_class = base

        def copy_expert(self, sql: Any, file: Any, *args: Any, **options: Any) -> Any:
            """Copy as psycopg 2 does."""
            with telling(sql):
                return super().copy_expert(sql, file, *args, **options)

        def copy_from(self, file: Any, table: str, *args: Any, **options: Any) -> Any:
            """Copy as psycopg 2 does, which quotes the name."""
            with telling(f"COPY {quoted(table)} FROM STDIN"):
                return super().copy_from(file, table, *args, **options)

        def copy_to(self, file: Any, table: str, *args: Any, **options: Any) -> Any:
            """Copy as psycopg 2 does, which quotes the name."""
            with telling(f"COPY {quoted(table)} TO STDOUT"):
                return super().copy_to(file, table, *args, **options)

    return WatchedCursor
