"""Races: an invalidation meets a computation, and a server loses what it likes."""

from collections.abc import Callable
from typing import Any, Protocol

import pytest

from cachedeco import Namespace
from tests.loading.bulk.tables import Table
from tests.support.backends import Recording
from tests.support.sides import Side, both
from tests.support.sources import interfering
from tests.support.stored import stored
from tests.support.threads import in_thread, started

pytestmark = [
    pytest.mark.usefixtures("backend"),
    pytest.mark.parametrize("backend", ["locmem", "memcached", "redis"], indirect=True),
]


class Many(Protocol):
    """What the tests use of a cached function over many ids."""

    def __call__(self, ids: list[int]) -> dict[int, str]:
        """Return the rows."""

    peek: Callable[[list[int]], dict[int, str]]
    refresh: Callable[[list[int]], dict[int, str]]
    invalidate: Callable[[list[int]], None]
    keys_for: Callable[[list[int]], dict[int, str]]


WAYS: dict[str, Callable[[Any], None]] = {
    "invalidate": lambda many: many.invalidate([2]),
    "namespace": lambda _: Namespace("row", 2).invalidate(),
}
EVERY_WAY = pytest.mark.parametrize("invalidate", WAYS.values(), ids=WAYS)


@pytest.mark.covering(2)
@both
@EVERY_WAY
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_invalidation_during_the_computation_kills_only_that_id(
    side: Side, table: Table, invalidate: Callable[[Any], None], *, warm: bool
) -> None:
    """A slow reader's entry of an invalidated id is dead at birth; those of the other ids live."""
    many = table.cached(side, timeout=300, namespace="row:{each}")
    if warm:
        side.call(many, [1, 2, 3])
        side.call(many.invalidate_all)
    table.gate.shut()

    with started(lambda: side.call(many, [1, 2, 3])) as slow:
        table.gate.wait_reached()
        table.rows[2] = "new"
        invalidate(many)
        table.gate.open()

    assert {1: "row 1", 2: "row 2", 3: "row 3"} == slow.result()
    assert {1: "row 1", 3: "row 3"} == side.call(many.peek, [1, 2, 3])
    assert ({2: "new"}, [2]) == (side.call(many, [2]), table.asked[-1])


@both
@EVERY_WAY
def test_caller_after_an_invalidation_does_not_wait_for_an_older_computation(
    side: Side, table: Table, invalidate: Callable[[Any], None]
) -> None:
    """A flight is left by an invalidation: who comes after it computes, while the older computation still runs."""
    many = table.cached(side, timeout=300, namespace="row:{each}")
    table.gate.shut()

    with started(lambda: side.call(many, [1, 2])) as slow:
        table.gate.wait_reached()
        table.rows[2] = "new"
        invalidate(many)
        found = in_thread(lambda: side.call(many, [2]))
        is_running = not slow.done()
        table.gate.open()

    assert (True, {2: "new"}, {2: "new"}) == (is_running, found, side.call(many, [2]))


@pytest.mark.covering(3)
@EVERY_WAY
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("at", range(8))
def test_write_between_any_two_commands_is_not_lost(  # noqa: PLR0913 -- the fixtures and one place in time
    table: Table,
    many: Many,
    monkeypatch: pytest.MonkeyPatch,
    invalidate: Callable[[Any], None],
    at: int,
    *,
    after: bool,
) -> None:
    """Wherever among the commands of a cold miss a write and its invalidation fall, the next call tells of it."""

    def write() -> None:
        table.rows[2] = "new"
        invalidate(many)

    with monkeypatch.context() as patch:
        patch.setattr(Recording, "carry_out", interfering(at, write, after=after))
        first = many([1, 2, 3])
    assert "new" == table.rows[2]

    assert first[2] in {"row 2", "new"}
    assert {1: "row 1", 2: "new", 3: "row 3"} == many([1, 2, 3]) == many([1, 2, 3])


@pytest.mark.covering(3)
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("at", range(8))
def test_racing_caller_between_any_two_commands_gets_what_is_right(
    table: Table,
    many: Many,
    monkeypatch: pytest.MonkeyPatch,
    at: int,
    *,
    after: bool,
) -> None:
    """Another process that asks for the same ids meanwhile, and mints tokens of its own, costs a miss at most."""
    monkeypatch.setattr("cachedeco.loading.leases.uniform", lambda *_: 0.0)
    monkeypatch.setattr("cachedeco.loading.single_flight.join_or_lead", _alone)
    found: list[Any] = []

    with monkeypatch.context() as patch:
        patch.setattr(Recording, "carry_out", interfering(at, lambda: found.append(_race(many)), after=after))
        first = many([1, 2, 3])
    table.rows = {}
    many.invalidate([1])

    assert [{2: "row 2", 1: "row 1"}] == found
    assert {1: "row 1", 2: "row 2", 3: "row 3"} == first
    assert 1 not in many([1, 2, 3])


def _race(many: Many) -> dict[int, str]:
    return many.refresh([2, 1])


def _alone(_flight: Any, _misses: Any) -> dict[Any, Any]:
    return {}


@pytest.mark.parametrize("lost", range(8))
def test_lost_token_revives_nothing(table: Table, many: Many, lost: int) -> None:
    """Whichever token of an id the server evicts, what was stored under it is dead; the next call gives the truth."""
    many([1, 2])
    table.rows = {1: "new", 2: "new"}
    tokens = _tokens_of(many, [1, 2])
    assert 6 == len(tokens)

    stored().delete_many(tokens if lost >= 6 else [tokens[lost]])
    found = many([1, 2])

    assert all(value in {"new", f"row {each}"} for each, value in found.items())
    assert lost < 6 or {1: "new", 2: "new"} == found
    assert "new" in found.values()
    many.invalidate([1, 2])
    assert {1: "new", 2: "new"} == many([1, 2])


def _tokens_of(many: Many, ids: list[int]) -> list[str]:
    """Return the keys of all that some ids depend on."""
    keys: list[str] = []

    def note(_self: Recording, command: Any, run: Callable[[], Any]) -> Any:
        keys.extend(command.keys)
        return run()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recording, "carry_out", note)
        many.peek(ids)
    entries = set(many.keys_for(ids).values())
    return [key for key in keys if key not in entries]
