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

from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import blake2b
from os import urandom
from random import uniform
from time import monotonic, time
from typing import Any, Final, Literal, NamedTuple

from cachedeco.loading.effects import EffectFlow, Pause
from cachedeco.loading.found import Found, record_found
from cachedeco.loading.load import Load
from cachedeco.loading.lookup import look_up
from cachedeco.loading.materializing import Values
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.results import FlightResult
from cachedeco.loading.serving import may_replace_errors, serve_each
from cachedeco.loading.stamping import Stamps, build_stamps
from cachedeco.storage.cache_keys import lease_key
from cachedeco.storage.entries import Stamp, serialized_value
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


def lease_of(load: Load, stamps: Stamps, *, is_takeover: bool = False) -> Lease:
    """Return the lease for a computation under these stamps, of the tokens that the calls themselves depend on."""
    several = list(load.misses.values())
    known = [found.entry.seconds for found in several if found.entry is not None]
    lifetime = USUAL_LIFETIME
    if len(known) == len(several):
        lifetime = min(max(SHORTEST_LIFETIME, LIFETIME_FACTOR * sum(known)), LONGEST_LIFETIME)
    replaced = b"".join([_replaced(found, stamps[each]) for each, found in load.misses.items()])
    digest = blake2b(b"%a %b" % (is_takeover, replaced), digest_size=8).hexdigest()
    return Lease(load.policy.store, lease_key(several[0].key, digest), urandom(8), lifetime, is_takeover)


def _replaced(found: Found, stamp: Stamp | None) -> bytes:
    """Return what tells the computation of one entry from any other."""
    expires = found.entry and found.entry.expires
    # A dead entry still names its nested tokens: an invalidation of a nested call is not in the stamp.
    nested, size = list(found.nested_tokens.values()), stamp and len(stamp)
    return b"%b %a %a %a %b\n" % (found.key.encode(), expires, nested, size, b"".join(stamp or ()))


def is_held(load: Load) -> bool:
    """Tell whether a caller, perhaps of another process, holds the lease for a load, as it was read."""
    stamps: Stamps = {each: found.tokens or None for each, found in load.misses.items()}
    if None in stamps.values():  # the tokens are yet to be made, so no other caller knows them
        return False
    key = lease_of(load, stamps).key
    return (load.policy.store.get_many([key]) or {}).get(key, STORED) not in {STORED, FAILED}


# --- wait for the holder ---


class Acquired(NamedTuple):
    """What is left to compute, after other processes have computed."""

    load: Load
    stamps: Stamps  #: those of the new entries
    lease: Lease | None  #: None: compute without holding the lease
    values: Values  #: computed by others
    results: dict[str, FlightResult]  #: of these, for followers


def claim_stamps(load: Load, held: Held) -> Acquired:
    """
    Return a load with the stamps of new entries, and the lease for them: it is taken if it is among those held.

    Creates absent tokens and takes the lease in one trip. The lease is named by the stamps as proposed. If all new
    tokens win, no other caller can know these stamps; if one is refused, the lease counts for nothing and times out.
    """

    def claim(stamps: Stamps) -> Item:
        held.append(lease_of(load, stamps))
        return held[0].item

    stamps, is_taken = build_stamps(load.policy, load.misses, load.unstamped, claim)
    if is_taken:
        return Acquired(load, stamps, held[0], {}, {})
    proposed = held.copy()
    held.clear()
    if not any(stamp is not None for stamp in stamps.values()):
        return Acquired(load, stamps, None, {}, {})
    lease = lease_of(load, stamps)
    if proposed and proposed[0].key == lease.key:
        lease = proposed[0]  # with its owner: the `add` may have succeeded, although it reported failure
    return Acquired(load, stamps, lease, {}, {})


