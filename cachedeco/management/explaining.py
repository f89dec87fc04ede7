"""`manage.py cachedeco explain`: what a call would do now, and why."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cachedeco.management.arguments import HELP, call_of, function_of
from cachedeco.management.printing import Console, counted
from cachedeco.management.subcommands import Subcommand, failed
from cachedeco.runtime.reprs import shorten_error

if TYPE_CHECKING:
    from cachedeco.diagnosis.explaining import ExplainedEntry, Explanation

# What a call would do, as the first line says it.
WOULD: Final = {
    "hit": "would be a hit",
    "stale": "would be served the old value",
    "miss": "would be a miss",
    "bypassed": "would bypass the cache",
}


# What the reasons of a miss mean.
MEANINGS: Final[Mapping[str, str]] = {
    "cache not read": "the cache has failed, or its circuit breaker is open; see manage.py cachedeco doctor",
    "absent": "nothing lies under the key: it was never stored, is past its timeout, or was evicted",
    "unreadable": "what lies under the key is no entry of this call, is not signed, or can't be decoded",
    "lost token": "the cache has lost what the entry depends on, by an eviction or a restart",
    "invalidated": "it was invalidated after the entry was stored",
    "other dependencies": "the call depends on other namespaces or tables now than its entry",
    "other models": "models among the values have other fields in this process: another release has stored the entry",
    "expired": "the entry is past its timeout, and past its stale window",
}


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("function", metavar="FUNCTION", help="A function by its dotted path.")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help=HELP)


def run(console: Console, options: dict[str, Any]) -> None:
    """
    Explain the call, of many ids each.

    Raises:
        CommandError: Its key can't be made in this process.
    """
    from cachedeco.diagnosis.explaining import explain

    call = call_of(function_of(options["function"]), options["arguments"])
    try:
        explanations = explain(call)
    except Exception as error:
        why = shorten_error(error)
        msg = f"The key can't be made here, as a callable of vary= or namespace= needs a request, or a tenant: {why}"
        raise failed(msg) from error
    if console.as_json:
        console.json(explanations)
        return
    for n, each in enumerate(explanations):
        if n:
            console.say("")
        _print(console, each)


def _print(console: Console, each: "Explanation") -> None:
    console.block(f"{each.function}() {WOULD[each.outcome]}: {each.reason}.", "", "")
    meaning = MEANINGS.get(each.reason.partition(": ")[0])
    if meaning:
        console.block(f"{meaning[0].upper()}{meaning[1:]}.", "  ", "  ")
    rows = [("key", each.key), ("cache", each.cache), *_rows_of(each.entry), ("serializer", each.serializer)]
    rows += [("depends on" if not n else "", f"{token.state:<8}{token.name}") for n, token in enumerate(each.tokens)]
    console.table(("", ""), [(f"  {name}", text) for name, text in rows], flexible=(1,))


def _rows_of(entry: "ExplainedEntry | None") -> list[tuple[str, str]]:
    from cachedeco.diagnosis.units import duration, size

    if entry is None:
        return [("entry", "none")]
    cost = f"{duration(entry.seconds)}, {counted(entry.statements, 'statement')}"
    return [
        ("entry", f"{size(entry.size)}, stored {duration(entry.age)} ago by {entry.process}"),
        ("its cost", cost),
        ("its timeout", _timeout_of(entry)),
    ]


def _timeout_of(entry: "ExplainedEntry") -> str:
    from cachedeco.diagnosis.units import duration

    if entry.left is None:
        return "never"
    stale = f", and may be served {duration(entry.stale)} longer while it is refreshed" if entry.stale else ""
    return f"{f'in {duration(entry.left)}' if entry.left > 0 else f'{duration(-entry.left)} ago'}{stale}"


SUBCOMMAND: Final = Subcommand(
    "explain", "Say what a call would do now, and why: its key, its entry, and what it depends on.", add_arguments, run
)
