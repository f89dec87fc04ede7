"""A failure in the middle of more items than one command takes."""

from collections.abc import Sequence

import pytest

from cachedeco.storage.connections import connection
from cachedeco.storage.store import Store
from cachedeco.storage.writers import Acknowledged, WholeItem
from cachedeco.testing import capture_events
from tests.storage.failing.calls import fail
from tests.support.backends import Commands
from tests.support.faults import faulty


def test_chunk_that_is_not_added_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was added before stands; another chunk would wait for the same server once more."""
    sizes: list[int] = []

    def add_each(items: Sequence[WholeItem]) -> Acknowledged:
        sizes.append(len(items))
        if len(sizes) == 2:
            raise ConnectionError
        return Acknowledged([True] * len(items))

    monkeypatch.setattr(connection("default").writer, "add_each", add_each)

    with capture_events() as events:
        added = Store("default").add_each([(f"cd:{number}", b"value", 60) for number in range(4001)])

    assert [True] * 2000 + [False] * 2001 == added
    assert ([2000, 2000], ["error"]) == (sizes, [event.kind for event in events])


@pytest.mark.usefixtures("faulty_backend", "clock")
def test_chunk_that_is_not_read_ends_the_command_and_counts_as_one_failure(commands: Commands) -> None:
    """Three such reads open the breaker, as three of one chunk do, and a value that is found begins the count anew."""
    keys = [f"cd:{number}" for number in range(4001)]
    Store("default").set_each([(keys[-1], b"value", 60)])
    commands.clear()

    def read() -> tuple[object, list[str]]:
        before = len(commands)
        return Store("default").get_many(keys), commands.names[before:]

    fail(2)
    found = read()
    with faulty(raises=TimeoutError), capture_events() as events:
        failed = [read() for _ in range(3)]
    refused = read()

    assert ({keys[-1]: b"value"}, ["get_many"] * 3) == found
    assert [(None, ["get_many"])] * 3 == failed
    assert ["error", "error", "error", "breaker_opened"] == [event.kind for event in events]
    assert (None, []) == refused
