"""
The Redis backend: `"BACKEND": "cachedeco.backends.redis.RedisCache"`.

A replacement of Django's `RedisCache`: it reads the same stored values, and takes the same options. The methods are
Django's; connections, errors and Sentinel are ours. docs/how-to/redis.md lists the differences.
"""

from collections.abc import Awaitable, Sequence
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from django.core.cache.backends.redis import RedisCache as DjangoRedisCache
from django.utils.functional import cached_property

from cachedeco.backends.exchange import Exchange, Pipeline
from cachedeco.backends.methods import CommonMethods, native
from cachedeco.backends.redis_client import RedisClient
from cachedeco.backends.redis_errors import RedisCacheConnectionError, RedisCacheError, RedisCacheTimeoutError
from cachedeco.backends.redis_exchanges import Commands, ReadEach, ReadPickles
from cachedeco.backends.redis_options import check_location, resolve_options
from cachedeco.storage.direct_access import bytes_in_pickles, pickle_bytes
from cachedeco.storage.readers import redis_chunks_reader, redis_reader
from cachedeco.storage.replies import UNDECODABLE
from cachedeco.storage.writers import Acknowledged, RedisWriter, WholeItem

__all__ = ["RedisCache", "RedisCacheConnectionError", "RedisCacheError", "RedisCacheTimeoutError"]

T = TypeVar("T")


class RedisCache(CommonMethods, DjangoRedisCache):
    """
    A cache on a Redis server, or on the primary that Sentinels name.

    Reads from an unreachable server are misses: of `get()`, `get_many()` and `has_key()`. Writes to it raise
    `RedisCacheError`, which is a `ConnectionError` or a `TimeoutError`, of Python and of redis-py; `set_many()` returns
    the failed keys, as Django documents it, and `get_or_set()` the default. Thread-safe. All threads of the process
    share the connections, which stay open after a request.
    """

    _servers: list[str]

    def __init__(self, server: str | Sequence[str], params: dict[str, Any]) -> None:
        """
        Read the entry of `CACHES`; nothing is sent.

        Raises:
            ImproperlyConfigured: `OPTIONS` has an unknown name, or `LOCATION` is no URL.
        """
        check_location(server)
        super().__init__(server if isinstance(server, str) else list(server), params)
        self._resolved = resolve_options(params.get("OPTIONS") or {})
        #: Tells cachedeco that `delete()` raises, rather than returning False, if the server has not answered.
        self.deletions_prove_absence = not self._resolved.ignore_exc
        # Now, and not at the first command: what is wrong with the settings should not look like a failing server.
        _ = self._cache

    @cached_property
    def _cache(self) -> RedisClient:
        return RedisClient([each.strip() for each in self._servers] or [""], self._resolved)

    @native
    async def ahas_key(self, key: str, version: int | None = None) -> bool:
        """See has_key()."""
        return await self._cache.ahas_key(self.make_and_validate_key(key, version=version))

    def raw_client(self) -> "RawClient":
        """Return direct access to bytes for cachedeco."""
        return RawClient(self._cache)


class RawClient(RedisWriter):
    """
    Reads and writes bytes under whole, valid keys, each in one trip, in the form in which the cache stores values.

    Both on the primary, though `get()` reads from a replica where there is one: a token of a replica may be older than
    an invalidation that was acknowledged.
    """

    def __init__(self, client: RedisClient) -> None:
        """Use the primary of a cache."""
        self._server = server = client.server_of(None, write=True)
        plain = client.pickles
        dump = pickle_bytes if plain else client.dump
        super().__init__(partial(server.run, "add_many"), dump)
        self._insisting = RedisWriter(partial(server.run, "set_many", insists=True), dump)
        self._load_each = bytes_in_pickles if plain else partial(_load_each, client)
        self._reading: type[ReadEach] = ReadPickles if plain else ReadEach
        run = partial(server.run, "get_many")
        self._read = redis_reader(run, self._load_each)
        self._read_chunks = redis_chunks_reader(run, self._load_each)
        #: Whether `aread()` and its like can be used: event loops can have connections of their own.
        self.natively_async = server.pool.loops is not None

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return values in the order of their keys, None for a missing one; all are while the server is unreachable."""
        try:
            return self._read(keys)
        except RedisCacheError:
            return [None] * len(keys)

    def read_chunks(self, chunks: Sequence[Sequence[str]]) -> list[bytes | None]:
        """Do as `read()`, by one command for each chunk, pipelined."""
        try:
            return self._read_chunks(chunks)
        except RedisCacheError:
            return [None] * sum(map(len, chunks))

    def aread(self, keys: Sequence[str]) -> Awaitable[list[bytes | None]]:
        """See `read()`."""
        answer = self._aread(self._reading(keys), lost=[None] * len(keys))
        return answer if self._reading is ReadPickles else self._aload(answer)

    async def aread_chunks(self, chunks: Sequence[Sequence[str]]) -> list[bytes | None]:
        """See `read_chunks()`; all commands are sent at once."""
        exchange = Pipeline([self._reading(chunk) for chunk in chunks])
        answers = await self._aread(exchange, lost=[[None] * len(chunk) for chunk in chunks])
        values = [*chain.from_iterable(answers)]
        return values if self._reading is ReadPickles else self._load_each(values)

    def set_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """
        Store values; tell which were acknowledged.

        In a pause, too: these are the probes and the invalidations of a process that has a circuit breaker of its own,
        and a server that is back has to be found by them at once.
        """
        return self._insisting.set_each(items)

    async def aset_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """See `set_each()`."""
        commands = self.commands(items)
        if not commands:  # each value is too large
            return self.acknowledged(items, [])
        answers = await self._server.arun("set_many", Commands(commands, b"".join(commands)), writes=True, insists=True)
        return self.acknowledged(items, answers)

    def _aread(self, exchange: Exchange[T], *, lost: T) -> Awaitable[T]:
        return self._server.arun("get_many", exchange, writes=False, ignored=(RedisCacheError,), lost=lost)

    async def _aload(self, answer: Awaitable[list[bytes | None]]) -> list[bytes | None]:
        return self._load_each(await answer)


def _load_each(client: RedisClient, values: Sequence[Any]) -> list[bytes | None]:
    loaded = [(data, client.load(data)) for data in values]
    return [value if type(value) is bytes else None if data is None else UNDECODABLE for data, value in loaded]
