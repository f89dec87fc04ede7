"""How values are stored where `OPTIONS` says nothing: as Django's `PyMemcacheCache` does, which finds them, too."""

import pickle
from typing import Any

from pymemcache.client.base import Key
from pymemcache.serde import FLAG_INTEGER, FLAG_LONG, FLAG_PICKLE, FLAG_TEXT, PickleSerde, python_memcache_deserializer

_PLAIN = FLAG_TEXT | FLAG_INTEGER | FLAG_LONG


class Pickles(PickleSerde):
    """
    pymemcache's pickling serde, but for what can't be unpickled: that raises, so that it can be told from `None`.

    Text, numbers and bytes are stored as they are, for `incr()` to work; all else is pickled, by the newest protocol.
    """

    def deserialize(self, key: Key, value: bytes, flags: int) -> Any:
        """Return what was stored; raise what unpickling raises."""
        if flags & FLAG_PICKLE and not flags & _PLAIN:
            return pickle.loads(value)  # noqa: S301 -- who can write to the server is trusted, as docs/memcached.md says
        return python_memcache_deserializer(key, value, flags)  # type: ignore[no-untyped-call]
