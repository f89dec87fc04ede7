"""The Django app: it registers the system checks. The library works without being installed as one."""

from django.apps import AppConfig


class CachedecoConfig(AppConfig):
    """Register what Django has to know."""

    name = "cachedeco"

    def ready(self) -> None:
        """Register the checks."""
        from cachedeco import checks, checks_caches  # noqa: F401, PLC0415 -- register by being imported, with the apps
