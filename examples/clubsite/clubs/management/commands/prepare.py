"""Make the site ready to be looked at."""

import os

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand

ADMIN_NAME = "admin"


class Command(BaseCommand):
    """Create the tables, the clubs and an administrator, so far as they are missing."""

    help = "Create the tables, the clubs and an administrator, so far as they are missing."

    def handle(self, **_: object) -> None:
        """Do it; to do it again does nothing."""
        call_command("migrate", verbosity=0)
        call_command("make_clubs", if_empty=True, stdout=self.stdout)
        self.create_admin()

    def create_admin(self) -> None:
        """
        Create an administrator whose password is known: from the environment, or, in DEBUG only, "admin".
        """
        password = os.environ.get("CLUBSITE_ADMIN_PASSWORD") or ("admin" if settings.DEBUG else None)
        users = get_user_model().objects
        if password is None or users.filter(username=ADMIN_NAME).exists():
            return
        users.create_superuser(ADMIN_NAME, password=password)
