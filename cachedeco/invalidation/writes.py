"""Writes: end what depends on the tables that a statement has written."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from types import MappingProxyType
from typing import Final, Never

from django.db.backends.base.base import BaseDatabaseWrapper

from cachedeco.invalidation import commits
from cachedeco.invalidation.delivery import Invalidation, invalidate_on
from cachedeco.invalidation.namespaces import invalidations_of, rows_of_table, table_namespace
from cachedeco.runtime import modes
from cachedeco.runtime.blocks import Block, refuse_arguments

# Sets of tables whose tokens are remembered: there are about as many as kinds of statements that write.
MOST_REMEMBERED: Final = 1_000
OF_A_THREAD: Final = (
    "deferred_invalidation() is about what its thread writes, and between two steps of this function the thread runs "
    "others. Decorate the sync function that writes, and await sync_to_async(that)()."
)

_invalidations: dict[frozenset[str], tuple[Invalidation, ...]] = {}


def end_tables(
    connection: BaseDatabaseWrapper,
    tables: frozenset[str],
    parts: Mapping[str, Iterable[str]] = MappingProxyType({}),
) -> None:
    """
    End all entries that depend on these tables, or on rows of them, in every cache of the setting `ALIASES`.

    In a transaction of the connection at its commit, all together; else at once. A write that repeats the tables of an
    earlier one of its transaction costs next to nothing.

    Args:
        connection: The one that has run the statement.

        tables: Those that the statement has written.

        parts: Texts of the rows that it has changed, by table; of a table that is left out it may have changed all.
    """
    if not tables or modes.current_mode() == "off" or commits.is_noted(connection, tables):
        return
    if parts:
        _end_parts(connection, tables, parts)
        return
    several = _invalidations.get(tables)
    if several is None:
        several = _remember(tables)
    invalidate_on(connection, several)
    commits.note_written(connection, tables)


def _end_parts(connection: BaseDatabaseWrapper, tables: frozenset[str], parts: Mapping[str, Iterable[str]]) -> None:
    namespaces = {
        *map(table_namespace, tables),
        *map(rows_of_table, tables - parts.keys()),
        *(rows_of_table(table, text) for table, texts in parts.items() for text in texts),
    }
    # No set of tables has the empty name: this write does not end all parts of its tables.
    ended = frozenset({"", *(namespace.path for namespace in namespaces)})
    if not commits.is_noted(connection, ended):
        invalidate_on(connection, list(invalidations_of(sorted(namespaces, key=lambda each: each.path))))
        commits.note_written(connection, ended)


def _remember(tables: frozenset[str]) -> tuple[Invalidation, ...]:
    several = tuple(invalidations_of_tables(tables))
    if len(_invalidations) >= MOST_REMEMBERED:
        _invalidations.clear()
    _invalidations[tables] = several
    return several


def invalidations_of_tables(tables: Iterable[str]) -> Iterator[Invalidation]:
    """Return the tokens to replace, in every cache, to end all entries that depend on these tables or rows of them."""
    pairs = [(table_namespace(table), rows_of_table(table)) for table in sorted(tables)]
    return invalidations_of(chain.from_iterable(pairs))


def deferred_invalidation(*given: Never) -> Block:
    """
    Send the invalidations of this thread once, when the block ends: for long loops of writes in autocommit.

    ::

        with deferred_invalidation():
            for row in million_rows:
                row.save()

    Each write without a transaction would otherwise send its own; one in a transaction, as Django makes it for
    `delete()`, `update_or_create()` and `bulk_create()`, is sent at the commit all the same.

    Other threads and processes may be served old values until the block ends; calls in this thread go past the cache
    where the block has invalidated. If the block raises, what it has written is committed, and its invalidations are
    sent. A process that is killed inside loses them, unless the outbox has them. Blocks nest. It also decorates a sync
    function. In a coroutine, do not wait inside: the block belongs to the thread.

    Raises:
        TypeError: It stands above a function without parentheses.
    """
    refuse_arguments("deferred_invalidation", given)
    return Block(commits.deferring, refusal=OF_A_THREAD)
