"""The look-up: entries and their tokens by one read, for one call and for many."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from math import inf
from time import time
from typing import Any, NamedTuple, Protocol, cast

from cachedeco.invalidation import commits
from cachedeco.loading.policy import CachePolicy
from cachedeco.storage import many_caches
from cachedeco.storage.entries import (
    Entry,
    Stamp,
    decode_entry,
    decode_values,
    key_beside_other_models,
    new_tuple,
    read_nested_names,
    stamp_of,
)
from cachedeco.tracking import collector, nested_names
from cachedeco.tracking.collector import Use, Variation, innermost
from cachedeco.tracking.nested_names import names_to_ask

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
    entry_keys: Sequence[str] = ()  #: the key of the entry that was read, and those of all its tokens, nested ones too
    entry: Entry | None = None  #: fresh or stale, if its stamp equals the tokens

    @property
    def key(self) -> str:
        """The key of the entry: perhaps of one beside that of another release."""
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


def renew_keys(policy: CachePolicy, keys: CallKeys) -> CallKeys:
    """Return the keys of a call with those of the tables that the function is known to read by now."""
    if policy.tables is None:
        return keys
    renewed = policy.tables.renew(keys)
    return VariedKeys(renewed, keys.variation) if isinstance(keys, VariedKeys) else renewed


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
    # Nearly always empty without nested calls.
    names = names_to_ask(policy.function, keys[0]) if nested_names.names_by_function else ()
    asked = [*keys, *names] if names else keys
    values = _read_each(policy, asked, names) if names else policy.store.read(asked)
    if values is None:
        return Found(keys)
    is_pending = commits.waiting and commits.has_pending()  # nearly always empty, too
    if is_pending:  # this thread finds what its transaction stores at the commit
        values[0] = commits.pending_values(keys[:1]).get(keys[0], values[0])
    entry = decode_values(policy.codec, keys[0], values, _joined(names) if names else b"")
    if (
        entry is not None
        and entry.expires > time()
        and innermost.get() is None
        and not policy.inspects_hits
        and not (is_pending and names)
    ):
        return new_tuple(Found, (keys, None, asked, entry))  # a plain hit, which needs no more
    raw: dict[str, object] = {key: value for key, value in zip(asked, values, strict=True) if value is not None}
    return _look_beside(policy, _examine(policy, [Found(keys, raw, asked, entry)], raw, () if entry else (0,)))[0]


def look_up(policy: CachePolicy, calls: Sequence[CallKeys], also: Collection[str] = ()) -> list[Found]:
    """
    Fetch entries and their tokens by one read.

    A second read is needed where an entry names other nested tokens than this process knows of, and while a living
    entry has models with other fields than here: then the entry beside it is found.

    Args:
        policy: That of the function.

        calls: The keys of each call.

        also: Other keys to ask for, before these.

    Returns:
        What was found, in the order of the calls. Their raw values are one dict for all. Entries that the transaction
        of this thread stores at its commit are found, too.
    """
    if policy.tables is None:
        return _look_beside(policy, _read_entries(policy, calls, also), also)
    calls = [renew_keys(policy, keys) for keys in calls]
    results = _look_beside(policy, _read_entries(policy, calls, also), also)
    if commits.has_pending():
        # When the call began, this process may not have known a table that its transaction has invalidated.
        for n, (keys, raw, _, entry) in enumerate(results):
            if entry is not None and commits.invalidated_in_transaction(keys[1:]):
                results[n] = Found(keys, raw, keys)
    return results


def _read_entries(policy: CachePolicy, calls: Sequence[CallKeys], also: Collection[str]) -> list[Found]:
    """Fetch entries and their tokens as `look_up()` does, without looking beside them."""
    wanted: Sequence[Sequence[str]] = calls
    nested: Sequence[tuple[str, ...]] = ()
    if nested_names.names_by_function:
        nested = [names_to_ask(policy.function, keys[0]) for keys in calls]
        wanted = [[*keys, *names] if names else keys for keys, names in zip(calls, nested, strict=True)]
    # All entries before all tokens: servers answer key by key, so all that is served was valid at one moment, between.
    entries = [keys[0] for keys in calls]
    asked = list(dict.fromkeys(chain(also, entries, chain.from_iterable(wanted))))
    values = _read_each(policy, asked, chain.from_iterable(nested))
    if values is None:
        return [Found(keys) for keys in calls]
    raw: dict[str, Any] = {key: value for key, value in zip(asked, values, strict=True) if value is not None}
    if commits.has_pending():
        raw |= commits.pending_values([keys[0] for keys in calls])
    value_of = raw.get
    results: list[Found] = []
    missed = []
    for keys, entry_keys in zip(calls, wanted, strict=True):
        names = b"" if entry_keys is keys else _joined(entry_keys[len(keys) :])
        entry = decode_values(policy.codec, keys[0], [*map(value_of, entry_keys)], names)
        if entry is None:
            missed.append(len(results))
        results.append(new_tuple(Found, (keys, raw, entry_keys, entry)))
    return _examine(policy, results, raw, missed)


def _read_each(policy: CachePolicy, asked: Sequence[str], names: Iterable[str]) -> list[bytes | None] | None:
    """Read the values of some keys, in their order; the names among them may be of tokens in other caches."""
    if names and any(" " in name for name in names):
        found = many_caches.get_many_across_caches(policy.store, asked)
        return None if found is None else [cast("bytes | None", found.get(key)) for key in asked]
    return policy.store.read_each(asked)


def _look_beside(policy: CachePolicy, results: list[Found], also: Collection[str] = ()) -> list[Found]:
    """Look up the entries beside those that live, and whose models have other fields here."""
    beside: dict[int, str] = {}
    for n, (_, raw, entry_keys, entry) in enumerate(results):
        if entry is None and raw and (key := key_beside_other_models(policy.codec, entry_keys, raw)):
            beside[n] = key
    if beside:
        calls = [[key, *results[n].keys[1:]] for n, key in beside.items()]
        for n, found in zip(beside, _read_entries(policy, calls, also), strict=True):
            results[n] = found._replace(keys=results[n].keys)
    return results


def _joined(names: Sequence[str]) -> bytes:
    """Return the names of nested tokens as an entry has them."""
    return "\n".join(names).encode()


def _examine(policy: CachePolicy, results: list[Found], raw: dict[str, object], missed: Sequence[int]) -> list[Found]:
    """
    Look again at entries that can't be served as they were read: they may name other nested tokens.

    Args:
        policy: That of the function.

        results: What was found.

        raw: The values that were read.

        missed: The numbers of the results without an entry.
    """
    unresolved = []
    for n in missed:
        keys, _, asked, _ = results[n]
        if keys[0] in raw:
            unresolved.append(n)
        elif len(asked) > len(keys):  # the names that were asked for are of no entry
            results[n] = Found(keys, raw, keys)
    if commits.has_pending():  # the transaction of this thread may have invalidated nested tokens
        unresolved += [n for n, (keys, _, asked, entry) in enumerate(results) if entry and len(asked) > len(keys)]
    if unresolved:
        _resolve_nested_tokens(policy, results, unresolved, raw)
    return results


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
        nested_names.remember(policy.function, keys[0], names)
        # This transaction sees its own invalidations at once, before they are delivered.
        if commits.has_pending() and commits.invalidated_in_transaction([name.rpartition(" ")[2] for name in names]):
            results[n] = Found(keys, raw, keys)
            continue
        entry_keys = [*keys, *names]
        if entry is None and entry_keys != asked:
            entry = decode_entry(policy.codec, entry_keys, raw)
        results[n] = Found(keys, raw, entry_keys, entry)
