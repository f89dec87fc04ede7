"""Who computes: callers of one process share by id, processes by list; nobody waits without bound, nor in a circle."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.core.cache import caches
from django.db import transaction

from cachedeco import batch, bulk, cached_query, cached_query_many, flights, leases
from cachedeco.store import Store
from cachedeco.testing import capture_events
from tests.bulk.tables import Clock, Table
from tests.faults import faulty
from tests.sides import SYNC, Side, both
from tests.threads import PATIENCE_SECONDS, in_thread, started

ON_SERVERS = pytest.mark.parametrize("backend", ["locmem", "memcached", "redis"], indirect=True)


@contextmanager
def waiting(monkeypatch: pytest.MonkeyPatch, function: Any, ids: list[int], side: Side) -> Iterator[Any]:  # noqa: ANN401
    """Call in a thread while the block runs; the block begins when that call has boarded."""
    boarded, board = threading.Event(), flights.board_each

    def tell(names: Any) -> Any:  # noqa: ANN401 -- as board_each
        try:
            return board(names)
        finally:
            boarded.set()

    with monkeypatch.context() as patch:
        patch.setattr("cachedeco.bulk.board_each", tell)
        with started(lambda: side.call(function, ids)) as running:
            assert boarded.wait(PATIENCE_SECONDS)
            yield running


@contextmanager
def another_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have no part in the flights of this process while the block runs: only the cache is shared."""
    ours = flights._flights  # noqa: SLF001
    with monkeypatch.context() as patch:
        patch.setattr(flights, "_flights", {})
        yield
    ours.clear()  # what has landed meanwhile was looked for in the other ones


@both
@ON_SERVERS
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_callers_of_one_process_compute_each_id_once(
    side: Side, table: Table, monkeypatch: pytest.MonkeyPatch, *, warm: bool
) -> None:
    """Who comes while others compute some of his ids computes the rest, and takes theirs when they are done."""
    many = table.cached(side)
    if warm:
        side.call(many, range(1, 6))
        side.call(many.invalidate_all)
    table.asked.clear()
    table.gate.shut()

    with started(lambda: side.call(many, [1, 2, 3])) as first:
        table.gate.wait_reached()
        with waiting(monkeypatch, many, [2, 3, 4, 5], side) as second:
            table.gate.open()

    assert {n: f"row {n}" for n in (1, 2, 3)} == first.result()
    assert {n: f"row {n}" for n in (2, 3, 4, 5)} == second.result()
    assert [[1, 2, 3], [4, 5]] == table.asked


