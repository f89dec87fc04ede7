"""
Whether a cache still has what it acknowledged: a random value, written each time and read back the next.

Each deliverer has values of its own. One that is absent or another tells of a server that returned with old memory: a
restored dump, say, or a node that was out of reach. What can't be told: that a server forgot only what it acknowledged
after the last value.
"""

from os import urandom
from typing import Final, Literal

from django.core.cache import caches

from cachedeco.runtime import conf
from cachedeco.storage import breaker
from cachedeco.storage.cache_keys import SMALLEST_KEY_BUDGET, shorten_keys
from cachedeco.storage.store import Store, servers_of

State = Literal[
    "unreachable",
    "limping",  # some of its servers can't be reached: no time to replay, as it would be for ever
    "forgetful",
    "well",
]

# Long for a loop, short for what nobody asks for again.
LIFETIME: Final = 24 * 3600.0
# Keys for each of several servers, as the client chooses the server by the key: that one server gets none of them is
# less likely than 1 in 10**13.
KEYS_PER_SERVER: Final = 32


class Heartbeat:
    """The heartbeat of one cache, as one deliverer hears it."""

    def __init__(self, alias: str) -> None:
        """Know nothing yet: at first every cache is forgetful, as nobody watched it."""
        self._store = Store(alias)
        servers = len(servers_of(caches.settings[alias]))
        own = f"{conf.settings().KEY_PREFIX}:h:{urandom(8).hex()}"
        number = KEYS_PER_SERVER * servers if servers > 1 else 1
        self._keys = shorten_keys([f"{own}:{n}" for n in range(number)], SMALLEST_KEY_BUDGET)
        self._written: dict[str, bytes] | None = None

    def beat(self) -> State:
        """Tell how the cache is, and leave a new value with it."""
        before, self._written = self._written, None
        trouble = breaker.breakers.get(self._store.alias)
        if trouble is not None:
            trouble.end_pause()  # to ask again and again is what we are for, however long others leave the cache alone
        found = self._store.get_many(self._keys)
        fresh = {key: urandom(16) for key in self._keys}
        # HashClient says of a server that is gone that it has no keys: only the write tells.
        left = self._store.set_many(fresh, LIFETIME)
        if found is None or left:
            return "unreachable" if len(left) in {0, len(fresh)} else "limping"
        self._written = fresh
        return "well" if found == before else "forgetful"

    def is_trusted(self) -> bool:
        """Tell whether the cache has all that it acknowledged, as far as anybody knows."""
        return self._written is not None

    def doubt(self) -> None:
        """Take the cache for forgetful the next time, as what it forgot could not be replayed."""
        self._written = None
