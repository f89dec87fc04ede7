"""`assert_depends` finds what a function reads and does not depend on."""

from types import SimpleNamespace
from typing import Any

import pytest

from cachedeco import AUTO, cached_query, cached_query_many, rows
from cachedeco.testing import assert_depends
from tests.models import Club, ClubClass, Member, SportsClub
from tests.support.forgetting import is_forgotten

pytestmark = pytest.mark.django_db


def names(_club: object = None) -> list[str]:
    """Read two tables."""
    return [*Club.objects.values_list("name", flat=True), *ClubClass.objects.values_list("name", flat=True)]


def of_row(club: Club) -> str:
    """Read nothing but the row that is given."""
    return club.name


def in_value() -> dict[str, Any]:
    """Return rows that are read when they are stored."""
    return {"members": Member.objects.all()}


def view() -> int:
    """Read what belongs to no model."""
    return len(Club.objects.raw("SELECT 1 AS id FROM sqlite_master"))


async def later() -> int:
    """Read one table."""
    return await Club.objects.acount()


def cached(function: Any, depends_on: Any, **options: Any) -> Any:
    """Decorate a function under a name of its own."""
    return cached_query(name=f"tests.depending.{function.__name__}", depends_on=depends_on, **options)(function)


@pytest.mark.parametrize(
    ("function", "depends_on", "missing"),
    [
        (names, (), "tests_club, tests_clubclass"),
        (names, [Club], "tests_clubclass"),
        (in_value, [Club], "tests_member"),
        (later, (), "tests_club"),
    ],
)
def test_tables_that_are_not_named_are_a_fault(function: Any, depends_on: Any, missing: str) -> None:
    """The message has the tables, and what to do."""
    with pytest.raises(AssertionError, match=rf"reads {missing}, and does not .*AUTO"):
        assert_depends(cached(function, depends_on))


@pytest.mark.parametrize(
    ("function", "depends_on"),
    [
        (names, [AUTO]),
        (names, [Club, AUTO]),
        (names, [Club, ClubClass]),
        (names, [SportsClub, rows(ClubClass, club="1")]),  # a saved club concerns the clubs for sports
        (in_value, ["tests.Member"]),
        (later, [AUTO]),
    ],
)
def test_what_is_named_is_no_fault(function: Any, depends_on: Any) -> None:
    """A model, rows of it, a relative of it, or AUTO cover what is read."""
    assert_depends(cached(function, depends_on))


def test_rows_among_the_arguments_count_as_read() -> None:
    """What a row held was read before; a value made of it ends with the row's table."""
    club = Club.objects.create(name="Judo")

    assert_depends(cached(of_row, [Club], key="{club.pk}"), club)
    with pytest.raises(AssertionError, match="reads tests_club"):
        assert_depends(cached(of_row, (), key="{club.pk}"), club)


@pytest.mark.parametrize("is_bulk", [False, True])
def test_row_that_the_key_passes_through_counts_as_read(*, is_bulk: bool) -> None:
    """As a row among the arguments: under AUTO it is what ends the entry, else `depends_on` must name it."""
    request = SimpleNamespace(user=Club.objects.create(name="Judo"))

    def check(depends_on: Any) -> None:
        if is_bulk:
            key = "{request.user.pk}:{each}"
            assert_depends(cached_query_many(over="ids", key=key, depends_on=depends_on)(greetings), request, [1, 2])
        else:
            assert_depends(cached(greeting, depends_on, key="{request.user.pk}"), request)

    check([AUTO])
    check([Club])
    with pytest.raises(AssertionError, match="reads tests_club, and does not depend on them"):
        check([Member])


def greeting(request: Any) -> str:
    """Read nothing but the row that an argument has."""
    return str(request.user.name)


def greetings(request: Any, ids: list[int]) -> dict[int, str]:
    """Read nothing but the row that an argument has, for each id."""
    return {each: str(request.user.name) for each in ids}


def test_under_auto_what_can_t_be_followed_is_a_fault() -> None:
    """A function that reads no table, or one without a model, is told so."""
    with pytest.raises(AssertionError, match="has read no table"):
        assert_depends(cached(of_nothing, [AUTO]))
    with pytest.raises(AssertionError, match="can't be stored under AUTO: it reads sqlite_master"):
        assert_depends(cached(view, [AUTO]))


def of_nothing() -> int:
    """Read nothing."""
    return 1


def test_bulk_function_is_asked_with_its_ids() -> None:
    """The mapping that it returns is looked at as a whole."""

    @cached_query_many(over="ids", name="tests.depending.many", depends_on=[Club])
    def many(ids: list[int]) -> dict[int, list[str]]:
        return {each: list(ClubClass.objects.filter(club=each).values_list("name", flat=True)) for each in ids}

    with pytest.raises(AssertionError, match="reads tests_clubclass"):
        assert_depends(many, [1, 2])


def test_value_that_can_t_be_cached_is_the_caller_s_error() -> None:
    """An iterator is refused as by a call."""

    def iterator() -> Any:
        return iter(())

    with pytest.raises(TypeError, match="iterator"):
        assert_depends(cached(iterator, ()))


def test_value_that_is_refused_goes_with_the_error() -> None:
    """Its rows would stay in memory until Python next looks for reference cycles."""
    function = cached(lambda: iter(names()), [Club, ClubClass])

    assert is_forgotten(lambda: assert_depends(function), TypeError)
