"""Callers of one cached function: how many have joined a flight, and what happens to them."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cachedeco import events, flights
from cachedeco.events import Event
from tests.threads import PATIENCE_SECONDS


class Boarding:
    """Counts those who board the flights of this process: leaders, and followers who are about to wait."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Begin to count."""
        self.leaders = 0
        self.followers = 0
        self._changed = threading.Condition()
        self._board = flights.board
        patch.setattr(flights, "board", self._counted)

    def _counted(self, *args: Any) -> Any:  # noqa: ANN401 -- as board() has it
        flight, leads = self._board(*args)
        with self._changed:
            if leads:
                self.leaders += 1
            else:
                self.followers += 1
            self._changed.notify_all()
        return flight, leads

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
    with events.listening(told.append):
        yield told


def kinds(told: list[Event], function: Callable[..., Any]) -> list[str]:
    """Return the kinds of the events of one cached function, in order."""
    name = f"{function.__module__}.{function.__qualname__}"
    return [event.kind for event in told if event.function == name]


def reasons(told: list[Event], kind: str) -> list[str]:
    """Return the reasons of the events of one kind, in order."""
    return [event.reason for event in told if event.kind == kind]
