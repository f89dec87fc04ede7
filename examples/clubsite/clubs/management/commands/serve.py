"""What `make serve` runs."""

import errno
import os
import socket
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.management.commands.runserver import Command as RunserverCommand
from django.core.management import CommandError, call_command
from django.utils.autoreload import DJANGO_AUTORELOAD_ENV

OTHER_PORTS = (8001, 8002)


class Command(RunserverCommand):
    """Prepare the site, then run the development server."""

    help = "Prepare the site (tables, clubs, administrator), then run the development server."

    def run(self, **options: Any) -> None:
        """Prepare only in the first process: the server starts a second one of itself, to reload code."""
        if DJANGO_AUTORELOAD_ENV not in os.environ:
            self.check_port()
            call_command("prepare", stdout=self.stdout)
            if settings.DEBUG:
                self.stdout.write("The admin is at /admin/: user admin, password admin, on this machine only.")
        super().run(**options)

    def check_port(self) -> None:
        """Say which port is busy before anything else is done, and what to type instead."""
        port = int(self.port)
        with socket.socket(socket.AF_INET6 if self.use_ipv6 else socket.AF_INET) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            try:
                listener.bind((self.addr, port))
            except (OSError, OverflowError) as error:
                is_busy = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
                reason = "another program uses it" if is_busy else error
                other = OTHER_PORTS[port == OTHER_PORTS[0]]
                msg = f"Can't serve on port {port}: {reason}. Choose another one: make serve PORT={other}"
                raise CommandError(msg) from error
