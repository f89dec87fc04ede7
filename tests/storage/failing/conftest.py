"""What the tests of a failing cache are given: a breaker whose clock they turn, and a server of their own."""

from typing import Any

import pytest

from cachedeco.storage import breaker
from tests.conftest import CacheConfig, UseCaches
from tests.storage.failing.clients import CLIENTS
from tests.storage.failing.clocks import Clock, longest
from tests.support.backends import PROGRAMS
from tests.support.servers import Server


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the breaker's clock, which stands still; its pauses are the longest."""
    clock = Clock()
    monkeypatch.setattr(breaker, "monotonic", clock)
    monkeypatch.setattr(breaker, "uniform", longest)
    return clock


@pytest.fixture
def server(client: str, request: pytest.FixtureRequest, cache_config: CacheConfig, use_caches: UseCaches) -> Server:
    """Give a server of this test's own, behind the default cache."""
    kind: Any = client.partition(" ")[0]
    private: Server = request.getfixturevalue(f"private_{PROGRAMS[kind]}")
    use_caches(default=cache_config(kind, server=private, OPTIONS=CLIENTS[client]))
    return private
