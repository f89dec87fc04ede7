"""Frameworks ask a function what it is: of a cached function they hear what they would hear of the plain one."""

import asyncio
import collections.abc
import copy
import doctest
import functools
import inspect
import pydoc
import re
import types
import typing
import weakref
from collections.abc import Callable, Iterable
from typing import Any
from unittest import mock

import asgiref.sync
import pytest
from django.utils.decorators import method_decorator
from django.utils.inspect import func_accepts_kwargs, get_func_args, method_has_no_args

from cachedeco import cached_query, cached_query_many
from tests.models import Club

Decorator = Callable[[Any], Any]


def plain(function: Any) -> Any:
    """Decorate nothing."""
    return function


def define(decorate: Decorator, over_ids: Decorator) -> dict[str, Any]:  # noqa: C901 -- a list
    """Define a function of each kind; return them as they are reached, with the class of the methods."""
    default = 2

    # A comment.
    @decorate
    def function(club: Club | int, *, page: "int" = 1) -> list[int]:
        """
        Add.

        >>> 1 + 1
        2
        """
        raise NotImplementedError

    @decorate
    def simple() -> int:
        raise NotImplementedError

    @decorate
    def taking_all(first: int, /, second: int = default, *args: int, **kwargs: int) -> None:
        """Take everything."""

    @decorate
    async def coroutine(club: int, page: int = 1) -> list[int]:
        """Await."""
        raise NotImplementedError

    @over_ids
    def many(ids: Iterable[int], page: int = 1) -> dict[int, int]:
        """Take many."""
        raise NotImplementedError

    @over_ids
    async def amany(ids: Iterable[int]) -> dict[int, int]:
        """Take many, and be awaited."""
        raise NotImplementedError

    class Base:
        def documented(self) -> None:
            """Say what the method of a subclass does."""

    class Shop(Base):
        @decorate
        def documented(self) -> None:
            return super().documented()

        @decorate
        def method(self, page: int = 1) -> int:
            """Depend on the instance."""
            raise NotImplementedError

        @decorate
        async def amethod(self) -> int:
            """Depend on the instance, and be awaited."""
            raise NotImplementedError

        @over_ids
        def prices(self, ids: Iterable[int]) -> dict[int, int]:
            """Take many."""
            raise NotImplementedError

        @decorate
        @classmethod
        def by_class(cls, page: int = 1) -> int:
            """Depend on the class."""
            raise NotImplementedError

        @decorate
        @classmethod
        async def aby_class(cls, page: int) -> int:
            """Depend on the class, and be awaited."""
            raise NotImplementedError

        @decorate
        @staticmethod
        def static_inside(page: int = 1) -> int:
            """Depend on neither."""
            raise NotImplementedError

        @staticmethod
        @decorate
        def static_outside(page: int = 1) -> int:
            """Depend on neither."""
            raise NotImplementedError

        @decorate
        def __call__(self, page: int = 1) -> int:
            """Be called."""
            raise NotImplementedError

    reached = {each.__name__: each for each in (function, simple, taking_all, coroutine, many, amany)}
    for name in METHODS:
        reached[f"Shop.{name}"], reached[f"shop.{name}"] = getattr(Shop, name), getattr(Shop(), name)
    return reached | {"Shop": Shop}


METHODS = (
    "documented",
    "method",
    "amethod",
    "prices",
    "by_class",
    "aby_class",
    "static_inside",
    "static_outside",
    "__call__",
)
PLAIN = define(plain, plain)
CACHED = define(cached_query, cached_query_many(over="ids"))


def answer(question: Callable[[Any], object], asked: Any) -> object:
    """Return what a question gives; the type of the exception, if it raises one."""
    try:
        return question(asked)
    except Exception as error:  # noqa: BLE001 -- the plain function raises the same
        return type(error)


def kind_of_wrapper(wrapper: Any) -> tuple[object, ...]:
    """Tell what is heard of a sync function with a copy of the attributes, as decorators return it."""
    return inspect.iscoroutinefunction(wrapper), asgiref.sync.iscoroutinefunction(wrapper), inspect.signature(wrapper)


