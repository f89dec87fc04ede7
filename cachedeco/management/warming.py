"""`manage.py cachedeco warm`: call a function, so that its values are stored before a visitor asks for them."""

import shlex
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.core.cache.backends.dummy import DummyCache
from django.core.management.base import CommandError
from django.db.models import Model

from cachedeco.functions.base import CachedFunction
from cachedeco.keys.signatures import bare_signature, parameters_of
from cachedeco.loading.writing import NO_TIMEOUT, NOT_WANTED
from cachedeco.management.arguments import (
    HELP,
    ParsedArguments,
    checked_call,
    function_of,
    model_named,
    parse_arguments,
)
from cachedeco.management.printing import Console
from cachedeco.management.progress import Progress
from cachedeco.management.subcommands import Subcommand, failure, misunderstanding
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import listening
from cachedeco.runtime.modes import current_mode
from cachedeco.runtime.reprs import format_arguments, shorten_error
from cachedeco.runtime.units import counted
from cachedeco.storage.connections import connection

# Ids of one call of a function over many.
CHUNK: Final = 100
# Failures that are printed, and kept for JSON: the rest is counted.
MOST_SHOWN: Final = 20


class Failure(NamedTuple):
    """A call that has not stored a value."""

    call: str  #: its arguments
    reason: str


class Planned(NamedTuple):
    """A call to make."""

    text: str  #: what stands for it in messages
    arguments: Callable[[], ParsedArguments | None]  #: None if its row is gone


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("function", metavar="FUNCTION", help="A function by its dotted path.")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help=f"The arguments of one call. {HELP}")
    many = parser.add_mutually_exclusive_group()
    many.add_argument(
        "--stdin", action="store_true", help="A call for each line of standard input: its arguments, as in a shell."
    )
    many.add_argument(
        "--ids",
        metavar="app_label.Model",
        help="A call for each row of a model: its primary key is the first argument, before those given.",
    )
    many.add_argument(
        "--rows", metavar="app_label.Model", help="A call for each row of a model: the row is the first argument."
    )


def run(console: Console, options: dict[str, Any]) -> None:
    """
    Call the function for each, and report.

    Raises:
        CommandError: A call has raised, or its value was not stored.
    """
    function = function_of(options["function"])
    if current_mode() != "on":
        msg = f"The mode is {current_mode()!r} in these settings, so that nothing would be stored."
        raise failure(msg)
    alias = function._spec.resolve().policy.store.alias
    if isinstance(connection(alias).cache, DummyCache):
        msg = f"Cache {alias!r} is a DummyCache, which keeps nothing, so that nothing would be stored."
        raise failure(msg)
    total, planned = _plan(function, options)
    warmer, is_interrupted = Warmer(function), False
    progress = Progress(console, total)
    try:
        for each in planned:
            warmer.call(each)
            progress.step()
            if warmer.is_in_vain:
                break
    except KeyboardInterrupt:
        is_interrupted = True
    progress.end()
    _report(console, warmer, total, is_interrupted=is_interrupted)


class Warmer:
    """Calls a function, and counts what became of each call."""

    def __init__(self, function: CachedFunction[..., Any]) -> None:
        """Begin with no calls."""
        self._function = function
        self.spec = function._spec
        self.counts: Counter[str] = Counter()
        self.failures: list[Failure] = []  #: the first of them
        self.is_in_vain = False  #: whether nothing is stored any more, as the cache does not answer

    def call(self, planned: Planned) -> None:
        """Make one call."""
        events: list[Event] = []
        error: Exception | None = None
        try:
            arguments = planned.arguments()
            if arguments is None:
                self.counts["gone"] += 1
                return
            call = checked_call(self._function, arguments)
            with listening(events.append):
                async_to_sync(call.__call__)() if iscoroutinefunction(call) else call()
        except CommandError as misread:
            self._fail(planned.text, str(misread))
            return
        except Exception as raised:  # noqa: BLE001 -- the user's function may raise anything
            error = raised
        self._judge(planned.text, [each for each in events if each.function == self.spec.name], error)

    def _judge(self, text: str, events: Sequence[Event], error: Exception | None) -> None:
        kinds = {each.kind for each in events}
        reasons = [each.reason for each in events if each.kind in {"unstored", "error"} and each.reason]
        if "stored" in kinds:
            self.counts["stored"] += 1
        elif kinds & {"hit", "stale", "shared"} and "computed" not in kinds:
            self.counts["found"] += 1
        elif self.spec.resolve().policy.store.is_breaker_open():
            self.is_in_vain = True
            self._fail(text, "its cache does not answer; manage.py cachedeco doctor says more")
        elif error is not None:
            self._fail(text, shorten_error(error))
        elif reasons and reasons[-1] in {NOT_WANTED, NO_TIMEOUT}:
            self.counts["refused"] += 1
        else:
            self._fail(text, reasons[-1] if reasons else "its value was not stored")

    def _fail(self, text: str, reason: str) -> None:
        self.counts["failed"] += 1
        if len(self.failures) < MOST_SHOWN:
            self.failures.append(Failure(text, reason))


