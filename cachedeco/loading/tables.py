"""AUTO in a load: what a computation reads becomes a part of the stamp of its entry, and of what the function knows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from django.core.exceptions import SynchronousOnlyOperation

from cachedeco.loading.found import Found, renew_keys
from cachedeco.loading.policy import CachePolicy
from cachedeco.runtime.interrupts import Reraised
from cachedeco.storage.entries import Stamp
from cachedeco.storage.store import Store
from cachedeco.tracking import collector, watcher
from cachedeco.tracking.collector import Computation
from cachedeco.tracking.known_tables import MOST_TABLES, KnownTables
from cachedeco.tracking.reads import TableReads

TOO_MANY: Final = f"its function reads more than {MOST_TABLES} tables: name models in depends_on= instead of AUTO"
NOTHING_READ: Final = (
    "Under AUTO it has read no table so far, so that nothing invalidates its value. If it needed no query, as for an "
    "empty list, all is well. Else say depends_on=() if its value may be old for its timeout, or name what it depends "
    "on"
)


def reads_of(store: Store, tables: KnownTables, calls: Iterable[Found]) -> TableReads:
    """Return where to note the tables that a computation reads."""
    return TableReads(store, tables, tables.covered_by(found.keys for found in calls))


def begin_reading(computation: Computation, reads: TableReads, arguments: Sequence[object]) -> None:
    """Watch the connections of this thread, and note the rows among the arguments, before the function is called."""
    watcher.watch_all()
    collector.note_rows(computation, reads, arguments)


def end_reading(
    policy: CachePolicy, tables: KnownTables, computation: Computation, reads: TableReads, reraised: Reraised
) -> None:
    """
    Say why the result can't be stored, if so; learn the tables that are new to the function.

    Raises:
        SynchronousOnlyOperation: If *reraised* is that, and a table is new: then the cache is asked. On an event loop
            the caller has looked at the connections.
    """
    if reraised:
        if not tables.knows(reads.read):
            raise SynchronousOnlyOperation
    elif missed := watcher.watch_all():
        computation.problems.append(f"what it has read from the database {missed[0]!r} was not seen")
    for name in sorted(reads.written & (reads.read | tables.names)):
        computation.problems.append(f"it writes the table {name}, which it depends on")
    if not tables.learn(reads.read):
        computation.problems.append(TOO_MANY)
        reads.lasting.append(TOO_MANY)
    for problem in reads.lasting:
        policy.advice.give_never_stored(problem)
    if not (tables.names or tables.declared or computation.tokens or computation.problems):
        policy.advice.give(NOTHING_READ)


def with_tables(
    policy: CachePolicy, found: Found, stamp: Stamp | None, nested_tokens: Mapping[str, bytes]
) -> tuple[Stamp | None, Mapping[str, bytes]]:
    """
    Return the stamp of an entry with the tables that its function is known to read now, and the other nested tokens.

    Tables that its nested calls depend on, and that the function is known to read, need no token beside that of the
    stamp: it was read before the computation.
    """
    if policy.tables is None or stamp is None:
        return stamp, nested_tokens
    keys = renew_keys(policy, found.keys)[1:]
    tokens = {**nested_tokens, **dict(zip(found.keys[1:], stamp, strict=True))}
    others = {name: token for name, token in nested_tokens.items() if name not in keys}
    # Without the token of a table that only another call of the function has read meanwhile: a process that knows this
    # table finds a miss.
    return tuple([tokens[key] for key in keys if key in tokens]), others
