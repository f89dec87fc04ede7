"""
Follow a flight: take a copy of the leader's result, if all that it depends on still stands.

What a follower has read may not be all that the leader's value depends on: a token was absent, or a nested call has
tokens of its own. Then the follower reads the leader's tokens again, after the computation, and takes the value only if
all of them still stand: tokens never repeat, so no invalidation has come between. A result without a stamp proves
nothing. It goes only to callers that joined before the computation began; those that arrive during it share the next
one.
"""

from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation

from cachedeco.loading.effects import Anywhere, EffectFlow, Err, Ok, Outcome
from cachedeco.loading.exceptions import copy_exception
from cachedeco.loading.found import Found
from cachedeco.loading.leases import take_fresh
from cachedeco.loading.load import Load
from cachedeco.loading.lookup import look_up
from cachedeco.loading.materializing import Values
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.results import FlightResult, propagate_dependencies
from cachedeco.loading.serving import stale_fallback
from cachedeco.runtime.interrupts import Reraised, pass_interrupt
from cachedeco.storage import many_caches


def follow(load: Load, results: Mapping[str, FlightResult]) -> EffectFlow[tuple[Outcome[Values], Load, bool]]:
    """Take the leaders' results that this caller may use; return what is left to load, and whether to wait again."""
    policy, may_go_on = load.policy, True
    values: Values = {}
    standing = (yield Anywhere(_standing, load, results)) if results else set()
    keys = {found.key for found in load.misses.values()}
    unstamped: set[Hashable] = set()
    for each, found in load.misses.items():
        result = results.get(found.key)
        if result is None or found.key not in standing:
            continue
        if result.error is None and not result.is_cacheable and each not in load.unstamped and found.raw is not None:
            # An invalidation of a nested call, before this caller arrived, may not be in the value: share the next.
            unstamped.add(each)
        elif result.error is not None:
            # The error of a computation for other ids, too, may be that of the others: share the next one.
            if result.computed_with <= keys:
                propagate_dependencies(policy, found, result)  # as the leader does
                fallback = yield from stale_fallback(load, result.error)
                return fallback or Err(copy_exception(result.error)), load.only(set()), False
        elif result.serialized is None:  # an unpicklable value can't be shared, so waiting again is pointless
            may_go_on = False
        else:
            taken = yield Anywhere(_load_copy, policy, found, result, result.serialized)
            may_go_on = may_go_on and taken is not None
            values |= {} if taken is None else {each: taken.value}
    left = load.only(load.misses.keys() - values.keys())._replace(unstamped=load.unstamped | unstamped)
    if may_go_on and left.misses:
        left, fresh = yield partial(look_again, left)
        values |= fresh
    return Ok(values), left, may_go_on


def _standing(load: Load, results: Mapping[str, FlightResult], reraised: Reraised = ()) -> set[str]:
    """
    Return the keys of the results whose tokens still stand; one read for all that this caller has not compared.

    Raises:
        SynchronousOnlyOperation: If *reraised* is that, and there is something to read.
    """
    tokens: dict[str, bytes] = {}
    unsure: list[tuple[Found, FlightResult]] = []
    standing: set[str] = set()
    for found, result in [(each, results[each.key]) for each in load.misses.values() if each.key in results]:
        if result.stamp is None or (result.stamp == found.tokens and not result.nested_tokens):
            standing.add(found.key)
        elif len(result.stamp) == len(found.keys) - 1:  # else the function is known to read other tables by now
            unsure.append((found, result))
            tokens |= _tokens_of(found, result)
    if tokens and reraised:
        raise SynchronousOnlyOperation
    if tokens:
        now: Any = many_caches.get_many_across_caches(load.policy.store, list(tokens)) or {}
        standing.update(
            found.key
            for found, result in unsure
            if all(now.get(name) == token for name, token in _tokens_of(found, result).items())
        )
    return standing


def _tokens_of(found: Found, result: FlightResult) -> dict[str, bytes]:
    """Return the tokens that a result depends on, by key: those that this caller has read itself are left out."""
    stamp = result.stamp or ()
    own = {} if stamp == found.tokens else dict(zip(found.keys[1:], stamp, strict=False))
    return {**result.nested_tokens, **own}  # of a token that was read twice, the older one


def _load_copy(
    policy: CachePolicy, found: Found, result: FlightResult, serialized: bytes, reraised: Reraised = ()
) -> Ok[Any] | None:
    try:
        value = policy.codec.serializer.loads(serialized)  # from this process, or from an entry that was verified
    except Exception as error:  # noqa: BLE001 -- unpickling the user's class may raise anything
        pass_interrupt(error, reraised)
        policy.advice.is_unreadable = True
        policy.emit("error", found.key, reason="The value can't be unpickled", error=error)
        return None
    propagate_dependencies(policy, found, result)
    policy.emit("shared", found.key, seconds=result.seconds)
    return Ok(value)


def look_again(load: Load) -> tuple[Load, Values]:
    """Look up what no leader has given; return what is left to load, and the values that are stored by now."""
    wanted = {each: found.keys for each, found in load.misses.items() if each not in load.unstamped}
    again = dict(zip(wanted, look_up(load.policy, list(wanted.values())), strict=True)) if wanted else {}
    load = load._replace(misses={**load.misses, **again})
    values: Values = {}
    return take_fresh(load, values, {}), values
