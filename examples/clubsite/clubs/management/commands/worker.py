"""What `make worker` runs: a second process, which writes."""

import os
from argparse import ArgumentParser
from datetime import date, datetime, time, timedelta
from itertools import count
from time import sleep

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, ProgrammingError

from clubs.models import ClubClass

WORKER_CLUB = 1


class Command(BaseCommand):
    """Move one class again and again, as a worker, a cron job or another web server writes."""

    help = "Move a class of one club every few seconds, until Ctrl-C: the site shows it at once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the club, and how often."""
        parser.add_argument("--club", type=int, default=WORKER_CLUB, help=f"of which club ({WORKER_CLUB})")
        parser.add_argument("--moves", type=int, help="how many times (until Ctrl-C)")
        parser.add_argument("--pause", type=float, default=5, help="seconds between two moves (5)")

    def handle(self, *, club: int, moves: int | None, pause: float, **_: object) -> None:
        """Move it; nothing here is about the cache."""
        try:
            for number in count() if moves is None else range(moves):
                if number:
                    sleep(pause)
                moved = move_a_class(club)
                self.stdout.write(f"Process {os.getpid()} moved {moved} of {moved.club}.")
        except (OperationalError, ProgrammingError) as error:
            msg = f"The worker can't write ({error}). If the site has no tables yet, run make serve first."
            raise CommandError(msg) from error
        except KeyboardInterrupt:
            self.stdout.write("")


def move_a_class(club: int) -> ClubClass:
    """Move the first class of a club by five minutes, within its hour."""
    moved = ClubClass.objects.filter(club=club).select_related("club").order_by("pk").first()
    if moved is None:
        msg = f"Club {club} has no class to move. Run manage.py prepare, or name another club by --club."
        raise CommandError(msg)
    minutes = timedelta(minutes=5 if moved.start_time.minute < 55 else -55)  # noqa: PLR2004
    moved.start_time, moved.end_time = later(moved.start_time, minutes), later(moved.end_time, minutes)
    moved.save()
    return moved


def later(moment: time, length: timedelta) -> time:
    """Return the time of day so much later."""
    return (datetime.combine(date.min, moment) + length).time()
