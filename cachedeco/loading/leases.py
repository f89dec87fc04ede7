"""
Leases: one computation among processes, against cache stampedes.

A lease is a key in the cache, taken with `add`, with an owner and a lifetime, after which a dead holder is replaced.
Its name contains the entry's key, the stamp, and the expiry and nested tokens of the entry that it replaces: each
invalidation, of a nested call too, and each timeout begins a new lease. A load of several entries has one lease, since
a stampede asks for the same ids. Loads of several processes whose ids overlap may each compute the common ones.

After Facebook's leases (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, 3.2.1), which the server grants.

At the end the holder overwrites it with a tombstone, the outcome, for some seconds. So a caller that read before the
entry was stored, and whose `add` comes late, does not compute again; and where nothing was stored, callers do not wait
one after the other for holders that store nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from os import urandom
from random import uniform
from time import monotonic, time
from typing import Any, Final, Literal, NamedTuple

from cachedeco.loading.effects import EffectFlow, Pause
from cachedeco.loading.found import Found, record_found
from cachedeco.loading.load import FlightResult, Load, Miss
from cachedeco.loading.lookup import look_up
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.serving import may_replace_errors, serve_found
from cachedeco.loading.stamping import build_stamps
from cachedeco.storage.cache_keys import lease_key
from cachedeco.storage.entries import serialized_value
from cachedeco.storage.store import Item, Store

# Tombstones: the computation has ended, its entry stored if it can be; or it raised, and the old value is served on.
STORED: Final = b"stored"
FAILED: Final = b"failed"
LeaseOutcome = Literal[b"stored", b"failed"] | None  # None: no result
# Seconds that a tombstone stays: for callers that come late, and between attempts after a failure.
OUTCOME_SECONDS: Final = 5.0
# Of a tombstone that an interrupt leaves: the server has read the `add` by then. The cache makes it a second or two.
BRIEFLY: Final = 0.0
# Lifetime of a lease, after which its holder counts as dead: ten times the last computation, within bounds, in seconds.
LEASE_FACTOR: Final = 10
SHORTEST_LEASE: Final = 2.0
LONGEST_LEASE: Final = 30.0
USUAL_LEASE: Final = 10.0
# Seconds between two polls of a waiting caller: exponential backoff with jitter.
FIRST_POLL: Final = 0.005
POLL_GROWTH: Final = 1.6
LONGEST_POLL: Final = 0.1
# Failed `add`s to tolerate while the lease key is absent: a broken cache answers False to every `add`.
MOST_FAILED_ADDS: Final = 2
# After this fraction of `wait`, assume that the lease holder died and let one follower take over.
TAKEOVER_FRACTION: Final = 0.6


class Lease(NamedTuple):
    """A lease: the right to compute one load under its stamps."""

    store: Store
    key: str
    owner: bytes
    lifetime: float  #: seconds
    is_takeover: bool = False  #: whether it replaces a lease whose holder may be dead

    @property
    def item(self) -> Item:
        """What to add in order to take it."""
        return self.key, self.owner, self.lifetime

    @property
    def tombstone(self) -> Item:
        """What to write in the trip that stores the entries."""
        return self.key, STORED, OUTCOME_SECONDS

    def take(self) -> bool:
        """Take the lease; False if the key exists, as a lease or a tombstone, or if the cache failed."""
        return self.store.add_each([self.item])[0]

    def end(self, outcome: LeaseOutcome) -> None:
        """Release the lease, leaving a tombstone with the outcome; with None, just delete it."""
        # If a full cache refuses the tombstone: delete the lease, or callers would wait for a holder that has ended.
        if outcome is None or not self.store.set_each([(self.key, outcome, OUTCOME_SECONDS)])[0]:
            self.store.delete(self.key)


class Held(list[Lease]):
    """
    The leases that a caller has, or may have.

    A lease is here before its command is sent: an interrupt may come between the command and its answer, or between
    the answer and the next line of the caller, and the lease would stop all processes until it times out.
    """

    def copy(self) -> "Held":
        """Return the same leases in the hands of another thread or task."""
        return Held(self)

    def take(self, lease: Lease) -> bool:
        """Take a lease as `Lease.take()` does."""
        self.append(lease)
        if lease.take():
            return True
        self.remove(lease)  # it is another caller's
        return False

    def give_back(self) -> None:
        """
        Release the leases without an outcome: other callers may compute at once.

        Where a lease is not there, its `add` may still be on the way, on the connection that the interrupt has closed:
        it is refused as long as a tombstone has its place.
        """
        while self:
            lease = self[-1]
            if not lease.store.delete(lease.key):
                lease.store.set_each([(lease.key, STORED, BRIEFLY)])
            self.pop()


def lease_of(policy: CachePolicy, misses: Sequence[Miss], *, is_takeover: bool = False) -> Lease:
    """Return the lease for a computation under the stamps of these misses."""
    known = [miss.found.entry.seconds for miss in misses if miss.found.entry is not None]
    lifetime = USUAL_LEASE
    if len(known) == len(misses):
        lifetime = min(max(SHORTEST_LEASE, LEASE_FACTOR * sum(known)), LONGEST_LEASE)
    digest = blake2b(b"%a %b" % (is_takeover, b"".join(map(_identity_of, misses))), digest_size=8).hexdigest()
    return Lease(policy.store, lease_key(misses[0].key, digest), urandom(8), lifetime, is_takeover)


def _identity_of(miss: Miss) -> bytes:
    """Return what tells the computation of one entry from any other."""
    found, stamp = miss.found, miss.stamp
    expires = found.entry and found.entry.expires
    # A dead entry still names its nested tokens: an invalidation of a nested call is not in the stamp.
    nested, size = list(found.nested_tokens.values()), stamp and len(stamp)
    return b"%b %a %a %a %b\n" % (miss.key.encode(), expires, nested, size, b"".join(stamp or ()))


def is_held(policy: CachePolicy, misses: Sequence[Miss]) -> bool:
    """Tell whether a caller, perhaps of another process, holds the lease for some misses, as they were read."""
    for miss in misses:
        if not miss.tokens:  # they are yet to be made, so no other caller knows them
            return False
        miss.stamp = miss.tokens
    key = lease_of(policy, misses).key
    return (policy.store.get_many([key]) or {}).get(key, STORED) not in {STORED, FAILED}


def claim_stamps(load: Load, held: Held) -> Lease | None:
    """
    Give a load the stamps of its new entries, and return the lease for them: it is taken if it is among those held.

    Creates absent tokens and takes the lease in one trip. The lease is named by the stamps as proposed. If all new
    tokens win, no other caller can know these stamps; if one is refused, the lease counts for nothing and times out.

    Returns:
        The lease; None if there is no stamp: compute without one.
    """
    policy, misses = load.policy, load.misses

    def claim() -> Item:
        held.append(lease_of(policy, misses))
        return held[0].item

    if build_stamps(policy, misses, claim):
        return held[0]
    proposed = held.copy()
    held.clear()
    if all(miss.stamp is None for miss in misses):
        return None
    lease = lease_of(policy, misses)
    # With its owner: the `add` may have succeeded, although it reported failure.
    return proposed[0] if proposed and proposed[0].key == lease.key else lease


# --- wait for the holder ---


def wait_for_holder(load: Load, lease: Lease, held: Held, deadline: float) -> EffectFlow[Lease | None]:
    """
    Poll the cache for the entries of a lease's holder, or take the lease, at most until the deadline.

    Always terminates: with entries, or with permission to compute (possibly without holding the lease).

    Returns:
        The lease that was taken, if there is something left to compute.
    """
    policy, pauses, failed_adds = load.policy, pauses_until(deadline), 0
    while True:
        raw = yield partial(_look_for_entries, load.unserved, lease)
        if raw is None:
            return None
        if raw.get(lease.key) == lease.owner:  # the `add` succeeded, although it reported failure
            return lease
        misses = load.unserved.misses
        following = yield partial(_next_lease, policy, misses, lease, raw.get(lease.key))
        if following is None:
            break
        lease = following
        if lease.key in raw:
            failed_adds = 0
        elif (yield partial(held.take, lease)):
            return lease
        else:
            failed_adds += 1
        if failed_adds == MOST_FAILED_ADDS:
            break
        if not lease.is_takeover and 0 < deadline - monotonic() <= (1 - TAKEOVER_FRACTION) * policy.wait:
            # The holder may be dead. Promote one caller now, or all of them time out, and compute, at the same time.
            lease = yield partial(lease_of, policy, misses, is_takeover=True)
            continue
        pause = next(pauses, None)
        if pause is None:
            break
        yield pause
    return None


def pauses_until(deadline: float) -> Iterator[Pause]:
    """Yield the pauses between two polls: exponential backoff with jitter, until the deadline."""
    seconds = FIRST_POLL
    while (remaining := deadline - monotonic()) > 0:
        yield Pause(min(remaining, seconds * uniform(0.5, 1)))
        seconds = min(seconds * POLL_GROWTH, LONGEST_POLL)


def _look_for_entries(load: Load, lease: Lease) -> Mapping[str, object] | None:
    """Look the entries up again, and serve those that are there; return what was read: None if the wait is over."""
    policy, misses = load.policy, load.misses
    again = look_up(policy, [miss.found.keys for miss in misses], [lease.key])
    raw = again[0].raw
    if raw is None:
        for miss in misses:
            miss.stamp = None
            policy.emit_unstored(miss.key, "the cache could not be asked")
        return None
    take_fresh(policy, misses, again)
    holder, left = raw.get(lease.key), load.unserved
    if holder == lease.owner:
        # With the keys that the stamps are of: the function may be known to read more tables by now.
        return raw if left.misses else None
    for miss, found in zip(misses, again, strict=True):
        miss.look_at(found)
    if left.misses and holder == FAILED and may_replace_errors(policy, left.found):
        serve_found(left, left.found)
        for miss in left.misses:
            miss.result = _result_of(policy, miss.found)
    return raw if load.unserved.misses else None


def take_fresh(policy: CachePolicy, misses: Iterable[Miss], again: Iterable[Found]) -> None:
    """Serve the fresh entries that others have stored, and that a later look-up has found."""
    for miss, found in zip(misses, again, strict=True):
        if found.entry is not None and found.entry.expires > time():
            miss.look_at(found)
            record_found(policy, found)
            policy.emit("shared", miss.key, seconds=found.entry.seconds)
            miss.value = found.entry.value
            miss.result = _result_of(policy, found)


def _next_lease(policy: CachePolicy, misses: Sequence[Miss], lease: Lease, holder: object) -> Lease | None:
    """Return the lease to wait for; None if the holder has ended, and its entries can't be used."""
    stamped = [miss for miss in misses if miss.stamp is not None]
    if any(miss.tokens != miss.stamp for miss in stamped):
        # An invalidation: the holder's entry for it will never be served.
        build_stamps(policy, stamped)
        if all(miss.stamp is None for miss in stamped):
            return None
    elif holder not in (STORED, FAILED):
        return lease
    fresh = lease_of(policy, misses, is_takeover=lease.is_takeover)
    return None if fresh.key == lease.key else fresh


def _result_of(policy: CachePolicy, found: Found) -> FlightResult:
    """Return the result for followers of an entry that was read: they load copies of their own."""
    raw: Any = found.raw
    serialized = serialized_value(policy.codec, found.key, raw[found.key])
    entry: Any = found.entry  # the caller knows that there is one
    ends = policy.stale_until(entry)
    return FlightResult(found.tokens, found.nested_tokens, serialized, entry.seconds, ends=ends)
