"""The verbs: each takes a call's arguments as the function does, and touches that call alone."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from cachedeco import MISSING, Event, bypass, listening, mode
from tests.support.sides import Side, both

FORMS: list[Callable[[Any], Any]] = [
    lambda call: call(4),
    lambda call: call(number=4),
    lambda call: call(4, 1),
    lambda call: call(4, deep=False),
    lambda call: call(deep=False, page=1, number=4),
]
forms = pytest.mark.parametrize("form", FORMS, ids=["positional", "keyword", "default", "keyword default", "all"])


def described(number: int, page: int = 1, *, deep: bool = False) -> str:
    """Return what was asked for."""
    return f"{number} {page} {deep}"


@pytest.fixture
def describe(side: Side) -> Any:
    """Give a cached function with a parameter of each kind, called once."""
    cached = side.cached()(described)
    side.call(cached, 4)
    side.call(cached, 5)
    return cached


@both
@forms
def test_every_form_of_a_call_is_one_call(side: Side, describe: Any, form: Callable[[Any], Any]) -> None:
    """Each form is served what another one has stored, and has its key."""
    found = form(lambda *args, **kwargs: side.call(describe.peek, *args, **kwargs))

    key = form(lambda *args, **kwargs: side.call(describe.key_for, *args, **kwargs))

    assert ("4 1 False", side.call(describe.key_for, 4)) == (found, key)


@both
@forms
def test_invalidate_in_any_form_reaches_the_call_and_no_other(
    side: Side,
    describe: Any,
    form: Callable[[Any], Any],
) -> None:
    """However the arguments are written, this call is invalidated and the next one is not."""
    form(lambda *args, **kwargs: side.call(describe.invalidate, *args, **kwargs))

    assert (MISSING, "5 1 False") == (side.call(describe.peek, 4), side.call(describe.peek, 5))


@both
def test_invalidate_all_reaches_every_call_of_the_function_only(side: Side, describe: Any) -> None:
    """All calls of the function, and those of no other one."""

    @side.cached()
    def other(number: int) -> int:
        return number

    side.call(other, 4)

    side.call(describe.invalidate_all)

    assert ([MISSING] * 2, 4) == ([side.call(describe.peek, n) for n in (4, 5)], side.call(other.peek, 4))


@both
def test_call_after_an_invalidation_is_computed_and_stored(side: Side) -> None:
    """An invalidation ends one entry, and the next one begins."""
    computed = []

    @side.cached(ignore=("computed",))
    def answer() -> int:
        computed.append(1)
        return len(computed)

    side.call(answer)
    side.call(answer.invalidate)

    found = [side.call(answer), side.call(answer)]

    assert [2, 2] == found


@both
@pytest.mark.parametrize("stored", [False, True])
def test_refresh_computes_stores_and_returns(side: Side, *, stored: bool) -> None:
    """With any value stored, or none, refresh computes once, and the next call is served the new value."""
    computed = []

    @side.cached(ignore=("computed",))
    def answer() -> int:
        computed.append(1)
        return len(computed)

    if stored:
        side.call(answer)

    found = [side.call(answer.refresh), side.call(answer), side.call(answer.peek)]

    assert [1 + stored] * 3 == found


@both
def test_refresh_that_raises_leaves_what_is_stored(side: Side) -> None:
    """Where the function raises, the caller has its exception, and others the value of before."""
    faults: list[Exception] = []

    @side.cached(ignore=("faults",))
    def answer() -> int:
        if faults:
            raise faults[0]
        return 1

    side.call(answer)
    faults.append(LookupError("gone"))

    with pytest.raises(LookupError, match="gone"):
        side.call(answer.refresh)

    assert 1 == side.call(answer.peek)


@both
@pytest.mark.parametrize("value", [None, 0, 1, "text"], ids=repr)
def test_set_stores_without_computing(side: Side, value: object) -> None:
    """What is set is served, None too, and the function is not called."""

    @side.cached()
    def answer(number: int) -> object:
        raise NotImplementedError

    returned = side.call(answer.call(number=4).set, value)

    assert (None, value, value) == (returned, side.call(answer, 4), side.call(answer.peek, 4))


@both
def test_set_counts_no_computation(side: Side) -> None:
    """The function did not run, so no event says that it did."""
    seen: list[Event] = []

    @side.cached()
    def answer() -> int:
        return 1

    with listening(seen.append):
        side.call(answer.call().set, 2)

    assert ["stored"] == [event.kind for event in seen]


@both
def test_set_replaces_what_is_stored(side: Side) -> None:
    """The last value set is the one that is served."""

    @side.cached()
    def answer() -> int:
        return 1

    side.call(answer)
    side.call(answer.call().set, 2)

    assert 2 == side.call(answer)


@both
def test_peek_never_computes_and_counts_nothing(side: Side) -> None:
    """To look emits no event, and does not call the function."""
    seen: list[Event] = []

    @side.cached()
    def answer(number: int) -> int:
        return number

    side.call(answer, 4)

    with listening(seen.append):
        found = side.call(answer.peek, 4), side.call(answer.peek, 5)

    assert ((4, MISSING), []) == (found, seen)


@both
@pytest.mark.parametrize(
    ("block", "afterwards"),
    [(bypass, 4), (lambda: mode("bypass"), 4), (lambda: mode("off"), 1)],
    ids=["bypass", "mode", "off"],
)
def test_verbs_past_the_cache(side: Side, block: Callable[[], AbstractContextManager[None]], afterwards: int) -> None:
    """A call computes, peek finds nothing, set and refresh store nothing; what they replace is gone, unless off."""
    computed = []

    @side.cached(ignore=("computed",))
    def answer() -> int:
        computed.append(1)
        return len(computed)

    side.call(answer)

    with block():
        side.call(answer.call().set, 7)
        found = [side.call(answer), side.call(answer.refresh), side.call(answer.peek)]

    assert ([2, 3, MISSING], afterwards) == (found, side.call(answer))


@both
def test_invalidation_while_bypassed_is_seen_afterwards(side: Side) -> None:
    """A management command that bypasses the cache leaves no old value behind."""

    @side.cached()
    def answer() -> int:
        return 1

    side.call(answer)

    with bypass():
        side.call(answer.invalidate)

    assert MISSING is side.call(answer.peek)


@both
def test_verbs_reserve_no_name_of_the_functions(side: Side) -> None:
    """A function may have parameters called as ours might be, and as `self`."""

    @side.cached()
    def answer(value: int, self: int, function: int, *, timeout: int, default: int) -> list[int]:
        return [value, self, function, timeout, default]

    names = ["value", "self", "function", "timeout", "default"]
    call = {name: n for n, name in enumerate(names)}

    computed = side.call(answer, **call), side.call(answer.refresh, **call)
    side.call(answer.call(**call).set, "set")
    found = side.call(answer.peek, **call), side.call(answer.key_for, **call)
    side.call(answer.invalidate, **call)

    assert (([*range(5)], [*range(5)]), "set", MISSING) == (computed, found[0], side.call(answer.peek, **call))


@both
def test_verbs_take_what_goes_into_stars(side: Side) -> None:
    """`*args` and `**kwargs` are part of the call, in any order of the keywords."""

    @side.cached()
    def answer(*args: int, **kwargs: int) -> int:
        return len(args) + len(kwargs)

    side.call(answer, 1, 2, a=1, b=2)

    found = side.call(answer.peek, 1, 2, b=2, a=1), side.call(answer.peek, 2, 1, a=1, b=2), side.call(answer.peek, 1, 2)

    assert (4, MISSING, MISSING) == found


@both
@pytest.mark.parametrize("verb", ["peek", "invalidate", "key_for", "refresh"])
def test_verb_with_wrong_arguments_names_the_function(side: Side, verb: str) -> None:
    """A call that the function does not take is its TypeError, on each verb."""

    @side.cached()
    def answer(number: int) -> int:
        return number

    with pytest.raises(TypeError, match=r"answer\(\) missing 1 required positional argument: 'number'"):
        side.call(getattr(answer, verb))


@both
@pytest.mark.parametrize("verb", ["peek", "invalidate", "key_for", "refresh"])
def test_verb_with_an_argument_that_has_no_key_names_it(side: Side, verb: str) -> None:
    """What can't be in a key is an error that names the argument, on each verb."""

    @side.cached()
    def answer(thing: object) -> str:
        return str(thing)

    with pytest.raises(TypeError, match=r"argument|thing"):
        side.call(getattr(answer, verb), object())


@both
@pytest.mark.parametrize("verb", ["set", "refresh"])
def test_storing_verb_whose_value_is_not_to_be_stored_leaves_nothing_old(side: Side, verb: str) -> None:
    """Where `cache_if` declines the new value, the old one is not served for it."""
    values = iter([1, 0])

    @side.cached(cache_if=bool, ignore=("values",))
    def answer() -> int:
        return next(values)

    side.call(answer)

    side.call(answer.call().set, 0) if verb == "set" else side.call(answer.refresh)

    assert MISSING is side.call(answer.peek)
