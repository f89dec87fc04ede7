"""What other processes have to do with the leases of a call: they look for the same entry, and hold them."""

from django.core.cache import caches

from cachedeco import CachedQuery
from cachedeco.loading.computing import Miss
from cachedeco.loading.leases import Lease, lease_of
from cachedeco.loading.reading import build_stamp, read_entry


def lease_for(cached: CachedQuery[..., object], *args: object, is_takeover: bool = False) -> Lease:
    """Return the lease of another process, which looks for the entry of a call now, and misses it or finds it due."""
    policy, keys = cached._spec.resolve_call(args, {})
    asked, found, entry = read_entry(policy, keys)
    stamp = build_stamp(policy, keys, found)
    assert stamp is not None
    return lease_of(Miss(policy, keys, found, asked, entry), stamp, is_takeover=is_takeover)


def held_lease(cached: CachedQuery[..., object], *args: object) -> Lease:
    """Return the lease of another process, which has just taken it; a third one is to take over if that one dies."""
    lease = lease_for(cached, *args)
    assert lease.take()
    assert lease_for(cached, *args, is_takeover=True).take()
    return lease


def left_of(lease: Lease) -> object:
    """Return what the cache holds under a lease's key."""
    return caches["default"].get(lease.key)
