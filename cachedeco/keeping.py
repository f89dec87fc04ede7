"""On what terms values are kept: what becomes of a computed value on its way into the cache, and how it is read."""

import inspect
import pickle
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from time import time
from typing import Any, NamedTuple, TypeVar

from django.db.models import QuerySet
from django.db.models.query import RawQuerySet

from cachedeco import transactions
from cachedeco.entries import PICKLE_PROTOCOL, capture, seal
from cachedeco.events import Event, Kind, emit
from cachedeco.store import Store

V = TypeVar("V")


@dataclass(frozen=True)
class Terms:
    """On what terms the values of one function are kept: its options, under the settings in force."""

    function: str
    store: Store
    using: str
    timeout: Callable[[Any], float | None]  #: takes the value, gives seconds; 0 = do not store
    cache_if: Callable[[Any], object]
    lifetime: float | None  #: seconds that a call's own token lives

    def tell(
        self, kind: Kind, key: str, *, seconds: float = 0.0, reason: str = "", error: Exception | None = None
    ) -> None:
        """Emit an event about a call of this function."""
        emit(Event(kind, self.function, key, self.store.alias, seconds, reason, error))


def stamped(terms: Terms, keys: Sequence[str], found: Mapping[str, object] | None) -> bytes | None:
    """Return the stamp for the entry to come; None where there is to be none."""
    if transactions.snapshot_may_be_old(terms.using):
        terms.tell("unstored", keys[0], reason="the transaction's snapshot may be older than the stamp")
        return None
    stamp = None if found is None else capture(terms.store, keys[1:], found, terms.lifetime)
    if stamp is None:
        terms.tell("unstored", keys[0], reason="the cache has no tokens for it")
    return stamp


def settled(terms: Terms, value: V) -> V:
    """
    Return the value once what it stands for is there: a QuerySet has its rows.

    Raises:
        TypeError: It can be gone through only once, so what one caller has read would be missing for the next, or it
            would fetch its rows at each hit.
    """
    if isinstance(value, Iterator | AsyncIterator) or inspect.isawaitable(value):
        msg = f"{terms.function}() returned {value!r}, which can be used only once; return a list, or what it awaits."
        if inspect.iscoroutine(value):
            value.close()  # or Python warns that nobody has awaited it
        raise TypeError(msg)
    if isinstance(value, RawQuerySet):
        msg = f"{terms.function}() returned a RawQuerySet, which would query again at each hit; return list(...) of it."
        raise TypeError(msg)
    if isinstance(value, QuerySet):
        len(value)  # fetches the rows: an error of the database is the caller's, as without a cache
    return value


class Write(NamedTuple):
    """An entry on its way to the cache."""

    terms: Terms
    key: str
    sealed: bytes
    timeout: float | None
    otherwise: Callable[[], None] | None


def keep(  # noqa: PLR0913, PLR0917 -- what an entry is made of
    terms: Terms, key: str, stamp: bytes, seconds: float, value: object, otherwise: Callable[[], None] | None = None
) -> None:
    """
    Store a value: when the transaction commits, if one is open, as the value may hold what it has written.

    *otherwise* is called where that can't be, or where the cache does not acknowledge it.
    """
    sealed = sealed_value(terms, key, stamp, seconds, value)
    if sealed is not None:
        transactions.at_commit(terms.using, write, Write(terms, key, *sealed, otherwise))
    elif otherwise:
        otherwise()


def sealed_value(
    terms: Terms, key: str, stamp: bytes, seconds: float, value: object
) -> tuple[bytes, float | None] | None:
    """Return the bytes to store and their timeout. A value that can't be stored, or is not to be, is an event."""
    try:
        if not terms.cache_if(value):
            terms.tell("unstored", key, reason="cache_if says no")
            return None
        timeout = terms.timeout(value)
        pickled = pickle.dumps(value, PICKLE_PROTOCOL)
    except Exception as error:  # noqa: BLE001 -- the caller has its value, whatever keeps us from storing it
        terms.tell("error", key, reason="The value can't be stored", error=error)
        return None
    if timeout == 0:
        terms.tell("unstored", key, reason="its timeout is 0")
        return None
    expires = inf if timeout is None else time() + timeout
    return seal(stamp, expires, seconds, pickled), timeout


def write(writes: Sequence[Write]) -> None:
    """Send entries to the cache."""
    for terms, key, sealed, timeout, otherwise in writes:
        if otherwise is None:
            arrived = terms.store.set(key, sealed, timeout)
        else:  # what it replaces must not stay: set_many is the write that tells the truth
            arrived = not terms.store.set_many({key: sealed}, timeout)
        if arrived:
            terms.tell("stored", key)
        elif otherwise:
            otherwise()


def looked_up(terms: Terms, keys: Sequence[str]) -> dict[str, object] | None:
    """Return what the cache holds of an entry and its tokens, or else what this transaction keeps for its commit."""
    found = terms.store.get_many(keys)
    if transactions.waiting and found is not None:
        found |= {each.key: each.sealed for each in transactions.items_for(write) if each.key == keys[0]}
    return found
