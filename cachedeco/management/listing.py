"""`manage.py cachedeco list`: the cached functions of the project."""

from argparse import ArgumentParser
from typing import TYPE_CHECKING, Any, Final

from cachedeco.management.arguments import is_meant, model_named
from cachedeco.management.printing import Console
from cachedeco.management.subcommands import Subcommand, misunderstanding
from cachedeco.runtime.reprs import repr_of
from cachedeco.runtime.units import duration

if TYPE_CHECKING:
    from cachedeco.diagnosis.listing import FunctionDescription

NO_FUNCTION: Final = "No function is cached, or none is imported: name their modules in MODULES of CACHEDECO."


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="Only functions whose dotted names are this, or begin so up to a dot, each with all it has.",
    )
    parser.add_argument("--model", metavar="app_label.Model", help="Only functions known to depend on this model.")


def run(console: Console, options: dict[str, Any]) -> None:
    """Print a table of all functions, or all of some."""
    from cachedeco.diagnosis.listing import depends_on_model, describe_functions

    found = [each for each in describe_functions() if is_meant(each.name, options["names"])]
    if options["model"]:
        model = model_named(options["model"])
        found = [each for each in found if depends_on_model(each, model)]
    if options["names"] and not found:
        msg = (
            f"No cached function has a name that begins with {repr_of(options['names'][0])}; list without it shows all."
        )
        raise misunderstanding(msg)
    if console.as_json:
        console.json(found)
    elif not found:
        _say_why(console, options)
    elif options["names"]:
        for n, each in enumerate(found):
            _print_whole(console, each, is_first=not n)
    else:
        heads = ("function", "timeout", "cache", "depends on", "namespaces")
        rows = [
            (each.name, timeout_of(each), each.cache, _dependencies(each), ", ".join(each.namespaces)) for each in found
        ]
        console.table(heads, rows, flexible=(0, 3, 4))


def _say_why(console: Console, options: dict[str, Any]) -> None:
    if options["model"]:
        console.say(
            f"No function is known to depend on {options['model']}. Those under AUTO know what they read after their "
            "first computation."
        )
    else:
        console.say(NO_FUNCTION)


def _print_whole(console: Console, each: "FunctionDescription", *, is_first: bool) -> None:
    if not is_first:
        console.say("")
    console.say(f"{'async ' if each.is_async else ''}{each.name}{each.signature}")
    lines = {
        "defined": f"{each.file}:{each.line}",
        "problem": each.problem,
        "ids": each.many,
        "timeout": timeout_of(each),
        "cache": each.cache,
        "key": each.key or "every argument",
        "namespaces": ", ".join(each.namespaces),
        "depends on": ", ".join(each.depends_on),
        "tables": ", ".join([*each.tables, *(f"{name} (read)" for name in each.tables_read)]),
        **each.options,
    }
    rows = [(f"    {name}", text) for name, text in lines.items() if text]
    console.table(("", ""), rows, flexible=(1,))


def timeout_of(each: "FunctionDescription") -> str:
    """Return a timeout as text."""
    if isinstance(each.timeout, str):
        return each.timeout
    return "none" if each.timeout is None else duration(each.timeout)


def _dependencies(each: "FunctionDescription") -> str:
    """Return what a function depends on, under AUTO the tables that are known."""
    if each.problem:
        return f"PROBLEM: {each.problem}"
    if "auto" not in each.depends_on:
        return ", ".join(each.depends_on)
    named = [item for item in each.depends_on if item != "auto"]
    known = ", ".join(each.tables_read) or "no table known"
    return ", ".join([*named, f"auto: {known}"])


SUBCOMMAND: Final = Subcommand(
    "list", "List the cached functions: where they are, their options, namespaces and tables.", add_arguments, run
)
