"""Assertions about cached functions hold when they should, and say what happened when they don't."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import hypothesis
import pytest
from asgiref.sync import async_to_sync
from django.test import TestCase
from hypothesis import strategies as st
from pytest_django import Settings

from cachedeco import Event, Namespace, cached_query
from cachedeco.runtime import events, hooks
from cachedeco.runtime.validation import ModeName
from cachedeco.testing import (
    CacheAssertions,
    assert_computations,
    assert_hits,
    assert_invalidates,
    assert_keeps,
    assert_misses,
    cache_mode,
    capture_events,
    check_transparent,
    isolated,
)
from tests.support.frames import files_in
from tests.support.stored import whole
from tests.support.threads import in_thread

Block = Callable[..., AbstractContextManager[list[Event]]]
AsyncBlock = Callable[..., AbstractAsyncContextManager[list[Event]]]


@cached_query(namespace="half:{number}")
def half(number: int) -> float:
    """Return half of a number."""
    return number / 2


@cached_query
def double(number: int) -> int:
    """Return the double of a number."""
    return 2 * number


@cached_query
def unpicklable() -> object:
    """Return what can't be stored."""
    return lambda: None


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Isolate the caches, as the assertions want it, and find no hook left behind by any block."""
    before = hooks._hooks
    with isolated():
        yield
    assert before == hooks._hooks


# --- capture_events ---


def test_capture_gives_what_happens_in_every_thread_until_the_block_ends() -> None:
    """The list grows while the block runs, by calls from anywhere, and not after it."""
    half(1)
    with capture_events() as heard:
        half(2)
        in_thread(lambda: half(2))
        seen = len(heard)
        Namespace("half").invalidate()
    half(3)

    assert ["miss", "computed", "stored", "hit", "invalidated"] == [event.kind for event in heard]
    assert 4 == seen


def test_capture_of_a_function_gives_nothing_else() -> None:
    """With functions named, only what happens to them is in the list."""
    with capture_events(double) as heard:
        half(1)
        double(1)

    assert {"tests.testing.test_assertions.double"} == {event.function for event in heard}


# --- counting ---


def test_counts_that_are_right_pass_and_give_the_events() -> None:
    """Each assertion counts its own kind, of its own function, in every thread."""
    with assert_computations(half, 2) as heard, assert_misses(half, 2), assert_hits(half, 1):
        half(1)
        in_thread(lambda: half(1))
        half(2)
        double(1)

    assert ["miss", "computed", "stored", "hit", "miss", "computed", "stored"] == [event.kind for event in heard]


def test_counts_are_of_the_block_alone() -> None:
    """What happened before and after the block does not count."""
    half(1)
    with assert_computations(half, 0), assert_hits(half, 1):
        half(1)
    half(2)


@pytest.mark.parametrize(
    ("block", "number", "message"),
    [
        (assert_computations, 1, "2 computations of tests.testing.test_assertions.half, 1 expected:"),
        (assert_computations, 3, "2 computations of tests.testing.test_assertions.half, 3 expected:"),
        (assert_hits, 0, "1 hit of tests.testing.test_assertions.half, 0 expected:"),
        (assert_misses, 0, "2 misses of tests.testing.test_assertions.half, 0 expected:"),
    ],
)
def test_counts_that_are_wrong_fail_with_what_happened_call_by_call(block: Block, number: int, message: str) -> None:
    """The message says how many, and lists each event with its key, time and reason."""

    def calls() -> None:
        with block(half, number):
            half(7)
            half(7)
            half(8)

    with pytest.raises(AssertionError) as failure:
        calls()

    first, *lines = str(failure.value).splitlines()
    key = half.key_for(7)
    patterns = [
        rf"1\. miss        {re.escape(key)}; absent",
        rf"2\. computed    {re.escape(key)}; took \S+ s",
        rf"3\. stored      {re.escape(key)}",
        rf"4\. hit         {re.escape(key)}; saved \S+ s",
        r"5\. miss .*",
        r"6\. computed .*",
        r"7\. stored .*",
    ]
    assert message == first
    assert [True] * 7 == [bool(re.fullmatch(*pair)) for pair in zip(patterns, lines, strict=True)]


def test_failure_lists_reasons_and_errors() -> None:
    """What kept a value from being stored is in the list."""
    with (
        pytest.raises(
            AssertionError, match=r"3\. error .*; The value can't be stored, .*; (Attribute|Pickling)Error: Can't "
        ),
        assert_hits(unpicklable, 1),
    ):
        unpicklable()


def test_failure_lists_the_namespaces_that_were_invalidated_meanwhile() -> None:
    """An invalidation without a function explains a miss; what befell other functions does not."""

    def calls() -> None:
        with assert_hits(half, 1) as heard:
            half(7)
            Namespace("half", 7).invalidate()
            double(7)
            double.invalidate(7)
            half(7)
        seen.extend(heard)

    seen: list[Event] = []
    with pytest.raises(AssertionError) as failure:
        calls()

    _, *lines = str(failure.value).splitlines()
    assert ["miss", "computed", "stored", "invalidated", "miss", "computed", "stored"] == [
        line.split()[1] for line in lines
    ]
    assert f"4. invalidated {whole('cd:n:half:7')}" == lines[3]


@pytest.mark.parametrize("kind", ["invalidation_delayed", "invalidation_lost", "error"])
def test_failure_lists_what_failed_without_a_function(kind: events.Kind) -> None:
    """A namespace that could not be read or invalidated is in the list, and not in the block's events."""
    with pytest.raises(AssertionError, match=rf"\n4\. {kind} +cd:n:half; down$"), assert_hits(half, 1) as heard:  # noqa: PT012 -- the message is of the whole block
        half(1)
        hooks.emit(Event(kind, key="cd:n:half", reason="down"))

    assert ["miss", "computed", "stored"] == [event.kind for event in heard]


