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


@pytest.mark.parametrize("is_stored", [True, False])
def test_token_that_is_there_and_can_not_be_read_is_written_over(
    monkeypatch: pytest.MonkeyPatch, *, is_stored: bool
) -> None:
    """One that `add` finds, and no read: it stands if the cache takes it, and there is none otherwise."""
    written: list[Item] = []
    fresh: list[Item] = [("cd:1", b"one", 60.0), ("cd:2", b"two", 60.0)]

    def set_each(_: Store, items: Sequence[Item]) -> Acknowledged:
        written.extend(items)
        return Acknowledged([is_stored] * len(items))

    monkeypatch.setattr(Store, "add_each", lambda _, items: Acknowledged([False] * len(items)))
    monkeypatch.setattr(Store, "get_many", lambda *_: {"cd:1": b"of another caller"})
    monkeypatch.setattr(Store, "set_each", set_each)

    found = mint(Store("default"), fresh)

    assert (fresh[1:], ({"cd:1": b"of another caller", "cd:2": b"two" if is_stored else None}, False)) == (
        written,
        found,
    )


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
