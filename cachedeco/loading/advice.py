"""Advice: tell once, for each function, that it is cached in a way that does not help."""

from collections.abc import Callable
from typing import Final

from cachedeco.runtime.locks import RLock
from cachedeco.runtime.statistics import stats_of

# Entries of a function that were found dead, and hits among these that are too few, before advice is given.
ENOUGH: Final = 100
TOO_FEW: Final = 10
UNREAD: Final = (
    f"{ENOUGH} entries were invalidated, and fewer than {TOO_FEW} hits came between: what it depends on is written more"
    " often than it is called. Let it depend on less, by models or rows() instead of AUTO, or by a narrower namespace;"
    " or say depends_on=() if its value may be old for its timeout"
)
# What to do where no write would end a value.
DEPEND_ON_LESS: Final = "Say depends_on=() if they may be old for their timeout, or name models whose writes are seen"


class Advice:
    """The advice on one function: each reason is given once. Thread-safe."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        """Begin with nothing; *tell* gets a reason."""
        self._tell = tell
        self._told: set[str] = set()
        self._dead = 0
        self._hits = 0
        self._lock = RLock()

    def give(self, reason: str) -> None:
        """Tell a reason, once."""
        if self.is_first(reason):
            self._tell(reason)

    def give_never_stored(self, problem: str, remedy: str = DEPEND_ON_LESS) -> None:
        """Tell once that no value is stored: by the settings, or by the statements that the function runs."""
        self.give(f"Values are not stored where {problem}. {remedy}")

    def is_first(self, reason: str) -> bool:
        """Tell whether a reason is given for the first time. Few reasons: they are kept."""
        with self._lock:
            is_new = reason not in self._told
            self._told.add(reason)
        return is_new

    def count_dead(self, function: str, dead: int) -> None:
        """Count entries that were there and could not be served: invalidated, nearly always."""
        with self._lock:
            self._dead += dead
            if self._dead < ENOUGH:
                return
            self._dead = 0
        hits = stats_of(function).hits
        is_unread, self._hits = hits - self._hits < TOO_FEW, hits
        if is_unread:
            self.give(UNREAD)
