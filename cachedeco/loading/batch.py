"""Read, stamp, materialize and store many entries of one function with few commands."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from os import urandom
from typing import Any, Final, NamedTuple

from cachedeco.invalidation import commits, transactions
from cachedeco.invalidation.tokens import create_tokens
from cachedeco.loading.effects import Err, Ok, Outcome
from cachedeco.loading.materializing import materialize
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.reading import NO_TOKENS, OLD_SNAPSHOT, ReadResult
from cachedeco.loading.writing import UNSEEN_COMMIT, PendingEntry, PendingWrite, encode_value
from cachedeco.storage import many_caches
from cachedeco.storage.entries import TOKEN_BYTES, Stamp, decode_entry, is_token, read_nested_names
from cachedeco.storage.serializers import ABSENT
from cachedeco.tracking import nested_names

CallKeys = Sequence[str]  # the key of an entry, then those of the tokens that the call itself depends on


# --- read ---


def read_entries(policy: CachePolicy, calls: Sequence[CallKeys], also: Iterable[str] = ()) -> list[ReadResult]:
    """
    Fetch entries and their tokens with one `get_many`.

    A second one is needed the first time this process meets an entry with nested tokens. Returns for each what
    `reading.read_entry()` does; the raw values are one dict for all.
    """
    nested = [nested_names.names_by_key.get(keys[0], ()) for keys in calls]
    wanted = [[*keys, *names] for keys, names in zip(calls, nested, strict=True)]
    raw = many_caches.get_many_across_caches(
        policy.store, list(dict.fromkeys([*also, *(key for keys in wanted for key in keys)]))
    )
    if raw is None:
        return [(keys, None, None) for keys in calls]
    if commits.has_pending():
        raw |= commits.pending_values([keys[0] for keys in calls])
    results: list[ReadResult] = [(keys, raw, decode_entry(policy.codec, keys, raw)) for keys in wanted]
    unresolved = [
        n
        for n, (own_keys, (keys, _, entry)) in enumerate(zip(calls, results, strict=True))
        if len(keys) > len(own_keys) or (entry is None and own_keys[0] in raw)
    ]
    if unresolved:
        _resolve_nested_tokens(policy, calls, results, unresolved)
    return results


def _resolve_nested_tokens(
    policy: CachePolicy, calls: Sequence[CallKeys], results: list[ReadResult], unresolved: Sequence[int]
) -> None:
    """Read the unresolved entries again if they name other nested tokens than those that were read."""
    raw: dict[str, object] = results[0][1]
    nested = {n: read_nested_names(policy.codec, calls[n], raw) for n in unresolved}
    missing = {name for names in nested.values() for name in names or () if name not in raw}
    if missing:
        more = many_caches.get_many_across_caches(policy.store, sorted(missing))
        nested = dict.fromkeys(nested) if more is None else nested  # as reading.read_entry() does
        raw |= more or {}
    for n, names in nested.items():
        keys, entry = calls[n], results[n][2]
        results[n] = keys, raw, None
        if names is None:
            continue
        nested_names.remember(keys[0], names)
        # This transaction sees its own invalidations at once, before they are delivered.
        if commits.has_pending() and commits.invalidated_in_transaction([name.rpartition(" ")[2] for name in names]):
            continue
        entry_keys = [*keys, *names]
        if entry is None and names:
            entry = decode_entry(policy.codec, entry_keys, raw)
        results[n] = entry_keys, raw, entry


def build_stamps(
    policy: CachePolicy, calls: Sequence[CallKeys], raw: Mapping[str, object] | None
) -> list[Stamp | None]:
    """Return the stamps of the new entries; None for each that can't have one, which is an event."""
    reason = NO_TOKENS
    if transactions.snapshot_may_be_old():
        reason, raw = OLD_SNAPSHOT, None
    elif raw is not None:
        raw = {**raw, **_create_tokens_each(policy, calls, raw)}
    stamps: list[Stamp | None] = []
    for keys in calls:
        tokens: Any = () if raw is None else tuple([raw.get(key) for key in keys[1:]])
        stamps.append(tokens if tokens and all(map(is_token, tokens)) else None)
        if stamps[-1] is None:
            policy.emit("unstored", keys[0], reason=reason)
    return stamps


def _create_tokens_each(policy: CachePolicy, calls: Sequence[CallKeys], raw: Mapping[str, object]) -> dict[str, object]:
    """
    Create missing tokens, and return those that the cache has.

    The tokens that all entries share are created with `add`, since racing callers have to agree on them. The others
    take one `set_many` for those of each lifetime: an `add` for each would be as many commands. A token that replaces
    another caller's makes that caller's entry dead, which costs a miss; and it is new, so it revives no old entry.
    """
    own_tokens = {keys[1] for keys in calls}
    users = Counter(key for keys in calls for key in keys[1:] if not is_token(raw.get(key)))
    lifetimes = {key: policy.lifetime if key in own_tokens else None for key in users}
    shared = {key: lifetimes[key] for key, number in users.items() if number == len(calls)}
    tokens = dict(create_tokens(policy.store, shared, raw)) if shared else {}
    for lifetime in {policy.lifetime, None}:
        fresh = {key: urandom(TOKEN_BYTES) for key in users if key not in shared and lifetimes[key] == lifetime}
        failed_keys = _set_in_chunks(policy, fresh, lifetime)
        tokens |= {key: token for key, token in fresh.items() if key not in failed_keys}
    return tokens


