"""A cached function may call itself: each level of a miss takes few of Python's frames, and a hit takes none."""

import sys
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from cachedeco import cached_query, cached_query_many, mode

seen: list[int] = []


def note_depth() -> None:
    """Count the frames below the caller."""
    frame, depth = sys._getframe(1), 0
    while frame:
        frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
    seen.append(depth)


@cached_query(depends_on=())
def factorial(number: int) -> int:
    """Call itself."""
    note_depth()
    return number * factorial(number - 1) if number else 1


@cached_query_many(over="numbers", depends_on=())
def factorials(numbers: Iterable[int]) -> dict[int, int]:
    """Call itself, for many at once."""
    note_depth()
    return {each: each * factorials([each - 1])[each - 1] if each else 1 for each in numbers}


@cached_query(depends_on=())
async def afactorial(number: int) -> int:
    """Call itself, and be awaited."""
    note_depth()
    return number * await afactorial(number - 1) if number else 1


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    """Forget what other tests have seen."""
    seen.clear()


CALLS: dict[str, tuple[Any, int]] = {
    "single": (lambda: factorial(5), 4),
    "bulk": (lambda: factorials([5])[5], 6 if sys.version_info < (3, 12) else 5),  # the comprehension is one, too
    "async": (lambda: async_to_sync(afactorial)(5), 5),
}


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("name", ["on", "bypass"])
def test_level_of_a_recursion_takes_few_frames(kind: str, name: Any) -> None:
    """Four of Python's thousand for a function, so that it calls itself some two hundred times."""
    call, frames = CALLS[kind]

    with mode(name):
        value = call()

    assert 120 == value
    assert [frames] * 5 == [after - before for before, after in pairwise(seen)]


def test_recursion_goes_as_deep_as_the_page_says() -> None:
    """And where the values below are stored, there is one level."""
    with pytest.raises(RecursionError):
        factorial(400)
    seen.clear()

    for number in range(0, 401, 80):
        factorial(number)
    values = [factorial(number) for number in (160, 400)]

    assert 401 == len(seen)
    assert values == [factorial.uncached(number) for number in (160, 400)]
