"""Connect what has to be connected once, when the site starts."""

from importlib import import_module

from django.apps import AppConfig

from cachedeco import add_hook


class ClubsConfig(AppConfig):
    """The one app of the site."""

    name = "clubs"

    def ready(self) -> None:
        """Connect the signal receiver, and count what the cache does for each request."""
        import_module("clubs.invalidation")
        tally = import_module("clubs.tally")
        add_hook(tally.record)
