"""
Leases: one computation among processes, against cache stampedes.

A lease is a key in the cache, taken with `add`, with an owner and a lifetime, after which a dead holder is replaced.
Its name contains the entry's key, the stamp, and the expiry and nested tokens of the entry that it replaces: each
invalidation, of a nested call too, and each timeout begins a new lease. After Facebook's leases (Nishtala et al.,
"Scaling Memcache at Facebook", NSDI 2013, 3.2.1), which the server itself grants.

At the end the holder overwrites it with a tombstone, the outcome, for some seconds. So a caller that read before the
entry was stored, and whose `add` comes late, does not compute again; and where nothing was stored, callers do not wait
one after the other for holders that store nothing.
"""

from collections.abc import Iterator
from functools import partial
from hashlib import blake2b
from os import urandom
from random import uniform
from time import monotonic, time
from typing import Any, Final, Literal, NamedTuple

from cachedeco.loading.computing import FlightResult, Miss, is_within_max_stale, serve, tokens_as_read
from cachedeco.loading.effects import EffectFlow, Ok, Pause
from cachedeco.loading.reading import build_stamp, read_entry
from cachedeco.storage.cache_keys import shorten_keys
from cachedeco.storage.entries import Stamp, serialized_value
from cachedeco.storage.store import Store
from cachedeco.tracking.collector import record_dependency

# Tombstones: the computation has ended, its entry stored if it can be; or it raised, and the old value is served on.
STORED: Final = b"stored"
FAILED: Final = b"failed"
LeaseOutcome = Literal[b"stored", b"failed"] | None  # None: no result
# Seconds that a tombstone stays: for callers that come late, and between attempts after a failure.
OUTCOME_SECONDS: Final = 5.0
# Lifetime of a lease, after which its holder counts as dead: ten times the last computation, within bounds, in seconds.
LIFETIME_FACTOR: Final = 10
SHORTEST_LIFETIME: Final = 2.0
LONGEST_LIFETIME: Final = 30.0
USUAL_LIFETIME: Final = 10.0
# Seconds between two polls of a waiting caller: exponential backoff with jitter.
FIRST_POLL: Final = 0.005
POLL_GROWTH: Final = 1.6
LONGEST_POLL: Final = 0.1
# Failed `add`s to tolerate while the lease key is absent: a broken cache answers False to every `add`.
MOST_FAILED_ADDS: Final = 2
# After this fraction of `wait`, assume that the lease holder died and let one follower take over.
TAKEOVER_FRACTION: Final = 0.6


class Lease(NamedTuple):
    """A lease: the right to compute one entry under one stamp."""

    store: Store
    key: str
    owner: bytes
    lifetime: float  #: seconds
    stamp: Stamp
    is_takeover: bool = False  #: whether it replaces a lease whose holder may be dead

    def take(self) -> bool:
        """Take the lease; False if the key exists, as a lease or a tombstone, or if the cache failed."""
        return self.store.add(self.key, self.owner, self.lifetime)

    def end(self, outcome: LeaseOutcome) -> None:
        """Release the lease, leaving a tombstone with the outcome; with None, just delete it."""
        # If a full cache refuses the tombstone: delete the lease, or callers would wait for a holder that has ended.
        if outcome is None or not self.store.set(self.key, outcome, OUTCOME_SECONDS):
            self.store.delete(self.key)


def lease_of(miss: Miss, stamp: Stamp, *, is_takeover: bool = False) -> Lease:
    """Return the lease for a computation under a stamp, of the tokens that the call itself depends on."""
    entry, raw = miss.entry, miss.raw or {}
    # A dead entry still names its nested tokens: an invalidation of a nested call is not in the stamp.
    replaced = entry and entry.expires, [raw[name] for name in miss.entry_keys[len(miss.keys) :] if name in raw]
    fingerprint = b"".join(stamp) + repr((replaced, is_takeover)).encode()
    seconds = None if entry is None else entry.seconds
    lease = lease_named(miss.policy.store, miss.keys[0], fingerprint, seconds, stamp)
    return lease._replace(is_takeover=is_takeover)


def lease_named(store: Store, key: str, fingerprint: bytes, seconds: float | None, stamp: Stamp = ()) -> Lease:
    """
    Return the lease with this key and fingerprint.

    Args:
        store: The cache.

        key: That of the entry, or of the first of several.

        fingerprint: Distinguishes the computation from others of the same key.

        seconds: How long the last computation took; None if that is not known.

        stamp: That of the new entry, if there is one entry.
    """
    lifetime = USUAL_LIFETIME
    if seconds is not None:
        lifetime = min(max(SHORTEST_LIFETIME, LIFETIME_FACTOR * seconds), LONGEST_LIFETIME)
    # The key ends in "@" and a digest, as no other key does.
    [lease_key] = shorten_keys([f"{key}@{blake2b(fingerprint, digest_size=8).hexdigest()}"], store.key_budget())
    return Lease(store, lease_key, urandom(8), lifetime, stamp)


