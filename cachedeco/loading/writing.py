"""On what terms values are kept: what becomes of a computed value on its way into the cache, and how it is read."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from math import inf
from random import random
from time import time
from typing import Final, NamedTuple, TypeVar

from cachedeco.invalidation import transactions
from cachedeco.loading.policy import CachePolicy
from cachedeco.storage.entries import Entry, Stamp, encode_entry
from cachedeco.tracking import nested_names

V = TypeVar("V")

# An entry stays in the cache so much longer than it is served, in seconds: that it is due is then seen by it, and who
# refreshes it is told from who did so last time.
RETENTION: Final = 5.0


# --- to read ---


# --- to store ---


class PendingEntry(NamedTuple):
    """What an entry to come is made of, besides its value."""

    policy: CachePolicy
    key: str
    stamp: Stamp | None  #: None: it is not to be stored
    inner: Mapping[str, bytes]  #: the tokens of the calls inside, by name
    seconds: float  #: what the computation took


class PendingWrite(NamedTuple):
    """An entry on its way to the cache."""

    pending: PendingEntry
    sealed: bytes
    timeout: float | None
    on_failure: Callable[[], None] | None

    def __hash__(self) -> int:
        """Hash by the bytes: what they were made of can't be."""
        return hash(self.sealed)


def store_value(pending: PendingEntry, value: object, on_failure: Callable[[], None] | None = None) -> bytes | None:
    """
    Store a value: when the transaction commits, if one is open, as the value may hold what it has written.

    *otherwise* is called where that can't be, or where the cache does not acknowledge it.

    Returns:
        The packed value, of which others who wait for it make copies of their own; None if it can't be packed.
    """
    packed, sealed_ = encode_value(pending, value)
    if sealed_:
        transactions.at_commit(pending.policy.using, write, [PendingWrite(pending, *sealed_, on_failure)])
    elif on_failure:
        on_failure()
    return packed


def encode_value(pending: PendingEntry, value: object) -> tuple[bytes | None, tuple[bytes, float | None] | None]:
    """Return the packed value, and the bytes to store with how long the cache is to hold them; None what can't be."""
    timeout, is_kept = _timeout_of(pending, value)
    try:
        packed = pending.policy.codec.serializer.dumps(value)
        return packed, sealed(pending, packed, timeout) if is_kept else None
    except Exception as error:  # noqa: BLE001 -- the caller has its value, whatever keeps us from storing it
        if is_kept:
            pending.policy.tell("error", pending.key, reason="The value can't be stored", error=error)
        return None, None


def _timeout_of(pending: PendingEntry, value: object) -> tuple[float | None, bool]:
    """Return the timeout of a value, and whether it is to be stored; that it is not is an event."""
    policy, key = pending.policy, pending.key
    if pending.stamp is None:
        return None, False  # an event already
    try:
        is_wanted, timeout = policy.cache_if(value), policy.timeout(value)
    except Exception as error:  # noqa: BLE001 -- as in keep()
        policy.tell("error", key, reason="The value can't be stored", error=error)
        return None, False
    if not is_wanted:
        policy.tell("unstored", key, reason="cache_if says no")
    elif timeout == 0:
        policy.tell("unstored", key, reason="its timeout is 0")
    else:
        nested_names.remember(key, pending.inner)
        return timeout, True
    return None, False


def sealed(pending: PendingEntry, packed: bytes, timeout: float | None) -> tuple[bytes, float | None]:
    """Return the bytes to store, and how long the cache is to hold them."""
    if timeout is None:
        expires, held = inf, None
    else:
        # Entries that were written together are not to be due together.
        timeout *= 1 - pending.policy.jitter * random() if pending.policy.jitter else 1
        expires, held = time() + timeout, timeout + max(pending.policy.max_stale, RETENTION)
    entry = Entry(packed, expires, pending.seconds)
    return encode_entry(pending.policy.codec, pending.key, pending.stamp or (), pending.inner, entry), held


def write(writes: Sequence[PendingWrite]) -> None:
    """Send entries to the cache."""
    with ExitStack() as left:  # calls each of them, though one raises
        for pending, bytes_, timeout, on_failure in writes:
            store = pending.policy.store
            if on_failure is None:
                arrived = store.set(pending.key, bytes_, timeout)
            else:  # what it replaces must not stay: set_many is the write that tells the truth
                arrived = not store.set_many({pending.key: bytes_}, timeout)
            if arrived:
                pending.policy.tell("stored", pending.key)
            elif on_failure:
                left.callback(on_failure)
