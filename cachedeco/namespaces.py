"""
Versioned namespaces: why what you read was not invalidated.

The data
    A *token* is sixteen random bytes in the cache, under a name of its own. Each call has one, each function has
    one, each namespace has one. An *entry* is a value together with its *stamp*: the tokens that its call
    depended on, in order, as they stood before its computation began. To invalidate is to write a new token.

The read
    One `get_many` fetches the entry and its tokens. The entry is served if its stamp is what the tokens are now.
    Otherwise the tokens that were read become the stamp of the entry to come; those that are absent are minted.

Why it is right
    Suppose a read begins after an invalidation was acknowledged. What it serves has a stamp equal to the tokens
    now. Tokens never repeat, so the stamp was read after the invalidation, and the computation began after that:
    it saw what the invalidation announced. This holds for any number of readers and writers, and whatever the
    server evicts: an absent token is no token, so a lost one can only cause a miss. A counter that is lost
    begins again and returns to the past; a clock can be set; a stamp read after the computation vouches for
    data that it never saw. Facebook's leases (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, 3.2.1)
    prevent the same race by a token that a delete revokes.

Not promised
    A writer killed between its commit and its invalidation, a server that was unreachable during an invalidation,
    a database replica that lags: until the entry's timeout, these may let an old value be read.
"""

import pickle
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from enum import Enum
from itertools import accumulate
from os import urandom
from struct import Struct
from struct import error as StructError  # noqa: N812 -- a class with the name of a variable
from typing import Any, Final, NamedTuple
from urllib.parse import quote
from uuid import UUID

import django
from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model

from cachedeco import conf, transactions
from cachedeco.encoders import repr_of
from cachedeco.events import Event, emit
from cachedeco.store import Store, fit

TOKEN_BYTES: Final = 16
# Attempts to deliver an invalidation: a client that found its idle connection dead opens a new one for the second.
ATTEMPTS: Final = 2
# An entry of another format, or of another Django (whose models and QuerySets unpickle with a warning), is a miss.
FORMAT: Final = f"\ncachedeco 1, Django {django.__version__}".encode()
# Fixed rather than "highest": processes on an older Python must read what those on a newer one wrote.
PICKLE_PROTOCOL: Final = 5


# --- names ---


class Namespace:
    """
    Name what several entries depend on, whatever function made them.

    ::

        Namespace("club", club.pk).invalidate()  # every entry of every function under club:7
        Namespace("club").invalidate()           # ... and of all clubs

    A namespace covers all that begin with its parts. The instance is immutable, hashable and cheap; nothing is
    registered anywhere. Parts are compared as text, since one that comes from a URL must reach what one that comes
    from a row has stored: `7`, `"7"` and the row whose primary key it is name the same.

    Args:
        parts: One or more of str, int, UUID, date, datetime, an enum's member with such a value, a saved row.

    Raises:
        TypeError: There are no parts, or one is of another type or a row that is not saved.
    """

    __slots__ = ("path",)

    path: str  #: the parts, quoted and joined by ":"

    def __init__(self, *parts: object) -> None:
        """Join the parts."""
        if not parts:
            msg = "Namespace() takes one or more parts, such as Namespace('club', 7)."
            raise TypeError(msg)
        self.path = ":".join([part_of(part) for part in parts])

    def token_name(self, prefix: str) -> str:
        """Return the key of this namespace's own token."""
        return f"{prefix}:n:{self.path}"

    def token_names(self, prefix: str) -> list[str]:
        """Return the keys of the tokens that an entry in this namespace depends on: its ancestors' and its own."""
        return [f"{prefix}:n:{path}" for path in accumulate(self.path.split(":"), "{}:{}".format)]

    def __repr__(self) -> str:
        """Show the path."""
        return f"<Namespace {self.path}>"

    def __eq__(self, other: object) -> bool:
        """Compare by path."""
        return isinstance(other, Namespace) and self.path == other.path

    def __hash__(self) -> int:
        """Hash by path."""
        return hash((Namespace, self.path))

    def invalidate(self, *, using: str = DEFAULT_DB_ALIAS) -> None:
        """
        Invalidate every entry under this namespace, in every cache of the setting `CACHES`: one command for each.

        Inside `atomic()` this takes effect for this connection at once, and for everybody when it commits. An
        invalidation that a cache does not acknowledge is logged at ERROR, and counted; this method does not raise.

        Args:
            using: Alias of the database whose transaction to wait for.
        """
        if conf.current_mode() == "off":
            return
        settings = conf.settings()
        for alias in settings.CACHES:
            store = Store(alias)
            [key] = fit([self.token_name(settings.KEY_PREFIX)], store.room())
            invalidate(using, Invalidation(store, key))

    async def ainvalidate(self, *, using: str = DEFAULT_DB_ALIAS) -> None:
        """Invalidate as `invalidate()` does, from async code."""
        await sync_to_async(self.invalidate)(using=using)


