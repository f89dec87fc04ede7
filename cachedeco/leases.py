"""
Leases: between processes, one caller computes and the others know.

A lease is a key in the cache, taken with `add`, with an owner and a lifetime: a holder that dies is replaced. Its name
tells the entry, the stamp, and the entry that is to be replaced: an invalidation begins a new one, and so does each
timeout. After Facebook's leases (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, 3.2.1), which the
server itself would hand out.

At the end the holder writes over it how it ended, for a while: who has looked for the entry before it was stored, and
is late with its `add`, must not compute once more; and where nothing was stored nobody is to wait in a row for others
who store nothing either.
"""

from functools import partial
from hashlib import blake2b
from os import urandom
from random import uniform
from time import monotonic, time
from typing import Any, Final, Literal, NamedTuple

from cachedeco.computing import Call, Landing, is_servable, served_old, standing
from cachedeco.entries import Stamp
from cachedeco.keeping import looked_up, stamped
from cachedeco.nesting import note
from cachedeco.steps import Pause, Stepping, Value
from cachedeco.store import Store, fit

# How it ended: what there is to store is stored; or the computation has raised, and its old value is served on.
LANDED: Final = b"landed"
FAILED: Final = b"failed"
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


class Lease(NamedTuple):
    """A claim to compute one entry under one stamp."""

    store: Store
    key: str
    owner: bytes
    lifetime: float  #: seconds

    def take(self) -> bool:
        """Take it; False where another has it, or had it lately, or where the cache can't be asked."""
        return self.store.add(self.key, self.owner, self.lifetime)

    def end(self, mark: Literal[b"landed", b"failed"] | None) -> None:
        """Say how it ended; with None, give it back as if nobody had had it."""
        if mark is None:
            self.store.delete(self.key)
        else:
            self.store.set(self.key, mark, MARK_SECONDS)


def lease_of(call: Call, stamp: Stamp) -> Lease:
    """Return the lease for a computation under a stamp, of the tokens that the call itself depends on."""
    entry = call.entry
    replaced = "" if entry is None else repr(entry.expires)
    told = b"".join(stamp) + replaced.encode()
    return lease_named(call.terms.store, call.keys[0], told, None if entry is None else entry.seconds)


def lease_named(store: Store, key: str, told: bytes, seconds: float | None) -> Lease:
    """
    Return the lease of a name.

    Args:
        store: The cache.

        key: That of the entry, or of the first of several.

        told: What else tells the computation from others of the same key.

        seconds: What it took the last time; None where that is not known.
    """
    lifetime = USUAL_LIFETIME
    if seconds is not None:
        lifetime = min(max(SHORTEST_LIFETIME, LIFETIMES_OF_COMPUTATION * seconds), LONGEST_LIFETIME)
    # It ends in "@" and a digest, as no other key does.
    [fitted] = fit([f"{key}@{blake2b(told, digest_size=8).hexdigest()}"], store.room())
    return Lease(store, fitted, urandom(8), lifetime)


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
    pause, refusals = FIRST_PAUSE, 0
    while refusals < REFUSALS:
        asked, found, entry = yield partial(looked_up, call.terms, call.keys, [lease.key])
        call = call._replace(asked=asked, found=found, entry=entry)
        answer = _answered(call, stamp, lease)
        if answer is not None:
            return answer
        is_dead, is_gone = standing(call) != stamp, lease.key not in found
        if is_dead:  # by an invalidation: what the holder computes is dead at birth
            stamp = yield partial(stamped, call.terms, call.keys, found)
            if stamp is None:
                break
            lease = yield partial(lease_of, call, stamp)
        if (is_dead or is_gone) and (yield lease.take):
            return Permit(stamp, lease)
        refusals = refusals + 1 if is_gone and not is_dead else 0
        left = deadline - monotonic()
        if left <= 0:
            break
        yield Pause(min(left, pause * uniform(0.5, 1)))  # noqa: S311 -- no secret
        pause = min(pause * GROWTH, LONGEST_PAUSE)
    return Permit(stamp, None)


def _answered(call: Call, stamp: Stamp, lease: Lease) -> Permit | Arrival | None:
    """Return what entry, tokens and lease say, as they were just read, if they say anything but to go on waiting."""
    entry, found = call.entry, call.found
    if found is None:  # the cache can't be asked
        return Permit(None, None)
    if entry is not None and entry.expires > time():
        note(call.terms.store.alias, call.asked, found)
        call.terms.tell("shared", call.keys[0], seconds=entry.seconds)
        return Arrival(Value(entry.value), _landing(call))
    mark = found.get(lease.key)
    if mark == lease.owner:  # it was taken, though we were told that it was not
        return Permit(stamp, lease)
    if standing(call) != stamp:
        return None
    if mark == FAILED and is_servable(call):
        return Arrival(served_old(call), _landing(call))
    return Permit(stamp, None) if mark in {LANDED, FAILED} else None


def _landing(call: Call) -> Landing:
    """Return what those get who wait for us: they make copies of their own of the entry."""
    found: Any = call.found
    inner = {name: found[name] for name in call.asked[len(call.keys) :]}
    return Landing(found[call.keys[0]], inner, call.entry.seconds if call.entry else 0.0)
