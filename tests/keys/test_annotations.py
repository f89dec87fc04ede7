"""Annotations are never evaluated: since Python 3.14 that raises for names that exist for type checkers only."""

import functools
import inspect
import sys
from enum import Enum
from types import FunctionType, SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction

from cachedeco import cached_query
from cachedeco.keys import signatures
from cachedeco.keys.signatures import bare_signature

# A module whose `Club` is imported under `if TYPE_CHECKING:`, or defined further down. Until Python 3.13 annotations
# that are no text are evaluated when the function is defined; since 3.14, when code asks for them.
FUTURE = "" if sys.version_info >= (3, 14) else "from __future__ import annotations\n"
SOURCE = (
    FUTURE
    + """
from functools import wraps
from cachedeco import Namespace, cached_query, cached_query_many

def of_club(club: Club) -> Key:
    return club

class OfClub:
    def __call__(self, club: Club) -> Key:
        return club

def namespace_of(club: Club) -> Key:
    return Namespace("club", club)

def traced(function: Club) -> Club:
    @wraps(function)
    def wrapper(*args: Club, **kwargs: Club) -> Club:
        return function(*args, **kwargs)
    return wrapper

@cached_query
def plain(club: Club, page: Page = 1, *rest: Rest, lang: Lang = "en", **more: More) -> Result:
    return [club]

@cached_query(key=of_club, vary=OfClub(), namespace=namespace_of, timeout=lambda value: 60)
def by_callables(club: Club) -> Result:
    return [club]

@cached_query(name="annotations.wrapped")
@traced
def wrapped(club: Club) -> Result:
    return [club]

@cached_query
async def asynchronous(club: Club) -> Result:
    return [club]

@cached_query_many(over="clubs")
def many(clubs: list[Club]) -> dict[Club, Result]:
    return {club: [club] for club in clubs}

class Owner:
    @cached_query(ignore=("self",))
    def method(self: Owner, club: Club) -> Owner:
        return [club]

    @cached_query
    @classmethod
    def of_class(cls, club: Club) -> Owner:
        return [club]

    @cached_query
    @staticmethod
    def static(club: Club) -> Owner:
        return [club]
"""
)


@pytest.fixture(scope="module")
def module() -> dict[str, Any]:
    """Give what the module has."""
    names: dict[str, Any] = {"__name__": __name__}
    exec(SOURCE, names)  # noqa: S102 -- the text above
    return names


@pytest.mark.parametrize("path", ["plain", "by_callables", "wrapped", "Owner.method", "Owner.of_class", "Owner.static"])
def test_function_whose_annotations_cannot_be_evaluated_is_cached(module: dict[str, Any], path: str) -> None:
    """It is decorated, called and invalidated, and its signature can be asked for."""
    name, *attributes = path.split(".")
    holder = module[name]() if attributes else SimpleNamespace(**module)
    function = getattr(holder, (attributes or [name])[0])

    values = [function(7), function(7), function.peek(7)]
    function.invalidate(7)

    assert [[7], [7], [7]] == values
    assert not function.peek(7)
    assert ["club"] == list(inspect.signature(function).parameters)[:1]


def test_function_over_many_ids_whose_annotations_cannot_be_evaluated_is_cached(module: dict[str, Any]) -> None:
    """One over many ids is called as well; an async one is one."""
    values = [module["many"]([7]), module["many"].peek([7])]

    assert [{7: [7]}, {7: [7]}] == values
    assert iscoroutinefunction(module["asynchronous"])


def test_bare_signature_never_shows_annotations_to_inspect(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `inspect` gets of a function has no annotations, on any Python; names, kinds and defaults are the same."""

    def function(a: int, /, b: int = 1, *c: int, d: int, e: int = 2, **f: int) -> int:
        return a + b + d + e + len(c) + len(f)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    shown: list[Any] = []
    signature = inspect.signature
    monkeypatch.setattr(inspect, "signature", lambda each, **how: shown.append(each) or signature(each, **how))

    texts = [str(bare_signature(each)) for each in (function, wrapper)]

    assert ["(a, /, b=1, *c, d, e=2, **f)"] * 2 == texts
    assert [({}, True)] * 2 == [(each.__annotations__, isinstance(each, FunctionType)) for each in shown]


def test_bare_signature_of_other_callables_has_no_annotations() -> None:
    """Of a method, a partial, an instance, a class, and of a function that states its own signature."""

    class Callables:
        def __init__(self, club: int) -> None:
            self.club = club

        def __call__(self, page: int) -> int:
            return page

    def stated(*args: int) -> None:
        """Take what the signature says."""

    def function(club: int, page: int = 2) -> int:
        return club + page

    stated.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]

    texts = [
        str(bare_signature(each))
        for each in (Callables, Callables(1), Callables(1).__call__, functools.partial(function, 1), stated)
    ]

    assert ["(club)", "(page)", "(page)", "(page=2)", "(club, page=2)"] == texts


def test_annotations_are_asked_for_as_text_where_python_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """Since Python 3.14 `inspect.signature()` takes a format; it is found by the module that defines it."""
    formats = Enum("formats", ["STRING", "FORWARDREF"])
    monkeypatch.setitem(sys.modules, "annotationlib", SimpleNamespace(Format=formats))  # type: ignore[arg-type]

    with_formats = signatures._annotations_as("STRING")
    monkeypatch.setitem(sys.modules, "annotationlib", None)  # type: ignore[arg-type]
    without = signatures._annotations_as("STRING")

    assert ({"annotation_format": formats["STRING"]}, {}) == (with_formats, without)


def test_signature_of_a_cached_function_keeps_its_annotations() -> None:
    """Editors, documentation and other libraries that ask for them get them."""

    @cached_query
    def rows(club: int, page: int = 1) -> list[int]:
        return [club, page]

    assert "(club: int, page: int = 1) -> list[int]" == str(inspect.signature(rows))
