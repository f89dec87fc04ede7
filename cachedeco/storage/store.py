"""
`Store`: guarded access to one Django cache. A failure of the cache never breaks the call.

Each method sends one cache command. A failure is an event and a return value that the caller can act on, never an
exception. While the circuit breaker is open nothing is sent, and the method returns as for a failure, without an event.
"""

import re
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil
from os import urandom
from typing import Any, Final, TypeVar

from django.core.cache.backends.db import DatabaseCache

from cachedeco.runtime import conf
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.runtime.interrupts import is_interrupt
from cachedeco.storage.breaker import (
    breakers,
    clusters,
    is_of_cluster,
    is_outage,
    is_refused_at_once,
    is_too_large,
    record_failure,
)
from cachedeco.storage.connections import connection, on_loops
from cachedeco.storage.foreign_exceptions import fails_callers_transaction, is_foreign
from cachedeco.storage.keyspace import Keyspace, keyspace
from cachedeco.storage.readers import NonsenseReadError
from cachedeco.storage.replies import UNDECODABLE
from cachedeco.storage.writers import Acknowledged, WholeItem, delete, proves_absence

T = TypeVar("T")

LONGEST_TIMEOUT: Final = 365 * 24 * 3600
# Keys in one command. Memcached has been seen to take 100 000, Redis 20 000 (through pymemcache and redis-py), but the
# server answers no other client meanwhile, and a client's timeout is for one command: 2000 take some 40 milliseconds.
MOST_KEYS: Final = 2000
# Chunks that an event loop asks for at once. A server may keep their answers until they are read: some megabytes.
MOST_AT_ONCE_ON_LOOP: Final = 4
# Parameters in one query: SQLite before 3.32 takes 999, and a list on Oracle 1000.
MOST_KEYS_IN_DATABASE: Final = 999
PROBE_SECONDS: Final = 60
# So many random keys lie in one slot of a cluster once in 200 million times.
KEYS_OF_CLUSTER: Final = 3
OF_A_CLUSTER: Final = (
    "this is a node of a Redis cluster, which has a part of the keys, and each call needs several in one command. "
    "Nothing is cached. Point LOCATION at a Redis without cluster mode, or at a proxy in front of the cluster"
)


Item = tuple[str, bytes, float | None]  # key, value, and timeout in seconds: None for ever


