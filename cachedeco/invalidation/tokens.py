"""Tokens: create those that are absent, and agree with other callers on them."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from math import inf
from typing import Any, Final

from cachedeco.storage.store import Item, Store

# Seconds that the token of a namespace lives. A namespace with the value of an argument in it, `club:{pk}`, is one for
# each value that a caller asks for, rows that do not exist too: without an end they would fill a cache that evicts
# nothing. A token that ends is an invalidation, so entries of such a function are computed again after that time.
# A second less than 30 days, as the store adds one: memcached takes what is longer for a date, by the clock of its own.
LONGEST_LIFETIME: Final = timedelta(days=30, seconds=-1).total_seconds()


def mint(
    store: Store, fresh: Sequence[Item], replaced: Collection[str] = (), claims: Sequence[Item] = ()
) -> tuple[dict[str, Any], bool]:
    """
    Create missing tokens with `add`, and return the winners of the race: one trip if no other caller creates them.

    With `add`, racing callers agree on the first token. With `set` each caller would make the entries of the others
    dead. Only a value that is no token is overwritten, or that can't be read.

    Args:
        store: The cache.

        fresh: New tokens: key, token, and the seconds that it lives, None for ever.

        replaced: Keys of those that are written with `set`: for which one command for all is worth more than an
            agreement, too.

        claims: Items to add together with the tokens. They count only if all of these stand: otherwise their names are
            made of tokens that no other caller knows.

    Returns:
        What the cache has now under the keys of the new tokens; whether each of these stands, and the claims were added
        with them.
    """
    tokens: dict[str, Any] = {key: token for key, token, _ in fresh}
    if replaced:
        if not all(store.set_each([item for item in fresh if item[0] in replaced])):
            return {}, False
        fresh = [item for item in fresh if item[0] not in replaced]
    if not fresh and not claims:
        return tokens, False
    # Some clients take one timeout in a command: those of one go into the same chunks.
    added = store.add_each([*sorted(fresh, key=lambda item: item[2] or inf), *claims])
    if all(added[: len(fresh)]):
        return tokens, bool(claims) and all(added[len(fresh) :])
    keys = [key for key, _, _ in fresh]
    found = store.get_many(keys)
    if found is None:
        return tokens | dict.fromkeys(keys), False
    # What `add` finds and no read does is of a compressor, say, or of keys to sign with, that the cache had before. It
    # would keep the calls from being stored until it ends, and the function's own token has no end.
    unreadable = [item for item in fresh if item[0] not in found]
    stored = store.set_each(unreadable) if unreadable and not added.has_failed else [False] * len(unreadable)
    lost = [key for (key, _, _), is_stored in zip(unreadable, stored, strict=True) if not is_stored]
    return tokens | found | dict.fromkeys(lost), False
