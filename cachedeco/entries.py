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
from enum import Enum
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


class Absent(Enum):
    """What an entry holds where there is no value: a function over many ids does not know this one."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


class Entry(NamedTuple):
    """A stored value whose stamp is what the tokens are now."""

    value: Any  #: a copy that no other caller has
    expires: float  #: seconds since the epoch; infinity for ever
    seconds: float  #: what the computation took


Stamp = tuple[bytes, ...]  # tokens in the order of their keys

_header = Struct("<ddI")  # expires, seconds, and the length of what stands before it: the names of inner tokens


def seal(stamp: Sequence[bytes], inner: Mapping[str, bytes], expires: float, seconds: float, pickled: bytes) -> bytes:
    """
    Return the bytes to store: value, names of inner tokens, times, stamp, format.

    What is checked first comes last, because a pickle knows where it ends: a hit need not cut it out.

    Args:
        stamp: The tokens that the call itself depends on.

        inner: The tokens that calls inside it depended on, by name.

        expires: When it is due, in seconds since the epoch; infinity for never.

        seconds: What the computation took.

        pickled: The value.
    """
    names = "\n".join(inner).encode()
    tail = _tail((*stamp, *inner.values()))
    return b"".join((pickled, names, _header.pack(expires, seconds, len(names)), tail))


def unseal(store: Store, keys: Sequence[str], found: Mapping[str, object] | None) -> Entry | None:
    """
    Return the entry if its stamp is what the tokens are now.

    Args:
        store: Where it comes from, for the event if it can't be unpickled.

        keys: The entry's key, then those of its tokens, inner ones included.

        found: What the cache holds. Whatever it is, this does not raise.
    """
    try:
        sealed: Any = found[keys[0]]  # type: ignore[index] # None is caught like any other nonsense
        tail = _tail([found[key] for key in keys[1:]])  # type: ignore[index, misc] # as above
        if not sealed.endswith(tail):
            return None
        expires, seconds, _ = _header.unpack_from(sealed, len(sealed) - len(tail) - _header.size)
    except (KeyError, TypeError, AttributeError, StructError):
        return None  # absent, or bytes that are none of ours
    try:
        value = pickle.loads(sealed)  # noqa: S301 -- docs/how-it-works.md says what pickle means for trust
    except Exception as error:  # noqa: BLE001 -- whatever a class does when it is unpickled
        emit(Event("error", store.function, keys[0], store.alias, reason="The entry can't be unpickled", error=error))
        return None
    return Entry(value, expires, seconds)


def inner_names(keys: Sequence[str], found: Mapping[str, object]) -> list[str] | None:
    """
    Return the names of the inner tokens of an entry; None where there is none, or where its own stamp is dead.

    Args:
        keys: The entry's key, then those of the tokens that the call itself depends on.

        found: What the cache holds of them.
    """
    sealed = found.get(keys[0])
    if not isinstance(sealed, bytes) or not sealed.endswith(FORMAT):
        return None
    try:
        end = len(sealed) - len(FORMAT) - _number.size
        start = end - TOKEN_BYTES * _number.unpack_from(sealed, end)[0]
        own = b"".join([found[key] for key in keys[1:]])  # type: ignore[misc] # what is no bytes is caught
        names_end = start - _header.size
        length = _header.unpack_from(sealed, names_end)[2]
        text = sealed[names_end - length : names_end].decode()
    except (KeyError, TypeError, StructError, UnicodeDecodeError):
        return None
    return (text.split("\n") if text else []) if sealed.startswith(own, start) else None


# --- tokens and stamps ---


_number = Struct("<H")
MOST_TOKENS: Final = 0xFFFF  # whose number that can tell


def _tail(tokens: Sequence[bytes]) -> bytes:
    """Return how an entry with this stamp ends: the tokens, their number, so that they have one reading, the format."""
    return b"".join(tokens) + _number.pack(len(tokens)) + FORMAT


def is_token(value: object) -> bool:
    """Tell a token from anything else that may lie under its name."""
    return isinstance(value, bytes) and len(value) == TOKEN_BYTES


def capture(store: Store, tokens: Sequence[str], found: Mapping[str, object], lifetime: float | None) -> Stamp | None:
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
        found = {**found, **minted(store, {key: lifetimes[key] for key in absent}, found)}
    standing = tuple([found.get(key) for key in tokens])
    return standing if all(map(is_token, standing)) else None  # type: ignore[return-value] # tokens, as just tested


def minted(store: Store, absent: Mapping[str, float | None], found: Mapping[str, object]) -> Mapping[str, object]:
    """
    Mint tokens, and return those that stand: ours, or those of callers who were quicker.

    With `add`, so that callers who race agree on the first: a `set_many` would cost one command for them all, and let
    each kill the entries of the others. Only what is there and is no token has to be overwritten.
    """
    fresh = {key: urandom(TOKEN_BYTES) for key in absent}
    spoiled = {key: fresh[key] for key in absent if key in found}
    if spoiled and store.set_many(spoiled, None):
        return {}
    won = [store.add(key, fresh[key], absent[key]) for key in absent if key not in spoiled]
    return fresh if all(won) else store.get_many(list(absent)) or {}
