"""The management command `manage.py cachedeco`: one file of management/ for each of its subcommands."""

import sys
from argparse import SUPPRESS, ArgumentParser
from contextlib import nullcontext, redirect_stdout
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandParser
from django.db import Error as DatabaseError

from cachedeco.management import counting, delivering, doctoring, explaining, invalidating, listing, triggering, warming
from cachedeco.management.printing import Console
from cachedeco.management.subcommands import failure
from cachedeco.runtime.reprs import shorten_error

SUBCOMMANDS: Final = {
    each.name: each
    for each in (
        listing.SUBCOMMAND,
        explaining.SUBCOMMAND,
        counting.STATS,
        counting.TOP,
        invalidating.SUBCOMMAND,
        warming.SUBCOMMAND,
        doctoring.SUBCOMMAND,
        delivering.SUBCOMMAND,
        triggering.SUBCOMMAND,
    )
}


class IntermixedParser(CommandParser):
    """Takes options before, between and behind arguments: `warm FUNCTION --ids clubs.Club ARGUMENT`."""

    _is_inside = False

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride] -- it has fewer overloads
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        """Parse the options first, and the arguments from what is left."""
        if self._is_inside:  # by the method below
            return super().parse_known_args(args, namespace)
        self._is_inside = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_inside = False


def _take_options_of_django(parser: ArgumentParser) -> None:
    """
    Let Django's own options stand behind a subcommand, too: the parser of the command takes them only before it.

    Nothing is set where they are not given, so that one before the subcommand counts.
    """
    parser.add_argument("-v", "--verbosity", type=int, choices=range(4), default=SUPPRESS, help=SUPPRESS)
    for name in ("--settings", "--pythonpath"):
        parser.add_argument(name, default=SUPPRESS, help=SUPPRESS)
    for name in ("--traceback", "--no-color", "--force-color", "--skip-checks"):
        parser.add_argument(name, action="store_true", default=SUPPRESS, help=SUPPRESS)


class Command(BaseCommand):
    """List, explain, invalidate and warm cached functions; examine their caches; deliver the outbox."""

    help = "Shows what the cached functions of this project do, and does it: see docs/how-to/command.md."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the subcommands and their options."""
        parsers = parser.add_subparsers(
            dest="what", metavar="|".join(SUBCOMMANDS), required=True, parser_class=IntermixedParser
        )
        for subcommand in SUBCOMMANDS.values():
            what = parsers.add_parser(subcommand.name, help=subcommand.help, description=subcommand.help)
            subcommand.add_arguments(what)
            if subcommand.has_json:
                what.add_argument("--json", action="store_true", help="Print JSON, for programs.")
            _take_options_of_django(what)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run; the doctor runs the system checks itself, and goes on where they find something."""
        if options["what"] == doctoring.SUBCOMMAND.name:
            options["skip_checks"] = True
        return super().execute(*args, **options)

    def handle(self, *_: object, **options: Any) -> None:
        """
        Run a subcommand.

        Raises:
            CommandError: The arguments mean nothing, not all was done, a database failed, or the settings are wrong.
        """
        as_json = options.get("json", False)
        console = Console(self.stdout, self.stderr, as_json=as_json, verbosity=options.get("verbosity", 1))
        try:
            # What the project prints, as its modules are imported and its functions called, is no JSON.
            with redirect_stdout(sys.stderr) if as_json else nullcontext():
                SUBCOMMANDS[options["what"]].run(console, options)
        except ImproperlyConfigured as error:  # DATABASES, for one
            raise failure(str(error)) from error
        except DatabaseError as error:
            msg = f"The database failed: {shorten_error(error)}. Start it, or migrate; doctor says more."
            raise failure(msg) from error
