"""A value that is too large for its cache is told once for each function, with its size, the limit and the remedy."""

import logging
import os
import zlib
from typing import Any

import pytest
from pymemcache.exceptions import MemcacheServerError
from pymemcache.serde import compressed_serde

from cachedeco import Event, cached_query, cached_query_many, listening
from cachedeco.runtime import conf
from cachedeco.storage import breaker, writers
from tests.conftest import CacheConfig, UseCaches
from tests.support.backends import Kind
from tests.support.sides import Side, both

NOT_STORED = {"error", "unstored"}
LARGE = os.urandom(1_500_000)


@pytest.fixture(params=["memcached", "ours", "redis"])
def _small_cache(
    request: pytest.FixtureRequest,
    use_caches: UseCaches,
    cache_config: CacheConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Use a cache that takes a megabyte: as memcached, and a Redis whose limit is lower."""
    monkeypatch.setattr(writers, "LARGEST_IN_REDIS", 1_000_000)
    entry = cache_config(request.param)
    if request.param == "redis":  # the class that has a writer of its own
        entry["BACKEND"] = "django.core.cache.backends.redis.RedisCache"
    use_caches(default=entry)


@both
@pytest.mark.usefixtures("_small_cache")
def test_value_too_large_is_told_once(side: Side, caplog: pytest.LogCaptureFixture) -> None:
    """One line in the log, and the reason in each event; after a change of settings, which may mend it, once more."""
    seen: list[Event] = []

    @side.cached(name=f"large.{side.is_async}")
    def report() -> bytes:
        return LARGE

    @side.cached(name=f"large.other.{side.is_async}")
    def other() -> bytes:
        return LARGE

    with listening(seen.append), caplog.at_level(logging.WARNING, "cachedeco"):
        served = [side.call(report) for _ in range(3)]
        side.call(other)
        told = [event.kind for event in seen if event.reason and event.kind != "miss"]
        conf.forget()
        side.call(report)

    assert [LARGE] * 3 == served
    assert ["error", "unstored", "unstored", "error"] == told
    assert 3 == len(caplog.messages)
    assert all("its entry has 1.5 MB" in event.reason for event in seen if event.reason and event.kind != "miss")
    for text in ("Memcached takes 1 MB", "-I", "Redis 512 MB", "serializer=", f"large.{side.is_async}"):
        assert text in caplog.messages[0]
    assert breaker.breakers == {}


@pytest.mark.usefixtures("_small_cache")
def test_value_too_large_among_others_is_told_and_they_are_stored() -> None:
    """The largest is told of, under its own key; the others are hits from then on."""
    seen: list[Event] = []

    @cached_query_many(over="ids")
    def reports(ids: list[int]) -> dict[int, bytes]:
        return {each: LARGE if each == 2 else b"small" for each in ids}

    with listening(seen.append):
        reports([1, 2, 3])
        reports([1, 2, 3])

    told = [(event.kind, event.key) for event in seen if event.reason and event.kind != "miss"]
    assert [("error", reports.keys_for([2])[2]), ("unstored", reports.keys_for([2])[2])] == told
    assert [1, 3] == [*reports.peek([1, 2, 3])]


@pytest.mark.parametrize("_small_cache", ["ours", "redis"], indirect=True)
@pytest.mark.usefixtures("_small_cache")
def test_each_value_that_is_refused_is_told_of() -> None:
    """The largest of them with its size. The client of Django's memcached backend does not say which were refused."""
    seen: list[Event] = []

    @cached_query_many(over="ids")
    def reports(ids: list[int]) -> dict[int, bytes]:
        return {each: LARGE + bytes(each) for each in ids}

    with listening(seen.append):
        reports([1, 2, 3])

    keys = reports.keys_for([1, 2, 3])
    told = [(event.kind, event.key) for event in seen if event.kind in NOT_STORED]
    assert [("unstored", keys[1]), ("unstored", keys[2]), ("error", keys[3])] == told


@pytest.mark.usefixtures("_small_cache")
def test_value_that_a_serializer_compresses_is_stored() -> None:
    """The remedy that the error names."""

    class Compressed:
        name = "text+zlib"

        def dumps(self, value: Any) -> bytes:
            return zlib.compress(value.encode())

        def loads(self, data: bytes) -> Any:
            return zlib.decompress(data).decode()

    @cached_query(serializer=Compressed())
    def report() -> str:
        return "row, " * 500_000

    assert report() == report.peek()


@pytest.mark.parametrize("kind", ["memcached", "ours"])
def test_value_that_the_cache_compresses_is_stored(
    kind: Kind, use_caches: UseCaches, cache_config: CacheConfig
) -> None:
    """The other remedy, for rows and all else that is pickled."""
    use_caches(default=cache_config(kind, OPTIONS={"serde": compressed_serde}))

    @cached_query
    def report() -> list[str]:
        return [f"row {number}" for number in range(200_000)]

    assert report() == report.peek()


def test_errors_of_other_clients_are_known() -> None:
    """By the words of each; what is no error of a client is none."""
    of_pylibmc = type("TooBig", (Exception,), {"__module__": "pylibmc"})()
    of_redis = type("ResponseError", (Exception,), {"__module__": "redis.exceptions"})

    assert breaker.is_too_large(of_pylibmc)
    assert breaker.is_too_large(of_redis("Protocol error: invalid bulk length"))
    assert breaker.is_too_large(MemcacheServerError(b"object too large for cache"))
    assert not breaker.is_too_large(of_redis("OOM command not allowed"))
    assert not breaker.is_too_large(ValueError("too large"))
