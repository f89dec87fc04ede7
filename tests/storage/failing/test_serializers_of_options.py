"""A serializer of the project's own in OPTIONS of a cache, whose library has exceptions of its own."""

import asyncio
import binascii
import signal
from collections.abc import Callable
from typing import Any

import pytest

from cachedeco import cached_query, cached_query_many, gather
from cachedeco.storage.store import MOST_KEYS_IN_DATABASE
from cachedeco.testing import capture_events
from tests.conftest import CacheConfig, UseCaches
from tests.support.backends import Kind
from tests.support.faults import faulty
from tests.support.stored import stored

pytestmark = pytest.mark.slow  # the caches are on servers

# As CBORDecodeError of cbor2: of a package that nothing here knows.
Unreadable = type("Unreadable", (Exception,), {"__module__": "elsewhere"})


class Reversed:
    """A serializer in Python: of Redis, and of memcached."""

    def dumps(self, value: bytes) -> bytes:
        """Return what only `loads()` reads."""
        return b"reversed " + value[::-1]

    def loads(self, data: bytes) -> bytes:
        """Refuse what another one has written."""
        beginning, _, value = data.partition(b" ")
        if beginning != b"reversed":
            raise Unreadable
        return value[::-1]

    def serialize(self, _key: object, value: bytes) -> tuple[bytes, int]:
        """Do as `dumps()`."""
        return self.dumps(value), 0

    def deserialize(self, _key: object, value: bytes, _flags: int) -> bytes:
        """Do as `loads()`."""
        return self.loads(value)


class Refusing(Reversed):
    """One that takes nothing."""

    def dumps(self, value: bytes) -> bytes:
        """Refuse a value."""
        raise Unreadable(len(value))


class Interrupted(Reversed):
    """One in the middle of which a signal arrives."""

    def dumps(self, value: bytes) -> bytes:
        """Be interrupted."""
        signal.raise_signal(signal.SIGUSR1)
        return super().dumps(value)


class Hexadecimal:
    """A compiled one, which leaves no frame in a traceback."""

    dumps = staticmethod(binascii.hexlify)
    loads = staticmethod(binascii.unhexlify)


PATH = f"{__name__}.Reversed"
# The kind of cache, its OPTIONS, and what they raise.
CASES: dict[str, tuple[Kind, dict[str, Any], type[Exception]]] = {
    "a class": ("redis", {"serializer": Reversed}, Unreadable),
    "a path": ("redis", {"serializer": PATH}, Unreadable),
    "compiled": ("redis", {"serializer": Hexadecimal()}, binascii.Error),
    "an object": ("memcached", {"serde": Reversed()}, Unreadable),
}


@cached_query(60)
def double(number: int) -> int:
    """Return twice a number."""
    return number * 2


@cached_query(60)
async def async_double(number: int) -> int:
    """Return twice a number."""
    return number * 2


@cached_query_many(over="numbers", timeout=60)
def doubles(numbers: list[int]) -> dict[int, int]:
    """Return twice each number."""
    return {each: each * 2 for each in numbers}


CALLS: dict[str, tuple[Callable[[], Any], Any]] = {
    "one": (lambda: double(4), 8),
    "async": (lambda: asyncio.run(async_double(4)), 8),
    "many": (lambda: doubles([4]), {4: 8}),
    "gathered": (lambda: gather(double.call(4)), (8,)),
    "refresh": (lambda: double.refresh(4), 8),
}


def updated(use_caches: UseCaches, cache_config: CacheConfig, case: str, act: Callable[[], Any]) -> type[Exception]:
    """Have a release act, and then be the next one, with other options; return the error of what it can't read."""
    kind, options, error = CASES[case]
    before = cache_config(kind)
    use_caches(default=before)
    act()
    use_caches(default={**before, "OPTIONS": before["OPTIONS"] | options})
    return error


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("case", CASES)
def test_unreadable_value_is_a_miss_and_an_event(
    use_caches: UseCaches, cache_config: CacheConfig, case: str, call: str
) -> None:
    """What the release before has written by another serializer breaks no call, and the event has the exception."""
    act, expected = CALLS[call]
    error = updated(use_caches, cache_config, case, act)

    with capture_events() as events:
        assert expected == act()

    assert error in {type(event.error) for event in events if event.kind == "error"}


