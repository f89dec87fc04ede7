"""A failure in the middle of more items than one command takes."""

from collections.abc import Sequence

import pytest

from cachedeco.storage.connections import connection
from cachedeco.storage.store import Store
from cachedeco.storage.writers import Acknowledged, Item
from cachedeco.testing import capture_events


def test_chunk_that_is_not_added_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was added before stands; another chunk would wait for the same server once more."""
    sizes: list[int] = []

    def add_each(items: Sequence[Item]) -> Acknowledged:
        sizes.append(len(items))
        if len(sizes) == 2:
            raise ConnectionError
        return Acknowledged([True] * len(items))

    monkeypatch.setattr(connection("default").writer, "add_each", add_each)

    with capture_events() as events:
        added = Store("default").add_each([(f"cd:{number}", b"value", 60) for number in range(4001)])

    assert [True] * 2000 + [False] * 2001 == added
    assert ([2000, 2000], ["error"]) == (sizes, [event.kind for event in events])
