"""The management command `manage.py cachedeco`: run a deliverer of the outbox."""

import signal
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError

if TYPE_CHECKING:
    from cachedeco.outbox.delivery import Deliverer, Report

# Receives the number of a signal; SimpleQueue is the queue that a signal handler may use.
Stop = SimpleQueue[int]


class Command(BaseCommand):
    """Deliver the waiting rows of the outbox, once or in a loop."""

    help = "Delivers the invalidations in the outbox of cachedeco."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the subcommand `deliver` and its options."""
        kinds = parser.add_subparsers(dest="what", metavar="deliver", required=True)
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
        """Run a deliverer."""
        if not apps.is_installed("cachedeco.outbox"):
            msg = 'There is no outbox: add "cachedeco.outbox" to INSTALLED_APPS, and migrate.'
            raise CommandError(msg)
        from cachedeco.outbox.delivery import Deliverer, tables

        unknown = sorted(set(options["database"] or ()).difference(tables()))
        if unknown:
            msg = f"Database {unknown[0]!r} has no outbox; it is in {', '.join(tables())}."
            raise CommandError(msg)
        with _until_signal(loop=options["loop"]) as stop:
            deliverer = Deliverer(options["database"], options["batch"], lambda: not stop.empty())
            if options["loop"]:
                self._loop(deliverer, options["every"], stop, replay=options["replay"] or None)
            else:
                self._once(deliverer.run(replay=options["replay"]))

    def _once(self, report: "Report") -> None:
        self.stdout.write(_format_report(report))
        if report.waiting:
            msg = "Not everything could be delivered; the rows wait for the next run."
            raise CommandError(msg)

    def _loop(self, deliverer: "Deliverer", every: float, stop: Stop, *, replay: bool | None) -> None:
        """Run until a signal comes; print each report that differs from the last one and is not empty."""
        before = None
        while stop.empty():
            report, replay = deliverer.run(replay=replay), None
            # An unreachable server is reported once, not at each run.
            if report != before and any(report):
                self.stdout.write(_format_report(report))
                self.stdout.flush()  # or the line stays in the buffer of a pipe for hours
            before = report
            try:
                stop.put(stop.get(timeout=every))
            except Empty:
                continue


def _format_report(report: "Report") -> str:
    return f"{report.delivered} delivered, {report.replayed} replayed, {report.waiting} waiting."


@contextmanager
def _until_signal(*, loop: bool) -> Iterator[Stop]:
    """Give the queue that receives SIGTERM and SIGINT; without a loop the signals keep their handlers."""
    stop: Stop = SimpleQueue()
    signals = (signal.SIGTERM, signal.SIGINT) if loop else ()
    before = {number: signal.signal(number, lambda received, _: stop.put(received)) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
