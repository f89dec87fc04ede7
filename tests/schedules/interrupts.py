"""Scenarios of interrupts: the exception of a signal's handler, and the cancellation of a task, at any step."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from cachedeco.loading.leases import FAILED, STORED
from cachedeco.tracking import collector
from tests.schedules.acts import Act, Versions, forgets, reads, soon, writes
from tests.schedules.bulk import AB, B
from tests.schedules.explorer import Scenario
from tests.schedules.functions import awaited, awaited_many, awaited_outer, none, outer, plain
from tests.schedules.simulation import world
from tests.schedules.world import INTERRUPTIBLE, Actor, Failing, Interrupted, Violation


def is_interrupted(act: Act, then: Act | None = None) -> Act:
    """Act; after an interrupt go on in the same thread with another act, or with the same one again."""

    def acts() -> None:
        try:
            act()
        except Interrupted:
            _leave_no_computation()
            (then or act)()

    INTERRUPTIBLE.add(acts)
    return acts


def nothing() -> None:
    """Do nothing."""


def survives(function: Callable[[], object]) -> Act:
    """Call what raises."""

    def act() -> None:
        with suppress(Failing):
            function()

    return act


def awaits(function: Callable[[], Awaitable[Mapping[str, int]]], times: int = 1) -> Act:
    """Read in a task of a loop of its own, that may be cancelled, and then again in the same one."""

    async def read(actor: Actor) -> None:
        task = asyncio.current_task()
        assert task is not None
        for _ in range(times):
            actor.begin()
            actor.cancel = task.cancel
            try:
                world().check(await function())
            except asyncio.CancelledError:
                _leave_no_computation()
            finally:
                actor.cancel = None

    def act() -> None:
        actor = world().running
        assert actor is not None
        loop = asyncio.new_event_loop()
        try:
            with suppress(asyncio.CancelledError):  # it came at the last step, which awaits nothing more
                loop.run_until_complete(read(actor))
        finally:
            loop.close()

    return act


def _leave_no_computation() -> None:
    if collector.innermost.get() is not None:
        message = "a computation is left that nobody runs"
        raise Violation(message)


def nothing_is_left() -> None:
    """Fail if a flight or a lease is left, by which others would wait for nothing."""
    here = world()
    if here.alone.flights:
        message = f"flights are left: {list(here.alone.flights)}"
        raise Violation(message)
    ends = (STORED, FAILED)
    leases = [key for key in here.cache if "@" in key and here.standing(key) not in (None, *ends)]
    if leases:
        message = f"leases are left: {leases}"
        raise Violation(message)


def _warm(function: Callable[[], Awaitable[Versions]]) -> Act:
    return lambda: asyncio.run(_result(function))


async def _result(function: Callable[[], Awaitable[Versions]]) -> object:
    return await function()


async def _awaited_both() -> Mapping[str, int]:
    return await awaited_many(["a", "b"])


AFTERWARDS = [nothing_is_left, soon]
ONE, TWO = {"interrupt": 1}, {"interrupt": 2}
A_WRITER = {"W": writes("row", plain.invalidate)}

INTERRUPTS = [
    Scenario(
        name="a reader gets a signal",
        promise="A signal at any step leaves no flight, lease, computation or half-read connection, and nobody waits.",
        before=[plain, forgets],
        cast={"A": is_interrupted(reads(plain))},
        looks=[*AFTERWARDS, reads(plain)],
        budget=ONE,
    ),
    Scenario(
        name="one of two readers gets a signal",
        promise="Followers of a leader that gets a signal go on at once.",
        before=[plain, forgets],
        cast={"A": is_interrupted(reads(plain), then=nothing), "B": reads(plain)},
        looks=[*AFTERWARDS, reads(plain)],
        budget=ONE,
    ),
    Scenario(
        name="a reader of what raises gets a signal",
        promise="A signal while a lease is given back leaves no half-read connection.",
        before=[AB, forgets],
        cast={"A": is_interrupted(survives(lambda: none(["a"])), reads(B))},
        looks=[reads(AB)],
        budget=ONE,
    ),
    Scenario(
        name="a cold reader gets a signal",
        promise="A signal while tokens are created leaves no flight and no half-read connection.",
        cast={"A": is_interrupted(reads(plain))},
        looks=[soon, reads(plain)],
        budget=ONE,
    ),
    Scenario(
        name="a call inside a call gets a signal",
        promise="A signal in a call inside a call leaves nothing of either.",
        before=[outer, forgets],
        cast={"A": is_interrupted(reads(outer))},
        looks=[*AFTERWARDS, reads(outer)],
        budget=ONE,
    ),
    Scenario(
        name="a bulk call gets a signal",
        promise="A signal in a call over many ids leaves nothing of any.",
        before=[AB, forgets],
        cast={"A": is_interrupted(reads(AB), then=nothing), "B": reads(B)},
        looks=[*AFTERWARDS, reads(AB)],
        budget=ONE,
    ),
    Scenario(
        name="a writer gets a signal",
        promise="A signal during an invalidation does not lose it: what the writer acknowledges is seen.",
        before=[plain],
        cast={
            "A": reads(plain),
            "W": is_interrupted(writes("row", plain.invalidate)),
        },
        looks=[reads(plain)],
        budget=ONE,
    ),
]

CANCELLATIONS = [
    Scenario(
        name="a task is cancelled",
        promise="A cancellation at any step leaves no flight, lease, computation or half-read connection.",
        before=[_warm(awaited), forgets],
        cast={"A": awaits(awaited, times=2)},
        looks=[*AFTERWARDS],
        budget={"cancel": 1},
    ),
    Scenario(
        name="one of two tasks is cancelled",
        promise="Followers of a task that is cancelled go on at once.",
        before=[_warm(awaited), forgets],
        cast={"A": awaits(awaited), "B": awaits(awaited)},
        looks=[*AFTERWARDS],
        budget={"cancel": 1},
    ),
    Scenario(
        name="a task is cancelled twice",
        promise="A second cancellation, while the first one is cleaned up after, leaves nothing either.",
        before=[_warm(awaited), forgets],
        cast={"A": awaits(awaited)},
        looks=[*AFTERWARDS],
        budget={"cancel": 2},
    ),
    Scenario(
        name="a task with a call inside a call is cancelled",
        promise="A cancellation in a call inside a call leaves nothing of either.",
        before=[_warm(awaited_outer), forgets],
        cast={"A": awaits(awaited_outer, times=2)},
        looks=[*AFTERWARDS],
        budget={"cancel": 1},
    ),
    Scenario(
        name="a task with a bulk call is cancelled",
        promise="A cancellation in a call over many ids leaves nothing of any.",
        before=[_warm(_awaited_both), forgets],
        cast={"A": awaits(_awaited_both, times=2)},
        looks=[*AFTERWARDS],
        budget={"cancel": 1},
    ),
    Scenario(
        name="one of two tasks is cancelled, one writer",
        promise="Who goes on after a cancellation gives nothing that was invalidated before it began.",
        before=[_warm(awaited), forgets],
        cast={"A": awaits(awaited), "B": awaits(awaited), "W": writes("row", awaited.invalidate)},
        looks=[nothing_is_left],
        budget={"cancel": 1},
    ),
]
