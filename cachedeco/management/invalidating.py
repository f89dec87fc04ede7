"""`manage.py cachedeco invalidate`: functions, calls, namespaces, models, or everything."""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured

from cachedeco.functions.base import CachedFunction
from cachedeco.functions.discovery import decorated_functions
from cachedeco.functions.invalidation_advice import functions_under
from cachedeco.functions.spec import FunctionSpec
from cachedeco.invalidation.delivery import invalidate
from cachedeco.invalidation.namespaces import Namespace
from cachedeco.management.arguments import HELP, call_of, function_of, model_named
from cachedeco.management.listing import NO_FUNCTION
from cachedeco.management.printing import Console
from cachedeco.management.subcommands import Subcommand, failure, misunderstanding
from cachedeco.runtime.hooks import listening
from cachedeco.runtime.modes import current_mode
from cachedeco.runtime.reprs import repr_of, shorten
from cachedeco.storage.breaker import breakers

if TYPE_CHECKING:
    from cachedeco.runtime.events import Event

ACKNOWLEDGED: Final = "invalidated"
DELAYED: Final = "invalidation_delayed"
MOST_SHOWN: Final = 20  # targets that the question names


class Target(NamedTuple):
    """One thing to invalidate."""

    what: str  #: "every call of clubs.queries.club_classes()"
    note: str  #: what else is to know of it; may be empty
    invalidate: Callable[[], object]


class TargetOutcome(NamedTuple):
    """What became of one target."""

    what: str
    acknowledged: list[str]  #: the aliases of the caches that have acknowledged it
    delayed: list[str]  #: of those that have not
    is_recorded: bool  #: whether something is delayed, and the outbox is known to have it
    problem: str = ""  #: why it could not be invalidated at all


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "call",
        nargs="*",
        metavar="FUNCTION [ARGUMENT ...]",
        help=f"A function by its dotted path: all its calls, or the one with these arguments. {HELP}",
    )
    parser.add_argument(
        "--namespace", action="append", default=[], metavar="club:7", help="A namespace, and all below it; repeatable."
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="app_label.Model",
        help="All that depends on a model, or on rows of it; repeatable.",
    )
    parser.add_argument(
        "--all", action="store_true", help="Every call of every function that this project imports at its start."
    )
    parser.add_argument("--yes", action="store_true", help="Do not ask.")
    parser.add_argument("--dry-run", action="store_true", help="Only say what would be invalidated.")


def run(console: Console, options: dict[str, Any]) -> None:
    """
    Ask, invalidate, and tell whether the caches have acknowledged it.

    Raises:
        CommandError: Nothing was invalidated, or a cache has not acknowledged it.
    """
    targets = list(find_targets(options))
    if not targets and options["all"]:
        msg = f"Nothing was invalidated. {NO_FUNCTION}"
        raise failure(msg)
    if not targets:
        msg = "invalidate takes a function, --namespace, --model, or --all."
        raise misunderstanding(msg)
    if current_mode() == "off":
        msg = "The mode is 'off' in these settings, so that nothing is invalidated: use those of production."
        raise failure(msg)
    if options["dry_run"]:
        if console.as_json:
            console.json([TargetOutcome(target.what, [], [], is_recorded=False) for target in targets])
        else:
            console.say("\n".join(_lines(targets, "Would invalidate")))
        return
    if not options["yes"]:
        _ask(console, targets)
    _report(console, [invalidate_target(target) for target in targets])


def find_targets(options: dict[str, Any]) -> Iterator[Target]:
    """
    Yield what the options of the command name.

    Raises:
        CommandError: One of them means nothing.
    """
    path, *texts = options["call"] or [""]
    if path:
        function = function_of(path)
        yield target_of_call(function, texts) if texts else target_of_function(function._spec)
    yield from map(target_of_namespace, options["namespace"])
    yield from map(target_of_model, options["model"])
    if options["all"]:
        yield from map(target_of_function, decorated_functions())


def target_of_function(spec: FunctionSpec) -> Target:
    """Return every call of a function, by its spec: no path leads to a function inside another one."""
    return Target(f"every call of {spec.name}()", "", partial(_invalidate_all, spec))


def target_of_call(function: CachedFunction[..., Any], texts: Sequence[str]) -> Target:
    """
    Return one call, of arguments as they are typed.

    Raises:
        CommandError: The function does not take them, or they can't be in a key.
    """
    call = call_of(function, texts)
    return Target(f"the {repr(call)[1:-1]}", "", call.invalidate)


