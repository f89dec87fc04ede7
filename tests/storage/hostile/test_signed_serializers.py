"""The serializers that look at a signature: what they give back, and of what they say None."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from hypothesis import given
from hypothesis import strategies as st

from cachedeco.backends.serializers import PLAIN_FLAG, SignedSerde, SignedSerializer
from tests.storage.hostile.conftest import KEY, Defend

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(st.characters()),
    st.binary(),
    st.lists(st.text()),
    st.just({"a": 1.5}),
)
OTHER = "another key of the tests, long enough"


class Gone:
    """A class that pickles, and refuses to be unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Be made by a call that fails."""
        return int, ("not a number",)


def stored(value: object, key: str = "k") -> tuple[bytes, int]:
    """Return what memcached gets."""
    return SignedSerde([KEY]).serialize(key.encode(), value)


@given(value=values)
def test_value_comes_back_from_memcached(value: object) -> None:
    """What was stored under a key is what is read under it, of the same type."""
    found = SignedSerde([KEY]).deserialize("k", *stored(value))

    assert (type(value), value) == (type(found), found)


@given(value=values)
def test_value_comes_back_from_redis(value: object) -> None:
    """Redis keeps whole numbers as text."""
    serializer = SignedSerializer([KEY])
    dumped = serializer.dumps(value)

    found = serializer.loads(dumped if isinstance(dumped, bytes) else str(dumped).encode())

    assert (type(value), value) == (type(found), found)


def test_key_may_have_any_letters() -> None:
    """Pymemcache hands over the bytes of a key as it stores, and the text as it reads."""
    assert "v" == SignedSerde([KEY]).deserialize("schlüssel", *stored("v", "schlüssel"))


@pytest.mark.parametrize(
    "forged",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data.replace(b"cachedeco:t", b"cachedeco:b"),
        lambda _: b"",
        lambda _: b"cachedeco:",
        lambda _: b"plain",
    ],
)
def test_what_was_not_signed_is_none(forged: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture) -> None:
    """Cut, longer, of another kind: it is not there, and the log tells who looks at it."""
    data, flags = stored("value")

    assert SignedSerde([KEY]).deserialize("k", forged(data), flags) is None
    assert [logging.ERROR] == [record.levelno for record in caplog.records]


def test_value_of_another_key_is_none() -> None:
    """A value counts under its own key only."""
    assert SignedSerde([KEY]).deserialize("other", *stored("value")) is None


def test_value_signed_by_a_fallback_is_read() -> None:
    """After a change of keys what the old one has signed is read, until it is taken out."""
    data, flags = stored("value")

    found = [SignedSerde(keys).deserialize("k", data, flags) for keys in ([OTHER, KEY], [OTHER])]

    assert ["value", None] == found


def test_value_of_one_serializer_is_none_to_the_other() -> None:
    """What is bound to no key must not pass for what is bound to the empty one."""
    assert SignedSerializer([KEY]).loads(SignedSerde([KEY]).serialize(b"", "value")[0]) is None


def test_number_that_is_none_is_none(caplog: pytest.LogCaptureFixture) -> None:
    """Numbers are not signed; what claims to be one and is none is not there, and the log tells."""
    assert SignedSerde([KEY]).deserialize("k", b"seven", PLAIN_FLAG) is None
    assert SignedSerializer([KEY]).loads(b"seven") is None
    assert [logging.ERROR] * 2 == [record.levelno for record in caplog.records]


def test_value_whose_class_is_gone_is_none(caplog: pytest.LogCaptureFixture) -> None:
    """What we signed and can't unpickle any more, after a deploy, is a warning."""
    assert SignedSerde([KEY]).deserialize("k", *stored(Gone())) is None
    assert [logging.WARNING] == [record.levelno for record in caplog.records]


@pytest.mark.usefixtures("raw")
def test_a_site_can_use_it(defend: Defend) -> None:
    """Sessions, fragments and counters: through Django's cache, on memcached and Redis."""
    defend(entries=False)
    cache.set_many({"dict": {"a": [1, None]}, "text": "<b>ä</b>", "bytes": b"\0", "true": True})
    cache.set("number", 1)

    cache.incr("number", 41)

    names = ["dict", "text", "bytes", "true", "number", "none"]
    expected = {"dict": {"a": [1, None]}, "text": "<b>ä</b>", "bytes": b"\0", "true": True, "number": 42}
    assert expected == cache.get_many(names)
