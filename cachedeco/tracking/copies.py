"""
COPY, and rows one by one: psycopg's `cursor.copy()` and `cursor.stream()` do not pass Django's wrappers of statements.

Its connections make cursors of any class that they are told. They get a subclass of the one that is there, which tells
what such a statement reads before it begins, and what it writes when it has ended. psycopg 2 has no such place.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import ref

from django.db.backends.base.base import BaseDatabaseWrapper

from cachedeco.invalidation.tables import StatementEffect

Before = Callable[[Any, BaseDatabaseWrapper], StatementEffect]
After = Callable[[BaseDatabaseWrapper, StatementEffect], None]


def follow(connection: BaseDatabaseWrapper, before: Before, after: After) -> None:
    """Tell what is copied and streamed on a connection that was just made, if it is one of psycopg's."""
    driver: Any = connection.connection
    factory = getattr(driver, "cursor_factory", None)
    if connection.vendor == "postgresql" and hasattr(factory, "copy"):
        # A pool gives connections again that have such a class already.
        driver.cursor_factory = _watched_class(
            getattr(factory, "watched_class", factory), ref(connection), before, after
        )


def _watched_class(
    base: Any, connection: Callable[[], BaseDatabaseWrapper | None], before: Before, after: After
) -> Any:
    """Return a class of cursors; it lives as long as the driver's connection, and must not keep Django's alive."""

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
