"""Progress of long work, on standard error: one line that is written again on a terminal, many in a file."""

from time import monotonic
from typing import Final

from cachedeco.management.printing import Console

# Seconds between two lines: on a terminal, and in a log.
OFTEN: Final = 0.1
SELDOM: Final = 10.0


class Progress:
    """Counts steps, and tells of them now and then; with --verbosity 0 never."""

    def __init__(self, console: Console, total: int | None) -> None:
        """Begin; *total* is None if it is unknown."""
        self._console = console
        self._total = total
        self._done = 0
        self._began = self._told = monotonic()
        self._rewrites = console.is_watched()

    def step(self, count: int = 1) -> None:
        """Count, and tell if it is time."""
        self._done += count
        now = monotonic()
        if self._console.verbosity and now - self._told >= (OFTEN if self._rewrites else SELDOM):
            self._told = now
            self._console.whisper(self._text(now), "\r" if self._rewrites else "\n")

    def end(self) -> None:
        """Leave the line on a terminal."""
        if self._rewrites and self._told != self._began:
            self._console.whisper("")

    def _text(self, now: float) -> str:
        """Return how much is done, and how long the rest takes at this speed."""
        if self._total is None:
            return f"{self._done} calls, {now - self._began:.0f} s"
        left = (now - self._began) / self._done * max(0, self._total - self._done)
        # Blanks cover what a longer line has left on the terminal.
        return f"{self._done} of {self._total} calls, {left:.0f} s left    "
