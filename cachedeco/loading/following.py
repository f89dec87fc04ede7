"""
Follow a flight: take a copy of the leader's result, if all that it depends on still stands.

What a follower has read may not be all that the leader's value depends on: a token was absent, or a nested call has
tokens of its own. Then the follower reads the leader's tokens again, after the computation, and takes the value only if
all of them still stand: tokens never repeat, so no invalidation has come between. A result without a stamp proves
nothing. It goes only to callers that joined before the computation began; those that arrive during it share the next
one.
"""

from functools import partial
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation

from cachedeco.loading.effects import Anywhere, EffectFlow, Err
from cachedeco.loading.exceptions import copy_exception
from cachedeco.loading.leases import take_fresh
from cachedeco.loading.load import FlightResult, Load, Miss, Results, propagate_dependencies
from cachedeco.loading.lookup import look_up
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.serving import stale_fallback
from cachedeco.runtime.interrupts import Reraised, pass_interrupt
from cachedeco.storage import many_caches


def follow(load: Load, results: Results) -> EffectFlow[Err | bool]:
    """Take the leaders' results that this caller may use; return an error, or whether to wait again for the rest."""
    policy, may_go_on = load.policy, True
    standing = (yield Anywhere(_standing_keys, load, results)) if results else set()
    keys = {miss.key for miss in load.misses}
    for miss in load.misses:
        found, result = miss.found, results.get(miss.key)
        if result is None or miss.key not in standing:
            continue
        if result.error is None and not result.is_cacheable and not miss.is_unstamped and found.raw is not None:
            # An invalidation of a nested call, before this caller arrived, may not be in the value: share the next.
            miss.is_unstamped = True
        elif result.error is not None:
            # The error of a computation for other ids, too, may be that of the others: share the next one.
            if result.computed_with <= keys:
                propagate_dependencies(policy, found, result)  # as the leader does
                is_served = yield from stale_fallback(load, result.error)
                return not is_served and Err(copy_exception(result.error))
        elif result.serialized is None:  # an unpicklable value can't be shared, so waiting again is pointless
            may_go_on = False
        else:
            taken = yield Anywhere(_load_copy, policy, miss, result, result.serialized)
            may_go_on = may_go_on and taken
    left = load.unserved
    if may_go_on and left.misses:
        yield partial(look_again, left)
    return may_go_on


def _standing_keys(load: Load, results: Results, reraised: Reraised = ()) -> set[str]:
    """
    Return the keys of the results whose tokens still stand; one read for all that this caller has not compared.

    Raises:
        SynchronousOnlyOperation: If *reraised* is that, and there is something to read.
    """
    tokens: dict[str, bytes] = {}
    unsure: list[tuple[Miss, FlightResult]] = []
    standing: set[str] = set()
    for miss, result in [(each, results[each.key]) for each in load.misses if each.key in results]:
        if result.stamp is None or (result.stamp == miss.tokens and not result.nested_tokens):
            standing.add(miss.key)
        elif len(result.stamp) == len(miss.found.keys) - 1:  # else the function is known to read other tables by now
            unsure.append((miss, result))
            tokens |= _tokens_of(miss, result)
    if tokens and reraised:
        raise SynchronousOnlyOperation
    if tokens:
        now: Any = many_caches.get_many_across_caches(load.policy.store, list(tokens)) or {}
        standing.update(
            miss.key
            for miss, result in unsure
            if all(now.get(name) == token for name, token in _tokens_of(miss, result).items())
        )
    return standing


def _tokens_of(miss: Miss, result: FlightResult) -> dict[str, bytes]:
    """Return the tokens that a result depends on, by key: those that this caller has read itself are left out."""
    stamp = result.stamp or ()
    own = {} if stamp == miss.tokens else dict(zip(miss.found.keys[1:], stamp, strict=False))
    return {**result.nested_tokens, **own}  # of a token that was read twice, the older one


def _load_copy(
    policy: CachePolicy, miss: Miss, result: FlightResult, serialized: bytes, reraised: Reraised = ()
) -> bool:
    """Serve a copy of a leader's value; return whether it can be loaded."""
    try:
        miss.value = policy.codec.serializer.loads(serialized)  # from this process, or from an entry that was verified
    except Exception as error:  # noqa: BLE001 -- unpickling the user's class may raise anything
        pass_interrupt(error, reraised)
        policy.codec.tries_to_load = True
        policy.emit("error", miss.key, reason="The value can't be unpickled", error=error)
        return False
    propagate_dependencies(policy, miss.found, result)
    policy.emit("shared", miss.key, seconds=result.seconds)
    return True


def look_again(load: Load) -> None:
    """Look up what no leader has given, and serve what is stored by now."""
    misses = [miss for miss in load.misses if not miss.is_unstamped]
    if misses:
        again = look_up(load.policy, [miss.found.keys for miss in misses])
        for miss, found in zip(misses, again, strict=True):
            miss.look_at(found)
        take_fresh(load.policy, misses, again)
