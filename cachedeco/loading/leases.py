"""
Leases: between processes, one caller computes and the others know.

A lease is a key in the cache, taken with `add`, with an owner and a lifetime: a holder that dies is replaced. Its name
tells the entry, the stamp, and what is to be replaced: an invalidation begins a new one, of a call inside too, and so
does each timeout. After Facebook's leases (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, 3.2.1), which
the server itself would hand out.

At the end the holder writes over it how it ended, for a while: who has looked for the entry before it was stored, and
is late with its `add`, must not compute once more; and where nothing was stored nobody is to wait in a row for others
who store nothing either.
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
from cachedeco.storage.entries import Stamp, packed_of
from cachedeco.storage.store import Store
from cachedeco.tracking.collector import record_dependency

# How it ended: what there is to store is stored; or the computation has raised, and its old value is served on.
STORED: Final = b"landed"
FAILED: Final = b"failed"
LeaseOutcome = Literal[b"landed", b"failed"] | None  # None: it came to nothing
# Seconds that it is remembered how a lease ended: for callers who are late, and between attempts after a failure.
OUTCOME_SECONDS: Final = 5.0
# A holder that lives longer than this is taken for dead: ten times what the last computation took, within bounds.
LIFETIMES_OF_COMPUTATION: Final = 10
SHORTEST_LIFETIME: Final = 2.0
LONGEST_LIFETIME: Final = 30.0
USUAL_LIFETIME: Final = 10.0
# Seconds between two looks of a caller who waits: growing, and with jitter.
FIRST_PAUSE: Final = 0.005
GROWTH: Final = 1.6
LONGEST_PAUSE: Final = 0.1
# How often a lease may be refused that is not there: a cache that is not well says "no" to each `add`.
REFUSALS: Final = 2
# For this fraction of their wait callers take the holder for alive. Then one of them takes a lease of its own.
PATIENCE: Final = 0.6


class Lease(NamedTuple):
    """A claim to compute one entry under one stamp."""

    store: Store
    key: str
    owner: bytes
    lifetime: float  #: seconds
    stamp: Stamp
    is_late: bool = False  #: taken because the holder of the other one may be dead

    def take(self) -> bool:
        """Take it; False where another has it, or had it lately, or where the cache can't be asked."""
        return self.store.add(self.key, self.owner, self.lifetime)

    def end(self, mark: LeaseOutcome) -> None:
        """Say how it ended; with None, give it back as if nobody had had it."""
        # A cache that is full takes no mark: then nobody is to wait for us, who have ended.
        if mark is None or not self.store.set(self.key, mark, OUTCOME_SECONDS):
            self.store.delete(self.key)


def lease_of(call: Miss, stamp: Stamp, *, is_late: bool = False) -> Lease:
    """Return the lease for a computation under a stamp, of the tokens that the call itself depends on."""
    entry, found = call.entry, call.found or {}
    # A dead entry still names the calls inside: one of those may have been invalidated, which is not in the stamp.
    replaced = entry and entry.expires, [found[name] for name in call.asked[len(call.keys) :] if name in found]
    told = b"".join(stamp) + repr((replaced, is_late)).encode()
    lease = lease_named(call.policy.store, call.keys[0], told, None if entry is None else entry.seconds, stamp)
    return lease._replace(is_late=is_late)


def lease_named(store: Store, key: str, told: bytes, seconds: float | None, stamp: Stamp = ()) -> Lease:
    """
    Return the lease of a name.

    Args:
        store: The cache.

        key: That of the entry, or of the first of several.

        told: What else tells the computation from others of the same key.

        seconds: What it took the last time; None where that is not known.

        stamp: That of the entry to come, where there is one entry.
    """
    lifetime = USUAL_LIFETIME
    if seconds is not None:
        lifetime = min(max(SHORTEST_LIFETIME, LIFETIMES_OF_COMPUTATION * seconds), LONGEST_LIFETIME)
    # It ends in "@" and a digest, as no other key does.
    [fitted] = shorten_keys([f"{key}@{blake2b(told, digest_size=8).hexdigest()}"], store.key_budget())
    return Lease(store, fitted, urandom(8), lifetime, stamp)


