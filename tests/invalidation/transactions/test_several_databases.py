"""Transactions on several databases, and in several threads, keep apart."""

from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress

import pytest
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from pytest_django import Settings

from cachedeco import MISSING, Namespace, cached_query, cached_query_many
from cachedeco.invalidation import commits
from tests.models import Club
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
    """`Namespace.invalidate(using=)` waits for that database, for entries of any function."""
    with transaction.atomic(using="other"):
        rename(pk, "new", using="other")
        Namespace("elsewhere", pk).invalidate(using="other")
        before = in_thread(lambda: other_name_of.peek(pk))

    assert ("old", MISSING) == (before, other_name_of.peek(pk))


def test_rollback_on_one_database_keeps_what_waits_on_another(pk: int) -> None:
    """What is invalidated inside two transactions goes out when one commits: either may have written what changed."""
    with transaction.atomic(using="other"):
        with suppress(Undone), transaction.atomic():
            rename(pk, "new", using="other")
            other_name_of.invalidate(pk)
            name_of.invalidate(pk)
            raise Undone
        assert ("old", "old") == in_thread(lambda: (name_of.peek(pk), other_name_of.peek(pk)))

    assert (MISSING, "new") == (name_of.peek(pk), other_name_of(pk))


def test_rollback_on_all_databases_keeps_the_entry(pk: int) -> None:
    """Nothing has happened."""
    with suppress(Undone), transaction.atomic(using="other"), transaction.atomic():
        name_of.invalidate(pk)
        raise Undone

    assert "old" == name_of.peek(pk)


@cached_query(namespace="somewhere:{pk}")
def name_by_router(pk: int) -> str:
    """Return the name of a club that a router has sent to the other database; the default one is named by *using*."""
    return Club.objects.using("other").get(pk=pk).name


@cached_query_many(over="pks")
def names_by_router(pks: list[int]) -> dict[int, str]:
    """Do so for many clubs."""
    return {club.pk: club.name for club in Club.objects.using("other").filter(pk__in=pks)}


def read_by_router(pk: int) -> tuple[str, str]:
    """Call both functions."""
    return name_by_router(pk), names_by_router([pk])[pk]


INVALIDATE: dict[str, Callable[[int], object]] = {
    "the call": lambda pk: (name_by_router.invalidate(pk), names_by_router.invalidate([pk])),
    "the function": lambda _: (name_by_router.invalidate_all(), names_by_router.invalidate_all()),
    "a namespace": lambda pk: (Namespace("somewhere", pk).invalidate(), names_by_router.invalidate([pk])),
    "by a value that is not stored": lambda pk: (
        name_by_router.call(pk).set("new"),
        names_by_router.call([pk]).set({pk: "new"}),
    ),
}


@pytest.mark.parametrize("default", ["in autocommit", "in a transaction"])
@pytest.mark.parametrize("way", INVALIDATE)
def test_invalidation_takes_effect_at_the_commit_of_what_was_written(pk: int, way: str, default: str) -> None:
    """
    A reader that has come between the invalidation and the other database's commit leaves no old value behind.

    The defect: the invalidation went out at the commit of the database that *using* names, and at no other.
    """
    with transaction.atomic(using="other"):
        with transaction.atomic() if default == "in a transaction" else nullcontext():
            rename(pk, "new", using="other")
            INVALIDATE[way](pk)
            inside = read_by_router(pk)
        between = in_thread(lambda: read_by_router(pk))
        after_between = read_by_router(pk)

    assert [("new", "new"), ("old", "old")] == [inside, between]
    assert [("new", "new")] * 2 == [after_between, in_thread(lambda: read_by_router(pk))]


# --- entries ---


