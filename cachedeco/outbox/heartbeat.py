"""
Detect that a cache lost acknowledged writes: each run writes random values, and the next run reads them back.

Each deliverer has values of its own. A missing or different value means that a server returned with old memory: from a
restored dump, or as a node that was out of reach. Not detected: a server that lost only writes after the last value.
"""

from collections.abc import Iterable
from contextlib import suppress
from os import urandom
from time import time
from typing import Final, Literal

from django.core.cache import caches

from cachedeco.runtime import conf
from cachedeco.storage import breaker
from cachedeco.storage.connections import connection
from cachedeco.storage.store import Store, servers_of
from cachedeco.storage.writers import proves_absence

CacheState = Literal[
    "unreachable",
    # Some of its servers are unreachable, or it has no memory and takes deletions alone: a replay would be repeated
    # at each run.
    "limping",
    "forgetful",  # it may have lost writes: replay
    "well",
]

# Longer than any pause of a loop; short enough that values of old deliverers expire.
LIFETIME: Final = 24 * 3600.0
# Keys for each of several servers, since the client chooses the server by the key: the probability that one server gets
# none of them is below 1 in 10**13.
KEYS_PER_SERVER: Final = 32


def last_beats(aliases: Iterable[str]) -> dict[str, float | None]:
    """Return when a deliverer has last written to some caches, in seconds since 1970; None if that is unknown."""
    beats: dict[str, float | None] = {}
    for alias in aliases:
        store = Store(alias)
        key = _key_of_last_beat(store)
        beats[alias] = None
        with suppress(ValueError):  # none of ours has written it
            beats[alias] = float((store.get_many([key]) or {}).get(key, b""))
    return beats


def _key_of_last_beat(store: Store) -> str:
    return store.keyspace.table_key(f"{conf.settings().KEY_PREFIX}:h:last")


class Heartbeat:
    """The heartbeat of one cache, of one deliverer."""

    def __init__(self, alias: str) -> None:
        """Begin without written values: the first beat finds every cache forgetful."""
        self._store = Store(alias)
        servers = len(servers_of(caches.settings[alias]))
        own = f"{conf.settings().KEY_PREFIX}:h:{urandom(8).hex()}"
        number = KEYS_PER_SERVER * servers if servers > 1 else 1
        self._keys = [self._store.keyspace.table_key(f"{own}:{n}") for n in range(number)]
        # What the cache has acknowledged at the last beat, and all writes of the run; None if it has not: then the next
        # beat finds it forgetful.
        self.written: dict[str, bytes] | None = None

    def beat(self) -> CacheState:
        """Return the state of the cache, and write new values."""
        before, self.written = self.written, None
        trouble = breaker.breakers.get(self._store.alias)
        if trouble is not None:
            trouble.end_pause()  # a deliverer probes at each run, however long the backoff is
        found = self._store.get_many(self._keys)
        fresh = {key: urandom(16) for key in self._keys}
        # HashClient reads no keys from a server that is gone: only a write shows that.
        moment = str(time()).encode()  # for who asks whether a deliverer runs
        values = {**fresh, _key_of_last_beat(self._store): moment}
        written = self._store.set_each([(key, value, LIFETIME) for key, value in values.items()])
        if found is None or not all(written):
            if sum(written) not in {0, len(values)}:
                return "limping"
            return "limping" if found is not None and self._takes_deletions() else "unreachable"
        self.written = fresh
        return "well" if found == before else "forgetful"

    def _takes_deletions(self) -> bool:
        """Tell whether a cache that has refused to write answers a deletion; not of one that hides failures."""
        cache = connection(self._store.alias).cache
        return proves_absence(cache) and self._store.delete_unguarded(self._keys[0])
