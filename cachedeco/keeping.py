"""On what terms values are kept: what becomes of a computed value on its way into the cache, and how it is read."""

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from random import random
from time import time
from typing import Any, Final, Literal, NamedTuple, TypeVar

from django.db.models import QuerySet
from django.db.models.query import RawQuerySet

from cachedeco import nesting, transactions
from cachedeco.entries import Entry, Shelf, Stamp, capture, inner_names, seal, unseal
from cachedeco.events import Event, Kind, emit
from cachedeco.steps import Outcome, Raised, Value
from cachedeco.store import Store

V = TypeVar("V")

# An entry stays in the cache so much longer than it is served, in seconds: that it is due is then seen by it, and who
# refreshes it is told from who did so last time.
RETENTION: Final = 5.0

# Why an entry has no stamp.
OLD_SNAPSHOT: Final = "the transaction's snapshot may be older than the stamp"
NO_TOKENS: Final = "the cache has no tokens for it"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On what terms the values of one function are kept: its options, under the settings in force. Times in seconds."""

    function: str
    store: Store
    shelf: Shelf
    using: str
    timeout: Callable[[Any], float | None]  #: takes the value; None = for ever, 0 = do not store
    cache_if: Callable[[Any], object]
    lifetime: float | None  #: how long a call's own token lives, None for ever
    stale: float  #: how long past its timeout an entry may be served while one caller refreshes it
    stale_on_error: float  #: ... and when the computation raises
    early: float  #: XFetch's beta
    jitter: float  #: by which fraction a timeout may be shortened
    wait: float  #: how long a caller waits for another one's computation
    nested: bool  #: whether an entry depends on the cached calls inside its computation
    refresh: Literal["caller", "thread", "task"]  #: who refreshes an entry while others are served the old value
    audit: float = 0.0  #: how likely a hit is to be audited

    @property
    def grace(self) -> float:
        """How long past its timeout an entry may be served at all."""
        return max(self.stale, self.stale_on_error)

    def tell(
        self, kind: Kind, key: str, *, seconds: float = 0.0, reason: str = "", error: BaseException | None = None
    ) -> None:
        """Emit an event about a call of this function."""
        emit(Event(kind, self.function, key, self.store.alias, seconds, reason, error))


# --- to read ---


Look = tuple[Sequence[str], Any, Entry | None]  # keys, what was found of them (a dict, or None), entry


def looked_up(terms: Terms, keys: Sequence[str], also: Sequence[str] = ()) -> Look:
    """
    Look up an entry by one `get_many`; by one more where this process does not know yet what calls inside it told.

    Args:
        terms: Those of the function.

        keys: The entry's key, then those of the tokens that the call itself depends on.

        also: Other keys to ask for, before these.

    Returns:
        The keys of all that the entry depends on; what the cache holds of them, or else what this transaction keeps
        for its commit (None: it could not be asked); the entry, whatever its age, if its stamp is alive.
    """
    inner = nesting.remembered.get(keys[0], ()) if nesting.remembered else ()
    own = keys
    if inner:
        keys = [*own, *inner]
        found = nesting.asked(terms.store, [*also, *keys])
    else:
        found = terms.store.get_many([*also, *keys] if also else keys)
    if transactions.waiting and found is not None:
        found |= {each.draft.key: each.sealed for each in transactions.items_for(write) if each.draft.key == keys[0]}
    entry = unseal(terms.shelf, keys, found)
    if found and (inner or entry is None):
        return _looked_inside(terms, own, inner, found, entry)
    return keys, found, entry


def _looked_inside(
    terms: Terms, keys: Sequence[str], inner: tuple[str, ...], found: dict[str, object], entry: Entry | None
) -> Look:
    """Look the entry up again where it depends on other names than were asked for."""
    names = inner_names(terms.shelf, keys, found)
    if names is None:
        return keys, found, None
    every = [*keys, *names]
    # What this transaction has invalidated is old for itself, though nobody else may know yet.
    if transactions.waiting and transactions.touched([name.rpartition(" ")[2] for name in names]):
        return keys, found, None
    missing = [name for name in names if name not in found]
    if entry is None and names != [*inner]:
        there = nesting.asked(terms.store, missing) if missing else {}
        if there is None:
            return keys, found, None  # and whoever remembers names that can't be asked for can't ask for anything
        found |= there
        entry = unseal(terms.shelf, every, found)
    nesting.remember(keys[0], names)
    return every, found, entry


def stamped(terms: Terms, keys: Sequence[str], found: Mapping[str, object] | None) -> Stamp | None:
    """Return the stamp for the entry to come; None where there is to be none."""
    if transactions.snapshot_may_be_old(terms.using):
        terms.tell("unstored", keys[0], reason=OLD_SNAPSHOT)
        return None
    stamp = None if found is None else capture(terms.store, keys[1:], found, terms.lifetime)
    if stamp is None:
        terms.tell("unstored", keys[0], reason=NO_TOKENS)
    return stamp


# --- to store ---


def settled(function: str, outcome: Value[Any]) -> Outcome[Any]:
    """Return the value once what it stands for is there, or what that raised."""
    try:
        return Value(_settled(function, outcome.value))
    except Exception as error:  # noqa: BLE001 -- the driver raises it
        return Raised(error)


def _settled(function: str, value: V) -> V:
    """
    Return the value once what it stands for is there: a QuerySet has its rows.

    Raises:
        TypeError: It can be gone through only once, so what one caller has read would be missing for the next, or it
            would fetch its rows at each hit.
    """
    if isinstance(value, Iterator | AsyncIterator) or inspect.isawaitable(value):
        msg = f"{function}() returned {value!r}, which can be used only once; return a list, or what it awaits."
        if inspect.iscoroutine(value):
            value.close()  # or Python warns that nobody has awaited it
        raise TypeError(msg)
    if isinstance(value, RawQuerySet):
        msg = f"{function}() returned a RawQuerySet, which would query again at each hit; return list(...) of it."
        raise TypeError(msg)
    if isinstance(value, QuerySet):
        len(value)  # fetches the rows: an error of the database is the caller's, as without a cache
    return value


class Draft(NamedTuple):
    """What an entry to come is made of, besides its value."""

    terms: Terms
    key: str
    stamp: Stamp | None  #: None: it is not to be stored
    inner: Mapping[str, bytes]  #: the tokens of the calls inside, by name
    seconds: float  #: what the computation took


class Write(NamedTuple):
    """An entry on its way to the cache."""

    draft: Draft
    sealed: bytes
    timeout: float | None
    otherwise: Callable[[], None] | None

    def __hash__(self) -> int:
        """Hash by the bytes: what they were made of can't be."""
        return hash(self.sealed)