# --- wait for the holder ---


class Proceed(NamedTuple):
    """Permission to compute now."""

    stamp: Stamp | None  #: that of the new entry; None if none is stored
    lease: Lease | None  #: None: compute without holding the lease


class Resolved(NamedTuple):
    """Another process has computed."""

    value: Ok[Any]  #: for the caller
    flight_result: FlightResult  #: for its followers


def acquire_or_wait(miss: Miss, stamp: Stamp, deadline: float) -> EffectFlow[Proceed | Resolved]:
    """
    Take the lease, or poll the cache for its holder's entry, at most until the deadline.

    Always terminates: with an entry, or with permission to compute (possibly without holding the lease).
    """
    lease = yield partial(lease_of, miss, stamp)
    if (yield lease.take):
        return Proceed(stamp, lease)
    pauses, failed_adds = pauses_until(deadline), 0
    while True:
        entry_keys, raw, entry = yield partial(read_entry, miss.policy, miss.keys, [lease.key])
        miss = miss._replace(entry_keys=entry_keys, raw=raw, entry=entry)
        answer = _check_progress(miss, lease) or (yield from _next_lease(miss, lease))
        if not isinstance(answer, Lease):
            return answer
        lease = answer
        if lease.key in raw:
            failed_adds = 0
        elif (yield lease.take):
            return Proceed(lease.stamp, lease)
        else:
            failed_adds += 1
        if failed_adds == MOST_FAILED_ADDS:
            return Proceed(lease.stamp, None)
        if not lease.is_takeover and 0 < deadline - monotonic() <= (1 - TAKEOVER_FRACTION) * miss.policy.wait:
            # The holder may be dead. Promote one follower now, or all of them time out, and compute, at the same time.
            lease = yield partial(lease_of, miss, lease.stamp, is_takeover=True)
            continue
        pause = next(pauses, None)
        if pause is None:
            return Proceed(lease.stamp, None)
        yield pause


def pauses_until(deadline: float) -> Iterator[Pause]:
    """Yield the pauses between two polls: exponential backoff with jitter, until the deadline."""
    seconds = FIRST_POLL
    while (remaining := deadline - monotonic()) > 0:
        yield Pause(min(remaining, seconds * uniform(0.5, 1)))
        seconds = min(seconds * POLL_GROWTH, LONGEST_POLL)


def _check_progress(miss: Miss, lease: Lease) -> Proceed | Resolved | None:
    """Return how to go on, if the values just read decide it: serve, or compute. None: the holder computes still."""
    entry, raw = miss.entry, miss.raw
    if raw is None:
        miss.policy.emit("unstored", miss.keys[0], reason="the cache could not be asked")
        return Proceed(None, None)
    if entry is not None and entry.expires > time():
        record_dependency(miss.policy.store.alias, miss.entry_keys, raw)
        miss.policy.emit("shared", miss.keys[0], seconds=entry.seconds)
        return Resolved(Ok(entry.value), _flight_result(miss))
    holder = raw.get(lease.key)
    if holder == lease.owner:  # the `add` succeeded, although it reported failure
        return Proceed(lease.stamp, lease)
    if holder == FAILED and is_within_max_stale(miss):
        return Resolved(serve(miss), _flight_result(miss))
    return None


def _next_lease(miss: Miss, lease: Lease) -> EffectFlow[Lease | Proceed]:
    """Return the lease to wait for; permission to compute without one, if the holder's entry can't be used."""
    raw: Any = miss.raw
    stamp: Stamp | None = lease.stamp
    if tokens_as_read(miss) != stamp:  # an invalidation: the holder's entry will never be served
        stamp = yield partial(build_stamp, miss.policy, miss.keys, raw)
    elif raw.get(lease.key) not in (STORED, FAILED):
        return lease
    if stamp is None:
        return Proceed(None, None)
    fresh = yield partial(lease_of, miss, stamp, is_takeover=lease.is_takeover)
    return Proceed(stamp, None) if fresh.key == lease.key else fresh


def _flight_result(miss: Miss) -> FlightResult:
    """Return the result for this caller's followers, of the entry that was read: they load copies of their own."""
    raw: Any = miss.raw
    nested_tokens = {name: raw[name] for name in miss.entry_keys[len(miss.keys) :]}
    serialized = serialized_value(miss.policy.codec.serializer, raw[miss.keys[0]])
    return FlightResult(serialized, nested_tokens, miss.entry.seconds if miss.entry else 0.0)
