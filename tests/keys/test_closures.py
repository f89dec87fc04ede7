"""Every variable of the function around a decorated one is accounted for: or there is no decorated function."""

from collections.abc import Callable
from typing import Any

import pytest

from cachedeco import Namespace, cached_query

Make = Callable[[int], Any]


def _bare(page: int) -> Any:
    @cached_query
    def rows(club: int) -> object:
        return club, page

    return rows


def _in_lambda(page: int) -> Any:
    return cached_query(name=f"{__name__}.in_lambda")(lambda club: (club, page))


def _in_inner(page: int) -> Any:
    @cached_query(key="{club}")
    def rows(club: int) -> object:
        return [(club, page) for _ in range(2)], lambda: page

    return rows


def _in_method_of_its_name(page: int) -> Any:
    class Club:
        @cached_query(ignore=("self",))
        def page(self) -> object:
            return page

    return Club().page


def _through_decorator(page: int) -> Any:
    def twice(function: Callable[[int], object]) -> Callable[[int], object]:
        def wrapper(club: int) -> object:
            return function(club), function(club)

        wrapper.__wrapped__ = function  # type: ignore[attr-defined]  # as functools.wraps does
        return wrapper

    @cached_query
    @twice
    def rows(club: int) -> object:
        return club, page

    return rows


def _spoken_for_elsewhere(page: int) -> Any:
    @cached_query(namespace=lambda page=page: Namespace(page))
    def rows(club: int) -> object:
        return club, page

    return rows


@pytest.mark.parametrize(
    "make", [_bare, _in_lambda, _in_inner, _in_method_of_its_name, _through_decorator, _spoken_for_elsewhere]
)
def test_closure_that_nothing_speaks_for_is_refused(make: Make) -> None:
    """A function decorated inside a view may not read the view's variables behind the key's back."""
    with pytest.raises(TypeError) as caught:
        make(1)

    assert "reads 'page' from the function around it, and its key does not contain it" in str(caught.value)
    assert "Make it a parameter, or say vary=lambda: page if it is a value, or ignore=('page',)" in str(caught.value)


def _vary(page: int) -> Any:
    @cached_query(vary=lambda: page)
    def rows(club: int) -> object:
        return club, page

    return rows


def _vary_default(page: int) -> Any:
    @cached_query(vary=lambda page=page: page)
    def rows(club: int) -> object:
        return club, page

    return rows


def _key(page: int) -> Any:
    @cached_query(key=lambda club: (club, page))
    def rows(club: int) -> object:
        return club, page

    return rows


def _parameter(page: int) -> Any:
    @cached_query
    def rows(club: int, page: int = page) -> object:
        return club, page

    return rows


def _keyword(page: int) -> Any:
    @cached_query
    def rows(club: int, *, page: int = page) -> object:
        return club, page

    return rows


@pytest.mark.parametrize("make", [_vary, _vary_default, _key, _parameter, _keyword])
def test_closure_that_is_spoken_for_tells_its_variables_apart(make: Make) -> None:
    """Decorated inside a view over its page number, each page has its own entries, each time anew."""
    served = [make(page)(7) for page in (1, 2, 1, 2)]

    assert [(7, 1), (7, 2), (7, 1), (7, 2)] == served


def test_closure_that_ignore_speaks_for_shares_its_entries() -> None:
    """A free variable that does not change the value can be ignored by name."""

    def make(connection: object) -> Any:
        @cached_query(ignore=("connection",))
        def rows(club: int) -> object:
            return club, connection

        return rows

    served = [make(connection)(7) for connection in ("first", "second")]

    assert [(7, "first"), (7, "first")] == served


def test_free_variable_of_a_callable_speaks_for_no_parameter() -> None:
    """A parameter is not looked at by a callable that reads another variable of the same name."""
    page = 5

    def rows(club: int, page: int) -> object:
        return club, page

    with pytest.raises(TypeError, match="takes 'page', which its key never looks at"):
        cached_query(key="{club}", vary=lambda: page)(rows)


def test_function_that_calls_itself_is_no_closure() -> None:
    """A nested function that reads its own name reads nothing that changes."""

    @cached_query
    def fibonacci(n: int) -> int:
        return n if n < 2 else int(fibonacci(n - 1)) + int(fibonacci(n - 2))

    value = fibonacci(30)

    assert 832040 == value


def test_method_that_calls_super_is_no_closure() -> None:
    """`super()` in a method is a free variable to Python, and none to us."""

    class Base:
        def rows(self) -> list[str]:
            return ["base"]

    class Club(Base):
        @cached_query(ignore=("self",))
        def rows(self) -> list[str]:
            return [*super().rows(), "club"]

    value = Club().rows()

    assert ["base", "club"] == value
