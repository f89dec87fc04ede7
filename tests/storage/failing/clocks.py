"""The clock that the tests of this package turn themselves, and what hangs on it."""

from cachedeco.storage import breaker
from tests.support.stored import bare_each


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        """Begin at a moment of no meaning."""
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the moment, as `monotonic()` does."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def longest(_low: float, high: float) -> float:
    """Draw the longest pause, as `uniform()` may."""
    return high


def queue(alias: str = "default") -> list[str]:
    """Return the keys that a cache is owed the invalidation of, without what the cache puts before them."""
    return bare_each(breaker.breakers[alias].queue) if alias in breaker.breakers else []
