"""`manage.py cachedeco triggers`: write migrations with triggers that record writes from outside Django."""

from argparse import ArgumentParser
from typing import Any, Final

from cachedeco.management.delivering import require_outbox
from cachedeco.management.printing import Console
from cachedeco.management.subcommands import Subcommand


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "models",
        nargs="*",
        metavar="app_label[.Model]",
        help="Models, or all of an app. Default: the models of the project's own apps.",
    )
    parser.add_argument("--all", action="store_true", help="Also the models of installed packages; needs --app.")
    parser.add_argument(
        "--app", metavar="LABEL", help="The app whose migrations get the triggers. Default: that of each model."
    )
    parser.add_argument("--dry-run", action="store_true", help="Print the migrations, and write nothing.")


def run(console: Console, options: dict[str, Any]) -> None:
    """Write the migrations."""
    require_outbox()
    from cachedeco.outbox.trigger_migrations import Planner

    files = Planner(options["models"], every=options["all"], target=options["app"]).files()
    for path, text in files:
        if not options["dry_run"]:
            path.write_text(text, encoding="utf-8")
        console.say(f"{path}\n{text}" if options["dry_run"] else f"Wrote {path}")
    if not files:
        console.say("Nothing to do: the migrations have a trigger for each of these tables.")


SUBCOMMAND: Final = Subcommand(
    "triggers",
    "Write migrations with triggers that record writes from outside Django, on PostgreSQL.",
    add_arguments,
    run,
    has_json=False,
)
