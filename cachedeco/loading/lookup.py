"""The look-up: entries and their tokens by one read, for one call, for many, and for calls of several functions."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from math import inf
from time import time
from typing import Any, NamedTuple, Protocol, cast

from django.core.exceptions import SynchronousOnlyOperation

from cachedeco.invalidation import commits, epochs
from cachedeco.loading import remembering
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.remembering import Memory, Recalled
from cachedeco.runtime.interrupts import Passes
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
from cachedeco.storage.store import Store
from cachedeco.tracking import collector, nested_names
from cachedeco.tracking.collector import Use, Variation, innermost
from cachedeco.tracking.nested_names import names_to_ask

CallKeys = Sequence[str]  # the key of an entry, then those of the tokens that the call itself depends on
Wanted = tuple[CachePolicy, CallKeys]  # a call to look up: the policy of its function, and its keys
Values = list[bytes | None] | None  # what was read for one call; None if the cache failed


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


class Asking(NamedTuple):
    """What the look-up of one call asks for."""

    keys: Sequence[str]  #: those of the call, and the names of nested tokens
    names: Sequence[str]  #: these names
    memory: Memory | None  #: the request's, if what is read is remembered
    since: object  #: what `epochs.last()` returned before the read


def look_up_one(policy: CachePolicy, keys: CallKeys) -> Found:
    """
    Fetch one entry and its tokens by one read. This is all that a hit does.

    Returns:
        What was found; without the values that were read if the entry is fresh, and nothing depends on it.
    """
    if nested_names.names_by_function or remembering.current.get() is not None:
        asking = ask_for_one(policy, keys)
        if isinstance(asking, Found):
            return asking
        asked, names, _, _ = asking
        values = _read_each(policy, asked, names) if names else policy.store.read(asked)
        return find_one(policy, keys, values, *asking)
    # As above, and faster: nearly always without nested calls and without the middleware.
    return find_one(policy, keys, policy.store.read(keys), keys, (), None, None)


def ask_for_one(policy: CachePolicy, keys: CallKeys) -> Asking | Found:
    """Return what to ask the cache for; or what was found, in the request's memory."""
    memory = remembering.current.get()
    if memory is not None:  # nearly never without the middleware
        if not remembering.usable(memory):
            memory = None
        elif (recalled := memory.recall(policy, keys)) is not None:
            return _found_again(keys, recalled, is_plain=not policy.inspects_hits)
    since = memory and epochs.last()  # before the read
    # Nearly always empty without nested calls.
    names = names_to_ask(policy.function, keys[0]) if nested_names.names_by_function else ()
    return new_tuple(Asking, ([*keys, *names] if names else keys, names, memory, since))


def find_one(  # noqa: PLR0913, PLR0917 -- those of `Asking`, which are quicker one by one
    policy: CachePolicy,
    keys: CallKeys,
    values: Values,
    asked: Sequence[str],
    names: Sequence[str],
    memory: Memory | None,
    since: object,
    passes: Passes = (),
) -> Found:
    """
    Return what is among the values that were read. This is the rest of what a hit does.

    Raises:
        SynchronousOnlyOperation: If *passes* is that: it is no fresh entry, or this is not known without the database.
    """
    if values is None:
        return Found(keys)
    is_pending = commits.waiting and not passes and commits.has_pending()  # nearly always empty, too
    if is_pending:  # this thread finds what its transaction stores at the commit
        values[0] = commits.pending_values(keys[:1]).get(keys[0], values[0])
    entry = decode_values(policy.codec, keys[0], values, _joined(names) if names else b"", passes)
    is_fresh = entry is not None and entry.expires > time()
    if is_fresh and innermost.get() is None and not policy.inspects_hits and not (is_pending and names):
        if memory is not None:
            memory.remember(keys, asked, values, since)
        return new_tuple(Found, (keys, None, asked, entry))  # a plain hit, which needs no more
    if passes and not is_fresh:
        raise SynchronousOnlyOperation
    raw: dict[str, object] = {key: value for key, value in zip(asked, values, strict=True) if value is not None}
    wanted, results = [(policy, keys)], [Found(keys, raw, asked, entry)]
    if (entry is None and keys[0] in raw) or (names and (entry is None or is_pending)):
        _look_beside(wanted, results, _examine(wanted, results, [0]))
    if memory is not None:
        _remember(memory, results, since)
    return results[0]


