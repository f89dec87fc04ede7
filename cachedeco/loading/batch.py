"""Many entries at once: read together, stamped together, stored together."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from os import urandom
from typing import Any, Final, NamedTuple

from cachedeco.invalidation import transactions
from cachedeco.invalidation.tokens import create_tokens
from cachedeco.loading.effects import Err, Ok, Outcome
from cachedeco.loading.materializing import materialize
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.reading import NO_TOKENS, OLD_SNAPSHOT, ReadResult
from cachedeco.loading.writing import PendingEntry, PendingWrite, encode_value
from cachedeco.storage import many_caches
from cachedeco.storage.entries import TOKEN_BYTES, Stamp, decode_entry, inner_names, is_token
from cachedeco.storage.serializers import ABSENT
from cachedeco.tracking import nested_names

Row = Sequence[str]  # the key of an entry, then those of the tokens that the call itself depends on


# --- to read ---


def read_entries(policy: CachePolicy, rows: Sequence[Row], also: Iterable[str] = ()) -> list[ReadResult]:
    """
    Look entries up by one `get_many`; by one more where this process does not know yet what calls inside them told.

    Otherwise as `keeping.looked_up()`. What was found is the same dict in each answer.
    """
    known = [nested_names.remembered.get(row[0], ()) for row in rows]
    asked = [[*row, *names] for row, names in zip(rows, known, strict=True)]
    found = many_caches.get_many_across_caches(
        policy.store, list(dict.fromkeys([*also, *(key for keys in asked for key in keys)]))
    )
    if found is None:
        return [(row, None, None) for row in rows]
    if transactions.waiting:
        found |= {one.pending.key: one.sealed for each in transactions.items_for(write_each) for one in each.writes}
    looks: list[ReadResult] = [(keys, found, decode_entry(policy.codec, keys, found)) for keys in asked]
    doubtful = [
        n
        for n, (row, (keys, _, entry)) in enumerate(zip(rows, looks, strict=True))
        if len(keys) > len(row) or (entry is None and row[0] in found)
    ]
    if doubtful:
        _resolve_nested_tokens(policy, rows, looks, doubtful)
    return looks


def _resolve_nested_tokens(
    policy: CachePolicy, rows: Sequence[Row], looks: list[ReadResult], doubtful: Sequence[int]
) -> None:
    """Look entries up again that depend on more than was asked for."""
    found: dict[str, object] = looks[0][1]
    inside = {n: inner_names(policy.codec, rows[n], found) for n in doubtful}
    missing = {name for names in inside.values() for name in names or () if name not in found}
    if missing:
        there = many_caches.get_many_across_caches(policy.store, sorted(missing))
        inside = dict.fromkeys(inside) if there is None else inside  # as keeping.looked_up() does
        found |= there or {}
    for n, names in inside.items():
        row, entry = rows[n], looks[n][2]
        looks[n] = row, found, None
        if names is None:
            continue
        nested_names.remember(row[0], names)
        # What this transaction has invalidated is old for itself, though nobody else may know yet.
        if transactions.waiting and transactions.invalidated_in_transaction(
            [name.rpartition(" ")[2] for name in names]
        ):
            continue
        every = [*row, *names]
        looks[n] = every, found, (decode_entry(policy.codec, every, found) if entry is None and names else entry)


def build_stamps(policy: CachePolicy, rows: Sequence[Row], found: Mapping[str, object] | None) -> list[Stamp | None]:
    """Return the stamps for the entries to come; None for each of which there is to be none."""
    reason = NO_TOKENS
    if transactions.snapshot_may_be_old(policy.using):
        reason, found = OLD_SNAPSHOT, None
    elif found is not None:
        found = {**found, **_create_tokens_each(policy, rows, found)}
    stamps: list[Stamp | None] = []
    for row in rows:
        tokens: Any = () if found is None else tuple([found.get(key) for key in row[1:]])
        stamps.append(tokens if tokens and all(map(is_token, tokens)) else None)
        if stamps[-1] is None:
            policy.tell("unstored", row[0], reason=reason)
    return stamps


def _create_tokens_each(policy: CachePolicy, rows: Sequence[Row], found: Mapping[str, object]) -> dict[str, object]:
    """
    Mint the tokens that are absent, and return those that stand.

    What all entries depend on is minted with `add`, as callers who race have to agree on it. What tells the entries
    apart, by one `set_many` for those of each lifetime: an `add` for each would cost as many commands. A token that
    replaces another caller's kills what that one stores, which costs a miss; and it is new, so it revives nothing.
    """
    own = {row[1] for row in rows}
    users = Counter(key for row in rows for key in row[1:] if not is_token(found.get(key)))
    lifetimes = {key: policy.lifetime if key in own else None for key in users}
    shared = {key: lifetimes[key] for key, number in users.items() if number == len(rows)}
    tokens_as_read = dict(create_tokens(policy.store, shared, found)) if shared else {}
    for lifetime in {policy.lifetime, None}:
        fresh = {key: urandom(TOKEN_BYTES) for key in users if key not in shared and lifetimes[key] == lifetime}
        refused = _sent(policy, fresh, lifetime)
        tokens_as_read |= {key: token for key, token in fresh.items() if key not in refused}
    return tokens_as_read


def _sent(policy: CachePolicy, values: Mapping[str, bytes], timeout: float | None) -> set[str]:
    """Write, and return the keys of what was not acknowledged."""
    refused: set[str] = set()
    for some in policy.store.chunks(list(values)) if values else ():
        refused.update(policy.store.set_many({key: values[key] for key in some}, timeout))
    return refused


# --- to store ---


def materialize_each(function: str, given: object, ids: Sequence[Any]) -> Outcome[dict[Any, Any]]:
    """Return what a function returned for ids, each value once what it stands for is there, or what that raised."""
    outcome = materialize(function, Ok(given))
    if isinstance(outcome, Err):
        return outcome
    try:
        return Ok(_materialize_each(function, given, ids))
    except Exception as error:  # noqa: BLE001 -- the driver raises it
        return Err(error)


def _materialize_each(function: str, given: object, ids: Sequence[Any]) -> dict[Any, Any]:
    """
    Return the value of each id, ABSENT for those that the function does not know; what nobody asked for is dropped.

    Raises:
        TypeError: It is no mapping, or it has the ids in another type, so that all would be taken for absent.
    """
    if not isinstance(given, Mapping):
        msg = (
            f"{function}() returned a {type(given).__name__}; it must return a mapping of ids to values, as in_bulk()."
        )
        raise TypeError(msg)
    values = {each: given.get(each, ABSENT) for each in ids}
    lacking = {str(each): each for each, value in values.items() if value is ABSENT}
    if lacking and len(given) > len(values) - len(lacking):
        twin = next((each for each in given if each not in values and str(each) in lacking), ABSENT)
        if twin is not ABSENT:
            msg = TWIN.format(function, lacking[str(twin)], twin)
            raise TypeError(msg)
    for value in values.values():
        outcome = materialize(function, Ok(value))
        if isinstance(outcome, Err):
            raise outcome.error
    return values


def given(ids: Sequence[Any], values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return what the caller gets: in the order of the ids, without those that the function does not know."""
    return {each: values[each] for each in ids if values[each] is not ABSENT}


