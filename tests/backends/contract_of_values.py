"""What can be stored, and for how long."""

import datetime as dt
import decimal
import enum
import math
import uuid
from collections import OrderedDict
from typing import Any

from django.utils.safestring import SafeString, mark_safe

from tests.backends.contract import THEIRS, Place, promise, raises
from tests.models import Club

DAY = 24 * 3600


class Colour(enum.IntEnum):
    """An int that is more."""

    RED = 1


class Unpicklable:
    """It says so itself."""

    def __reduce__(self) -> Any:
        """Refuse."""
        msg = "not me"
        raise TypeError(msg)


VALUES: dict[str, object] = {
    "none": None,
    "true": True,
    "false": False,
    "zero": 0,
    "negative": -1,
    "huge": 2**100,
    "enum": Colour.RED,
    "float": 0.1,
    "infinity": -math.inf,
    "empty-text": "",
    "text": "Käse 奶酪 \r\n END\r\n",
    "digits": "42",
    "safe": mark_safe("<b>"),
    "empty-bytes": b"",
    "bytes": bytes(range(256)),
    "end": b"END\r\nVALUE x 0 1\r\n",
    "nothing": [],
    "list": [1, "two", None, [b"3"]],
    "tuple": (1, (2, ())),
    "dict": {"a": {"b": [1]}, 1: None, (1, 2): "x"},
    "ordered": OrderedDict(b=1, a=2),
    "set": {1, 2},
    "frozenset": frozenset({1}),
    "date": dt.date(2008, 2, 29),
    "moment": dt.datetime(2008, 2, 29, 12, 30, 1, 999, tzinfo=dt.UTC),
    "delta": dt.timedelta(microseconds=1),
    "decimal": decimal.Decimal("1.10"),
    "uuid": uuid.UUID(int=7),
    "class": Colour,
    "function": mark_safe,
    "row": Club(pk=7, name="Judo"),
    "exception": ValueError,
    "large": "x" * 1_000_000,
}


@promise()
def any_value_is_found_as_it_was(place: Place) -> None:
    """Of the same type, by each way of storing and of reading."""
    cache = place.cache()

    for name, value in VALUES.items():
        cache.set(name, value)
        found = cache.get(name, "missing")
        assert (value, type(value)) == (found, type(found))
        cache.delete(name)
        assert cache.add(name, value)
    assert VALUES == cache.get_many(VALUES)
    assert [] == cache.set_many(VALUES)
    assert {name: type(value) for name, value in VALUES.items()} == {
        name: type(value) for name, value in cache.get_many(VALUES).items()
    }
    assert isinstance(cache.get("safe"), SafeString)


@promise()
def value_found_is_a_copy(place: Place) -> None:
    """Who changes it changes nothing for others."""
    cache = place.cache()
    value = {"list": [1]}
    cache.set("key", value)
    value["list"].append(2)
    cache.get("key")["list"].append(3)

    assert {"list": [1]} == cache.get("key")


@promise()
def value_that_cannot_be_pickled_raises(place: Place) -> None:
    """By each verb that stores; and the cache goes on."""
    cache = place.cache()

    raises(TypeError, lambda: cache.set("key", Unpicklable()))
    raises(TypeError, lambda: cache.add("key", [Unpicklable()]))
    raises(TypeError, lambda: cache.set_many({"key": Unpicklable()}))
    raises(TypeError, lambda: cache.get_or_set("key", Unpicklable()))
    assert cache.add("key", 1) is True


@promise()
def timeout_of_none_is_for_ever(place: Place) -> None:
    """With any default."""
    cache = place.cache(TIMEOUT=0)
    cache.set("a", 1, None)
    cache.add("b", 2, timeout=None)
    cache.set_many({"c": 3}, None)
    cache.get_or_set("d", 4, None)
    cache.set("e", 5, 60)
    cache.touch("e", None)

    assert {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5} == cache.get_many("abcde")


