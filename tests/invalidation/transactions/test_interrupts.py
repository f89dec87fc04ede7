"""An exception of a signal's handler at any point of a write, its commit or its block: no old value, nothing left."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count

import pytest
from django.db import connections, transaction

from cachedeco import Event, Namespace, bypass, cached_query, deferred_invalidation, listening
from cachedeco.invalidation import commits, delivery
from cachedeco.runtime import modes
from tests.models import Club
from tests.support.clubs import Undone, name_of, rename
from tests.support.interrupts import Attempt, handled

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.usefixtures("_nothing_left_waiting"),
]

STEP = 3  # one point of so many is tried


@cached_query(depends_on=[Club])
def watched_name(pk: int) -> str:
    """Return the name of a club."""
    return Club.objects.get(pk=pk).name


def interrupted(act: Callable[[], object], step: int = STEP) -> Iterator[Attempt]:
    """Act again and again, each time with an exception at another point; yield what has happened."""
    with handled():
        for point in count(0, step):
            attempt = Attempt(point)
            attempt.run(act)
            # Django may have been interrupted behind its BEGIN: a new connection, as a new thread has it.
            connections["default"].close()
            del connections["default"]
            if not attempt.fell:
                assert point
                return
            yield attempt


def _in_autocommit(pk: int, name: str) -> None:
    rename(pk, name)


def _in_transaction(pk: int, name: str) -> None:
    with transaction.atomic():
        with transaction.atomic():
            rename(pk, name)
        watched_name(pk)
        with suppress(Undone), transaction.atomic():
            Namespace("elsewhere").invalidate()
            raise Undone


def _deferred(pk: int, name: str) -> None:
    with deferred_invalidation():
        rename(pk, name)


@pytest.mark.slow
@pytest.mark.parametrize("write", [_in_autocommit, _in_transaction, _deferred])
def test_exception_at_any_point_of_a_write_loses_no_invalidation(pk: int, write: Callable[[int, str], None]) -> None:
    """It reaches the caller, who can't know whether the row was written: if so, no call is served the old one."""
    names = count()

    def act() -> None:
        write(pk, f"name {next(names)}")

    for warm in (act, lambda: watched_name(pk)):  # what is imported late stays locked if it is interrupted
        warm()
    for attempt in interrupted(act):
        assert not attempt.is_swallowed, attempt.fell
        assert watched_name.uncached(pk) == watched_name(pk), attempt.fell
        assert not commits.has_pending(), attempt.fell


@pytest.mark.slow
def test_exception_at_any_point_of_a_rollback_stores_nothing(pk: int) -> None:
    """What was computed from rows that are undone is not stored, even if Django could not drop its hooks."""

    def act() -> None:
        vars(connections["default"])["isolation_level"] = "read committed"
        name_of.invalidate(pk)
        with suppress(Undone), transaction.atomic():
            rename(pk, "new")
            name_of(pk)
            raise Undone

    def act_on_the_old_row() -> None:
        rename(pk, "old")  # Django may have been interrupted before its ROLLBACK, and have committed then
        act()

    act()
    for attempt in interrupted(act_on_the_old_row):
        assert name_of.uncached(pk) == name_of(pk), attempt.fell


def test_exception_when_a_block_with_a_mode_begins_leaves_no_mode() -> None:
    """A block that did not begin has no end to restore the mode."""
    for attempt in interrupted(lambda: bypass().__enter__(), step=1):
        assert "on" == modes.current_mode(), attempt.fell
    modes._modes.set(())


def test_exception_when_a_block_with_a_mode_ends_restores_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come before or after the mode is taken back."""
    before = modes.mode._without_own

    def without_own(block: modes.mode, stack: modes.Modes) -> modes.Modes:
        monkeypatch.undo()
        del block, stack
        raise Undone

    with pytest.raises(Undone), bypass():
        monkeypatch.setattr(modes.mode, "_without_own", without_own)

    assert (before, "on") == (modes.mode._without_own, modes.current_mode())


def test_hook_of_ours_that_fails_stops_no_hook_of_the_user(pk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect in what we do at a commit is an event."""
    called: list[str] = []
    told: list[Event] = []

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(delivery, "try_to_deliver", fail)
    with listening(told.append), transaction.atomic():
        transaction.on_commit(lambda: called.append("hook"))
        name_of.invalidate(pk)

    assert ["hook"] == called
    assert [commits.UNDELIVERED] == [each.reason for each in told if isinstance(each.error, ZeroDivisionError)]
