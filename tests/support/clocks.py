"""A clock that stands still until a test, or a pause of a caller who waits, sets it forward."""

import asyncio
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tests.support.threads import in_thread

Act = Callable[[], object]

START = 1_000_000_000.0
_TIME = time.time  # a test may replace it there, too


def replace_time(patch: pytest.MonkeyPatch, clock: Callable[[], float]) -> None:
    """Have cachedeco go by another clock; the cache itself goes by its own."""
    replace_everywhere(patch, _TIME, clock, outside=("cachedeco.backends", "cachedeco.outbox", "cachedeco.testing"))


def replace_everywhere(
    patch: pytest.MonkeyPatch, original: Callable[..., object], other: Callable[..., object], outside: tuple[str, ...]
) -> None:
    """Replace a function in each module of cachedeco that has imported it, but for those of some packages."""
    for name, module in list(sys.modules.items()):
        is_inside = name.startswith("cachedeco.") and not name.startswith(outside)
        if is_inside and getattr(module, original.__name__, None) is original:
            patch.setattr(module, original.__name__, other)


class Clock:
    """
    A clock that stands still until it is set forward.

    Pauses set it, and are noted in `pauses`. What others do meanwhile is in `meanwhile`: one callable for each pause,
    in their order, run in a thread of its own.
    """

    def __init__(self) -> None:
        """Begin at a round second."""
        self.now = START
        self.pauses: list[float] = []
        self.meanwhile: list[Act] = []

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def pause(self, seconds: float) -> None:
        """Let time pass, and others act."""
        self.now += seconds
        self.pauses.append(seconds)
        if self.meanwhile:
            in_thread(self.meanwhile.pop(0))

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Become the clock of cachedeco, on the wall and on the stopwatch, and what its pauses take."""

        async def apause(seconds: float) -> None:
            self.pause(seconds)

        replace_time(monkeypatch, self)
        for name in ("auditing.auditor", "loading.single_flight", "loading.leases"):
            module = sys.modules.get(f"cachedeco.{name}")  # the auditor is a door, and may be away
            if module is not None:
                monkeypatch.setattr(module, "monotonic", self)
        for name in ("computing", "unshared"):
            monkeypatch.setattr(f"cachedeco.loading.{name}.perf_counter", self)
        monkeypatch.setattr("cachedeco.loading.effects.sleep", self.pause)
        monkeypatch.setattr("cachedeco.loading.effects.asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": apause}))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the clock by which entries are due and callers wait."""
    clock = Clock()
    clock.install(monkeypatch)
    return clock
