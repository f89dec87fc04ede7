"""What a caller does: call once, or again and again."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Answer(NamedTuple):
    """What became of one call."""

    began: float
    seconds: float
    value: int | None
    error: str = ""


def ask(call: Callable[[], int]) -> Answer:
    """Call once."""
    began = time.monotonic()
    try:
        value = call()
    except Exception as error:  # noqa: BLE001 -- what a contender raises is what is counted
        return Answer(began, time.monotonic() - began, None, f"{type(error).__name__}: {error}"[:120])
    return Answer(began, time.monotonic() - began, value)


@dataclass(frozen=True)
class Load:
    """Call, pause, and again, until so many seconds are over."""

    seconds: float
    pause: float

    def __call__(self, call: Callable[[], int]) -> list[Answer]:
        """Return what became of the calls."""
        answers = [ask(call)]
        while answers[-1].began - answers[0].began < self.seconds:
            time.sleep(self.pause)
            answers.append(ask(call))
        return answers
