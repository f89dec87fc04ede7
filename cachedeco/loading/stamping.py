"""Build the stamps of new entries: before the computation, and together with the lease for it."""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, Final

from cachedeco.invalidation import transactions
from cachedeco.invalidation.tables import tables
from cachedeco.invalidation.tokens import LONGEST_LIFETIME, mint
from cachedeco.loading.found import Found
from cachedeco.loading.policy import CachePolicy
from cachedeco.storage.connections import is_isolated
from cachedeco.storage.entries import Stamp, is_token, new_token, stamp_of
from cachedeco.storage.store import Item

Stamps = dict[Hashable, Stamp | None]  # by id; None if no entry is stored
Claim = Callable[[Stamps], Item]  # takes the stamps that are proposed, and returns an item to add with the new tokens

# Reasons why an entry has no stamp.
OLD_SNAPSHOT: Final = "the transaction's snapshot may be older than the stamp"
UNISOLATED_TEST: Final = (
    "inside a TestCase whose caches are not isolated: its rollback is not seen, and the next test would get its rows"
)
UNWATCHED_TABLE: Final = "it depends on the table {}, whose writes invalidate nothing: IGNORED_TABLES names it"
NO_TOKENS: Final = "the cache has no tokens for it"


def build_stamps(
    policy: CachePolicy,
    calls: Mapping[Hashable, Found],
    unstamped: Collection[Hashable] = (),
    claim: Claim | None = None,
) -> tuple[Stamps, bool]:
    """
    Return the stamps for a computation that begins after this call; create the tokens that are absent.

    Args:
        policy: That of the function.

        calls: What a look-up has found, by id.

        unstamped: Ids that get no stamp, which is no event.

        claim: If it is given: an item to add with the new tokens, in the same trip. A lease.

    Returns:
        The stamps by id, None for those that can't have one, which is an event; whether the claim was added under
        exactly these stamps.
    """
    stamps: Stamps = dict.fromkeys(calls)
    wanted = {each: found for each, found in calls.items() if each not in unstamped} if unstamped else calls
    reason, is_claimed = NO_TOKENS, False
    unwatched = _why_unwatched(policy) if wanted else ""
    if unwatched:
        reason = unwatched
    elif wanted and policy.tables is not None and transactions.any_in_test() and not is_isolated():
        reason = UNISOLATED_TEST
    elif wanted and transactions.snapshot_may_be_old():
        reason = OLD_SNAPSHOT
    else:
        readable = {each: found for each, found in wanted.items() if found.raw is not None}
        is_claimed = bool(readable) and _fill_in(policy, stamps, readable, claim)
    for each, found in wanted.items():
        if stamps[each] is None:
            policy.emit("unstored", found.key, reason=reason)
    return stamps, is_claimed


def _why_unwatched(policy: CachePolicy) -> str:
    """Return why writes would not end an entry; empty if those of what it depends on are watched."""
    ignored = policy.declared & tables().ignored if policy.declared else frozenset()
    return UNWATCHED_TABLE.format(min(ignored)) if ignored else ""


def _fill_in(policy: CachePolicy, stamps: Stamps, calls: Mapping[Hashable, Found], claim: Claim | None) -> bool:
    """Fill in the stamps of calls whose tokens could be read; tell whether the claim was added under these."""
    raw: dict[str, Any] = {}
    for values in {id(found.raw): found.raw or {} for found in calls.values()}.values():  # usually one dict for all
        raw |= values
    _compose(stamps, calls, raw)
    missing: list[str] = []
    lifetimes: dict[str, float | None] = {}
    for each, found in calls.items():
        if stamps[each] is None:
            _, own, all_calls, *_ = keys = found.keys
            lifetimes[own], lifetimes[all_calls] = policy.lifetime, None
            missing += [key for key in keys[1:] if not is_token(raw.get(key))]
    if not missing and claim is None:
        return False
    fresh = [(key, new_token(), lifetimes.get(key, LONGEST_LIFETIME)) for key in dict.fromkeys(missing)]
    replaced = {key for key in missing if key in raw}
    # Where each `add` is a trip, tokens that the calls do not share take one trip for all. Such a token may replace
    # that of another caller: his entry is dead at birth, which costs a miss. It is new, so it revives no old entry.
    if missing and not policy.store.pipelines:
        replaced |= {key for key, number in Counter(missing).items() if number < len(calls)}
    if missing:
        _compose(stamps, calls, raw | {key: token for key, token, _ in fresh})
    tokens, is_claimed = mint(policy.store, fresh, replaced, [claim(stamps)] if claim else ())
    if not is_claimed:
        _compose(stamps, calls, raw | tokens)
    return is_claimed


def _compose(stamps: Stamps, calls: Mapping[Hashable, Found], tokens: Mapping[str, object]) -> None:
    """Fill in the stamps that some tokens make, by key; None where one is absent."""
    for each, found in calls.items():
        stamps[each] = stamp_of(found.keys[1:], tokens)
