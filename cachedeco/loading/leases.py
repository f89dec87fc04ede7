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

from cachedeco.loading.computing import Call, Landing, is_servable, served, standing
from cachedeco.loading.effects import Pause, Stepping, Value
from cachedeco.loading.reading import looked_up, stamped
from cachedeco.storage.cache_keys import fit
from cachedeco.storage.entries import Stamp, packed_of
from cachedeco.storage.store import Store
from cachedeco.tracking.collector import note

# How it ended: what there is to store is stored; or the computation has raised, and its old value is served on.
LANDED: Final = b"landed"
FAILED: Final = b"failed"
Mark = Literal[b"landed", b"failed"] | None  # None: it came to nothing
# Seconds that it is remembered how a lease ended: for callers who are late, and between attempts after a failure.
MARK_SECONDS: Final = 5.0
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

    def end(self, mark: Mark) -> None:
        """Say how it ended; with None, give it back as if nobody had had it."""
        # A cache that is full takes no mark: then nobody is to wait for us, who have ended.
        if mark is None or not self.store.set(self.key, mark, MARK_SECONDS):
            self.store.delete(self.key)


def lease_of(call: Call, stamp: Stamp, *, is_late: bool = False) -> Lease:
    """Return the lease for a computation under a stamp, of the tokens that the call itself depends on."""
    entry, found = call.entry, call.found or {}
    # A dead entry still names the calls inside: one of those may have been invalidated, which is not in the stamp.
    replaced = entry and entry.expires, [found[name] for name in call.asked[len(call.keys) :] if name in found]
    told = b"".join(stamp) + repr((replaced, is_late)).encode()
    lease = lease_named(call.terms.store, call.keys[0], told, None if entry is None else entry.seconds, stamp)
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
    [fitted] = fit([f"{key}@{blake2b(told, digest_size=8).hexdigest()}"], store.room())
    return Lease(store, fitted, urandom(8), lifetime, stamp)


# --- to wait for the one who has it ---


class Permit(NamedTuple):
    """Compute now."""

    stamp: Stamp | None  #: that of the entry to come; None where none is to come
    lease: Lease | None  #: None where we compute without


class Arrival(NamedTuple):
    """Another process has computed."""

    value: Value[Any]  #: for the caller
    landing: Landing  #: for those who wait for the caller


def granted(call: Call, stamp: Stamp, deadline: float) -> Stepping[Permit | Arrival]:
    """
    Take the lease, or wait for what its holder computes, at most until the deadline.

    Whatever happens, this ends: by an entry, or by the permit to compute, if need be without the lease.
    """
    lease = yield partial(lease_of, call, stamp)
    if (yield lease.take):
        return Permit(stamp, lease)
    pauses, refusals = pauses_until(deadline), 0
    while True:
        asked, found, entry = yield partial(looked_up, call.terms, call.keys, [lease.key])
        call = call._replace(asked=asked, found=found, entry=entry)
        answer = _answered(call, lease) or (yield from _contended(call, lease))
        if not isinstance(answer, Lease):
            return answer
        lease = answer
        if lease.key in found:
            refusals = 0
        elif (yield lease.take):
            return Permit(lease.stamp, lease)
        else:
            refusals += 1
        if refusals == REFUSALS:
            return Permit(lease.stamp, None)
        if not lease.is_late and 0 < deadline - monotonic() <= (1 - PATIENCE) * call.terms.wait:
            # Its holder may be dead. One who computes in its place now spares all others, whose time ends together.
            lease = yield partial(lease_of, call, lease.stamp, is_late=True)
            continue
        pause = next(pauses, None)
        if pause is None:
            return Permit(lease.stamp, None)
        yield pause


def pauses_until(deadline: float) -> Iterator[Pause]:
    """Give the pauses between two looks, growing and with jitter."""
    seconds = FIRST_PAUSE
    while (left := deadline - monotonic()) > 0:
        yield Pause(min(left, seconds * uniform(0.5, 1)))  # noqa: S311 -- no secret
        seconds = min(seconds * GROWTH, LONGEST_PAUSE)


def _answered(call: Call, lease: Lease) -> Permit | Arrival | None:
    """Return what the cache, as it was just read, says of the computation, if it says anything."""
    entry, found = call.entry, call.found
    if found is None:
        call.terms.tell("unstored", call.keys[0], reason="the cache could not be asked")
        return Permit(None, None)
    if entry is not None and entry.expires > time():
        note(call.terms.store.alias, call.asked, found)
        call.terms.tell("shared", call.keys[0], seconds=entry.seconds)
        return Arrival(Value(entry.value), _landing(call))
    mark = found.get(lease.key)
    if mark == lease.owner:  # it was taken, though we were told that it was not
        return Permit(lease.stamp, lease)
    if mark == FAILED and is_servable(call):
        return Arrival(served(call), _landing(call))
    return None


def _contended(call: Call, lease: Lease) -> Stepping[Lease | Permit]:
    """Return the lease to wait for; the permit to compute without, where nothing is to come."""
    found: Any = call.found
    stamp: Stamp | None = lease.stamp
    if standing(call) != stamp:  # by an invalidation: what the holder computes is dead at birth
        stamp = yield partial(stamped, call.terms, call.keys, found)
    elif found.get(lease.key) not in (LANDED, FAILED):
        return lease
    if stamp is None:
        return Permit(None, None)
    fresh = yield partial(lease_of, call, stamp, is_late=lease.is_late)
    return Permit(stamp, None) if fresh.key == lease.key else fresh


def _landing(call: Call) -> Landing:
    """Return what those get who wait for us: they make copies of their own of the entry."""
    found: Any = call.found
    inner = {name: found[name] for name in call.asked[len(call.keys) :]}
    packed = packed_of(call.terms.shelf.form, found[call.keys[0]])
    return Landing(packed, inner, call.entry.seconds if call.entry else 0.0)
