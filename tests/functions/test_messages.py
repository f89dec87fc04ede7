"""What a newcomer types first, and gets wrong: each error says what was given, what is accepted, what to do next."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest
from django import forms
from django.contrib.admin import ModelAdmin, site
from django.core.management import BaseCommand
from django.db.models import Manager, QuerySet
from django.dispatch import Signal
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import cached_property as django_cached_property
from django.utils.functional import classproperty

import cachedeco
from cachedeco import (
    add_hook,
    bypass,
    cached_query,
    cached_query_many,
    deferred_invalidation,
    listening,
    mode,
    remembered,
    rows,
)
from tests.models import Club


def plain(number: int) -> int:
    """Be decorated."""
    return 2 * number


async def later(event: object) -> None:
    """Be no hook."""


def of_each(ids: list[int]) -> dict[int, int]:
    """Be decorated."""
    return {each: 2 * each for each in ids}


class Doubler:
    """An object that can be called."""

    def __call__(self, number: int) -> int:
        """Return the double."""
        return 2 * number


NOT_DECORATED: dict[str, tuple[Any, str]] = {
    "class": (
        Doubler,
        "can't decorate <class .*Doubler'>; it takes a function or method. Decorate a method of the class",
    ),
    "object": (Doubler(), "<.*Doubler object>; it takes .* If another decorator has made it, put ours below that one"),
    "builtin": (len, "<built-in function len>; it takes .*; else decorate a def that calls it"),
    "lru_cache": (functools.lru_cache(plain), "<functools._lru_cache_wrapper object>; .* put ours below that one"),
    "property": (property(plain), "<property object>; it takes .* Put @property above it"),
    "cached_property": (functools.cached_property(plain), "Put @cached_property above it"),
    "Django's cached_property": (django_cached_property(plain), "Put @cached_property above it"),
    "classproperty": (classproperty(plain), "Put @classproperty above it"),
    "cached function": (cached_query(name="tests.messages.once")(plain), "It is cached already: decorate it once"),
    "result": (5, "can't decorate 5; it takes a function or method. It stands above a def"),
    "None": (None, "can't decorate None; it takes a function or method. It stands above a def"),
}


@pytest.mark.parametrize(("given", "message"), NOT_DECORATED.values(), ids=NOT_DECORATED)
@pytest.mark.parametrize("decorate", [cached_query(), cached_query_many(over="number")], ids=["one", "many"])
def test_what_is_no_function_is_refused_with_the_right_place(decorate: Any, given: Any, message: str) -> None:
    """The decorator stands right above a def: the error names it, what it is above, and where to put it."""
    with pytest.raises(TypeError, match=f"^cached_query.*{message}"):
        decorate(given)


def test_property_is_refused_without_parentheses_too() -> None:
    """A property in the place of the function is no timeout."""
    with pytest.raises(TypeError, match="Put @property above it"):
        cached_query(property(plain))  # type: ignore[call-overload]


MISUSES: dict[str, tuple[Callable[[], object], str]] = {
    "two without names": (
        lambda: cached_query("club", 60),  # type: ignore[call-overload]
        r"cached_query\('club', 60\) takes one argument without a name, .* as in @cached_query\(60, key=",
    ),
    "many, bare": (lambda: cached_query_many(of_each), r"cached_query_many\(<function .*of_each>\) takes all by name"),  # type: ignore[misc,arg-type]
    "many, timeout": (
        lambda: cached_query_many(7, over="clubs"),
        r"\(7, over='clubs'\).*: @cached_query_many\(over='clubs', timeout=7\)",
    ),  # type: ignore[misc,arg-type]
    "many, None": (lambda: cached_query_many(over=None), "takes all by name, and needs over="),  # type: ignore[arg-type]
    "many, nothing": (cached_query_many, r"cached_query_many\(\) takes all by name, and needs over="),
    "bypass, bare": (lambda: bypass(plain), r"bypass\(<function .*\) takes no arguments: @bypass\(\) above"),  # type: ignore[arg-type]
    "remembered, bare": (
        lambda: remembered(plain),
        r"remembered\(<function .*\) takes no arguments: @remembered\(\) above",
    ),  # type: ignore[arg-type]
    "deferred, bare": (
        lambda: deferred_invalidation(plain),  # type: ignore[arg-type]
        r"takes no arguments: @deferred_invalidation\(\) above a function, or `with deferred_invalidation\(\):`",
    ),
    "mode, bare": (lambda: mode(plain), r"the mode is <function .*plain>; it takes one of 'on', 'bypass', 'off'"),  # type: ignore[arg-type]
    "mode, misspelt": (lambda: mode("of"), "the mode is 'of'; it takes one of 'on', 'bypass', 'off'"),  # type: ignore[arg-type]
    "hook": (lambda: add_hook(7), "A hook is called with each event, and 7 can't be"),  # type: ignore[arg-type]
    "hook, async": (lambda: add_hook(later), "the hook is async: <function .*later>; it takes a def that returns"),
    "hook of nothing": (lambda: add_hook(lambda: None), "which takes nothing; it is called with each event"),  # type: ignore[misc,arg-type]
    "hook of two": (
        lambda: listening(isinstance).__enter__(),  # type: ignore[arg-type]
        "which takes obj, class_or_tuple; it is called with each event",
    ),
    "hook of a block": (lambda: listening(None).__enter__(), "A hook is called with each event, and None can't be"),  # type: ignore[arg-type,func-returns-value]
}


@pytest.mark.parametrize(("misuse", "message"), MISUSES.values(), ids=MISUSES)
def test_misuse_is_explained(misuse: Callable[[], object], message: str) -> None:
    """Python's own words would say what is wrong with a call, and not how it is right."""
    with pytest.raises((TypeError, ValueError), match=message):
        misuse()