@promise()
def timeout_of_none_in_the_settings_is_for_ever(place: Place) -> None:
    """As the default of every method."""
    cache = place.cache(TIMEOUT=None)
    cache.set("a", 1)
    cache.add("b", 2)
    cache.set_many({"c": 3})

    assert {"a": 1, "b": 2, "c": 3} == cache.get_many("abc")


@promise(broken_by=["redis"])
def touch_finds_what_lives_for_ever(place: Place) -> None:
    """It says that there is something, also where its timeout stays what it is."""
    cache = place.cache()
    cache.set("key", 1, None)

    assert cache.touch("key", None)


@promise()
def timeout_of_zero_is_over_at_once(place: Place) -> None:
    """Nothing is stored, and what was is gone; a negative one is as zero."""
    cache = place.cache()

    for timeout in (0, -1, -(10**6)):
        cache.set_many(dict.fromkeys("abcd", "old"))
        cache.set("a", 1, timeout)
        cache.set_many({"b": 2}, timeout)
        cache.touch("c", timeout)
        cache.add("e", 5, timeout)
        assert {"d": "old"} == cache.get_many("abcde"), timeout
        assert not cache.has_key("a")


@promise(broken_by=["memcached"])
def timeout_of_long_ago_is_over_at_once(place: Place) -> None:
    """Of any size: with few bits -2**40 is 0, which is for ever on memcached."""
    cache = place.cache()

    for timeout in (-(2**31) - 1, -(2**40), -(10**20)):
        cache.set_many(dict.fromkeys("abd", "old"))
        cache.set("a", 1, timeout)
        cache.set_many({"b": 2}, timeout)
        cache.add("c", 3, timeout)
        assert {"d": "old"} == cache.get_many("abcd"), timeout


@promise()
def timeout_of_zero_in_the_settings_is_over_at_once(place: Place) -> None:
    """As the default of every method: nothing is cached."""
    cache = place.cache(TIMEOUT=0)
    cache.set("a", 1)
    cache.set_many({"b": 2})
    cache.add("c", 3)

    assert {} == cache.get_many("abc")


@promise()
def timeout_may_be_long(place: Place) -> None:
    """Above thirty days memcached takes it for a date; ten years are nothing special."""
    cache = place.cache()
    timeouts = {"a": 30 * DAY - 1, "b": 30 * DAY, "c": 30 * DAY + 1, "d": 3650 * DAY}
    for key, timeout in timeouts.items():
        cache.set(key, key, timeout)
    cache.set("e", "e", 60)  # not 1: by the tick of memcached's clock that may be over at once
    cache.touch("e", 31 * DAY)
    cache.set_many({"f": "f"}, 31 * DAY)
    cache.add("g", "g", 31 * DAY)

    assert {key: key for key in "abcdefg"} == cache.get_many("abcdefg")


@promise(broken_by=["memcached"])
def timeout_may_reach_past_2038(place: Place) -> None:
    """Where a date of 32 bits ends, the value does not end at once."""
    cache = place.cache()
    cache.set("key", 1, 50 * 365 * DAY)

    assert 1 == cache.get("key")


@promise()
def timeout_may_be_a_fraction(place: Place) -> None:
    """Seconds may be a float, above thirty days too."""
    cache = place.cache()
    cache.set("a", 1, 100.9)
    cache.set("b", 2, 31 * DAY + 0.5)
    cache.set_many({"c": 3}, 100.2)
    cache.touch("a", 99.9)

    assert {"a": 1, "b": 2, "c": 3} == cache.get_many("abc")


@promise(broken_by=["locmem"], by_old_twins=THEIRS)
def set_many_is_one_command(place: Place) -> None:
    """So a value that can't be pickled is found before the first one is stored."""
    cache = place.cache()

    raises(TypeError, lambda: cache.set_many({"a": 1, "b": Unpicklable()}))
    assert not cache.has_key("a")
