"""What a transaction costs grows with what it does, and not with its square."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import transaction

from tests.invalidation.dependencies.roster import squads
from tests.models import Squad
from tests.support.backends import Commands
from tests.support.clubs import Undone, name_of, names
from tests.support.counting import FEW, fewest_calls_of, growth
from tests.support.threads import Gate, started

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.usefixtures("_nothing_left_waiting"),
]


def user_hook() -> None:
    """Stand for a hook of the user's."""


@transaction.atomic
def save_each(count: int) -> None:
    """Save rows, each in a savepoint that is released, and with a hook of the user's."""
    for number in range(count):
        Squad.objects.get_or_create(name=f"{count}.{number}")
        transaction.on_commit(user_hook)


@transaction.atomic
def invalidate_each(count: int) -> None:
    """Invalidate another call in each of many savepoints."""
    for number in range(count):
        with transaction.atomic():
            name_of.invalidate(number)


@transaction.atomic
def undo_each(count: int) -> None:
    """Invalidate another call in each of many savepoints, and roll each back."""
    for number in range(count):
        with suppress(Undone), transaction.atomic():
            name_of.invalidate(number)
            raise Undone


@transaction.atomic
def read_each(count: int) -> None:
    """Call after each of many invalidations."""
    for number in range(count):
        name_of.invalidate(number)
        names.peek()


def nest(count: int) -> None:
    """Invalidate another call in each of many savepoints, of which each is inside the one before."""
    if count:
        with transaction.atomic():
            name_of.invalidate(count)
            nest(count - 1)


@pytest.mark.parametrize("work", [save_each, invalidate_each, undo_each, read_each])
def test_calls_grow_with_the_transaction(work: Callable[[int], Any]) -> None:
    """The two hundredth round costs what the second does."""
    assert growth(work) < 1.1


def test_savepoints_and_hooks_leave_one_command(commands: Commands) -> None:
    """All that one transaction has invalidated goes out by one command, however many savepoints it was in."""
    squads()
    commands.clear()

    save_each(FEW)
    rows = list(commands)
    commands.clear()
    with transaction.atomic():
        nest(FEW)

    assert (["set_many"], ["set_many"]) == ([each.name for each in rows], commands.names)
    assert FEW == len(commands[0].keys)


def test_hit_costs_the_same_while_another_thread_has_an_open_transaction(pk: int) -> None:
    """Another thread's transaction, with something that waits, costs a hit two questions and no look at connections."""
    name_of(pk)
    plain = fewest_calls_of(lambda: name_of(pk))
    gate = Gate()
    gate.shut()

    def writer() -> None:
        with transaction.atomic():
            for number in range(FEW):
                name_of.invalidate(-number)
            gate.wait_to_pass()

    with started(writer):
        gate.wait_reached()
        during = fewest_calls_of(lambda: name_of(pk))
        gate.open()

    assert during - plain <= 4