@pytest.mark.parametrize("verb", ["invalidate", "invalidate_all"])
def test_verb_that_is_a_receiver_of_a_signal_is_told_what_is_one(verb: str) -> None:
    """Django connects it, as it takes any argument, and calls it with those of a signal."""
    total = cached_query(name="tests.messages.total")(lambda club: club)
    signal = Signal()
    signal.connect(getattr(total, verb))

    with pytest.raises(
        TypeError, match=r"'signal'; a receiver of a signal is a def that takes \*\*kwargs and calls it;"
    ):
        signal.send(sender=Club)


@pytest.mark.parametrize(("block", "right"), [(bypass, "bypass()"), (mode, "mode('bypass')")])
def test_block_without_parentheses_is_explained(block: Any, right: str) -> None:
    """A class is no block; the error has the parentheses."""
    with pytest.raises(TypeError, match="needs parentheses") as caught, block:
        raise AssertionError

    assert f"`with {right}:`" in str(caught.value)


class Form(forms.Form):
    """A form."""

    @cached_query
    def total(self) -> int:
        """Be refused."""
        raise NotImplementedError


class Command(BaseCommand):
    """A command."""

    total = Form.total


class Admin(ModelAdmin):  # type: ignore[type-arg] # which it takes from the stubs alone
    """An admin."""

    total = Form.total


class Middleware(MiddlewareMixin):
    """A middleware."""

    total = Form.total


class Clubs(Manager[Club]):
    """A manager."""

    total = Form.total


class ClubRows(QuerySet[Club]):
    """A QuerySet."""

    total = Form.total


@pytest.mark.parametrize(
    "make",
    [Form, Command, lambda: Admin(Club, site), lambda: Middleware(lambda _: None), Clubs, lambda: ClubRows(Club)],
    ids=["form", "command", "admin", "middleware", "manager", "QuerySet"],
)
def test_method_of_what_a_framework_makes_is_refused_with_what_to_do(make: Callable[[], Any]) -> None:
    """Its object says nothing of what the value depends on: a function outside the class does."""
    with pytest.raises(TypeError, match=r"self of .*Form\.total\(\)\).*function outside the class") as caught:
        make().total()

    assert "register" not in str(caught.value)


class Report:
    """A class that says nothing about keys."""

    @cached_query(depends_on=())
    def total(self, other: object = None) -> int:
        """Return a number."""
        return 1 if other is None else 2

    @cached_query(depends_on=(), ignore=("self",))
    def kept(self) -> int:
        """Do as the error of `total()` says."""
        return 3


