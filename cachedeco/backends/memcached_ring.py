"""
A client over several memcached servers: choose a key's server, group keys by server, handle unreachable servers.

A key belongs to one server, also while that is unreachable. The hash, and the servers' names in it, are those of
pymemcache's `HashClient`, so that a site which used it finds its keys.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from itertools import chain
from operator import methodcaller
from typing import Any, Final, Protocol, TypeVar

from pymemcache.client.base import check_key_helper, normalize_server_spec
from pymemcache.exceptions import MemcacheClientError, MemcacheError
from pymemcache.serde import LegacyWrappingSerde, PickleSerde

from cachedeco.backends import memcached_exchanges as exchanges
from cachedeco.backends.exchange import Exchange, Pipeline
from cachedeco.backends.memcached_answers import STORING, KeyedCommand
from cachedeco.backends.memcached_errors import PRODUCT, MemcachedError
from cachedeco.backends.memcached_options import CONNECTION, OPTIONAL
from cachedeco.backends.memcached_pickles import Pickles
from cachedeco.backends.memcached_pool import MemcachedPool
from cachedeco.backends.options import MOST_IDLE
from cachedeco.backends.requests import ERROR, Client, Request, Requests, both
from cachedeco.backends.server import OnConnection, Server, kept_server
from cachedeco.backends.writes import FailedKeys, chunks, log_unreadable
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.storage.cache_keys import LONGEST_KEY, is_valid_key
from cachedeco.storage.memcached_replies import Stored
from cachedeco.storage.writers import Acknowledged

T = TypeVar("T")

# Keys whose server is cached: pymemcache's hash takes ten microseconds for each server.
MOST_KNOWN: Final = 4096


class Hasher(Protocol):
    """Chooses the server of a key: pymemcache's `RendezvousHash`, or the option `hasher`."""

    def add_node(self, node: str, /) -> None:
        """Add a server."""
        ...

    def get_node(self, key: str, /) -> str:
        """Return the server of a key."""
        ...


class Serde(Protocol):
    """Serializes values: pymemcache's serde, or the option `serde`."""

    def serialize(self, key: bytes, value: Any, /) -> tuple[object, int]:
        """Return the value to store, and flags of 16 bits."""
        ...

    def deserialize(self, key: str, value: bytes, flags: int, /) -> Any:
        """Return the stored value."""
        ...