def wait_for_holder(acquired: Acquired, lease: Lease, held: Held, deadline: float) -> EffectFlow[Acquired]:
    """
    Poll the cache for the entries of a lease's holder, or take the lease, at most until the deadline.

    Always terminates: with entries, or with permission to compute (possibly without holding the lease).
    """
    pauses, failed_adds = pauses_until(deadline), 0
    while True:
        acquired, raw = yield partial(_look_for_entries, acquired, lease)
        if raw is None:
            return acquired
        acquired, following = yield partial(_next_lease, acquired, lease, raw.get(lease.key))
        if following is None:
            break
        lease = following
        if lease.key in raw:
            failed_adds = 0
        elif (yield partial(held.take, lease)):
            return acquired._replace(lease=lease)
        else:
            failed_adds += 1
        if failed_adds == MOST_FAILED_ADDS:
            break
        if not lease.is_takeover and 0 < deadline - monotonic() <= (1 - TAKEOVER_FRACTION) * acquired.load.policy.wait:
            # The holder may be dead. Promote one caller now, or all of them time out, and compute, at the same time.
            lease = yield partial(lease_of, acquired.load, acquired.stamps, is_takeover=True)
            continue
        pause = next(pauses, None)
        if pause is None:
            break
        yield pause
    return acquired._replace(lease=None)


def pauses_until(deadline: float) -> Iterator[Pause]:
    """Yield the pauses between two polls: exponential backoff with jitter, until the deadline."""
    seconds = FIRST_POLL
    while (remaining := deadline - monotonic()) > 0:
        yield Pause(min(remaining, seconds * uniform(0.5, 1)))
        seconds = min(seconds * POLL_GROWTH, LONGEST_POLL)


def _look_for_entries(acquired: Acquired, lease: Lease) -> tuple[Acquired, Mapping[str, object] | None]:
    """Look the entries up again; return what is left, and the values that were read: None if the wait is over."""
    load, stamps, _, values, results = acquired
    policy = load.policy
    again = look_up(policy, [found.keys for found in load.misses.values()], [lease.key])
    raw = again[0].raw
    load = load._replace(misses=dict(zip(load.misses, again, strict=True)))
    if raw is None:
        for found in load.misses.values():
            policy.emit("unstored", found.key, reason="the cache could not be asked")
        return Acquired(load, dict.fromkeys(load.misses), None, values, results), None
    load = take_fresh(load, values, results)
    if load.misses and raw.get(lease.key) == FAILED and may_replace_errors(policy, load.misses.values()):
        results |= {found.key: _result_of(policy, found) for found in load.misses.values()}
        values |= serve_each(policy, load.misses)
        load = load.only(set())
    if not load.misses:
        return Acquired(load, {}, None, values, results), None
    if raw.get(lease.key) == lease.owner:  # the `add` succeeded, although it reported failure
        # With the keys that the stamps are of: the function may be known to read more tables by now.
        load = acquired.load.only(load.misses.keys())
        return Acquired(load, stamps, lease, values, results), None
    return Acquired(load, {each: stamps[each] for each in load.misses}, None, values, results), raw


def take_fresh(load: Load, values: Values, results: dict[str, FlightResult]) -> Load:
    """Move the fresh entries that others have stored into the values and results; return what is left to compute."""
    policy = load.policy
    for each, found in load.misses.items():
        if found.entry is not None and found.entry.expires > time():
            record_found(policy, found)
            policy.emit("shared", found.key, seconds=found.entry.seconds)
            values[each] = found.entry.value
            results[found.key] = _result_of(policy, found)
    return load._replace(misses={each: found for each, found in load.misses.items() if each not in values})


def _next_lease(acquired: Acquired, lease: Lease, holder: object) -> tuple[Acquired, Lease | None]:
    """Return the lease to wait for; None if the holder has ended, and its entries can't be used."""
    load, stamps = acquired.load, acquired.stamps
    if any(stamp is not None and load.misses[each].tokens != stamp for each, stamp in stamps.items()):
        # An invalidation: the holder's entry for it will never be served.
        stamps, _ = build_stamps(load.policy, load.misses, {each for each, stamp in stamps.items() if stamp is None})
        acquired = acquired._replace(stamps=stamps)
        if all(stamp is None for stamp in stamps.values()):
            return acquired, None
    elif holder not in (STORED, FAILED):
        return acquired, lease
    fresh = lease_of(load, stamps, is_takeover=lease.is_takeover)
    return acquired, None if fresh.key == lease.key else fresh


def _result_of(policy: CachePolicy, found: Found) -> FlightResult:
    """Return the result for followers of an entry that was read: they load copies of their own."""
    raw: Any = found.raw
    serialized = serialized_value(policy.codec, found.key, raw[found.key])
    entry: Any = found.entry  # the caller knows that there is one
    ends = policy.stale_until(entry)
    return FlightResult(found.tokens, found.nested_tokens, serialized, entry.seconds, ends=ends)
