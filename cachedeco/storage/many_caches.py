"""Read keys of several caches, in chunks that one command takes."""

from collections.abc import Sequence

from django.core.cache import caches

from cachedeco.storage.store import Store


def get_many_across_caches(store: Store, keys: Sequence[str]) -> dict[str, object] | None:
    """Return the values that are there, by keys with or without an alias before them; None if a cache failed."""
    keys_by_alias: dict[str, list[str]] = {}
    for key in keys:
        keys_by_alias.setdefault(key.rpartition(" ")[0] or store.alias, []).append(key)
    values: dict[str, object] = {}
    for alias, alias_keys in keys_by_alias.items():
        if alias not in caches.settings:
            continue  # the entry was written under other settings, or was forged
        full_keys = {key.rpartition(" ")[2]: key for key in alias_keys}
        alias_values = Store(alias, store.function).get_many(list(full_keys))
        if alias_values is None:
            return None
        values |= {full_key: alias_values[key] for key, full_key in full_keys.items() if key in alias_values}
    return values