class Ring(Client):
    """
    A client over a fixed list of servers, with the methods that Django's memcached backends call.

    Thread-safe. Reads from an unreachable server are misses. Writes to it raise `MemcachedError`; with the option
    *ignore_exc* they are logged as errors, and return the result of a write that changed nothing.
    """

    _product = PRODUCT
    _write_errors = (MemcachedError, MemcacheError)

    def __init__(self, locations: Iterable[str], **options: Any) -> None:
        """Look up the servers; nothing is sent."""
        connection = {name: options[name] for name in (*CONNECTION, *OPTIONAL) if name in options}
        most, seconds = options["max_pool_size"] or MOST_IDLE, options["pool_idle_timeout"]
        self._servers: dict[str, Server] = {}
        for location in locations:
            address = normalize_server_spec(location.strip() if isinstance(location, str) else location)
            name = address if isinstance(address, str) else "{}:{}".format(*address)
            self._servers[name] = kept_server(
                ("memcached", address, most, seconds),
                sorted(connection.items()),
                partial(_server, name, address, connection, most, seconds),
            )
        self._name_of = _server_chooser(options["hasher"], tuple(self._servers))
        self._only = next(iter(self._servers.values())) if len(self._servers) == 1 else None
        self._serde: Serde = options["serde"] or LegacyWrappingSerde(options["serializer"], options["deserializer"])
        self._ignore_exc = bool(options["ignore_exc"])
        # `Server` logs an outage, once.
        self._read_errors = (MemcachedError, MemcacheClientError) if self._ignore_exc else (MemcachedError,)
        prefix = options["key_prefix"]
        self._prefix = prefix.encode("ascii") if isinstance(prefix, str) else prefix

    # --- reading ---

    def _get(self, key: str, default: Any = None) -> Requests[Any]:
        """Return a value; *default* if it is missing or unreadable, or the server is unreachable."""
        found = yield self._read("get", self._server_of(key), self._reading([key]), {})
        return self._load(found).get(key, default)

    get, aget = both(_get)

    def get_or_raise(self, operation: str, key: str, default: Any = None) -> Any:
        """Return a value as `get()` does, but raise if the server is unreachable: for operations that report a miss."""
        found = self._send(self._write(operation, self._server_of(key), self._reading([key]), {}))
        return self._load(found).get(key, default)

    def _get_many(self, keys: Iterable[str]) -> Requests[dict[str, Any]]:
        """Return the values of some keys, from the servers that answer."""
        found: dict[str, Any] = {}
        for server, chunk in self._group_by_server(keys).items():
            found.update(self._load((yield self._read("get_many", server, self._reading(chunk), {}))))
        return found

    get_multi, aget_many = both(_get_many)

    def read_each(self, keys: Sequence[str]) -> list[bytes | None]:
        """
        Return values that `store_each()` has stored, in order; None for one that is missing, or stored otherwise.

        The keys must be valid, and are sent as they are. One command for each server.
        """
        only = self._only
        if only is None:
            return self._read_of_all(keys)
        try:  # not by a request: each hit runs this
            return only.run("get_many", methodcaller("read_bytes", keys), writes=False)
        except self._read_errors:
            return [None] * len(keys)

    def aread_each(self, keys: Sequence[str]) -> Awaitable[list[bytes | None]]:
        """Do as `read_each()`, on an event loop."""
        if self._only is None:
            return self._aread_of_all(keys)
        exchange, lost = exchanges.ReadBytes(keys), [None] * len(keys)
        return self._only.arun("get_many", exchange, writes=False, ignored=self._read_errors, lost=lost)

    def _read_groups(self, keys: Sequence[str]) -> Requests[list[bytes | None]]:
        found: dict[str, bytes | None] = {}
        for server, chunk in self._group_by_server(keys).items():
            values = yield self._read("get_many", server, exchanges.ReadBytes(chunk), [])
            found.update(zip(chunk, values, strict=False))
        return [found.get(key) for key in keys]

    _read_of_all, _aread_of_all = both(_read_groups)

    def read_chunks(self, chunks: Sequence[Sequence[str]]) -> list[bytes | None]:
        """Do as `read_each()`, by one command for each server and chunk; those to one server are pipelined."""
        values: dict[str, bytes | None] = {}
        for server, several in self._chunks_of_servers(chunks).items():
            with suppress(*self._read_errors):
                found = server.run("get_many", methodcaller("read_chunks", several), writes=False)
                values.update(zip(chain.from_iterable(several), found, strict=True))
        return [values.get(key) for chunk in chunks for key in chunk]

    async def aread_chunks(self, chunks: Sequence[Sequence[str]]) -> list[bytes | None]:
        """Do as `read_chunks()`, on an event loop; all commands to one server are sent at once."""
        values: dict[str, bytes | None] = {}
        for server, several in self._chunks_of_servers(chunks).items():
            exchange = Pipeline([exchanges.ReadBytes(keys) for keys in several])
            found = await self._asend(self._read("get_many", server, exchange, []))
            values.update(zip(chain.from_iterable(several), chain.from_iterable(found), strict=False))
        return [values.get(key) for chunk in chunks for key in chunk]

    # --- writing ---

    def _set(self, key: str, value: Any, expire: int = 0) -> Request[bool]:
        """Store a value; return whether it was stored."""
        return self._write("set", self._server_of(key), self._storing(b"set", key, value, expire), lost=False)

    set, _aset = both(_set)

    async def aset(self, key: str, value: Any, expire: int = 0) -> None:
        """Store a value; delete the old one if this one is not stored, as Django does behind `set()`."""
        if not await self._aset(key, value, expire):
            await self.adelete(key)

    def _add(self, key: str, value: Any, expire: int = 0) -> Request[bool]:
        """Store a value if there is none; return whether it was stored."""
        return self._write("add", self._server_of(key), self._storing(b"add", key, value, expire), lost=False)

    add, aadd = both(_add)

    def _touch(self, key: str, expire: int = 0) -> Request[bool]:
        """Give a value a new timeout; return whether there is a value."""
        return self._write("touch", self._server_of(key), exchanges.touch(self._name(key), expire), lost=False)

    touch, atouch = both(_touch)

    def _delete(self, key: str) -> Request[bool]:
        """Delete a value; return whether there was one."""
        return self._write("delete", self._server_of(key), exchanges.delete(self._name(key)), lost=False)

    delete, adelete = both(_delete)

    def _count(self, key: str, delta: int) -> Request[int | None]:
        """Add to a number, down to 0, and return the sum; None if there is no number."""
        command = "decr" if isinstance(delta, int) and delta < 0 else "incr"  # memcached takes no negative number
        delta = -delta if command == "decr" else delta
        exchange = exchanges.count(command.encode(), self._name(key), delta)
        return self._write(command, self._server_of(key), exchange, lost=None)

    incr, aincr = both(_count)

    def decr(self, key: str, delta: int) -> int | None:
        """Subtract from a number, as `incr()` does with a negative one."""
        return self.incr(key, -delta)

    def _store_many(self, values: Mapping[str, Any], expire: int = 0) -> Requests[FailedKeys]:
        """Store values, and return the keys that were not stored; an unreachable server raises nothing."""
        items = [(key, self._command(b"set", key, value, expire)) for key, value in values.items()]
        results = yield from self._store_each("set_many", items)
        failed = FailedKeys(item[0] for item, is_stored in zip(items, results, strict=True) if not is_stored)
        failed.error = results.error
        return failed

    store_many, astore_many = both(_store_many)

    def _store_each(self, operation: str, items: Sequence[KeyedCommand]) -> Requests[Acknowledged]:
        """Carry out `set` or `add` for each item, one send for each server; an unreachable server raises nothing."""
        results = Acknowledged([False] * len(items))
        for server, places, commands in self._chunks_by_server(items):
            stored = yield self._write(operation, server, exchanges.store_each(commands), ERROR)
            if isinstance(stored, Exception):
                results.error = results.error or stored
                continue
            results.error = results.error or stored.error
            for place, is_stored in zip(places, stored, strict=True):
                results[place] = is_stored
        return results

    store_each, astore_each = both(_store_each)

    def _delete_many(self, keys: Iterable[str]) -> Requests[None]:
        """Delete values on all servers that answer; then raise the errors of the others."""
        return self._on_each(
            "delete_many",
            (
                (server, exchanges.delete_many([self._name(key) for key in chunk]))
                for server, several in self._group_by_server(keys).items()
                for chunk in chunks(several)
            ),
        )

    delete_multi, adelete_many = both(_delete_many)

    def _clear(self) -> Requests[None]:
        """Empty all servers that answer; then raise the errors of the others."""
        return self._on_each("clear", ((server, exchanges.flush_all()) for server in self._servers.values()))

    flush_all, aclear = both(_clear)

    def _on_each(self, operation: str, commands: Iterable[tuple[Server, Exchange[Any]]]) -> Requests[None]:
        errors: list[Exception] = []
        for server, exchange in commands:
            answer = yield self._write(operation, server, exchange, ERROR)
            if isinstance(answer, Exception) and not self._ignore_exc:
                errors.append(answer)
        for another in errors[1:]:
            errors[0].add_note(str(another))
        if errors:
            raise errors[0]

    def prune(self) -> None:
        """Close the connections that were idle for too long."""
        for server in self._servers.values():
            server.pool.prune()

    # --- servers ---

    @property
    def natively_async(self) -> bool:
        """Whether event loops can have connections of their own."""
        return all(server.pool.loops is not None for server in self._servers.values())

    def stats(self, *arguments: str) -> dict[str, dict[bytes, Any] | Exception]:
        """Return what each server says to the command `stats`, or why it does not: for a diagnosis."""
        answers: dict[str, dict[bytes, Any] | Exception] = {}
        for name, server in self._servers.items():
            try:
                # Past its outages: a proxy closes the connection at what it does not know, and is well.
                answers[name] = server.pool.run(methodcaller("stats", *arguments), writes=False)
            except Exception as error:  # noqa: BLE001 -- of the socket, pymemcache, or a line that is no answer
                pass_interrupt(error)
                answers[name] = error
        return answers

    def is_out_of_reach(self, key: str) -> bool:
        """Tell whether the server of a key is known to be unreachable."""
        return self._server_of(key).is_out_of_reach

    def _server_of(self, key: str) -> Server:
        return self._only or self._servers[self._name_of(key)]

    def _group_by_server(self, keys: Iterable[str]) -> dict[Server, list[str]]:
        groups: dict[Server, list[str]] = defaultdict(list)
        for key in keys:
            groups[self._server_of(key)].append(key)
        return groups

    def _chunks_of_servers(self, chunks: Iterable[Sequence[str]]) -> dict[Server, list[Sequence[str]]]:
        """Return the part of each chunk that a server has, by server."""
        if self._only:
            return {self._only: [*chunks]}
        groups: dict[Server, list[Sequence[str]]] = defaultdict(list)
        for chunk in chunks:
            for server, keys in self._group_by_server(chunk).items():
                groups[server].append(keys)
        return groups

    def _read(self, operation: str, server: Server, exchange: Exchange[T], lost: T) -> Request[T]:
        return Request(operation, server, exchange, lost, writes=False)

    def _write(self, operation: str, server: Server, exchange: Exchange[T], lost: T) -> Request[T]:
        return Request(operation, server, exchange, lost, writes=True)

    def _over(self, exchange: Exchange[T]) -> OnConnection[T]:
        return methodcaller("carry_out", exchange)

    def _command(self, command: bytes, key: str, value: object, expire: int) -> bytes:
        """Return the command that stores a value, serialized before a connection is taken: its error breaks none."""
        data, flags = self._serde.serialize(self._name(key), value)
        data = data if isinstance(data, bytes) else str(data).encode()
        return STORING % (command, self._name(key), flags, expire, len(data), data)

    def _storing(self, command: bytes, key: str, value: object, expire: int) -> exchanges.Lines[bool]:
        return exchanges.store(command, self._command(command, key, value, expire))

    def _reading(self, keys: Iterable[str]) -> exchanges.ReadStored:
        return exchanges.ReadStored({self._name(key): key for key in keys})

    def _chunks_by_server(self, items: Sequence[KeyedCommand]) -> list[tuple[Server, Sequence[int], Sequence[bytes]]]:
        """Return the commands that are sent at once, and the places of their items."""
        every, commands = range(len(items)), [command for _, command in items]
        sizes = [*map(len, commands)]
        if self._only and len(chunks(every, sizes)) == 1:  # nearly always
            return [(self._only, every, commands)]
        places_of: dict[Server, list[int]] = defaultdict(list)
        for place, (key, _) in enumerate(items):
            places_of[self._server_of(key)].append(place)
        return [
            (server, chunk, [commands[place] for place in chunk])
            for server, places in places_of.items()
            for chunk in chunks(places, [sizes[place] for place in places])
        ]

    # --- values ---

    @property
    def stores_bytes_unchanged(self) -> bool:
        """Whether bytes are stored under their own key as they are, without flags: by the default options."""
        return type(self._serde) in {Pickles, PickleSerde} and not self._prefix

    def _name(self, key: str) -> bytes:
        """Return a key as it is sent."""
        if not self._prefix and len(key) <= LONGEST_KEY and is_valid_key(key):  # faster than character by character
            return key.encode()
        name: bytes = check_key_helper(key, allow_unicode_keys=True, key_prefix=self._prefix)
        return name

    def _load(self, found: Mapping[str, Stored]) -> dict[str, Any]:
        """Load values, without those that can't be read; the connection is back in the pool by now."""
        values = {}
        for key, (data, flags) in found.items():
            try:
                values[key] = self._serde.deserialize(key, data, flags)
            except Exception as error:  # noqa: BLE001 -- unpickling may raise anything
                pass_interrupt(error)
                log_unreadable(PRODUCT, error)
        return values


def _server(name: str, address: tuple[str, int] | str, options: Mapping[str, Any], most: int, seconds: float) -> Server:
    return Server(name, MemcachedPool(address, options, most, seconds))


@lru_cache(maxsize=16)
def _server_chooser(hasher: Callable[[], Hasher], names: tuple[str, ...]) -> Callable[[str], str]:
    """Return a cached function from keys to the names of servers, shared by the cache objects of all threads."""
    chosen = hasher()
    for name in names:
        chosen.add_node(name)
    return lru_cache(maxsize=MOST_KNOWN)(chosen.get_node)
