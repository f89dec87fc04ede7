"""
Whole keys: the keys of one cache as its server gets them, worked out once, in the context of the call.

Django's default key function puts `KEY_PREFIX:VERSION:` before a key; then that text is known once for all keys. A
KEY_FUNCTION of the project is called for each key: it may name the tenant of the current thread. It does not make the
keys of tables: a row that one tenant saves is a row for all.
"""

from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

from django.core.cache.backends.base import BaseCache, default_key_func
from django.core.cache.backends.db import BaseDatabaseCache

from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import shorten
from cachedeco.storage.cache_keys import (
    DIGEST_AT_END,
    LONGEST_KEY,
    USUAL_KEY_BUDGET,
    digest_key,
    is_valid_key,
    with_digest,
)
from cachedeco.storage.connections import open_cache, open_plain_cache, scope_of

# Memcached takes no other characters. Made a "?", they change a text: faster than to delete all that it takes.
_REFUSED: Final = bytes(range(256)).translate(None, bytes(range(0x21, 0x7F)))
_MARKED: Final = bytes.maketrans(_REFUSED, b"?" * len(_REFUSED))


class KeyFunctionError(Exception):
    """The KEY_FUNCTION of a cache has raised an exception, which is the cause of this one."""

    def __init__(self, alias: str, key: str) -> None:
        """Remember the alias, and the key that it should have made whole."""
        super().__init__(f"KEY_FUNCTION of CACHES[{alias!r}] failed for {shorten(key)!r:.80}.")
        self.alias = alias
        self.key = key


@dataclass(frozen=True, slots=True)
class Keyspace:
    """How the keys of one cache are made, under the settings in force."""

    alias: str
    cache: BaseCache  #: used for its key function alone
    prefix: str | None  #: before each key; None if a key function makes each key
    table_prefix: str  #: before the key of a table's token
    key_budget: int  #: the length that these leave
    ends_in_digest: bool = False  #: whether a digest keeps keys apart that the cache would take for one
    asks_thread: bool = False  #: whether code of the project makes the keys: it may ask for what belongs to its thread

    @classmethod
    def of(cls, alias: str) -> "Keyspace":
        """
        Return the keyspace of an alias.

        The budget is the same for all prefixes of usual length: a KEY_FUNCTION may use prefixes of several lengths, one
        for each tenant.
        """
        cache = open_cache(alias)
        scope = scope_of(cache)
        default = f"{scope}{cache.key_prefix}:{cache.version}:"
        is_default = _makes_keys_by_default(cache)
        longest = len(default.encode())
        # Its database may compare keys without regard to case, accents or blanks at the end, as MySQL does by default.
        collates = isinstance(cache, BaseDatabaseCache)
        room = LONGEST_KEY - longest - (DIGEST_AT_END if collates else 0)
        prefix = default if is_default and not collates else None
        asks_thread = not is_default and not _makes_keys_by_default(open_plain_cache(alias))
        return cls(alias, cache, prefix, default, min(USUAL_KEY_BUDGET, room), collates, asks_thread)

    @property
    def start(self) -> str:
        """What a compiled function puts before its keys: they are whole then, unless a key function makes them."""
        return self.prefix or ""

    def whole_key(self, key: str) -> str:
        """Return the whole key for a key without prefix."""
        return self._whole(key, self.prefix)

    def table_key(self, key: str) -> str:
        """Return the whole key of a table's token."""
        return self._whole(key, self.table_prefix)

    def finish(self, keys: list[str]) -> list[str]:
        """Return the whole keys for those that a compiled function has returned: they begin as it was told."""
        prefix = self.prefix
        if prefix is not None:
            # The usual case. Sooner than is_valid_key(), which looks at each character by itself.
            text = "".join(keys)
            if text.isascii() and (data := text.encode()).translate(_MARKED) == data:
                longest = len(prefix) + self.key_budget
                if len(text) <= longest or max(map(len, keys)) <= longest:
                    return keys
        tables, others = len(self.table_prefix), len(self.start)
        return [
            self.table_key(key[tables:]) if key.startswith(self.table_prefix) else self.whole_key(key[others:])
            for key in keys
        ]

    def finish_each(self, calls: list[list[str]]) -> list[list[str]]:
        """Return what `finish()` does for the keys of each of several calls."""
        keys = [*chain.from_iterable(calls)]
        whole = self.finish(keys)
        if whole is keys:
            return calls
        rest = iter(whole)
        return [[*islice(rest, len(each))] for each in calls]

    def _whole(self, key: str, prefix: str | None) -> str:
        if len(key) > self.key_budget or not is_valid_key(key):
            key = digest_key(key, self.key_budget)
        if prefix is not None:
            whole = prefix + key
        else:
            try:
                whole = str(self.cache.make_key(key))
            except Exception as error:
                pass_interrupt(error)
                raise KeyFunctionError(self.alias, key) from error
        longest = LONGEST_KEY - (DIGEST_AT_END if self.ends_in_digest else 0)
        # What a KEY_FUNCTION adds may be too long, or contain a space.
        whole = whole if len(whole) <= longest and is_valid_key(whole) else digest_key(whole, longest)
        return with_digest(whole) if self.ends_in_digest else whole


def _makes_keys_by_default(cache: BaseCache) -> bool:
    return cache.key_func is default_key_func and type(cache).make_key is BaseCache.make_key


_keyspaces: dict[str, Keyspace] = {}


def keyspace(alias: str) -> Keyspace:
    """Return the keyspace of an alias, the same one until the settings change."""
    found = _keyspaces.get(alias)
    if found is None:
        found = _keyspaces[alias] = Keyspace.of(alias)
    return found


def forget_keyspaces() -> None:
    """Make the keyspaces anew: the settings have changed, or the isolation's scope."""
    _keyspaces.clear()
