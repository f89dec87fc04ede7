"""The read of a look-up: which keys each cache is asked for, and which entries there are among the answers."""

from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from math import inf
from time import time
from typing import Any, cast

from cachedeco.invalidation import commits
from cachedeco.loading.found import CallKeys, Found, Wanted
from cachedeco.loading.policy import CachePolicy
from cachedeco.runtime.interrupts import Reraised
from cachedeco.storage import many_caches
from cachedeco.storage.entries import decode_values, new_tuple
from cachedeco.storage.store import Store
from cachedeco.tracking import nested_names
from cachedeco.tracking.collector import innermost
from cachedeco.tracking.nested_names import names_to_ask

# --- what to ask for ---


def keys_to_ask(policy: CachePolicy, keys: CallKeys) -> Sequence[str]:
    """Return the keys of a call, and the names of the nested tokens that its entry is known to need."""
    names = names_to_ask(policy.function, keys[0])
    return [*keys, *names] if names else keys


def keys_to_ask_each(wanted: Sequence[Wanted]) -> list[Sequence[str]]:
    """Return what to ask for, for each of several calls, as `keys_to_ask()` does for one."""
    if nested_names.names_by_function:
        return [keys_to_ask(*each) for each in wanted]
    return [keys for _, keys in wanted]


def are_in_one_cache(asked: Iterable[str]) -> bool:
    """Tell whether the names of nested tokens among these keys are in the cache of the entry that names them."""
    return " " not in "".join(asked)


def commands_for(
    wanted: Sequence[Wanted], asked: Sequence[Sequence[str]], also: Collection[str] = ()
) -> list[tuple[Store, list[str]]]:
    """
    Return what to ask each cache for, by one command.

    All entries before all tokens: servers answer key by key, so all that is served from one cache of one server was
    valid at one moment, between the two.
    """
    if not wanted:
        return []
    store = wanted[0][0].store
    for policy, _ in wanted:
        if policy.store.alias != store.alias:
            return _commands_for_several(wanted, asked)
    return [(store, [*dict.fromkeys(chain(also, [keys[0] for keys in asked], *asked))])]


def _commands_for_several(wanted: Sequence[Wanted], asked: Sequence[Sequence[str]]) -> list[tuple[Store, list[str]]]:
    """Do as `commands_for()` for calls in several caches."""
    stores = stores_of(wanted)
    names: dict[str, list[str]] = {alias: [] for alias in stores}
    for policy, (key, *_) in wanted:
        names[policy.store.alias].append(key)
    for (policy, _), several in zip(wanted, asked, strict=True):
        names[policy.store.alias] += several[1:]
    return [(stores[alias], list(dict.fromkeys(each))) for alias, each in names.items()]


def stores_of(wanted: Sequence[Wanted]) -> dict[str, Store]:
    """Return a store for each cache, by alias. Its function is that of the first call, and is in the events."""
    return {policy.store.alias: policy.store for policy, _ in reversed(wanted)}


# --- what was read ---


def read_entries(
    wanted: Sequence[Wanted], also: Collection[str] = (), *, serves: bool = False
) -> tuple[list[Found], list[int]]:
    """Fetch entries and their tokens by one read of each cache; return what `decode_each()` does."""
    asked = keys_to_ask_each(wanted)
    read = many_caches.read_caches(commands_for(wanted, asked, also), may_cross=bool(nested_names.names_by_function))
    return decode_each(wanted, asked, read, serves=serves)


def read_values(store: Store, asked: Sequence[str]) -> list[bytes | None] | None:
    """Read the values of some keys, in their order; None if a cache failed. Names may be of tokens in other caches."""
    if are_in_one_cache(asked):
        return store.read_each(asked)
    found = many_caches.get_many_across_caches(store, asked)
    return None if found is None else [cast("bytes | None", found.get(key)) for key in asked]


def decode_each(
    wanted: Sequence[Wanted],
    asked: Sequence[Sequence[str]],
    read: many_caches.Answers,
    reraised: Reraised = (),
    *,
    serves: bool = False,
) -> tuple[list[Found], list[int]]:
    """
    Return what was found for each call, and the numbers of those that a second read may find: see `second_read`.

    With *serves*, the values that were read for plain hits are left out, as by `look_up_one()`. For *reraised* see
    `decode_values()`.
    """
    raws, failed = read
    has_pending = commits.has_pending()
    if has_pending:
        for policy, keys in wanted:
            if value := commits.pending_value(keys[0]):
                raws[policy.store.alias][keys[0]] = value
    # What lasts longer is a plain hit, where nothing is around it.
    plain_from = time() if serves and not has_pending and innermost.get() is None else inf
    results: list[Found] = []
    unresolved: list[int] = []
    for (policy, keys), entry_keys in zip(wanted, asked, strict=True):
        raw: Any = raws[policy.store.alias]
        if failed and has_failed(policy, entry_keys, failed):
            results.append(Found(keys))
            continue
        names = b"" if entry_keys is keys else join_names(entry_keys[len(keys) :])
        entry = decode_values(policy.codec, keys[0], [*map(raw.get, entry_keys)], names, reraised)
        if entry is not None and entry.expires > plain_from and not policy.inspects_hits:
            results.append(new_tuple(Found, (keys, None, entry_keys, entry)))
            continue
        # The transaction of this thread may have invalidated nested tokens.
        if entry is None or (has_pending and entry_keys is not keys):
            unresolved.append(len(results))
        results.append(Found(keys, raw, entry_keys, entry))
    return results, unresolved


def has_failed(policy: CachePolicy, entry_keys: Sequence[str], failed: Collection[str]) -> bool:
    """Tell whether the cache of a call has failed, or that of a nested token."""
    return policy.store.alias in failed or any(key.rpartition(" ")[0] in failed for key in entry_keys)


def join_names(names: Sequence[str]) -> bytes:
    """Return the names of nested tokens as an entry has them."""
    return "\n".join(names).encode()
