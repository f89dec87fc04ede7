"""Faults in the keys of caching decorators that have served wrong values: each is a call that must be right here."""

import datetime as dt
import decimal
import gc
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory

from cachedeco import MISSING, cached_query
from tests.models import Club


def served(function: Any, *calls: Any) -> list[object]:
    """Return what a cached function serves for each call, twice over; a call is a tuple, or a dict of keywords."""
    values = [function(**each) if isinstance(each, dict) else function(*each) for each in (*calls, *calls)]
    assert values[: len(calls)] == values[len(calls) :]
    return values[: len(calls)]


@cached_query
def echo(*args: object, **kwargs: object) -> str:
    """Return what tells this call from any other one, by Python's own repr."""
    return repr((args, sorted(kwargs.items())))


@cached_query
def with_default(a: object, b: object = 2) -> str:
    """Do so with a default."""
    return repr((a, b))


@pytest.mark.parametrize(
    "calls",
    [
        [(1,), ("1",), (True,), (1.0,), (b"1",), (decimal.Decimal(1),)],
        [(None,), ("None",), ("",), (), ("null",), (False,), (0,)],
    ],
    ids=["one", "nothing"],
)
def test_values_that_print_alike_are_not_one_call(calls: list[Any]) -> None:
    """Keys made of `str()` gave the caller of f("1") what f(1) had computed, and f("None") what f(None) had."""
    values = served(echo, *calls)

    assert [repr((call, [])) for call in calls] == values


@pytest.mark.django_db
def test_queryset_as_an_argument_is_refused() -> None:
    """A QuerySet prints its first rows only, so that all of them and the first 25 shared an entry."""
    Club.objects.bulk_create([Club(name=str(number)) for number in range(30)])

    for rows in (Club.objects.all(), Club.objects.all()[:25]):
        with pytest.raises(TypeError, match="pass what selects the rows"):
            echo(rows)


@pytest.mark.django_db
def test_request_as_an_argument_is_refused_and_its_user_is_not() -> None:
    """A request prints as its method and path: Bob was served Alice's page."""
    requests = []
    for name in ("alice", "bob", None):
        request = RequestFactory().get("/clubs/")
        request.user = get_user_model().objects.create_user(name) if name else AnonymousUser()
        requests.append(request)

    @cached_query(key="{request.user}:{request.path}")
    def page(request: Any) -> str:
        return str(request.user)

    with pytest.raises(TypeError, match=r"Views are not for this decorator.* request\.user\.pk"):
        echo(requests[0])

    assert ["alice", "bob", "AnonymousUser"] == served(page, *[(request,) for request in requests])


def test_name_and_argument_cannot_trade_a_character() -> None:
    """Where prefix and argument were joined by nothing, p + 12 was p1 + 2: one function served the other's value."""

    @cached_query(name="defects.p")
    def first(number: int) -> str:
        return f"first {number}"

    @cached_query(name="defects.p1")
    def second(number: int) -> str:
        return f"second {number}"

    values = [first(12), second(2), first(2), second(12)]

    assert ["first 12", "second 2", "first 2", "second 12"] == values


def test_objects_at_one_address_are_never_told_by_it() -> None:
    """Objects with Python's own repr are told by an address that the next one gets: 49 calls of 50 were wrong."""
    for number in range(50):
        thing = SimpleNamespace(number=number) if number % 2 else object()
        with pytest.raises(TypeError, match=r"register its type|another one in each process"):
            echo(thing)
        del thing
        gc.collect(0)


@pytest.mark.django_db
def test_rows_of_one_name_are_two_calls() -> None:
    """Rows that print alike shared an entry: every club called Rowing had the first one's classes."""
    clubs = [Club.objects.create(name="Rowing") for _ in range(2)]

    @cached_query
    def pk_of(club: Club) -> int:
        return int(club.pk)

    values = served(pk_of, *[(club,) for club in clubs])

    assert [club.pk for club in clubs] == values


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((1, 2), [1, 2]),
        ({1: "a"}, {"1": "a"}),
        (dt.date(2026, 11, 22), "2026-11-22"),
        (decimal.Decimal("1.0"), "1.0"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        ({1}, {"__set__": [1]}),
        (
            dt.datetime(2026, 1, 1, microsecond=1001, tzinfo=dt.UTC),
            dt.datetime(2026, 1, 1, microsecond=1999, tzinfo=dt.UTC),
        ),
        (b"x", "x"),
        ([1, 2], "1:2"),
        ([1, 2], {1: 2}),
        ("true", True),
    ],
    ids=repr,
)
def test_normalizing_makes_nothing_equal(left: object, right: object) -> None:
    """Keys that went through JSON, or through milliseconds, made one value of two."""
    values = served(echo, (left,), (right,), ([left],), ([right],))

    assert [repr((args, [])) for args in ((left,), (right,), ([left],), ([right],))] == values


@pytest.mark.parametrize(
    "separator", [" ", ":", ",", ", ", "|", "_", "-", "=", "'", ")", "\x00", "1'", "\n"], ids=ascii
)
def test_separator_in_an_argument_separates_nothing(separator: str) -> None:
    """Where arguments were joined by a mark, ("a b", "c") was ("a", "b c")."""
    calls = [
        (f"a{separator}b", "c"),
        ("a", f"b{separator}c"),
        (f"a{separator}b{separator}c",),
        ("a", "b", "c"),
        ("ab", "c"),
    ]

    values = served(echo, *calls)

    assert [repr((call, [])) for call in calls] == values


