"""The Django app: system checks, and what depends on models. The rest of the library works without it."""

from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Final

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import autodiscover_modules, module_has_submodule

from cachedeco.invalidation import signals
from cachedeco.runtime import conf, private_api

# Packages that add something to Django or to the core, each by its function `register()`.
DOORS: Final = ("checks", "auditing")


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
        for door in filter(partial(module_has_submodule, self.module), DOORS):  # a distribution may leave one out
            import_module(f"{self.name}.{door}").register()
        with suppress(ImproperlyConfigured):  # E001 says it
            autodiscover_modules(*conf.settings().MODULES)
        signals.connect()
