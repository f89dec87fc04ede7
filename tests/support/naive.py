"""
Decorators as they are usually written, for controls: a test of a race must fail for them.

Each takes a function and has the verbs of a cached function that the tests use. Keys are plain.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count
from typing import Any

from django.core.cache import caches

from cachedeco import MISSING
from tests.support.threads import PATIENCE_SECONDS

_serials = count()


@dataclass(frozen=True)
class NaiveCall:
    """A call, of which the key may change."""

    key: Callable[[], str]

    def set(self, value: object) -> None:
        """Store."""
        caches["default"].set(self.key(), value)


class DeleteAndSet:
    """Look, compute, set; to invalidate, delete."""

    def __init__(self, function: Callable[..., Any], vary: Callable[[], object] | None = None) -> None:
        """Wrap the function."""
        self.uncached = function
        self.vary = vary
        self.prefix = f"naive{next(_serials)}"
        self.keys: set[str] = set()

    def key_for(self, *args: object, **kwargs: object) -> str:
        """Return the key of a call."""
        varied = self.vary() if self.vary else ""
        key = f"{self.prefix}:{args!r}{kwargs!r}:{varied}".replace(" ", "")
        self.keys.add(key)
        return key

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """Return what is stored, or compute and store."""
        value = self.peek(*args, **kwargs)
        return self.refresh(*args, **kwargs) if value is MISSING else value

    def peek(self, *args: object, **kwargs: object) -> Any:
        """Return what is stored."""
        return caches["default"].get(self.key_for(*args, **kwargs), MISSING)

    def refresh(self, *args: object, **kwargs: object) -> Any:
        """Compute and store."""
        value = self.uncached(*args, **kwargs)
        self.call(*args, **kwargs).set(value)
        return value

    def call(self, *args: object, **kwargs: object) -> "NaiveCall":
        """Return the call, whose value can be set."""
        return NaiveCall(lambda: self.key_for(*args, **kwargs))

    def invalidate(self, *args: object, **kwargs: object) -> None:
        """Delete what is stored for a call."""
        caches["default"].delete(self.key_for(*args, **kwargs))

    def invalidate_all(self) -> None:
        """Delete what is stored for any call."""
        caches["default"].delete_many(self.keys)


class Versioned(DeleteAndSet):
    """Put a counter into the key; to invalidate, count on. A counter that is absent is 1."""

    def key_for(self, *args: object, **kwargs: object) -> str:
        """Return the key of a call, under the version of now."""
        version = caches["default"].get("naive:version", 1)
        return f"{super().key_for(*args, **kwargs)}:{version}"

    def invalidate(self, *_: object, **__: object) -> None:
        """Count on."""
        self.invalidate_all()

    def invalidate_all(self) -> None:
        """Count on."""
        caches["default"].add("naive:version", 1)
        caches["default"].incr("naive:version")


class SharedByKey(DeleteAndSet):
    """Join a computation of the same key that is under way."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Wrap the function."""
        super().__init__(function)
        self.joined = threading.Event()
        self._lock = threading.Lock()
        self._flights: dict[str, Future[Any]] = {}

    def refresh(self, *args: object, **kwargs: object) -> Any:
        """Compute and store, or wait for the caller that does."""
        key = self.key_for(*args, **kwargs)
        with self._lock:
            flight, mine = self._flights.get(key), Future[Any]()
            if flight is None:
                self._flights[key] = mine
        if flight is not None:
            self.joined.set()
            return flight.result(PATIENCE_SECONDS)
        mine.set_result(super().refresh(*args, **kwargs))
        del self._flights[key]
        return mine.result()
