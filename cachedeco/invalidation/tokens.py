"""Tokens: read them, and create those that are absent."""

from collections.abc import Mapping, Sequence
from os import urandom

from cachedeco.storage.entries import TOKEN_BYTES, Stamp, is_token
from cachedeco.storage.store import Store


def read_or_create_tokens(
    store: Store, tokens: Sequence[str], found: Mapping[str, object], lifetime: float | None
) -> Stamp | None:
    """
    Return the stamp for a computation that begins after this call, minting the tokens that are absent.

    Args:
        store: The cache.

        tokens: Keys of the tokens, the call's own first.

        found: What has been read of them.

        lifetime: Seconds that the call's own token is to live, None for ever. The others are few, and live for ever.

    Returns:
        None where a token is neither there nor can be made to be: the cache is not well, so nothing may be stored.
    """
    absent = [key for key in tokens if not is_token(found.get(key))]
    if absent:
        lifetimes = dict.fromkeys(absent, None) | {tokens[0]: lifetime}
        found = {**found, **create_tokens(store, {key: lifetimes[key] for key in absent}, found)}
    tokens_as_read = tuple([found.get(key) for key in tokens])
    return tokens_as_read if all(map(is_token, tokens_as_read)) else None  # type: ignore[return-value] # tokens, as just tested


def create_tokens(
    store: Store, absent: Mapping[str, float | None], found: Mapping[str, object]
) -> Mapping[str, object]:
    """
    Mint tokens, and return those that stand: ours, or those of callers who were quicker.

    With `add`, so that callers who race agree on the first: a `set_many` would cost one command for them all, and let
    each kill the entries of the others. Only what is there and is no token has to be overwritten.
    """
    fresh = {key: urandom(TOKEN_BYTES) for key in absent}
    spoiled = {key: fresh[key] for key in absent if key in found}
    if spoiled and store.set_many(spoiled, None):
        return {}
    won = [store.add(key, fresh[key], absent[key]) for key in absent if key not in spoiled]
    return fresh if all(won) else store.get_many(list(absent)) or {}