def test_object_of_a_method_that_can_t_be_in_a_key_may_be_ignored() -> None:
    """It is the usual remedy where the object is a mere place for methods; for another argument it is not advised."""
    with pytest.raises(TypeError, match=r"\(self of .*pass key=; or say ignore=\('self',\) if it does not change"):
        Report().total()
    with pytest.raises(TypeError, match=r"\(other of .*, or pass key=\.$"):
        cached_query(name="tests.messages.other")(lambda other: other)(Report())

    assert 3 == Report().kept()


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("set", r"call\(\*arguments\)\.set\(value\)"),
        ("get", r"peek\(\)"),
        ("delete", r"invalidate\(\)"),
        ("clear", r"invalidate_all\(\)"),
        ("cache_clear", r"invalidate_all\(\)"),
        ("cache_info", r"stats\(\)"),
        ("get_cache_key", r"key_for\(\)"),
        ("func", "uncached"),
        ("aset", r"call\(\*arguments\)\.aset\(value\)"),
        ("aget", r"apeek\(\)"),
        ("adelete", r"ainvalidate\(\)"),
        ("aclear", r"ainvalidate_all\(\)"),
    ],
)
def test_verb_of_another_cache_is_answered_with_ours(name: str, right: str) -> None:
    """The error names our verb; for `hasattr()` there is none."""
    single, many = cached_query(name="tests.messages.verbs")(plain), cached_query_many(over="ids")(of_each)

    for function in (single, many):
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'; it has {right}"):
            getattr(function, name)
    assert not hasattr(single, name)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("get", r"it has peek\(\)"),
        ("delete", r"it has invalidate\(\)"),
        ("clear", r"its function has invalidate_all\(\)"),
        ("invalidate_all", r"its function has invalidate_all\(\)"),
        ("stats", r"its function has stats\(\)"),
    ],
)
def test_verb_that_a_call_does_not_have_is_answered_with_ours(name: str, right: str) -> None:
    """The error names the verb of the call, or of its function; for `hasattr()` there is none."""
    single, many = cached_query(name="tests.messages.calls")(plain), cached_query_many(over="ids")(of_each)

    for call in (single.call(1), many.call([1])):
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'; {right}$"):
            getattr(call, name)
    with pytest.raises(AttributeError, match=r"has no attribute 'nothing'$"):
        single.call(1).nothing  # type: ignore[attr-defined]  # noqa: B018 -- an attribute that is not there
    assert not hasattr(single.call(1), name)


def test_verb_of_all_calls_with_arguments_is_answered_with_that_of_one() -> None:
    """`invalidate_all(7)` may mean one call, and says so at once; Python would count `self`."""
    cached = cached_query(name="tests.messages.all")(plain)

    with pytest.raises(TypeError, match=r"^invalidate_all\(\): too many positional arguments; .* invalidate\(\)"):
        cached.invalidate_all(1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^ainvalidate_all\(\): got an unexpected keyword argument 'a'; "):
        asyncio.run(cached.ainvalidate_all(a=1))  # type: ignore[call-arg]


def test_rows_without_the_name_of_a_field_are_answered_with_an_example() -> None:
    """A template alone does not say of which field it is."""
    with pytest.raises(TypeError, match=r"^rows\(\): too many .*; it takes a model and one field of it by name: "):
        rows(Club, "{club.pk}")  # type: ignore[call-arg]


def test_verb_of_the_other_decorator_is_answered_with_its_twin() -> None:
    """A function over many ids has the keys of many, another one that of one."""
    single, many = cached_query(name="tests.messages.twins")(plain), cached_query_many(over="ids")(of_each)

    with pytest.raises(AttributeError, match=r"has no attribute 'key_for'; it has keys_for\(\)"):
        many.key_for([1])  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"has no attribute 'keys_for'; it has key_for\(\)"):
        single.keys_for(1)  # type: ignore[attr-defined]
    for name in ("keys", "key_for", "get_cache_key"):
        with pytest.raises(AttributeError, match=rf"has no attribute '{name}'; it has key\(\)$"):
            getattr(single.call(1), name)
    for name in ("key", "keys_for", "get_cache_key"):
        with pytest.raises(AttributeError, match=rf"has no attribute '{name}'; it has keys\(\)$"):
            getattr(many.call([1]), name)


def test_name_that_is_not_ours_is_answered_with_the_nearest() -> None:
    """An attribute of the package that does not exist has near ones in its error."""
    with pytest.raises(AttributeError, match="has no attribute 'cached'; did you mean cached_query"):
        cachedeco.cached  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no attribute 'xyz'$"):
        cachedeco.xyz  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(cachedeco, "_cached_query")


def test_error_of_a_key_is_not_taken_for_a_wrong_argument() -> None:
    """What an argument's own method raises is raised, without advice on the arguments of verbs."""

    class Broken:
        def __cache_key__(self) -> str:
            raise TypeError(self)

    function = cached_query(name="tests.messages.broken")(lambda thing, **_: thing)

    for use in (lambda: function(Broken(), _refresh=True), lambda: function.invalidate(Broken())):
        with pytest.raises(TypeError, match=r"^<.*Broken object at \w+>$"):
            use()
