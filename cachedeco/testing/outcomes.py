"""What comes of a call, with the cache and without it: a value or an error, to be compared and told."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from cachedeco.functions.single import AnyCachedQuery
from cachedeco.runtime.modes import bypass
from cachedeco.storage.comparison import difference
from cachedeco.testing.assertions import call_from_sync, shown

LONGEST_REPR: Final = 500


class Arguments(NamedTuple):
    """The arguments of one call."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class Raised(NamedTuple):
    """What a call raised."""

    error: Exception


def plain_twin(function: AnyCachedQuery[..., Any]) -> Callable[..., Any]:
    """Return the function without its cache, and without those of the cached functions that it calls."""
    return bypass()(function.uncached)


def outcome_of(function: Callable[..., Any], each: Arguments) -> object:
    """Return what a call gives, or what it raises."""
    try:
        return call_from_sync(function, each.args, each.kwargs)
    except Exception as error:  # noqa: BLE001 -- both sides may raise, if they raise the same
        return Raised(error)


def difference_of(one: object, other: object) -> str | None:
    """Tell where two outcomes differ, as `difference()` does; what is raised is compared by its class."""
    if isinstance(one, Raised) and isinstance(other, Raised):
        return None if type(one.error) is type(other.error) else ""
    return difference(one, other)


def told(function: Callable[..., Any], each: Arguments, outcome: object) -> str:
    """Return a call and its outcome as a line of a message."""
    return f"{shown(function, each.args, each.kwargs)} {outcome_told(outcome)}"


def place_told(found: str) -> str:
    """Return the line of a message that says where two outcomes differ, if that is more than everywhere."""
    return f"\nThey differ in {found}." if found else ""


def outcome_told(outcome: object) -> str:
    """Return an outcome as a piece of a message, cut to a readable length."""
    text = f"raises {outcome.error!r}" if isinstance(outcome, Raised) else f"gives {outcome!r}"
    return text if len(text) <= LONGEST_REPR else f"{text[:LONGEST_REPR]}..."
