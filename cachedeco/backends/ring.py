"""
Several memcached servers as one: which of them has a key, what goes to each, and what becomes of a failure.

A key has one server, whatever happens to that one: the hash, and the servers' names in it, are those of pymemcache's
`HashClient`, so that a site which comes from there finds its keys.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar

from pymemcache.client.base import check_key_helper, normalize_server_spec
from pymemcache.exceptions import MemcacheClientError, MemcacheError, MemcacheIllegalInputError
from pymemcache.serde import LegacyWrappingSerde

from cachedeco.backends.errors import MemcachedError
from cachedeco.backends.options import CONNECTION, MOST_IDLE, OPTIONAL
from cachedeco.backends.pool import Stored
from cachedeco.backends.server import Command, Server, server_at

logger = logging.getLogger("cachedeco")

T = TypeVar("T")
Grouped = Iterator[tuple[Server, list[str]]]

# So many writes are sent before the first answer is read. Their answers, of some ten bytes each, have to fit into the
# buffers on the way, or server and client would wait for each other.
MOST_AT_ONCE: Final = 1000
# ... and of values no more than so many bytes, and one value: `timeout` is for all that is sent at once, and half a
# second is enough for a megabyte on a network of 20 megabits.
MOST_BYTES_AT_ONCE: Final = 2**20
# Keys of which it is remembered what server they have: pymemcache's hash takes ten microseconds for each server.
MOST_KNOWN: Final = 4096


class Hasher(Protocol):
    """What chooses a server: pymemcache's `RendezvousHash`, or the option `hasher`."""

    def add_node(self, node: str, /) -> None:
        """Know one more server."""
        ...

    def get_node(self, key: str, /) -> str:
        """Return the server of a key."""
        ...


class Serde(Protocol):
    """What makes bytes of values: pymemcache's, or the option `serde`."""

    def serialize(self, key: bytes, value: Any, /) -> tuple[object, int]:
        """Return what is to be stored, and flags of 16 bits."""
        ...

    def deserialize(self, key: str, value: bytes, flags: int, /) -> Any:
        """Return what was stored."""
        ...


class FailedKeys(list[str]):
    """The keys that were not stored, and why, where that is because of a server that is out of reach."""

    error: MemcachedError | None = None