def kind_of_receiver(asked: Any) -> tuple[object, ...]:
    """Tell what `Signal.connect()` asks, and whether a weak reference to the function or method lives."""
    if not hasattr(asked, "__self__"):
        return weakref.ref(asked)() is asked, func_accepts_kwargs(asked)
    same = getattr(asked.__self__, asked.__name__)
    keep = asked.__self__
    reference = weakref.WeakMethod(asked)
    return reference() == same, reference == weakref.WeakMethod(same), keep is not None, func_accepts_kwargs(asked)


def accepted_by_mock(asked: Any) -> list[bool]:
    """Tell which calls a mock with the function's signature takes."""
    faked = mock.create_autospec(asked)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [((), {}), ((1,), {}), ((1, 2), {}), ((1,), {"page": 2})]
    taken = []
    for args, kwargs in [*calls, ((1, 2, 3), {}), ((), {"nonsense": 1})]:
        result = answer(lambda _, args=args, kwargs=kwargs: faked(*args, **kwargs), None)
        taken.append(result is not TypeError)
        if inspect.iscoroutine(result):
            result.close()
    return [isinstance(faked, types.FunctionType), inspect.iscoroutinefunction(faked), *taken]


def attribute_named(name: str) -> Callable[[Any], object]:
    """Return the question for an attribute."""
    return lambda asked: getattr(asked, name)


def shown(asked: Any) -> str:
    """
    Return what help() shows.

    Since Python 3.14 it shows the annotations of a plain function as they are written, and others with their modules.
    """
    return re.sub(r"\b(collections\.abc|tests\.models)\.", "", pydoc.render_doc(asked))


QUESTIONS: dict[str, Callable[[Any], object]] = {
    **{
        question.__name__: question
        for question in (
            callable,
            inspect.isawaitable,
            inspect.isbuiltin,
            inspect.isclass,
            inspect.iscoroutinefunction,
            inspect.isdatadescriptor,
            inspect.isfunction,
            inspect.isgeneratorfunction,
            inspect.ismethod,
            inspect.ismethoddescriptor,
            inspect.isroutine,
            inspect.signature,
            inspect.get_annotations,
            inspect.getcomments,
            inspect.getdoc,
            inspect.getfile,
            inspect.getfullargspec,
            inspect.getmodule,
            inspect.getsource,
            inspect.getsourcelines,
            shown,
            typing.get_type_hints,
            func_accepts_kwargs,
            get_func_args,
            method_has_no_args,
            kind_of_receiver,
            accepted_by_mock,
        )
    },
    **{
        name: attribute_named(name)
        for name in (
            "__code__",
            "__defaults__",
            "__doc__",
            "__globals__",
            "__kwdefaults__",
            "__module__",
            "__name__",
            "__nonsense__",
            "__qualname__",
        )
    },
    "asgiref": asgiref.sync.iscoroutinefunction,
    "asyncio": asyncio.iscoroutinefunction,
    "isinstance": lambda asked: [isinstance(asked, each) for each in TYPES],
    "closure": lambda asked: [sorted(each) for each in inspect.getclosurevars(asked)],
    "getcallargs": lambda asked: [*inspect.getcallargs(asked, 1)],
    "bound": lambda asked: [hasattr(asked, "__self__"), hasattr(asked, "__func__")],
    "bound to": lambda asked: (asked.__self__ is getattr(asked.__self__, "__mro__", None), asked.__func__.__name__),
    "of a method": lambda asked: inspect.signature(asked.__func__),
    "copies": lambda asked: (copy.copy(asked) == asked, copy.deepcopy(asked).__qualname__),
    "doctest": lambda asked: [len(each.examples) for each in doctest.DocTestFinder().find(asked)],
    "partial": lambda asked: kind_of_wrapper(functools.partial(asked)),
    "wraps": lambda asked: kind_of_wrapper(functools.wraps(asked)(lambda: None)),
    "method decorator": lambda asked: kind_of_wrapper(method_decorator(plain)(asked)),
}
TYPES: tuple[Any, ...] = (
    types.FunctionType,
    types.MethodType,
    classmethod,
    staticmethod,
    functools.partial,
    property,
    collections.abc.Callable,
    collections.abc.Hashable,
)


