"""A value that contains itself, or is nested too deeply, is refused as any other: never a RecursionError."""

import dataclasses
from collections import deque, namedtuple
from collections.abc import Callable
from typing import Any

import pytest
from django.utils.functional import SimpleLazyObject

from cachedeco import cached_query, cached_query_many

Box = namedtuple("Box", "held")  # noqa: PYI024 -- the shortest


@dataclasses.dataclass
class Node:
    """A dataclass that holds a value."""

    held: object


class Keyed:
    """A class of a user's that holds a value."""

    def __init__(self, held: object) -> None:
        """Keep it."""
        self.held = held

    def __cache_key__(self) -> object:
        """Return it."""
        return self.held


class Endless:
    """A class whose own method does not end."""

    def __cache_key__(self) -> object:
        """Call itself."""
        return self.__cache_key__()


HOLDERS: dict[str, Callable[[Any], object]] = {
    "list": lambda value: [value],
    "tuple": lambda value: (value,),
    "dict": lambda value: {"a": value},
    "frozenset": lambda value: frozenset([value]),
    "deque": lambda value: deque([value]),
    "namedtuple": Box,
    "dataclass": Node,
    "__cache_key__": Keyed,
    "slice": slice,
    "lazy object": lambda value: [SimpleLazyObject(lambda: value)],
}


@cached_query(name="nesting.rows", key=None)
def rows(value: object, other: object = None) -> str:
    """Take any value."""
    return type(value).__name__ if other is None else ""


@cached_query(name="nesting.ignoring", ignore=("other",))
def ignoring(value: object, other: object = None) -> str:
    """Take any value, and another one that is not in the key."""
    return type(value).__name__ if other else ""


def nested(holder: Callable[[Any], object], depth: int) -> object:
    """Return a value in values."""
    value: object = 1
    for _ in range(depth):
        value = holder(value)
    return value


def _cycle(holder: Callable[[Any], Any]) -> object:
    """Return a value that contains itself."""
    value = holder(None)
    if isinstance(value, list):
        value[0] = value
    elif isinstance(value, dict):
        value["a"] = value
    else:
        value.held = value
    return value


CYCLES = {name: _cycle(HOLDERS[name]) for name in ("list", "dict", "dataclass", "__cache_key__")}


@pytest.mark.parametrize(
    "value",
    [*[nested(holder, 5000) for holder in HOLDERS.values()], *CYCLES.values(), Endless()],
    ids=[*HOLDERS, *[f"cycle of {name}" for name in CYCLES], "endless"],
)
def test_value_that_is_nested_too_deeply_is_refused_by_every_verb(value: object) -> None:
    """The usual TypeError names function and argument; in a part of the argument it is the same."""
    for verb in (rows, rows.invalidate, rows.peek, rows.refresh, rows.key_for):
        for args in ((value,), (1, [value])):
            with pytest.raises(
                TypeError, match=r"of nesting\.rows\(\) in a cache key; it contains itself, or is nested"
            ):
                verb(*args)


def test_value_that_is_nested_too_deeply_is_refused_of_many() -> None:
    """In a call over many ids, and as what a callable gives, the same holds."""
    cycle = CYCLES["list"]

    @cached_query_many(over="ids", vary=lambda _=None: None)
    def many(ids: list[int], other: object = None) -> dict[int, object]:
        return dict.fromkeys(ids, other)

    @cached_query(key=lambda value: [value])
    def by_callable(value: object) -> object:
        return value

    for function, args in ((many, ([1], cycle)), (by_callable, (cycle,))):
        with pytest.raises(TypeError, match="it contains itself"):
            function(*args)


@pytest.mark.parametrize("depth", range(100, 400, 20))
def test_value_at_any_depth_is_computed_or_refused(depth: int) -> None:
    """No depth passes the key and fails behind it."""
    for holder in (HOLDERS["list"], HOLDERS["dict"], HOLDERS["dataclass"]):
        value = nested(holder, depth)
        try:
            assert rows(value) == type(value).__name__
        except TypeError as error:
            assert "it contains itself" in str(error)  # noqa: PT017 -- some of them are refused


def test_value_that_the_key_ignores_may_be_nested() -> None:
    """An argument that is not in the key is not looked at."""
    for value in (CYCLES["list"], nested(HOLDERS["dict"], 5000)):
        assert "int" == ignoring(1, value)


def test_recursion_of_the_caller_is_its_own() -> None:
    """A cached function that calls itself without an end raises what any function does."""

    @cached_query
    def endless(number: int) -> int:
        return int(endless(number + 1))

    with pytest.raises(RecursionError):
        endless(0)


def test_int_with_more_digits_than_python_writes_is_refused() -> None:
    """It has no text: the error says so of the argument, for a template, too."""

    @cached_query(name="nesting.of_number", key="{value.real}")
    def of_number(value: Any) -> object:
        return value

    for function in (rows, of_number):
        with pytest.raises(TypeError, match=r"Can't encode value.* of nesting\..*Exceeds the limit"):
            function(10**5000)


def test_dataclass_without_one_of_its_attributes_is_refused() -> None:
    """It was deleted, or never set: the error names function and argument, though no template asked for it."""
    node = Node(1)
    del node.held

    with pytest.raises(
        TypeError, match=r"^Can't encode value of nesting\.rows\(\) in a .*, which raises Attr.* 'held'"
    ):
        rows(node)


class Order:
    """A class whose method for keys fails."""

    def __init__(self, error: Exception) -> None:
        """Keep what it raises."""
        self.error = error

    def __cache_key__(self) -> object:
        """Fail."""
        raise self.error


class NoNumberError(ValueError):
    """An order has no number."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("no number"), "ValueError: no number."),
        (NoNumberError("no number."), "NoNumberError: no number."),
        (ValueError(), "ValueError."),
        (ValueError("first\n  second"), "ValueError: first second."),
        (ValueError("password=hunter2"), "ValueError: password=***."),
        (AttributeError("no number"), "AttributeError: no number."),
    ],
    ids=["text", "class of the project", "no text", "lines", "secret", "attribute"],
)
def test_method_for_keys_that_raises_is_told_in_a_sentence(error: Exception, said: str) -> None:
    """It names function, argument and exception, and has that as its cause, with the line that raised it."""
    for value in (Order(error), [Order(error)]):
        with pytest.raises(TypeError) as caught:
            rows(value)

        assert f"Can't encode value of nesting.rows() in a cache key, which raises {said}" == str(caught.value)
        assert error is caught.value.__cause__


def test_attribute_that_raises_without_a_text_is_told_by_its_class() -> None:
    """There is something to read behind the colon."""

    class Empty:
        @property
        def pk(self) -> int:
            raise AttributeError

    empty = cached_query(key="{value.pk}", name="nesting.empty")(lambda value: value)

    with pytest.raises(AttributeError, match=r"can't read {value\.pk}: AttributeError; correct it"):
        empty(Empty())


def test_error_of_a_users_callable_stays_what_it_is() -> None:
    """A ValueError or AttributeError that a callable or a property raises by itself is no fault in the key."""

    class Broken:
        @property
        def pk(self) -> int:
            msg = "broken"
            raise ValueError(msg)

    @cached_query(key=lambda value: value.pk)
    def by_callable(value: object) -> object:
        return value

    with pytest.raises(ValueError, match=r"^broken$"):
        by_callable(Broken())
    with pytest.raises(AttributeError, match=r"^'int' object has no attribute 'pk'$"):
        by_callable(7)
