"""The management command `manage.py cachedeco`: run a deliverer of the outbox, and write migrations with triggers."""

import signal
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from cachedeco.runtime.modes import current_mode

if TYPE_CHECKING:
    from cachedeco.outbox.delivery import Deliverer, Report
    from cachedeco.outbox.listening import Stop


class Command(BaseCommand):
    """Deliver the waiting rows of the outbox, once or in a loop, or write migrations with triggers that fill it."""

    help = "Delivers the invalidations in the outbox of cachedeco, or writes migrations with triggers that fill it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the subcommands and their options."""
        kinds = parser.add_subparsers(dest="what", metavar="deliver|triggers", required=True)
        self._add_deliver(kinds)
        self._add_triggers(kinds)

    def _add_triggers(self, kinds: Any) -> None:
        what = kinds.add_parser(
            "triggers", help="Write migrations with triggers that record writes from outside Django, on PostgreSQL."
        )
        what.add_argument(
            "models",
            nargs="*",
            metavar="app_label[.Model]",
            help="Models, or all of an app. Default: the models of the project's own apps.",
        )
        what.add_argument("--all", action="store_true", help="Also the models of installed packages; needs --app.")
        what.add_argument(
            "--app", metavar="LABEL", help="The app whose migrations get the triggers. Default: that of each model."
        )
        what.add_argument("--dry-run", action="store_true", help="Print the migrations, and write nothing.")

    def _add_deliver(self, kinds: Any) -> None:
        what = kinds.add_parser("deliver", help="Deliver the invalidations that no cache has acknowledged yet.")
        what.add_argument("--loop", action="store_true", help="Go on until SIGTERM or SIGINT.")
        what.add_argument(
            "--every", type=_seconds, default=1.0, metavar="SECONDS", help="Pause of the loop (default: 1)."
        )
        what.add_argument(
            "--batch", type=_number, default=500, metavar="N", help="Rows to deliver together (default: 500)."
        )
        what.add_argument(
            "--database",
            action="append",
            metavar="ALIAS",
            help="Only this database; may be repeated. Default: all.",
        )
        what.add_argument(
            "--replay", action="store_true", help="Deliver rows again that were acknowledged within OUTBOX_SECONDS."
        )

    def handle(self, *_: object, **options: Any) -> None:
        """Run a deliverer, or write migrations."""
        if not apps.is_installed("cachedeco.outbox"):
            msg = 'There is no outbox: add "cachedeco.outbox" to INSTALLED_APPS, and migrate.'
            raise CommandError(msg)
        if options["what"] == "triggers":
            self._write_triggers(options)
        else:
            self._deliver(options)

    def _write_triggers(self, options: dict[str, Any]) -> None:
        from cachedeco.outbox.trigger_migrations import Planner

        files = Planner(options["models"], every=options["all"], target=options["app"]).files()
        for path, text in files:
            if not options["dry_run"]:
                path.write_text(text, encoding="utf-8")
            self.stdout.write(f"{path}\n{text}" if options["dry_run"] else f"Wrote {path}")
        if not files:
            self.stdout.write("Nothing to do: the migrations have a trigger for each of these tables.")

    def _deliver(self, options: dict[str, Any]) -> None:
        from cachedeco.outbox.delivery import Deliverer, tables

        if not tables():
            msg = "No database has an outbox: a router's allow_migrate() refuses 'cachedeco_outbox' everywhere."
            raise CommandError(msg)
        unknown = sorted(set(options["database"] or ()).difference(tables()))
        if unknown:
            msg = f"Database {unknown[0]!r} has no outbox; it is in {', '.join(tables())}."
            raise CommandError(msg)
        _require_tables(options["database"] or tables())
        if current_mode() == "off":
            self.stderr.write("cachedeco's mode is 'off' in these settings: nothing is delivered.")
        with _until_signal(loop=options["loop"]) as stop:
            deliverer = Deliverer(options["database"], options["batch"], lambda: stop.is_set)
            if options["loop"]:
                self._loop(deliverer, options["every"], stop, replay=options["replay"] or None)
            else:
                self._once(deliverer.run(replay=options["replay"]))

    def _once(self, report: "Report") -> None:
        self.stdout.write(_format_report(report))
        if report.failed:
            msg = f"The outbox of {report.failed} of the databases could not be delivered: the log has the error."
            raise CommandError(msg)
        if report.waiting:
            msg = "Not everything could be delivered; the rows wait for the next run."
            raise CommandError(msg)

    def _loop(self, deliverer: "Deliverer", every: float, stop: "Stop", *, replay: bool | None) -> None:
        """
        Run until a signal comes; print each report that differs from the last one and is not empty.

        A trigger ends the pause between two runs.
        """
        from cachedeco.outbox.listening import Listener

        before = None
        listener = Listener(deliverer.databases)
        while not stop.is_set:
            listener.listen()
            report, replay = deliverer.run(replay=replay), None
            # An unreachable server is reported once, not at each run.
            if report != before and any(report):
                self.stdout.write(_format_report(report))
                self.stdout.flush()  # or the line stays in the buffer of a pipe for hours
            before = report
            listener.wait(every, stop)
        listener.close()


def _require_tables(databases: Sequence[str]) -> None:
    """
    Refuse to run without the table.

    Raises:
        CommandError: A database does not have it. One that can't be asked may come back while the command runs.
    """
    from cachedeco.outbox.models import Row, has_table

    missing = []
    for alias in databases:
        with suppress(Error):
            missing += [] if has_table(alias) else [alias]
    if missing:
        others = "".join(f" --database {alias}" for alias in databases if alias not in missing)
        msg = (
            f"Database {missing[0]!r} has no table {Row._meta.db_table!r}: run manage.py migrate cachedeco_outbox "  # noqa: SLF001 -- Django documents it
            f"--database {missing[0]}; or keep the table out of it by a router's allow_migrate()"
            f"{f', or deliver the others with{others}' if others else ''}."
        )
        raise CommandError(msg)


def _format_report(report: "Report") -> str:
    return f"{report.delivered} delivered, {report.replayed} replayed, {report.waiting} waiting."


@contextmanager
def _until_signal(*, loop: bool) -> Iterator["Stop"]:
    """Give the flag that SIGTERM and SIGINT set; without a loop the signals keep their handlers."""
    from cachedeco.outbox.listening import Stop

    stop = Stop()
    signals = (signal.SIGTERM, signal.SIGINT) if loop else ()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stop.close()


def _seconds(text: str) -> float:
    """Parse the pause of the loop."""
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError(text)
    return seconds


def _number(text: str) -> int:
    """Parse the size of a batch."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
