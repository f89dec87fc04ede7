"""Arguments that a function changes while it runs: the entry lies under the key of what it was called with."""

from collections.abc import Callable
from typing import Any

import pytest

from cachedeco import MISSING, cached_query, cached_query_many


@cached_query
def popped(ids: list[int], rest: dict[str, int]) -> list[object]:
    """Change both arguments."""
    value = [ids.pop(), rest.popitem()]
    ids.extend([7, 8])
    return value


CALLS: dict[str, Callable[[list[int], dict[str, int]], Any]] = {
    "call": popped,
    "refresh": popped.refresh,
    "call as an object": lambda ids, rest: popped.call(ids, rest)(),
}


@pytest.mark.parametrize("call", CALLS)
def test_entry_lies_under_the_key_of_the_call(call: str) -> None:
    """Every verb that is given equal arguments finds it, and none that is given the changed ones."""
    ids, rest = [1, 2], {"a": 1}

    value = CALLS[call](ids, rest)
    found = [popped.peek([1, 2], {"a": 1}), popped.peek(ids, rest)]
    popped.invalidate([1, 2], {"a": 1})

    assert [value, MISSING] == found == [[2, ("a", 1)], MISSING]
    assert popped.peek([1, 2], {"a": 1}) is MISSING


@pytest.mark.parametrize("change", ["clear", "sort", "pop", "reverse"])
def test_function_over_many_ids_may_change_its_list(change: str) -> None:
    """It gets a list of its own: what is stored, asked for and returned is by the ids of the call."""

    @cached_query_many(over="ids", vary=lambda: change)
    def many(ids: list[int]) -> dict[int, int]:
        values = {number: number * 10 for number in ids}
        getattr(ids, change)()
        return values

    values = [many([3, 1, 2]), many([1, 2, 4]), many.peek([3, 4]), many.refresh([2, 1])]

    assert [{3: 30, 1: 10, 2: 20}, {1: 10, 2: 20, 4: 40}, {3: 30, 4: 40}, {2: 20, 1: 10}] == values