@pytest.mark.parametrize("call", ["one", "async", "many", "gathered"])
@pytest.mark.parametrize("case", CASES)
def test_unreadable_value_is_written_over(
    use_caches: UseCaches, cache_config: CacheConfig, case: str, call: str
) -> None:
    """The first call stores the value, and its tokens, anew: the second one is a hit, without an event of a failure."""
    act, expected = CALLS[call]
    updated(use_caches, cache_config, case, act)
    act()

    with capture_events() as events:
        assert expected == act()

    assert {"hit"} == {event.kind for event in events}


@pytest.mark.covering(1)
@pytest.mark.parametrize("number", [3, MOST_KEYS_IN_DATABASE], ids=["one command", "chunks"])
@pytest.mark.parametrize("case", CASES)
def test_values_beside_an_unreadable_one_are_served(
    use_caches: UseCaches, cache_config: CacheConfig, case: str, number: int
) -> None:
    """One value that can't be decoded, of one id, is computed, with its reason; those of the other ids are hits."""
    kind, options, _ = CASES[case]
    before, numbers = cache_config(kind), list(range(number))
    after = {**before, "OPTIONS": before["OPTIONS"] | options}
    use_caches(default=after)
    doubles(numbers)
    use_caches(default=before)
    stored().set(doubles.keys_for(numbers)[2], b"of another serializer")
    use_caches(default=after)
    explained = doubles.explain(numbers)

    with capture_events() as events:
        assert {each: each * 2 for each in numbers} == doubles(numbers)

    kinds = [event.kind for event in events]
    assert ["unreadable"] == [event.reason for event in events if event.kind == "miss"]
    assert (1, number - 1) == (kinds.count("error"), kinds.count("hit"))
    assert "unreadable" in str(explained)


@pytest.mark.usefixtures("faulty_backend")
def test_outage_behind_an_unreadable_value_is_a_read_that_failed() -> None:
    """A server that is lost while the values are read one by one is counted as an outage."""
    double(4)
    lost, unreadable = faulty("get_many", raises=TimeoutError()), faulty("get_many", raises=ValueError(), times=1)

    with lost, unreadable, capture_events() as events:
        assert 8 == double(4)

    assert [ValueError, TimeoutError] == [type(event.error) for event in events if event.kind == "error"]
    assert "cache not read" in [event.reason for event in events]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("kind", "option"), [("redis", "serializer"), ("memcached", "serde")])
def test_value_that_the_serializer_refuses_is_returned(
    use_caches: UseCaches, cache_config: CacheConfig, kind: Kind, option: str, call: str
) -> None:
    """It is not stored, and the event has the exception."""
    act, expected = CALLS[call]
    use_caches(default=cache_config(kind, OPTIONS={option: Refusing()}))

    with capture_events() as events:
        assert expected == act()

    assert Unreadable in {type(event.error) for event in events if event.kind == "error"}
    assert "stored" not in {event.kind for event in events}


def test_invalidation_that_the_serializer_refuses_is_kept(use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """It is delayed, as where the server refuses it."""
    use_caches(default=cache_config("redis", OPTIONS={"serializer": Refusing()}))

    with capture_events() as events:
        double.invalidate(4)

    assert "invalidation_delayed" in {event.kind for event in events}


def test_exception_of_a_handler_in_the_middle_of_a_serializer_passes(
    use_caches: UseCaches, cache_config: CacheConfig
) -> None:
    """It is none of the serializer, though it has its frame."""

    def handler(*_: object) -> None:
        raise Unreadable

    use_caches(default=cache_config("redis", OPTIONS={"serializer": Interrupted()}))
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(Unreadable):
            double(4)
    finally:
        signal.signal(signal.SIGUSR1, before)
