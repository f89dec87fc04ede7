"""Other people's decorators, under and over ours."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import transaction
from django.template import Context, Engine, Library
from django.utils.decorators import method_decorator
from django.utils.functional import cached_property, keep_lazy_text

from cachedeco import MISSING, cached_query
from tests.support.sides import ASYNC, SYNC, Side


def shouting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Put "!" after what a function returns."""

    @functools.wraps(function)
    def inside(*args: object, **kwargs: object) -> str:
        return f"{function(*args, **kwargs)}!"

    return inside


def ashouting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Put "!" after what an async function returns."""

    @functools.wraps(function)
    async def inside(*args: object, **kwargs: object) -> str:
        return f"{await function(*args, **kwargs)}!"

    return inside


def whispering(function: Callable[..., Any]) -> Callable[..., Any]:
    """Change nothing, and be sync around every function."""

    @functools.wraps(function)
    def inside(*args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    return inside


sides = pytest.mark.parametrize(("side", "shout"), [(SYNC, shouting), (ASYNC, ashouting)], ids=["sync", "async"])


@sides
def test_wrapper_under_ours_is_cached_with_its_function(side: Side, shout: Callable[..., Any]) -> None:
    """What the wrapper returns is stored, under the parameters of the function within."""

    @cached_query
    @shout
    @side.of
    def greet(name: str, greeting: str = "Hello") -> str:
        return f"{greeting} {name}"

    found = side.call(greet, "Ann")

    assert ("Hello Ann!", "Hello Ann!") == (found, side.call(greet.peek, greeting="Hello", name="Ann"))


@sides
def test_wrapper_over_ours_works_on_what_is_served(side: Side, shout: Callable[..., Any]) -> None:
    """Ours stores what the function returns; the wrapper's share is done at each call."""

    @side.cached()
    def greet(name: str) -> str:
        return f"Hello {name}"

    shouted = shout(greet)

    found = side.call(shouted, "Ann"), side.call(shouted, "Ann"), side.call(greet.peek, "Ann")

    assert ("Hello Ann!", "Hello Ann!", "Hello Ann") == found


@sides
def test_wrapper_between_two_of_ours_is_called(side: Side, shout: Callable[..., Any]) -> None:
    """Each of two caches on one function stores what lies under it."""

    @side.cached(name=f"{__name__}.inner.{side.is_async}")
    def greet(name: str) -> str:
        return f"Hello {name}"

    outer = cached_query(name=f"{__name__}.outer.{side.is_async}")(shout(greet))

    found = side.call(outer, "Ann"), side.call(outer.peek, "Ann"), side.call(greet.peek, "Ann")

    assert ("Hello Ann!", "Hello Ann!", "Hello Ann") == found


def test_simple_tag_over_ours_renders() -> None:
    """`@register.simple_tag` above a cached function makes a template tag of it, with defaults and keywords."""
    register = Library()

    @register.simple_tag
    @cached_query
    def plus(one: int, other: int = 2) -> int:
        return one + other

    @cached_query
    @register.simple_tag(name="minus")
    def difference(one: int, other: int = 2) -> int:
        return one - other

    engine = Engine()
    engine.template_builtins.append(register)

    rendered = engine.from_string("{% plus 1 %} {% plus 1 other=5 %} {% minus 5 %}").render(Context())

    assert ("3 6 3", 6, MISSING) == (rendered, plus.peek(1, 5), difference.peek(5))


@pytest.mark.parametrize("options", [{}, {"is_safe": True}])
def test_filter_over_ours_renders(options: dict[str, bool]) -> None:
    """`@register.filter` above a cached function makes a template filter of it."""
    register = Library()

    @register.filter(**options)
    @cached_query
    def plus(one: int, other: int) -> int:
        return one + other

    engine = Engine()
    engine.template_builtins.append(register)

    assert "7" == engine.from_string("{{ 3|plus:4 }}").render(Context())


def test_inclusion_of_the_context_is_left_out_of_the_key() -> None:
    """A tag that takes the context is cached by the rest of its arguments."""
    register = Library()

    @register.simple_tag(takes_context=True)
    @cached_query(ignore=("context",))
    def plus(context: Context, one: int) -> int:
        return one + len(context.dicts)

    engine = Engine()
    engine.template_builtins.append(register)
    expected = engine.from_string("{% plus 1 %}").render(Context())

    found = engine.from_string("{% plus 1 %}").render(Context({"more": 1}).new({"again": 2}))

    assert expected == found