def target_of_namespace(text: str) -> Target:
    """
    Return a namespace, and all below it.

    Args:
        text: Each part as it stands in a URL: a ":" inside a part is written %3A.

    Raises:
        CommandError: A part is empty.
    """
    parts = [unquote(part) for part in text.split(":")]
    if not all(parts):
        msg = f"The namespace {repr_of(text)} has an empty part; write it as club:7."
        raise misunderstanding(msg)
    namespace = Namespace(*parts)
    names = functions_under(namespace)
    note = f"of {', '.join(names)}" if names else "of no function that is known here"
    return Target(f"namespace {shorten(text)}", note, namespace.invalidate)


def target_of_model(name: str) -> Target:
    """
    Return all that depends on a model, by its label.

    Raises:
        CommandError: There is no such model.
    """
    model = model_named(name)
    return Target(f"all that depends on {model._meta.label}", "", Namespace.for_model(model).invalidate)


def _invalidate_all(spec: FunctionSpec) -> None:
    invalidate(spec.options["using"], spec.function_token())


def _ask(console: Console, targets: Sequence[Target]) -> None:
    """Name what will be invalidated, and go on only after a yes."""
    for line in _lines(targets, "This will invalidate"):
        console.whisper(line)
    console.whisper("The next call of each computes. Type yes to go on: ", ending="")
    try:
        answer = input()
    except EOFError:
        msg = "Nothing was invalidated: there was no answer. Say --yes where none can be given."
        raise failure(msg) from None
    if answer.strip().lower() not in {"y", "yes"}:
        msg = "Nothing was invalidated."
        raise failure(msg)


def _lines(targets: Sequence[Target], verb: str) -> Iterator[str]:
    for target in targets[:MOST_SHOWN]:
        yield f"{verb} {target.what}{f' ({target.note})' if target.note else ''}."
    if len(targets) > MOST_SHOWN:
        yield f"... and {len(targets) - MOST_SHOWN} more."


def invalidate_target(target: Target) -> TargetOutcome:
    """Invalidate, and return what the caches have said."""
    events: list[Event] = []
    try:
        with listening(events.append):
            target.invalidate()
    except ImproperlyConfigured as error:  # of one function: the others are invalidated all the same
        return TargetOutcome(target.what, [], [], is_recorded=False, problem=str(error))
    caches = {
        kind: list(dict.fromkeys(event.cache for event in events if event.kind == kind))
        for kind in (ACKNOWLEDGED, DELAYED)
    }
    delayed = caches[DELAYED]
    recorded = bool(delayed) and all(event.reason for event in events if event.kind == DELAYED)
    if not delayed and not caches[ACKNOWLEDGED]:  # of the same key, which waits already, nothing is told again
        delayed = [alias for alias, breaker in breakers.items() if breaker.queue]
    return TargetOutcome(target.what, caches[ACKNOWLEDGED], delayed, recorded)


def _report(console: Console, outcomes: Sequence[TargetOutcome]) -> None:
    """Print what became of each, and raise if a cache has not acknowledged one."""
    if console.as_json:
        console.json(outcomes)
    else:
        for each in outcomes:
            console.say(f"{words_of(each)} {each.what}.")
    trouble = trouble_of(outcomes)
    if trouble:
        raise failure(trouble)


def trouble_of(outcomes: Sequence[TargetOutcome]) -> str:
    """Return what was not invalidated, or not acknowledged, and what to do; empty if all is well."""
    wrong = [each for each in outcomes if each.problem]
    if wrong:
        return f"Not invalidated: {len(wrong)} of {len(outcomes)}: {wrong[0].problem}"
    delayed = [each for each in outcomes if each.delayed]
    if not delayed:
        return ""
    names = ", ".join(dict.fromkeys(alias for each in delayed for alias in each.delayed))
    msg = f"Not acknowledged: {len(delayed)} of {len(outcomes)}, by the cache {names}."
    if all(each.is_recorded for each in delayed):
        return f"{msg} The outbox has them: a deliverer sends them when the cache answers."
    return f"{msg} Old values may be served; run this again when the cache answers: manage.py cachedeco doctor."


def words_of(outcome: TargetOutcome) -> str:
    """Return the words before what was invalidated."""
    if outcome.problem:
        return "Not invalidated:"
    if outcome.delayed:
        return "Not acknowledged:"
    return "Invalidated" if outcome.acknowledged else "At the commit of the open transaction:"


SUBCOMMAND: Final = Subcommand(
    "invalidate", "Invalidate a function, one of its calls, a namespace, a model, or everything.", add_arguments, run
)
