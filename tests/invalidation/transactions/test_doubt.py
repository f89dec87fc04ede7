"""A commit whose outcome is unknown invalidates, and stores nothing."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from unittest.mock import patch

import pytest
from django.db import DataError, InterfaceError, InternalError, OperationalError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from cachedeco import MISSING
from tests.support.backends import Commands
from tests.support.clubs import Undone, name_of, names, rename
from tests.support.threads import in_thread

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.usefixtures("_nothing_left_waiting"),
]


class Interrupted(BaseException):
    """What a handler of a signal raises."""


@transaction.atomic
def change(pk: int) -> None:
    """Rename a club, and invalidate."""
    rename(pk, "new")
    name_of.invalidate(pk)


def committing(after: Callable[[], object]) -> Any:
    """Have a commit reach the database, and do something before Django knows."""
    original = BaseDatabaseWrapper._commit

    def commit(self: Any) -> None:
        original(self)
        after()

    return patch.object(BaseDatabaseWrapper, "_commit", commit)


def raising(error: BaseException) -> Callable[[], None]:
    """Return a function that raises."""

    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_commit_in_doubt_invalidates(pk: int, error: type[Exception]) -> None:
    """The connection is lost after the server has committed: the old value is not served."""
    with committing(raising(error("lost"))), pytest.raises(error):
        change(pk)

    assert "new" == name_of(pk)


def test_commit_in_doubt_whose_rollback_fails_invalidates(pk: int) -> None:
    """Django closes a connection on which neither commit nor rollback works: its hooks go then."""

    def rollback(self: Any) -> None:
        self.errors_occurred = True  # as Django notes what a driver raises
        raise InternalError

    failing = patch.object(BaseDatabaseWrapper, "_rollback", rollback)
    with committing(raising(InternalError("lost"))), failing, pytest.raises(InternalError):
        change(pk)

    assert MISSING is name_of.peek(pk)


def test_commit_interrupted_invalidates_at_the_next_look(pk: int) -> None:
    """An interrupt in the middle of a commit leaves the hook in Django's list: the next call delivers."""
    with committing(raising(Interrupted())), pytest.raises(Interrupted):
        change(pk)

    assert "new" == name_of(pk)


def test_commit_interrupted_invalidates_when_the_connection_is_closed(pk: int) -> None:
    """Without another call, the end of the request delivers: Django closes the connection."""
    with committing(raising(Interrupted())), pytest.raises(Interrupted):
        change(pk)
    connection.close()

    assert MISSING is in_thread(lambda: name_of.peek(pk))


def test_hook_interrupted_before_it_is_called_invalidates(pk: int) -> None:
    """A signal between the commit and Django's call of the hook loses nothing."""

    def run_and_clear(self: Any) -> None:
        del self.run_on_commit[:]
        raise Interrupted

    with patch.object(BaseDatabaseWrapper, "run_and_clear_commit_hooks", run_and_clear), pytest.raises(Interrupted):
        change(pk)

    assert "new" == in_thread(lambda: name_of(pk))
    connection.run_commit_hooks_on_set_autocommit_on = False


def test_entry_of_a_commit_in_doubt_is_not_stored(pk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a transaction has computed may never have been true."""
    monkeypatch.setattr(connections["default"], "isolation_level", "read committed", raising=False)
    names.invalidate()

    @transaction.atomic
    def compute() -> None:
        rename(pk, "new")
        names()

    with committing(raising(OperationalError("lost"))), pytest.raises(OperationalError):
        compute()

    assert MISSING is names.peek()


@pytest.mark.parametrize("error", [DataError, Undone])
def test_commit_that_has_failed_for_sure_invalidates_nothing(
    pk: int, commands: Commands, error: type[Exception]
) -> None:
    """An answer of the server, or an error of the user's, leaves no doubt: the transaction is rolled back."""
    with suppress(error), transaction.atomic():
        rename(pk, "new")
        name_of.invalidate(pk)
        commands.clear()
        raise error

    assert [] == commands
    assert "old" == name_of.peek(pk)
