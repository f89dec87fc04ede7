"""
Django's cache backends, recording what reaches them, and the entries of CACHES that name them.

Each is a stock backend with `Recording` in front of it. Recorded are the calls from outside: of a `set_many`
that calls `set` for every key, as BaseCache's does, only the `set_many`. The async methods are left alone,
since Django's own call the sync ones: an `aget_many` that a Django turns into four `get` is recorded as four.
"""

import asyncio
import functools
import inspect
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from weakref import WeakSet

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.cache.backends.redis import RedisCache

from cachedeco.storage.readers import general_reader, one_by_one
from cachedeco.storage.redis_connections import RedisConnections
from cachedeco.storage.writers import Acknowledged, GeneralWriter, WholeItem
from tests.support.threads import PATIENCE_SECONDS

# "memcached" and "redis" are Django's backends for them, "ours" and "our redis" our own.
Kind = Literal["database", "dummy", "faulty", "file", "locmem", "memcached", "our redis", "ours", "redis"]

# The server behind those that have one.
PROGRAMS: dict[str, str] = {"memcached": "memcached", "ours": "memcached", "redis": "redis", "our redis": "redis"}

# conftest.py makes it beside the tables of the models.
CACHE_TABLE = "tests_cache"

COMMANDS = (
    "add",
    "clear",
    "decr",
    "decr_version",
    "delete",
    "delete_many",
    "get",
    "get_many",
    "get_or_set",
    "has_key",
    "incr",
    "incr_version",
    "set",
    "set_many",
    "touch",
)


@dataclass(frozen=True, slots=True)
class Command:
    """
    One call that reached a Django cache.

    `keys` are as the caller wrote them, before Django adds prefix and version. `timeout` is DEFAULT_TIMEOUT
    where the caller gave none, or the command takes none.
    """

    name: str
    keys: tuple[str, ...] = ()
    timeout: object = DEFAULT_TIMEOUT
    alias: str = "default"
    default: object = field(default=None, compare=False, repr=False)


class Commands(list[Command]):
    """The commands in the order of their arrival, from every thread of the process."""

    @property
    def names(self) -> list[str]:
        """The names alone: what most tests compare."""
        return [command.name for command in self]


class _Thread(threading.local):
    """What this thread is in the middle of."""

    in_command = False


recorded = Commands()
_opened: list["Recording"] = []
_thread = _Thread()


class Recording(BaseCache):
    """Put every command from outside into `recorded`, and carry it out."""

    def __init__(self, location: Any, params: dict[str, Any]) -> None:
        """Read the alias, which Django does not tell its caches, from the entry in CACHES."""
        super().__init__(location, params)
        self.alias: str = params.get("ALIAS", "default")
        _opened.append(self)

    def carry_out(self, command: Command, run: Callable[[], Any]) -> Any:  # noqa: ARG002
        """Return the command's result; a backend that misbehaves overrides it."""
        return run()

    def release(self) -> None:
        """Close the connections, also those that `close` keeps for the next request."""
        self.close()


def _recording(name: str) -> Callable[..., Any]:
    """Return the method that records one command of BaseCache."""
    original = getattr(BaseCache, name)
    signature = inspect.signature(original)

    @functools.wraps(original)
    def method(self: Recording, *args: Any, **kwargs: Any) -> Any:
        run = getattr(super(Recording, self), name)
        if _thread.in_command:
            return run(*args, **kwargs)
        call = signature.bind(self, *args, **kwargs)
        command = Command(
            name,
            _keys(call),
            call.arguments.get("timeout", DEFAULT_TIMEOUT),
            self.alias,
            call.arguments.get("default"),
        )
        recorded.append(command)
        with _in_command(value=True):
            return self.carry_out(command, lambda: run(*call.args[1:], **call.kwargs))

    return method


for _name in COMMANDS:
    setattr(Recording, _name, _recording(_name))


def outside_commands(hook: Callable[[], object]) -> None:
    """Call a hook from the middle of a command such that the commands it gives are recorded too."""
    with _in_command(value=False):
        hook()


@contextmanager
def _in_command(*, value: bool) -> Iterator[None]:
    """Say whether what this thread now calls belongs to a command."""
    before, _thread.in_command = _thread.in_command, value
    try:
        yield
    finally:
        _thread.in_command = before


def _keys(call: inspect.BoundArguments) -> tuple[str, ...]:
    """Return the keys of one call, whose `keys`, if an iterator, it replaces by what came out of it."""
    arguments = call.arguments
    if "keys" in arguments:
        keys = arguments["keys"] = tuple(arguments["keys"])
        return keys
    if "data" in arguments:
        return tuple(arguments["data"])
    return (arguments["key"],) if "key" in arguments else ()