def keep(draft: Draft, value: object, otherwise: Callable[[], None] | None = None) -> bytes | None:
    """
    Store a value: when the transaction commits, if one is open, as the value may hold what it has written.

    *otherwise* is called where that can't be, or where the cache does not acknowledge it.

    Returns:
        The packed value, of which others who wait for it make copies of their own; None if it can't be packed.
    """
    packed, sealed_ = prepared(draft, value)
    if sealed_:
        transactions.at_commit(draft.terms.using, write, [Write(draft, *sealed_, otherwise)])
    elif otherwise:
        otherwise()
    return packed


def prepared(draft: Draft, value: object) -> tuple[bytes | None, tuple[bytes, float | None] | None]:
    """Return the packed value, and the bytes to store with how long the cache is to hold them; None what can't be."""
    timeout, is_kept = _timeout_of(draft, value)
    try:
        packed = draft.terms.shelf.form.pack(value)
        return packed, sealed(draft, packed, timeout) if is_kept else None
    except Exception as error:  # noqa: BLE001 -- the caller has its value, whatever keeps us from storing it
        if is_kept:
            draft.terms.tell("error", draft.key, reason="The value can't be stored", error=error)
        return None, None


def _timeout_of(draft: Draft, value: object) -> tuple[float | None, bool]:
    """Return the timeout of a value, and whether it is to be stored; that it is not is an event."""
    terms, key = draft.terms, draft.key
    if draft.stamp is None:
        return None, False  # an event already
    try:
        is_wanted, timeout = terms.cache_if(value), terms.timeout(value)
    except Exception as error:  # noqa: BLE001 -- as in keep()
        terms.tell("error", key, reason="The value can't be stored", error=error)
        return None, False
    if not is_wanted:
        terms.tell("unstored", key, reason="cache_if says no")
    elif timeout == 0:
        terms.tell("unstored", key, reason="its timeout is 0")
    else:
        nesting.remember(key, draft.inner)
        return timeout, True
    return None, False


def sealed(draft: Draft, packed: bytes, timeout: float | None) -> tuple[bytes, float | None]:
    """Return the bytes to store, and how long the cache is to hold them."""
    if timeout is None:
        expires, held = inf, None
    else:
        # Entries that were written together are not to be due together.
        timeout *= 1 - draft.terms.jitter * random() if draft.terms.jitter else 1  # noqa: S311 -- no secret
        expires, held = time() + timeout, timeout + max(draft.terms.grace, RETENTION)
    entry = Entry(packed, expires, draft.seconds)
    return seal(draft.terms.shelf, draft.key, draft.stamp or (), draft.inner, entry), held


def write(writes: Sequence[Write]) -> None:
    """Send entries to the cache."""
    with ExitStack() as left:  # calls each of them, though one raises
        for draft, bytes_, timeout, otherwise in writes:
            store = draft.terms.store
            if otherwise is None:
                arrived = store.set(draft.key, bytes_, timeout)
            else:  # what it replaces must not stay: set_many is the write that tells the truth
                arrived = not store.set_many({draft.key: bytes_}, timeout)
            if arrived:
                draft.terms.tell("stored", draft.key)
            elif otherwise:
                left.callback(otherwise)
