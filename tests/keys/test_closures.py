"""Every variable of the function around a decorated one is accounted for: or there is no decorated function."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import pytest
from django.utils.functional import SimpleLazyObject

from cachedeco import MISSING, Namespace, cached_query
from tests.models import Club, Member

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


def _bare(function: Callable[..., object]) -> Callable[..., object]:
    """Wrap a function as many do, without `functools.wraps()`."""

    def wrapper(club: int) -> object:
        return function(club)

    return wrapper


@pytest.mark.parametrize(
    "function",
    [lambda club: club, cached_query(name="tests.closures.inner")(lambda club: club), [].append, partial(int, 1)],
    ids=["function", "cached function", "method", "partial"],
)
def test_closure_over_a_function_is_told_where_it_goes(function: Callable[..., object]) -> None:
    """No text tells what a function does: what is said of values would be refused in turn."""
    with pytest.raises(
        TypeError, match=r"calls 'function', .* put ours below that, or .*wraps\(\); else define"
    ) as caught:
        cached_query(_bare(function))

    assert "vary=" not in str(caught.value)
    assert 7 == cached_query(ignore=("function",), name="tests.closures.bare")(_bare(lambda club: club))(7)


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


def _imported(_page: int) -> Any:
    import json as module
    from json import dumps as function

    from tests.models import Club as Row

    @cached_query
    def rows(club: int) -> object:
        return [module.loads(function(club)), Row.__name__]

    return rows


def _type_variable(_page: int) -> Any:
    T = TypeVar("T")

    @cached_query
    def rows(club: int) -> object:
        return [club, T.__name__]  # type: ignore[misc] -- what a cast() would do with it

    return rows


# What only newer versions of Python can parse, each with a function `rows`.
SOURCES = [
    """
@cached_query
def rows[T](club: T) -> T:
    return [cast(T, club), T.__name__]
""",
    """
@cached_query
def rows[T: (int, str), **P, *Ts](club: T) -> list[T]:
    return [club, P.__name__, Ts.__name__]
""",
    """
class Box[T]:
    @cached_query(ignore=("self",))
    def rows(self, club: T) -> T:
        return [cast(T, club), T.__name__]

rows = Box().rows
""",
]


def _of_source(source: str) -> Make:
    def make(_page: int) -> Any:
        names: dict[str, Any] = {"__name__": f"{__name__}.newer", "cached_query": cached_query}
        exec(f"from typing import cast\n{source}", names)  # noqa: S102 -- one of the texts above
        return names["rows"]

    return make


NEWER = [_of_source(source) for source in SOURCES] if sys.version_info >= (3, 12) else []


@pytest.mark.parametrize("make", [_imported, _type_variable, *NEWER], ids=range(2 + len(NEWER)))
def test_closure_over_imports_and_type_parameters_is_cached(make: Make) -> None:
    """What every process finds under the same name is no variable that a key must contain."""
    rows = make(0)

    values = [rows(7), rows.peek(7)]

    assert values[0] == values[1]
    assert 7 == values[0][0]


def test_closures_over_several_classes_or_functions_share_no_entry() -> None:
    """A class that a function takes as a parameter is another one in each closure: its name is in the key."""

    def make(model: type[Any]) -> Any:
        @cached_query
        def label() -> str:
            return str(model._meta.label)

        return label

    club, member = make(Club), make(Member)

    values = [club(), member(), club.peek(), member.peek()]
    club.invalidate()

    assert ["tests.Club", "tests.Member"] * 2 == values
    assert [MISSING, "tests.Member"] == [club.peek(), member.peek()]


def test_closure_that_is_bound_late_tells_what_it_holds_at_the_call() -> None:
    """A variable of a loop holds its last value for all functions: each call is told by what it reads."""
    functions = []
    for model in (Club, Member):

        @cached_query(name=f"closures.late.{model.__name__}")
        def label() -> str:
            return str(model._meta.label)  # noqa: B023 -- that is what is tried

        functions.append(label)
    first = functions[0].key_for()
    model = Club

    assert first != functions[0].key_for()
    assert ["tests.Club"] * 2 == [function() for function in functions]
    model = 5  # type: ignore[assignment]
    with pytest.raises(TypeError, match="make it a parameter"):
        functions[0]()


def _local_class(_page: int) -> Any:
    class Local:
        pass

    @cached_query
    def rows(club: int) -> object:
        return club, Local

    return rows


def _imported_later(_page: int) -> Any:
    @cached_query
    def rows(club: int) -> object:
        return json.dumps(club)

    import json

    return rows


def _hidden_module(_page: int) -> Any:
    module = type(sys)("json")

    @cached_query
    def rows(club: int) -> object:
        return module.dumps(club)

    return rows


@pytest.mark.parametrize("make", [_local_class, _imported_later, _hidden_module])
def test_closure_over_what_no_import_finds_is_refused(make: Make) -> None:
    """A class of the function around it, an import further down and a module of one's own have no certain name."""
    with pytest.raises(TypeError, match="from the function around it, and its key does not contain it"):
        make(0)


def test_closure_over_an_import_may_be_ignored() -> None:
    """What the options speak for is left to them."""

    def make(model: type[Any]) -> Any:
        @cached_query(ignore=("model",))
        def label() -> str:
            return str(model._meta.label)

        return label

    assert ["tests.Club"] * 2 == [make(Club)(), make(Member)()]


def test_lazy_object_is_not_made_at_decoration() -> None:
    """To look whether it is imported would run its query, and raise what it raises."""
    made: list[int] = []
    user = SimpleLazyObject(lambda: made.append(1))

    @cached_query(ignore=("user",))
    def name() -> str:
        return str(user)

    assert [] == made
    assert "None" == name()
