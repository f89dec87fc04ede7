"""The Django cache of a schedule: each command is one step, and what it keeps is the world's."""

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from tests.schedules import simulation


class SteppedCache(BaseCache):
    """A cache as Django knows it. Keys are as the caller writes them."""

    def __init__(self, _location: str, params: dict[str, Any]) -> None:
        """Read the entry in CACHES."""
        super().__init__(params)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:  # noqa: ANN401, ARG002
        """Return what is there."""
        found = _step("get", (key,), lambda: simulation.world().standing(key))
        return default if found is None else found

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Return what is there of several."""
        wanted = tuple(keys)

        def carry_out() -> dict[str, Any]:
            there = {key: simulation.world().standing(key) for key in wanted}
            return {key: value for key, value in there.items() if value is not None}

        found: dict[str, Any] = _step("get_many", wanted, carry_out)
        return dict(found)

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:  # noqa: ANN401, ARG002
        """Store where nothing is."""

        def carry_out() -> bool:
            if simulation.world().standing(key) is not None:
                return False
            self._store(key, value, timeout)
            return True

        return bool(_step("add", (key, value), carry_out))

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:  # noqa: ANN401, ARG002
        """Store."""
        _step("set", (key, value), lambda: self._store(key, value, timeout))

    def set_many(
        self,
        data: Mapping[str, Any],
        timeout: Any = DEFAULT_TIMEOUT,  # noqa: ANN401 -- as Django has it
        version: int | None = None,  # noqa: ARG002
    ) -> list[str]:
        """Store several."""

        def carry_out() -> None:
            for key, value in data.items():
                self._store(key, value, timeout)

        _step("set_many", tuple(data.items()), carry_out)
        return []

    def delete(self, key: str, version: int | None = None) -> bool:  # noqa: ARG002
        """Delete."""
        return bool(_step("delete", (key,), lambda: simulation.world().cache.pop(key, None) is not None))

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:  # noqa: ARG002
        """Count on, from 0 where nothing is."""

        def carry_out() -> int:
            count = (simulation.world().standing(key) or 0) + delta
            self._store(key, count, None)
            return int(count)

        return int(_step("incr", (key,), carry_out))

    def _store(self, key: str, value: object, timeout: Any) -> None:  # noqa: ANN401 -- as Django has it
        world = simulation.world()
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        world.cache[key] = (value, inf if seconds is None else world.clock + seconds)


def _step(name: str, about: tuple[object, ...], carry_out: Callable[[], Any]) -> Any:  # noqa: ANN401 -- what is there
    return simulation.step("command", (name, *about), carry_out)
