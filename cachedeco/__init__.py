"""Caching decorators for Django: exact invalidation, one command a hit, and tests that never meet the cache."""

from importlib import import_module, metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cachedeco.cached import MISSING, CachedQuery, Missing
    from cachedeco.conf import bypass, mode
    from cachedeco.decorator import cached_query, cached_query_many
    from cachedeco.encoders import register_key_type
    from cachedeco.events import Event, Stats
    from cachedeco.invalidation import LostInvalidation
    from cachedeco.many import CachedQueryMany
    from cachedeco.namespaces import Namespace

__all__ = [
    "MISSING",
    "CachedQuery",
    "CachedQueryMany",
    "Event",
    "LostInvalidation",
    "Missing",
    "Namespace",
    "Stats",
    "bypass",
    "cached_query",
    "cached_query_many",
    "mode",
    "register_key_type",
]

_ROOMS = {
    "MISSING": "cached",
    "CachedQuery": "cached",
    "CachedQueryMany": "many",
    "Event": "events",
    "LostInvalidation": "invalidation",
    "Missing": "cached",
    "Namespace": "namespaces",
    "Stats": "events",
    "bypass": "conf",
    "cached_query": "decorator",
    "cached_query_many": "decorator",
    "mode": "conf",
    "register_key_type": "encoders",
}


def __getattr__(name: str) -> object:
    """
    Fetch a name when it is first asked for, and `__version__` from the installed package.

    pytest imports this package in every project that has it installed, for its plugin: that must not import Django.
    """
    if name == "__version__":
        return metadata.version("cachedeco")
    if name not in _ROOMS:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    found = globals()[name] = getattr(import_module(f"cachedeco.{_ROOMS[name]}"), name)
    return found


def __dir__() -> list[str]:
    """List what there is to fetch, for those who complete names."""
    return sorted({*globals(), *__all__})
