"""
`Store`: guarded access to one Django cache. A failure of the cache never breaks the call.

Each method sends one cache command. A failure is an event and a return value that the caller can act on, never an
exception. While the circuit breaker is open nothing is sent, and the method returns as for a failure, without an event.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from os import urandom
from typing import Any, Final

from django.core.cache import caches
from django.core.cache.backends.db import DatabaseCache

from cachedeco.runtime import conf
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.storage.breaker import breakers, is_outage, is_refused_at_once, record_failure
from cachedeco.storage.cache_keys import LONGEST_KEY, SMALLEST_KEY_BUDGET, USUAL_KEY_BUDGET, shorten_keys

LONGEST_TIMEOUT: Final = 365 * 24 * 3600
# Keys in one command. Memcached has been seen to take 100 000, Redis 20 000 (through pymemcache and redis-py), but the
# server answers no other client meanwhile, and a client's timeout is for one command: 2000 take some 40 milliseconds.
MOST_KEYS: Final = 2000
# Parameters in one query: SQLite before 3.32 takes 999, and a list on Oracle 1000.
MOST_KEYS_IN_DATABASE: Final = 999
PROBE_SECONDS: Final = 60


class FailedKeys(list[str]):
    """Keys of the values that a cache has not acknowledged."""

    error: Exception | None = None  #: set if one of several servers is unreachable and the backend reports it


@dataclass(frozen=True, slots=True)
class Store:
    """
    Guarded access to the Django cache of one alias.

    Holds no connection: Django keeps one cache object for each thread and task, and each command gets it from there.
    Thread-safe.
    """

    alias: str
    function: str = ""  #: the function that its events name

    def get_many(self, keys: Collection[str]) -> dict[str, object] | None:
        """Return the values that are there; None if the cache failed, or the breaker is open."""
        breaker = breakers.get(self.alias) if breakers else None  # nearly always empty: each hit runs this
        if breaker is not None and not breaker.allows_request(self.probe):
            return None
        try:
            values = caches[self.alias].get_many(keys)
        except Exception as error:  # noqa: BLE001 -- any failure to read is a miss
            self._record_failure("Reading failed", next(iter(keys)), error, reading=True)
            return None
        if isinstance(values, dict):
            # An empty result is no success: pymemcache's HashClient returns it for an unreachable server, too.
            if breaker is not None and values:
                breaker.record_success()
            return values
        self.emit_failure(f"Reading gave {values!r} instead of a dict", next(iter(keys)))
        record_failure(self.alias)
        return None

    def add(self, key: str, value: bytes, timeout: float | None) -> bool:
        """
        Store a value if the key is absent; tell whether this call stored it.

        False proves nothing: pymemcache's HashClient returns it for an unreachable server, too.
        """
        if self._breaker_refuses():
            return False
        try:
            added = caches[self.alias].add(key, value, whole_seconds(timeout)) is True
        except Exception as error:  # noqa: BLE001 -- any failure to write is an event
            self._record_failure("Adding failed", key, error)
            return False
        if added:
            self._record_success()
        return added

    def set(self, key: str, value: bytes, timeout: float | None) -> bool:
        """Store a value; tell whether that raised nothing, which on memcached is no proof that it arrived."""
        if self._breaker_refuses():
            return False
        try:
            caches[self.alias].set(key, value, whole_seconds(timeout))
        except Exception as error:  # noqa: BLE001 -- any failure to write is an event
            self._record_failure("Writing failed", key, error)
            return False
        return True

    def set_many(self, values: Mapping[str, bytes], timeout: float | None) -> Collection[str]:
        """
        Store values; return the keys of those that the cache did not acknowledge.

        The only write whose result can be trusted on memcached: the keys that failed are named, or the call raises.
        """
        return list(values) if self._breaker_refuses() else self._write(values, timeout)

    def set_tokens(self, values: Mapping[str, bytes], timeout: float | None) -> Collection[str]:
        """
        `set_many()` for invalidations: send them although the breaker is open, unless that may cost a timeout.

        A server that refused connections may have been restarted, and other processes use it at once. On a backend
        with a breaker for each server, one unreachable server keeps no invalidation from the others. After an
        acknowledgement the breaker probes at once, and so delivers the retry queue.
        """
        if not self._breaker_refuses():
            return self._write(values, timeout)
        breaker = breakers.get(self.alias)
        fails_fast = breaker is not None and breaker.fails_fast
        if not fails_fast and getattr(caches[self.alias], "spares_other_servers", False) is not True:
            return list(values)
        failed_keys = self._write(values, timeout)
        if breaker is not None and fails_fast and not failed_keys:
            breaker.end_pause()
            breaker.allows_request(self.probe)
        return failed_keys

    def _write(self, values: Mapping[str, bytes], timeout: float | None) -> Collection[str]:
        """Store values, report the result to the breaker, and return the keys that were not acknowledged."""
        try:
            failed_keys = self.set_many_unguarded(values, timeout)
        except Exception as error:  # noqa: BLE001 -- any failure to write is an event
            self._record_failure("Writing failed", next(iter(values)), error)
            return list(values)
        if failed_keys.error is not None:
            self._record_failure("Writing failed", failed_keys[0], failed_keys.error)
        elif not failed_keys:
            self._record_success()
        return failed_keys

    # --- commands that ignore the breaker ---

    def set_many_unguarded(self, values: Mapping[str, bytes], timeout: float | None) -> FailedKeys:
        """`set_many()` that ignores the breaker, and raises what the cache raises."""
        cache = caches[self.alias]
        failed = cache.set_many(dict(values), whole_seconds(timeout))
        if isinstance(cache, DatabaseCache) and not failed:
            # It swallows any DatabaseError of a write ("database is locked"), and reports nothing: read it back.
            stored = cache.get_many(values)
            failed = [key for key, value in values.items() if stored.get(key) != value]
        if failed is None:  # django-redis returns it
            return FailedKeys()
        is_collection = isinstance(failed, list | tuple | set | frozenset)
        named = frozenset(failed) if is_collection else ()
        failed_keys = FailedKeys([key for key in values if key in named])
        if not failed_keys and (failed or not is_collection):  # it names none of these keys: count all as failed
            failed_keys = FailedKeys(values)
        failed_keys.error = getattr(failed, "error", None) if failed_keys else None
        return failed_keys

    def delete(self, key: str) -> None:
        """Best-effort delete."""
        if self._breaker_refuses():
            return
        try:
            caches[self.alias].delete(key)
        except Exception as error:  # noqa: BLE001 -- any failure to write is an event
            self._record_failure("Deleting failed", key, error)

    def delete_unguarded(self, key: str) -> bool:
        """Delete a key, ignoring the breaker; True proves that it was there and is gone."""
        try:
            return caches[self.alias].delete(key) is True
        except Exception as error:  # noqa: BLE001 -- any failure to write is an event
            self.emit_failure("Removing failed", key, error)
            return False

    def probe(self) -> bool:
        """
        Tell whether the cache answers, ignoring the breaker: by one small write, and one read.

        A read alone proves nothing, since pymemcache's HashClient finds no key on an unreachable server. A write that
        the server refuses is an answer.
        """
        # A random key each time: with several servers, not always one of the server that is unreachable.
        [key] = shorten_keys([f"{conf.settings().KEY_PREFIX}:probe:{urandom(8).hex()}"], SMALLEST_KEY_BUDGET)
        reading = False
        try:
            failed_keys = self.set_many_unguarded({key: urandom(1)}, PROBE_SECONDS)
            if failed_keys.error is not None:
                raise failed_keys.error  # noqa: TRY301 -- as a cache of one server would
            reading = True
            return not failed_keys and isinstance(caches[self.alias].get_many([key]), dict)
        except Exception as error:  # noqa: BLE001 -- any failure is an event
            self.emit_failure("The cache was asked whether it is well, and failed", key, error)
            breaker = breakers.get(self.alias)
            if breaker is not None:
                breaker.fails_fast = is_refused_at_once(error)
            return not is_outage(error, reading=reading)

    # --- without a command ---

    def chunks(self, keys: Sequence[str]) -> Iterator[Sequence[str]]:
        """Split keys into chunks of a size that one command takes."""
        if len(keys) <= MOST_KEYS_IN_DATABASE:
            return iter((keys,))
        limit = MOST_KEYS_IN_DATABASE if isinstance(caches[self.alias], DatabaseCache) else MOST_KEYS
        return (keys[start : start + limit] for start in range(0, len(keys), limit))

    def key_budget(self) -> int:
        """
        Return the length that a key may have before Django adds its prefix and version.

        The same for all prefixes of usual length: a KEY_FUNCTION may use prefixes of several lengths, one for each
        tenant, and an invalidation must find the key that a reader used.
        """
        return min(USUAL_KEY_BUDGET, LONGEST_KEY - len(caches[self.alias].make_key("").encode()))

    def whole_key(self, key: str) -> str:
        """Return a key as the server gets it, with Django's prefix and version."""
        return caches[self.alias].make_key(key)

    def default_timeout(self) -> float | None:
        """Return the alias's default timeout in seconds, None for ever."""
        return caches[self.alias].default_timeout

    def emit_failure(self, what: str, key: str, error: Exception | None = None) -> None:
        """Emit the event of a failed command."""
        emit(Event("error", self.function, key, self.alias, reason=what, error=error))

    def is_breaker_open(self) -> bool:
        """Tell whether the breaker is open, without a probe."""
        breaker = breakers.get(self.alias)
        return breaker is not None and breaker.retry_at is not None

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
        if is_outage(error, reading=reading):
            record_failure(self.alias, error)


def servers_of(entry: Mapping[str, Any]) -> list[str]:
    """Return the servers that an item of Django's CACHES names, as Django's memcached and Redis backends parse it."""
    location = entry.get("LOCATION", "")
    return re.split("[;,]", location) if isinstance(location, str) else list(location)


def whole_seconds(timeout: float | None) -> int | None:
    """
    Return a timeout for the backend: whole seconds, rounded up, and one more; None for ever.

    Memcached and Redis cut fractions off, so half a second would be none. Memcached's clock ticks once a second, hence
    one more: the entry has its own exact expiry. More than a year becomes for ever: memcached stores the expiry as
    32 bits, which end in 2038.
    """
    return None if timeout is None or timeout > LONGEST_TIMEOUT else ceil(timeout) + 1
