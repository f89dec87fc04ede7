"""Who computes, of several processes: they share by list, and no caller waits without bound."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from cachedeco.loading import flights, leases
from cachedeco.testing import capture_events
from tests.loading.bulk.tables import Clock, Table
from tests.loading.leases.elsewhere import take_apart
from tests.support.faults import faulty
from tests.support.sides import Side, both
from tests.support.stored import stored
from tests.support.threads import started

ON_SERVERS = pytest.mark.parametrize("backend", ["locmem", "memcached", "redis"], indirect=True)


@contextmanager
def another_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have no part in the flights of this process while the block runs: only the cache is shared."""
    ours = flights._flights
    with monkeypatch.context() as patch:
        patch.setattr(flights, "_flights", {})
        yield
    ours.clear()  # what has landed meanwhile was looked for in the other ones


@both
@ON_SERVERS
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_processes_share_one_computation_of_one_list(
    side: Side, table: Table, monkeypatch: pytest.MonkeyPatch, *, warm: bool
) -> None:
    """The herd asks for the same ids: one process computes, the others look until the entries are there."""
    many = table.cached(side)
    if warm:
        side.call(many, [1, 2, 404])
        side.call(many.invalidate_all)
    table.asked.clear()
    table.gate.shut()
    with started(lambda: side.call(many, [1, 2, 404])) as first:
        table.gate.wait_reached()
        with another_process(monkeypatch), monkeypatch.context() as patch, capture_events(many) as events:
            patch.setattr("cachedeco.loading.leases.uniform", lambda *_: table.gate.open() or 0)
            found = side.call(many, [1, 2, 404])

    assert {1: "row 1", 2: "row 2"} == found == first.result()
    assert [[1, 2, 404]] == table.asked
    assert 3 == sum(event.kind == "shared" for event in events)


class Holder:
    """Another process, which holds the lease that a call would take."""

    def __init__(self, many: Any, ids: list[int], patch: pytest.MonkeyPatch) -> None:
        """Have every lease refused, and note it."""
        self.leases: list[leases.Lease] = []
        self.looks = 0

        def refuse(lease: leases.Lease) -> bool:
            self.leases.append(lease)
            if len(self.leases) == 1:
                stored().set(lease.key, b"the other one", 60)
            return False

        def pause(*_: object) -> float:
            self.looks += 1
            self.then(self.leases[-1])
            return 0.0

        self.many, self.ids = many, ids
        take_apart(patch, refuse)
        patch.setattr("cachedeco.loading.leases.uniform", pause)

    def then(self, lease: leases.Lease) -> None:
        """Do what the other process does while we pause."""


@both
@pytest.mark.parametrize("mark", [leases.STORED, leases.FAILED])
def test_computation_of_another_process_that_stored_nothing_is_not_waited_for(
    side: Side, table: Table, monkeypatch: pytest.MonkeyPatch, mark: bytes
) -> None:
    """Once the holder says that it has ended, and nothing is there, the caller computes."""
    many = table.cached(side)
    holder = Holder(many, [1, 2], monkeypatch)
    holder.then = lambda lease: stored().set(lease.key, mark, 60)  # type: ignore[method-assign]

    found = side.call(many, [1, 2])

    assert ({1: "row 1", 2: "row 2"}, [[1, 2]], 1) == (found, table.asked, holder.looks)


