"""Mode "off": no cache server, and no client of one."""

import asyncio
from collections.abc import Callable
from typing import NoReturn

import pytest
from django.core.cache import BaseCache
from django.db import transaction
from pytest_django import Settings

from cachedeco import MISSING, Namespace, bypass, cached_query, mode
from tests.support.backends import Commands


class Unusable(BaseCache):
    """A cache that can't even be made, as one whose client library is not installed."""

    def __init__(self, *_: object) -> None:
        """Raise."""
        message = "the cache was touched"
        raise AssertionError(message)


def _raise(*_: object, **__: object) -> NoReturn:
    message = "the cache was touched"
    raise AssertionError(message)


class Untouchable(BaseCache):
    """A cache that can be made, and then fails at each command."""

    def __init__(self, _location: object, params: dict[str, object]) -> None:
        """Be made."""
        super().__init__(params)


for _name in vars(BaseCache):
    # Django closes every cache between tests.
    if not _name.startswith("_") and _name != "close" and callable(getattr(BaseCache, _name)):
        setattr(Untouchable, _name, _raise)


@cached_query(namespace="number:{number}", vary=lambda: 1 // 0)
def double(number: int) -> int:
    """Return twice the number; what it varies on can't be told here, and need not be."""
    return 2 * number


@cached_query
async def async_double(number: int) -> int:
    """Return twice the number."""
    return 2 * number


@pytest.fixture(params=[Unusable, Untouchable])
def _no_server(request: pytest.FixtureRequest, settings: Settings) -> None:
    """Run the test in mode "off", with a cache that fails when it is made, or when it is used."""
    settings.CACHEDECO = {"MODE": "off"}
    settings.CACHES = {"default": {"BACKEND": f"tests.runtime.test_mode_off.{request.param.__name__}"}}


WAYS: dict[str, tuple[object, Callable[[], object]]] = {
    "call": (6, lambda: double(3)),
    "refresh": (6, lambda: double.refresh(3)),
    "peek": (MISSING, lambda: double.peek(3)),
    "set": (None, lambda: double.call(3).set(7)),
    "invalidate": (None, lambda: double.invalidate(3)),
    "invalidate_all": (None, double.invalidate_all),
    "uncached": (6, lambda: double.uncached(3)),
    "namespace": (None, lambda: Namespace("number", 3).invalidate()),
    "async call": (6, lambda: asyncio.run(async_double(3))),
    "arefresh": (6, lambda: asyncio.run(async_double.arefresh(3))),
    "arefresh of sync": (6, lambda: asyncio.run(double.arefresh(3))),
    "apeek": (MISSING, lambda: asyncio.run(async_double.apeek(3))),
    "aset": (None, lambda: asyncio.run(async_double.call(3).aset(7))),
    "ainvalidate": (None, lambda: asyncio.run(async_double.ainvalidate(3))),
    "ainvalidate_all": (None, lambda: asyncio.run(async_double.ainvalidate_all())),
    "async namespace": (None, lambda: asyncio.run(Namespace("number", 3).ainvalidate())),
}
EVERY_WAY = pytest.mark.parametrize(("expected", "way"), WAYS.values(), ids=WAYS)


@EVERY_WAY
@pytest.mark.usefixtures("_no_server")
def test_off_touches_no_cache(expected: object, way: Callable[[], object]) -> None:
    """For each verb of a function in mode "off", its cache is neither made nor used."""
    assert expected == way()


@EVERY_WAY
@pytest.mark.usefixtures("_no_server")
def test_off_touches_no_cache_when_bypassed(expected: object, way: Callable[[], object]) -> None:
    """Code that bypasses the cache in mode "off" touches no cache either."""
    with bypass():
        assert expected == way()


@EVERY_WAY
@pytest.mark.usefixtures("_no_server")
@pytest.mark.django_db(transaction=True)
def test_off_touches_no_cache_at_commit(expected: object, way: Callable[[], object]) -> None:
    """Nothing is left for the commit in mode "off"."""
    with transaction.atomic():
        assert expected == way()


@pytest.mark.usefixtures("_no_server")
def test_on_touches_what_off_does_not() -> None:
    """The control: in mode "on" the same call does ask what it varies on."""
    with mode("on"), pytest.raises((ZeroDivisionError, AssertionError)):
        double(3)


def test_off_sends_no_command(settings: Settings, commands: Commands) -> None:
    """In mode "off" no command reaches a cache that works."""
    settings.CACHEDECO = {"MODE": "off"}

    for _, way in WAYS.values():
        way()

    assert [] == commands
