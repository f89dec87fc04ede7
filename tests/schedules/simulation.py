"""The library in a world: its clocks, dice, waits, threads and registries are the world's while the block runs."""

import asyncio
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import override_settings

from cachedeco import listening
from cachedeco.invalidation import epochs
from cachedeco.loading.promise import Promise
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import runs_anywhere
from tests.schedules import database
from tests.schedules.crew import Stage
from tests.schedules.world import Crashed, Failing, Kind, World
from tests.support.clocks import replace_time

# What no event may tell of unless the scenario has it: a read that fails would count as a miss, and hide what it hides.
FAULTS = {"error", "invalidation_delayed", "invalidation_lost", "breaker_opened"}
BACKEND = "tests.schedules.cache.SteppedCache"
CACHES = {
    "default": {"BACKEND": BACKEND},
    "other": {"BACKEND": BACKEND, "KEY_PREFIX": "other/"},
    "loops": {"BACKEND": "tests.schedules.cache.SteppedOnLoops", "KEY_PREFIX": "loops/"},
    "tenants": {"BACKEND": BACKEND, "KEY_FUNCTION": "tests.schedules.tenants.tenant_key"},
}


class _Now:
    """The world of the schedule under way. Schedules run one after another."""

    world = World()
    stage: Stage | None = None


def world() -> World:
    """Return the world of now."""
    return _Now.world


def enter(entered: World, stage: Stage | None = None) -> None:
    """Have all that follows happen in a world: on a stage, or with no other actor there."""
    _Now.world, _Now.stage = entered, stage


def step(kind: Kind, what: tuple[object, ...], operation: Callable[[], Any]) -> Any:
    """Take a step."""
    return operation() if _Now.stage is None else _Now.stage.step(kind, what, operation)


class Flights(MutableMapping[Any, Any]):
    """The flights of the process of the caller, which has taken the lock."""

    def __getitem__(self, name: Any) -> Any:
        """Look for a flight."""
        return world().process.flights[name]

    def get(self, name: Any, default: Any = None) -> Any:
        """Look for a flight, which may not be there."""
        here = world()
        flight = here.process.flights.get(name)
        if here.running:
            here.running.saw("a flight", name[1:], _Found(flight))
        return default if flight is None else flight

    def __setitem__(self, name: Any, flight: Any) -> None:
        """Begin one."""
        here = world()
        here.process.flights[name] = flight
        if name[-1] is None and here.running:  # several at a time may have this name
            here.leaders[flight] = f"{here.running.name}{len(here.leaders)}"

    def __delitem__(self, name: Any) -> None:
        """End one."""
        del world().process.flights[name]

    def __iter__(self) -> Iterator[Any]:
        """Give the names."""
        return iter(world().process.flights)

    def __len__(self) -> int:
        """Count."""
        return len(world().process.flights)


FLIGHTS = Flights()


class Locked:
    """The lock of the flights. To take it is a step, and all that is done while it is held is a part of that step."""

    def __enter__(self) -> None:
        """Take it."""
        step("flight", ("take the lock of the flights",), lambda: None)

    def __exit__(self, *_: object) -> None:
        """Release it: one thread runs at a time, and none stops while it holds the lock."""


class _Found:
    """What was found, as the history of an actor has it: whether a flight was there, and which of those of a name."""

    def __init__(self, flight: Any) -> None:
        self.flight = flight

    def __hash__(self) -> int:
        return hash((self.flight is None, world().leaders.get(self.flight)))

    def __repr__(self) -> str:
        return "none" if self.flight is None else "one"


class Remembered(MutableMapping[str, tuple[str, ...]]):
    """The inner names that the process of the caller remembers."""

    def __getitem__(self, key: str) -> tuple[str, ...]:
        """Remember."""
        return world().process.remembered[key]

    def __setitem__(self, key: str, names: tuple[str, ...]) -> None:
        """Note."""
        world().process.remembered[key] = names

    def __delitem__(self, key: str) -> None:
        """Forget."""
        del world().process.remembered[key]

    def __iter__(self) -> Iterator[str]:
        """Give the keys."""
        return iter(world().process.remembered)

    def __len__(self) -> int:
        """Count."""
        return len(world().process.remembered)


class RememberedOfFunctions(Remembered):
    """The same, by function: a name of a function has no space, and a key none, either."""

    def __getitem__(self, key: str) -> Any:
        """Remember."""
        return super().__getitem__(f"function {key}")

    def __setitem__(self, key: str, names: Any) -> None:
        """Note."""
        super().__setitem__(f"function {key}", names)


def wait(promise: Promise[Any], seconds: float) -> Any:
    """Wait for a promise, at most so many seconds of the world, and return its value."""
    _wait("wait", ("wait for the flight",), seconds, promise)
    return promise.value if promise.is_kept else None


def _sleep(seconds: float) -> None:
    _wait("pause", ("pause", seconds), seconds)


def _wait(kind: Kind, what: tuple[object, ...], seconds: float, promise: Promise[Any] | None = None) -> None:
    if _Now.stage is not None:
        _Now.stage.wait(kind, what, seconds, promise)
    else:  # no actor is there that could end it
        _Now.world.clock += seconds


