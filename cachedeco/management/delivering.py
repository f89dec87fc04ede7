"""`manage.py cachedeco deliver`: run a deliverer of the outbox, once or in a loop."""

import signal
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from django.apps import apps
from django.core.management.base import CommandError
from django.db import Error

from cachedeco.management.printing import Console
from cachedeco.management.subcommands import Subcommand, misunderstanding, seconds, whole_number
from cachedeco.runtime.modes import current_mode

if TYPE_CHECKING:
    from cachedeco.outbox.delivery import Deliverer, Report
    from cachedeco.outbox.listening import Stop


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--loop", action="store_true", help="Go on until SIGTERM or SIGINT.")
    parser.add_argument("--every", type=seconds, default=1.0, metavar="SECONDS", help="Pause of the loop (default: 1).")
    parser.add_argument(
        "--batch", type=whole_number, default=500, metavar="N", help="Rows to deliver together (default: 500)."
    )
    parser.add_argument(
        "--database",
        action="append",
        metavar="ALIAS",
        help="Only this database; may be repeated. Default: all.",
    )
    parser.add_argument(
        "--replay", action="store_true", help="Deliver rows again that were acknowledged within OUTBOX_SECONDS."
    )


def run(console: Console, options: dict[str, Any]) -> None:
    """
    Deliver.

    Raises:
        CommandError: There is no outbox where it is asked for; or, without a loop, not all could be delivered.
    """
    require_outbox()
    from cachedeco.outbox.delivery import Deliverer
    from cachedeco.outbox.models import outbox_databases

    if not (databases := outbox_databases()):
        msg = "No database has an outbox: a router's allow_migrate() refuses 'cachedeco_outbox' everywhere."
        raise CommandError(msg)
    unknown = sorted(set(options["database"] or ()).difference(databases))
    if unknown:
        msg = f"Database {unknown[0]!r} has no outbox; it is in {', '.join(databases)}."
        raise misunderstanding(msg)
    _require_tables(options["database"] or databases)
    if current_mode() == "off":
        console.whisper("cachedeco's mode is 'off' in these settings: nothing is delivered.")
    with _until_signal(loop=options["loop"]) as stop:
        deliverer = Deliverer(options["database"], options["batch"], lambda: stop.is_set)
        if options["loop"]:
            _loop(console, deliverer, options["every"], stop, replay=options["replay"] or None)
        else:
            _once(console, deliverer.run(replay=options["replay"]))


def require_outbox() -> None:
    """
    Refuse to run without the outbox.

    Raises:
        CommandError: It is not installed.
    """
    if not apps.is_installed("cachedeco.outbox"):
        msg = 'There is no outbox: add "cachedeco.outbox" to INSTALLED_APPS, and migrate.'
        raise CommandError(msg)


def _once(console: Console, report: "Report") -> None:
    console.say(_format_report(report))
    if report.failed:
        msg = f"The outbox of {report.failed} of the databases could not be delivered: the log has the error."
        raise CommandError(msg)
    if report.waiting:
        msg = "Not everything could be delivered; the rows wait for the next run."
        raise CommandError(msg)


def _loop(console: Console, deliverer: "Deliverer", every: float, stop: "Stop", *, replay: bool | None) -> None:
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
            console.say(_format_report(report))
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
            f"Database {missing[0]!r} has no table {Row._meta.db_table!r}: run manage.py migrate cachedeco_outbox "
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


SUBCOMMAND: Final = Subcommand(
    "deliver",
    "Deliver the invalidations in the outbox that no cache has acknowledged yet.",
    add_arguments,
    run,
    has_json=False,
)
