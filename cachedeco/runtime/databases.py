"""The databases of the project."""

from typing import Final

from django.db import connections

DUMMY: Final = "django.db.backends.dummy"


def databases() -> list[str]:
    """Return the aliases of all databases; "default" without settings, where routers choose among others, is none."""
    return [alias for alias, settings in connections.settings.items() if settings["ENGINE"] != DUMMY]
