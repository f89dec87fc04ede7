"""`manage.py cachedeco`: what is to be done about caches from a shell."""

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

# Of a signal, what is put into it; SimpleQueue is the one that a signal's handler may use.
Stop = SimpleQueue[int]


class Command(BaseCommand):
    """Deliver what waits in the outbox: once, or as a loop."""

    help = "Looks after the invalidations of cachedeco."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add what there is to do."""
        kinds = parser.add_subparsers(dest="what", metavar="deliver", required=True)
        what = kinds.add_parser("deliver", help="Deliver the invalidations that no cache has acknowledged yet.")
        what.add_argument("--loop", action="store_true", help="Go on until SIGTERM or SIGINT.")
        what.add_argument("--every", type=_seconds, default=1.0, metavar="SECONDS", help="Pause of the loop: 1.")
        what.add_argument("--batch", type=_number, default=500, metavar="N", help="Rows to deliver together: 500.")
        what.add_argument(
            "--database", action="append", metavar="ALIAS", help="Only of this one; may be given again. All, else."
        )
        what.add_argument(
            "--replay", action="store_true", help="Deliver again what was acknowledged within OUTBOX_SECONDS."
        )

    def handle(self, *_: object, **options: Any) -> None:
        """Deliver."""
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
        self.stdout.write(_told(report))
        if report.waiting:
            msg = "Not everything could be delivered; the rows wait for the next time."
            raise CommandError(msg)

    def _loop(self, deliverer: "Deliverer", every: float, stop: Stop, *, replay: bool | None) -> None:
        """Run until a signal comes, and say what was done where something was."""
        before = None
        while stop.empty():
            report, replay = deliverer.run(replay=replay), None
            # A server that is away is told of once, and not each second.
            if report != before and any(report):
                self.stdout.write(_told(report))
                self.stdout.flush()  # a pipe to somebody's log keeps it for hours, else
            before = report
            try:
                stop.put(stop.get(timeout=every))
            except Empty:
                continue


def _told(report: "Report") -> str:
    return f"{report.delivered} delivered, {report.replayed} replayed, {report.waiting} waiting."


@contextmanager
def _until_signal(*, loop: bool) -> Iterator[Stop]:
    """Give the queue that a signal to stop is put into; only a loop does not simply end of it."""
    stop: Stop = SimpleQueue()
    signals = (signal.SIGTERM, signal.SIGINT) if loop else ()
    before = {each: signal.signal(each, lambda number, _: stop.put(number)) for each in signals}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _seconds(text: str) -> float:
    """Read a pause of the loop."""
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError(text)
    return seconds


def _number(text: str) -> int:
    """Read the size of a batch."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
