"""Callers of one cached function: how many have joined a flight, and what happens to them."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cachedeco.functions.work import Work
from cachedeco.loading import flights, leases, refreshing, single_flight
from cachedeco.loading.effects import CallUser, Ok, Pause, Wait
from cachedeco.runtime import hooks
from cachedeco.runtime.events import Event
from tests.support.threads import PATIENCE_SECONDS


class Boarding:
    """Counts those who board the flights of this process: leaders, and followers who are about to wait."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Begin to count."""
        self.leaders = 0
        self.followers = 0
        self._changed = threading.Condition()
        self._board = flights.join_or_lead
        for module in (single_flight, refreshing):
            patch.setattr(module, "join_or_lead", self._counted)

    def _counted(self, *args: Any) -> Any:
        flight, misses = args
        others = self._board(flight, misses)
        with self._changed:
            self.leaders += bool(flight.names)
            self.followers += len(others)
            self._changed.notify_all()
        return others

    def wait_for_followers(self, number: int) -> None:
        """Return when so many, in all, have joined a flight that another one leads."""
        with self._changed:
            joined = self._changed.wait_for(lambda: self.followers >= number, PATIENCE_SECONDS)
        assert joined, f"{self.followers} callers have joined a flight, and not {number}"

    async def followers_are(self, number: int) -> None:
        """Do as `wait_for_followers()`, while the loop goes on."""
        await asyncio.to_thread(self.wait_for_followers, number)


@contextmanager
def heard() -> Iterator[list[Event]]:
    """Give the events of this process, as they happen while the block runs."""
    told: list[Event] = []
    with hooks.listening(told.append):
        yield told


def kinds(told: list[Event], function: Callable[..., Any]) -> list[str]:
    """Return the kinds of the events of one cached function, in order."""
    name = f"{function.__module__}.{function.__qualname__}"
    return [event.kind for event in told if event.function == name]


def reasons(told: list[Event], kind: str) -> list[str]:
    """Return the reasons of the events of one kind, in order."""
    return [event.reason for event in told if event.kind == kind]


class ByHand:
    """One call of a cached sync function, taken step by step; it waits for nothing, as the clock is the test's."""

    def __init__(self, cached: Any, clock: "Clock") -> None:
        """Make the call, up to its first step."""
        served = cached._serve((), {})
        assert isinstance(served, Work), f"a hit: {served!r}"
        self._steps, self._compute = served
        self._clock = clock
        self.outcome: Any = None
        self.waited: list[float] = []  # seconds that it was to wait, or to pause
        self._take(None)

    def _take(self, answer: object) -> None:
        try:
            self.step: Any = self._steps.send(answer)
        except StopIteration as end:
            self.step, self.outcome = None, end.value

    def go_on(self, answer: object = None) -> None:
        """Take one step, with this answer if it is to wait."""
        self._take(self.done() if not isinstance(self.step, Wait | Pause) else self.wait(answer))

    def done(self) -> object:
        """Do what the step wants done, and return the answer without giving it."""
        return Ok(self._compute()) if isinstance(self.step, CallUser) else self.step()

    def wait(self, answer: object) -> object:
        """Let the time pass."""
        self.waited.append(self.step.seconds)
        self._clock.now += self.step.seconds
        return answer

    def answer(self, answer: object) -> None:
        """Give an answer to the step."""
        self._take(answer)

    def complete(self) -> None:
        """Go on to the end, as a follower of a flight that has landed."""
        self.answer(self.step.promise.value)
        self.until(None)

    def until(self, kind: type[Wait | Pause] | None) -> None:
        """Go on to the next step of a kind, or to the end."""
        while self.step is not None and (kind is None or not isinstance(self.step, kind)):
            self.go_on()


class Clock:
    """The time of flights and leases, which stands still."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Begin at 1000 seconds."""
        self.now = 1000.0
        for module in (single_flight, leases):
            patch.setattr(module, "monotonic", lambda: self.now)