def _found_again(keys: CallKeys, recalled: Recalled, *, is_plain: bool) -> Found:
    """Return what the request's memory has, as a look-up does: of a plain hit without the values that were read."""
    read, entry = recalled
    raw = None if is_plain else dict(zip(read.entry_keys, read.values, strict=True))
    return new_tuple(Found, (keys, raw, read.entry_keys, entry))


def _remember(memory: Memory, results: Iterable[Found], since: object) -> None:
    """Remember the entries that were found in the cache, and which calls have found none."""
    now = time()
    for keys, raw, entry_keys, entry in results:
        if entry is None:
            memory.miss(keys[0], since)
        elif entry.expires > now and raw is not None:
            memory.remember(keys, entry_keys, [raw[key] for key in entry_keys], since)


def recall_or_look_up(wanted: Sequence[Wanted]) -> list[Found]:
    """
    Look up calls of users: by the request's memory, and what it has not by one read, as `look_up_each()` does.

    Returns:
        What was found, as by `look_up_one()`: plain hits without the values that were read.
    """
    if remembering.current.get() is None:
        return _read_entries(wanted, serves=True)
    recalling = Recalling(wanted)
    return recalling.join(_read_entries(recalling.left) if recalling.left else [])


class Recalling:
    """Calls of users: which of them the request's memory has, and which are left to look up."""

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        """Ask the memory, if there is one."""
        memory = remembering.current.get()
        self._memory = memory if memory is not None and remembering.usable(memory) else None
        self._wanted = self.left = wanted
        if self._memory is not None:
            self._since = epochs.last()  # before the read
            self._recalled = [self._memory.recall(*each) for each in wanted]
            self.left = [each for each, found in zip(wanted, self._recalled, strict=True) if found is None]

    def join(self, read: list[Found]) -> list[Found]:
        """Return what is remembered and what was found of the calls that were left, in the order of the calls."""
        if self._memory is None:
            return read
        _remember(self._memory, read, self._since)
        rest = iter(read)
        return [
            next(rest) if found is None else _found_again(keys, found, is_plain=False)
            for (_, keys), found in zip(self._wanted, self._recalled, strict=True)
        ]


def look_up(policy: CachePolicy, calls: Sequence[CallKeys], also: Collection[str] = ()) -> list[Found]:
    """Fetch the entries of one function, as `look_up_each()` does those of several."""
    return look_up_each([(policy, keys) for keys in calls], also)


def look_up_each(wanted: Sequence[Wanted], also: Collection[str] = ()) -> list[Found]:
    """
    Fetch entries and their tokens by one read of each cache.

    A second read is needed where an entry names other nested tokens than this process knows of, and while a living
    entry has models with other fields than here: then the entry beside it is found.

    Args:
        wanted: The calls, of any functions.

        also: Other keys to ask for, before these.

    Returns:
        What was found, in the order of the calls. The raw values of one cache are one dict for all. Entries that the
        transaction of this thread stores at its commit are found, too.
    """
    wanted = [each if each[0].tables is None else (each[0], renew_keys(*each)) for each in wanted]
    return without_invalidated(wanted, _read_entries(wanted, also))


def without_invalidated(wanted: Sequence[Wanted], results: list[Found]) -> list[Found]:
    """Leave out entries that depend on tables which the transaction of this thread has invalidated."""
    if commits.has_pending():
        # When the call began, this process may not have known a table that its transaction has invalidated.
        for n, ((policy, _), (keys, raw, _, entry)) in enumerate(zip(wanted, results, strict=True)):
            if policy.tables is not None and entry is not None and commits.invalidated_in_transaction(keys[1:]):
                results[n] = Found(keys, raw, keys)
    return results


def _read_entries(
    wanted: Sequence[Wanted], also: Collection[str] = (), *, beside: bool = True, serves: bool = False
) -> list[Found]:
    """Fetch entries and their tokens as `look_up_each()` does, perhaps without looking beside, or to serve them."""
    asked = asked_for(wanted)
    raw = many_caches.read_caches(commands_for(wanted, asked, also), names=bool(nested_names.names_by_function))
    results, doubtful = decode_each(wanted, asked, raw, serves=serves)
    return look_closer(wanted, results, doubtful, also, beside=beside)


