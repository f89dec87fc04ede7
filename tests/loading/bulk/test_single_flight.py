"""Who computes, in one process: callers share by id, and none waits without bound, or in a circle."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from cachedeco import cached_query, cached_query_many
from cachedeco.loading import flights, single_flight, stamping
from cachedeco.testing import capture_events
from tests.loading.bulk.tables import Table
from tests.loading.single_flight.callers import Boarding
from tests.support.faults import faulty
from tests.support.sides import SYNC, Side, both
from tests.support.threads import PATIENCE_SECONDS, Gate, in_thread, started

ON_SERVERS = pytest.mark.parametrize("backend", ["locmem", "memcached", "redis"], indirect=True)


@contextmanager
def waiting(monkeypatch: pytest.MonkeyPatch, function: Any, ids: list[int], side: Side) -> Iterator[Any]:
    """Call in a thread while the block runs; the block begins when that call has boarded."""
    boarded, board = threading.Event(), flights.join_or_lead

    def tell(*args: Any) -> Any:
        try:
            return board(*args)
        finally:
            boarded.set()

    with monkeypatch.context() as patch:
        patch.setattr("cachedeco.loading.single_flight.join_or_lead", tell)
        with started(lambda: side.call(function, ids)) as running:
            assert boarded.wait(PATIENCE_SECONDS)
            yield running


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
    """The leader of what a third caller wants computes that at once, and waits for the others only then."""
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
def test_no_caller_waits_where_wait_is_0(side: Side, table: Table) -> None:
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


@both
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_error_reaches_all_who_asked_for_these_ids_too(
    side: Side, table: Table, monkeypatch: pytest.MonkeyPatch, *, warm: bool
) -> None:
    """
    Callers for all ids of a computation that raises get its error, as for a single call, and compute nothing of it.

    The defect: ten callers of a function over many ids that raised computed ten times, one after the other.
    """
    many = table.cached(side)
    if warm:
        side.call(many, [1, 2])
        many.invalidate_all()
        table.asked.clear()
    table.gate.shut()
    table.error = LookupError("down")

    with ExitStack() as callers:
        leader = callers.enter_context(started(lambda: outcome_of(side, many, [1, 2])))
        table.gate.wait_reached()
        others = [
            callers.enter_context(waiting(monkeypatch, partial(outcome_of, side, many), ids, SYNC))
            for ids in ([1, 2], [2, 1], [1, 2])
        ]
        table.gate.open()

    assert ["down"] * 4 == [str(each.result()) for each in (leader, *others)]
    assert 4 == len({id(each.result()) for each in (leader, *others)})
    assert [[1, 2]] == table.asked


@both
def test_error_of_a_computation_for_more_ids_makes_one_more_computation(
    side: Side, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers for a part of its ids share the next computation, and its error: they do not compute each by itself."""
    boarding, down, error = Boarding(monkeypatch), Gate(), LookupError("down")

    def read(ids: list[int]) -> dict[int, str]:
        table.asked.append(ids)
        (table.gate if len(ids) > 1 else down).wait_to_pass()
        raise error

    many = table.over(read, side)
    table.gate.shut()
    down.shut()

    with ExitStack() as callers:
        leader = callers.enter_context(started(lambda: outcome_of(side, many, [1, 2])))
        table.gate.wait_reached()
        others = [callers.enter_context(started(lambda: outcome_of(side, many, [1]))) for _ in range(3)]
        boarding.wait_for_followers(3)
        table.gate.open()
        boarding.wait_for_followers(5)  # of the next computation, which one of the three leads
        down.open()

    assert ["down"] * 4 == [str(each.result()) for each in (leader, *others)]
    assert [[1, 2], [1]] == table.asked


def outcome_of(side: Side, many: Any, ids: list[int]) -> object:
    """Return what a call returns, or the error that it raises."""
    try:
        return side.call(many, ids)
    except LookupError as error:
        return error


def test_caller_who_comes_while_tokens_are_minted_shares(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tokens that are being minted he finds some, and waits for the same computation all the same."""
    many = table.cached(namespace="row:{each}")
    minted = stamping.mint

    with ExitStack() as stack:
        found = []

        def meanwhile(*args: Any, **options: Any) -> Any:
            standing = minted(*args, **options)
            monkeypatch.setattr(stamping, "mint", minted)
            found.append(stack.enter_context(waiting(monkeypatch, many, [1, 2], SYNC)))
            return standing

        monkeypatch.setattr(stamping, "mint", meanwhile)
        first = many([1, 2])

    assert first == found[0].result() == {1: "row 1", 2: "row 2"}
    assert [[1, 2]] == table.asked


def str_of(each: object) -> str:
    """Tell ids apart by their text."""
    return str(each)


def test_two_ids_of_one_entry_do_not_wait_for_each_other(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that the key does not tell apart are computed together, by one leader of both, which waits for no other."""
    many = table.over(lambda ids: dict.fromkeys(ids, "row"), key=str_of)
    monkeypatch.setattr(single_flight, "Wait", lambda *_: pytest.fail("It waits for itself."))

    with capture_events(many) as events:
        found = many([1, "1"])

    assert {1: "row", "1": "row"} == found == many([1, "1"])
    assert 1 == sum(event.kind == "computed" for event in events)


def test_caller_for_which_others_wait_waits_for_none(table: Table) -> None:
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


def test_computation_for_which_others_wait_waits_for_none(table: Table) -> None:
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
def test_no_caller_waits_inside_a_transaction(table: Table) -> None:
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
    commands: Any,
) -> None:
    """Without an answer nothing is minted, taken or stored, and the function is asked for all."""
    many = table.cached()

    with faulty("get_many", raises=OSError()):
        found = many([1, 2])

    assert ({1: "row 1", 2: "row 2"}, ["get_many"]) == (found, commands.names)


# --- tasks of one loop ---


def test_tasks_of_one_loop_share(table: Table) -> None:
    """A task that awaits the computation of another one blocks no other task."""
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
        for _ in range(20):  # turns of the loop: each task reads, and waits for the thread
            await asyncio.sleep(0)
        await sync_to_async(int)()  # behind those of the tasks
        cancelled.cancel()
        opened.set()
        return [await first, await second]

    assert [{1: "row 1", 2: "row 2"}, {2: "row 2"}] == asyncio.run(main())
    assert [[1, 2]] == table.asked


def test_task_that_is_cancelled_leaves_its_flights(table: Table) -> None:
    """A leader that goes away while it computes takes no follower along: the next one computes."""
    reached = asyncio.Event()

    @cached_query_many(over="ids", ignore=("reached", "table"))
    async def many(ids: list[int]) -> dict[int, str]:
        if not reached.is_set():
            reached.set()
            await asyncio.Event().wait()
        return table.read(ids)

    async def main() -> Any:
        first = asyncio.create_task(many([1, 2]))
        await reached.wait()
        first.cancel()
        await asyncio.wait([first])
        return await many([1, 2])

    assert {1: "row 1", 2: "row 2"} == asyncio.run(main())
    assert {} == flights._flights
