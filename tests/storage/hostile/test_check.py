"""A system check tells where signatures are looked at too late."""

from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from cachedeco.backends.serializers import SignedSerde, SignedSerializer
from cachedeco.checks.caches import check_caches

KEY = "a key of the tests, long enough"
MEMCACHED = {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": "127.0.0.1:11211"}
REDIS = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:6379"}
FILE = {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": "nowhere"}
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a directory of the test's own: a file-based cache that is opened makes its directory."""
    monkeypatch.chdir(tmp_path)


class OurSerializer(SignedSerializer):
    """One that Django can make by itself."""

    def __init__(self) -> None:
        """Know the key."""
        super().__init__([KEY])


@pytest.mark.parametrize(
    ("entry", "options", "expected"),
    [
        (MEMCACHED, {}, 1),
        (MEMCACHED, {"serde": object()}, 1),
        (MEMCACHED, {"serde": SignedSerde([KEY])}, 0),
        (REDIS, {}, 1),
        (REDIS, {"serializer": "django.core.cache.backends.redis.RedisSerializer"}, 1),
        (REDIS, {"serializer": "no.such.Serializer"}, 1),
        (REDIS, {"serializer": SignedSerializer([KEY])}, 0),
        (REDIS, {"serializer": OurSerializer}, 0),
        (REDIS, {"serializer": f"{__name__}.OurSerializer"}, 0),
        (FILE, {}, 1),
        (LOCMEM, {}, 0),
    ],
)
def test_backend_that_unpickles_all_that_it_finds_is_w011(
    entry: dict[str, Any], options: dict[str, Any], expected: int, settings: Settings
) -> None:
    """To sign entries is of no use where their bytes were unpickled before."""
    settings.CACHES = {"default": {**entry, "OPTIONS": options}}
    settings.CACHEDECO = {"SIGNING_KEYS": [KEY]}

    assert expected == [message.id for message in check_caches()].count("cachedeco.W011")


def test_nothing_is_said_where_nothing_is_signed(settings: Settings) -> None:
    """Who signs nothing has decided to trust the server."""
    settings.CACHES = {"default": MEMCACHED}

    assert "cachedeco.W011" not in [message.id for message in check_caches()]
