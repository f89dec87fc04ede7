"""Tokens of many calls."""

from collections.abc import Sequence

import pytest

from cachedeco.invalidation.tokens import mint
from cachedeco.storage.store import Item, Store
from cachedeco.storage.writers import Acknowledged


class Compared(str):
    """A key that counts how often one was compared with another."""

    __slots__ = ()
    times = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        """Compare as texts."""
        Compared.times += 1
        return str.__eq__(self, other)


@pytest.mark.parametrize("are_replaceable", [False, True])
def test_keys_are_not_compared_with_each_other(monkeypatch: pytest.MonkeyPatch, *, are_replaceable: bool) -> None:
    """Ten thousand would be compared fifty million times."""
    keys = [Compared(f"cd:{number}") for number in range(500)]
    written: list[str] = []

    def store_each(_: Store, items: Sequence[Item]) -> Acknowledged:
        written.extend(key for key, *_ in items)
        return Acknowledged([True] * len(items))

    for method in ("add_each", "set_each"):
        monkeypatch.setattr(Store, method, store_each)
    fresh = [(key, b"token", 60.0) for key in keys]
    monkeypatch.setattr(Compared, "times", 0)

    tokens, _ = mint(Store("default"), fresh, frozenset(keys) if are_replaceable else ())

    assert Compared.times < 10 * len(keys)
    assert (keys, keys) == (written, list(tokens))
