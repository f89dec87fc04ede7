"""What an attacker plants is not what its place is for: it raises nothing, and leaves nothing behind."""

from collections.abc import Callable
from math import inf
from typing import Any

import pytest

from cachedeco import MISSING, cached_query, cached_query_many
from cachedeco.storage import entries
from cachedeco.storage.serializers import to_pickle
from cachedeco.testing import capture_events
from tests.support.stored import stored


@cached_query_many(over="ids", wait=0.001)
def names(ids: list[int]) -> dict[int, str]:
    """Return something for each id."""
    return {each: f"name {each}" for each in ids}


@cached_query(wait=0.001)
def name() -> str:
    """Return something."""
    return "name"


def forge(function: Any, keys: list[str], names: list[str], *, is_error: bool = False) -> None:
    """Put an entry there that says that it depends on these names, and whether its value is an exception."""
    codec, own = function._spec.resolve().policy.codec, [stored().get(key) for key in keys[1:]]
    made_up = entries.Entry(to_pickle("evil"), inf, 0.0, is_error=is_error)
    stored().set(keys[0], entries.encode_entry(codec, keys[0], own, dict.fromkeys(names, own[0]), made_up))


@pytest.mark.parametrize("planted", [["a list"], {}, "text", 7, None], ids=repr)
@pytest.mark.parametrize("function", [name, lambda: names([1, 2])], ids=["one", "many"])
def test_lease_may_hold_anything(function: Callable[[], Any], planted: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of other keys, put under that of a lease, raise nothing: they are waited for."""
    monkeypatch.setattr(
        "cachedeco.storage.store.Store.add_each",
        lambda _store, items: [
            stored().add(key, planted if "@" in key else value, 5) and "@" not in key for key, value, _ in items
        ],
    )

    assert function() in ("name", {1: "name 1", 2: "name 2"})


@pytest.mark.parametrize("inner", [["nowhere a"], [f"nowhere {n}" for n in range(1500)], ["no\x01key"], [""]], ids=len)
def test_names_that_can_not_be_asked_for_are_not_remembered(inner: list[str]) -> None:
    """What a forged entry says that it depends on keeps no later call of any caller from being stored."""
    name()
    forge(name, name._spec.resolve_call((), {})[1], inner)
    found = [name.peek()]

    with capture_events(name) as events:
        found += [name(), name()]

    assert ([MISSING, "name", "name"], "hit") == (found, events[-1].kind)


@pytest.mark.parametrize("inner", [["nowhere a"], ["no\x01key"]], ids=["no alias", "no key"])
def test_names_that_can_not_be_asked_for_are_not_remembered_of_many(inner: list[str]) -> None:
    """The same for many ids."""
    names([1, 2])
    forge(names, names._spec.resolve_call((1,), {})[1], inner)
    names.peek([1, 2])

    names([1, 2])
    with capture_events(names) as events:
        found = names([1, 2])

    assert ({1: "name 1", 2: "name 2"}, ["hit"] * 2) == (found, [event.kind for event in events])


def test_value_that_is_said_to_be_an_exception_is_a_miss() -> None:
    """An entry whose header says that the call raised is none, if its value is nothing to raise."""
    name()
    forge(name, name._spec.resolve_call((), {})[1], [], is_error=True)

    with capture_events(name) as events:
        found = [name(), name()]

    assert (["name", "name"], ["error", "miss"]) == (found, [event.kind for event in events[:2]])
    assert ("unreadable", "hit") == (events[1].reason, events[-1].kind)
