"""Caching decorators for Django: exact invalidation, one command a hit, and tests that never meet the cache."""

from importlib.metadata import version as _version

from cachedeco.cached import MISSING, CachedQuery, Missing
from cachedeco.conf import bypass, mode
from cachedeco.decorator import cached_query
from cachedeco.encoders import register_key_type
from cachedeco.events import Event, Stats
from cachedeco.namespaces import Namespace

__all__ = [
    "MISSING",
    "CachedQuery",
    "Event",
    "Missing",
    "Namespace",
    "Stats",
    "bypass",
    "cached_query",
    "mode",
    "register_key_type",
]


def __getattr__(name: str) -> str:
    """Return `__version__` from the installed package, so that the number is kept once."""
    if name == "__version__":
        return _version("cachedeco")
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
