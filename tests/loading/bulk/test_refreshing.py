"""Past their timeout, or nearly: what is still served, and who refreshes it."""

import pytest
from django.db import transaction

from cachedeco.loading import leases
from cachedeco.testing import capture_events
from tests.loading.bulk.tables import Clock, Table
from tests.loading.leases.elsewhere import take_apart
from tests.support.sides import Side, both
from tests.support.stored import stored
from tests.support.threads import in_thread, started


@both
def test_due_ids_are_refreshed_together_by_one_caller(side: Side, table: Table, clock: Clock) -> None:
    """The first caller past the timeout computes the stale ids, by one call; the others are served."""
    many = table.cached(side, timeout=100, stale_while_revalidate=100)
    side.call(many, [1, 2])
    clock.pass_(60)
    side.call(many, [3])
    clock.pass_(60)
    table.rows = dict.fromkeys(table.rows, "new")

    found = side.call(many, [1, 3, 2])

    assert {1: "new", 3: "row 3", 2: "new"} == found == side.call(many, [1, 3, 2])
    assert [[1, 2], [3], [1, 2]] == table.asked


@both
def test_others_are_served_the_old_values_meanwhile(side: Side, table: Table, clock: Clock) -> None:
    """While one caller refreshes, no other one waits: what another caller refreshes is served as it is."""
    many = table.cached(side, timeout=100, stale_while_revalidate=100)
    side.call(many, [1, 2])
    clock.pass_(150)
    table.rows = dict.fromkeys(table.rows, "new")
    table.gate.shut()

    with started(lambda: side.call(many, [1, 2])) as slow, capture_events(many) as events:
        table.gate.wait_reached()
        found = in_thread(lambda: side.call(many, [2, 1]))
        table.gate.open()

    assert ({2: "row 2", 1: "row 1"}, {1: "new", 2: "new"}) == (found, slow.result())
    assert 2 == sum(event.kind == "stale" for event in events)


