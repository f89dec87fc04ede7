"""
Direct access to the values of Django's own cache backends, past the work that they do for each key and command.

Each function returns None for a subclass, for options that change what is stored, and where Django or a client has
changed: readers and writers use the methods of the cache then. What is stored is the same bytes in either way.
"""

import pickle
import struct
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, Final, NamedTuple

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.cache.backends.redis import RedisCache, RedisCacheClient, RedisSerializer

from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.storage.redis_connections import RedisConnections
from cachedeco.storage.replies import UNDECODABLE

# redis-py's pools that make their connections of a class and arguments alone.
_POOLS: Final = frozenset({"ConnectionPool", "BlockingConnectionPool"})
# The attribute of a cache object with our connections, which so end with it.
_CONNECTIONS: Final = "cachedeco_connections"
# Of a pickle: protocol, frame with its length, and the codes of bytes with one and four bytes of length.
_FRAME: Final = pickle.FRAME[0]
_AFTER_PROTOCOL: Final = 2
_AFTER_FRAME: Final = 11
_SHORT: Final = pickle.SHORT_BINBYTES[0]
_LONG: Final = pickle.BINBYTES[0]
_MEMOIZE_AND_STOP: Final = pickle.MEMOIZE + pickle.STOP
# Before most entries, which are longer than 255 bytes and shorter than a frame of 64 kB.
_usual_head: Final = struct.Struct("<2xB8xBI")  # the code of a frame, that of bytes, and their length
_HEAD_BYTES: Final = _usual_head.size
_AROUND: Final = _HEAD_BYTES + len(_MEMOIZE_AND_STOP)
_SHORTEST: Final = 15  # the pickle of b""
# Of the pickle of a token, which is sixteen bytes: what is before it, and how long it is.
_BEFORE_TOKEN: Final = pickle.dumps(bytes(16), pickle.HIGHEST_PROTOCOL)[: -16 - len(_MEMOIZE_AND_STOP)]
TOKEN_PICKLE_BYTES: Final = len(_BEFORE_TOKEN) + 16 + len(_MEMOIZE_AND_STOP)


class LocalMemory(NamedTuple):
    """The dictionaries of a LocMemCache, to be used under its lock."""

    lock: AbstractContextManager[bool]
    values: MutableMapping[str, bytes]  #: pickled
    deadlines: MutableMapping[str, float | None]
    move_to_end: Callable[..., None]
    delete: Callable[[str], bool]
    has_expired: Callable[[str], bool]
    set: Callable[[str, bytes, int | None], None]


def local_memory_of(cache: BaseCache) -> LocalMemory | None:
    """Return the dictionaries of a LocMemCache."""
    if type(cache) is not LocMemCache:
        return None
    held: Any = cache
    try:
        values = held._cache  # noqa: SLF001
        memory = LocalMemory(
            held._lock,  # noqa: SLF001
            values,
            held._expire_info,  # noqa: SLF001
            values.move_to_end,
            held._delete,  # noqa: SLF001
            held._has_expired,  # noqa: SLF001
            held._set,  # noqa: SLF001
        )
    except AttributeError:
        return None
    return memory if held.pickle_protocol == pickle.HIGHEST_PROTOCOL else None


def hash_client_of(cache: BaseCache) -> Any | None:
    """Return the HashClient of a PyMemcacheCache of one server that stores bytes as they are, under their own key."""
    if type(cache) is not PyMemcacheCache:
        return None
    client: Any = _client_of(cache)
    try:
        [only] = client.clients.values()
        # What readers and writers use of them: another release may lack one.
        _ = client._dead_clients, client._safely_run_func, only._connect, only._raise_errors, only._store_cmd  # noqa: SLF001
        names = tuple(type(each).__name__ for each in (client, only, only.serde))
    except (AttributeError, ValueError):
        return None
    is_plain = names == ("HashClient", "Client", "PickleSerde") and not only.key_prefix
    return client if is_plain else None


def redis_connections_of(cache: BaseCache) -> RedisConnections | None:
    """Return connections, the same each time, for a RedisCache that stores values as Django's own serializer does."""
    if type(cache) is not RedisCache:
        return None
    client: Any = _client_of(cache)
    try:
        serializer = client._serializer  # noqa: SLF001
        choose_pool, pool_class = client._get_connection_pool, client._pool_class  # noqa: SLF001
        plain = pool_class.__name__ in _POOLS and serializer.protocol == pickle.HIGHEST_PROTOCOL
    except AttributeError:
        return None
    if not plain or (type(client), type(serializer)) != (RedisCacheClient, RedisSerializer):
        return None
    connections: RedisConnections = vars(cache).setdefault(_CONNECTIONS, RedisConnections(choose_pool))
    return connections


def pickle_bytes(value: bytes) -> bytes:
    """Return bytes as LocMemCache and RedisCache store them, so that their own `get()` returns them."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def bytes_in_pickles(several: Sequence[bytes | None]) -> list[bytes | None]:
    """Return `bytes_in_pickle()` of each: of the tokens, which stand behind all else in hits, in one pass."""
    values, at, end = [bytes_in_pickle(several[0])], 1, len(several)
    while at < end and ((data := several[at]) is None or len(data) != TOKEN_PICKLE_BYTES):
        values.append(bytes_in_pickle(data))
        at += 1
    tokens, before = pickled_tokens(end - at)
    try:
        parts = tokens.unpack(b"".join(several[at:]))  # type: ignore[arg-type] # caught
    except (TypeError, struct.error):  # one is missing, or of another size
        parts = ()
    values += parts[1::2] if parts[::2] == before else map(bytes_in_pickle, several[at:])
    return values


@lru_cache(maxsize=256)
def pickled_tokens(count: int, start: bytes = b"") -> tuple[struct.Struct, tuple[bytes, ...]]:
    """
    Return what takes the pickles of tokens apart, each in what is before the token and the token; and the former.

    *start* stands before each pickle.
    """
    before = start + _BEFORE_TOKEN
    return struct.Struct(f"{len(before)}s16s{len(_MEMOIZE_AND_STOP)}x" * count), (before,) * count


def bytes_in_pickle(data: bytes | None) -> bytes | None:
    """
    Return what `pickle_bytes()` was given; `UNDECODABLE` for any other data, and None for none.

    Nothing is unpickled: data that another process has planted runs no code.
    """
    if data is None:
        return None
    if len(data) < _SHORTEST:
        return UNDECODABLE
    if len(data) > _AROUND and _usual_head.unpack_from(data) == (_FRAME, _LONG, len(data) - _AROUND):
        return data[_HEAD_BYTES:-2] if data.endswith(_MEMOIZE_AND_STOP) else UNDECODABLE
    at = _AFTER_FRAME if data[_AFTER_PROTOCOL] == _FRAME else _AFTER_PROTOCOL
    code = data[at]
    if code == _SHORT:
        begin = at + 2
        size = data[at + 1]
    elif code == _LONG:
        begin = at + 5
        size = int.from_bytes(data[at + 1 : begin], "little")
    else:
        return UNDECODABLE
    end = len(data) - 2
    return data[begin:end] if size == end - begin and data.endswith(_MEMOIZE_AND_STOP) else UNDECODABLE


def _client_of(cache: Any) -> Any:
    """Return the client of a cache; None if it can't be made, which is an error of the first command."""
    try:
        return cache._cache  # noqa: SLF001
    except Exception as error:  # noqa: BLE001 -- a missing client library, or an option: importing may raise anything
        pass_interrupt(error)
        return None
