"""What other processes have to do with the leases of a call: they look for the same entry, and hold them."""

from collections.abc import Callable
from typing import Any

import pytest

from cachedeco import CachedQuery
from cachedeco.loading import leases
from cachedeco.loading.leases import Lease, lease_of
from cachedeco.loading.load import Miss
from cachedeco.loading.lookup import look_up
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.stamping import Claim, build_stamps
from tests.support.stored import stored


def lease_for(cached: CachedQuery[..., object], *args: object, is_takeover: bool = False) -> Lease:
    """Return the lease of another process, which looks for the entry of a call now, and misses it or finds it due."""
    policy, keys = cached._spec.resolve_call(args, {})
    miss = Miss(None, look_up(policy, [keys])[0])
    build_stamps(policy, [miss])
    assert miss.stamp is not None
    return lease_of(policy, [miss], is_takeover=is_takeover)


def take_apart(patch: pytest.MonkeyPatch, take: Callable[[Lease], bool]) -> None:
    """Have each lease taken by a command of its own, by this function, and not together with new tokens."""
    build = leases.build_stamps

    def build_apart(policy: CachePolicy, misses: Any, claim: Claim | None = None) -> bool:
        build(policy, misses)
        if claim is None or all(miss.stamp is None for miss in misses):
            return False
        key, owner, lifetime = claim()
        return Lease(policy.store, key, owner, lifetime or 0.0).take()

    patch.setattr(leases, "build_stamps", build_apart)
    patch.setattr(Lease, "take", take)


def held_lease(cached: CachedQuery[..., object], *args: object) -> Lease:
    """Return the lease of another process, which has just taken it; a third one is to take over if that one dies."""
    lease = lease_for(cached, *args)
    assert lease.take()
    assert lease_for(cached, *args, is_takeover=True).take()
    return lease


def left_of(lease: Lease) -> object:
    """Return what the cache holds under a lease's key."""
    return stored().get(lease.key)
