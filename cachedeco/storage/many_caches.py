"""Read keys of several caches, each by one command, or in chunks that one command takes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.core.cache import caches

from cachedeco.storage.store import Store

# What was read from several caches: the values that are there, by the alias of the store and the name that it asked
# for; and the aliases of the caches that failed. No NamedTuple, whose constructor is written in Python.
Answers = tuple[dict[str, dict[str, Any]], list[str]]
Asked = Sequence[tuple[Store, Sequence[str]]]  # what each of several stores is asked for


def read_caches(asked: Asked, *, may_cross: bool = True) -> Answers:
    """
    Read what stores of different caches ask for, by one command of each cache.

    Args:
        asked: Names. A name is a key, or for one in another cache than that of the store its alias, a space, and the
            key. A cache is asked for the keys of its own store first, in their order.

        may_cross: Whether there may be a name with an alias.
    """
    # Sooner than to look at each name: nearly never is there one.
    elsewhere = may_cross and [
        (store.alias, name) for store, several in asked if " " in "".join(several) for name in several if " " in name
    ]
    if len(asked) == 1 and not elsewhere:  # faster than the general case
        [(store, keys)] = asked
        found = store.get_many(keys)
        return ({store.alias: {}}, [store.alias]) if found is None else ({store.alias: found}, [])
    commands = _commands(asked) if elsewhere else asked
    read = _by_cache(commands, [store.get_many(keys) for store, keys in commands])
    values = read[0]
    for home, name in elsewhere or ():
        alias, _, key = name.rpartition(" ")
        if key in values.get(alias, ()):
            values[home][name] = values[alias][key]
    return read


async def read_caches_on_loop(asked: Asked) -> Answers:
    """Do as `read_caches()` on an event loop, for caches that can be read there; each name is a key."""
    return _by_cache(asked, [await store.get_many_on_loop(keys) for store, keys in asked])


def _by_cache(commands: Asked, found: Sequence[dict[str, bytes] | None]) -> Answers:
    """Return what the commands have found, by cache."""
    read: dict[str, dict[str, Any]] = {}
    failed: list[str] = []
    for (store, _), values in zip(commands, found, strict=True):
        read[store.alias] = values or {}
        if values is None:
            failed.append(store.alias)
    return read, failed


def _commands(asked: Asked) -> list[tuple[Store, list[str]]]:
    """Return the keys to ask each cache for, where stores ask for keys of other caches."""
    stores = {store.alias: store for store, _ in asked}
    keys = {store.alias: {name: None for name in names if " " not in name} for store, names in asked}
    for store, names in asked:
        for name in names:
            alias, _, key = name.rpartition(" ")
            if alias in caches.settings:  # else the entry was written under other settings, or was forged
                stores.setdefault(alias, replace(store, alias=alias))
                keys.setdefault(alias, {})[key] = None
    return [(store, list(keys[alias])) for alias, store in stores.items()]


def get_many_across_caches(store: Store, keys: Sequence[str]) -> dict[str, Any] | None:
    """Return the values that are there, by keys with or without an alias before them; None if a cache failed."""
    values, failed = read_caches([(store, keys)])
    return None if failed else values[store.alias]
