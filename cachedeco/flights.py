"""
Who computes: the steps of a call that could not be served, and the two drivers that take them.

The steps are written once, as generators that yield what they want done: a callable that talks to the cache or to
the database connection, or `COMPUTE`, the user's function. `run()` does it here and now; `arun()` awaits the function,
and does the rest in the thread where Django keeps its connections.
"""

import inspect
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from math import inf
from time import perf_counter, time
from typing import Any, Final, Literal, NamedTuple, TypeVar

from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.db.models.query import RawQuerySet

from cachedeco import transactions
from cachedeco.events import Event, Kind, emit
from cachedeco.namespaces import PICKLE_PROTOCOL, capture, seal
from cachedeco.store import Store

V = TypeVar("V")


class Work(Enum):
    """What a step may be, besides a callable."""

    COMPUTE = "call the user's function"


COMPUTE: Final = Work.COMPUTE
Steps = Generator[Callable[[], Any] | Literal[Work.COMPUTE], Any, V]


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


# --- steps ---


def steps_of_bypass(function: str, otherwise: Callable[[], None] | None = None) -> Steps[Any]:
    """Compute, and store nothing. *otherwise* is called then, as in `steps_of_miss`."""
    emit(Event("bypassed", function))
    began = perf_counter()
    value = yield COMPUTE
    emit(Event("computed", function, seconds=perf_counter() - began))
    if otherwise:
        yield otherwise
    return value


def steps_of_miss(
    terms: Terms,
    keys: Sequence[str],
    found: Mapping[str, object] | None,
    otherwise: Callable[[], None] | None = None,
) -> Steps[Any]:
    """
    Compute and store.

    Args:
        terms: Those of the function.

        keys: The entry's key, then those of its tokens.

        found: What was read of them; None where the cache could not be asked.

        otherwise: Called where the value can't be stored, or does not arrive.
    """
    # Before the computation: an invalidation that arrives during it must find the entry dead at birth.
    stamp = yield partial(stamped, terms, keys, found)
    began = perf_counter()
    value = yield COMPUTE
    value = yield partial(settled, terms, value)
    seconds = perf_counter() - began
    terms.tell("computed", keys[0], seconds=seconds)
    if stamp is not None:
        yield partial(keep, terms, keys[0], stamp, seconds, value, otherwise)
    elif otherwise:
        yield otherwise
    return value


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


# --- drivers ---


def run(steps: Steps[V], compute: Callable[[], V]) -> V:
    """Take the steps here and now."""
    answer: object = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return] # the generator's own V
        # Outside the try: a StopIteration of the user's function is no end of the steps.
        answer = compute() if step is COMPUTE else step()


async def arun(steps: Steps[V], compute: Callable[[], Awaitable[V]]) -> V:
    """Take the steps, each but the computation in the thread where Django keeps its connections."""
    answer: object = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return] # as above
        answer = await compute() if step is COMPUTE else await sync_to_async(step)()