def test_leader_computes_before_it_waits(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who leads what a third one wants computes that at once, and waits for the others only then."""
    many = table.cached()
    table.gate.shut()

    with started(lambda: many([1, 2])) as first:
        table.gate.wait_reached()
        with waiting(monkeypatch, many, [3, 1], SYNC) as second:
            third = in_thread(lambda: many([3]))
            table.gate.open()

    assert ({3: "row 3"}, {1: "row 1", 2: "row 2"}) == (third, first.result())
    assert ({3: "row 3", 1: "row 1"}, [[1, 2], [3]]) == (second.result(), table.asked)


@both
def test_waiting_has_a_bound(side: Side, table: Table) -> None:
    """A caller who has waited long enough computes."""
    many = table.cached(side, wait=0.01)
    table.gate.shut()

    with started(lambda: side.call(many, [1, 2])) as slow:
        table.gate.wait_reached()
        found = in_thread(lambda: side.call(many, [2, 3]))
        table.gate.open()

    assert ({2: "row 2", 3: "row 3"}, {1: "row 1", 2: "row 2"}) == (found, slow.result())
    assert [[1, 2], [3], [2]] == table.asked


@both
def test_nobody_waits_where_wait_is_0(side: Side, table: Table) -> None:
    """Callers who miss at once each compute."""
    many = table.cached(side, wait=0)
    table.gate.shut()

    with started(lambda: side.call(many, [1, 2])) as slow:
        table.gate.wait_reached()
        in_thread(lambda: side.call(many, [2, 1]))
        table.gate.open()

    assert ({1: "row 1", 2: "row 2"}, [[1, 2], [2, 1]]) == (slow.result(), table.asked)


@both
def test_error_reaches_who_computed_and_the_others_see_for_themselves(
    side: Side, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error is raised to the caller who met it; who waited computes."""
    many = table.cached(side)
    table.gate.shut()
    table.error = LookupError("down")

    def first() -> None:
        with pytest.raises(LookupError, match="down"):
            side.call(many, [1, 2])

    with started(first):
        table.gate.wait_reached()
        with waiting(monkeypatch, many, [1], side) as second:
            table.gate.open()

    assert ({1: "row 1"}, [[1, 2], [1]]) == (second.result(), table.asked)


def test_caller_who_comes_while_tokens_are_minted_shares(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tokens that are being minted he finds some, and waits for the same computation all the same."""
    many = table.cached(namespace="row:{ids}")
    minted = batch.minted

    with ExitStack() as stack:
        found = []

        def meanwhile(*args: Any) -> Any:  # noqa: ANN401 -- as minted()
            standing = minted(*args)
            monkeypatch.setattr(batch, "minted", minted)
            found.append(stack.enter_context(waiting(monkeypatch, many, [1, 2], SYNC)))
            return standing

        monkeypatch.setattr(batch, "minted", meanwhile)
        first = many([1, 2])

    assert first == found[0].result() == {1: "row 1", 2: "row 2"}
    assert [[1, 2]] == table.asked


def test_those_who_waited_in_vain_share_again(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an invalidation in the middle of a computation those who wait for it compute once, not each for himself."""
    many = table.cached()
    seen, looked = bulk._seen, threading.Barrier(2, timeout=PATIENCE_SECONDS)  # noqa: SLF001 -- a moment in between
    looks = iter([True, True])

    def see_together(*args: Any) -> Any:  # noqa: ANN401 -- as it
        answer = seen(*args)
        if next(looks, False):
            looked.wait()
        return answer

    monkeypatch.setattr(bulk, "_seen", see_together)
    table.gate.shut()

    with started(lambda: many([1, 2])):
        table.gate.wait_reached()
        with waiting(monkeypatch, many, [1, 2], SYNC) as second, waiting(monkeypatch, many, [1, 2], SYNC) as third:
            many.invalidate([1, 2])
            table.rows = {1: "new"}
            table.gate.open()

    assert {1: "new"} == second.result() == third.result()
    assert [[1, 2], [1, 2]] == table.asked


def str_of(ids: object) -> str:
    """Tell ids apart by their text."""
    return str(ids)


def test_two_ids_of_one_entry_do_not_wait_for_each_other(table: Table) -> None:
    """Ids that the key does not tell apart are computed together, by one who leads them both."""
    many = table.over(lambda ids: dict.fromkeys(ids, "row"), key=str_of)

    with capture_events(many) as events:
        found = many([1, "1"])

    assert {1: "row", "1": "row"} == found == many([1, "1"])
    assert 1 == sum(event.kind == "computed" for event in events)


def test_caller_whom_others_wait_for_waits_for_nobody(table: Table) -> None:
    """Inside a computation that others may join, what another caller computes is computed again."""
    many = table.cached(wait=60)

    @cached_query(ignore=("many",))
    def around() -> dict[int, str]:
        found: dict[int, str] = many([1])
        return found

    table.gate.shut()
    with started(lambda: many([1])) as slow:
        table.gate.wait_reached()
        found = in_thread(around)
        table.gate.open()

    assert ({1: "row 1"}, {1: "row 1"}, 2) == (found, slow.result(), len(table.asked))


def test_computation_that_others_wait_for_waits_for_nobody(table: Table) -> None:
    """Inside a computation for many ids, what another caller computes is computed again."""

    @cached_query(ignore=("table",), wait=60)
    def inner() -> int:
        return len(table.read([]))

    def rows_of(ids: list[int]) -> dict[int, int]:
        return dict.fromkeys(ids, inner())

    many = table.over(rows_of)
    table.gate.shut()
    with started(inner):
        table.gate.wait_reached()
        found = in_thread(lambda: many([1, 2]))
        table.gate.open()

    assert ({1: 0, 2: 0}, 2) == (found, len(table.asked))


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_inside_a_transaction(table: Table) -> None:
    """A transaction may hold what the computation needs."""
    many = table.cached(wait=1)
    table.gate.shut()

    with started(lambda: many([1])) as slow:
        table.gate.wait_reached()
        with transaction.atomic():
            found = many([1])
        table.gate.open()

    assert ({1: "row 1"}, 2) == (found, len(table.asked))
    assert {1: "row 1"} == slow.result()


@pytest.mark.usefixtures("faulty_backend")
def test_cache_that_can_not_be_asked_is_no_reason_to_wait(
    table: Table,
    commands: Any,  # noqa: ANN401
) -> None:
    """Without an answer nothing is minted, taken or stored, and the function is asked for all."""
    many = table.cached()

    with faulty("get_many", raises=OSError()):
        found = many([1, 2])

    assert ({1: "row 1", 2: "row 2"}, ["get_many"]) == (found, commands.names)


# --- between processes ---


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
            patch.setattr("cachedeco.bulk.uniform", lambda *_: table.gate.open() or 0)
            found = side.call(many, [1, 2, 404])

    assert {1: "row 1", 2: "row 2"} == found == first.result()
    assert [[1, 2, 404]] == table.asked
    assert 3 == sum(event.kind == "shared" for event in events)


class Holder:
    """Another process, which holds the lease that a call would take."""

    def __init__(self, many: Any, ids: list[int], patch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
        """Have every lease refused, and note it."""
        self.leases: list[leases.Lease] = []
        self.looks = 0

        def refuse(lease: leases.Lease) -> bool:
            self.leases.append(lease)
            if len(self.leases) == 1:
                Store("default").set(lease.key, b"the other one", 60)
            return False

        def pause(*_: object) -> float:
            self.looks += 1
            self.then(self.leases[-1])
            return 0.0

        self.many, self.ids = many, ids
        patch.setattr(leases.Lease, "take", refuse)
        patch.setattr("cachedeco.bulk.uniform", pause)

    def then(self, lease: leases.Lease) -> None:
        """Do what the other process does while we pause."""


@both
@pytest.mark.parametrize("mark", [leases.LANDED, leases.FAILED])
def test_computation_of_another_process_that_stored_nothing_is_not_waited_for(
    side: Side, table: Table, monkeypatch: pytest.MonkeyPatch, mark: bytes
) -> None:
    """Once the holder says that it has ended, and nothing is there, the caller computes."""
    many = table.cached(side)
    holder = Holder(many, [1, 2], monkeypatch)
    holder.then = lambda lease: Store("default").set(lease.key, mark, 60)  # type: ignore[method-assign]

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
            many.put({1: "other"}, [1])
            Store("default").set(lease.key, leases.LANDED, 60)
        else:
            Store("default").set(lease.key, leases.LANDED, 60)

    holder.then = store_one  # type: ignore[method-assign]

    found = many([1, 2])

    assert ({1: "other", 2: "row 2"}, [[2]]) == (found, table.asked)
    assert 2 == len({lease.key for lease in holder.leases})


def test_lease_that_is_refused_and_not_there_is_not_waited_for(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that says no to each add has no lease: the caller computes, after two refusals."""
    many = table.cached()
    holder = Holder(many, [1], monkeypatch)
    holder.then = lambda lease: Store("default").delete(lease.key)  # type: ignore[method-assign]

    found = many([1])

    assert ({1: "row 1"}, 2) == (found, len(holder.leases) - 1)


def test_lease_that_has_become_free_is_taken(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that died, or whose function raised, is replaced."""
    many = table.cached()
    take = leases.Lease.take
    with monkeypatch.context() as patch:
        holder = Holder(many, [1], patch)

        def free(lease: leases.Lease) -> None:
            Store("default").delete(lease.key)
            patch.setattr(leases.Lease, "take", take)

        holder.then = free  # type: ignore[method-assign]
        found = many([1])

    assert ({1: "row 1"}, leases.LANDED) == (found, caches["default"].get(holder.leases[0].key))


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
        monkeypatch.setattr(leases.Lease, "take", take)

    found = many([1, 2])

    assert ({1: "row 1", 2: "row 2"}, [[1, 2]] * 2, 1) == (found, table.asked, holder.looks)


def test_lease_that_was_taken_though_the_cache_said_no_is_ours(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that was lost on the way is found out by looking."""
    many = table.cached()
    take = leases.Lease.take
    monkeypatch.setattr(leases.Lease, "take", lambda lease: take(lease) and False)

    with capture_events(many) as events:
        many([1])

    assert ["miss", "computed", "stored"] == [event.kind for event in events]


def test_waiting_for_another_process_has_a_bound(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that does not end is left alone after so many seconds."""
    ticks = iter([0.0, 3.0, 6.0, 9.0, 12.0])
    many = table.cached(wait=10)
    holder = Holder(many, [1], monkeypatch)
    monkeypatch.setattr("cachedeco.bulk.monotonic", lambda: next(ticks))

    found = many([1])

    assert ({1: "row 1"}, 3) == (found, holder.looks)


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

        monkeypatch.setattr("cachedeco.bulk.uniform", die)
        found = many([1])

    assert ({1: "row 1"}, [1]) == (found, holder_looks)


@pytest.mark.parametrize(("took", "expected"), [(0.1, 2.0), (1.0, 20.0), (9.0, 30.0)])
def test_lease_lives_as_long_as_the_whole_computation_takes(
    table: Table, monkeypatch: pytest.MonkeyPatch, clock: Clock, took: float, expected: float
) -> None:
    """Its lifetime comes from what the computation of all the ids took."""
    ticks = iter([0.0, 2 * took, 0.0, 0.0])
    monkeypatch.setattr("cachedeco.bulk.perf_counter", lambda: next(ticks))
    lives: list[float] = []
    take = leases.Lease.take
    monkeypatch.setattr(leases.Lease, "take", lambda lease: lives.append(lease.lifetime) or take(lease))
    many = table.cached(timeout=100)
    many([1, 2])
    clock.pass_(200)

    many([1, 2])

    assert [10.0, 10.0, expected] == lives  # the first call takes a second one, under the tokens that it has minted


# --- tasks of one loop ---


def test_tasks_of_one_loop_share(table: Table) -> None:
    """A task that awaits the computation of another one blocks nobody."""
    reached, opened = asyncio.Event(), asyncio.Event()

    @cached_query_many(over="ids", ignore=("reached", "opened", "table"))
    async def many(ids: list[int]) -> dict[int, str]:
        reached.set()
        await opened.wait()
        return table.read(ids)

    async def main() -> list[Any]:
        first = asyncio.create_task(many([1, 2]))
        await reached.wait()
        second = asyncio.create_task(many([2]))
        cancelled = asyncio.create_task(many([1]))
        await asyncio.to_thread(lambda: None)
        cancelled.cancel()
        opened.set()
        return [await first, await second]

    assert [{1: "row 1", 2: "row 2"}, {2: "row 2"}] == asyncio.run(main())
    assert [[1, 2]] == table.asked


def test_task_that_is_cancelled_leaves_its_flights(table: Table) -> None:
    """Who goes away while he computes takes nobody along: the next one computes."""
    reached = asyncio.Event()

    @cached_query_many(over="ids", ignore=("reached", "table"))
    async def many(ids: list[int]) -> dict[int, str]:
        if not reached.is_set():
            reached.set()
            await asyncio.Event().wait()
        return table.read(ids)

    async def main() -> Any:  # noqa: ANN401
        first = asyncio.create_task(many([1, 2]))
        await reached.wait()
        first.cancel()
        await asyncio.wait([first])
        return await many([1, 2])

    assert {1: "row 1", 2: "row 2"} == asyncio.run(main())
    assert {} == flights._flights  # noqa: SLF001