def part_of(value: object) -> str:
    """Return the text of one part of a namespace's path, without a ":" or anything else that could forge one."""
    if isinstance(value, Model):
        if value.pk is None or value._state.adding:  # noqa: SLF001 -- Django documents _state for this
            msg = f"{repr_of(value)} is not saved, so it names no namespace: save it first."
            raise TypeError(msg)
        return part_of(value.pk)
    if isinstance(value, Enum):
        return part_of(value.value)
    if isinstance(value, date):
        return quote(value.isoformat(), safe="")
    if not isinstance(value, str | int | UUID):
        kinds = "str, int, UUID, date, datetime, enum members or rows"
        msg = f"Namespace() can't take {repr_of(value)}; its parts are {kinds}."
        raise TypeError(msg)
    text = str(value)
    return text if text.isascii() and text.isalnum() else quote(text, safe="", errors="surrogatepass")


def paths_of(prefix: str, given: object) -> list[str]:
    """Return the keys of the tokens of the namespaces that a callable gave."""
    spaces = [given] if isinstance(given, Namespace) else given
    if isinstance(spaces, Iterable) and not isinstance(spaces, str):
        found = list(spaces)
        if all(isinstance(each, Namespace) for each in found):
            # Sorted: a set has another order in each process, and the stamp keeps the order of the tokens.
            return sorted({name for each in found for name in each.token_names(prefix)})
    msg = f"the callable of namespace= gave {given!r}; it must give a Namespace, or several: Namespace('club', 7)."
    raise TypeError(msg)


# --- entries ---


class Entry(NamedTuple):
    """A stored value whose stamp is what the tokens are now."""

    value: Any  #: a copy that no other caller has
    expires: float  #: seconds since the epoch; infinity for ever
    seconds: float  #: what the computation took


_times = Struct("<dd")


def seal(stamp: bytes, expires: float, seconds: float, pickled: bytes) -> bytes:
    """
    Return the bytes to store: value, times, stamp, format.

    What is checked first comes last, because a pickle knows where it ends: a hit need not cut it out.
    """
    return b"".join((pickled, _times.pack(expires, seconds), stamp, FORMAT))


def unseal(store: Store, keys: Sequence[str], found: Mapping[str, object] | None) -> Entry | None:
    """
    Return the entry if its stamp is what the tokens are now.

    Args:
        store: Where it comes from, for the event if it can't be unpickled.

        keys: The entry's key, then those of its tokens.

        found: What the cache holds. Whatever it is, this does not raise.
    """
    try:
        sealed: Any = found[keys[0]]  # type: ignore[index] # None is caught like any other nonsense
        tail = stamp_of([found[key] for key in keys[1:]]) + FORMAT  # type: ignore[index]
        if not sealed.endswith(tail):
            return None
        expires, seconds = _times.unpack_from(sealed, len(sealed) - len(tail) - _times.size)
    except (KeyError, TypeError, AttributeError, StructError):
        return None  # absent, or bytes that are none of ours
    try:
        value = pickle.loads(sealed)  # noqa: S301 -- docs/how-it-works.md says what pickle means for trust
    except Exception as error:  # noqa: BLE001 -- whatever a class does when it is unpickled
        emit(Event("error", store.function, keys[0], store.alias, reason="The entry can't be unpickled", error=error))
        return None
    return Entry(value, expires, seconds)


