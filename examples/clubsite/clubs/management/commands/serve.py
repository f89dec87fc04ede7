"""What `make serve` runs."""

import os
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.management.commands.runserver import Command as RunserverCommand
from django.core.management import call_command
from django.utils.autoreload import DJANGO_AUTORELOAD_ENV


class Command(RunserverCommand):
    """Prepare the site, then run the development server."""

    help = "Prepare the site (tables, clubs, administrator), then run the development server."

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare only in the first process: the server starts a second one of itself, to reload code."""
        if DJANGO_AUTORELOAD_ENV not in os.environ:
            call_command("prepare", stdout=self.stdout)
            if settings.DEBUG:
                self.stdout.write("The admin is at /admin/: user admin, password admin, on this machine only.")
        super().handle(*args, **options)
