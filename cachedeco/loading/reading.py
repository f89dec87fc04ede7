"""Read entries, and the stamps for new ones."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from cachedeco.invalidation import transactions
from cachedeco.invalidation.tokens import capture
from cachedeco.loading.policy import Terms
from cachedeco.loading.writing import write
from cachedeco.storage import many_caches
from cachedeco.storage.entries import Entry, Stamp, inner_names, unseal
from cachedeco.tracking import nested_names

V = TypeVar("V")

# Why an entry has no stamp.
OLD_SNAPSHOT: Final = "the transaction's snapshot may be older than the stamp"


NO_TOKENS: Final = "the cache has no tokens for it"


Look = tuple[Sequence[str], Any, Entry | None]  # keys, what was found of them (a dict, or None), entry


def looked_up(terms: Terms, keys: Sequence[str], also: Sequence[str] = ()) -> Look:
    """
    Look up an entry by one `get_many`; by one more where this process does not know yet what calls inside it told.

    Args:
        terms: Those of the function.

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
        found = many_caches.asked(terms.store, [*also, *keys])
    else:
        found = terms.store.get_many([*also, *keys] if also else keys)
    if transactions.waiting and found is not None:
        found |= {each.draft.key: each.sealed for each in transactions.items_for(write) if each.draft.key == keys[0]}
    entry = unseal(terms.shelf, keys, found)
    if found and (inner or entry is None):
        return _looked_inside(terms, own, inner, found, entry)
    return keys, found, entry


def _looked_inside(
    terms: Terms, keys: Sequence[str], inner: tuple[str, ...], found: dict[str, object], entry: Entry | None
) -> Look:
    """Look the entry up again where it depends on other names than were asked for."""
    names = inner_names(terms.shelf, keys, found)
    if names is None:
        return keys, found, None
    every = [*keys, *names]
    # What this transaction has invalidated is old for itself, though nobody else may know yet.
    if transactions.waiting and transactions.touched([name.rpartition(" ")[2] for name in names]):
        return keys, found, None
    missing = [name for name in names if name not in found]
    if entry is None and names != [*inner]:
        there = many_caches.asked(terms.store, missing) if missing else {}
        if there is None:
            return keys, found, None  # and whoever remembers names that can't be asked for can't ask for anything
        found |= there
        entry = unseal(terms.shelf, every, found)
    nested_names.remember(keys[0], names)
    return every, found, entry


def stamped(terms: Terms, keys: Sequence[str], found: Mapping[str, object] | None) -> Stamp | None:
    """Return the stamp for the entry to come; None where there is to be none."""
    if transactions.snapshot_may_be_old(terms.using):
        terms.tell("unstored", keys[0], reason=OLD_SNAPSHOT)
        return None
    stamp = None if found is None else capture(terms.store, keys[1:], found, terms.lifetime)
    if stamp is None:
        terms.tell("unstored", keys[0], reason=NO_TOKENS)
    return stamp
