"""A call to look up, and what a look-up has found for it."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, NamedTuple

from cachedeco.loading.policy import CachePolicy
from cachedeco.storage.entries import Entry, Stamp, stamp_of
from cachedeco.tracking import collector
from cachedeco.tracking.collector import Use, Variation

CallKeys = Sequence[str]  # the key of an entry, then those of the tokens that the call itself depends on
Wanted = tuple[CachePolicy, CallKeys]  # a call to look up: the policy of its function, and its keys


class VariedKeys(list[str]):
    """The keys of a call that varies by more than its arguments."""

    __slots__ = ("variation",)

    def __init__(self, keys: Sequence[str], variation: Variation) -> None:
        """Keep the variation beside the keys."""
        super().__init__(keys)
        self.variation = variation


def renew_keys(policy: CachePolicy, keys: CallKeys) -> CallKeys:
    """Return the keys of a call with those of the tables that the function is known to read by now."""
    if policy.tables is None:
        return keys
    renewed = policy.tables.renew(keys)
    return VariedKeys(renewed, keys.variation) if isinstance(keys, VariedKeys) else renewed


class Found(NamedTuple):
    """What a look-up has found for one call."""

    keys: CallKeys
    #: The values that were read, by key. None if the cache failed, and mostly for a plain hit, which needs no more: a
    #: fresh entry on which no computation around it depends, and which is neither refreshed early nor audited.
    raw: Mapping[str, object] | None = None
    entry_keys: Sequence[str] = ()  #: the key of the entry that was read, and those of all its tokens, nested ones too
    entry: Entry | None = None  #: fresh or stale, if its stamp equals the tokens

    @property
    def key(self) -> str:
        """The key of the entry: perhaps of the one for the models of this process, see `second_read`."""
        return (self.entry_keys or self.keys)[0]

    @property
    def variation(self) -> Variation:
        """What the call varies by."""
        return self.keys.variation if isinstance(self.keys, VariedKeys) else ()

    @property
    def tokens(self) -> Stamp:
        """The call's own tokens as read; empty if one is absent, since another caller may be creating it."""
        return stamp_of(self.keys[1:], self.raw or {}) or ()

    @property
    def nested_tokens(self) -> dict[str, bytes]:
        """The tokens of nested calls that the entry depends on, by name, as read."""
        raw: Mapping[str, Any] = self.raw or {}
        return {name: raw[name] for name in self.entry_keys[len(self.keys) :] if name in raw}


def record_found(policy: CachePolicy, found: Found) -> None:
    """Record in the enclosing computation what an entry that is served depends on."""
    ends = inf if found.entry is None else policy.stale_until(found.entry)
    use = Use(policy.function, found.variation, ends)
    collector.record_dependency(policy.store.alias, found.entry_keys, found.raw or {}, use)
