"""
The second read of a look-up: of entries that can't be served as they were read, though their own tokens are valid.

An entry may name nested tokens that were not asked for, since this process did not know of them. And the models among
its values may have other fields than in this process: another release of the project, which runs during a deployment,
has stored it. Its entry is left alone, and that of this release lies under a key of its own.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from cachedeco.invalidation import commits
from cachedeco.loading.found import Found, Wanted
from cachedeco.loading.reading import has_failed, read_entries, stores_of
from cachedeco.storage import many_caches
from cachedeco.storage.entries import decode_entry, key_for_models_here, read_nested_names
from cachedeco.tracking import nested_names


def resolve(
    wanted: Sequence[Wanted], results: list[Found], unresolved: Sequence[int], also: Collection[str] = ()
) -> list[Found]:
    """
    Read what unresolved results need, put what is found in their places, and return the results.

    *unresolved* are the numbers of those that can't be served as they were read; *also* are other keys to ask for,
    before these.
    """
    valid = _resolve_nested_tokens(wanted, results, unresolved) if unresolved else ()
    keys_here: dict[int, str] = {}
    for n in valid:
        _, raw, entry_keys, entry = results[n]
        if entry is None and raw and (key := key_for_models_here(wanted[n][0].codec, entry_keys, raw)):
            keys_here[n] = key
    if keys_here:
        again = [(wanted[n][0], [key, *results[n].keys[1:]]) for n, key in keys_here.items()]
        found_here, unresolved = read_entries(again, also)
        _resolve_nested_tokens(again, found_here, unresolved)
        for n, found in zip(keys_here, found_here, strict=True):
            results[n] = found._replace(keys=results[n].keys)
    return results


def _resolve_nested_tokens(
    wanted: Sequence[Wanted], results: list[Found], unresolved: Iterable[int]
) -> Collection[int]:
    """Find entries by the nested tokens that they name; return the numbers of those whose own tokens are valid."""
    names_of: dict[int, list[str]] = {}
    for n in unresolved:
        keys, raw, asked, entry = results[n]
        if keys[0] not in (raw or ()):
            if len(asked) > len(keys):  # the names that were asked for are of no entry
                results[n] = Found(keys, raw, keys)
            continue
        names = read_nested_names(wanted[n][0].codec, keys, raw or {})
        if names is not None:
            names_of[n] = names
        elif entry is not None or asked is not keys:
            results[n] = Found(keys, raw, keys)
    if names_of:
        _read_nested_tokens(wanted, results, names_of)
    return names_of


def _read_nested_tokens(wanted: Sequence[Wanted], results: list[Found], names_of: Mapping[int, Sequence[str]]) -> None:
    """Read entries again that name other nested tokens than those that were read: one read of each cache for all."""
    missing: dict[str, dict[str, None]] = {}
    raw: Any
    for n, names in names_of.items():
        raw = results[n].raw
        missing.setdefault(wanted[n][0].store.alias, {}).update({name: None for name in names if name not in raw})
    stores = stores_of([wanted[n] for n in names_of])
    more, failed = many_caches.read_caches([(stores[alias], list(names)) for alias, names in missing.items() if names])
    for n, names in names_of.items():
        policy = wanted[n][0]
        keys, raw, asked, entry = results[n]
        # Names that can't be read are not remembered: they would make each later read fail.
        if failed and has_failed(policy, names, failed):
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