TWIN: Final = (
    "{0}() was asked for {1!r} and returned {2!r}, which is another id. Call it with ids of the type that it returns, "
    "or let it return the ids that it was asked for."
)


class WriteBatch(NamedTuple):
    """Entries on their way to the cache, of one function."""

    writes: tuple[PendingWrite, ...]
    on_failure: Callable[[Sequence[str]], None] | None  #: called with the keys of those that do not arrive


def store_values(
    pendings: Sequence[tuple[PendingEntry, object]], on_failure: Callable[[Sequence[str]], None] | None
) -> None:
    """
    Store values: when the transaction commits, if one is open, as they may hold what it has written.

    *otherwise* is called with the keys of those for which that can't be, or which the cache does not acknowledge.
    """
    writes, left = [], []
    for pending, value in pendings:
        sealed = encode_value(pending, value)[1]
        if sealed is None:
            left.append(pending.key)
        else:
            writes.append(PendingWrite(pending, *sealed, None))
    if writes:
        transactions.at_commit(writes[0].pending.policy.using, write_each, [WriteBatch(tuple(writes), on_failure)])
    if left and on_failure:
        on_failure(left)


def write_each(batches: Sequence[WriteBatch]) -> None:
    """Send entries to the cache, those of a batch together: held for as long as the longest of them."""
    with ExitStack() as left:  # calls each of them, though one raises
        for writes, on_failure in batches:
            policy = writes[0].pending.policy
            timeouts = [each.timeout for each in writes if each.timeout is not None]
            longest = max(timeouts) if len(timeouts) == len(writes) else None
            refused = _sent(policy, {each.pending.key: each.sealed for each in writes}, longest)
            for each in writes:
                if each.pending.key not in refused:
                    policy.tell("stored", each.pending.key)
            if refused and on_failure:
                left.callback(on_failure, sorted(refused))
