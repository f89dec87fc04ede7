"""Fixtures of the tests of the auditor: a background that works when it is told to, a clock, and what was told."""

from collections.abc import Callable, Iterator
from contextvars import Context, copy_context
from typing import Any, NamedTuple

import pytest
from asgiref.sync import async_to_sync
from pytest_django import Settings

from cachedeco import CachedQuery, Event, listening
from cachedeco.auditing.later import Delay
from cachedeco.runtime import background
from tests.loading.refreshing.conftest import Truth
from tests.support.clocks import Clock

AUDIT_SECONDS = 60.0
TIMEOUT = 3600.0

Cached = CachedQuery[..., Any]


class Job(NamedTuple):
    """What waits to be done in the background."""

    after: float
    context: Context
    work: Callable[[], object]


class Background:
    """A background that does nothing before it is told to."""

    def __init__(self, clock: Clock) -> None:
        """Begin with room, and with nothing to do."""
        self.clock = clock
        self.jobs: list[Job] = []
        self.has_room = True

    def submit(self, work: Callable[[], object], after: float = 0.0) -> bool:
        """Do as `background.submit()`."""
        if self.has_room:
            self.jobs.append(Job(after, copy_context(), work))
        return self.has_room

    def start(self, work: background.AsyncJob, after: float = 0.0) -> bool:
        """Do as `background.start()`."""

        async def awaited() -> object:
            return await work()

        return self.submit(async_to_sync(awaited), after)

    def look(self) -> None:
        """Do all that waits to be done, and let pass the time before it."""
        jobs, self.jobs = self.jobs, []
        for after, context, work in jobs:
            self.clock.now += after
            context.run(work)


class Told(list[Event]):
    """What the auditor has told."""

    def __call__(self, event: Event) -> None:
        """Be told."""
        if event.kind in {"audited", "inconsistent", "error"}:
            self.append(event)

    @property
    def kinds(self) -> list[str]:
        """What kinds of events there were."""
        return [event.kind for event in self]

    @property
    def reasons(self) -> list[tuple[str, str]]:
        """What they were, and why."""
        return [(event.kind, event.reason) for event in self]


@pytest.fixture(autouse=True)
def _every_hit(settings: Settings) -> None:
    """Audit every hit."""
    settings.CACHEDECO = {"AUDIT": 1, "AUDIT_SECONDS": AUDIT_SECONDS}


@pytest.fixture(autouse=True)
def _no_suspects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with no suspects."""
    monkeypatch.setattr("cachedeco.auditing.auditor._suspects", {})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the clock by which entries are due and suspects are forgotten."""
    clock = Clock()
    clock.install(monkeypatch)
    monkeypatch.setattr("cachedeco.functions.bulk_serving.time", clock)
    monkeypatch.setattr("cachedeco.auditing.auditor.perf_counter", clock)
    return clock


@pytest.fixture
def later(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Background:
    """Give the background, for both sides."""
    later = Background(clock)
    monkeypatch.setattr(background, "submit", later.submit)
    monkeypatch.setattr(background, "start", later.start)
    monkeypatch.setattr(Delay, "submit", lambda delay, work: later.submit(work, delay.seconds))
    monkeypatch.setattr(Delay, "start", lambda delay, work: later.start(work, delay.seconds))
    return later


@pytest.fixture
def truth() -> Truth:
    """Give a truth that is "old"."""
    return Truth()


@pytest.fixture
def told() -> Iterator[Told]:
    """Give what is told from now on."""
    told = Told()
    with listening(told):
        yield told