# --- tokens and stamps ---


def stamp_of(tokens: Sequence[Any]) -> bytes:
    """Return the stamp made of these tokens: their number, so that it has one reading, and they themselves."""
    return len(tokens).to_bytes(2) + b"".join(tokens)


def is_token(value: object) -> bool:
    """Tell a token from anything else that may lie under its name."""
    return isinstance(value, bytes) and len(value) == TOKEN_BYTES


def capture(store: Store, tokens: Sequence[str], found: Mapping[str, object], lifetime: float | None) -> bytes | None:
    """
    Return the stamp for a computation that begins after this call, minting the tokens that are absent.

    Args:
        store: The cache.

        tokens: Keys of the tokens, the call's own first.

        found: What has been read of them.

        lifetime: Seconds that the call's own token is to live, None for ever. The others are few, and live for ever.

    Returns:
        None where a token is neither there nor can be made to be: the cache is not well, so nothing may be stored.
    """
    absent = [key for key in tokens if not is_token(found.get(key))]
    if absent:
        lifetimes = dict.fromkeys(absent, None) | {tokens[0]: lifetime}
        found = {**found, **_minted(store, tokens[0], {key: lifetimes[key] for key in absent}, found)}
    standing = [found.get(key) for key in tokens]
    return stamp_of(standing) if all(map(is_token, standing)) else None


def _minted(
    store: Store, own: str, absent: Mapping[str, float | None], found: Mapping[str, object]
) -> Mapping[str, object]:
    """
    Mint tokens, and return those that stand: ours, or those of callers who were quicker.

    The call's own token and one more are minted with `add`, so that callers who race agree on the first. More are
    absent only where much is new, or was evicted: one `set_many` for them then, to stay within four commands, and for
    what is there but is no token. By that, callers who race may kill each other's entries (a miss more) and never
    revive one, since no token is written twice.
    """
    fresh: dict[str, bytes] = {key: urandom(TOKEN_BYTES) for key in absent}
    shared = [key for key in absent if key != own]
    crowd = {key: fresh[key] for key in absent if key in found or (key in shared and len(shared) > 1)}
    if crowd and store.set_many(crowd, None):
        return {}
    won = [store.add(key, fresh[key], absent[key]) for key in absent if key not in crowd]
    return fresh if all(won) else store.get_many(list(absent)) or {}


# --- invalidation ---


class Invalidation(NamedTuple):
    """One token to be replaced."""

    store: Store
    key: str
    lifetime: float | None = None  #: seconds that the new token is to live, None for ever


def invalidate(using: str, invalidation: Invalidation) -> None:
    """Replace a token when the transaction open on a database commits; at once where there is none."""
    transactions.at_commit(using, deliver, invalidation, touches=(invalidation.key,))


def deliver(invalidations: Sequence[Invalidation]) -> None:
    """
    Write new tokens: one command for each cache, and one more where some tokens live for ever and some do not.

    What is not acknowledged in the end is an event, "lost".
    """
    together: dict[tuple[str, bool], dict[str, Invalidation]] = defaultdict(dict)
    for each in invalidations:
        together[each.store.alias, each.lifetime is None][each.key] = each
    for tokens in together.values():
        _deliver_to_one(tokens)


def _deliver_to_one(tokens: Mapping[str, Invalidation]) -> None:
    store = next(iter(tokens.values())).store
    lifetime = max((each.lifetime for each in tokens.values() if each.lifetime is not None), default=None)
    left = list(tokens)
    for _attempt in range(ATTEMPTS):
        # A fresh token for every attempt: a first one that arrives late must not bring back what it stood for.
        left = list(store.set_many({key: urandom(TOKEN_BYTES) for key in left}, lifetime))
        if not left:
            break
    for key, each in tokens.items():
        emit(Event("lost" if key in left else "invalidated", each.store.function, key, each.store.alias))