def test_failure_where_nothing_happened_says_so() -> None:
    """An assertion about a function that was not called says that."""
    with pytest.raises(AssertionError, match=r"half, 1 expected: nothing happened to it\.$"), assert_hits(half, 1):
        double(1)


@pytest.mark.parametrize("number", ["1", -1, True, None, 1.0, [1]])
def test_number_that_is_none_is_refused(number: Any) -> None:
    """As the argument of a call, which `assert_invalidates()` takes in this place."""
    with pytest.raises(TypeError, match=r"is no number of misses: it takes 0 or more, and counts calls with any arg"):
        assert_misses(half, number)
    with pytest.raises(TypeError, match="is no number of hits: "):
        assert_hits(half, number)


@pytest.mark.parametrize("name", ["bypass", "off"])
def test_failure_past_the_cache_says_in_which_mode_the_test_runs(name: ModeName) -> None:
    """A suite that runs without the cache must not leave its reader guessing."""
    with cache_mode(name), pytest.raises(AssertionError, match=f"The mode is '{name}' here"), assert_hits(half, 1):
        half(1)


@pytest.mark.parametrize("block", [assert_computations, assert_hits, assert_misses, assert_invalidates])
def test_failure_shows_the_lines_of_the_test_alone(block: Block) -> None:
    """Under pytest no frame of the kit's, or of what it is made with, stands around the message."""
    with pytest.raises(AssertionError) as failure, block(half, 7):
        """Nothing happens."""

    assert [__file__] == files_in(failure)


@pytest.mark.parametrize("block", [assert_computations, assert_hits, assert_misses, assert_invalidates])
def test_failure_in_async_code_shows_the_lines_of_the_test_alone(block: AsyncBlock) -> None:
    """The same holds for `async with`."""

    async def check() -> list[str]:
        with pytest.raises(AssertionError) as failure:
            async with block(half, 7):
                """Nothing happens."""
        return files_in(failure)

    assert [__file__] == async_to_sync(check)()


def test_counts_in_async_code_do_the_same() -> None:
    """`async with` counts as `with` does."""

    async def check() -> list[Event]:
        async with assert_misses(half, 1) as heard, assert_hits(half, 1):
            half(1)
            half(1)
        return heard

    assert ["miss", "computed", "stored", "hit"] == [event.kind for event in async_to_sync(check)()]


def test_block_that_raises_is_not_counted() -> None:
    """The test's own failure comes first."""
    with pytest.raises(LookupError), assert_hits(half, 1):
        raise LookupError


@pytest.mark.parametrize("block", [assert_hits, assert_invalidates])
def test_block_in_async_code_that_raises_is_not_judged(block: AsyncBlock) -> None:
    """The same holds for `async with`."""

    async def check() -> None:
        async with block(half, 1):
            raise LookupError

    with pytest.raises(LookupError):
        async_to_sync(check)()


@pytest.mark.parametrize("function", [half.uncached, "half", None])
@pytest.mark.parametrize("block", [assert_computations, assert_hits, assert_misses, assert_invalidates, assert_keeps])
def test_what_is_no_cached_function_is_refused(block: Block, function: object) -> None:
    """A plain function has no events, so an assertion about it would be about nothing."""
    with pytest.raises(TypeError, match="is no cached function"), block(function, 1):
        """Never comes here."""


class MixinTests(CacheAssertions, TestCase):
    """The assertions as methods of a TestCase."""

    def test_methods_are_the_functions(self) -> None:
        """Each assertion is there under unittest's kind of name."""
        with self.assertComputations(half, 1), self.assertMisses(half, 1), self.assertHits(half, 1):
            half(1)
            half(1)
        with self.assertInvalidates(half, 1), self.assertKeeps(half, 2):
            half.invalidate(1)

    def test_methods_fail_as_the_test_fails(self) -> None:
        """A wrong count is a failure, not an error."""
        with pytest.raises(self.failureException), self.assertHits(half, 1):
            half(1)


# --- caches that do not work ---


@pytest.mark.parametrize(
    ("backend", "location", "expected"),
    [
        (
            "cachedeco.backends.memcached.MemcachedCache",
            "127.0.0.1:1",
            "'default' at 127.0.0.1:1 acknowledges no write",
        ),
        (
            "django.core.cache.backends.memcached.PyMemcacheCache",
            "127.0.0.1:1",
            "'default' at 127.0.0.1:1 acknowledges no write|'default' at 127.0.0.1:1 fails: ConnectionRefusedError",
        ),
        (
            "django.core.cache.backends.redis.RedisCache",
            "redis://user:hunter2@127.0.0.1:1/0",
            r"'default' at redis://\*\*\*@127.0.0.1:1/0 fails: ConnectionError",
        ),
        ("django.core.cache.backends.dummy.DummyCache", "", "'default' is a DummyCache, which has not kept"),
    ],
)
def test_failure_names_the_cache_that_does_not_work(
    settings: Settings, backend: str, location: str, expected: str
) -> None:
    """A server that is out of reach is named by each assertion, without its password, also when its breaker is open."""
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": location}}

    for _ in range(3):
        for block in (assert_hits(half, 1), assert_invalidates(half, 1)):
            with pytest.raises(AssertionError, match=expected) as failed, block:
                half(1)
            assert "hunter2" not in str(failed.value)
    with pytest.raises(AssertionError, match=f"so nothing was learned.*{expected}"):
        check_transparent(half, st.just(1), mutate=lambda: None, settings=hypothesis.settings(max_examples=1))