@dataclass(frozen=True, slots=True)
class Store:
    """
    Guarded access to the Django cache of one alias, by whole keys.

    Holds no connection: each command uses that of its thread. Thread-safe.
    """

    alias: str
    function: str = ""  #: the function that its events name

    def read(self, keys: Sequence[str]) -> list[bytes | None] | None:
        """Return the values, in the order of the keys; None if the cache failed, or the breaker is open."""
        breaker = breakers.get(self.alias) if breakers else None  # nearly always empty: each hit runs this
        if breaker is not None and not breaker.allows_request(self.probe):
            return None
        values: list[bytes | None] | None
        try:
            values = connection(self.alias).read(keys)
        except Exception as error:  # noqa: BLE001 -- any failure of the cache is an event
            self.pass_on(error)
            values = self.read_decodable(keys, error)
            if values is None:
                return None
        # An empty result is no success: pymemcache's HashClient returns it for an unreachable server, too.
        if breaker is not None and any(value is not None for value in values):
            breaker.record_success()
        return values

    def read_each(self, keys: Sequence[str]) -> list[bytes | None] | None:
        """`read()` for any number of keys, in chunks that one command takes; None if one failed."""
        if len(keys) <= MOST_KEYS_IN_DATABASE:
            return self.read(keys) if keys else []
        return self.read_chunks(list(self.chunks(keys)))

    def read_chunks(self, chunks: Sequence[Sequence[str]]) -> list[bytes | None] | None:
        """`read()` for chunks of keys, each of which one command takes; None if one failed."""
        if self._breaker_refuses():
            return None
        values: list[bytes | None] | None
        try:
            values = connection(self.alias).read_chunks(chunks)
        except Exception as error:  # noqa: BLE001 -- any failure of the cache is an event
            self.pass_on(error)
            values = self.read_decodable([*chain(*chunks)], error)
            if values is None:
                return None
        if any(value is not None for value in values):  # as for one command
            self._record_success()
        return values

    def read_decodable(self, keys: Sequence[str], error: Exception) -> list[bytes | None] | None:
        """
        Return the values of a read that has raised an error, each by a command of its own; None if the cache failed.

        Most caches decode what they return, and raise where one of the values can't be: a serializer, or a compressor,
        was changed. Such a value is `UNDECODABLE` here: a miss, which is written over. All others are there.
        """
        if not _may_be_decoding(error):
            self.record_failed_read(keys, error)
            return None
        self.emit_failure("Reading failed", keys[0], error)
        values: list[bytes | None] = []
        for key in keys:
            try:
                values += connection(self.alias).read([key])
            except Exception as of_key:  # noqa: BLE001 -- any failure of the cache is an event
                self.pass_on(of_key)
                if not _may_be_decoding(of_key):
                    self.record_failed_read([key], of_key)
                    return None
                values.append(UNDECODABLE)
        return values

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes] | None:
        """Return the values that are there, by key; None if the cache failed."""
        return _by_key(keys, self.read_each(keys))

    # --- on an event loop ---

    @property
    def is_read_on_loop(self) -> bool:
        """Whether the methods below may be called now: the cache is read on loops, and its breaker has counted none."""
        return self.alias not in breakers and on_loops(self.alias).aread is not None

    def start_read_on_loop(self, keys: Sequence[str]) -> Awaitable[list[bytes | None]]:
        """Do as `read()`, and raise what the cache raises: see `record_failed_read()`."""
        return on_loops(self.alias).aread(keys)  # type: ignore[misc] # asked before, as said

    def record_failed_read(self, keys: Sequence[str], error: Exception) -> None:
        """Emit the event of a read that failed, and count it in the breaker."""
        self._record_failure("Reading failed", keys[0], error, reading=True)

    async def get_many_on_loop(self, keys: Sequence[str]) -> dict[str, bytes] | None:
        """Do as `get_many()`."""
        found: list[bytes | None] = []
        try:
            if 0 < len(keys) <= MOST_KEYS:
                found = await self.start_read_on_loop(keys)
            else:
                for chunks in _parts([*_parts(keys, MOST_KEYS)], MOST_AT_ONCE_ON_LOOP):
                    found += await on_loops(self.alias).aread_chunks(chunks)  # type: ignore[misc] # asked before, as said
        except Exception as error:  # noqa: BLE001 -- any failure of the cache is an event
            self.pass_on(error)
            self.record_failed_read(keys, error)
            return None
        return _by_key(keys, found)

    @property
    def is_written_on_loop(self) -> bool:
        """Whether `set_each_on_loop()` may be called now; see `is_read_on_loop`."""
        return self.alias not in breakers and on_loops(self.alias).awrite is not None

    async def set_each_on_loop(self, items: Sequence[Item]) -> Acknowledged:
        """Do as `set_each()`."""
        written = Acknowledged()
        for chunk in _parts(items, MOST_KEYS):
            try:
                acknowledged = await on_loops(self.alias).awrite(whole_items(chunk))  # type: ignore[misc] # asked before, as said
            except Exception as error:  # noqa: BLE001 -- any failure of the cache is an event
                self.pass_on(error)
                acknowledged = _nothing_of(chunk, error)
            self._report(written, chunk, acknowledged)
        return written

    @property
    def pipelines(self) -> bool:
        """Whether `add_each()` is one trip."""
        return connection(self.alias).pipelines

    def add_each(self, items: Sequence[Item]) -> Acknowledged:
        """
        Store each value whose key is absent; tell for each whether this call stored it.

        False proves nothing: pymemcache's HashClient returns it for an unreachable server, too.
        """
        if self._breaker_refuses():
            return Acknowledged([False] * len(items))
        added = Acknowledged()
        for chunk in self.chunks(items):
            try:
                acknowledged = connection(self.alias).writer.add_each(whole_items(chunk))
            except Exception as error:  # noqa: BLE001 -- any failure of the cache is an event
                self.pass_on(error)
                self._record_failure("Adding failed", chunk[0][0], error)
                added.has_failed = True
                break  # what is missing is not stored, and asking for it would take another timeout
            if acknowledged.error is not None:
                self._record_failure("Adding failed", chunk[0][0], acknowledged.error)
                added.has_failed = True
            elif any(acknowledged):
                self._record_success()
            added += acknowledged
        added += [False] * (len(items) - len(added))
        return added

    def set_each(self, items: Sequence[Item]) -> Acknowledged:
        """
        Store each value; tell for each whether the cache has acknowledged it.

        That a value is too large is the error of the result, and no event: the caller knows its size.
        """
        return Acknowledged([False] * len(items)) if self._breaker_refuses() else self._write(items)

    def set_tokens(self, items: Sequence[Item]) -> list[bool]:
        """
        `set_each()` for invalidations: send them although the breaker is open, unless that may cost a timeout.

        A server that refused connections may have been restarted, and other processes use it at once. On a backend
        with a breaker for each server, one unreachable server keeps no invalidation from the others. After an
        acknowledgement the breaker probes at once, and so delivers the retry queue.
        """
        if not self._breaker_refuses():
            return self._write(items)
        breaker = breakers.get(self.alias)
        fails_fast = breaker is not None and breaker.fails_fast
        if not fails_fast and getattr(connection(self.alias).cache, "spares_other_servers", False) is not True:
            return [False] * len(items)
        written = self._write(items)
        if breaker is not None and fails_fast and all(written):
            breaker.end_pause()
            breaker.allows_request(self.probe)
        return written

    def _write(self, items: Sequence[Item]) -> Acknowledged:
        """Store values, and report the result to the breaker."""
        written = Acknowledged()
        for chunk in self.chunks(items):
            try:
                acknowledged = self.write_unguarded(chunk)
            except Exception as error:  # noqa: BLE001 -- any failure of the cache is an event
                self.pass_on(error)
                acknowledged = _nothing_of(chunk, error)
            self._report(written, chunk, acknowledged)
        return written

    def _report(self, written: Acknowledged, items: Sequence[Item], acknowledged: Acknowledged) -> None:
        """Report to the breaker what was acknowledged of a chunk of items, and add it to what was written."""
        if acknowledged.error is None:
            if all(acknowledged):
                self._record_success()
        elif is_too_large(acknowledged.error):
            written.error, written.has_failed = acknowledged.error, acknowledged.has_failed
        else:
            self._record_failure("Writing failed", items[acknowledged.index(False)][0], acknowledged.error)
        written += acknowledged

    def delete(self, key: str) -> bool:
        """Best-effort delete; True proves that the key was there and is gone."""
        if self._breaker_refuses():
            return False
        try:
            return delete(connection(self.alias).cache, key)
        except Exception as error:  # noqa: BLE001 -- any failure of the cache is an event
            self.pass_on(error)
            self._record_failure("Deleting failed", key, error)
            return False

    # --- commands that ignore the breaker ---

    def write_unguarded(self, items: Sequence[Item]) -> Acknowledged:
        """`set_each()` that ignores the breaker, and raises what the cache raises."""
        return connection(self.alias).writer.set_each(whole_items(items))

    def delete_unguarded(self, key: str) -> bool:
        """Delete a key, ignoring the breaker; True proves that it is gone."""
        cache = connection(self.alias).cache
        try:
            return delete(cache, key) or proves_absence(cache)
        except Exception as error:  # noqa: BLE001 -- any failure of the cache is an event
            self.pass_on(error)
            self.emit_failure("Removing failed", key, error)
            return False

    def probe(self) -> bool:
        """
        Tell whether the cache answers, ignoring the breaker: by one small write, and one read.

        A read alone proves nothing, since pymemcache's HashClient finds no key on an unreachable server. A write that
        the server refuses is an answer.
        """
        # Several keys where it may be a node of a cluster, which takes one and refuses what a call needs.
        keys = self.probe_keys(KEYS_OF_CLUSTER if self.alias in clusters else 1)
        reading = False
        try:
            value = urandom(1)
            # Raising, as a cache of one server would.
            acknowledged = self.write_unguarded([(key, value, PROBE_SECONDS) for key in keys]).or_raise()
            reading = True
            return all(acknowledged) and bool(connection(self.alias).read(keys))
        except Exception as error:  # noqa: BLE001 -- any failure of the cache is an event
            self.pass_on(error)
            self.emit_failure("Probing failed", keys[0], error)
            breaker = breakers.get(self.alias)
            if breaker is not None:
                breaker.fails_fast = is_refused_at_once(error)
            return not is_outage(error, reading=reading)

    def takes_changes(self) -> bool:
        """
        Tell whether the cache stores a small value, or answers a deletion at least, ignoring the breaker.

        A Redis without memory still deletes; one that can't save, lacks its replicas, or is one, refuses every change.
        """
        [key] = self.probe_keys(1)
        try:
            if all(self.write_unguarded([(key, urandom(1), PROBE_SECONDS)]).or_raise()):
                return True
        except Exception as error:  # noqa: BLE001 -- any failure of the cache; that of the invalidation is an event
            self.pass_on(error)
        try:
            delete(connection(self.alias).cache, key)
        except Exception as error:  # noqa: BLE001 -- as above
            self.pass_on(error)
            return False
        return True

    # --- without a command ---

    def probe_keys(self, number: int) -> list[str]:
        """Return random whole keys, to write and read: with several servers, not always keys of the same one."""
        beginning = f"{conf.settings().KEY_PREFIX}:probe:"
        return [self.keyspace.table_key(f"{beginning}{urandom(8).hex()}") for _ in range(number)]

    def chunks(self, keys: Sequence[T]) -> Iterator[Sequence[T]]:
        """Split keys, or items, into chunks of a size that one command takes."""
        if len(keys) <= MOST_KEYS_IN_DATABASE:
            return iter((keys,) if keys else ())
        limit = MOST_KEYS_IN_DATABASE if isinstance(connection(self.alias).cache, DatabaseCache) else MOST_KEYS
        return _parts(keys, limit)

    @property
    def keyspace(self) -> Keyspace:
        """How the keys of the cache are made."""
        return keyspace(self.alias)

    def default_timeout(self) -> float | None:
        """Return the alias's default timeout in seconds, None for ever."""
        return connection(self.alias).cache.default_timeout

    def emit_failure(self, what: str, key: str, error: Exception | None = None) -> None:
        """Emit the event of a failed command; of the refusals of a node of a Redis cluster, once."""
        if is_of_cluster(error):
            if self.alias in clusters:
                return
            clusters.add(self.alias)
            what = f"{what}: {OF_A_CLUSTER}"
        emit(Event("error", self.function, key, self.alias, reason=what, error=error))

    def is_breaker_open(self) -> bool:
        """Tell whether the breaker is open, without a probe."""
        breaker = breakers.get(self.alias)
        return breaker is not None and breaker.retry_at is not None

    def is_out_of_reach(self, key: str) -> bool:
        """Tell whether the server of a key is known to be unreachable: our own backends read that as missing."""
        ask = getattr(connection(self.alias).cache, "is_out_of_reach", None)
        return ask is not None and ask(key)

    def pass_on(self, error: Exception) -> None:
        """Raise an exception that is none of the cache; the cache's own is an event, and the call goes on."""
        try:
            cache = connection(self.alias).cache
            if is_interrupt(error) or is_foreign(error, self.alias, cache) or fails_callers_transaction(error, cache):
                raise error
        finally:
            del error  # or it and this frame would be a reference cycle

    def _breaker_refuses(self) -> bool:
        """Tell whether the breaker refuses a command; probe if its pause is over."""
        breaker = breakers.get(self.alias)
        return breaker is not None and not breaker.allows_request(self.probe)

    def _record_success(self) -> None:
        breaker = breakers.get(self.alias)
        if breaker is not None:
            breaker.record_success()

    def _record_failure(self, what: str, key: str, error: Exception, *, reading: bool = False) -> None:
        self.emit_failure(what, key, error)
        if is_outage(error, reading=reading) or isinstance(error, NonsenseReadError):
            record_failure(self.alias, error)


