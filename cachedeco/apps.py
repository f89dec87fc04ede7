"""The Django app: system checks, and what depends on models. The rest of the library works without it."""

from contextlib import suppress

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import autodiscover_modules

from cachedeco import conf, receivers


class CachedecoConfig(AppConfig):
    """Register what Django has to know."""

    name = "cachedeco"

    def ready(self) -> None:
        """
        Register the checks, and have every process know what depends on which models.

        A process that only writes has no other reason to import the functions, and would invalidate nothing.
        """
        from cachedeco import checks, checks_caches  # noqa: F401, PLC0415 -- register by being imported, with the apps

        with suppress(ImproperlyConfigured):  # E001 says it
            autodiscover_modules(*conf.settings().MODULES)
        receivers.connect()
