"""The rooms of the backend: imports run downwards, and who does not use it does not pay for it."""

import ast
from pathlib import Path

import pytest

from cachedeco import backends
from tests.house.test_imports import imported
from tests.house.test_public_names import output_of

# From the ground up.
ROOMS = [
    *("defaults", "writes", "server", "common", "serializers"),
    *("errors", "pickles", "pool", "options", "ring", "memcached"),
]
PACKAGE = Path(backends.__file__).parent
SOURCES = {path.stem: path.read_text() for path in PACKAGE.glob("*.py") if path.stem != "__init__"}

rooms = pytest.mark.parametrize("room", ROOMS)

WITHOUT_PYMEMCACHE = """
import sys
sys.modules["pymemcache"] = None
import cachedeco, cachedeco.checks, cachedeco.backends
from django.conf import settings
settings.configure(CACHES={"default": {"BACKEND": "cachedeco.backends.memcached.MemcachedCache"}})
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


def test_cachedeco_does_without_pymemcache() -> None:
    """It is an optional extra, and Django says what is missing where the backend is used."""
    printed = output_of(WITHOUT_PYMEMCACHE)

    assert "Could not find backend 'cachedeco.backends.memcached.MemcachedCache'" in printed
    assert "pymemcache" in printed
