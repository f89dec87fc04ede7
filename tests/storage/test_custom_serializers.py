"""Serializers of the project's own: the option *serializer* takes an object."""

import json
import zlib
from typing import Any

import pytest
from pytest_django import Settings

from cachedeco import MISSING, Event, Serializer, cached_query, cached_query_many, listening
from tests.support.stored import stored


class Compressed:
    """JSON, compressed."""

    def __init__(self, name: str = "zlib-json") -> None:
        """Take the name of the format."""
        self.name = name

    def dumps(self, value: Any) -> bytes:
        """Return a value as bytes."""
        return zlib.compress(json.dumps(value).encode())

    def loads(self, data: bytes) -> Any:
        """Return the value of these bytes, and no more of them."""
        decompressor = zlib.decompressobj()
        text = decompressor.decompress(data)
        assert decompressor.eof
        assert not decompressor.unused_data
        return json.loads(text)


class Named(Compressed):
    """A class with all that a serializer has, and no instance of itself."""

    name = "named"


class Text(Compressed):
    """One that forgets to encode."""

    def dumps(self, value: Any) -> Any:
        """Return text."""
        return json.dumps(value)


@pytest.mark.parametrize("keys", [[], ["k" * 32]], ids=["plain", "signed"])
@pytest.mark.parametrize("value", [None, 0, [], {"a": [1, "x"]}, "y" * 10_000])
def test_value_is_stored_by_the_project_s_serializer(value: Any, keys: list[str], settings: Settings) -> None:
    """A hit is what `loads()` makes of exactly the bytes that `dumps()` gave, signed or not."""
    settings.CACHEDECO = {"SIGNING_KEYS": keys}

    @cached_query(ignore=("what",), serializer=Compressed(), namespace="serialized")
    def answer(what: Any) -> Any:
        return what

    answer(value)

    assert value == answer("other") == answer.peek(None)
    assert zlib.compress(json.dumps(value).encode()) in stored().get(answer.key_for(None))


def test_absent_id_is_remembered_under_any_serializer() -> None:
    """An id that the function does not know needs no bytes of the project's."""
    asked: list[list[int]] = []

    @cached_query_many(over="ids", serializer=Compressed(), ignore=("asked",))
    def names(ids: list[int]) -> dict[int, str]:
        asked.append(ids)
        return {1: "one"}

    assert {1: "one"} == names([1, 2]) == names([1, 2])
    assert [[1, 2]] == asked


def test_another_name_is_another_format() -> None:
    """Entries of a serializer with another name are misses."""

    def answer() -> str:
        return "value"

    cached_query(serializer=Compressed("one"))(answer)()

    assert MISSING is cached_query(serializer=Compressed("two"))(answer).peek()
    assert "value" == cached_query(serializer=Compressed("one"))(answer).peek()


def test_error_of_loads_is_a_miss_and_an_event() -> None:
    """What the serializer can't read is computed again, and reported."""

    class Broken(Compressed):
        def loads(self, data: bytes) -> Any:
            raise ZeroDivisionError(len(data))

    seen: list[Event] = []
    calls: list[int] = []

    @cached_query(serializer=Broken(), ignore=("calls",))
    def answer(calls: list[int]) -> int:
        calls.append(1)
        return 7

    answer(calls)
    with listening(seen.append):
        assert 7 == answer(calls)

    assert 2 == len(calls)
    assert ZeroDivisionError in {type(each.error) for each in seen if each.kind == "error"}


def test_dumps_that_returns_no_bytes_stores_nothing_and_says_so() -> None:
    """The caller has its value; the event names the serializer and what it returned."""
    seen: list[Event] = []

    @cached_query(serializer=Text())
    def answer() -> int:
        return 7

    with listening(seen.append):
        assert 7 == answer()

    [error] = [each.error for each in seen if each.kind == "error"]
    assert "dumps() of the serializer 'zlib-json' returned a str; it must return bytes." == str(error)
    assert MISSING is answer.peek()


class Later(Named):
    """A serializer that would have to be awaited."""

    async def dumps(self, value: object) -> bytes:  # type: ignore[override]
        """Be no function that returns bytes."""
        raise NotImplementedError


class Argumentless(Named):
    """A serializer that takes nothing."""

    def loads(self) -> object:  # type: ignore[override]
        """Be given nothing."""
        raise NotImplementedError


@pytest.mark.parametrize(
    ("serializer", "kind", "message"),
    [
        ("yaml", ValueError, r"it takes 'pickle' or 'json', or an object with name, dumps\(\) and loads\(\)"),
        (json, TypeError, "an object with name"),
        (7, TypeError, "an object with name"),
        (dict, TypeError, r"serializer=<class 'dict'> for .*; it takes 'pickle', 'json', or an object with name"),
        (Named, TypeError, r"serializer=<class '.*Named'> for .* is a class; give an instance: serializer=Named\(\)"),
        (Later(), TypeError, r"dumps\(\) of serializer= for .* is async: "),
        (
            Argumentless(),
            TypeError,
            r"loads\(\) of serializer= for .*, which takes nothing; it is called with bytes alone",
        ),
        (Compressed(""), ValueError, "give it a printable name of its own"),
        (Compressed("pickle"), ValueError, "has the name 'pickle'"),
        (Compressed("a\nb"), ValueError, "printable"),
    ],
    ids=[
        "unknown",
        "no name",
        "number",
        "class of another kind",
        "class",
        "async",
        "no arguments",
        "empty",
        "taken",
        "newline",
    ],
)
def test_what_is_no_serializer_is_refused_at_decoration(serializer: Any, kind: type[Exception], message: str) -> None:
    """The error says what was given and what a serializer needs."""
    with pytest.raises(kind, match=message):
        cached_query(serializer=serializer)(lambda_of)


def lambda_of() -> int:
    """Return a number."""
    return 7


def test_a_serializer_has_the_type_of_the_protocol() -> None:
    """The protocol is public, for annotations."""
    serializer: Serializer = Compressed()

    assert "zlib-json" == serializer.name