def _set_in_chunks(policy: CachePolicy, values: Mapping[str, bytes], timeout: float | None) -> set[str]:
    """Store values; return the keys of those that the cache did not acknowledge."""
    failed_keys: set[str] = set()
    for chunk in policy.store.chunks(list(values)) if values else ():
        failed_keys.update(policy.store.set_many({key: values[key] for key in chunk}, timeout))
    return failed_keys


# --- materialize ---


def materialize_each(function: str, returned: object, ids: Sequence[Any]) -> Outcome[dict[Any, Any]]:
    """Evaluate the lazy results for ids, ABSENT for unknown ids, or return the exception that this raises."""
    outcome = materialize(function, Ok(returned))
    if isinstance(outcome, Err):
        return outcome
    try:
        return Ok(_materialize_each(function, returned, ids))
    except Exception as error:  # noqa: BLE001 -- the driver raises it
        return Err(error)


def _materialize_each(function: str, returned: object, ids: Sequence[Any]) -> dict[Any, Any]:
    """
    Return the value of each id, ABSENT for those that the function does not know; drop values of other ids.

    Raises:
        TypeError: It is no mapping, or it has the ids in another type, so that all would count as absent.
    """
    if not isinstance(returned, Mapping):
        kind = type(returned).__name__
        msg = f"{function}() returned a {kind}; it must return a mapping of ids to values, as in_bulk()."
        raise TypeError(msg)
    values = {entry_id: returned.get(entry_id, ABSENT) for entry_id in ids}
    absent = {str(entry_id): entry_id for entry_id, value in values.items() if value is ABSENT}
    if absent and len(returned) > len(values) - len(absent):
        twin = next((entry_id for entry_id in returned if entry_id not in values and str(entry_id) in absent), ABSENT)
        if twin is not ABSENT:
            msg = OTHER_TYPE_OF_ID.format(function, absent[str(twin)], twin)
            raise TypeError(msg)
    for value in values.values():
        outcome = materialize(function, Ok(value))
        if isinstance(outcome, Err):
            raise outcome.error
    return values


OTHER_TYPE_OF_ID: Final = (
    "{0}() was asked for {1!r} and returned {2!r}, which is another id. Call it with ids of the type that it returns, "
    "or let it return the ids that it was asked for."
)


def without_absent(ids: Sequence[Any], values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the caller's result: in the order of the ids, without those that the function does not know."""
    return {entry_id: values[entry_id] for entry_id in ids if values[entry_id] is not ABSENT}


# --- store ---


class WriteBatch(NamedTuple):
    """Encoded entries of one function, to be sent to the cache together."""

    writes: tuple[PendingWrite, ...]
    on_failure: Callable[[Sequence[str]], None] | None  #: called with the keys of writes that are not acknowledged


def store_values(
    pendings: Sequence[tuple[PendingEntry, object]], on_failure: Callable[[Sequence[str]], None] | None
) -> None:
    """
    Store values: at the last commit of the open transactions that may have written what the values contain.

    *on_failure* is called with the keys of values that cannot be stored or whose write is not acknowledged.
    """
    writes, failed_keys = [], []
    for pending, value in pendings:
        encoded = encode_value(pending, value)[1]
        if encoded is None:
            failed_keys.append(pending.key)
        else:
            writes.append(PendingWrite(pending, *encoded, None))
    if writes:
        batch = WriteBatch(tuple(writes), on_failure)
        if not commits.at_last_commit(write_batches, batch, {write.pending.key: write.data for write in writes}):
            failed_keys += [write.pending.key for write in writes]
            for write in writes:
                write.pending.policy.emit("unstored", write.pending.key, reason=UNSEEN_COMMIT)
    if failed_keys and on_failure:
        on_failure(failed_keys)


def write_batches(batches: Sequence[WriteBatch]) -> None:
    """Send entries to the cache, those of a batch together, with the longest of their timeouts."""
    with ExitStack() as failures:  # runs each callback, even if one raises
        for writes, on_failure in batches:
            policy = writes[0].pending.policy
            timeouts = [write.timeout for write in writes if write.timeout is not None]
            longest = max(timeouts) if len(timeouts) == len(writes) else None
            failed_keys = _set_in_chunks(policy, {write.pending.key: write.data for write in writes}, longest)
            for write in writes:
                if write.pending.key not in failed_keys:
                    policy.emit("stored", write.pending.key)
            if failed_keys and on_failure:
                failures.callback(on_failure, sorted(failed_keys))
