"""
Views: the tables behind a name that a statement reads, and that no model is known to write.

The database is asked once for each name, on the connection that reads it, and not through Django's log of queries.
"""

import re
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from cachedeco.invalidation.raw_queries import ask
from cachedeco.invalidation.tables import tables

# By vendor: a query that takes a name, and returns one row: whether it is a table, and the definition of a view.
QUERIES: Final = {
    "postgresql": (
        "SELECT relkind IN ('r', 'p'), CASE relkind WHEN 'v' THEN pg_get_viewdef(oid) END "
        "FROM pg_class WHERE oid = to_regclass(quote_ident(%s))"
    ),
    "sqlite": (
        "SELECT type = 'table', CASE type WHEN 'view' THEN sql END "
        "FROM (SELECT * FROM sqlite_master UNION ALL SELECT * FROM sqlite_temp_master) WHERE name = ? COLLATE NOCASE"
    ),
    "mysql": (
        "SELECT t.table_type = 'BASE TABLE', v.view_definition FROM information_schema.tables t "
        "LEFT JOIN information_schema.views v USING (table_schema, table_name) "
        "WHERE t.table_schema = DATABASE() AND t.table_name = %s"
    ),
}
# Views of views: a name that is deeper is unknown, and a circle ends.
DEEPEST: Final = 10
# What SQLite keeps of a view is the text that has made it. The query stands behind the first AS outside of quotes.
_CREATE: Final = re.compile(r"""(?:"[^"]*"|`[^`]*`|\[[^]]*\]|.)*?\bas\b""", re.IGNORECASE | re.DOTALL)

_behind: dict[tuple[str, str], frozenset[str]] = {}


def forget() -> None:
    """Ask the database anew: a view may have been replaced. Other processes ask when they are started again."""
    _behind.clear()


def tables_behind(connection: BaseDatabaseWrapper, name: str, depth: int = DEEPEST) -> frozenset[str] | None:
    """Return the tables that a name stands for in this database; None if that can't be known."""
    place = (connection.alias, name)
    found = _behind.get(place)
    if found is None:
        found = _look_behind(connection, name, depth)
        if found is not None:
            _behind[place] = found
    return found


def _look_behind(connection: BaseDatabaseWrapper, name: str, depth: int) -> frozenset[str] | None:
    query = QUERIES.get(connection.vendor)
    row = ask(connection, query, name) if query is not None and depth else None
    if row is None:
        return None
    is_table, definition = row
    if is_table:
        # A table without a model is written by no statement of a model.
        return frozenset({name}) if name in tables().models else None
    if not definition:
        return None
    text = _CREATE.sub("", definition, count=1) if connection.vendor == "sqlite" else definition
    effect = tables().effect_of(text)
    behind = set(effect.reads - tables().unmanaged)
    if effect.writes or effect.ignored:
        return None
    for inner in effect.unknown | (effect.reads & tables().unmanaged):
        more = tables_behind(connection, inner, depth - 1)
        if more is None:
            return None
        behind |= more
    return frozenset(behind)
