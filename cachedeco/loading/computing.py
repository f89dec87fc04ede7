"""To compute: what happens around the user's function, whoever waits for it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter, time
from typing import Any, Final, NamedTuple, Protocol, cast

from cachedeco.loading.effects import COMPUTE, Raised, Stepping, Steps, Value
from cachedeco.loading.materializing import settled
from cachedeco.loading.policy import Terms
from cachedeco.loading.reading import looked_up, stamped
from cachedeco.loading.writing import Draft, keep
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.storage.entries import MOST_TOKENS, Entry, Stamp
from cachedeco.tracking import collector


class Again(Protocol):
    """How a call is repeated elsewhere, to refresh its entry."""

    def located(self) -> list[str]:
        """Return the keys of the call as they are there."""
        ...

    def enqueue(self, key: str) -> None:
        """Enqueue a task that refreshes the entry of this key."""
        ...


class Call(NamedTuple):
    """One call that can't simply be served."""

    terms: Terms
    keys: list[str]  #: the entry's key, then those of the tokens that the call itself depends on
    found: Mapping[str, object] | None  #: what was read of them; None where the cache could not be asked
    asked: Sequence[str] = ()  #: the keys of all that the entry there depends on
    entry: Entry | None = None  #: what is there under a living stamp, past its timeout or nearly
    again: Again | None = None


def standing(call: Call) -> Stamp:
    """Return the tokens as they were read; what is no token is None, which no stamp has."""
    found: Mapping[str, Any] = call.found or {}
    return tuple([found.get(key) for key in call.keys[1:]])  # type: ignore[misc] # as just said


class Landing(NamedTuple):
    """How a computation ended, for those who waited for it."""

    packed: bytes | None = None  #: its value; None where that can't be packed, so that nobody else can have it
    inner: Mapping[str, bytes] = {}  #: the tokens of the calls inside, by name
    seconds: float = 0.0
    error: Exception | None = None  #: what it raised
    is_whole: bool = True  #: False where a call inside went past the cache


# It did not end: its caller was cancelled, say. The others see for themselves.
ABANDONED: Final = Landing()


def computed(
    call: Call, stamp: Stamp | None, *, leads: bool = False, otherwise: Callable[[], None] | None = None
) -> Stepping[tuple[Value[Any] | Raised, Landing]]:
    """
    Compute and store; give what the caller gets, and what those get who waited for it.

    Args:
        call: The call.

        stamp: That of the entry to come; None where none is to come.

        leads: Whether anybody may be waiting.

        otherwise: Called where the value can't be stored, or does not arrive.
    """
    terms, key = call.terms, call.keys[0]
    began = perf_counter()
    with collector.computing(terms.store.alias, collects=terms.nested, leads=leads) as computation:
        outcome: Value[Any] | Raised = yield COMPUTE
        if isinstance(outcome, Value):
            outcome = yield partial(settled, terms.function, outcome)
    seconds = perf_counter() - began
    inner, is_whole = dict(computation.inner), computation.is_whole  # a task that was begun inside may still be noting
    if isinstance(outcome, Raised):
        if not isinstance(outcome.error, Exception):
            return outcome, ABANDONED
        landing = Landing(None, inner, seconds, outcome.error, is_whole)
        return (yield from rescued(call, outcome.error)) or outcome, landing
    terms.tell("computed", key, seconds=seconds)
    stamp = vouched(call, stamp, inner, is_whole=is_whole)
    packed = yield partial(keep, Draft(terms, key, stamp, inner, seconds), outcome.value, otherwise)
    return outcome, Landing(packed, inner, seconds, is_whole=is_whole)


def vouched(call: Call, stamp: Stamp | None, inner: Mapping[str, bytes], *, is_whole: bool) -> Stamp | None:
    """Return the stamp if it can vouch for the calls inside too, and tell the computation around this one."""
    problem = None
    if not is_whole:
        problem = "a cached call inside it went past the cache"
    elif len(inner) > collector.MOST_INNER_TOKENS:
        problem = (
            f"the calls inside it depend on more than {collector.MOST_INNER_TOKENS} tokens; nested=False ignores them"
        )
    elif len(stamp or ()) + len(inner) > MOST_TOKENS:
        problem = f"it depends on more than {MOST_TOKENS} tokens"
    if stamp is not None and problem:
        call.terms.tell("unstored", call.keys[0], reason=problem)
        stamp = None
    note(call, stamp, inner)
    return stamp


def note(call: Call, stamp: Stamp | None, inner: Mapping[str, bytes]) -> None:
    """Note what a call depended on, for the computation around it."""
    if stamp is None:
        collector.spoil()
        return
    tokens = dict(zip(call.keys[1:], stamp, strict=True))
    collector.note(call.terms.store.alias, [*call.keys, *inner], {**tokens, **inner})


def rescued(call: Call, error: Exception) -> Stepping[Value[Any] | None]:
    """Return the old value where it may be served though the computation has raised; None where it may not."""
    terms, keys = call.terms, call.keys
    if not is_servable(call):
        return None
    # What was invalidated while the computation ran is not served, whatever has become of the computation.
    asked, found, entry = yield partial(looked_up, terms, keys)
    if entry is None:
        return None
    terms.tell("error", keys[0], reason="The computation failed, and the old value was served", error=error)
    return served(call._replace(asked=asked, found=found, entry=entry))


def is_servable(call: Call) -> bool:
    """Tell whether the entry that is there may be served if the computation fails."""
    return call.entry is not None and call.entry.expires + call.terms.grace > time()


def served(call: Call) -> Value[Any]:
    """Serve the entry that is there: fresh, or due."""
    value, expires, seconds = cast("Entry", call.entry)
    collector.note(call.terms.store.alias, call.asked, call.found or {})
    call.terms.tell("hit" if expires > time() else "stale", call.keys[0], seconds=seconds)
    return Value(value)


# --- steps of calls that share with nobody ---


def steps_of_bypass(function: str, otherwise: Callable[[], None] | None = None) -> Steps[Any]:
    """Compute, and store nothing; call *otherwise* then."""
    emit(Event("bypassed", function))
    collector.spoil()
    began = perf_counter()
    outcome: Value[Any] | Raised = yield COMPUTE
    if isinstance(outcome, Value):
        emit(Event("computed", function, seconds=perf_counter() - began))
        if otherwise:
            yield otherwise
    return outcome


def steps_of_refresh(call: Call, otherwise: Callable[[], None]) -> Steps[Any]:
    """Compute and store, whoever else may be doing so; *otherwise* is called where the value does not arrive."""
    stamp = yield partial(stamped, call.terms, call.keys, call.found)
    return (yield from computed(call, stamp, otherwise=otherwise))[0]
