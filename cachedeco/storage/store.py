"""
One guarded door to a Django cache: whatever happens behind it, the call goes on.

Each method is one cache command. A failure is an event and an answer that the caller can act on, never an exception.
While the breaker is open nothing is sent, and the answer is that of a failure, without an event.
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
from cachedeco.storage import breaker
from cachedeco.storage.breaker import breakers, is_outage
from cachedeco.storage.cache_keys import LONGEST_KEY, SMALLEST_KEY_BUDGET, USUAL_KEY_BUDGET, shorten_keys

LONGEST_TIMEOUT: Final = 365 * 24 * 3600
# Keys in one command. Memcached has been seen to take 100 000, Redis 20 000 (through pymemcache and redis-py),
# but nobody else is served meanwhile, and a client's timeout is for one command: 2000 take some 40 milliseconds.
MOST_KEYS: Final = 2000
# Parameters in one query: SQLite before 3.32 takes 999, and a list on Oracle 1000.
MOST_KEYS_IN_DATABASE: Final = 999
PROBE_SECONDS: Final = 60


class FailedKeys(list[str]):
    """Keys of what a cache has not acknowledged."""

    error: Exception | None = None  #: why, where one of its servers is out of reach and the backend tells


@dataclass(frozen=True, slots=True)
class Store:
    """
    Guarded access to the Django cache of one alias.

    Holds no connection: Django keeps one cache object for each thread and task, and each command asks for it. One
    Store can be used by many threads.
    """

    alias: str
    function: str = ""  #: the one that failures are reported for

    def get_many(self, keys: Collection[str]) -> dict[str, object] | None:
        """Return what is there, or None where the cache could not be asked."""
        trouble = breakers.get(self.alias) if breakers else None  # nearly always empty: each hit comes by here
        if trouble is not None and not trouble.allows_request(self.answers):
            return None
        try:
            found = caches[self.alias].get_many(keys)
        except Exception as error:  # noqa: BLE001 -- any failure to read is a miss
            self._failed("Reading failed", next(iter(keys)), error, reading=True)
            return None
        if isinstance(found, dict):
            # Nothing found is no success: pymemcache's HashClient says it of a server that is gone, too.
            if trouble is not None and found:
                trouble.succeeded()
            return found
        self.tell_failure(f"Reading gave {found!r} instead of a dict", next(iter(keys)))
        breaker.failed(self.alias)
        return None

    def add(self, key: str, value: bytes, timeout: float | None) -> bool:
        """
        Store where nothing is stored; tell whether this call did.

        False is no proof of the contrary: pymemcache's HashClient says it of a server that is gone, too.
        """
        if self._is_refused():
            return False
        try:
            added = caches[self.alias].add(key, value, whole(timeout)) is True
        except Exception as error:  # noqa: BLE001 -- any failure to write is an event
            self._failed("Adding failed", key, error)
            return False
        if added:
            self._succeeded()
        return added

    def set(self, key: str, value: bytes, timeout: float | None) -> bool:
        """Send a value; tell whether that raised nothing, which on memcached is no proof that it arrived."""
        if self._is_refused():
            return False
        try:
            caches[self.alias].set(key, value, whole(timeout))
        except Exception as error:  # noqa: BLE001 -- any failure to write is an event
            self._failed("Writing failed", key, error)
            return False
        return True

    def set_many(self, values: Mapping[str, bytes], timeout: float | None) -> Collection[str]:
        """
        Store values and return the keys of those that the cache did not acknowledge.

        The only write whose answer can be trusted on memcached: what failed is named, or the call raises.
        """
        return list(values) if self._is_refused() else self._written(values, timeout)

    def set_tokens(self, values: Mapping[str, bytes], timeout: float | None) -> Collection[str]:
        """
        Do as `set_many()`, for invalidations: send them although the breaker is open, unless that may cost a timeout.

        A server that refused connections may have been started again, and other processes use it at once. On a backend
        that guards each server by itself, one server that is away keeps no invalidation from the others. An
        acknowledgement makes the breaker probe now, so that it delivers what waits in the retry queue.
        """
        if not self._is_refused():
            return self._written(values, timeout)
        trouble = breakers.get(self.alias)
        fails_fast = trouble is not None and trouble.fails_fast
        if not fails_fast and getattr(caches[self.alias], "spares_other_servers", False) is not True:
            return list(values)
        left = self._written(values, timeout)
        if trouble is not None and fails_fast and not left:
            trouble.end_pause()
            trouble.allows_request(self.answers)
        return left

    def _written(self, values: Mapping[str, bytes], timeout: float | None) -> Collection[str]:
        try:
            left = self.write_many(values, timeout)
        except Exception as error:  # noqa: BLE001 -- any failure to write is an event
            self._failed("Writing failed", next(iter(values)), error)
            return list(values)
        if left.error is not None:
            self._failed("Writing failed", left[0], left.error)
        elif not left:
            self._succeeded()
        return left

    # --- past the breaker ---

    def write_many(self, values: Mapping[str, bytes], timeout: float | None) -> FailedKeys:
        """Do as `set_many()`, whether the breaker is open or not, and raise what the cache raises."""
        cache = caches[self.alias]
        failed = cache.set_many(dict(values), whole(timeout))
        if isinstance(cache, DatabaseCache) and not failed:
            # It swallows any DatabaseError of a write ("database is locked"), and reports nothing: look.
            found = cache.get_many(values)
            failed = [key for key, value in values.items() if found.get(key) != value]
        if failed is None:  # django-redis returns it
            return FailedKeys()
        known = isinstance(failed, list | tuple | set | frozenset)
        named = frozenset(failed) if known else ()
        left = FailedKeys([key for key in values if key in named])
        if not left and (failed or not known):  # whatever that names
            left = FailedKeys(values)
        left.error = getattr(failed, "error", None) if left else None
        return left

    def delete(self, key: str) -> None:
        """Delete what nobody relies on to be gone."""
        if self._is_refused():
            return
        try:
            caches[self.alias].delete(key)
        except Exception as error:  # noqa: BLE001 -- any failure to write is an event
            self._failed("Deleting failed", key, error)

    def remove(self, key: str) -> bool:
        """Remove a key, whether the breaker is open or not; True is proof that it was there and is gone."""
        try:
            return caches[self.alias].delete(key) is True
        except Exception as error:  # noqa: BLE001 -- any failure to write is an event
            self.tell_failure("Removing failed", key, error)
            return False

    def answers(self) -> bool:
        """
        Ask the cache whether it is well, whether the breaker is open or not: by a write, and by reading it back.

        What is read tells nothing by itself, since pymemcache's HashClient says "not there" of a server that is gone.
        A write that the server refuses is an answer.
        """
        # Another key each time: of several servers it need not be the one that is gone.
        [key] = shorten_keys([f"{conf.settings().KEY_PREFIX}:probe:{urandom(8).hex()}"], SMALLEST_KEY_BUDGET)
        reading = False
        try:
            left = self.write_many({key: urandom(1)}, PROBE_SECONDS)
            if left.error is not None:
                raise left.error  # noqa: TRY301 -- as a cache of one server would have
            reading = True
            return not left and isinstance(caches[self.alias].get_many([key]), dict)
        except Exception as error:  # noqa: BLE001 -- any failure is an event
            self.tell_failure("The cache was asked whether it is well, and failed", key, error)
            trouble = breakers.get(self.alias)
            if trouble is not None:
                trouble.fails_fast = breaker.is_refused_at_once(error)
            return not is_outage(error, reading=reading)

    # --- what is known without a command ---

    def chunks(self, keys: Sequence[str]) -> Iterator[Sequence[str]]:
        """Give keys in chunks of a size that one command takes."""
        if len(keys) <= MOST_KEYS_IN_DATABASE:
            return iter((keys,))
        most = MOST_KEYS_IN_DATABASE if isinstance(caches[self.alias], DatabaseCache) else MOST_KEYS
        return (keys[start : start + most] for start in range(0, len(keys), most))

    def key_budget(self) -> int:
        """
        Return how long a key may be before Django adds its prefix and version.

        The same for all prefixes of usual length: a KEY_FUNCTION may make one of another length for each tenant, and
        an invalidation must find the key that a reader has used.
        """
        return min(USUAL_KEY_BUDGET, LONGEST_KEY - len(caches[self.alias].make_key("").encode()))

    def whole_key(self, key: str) -> str:
        """Return a key as the server gets it, with what Django puts before it."""
        return caches[self.alias].make_key(key)

    def default_timeout(self) -> float | None:
        """Return the alias's own timeout in seconds, None for ever."""
        return caches[self.alias].default_timeout

    def tell_failure(self, what: str, key: str, error: Exception | None = None) -> None:
        """Emit the event of a command that failed."""
        emit(Event("error", self.function, key, self.alias, reason=what, error=error))

    def is_bypassed(self) -> bool:
        """Tell whether the breaker is open, without a probe."""
        trouble = breakers.get(self.alias)
        return trouble is not None and trouble.retry_at is not None

    def _is_refused(self) -> bool:
        trouble = breakers.get(self.alias)
        return trouble is not None and not trouble.allows_request(self.answers)

    def _succeeded(self) -> None:
        trouble = breakers.get(self.alias)
        if trouble is not None:
            trouble.succeeded()

    def _failed(self, what: str, key: str, error: Exception, *, reading: bool = False) -> None:
        self.tell_failure(what, key, error)
        if is_outage(error, reading=reading):
            breaker.failed(self.alias, error)


def servers_of(entry: Mapping[str, Any]) -> list[str]:
    """Return the servers that an entry of Django's CACHES names, as Django's memcached and Redis backends take them."""
    location = entry.get("LOCATION", "")
    return re.split("[;,]", location) if isinstance(location, str) else list(location)


def whole(timeout: float | None) -> int | None:
    """
    Return whole seconds, at least as many: what every backend takes.

    Fractions are cut off by memcached and Redis, and half a second would be none. Memcached's clock ticks once a
    second, so one more: an entry knows by itself to the fraction when it is due. For the same reason more than a year
    may be for ever: memcached takes a moment as 32 bits, which end in 2038.
    """
    return None if timeout is None or timeout > LONGEST_TIMEOUT else ceil(timeout) + 1
