"""Caching decorators for Django: exact invalidation, one command a hit, and tests that never meet the cache."""

from typing import TYPE_CHECKING

from cachedeco.lazy_names import fetch

if TYPE_CHECKING:
    from cachedeco.functions.bulk import AsyncCachedQueryMany, CachedQueryMany
    from cachedeco.functions.bulk_calls import AsyncCallMany, CallMany
    from cachedeco.functions.calls import MISSING, AsyncCall, Call, Missing
    from cachedeco.functions.decorators import cached_query, cached_query_many
    from cachedeco.functions.explaining import Explanation
    from cachedeco.functions.gathering import agather, gather
    from cachedeco.functions.single import AsyncCachedQuery, CachedQuery
    from cachedeco.invalidation.namespaces import Namespace
    from cachedeco.invalidation.writes import deferred_invalidation
    from cachedeco.keys.dependencies import AUTO, rows
    from cachedeco.keys.encoders import register_key_type
    from cachedeco.loading.remembering import remembered
    from cachedeco.runtime.events import Event
    from cachedeco.runtime.hooks import add_hook, listening, remove_hook, runs_anywhere
    from cachedeco.runtime.modes import bypass, mode
    from cachedeco.runtime.statistics import Statistics, Stats
    from cachedeco.storage.serializers import Serializer
    from cachedeco.storage.shared_statistics import statistics

__all__ = [
    "AUTO",
    "MISSING",
    "AsyncCachedQuery",
    "AsyncCachedQueryMany",
    "AsyncCall",
    "AsyncCallMany",
    "CachedQuery",
    "CachedQueryMany",
    "Call",
    "CallMany",
    "Event",
    "Explanation",
    "Missing",
    "Namespace",
    "Serializer",
    "Statistics",
    "Stats",
    "add_hook",
    "agather",
    "bypass",
    "cached_query",
    "cached_query_many",
    "deferred_invalidation",
    "gather",
    "listening",
    "mode",
    "register_key_type",
    "remembered",
    "remove_hook",
    "rows",
    "runs_anywhere",
    "statistics",
]

# What each module defines of them.
_MODULES = {
    "functions.bulk": ("AsyncCachedQueryMany", "CachedQueryMany"),
    "functions.bulk_calls": ("AsyncCallMany", "CallMany"),
    "functions.calls": ("MISSING", "AsyncCall", "Call", "Missing"),
    "functions.decorators": ("cached_query", "cached_query_many"),
    "functions.explaining": ("Explanation",),
    "functions.gathering": ("agather", "gather"),
    "functions.single": ("AsyncCachedQuery", "CachedQuery"),
    "invalidation.namespaces": ("Namespace",),
    "invalidation.writes": ("deferred_invalidation",),
    "keys.dependencies": ("AUTO", "rows"),
    "keys.encoders": ("register_key_type",),
    "loading.remembering": ("remembered",),
    "runtime.events": ("Event",),
    "runtime.hooks": ("add_hook", "listening", "remove_hook", "runs_anywhere"),
    "runtime.modes": ("bypass", "mode"),
    "runtime.statistics": ("Statistics", "Stats"),
    "storage.serializers": ("Serializer",),
    "storage.shared_statistics": ("statistics",),
}


def __getattr__(name: str) -> object:
    """Fetch a name when it is first asked for, and `__version__` from the installed package."""
    if name == "__version__":
        from importlib.metadata import version  # as long to import as all of Python's own start

        return version("cachedeco")
    return fetch(__name__, name, _MODULES)


def __dir__() -> list[str]:
    """List what there is to fetch, for those who complete names."""
    return sorted({*globals(), *__all__})
