"""
Views: the tables behind a name that a statement reads or writes, and that no model is known to write.

The name may be that of a view, or of a part of another table: a partition, or a table that inherits. The database is
asked once for each name, on the connection that runs the statement, and not through Django's log of queries.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from cachedeco.invalidation import commits
from cachedeco.invalidation.raw_queries import ask
from cachedeco.invalidation.tables import tables
from cachedeco.invalidation.transactions import is_in_test

# By vendor: a query that returns one row for a name, if there may be something of this name: whether it is a table, and
# the definition of a view, or of what a table is a part of. On PostgreSQL it runs inside of the caller's transaction,
# which an error would end: to_regclass() raises one for a schema that the role may not use. On MySQL there is a row
# for a name of nothing, too: it has no list of temporary tables.
QUERIES: Final = {
    "postgresql": (
        "SELECT relkind IN ('r', 'p'), CASE relkind WHEN 'v' THEN pg_get_viewdef(oid) ELSE (SELECT 'SELECT FROM ' || "
        "string_agg(inhparent::regclass::text, ', ') FROM pg_inherits WHERE inhrelid = c.oid) END FROM pg_class c "
        "WHERE oid = coalesce(to_regclass(quote_ident(%(whole)s)), (SELECT oid FROM pg_class "
        "WHERE lower(relname) = lower(%(name)s) AND relkind IN ('r', 'p', 'v', 'm', 'f') AND CASE %(schema)s::text "
        "WHEN '' THEN pg_table_is_visible(oid) ELSE relnamespace = ANY (SELECT oid FROM pg_namespace "
        "WHERE lower(nspname) = lower(%(schema)s)) END LIMIT 1))"
    ),
    "sqlite": (
        "SELECT type = 'table', CASE type WHEN 'view' THEN sql END FROM (SELECT * FROM sqlite_temp_master UNION ALL "
        "SELECT * FROM sqlite_master) WHERE type IN ('table', 'view') AND name = :name COLLATE NOCASE "
        # In a file that was attached there are other tables.
        "UNION ALL SELECT 0, NULL WHERE :schema NOT IN ('', 'main', 'temp')"
    ),
    "mysql": (
        "SELECT coalesce(max(t.table_type = 'BASE TABLE'), 0), max(v.view_definition) "
        "FROM information_schema.tables t LEFT JOIN information_schema.views v USING (table_schema, table_name) "
        "WHERE t.table_schema = IF(%(schema)s IN ('', lower(DATABASE())), DATABASE(), %(schema)s) "
        "AND lower(t.table_name) = lower(%(name)s) "
        "HAVING coalesce(max(v.view_definition), 'none') <> ''"  # empty where the user may not see it
    ),
}
# Views of views: a name that is deeper is unknown, and a circle ends.
DEEPEST: Final = 10
# A site that makes a table with a new name for each job.
MOST_NAMES: Final = 1_000
# What SQLite keeps of a view is the text that has made it. The query stands behind the first AS outside of quotes.
_CREATE: Final = re.compile(r"""(?:"[^"]*"|`[^`]*`|\[[^]]*\]|.)*?\bas\b""", re.IGNORECASE | re.DOTALL)


class Behind(NamedTuple):
    """What a name stands for."""

    tables: frozenset[str]  #: tables of models
    is_all: bool  #: whether the rows that it shows are of these tables, and of no others; not of none


_behind: dict[tuple[str, str], Behind] = {}


def forget() -> None:
    """Ask the database anew: a view may have been replaced. Other processes ask when they are started again."""
    _behind.clear()


def note_definition(connection: BaseDatabaseWrapper) -> None:
    """Ask the database anew, and again when the definition is committed: until then it is another one for others."""
    forget()
    commits.at_commit(connection, _note_committed, [None], invalidates=())


def _note_committed(_: list[None]) -> None:
    forget()


def tables_behind(connection: BaseDatabaseWrapper, name: str) -> frozenset[str] | None:
    """Return the tables whose rows a name shows in this database; None if that can't be known."""
    found = _look_behind(connection, name, DEEPEST)
    return found.tables if found is not None and found.is_all else None


def tables_written(connection: BaseDatabaseWrapper, names: Iterable[str]) -> tuple[frozenset[str], bool]:
    """Return the tables of models whose rows a write by these names changes, and whether there is something of each."""
    several = [_look_behind(connection, name, DEEPEST) for name in names]
    found = [behind.tables for behind in several if behind is not None]
    return frozenset().union(*found), len(found) == len(several)


def _look_behind(connection: BaseDatabaseWrapper, name: str, depth: int) -> Behind | None:
    if commits.has_pending() and commits.pending_items(connection, _note_committed):
        return _ask(connection, name, depth) if depth else None  # what it defines may be undone
    place = (connection.alias, name)
    found = _behind.get(place)
    if found is None and depth:
        found = _ask(connection, name, depth)
        # Else it may be found from nearer; and what a test has defined is undone at its end.
        if found is not None and (found.is_all or depth == DEEPEST) and not is_in_test(connection):
            if len(_behind) >= MOST_NAMES:
                _behind.clear()
            _behind[place] = found
    return found


def _ask(connection: BaseDatabaseWrapper, name: str, depth: int) -> Behind | None:
    query = QUERIES.get(connection.vendor)
    if query is None:
        return Behind(frozenset(), is_all=False)
    schema, _, last = name.replace('"', "").rpartition(".")
    row = ask(connection, query, {"whole": name, "schema": schema, "name": last}) if last else None
    if row is None:
        return None
    is_table, definition = row
    own = frozenset({name} & tables().models.keys()) if is_table else frozenset()
    if not definition:
        # A table without a model is written by no statement of a model.
        return Behind(own, is_all=bool(own))
    text = _CREATE.sub("", definition, count=1) if connection.vendor == "sqlite" else definition
    effect = tables().effect_of(text)
    behind = {*own, *(effect.reads - tables().unmanaged)}
    is_all = not (effect.writes or effect.ignored)
    for inner in effect.unknown | (effect.reads & tables().unmanaged):
        more = _look_behind(connection, inner, depth - 1)
        behind |= more.tables if more is not None else frozenset()
        is_all = is_all and more is not None and more.is_all
    # Nothing would end what was read through a view without tables, when it is made anew.
    return Behind(frozenset(behind), is_all and bool(behind))
