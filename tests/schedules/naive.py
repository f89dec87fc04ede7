"""Schemes as they are usually written, for controls: a schedule must be found that breaks each of them."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.core.cache import caches

from cachedeco.loading.promise import Promise
from tests.schedules.acts import counted, read_row
from tests.schedules.simulation import FLIGHTS, step, wait, world
from tests.schedules.world import LONGEST_WAIT, Violation

Value = dict[str, int]
# As the cache keeps it: hashable, as the world wants it.
Frozen = tuple[tuple[str, int], ...]


def cache() -> Any:
    """Return the cache."""
    return caches["default"]


class DeleteAndSet:
    """Look, compute, set; to invalidate, delete."""

    def __call__(self) -> Value:
        """Read."""
        found = cache().get("value")
        if found is not None:
            return dict(found)
        value = counted("row")
        self.store(tuple(value.items()))
        return value

    def store(self, value: Frozen) -> None:
        """Store."""
        cache().set("value", value)

    def invalidate(self) -> None:
        """Delete."""
        cache().delete("value")


class DeleteAndAdd(DeleteAndSet):
    """The same with `add`, as Django's `get_or_set` has it."""

    def store(self, value: Frozen) -> None:
        """Store, if no other actor was quicker."""
        cache().add("value", value)


class Stamped:
    """A value with the stamp under which it was computed; how stamps are made is what differs."""

    def __call__(self) -> Value:
        """Read."""
        found = cache().get_many(["value", "stamp"])
        if "value" in found and self.is_valid(found["value"][1], found.get("stamp")):
            return dict(found["value"][0])
        stamp = self.stamp(found.get("stamp"))
        value = counted("row")
        cache().set("value", (tuple(value.items()), stamp))
        return value

    def is_valid(self, stamp: object, standing: object) -> bool:
        """Compare the stamp of the value with that which stands."""
        return stamp == standing

    def stamp(self, standing: Any) -> Any:
        """Return the stamp of the value to come."""
        if standing is None:
            cache().add("stamp", world().random_bytes(16))
            standing = cache().get("stamp")
        return standing

    def invalidate(self) -> None:
        """Replace the stamp."""
        cache().set("stamp", world().random_bytes(16))


class Counter(Stamped):
    """The stamp is a number; one that is lost is 0."""

    def is_valid(self, stamp: object, standing: object) -> bool:
        """Compare."""
        return stamp == (standing or 0)

    def stamp(self, standing: Any) -> Any:
        """Return what stands."""
        return standing or 0

    def invalidate(self) -> None:
        """Count on."""
        cache().incr("stamp")


class Timestamp(Stamped):
    """What stands is the time of the last invalidation: a value has to be younger. The clock never rests."""

    def is_valid(self, stamp: Any, standing: Any) -> bool:
        """Compare."""
        return standing is None or stamp > standing

    def stamp(self, _standing: Any) -> Any:
        """Return the time."""
        return self._now()

    def invalidate(self) -> None:
        """Write down the time."""
        cache().set("stamp", self._now())

    def _now(self) -> float:
        world().clock += 0.001
        return world().clock


class StampedAfter(Stamped):
    """The stamp is read when the value has been computed."""

    def __call__(self) -> Value:
        """Read."""
        found = cache().get_many(["value", "stamp"])
        if "value" in found and self.is_valid(found["value"][1], found.get("stamp")):
            return dict(found["value"][0])
        value = counted("row")
        cache().set("value", (tuple(value.items()), self.stamp(cache().get("stamp"))))
        return value


class SharedByKey(Stamped):
    """The stamp is right, and a computation under way is joined by each caller that asks for the same key."""

    def __call__(self) -> Value:
        """Read."""
        found = cache().get_many(["value", "stamp"])
        if "value" in found and self.is_valid(found["value"][1], found.get("stamp")):
            return dict(found["value"][0])
        stamp = self.stamp(found.get("stamp"))
        flight = FLIGHTS.get(("by key alone", "value"))
        if flight is not None:
            wait(flight, LONGEST_WAIT)
            return dict(flight.value)
        flight = FLIGHTS["by key alone", "value"] = Promise()
        value = counted("row")
        cache().set("value", (tuple(value.items()), stamp))
        del FLIGHTS["by key alone", "value"]
        flight.keep(tuple(value.items()))
        return value


class Gathered:
    """
    Two values of one read, each with its stamp; the order of the keys is what differs.

    What is promised of the two is that both were valid at one moment. The writer writes "first" and then "second", so
    a "second" that is newer than its "first" never was.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        """Ask for the keys in this order."""
        self._keys = keys

    def store(self, row: str) -> None:
        """Store what a row holds, under a stamp of its own."""
        stamp = world().random_bytes(16)
        cache().set(f"stamp of {row}", stamp)
        cache().set(row, (read_row(row), stamp))

    def warm(self) -> None:
        """Store both."""
        self.store("first")
        self.store("second")

    def read(self) -> None:
        """Read both; fail if they were served and no moment had them."""
        found = cache().get_many(self._keys)
        values = [found[row][0] for row in ("first", "second") if self._is_valid(row, found)]
        if len(values) == 2 and values[0] < values[1]:
            message = f"{values} were valid at no moment"
            raise Violation(message)

    def write(self) -> None:
        """Write both rows, one after the other; store the first anew when both are written, and then the second."""
        for row in ("first", "second"):
            step("row", ("write row", row), partial(self._next_version, row))
            cache().set(f"stamp of {row}", world().random_bytes(16))
        self.store("first")
        self.store("second")

    @staticmethod
    def _is_valid(row: str, found: dict[str, Any]) -> bool:
        return row in found and found[row][1] == found.get(f"stamp of {row}")

    @staticmethod
    def _next_version(row: str) -> None:
        world().rows[row] = world().rows.get(row, 0) + 1
