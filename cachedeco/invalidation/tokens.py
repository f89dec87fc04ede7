"""Tokens: read them, and create those that are absent."""

from collections.abc import Mapping, Sequence
from os import urandom

from cachedeco.storage.entries import TOKEN_BYTES, Stamp, is_token
from cachedeco.storage.store import Store


def read_or_create_tokens(
    store: Store, keys: Sequence[str], raw: Mapping[str, object], lifetime: float | None
) -> Stamp | None:
    """
    Return the stamp for a computation that begins after this call; create the tokens that are absent.

    Args:
        store: The cache.

        keys: Keys of the tokens, the call's own first.

        raw: The values that were read, by key.

        lifetime: Seconds that the call's own token lives, None for ever. The others are few, and live for ever.

    Returns:
        None if a token is absent and can't be created: the cache fails, so nothing may be stored.
    """
    absent = [key for key in keys if not is_token(raw.get(key))]
    if absent:
        lifetimes = dict.fromkeys(absent, None) | {keys[0]: lifetime}
        raw = {**raw, **create_tokens(store, {key: lifetimes[key] for key in absent}, raw)}
    tokens = tuple([raw.get(key) for key in keys])
    return tokens if all(map(is_token, tokens)) else None  # type: ignore[return-value] # tokens, as just tested


def create_tokens(store: Store, absent: Mapping[str, float | None], raw: Mapping[str, object]) -> Mapping[str, object]:
    """
    Create missing tokens with `add`, and return the winners of the race.

    With `add`, racing callers agree on the first token. A `set_many` would be one command for all, but each caller
    would make the entries of the others dead. Only a value that is no token is overwritten.

    Args:
        store: The cache.

        absent: Seconds that a token lives, None for ever, by key.

        raw: The values that were read, by key.
    """
    fresh = {key: urandom(TOKEN_BYTES) for key in absent}
    invalid = {key: fresh[key] for key in absent if key in raw}
    if invalid and store.set_many(invalid, None):
        return {}
    added = [store.add(key, fresh[key], absent[key]) for key in absent if key not in invalid]
    return fresh if all(added) else store.get_many(list(absent)) or {}
