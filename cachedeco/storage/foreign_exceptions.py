"""
Foreign exceptions: raised in the middle of a command of a cache, and by none of its parts.

A handler of a signal may raise one, or another thread. It reaches the caller, where the cache's own is an event.
"""

import sys
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType
from typing import Any, Final

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.db import connections, router

from cachedeco.runtime.databases import fails_transaction
from cachedeco.storage.breaker import client_names_of

# Packages whose exceptions a command of a cache may raise, beside those of clients.
OF_CACHES: Final = frozenset(
    {"builtins", "cachedeco", "pickle", "_pickle", "zlib", "django", "sqlite3", "psycopg", "MySQLdb", "ssl"}
)
# What backends call of a serializer or a compressor that their OPTIONS name.
_METHODS: Final = ("dumps", "loads", "serialize", "deserialize", "compress", "decompress")


def is_foreign(error: Exception, alias: str, cache: BaseCache) -> bool:
    """
    Tell whether an exception is none of the cache.

    Of the cache are OSError, what Python, Django or a database raises, what a client raises, what is defined where the
    backend is, and what comes out of a serializer that OPTIONS name, whose libraries have exceptions of their own.
    """
    if isinstance(error, OSError) or client_names_of(error):
        return False
    packages = OF_CACHES.union(_package_of(cls.__module__) for cls in type(cache).__mro__)
    return _package_of(type(error).__module__) not in packages and not _is_of_options(error, alias)


def fails_callers_transaction(error: Exception, cache: BaseCache) -> bool:
    """Tell whether a query of the database cache has failed the transaction that the caller has begun."""
    if not isinstance(cache, DatabaseCache):
        return False
    model = cache.cache_model_class
    return fails_transaction(error, [connections[find(model)] for find in (router.db_for_read, router.db_for_write)])


def _is_of_options(error: Exception, alias: str) -> bool:
    """Tell whether an exception was raised by what OPTIONS name: by its frames, or where it has none, by its class."""
    options = caches.settings[alias].get("OPTIONS", {})
    parts = [part for option in options.values() for part in _parts_of(option)]
    modules = {_module_of(part) for part in parts}
    compiled = {_package_of(_module_of(part)) for part in parts if isinstance(part, BuiltinFunctionType)}
    return _package_of(type(error).__module__) in compiled or not modules.isdisjoint(_modules_in(error))


def _parts_of(option: object) -> Iterable[object]:
    """Return an option, given as an object or by its dotted path, and those of its methods that backends call."""
    if isinstance(option, str):
        module, _, name = option.rpartition(".")
        option = getattr(sys.modules.get(module), name, None)  # the backend has imported it
    return (option, *(getattr(option, method, None) for method in _METHODS))


def _module_of(part: Any) -> str:
    """Return the name of the module in which a class, an object or a function is written."""
    return getattr(part, "__module__", None) or ""


def _package_of(module: str) -> str:
    """Return the package of a module: `_cbor2`, which is compiled, is of `cbor2`."""
    return module.partition(".")[0].lstrip("_")


def _modules_in(error: Exception) -> Iterator[str]:
    """Iterate over the names of the modules in the traceback."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_globals.get("__name__", "")
        trace = trace.tb_next