def _plan(function: CachedFunction[..., Any], options: dict[str, Any]) -> tuple[int | None, Iterator[Planned]]:
    """Return the number of calls, if it is known, and the calls."""
    texts = options["arguments"]
    if options["stdin"]:
        if texts:
            msg = "--stdin has the arguments of each call in its lines: leave out those of the command line."
            raise misunderstanding(msg)
        return None, _calls_of_lines(function)
    if options["ids"] or options["rows"]:
        return _calls_of_rows(function, options, texts)
    arguments = parse_arguments(function, texts)
    text = format_arguments(parameters_of(function.uncached), *arguments) or "()"
    return 1, iter([Planned(text, lambda: arguments)])


def _calls_of_lines(function: CachedFunction[..., Any]) -> Iterator[Planned]:
    """Yield a call for each line that is not empty, and no comment."""
    for number, line in enumerate(sys.stdin, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield Planned(f"line {number}", partial(_arguments_of_line, function, line))


def _arguments_of_line(function: CachedFunction[..., Any], line: str) -> ParsedArguments:
    try:
        texts = shlex.split(line)
    except ValueError as error:
        msg = f"{error}, in a line that is read as a shell reads it."
        raise misunderstanding(msg) from None
    return parse_arguments(function, texts)


def _calls_of_rows(
    function: CachedFunction[..., Any], options: dict[str, Any], texts: Sequence[str]
) -> tuple[int, Iterator[Planned]]:
    """
    Return a call for each row of a model, of a function over many ids for a hundred.

    All primary keys are read before the first call: on SQLite nothing that a call reads while a cursor is open can be
    stored. A row is read when it is its turn: what it holds is older than what the call reads.
    """
    spec = function._spec
    model = model_named(options["ids"] or options["rows"])
    keys = list(model._default_manager.order_by("pk").values_list("pk", flat=True))
    first = next(iter(bare_signature(function.uncached).parameters), "")
    rest = parse_arguments(function, texts, leading=1)
    if options["rows"]:
        if spec.over:
            msg = f"{spec.name}() takes many ids: say --ids {options['rows']}."
            raise misunderstanding(msg)
        label = model._meta.label
        calls = [Planned(f"{label}:{key}", partial(_with_row, model, key, rest)) for key in keys]
        return len(calls), iter(calls)
    if spec.over == first:
        chunks = [keys[n : n + CHUNK] for n in range(0, len(keys), CHUNK)]
        return len(chunks), (
            Planned(f"{len(chunk)} ids from {chunk[0]}", partial(_with, chunk, rest)) for chunk in chunks
        )
    return len(keys), (Planned(str(key), partial(_with, key, rest)) for key in keys)


def _with(first: object, rest: ParsedArguments) -> ParsedArguments:
    return [first, *rest[0]], rest[1]


def _with_row(model: type[Model], key: object, rest: ParsedArguments) -> ParsedArguments | None:
    row = model._default_manager.filter(pk=key).first()
    return None if row is None else _with(row, rest)


def _report(console: Console, warmer: Warmer, total: int | None, *, is_interrupted: bool) -> None:
    """Print what became of the calls, and raise if some have stored nothing."""
    counts = warmer.counts
    made = sum(counts.values())
    for each in warmer.failures:
        console.whisper(f"{each.call}: {each.reason}")
    if counts["failed"] > len(warmer.failures):
        console.whisper(f"... and {counts['failed'] - len(warmer.failures)} more.")
    if console.as_json:
        console.json(
            {
                "function": warmer.spec.name,
                "calls": made,
                **{name: counts[name] for name in WORDS},
                "failures": warmer.failures,
            }
        )
    else:
        parts = [f"{counts[name]} {words}" for name, words in WORDS.items() if counts[name]]
        console.say(f"{counted(made, 'call')}: {', '.join(parts) or 'nothing to do'}.")
    if is_interrupted or warmer.is_in_vain:
        left = "" if total is None else f", {total - made} calls before the end"
        msg = f"{'Interrupted' if is_interrupted else 'Stopped, as the cache does not answer'}{left}."
        raise failure(msg)
    if counts["failed"]:
        msg = f"{counts['failed']} of {counted(made, 'call')} stored nothing."
        raise failure(msg)


WORDS: Final = {
    "stored": "computed and stored",
    "found": "stored already",
    "refused": "computed and not to be stored",
    "gone": "whose row is gone",
    "failed": "failed",
}

SUBCOMMAND: Final = Subcommand(
    "warm", "Call a function for some or all arguments, so that its values are stored.", add_arguments, run
)
