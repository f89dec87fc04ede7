"""Caches are examined: by what is written to them, and by what their servers say."""

import asyncio
from collections.abc import Iterator
from itertools import accumulate, chain, repeat
from types import SimpleNamespace
from typing import Any

import pytest
import redis.exceptions
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from pytest_django import Settings

from cachedeco import cached_query
from cachedeco.diagnosis.caches import examine_caches
from cachedeco.diagnosis.findings import Finding
from cachedeco.diagnosis.servers import ask_servers
from tests.conftest import CacheConfig, UseCaches
from tests.support.faults import faulty
from tests.support.relay import CHUNK, Relay
from tests.support.servers import Memcached, Redis


class Clock:
    """The clock of caches in memory, which pauses set forward."""

    def __init__(self, *, runs: bool = True) -> None:
        """Begin at a round second."""
        self.now = 1000.0
        self.runs = runs

    def time(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds if self.runs else 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the clock of caches in memory."""
    clock = Clock()
    for module in ("base", "locmem"):
        monkeypatch.setattr(f"django.core.cache.backends.{module}.time", SimpleNamespace(time=clock.time))
    return clock


def answers(findings: Iterator[Finding]) -> dict[str, tuple[str, str]]:
    """Return states and answers by question."""
    return {each.question: (each.state, each.answer) for each in findings}


def examined(clock: Clock) -> dict[str, tuple[str, str]]:
    """Return what is found of the default cache."""
    return answers(examine_caches(["default"], clock.sleep))


def test_cache_that_is_well_is_told(clock: Clock) -> None:
    """It answers, keeps what it acknowledges, and honours timeouts."""
    found = examined(clock)

    assert {"well"} == {state for state, _ in found.values()}
    assert [
        "What is it?",
        "Does this process use it?",
        "Does it answer?",
        "Does it keep what it acknowledges?",
    ] == list(found)[:4]
    assert ("well", "yes") == found["Does it honour timeouts?"]


@pytest.mark.parametrize(
    ("fault", "question", "expected"),
    [
        ({"raises": OSError("no route")}, "Does it answer?", "no: OSError: no route"),
        (
            {"unreachable": True},
            "Does it keep what it acknowledges?",
            "it has acknowledged 0 of 2 writes, and gave no error",
        ),
        (
            {"drops": True},
            "Does it keep what it acknowledges?",
            "no: of 2 values that it has acknowledged it returns 0",
        ),
    ],
    ids=["raising", "quiet", "forgetful"],
)
def test_cache_that_fails_is_told(
    use_caches: UseCaches, clock: Clock, fault: dict[str, Any], question: str, expected: str
) -> None:
    """By the question that it fails; timeouts are not asked any more, and no circuit breaker opens."""
    use_caches(default="faulty")
    names = ("set_many",) if "drops" in fault else ()
    with faulty(*names, **fault):
        found = examined(clock)

    assert ("wrong", expected) == found[question]
    assert "Does it honour timeouts?" not in found
    assert "closed" in found["Does this process use it?"][1]


@pytest.mark.usefixtures("dummy_backend")
def test_dummy_cache_is_told(clock: Clock) -> None:
    """It acknowledges all, and keeps nothing."""
    assert "wrong" == examined(clock)["Does it keep what it acknowledges?"][0]


def test_cache_that_keeps_values_for_ever_is_told(clock: Clock) -> None:
    """Its time stands still."""
    clock.runs = False

    assert ("wrong", "no: what should live for 1 s is there after 4 s") == examined(clock)["Does it honour timeouts?"]


@pytest.mark.usefixtures("clock")
def test_cache_that_drops_values_early_is_told() -> None:
    """Its memory is too small, or another program flushes it."""
    found = answers(examine_caches(["default"], lambda _: caches["default"].clear()))

    assert ("wrong", "no, 1 values are gone before theirs") == found["Does it honour timeouts?"]


def test_cache_that_is_slow_is_told(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hit waits for it."""
    ticks = iter(range(100))
    monkeypatch.setattr("cachedeco.diagnosis.caches.monotonic", lambda: next(ticks))

    assert ("notice", "yes: a write took 1 s, a read 1 s") == examined(clock)["Does it answer?"]


def test_busy_moment_makes_no_cache_slow(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first write may connect, and any read wait for a processor: the quickest of some counts."""
    ticks = accumulate(chain([0, 1, 0, 0, 0, 0, 0, 1], repeat(0)))
    monkeypatch.setattr("cachedeco.diagnosis.caches.monotonic", lambda: next(ticks))

    assert "well" == examined(clock)["Does it answer?"][0]


def test_open_breaker_and_what_is_owed_are_told(use_caches: UseCaches, clock: Clock) -> None:
    """Of this process; other processes have their own."""
    use_caches(default="faulty")

    @cached_query(name="diagnosis.owed")
    def owed() -> int:
        return 1

    with faulty(raises=OSError()):
        owed.invalidate()
        for _ in range(4):
            owed()
        found = examined(clock)

    assert ("wrong", "no, its circuit breaker is open, after 2 failures") == (
        found["Does this process use it?"][0],
        found["Does this process use it?"][1].partition(", and")[0],
    )
    assert ("wrong", "yes, 1, by this process") == found["Are invalidations owed to it?"]


@pytest.mark.parametrize(
    ("entry", "question", "expected"),
    [
        (None, "Is it there?", "no, it is not in CACHES"),
        ({"BACKEND": "nothing.here.Cache"}, "Can it be opened?", "no: InvalidCacheBackendError"),
    ],
)
def test_cache_that_can_not_be_opened_is_told(
    settings: Settings, clock: Clock, entry: dict[str, Any] | None, question: str, expected: str
) -> None:
    """Nothing else is asked of it."""
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}} | (
        {"slow": entry} if entry else {}
    )

    found = answers(examine_caches(["slow"], clock.sleep))

    assert (["wrong"], True) == ([state for state, _ in found.values()], found[question][1].startswith(expected))


def test_password_in_a_location_is_hidden(settings: Settings, clock: Clock) -> None:
    """What is printed may be pasted into a ticket."""
    settings.CACHES = {"default": {"BACKEND": PATH, "LOCATION": "redis://ann:hunter2@h:1/0"}}

    assert f"{PATH} at redis://***@h:1/0" == examined(clock)["What is it?"][1]


PATH = "django.core.cache.backends.locmem.LocMemCache"

Kind = Any
SERVERS = ["memcached", "ours", "redis", "our redis"]


@pytest.mark.parametrize("kind", SERVERS)
def test_server_of_each_backend_says_how_it_is(use_caches: UseCaches, kind: Kind) -> None:
    """Django's backends, and ours."""
    use_caches(default=kind)

    [report] = ask_servers(caches["default"])

    assert (None, True) == (report.error, report.name.startswith("127.0.0.1:"))
    assert report.number("limit_maxbytes") + report.number("maxmemory") == 64 * 2**20


@pytest.mark.parametrize("kind", SERVERS)
def test_server_that_is_gone_is_told(use_caches: UseCaches, cache_config: CacheConfig, kind: Kind) -> None:
    """Once, and what to do; nothing raises."""
    with Memcached() as server:
        pass
    location = server.location if kind in {"memcached", "ours"} else f"redis://{server.location}/0"
    use_caches(default={**cache_config(kind, server=server), "LOCATION": location})

    found = {each.question: each for each in examine_caches(["default"], lambda _: None)}

    assert ("wrong", True) == (found["Does it answer?"].state, bool(found["Does it answer?"].advice))
    assert "Does its server answer?" not in found


def test_one_of_several_servers_that_is_gone_is_told(use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """Each server has some of the keys that are written."""
    with Memcached() as gone:
        pass
    entry = cache_config("ours")
    use_caches(default={**entry, "LOCATION": [entry["LOCATION"], gone.location]})

    found = list(examine_caches(["default"], lambda _: None))

    assert [gone.location] == [
        each.subject.rpartition(" ")[2] for each in found if each.question == "Does its server answer?"
    ]
    assert "wrong" == next(each.state for each in found if each.question == "Does it answer?")


class Proxy(Relay):
    """Stands before a memcached, as twemproxy does: it closes the connection at a command that it does not know."""

    async def _carry_requests(
        self,
        requests: asyncio.StreamReader,
        client: asyncio.StreamWriter,  # noqa: ARG002 -- as others have it
        server: asyncio.StreamWriter,
    ) -> None:
        while (message := await requests.read(CHUNK)) and not message.startswith(b"stats"):
            server.write(message)

    async def _carry_answers(self, answers: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while message := await answers.read(CHUNK):
            client.write(message)


@pytest.mark.parametrize("kind", ["memcached", "ours"])
def test_proxy_that_knows_no_statistics_is_well(
    use_caches: UseCaches, cache_config: CacheConfig, memcached_server: Memcached, kind: Kind
) -> None:
    """That it does not say how it is makes it neither wrong nor out of reach."""
    with Proxy(memcached_server.port) as proxy:
        use_caches(default={**cache_config(kind), "LOCATION": f"127.0.0.1:{proxy.port}"})
        caches["default"].set("key", "value")

        found = {each.question: each for each in examine_caches(["default"], lambda _: None)}

        assert "value" == caches["default"].get("key")
    assert ("notice", "no: MemcacheUnexpectedCloseError", True) == (
        found["Does it say how it is?"].state,
        found["Does it say how it is?"].answer,
        "proxy" in found["Does it say how it is?"].advice,
    )
    assert "Does its server answer?" not in found


@pytest.mark.parametrize("kind", ["redis", "our redis"])
def test_redis_whose_user_may_not_ask_is_well(use_caches: UseCaches, cache_config: CacheConfig, kind: Kind) -> None:
    """A hosting company may permit no INFO."""
    with Redis("--user", "ann", "on", ">secret", "~*", "+@all", "-info") as server:
        location = server.location.replace("//", "//ann:secret@")
        use_caches(default={**cache_config(kind, server=server), "LOCATION": location})

        found = {each.question: each for each in examine_caches(["default"], lambda _: None)}

    assert ("notice", True) == (
        found["Does it say how it is?"].state,
        found["Does it say how it is?"].answer.startswith("no: NoPermissionError"),
    )


def test_server_that_refuses_is_not_to_be_started(use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """What it refuses says what to do; an invalidation that it refuses has opened the breaker, and no failure."""

    @cached_query(name="diagnosis.refused")
    def refused() -> int:
        return 1

    with Redis("--maxmemory", "1") as server:
        use_caches(default=cache_config("our redis", server=server))
        refused.invalidate()

        found = {each.question: each for each in examine_caches(["default"], lambda _: None)}

    assert ("no: OutOfMemoryError", "It is there, and refuses") == (
        found["Does it answer?"].answer.partition(": command")[0],
        found["Does it answer?"].advice.partition(":")[0],
    )
    assert (
        "no, its circuit breaker is open, as an invalidation was not acknowledged"
        == (found["Does this process use it?"].answer.partition(", and")[0])
    )


def test_node_of_a_cluster_is_not_to_be_started(use_caches: UseCaches, clock: Clock) -> None:
    """Another server is the remedy."""
    use_caches(default="faulty")
    with faulty(raises=redis.exceptions.ClusterCrossSlotError("CROSSSLOT")):
        found = {each.question: each for each in examine_caches(["default"], clock.sleep)}

    assert "Use a Redis without cluster mode" == found["Does it answer?"].advice.partition(",")[0]


def test_memcached_that_evicts_is_told(use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """Its memory is too small for what it is given."""
    with Memcached("-m", "2") as server:
        use_caches(default=cache_config("ours", server=server))
        for number in range(300):
            caches["default"].set(str(number), b"x" * 20_000)

        found = {each.question: each for each in examine_caches(["default"], lambda _: None)}

    finding = found["Does it keep what it is given?"]
    assert ("notice", True) == (finding.state, " keys evicted in " in finding.answer)
    assert "Give it more memory (-m)" in finding.advice


@pytest.mark.parametrize("kind", ["redis", "our redis"])
def test_replica_is_told(use_caches: UseCaches, cache_config: CacheConfig, redis_server: Redis, kind: Kind) -> None:
    """It refuses writes."""
    with Redis("--replicaof", "127.0.0.1", str(redis_server.port)) as server:
        use_caches(default=cache_config(kind, server=server))

        found = {each.question: each for each in examine_caches(["default"], lambda _: None)}

    assert ("wrong", "no, a replica; its link to the primary is") == (
        found["Is it the primary?"].state,
        found["Is it the primary?"].answer.rpartition(" ")[0],
    )
    assert "wrong" == found["Does it answer?"].state


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        (LocMemCache("x", {}), []),
        (
            SimpleNamespace(client=SimpleNamespace(get_client=lambda **_: Talking())),
            ["10.0.0.1:6379", {"used_memory": "7"}],
        ),
        (
            SimpleNamespace(client=SimpleNamespace(get_client=lambda **_: ByName())),
            ["the-primary", {"used_memory": "7"}],
        ),
        (SimpleNamespace(client=SimpleNamespace(get_client=lambda **_: 1 / 0)), ["", {}]),
    ],
    ids=["memory", "django-redis", "Sentinel", "failing"],
)
def test_servers_of_other_backends(cache: Any, expected: list[Any]) -> None:
    """What has no server says nothing; django-redis offers a client of redis-py."""
    assert expected == [part for report in ask_servers(cache) for part in (report.name, dict(report.facts))]


class Talking:
    """A client of redis-py, on a server that refuses CONFIG."""

    connection_pool = SimpleNamespace(connection_kwargs={"host": "10.0.0.1"})

    def info(self) -> dict[str, int]:
        """Return what the server says."""
        return {"used_memory": 7}

    def config_get(self, _name: str) -> dict[str, str]:
        """Be refused."""
        raise PermissionError


class ByName(Talking):
    """A client of ours, of a service that Sentinels know."""

    connection_pool = SimpleNamespace(connection_kwargs={})
    server = SimpleNamespace(name="the-primary")


def test_servers_of_pylibmc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client lists the servers with what they say."""
    from django.core.cache.backends import memcached

    class Cache:
        _cache = SimpleNamespace(get_stats=lambda: [(b"10.0.0.1:11211 (0)", {b"bytes": b"7"})])

    monkeypatch.setattr("cachedeco.diagnosis.servers.PyLibMCCache", Cache)
    cache: Any = Cache()

    [report] = ask_servers(cache)

    assert memcached.PyLibMCCache is not Cache
    assert ("10.0.0.1:11211 (0)", {"bytes": "7"}) == (report.name, report.facts)