@pytest.mark.parametrize(
    "calls",
    [
        [("1:b:2", "3"), ("1", "2:b:3")],
        [("x", "1,2"), ("2,x", "1")],
        [("ab", "c"), ("a", "bc")],
        [("a b",), ("a_b",)],
        [(None, 1), (1, None), (1,)],
    ],
)
def test_texts_that_were_taken_for_one_another_are_not(calls: list[Any]) -> None:
    """Pairs of calls that shared an entry elsewhere, each by another way of writing arguments down."""
    values = served(echo, *calls)

    assert [repr((call, [])) for call in calls] == values


def test_keywords_are_told_by_their_names() -> None:
    """Where only the values of keywords counted, f(1, x=2) was f(1, y=2); elsewhere keywords did not count at all."""
    calls = [{"x": 2}, {"y": 2}, {"x": 1, "y": 2}, {"x": 2, "y": 1}, {"b": [1]}, {"b": [2]}]

    values = served(echo, *calls)

    assert [repr(((), sorted(call.items()))) for call in calls] == values


def test_variadic_arguments_can_be_keyed() -> None:
    """A function with *args raised IndexError in the key, or counted the first of them only."""
    calls = [(1, 2), (1,), (), (1, 2, 3), ((1, 2),)]

    values = served(echo, *calls)

    assert [repr((call, [])) for call in calls] == values


def test_default_and_none_are_two_calls() -> None:
    """None given for a parameter was taken for the default that was left out."""
    values = served(with_default, (1,), (1, None), {"a": 1, "b": None}, {"a": 1}, (1, 2))

    assert ["(1, 2)", "(1, None)", "(1, None)", "(1, 2)", "(1, 2)"] == values


def test_methods_are_told_by_instance_and_class() -> None:
    """Where `self` was left out of the key, all instances, and all classes with such a method, had one entry."""

    class Meter:
        unit = "m"

        def __init__(self, pk: int) -> None:
            self.pk = pk

        def __cache_key__(self) -> int:
            return self.pk

        @cached_query
        def rows(self) -> str:
            return f"{self.pk} {self.unit}"

    class Yard(Meter):
        unit = "yd"

    values = [Meter(1).rows(), Meter(2).rows(), Yard(1).rows(), Meter(1).rows()]

    assert ["1 m", "2 m", "1 yd", "1 m"] == values


def test_functions_share_nothing_but_the_cache() -> None:
    """Two functions on one cache, called alike, were served each other's values."""

    @cached_query
    def first(number: int) -> str:
        return f"first {number}"

    @cached_query
    def second(number: int) -> str:
        return f"second {number}"

    values = [first(1), second(1), first(1), second(1)]

    assert ["first 1", "second 1"] * 2 == values


@pytest.mark.parametrize(
    ("stored", "invalidated"),
    [
        (((1, 2), {}), ((1,), {})),
        (((1,), {}), ((1, 2), {})),
        (((1, 2), {}), ((), {"a": 1, "b": 2})),
        (((), {"a": 1}), ((1,), {"b": 2})),
        (((), {"a": 1, "b": 2}), ((), {"b": 2, "a": 1})),
        ((({"x": 1, "y": 2},), {}), (({"y": 2, "x": 1},), {})),
    ],
)
def test_invalidation_finds_the_call_in_another_form(stored: Any, invalidated: Any) -> None:
    """An invalidation written in another form than the call missed it: by name, without defaults, in another order."""
    with_default(*stored[0], **stored[1])

    with_default.invalidate(*invalidated[0], **invalidated[1])

    assert MISSING is with_default.peek(*stored[0], **stored[1])


def test_keyword_only_arguments_are_invalidated_in_any_order() -> None:
    """f(a=1, b=2) and f(b=2, a=1) were two entries, of which one invalidation reached one."""

    @cached_query
    def rows(*, a: int, b: int) -> list[int]:
        return [a, b]

    rows(a=1, b=2)

    rows.invalidate(b=2, a=1)

    assert MISSING is rows.peek(a=1, b=2)


def test_equal_texts_that_are_two_objects_are_one_call() -> None:
    """Keys made by pickle depended on whether two equal texts were one object, so an entry was not found again."""
    text, other = "club " + str(7), "club " + str(7)
    assert text is not other

    keys = {echo.key_for((text, text)), echo.key_for((text, other)), echo.key_for((other, other))}

    assert 1 == len(keys)


def test_mapping_with_keys_of_several_types_is_a_value() -> None:
    """A dict with numbers and texts as keys can't be sorted, and raised in the key."""
    calls = [({1: "a", "1": "b", None: "c"},), ({1: "b", "1": "a", None: "c"},), ({(1, 2): 3, b"": 4.5},)]

    values = served(echo, *calls)

    assert [repr((call, [])) for call in calls] == values


@pytest.mark.django_db
def test_row_and_the_text_of_its_label_are_two_calls() -> None:
    """A user and the text "auth.user.1" had one key."""
    user = get_user_model().objects.create_user("alice")

    @cached_query
    def kind_of(value: object) -> str:
        return type(value).__name__

    texts = [f"auth.user.{user.pk}", f"auth.User:{user.pk}", kind_of.key_for(user)]
    values = served(kind_of, (user,), *[(text,) for text in texts])

    assert ["User", "str", "str", "str"] == values


@pytest.mark.parametrize(
    "name",
    ["cache_key", "_refresh", "max_age", "verbose_cache", "timeout", "value", "default", "key", "version", "self"],
)
def test_no_keyword_is_taken_from_the_function(name: str) -> None:
    """A parameter of the function's was swallowed as an option, or `cache_key=` taken for a raw key to delete."""
    values = [echo(**{name: 1}), echo(**{name: 2}), echo()]
    echo.invalidate(**{name: 1})

    after = [echo.peek(**{name: 1}), echo.peek(**{name: 2}), echo.peek()]

    assert [repr(((), [(name, 1)])), repr(((), [(name, 2)])), repr(((), []))] == values
    assert [MISSING, *values[1:]] == after
