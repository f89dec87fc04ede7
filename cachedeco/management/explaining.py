"""`manage.py cachedeco explain`: what a call would do now, and why."""

from argparse import ArgumentParser
from collections import Counter
from typing import Any, Final

from cachedeco.management.arguments import HELP, call_of, function_of
from cachedeco.management.printing import Console
from cachedeco.management.subcommands import Subcommand, failure
from cachedeco.runtime.reprs import shorten_error
from cachedeco.runtime.units import counted


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
    call = call_of(function_of(options["function"]), options["arguments"])
    try:
        explained = call.explain()
    except Exception as error:
        why = shorten_error(error).removesuffix(".")
        msg = (
            f"The key can't be made here: {why}. A callable of vary= or namespace= may need a request, or a tenant; a "
            "row is written app_label.Model:pk."
        )
        raise failure(msg) from error
    several = list(explained.values()) if isinstance(explained, dict) else [explained]
    if console.as_json:
        console.json([each.as_dict() for each in several])
    else:
        console.say("\n\n".join(map(str, several)))
        if any(each.reason == "absent" and not each.unstored for each in several):
            _say_unstored(console, several[0].function)


def _say_unstored(console: Console, function: str) -> None:
    """Say why other processes have returned values of the function and not stored them, if they share their counts."""
    from cachedeco import statistics

    stats = statistics(shared=True).functions.get(function)
    if stats is not None and stats.unstored:
        reasons = [f"{reason} ({count})" for reason, count in Counter(stats.unstored_reasons).most_common()]
        values = counted(stats.unstored, "value was", "values were")
        console.say(f"Of {function}() {values} returned and not stored, by shared statistics: {'; '.join(reasons)}.")


SUBCOMMAND: Final = Subcommand(
    "explain", "Say what a call would do now, and why: its key, its entry, and what it depends on.", add_arguments, run
)
