"""Fixtures of the tests of refreshing: a clock, a truth, and the end of what is done in the background."""

from collections.abc import Callable
from threading import Semaphore
from typing import Any

import django
import pytest

from cachedeco import CachedQuery
from cachedeco.runtime import background
from tests.support.clocks import clock  # noqa: F401 -- a fixture
from tests.support.sides import Side

# There is nothing to be tested where there are no tasks; what the setting says then is tested in test_tasks_setting.py.
collect_ignore = ["test_tasks.py"] if django.VERSION < (6,) else []

Cached = CachedQuery[..., Any]
Act = Callable[[], object]


class Truth:
    """What a cached function reads, and how often it did."""

    def __init__(self) -> None:
        """Say "old", and fail never."""
        self.value: object = "old"
        self.error: Exception | None = None
        self.read_count = 0
        self.meanwhile: Act = lambda: None

    def read(self) -> object:
        """Return the value, or raise, after what happens meanwhile."""
        self.read_count += 1
        value, error = self.value, self.error
        self.meanwhile()
        if error:
            raise error
        return value

    def cached(self, side: Side, **options: Any) -> Cached:
        """Return a cached function that reads it, with a timeout of 60 seconds unless told otherwise."""

        @side.cached(**{"timeout": 60, "ignore": ("self",), **options})
        def read(number: int = 1) -> object:  # noqa: ARG001 -- only the key tells it
            return self.read()

        return read


@pytest.fixture
def truth() -> Truth:
    """Give a truth that is "old"."""
    return Truth()


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> Semaphore:
    """Give what can be acquired once for each thing that was done in the background."""
    done, work = Semaphore(0), background._run_detached

    def worked(*args: Any) -> None:
        work(*args)
        done.release()

    monkeypatch.setattr(background, "_run_detached", worked)
    return done
