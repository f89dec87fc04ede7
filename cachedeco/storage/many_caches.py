"""Read keys of several caches, each by one command, or in chunks that one command takes."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from django.core.cache import caches

from cachedeco.storage.store import Store


class Read(NamedTuple):
    """What was read from several caches."""

    values: dict[str, dict[str, Any]]  #: those that are there, by the alias of the store and the name that it asked for
    failed: Collection[str]  #: the aliases of the caches that failed


def read_caches(asked: Sequence[tuple[Store, Sequence[str]]]) -> Read:
    """
    Read what stores of different caches ask for, by one command of each cache.

    A name is a key, or for one in another cache than that of the store its alias, a space, and the key. A cache is
    asked for the keys of its own store first, in their order.
    """
    values: dict[str, dict[str, Any]] = {}
    failed = []
    # Sooner than to look at each name: nearly never is there one.
    elsewhere = [
        (store.alias, name) for store, names in asked if " " in "".join(names) for name in names if " " in name
    ]
    for store, keys in _commands(asked) if elsewhere else asked:
        found = store.get_many(keys)
        values[store.alias] = found or {}
        if found is None:
            failed.append(store.alias)
    for home, name in elsewhere:
        alias, _, key = name.rpartition(" ")
        if key in values.get(alias, ()):
            values[home][name] = values[alias][key]
    return Read(values, failed)


def _commands(asked: Sequence[tuple[Store, Sequence[str]]]) -> list[tuple[Store, list[str]]]:
    """Return the keys to ask each cache for, where stores ask for keys of other caches."""
    stores = {store.alias: store for store, _ in asked}
    keys = {store.alias: {name: None for name in names if " " not in name} for store, names in asked}
    for store, names in asked:
        for name in names:
            alias, _, key = name.rpartition(" ")
            if alias in caches.settings:  # else the entry was written under other settings, or was forged
                stores.setdefault(alias, Store(alias, store.function))
                keys.setdefault(alias, {})[key] = None
    return [(store, list(keys[alias])) for alias, store in stores.items()]


def get_many_across_caches(store: Store, keys: Sequence[str]) -> dict[str, Any] | None:
    """Return the values that are there, by keys with or without an alias before them; None if a cache failed."""
    values, failed = read_caches([(store, keys)])
    return None if failed else values[store.alias]
