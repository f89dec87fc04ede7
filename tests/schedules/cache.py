"""
The Django cache of a schedule: each command is one step, of several keys a step each; what it keeps is the world's.

The world knows a key by the cache's prefix and what the caller writes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from cachedeco.storage.readers import general_reader, one_by_one
from cachedeco.storage.writers import Acknowledged, GeneralWriter, WholeItem
from tests.schedules import simulation


class SteppedCache(BaseCache):
    """A cache as Django knows it."""

    def __init__(self, _location: str, params: dict[str, Any]) -> None:
        """Read the entry in CACHES."""
        super().__init__(params)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:  # noqa: ARG002
        """Return what is there."""
        found = _step("get", (self._named(key),), lambda: self._standing(key))
        return default if found is None else found

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Return what is there of several."""
        if simulation.world().is_unreadable:
            raise OSError
        # One key is one step: a read of several keys is no snapshot on memcached, nor on a cluster of servers.
        wanted = list(keys)
        places = ["get first", *["get next"] * (len(wanted) - 2), "get last"] if len(wanted) > 1 else ["get only"]
        found = {
            key: _step(place, (self._named(key),), partial(self._standing, key))
            for place, key in zip(places, wanted, strict=True)
        }
        return {key: value for key, value in found.items() if value is not None}

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:  # noqa: ARG002
        """Store where nothing is."""

        def carry_out() -> bool:
            if self._standing(key) is not None:
                return False
            self._store(key, value, timeout)
            return True

        return bool(_step("add", (self._named(key), value), carry_out))

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:  # noqa: ARG002
        """Store."""
        _step("set", (self._named(key), value), lambda: self._store(key, value, timeout))

    def set_many(
        self,
        data: Mapping[str, Any],
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,  # noqa: ARG002
    ) -> list[str]:
        """Store several."""

        def carry_out() -> None:
            for key, value in data.items():
                self._store(key, value, timeout)

        _step("set_many", tuple((self._named(key), value) for key, value in data.items()), carry_out)
        return []

    def delete(self, key: str, version: int | None = None) -> bool:  # noqa: ARG002
        """Delete."""
        return bool(_step("delete", (self._named(key),), lambda: self._popped(key)))

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:  # noqa: ARG002
        """Count on, from 0 where nothing is."""

        def carry_out() -> int:
            count = (self._standing(key) or 0) + delta
            self._store(key, count, None)
            return int(count)

        return int(_step("incr", (self._named(key),), carry_out))

    def close(self, **_: Any) -> None:
        """Close the connection: answers that were not read are gone."""
        if actor := simulation.world().running:
            actor.is_reading = False

    def _named(self, key: str) -> str:
        return self.key_prefix + key

    def _standing(self, key: str) -> Any:
        return simulation.world().standing(self._named(key))

    def _popped(self, key: str) -> bool:
        world = simulation.world()
        world.wrote(self._named(key))
        return world.cache.pop(self._named(key), None) is not None

    def _store(self, key: str, value: object, timeout: Any) -> None:
        world = simulation.world()
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        world.wrote(self._named(key))
        world.cache[self._named(key)] = (value, inf if seconds is None else world.clock + seconds)


class SteppedOnLoops(SteppedCache):
    """A cache that event loops read and write, by the same steps."""

    def raw_client(self) -> "_RawClient":
        """Offer what any cache can, and the same to event loops."""
        return _RawClient(self)


class _RawClient(GeneralWriter):
    natively_async = True

    def __init__(self, cache: BaseCache) -> None:
        super().__init__(cache)
        self.read = general_reader(cache)
        self.read_chunks = one_by_one(self.read)

    async def aread(self, keys: Sequence[str]) -> list[bytes | None]:
        return self.read(keys)

    async def aread_chunks(self, chunks: Sequence[Sequence[str]]) -> list[bytes | None]:
        return self.read_chunks(chunks)

    async def aset_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        return self.set_each(items)


def _step(name: str, about: tuple[object, ...], carry_out: Callable[[], Any]) -> Any:
    with _asking():
        return simulation.step("command", (name, *about), carry_out)


@contextmanager
def _asking() -> Iterator[None]:
    """Ask: who is interrupted has not read the answer, and has to close the connection before it asks again."""
    world = simulation.world()
    actor = world.running
    if actor is None or actor.is_dead:
        yield
        return
    if actor.is_reading:
        world.fault = f"{actor.name} asks by a connection of which it has not read the last answer"
    actor.is_reading = True
    yield
    actor.is_reading = False