# --- to wait for the one who has it ---


class Proceed(NamedTuple):
    """Compute now."""

    stamp: Stamp | None  #: that of the entry to come; None where none is to come
    lease: Lease | None  #: None where we compute without


class Resolved(NamedTuple):
    """Another process has computed."""

    value: Ok[Any]  #: for the caller
    flight_result: FlightResult  #: for those who wait for the caller


def acquire_or_wait(call: Miss, stamp: Stamp, deadline: float) -> EffectFlow[Proceed | Resolved]:
    """
    Take the lease, or wait for what its holder computes, at most until the deadline.

    Whatever happens, this ends: by an entry, or by the permit to compute, if need be without the lease.
    """
    lease = yield partial(lease_of, call, stamp)
    if (yield lease.take):
        return Proceed(stamp, lease)
    pauses, refusals = pauses_until(deadline), 0
    while True:
        asked, found, entry = yield partial(read_entry, call.policy, call.keys, [lease.key])
        call = call._replace(asked=asked, found=found, entry=entry)
        answer = _check_progress(call, lease) or (yield from _next_lease(call, lease))
        if not isinstance(answer, Lease):
            return answer
        lease = answer
        if lease.key in found:
            refusals = 0
        elif (yield lease.take):
            return Proceed(lease.stamp, lease)
        else:
            refusals += 1
        if refusals == REFUSALS:
            return Proceed(lease.stamp, None)
        if not lease.is_late and 0 < deadline - monotonic() <= (1 - PATIENCE) * call.policy.wait:
            # Its holder may be dead. One who computes in its place now spares all others, whose time ends together.
            lease = yield partial(lease_of, call, lease.stamp, is_late=True)
            continue
        pause = next(pauses, None)
        if pause is None:
            return Proceed(lease.stamp, None)
        yield pause


def pauses_until(deadline: float) -> Iterator[Pause]:
    """Give the pauses between two looks, growing and with jitter."""
    seconds = FIRST_PAUSE
    while (left := deadline - monotonic()) > 0:
        yield Pause(min(left, seconds * uniform(0.5, 1)))
        seconds = min(seconds * GROWTH, LONGEST_PAUSE)


def _check_progress(call: Miss, lease: Lease) -> Proceed | Resolved | None:
    """Return what the cache, as it was just read, says of the computation, if it says anything."""
    entry, found = call.entry, call.found
    if found is None:
        call.policy.tell("unstored", call.keys[0], reason="the cache could not be asked")
        return Proceed(None, None)
    if entry is not None and entry.expires > time():
        record_dependency(call.policy.store.alias, call.asked, found)
        call.policy.tell("shared", call.keys[0], seconds=entry.seconds)
        return Resolved(Ok(entry.value), _flight_result(call))
    mark = found.get(lease.key)
    if mark == lease.owner:  # it was taken, though we were told that it was not
        return Proceed(lease.stamp, lease)
    if mark == FAILED and is_within_max_stale(call):
        return Resolved(serve(call), _flight_result(call))
    return None


def _next_lease(call: Miss, lease: Lease) -> EffectFlow[Lease | Proceed]:
    """Return the lease to wait for; the permit to compute without, where nothing is to come."""
    found: Any = call.found
    stamp: Stamp | None = lease.stamp
    if tokens_as_read(call) != stamp:  # by an invalidation: what the holder computes is dead at birth
        stamp = yield partial(build_stamp, call.policy, call.keys, found)
    elif found.get(lease.key) not in (STORED, FAILED):
        return lease
    if stamp is None:
        return Proceed(None, None)
    fresh = yield partial(lease_of, call, stamp, is_late=lease.is_late)
    return Proceed(stamp, None) if fresh.key == lease.key else fresh


def _flight_result(call: Miss) -> FlightResult:
    """Return what those get who wait for us: they make copies of their own of the entry."""
    found: Any = call.found
    inner = {name: found[name] for name in call.asked[len(call.keys) :]}
    packed = packed_of(call.policy.codec.serializer, found[call.keys[0]])
    return FlightResult(packed, inner, call.entry.seconds if call.entry else 0.0)
