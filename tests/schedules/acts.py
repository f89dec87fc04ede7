"""What an actor does: read, write and invalidate, refresh, set, let time pass."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from tests.schedules import database
from tests.schedules.simulation import step, world
from tests.schedules.world import START, Failing, Violation

SOME_POLLS = 0.1

Act = Callable[[], object]
Versions = Mapping[str, int]


def read_row(row: str) -> int:
    """Return a row's version, as the database has it now."""
    return int(step("row", ("read row", row), lambda: _seen(row)))


def _seen(row: str) -> int:
    return database.here().read(row) if database.is_open() else world().rows.get(row, 0)


def counted(row: str) -> dict[str, int]:
    """Return a row's version by its name, and count the computation."""
    here = world()
    here.computed[row] += 1
    if here.running:
        here.running.computed += 1
    here.computing[row] += 1
    if here.computing[row] > 1:
        here.overlap = row
    try:
        return {row: read_row(row)}
    finally:
        here.computing[row] -= 1


def reads(function: Callable[[], Versions], times: int = 1) -> Act:
    """Read: nothing older than what was acknowledged before, whenever before."""

    def act() -> None:
        for _ in range(times):
            if actor := world().running:
                actor.begin()
            value = function()
            world().check(value, len(value))

    return act


def on_loop(function: Callable[[], Coroutine[Any, Any, Versions]]) -> Callable[[], Versions]:
    """Return a function that awaits another one on an event loop of its own."""
    return lambda: asyncio.run(function())


def raises(function: Callable[[], object]) -> Act:
    """Call what raises: who has waited for a computation that raised does not compute again."""

    def act() -> None:
        actor = world().running
        assert actor is not None
        actor.begin()
        try:
            value = function()
        except Failing:
            if actor.followed and actor.computed:
                message = f"{actor.name} has waited for an exception, and then has computed all the same"
                raise Violation(message) from None
            return
        message = f"nothing was raised, and {value} was returned"
        raise Violation(message)

    return act


def reads_at_one_moment(function: Callable[[], Versions], first: str, second: str) -> Act:
    """Read two rows: where neither is missed, both were valid at one moment. The first is always written first."""

    def act() -> None:
        actor = world().running
        assert actor is not None
        actor.begin()
        value = function()
        world().check(value)
        if not actor.missed and value[first] < value[second]:
            message = f"{value} was valid at no moment"
            raise Violation(message)

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


def changes(row: str) -> Act:
    """Write a row, and announce nothing."""
    return lambda: step("row", ("write row", row), lambda: _written(row))


def _written(row: str) -> int:
    world().wrote(row)
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
    """Fail if an actor has waited until its patience was over."""
    if world().clock != START:
        message = f"somebody has waited for {world().clock - START} seconds"
        raise Violation(message)


def soon() -> None:
    """Fail if an actor has waited for longer than some polls."""
    if world().clock > START + SOME_POLLS:
        message = f"somebody has waited for {world().clock - START} seconds"
        raise Violation(message)


def one_at_a_time() -> None:
    """Fail if two have computed the same at one time."""
    if world().overlap:
        message = f"two have computed {world().overlap} at one time"
        raise Violation(message)


def only_once() -> None:
    """Fail if anything was computed more than once."""
    if any(number > 1 for number in world().computed.values()):
        message = f"so many computations were made: {dict(world().computed)}"
        raise Violation(message)
