"""What an actor does: read, write and invalidate, refresh, set, let time pass."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.schedules.simulation import step, world
from tests.schedules.world import START, Violation

Act = Callable[[], None]
Versions = Mapping[str, int]


def read_row(row: str) -> int:
    """Return a row's version, as the database has it now."""
    return int(step("row", ("read row", row), lambda: world().rows.get(row, 0)))


def counted(row: str) -> dict[str, int]:
    """Return a row's version by its name, and count the computation."""
    world().computed += 1
    return {row: read_row(row)}


def reads(function: Callable[[], Versions], times: int = 1) -> Act:
    """Read: nothing older than what was acknowledged before, whenever before."""

    def act() -> None:
        for _ in range(times):
            if actor := world().running:
                actor.floor, actor.waited = None, 0.0
            value = function()
            world().check(value, len(value))

    return act


def writes(row: str, *invalidations: Callable[[], object], times: int = 1) -> Act:
    """Write a row, and then invalidate: when that has returned, the version is acknowledged."""

    def act() -> None:
        for _ in range(times):
            version = step("row", ("write row", row), lambda: _written(row))
            for invalidate in invalidations:
                invalidate()
            world().acked[row] = max(world().acked.get(row, 0), version)

    return act


def _written(row: str) -> int:
    version = world().rows[row] = world().rows.get(row, 0) + 1
    return version


def sets(row: str, cached: Any) -> Act:
    """Write a row, invalidate, and store what was written."""

    def act() -> None:
        writes(row, cached.invalidate)()
        cached.call().set({row: world().acked[row]})

    return act


def passes(seconds: float) -> Act:
    """Let time pass."""

    def go_on() -> None:
        world().clock += seconds

    return lambda: step("command", ("the clock goes on by", seconds), go_on)


def forgets() -> None:
    """Lose entries and leases, and keep the tokens."""
    held = world().cache
    for key in [key for key in held if "cd:e:" in key]:
        del held[key]


def can_not_be_read() -> None:
    """Have each attempt to read the cache fail from now on."""
    world().is_unreadable = True


def at_once() -> None:
    """Fail if anybody has waited until his patience was over."""
    if world().clock != START:
        message = f"somebody has waited for {world().clock - START} seconds"
        raise Violation(message)


def only_once() -> None:
    """Fail if more than one computation was made."""
    if world().computed > 1:
        message = f"{world().computed} computations were made"
        raise Violation(message)