def test_what_another_process_has_stored_is_taken_and_the_rest_computed(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each id that is served by now is taken from the other one; for the rest there is a new lease."""
    many = table.cached()
    holder = Holder(many, [1, 2], monkeypatch)

    def store_one(lease: leases.Lease) -> None:
        if holder.looks == 1:
            many.call([1]).set({1: "other"})
            stored().set(lease.key, leases.STORED, 60)
        else:
            stored().set(lease.key, leases.STORED, 60)

    holder.then = store_one  # type: ignore[method-assign]

    found = many([1, 2])

    assert ({1: "other", 2: "row 2"}, [[2]]) == (found, table.asked)
    assert 2 == len({lease.key for lease in holder.leases})


def test_lease_that_is_refused_and_not_there_is_not_waited_for(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that says no to each add has no lease: the caller computes, after two refusals."""
    many = table.cached()
    holder = Holder(many, [1], monkeypatch)
    holder.then = lambda lease: stored().delete(lease.key)  # type: ignore[method-assign]

    found = many([1])

    assert ({1: "row 1"}, 2) == (found, len(holder.leases) - 1)


def test_lease_that_has_become_free_is_taken(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that died, or whose function raised, is replaced."""
    many = table.cached()
    take = leases.Lease.take
    with monkeypatch.context() as patch:
        holder = Holder(many, [1], patch)

        def free(lease: leases.Lease) -> None:
            stored().delete(lease.key)
            take_apart(patch, take)

        holder.then = free  # type: ignore[method-assign]
        found = many([1])

    assert ({1: "row 1"}, leases.STORED) == (found, stored().get(holder.leases[0].key))


def test_holder_of_what_was_invalidated_meanwhile_is_not_waited_for(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it computes would be dead at birth: who sees new tokens takes the lease that these name."""
    many = table.cached(wait=60)
    many([1, 2])
    many.invalidate([1, 2])
    take, holder = leases.Lease.take, Holder(many, [1, 2], monkeypatch)
    monkeypatch.setattr(holder, "then", lambda _: invalidate_and_let_take())

    def invalidate_and_let_take() -> None:
        assert holder.looks == 1, "it goes on waiting"
        many.invalidate([2])
        take_apart(monkeypatch, take)

    found = many([1, 2])

    assert ({1: "row 1", 2: "row 2"}, [[1, 2]] * 2, 1) == (found, table.asked, holder.looks)


def test_lease_that_was_taken_though_the_cache_said_no_is_ours(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that was lost on the way is found out by looking."""
    many = table.cached()
    take = leases.Lease.take
    take_apart(monkeypatch, lambda lease: take(lease) and False)

    with capture_events(many) as events:
        many([1])

    assert ["miss", "computed", "stored"] == [event.kind for event in events]


def test_waiting_for_another_process_has_a_bound(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that does not end is left alone after so many seconds."""
    ticks = count(0.0, 3.0)
    many = table.cached(wait=10)
    holder = Holder(many, [1], monkeypatch)
    for module in ("single_flight", "leases"):
        monkeypatch.setattr(f"cachedeco.loading.{module}.monotonic", lambda: next(ticks))

    found = many([1])

    assert ({1: "row 1"}, True) == (found, 0 < holder.looks < 4)


@pytest.mark.usefixtures("faulty_backend")
def test_cache_that_dies_while_a_caller_waits_is_not_waited_for(
    table: Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who can't look any more computes."""
    many = table.cached()
    Holder(many, [1], monkeypatch)

    with faulty("get_many", raises=OSError(), times=None) as fault:
        fault.behaviour, dead = (lambda _cache, _command, run: run()), fault.behaviour
        holder_looks: list[int] = []

        def die(*_: object) -> float:
            holder_looks.append(1)
            fault.behaviour = dead
            return 0.0

        monkeypatch.setattr("cachedeco.loading.leases.uniform", die)
        found = many([1])

    assert ({1: "row 1"}, [1]) == (found, holder_looks)


@pytest.mark.parametrize(("took", "expected"), [(0.1, 2.0), (1.0, 20.0), (9.0, 30.0)])
def test_lease_lives_as_long_as_the_whole_computation_takes(
    table: Table, monkeypatch: pytest.MonkeyPatch, clock: Clock, took: float, expected: float
) -> None:
    """Its lifetime comes from what the computation of all the ids took."""
    ticks = iter([0.0, 2 * took, 2 * took, 0.0, 0.0, 0.0])
    monkeypatch.setattr("cachedeco.loading.computing.perf_counter", lambda: next(ticks))
    lives: list[float] = []
    take = leases.Lease.take
    take_apart(monkeypatch, lambda lease: lives.append(lease.lifetime) or take(lease))
    many = table.cached(timeout=100)
    many([1, 2])
    clock.pass_(200)

    many([1, 2])

    assert [10.0, expected] == lives
