"""Read entries, and the stamps for new ones."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from cachedeco.invalidation import transactions
from cachedeco.invalidation.tokens import read_or_create_tokens
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.writing import write
from cachedeco.storage import many_caches
from cachedeco.storage.entries import Entry, Stamp, decode_entry, inner_names
from cachedeco.tracking import nested_names

V = TypeVar("V")

# Why an entry has no stamp.
OLD_SNAPSHOT: Final = "the transaction's snapshot may be older than the stamp"


NO_TOKENS: Final = "the cache has no tokens for it"


ReadResult = tuple[Sequence[str], Any, Entry | None]  # keys, what was found of them (a dict, or None), entry


def read_entry(policy: CachePolicy, keys: Sequence[str], also: Sequence[str] = ()) -> ReadResult:
    """
    Look up an entry by one `get_many`; by one more where this process does not know yet what calls inside it told.

    Args:
        policy: That of the function.

        keys: The entry's key, then those of the tokens that the call itself depends on.

        also: Other keys to ask for, before these.

    Returns:
        The keys of all that the entry depends on; what the cache holds of them, or else what this transaction keeps
        for its commit (None: it could not be asked); the entry, whatever its age, if its stamp is alive.
    """
    inner = nested_names.remembered.get(keys[0], ()) if nested_names.remembered else ()
    own = keys
    if inner:
        keys = [*own, *inner]
        found = many_caches.get_many_across_caches(policy.store, [*also, *keys])
    else:
        found = policy.store.get_many([*also, *keys] if also else keys)
    if transactions.waiting and found is not None:
        found |= {
            each.pending.key: each.sealed for each in transactions.items_for(write) if each.pending.key == keys[0]
        }
    entry = decode_entry(policy.codec, keys, found)
    if found and (inner or entry is None):
        return _resolve_nested_tokens(policy, own, inner, found, entry)
    return keys, found, entry


def _resolve_nested_tokens(
    policy: CachePolicy, keys: Sequence[str], inner: tuple[str, ...], found: dict[str, object], entry: Entry | None
) -> ReadResult:
    """Look the entry up again where it depends on other names than were asked for."""
    names = inner_names(policy.codec, keys, found)
    if names is None:
        return keys, found, None
    every = [*keys, *names]
    # What this transaction has invalidated is old for itself, though nobody else may know yet.
    if transactions.waiting and transactions.invalidated_in_transaction([name.rpartition(" ")[2] for name in names]):
        return keys, found, None
    missing = [name for name in names if name not in found]
    if entry is None and names != [*inner]:
        there = many_caches.get_many_across_caches(policy.store, missing) if missing else {}
        if there is None:
            return keys, found, None  # and whoever remembers names that can't be asked for can't ask for anything
        found |= there
        entry = decode_entry(policy.codec, every, found)
    nested_names.remember(keys[0], names)
    return every, found, entry


def build_stamp(policy: CachePolicy, keys: Sequence[str], found: Mapping[str, object] | None) -> Stamp | None:
    """Return the stamp for the entry to come; None where there is to be none."""
    if transactions.snapshot_may_be_old(policy.using):
        policy.tell("unstored", keys[0], reason=OLD_SNAPSHOT)
        return None
    stamp = None if found is None else read_or_create_tokens(policy.store, keys[1:], found, policy.lifetime)
    if stamp is None:
        policy.tell("unstored", keys[0], reason=NO_TOKENS)
    return stamp
