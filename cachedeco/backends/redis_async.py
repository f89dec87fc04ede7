"""The client of a Redis cache, with twins of its methods for event loops."""

from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, TypeVar, cast

from cachedeco.backends.exchange import Exchange
from cachedeco.backends.redis_client import MISSING, RedisClient, note_failed, raise_refusal, size_of
from cachedeco.backends.redis_errors import PRODUCT, RedisCacheError
from cachedeco.backends.redis_exchanges import Command, Commands, ReadMany
from cachedeco.backends.writes import FailedKeys, chunks, log_lost_write
from cachedeco.storage.redis_connections import pack

T = TypeVar("T")


class AsyncRedisClient(RedisClient):
    """`RedisClient`, with a twin for async code of each method that Django's `RedisCache` calls; see there."""

    @property
    def natively_async(self) -> bool:
        """Whether event loops can have connections of their own."""
        return all(each.server.pool.loops is not None for each in self._clients)

    # --- reading ---

    async def aget(self, key: Any, default: Any) -> Any:
        """See `get()`."""
        value = self.load(await self._aread("get", key, Command("GET", key), lost=None))
        return default if value is MISSING else value

    async def aget_many(self, keys: Iterable[Any]) -> dict[Any, Any]:
        """See `get_many()`."""
        names = list(keys)
        found = await self._aread("get_many", None, ReadMany(names), lost=[]) if names else []
        return self._loaded(names, found)

    async def ahas_key(self, key: Any) -> bool:
        """See `has_key()`."""
        return bool(await self._aread("has_key", key, Command("EXISTS", key), lost=0))

    # --- writing ---

    async def aset(self, key: Any, value: Any, timeout: Any) -> None:
        """See `set()`."""
        await self._awrite("set", key, Command(*self._set_command(key, value, timeout)), lost=None)

    async def aadd(self, key: Any, value: Any, timeout: Any) -> bool:
        """See `add()`."""
        command = self._set_command(key, value, timeout)
        if timeout == 0:
            return not await self._awrite("add", key, Command("EXISTS", key), lost=1)
        return bool(await self._awrite("add", key, Command(*command, "NX"), lost=None))

    async def atouch(self, key: Any, timeout: Any) -> bool:
        """See `touch()`."""
        if timeout is not None:
            return bool(await self._awrite("touch", key, Command("EXPIRE", key, timeout), lost=0))
        answers = await self._awrite("touch", key, Commands([pack(("PERSIST", key)), pack(("EXISTS", key))]), lost=[0])
        return bool(raise_refusal(answers[-1]))

    async def adelete(self, key: Any) -> bool:
        """See `delete()`."""
        return bool(await self._awrite("delete", key, Command("DEL", key), lost=0))

    async def aincr(self, key: Any, delta: int) -> int | None:
        """See `incr()`; None if there is no value."""
        if not await self._awrite("incr", key, Command("EXISTS", key), lost=0):
            return None
        return cast("int | None", await self._awrite("incr", key, Command("INCRBY", key, delta), lost=None))

    async def astore_many(self, data: Mapping[str, Any], timeout: Any) -> FailedKeys:
        """See `store_many()`."""
        commands = [(key, self._set_command(key, value, timeout)) for key, value in data.items()]
        failed = FailedKeys()
        for chunk in chunks(commands, [size_of(command) for _, command in commands]):
            note_failed(failed, [key for key, _ in chunk], await self._aanswers([command for _, command in chunk]))
        return failed

    async def adelete_many(self, keys: Iterable[Any]) -> None:
        """See `delete_many()`."""
        names = list(keys)
        if names:
            await self._awrite("delete_many", None, Command("DEL", *names), lost=0)

    async def aclear(self) -> bool:
        """See `clear()`."""
        return bool(await self._awrite("clear", None, Command("FLUSHDB"), lost=False))

    # --- running a command ---

    def _aread(self, operation: str, key: str | None, exchange: Exchange[T], *, lost: T) -> Awaitable[T]:
        server = self.server_of(key, write=False)
        return server.arun(operation, exchange, writes=False, ignored=(RedisCacheError,), lost=lost)

    async def _awrite(self, operation: str, key: str | None, exchange: Exchange[T], *, lost: T) -> T:
        try:
            return await self.server_of(key, write=True).arun(operation, exchange, writes=True)
        except RedisCacheError as error:
            if not self._ignore_exc:
                raise
            log_lost_write(PRODUCT, operation, error)
            return lost

    async def _aanswers(self, commands: list[Any]) -> list[Any]:
        try:
            return await self.server_of(None, write=True).arun(
                "set_many", Commands([*map(pack, commands)]), writes=True
            )
        except RedisCacheError as error:
            return self._lost_answers("set_many", error, len(commands))
