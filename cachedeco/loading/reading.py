"""Read entries, and build the stamps of new ones."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cachedeco.invalidation import commits, transactions
from cachedeco.invalidation.tokens import read_or_create_tokens
from cachedeco.loading.policy import CachePolicy
from cachedeco.storage import many_caches
from cachedeco.storage.entries import Entry, Stamp, decode_entry, read_nested_names
from cachedeco.tracking import nested_names

# Reasons why an entry has no stamp.
OLD_SNAPSHOT: Final = "the transaction's snapshot may be older than the stamp"
NO_TOKENS: Final = "the cache has no tokens for it"

# The keys that the entry depends on, the raw values under them (a dict, or None), and the entry.
ReadResult = tuple[Sequence[str], Any, Entry | None]


def read_entry(policy: CachePolicy, keys: Sequence[str], also: Sequence[str] = ()) -> ReadResult:
    """
    Fetch an entry and its tokens with one `get_many`.

    A second one is needed the first time this process meets an entry with nested tokens.

    Args:
        policy: That of the function.

        keys: The entry's key, then those of the tokens that the call itself depends on.

        also: Other keys to ask for, before these.

    Returns:
        The keys of all that the entry depends on; the values that the cache has under them, or that this transaction
        writes at its commit (None: the cache failed); the entry, fresh or stale, if its stamp is alive.
    """
    nested = nested_names.names_by_key.get(keys[0], ()) if nested_names.names_by_key else ()
    own_keys = keys
    if nested:
        keys = [*own_keys, *nested]
        raw = many_caches.get_many_across_caches(policy.store, [*also, *keys])
    else:
        raw = policy.store.get_many([*also, *keys] if also else keys)
    if raw is not None and commits.has_pending():
        raw |= commits.pending_values(keys[:1])
    entry = decode_entry(policy.codec, keys, raw)
    if raw and (nested or entry is None):
        return _resolve_nested_tokens(policy, own_keys, nested, raw, entry)
    return keys, raw, entry


def _resolve_nested_tokens(
    policy: CachePolicy, keys: Sequence[str], nested: tuple[str, ...], raw: dict[str, object], entry: Entry | None
) -> ReadResult:
    """Read the entry again if it names other nested tokens than those that were read."""
    names = read_nested_names(policy.codec, keys, raw)
    if names is None:
        return keys, raw, None
    entry_keys = [*keys, *names]
    # This transaction sees its own invalidations at once, before they are delivered.
    if commits.has_pending() and commits.invalidated_in_transaction([name.rpartition(" ")[2] for name in names]):
        return keys, raw, None
    missing = [name for name in names if name not in raw]
    if entry is None and names != [*nested]:
        more = many_caches.get_many_across_caches(policy.store, missing) if missing else {}
        if more is None:
            return keys, raw, None  # not remembered: names that can't be read would make each later read fail
        raw |= more
        entry = decode_entry(policy.codec, entry_keys, raw)
    nested_names.remember(keys[0], names)
    return entry_keys, raw, entry


def build_stamp(policy: CachePolicy, keys: Sequence[str], raw: Mapping[str, object] | None) -> Stamp | None:
    """Return the stamp of the new entry; None if it can't have one, which is an event."""
    if transactions.snapshot_may_be_old():
        policy.emit("unstored", keys[0], reason=OLD_SNAPSHOT)
        return None
    stamp = None if raw is None else read_or_create_tokens(policy.store, keys[1:], raw, policy.lifetime)
    if stamp is None:
        policy.emit("unstored", keys[0], reason=NO_TOKENS)
    return stamp
