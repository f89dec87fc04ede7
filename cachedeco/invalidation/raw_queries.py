"""Raw queries: questions to the database that Django's log of queries does not show, and that no wrapper sees."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any


def ask(connection: Any, query: str, params: Sequence[object] | Mapping[str, object] = ()) -> tuple[Any, ...] | None:
    """Return the first row of a query; None without one, and if it failed: for example, the transaction has before."""
    try:
        with closing(connection.connection.cursor()) as cursor:
            # SQLite's driver refuses None as parameters, and psycopg sends a text without any by the simple protocol.
            cursor.execute(query, *([params] if params else []))
            row: tuple[Any, ...] | None = cursor.fetchone()
            return row
    except connection.Database.Error:
        return None
