"""Run the user's function: time it, collect nested dependencies, store the result, serve stale on error."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter, time
from typing import Any, Final, NamedTuple, Protocol, cast

from cachedeco.loading.effects import CALL_USER, EffectFlow, Err, Flow, Ok
from cachedeco.loading.materializing import materialize
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.reading import build_stamp, read_entry
from cachedeco.loading.writing import PendingEntry, store_value
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.storage.entries import MOST_TOKENS, Entry, Stamp
from cachedeco.tracking import collector


class Reinvocation(Protocol):
    """A way to repeat a call in another thread or process, to refresh its entry."""

    def resolve_call(self) -> list[str]:
        """Return the keys of the call, as they are in this thread."""
        ...

    def enqueue(self, key: str) -> None:
        """Enqueue a task that refreshes the entry of this key."""
        ...


class Miss(NamedTuple):
    """A call whose entry is absent, invalidated or stale; or fresh, and sampled for a refresh or an audit."""

    policy: CachePolicy
    keys: list[str]  #: the entry's key, then those of the tokens that the call itself depends on
    raw: Mapping[str, object] | None  #: the values that were read, by key; None if the cache failed
    entry_keys: Sequence[str] = ()  #: the keys of all that the entry depends on, nested tokens included
    entry: Entry | None = None  #: the entry that was read, fresh or stale, if its stamp equals the tokens
    reinvocation: Reinvocation | None = None


def tokens_as_read(miss: Miss) -> Stamp:
    """Return the tokens as read. A missing token is None, which never equals a stored stamp."""
    raw: Mapping[str, Any] = miss.raw or {}
    return tuple([raw.get(key) for key in miss.keys[1:]])  # type: ignore[misc] # as the docstring says


class FlightResult(NamedTuple):
    """The result of a leader's computation, for its followers."""

    serialized: bytes | None = None  #: its value; None if that can't be serialized, and so not be shared
    nested_tokens: Mapping[str, bytes] = {}  #: the tokens of nested calls, by name
    seconds: float = 0.0
    error: Exception | None = None  #: what the function raised
    is_cacheable: bool = True  #: False if a nested call bypassed the cache


# The leader was cancelled or crashed; followers must re-check the cache.
NO_RESULT: Final = FlightResult()


def compute(
    miss: Miss, stamp: Stamp | None, *, leads: bool = False, on_failure: Callable[[], None] | None = None
) -> EffectFlow[tuple[Ok[Any] | Err, FlightResult]]:
    """
    Compute and store; return the caller's outcome, and the result for its followers.

    Args:
        miss: The call.

        stamp: That of the new entry; None if none is stored.

        leads: Whether followers may wait for the result.

        on_failure: Called if the value cannot be stored or the write is not acknowledged.
    """
    policy, key = miss.policy, miss.keys[0]
    began = perf_counter()
    with collector.collect_dependencies(policy.store.alias, collects=policy.nested, leads=leads) as computation:
        outcome: Ok[Any] | Err = yield CALL_USER
        if isinstance(outcome, Ok):
            outcome = yield partial(materialize, policy.function, outcome)
    seconds = perf_counter() - began
    # Copied: a task that the computation started may still record dependencies.
    nested_tokens, is_cacheable = dict(computation.nested_tokens), computation.is_cacheable
    if isinstance(outcome, Err):
        if not isinstance(outcome.error, Exception):
            return outcome, NO_RESULT
        flight_result = FlightResult(None, nested_tokens, seconds, outcome.error, is_cacheable)
        return (yield from stale_fallback(miss, outcome.error)) or outcome, flight_result
    policy.emit("computed", key, seconds=seconds)
    stamp = stamp_if_cacheable(miss, stamp, nested_tokens, is_cacheable=is_cacheable)
    pending = PendingEntry(policy, key, stamp, nested_tokens, seconds)
    serialized = yield partial(store_value, pending, outcome.value, on_failure)
    return outcome, FlightResult(serialized, nested_tokens, seconds, is_cacheable=is_cacheable)


def stamp_if_cacheable(
    miss: Miss, stamp: Stamp | None, nested_tokens: Mapping[str, bytes], *, is_cacheable: bool
) -> Stamp | None:
    """Return the stamp, or None if a nested call makes the result uncacheable; propagate dependencies to the parent."""
    problem = None
    if not is_cacheable:
        problem = "a cached call inside it went past the cache"
    elif len(nested_tokens) > collector.MOST_NESTED_TOKENS:
        problem = (
            f"the calls inside it depend on more than {collector.MOST_NESTED_TOKENS} tokens; nested=False ignores them"
        )
    elif len(stamp or ()) + len(nested_tokens) > MOST_TOKENS:
        problem = f"it depends on more than {MOST_TOKENS} tokens"
    if stamp is not None and problem:
        miss.policy.emit("unstored", miss.keys[0], reason=problem)
        stamp = None
    propagate_dependencies(miss, stamp, nested_tokens)
    return stamp


def propagate_dependencies(miss: Miss, stamp: Stamp | None, nested_tokens: Mapping[str, bytes]) -> None:
    """Record what a call depended on in the enclosing computation."""
    if stamp is None:
        collector.mark_uncacheable()
        return
    tokens = dict(zip(miss.keys[1:], stamp, strict=True))
    collector.record_dependency(miss.policy.store.alias, [*miss.keys, *nested_tokens], {**tokens, **nested_tokens})


def stale_fallback(miss: Miss, error: Exception) -> EffectFlow[Ok[Any] | None]:
    """Stale-if-error: return the old value if it may be served although the computation raised, else None."""
    policy, keys = miss.policy, miss.keys
    if not is_within_max_stale(miss):
        return None
    # Read it again: an entry that was invalidated during the computation is never served.
    entry_keys, raw, entry = yield partial(read_entry, policy, keys)
    if entry is None:
        return None
    policy.emit("error", keys[0], reason="The computation failed, and the old value was served", error=error)
    return serve(miss._replace(entry_keys=entry_keys, raw=raw, entry=entry))


def is_within_max_stale(miss: Miss) -> bool:
    """Tell whether the entry may be served if the computation fails."""
    return miss.entry is not None and miss.entry.expires + miss.policy.max_stale > time()


def serve(miss: Miss) -> Ok[Any]:
    """Serve the entry that was read, fresh or stale."""
    value, expires, seconds = cast("Entry", miss.entry)
    collector.record_dependency(miss.policy.store.alias, miss.entry_keys, miss.raw or {})
    miss.policy.emit("hit" if expires > time() else "stale", miss.keys[0], seconds=seconds)
    return Ok(value)


# --- flows of calls that never share a computation ---


def bypass_flow(function: str, on_failure: Callable[[], None] | None = None) -> Flow[Any]:
    """Compute and store nothing; then call *on_failure*, if there is one."""
    emit(Event("bypassed", function))
    collector.mark_uncacheable()
    began = perf_counter()
    outcome: Ok[Any] | Err = yield CALL_USER
    if isinstance(outcome, Ok):
        emit(Event("computed", function, seconds=perf_counter() - began))
        if on_failure:
            yield on_failure
    return outcome


def refresh_flow(miss: Miss, on_failure: Callable[[], None]) -> Flow[Any]:
    """Compute and store, even if another caller computes; *on_failure* is called if the value is not stored."""
    stamp = yield partial(build_stamp, miss.policy, miss.keys, miss.raw)
    return (yield from compute(miss, stamp, on_failure=on_failure))[0]
