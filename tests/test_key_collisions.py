"""Two functions, or two classes, that Python calls by one name: told apart or refused, never served for each other."""

import functools
from collections.abc import Callable
from typing import Any

from cachedeco import cached_query


def served_or_refused(*calls: Callable[[], object]) -> list[object]:
    """Return what each call gives; "refused" where it, or the decorator in it, raises TypeError."""
    values: list[object] = []
    for call in calls:
        try:
            values.append(call())
        except TypeError:
            values.append("refused")
    return values


def total(number: int) -> int:
    """Be wrapped."""
    return number


def negative(function: Callable[[int], int]) -> Callable[[int], int]:
    """Change what a function returns."""

    @functools.wraps(function)
    def wrapper(number: int) -> int:
        return -function(number)

    return wrapper


def test_function_with_and_without_a_decorator_under_the_cache_are_two() -> None:
    """A wrapper has the name of what it wraps, and returns something else: it must not get the other's entries."""
    first, second = served_or_refused(lambda: cached_query(total)(5), lambda: cached_query(negative(total))(5))

    assert 5 == first
    assert second in (-5, "refused")


def repository(model: str) -> Any:  # noqa: ANN401
    """Make a class, as generic views and factories of forms do."""
    made_for = model

    class Repository:
        model = made_for

        @classmethod
        @cached_query
        def everything(cls) -> str:
            return f"every {cls.model}"

    return Repository


def test_classes_made_by_one_function_are_two() -> None:
    """Classes made at two calls of a function have one name: they must not share the entries of a class method."""
    first, second = served_or_refused(
        lambda: repository("club").everything(), lambda: repository("member").everything()
    )

    assert first in ("every club", "refused")
    assert second in ("every member", "refused")