def servers_of(entry: Mapping[str, Any]) -> list[str]:
    """Return the servers that an item of Django's CACHES names, as Django's memcached and Redis backends parse it."""
    location = entry.get("LOCATION", "")
    if isinstance(location, str):
        return re.split("[;,]", location)
    # The folder of a file-based cache may be a Path, and a server of pymemcache a tuple of host and port.
    several = location if isinstance(location, Iterable) and not isinstance(location, bytes) else [location]
    return [":".join(map(str, each)) if isinstance(each, tuple) else str(each) for each in several]


def _parts(several: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Return a sequence in parts of a size, the last one perhaps smaller."""
    return (several[start : start + most] for start in range(0, len(several), most))


def _may_be_decoding(error: Exception) -> bool:
    """Tell whether a read may have raised an error for one of the values, though the cache is well."""
    return not is_outage(error, reading=True) and not isinstance(error, NonsenseReadError)


def _nothing_of(items: Sequence[Item], error: Exception) -> Acknowledged:
    """Return what a write that failed has acknowledged."""
    acknowledged = Acknowledged([False] * len(items))
    acknowledged.error, acknowledged.has_failed = error, True
    return acknowledged


def _by_key(keys: Sequence[str], values: Sequence[bytes | None] | None) -> dict[str, bytes] | None:
    """Return the values that are there, by key; None if the cache failed."""
    if values is None:
        return None
    return {key: value for key, value in zip(keys, values, strict=True) if value is not None}


def whole_items(items: Sequence[Item]) -> list[WholeItem]:
    """
    Return items with timeouts for the backend: whole seconds, rounded up, and one more; None for ever.

    Memcached and Redis cut fractions off, so half a second would be none. Memcached's clock ticks once a second, hence
    one more: the entry has its own exact expiry. More than a year becomes for ever: memcached stores the expiry as
    32 bits, which end in 2038.
    """
    return [
        (key, value, None if timeout is None or timeout > LONGEST_TIMEOUT else ceil(timeout) + 1)
        for key, value, timeout in items
    ]
