"""Writes: end what depends on the tables that a statement has written."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from cachedeco.invalidation import commits
from cachedeco.invalidation.delivery import Invalidation, invalidate_on
from cachedeco.invalidation.namespaces import rows_of_table, table_namespace
from cachedeco.runtime import conf, modes
from cachedeco.storage.store import Store

# Sets of tables whose tokens are remembered: there are about as many as kinds of statements that write.
MOST_REMEMBERED: Final = 1_000

_invalidations: dict[frozenset[str], tuple[Invalidation, ...]] = {}


def end_tables(connection: BaseDatabaseWrapper, tables: frozenset[str]) -> None:
    """
    End all entries that depend on these tables, or on rows of them, in every cache of the setting `ALIASES`.

    In a transaction of the connection at its commit, all together; else at once. A write that repeats the tables of an
    earlier one of its transaction costs next to nothing.
    """
    if not tables or modes.current_mode() == "off" or commits.is_noted(connection, tables):
        return
    several = _invalidations.get(tables)
    if several is None:
        several = _remember(tables)
    invalidate_on(connection, several)
    commits.note_written(connection, tables)


def _remember(tables: frozenset[str]) -> tuple[Invalidation, ...]:
    several = tuple(_invalidations_of(tables))
    if len(_invalidations) >= MOST_REMEMBERED:
        _invalidations.clear()
    _invalidations[tables] = several
    return several


def _invalidations_of(tables: Iterable[str]) -> Generator[Invalidation]:
    settings = conf.settings()
    for store in map(Store, settings.ALIASES):
        for table in sorted(tables):
            for namespace in (table_namespace(table), rows_of_table(table)):
                yield Invalidation(store, namespace.whole_key(settings.KEY_PREFIX, store.keyspace))


@contextmanager
def deferred_invalidation() -> Generator[None]:
    """
    Send the invalidations of this thread once, when the block ends: for long loops of writes in autocommit.

    ::

        with deferred_invalidation():
            for row in million_rows:
                row.save()

    Each write without a transaction would otherwise send its own. Other threads and processes may be served old values
    until the block ends; calls in this thread go past the cache where the block has invalidated. If the block raises,
    what it has written is committed, and its invalidations are sent. A process that is killed inside loses them, unless
    the outbox has them. Blocks nest. In a coroutine, do not wait inside: the block belongs to the thread.
    """
    with commits.deferring():
        yield
