"""The look-up: entries and their tokens by one read, for one call and for many."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from time import time
from typing import Any, NamedTuple, Protocol, cast

from cachedeco.invalidation import commits
from cachedeco.loading.policy import CachePolicy
from cachedeco.storage import many_caches
from cachedeco.storage.entries import Entry, Stamp, decode_entry, decode_values, read_nested_names, stamp_of
from cachedeco.tracking import collector, nested_names
from cachedeco.tracking.collector import Use, Variation, innermost

CallKeys = Sequence[str]  # the key of an entry, then those of the tokens that the call itself depends on


class VariedKeys(list[str]):
    """The keys of a call that varies by more than its arguments."""

    __slots__ = ("variation",)

    def __init__(self, keys: Sequence[str], variation: Variation) -> None:
        """Keep the variation beside the keys."""
        super().__init__(keys)
        self.variation = variation


class Reinvocation(Protocol):
    """A way to repeat a call in another thread or process, to refresh its entries."""

    def resolve_keys(self, ids: Sequence[Any], /) -> list[list[str]]:
        """Return the keys of the entries of these ids, and of their tokens, as they are in this thread."""
        ...

    def enqueue(self, ids: Sequence[Any], /) -> None:
        """Enqueue a task that refreshes the entries of these ids."""
        ...


class Found(NamedTuple):
    """What a look-up has found for one call."""

    keys: CallKeys
    raw: Mapping[str, object] | None = None  #: the values that were read, by key; None if the cache failed
    entry_keys: Sequence[str] = ()  #: the keys of all that the entry depends on, nested tokens included
    entry: Entry | None = None  #: fresh or stale, if its stamp equals the tokens

    @property
    def key(self) -> str:
        """The key of the entry."""
        return self.keys[0]

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


def look_up_one(policy: CachePolicy, keys: CallKeys) -> Found:
    """
    Fetch one entry and its tokens by one read. This is all that a hit does.

    Returns:
        What was found; without the values that were read if the entry is fresh, and nothing depends on it.
    """
    names: tuple[str, ...] = ()
    if nested_names.names_by_key:  # nearly always empty without nested calls
        names = nested_names.names_by_key.get(keys[0], ())
    if commits.has_pending() or (names and any(" " in name for name in names)):
        return look_up(policy, [keys])[0]  # it may depend on what this thread has not committed, or on another cache
    asked = [*keys, *names] if names else keys
    values = policy.store.read(asked)
    if values is None:
        return Found(keys)
    entry = decode_values(policy.codec, keys[0], values, _joined(names))
    if entry is not None and innermost.get() is None and not policy.inspects_hits and entry.expires > time():
        return Found(keys, None, asked, entry)  # a plain hit, which needs no more
    raw: dict[str, object] = {key: value for key, value in zip(asked, values, strict=True) if value is not None}
    if entry is not None or keys[0] not in raw:
        return Found(keys, raw, asked, entry)
    results = [Found(keys, raw, asked)]
    _resolve_nested_tokens(policy, results, [0], raw)
    return results[0]


def look_up(policy: CachePolicy, calls: Sequence[CallKeys], also: Iterable[str] = ()) -> list[Found]:
    """
    Fetch entries and their tokens by one read.

    A second read is needed the first time that this process meets an entry with nested tokens.

    Args:
        policy: That of the function.

        calls: The keys of each call.

        also: Other keys to ask for, before these.

    Returns:
        What was found, in the order of the calls. Their raw values are one dict for all. Entries that the transaction
        of this thread stores at its commit are found, too.
    """
    nested = [nested_names.names_by_key.get(keys[0], ()) for keys in calls]
    wanted = [[*keys, *names] if names else keys for keys, names in zip(calls, nested, strict=True)]
    # All entries before all tokens: servers answer key by key, so all that is served was valid at one moment, between.
    entries = [keys[0] for keys in calls]
    asked = list(dict.fromkeys([*also, *entries, *(key for keys in wanted for key in keys)]))
    raw: dict[str, object] | None
    if any(nested):  # perhaps in other caches
        raw = many_caches.get_many_across_caches(policy.store, asked)
    else:
        raw = cast("dict[str, object] | None", policy.store.get_many(asked))
    if raw is None:
        return [Found(keys) for keys in calls]
    if commits.has_pending():
        raw |= commits.pending_values([keys[0] for keys in calls])
    value_of = cast("dict[str, bytes]", raw).get
    results = [
        Found(
            own_keys, raw, keys, decode_values(policy.codec, keys[0], [value_of(key) for key in keys], _joined(names))
        )
        for own_keys, keys, names in zip(calls, wanted, nested, strict=True)
    ]
    unresolved = [n for n, found in enumerate(results) if found.entry is None and found.key in raw]
    if commits.has_pending():  # the transaction of this thread may have invalidated nested tokens
        unresolved += [n for n, found in enumerate(results) if found.entry is not None and nested[n]]
    if unresolved:
        _resolve_nested_tokens(policy, results, unresolved, raw)
    return results


def _joined(names: Sequence[str]) -> bytes:
    """Return the names of nested tokens as an entry has them."""
    return "\n".join(names).encode() if names else b""


def _resolve_nested_tokens(
    policy: CachePolicy, results: list[Found], unresolved: Sequence[int], raw: dict[str, object]
) -> None:
    """Read entries again that name other nested tokens than those that were read."""
    names_of = {n: read_nested_names(policy.codec, results[n].keys, raw) for n in unresolved}
    missing = {name: None for names in names_of.values() for name in names or () if name not in raw}
    more = many_caches.get_many_across_caches(policy.store, list(missing)) if missing else {}
    if more is None:  # not remembered: names that can't be read would make each later read fail
        names_of = dict.fromkeys(names_of)
    raw |= more or {}
    for n, names in names_of.items():
        keys, _, asked, entry = results[n]
        if names is None:
            results[n] = Found(keys, raw, keys)
            continue
        nested_names.remember(keys[0], names)
        # This transaction sees its own invalidations at once, before they are delivered.
        if commits.has_pending() and commits.invalidated_in_transaction([name.rpartition(" ")[2] for name in names]):
            results[n] = Found(keys, raw, keys)
            continue
        entry_keys = [*keys, *names]
        if entry is None and entry_keys != asked:
            entry = decode_entry(policy.codec, entry_keys, raw)
        results[n] = Found(keys, raw, entry_keys, entry)