def test_lease_of_another_process_is_not_waited_for(
    table: Table, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another process refreshes, the old values are served at once."""
    many = table.cached(timeout=100, stale_while_revalidate=100)
    many([1, 404])
    clock.pass_(150)
    take_apart(monkeypatch, lambda _: False)

    found = many([1, 404])

    assert ({1: "row 1"}, 1, 2) == (found, len(table.asked), many.stats().stale)


@pytest.mark.parametrize(("seconds", "count"), [(199, 1), (201, 2)])
def test_past_stale_nothing_is_served(
    table: Table, clock: Clock, monkeypatch: pytest.MonkeyPatch, seconds: int, count: int
) -> None:
    """The old value is served for so long, and no longer."""
    many = table.cached(timeout=100, stale_while_revalidate=100)
    many([1])
    clock.pass_(seconds)
    take_apart(monkeypatch, lambda _: False)

    many([1])

    assert count == len(table.asked)


def test_due_and_missing_ids_are_two_computations(table: Table, clock: Clock) -> None:
    """Stale ids are refreshed apart from what is missing, for which others may be waiting."""
    many = table.cached(timeout=100, stale_while_revalidate=100)
    many([1])
    clock.pass_(150)

    found = many([2, 1])

    assert ([(2, "row 2"), (1, "row 1")], [[1], [1], [2]]) == (list(found.items()), table.asked)


def test_what_was_invalidated_is_never_served(table: Table, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalidated id is computed, also where the others are served as they are."""
    many = table.cached(timeout=100, stale_while_revalidate=100)
    many([1, 2])
    clock.pass_(150)
    many.invalidate([2])
    table.rows = dict.fromkeys(table.rows, "new")
    take_apart(monkeypatch, lambda _: False)
    monkeypatch.setattr("cachedeco.loading.leases.uniform", lambda *_: 0.0)

    assert {1: "row 1", 2: "new"} == many([1, 2])


@pytest.mark.django_db
def test_inside_a_transaction_stale_ids_are_served(table: Table, clock: Clock) -> None:
    """A transaction refreshes nothing for others."""
    many = table.cached(timeout=100, stale_while_revalidate=100)
    many([1])
    clock.pass_(150)

    with transaction.atomic():
        found = many([1])

    assert ({1: "row 1"}, 1) == (found, len(table.asked))


@pytest.mark.parametrize(("chance", "count"), [(0.0, 1), (0.999, 2)])
def test_early_refreshes_by_chance(
    table: Table, clock: Clock, monkeypatch: pytest.MonkeyPatch, chance: float, count: int
) -> None:
    """Before the timeout an id is refreshed the sooner the longer its share of the computation took."""
    ticks = iter([0.0, 4.0, 4.0] * 2)
    monkeypatch.setattr("cachedeco.loading.computing.perf_counter", lambda: next(ticks))
    monkeypatch.setattr("cachedeco.loading.refreshing.random", lambda: chance)
    many = table.cached(timeout=100, early=1)
    many([1, 2])
    clock.pass_(90)

    many([1, 2])

    assert [[1, 2]] * count == table.asked


# --- when the computation raises ---


@both
def test_old_values_are_served_when_the_computation_raises(side: Side, table: Table, clock: Clock) -> None:
    """Where all that is missing has an old value, these are served, absent ids included, and the error is an event."""
    many = table.cached(side, timeout=100, stale_if_error=100)
    side.call(many, [1, 404])
    clock.pass_(150)
    table.error = LookupError("down")

    with capture_events(many) as events:
        found = side.call(many, [1, 404])

    assert {1: "row 1"} == found
    assert ["miss", "miss", "error", "stale", "stale"] == [event.kind for event in events]


@both
def test_error_is_raised_where_one_id_has_no_old_value(side: Side, table: Table, clock: Clock) -> None:
    """A call gives all or nothing: without an old value for each id the error is raised."""
    many = table.cached(side, timeout=100, stale_if_error=100)
    side.call(many, [1])
    clock.pass_(150)
    table.error = LookupError("down")

    with pytest.raises(LookupError, match="down"):
        side.call(many, [1, 2])


def test_error_is_raised_where_one_old_value_is_too_old(table: Table, clock: Clock) -> None:
    """Past stale_if_error an old value is none."""
    many = table.cached(timeout=100, stale_if_error=100)
    many([1])
    clock.pass_(60)
    many([2])
    clock.pass_(150)
    table.error = LookupError("down")

    with pytest.raises(LookupError, match="down"):
        many([1, 2])


def test_error_of_a_refresh_serves_stale_ids(table: Table, clock: Clock) -> None:
    """What is served while it is refreshed is served too when that fails; then the error is remembered for a while."""
    many = table.cached(timeout=100, stale_while_revalidate=100)
    many([1, 2])
    clock.pass_(150)
    table.error = LookupError("down")

    first, second = many([1, 2]), many([1, 2])

    assert {1: "row 1", 2: "row 2"} == first == second
    assert 2 == len(table.asked)


def test_what_is_invalidated_while_the_computation_fails_is_not_served(table: Table, clock: Clock) -> None:
    """Neither an error nor stale_if_error brings back what was invalidated."""
    many = table.cached(timeout=100, stale_while_revalidate=100)
    many([1, 2])
    clock.pass_(150)
    table.gate.shut()
    table.error = LookupError("down")

    def call() -> None:
        with pytest.raises(LookupError, match="down"):
            many([1, 2])

    with started(call):
        table.gate.wait_reached()
        many.invalidate([2])
        table.gate.open()


def test_failure_of_another_process_serves_the_old_values(
    table: Table, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a computation that fails elsewhere is served the old values too."""
    many = table.cached(timeout=100, stale_if_error=100)
    many([1, 404])
    clock.pass_(150)

    def fail(lease: leases.Lease) -> bool:
        stored().set(lease.key, leases.FAILED)
        return False

    take_apart(monkeypatch, fail)

    assert ({1: "row 1"}, 1) == (many([1, 404]), len(table.asked))
