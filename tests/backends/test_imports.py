"""The rooms of the backends: imports run downwards, and who does not use it does not pay for it."""

import ast
from pathlib import Path

import pytest

from cachedeco import backends
from tests.house.test_imports import imported
from tests.house.test_public_names import output_of

# From the ground up.
ROOMS = [
    *("options", "writes", "sockets", "exchange", "loop_connection", "loops", "server", "requests"),
    *("methods", "serializers"),
    *("memcached_errors", "memcached_pickles", "memcached_answers", "memcached_exchanges", "memcached_pool"),
    *("memcached_options", "memcached_ring", "memcached"),
    *("redis_errors", "redis_options", "redis_exchanges", "redis_pool", "redis_servers", "redis_client", "redis"),
]
PACKAGE = Path(backends.__file__).parent
SOURCES = {path.stem: path.read_text() for path in PACKAGE.glob("*.py") if path.stem != "__init__"}

rooms = pytest.mark.parametrize("room", ROOMS)

WITHOUT_CLIENT = """
import sys
sys.modules[{client!r}] = None
import cachedeco, cachedeco.checks, cachedeco.backends, cachedeco.backends.{other}
from django.conf import settings
settings.configure(CACHES={{"default": {{"BACKEND": {backend!r}}}}})
from django.core.cache import InvalidCacheBackendError, caches
try:
    caches["default"]
except InvalidCacheBackendError as error:
    print(error)
"""


def test_every_room_is_there() -> None:
    """The list names what exists."""
    assert set(ROOMS) == set(SOURCES)


@rooms
def test_imports_of_a_room_run_downwards(room: str) -> None:
    """Of the rooms here it imports what lies below it."""
    below = {f"backends.{name}" for name in ROOMS[: ROOMS.index(room)]}
    named = {name for _, name in imported(ast.parse(SOURCES[room]))}

    assert set() == {name for name in named if name.startswith("backends")} - below


@pytest.mark.parametrize(
    ("client", "backend", "other"),
    [("pymemcache", "memcached.MemcachedCache", "redis"), ("redis", "redis.RedisCache", "memcached")],
)
def test_cachedeco_does_without_a_client(client: str, backend: str, other: str) -> None:
    """Each is an optional extra: Django says what is missing where its backend is used; the other one works."""
    backend = f"cachedeco.backends.{backend}"

    printed = output_of(WITHOUT_CLIENT.format(client=client, backend=backend, other=other))

    assert f"Could not find backend '{backend}'" in printed
    assert client in printed
