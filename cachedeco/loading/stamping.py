"""Build the stamps of new entries: before the computation, and together with the lease for it."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from cachedeco.invalidation import transactions
from cachedeco.invalidation.tables import tables
from cachedeco.invalidation.tokens import LONGEST_LIFETIME, mint
from cachedeco.loading.load import Miss
from cachedeco.loading.policy import CachePolicy
from cachedeco.storage.connections import is_isolated
from cachedeco.storage.entries import is_token, new_token, stamp_of
from cachedeco.storage.store import Item

Claim = Callable[[], Item]  # called under the stamps that are proposed; returns an item to add with the new tokens

# Reasons why an entry has no stamp.
OLD_SNAPSHOT: Final = "the transaction's snapshot may be older than the stamp"
UNISOLATED_TEST: Final = (
    "inside a TestCase whose caches are not isolated: its rollback is not seen, and the next test would get its rows"
)
UNWATCHED_TABLE: Final = "it depends on the table {}, whose writes invalidate nothing: IGNORED_TABLES names it"
NO_TOKENS: Final = "the cache has taken no tokens for it: it has failed, or keeps nothing"


def build_stamps(policy: CachePolicy, misses: Sequence[Miss], claim: Claim | None = None) -> bool:
    """
    Give misses the stamps for a computation that begins after this call; create the tokens that are absent.

    What should have a stamp and gets none is an event. A *claim*, a lease, is added with the new tokens, in the same
    trip.

    Returns:
        Whether the claim was added under exactly these stamps.
    """
    wanted = [miss for miss in misses if not miss.is_unstamped]
    for miss in misses:
        miss.stamp = None
    reason, is_claimed = _why_none(policy) if wanted else "", False
    if not reason:
        reason, readable = NO_TOKENS, [miss for miss in wanted if miss.found.raw is not None]
        is_claimed = bool(readable) and _fill_in(policy, readable, claim)
        if policy.tables is not None and not all(map(_has_function_token, readable)):
            policy.tables.is_loaded = False  # the list of them may be lost, too
    for miss in wanted:
        if miss.stamp is None:
            policy.emit_unstored(miss.key, reason)
    return is_claimed


def _has_function_token(miss: Miss) -> bool:
    return miss.found.keys[2] in (miss.found.raw or {})


def _why_none(policy: CachePolicy) -> str:
    """Return why there can be no stamp, though all tokens are there; empty if there can be one."""
    # Of these tables no write would end an entry.
    ignored = policy.declared & tables().ignored if policy.declared else frozenset()
    if ignored:
        reason = UNWATCHED_TABLE.format(min(ignored))
        policy.advice.give_never_stored(reason)
        return reason
    reads_tables = policy.tables is not None or policy.declared
    if reads_tables and transactions.any_in_test() and not is_isolated():
        return UNISOLATED_TEST
    return OLD_SNAPSHOT if transactions.snapshot_may_be_old() else ""


def _fill_in(policy: CachePolicy, misses: Sequence[Miss], claim: Claim | None) -> bool:
    """Give stamps to misses whose tokens could be read; tell whether the claim was added under these."""
    fresh: dict[str, Item] = {}  # new tokens, by key, for those that misses lack
    lacking: list[str] = []  # their keys, once for each miss
    replaced: set[str] = set()  # keys under which something else lies
    unfinished = [miss for miss in misses if not miss.tokens]
    for miss in misses:
        miss.stamp = miss.tokens
    for miss in unfinished:
        keys: Sequence[str] = miss.found.keys
        raw: Any = miss.found.raw or {}
        lifetimes = {keys[1]: policy.lifetime, keys[2]: None}  # of the call's own token, and of that of all calls
        missing = [key for key in keys[1:] if not is_token(raw.get(key))]
        lacking += missing
        replaced.update(key for key in missing if key in raw)
        for key in missing:
            if key not in fresh:
                fresh[key] = (key, new_token(), lifetimes.get(key, LONGEST_LIFETIME))
        miss.stamp = tuple([fresh[key][1] if key in missing else raw[key] for key in keys[1:]])
    if not fresh and claim is None:
        return False
    # Where each `add` is a trip, tokens that the calls do not share take one trip for all. Such a token may replace
    # that of another caller: his entry is dead at birth, which costs a miss. It is new, so it revives no old entry.
    if fresh and not policy.store.pipelines:
        replaced |= {key for key, number in Counter(lacking).items() if number < len(misses)}
    tokens, is_claimed = mint(policy.store, list(fresh.values()), replaced, [claim()] if claim else ())
    for miss in unfinished if not is_claimed else ():
        keys, raw = miss.found.keys[1:], miss.found.raw or {}
        miss.stamp = stamp_of(keys, {key: tokens.get(key, raw.get(key)) for key in keys})
    return is_claimed
