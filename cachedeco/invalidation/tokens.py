"""Tokens: create those that are absent, and agree with other callers on them."""

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from math import inf
from typing import Final, NamedTuple

from cachedeco.storage.entries import new_token
from cachedeco.storage.store import Item, Store

# Seconds that the token of a namespace lives. A namespace with the value of an argument in it, `club:{pk}`, is one for
# each value that anybody asks for, rows that do not exist too: without an end they would fill a cache that evicts
# nothing. A token that ends is an invalidation, so entries of such a function are computed again after that time.
LONGEST_LIFETIME: Final = timedelta(days=30).total_seconds()


class Minted(NamedTuple):
    """What `mint()` has done."""

    tokens: Mapping[str, object]  #: what the cache has now under the keys of the absent tokens
    is_claimed: bool = False  #: whether each new token stands, and the claim was added with them


def mint(
    store: Store,
    absent: Mapping[str, float | None],
    raw: Mapping[str, object],
    *,
    replaceable: Collection[str] = (),
    claim: Callable[[Mapping[str, bytes]], Item] | None = None,
) -> Minted:
    """
    Create missing tokens with `add`, and return the winners of the race: one trip if no other caller creates them.

    With `add`, racing callers agree on the first token. With `set` each caller would make the entries of the others
    dead. Only a value that is no token is overwritten.

    Args:
        store: The cache.

        absent: Seconds that a token lives, None for ever, by key.

        raw: The values that were read, by key.

        replaceable: Keys of tokens for which one command for all is worth more than an agreement.

        claim: Takes the new tokens by key, and returns an item to add together with them. It counts only if all of
            the new tokens stand: otherwise its name is made of tokens that no other caller knows.
    """
    fresh = {key: new_token() for key in absent}
    items = [(key, fresh[key], lifetime) for key, lifetime in absent.items()]
    replaced = {key: None for key in absent if key in raw or key in replaceable}
    if replaced:
        if not all(store.set_each([item for item in items if item[0] in replaced])):
            return Minted({})
        items = [item for item in items if item[0] not in replaced]
    if len(items) > 1:  # some clients take one timeout in a command: those of one go into the same chunks
        items.sort(key=lambda item: item[2] or inf)
    claims = [claim(fresh)] if claim else []
    if not items and not claims:
        return Minted(fresh)
    added = store.add_each([*items, *claims])
    if all(added[: len(items)]):
        return Minted(fresh, bool(claims) and added[-1])
    return Minted(fresh | (store.get_many([key for key, _, _ in items]) or dict.fromkeys(key for key, _, _ in items)))
