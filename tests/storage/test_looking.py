"""To look at a cache changes nothing, and emits no event."""

from cachedeco import Event, listening
from cachedeco.storage.looking import LookingStore


def test_looking_writes_nothing() -> None:
    """A write is one that the cache has not acknowledged."""
    store = LookingStore("default")

    assert [False] == store.set_each([("cd:looking", b"value", 60)])
    assert [None] == store.read(["cd:looking"])
    assert [None] * 2001 == store.read_each(["cd:looking"] * 2001)


def test_failure_is_noted_and_no_event() -> None:
    """A failure without an exception leaves nothing to note."""
    store, error = LookingStore("default"), ValueError("no entry")
    events: list[Event] = []

    with listening(events.append):
        store.emit_failure("Reading failed", "key")
        store.emit_failure("The entry can't be unpickled", "key", error)

    assert ([error], []) == (store.failures, events)
