"""Inside transactions: what is stored and when, and what a transaction has invalidated itself."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from django.db import connection, transaction

from cachedeco import deferred_invalidation
from tests.loading.bulk.tables import Table
from tests.support.clubs import Undone, assert_nothing_waits
from tests.support.sides import Side, both
from tests.support.threads import in_thread

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _read_committed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have transactions that see what is committed, as on PostgreSQL; leave nothing waiting."""
    monkeypatch.setattr(connection, "isolation_level", "read committed", raising=False)
    yield
    assert_nothing_waits()


@both
def test_values_are_stored_at_commit(side: Side, table: Table) -> None:
    """What is computed inside atomic() is served to the transaction at once, and to others when it commits."""
    many = table.cached(side)

    with transaction.atomic():
        side.call(many, [1, 404])
        inside = side.call(many, [1, 404])
        elsewhere = in_thread(lambda: side.call(many.peek, [1]))

    assert ({1: "row 1"}, {}, [[1, 404]]) == (inside, elsewhere, table.asked)
    assert {1: "row 1"} == side.call(many.peek, [1, 404])


@both
def test_nothing_is_stored_after_a_rollback(side: Side, table: Table) -> None:
    """A value that a rolled back transaction has computed is gone."""
    many = table.cached(side)

    with suppress(Undone), transaction.atomic():
        side.call(many, [1, 2])
        raise Undone

    assert {} == side.call(many.peek, [1, 2])


@both
def test_invalidation_takes_effect_here_at_once_and_elsewhere_at_commit(side: Side, table: Table) -> None:
    """Ids that the transaction has invalidated are computed by it and not stored; the others are served."""
    many = table.cached(side)
    side.call(many, [1, 2, 3])

    with transaction.atomic():
        table.rows[2] = "new"
        side.call(many.invalidate, [2])
        inside = side.call(many, [1, 2, 4, 3])
        elsewhere = in_thread(lambda: side.call(many.peek, [2]))
        seen = side.call(many.peek, [1, 2])

    assert [(1, "row 1"), (2, "new"), (4, "row 4"), (3, "row 3")] == list(inside.items())
    assert ({2: "row 2"}, {1: "row 1"}) == (elsewhere, seen)
    assert ([[1, 2, 3], [2, 4]], 1) == (table.asked, many.stats().bypassed)
    assert {1: "row 1", 3: "row 3", 4: "row 4"} == side.call(many.peek, [1, 2, 3, 4])


@both
def test_id_that_was_invalidated_here_is_served_to_no_later_call_of_the_block(side: Side, table: Table) -> None:
    """The lease of the first call for the same ids has ended, and its entry of this id is that of before the block."""
    many = table.cached(side, depends_on=(), cache_if=lambda value: value != "row 2")
    side.call(many, [1])

    with deferred_invalidation():
        side.call(many.invalidate, [1])
        found = []
        for row in ("new", "newer"):
            table.rows[1] = row
            found.append(side.call(many, [1, 2]))

    assert [{1: "new", 2: "row 2"}, {1: "newer", 2: "row 2"}] == found


def test_invalidation_that_is_rolled_back_has_not_happened(table: Table) -> None:
    """After a rollback the entries stand, of a nested block too."""
    many = table.cached()
    many([1, 2])

    with transaction.atomic():
        with suppress(Undone), transaction.atomic():
            many.invalidate([1])
            raise Undone
        many.invalidate([2])

    assert {1: "row 1"} == many.peek([1, 2])


def test_invalidations_of_a_transaction_are_delivered_together(table: Table, commands: list[object]) -> None:
    """Several verbs of one transaction cost one command at commit."""
    many = table.cached()
    commands.clear()

    with transaction.atomic():
        many.invalidate([1, 2])
        many.invalidate([2, 3])

    assert 1 == len(commands)


@both
@pytest.mark.parametrize("verb", ["refresh", "set"])
def test_verb_that_can_not_store_what_was_touched_invalidates_it(side: Side, table: Table, verb: str) -> None:
    """What the transaction has invalidated stays so; other ids are stored at commit."""
    many = table.cached(side)
    side.call(many, [1, 2])

    with transaction.atomic():
        side.call(many.invalidate, [1])
        if verb == "set":
            side.call(many.call([1, 2]).set, {1: "new", 2: "new"})
        else:
            table.rows = {1: "new", 2: "new"}
            side.call(many.refresh, [1, 2])

    assert {2: "new"} == side.call(many.peek, [1, 2])


def test_old_snapshot_stores_nothing(table: Table) -> None:
    """Where the transaction's snapshot may be older than the stamp, values are returned and not stored."""
    connection.isolation_level = "repeatable read"  # type: ignore[attr-defined] # as other databases have
    many = table.cached()

    with transaction.atomic():
        found = many([1, 2])

    assert ({1: "row 1", 2: "row 2"}, {}) == (found, many.peek([1, 2]))


def test_function_that_was_invalidated_here_is_computed_for_all(table: Table, commands: list[object]) -> None:
    """Where the transaction has invalidated every id, nothing is read, and the other verbs still work."""
    many = table.cached()
    many([1, 2])
    commands.clear()

    with transaction.atomic():
        many.invalidate_all()
        found = many([2, 1]), many.peek([1])

    assert (({2: "row 2", 1: "row 1"}, {}), 1) == (found, len(commands))
