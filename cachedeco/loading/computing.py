"""To compute: what happens around the user's function, whoever waits for it."""

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
    """How a call is repeated elsewhere, to refresh its entry."""

    def resolve_call(self) -> list[str]:
        """Return the keys of the call as they are there."""
        ...

    def enqueue(self, key: str) -> None:
        """Enqueue a task that refreshes the entry of this key."""
        ...


class Miss(NamedTuple):
    """One call that can't simply be served."""

    policy: CachePolicy
    keys: list[str]  #: the entry's key, then those of the tokens that the call itself depends on
    found: Mapping[str, object] | None  #: what was read of them; None where the cache could not be asked
    asked: Sequence[str] = ()  #: the keys of all that the entry there depends on
    entry: Entry | None = None  #: what is there under a living stamp, past its timeout or nearly
    again: Reinvocation | None = None


def tokens_as_read(call: Miss) -> Stamp:
    """Return the tokens as they were read; what is no token is None, which no stamp has."""
    found: Mapping[str, Any] = call.found or {}
    return tuple([found.get(key) for key in call.keys[1:]])  # type: ignore[misc] # as just said


class FlightResult(NamedTuple):
    """How a computation ended, for those who waited for it."""

    packed: bytes | None = None  #: its value; None where that can't be packed, so that nobody else can have it
    inner: Mapping[str, bytes] = {}  #: the tokens of the calls inside, by name
    seconds: float = 0.0
    error: Exception | None = None  #: what it raised
    is_cacheable: bool = True  #: False where a call inside went past the cache


# It did not end: its caller was cancelled, say. The others see for themselves.
NO_RESULT: Final = FlightResult()


def compute(
    call: Miss, stamp: Stamp | None, *, leads: bool = False, on_failure: Callable[[], None] | None = None
) -> EffectFlow[tuple[Ok[Any] | Err, FlightResult]]:
    """
    Compute and store; give what the caller gets, and what those get who waited for it.

    Args:
        call: The call.

        stamp: That of the entry to come; None where none is to come.

        leads: Whether anybody may be waiting.

        on_failure: Called where the value can't be stored, or does not arrive.
    """
    policy, key = call.policy, call.keys[0]
    began = perf_counter()
    with collector.computing(policy.store.alias, collects=policy.nested, leads=leads) as computation:
        outcome: Ok[Any] | Err = yield CALL_USER
        if isinstance(outcome, Ok):
            outcome = yield partial(materialize, policy.function, outcome)
    seconds = perf_counter() - began
    inner, is_cacheable = (
        dict(computation.inner),
        computation.is_cacheable,
    )  # a task that was begun inside may still be noting
    if isinstance(outcome, Err):
        if not isinstance(outcome.error, Exception):
            return outcome, NO_RESULT
        flight_result = FlightResult(None, inner, seconds, outcome.error, is_cacheable)
        return (yield from stale_fallback(call, outcome.error)) or outcome, flight_result
    policy.tell("computed", key, seconds=seconds)
    stamp = stamp_if_cacheable(call, stamp, inner, is_cacheable=is_cacheable)
    packed = yield partial(store_value, PendingEntry(policy, key, stamp, inner, seconds), outcome.value, on_failure)
    return outcome, FlightResult(packed, inner, seconds, is_cacheable=is_cacheable)


def stamp_if_cacheable(
    call: Miss, stamp: Stamp | None, inner: Mapping[str, bytes], *, is_cacheable: bool
) -> Stamp | None:
    """Return the stamp if it can vouch for the calls inside too, and tell the computation around this one."""
    problem = None
    if not is_cacheable:
        problem = "a cached call inside it went past the cache"
    elif len(inner) > collector.MOST_INNER_TOKENS:
        problem = (
            f"the calls inside it depend on more than {collector.MOST_INNER_TOKENS} tokens; nested=False ignores them"
        )
    elif len(stamp or ()) + len(inner) > MOST_TOKENS:
        problem = f"it depends on more than {MOST_TOKENS} tokens"
    if stamp is not None and problem:
        call.policy.tell("unstored", call.keys[0], reason=problem)
        stamp = None
    propagate_dependencies(call, stamp, inner)
    return stamp


def propagate_dependencies(call: Miss, stamp: Stamp | None, inner: Mapping[str, bytes]) -> None:
    """Note what a call depended on, for the computation around it."""
    if stamp is None:
        collector.mark_uncacheable()
        return
    tokens = dict(zip(call.keys[1:], stamp, strict=True))
    collector.record_dependency(call.policy.store.alias, [*call.keys, *inner], {**tokens, **inner})


def stale_fallback(call: Miss, error: Exception) -> EffectFlow[Ok[Any] | None]:
    """Return the old value where it may be served though the computation has raised; None where it may not."""
    policy, keys = call.policy, call.keys
    if not is_within_max_stale(call):
        return None
    # What was invalidated while the computation ran is not served, whatever has become of the computation.
    asked, found, entry = yield partial(read_entry, policy, keys)
    if entry is None:
        return None
    policy.tell("error", keys[0], reason="The computation failed, and the old value was served", error=error)
    return serve(call._replace(asked=asked, found=found, entry=entry))


def is_within_max_stale(call: Miss) -> bool:
    """Tell whether the entry that is there may be served if the computation fails."""
    return call.entry is not None and call.entry.expires + call.policy.max_stale > time()


def serve(call: Miss) -> Ok[Any]:
    """Serve the entry that is there: fresh, or due."""
    value, expires, seconds = cast("Entry", call.entry)
    collector.record_dependency(call.policy.store.alias, call.asked, call.found or {})
    call.policy.tell("hit" if expires > time() else "stale", call.keys[0], seconds=seconds)
    return Ok(value)


# --- steps of calls that share with nobody ---


def bypass_flow(function: str, on_failure: Callable[[], None] | None = None) -> Flow[Any]:
    """Compute, and store nothing; call *otherwise* then."""
    emit(Event("bypassed", function))
    collector.mark_uncacheable()
    began = perf_counter()
    outcome: Ok[Any] | Err = yield CALL_USER
    if isinstance(outcome, Ok):
        emit(Event("computed", function, seconds=perf_counter() - began))
        if on_failure:
            yield on_failure
    return outcome


def refresh_flow(call: Miss, on_failure: Callable[[], None]) -> Flow[Any]:
    """Compute and store, whoever else may be doing so; *otherwise* is called where the value does not arrive."""
    stamp = yield partial(build_stamp, call.policy, call.keys, call.found)
    return (yield from compute(call, stamp, on_failure=on_failure))[0]
