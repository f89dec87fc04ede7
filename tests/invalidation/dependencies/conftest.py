"""What tests of dependencies are given: the time at which Django starts."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from django.apps import apps

from cachedeco.invalidation import parts

Starting = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch) -> Starting:
    """Give a block in which Django starts, as when it imports the modules of MODULES; the test's end forgets it."""
    monkeypatch.setattr(parts, "_requests", dict(parts._requests))
    monkeypatch.setattr(parts, "_fields", dict(parts._fields))

    @contextmanager
    def start() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(apps, "ready", False)
            yield

    return start
