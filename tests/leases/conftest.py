"""Fixtures of the tests of leases: a clock, and another process that has looked for the same entry."""

from collections.abc import Callable

import pytest
from django.core.cache import caches

from cachedeco import CachedQuery
from cachedeco.computing import Call
from cachedeco.keeping import looked_up, stamped
from cachedeco.leases import Lease, lease_of
from tests.clocks import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the clock by which entries are due and callers wait."""
    clock = Clock()
    clock.install(monkeypatch)
    return clock


@pytest.fixture
def lease_for() -> Callable[..., Lease]:
    """Give the function that returns the lease of another process, which looks for the entry of a call now."""

    def lease_for(cached: CachedQuery[..., object, object], *args: object, is_late: bool = False) -> Lease:
        terms, keys = cached._recipe.located(args, {})  # noqa: SLF001 -- as the call itself
        asked, found, entry = looked_up(terms, keys)
        stamp = stamped(terms, keys, found)
        assert stamp is not None
        return lease_of(Call(terms, keys, found, asked, entry), stamp, is_late=is_late)

    return lease_for


@pytest.fixture
def held_lease(lease_for: Callable[..., Lease]) -> Callable[..., Lease]:
    """
    Give the function that returns the lease of another process, which has just taken it.

    A third process is to take over if that one dies.
    """

    def held_lease(cached: CachedQuery[..., object, object], *args: object) -> Lease:
        lease = lease_for(cached, *args)
        assert lease.take()
        assert lease_for(cached, *args, is_late=True).take()
        return lease

    return held_lease


@pytest.fixture
def leases_left() -> Callable[[Lease], object]:
    """Give the function that returns what the cache holds under a lease's key."""
    return lambda lease: caches["default"].get(lease.key)
