"""Caches with whole keys, each of one kind, and keys of a test's own."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.cache.backends.base import BaseCache

from tests.storage.places import Location, Wire, cache_of, release
from tests.support.backends import CACHE_TABLE
from tests.support.servers import Memcached, Redis


@pytest.fixture
def location_of(
    request: pytest.FixtureRequest, memcached_server: Memcached, redis_server: Redis, tmp_path: Path
) -> Iterator[Callable[[str], Location]]:
    """Give the function that returns a location of the servers that the tests share."""
    with Memcached() as second:
        places: dict[str, Callable[[], Location]] = {
            "ours on two servers": lambda: [memcached_server.location, second.location],
            "locmem": lambda: uuid.uuid4().hex,
            "redis": lambda: redis_server.location,
            "our redis": lambda: redis_server.location,
            "file": lambda: str(tmp_path),
            "database": lambda: CACHE_TABLE,
        }

        def location_of(kind: str) -> Location:
            if kind == "database":
                request.getfixturevalue("db")
            return places.get(kind, lambda: memcached_server.location)()

        yield location_of


@pytest.fixture
def cache(location_of: Callable[[str], Location], kind: str) -> Iterator[BaseCache]:
    """Give a cache of the kind that the test is for."""
    made = cache_of(kind, location_of(kind))
    yield made
    release(made)


@pytest.fixture
def key() -> Callable[[object], str]:
    """Give the function that returns a key of the test's own."""
    own = uuid.uuid4().hex
    return lambda name: f"{own}:1:cachedeco:{name}"


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Give the sockets of this process."""
    return Wire(monkeypatch)