def asked_for(wanted: Sequence[Wanted]) -> list[Sequence[str]]:
    """Return the keys of each call, and the names of the nested tokens that its entry is known to need."""
    if nested_names.names_by_function:
        return [_with_nested_names(*each) for each in wanted]
    return [keys for _, keys in wanted]


def decode_each(
    wanted: Sequence[Wanted],
    asked: Sequence[Sequence[str]],
    read: many_caches.Read,
    passes: Passes = (),
    *,
    serves: bool = False,
) -> tuple[list[Found], list[int]]:
    """
    Return what was found for each call, and the numbers of those that can't be served as they were read.

    Args:
        wanted: The calls.

        asked: What was asked for, for each of them.

        read: What was read.

        passes: As for `decode_values()`.

        serves: Whether they are calls of users, whose plain hits need no values that were read; see `find_one()`.
    """
    raws, failed = read
    has_pending = commits.has_pending()
    if has_pending:
        for policy, keys in wanted:
            raws[policy.store.alias] |= commits.pending_values(keys[:1])
    # What lasts longer is a plain hit, where nothing is around it.
    plain_from = time() if serves and not has_pending and innermost.get() is None else inf
    results: list[Found] = []
    doubtful: list[int] = []
    for (policy, keys), entry_keys in zip(wanted, asked, strict=True):
        raw: Any = raws[policy.store.alias]
        if failed and _has_failed(policy, entry_keys, failed):
            results.append(Found(keys))
            continue
        names = b"" if entry_keys is keys else _joined(entry_keys[len(keys) :])
        entry = decode_values(policy.codec, keys[0], [*map(raw.get, entry_keys)], names, passes)
        # The transaction of this thread may have invalidated nested tokens.
        if entry is None or (has_pending and entry_keys is not keys):
            doubtful.append(len(results))
        elif entry.expires > plain_from and not policy.inspects_hits:
            raw = None
        results.append(new_tuple(Found, (keys, raw, entry_keys, entry)))
    return results, doubtful


def look_closer(
    wanted: Sequence[Wanted],
    results: list[Found],
    doubtful: Sequence[int],
    also: Collection[str] = (),
    *,
    beside: bool = True,
) -> list[Found]:
    """Read what entries need that can't be served as they were read: other nested tokens, the entries beside them."""
    if doubtful:
        living = _examine(wanted, results, doubtful)
        if beside:
            _look_beside(wanted, results, living, also)
    return results


def _with_nested_names(policy: CachePolicy, keys: CallKeys) -> Sequence[str]:
    """Return the keys of a call, and the names of the nested tokens that its entry is known to need."""
    names = names_to_ask(policy.function, keys[0])
    return [*keys, *names] if names else keys


def commands_for(
    wanted: Sequence[Wanted], asked: Sequence[Sequence[str]], also: Collection[str] = ()
) -> list[tuple[Store, list[str]]]:
    """
    Return what to ask each cache for, by one command.

    All entries before all tokens: servers answer key by key, so all that is served from one cache of one server was
    valid at one moment, between the two.
    """
    stores = _stores_of(wanted)
    if len(stores) == 1:  # faster than the general case
        [store] = stores.values()
        return [(store, [*dict.fromkeys(chain(also, [keys[0] for keys in asked], *asked))])]
    names: dict[str, list[str]] = {alias: [] for alias in stores}
    for policy, (key, *_) in wanted:
        names[policy.store.alias].append(key)
    for (policy, _), several in zip(wanted, asked, strict=True):
        names[policy.store.alias] += several[1:]
    return [(stores[alias], list(dict.fromkeys(each))) for alias, each in names.items()]


def _stores_of(wanted: Sequence[Wanted]) -> dict[str, Store]:
    """Return a store for each cache, by alias. Its function is that of the first call, and is in the events."""
    return {policy.store.alias: policy.store for policy, _ in reversed(wanted)}


