"""Scenarios of transactions: committed, rolled back, and in doubt, as the answer to the commit is lost."""

from collections.abc import Callable
from contextlib import suppress

from django.db import OperationalError, transaction

from tests.schedules import database
from tests.schedules.acts import Act, forgets, reads
from tests.schedules.explorer import Scenario
from tests.schedules.functions import transacted
from tests.schedules.simulation import step, world
from tests.schedules.world import Violation


class _RolledBack(Exception):  # noqa: N818 -- of the scenario
    """The block is left by an exception."""


def commits(row: str, *acts: Callable[[], object]) -> Act:
    """Write a row in a transaction, and act; what is seen of it after the commit is acknowledged, for any outcome."""

    def act() -> None:
        with database.opened(), suppress(OperationalError), transaction.atomic(using=database.ALIAS):
            step("row", ("write row", row), lambda: database.here().write(row))
            for each in acts:
                each()
        world().acked[row] = world().rows.get(row, 0)

    return act


def rolls_back(row: str, *acts: Callable[[], object]) -> Act:
    """Write a row in a transaction, act, and roll back."""

    def act() -> None:
        with database.opened(), suppress(_RolledBack), transaction.atomic(using=database.ALIAS):
            step("row", ("write row", row), lambda: database.here().write(row))
            for each in acts:
                each()
            raise _RolledBack

    return act


def reads_in_snapshot(function: Callable[[], dict[str, int]]) -> Act:
    """Read in a transaction whose snapshot is older than the call."""

    def act() -> None:
        with database.opened() as connection:
            connection.isolation_level = "repeatable read"
            with transaction.atomic(using=database.ALIAS):
                step("row", ("read row", "other"), lambda: connection.read("other"))
                function()

    return act


def reads_committed(function: Callable[[], dict[str, int]]) -> Act:
    """Read, also nothing that was never committed."""

    def act() -> None:
        reads(function)()
        value = function()
        for row, version in value.items():
            if version > world().rows.get(row, 0):
                message = f"version {version} of {row} was read, and {world().rows.get(row, 0)} was committed"
                raise Violation(message)

    return act


TRANSACTIONS = [
    Scenario(
        name="a transaction, one reader",
        promise="What is written in a transaction is seen by all that begin after its commit.",
        before=[transacted],
        cast={"A": reads(transacted, times=2), "W": commits("row", transacted.invalidate)},
        looks=[reads_committed(transacted)],
    ),
    Scenario(
        name="a commit in doubt, one reader",
        promise="If the answer to a commit is lost, what it may have written is seen by all that begin afterwards.",
        before=[transacted],
        cast={"A": reads(transacted), "W": commits("row", transacted.invalidate)},
        looks=[reads_committed(transacted)],
        budget={"doubt": 1},
    ),
    Scenario(
        name="a commit in doubt, what it reads is not stored",
        promise="A value that was computed in a transaction is never stored unless its commit is known.",
        before=[transacted, forgets],
        cast={"A": reads_committed(transacted), "W": commits("row", transacted.invalidate, transacted)},
        looks=[reads_committed(transacted)],
        budget={"doubt": 1},
    ),
    Scenario(
        name="a rollback, one reader",
        promise="Nobody but the transaction itself sees what it has written and rolled back.",
        before=[transacted, forgets],
        cast={"A": reads_committed(transacted), "W": rolls_back("row", transacted, transacted.invalidate, transacted)},
        looks=[reads_committed(transacted)],
    ),
    Scenario(
        name="a reader with an old snapshot, one writer",
        promise="What is read in a snapshot that is older than the stamp is not stored.",
        before=[transacted, forgets],
        cast={"A": reads_in_snapshot(transacted), "W": commits("row", transacted.invalidate)},
        looks=[reads(transacted)],
    ),
]
