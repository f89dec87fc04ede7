"""Commit hooks of the user's, and requests that are transactions, beside what waits for the commit."""

from collections.abc import Callable

import pytest
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from pytest_django import Settings

from cachedeco import MISSING
from tests.support.clubs import Undone, name_of, rename
from tests.support.threads import in_thread

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.usefixtures("_nothing_left_waiting"),
]


def _fail() -> None:
    raise Undone


# --- hooks ---


@pytest.mark.parametrize("robust", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_hook_that_raises_loses_no_invalidation(
    pk: int, caplog: pytest.LogCaptureFixture, *, robust: bool, first: bool
) -> None:
    """A hook that raises, registered before or after the invalidation, does not keep that from going out."""

    @transaction.atomic
    def change() -> None:
        rename(pk, "new")
        if first:
            transaction.on_commit(_fail, robust=robust)
        name_of.invalidate(pk)
        if not first:
            transaction.on_commit(_fail, robust=robust)

    if robust:
        change()
    else:
        with pytest.raises(Undone):
            change()

    assert "new" == name_of(pk)
    assert robust is ("Error calling" in caplog.text)


def test_hook_that_raises_loses_no_invalidation_of_any_savepoint(pk: int) -> None:
    """That holds for invalidations under savepoints, and before and after them."""

    @transaction.atomic
    def change() -> None:
        transaction.on_commit(_fail)
        with transaction.atomic():
            rename(pk, "new")
            name_of.invalidate(pk)
        transaction.on_commit(_fail)

    with pytest.raises(Undone):
        change()

    assert "new" == name_of(pk)


@pytest.mark.parametrize("first", [True, False])
def test_hook_that_calls_gets_the_new_value_and_stores_it(pk: int, *, first: bool) -> None:
    """A hook of the user's, registered before or after the invalidation, runs when all is committed and invalidated."""
    seen = []
    with transaction.atomic():
        rename(pk, "new")
        if first:
            transaction.on_commit(lambda: seen.append(name_of(pk)))
        name_of.invalidate(pk)
        if not first:
            transaction.on_commit(lambda: seen.append(name_of(pk)))

    assert (["new"], "new") == (seen, name_of.peek(pk))


def test_hook_that_invalidates_does_so_at_once(pk: int) -> None:
    """`on_commit(partial(f.invalidate, ...))`, as people write it for other libraries, works."""
    with transaction.atomic():
        rename(pk, "new")
        transaction.on_commit(lambda: name_of.invalidate(pk))

    assert "new" == name_of(pk)


def test_hook_with_a_transaction_of_its_own_waits_for_that(pk: int) -> None:
    """An invalidation in a transaction in a commit hook waits for the commit of that transaction."""

    def hook() -> None:
        with transaction.atomic():
            rename(pk, "newer")
            name_of.invalidate(pk)
            assert "new" == in_thread(lambda: name_of(pk))

    with transaction.atomic():
        rename(pk, "new")
        name_of.invalidate(pk)
        transaction.on_commit(hook)

    assert "newer" == name_of(pk)


def test_hook_for_the_next_transaction_after_one_that_failed_is_not_stuck(pk: int) -> None:
    """After a commit whose hooks failed, the next transaction invalidates as ever."""
    with pytest.raises(Undone), transaction.atomic():
        transaction.on_commit(_fail)
    with transaction.atomic():
        rename(pk, "new")
        name_of.invalidate(pk)

    assert "new" == name_of(pk)


# --- a request that is a transaction ---


def _change(request: HttpRequest, pk: int, outcome: str) -> HttpResponse:
    """Change the club's name, invalidate, and answer with the name, or fail."""
    rename(pk, request.GET["name"])
    name_of.invalidate(pk)
    body = name_of(pk)
    if outcome == "raise":
        raise Undone
    return HttpResponse(body, status=int(outcome))


urlpatterns = [path("<int:pk>/<str:outcome>/", _change)]


@pytest.fixture
def get(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], HttpResponse]:
    """Give the function that requests a path of a site with ATOMIC_REQUESTS."""
    settings.ROOT_URLCONF = __name__
    settings.ALLOWED_HOSTS = ["testserver"]
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", "yes")
    client = Client(raise_request_exception=False)
    return lambda url: client.get(url, {"name": "new"})  # type: ignore[return-value] # a subclass


def test_request_that_succeeds_invalidates(pk: int, get: Callable[[str], HttpResponse]) -> None:
    """With ATOMIC_REQUESTS the view sees its own change, and everybody sees it after the response."""
    response = get(f"/{pk}/200/")

    assert (b"new", "new") == (response.content, name_of(pk))


def test_request_that_raises_invalidates_nothing(
    pk: int, get: Callable[[str], HttpResponse], caplog: pytest.LogCaptureFixture
) -> None:
    """With ATOMIC_REQUESTS a view that raises has changed nothing, and the entry is still served."""
    response = get(f"/{pk}/raise/")

    assert (500, "old") == (response.status_code, name_of.peek(pk))
    assert "Internal Server Error" in caplog.text


def test_request_answered_with_an_error_status_invalidates(pk: int, get: Callable[[str], HttpResponse]) -> None:
    """With ATOMIC_REQUESTS it is the exception that undoes, not the status: a 404 commits, and so it invalidates."""
    response = get(f"/{pk}/404/")

    assert (404, MISSING) == (response.status_code, name_of.peek(pk))