def _has_failed(policy: CachePolicy, entry_keys: Sequence[str], failed: Collection[str]) -> bool:
    """Tell whether the cache of a call has failed, or that of a nested token."""
    return policy.store.alias in failed or any(key.rpartition(" ")[0] in failed for key in entry_keys)


def _read_each(policy: CachePolicy, asked: Sequence[str], names: Iterable[str]) -> list[bytes | None] | None:
    """Read the values of some keys, in their order; the names among them may be of tokens in other caches."""
    if not are_in_one_cache(names):
        found = many_caches.get_many_across_caches(policy.store, asked)
        return None if found is None else [cast("bytes | None", found.get(key)) for key in asked]
    return policy.store.read_each(asked)


def are_in_one_cache(names: Iterable[str]) -> bool:
    """Tell whether tokens are in the cache of the entry that names them."""
    return " " not in "".join(names)


def _look_beside(
    wanted: Sequence[Wanted], results: list[Found], living: Iterable[int], also: Collection[str] = ()
) -> None:
    """Look up the entries beside those that live, and whose models have other fields here."""
    beside: dict[int, str] = {}
    for n in living:
        _, raw, entry_keys, entry = results[n]
        if entry is None and raw and (key := key_beside_other_models(wanted[n][0].codec, entry_keys, raw)):
            beside[n] = key
    if beside:
        again = [(wanted[n][0], [key, *results[n].keys[1:]]) for n, key in beside.items()]
        for n, found in zip(beside, _read_entries(again, also, beside=False), strict=True):
            results[n] = found._replace(keys=results[n].keys)


def _joined(names: Sequence[str]) -> bytes:
    """Return the names of nested tokens as an entry has them."""
    return "\n".join(names).encode()


def _examine(wanted: Sequence[Wanted], results: list[Found], doubtful: Iterable[int]) -> Sequence[int]:
    """
    Look again at results that can't be served as they were read: an entry may name other nested tokens.

    Args:
        wanted: The calls.

        results: What was found for them.

        doubtful: Their numbers.

    Returns:
        The numbers of the entries whose own tokens are those of now.
    """
    unresolved = []
    for n in doubtful:
        keys, raw, asked, _ = results[n]
        if keys[0] in (raw or ()):
            unresolved.append(n)
        elif len(asked) > len(keys):  # the names that were asked for are of no entry
            results[n] = Found(keys, raw, keys)
    names_of: dict[int, list[str]] = {}
    for n in unresolved:
        keys, raw, *_ = results[n]
        names = read_nested_names(wanted[n][0].codec, keys, raw or {})
        if names is None:
            results[n] = Found(keys, raw, keys)
        else:
            names_of[n] = names
    if names_of:
        _resolve_nested_tokens(wanted, results, names_of)
    return [*names_of]


def _resolve_nested_tokens(
    wanted: Sequence[Wanted], results: list[Found], names_of: Mapping[int, Sequence[str]]
) -> None:
    """Read entries again that name other nested tokens than those that were read: one read of each cache for all."""
    missing: dict[str, dict[str, None]] = {}
    raw: Any
    for n, names in names_of.items():
        raw = results[n].raw
        missing.setdefault(wanted[n][0].store.alias, {}).update({name: None for name in names if name not in raw})
    stores = _stores_of([wanted[n] for n in names_of])
    more, failed = many_caches.read_caches([(stores[alias], list(names)) for alias, names in missing.items() if names])
    for n, names in names_of.items():
        policy = wanted[n][0]
        keys, raw, asked, entry = results[n]
        # Names that can't be read are not remembered: they would make each later read fail.
        if failed and _has_failed(policy, names, failed):
            results[n] = Found(keys, raw, keys)
            continue
        raw |= more.get(policy.store.alias, {})
        nested_names.remember(policy.function, keys[0], names)
        # This transaction sees its own invalidations at once, before they are delivered.
        if commits.has_pending() and commits.invalidated_in_transaction([name.rpartition(" ")[2] for name in names]):
            results[n] = Found(keys, raw, keys)
            continue
        entry_keys = [*keys, *names]
        if entry is None and entry_keys != asked:
            entry = decode_entry(policy.codec, entry_keys, raw)
        results[n] = Found(keys, raw, entry_keys, entry)
