"""What check_transparent takes for a write, and what it says where it has learned nothing."""

from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from cachedeco import MISSING, cached_query
from cachedeco.testing import check_transparent
from tests.support.frames import files_in
from tests.support.sides import Side, both
from tests.testing.checks import fresh_source, increase, numbers, quickly, source  # noqa: F401 -- a fixture


@pytest.mark.parametrize("error", [LookupError, LookupError()])
def test_errors_of_writes_areincreased_with_their_history(error: Exception | type[Exception]) -> None:
    """A write that fails is the test's mistake, not a difference; the shortest way to it is told with it, once."""

    @cached_query
    def value(number: int) -> int:
        return number

    def write() -> None:
        if value.peek(0) == 0:
            raise error

    with pytest.raises(LookupError) as failure:
        check_transparent(value, numbers, mutate=write, settings=quickly)

    steps = "\n1. value(0) gives 0\n2. write() raises"
    assert [f"The history of {__name__}.{value.__qualname__} so far:{steps}"] == failure.value.__notes__


def test_write_may_refuse_a_history() -> None:
    """What a write assumes is Hypothesis's business, as in any test of it."""

    @cached_query
    def value() -> int:
        return source["value"]

    def write() -> None:
        hypothesis.assume(value.peek() is MISSING)
        source["value"] += 1

    check_transparent(value, st.just(()), mutate=write, settings=quickly)


def test_errors_that_are_not_of_a_write_have_no_history() -> None:
    """What Hypothesis itself refuses is not blamed on a write."""

    @cached_query
    def value() -> int:
        return 1

    with pytest.raises(hypothesis.errors.InvalidArgument) as failure:
        check_transparent(value, st.just(()), mutate=[], settings=quickly)

    assert not [note for note in getattr(failure.value, "__notes__", []) if "history" in note]


@pytest.mark.parametrize("wrap", [lambda write: write, lambda write: [write], lambda write: (write,), st.just])
def test_write_needs_no_strategy(wrap: Callable[[Callable[[], None]], Any]) -> None:
    """A callable, and a list or tuple of some, are taken as they are."""

    @cached_query
    def value() -> int:
        return source["value"]

    with pytest.raises(AssertionError, match=r"2\. increase\(\)\n"):
        check_transparent(value, st.just(()), mutate=wrap(increase), settings=quickly)


@pytest.mark.parametrize("writes", [None, "write", {1: increase}])
def test_what_cannot_write_is_refused(writes: Any) -> None:
    """The likeliest slip, to call the write instead of giving it, is told with what is accepted."""

    @cached_query
    def value() -> int:
        return 1

    with pytest.raises(TypeError, match="mutate takes a callable without arguments, a list of them or a strategy"):
        check_transparent(value, st.just(()), mutate=writes)


@both
def test_check_in_which_every_callincreases_tells_what(side: Side) -> None:
    """Calls of a wrong shape never meet the cache, and the message tells why."""

    @side.cached()
    def value(number: int) -> int:
        return number

    with pytest.raises(
        AssertionError, match=r"nothing was learned: every call raised TypeError: .*'number'"
    ) as failure:
        check_transparent(value, st.just(()), mutate=increase, settings=quickly)

    assert isinstance(failure.value.__cause__, TypeError)


def test_check_in_which_the_function_alwaysincreases_tells_what() -> None:
    """A function that fails has nothing to cache."""

    @cached_query
    def value(number: int) -> int:
        return number // 0

    with pytest.raises(AssertionError, match=r"learned: every call raised ZeroDivisionError: .* zero\.$"):
        check_transparent(value, numbers, mutate=increase, settings=quickly)


def test_check_in_which_some_callsincrease_does_not_say_that_all_did(dummy_backend: None) -> None:  # noqa: ARG001
    """A reason is told only where it is the reason."""

    @cached_query
    def value(number: int) -> int:
        return 1 // number

    with pytest.raises(AssertionError, match=r"nothing was learned: all were misses\. \(Cache 'default' is"):
        check_transparent(value, numbers, mutate=increase, settings=quickly)


def test_failure_shows_the_lines_of_the_test_alone() -> None:
    """Under pytest no frame of the kit's, or of Hypothesis's, stands around the message."""

    @cached_query
    def value() -> int:
        return source["value"]

    with pytest.raises(AssertionError) as failure:
        check_transparent(value, st.just(()), mutate=increase, settings=quickly)

    assert [__file__] == files_in(failure)
