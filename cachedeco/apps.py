"""The Django app: system checks, and what depends on models. The rest of the library works without it."""

from contextlib import suppress
from importlib import import_module
from typing import cast

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import autodiscover_modules

from cachedeco.invalidation import signals
from cachedeco.loading import sampling
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
        from cachedeco.checks import register

        register()

        with suppress(ModuleNotFoundError):  # a distribution may leave it out
            sampling.install_auditor(cast("sampling.Auditor", import_module("cachedeco.auditing.auditor")))
        with suppress(ImproperlyConfigured):  # E001 says it
            autodiscover_modules(*conf.settings().MODULES)
        signals.connect()
