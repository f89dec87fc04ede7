"""Serve what is stored: fresh and stale entries, and old values in the place of an error."""

from collections.abc import Collection, Hashable, Iterable, Mapping
from functools import partial
from time import time
from typing import Any, cast

from cachedeco.loading.effects import EffectFlow, Flow, Ok
from cachedeco.loading.found import Found, record_found
from cachedeco.loading.load import Load
from cachedeco.loading.lookup import look_up
from cachedeco.loading.materializing import Values
from cachedeco.loading.policy import CachePolicy
from cachedeco.runtime.hooks import emit_hits
from cachedeco.tracking import collector


def serve_each(policy: CachePolicy, calls: Mapping[Hashable, Found]) -> Values:
    """Return the values of the entries that were read, fresh or stale, by id."""
    if collector.innermost.get() is not None:
        for found in calls.values():
            record_found(policy, found)
    now = time()
    entries: list[Any] = [found.entry for found in calls.values()]  # the caller knows that there is one in each
    fresh = [entry.seconds for entry in entries if entry.expires > now]
    if len(fresh) < len(entries):
        for found in [each for each, entry in zip(calls.values(), entries, strict=True) if entry.expires <= now]:
            policy.emit("stale", found.key, seconds=cast("Any", found.entry).seconds)
    keys = (found.keys[0] for found, entry in zip(calls.values(), entries, strict=True) if entry.expires > now)
    emit_hits(policy.function, policy.store.alias, keys, fresh)
    return dict(zip(calls, [entry.value for entry in entries], strict=True))


def serve_flow(load: Load) -> Flow[Values]:
    """Serve the entries that were read."""
    yield partial(serve_found, load, load.found)
    return Ok(load.values)


def serve_found(load: Load, calls: Iterable[Found]) -> None:
    """Serve the entries that were found for the calls of a load, fresh or stale."""
    values = serve_each(load.policy, dict(zip(load.ids, calls, strict=True)))
    for miss in load.misses:
        miss.value = values[miss.id]


def stale_fallback(load: Load, error: Exception) -> EffectFlow[bool]:
    """Stale-if-error: serve the old values if all may be served although the computation raised; else return False."""
    policy = load.policy
    if not may_replace_errors(policy, load.found):
        return False
    # Read them again: an entry that was invalidated during the computation is never served.
    again = yield partial(look_up, policy, [found.keys for found in load.found])
    if any(found.entry is None for found in again):
        return False
    reason = f"The computation failed, and the old value{'s were' if load.takes_ids else ' was'} served"
    policy.emit("error", again[0].key, reason=reason, error=error)
    serve_found(load, again)
    return True


def may_replace_errors(policy: CachePolicy, calls: Collection[Found]) -> bool:
    """Tell whether all entries may be served if the computation fails."""
    now = time()
    return all(
        found.entry is not None and not found.entry.is_error and policy.fallback_until(found.entry) > now
        for found in calls
    )
