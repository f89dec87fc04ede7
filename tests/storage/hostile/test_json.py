"""Values as JSON: plain data comes back as it was, and reading it runs no code."""

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from math import inf, nan
from typing import Any

import pytest
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st

from cachedeco import MISSING, cached_query, cached_query_many
from cachedeco.storage.serializers import ABSENT, from_json, to_json
from cachedeco.testing import capture_events
from tests.storage.hostile.raw_servers import Bomb, exploded
from tests.support.sides import Side, both
from tests.support.stored import stored

text = st.text(st.characters())  # halves of characters too
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(text, inside, max_size=4),
    max_leaves=12,
)


class Colour(StrEnum):
    """What is equal to a text, and is none."""

    RED = "red"


@given(value=plain)
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    """What is taken is given back: equal, of the same types, dicts in the same order."""
    assert repr(value) == repr(from_json(to_json(value)))


def test_two_halves_of_a_character_stay_two() -> None:
    """What Python takes for two characters does not come back as one."""
    value = ["\ud83d\ude00"]

    assert value == from_json(to_json(value))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ((1, 2), "the value is a tuple"),
        ([{"a": (1,)}], r"the value\[0\]\['a'\] is a tuple"),
        ({1: "a"}, "the value is a dict with keys that are no str"),
        ([1, Decimal(1)], r"the value\[1\] is a Decimal"),
        ({"a": {(1, 2): "b"}}, r"the value\['a'\] is a dict with keys that are no str"),
        ([Colour.RED], r"the value\[0\] is a Colour"),
        ([mark_safe("<b>")], r"the value\[0\] is a SafeString"),
    ],
    ids=str,
)
def test_what_would_come_back_as_something_else_is_refused(value: object, what: str) -> None:
    """A hit must not give something else than the miss did: the error says where it is."""
    with pytest.raises(TypeError, match=what):
        to_json(value)


@pytest.mark.parametrize("value", [nan, [inf], Decimal(1), b"bytes", {1}, ...], ids=repr)
def test_what_is_no_json_is_refused(value: object) -> None:
    """Nor is there a text for what JSON does not know."""
    with pytest.raises((TypeError, ValueError)):
        to_json(value)


def test_list_that_contains_itself_is_refused() -> None:
    """It has no end."""
    value: list[Any] = []
    value.append(value)

    with pytest.raises(ValueError, match="Circular"):
        to_json(value)


def test_absent_has_bytes_that_nothing_else_has() -> None:
    """An id that the function does not know is remembered, and is told from None."""
    assert (ABSENT, None) == (from_json(to_json(ABSENT)), from_json(to_json(None)))


@both
def test_value_is_stored_as_json(side: Side) -> None:
    """The entry begins with the text, and a hit gives a value of its own."""

    @side.cached(serializer="json")
    def hours() -> dict[str, Any]:
        return {"mon": ["9:00", 1.5, None, True]}

    first = side.call(hours)
    second = side.call(hours)

    assert stored().get(side.call(hours.key_for)).startswith(b'{"mon":["9:00",1.5,null,true]}')
    assert (first, False) == (second, first is second)


@both
def test_value_that_is_not_plain_is_returned_and_not_stored(side: Side, caplog: pytest.LogCaptureFixture) -> None:
    """The caller has his value; an event says what is wrong with it, and the log hides nothing of what to do."""

    @side.cached(serializer="json")
    def hours() -> tuple[int, int]:
        return 9, 22

    with capture_events(hours) as events:
        found = side.call(hours)

    assert ((9, 22), MISSING) == (found, side.call(hours.peek))
    assert ["TypeError"] == [type(event.error).__name__ for event in events if event.kind == "error"]
    assert caplog.text.rstrip().endswith("dict with str for keys, or leave serializer='json' out")


def test_pickle_is_never_unpickled_where_json_is_expected() -> None:
    """An entry in the other format, as after a change of the decorator or planted by an attacker, is a miss."""

    @cached_query(name="tests.hostile.hours")
    def before() -> object:
        return Bomb()

    @cached_query(serializer="json")
    def after() -> int:
        return 2

    before()
    after()
    exploded.clear()
    stored().set(after.key_for(), stored().get(before.key_for()))

    assert (2, []) == (after(), exploded)


def test_many_values_are_json_too() -> None:
    """Each id's entry is one of its own, and so is that of an id which the function does not know."""

    @cached_query_many(over="ids", serializer="json")
    def names(ids: list[int]) -> dict[int, str]:
        return {each: f"name {each}" for each in ids if each < 3}

    names([1, 2, 3])
    with capture_events(names) as events:
        found = names([1, 2, 3])

    assert ({1: "name 1", 2: "name 2"}, ["hit"] * 3) == (found, [event.kind for event in events])


def test_unknown_format_is_refused() -> None:
    """At decoration, with those there are."""
    with pytest.raises(ValueError, match=r"serializer='yaml' for .*; it takes 'pickle' or 'json'"):
        cached_query(serializer="yaml")(lambda_of())  # type: ignore[call-overload] # what it is about


def lambda_of() -> Callable[[], int]:
    """Return something to decorate."""

    def answer() -> int:
        return 42

    return answer
