"""Cached functions on our Redis backend: how often they ask the server, and what an outage leaves behind."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from cachedeco import Event, cached_query, listening
from cachedeco.backends.loop_connection import LoopConnection
from cachedeco.backends.server import forget_servers
from cachedeco.storage import breaker
from tests.backends.redis_caches import WAITS
from tests.storage.places import Wire
from tests.support.servers import Redis
from tests.support.sides import Side, both


def double(number: int) -> int:
    """Be cached."""
    return 2 * number


@pytest.fixture
def server(private_redis: Redis, settings: Settings) -> Iterator[Redis]:
    """Give the server behind the default cache, which is exactly our class."""
    settings.CACHES = {
        "default": {
            "BACKEND": "cachedeco.backends.redis.RedisCache",
            "LOCATION": private_redis.location,
            "OPTIONS": WAITS,
        }
    }
    yield private_redis
    forget_servers()


@both
@pytest.mark.usefixtures("server")
def test_hit_is_one_trip_and_a_miss_three(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """All keys of a hit in one command; of a miss, what is minted in one send, and what is stored in one."""
    cached = side.cached(name="tests.redis.trips", namespace="number:{number}", timeout=60)(double)
    side.call(cached, 1)  # connects, and imports
    wire = Wire(monkeypatch)
    flush = LoopConnection._flush

    def counted(connection: LoopConnection) -> None:
        wire.sent += bool(connection._outgoing)
        flush(connection)

    monkeypatch.setattr(LoopConnection, "_flush", counted)
    sent = []
    for number in (1, 2, 3, 2):
        wire.sent = 0
        assert 2 * number == side.call(cached, number)
        sent.append(wire.sent)
    wire.sent = 0
    side.call(cached.invalidate, 2)

    assert ([1, 3, 3, 1], 1) == (sent, wire.sent)


@pytest.mark.parametrize("way", ["kill", "pause"])
def test_invalidation_of_a_server_out_of_reach_is_delivered_later(server: Redis, way: str) -> None:
    """Calls compute meanwhile, and raise nothing; a server that is back gets it at once, in a pause of the backend."""
    cached = cached_query(name="tests.redis.outage", timeout=60)(double)
    cached(1)
    events: list[Event] = []
    with listening(events.append):
        getattr(server, way)()
        missed = cached(2)
        cached.invalidate(1)
        meanwhile = cached(1)
        queued = set(breaker.breakers["default"].queue)
        if way == "kill":
            server.restart()
        else:
            server.resume()
        breaker.breakers["default"].end_pause()
        cached(1)
        kinds = {event.kind for event in events}
        reasons = [event.reason for event in events if event.kind == "miss"]

    assert (4, 2, 1, {}) == (missed, meanwhile, len(queued), breaker.breakers)
    assert "cache not read: a server is out of reach" == reasons[0]
    assert {"invalidation_delayed", "breaker_opened", "breaker_closed"} <= kinds
    assert "invalidation_lost" not in kinds
