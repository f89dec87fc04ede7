"""Cached functions on our backend: what is invalidated while a server is out of reach is neither lost nor late."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest
from django.core.cache import caches

from cachedeco import Event, cached_query, listening
from cachedeco.backends.memcached import MemcachedCache
from cachedeco.invalidation.retry_queue import MOST_REFUSALS
from cachedeco.storage import breaker
from tests.conftest import CacheConfig, UseCaches
from tests.support.servers import Memcached

NOT_THERE = "cache not read: a server is out of reach"
counts = pytest.mark.parametrize("servers", [1, 2], indirect=True, ids=["one server", "two servers"])


@pytest.fixture
def servers(
    request: pytest.FixtureRequest, use_caches: UseCaches, cache_config: CacheConfig
) -> Iterator[list[Memcached]]:
    """Give the servers behind the default cache."""
    with ExitStack() as stack:
        servers = [stack.enter_context(Memcached()) for _ in range(request.param)]
        location = [server.location for server in servers]
        use_caches(default=cache_config("ours", LOCATION=location))
        yield servers


@pytest.fixture
def events() -> Iterator[list[Event]]:
    """Give what happens."""
    seen: list[Event] = []
    with listening(seen.append):
        yield seen


@cached_query(name="tests.backends.double")
def double(number: int) -> int:
    """Be cached."""
    return 2 * number


@cached_query(name="tests.backends.adouble")
async def adouble(number: int) -> int:
    """Be cached."""
    return 2 * number


def made(result: Any) -> Any:
    """Return the result of a call, async or not."""
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


def without(servers: list[Memcached], key: str) -> Memcached:
    """Return a server that does not have a key, where there are several."""
    cache = caches["default"]
    assert isinstance(cache, MemcachedCache)
    name = cache._cache._server_of(cache.make_key(key)).name
    return min(servers, key=lambda server: server.location == name)


def end_pause() -> None:
    """Have cachedeco ask the cache whether it is well, as it would some seconds later."""
    breaker.breakers["default"].end_pause()
    double(1)


def kinds(events: list[Event]) -> set[str]:
    """Return what kinds of events there were, and forget them."""
    found = {event.kind for event in events}
    events.clear()
    return found


@counts
@pytest.mark.parametrize("way", ["kill", "pause"])
def test_invalidation_of_a_server_out_of_reach_is_never_given_up(
    servers: list[Memcached], way: str, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure is no refusal, however often the cache is probed; when the server is back it is delivered."""
    clock = count(0, 60)  # of the backend: its pauses are over whenever it looks
    monkeypatch.setattr("cachedeco.backends.server.monotonic", lambda: next(clock))
    numbers = range(60)  # of two servers, each has the token of one, with any ports
    for number in numbers:
        double(number)
    # So that the probe is answered, and what is owed is tried.
    server = without(servers, "cd:probe")
    getattr(server, way)()
    for number in numbers:
        double.invalidate(number)
    told = kinds(events)

    for _ in range(MOST_REFUSALS + 1):
        end_pause()
    queue = set(breaker.breakers["default"].queue)
    if way == "kill":
        server.restart()
    else:
        server.resume()
    end_pause()

    assert queue
    assert "invalidation_delayed" in told
    assert {} == breaker.breakers
    assert "invalidation_lost" not in kinds(events)


@pytest.mark.parametrize("servers", [1], indirect=True)
def test_invalidation_reaches_a_server_that_was_started_again_at_once(
    servers: list[Memcached], events: list[Event]
) -> None:
    """Others use it, empty as it is, so neither our pause nor cachedeco's keeps an invalidation from it."""
    double(1)
    servers[0].kill()
    double.invalidate(1)
    first = kinds(events)
    servers[0].restart()

    double.invalidate(1)

    assert {"invalidation_delayed", "breaker_opened", "error"} <= first
    assert {"invalidated", "breaker_closed"} <= kinds(events)


@counts
@pytest.mark.parametrize("call", [double, adouble], ids=["sync", "async"])
def test_miss_of_a_server_out_of_reach_says_so(servers: list[Memcached], call: Any, events: list[Event]) -> None:
    """What was not read is not absent: the entry, or a token of it, lies on a server that does not answer."""
    for _ in range(2):
        for number in range(20):
            made(call(number))
    events.clear()

    servers[0].kill()
    for number in range(20):
        made(call(number))
        breaker.reset()

    assert {NOT_THERE} == {event.reason for event in events if event.kind == "miss"}


@pytest.mark.parametrize("servers", [2], indirect=True)
def test_hits_of_the_servers_that_are_left(servers: list[Memcached], events: list[Event]) -> None:
    """What lies on other servers is served while one is gone, until an invalidation is owed to that one."""
    for number in range(80):
        double(number)
    events.clear()
    without(servers, "cd:f:tests.backends.double()").kill()
    for number in range(80):
        double(number)
        breaker.reset()

    assert {"hit", "miss"} <= kinds(events)
