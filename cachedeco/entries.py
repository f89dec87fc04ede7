"""
Entries and the tokens that they depend on: why what you read was not invalidated.

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
from collections.abc import Mapping, Sequence
from os import urandom
from struct import Struct
from struct import error as StructError  # noqa: N812 -- a class with the name of a variable
from typing import Any, Final, NamedTuple

import django

from cachedeco.events import Event, emit
from cachedeco.store import Store

TOKEN_BYTES: Final = 16
# An entry of another format, or of another Django (whose models and QuerySets unpickle with a warning), is a miss.
FORMAT: Final = f"\ncachedeco 1, Django {django.__version__}".encode()
# Fixed rather than "highest": processes on an older Python must read what those on a newer one wrote.
PICKLE_PROTOCOL: Final = 5


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
