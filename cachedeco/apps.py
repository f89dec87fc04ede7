"""The Django app: system checks, and what depends on models. The rest of the library works without it."""

from contextlib import suppress

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import autodiscover_modules

from cachedeco.invalidation import signals
from cachedeco.runtime import conf, private_api


class CachedecoConfig(AppConfig):
    """Register what Django has to know."""

    name = "cachedeco"

    def ready(self) -> None:
        """
        Register the checks, and have every process know what depends on which models.

        A process that only writes has no other reason to import the functions, and would invalidate nothing.

        Raises:
            ImproperlyConfigured: This Django, or asgiref, has lost what the invalidations rest on.
        """
        private_api.require()
        from cachedeco.checks import register  # noqa: PLC0415 -- the checks look at the apps

        register()

        with suppress(ImproperlyConfigured):  # E001 says it
            autodiscover_modules(*conf.settings().MODULES)
        signals.connect()
