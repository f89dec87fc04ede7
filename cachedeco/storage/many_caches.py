"""Read keys of several caches, in as many commands as that takes."""

from collections.abc import Sequence

from django.core.cache import caches

from cachedeco.storage.store import Store


def get_many_across_caches(store: Store, keys: Sequence[str]) -> dict[str, object] | None:
    """Return what is there of keys with and without an alias before them; None where a cache could not be asked."""
    apart: dict[str, list[str]] = {}
    for key in keys:
        apart.setdefault(key.rpartition(" ")[0] or store.alias, []).append(key)
    found: dict[str, object] = {}
    for alias, names in apart.items():
        if alias not in caches.settings:
            continue  # as the name of a cache, or in an entry that somebody else has made up
        by_key = {name.rpartition(" ")[2]: name for name in names}
        there = _get_many_in_chunks(Store(alias, store.function), list(by_key))
        if there is None:
            return None
        found |= {name: there[key] for key, name in by_key.items() if key in there}
    return found


def _get_many_in_chunks(store: Store, keys: Sequence[str]) -> dict[str, object] | None:
    """Return what is there of any number of keys, by as many commands as that takes."""
    found: dict[str, object] = {}
    for some in store.chunks(keys):
        there = store.get_many(some)
        if there is None:
            return None
        found |= there
    return found
