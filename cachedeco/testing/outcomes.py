"""Outcomes of a call with and without the cache, a value or an error: compare and format them."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from cachedeco.functions.single import AnyCachedQuery
from cachedeco.runtime.modes import bypass
from cachedeco.runtime.reprs import hide_secrets
from cachedeco.storage.comparison import difference
from cachedeco.testing.assertions import call_from_sync, format_call

LONGEST_REPR: Final = 500


class Arguments(NamedTuple):
    """The arguments of one call."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class RaisedError(NamedTuple):
    """The error that a call raised."""

    error: Exception


def plain_twin(function: AnyCachedQuery[..., Any]) -> Callable[..., Any]:
    """Return the plain function, with the cache bypassed for nested calls too."""
    return bypass()(function.uncached)


def outcome_of(function: Callable[..., Any], each: Arguments) -> object:
    """Return the value of a call, or `RaisedError` with its error."""
    try:
        return call_from_sync(function, each.args, each.kwargs)
    except Exception as error:  # noqa: BLE001 -- an error is an outcome, too
        return RaisedError(error)


def difference_of(one: object, other: object) -> str | None:
    """Return where two outcomes differ, as `difference()` does; errors are compared by class."""
    if isinstance(one, RaisedError) and isinstance(other, RaisedError):
        return None if type(one.error) is type(other.error) else ""
    return difference(one, other)


def format_result(function: Callable[..., Any], each: Arguments, outcome: object) -> str:
    """Return a call and its outcome as a line of a message."""
    return f"{format_call(function, each.args, each.kwargs)} {format_outcome(outcome)}"


def format_place(found: str) -> str:
    """Return the line of a message with the place of a difference; empty if the whole values differ."""
    return f"\nThey differ in {found}." if found else ""


def format_outcome(outcome: object) -> str:
    """Return an outcome as part of a message, cut to a readable length."""
    text = f"raises {outcome.error!r}" if isinstance(outcome, RaisedError) else f"gives {outcome!r}"
    return hide_secrets(text if len(text) <= LONGEST_REPR else f"{text[:LONGEST_REPR]}...")