class View:
    """A class with methods under Django's method_decorator."""

    def __cache_key__(self) -> int:
        """Be one."""
        return 1

    @method_decorator(shouting)
    @cached_query
    def over(self, name: str) -> str:
        """Greet."""
        return f"Hello {name}"

    @cached_query
    @method_decorator(shouting)
    def under(self, name: str) -> str:
        """Greet."""
        return f"Hello {name}"


@pytest.mark.parametrize("name", ["over", "under"])
def test_method_decorator_and_ours_can_be_stacked(name: str) -> None:
    """`method_decorator` may stand over ours, and under it."""
    found = [getattr(View(), name)("Ann"), getattr(View(), name)(name="Ann")]

    assert ["Hello Ann!"] * 2 == found


@pytest.mark.parametrize(
    "ours",
    [cached_query, cached_query(timeout=60), cached_query(key="{name}", ignore=("self",)), cached_query(name="greet")],
    ids=["bare", "timeout", "key", "name"],
)
def test_method_decorator_that_takes_ours_is_refused(ours: Any) -> None:
    """It would decorate at each call, and leave no verbs: the error says that a method needs none."""

    def greet(self: View, name: str) -> str:
        raise NotImplementedError

    with pytest.raises(TypeError, match=r"needs no method_decorator.*: put our decorator right above it"):
        method_decorator(ours)(greet)


def test_method_decorator_leaves_a_method_beneath_it_its_verbs() -> None:
    """Where ours is on top, its verbs are there, bound."""
    View().under("Ann")

    assert "Hello Ann!" == View().under.peek("Ann")


def test_cached_property_of_django_over_ours_is_served() -> None:
    """Django's cached_property asks once for each object, and ours serves the next object."""
    computed = []

    class Clubs:
        @cached_property
        @cached_query(ignore=("self", "computed"))
        def count(self) -> int:
            computed.append(1)
            return 3

    assert (3, 3, 1) == (Clubs().count, Clubs().count, len(computed))


@pytest.mark.django_db
@pytest.mark.parametrize("order", ["over", "under"])
def test_atomic_over_and_under_ours_returns_the_value(order: str) -> None:
    """A function that runs in a transaction of its own is cached when ours is above, and computed when beneath."""

    @transaction.atomic
    @cached_query
    def beneath() -> int:
        return 1

    @cached_query
    @transaction.atomic
    def above() -> int:
        return 1

    function = above if order == "under" else beneath

    assert [1, 1] == [function(), function()]


def test_single_dispatch_under_ours_is_cached() -> None:
    """The generic function's parameters make the key."""

    @cached_query
    @functools.singledispatch
    def kind(value: object) -> str:
        return f"object {value!r}"

    found = kind("text"), kind(1)

    assert (("object 'text'", "object 1"), "object 1") == (found, kind.peek(value=1))


def test_lru_cache_over_ours_is_asked_first() -> None:
    """A cache of another kind may stand above."""
    computed = []

    @functools.lru_cache
    @cached_query(ignore=("computed",))
    def double(number: int) -> int:
        computed.append(number)
        return 2 * number

    assert ([8, 8], [4]) == ([double(4), double(4)], computed)


def test_sync_wrapper_of_an_async_function_is_told_what_to_be() -> None:
    """Its coroutine can be awaited once, so that nothing is stored; the error names the decorator between."""

    @cached_query
    @whispering
    async def greet(name: str) -> str:
        raise NotImplementedError

    with pytest.raises(TypeError, match=r"returned <coroutine object>.* A decorator between ours and an async functi"):
        greet("Ann")


def test_conversions_of_asgiref_over_ours_are_served() -> None:
    """`sync_to_async` takes a cached function, and `async_to_sync` a cached async one, as they take the plain ones."""

    @cached_query
    def double(number: int) -> int:
        return 2 * number

    @cached_query
    async def triple(number: int) -> int:
        return 3 * number

    found = async_to_sync(sync_to_async(double))(4), async_to_sync(triple)(4)

    assert ((8, 12), (8, 12)) == (found, (double.peek(4), triple.peek(4)))
    with pytest.raises(TypeError, match="only be applied to sync functions"):
        sync_to_async(triple)


def test_context_manager_and_lazy_wrappers_are_functions_too() -> None:
    """What is written with contextlib or Django's lazy helpers is decorated like any function."""
    entered = []

    @contextlib.contextmanager
    def block() -> Any:
        entered.append(1)
        yield

    @cached_query
    @block()
    @keep_lazy_text
    def shout(text: str) -> str:
        return text.upper()

    assert (["A", "A"], 1) == ([shout("a"), shout("a")], len(entered))
