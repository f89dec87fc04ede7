"""Tenants by KEY_FUNCTION: whole keys are worked out once, where a call is made; the rows of all are the same."""

from collections.abc import Callable
from contextlib import suppress
from threading import local
from typing import Any

import pytest
from django.db import transaction

from cachedeco import MISSING, Namespace, cached_query, cached_query_many
from cachedeco.storage.breaker import breakers
from cachedeco.storage.keyspace import KeyFunctionError
from cachedeco.testing import capture_events
from tests.conftest import CacheConfig, UseCaches
from tests.models import Club
from tests.support.clubs import Undone
from tests.support.faults import faulty

here = local()


def of_tenant(key: str, prefix: str, version: int) -> str:
    """Make a key of the tenant of this thread."""
    return f"{prefix}:{version}:{here.tenant}:{key}"


@pytest.fixture(autouse=True)
def tenants(use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """Give each tenant keys of its own."""
    here.tenant = "north"
    use_caches(default=cache_config("faulty", KEY_FUNCTION=f"{__name__}.of_tenant"))


@cached_query(namespace=[Namespace.for_model(Club), "page:{number}"])
def page(number: int) -> str:
    """Return whose page it is."""
    return f"{here.tenant} {number}"


@cached_query_many(over="numbers")
def pages(numbers: list[int]) -> dict[int, str]:
    """Return several pages."""
    return {number: f"{here.tenant} {number}" for number in numbers}


def as_tenant(tenant: str, function: Any, *args: object) -> Any:
    """Call a function as another tenant."""
    before, here.tenant = here.tenant, tenant
    try:
        return function(*args)
    finally:
        here.tenant = before


def test_tenants_have_entries_of_their_own() -> None:
    """The same call of two tenants is two entries."""
    assert ("north 1", "south 1") == (page(1), as_tenant("south", page, 1))
    assert ({1: "north 1"}, {1: "south 1"}) == (pages([1]), as_tenant("south", pages, [1]))


@pytest.mark.django_db
def test_invalidation_at_a_commit_reaches_the_tenant_that_it_was_made_for() -> None:
    """What waits for a commit is the whole key, though the tenant is another one by then."""
    for tenant in ("north", "south"):
        as_tenant(tenant, page, 1)

    with transaction.atomic():
        page.invalidate(1)
        as_tenant("south", page.invalidate, 1)
        here.tenant = "west"

    assert [MISSING, MISSING] == [as_tenant(tenant, page.peek, 1) for tenant in ("north", "south")]


TENANTS = ("north", "south", "east")
WAYS: dict[str, Callable[[], object]] = {
    "call": lambda: (page.invalidate(1), pages.invalidate([1])),
    "function": lambda: (page.invalidate_all(), pages.invalidate_all()),
    "namespace": lambda: (Namespace("page", 1).invalidate(), pages.invalidate([1])),
    "unstored": lambda: (page.call(1).set("unstored"), pages.call([1]).set({1: "unstored"})),
    "refreshed": lambda: (page.refresh(1), pages.refresh([1])),
}


@pytest.mark.django_db
@pytest.mark.parametrize("undone", TENANTS[:2])
@pytest.mark.parametrize("way", WAYS)
def test_each_tenant_has_an_invalidation_of_its_own_in_one_transaction(way: str, undone: str) -> None:
    """
    Of several tenants, each is invalidated at the commit, but for one whose savepoint is rolled back; no other is.

    The defect: one token was written, of the tenant that was current at the commit.
    """
    for tenant in (*TENANTS, "west"):
        as_tenant(tenant, page, 1)
        as_tenant(tenant, pages, [1])

    with transaction.atomic():
        for tenant in TENANTS:
            with suppress(Undone), transaction.atomic():
                as_tenant(tenant, WAYS[way])
                if tenant == undone:
                    raise Undone

    found = {
        tenant
        for tenant in (*TENANTS, "west")
        if as_tenant(tenant, page.peek, 1) is MISSING and not as_tenant(tenant, pages.peek, [1])
    }
    assert set(TENANTS) - {undone} == found
    assert f"{undone} 1" == as_tenant(undone, page.peek, 1)


def test_invalidation_that_is_retried_reaches_its_tenant() -> None:
    """The retry queue holds whole keys."""
    page(1)
    with faulty("set_many", raises=ValueError):
        page.invalidate(1)
    here.tenant = "south"

    breakers["default"].end_pause()
    page(1)

    assert MISSING is as_tenant("north", page.peek, 1)


def test_tables_are_the_same_for_all_tenants() -> None:
    """What one tenant says of a model is true for all."""
    page(1)

    as_tenant("south", Namespace.for_model(Club).invalidate)

    assert MISSING is page.peek(1)


def test_key_function_that_fails_lets_the_call_go_past_the_cache() -> None:
    """The call is computed, which is an event; an invalidation can't be lost in silence, and raises."""
    del here.tenant

    @cached_query
    def answer() -> int:
        return 42

    @cached_query_many(over="ids")
    def answers(ids: list[int]) -> dict[int, int]:
        return dict.fromkeys(ids, 42)

    with capture_events() as events:
        assert (42, {1: 42}) == (answer(), answers([1]))
        assert (42, {1: 42}) == (answer.refresh(), answers.refresh([1]))

    assert [AttributeError] * 4 == [type(each.error) for each in events if each.kind == "error"]
    with pytest.raises(KeyFunctionError, match="KEY_FUNCTION of CACHES"):
        answer.invalidate()
