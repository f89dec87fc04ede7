"""Why values were returned and not stored, of the last calls of one function in this process: `explain()` says it."""

from typing import Final

from cachedeco.runtime.locks import RLock

MOST_CALLS: Final = 100


class UnstoredReasons:
    """Why the last value of a call was not stored, by the key of its entry. Thread-safe."""

    __slots__ = ("_lock", "_reasons")

    def __init__(self) -> None:
        """Begin with none."""
        self._reasons: dict[str, str] = {}
        self._lock = RLock()

    def add(self, key: str, reason: str) -> None:
        """Remember a reason, and forget that of the call to which it happened longest ago."""
        with self._lock:
            self._reasons.pop(key, None)
            self._reasons[key] = reason
            if len(self._reasons) > MOST_CALLS:
                del self._reasons[next(iter(self._reasons))]

    def discard(self, key: str) -> None:
        """Forget why a call was not stored: it is stored now."""
        if self._reasons:  # nearly never
            with self._lock:
                self._reasons.pop(key, None)

    def get(self, key: str) -> str:
        """Return why the last value of a call was not stored; empty if it was, or if nothing is known of it."""
        return self._reasons.get(key, "")
