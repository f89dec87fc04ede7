"""Any sequence of calls, writes, invalidations, rollbacks and evictions gives what the undecorated functions give."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from hypothesis import Phase

from tests.support.histories import ConcurrentHistories, Functions, Histories
from tests.support.machines import run_machine
from tests.support.naive import DeleteAndSet
from tests.support.selection import of_length
from tests.support.threads import Gate

LEVELS = pytest.mark.parametrize("level", [None, "read committed"], ids=["snapshot", "read committed"])
ON_BOTH = pytest.mark.parametrize("backend", ["locmem", "memcached"], indirect=True)


def run(machine: type[Histories], level: str | None, *, examples: int, **more: Any) -> None:
    """Run a machine at an isolation level."""
    at_level = type(machine.__name__, (machine,), {"isolation_level": level})
    run_machine(at_level, examples=examples, **more)


@pytest.mark.usefixtures("backend")
@pytest.mark.django_db(transaction=True)
@pytest.mark.covering(1)
@ON_BOTH
@LEVELS
def test_any_history_gives_what_the_plain_functions_give(level: str | None) -> None:
    """With real transactions, a second thread that reads and writes, and a slow reader, no call gives a wrong value."""
    run(ConcurrentHistories, level, examples=of_length(8, soak=400))


@pytest.mark.usefixtures("backend")
@pytest.mark.django_db
@pytest.mark.covering(1)
@ON_BOTH
@LEVELS
def test_any_history_inside_testcase_gives_what_the_plain_functions_give(level: str | None) -> None:
    """Inside TestCase, where the test's own transactions are savepoints, no call gives a wrong value."""
    run(Histories, level, examples=of_length(8, soak=400))


# --- controls ---


class DeleteAtCommit(DeleteAndSet):
    """Look, compute, set; delete when the transaction commits."""

    def invalidate_all(self) -> None:
        """Delete at commit."""
        transaction.on_commit(super().invalidate_all)


def _written_with(naive: type[DeleteAndSet]) -> Callable[[Gate], Functions]:
    """Return what makes the functions with a naive decorator, whose every invalidation is one of everything."""

    def cached(**options: Any) -> Callable[[Callable[..., Any]], DeleteAndSet]:
        return lambda function: naive(function, options.get("vary"))

    class NaiveFunctions(Functions):
        def __init__(self, gate: Gate) -> None:
            super().__init__(gate, cached)

        def invalidate(self, pk: int, _way: str) -> None:
            super().invalidate(pk, "functions")

    return NaiveFunctions


@pytest.mark.parametrize("naive", [DeleteAndSet, DeleteAtCommit])
@pytest.mark.django_db(transaction=True)
def test_control_naive_decorator_fails(naive: type[DeleteAndSet]) -> None:
    """The control: the same machine finds a wrong value of a decorator that deletes and sets, at commit or at once."""
    broken = type("Broken", (ConcurrentHistories,), {"made_functions": _written_with(naive)})

    with pytest.raises(AssertionError, match=r" is .*, not "):
        run(broken, None, examples=500, phases=[Phase.generate], report_multiple_bugs=False)


@pytest.mark.django_db
def test_control_naive_decorator_fails_inside_testcase() -> None:
    """The control inside TestCase: a history with a rollback leaves what a naive decorator stored."""
    history = type("Broken", (Histories,), {"made_functions": _written_with(DeleteAndSet)})()
    history.begin()
    history.write(pk=1, name="b", way="calls", bypassed=False)
    history.call("one 1")
    history.end(undo=True)

    with pytest.raises(AssertionError, match=r" is .*, not "):
        history.every_entry_is_right()
    history.teardown()
