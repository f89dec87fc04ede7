"""
A client over several memcached servers: choose a key's server, group keys by server, handle unreachable servers.

A key belongs to one server, also while that is unreachable. The hash, and the servers' names in it, are those of
pymemcache's `HashClient`, so that a site which used it finds its keys.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from itertools import chain
from operator import methodcaller
from typing import Any, Final, Protocol, TypeVar

from pymemcache.client.base import check_key_helper, normalize_server_spec
from pymemcache.exceptions import MemcacheClientError, MemcacheError, MemcacheIllegalInputError
from pymemcache.serde import LegacyWrappingSerde, PickleSerde

from cachedeco.backends import memcached_exchanges as exchanges
from cachedeco.backends.exchange import Exchange
from cachedeco.backends.memcached_answers import STORING, KeyedCommand
from cachedeco.backends.memcached_errors import PRODUCT, MemcachedError
from cachedeco.backends.memcached_options import CONNECTION, OPTIONAL
from cachedeco.backends.memcached_pickles import Pickles
from cachedeco.backends.memcached_pool import MemcachedPool
from cachedeco.backends.options import MOST_IDLE
from cachedeco.backends.server import Server, kept_server
from cachedeco.backends.writes import FailedKeys, chunks, log_lost_write, log_unreadable
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


class Ring:
    """
    A client over a fixed list of servers, with the methods that Django's memcached backends call.

    Thread-safe. Reads from an unreachable server are misses. Writes to it raise `MemcachedError`; with the option
    *ignore_exc* they are logged as errors, and return the result of a write that changed nothing.
    """

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
        self._encoding = options["encoding"]
        self._ignore_exc = bool(options["ignore_exc"])
        # Of reads. `Server` logs an outage, once.
        self._ignored = (MemcachedError, MemcacheClientError) if self._ignore_exc else (MemcachedError,)
        prefix = options["key_prefix"]
        self._prefix = prefix.encode("ascii") if isinstance(prefix, str) else prefix
        self._unicode = options["allow_unicode_keys"]

    # --- reading ---

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value; *default* if it is missing or unreadable, or the server is unreachable."""
        return self._load(self._read("get", self._server_of(key), self._reading([key]), lost={})).get(key, default)

    def get_or_raise(self, operation: str, key: str, default: Any = None) -> Any:
        """Return a value as `get()` does, but raise if the server is unreachable: for operations that report a miss."""
        return self._load(self._write(operation, self._server_of(key), self._reading([key]), lost={})).get(key, default)

    def get_multi(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of some keys, from the servers that answer."""
        found: dict[str, Any] = {}
        for server, chunk in self._group_by_server(keys).items():
            found.update(self._load(self._read("get_many", server, self._reading(chunk), lost={})))
        return found

    def read_each(self, keys: Sequence[str]) -> list[bytes | None]:
        """
        Return values that `store_each()` has stored, in order; None for one that is missing, or stored otherwise.

        The keys must be valid, and are sent as they are. One command for each server.
        """
        only = self._only
        if only:  # not by `_read()`: each hit runs this
            try:
                return only.run("get_many", methodcaller("read_bytes", keys), writes=False)
            except self._ignored:
                return [None] * len(keys)
        found: dict[str, bytes | None] = {}
        for server, chunk in self._group_by_server(keys).items():
            values = self._read("get_many", server, exchanges.ReadBytes(chunk), lost=[])
            found.update(zip(chunk, values, strict=False))
        return [found.get(key) for key in keys]

    def read_chunks(self, chunks: Sequence[Sequence[str]]) -> list[bytes | None]:
        """Do as `read_each()`, by one command for each server and chunk; those to one server are pipelined."""
        values: dict[str, bytes | None] = {}
        for server, several in self._chunks_of_servers(chunks).items():
            with suppress(*self._ignored):
                found = server.run("get_many", methodcaller("read_chunks", several), writes=False)
                values.update(zip(chain.from_iterable(several), found, strict=True))
        return [values.get(key) for chunk in chunks for key in chunk]

    # --- writing ---

    def set(self, key: str, value: Any, expire: int = 0) -> bool:
        """Store a value."""
        return self._write("set", self._server_of(key), self._storing(b"set", key, value, expire), lost=False)

    def add(self, key: str, value: Any, expire: int = 0) -> bool:
        """Store a value if there is none; return whether it was stored."""
        return self._write("add", self._server_of(key), self._storing(b"add", key, value, expire), lost=False)

    def touch(self, key: str, expire: int = 0) -> bool:
        """Give a value a new timeout; return whether there is a value."""
        return self._write("touch", self._server_of(key), exchanges.touch(self._name(key), expire), lost=False)

    def delete(self, key: str) -> bool:
        """Delete a value; return whether there was one."""
        return self._write("delete", self._server_of(key), exchanges.delete(self._name(key)), lost=False)

    def incr(self, key: str, delta: int) -> int | None:
        """Add to a number, and return the sum; None if there is no number."""
        return self._write("incr", self._server_of(key), exchanges.count(b"incr", self._name(key), delta), lost=None)

    def decr(self, key: str, delta: int) -> int | None:
        """Subtract from a number, down to 0, and return the difference; None if there is no number."""
        return self._write("decr", self._server_of(key), exchanges.count(b"decr", self._name(key), delta), lost=None)

    def store_many(self, values: Mapping[str, Any], expire: int = 0) -> FailedKeys:
        """Store values, and return the keys that were not stored; an unreachable server raises nothing."""
        items = self._items(values, expire)
        return failed_keys(items, self.store_each("set_many", items))

    def store_each(self, operation: str, items: Sequence[KeyedCommand]) -> Acknowledged:
        """Carry out `set` or `add` for each item, one send for each server; an unreachable server raises nothing."""
        results = Acknowledged([False] * len(items))
        for server, places, commands in self._chunks_by_server(items):
            try:
                stored = carry_out(server, operation, exchanges.store_each(commands), writes=True)
            except MemcachedError as error:
                self.note_lost(results, operation, error)
            else:
                note_stored(results, places, stored)
        return results

    def delete_multi(self, keys: Iterable[str]) -> None:
        """Delete values on all servers that answer; then raise the errors of the others."""
        self._on_each("delete_many", self._deletions(keys))

    def flush_all(self) -> None:
        """Empty all servers that answer; then raise the errors of the others."""
        self._on_each("clear", ((server, exchanges.flush_all()) for server in self._servers.values()))

    def prune(self) -> None:
        """Close the connections that were idle for too long."""
        for server in self._servers.values():
            server.pool.prune()

    # --- servers ---

    def stats(self, *arguments: str) -> dict[str, dict[bytes, Any] | Exception]:
        """Return what each server says to the command `stats`, or why it does not: for a diagnosis."""
        answers: dict[str, dict[bytes, Any] | Exception] = {}
        for name, server in self._servers.items():
            try:
                answers[name] = server.run("stats", methodcaller("stats", *arguments), writes=False)
            except (MemcachedError, MemcacheError) as error:
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

    def _read(self, operation: str, server: Server, exchange: Exchange[T], *, lost: T) -> T:
        try:
            return carry_out(server, operation, exchange, writes=False)
        except self._ignored:
            return lost

    def _write(self, operation: str, server: Server, exchange: Exchange[T], *, lost: T) -> T:
        try:
            return carry_out(server, operation, exchange, writes=True)
        except (MemcachedError, MemcacheError) as error:
            if not self._ignore_exc:
                raise
            log_lost_write(PRODUCT, operation, error)
            return lost

    def _items(self, values: Mapping[str, Any], expire: int) -> list[KeyedCommand]:
        return [(key, self._command(b"set", key, value, expire)) for key, value in values.items()]

    def _command(self, command: bytes, key: str, value: object, expire: int) -> bytes:
        """Return the command that stores a value, serialized before a connection is taken: its error breaks none."""
        data, flags = self._serde.serialize(self._name(key), value)
        if not isinstance(data, bytes):
            try:
                data = str(data).encode(self._encoding)
            except UnicodeEncodeError as error:
                msg = f"Can't store this value as {self._encoding}: {error}. Set encoding='utf-8' in OPTIONS."
                raise MemcacheIllegalInputError(msg) from error
        return STORING % (command, self._name(key), flags, expire, len(data), data)

    def _storing(self, command: bytes, key: str, value: object, expire: int) -> exchanges.Lines[bool]:
        return exchanges.store(command, self._command(command, key, value, expire))

    def _reading(self, keys: Iterable[str]) -> exchanges.ReadStored:
        return exchanges.ReadStored({self._name(key): key for key in keys})

    def _deletions(self, keys: Iterable[str]) -> list[tuple[Server, Exchange[Any]]]:
        return [
            (server, exchanges.delete_many([self._name(key) for key in chunk]))
            for server, several in self._group_by_server(keys).items()
            for chunk in chunks(several)
        ]

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

    def note_lost(self, results: Acknowledged, operation: str, error: MemcachedError) -> None:
        """Enter that one server did not answer."""
        if self._ignore_exc:
            log_lost_write(PRODUCT, operation, error)
        results.error = results.error or error

    def _on_each(self, operation: str, commands: Iterable[tuple[Server, Exchange[Any]]]) -> None:
        errors: list[Exception] = []
        for server, exchange in commands:
            try:
                self._write(operation, server, exchange, lost=None)
            except (MemcachedError, MemcacheError) as error:
                errors.append(error)
        raise_first(errors)

    # --- values ---

    @property
    def stores_bytes_unchanged(self) -> bool:
        """Whether bytes are stored under their own key as they are, without flags: by the default options."""
        return type(self._serde) in {Pickles, PickleSerde} and not self._prefix

    def _name(self, key: str) -> bytes:
        """Return a key as it is sent."""
        if not self._prefix and len(key) <= LONGEST_KEY and is_valid_key(key):  # faster than character by character
            return key.encode()
        name: bytes = check_key_helper(key, self._unicode, self._prefix)
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


def carry_out(server: Server, operation: str, exchange: Exchange[T], *, writes: bool) -> T:
    """Send a command to a server, and return its answer."""
    answer: T = server.run(operation, methodcaller("carry_out", exchange), writes=writes)
    return answer


def raise_first(errors: Sequence[Exception]) -> None:
    """Raise the first error, if there is one, with a note of each other one."""
    for another in errors[1:]:
        errors[0].add_note(str(another))
    if errors:
        raise errors[0]


def failed_keys(items: Sequence[KeyedCommand], results: Acknowledged) -> FailedKeys:
    """Return the keys of the items that were not stored, and the error."""
    failed = FailedKeys(item[0] for item, is_stored in zip(items, results, strict=True) if not is_stored)
    failed.error = results.error
    return failed


def note_stored(results: Acknowledged, places: Iterable[int], stored: Acknowledged) -> None:
    """Enter what one server has answered."""
    results.error = results.error or stored.error
    for place, is_stored in zip(places, stored, strict=True):
        results[place] = is_stored


@lru_cache(maxsize=16)
def _server_chooser(hasher: Callable[[], Hasher], names: tuple[str, ...]) -> Callable[[str], str]:
    """Return a cached function from keys to the names of servers, shared by the cache objects of all threads."""
    chosen = hasher()
    for name in names:
        chosen.add_node(name)
    return lru_cache(maxsize=MOST_KNOWN)(chosen.get_node)
