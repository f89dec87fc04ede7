"""What the demo runs beside the server, on PostgreSQL."""

import os
import signal
import sys
from threading import Thread

from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Run `cachedeco deliver --loop` until standard input ends."""

    help = "Run `cachedeco deliver --loop`, end with standard input."

    def handle(self, **_: object) -> None:
        """Deliver; the loop ends as it ends in production, by SIGTERM."""
        # As in serve_until_eof: this process ends with the one that has started it, however that ends.
        Thread(target=self.terminate_at_eof, daemon=True).start()
        call_command("cachedeco", "deliver", "--loop", stdout=self.stdout)

    @staticmethod
    def terminate_at_eof() -> None:
        """Wait until standard input ends."""
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)
