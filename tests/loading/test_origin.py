"""An entry tells what its computation has cost: seconds, and statements run on databases."""

import pytest

from cachedeco import cached_query, cached_query_many
from cachedeco.storage.entries import read_details
from tests.models import Club, Member

pytestmark = pytest.mark.django_db


def statements_of(function: object, *args: object) -> int:
    """Return how many statements the entry of a call names."""
    policy, keys = function._spec.resolve_call(args, {})  # type: ignore[attr-defined]
    data = policy.store.read(keys[:1])[0]
    details = read_details(policy.codec, keys[0], data)
    assert details is not None
    return details.statements


def test_entry_has_the_number_of_its_statements() -> None:
    """Those of its own, and not those of a cached call inside."""

    @cached_query(name="tests.origin.inner")
    def inner() -> int:
        return Member.objects.count()

    @cached_query(name="tests.origin.outer", ignore=("inner",))
    def outer() -> int:
        return Club.objects.count() + len(Club.objects.all()) + inner()

    outer()

    assert (2, 1) == (statements_of(outer), statements_of(inner))


def test_entries_of_many_ids_share_the_number() -> None:
    """Rounded up: none has cost nothing."""

    @cached_query_many(over="ids", name="tests.origin.many")
    def many(ids: list[int]) -> dict[int, int]:
        return dict.fromkeys(ids, Club.objects.count())

    many([1, 2])

    assert (1, 1) == (statements_of(many, 1), statements_of(many, 2))