@pytest.fixture
def _read_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have both connections say that each of their statements sees all that was committed before it."""
    for alias in ("default", "other"):
        monkeypatch.setattr(connections[alias], "isolation_level", "read committed", raising=False)


@pytest.mark.usefixtures("_read_committed")
@pytest.mark.parametrize("undone", [None, "outer", "inner", "savepoint"])
@pytest.mark.parametrize("outer", ["default", "other"])
def test_entry_is_stored_when_the_last_of_the_open_blocks_commits(pk: int, outer: str, undone: str | None) -> None:
    """Which database a value was read from is unknown: it waits for all, and is dropped if one rolls back."""
    [inner] = {"default", "other"} - {outer}
    name_of.invalidate(pk)
    seen: list[object] = []

    def finish(block: str) -> None:
        seen.append((name_of.peek(pk), in_thread(lambda: name_of.peek(pk))))
        if undone == block:
            raise Undone

    with suppress(Undone), transaction.atomic(using=outer):
        with suppress(Undone), transaction.atomic(using=inner):
            with suppress(Undone), transaction.atomic(using=outer):
                name_of(pk)
                finish("savepoint")
            finish("inner")
        finish("outer")

    lost = {"savepoint": 1, "inner": 2, "outer": 3, None: 3}[undone]
    expected: list[object] = [("old", MISSING)] * lost + [(MISSING, MISSING)] * (3 - lost)
    assert (expected, MISSING if undone else "old") == (seen, name_of.peek(pk))


@pytest.mark.usefixtures("_read_committed")
def test_entry_waits_for_a_block_that_ends_out_of_order(pk: int) -> None:
    """Blocks need not end in the order in which they began."""
    name_of.invalidate(pk)
    first, second = ExitStack(), ExitStack()
    first.enter_context(transaction.atomic())
    second.enter_context(transaction.atomic(using="other"))
    name_of(pk)
    first.close()
    between = in_thread(lambda: name_of.peek(pk))
    second.close()

    assert (MISSING, "old") == (between, name_of.peek(pk))


@pytest.mark.usefixtures("_read_committed")
def test_last_entry_that_is_not_undone_is_served(pk: int) -> None:
    """Inside the transactions, a value that a savepoint of either database has undone gives way to the one before."""
    with transaction.atomic(), transaction.atomic(using="other"):
        name_of.call(pk).set("first")
        for using in ("default", "other"):
            with suppress(Undone), transaction.atomic(using=using):
                name_of.call(pk).set("second")
                assert "second" == name_of(pk)
                raise Undone
            assert "first" == name_of(pk)

    assert "first" == name_of.peek(pk)


def _read(request: HttpRequest, pk: int) -> HttpResponse:  # noqa: ARG001 -- Django's signature
    """Answer with the name of a club, whose rows a router may have sent to the other database."""
    return HttpResponse(name_of(pk) + other_name_of(pk))


urlpatterns = [path("<int:pk>/", _read)]


@pytest.mark.parametrize("level", ["read committed", "repeatable read"])
def test_requests_that_are_transactions_on_two_databases(
    pk: int, level: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ATOMIC_REQUESTS on both, a request's values are stored at READ COMMITTED, and above it they are not."""
    settings.ROOT_URLCONF = __name__
    settings.ALLOWED_HOSTS = ["testserver"]
    for alias in ("default", "other"):
        monkeypatch.setitem(connections[alias].settings_dict, "ATOMIC_REQUESTS", "yes")
        monkeypatch.setattr(connections[alias], "isolation_level", level, raising=False)
    name_of.invalidate(pk)
    other_name_of.invalidate(pk)

    response = Client().get(f"/{pk}/")

    expected = ("old", "old") if level == "read committed" else (MISSING, MISSING)
    assert (b"oldold", expected) == (response.content, (name_of.peek(pk), other_name_of.peek(pk)))


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
    """A hit needs no database, also while a transaction is open elsewhere."""

    def hit() -> tuple[str, bool]:
        return name_of(pk), connections["default"].connection is None

    with transaction.atomic():
        names.invalidate()

        assert ("old", True) == in_thread(hit)


def test_connection_that_two_threads_share_shows_both_what_its_transaction_has_invalidated(pk: int) -> None:
    """LiveServerTestCase lends the connection of the test to the thread of its server."""
    shared = connections["default"]

    def lent() -> object:
        connections["default"] = shared
        try:
            return name_of.peek(pk)
        finally:
            del connections["default"]

    shared.inc_thread_sharing()
    try:
        with transaction.atomic():
            name_of.invalidate(pk)
            found = name_of.peek(pk), in_thread(lent), in_thread(lambda: name_of.peek(pk))
    finally:
        shared.dec_thread_sharing()

    assert (MISSING, MISSING, "old") == found


def test_forked_child_keeps_what_waits_in_its_own_thread(pk: int) -> None:
    """A child has the thread that forked, with its open transactions, and no other."""
    gate = Gate()
    gate.shut()

    def writer() -> None:
        with transaction.atomic():
            name_of.invalidate(pk)
            gate.wait_to_pass()

    before = dict(commits.waiting)
    with started(writer):
        gate.wait_reached()
        others = {key: each for key, each in commits.waiting.items() if key not in before}
        with transaction.atomic(using="other"):
            other_name_of.invalidate(pk)
            here = {key: each for key, each in commits.waiting.items() if key not in others}
            commits.forget_other_threads()
            kept = dict(commits.waiting)
        commits.waiting.update(others)
        commits.forget_other_threads()
        left = dict(commits.waiting)
        gate.open()

    assert (1, here, {}) == (len(others), kept, left)
