"""A server that others can write to, and our defences."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_django import Settings

from cachedeco.backends.serializers import SignedSerde, SignedSerializer
from cachedeco.tracking import nested_names
from tests.conftest import CacheConfig, UseCaches
from tests.storage.hostile import raw_servers as rawness
from tests.storage.hostile.raw_servers import Raw, RawMemcached, RawRedis
from tests.support.backends import Kind

KEY = "the key of the tests, and of nobody else"

Defend = Callable[..., None]


@pytest.fixture(params=["memcached", "redis"])
def shared_kind(request: pytest.FixtureRequest) -> Kind:
    """Run the test on each kind of server."""
    kind: Kind = request.param
    return kind


@pytest.fixture
def raw(shared_kind: Kind, request: pytest.FixtureRequest) -> Iterator[Raw]:
    """Give the server's memory."""
    server = request.getfixturevalue(f"{shared_kind}_server")
    memory = RawMemcached(server.port) if shared_kind == "memcached" else RawRedis(server.port)
    rawness.exploded.clear()
    yield memory
    memory.close()


@pytest.fixture
def defend(shared_kind: Kind, settings: Settings, use_caches: UseCaches, cache_config: CacheConfig) -> Defend:
    """Give the function that sets the cache up: with signatures of entries, of all else, or neither."""

    def use(*, entries: bool = True, serializer: bool = True) -> None:
        # Names of nested tokens are whole keys: calls would ask for those of an earlier example, or test, too, and
        # unpickle what was planted there where another serializer was in front of it.
        nested_names.forget()
        options: dict[str, Any] = {}
        if serializer:
            ours = {"memcached": ("serde", SignedSerde([KEY])), "redis": ("serializer", SignedSerializer([KEY]))}
            options = dict([ours[shared_kind]])
        use_caches(default=cache_config(shared_kind, OPTIONS=options))
        settings.CACHEDECO = {"SIGNING_KEYS": [KEY]} if entries else {}

    return use