@pytest.mark.parametrize("kind", [name for name in PLAIN if name != "Shop"])
def test_questions_about_a_function_have_the_answers_of_the_plain_one(kind: str) -> None:
    """A function, async function, method, classmethod and staticmethod, however it is reached; many ids too."""
    expected = {name: answer(question, PLAIN[kind]) for name, question in QUESTIONS.items()}

    found = {name: answer(question, CACHED[kind]) for name, question in QUESTIONS.items()}

    assert expected == found


CLASS_QUESTIONS: dict[str, Callable[[Any], object]] = {
    "attributes": lambda cls: [each[:2] for each in inspect.classify_class_attrs(cls) if each.name in METHODS],
    "in the class": lambda cls: [[isinstance(vars(cls)[name], each) for each in TYPES] for name in METHODS],
    "functions": lambda cls: [name for name, _ in inspect.getmembers(cls, inspect.isfunction)],
    "methods": lambda cls: [name for name, _ in inspect.getmembers(cls(), inspect.ismethod)],
    "help": shown,
    "mock of the class": lambda cls: mocked_calls(mock.create_autospec(cls)),
    "patched": lambda cls: [*patched_calls(cls)],
    "mock of an instance": lambda cls: mocked_calls(mock.create_autospec(cls, instance=True)),
}


def mocked_calls(faked: Any) -> list[object]:
    """Tell which calls of each method a mock of a class takes."""
    calls: tuple[tuple[Any, ...], ...] = (), (1,), (1, 2), (1, 2, 3)
    found: list[object] = []
    for name in METHODS[:-1]:
        for args in calls:
            result = answer(lambda method, args=args: method(*args), getattr(faked, name))
            found.append((name, result is not TypeError, inspect.iscoroutine(result)))
            if inspect.iscoroutine(result):
                result.close()
    return found


def patched_calls(cls: Any) -> Iterable[object]:
    """Tell which calls each method takes while it is patched, on the class and on an instance; and what is put back."""
    for name in METHODS:
        with mock.patch.object(cls, name, autospec=True):
            for owner in (cls, cls()):
                for args in ((), (1,), (1, 2), (1, 2, 3)):
                    result = answer(lambda method, args=args: method(*args), getattr(owner, name))
                    yield name, result is not TypeError, inspect.iscoroutine(result)
                    if inspect.iscoroutine(result):
                        result.close()
        yield [isinstance(vars(cls)[name], each) for each in TYPES]


@pytest.mark.parametrize("question", CLASS_QUESTIONS)
def test_questions_about_a_class_have_the_answers_of_the_plain_one(question: str) -> None:
    """Code that reads a class finds functions, classmethods and staticmethods there."""
    ask = CLASS_QUESTIONS[question]

    assert ask(PLAIN["Shop"]) == ask(CACHED["Shop"])


@pytest.mark.parametrize("given", [functools.partial(PLAIN["coroutine"], 1), PLAIN["shop.amethod"]])
def test_what_no_name_leads_to_is_no_function(given: Any) -> None:
    """A migration would write the name of another function; that it is async and what it takes is told all the same."""
    cached = cached_query(given)

    assert [False, False] == [inspect.isfunction(cached), inspect.ismethod(cached)]
    assert inspect.iscoroutinefunction(cached)
    assert inspect.signature(given) == inspect.signature(cached)


@pytest.mark.parametrize("kind", ["function", "coroutine", "shop.method", "Shop.by_class", "many"])
def test_verbs_are_listed_and_in_mocks(kind: str) -> None:
    """`dir()` has what a function has, for those who complete names, and the verbs; so has a mock."""
    asked = CACHED[kind]
    verbs = {"invalidate", "ainvalidate", "invalidate_all", "peek", "stats", "call"}

    faked = mock.create_autospec(asked)
    faked.invalidate(1)

    assert set(dir(PLAIN[kind])) | verbs <= set(dir(asked))
    assert [] == [name for name in verbs if not hasattr(faked, name)]
    assert [mock.call(1)] == faked.invalidate.mock_calls
    assert not hasattr(faked, "nonsense")
