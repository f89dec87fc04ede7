"""
The look-up on an event loop: a fresh entry is found there, without a change of threads.

The loop's own thread is that of no transaction, and no command may block it. So nothing is asked here that belongs to
the thread of Django's connections, where a hit need not ask it: a transaction matters to a hit if it has invalidated
what the hit asks for, and what waits for a commit is known to the whole process. All else is left to that thread, with
what was read until then.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import time

from django.core.exceptions import SynchronousOnlyOperation

from cachedeco.invalidation import commits, epochs
from cachedeco.loading import remembering
from cachedeco.loading.found import CallKeys, Found, Wanted
from cachedeco.loading.lookup import find_and_remember, find_one, without_invalidated
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.reading import are_in_one_cache, commands_for, decode_each, keys_to_ask, keys_to_ask_each
from cachedeco.loading.recalling import Recalling, recall
from cachedeco.loading.remembering import memory_in_use
from cachedeco.loading.second_read import resolve
from cachedeco.storage import many_caches
from cachedeco.tracking import nested_names


async def look_up_one_on_loop(policy: CachePolicy, keys: CallKeys) -> Found | Callable[[], Found] | None:
    """
    Do as `look_up_one()` on an event loop, for a cache that can be read there.

    Returns:
        What was found, if that is a fresh entry; else a function that ends the look-up in the thread of Django's
        connections, as it asks for the transactions there, and may read. None if nothing was asked for, since a
        transaction may have invalidated what would be found: then that thread does all.
    """
    find: Callable[..., Found] = find_one
    if remembering.current.get() is not None:  # nearly never without the middleware
        if commits.waiting:
            return None
        if (memory := memory_in_use()) is not None:
            if (recalled := recall(memory, policy, keys)) is not None:
                return recalled
            find = partial(find_and_remember, memory, epochs.last())  # before the read
    asked = keys_to_ask(policy, keys) if nested_names.names_by_function else keys
    if (commits.waiting and _may_concern(asked)) or not (asked is keys or are_in_one_cache(asked)):
        return None
    values: list[bytes | None] | None
    try:
        values = await policy.store.start_read_on_loop(asked)  # here, as one coroutine more costs each hit
    except Exception as error:  # noqa: BLE001 -- any failure of the cache is an event
        policy.store.pass_on(error)
        policy.store.record_failed_read(asked, error)
        values = None
    try:
        if values is not None:
            return find(policy, keys, asked, values, SynchronousOnlyOperation)
    except SynchronousOnlyOperation:
        pass
    return partial(find, policy, keys, asked, values)


async def recall_or_look_up_on_loop(wanted: Sequence[Wanted]) -> list[Found] | Callable[[], list[Found]] | None:
    """
    Do as `recall_or_look_up()` on an event loop, for caches that can be read there.

    Returns:
        What was found, if all are fresh entries; else a function, or None, as of `look_up_one_on_loop()`.
    """
    if commits.waiting and remembering.current.get() is not None:
        return None
    recalling = Recalling(wanted)
    left = recalling.left
    asked = keys_to_ask_each(left)
    if (commits.waiting and any(map(_may_concern, asked))) or not all(map(are_in_one_cache, asked)):
        return None
    raw = await many_caches.read_caches_on_loop(commands_for(left, asked)) if left else ({}, [])
    serves = remembering.current.get() is None  # the memory would need the values that were read
    try:
        results, unresolved = decode_each(left, asked, raw, SynchronousOnlyOperation, serves=serves)
    except SynchronousOnlyOperation:  # as of one call
        return None
    now = time()
    if not unresolved and all(found.entry is not None and found.entry.expires > now for found in results):
        return recalling.join(results)

    def end() -> list[Found]:
        return recalling.join(without_invalidated(left, resolve(left, results, unresolved)))

    return end


def _may_concern(keys: Iterable[str]) -> bool:
    """
    Tell whether what waits for a commit, of any thread, concerns one of these keys.

    A token of a nested call that is in another cache has its alias before the key.
    """
    waiting = [pending for several in list(commits.waiting.values()) for pending in several]
    names = [key.rpartition(" ")[2] for key in keys]
    return commits.ANY_THREAD in commits.waiting or any(
        name in pending.invalidated or name in pending.entries_by_key for pending in waiting for name in names
    )
