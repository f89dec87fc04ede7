"""Write entries: decide whether a computed value is stored, encode it, and send it to the cache at commit."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from math import inf
from random import random
from time import time
from typing import Final, NamedTuple

from cachedeco.invalidation import commits
from cachedeco.loading.policy import CachePolicy
from cachedeco.storage.entries import Entry, Stamp, encode_entry
from cachedeco.tracking import nested_names

# Seconds that an entry stays in the cache after it was last served. A stale entry has its expiry, so that the lease for
# its refresh gets another name than the last one, and the seconds of its computation.
RETENTION: Final = 5.0
# The reason why a value is not stored.
UNSEEN_COMMIT: Final = "it may contain what a transaction has written that is managed by hand"


class PendingEntry(NamedTuple):
    """A new entry, without its value."""

    policy: CachePolicy
    key: str
    stamp: Stamp | None  #: None: it is not stored
    nested_tokens: Mapping[str, bytes]  #: the tokens of nested calls, by name
    seconds: float  #: what the computation took


class PendingWrite(NamedTuple):
    """An encoded entry, to be sent to the cache."""

    pending: PendingEntry
    data: bytes
    timeout: float | None
    on_failure: Callable[[], None] | None


def store_value(pending: PendingEntry, value: object, on_failure: Callable[[], None] | None = None) -> bytes | None:
    """
    Store a value: at the last commit of the open transactions that may have written what it contains.

    *on_failure* is called if the value cannot be stored or the write is not acknowledged.

    Returns:
        The serialized value, of which followers load copies of their own; None if it can't be serialized.
    """
    serialized, encoded = encode_value(pending, value)
    is_stored = False
    if encoded:
        write = PendingWrite(pending, *encoded, on_failure)
        is_stored = commits.at_last_commit(write_entries, write, {pending.key: write.data})
        if not is_stored:
            pending.policy.emit("unstored", pending.key, reason=UNSEEN_COMMIT)
    if not is_stored and on_failure:
        on_failure()
    return serialized


def encode_value(pending: PendingEntry, value: object) -> tuple[bytes | None, tuple[bytes, float | None] | None]:
    """
    Serialize a value, and encode its entry.

    Returns:
        The serialized value, and the bytes to store with their timeout in the cache. None for what can't be.
    """
    timeout, is_stored = _timeout_of(pending, value)
    try:
        serialized = pending.policy.codec.serializer.dumps(value)
        return serialized, _encode(pending, serialized, timeout) if is_stored else None
    except Exception as error:  # noqa: BLE001 -- the caller gets its value, even if it can't be stored
        if is_stored:
            pending.policy.emit("error", pending.key, reason="The value can't be stored", error=error)
        return None, None


def _timeout_of(pending: PendingEntry, value: object) -> tuple[float | None, bool]:
    """Return the timeout of a value, and whether it is stored; if not, that is an event."""
    policy, key = pending.policy, pending.key
    if pending.stamp is None:
        return None, False  # an event already
    try:
        is_wanted, timeout = policy.cache_if(value), policy.timeout(value)
    except Exception as error:  # noqa: BLE001 -- as in encode_value()
        policy.emit("error", key, reason="The value can't be stored", error=error)
        return None, False
    if not is_wanted:
        policy.emit("unstored", key, reason="cache_if says no")
    elif timeout == 0:
        policy.emit("unstored", key, reason="its timeout is 0")
    else:
        nested_names.remember(key, pending.nested_tokens)
        return timeout, True
    return None, False


def _encode(pending: PendingEntry, serialized: bytes, timeout: float | None) -> tuple[bytes, float | None]:
    """Return the bytes to store, and their timeout in the cache, which is longer than that of the entry."""
    if timeout is None:
        expires, cache_timeout = inf, None
    else:
        # Jitter: entries that were written together do not expire together.
        timeout *= 1 - pending.policy.jitter * random() if pending.policy.jitter else 1
        expires, cache_timeout = time() + timeout, timeout + max(pending.policy.max_stale, RETENTION)
    entry = Entry(serialized, expires, pending.seconds)
    data = encode_entry(pending.policy.codec, pending.key, pending.stamp or (), pending.nested_tokens, entry)
    return data, cache_timeout


def write_entries(writes: Sequence[PendingWrite]) -> None:
    """Send entries to the cache, each by one command."""
    with ExitStack() as failures:  # runs each callback, even if one raises
        for pending, data, timeout, on_failure in writes:
            store = pending.policy.store
            if on_failure is None:
                is_written = store.set(pending.key, data, timeout)
            else:  # the old entry must not stay: set_many() is the write whose result can be trusted
                is_written = not store.set_many({pending.key: data}, timeout)
            if is_written:
                pending.policy.emit("stored", pending.key)
            elif on_failure:
                failures.callback(on_failure)
