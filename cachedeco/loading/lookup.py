"""
The look-up: entries and their tokens by one read, for one call, for many, and for calls of several functions.

`look_up_one()` is all that a hit of one call does; what a first read can't find is left to `second_read`.
"""

from collections.abc import Collection, Iterable, Sequence
from time import time

from django.core.exceptions import SynchronousOnlyOperation

from cachedeco.invalidation import commits, epochs
from cachedeco.loading import remembering
from cachedeco.loading.found import CallKeys, Found, Wanted, renew_keys
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.reading import join_names, keys_to_ask, read_entries, read_values
from cachedeco.loading.recalling import Recalling, recall, remember
from cachedeco.loading.remembering import Memory, memory_in_use
from cachedeco.loading.second_read import resolve
from cachedeco.runtime.interrupts import Reraised
from cachedeco.storage.entries import decode_values, new_tuple, own_tokens_of
from cachedeco.tracking import nested_names
from cachedeco.tracking.collector import innermost
from cachedeco.tracking.known_tables import KnownTables


def look_up_one(policy: CachePolicy, keys: CallKeys) -> Found:
    """
    Fetch one entry and its tokens by one read. This is all that a hit does.

    Returns:
        What was found; of a plain hit without the values that were read.
    """
    # Nearly never without the middleware.
    if remembering.current.get() is not None and (memory := memory_in_use()) is not None:
        return recall(memory, policy, keys) or _read_and_remember(memory, policy, keys)
    if nested_names.names_by_function:  # nearly never without nested calls
        asked = keys_to_ask(policy, keys)
        return find_one(policy, keys, asked, read_values(policy.store, asked))
    return find_one(policy, keys, keys, policy.store.read(keys))


def _read_and_remember(memory: Memory, policy: CachePolicy, keys: CallKeys) -> Found:
    """Fetch one entry for the request's memory."""
    since, asked = epochs.last(), keys_to_ask(policy, keys)  # before the read
    return find_and_remember(memory, since, policy, keys, asked, read_values(policy.store, asked))


def find_and_remember(  # noqa: PLR0913, PLR0917 -- those of `find_one()`, and where to remember it
    memory: Memory,
    since: object,
    policy: CachePolicy,
    keys: CallKeys,
    asked: Sequence[str],
    values: list[bytes | None] | None,
    reraised: Reraised = (),
) -> Found:
    """Do as `find_one()`, and remember what was found; *since* is what `epochs.last()` returned before the read."""
    found = find_one(policy, keys, asked, values, reraised)
    remember(memory, found, values, since)
    return found


def find_one(
    policy: CachePolicy,
    keys: CallKeys,
    asked: Sequence[str],
    values: list[bytes | None] | None,
    reraised: Reraised = (),
) -> Found:
    """
    Return what is among the values that were read for one call. This is the rest of what a hit does.

    *asked* are the keys of the call and the names of nested tokens; *values*, what was read of them, in this order, or
    None if the cache failed.

    Raises:
        SynchronousOnlyOperation: If *reraised* is that: there is no fresh entry, or only the database can tell.
    """
    if values is None:
        return Found(keys)
    is_pending = commits.waiting and not reraised and commits.has_pending()  # nearly always empty, too
    if is_pending:  # this thread finds what its transaction stores at the commit
        values[0] = commits.pending_value(keys[0]) or values[0]
    names = b"" if asked is keys else join_names(asked[len(keys) :])
    entry = decode_values(policy.codec, keys[0], values, names, reraised)
    is_fresh = entry is not None and entry.expires > time()
    if is_fresh and innermost.get() is None and not policy.inspects_hits and not (is_pending and names):
        return new_tuple(Found, (keys, None, asked, entry))  # a plain hit, which needs no more
    if reraised and not is_fresh:
        raise SynchronousOnlyOperation
    raw: dict[str, object] = {key: value for key, value in zip(asked, values, strict=True) if value is not None}
    results = [Found(keys, raw, asked, entry)]
    # The transaction of this thread may have invalidated nested tokens.
    if (entry is None and keys[0] in raw) or (names and (entry is None or is_pending)):
        resolve([(policy, keys)], results, [0])
    return results[0]


def recall_or_look_up(wanted: Sequence[Wanted]) -> list[Found]:
    """
    Look up calls of users: by the request's memory, and what it has not by one read of each cache.

    Returns:
        What was found, as by `look_up_one()`: plain hits without the values that were read.
    """
    if remembering.current.get() is None:
        return _read_entries(wanted, serves=True)
    recalling = Recalling(wanted)
    return recalling.join(_read_entries(recalling.left) if recalling.left else [])


def look_up(policy: CachePolicy, calls: Sequence[CallKeys], also: Collection[str] = ()) -> list[Found]:
    """
    Fetch the entries of one function and their tokens by one read, and by a second one where they need it.

    *also* are other keys to ask for, before these. The raw values are one dict for all. Entries that the transaction of
    this thread stores at its commit are found, too.
    """
    wanted = [(policy, renew_keys(policy, keys)) for keys in calls]
    return without_invalidated(wanted, _read_entries(wanted, also))


def look_closely(policy: CachePolicy, calls: Sequence[CallKeys]) -> list[Found]:
    """Look up as `look_up()` does, and again if another process has stored entries under tables unknown here."""
    results = look_up(policy, calls)
    tables = policy.tables
    if tables is not None and may_know_less(policy, tables, results) and tables.load():
        return look_up(policy, calls)
    return results


def may_know_less(policy: CachePolicy, tables: KnownTables, calls: Iterable[Found]) -> bool:
    """Tell whether another process may have stored one of the entries under other tables than this one knows."""
    for found in calls:
        data = (found.raw or {}).get(found.key)
        if isinstance(data, bytes) and found.entry is None:
            tokens = own_tokens_of(policy.codec, found.key, data)
            if tokens is not None and (tokens != len(found.keys) - 1 or tables.count_dead()):
                return True
    return False


def _read_entries(wanted: Sequence[Wanted], also: Collection[str] = (), *, serves: bool = False) -> list[Found]:
    """Fetch entries and their tokens by one read of each cache, and by a second one; perhaps to serve them."""
    results, unresolved = read_entries(wanted, also, serves=serves)
    return resolve(wanted, results, unresolved, also) if unresolved else results


def without_invalidated(wanted: Sequence[Wanted], results: list[Found]) -> list[Found]:
    """Leave out entries that depend on tables which the transaction of this thread has invalidated."""
    if commits.has_pending():
        # When the call began, this process may not have known a table that its transaction has invalidated.
        for n, ((policy, _), (keys, raw, _, entry)) in enumerate(zip(wanted, results, strict=True)):
            if policy.tables is not None and entry is not None and commits.invalidated_in_transaction(keys[1:]):
                results[n] = Found(keys, raw, keys)
    return results
