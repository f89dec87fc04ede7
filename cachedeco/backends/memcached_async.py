"""The client over several memcached servers, with twins of its methods for event loops."""

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

from pymemcache.exceptions import MemcacheError

from cachedeco.backends import memcached_exchanges as exchanges
from cachedeco.backends.exchange import Exchange, Pipeline
from cachedeco.backends.memcached_answers import KeyedCommand
from cachedeco.backends.memcached_errors import PRODUCT, MemcachedError
from cachedeco.backends.memcached_ring import Ring, failed_keys, note_stored, raise_first
from cachedeco.backends.server import Server
from cachedeco.backends.writes import FailedKeys, log_lost_write
from cachedeco.storage.writers import Acknowledged

T = TypeVar("T")


class AsyncRing(Ring):
    """`Ring`, with a twin for async code of each method that Django's backends call; see there."""

    @property
    def natively_async(self) -> bool:
        """Whether event loops can have connections of their own."""
        return all(server.pool.loops is not None for server in self._servers.values())

    # --- reading ---

    async def aget(self, key: str, default: Any = None) -> Any:
        """See `get()`."""
        found = await self._aread("get", self._server_of(key), self._reading([key]), lost={})
        return self._load(found).get(key, default)

    async def aget_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """See `get_multi()`."""
        found: dict[str, Any] = {}
        for server, chunk in self._group_by_server(keys).items():
            found.update(self._load(await self._aread("get_many", server, self._reading(chunk), lost={})))
        return found

    def aread_each(self, keys: Sequence[str]) -> Awaitable[list[bytes | None]]:
        """See `read_each()`."""
        if self._only is None:
            return self._aread_of_all(keys)
        return self._aread("get_many", self._only, exchanges.ReadBytes(keys), lost=[None] * len(keys))

    async def _aread_of_all(self, keys: Sequence[str]) -> list[bytes | None]:
        found: dict[str, bytes | None] = {}
        for server, chunk in self._group_by_server(keys).items():
            lost = list[bytes | None]([None] * len(chunk))
            values = await self._aread("get_many", server, exchanges.ReadBytes(chunk), lost=lost)
            found.update(zip(chunk, values, strict=True))
        return [found.get(key) for key in keys]

    async def aread_chunks(self, chunks: Sequence[Sequence[str]]) -> list[bytes | None]:
        """See `read_chunks()`; all commands to one server are sent at once."""
        values: dict[str, bytes | None] = {}
        for server, several in self._chunks_of_servers(chunks).items():
            exchange = Pipeline([exchanges.ReadBytes(keys) for keys in several])
            found = await self._aread("get_many", server, exchange, lost=[])
            values.update(zip(chain.from_iterable(several), chain.from_iterable(found), strict=False))
        return [values.get(key) for chunk in chunks for key in chunk]

    # --- writing ---

    async def aset(self, key: str, value: Any, expire: int = 0) -> None:
        """Store a value; delete the old one if this one is not stored."""
        if not await self._awrite("set", self._server_of(key), self._storing(b"set", key, value, expire), lost=False):
            await self.adelete(key)

    async def aadd(self, key: str, value: Any, expire: int = 0) -> bool:
        """See `add()`."""
        return await self._awrite("add", self._server_of(key), self._storing(b"add", key, value, expire), lost=False)

    async def atouch(self, key: str, expire: int = 0) -> bool:
        """See `touch()`."""
        return await self._awrite("touch", self._server_of(key), exchanges.touch(self._name(key), expire), lost=False)

    async def adelete(self, key: str) -> bool:
        """See `delete()`."""
        return await self._awrite("delete", self._server_of(key), exchanges.delete(self._name(key)), lost=False)

    async def aincr(self, key: str, delta: int) -> int | None:
        """See `incr()`; memcached takes no negative number, so that `decr()` is this with one."""
        command = "decr" if delta < 0 else "incr"
        exchange = exchanges.count(command.encode(), self._name(key), abs(delta))
        return await self._awrite(command, self._server_of(key), exchange, lost=None)

    async def astore_many(self, values: Mapping[str, Any], expire: int = 0) -> FailedKeys:
        """See `store_many()`."""
        items = self._items(values, expire)
        return failed_keys(items, await self.astore_each(items))

    async def astore_each(self, items: Sequence[KeyedCommand]) -> Acknowledged:
        """See `store_each()`; it carries out `set`."""
        results = Acknowledged([False] * len(items))
        for server, places, commands in self._chunks_by_server(items):
            try:
                stored = await server.arun("set_many", exchanges.store_each(commands), writes=True)
            except MemcachedError as error:
                self.note_lost(results, "set_many", error)
            else:
                note_stored(results, places, stored)
        return results

    async def adelete_many(self, keys: Iterable[str]) -> None:
        """See `delete_multi()`."""
        await self._aon_each("delete_many", self._deletions(keys))

    async def aclear(self) -> None:
        """See `flush_all()`."""
        await self._aon_each("clear", ((server, exchanges.flush_all()) for server in self._servers.values()))

    # --- servers ---

    def _aread(self, operation: str, server: Server, exchange: Exchange[T], *, lost: T) -> Awaitable[T]:
        return server.arun(operation, exchange, writes=False, ignored=self._ignored, lost=lost)

    async def _awrite(self, operation: str, server: Server, exchange: Exchange[T], *, lost: T) -> T:
        try:
            return await server.arun(operation, exchange, writes=True)
        except (MemcachedError, MemcacheError) as error:
            if not self._ignore_exc:
                raise
            log_lost_write(PRODUCT, operation, error)
            return lost

    async def _aon_each(self, operation: str, commands: Iterable[tuple[Server, Exchange[Any]]]) -> None:
        errors: list[Exception] = []
        for server, exchange in commands:
            try:
                await self._awrite(operation, server, exchange, lost=None)
            except (MemcachedError, MemcacheError) as error:
                errors.append(error)
        raise_first(errors)
