"""Keys of calls: every form of one call has one key, and every other call another."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from cachedeco import CachedQuery, cached_query
from tests.support.stored import bare_each

Call = tuple[tuple[object, ...], dict[str, Any]]


def call(*args: object, **kwargs: object) -> Call:
    """Write down a call."""
    return args, kwargs


@cached_query
def plain(club: object, page: object = 1, *, deep: object = False) -> object:
    """Take an argument of each common kind."""
    return club, page, deep


@cached_query
def everything(
    a: object, /, b: object, c: object = 3, *rest: object, d: object, e: object = 5, **more: object
) -> object:
    """Take an argument of each kind that there is."""
    return a, b, c, rest, d, e, more


@cached_query
def nothing() -> None:
    """Take no argument."""


@cached_query
def anything(*args: object, **kwargs: object) -> object:
    """Take all that there is."""
    return args, kwargs


@pytest.mark.parametrize(
    ("function", "forms"),
    [
        (plain, [call(7), call(club=7), call(7, 1), call(7, page=1), call(page=1, club=7), call(7, deep=False)]),
        (plain, [call(7, 2, deep=True), call(deep=True, page=2, club=7)]),
        (everything, [call(1, 2, d=4), call(1, b=2, d=4), call(1, 2, 3, d=4, e=5), call(1, d=4, c=3, b=2)]),
        (everything, [call(1, 2, d=4, x=1, y=2), call(1, y=2, x=1, d=4, b=2)]),
        (anything, [call(x=1, y=2), call(y=2, x=1)]),
    ],
)
def test_forms_of_one_call_have_one_key(function: CachedQuery[..., Any], forms: list[Call]) -> None:
    """By position, by name, in any order, with a default given or left out: one call."""
    keys = {function.key_for(*args, **kwargs) for args, kwargs in forms}

    assert 1 == len(keys)


@pytest.mark.parametrize(
    ("function", "calls"),
    [
        (plain, [call(7), call(8), call("7"), call(7, 2), call(7, deep=True), call(7, None), call(None), call(1, 7)]),
        (everything, [call(1, 2, d=4), call(2, 1, d=4), call(1, 2, 3, 4, d=4), call(1, 2, 3, (4,), d=4)]),
        (everything, [call(1, 2, d=4, a=1), call(1, 2, d=4, a=2), call(1, 2, d=4), call(1, 2, d=4, f=1)]),
        (anything, [call(), call(None), call(()), call({}), call(x=1), call({"x": 1}), call(("x", 1)), call("x", 1)]),
        (
            anything,
            [call(1, 2), call((1, 2)), call([1, 2]), call(1, x=2), call(1, y=2), call(y=1, x=2), call(x=1, y=2)],
        ),
    ],
)
def test_different_calls_have_different_keys(function: CachedQuery[..., Any], calls: list[Call]) -> None:
    """No argument can be taken for another one, nor for one in another place."""
    keys = {function.key_for(*args, **kwargs) for args, kwargs in calls}

    assert len(calls) == len(keys)


def test_key_can_be_read() -> None:
    """A short key says what call it is of."""
    keys = nothing.key_for(), plain.key_for(7, "a", deep=None)

    assert (
        "cd:e:tests.keys.test_keys.nothing(|)",
        "cd:e:tests.keys.test_keys.plain(club=7,page=1'a,deep=None|)",
    ) == tuple(bare_each(keys))


def test_names_of_functions_tell_them_apart() -> None:
    """Two functions that take the same arguments have no key in common."""

    @cached_query
    def other(club: object, page: object = 1, *, deep: object = False) -> object:
        return club, page, deep

    keys = {plain.key_for(7), other.key_for(7)}

    assert 2 == len(keys)


def test_name_and_arguments_cannot_be_cut_elsewhere() -> None:
    """What ends one name and begins the arguments can't be moved: (p, 12) is not (p1, 2)."""

    @cached_query(name="keys.p", key="{number}")
    def first(number: int) -> int:
        return number

    @cached_query(name="keys.p1", key="{number}")
    def second(number: int) -> int:
        return number

    keys = {first.key_for(12), first.key_for(2), second.key_for(2), second.key_for(12)}

    assert 4 == len(keys)


def test_default_that_is_changed_in_place_changes_the_key() -> None:
    """A list as a default counts as it is now, since the function sees it so."""
    default: list[int] = []

    @cached_query
    def rows(club: int, tags: list[int] = default) -> object:
        return club, tags

    before = rows.key_for(7)
    default.append(1)
    after = rows.key_for(7)

    assert before != after
    assert rows.key_for(7, [1]) == after


