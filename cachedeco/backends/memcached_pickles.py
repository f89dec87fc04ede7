"""The default serializer of the memcached backend: the same bytes as Django's `PyMemcacheCache`."""

import pickle
from typing import Any

from pymemcache.client.base import Key
from pymemcache.serde import FLAG_INTEGER, FLAG_LONG, FLAG_PICKLE, FLAG_TEXT, PickleSerde, python_memcache_deserializer

_PLAIN = FLAG_TEXT | FLAG_INTEGER | FLAG_LONG


class Pickles(PickleSerde):
    """
    pymemcache's pickling serde, which raises if a value can't be unpickled, where pymemcache's returns `None`.

    Text, numbers and bytes are stored as they are, for `incr()` to work; other values are pickled, by the newest
    protocol.
    """

    def deserialize(self, key: Key, value: bytes, flags: int) -> Any:
        """Return the stored value; an error of unpickling is raised."""
        if flags & FLAG_PICKLE and not flags & _PLAIN:
            return pickle.loads(value)  # noqa: S301 -- processes that can write to the server are trusted, as docs/how-to/memcached.md says
        return python_memcache_deserializer(key, value, flags)  # type: ignore[no-untyped-call]