def inline(work: Callable[..., Any]) -> Callable[..., Any]:
    """Do in the thread of the loop what asgiref has another thread do: a task that is cancelled does not stop it."""

    async def done(*args: Any, **kwargs: Any) -> Any:
        actor, task = world().running, asyncio.current_task()
        if actor is None:
            return work(*args, **kwargs)
        cancel, is_cancelled = actor.cancel, False

        def note() -> None:
            nonlocal is_cancelled
            is_cancelled = True
            if cancel is not None:
                cancel()

        actor.cancel = note if cancel else None
        try:
            result = work(*args, **kwargs)
        finally:
            actor.cancel = cancel
        while is_cancelled and task is not None:  # the task sees it before the thread has ended
            await asyncio.sleep(0)
            is_cancelled = False
        return result

    return done


async def _await(promise: Promise[Any], seconds: float) -> None:
    wait(promise, seconds)


async def _pause(seconds: float) -> None:
    _sleep(seconds)


def submit(work: Callable[[], object], after: float = 0.0) -> bool:
    """Begin some work beside the actors, after so many seconds of the world."""

    def later() -> None:
        _sleep(after)
        work()

    return _Now.stage is not None and _Now.stage.spawn(later if after else work)


def _random_bytes(size: int) -> bytes:
    return world().random_bytes(size)


def _advance(keys: Iterable[str]) -> None:
    world().epochs += 1
    _ADVANCE(keys)


def _saw_epochs(read: Callable[..., Any]) -> Callable[..., Any]:
    """Return a read of epochs that is a part of the history of an actor: memories follow from it."""

    def reads(*args: Any) -> Any:
        here = world()
        if here.running:
            here.running.saw("epochs", here.epochs)
        return read(*args)

    return reads


_ADVANCE = epochs.advance


def now() -> float:
    """Return the time of the world."""
    return world().clock


REPLACED: dict[str, Any] = {
    **{f"{module}.monotonic": now for module in ("loading.leases", "loading.single_flight")},
    **{f"loading.{module}.perf_counter": now for module in ("computing", "unshared")},
    **{f"{module}.urandom": _random_bytes for module in ("storage.entries", "loading.leases")},
    **{f"loading.{module}.random": lambda: 0.5 for module in ("writing", "refreshing")},
    "loading.leases.uniform": lambda low, high: (low + high) / 2,
    "loading.promise.Promise.result": wait,
    "loading.effects.sleep": _sleep,
    "loading.effects.sync_to_async": inline,
    "functions.single.sync_to_async": inline,
    "functions.bulk.sync_to_async": inline,
    "functions.gathering.sync_to_async": inline,
    "loading.effects._wait_until_kept": _await,
    "loading.effects.asyncio": SimpleNamespace(**{**vars(asyncio), "sleep": _pause}),
    "runtime.background.submit": submit,
    "loading.flights._flights": FLIGHTS,
    "loading.flights._lock": Locked(),
    "tracking.nested_names.names_by_key": Remembered(),
    "tracking.nested_names.names_by_function": RememberedOfFunctions(),
    "invalidation.epochs.advance": _advance,
    "invalidation.epochs.last": _saw_epochs(epochs.last),
    "invalidation.epochs.moment_of": _saw_epochs(epochs.moment_of),
    "invalidation.transactions.keep_snapshot": lambda connection: getattr(connection, "has_open_cursor", False),
    # An actor that is abandoned in the middle stands for a process that is killed: it notes nothing in its journal.
    "invalidation.delivery.delay": lambda *_, **__: None,
}


def _ignore_crash(unraisable: Any) -> None:
    """Say nothing of an actor that was stopped in a `__del__`."""
    if unraisable.exc_type is not Crashed:
        sys.__unraisablehook__(unraisable)


@runs_anywhere
def _hear(event: Event) -> None:
    if event.kind == "inconsistent":
        world().accusation = event.reason
    elif event.kind == "miss" and (actor := world().running):
        actor.missed = True
    elif event.kind in FAULTS and not isinstance(event.error, Failing) and not world().is_unreadable:
        world().fault = f"the library has met a fault that nobody made: {event.reason}, {event.error!r}"


@contextmanager
def simulated(**settings: Any) -> Iterator[None]:
    """Put the library into the world until the block ends."""
    settings.setdefault("ALIASES", list(CACHES))
    settings.setdefault("BREAKER_FAILURES", 0)  # it would remember the failures of other schedules
    with pytest.MonkeyPatch.context() as patch, override_settings(CACHES=CACHES, CACHEDECO=settings):
        # Not a word about the errors that the world makes.
        patch.setattr(logging.getLogger("cachedeco"), "disabled", True)
        patch.setattr(sys, "unraisablehook", _ignore_crash)
        for name, replacement in REPLACED.items():
            patch.setattr(f"cachedeco.{name}", replacement)
        replace_time(patch, now)
        try:
            with listening(_hear), database.connected():
                yield
        finally:
            enter(World())