@pytest.mark.parametrize("form", [call(), call(1, 2, 3, 4), call(7, club=7), call(7, color=1)], ids=repr)
def test_call_that_python_refuses_fails_as_without_a_cache(form: Call) -> None:
    """A call with the wrong arguments raises what the plain function raises."""
    args, kwargs = form
    with pytest.raises(TypeError) as expected:
        plain.uncached(*args, **kwargs)

    with pytest.raises(TypeError) as raised:
        plain(*args, **kwargs)

    assert str(expected.value) == str(raised.value)


@pytest.mark.parametrize("verb", ["invalidate", "refresh", "peek", "key_for", "uncached"])
def test_verbs_refuse_wrong_arguments(verb: str) -> None:
    """A verb takes what the function takes, and raises where that would."""
    with pytest.raises(TypeError, match="club"):
        getattr(plain, verb)()


def test_partial_is_keyed_by_what_it_supplies() -> None:
    """Of a partial, what it supplies is part of the key as any argument."""
    partial = cached_query(functools.partial(plain.uncached, 7))

    keys = [partial.key_for(2), partial.key_for(page=2, deep=False)]

    assert [plain.key_for(7, 2)] * 2 == keys


def test_callable_key_is_all_that_counts() -> None:
    """A callable key takes parameters by name, and what it gives is the key."""

    @cached_query(key=lambda club, page: (club % 10, page))
    def rows(club: int, page: int = 1) -> object:
        return club, page

    keys = [rows.key_for(7), rows.key_for(17, page=1), rows.key_for(8)]

    assert keys[0] == keys[1]
    assert keys[0] != keys[2]


def _positional(club: int, page: int, /) -> object:
    return club, page


def _rest(club: int, **rest: object) -> object:
    return club, rest


def _variadic(*_: object, club: int, page: int) -> object:
    return club, page


@pytest.mark.parametrize("key", [_positional, _rest, _variadic, lambda page, club: (club, page)])
def test_callable_key_may_take_parameters_in_any_way(key: Callable[..., object]) -> None:
    """By position only, by name, or all the others: a callable key gets what it asks for."""

    @cached_query(key=key, ignore=("club", "page"))
    def rows(club: int, page: int = 1) -> object:
        return club, page

    keys = {rows.key_for(1, 2), rows.key_for(2, 1), rows.key_for(1, 1)}

    assert 3 == len(keys)


def test_ignored_parameter_changes_no_key() -> None:
    """A parameter that `ignore` names may be anything, also what no key can hold."""

    @cached_query(ignore=("request",))
    def rows(request: object, club: int) -> object:
        return request, club

    keys = {rows.key_for(object(), 7), rows.key_for(None, 7), rows.key_for(len, club=7)}

    assert {"cd:e:tests.keys.test_keys.test_ignored_parameter_changes_no_key.<locals>.rows(club=7|)"} == set(
        bare_each(keys)
    )


def test_everything_ignored_leaves_one_entry() -> None:
    """A function whose parameters are all ignored has one entry."""

    @cached_query(ignore=("a", "b"))
    def rows(a: object, b: object) -> object:
        return a, b

    keys = {rows.key_for(1, 2), rows.key_for(3, 4)}

    assert 1 == len(keys)


@pytest.mark.parametrize(
    ("option", "label"), [("vary", "what vary= gave of"), ("key", "what key= gave of")], ids=["vary", "key"]
)
def test_callable_that_gives_what_no_key_can_hold_is_refused(option: str, label: str) -> None:
    """The error says which option's callable gave it."""
    options: dict[str, Any] = {option: lambda club: [object(), club]}

    @cached_query(**options)
    def rows(club: int) -> int:
        return club

    with pytest.raises(TypeError, match=label):
        rows(7)


@pytest.mark.parametrize("verb", ["__call__", "invalidate", "refresh", "peek", "key_for"])
def test_argument_that_no_key_can_hold_is_named_by_every_verb(verb: str) -> None:
    """For each kind of function, the error names the argument and the function."""
    with pytest.raises(
        TypeError, match=r"\(page of tests\.keys\.test_keys\.plain\(\)\) in a cache key; it is another one"
    ):
        getattr(plain, verb)(7, page=object())