class RecordingDatabase(Recording, DatabaseCache):
    """Django's DatabaseCache, recording."""


class RecordingDummy(Recording, DummyCache):
    """Django's DummyCache, recording."""


class RecordingFile(Recording, FileBasedCache):
    """Django's FileBasedCache, recording."""


class RecordingLocMem(Recording, LocMemCache):
    """Django's LocMemCache, recording; read on event loops, too."""

    def raw_client(self) -> "RawClient":
        """Offer what any cache can, and reads on an event loop."""
        return RawClient(self)


class RawClient(GeneralWriter):
    """The general reader and writer of a cache, and those for event loops."""

    natively_async = True

    def __init__(self, cache: BaseCache) -> None:
        """Use the methods of the cache."""
        super().__init__(cache)
        self.read = general_reader(cache)
        self.read_chunks = one_by_one(self.read)

    async def aread(self, keys: Sequence[str]) -> list[bytes | None]:
        """Read in the thread of the loop; others run meanwhile, as if the cache were elsewhere."""
        await asyncio.sleep(0)
        return self.read(keys)

    async def aread_chunks(self, chunks: Sequence[Sequence[str]]) -> list[bytes | None]:
        """Read in the thread of the loop, as above."""
        await asyncio.sleep(0)
        return self.read_chunks(chunks)

    async def aset_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """Write in the thread of the loop, as above."""
        await asyncio.sleep(0)
        return self.set_each(items)


class RecordingMemcached(Recording, PyMemcacheCache):
    """Django's PyMemcacheCache, recording."""

    def release(self) -> None:
        """Close every client's socket: HashClient.close() leaves out those of a server that failed."""
        if "_cache" in self.__dict__:
            for client in self._cache.clients.values():
                client.close()


class RecordingRedis(Recording, RedisCache):
    """Django's RedisCache, recording."""

    def release(self) -> None:
        """Close the pools, which Django leaves to the garbage collector."""
        if "_cache" in self.__dict__:
            for pool in self._cache._pools.values():
                pool.disconnect()


# Those past Django's own RedisCache: where a thread had the cache object, nothing else leads to them.
_past_redis: WeakSet[RedisConnections] = WeakSet()
_begin_connections = RedisConnections.__init__


def _begin_noted_connections(connections: RedisConnections, *args: Any, **kwargs: Any) -> None:
    _begin_connections(connections, *args, **kwargs)
    if type(connections) is RedisConnections:
        _past_redis.add(connections)


RedisConnections.__init__ = _begin_noted_connections  # type: ignore[method-assign]


def release_caches() -> None:
    """Close the connections of every cache that any thread has opened since the last time."""
    while _opened:
        _opened.pop().release()
    while _past_redis:
        _past_redis.pop().clear()


def cache_entry(kind: Kind, location: str | Path, **entry: Any) -> dict[str, Any]:
    """
    Return an entry of CACHES for a fresh cache of one kind.

    Fresh by its prefix, where the tests share the place: to flush a server would reach into another test.

    Args:
        kind: what stores the values.
        location: where, as Django wants it of this kind; nothing to dummy.
        entry: more of the entry; OPTIONS are added to the kind's own.

    """
    backends = {
        "database": "tests.support.backends.RecordingDatabase",
        "dummy": "tests.support.backends.RecordingDummy",
        "faulty": "tests.support.faults.FaultyCache",
        "file": "tests.support.backends.RecordingFile",
        "locmem": "tests.support.backends.RecordingLocMem",
        "memcached": "tests.support.backends.RecordingMemcached",
        "our redis": "tests.backends.recording.RecordingOurRedis",
        "ours": "tests.backends.recording.RecordingOurs",
        "redis": "tests.support.backends.RecordingRedis",
    }
    options: dict[str, Any]
    match kind:
        case "memcached" | "ours":
            options = {"connect_timeout": PATIENCE_SECONDS, "timeout": PATIENCE_SECONDS}
        case "redis" | "our redis":
            options = {"socket_connect_timeout": PATIENCE_SECONDS, "socket_timeout": PATIENCE_SECONDS}
        case _:
            # The default of 300 culls what a test of many keys has stored.
            options = {"MAX_ENTRIES": 10_000}
    return {
        "BACKEND": backends[kind],
        "LOCATION": str(location),
        # Not from `random`, which is seeded anew before every test.
        "KEY_PREFIX": uuid.uuid4().hex[:8],
        **entry,
        "OPTIONS": options | entry.get("OPTIONS", {}),
    }
