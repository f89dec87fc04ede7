"""A read that is answered by another number of values than it asked for: a miss, and a connection to be closed."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.core.cache.backends.locmem import LocMemCache
from redis.exceptions import InvalidResponse

from cachedeco import MISSING, Namespace, agather, gather
from cachedeco.backends.serializers import SignedSerializer
from cachedeco.backends.server import forget_servers
from cachedeco.storage.access import access_to
from cachedeco.storage.readers import NonsenseReadError, general_reader
from cachedeco.storage.store import Store
from cachedeco.testing import capture_events
from tests.conftest import CacheConfig, UseCaches
from tests.storage.places import cache_of, release
from tests.support.relay import CHUNK, Relay
from tests.support.servers import Redis
from tests.support.sides import Side, both

# What a broken server, or a proxy in front of it, may say to an MGET, by how many values were asked for.
ANSWERS: dict[str, Callable[[int], bytes]] = {
    "none": lambda _: b"*0\r\n",
    "fewer": lambda count: b"*%d\r\n" % (count - 1) + b"$1\r\nx\r\n" * (count - 1),
    "more": lambda count: b"*%d\r\n" % (count + 1) + b"$1\r\nx\r\n" * (count + 1),
    "no array": lambda _: b"*-1\r\n",
    "a number": lambda count: b":%d\r\n" % count,
    "text": lambda count: b"+%b\r\n" % (b"x" * count),
    "numbers": lambda count: b"*%d\r\n" % count + b":7\r\n" * count,
}
_mget = re.compile(rb"\*(\d+)\r\n\$4\r\nMGET\r\n").finditer


class Misanswering(Relay):
    """Stands between clients and a Redis; while it has an answer, it gives that to each MGET."""

    def __init__(self, server: Redis) -> None:
        """Carry all, to begin with."""
        super().__init__(server.port)
        self._server = server
        self.answer: Callable[[int], bytes] | None = None
        self.opened = 0

    @property
    def location(self) -> str:
        """The address for Django's CACHES."""
        return self._server.location.replace(str(self._server.port), str(self.port))

    async def _carry_requests(
        self, requests: asyncio.StreamReader, client: asyncio.StreamWriter, server: asyncio.StreamWriter
    ) -> None:
        self.opened += 1
        while message := await requests.read(CHUNK):
            counts = [int(found[1]) - 1 for found in _mget(message)]
            if self.answer and counts:
                client.write(b"".join(map(self.answer, counts)))
            else:
                server.write(message)

    async def _carry_answers(self, answers: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while message := await answers.read(CHUNK):
            client.write(message)


@pytest.fixture
def relay(redis_server: Redis) -> Iterator[Misanswering]:
    """Give the relay to the Redis that the tests share."""
    with Misanswering(redis_server) as relay:
        yield relay


BACKENDS = ["django.core.cache.backends.redis.RedisCache", "cachedeco.backends.redis.RedisCache"]


@pytest.fixture(params=BACKENDS)
def _through_relay(
    request: pytest.FixtureRequest, relay: Misanswering, cache_config: CacheConfig, use_caches: UseCaches
) -> None:
    """Reach the server through the relay, by Django's client and by ours."""
    use_caches(default=cache_config("redis", server=relay, BACKEND=request.param))


@both
@pytest.mark.usefixtures("_through_relay")
@pytest.mark.parametrize("answer", ANSWERS)
def test_wrong_answer_never_breaks_the_call(side: Side, answer: str, relay: Misanswering) -> None:
    """Whichever verb has read: it is a miss."""

    @side.cached(namespace="numbers")
    def double(number: int) -> int:
        return 2 * number

    @side.many(over="ids")
    def triple(ids: list[int]) -> dict[int, int]:
        return {each: 3 * each for each in ids}

    def gathered() -> Any:
        return (agather if side.is_async else gather)(double.call(5), triple.call([3]))

    relay.answer = ANSWERS[answer]

    found = [
        side.call(double, 4),
        side.call(double.peek, 4),
        side.call(triple, [1, 2]),
        side.call(triple.peek, [1, 2]),
        side.call(gathered),
        side.call(double.refresh, 4),
        side.call(double.invalidate, 4),
        side.call(Namespace("numbers").invalidate),
    ]

    assert [8, MISSING, {1: 3, 2: 6}, {}, (10, {3: 9}), 8, None, None] == found


@pytest.mark.usefixtures("_through_relay")
def test_wrong_answer_is_an_event(relay: Misanswering, caplog: pytest.LogCaptureFixture) -> None:
    """As of a server that is out of reach, which our backend says by itself."""
    relay.answer = ANSWERS["none"]

    with capture_events() as events:
        Store("default").read(["a", "b"])

    told = [event.reason for event in events if event.kind == "error"]
    told += [record.message for record in caplog.records if "out of reach: InvalidResponse" in record.message]
    assert 1 == len(told)


async def read(cache: Any) -> object:
    """Read two keys as a hit does."""
    return access_to(cache).read(["a", "b"])


async def read_chunks(cache: Any) -> object:
    """Read two chunks, as for many calls."""
    return access_to(cache).read_chunks([["a", "b"], ["c"]])


async def aread(cache: Any) -> object:
    """Read two keys as a hit on an event loop does."""
    return await cache.raw_client().aread(["a", "b"])


async def aread_chunks(cache: Any) -> object:
    """Read two chunks on an event loop."""
    return await cache.raw_client().aread_chunks([["a", "b"], ["c"]])


async def get_many(cache: Any) -> object:
    """Read as users do."""
    return cache.get_many(["a", "b"])


async def aget_many(cache: Any) -> object:
    """Read as users of async code do."""
    return await cache.aget_many(["a", "b"])


OURS = [read, read_chunks, aread, aread_chunks, get_many, aget_many]
WAYS = [("redis", way) for way in OURS[:2]]
WAYS += [(kind, way) for kind in ("our redis", "our signed redis") for way in OURS]


@pytest.mark.covering(2)
@pytest.mark.parametrize("answer", [name for name in ANSWERS if name != "numbers"])
@pytest.mark.parametrize(("kind", "way"), WAYS, ids=lambda each: getattr(each, "__name__", each))
def test_connection_whose_answer_was_wrong_is_not_used_again(
    kind: str,
    way: Callable[[Any], Awaitable[object]],
    answer: str,
    relay: Misanswering,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rest of it may come later."""
    monkeypatch.setattr("cachedeco.backends.server.FIRST_PAUSE", 0)
    options: dict[str, Any] = {"serializer": SignedSerializer(["key" * 9])} if kind == "our signed redis" else {}
    cache = cache_of(kind.replace("signed ", ""), relay.location, **options)

    async def ask() -> None:
        await way(cache)
        opened = relay.opened
        relay.answer = ANSWERS[answer]
        with suppress(InvalidResponse):
            assert await way(cache) in ({}, [None] * 2, [None] * 3)
        relay.answer = None
        await way(cache)
        assert opened + 1 == relay.opened

    asyncio.run(ask())
    release(cache)
    forget_servers()


def test_cache_whose_answer_is_nonsense_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of any kind may have got the answer to another command."""
    cache, closed = LocMemCache("nonsense", {}), list[bool]()
    monkeypatch.setattr(cache, "get_many", lambda _: [None])
    monkeypatch.setattr(cache, "close", lambda: closed.append(True))

    with pytest.raises(NonsenseReadError):
        general_reader(cache)(["a"])

    assert [True] == closed