class Ring:
    """
    A client over a fixed list of servers, with the methods that Django's memcached backends call.

    Reads of a server that is out of reach find nothing. Writes to it raise `MemcachedError`, or, with the option
    *ignore_exc*, are logged as errors, and return what stands for a write that did nothing.
    """

    def __init__(self, locations: Iterable[str], **options: Any) -> None:
        """Find the servers; nothing is sent."""
        connection = {name: options[name] for name in (*CONNECTION, *OPTIONAL) if name in options}
        most, seconds = options["max_pool_size"] or MOST_IDLE, options["pool_idle_timeout"]
        self._servers: dict[str, Server] = {}
        for location in locations:
            address = normalize_server_spec(location.strip() if isinstance(location, str) else location)
            name = address if isinstance(address, str) else "{}:{}".format(*address)
            self._servers[name] = server_at(name, address, connection, most=most, seconds=seconds)
        self._name_of = _chooser(options["hasher"], tuple(self._servers))
        self._only = next(iter(self._servers.values())) if len(self._servers) == 1 else None
        self._serde: Serde = options["serde"] or LegacyWrappingSerde(options["serializer"], options["deserializer"])
        self._encoding = options["encoding"]
        self._ignores = bool(options["ignore_exc"])
        prefix = options["key_prefix"]
        self._prefix = prefix.encode("ascii") if isinstance(prefix, str) else prefix
        self._unicode = options["allow_unicode_keys"]

    # --- reading ---

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or *default* where there is none, it can't be read, or the server is out of reach."""
        return self._loaded(self._read("get", self._server_of(key), [key])).get(key, default)

    def demand(self, operation: str, key: str, default: Any = None) -> Any:
        """Do as `get()`, but raise where the server is out of reach: for an operation that tells what is not there."""
        nothing: dict[str, Stored] = {}
        found = self._write(operation, self._server_of(key), lambda one: one.stored([key]), lost=nothing)
        return self._loaded(found).get(key, default)

    def get_multi(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return what is there of some keys, of the servers that answer."""
        found: dict[str, Any] = {}
        for server, some in self._grouped(keys):
            found.update(self._loaded(self._read("get_many", server, some)))
        return found

    # --- writing ---

    def set(self, key: str, value: Any, expire: int = 0) -> bool:
        """Store a value."""
        stored = self._dumped(key, value)
        return self._write("set", self._server_of(key), lambda one: bool(one.set(key, stored, expire)), lost=False)

    def add(self, key: str, value: Any, expire: int = 0) -> bool:
        """Store a value where there is none; tell whether that was so."""
        stored = self._dumped(key, value)
        return self._write("add", self._server_of(key), lambda one: one.add(key, stored, expire), lost=False)

    def touch(self, key: str, expire: int = 0) -> bool:
        """Give a value a new timeout; tell whether there is one."""
        return self._write("touch", self._server_of(key), lambda one: one.touch(key, expire), lost=False)

    def delete(self, key: str) -> bool:
        """Delete a value; tell whether there was one."""
        return self._write("delete", self._server_of(key), lambda one: one.delete(key), lost=False)

    def incr(self, key: str, delta: int) -> int | None:
        """Add to a number, and return the sum; None where there is none."""
        return self._write("incr", self._server_of(key), lambda one: one.incr(key, delta), lost=None)

    def decr(self, key: str, delta: int) -> int | None:
        """Take from a number, down to 0, and return what is left; None where there is none."""
        return self._write("decr", self._server_of(key), lambda one: one.decr(key, delta), lost=None)

    def set_multi(self, values: Mapping[str, Any], expire: int = 0) -> FailedKeys:
        """Store values, and return the keys of those that were not stored; raise nothing because of a server."""
        stored = {key: self._dumped(key, value) for key, value in values.items()}
        failed = FailedKeys()
        for server, keys in self._grouped(stored):
            for some in _chunks(keys, {key: len(stored[key][0]) for key in keys}):
                try:
                    failed += self._set_some(server, {key: stored[key] for key in some}, expire)
                except MemcachedError as error:
                    failed += some
                    failed.error = failed.error or error
        return failed

    def delete_multi(self, keys: Iterable[str]) -> None:
        """Delete values of all servers that answer; then raise because of those that did not."""
        self._on_each(
            "delete_many",
            ((server, _deleting(some)) for server, keys in self._grouped(keys) for some in _chunks(keys, {})),
        )

    def flush_all(self) -> None:
        """Empty all servers that answer; then raise because of those that did not."""
        self._on_each("clear", ((server, lambda one: one.flush_all()) for server in self._servers.values()))

    def prune(self) -> None:
        """Close the connections that nobody has needed for long."""
        for server in self._servers.values():
            server.pool.prune()

    # --- servers ---

    def _server_of(self, key: str) -> Server:
        return self._only or self._servers[self._name_of(key)]

    def _grouped(self, keys: Iterable[str]) -> Grouped:
        groups: dict[Server, list[str]] = defaultdict(list)
        for key in keys:
            groups[self._server_of(key)].append(key)
        return iter(groups.items())

    def _read(self, operation: str, server: Server, keys: list[str]) -> dict[str, Stored]:
        try:
            return server.run(operation, lambda one: one.stored(keys), writes=False)
        except MemcachedError:  # which the server has logged, once
            return {}
        except MemcacheClientError:
            if self._ignores:
                return {}
            raise

    def _write(self, operation: str, server: Server, command: Command[T], *, lost: T) -> T:
        try:
            return server.run(operation, command, writes=True)
        except (MemcachedError, MemcacheError) as error:
            if not self._ignores:
                raise
            self._tell(operation, error)
            return lost

    def _set_some(self, server: Server, values: Mapping[str, Stored], expire: int) -> list[str]:
        try:
            return server.run("set_many", lambda one: one.set_each(values, expire), writes=True)
        except MemcachedError as error:
            if self._ignores:
                self._tell("set_many", error)
            raise

    def _on_each(self, operation: str, commands: Iterable[tuple[Server, Command[Any]]]) -> None:
        errors: list[MemcachedError | MemcacheError] = []
        for server, command in commands:
            try:
                self._write(operation, server, command, lost=None)
            except (MemcachedError, MemcacheError) as error:
                errors.append(error)
        if errors:
            for another in errors[1:]:
                errors[0].add_note(str(another))
            raise errors[0]

    @staticmethod
    def _tell(operation: str, error: Exception) -> None:
        logger.error("A write to memcached was lost, as ignore_exc has it (%s): %s", operation, error)

    # --- values ---

    def _dumped(self, key: str, value: object) -> Stored:
        """Return what is to be stored, before any connection is taken: what is wrong with a value is not its fault."""
        name = check_key_helper(key, self._unicode, self._prefix)
        data, flags = self._serde.serialize(name, value)
        if not isinstance(data, bytes):
            try:
                data = str(data).encode(self._encoding)
            except UnicodeEncodeError as error:
                msg = f"Can't store this value as {self._encoding}: {error}. Say encoding='utf-8' in OPTIONS."
                raise MemcacheIllegalInputError(msg) from error
        return data, flags

    def _loaded(self, found: Mapping[str, Stored]) -> dict[str, Any]:
        """Return the values, without those that can't be read; the connection is somebody else's again by now."""
        values = {}
        for key, (data, flags) in found.items():
            try:
                values[key] = self._serde.deserialize(key, data, flags)
            except Exception as error:  # noqa: BLE001 -- unpickling may raise anything
                logger.warning(
                    "A value from memcached can't be read, and counts as missing: %s: %s", type(error).__name__, error
                )
        return values


def _deleting(keys: list[str]) -> Callable[..., Any]:
    return lambda one: one.delete_many(keys)


def _chunks(keys: list[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Give keys in parts that are sent at once; *sizes* are the bytes of their values, where they have some."""
    some: list[str] = []
    size = 0
    for key in keys:
        if len(some) == MOST_AT_ONCE or size >= MOST_BYTES_AT_ONCE:
            yield some
            some, size = [], 0
        some.append(key)
        size += sizes.get(key, 0)
    yield some


@lru_cache(maxsize=16)
def _chooser(hasher: Callable[[], Hasher], names: tuple[str, ...]) -> Callable[[str], str]:
    """Return what finds a key's server by its name: one for all threads, as each has a cache of its own."""
    chosen = hasher()
    for name in names:
        chosen.add_node(name)
    return lru_cache(maxsize=MOST_KNOWN)(chosen.get_node)
