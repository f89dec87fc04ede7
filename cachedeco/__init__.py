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

# Where each name is defined.
_MODULES = {
    "AUTO": "keys.dependencies",
    "MISSING": "functions.calls",
    "AsyncCachedQuery": "functions.single",
    "AsyncCachedQueryMany": "functions.bulk",
    "AsyncCall": "functions.calls",
    "AsyncCallMany": "functions.bulk_calls",
    "CachedQuery": "functions.single",
    "CachedQueryMany": "functions.bulk",
    "Call": "functions.calls",
    "CallMany": "functions.bulk_calls",
    "Event": "runtime.events",
    "Explanation": "functions.explaining",
    "Missing": "functions.calls",
    "Namespace": "invalidation.namespaces",
    "Serializer": "storage.serializers",
    "Statistics": "runtime.statistics",
    "Stats": "runtime.statistics",
    "add_hook": "runtime.hooks",
    "agather": "functions.gathering",
    "bypass": "runtime.modes",
    "cached_query": "functions.decorators",
    "cached_query_many": "functions.decorators",
    "deferred_invalidation": "invalidation.writes",
    "gather": "functions.gathering",
    "listening": "runtime.hooks",
    "mode": "runtime.modes",
    "register_key_type": "keys.encoders",
    "remembered": "loading.remembering",
    "remove_hook": "runtime.hooks",
    "rows": "keys.dependencies",
    "runs_anywhere": "runtime.hooks",
    "statistics": "storage.shared_statistics",
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
