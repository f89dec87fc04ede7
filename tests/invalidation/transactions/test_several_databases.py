"""Transactions on several databases, and in several threads, keep apart."""

from contextlib import suppress

import pytest
from django.db import connections, transaction

from cachedeco import MISSING, Namespace
from tests.support.clubs import Undone, name_of, names, other_name_of, rename
from tests.support.threads import Gate, in_thread, started

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.usefixtures("_nothing_left_waiting"),
]


# --- several databases ---


def test_invalidation_waits_for_the_database_of_its_function(pk: int) -> None:
    """With `using`, the other database's commit is waited for, and the default one's is not."""
    with transaction.atomic(using="other"):
        with transaction.atomic():
            rename(pk, "new", using="other")
            other_name_of.invalidate(pk)
            inside = other_name_of(pk)
        before = in_thread(lambda: other_name_of(pk))

    assert ("new", "old", "new") == (inside, before, other_name_of(pk))


def test_invalidation_does_not_wait_for_another_database(pk: int) -> None:
    """A transaction on one database delays no invalidation of what lives in another."""
    with transaction.atomic():
        rename(pk, "new", using="other")
        other_name_of.invalidate(pk)

        assert "new" == in_thread(lambda: other_name_of(pk))


def test_namespace_invalidation_waits_for_the_database_it_names(pk: int) -> None:
    """`Namespace.invalidate(using=)` waits for that database, whatever function an entry is of."""
    with transaction.atomic(using="other"):
        rename(pk, "new", using="other")
        Namespace("elsewhere", pk).invalidate(using="other")
        before = in_thread(lambda: other_name_of.peek(pk))

    assert ("old", MISSING) == (before, other_name_of.peek(pk))


def test_rollback_on_one_database_keeps_what_waits_on_another(pk: int) -> None:
    """Two transactions open at once each settle their own invalidations."""
    with transaction.atomic(using="other"):
        with suppress(Undone), transaction.atomic():
            rename(pk, "new", using="other")
            other_name_of.invalidate(pk)
            name_of.invalidate(pk)
            raise Undone
        assert ("old", MISSING) == (name_of.peek(pk), other_name_of.peek(pk))

    assert ("old", "new") == (name_of.peek(pk), other_name_of(pk))


# --- threads ---


def test_transactions_of_two_threads_touch_nothing_of_each_other(pk: int) -> None:
    """What one thread's transaction has invalidated is served to another thread until the commit."""
    gate = Gate()
    gate.shut()

    def writer() -> object:
        with transaction.atomic():
            name_of.invalidate(pk)
            gate.wait_to_pass()
            return name_of.peek(pk)

    with started(writer) as writing:
        gate.wait_reached()
        with transaction.atomic():
            names.invalidate()
            during = (name_of.peek(pk), names.peek())
        gate.open()

    assert (("old", MISSING), MISSING) == (during, writing.result())
    assert (MISSING, MISSING) == (name_of.peek(pk), names.peek())


def test_thread_that_never_used_the_database_opens_no_connection(pk: int) -> None:
    """A hit needs no database, also while somebody's transaction is open."""

    def hit() -> tuple[str, bool]:
        return name_of(pk), connections["default"].connection is None

    with transaction.atomic():
        names.invalidate()

        assert ("old", True) == in_thread(hit)
