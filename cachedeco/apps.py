"""The Django app: registers the checks and the auditor, and watches what is written. The rest works without it."""

from functools import partial
from importlib import import_module
from typing import Final

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import autodiscover_modules, module_has_submodule

from cachedeco.invalidation import parts
from cachedeco.runtime import conf, private_api
from cachedeco.runtime.log import logger
from cachedeco.tracking import watcher

# Packages that add something to Django or to the core, each by its function `register()`.
DOORS: Final = ("checks", "auditing", "testing")


class CachedecoConfig(AppConfig):
    """Configure the app `cachedeco`."""

    name = "cachedeco"

    def ready(self) -> None:
        """
        Register the checks, import the modules with cached functions, and watch every connection to a database.

        A process that only writes does not import the functions otherwise, and would not know the rows that they name.

        Raises:
            ImproperlyConfigured: Django or asgiref lacks a private name that invalidations need.
        """
        private_api.require()
        conf.forget()  # a function that was called before, as by a module of another app, is now under AUTO
        for door in filter(partial(module_has_submodule, self.module), DOORS):  # a distribution may leave one out
            import_module(f"{self.name}.{door}").register()
        parts.connect()
        try:
            modules = conf.settings().MODULES
        except ImproperlyConfigured as error:  # the check E001 reports it, which no WSGI server runs
            logger.error("%s Each cached call raises this until it is mended.", error)
        else:
            autodiscover_modules(*modules)
        watcher.start()
