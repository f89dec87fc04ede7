"""Connect what is connected once, when the site starts."""

from django.apps import AppConfig

from cachedeco import add_hook
from clubs import tally


class ClubsConfig(AppConfig):
    """The one app of the site."""

    name = "clubs"

    def ready(self) -> None:
        """Count what the cache does for each request."""
        add_hook(tally.record)
