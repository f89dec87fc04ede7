"""A recording as plain data for the template, and for the toolbar's store: times in milliseconds."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

from cachedeco.contrib.debug_toolbar.recording import RecordedCall, Recording
from cachedeco.runtime.events import Event
from cachedeco.runtime.reprs import shorten, shorten_error
from cachedeco.runtime.units import duration

# Told apart by the colour-blind, too; the toolbar's own green for what is well.
_COLORS: Final = {"hit": "#30c16e", "remembered": "#30c16e", "miss": "#d95f02"}
_OTHER_COLOR: Final = "#888888"


def summarize(recording: Recording) -> dict[str, Any]:
    """Return what a recording holds: numbers, texts, lists and dicts."""
    calls = recording.calls
    return {
        "calls": len(calls),
        "outcomes": _count(call.outcome for call in calls),
        "functions": sorted(map(_summarize_function, _by_function(calls).items()), key=_cost, reverse=True),
        "rows": [_row(number, call) for number, call in enumerate(calls, 1)],
        **_sums(calls, outermost=True),
        "invalidations": _summarize_invalidations(recording.invalidations),
        "problems": [_describe_problem(*each) for each in recording.problems],
    }


def _by_function(calls: Iterable[RecordedCall]) -> dict[str, list[RecordedCall]]:
    functions: dict[str, list[RecordedCall]] = {}
    for call in calls:
        functions.setdefault(call.function, []).append(call)
    return functions


def _summarize_function(item: tuple[str, list[RecordedCall]]) -> dict[str, Any]:
    function, calls = item
    module, _, name = function.rpartition(".")
    return {
        "module": module,
        "name": name,
        "calls": len(calls),
        "outcomes": _count(call.outcome for call in calls),
        "reasons": _count(call.reason for call in calls if call.reason),
        **_sums(calls),
    }


def _row(number: int, call: RecordedCall) -> dict[str, Any]:
    return {
        **asdict(call),
        "number": number,
        "name": call.function.rpartition(".")[2],
        "color": _COLORS.get(call.outcome, _OTHER_COLOR),
        "age": "" if call.age is None else duration(call.age),
        "look_up": 1000 * call.look_up,
        "computing": 1000 * call.computing,
        "saved": 1000 * call.saved,
    }


def _sums(calls: Iterable[RecordedCall], *, outermost: bool = False) -> dict[str, float]:
    """Return the sums over calls; perhaps what only the outermost ones cost, which contains the cost of nested ones."""
    sums = {"look_up": 0.0, "saved": 0.0, "statements_saved": 0, "computing": 0.0, "statements": 0}
    for call in calls:
        sums["look_up"] += 1000 * call.look_up
        sums["saved"] += 1000 * call.saved
        sums["statements_saved"] += call.statements_saved
        if not (outermost and call.is_nested):
            sums["computing"] += 1000 * call.computing
            sums["statements"] += call.statements
    return sums


def _cost(summary: Mapping[str, Any]) -> tuple[float, float]:
    return summary["computing"], summary["saved"]


def _count(words: Iterable[str]) -> list[tuple[str, int]]:
    """Return the words with how often each occurs, the most frequent first."""
    return Counter(words).most_common()


def _summarize_invalidations(invalidations: Iterable[tuple[Event, str]]) -> list[dict[str, Any]]:
    """Return what was invalidated, in the order of time, once for each line that did: each cache has its tokens."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for event, where in invalidations:
        kind, table, text = event.subject
        if kind == "rows" and text == f"rows of {table}":
            continue  # of all parts of a table: the token of the table itself is invalidated, too
        subject = shorten(text)
        row = found.setdefault((subject, where), {"subject": subject, "where": where, "caches": [], "times": 0})
        if event.cache not in row["caches"]:
            row["caches"].append(event.cache)
        row["times"] += event.cache == row["caches"][0]
    return list(found.values())


def _describe_problem(event: Event, where: str) -> dict[str, str]:
    error = "" if event.error is None else shorten_error(event.error)
    return {
        "kind": event.kind.replace("_", " "),
        "function": event.function,
        "cache": event.cache,
        "text": ": ".join(filter(None, (shorten(event.reason), error))),
        "where": where,
    }
