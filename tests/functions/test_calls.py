"""A call as an object: the verbs without arguments, and how calls are compared, shown and sent."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction

from cachedeco import MISSING, AsyncCall, AsyncCallMany, Call, CallMany, cached_query, cached_query_many
from tests.support.backends import Commands
from tests.support.forgetting import is_forgotten
from tests.support.sides import Side, both


@cached_query
def described(number: int, page: int = 1) -> str:
    """Tell what was asked for."""
    return f"{number} {page}"


@cached_query
async def adescribed(number: int) -> str:
    """Tell what was asked for."""
    return f"{number}"


@cached_query_many(over="ids")
def rows(ids: Any, lang: str = "en") -> dict[int, str]:
    """Be over many ids."""
    return {each: f"{lang} {each}" for each in ids if each != 404}


@cached_query_many(over="ids")
async def arows(ids: Any) -> dict[int, str]:
    """Be async, and over many ids."""
    return {each: f"row {each}" for each in ids}


def sent(call: Any) -> Any:
    """Return what another process would get."""
    return pickle.loads(pickle.dumps(call))  # noqa: S301 -- ours


class Team:
    """A class with methods."""

    def __init__(self, pk: int) -> None:
        """Be told apart by a number."""
        self.pk = pk

    def __cache_key__(self) -> int:
        """Return the number."""
        return self.pk

    def __repr__(self) -> str:
        """Show the number."""
        return f"Team({self.pk})"

    @cached_query
    def title(self, lang: str = "en") -> str:
        """Depend on the instance."""
        return f"{lang} {self.pk}"

    @cached_query
    @classmethod
    def kind(cls, lang: str = "en") -> str:
        """Depend on the class."""
        return f"{lang} {cls.__name__}"


@both
def test_call_does_what_the_function_does(side: Side) -> None:
    """Each verb of a call reaches what the function's verb with these arguments reaches."""
    function = side.cached(name="tests.calls.does")(lambda number: number)
    call = function.call(4)

    computed = side.call(call), side.call(function.peek, 4), side.call(call.peek)
    keys = side.call(call.key), side.call(function.key_for, number=4)
    side.call(call.set, 5)
    replaced = side.call(call), side.call(function, 4)
    refreshed = side.call(call.refresh), side.call(function.peek, 4)
    side.call(call.invalidate)

    assert ((4, 4, 4), (5, 5), (4, 4)) == (computed, replaced, refreshed)
    assert keys[0] == keys[1]
    assert MISSING is side.call(call.peek)


@both
def test_call_over_many_ids_does_what_the_function_does(side: Side) -> None:
    """The same, with ids: those without a value are absent."""
    function = side.many(over="ids", name="tests.calls.many")(lambda ids: dict.fromkeys(ids, "row"))
    call = function.call([1, 2])

    computed = side.call(call), side.call(function.peek, [1, 2]), side.call(call.peek)
    keys = side.call(call.keys), side.call(function.keys_for, [1, 2])
    side.call(call.set, {1: "set"})
    replaced = side.call(call), side.call(function, (1, 2))
    refreshed = side.call(call.refresh), side.call(function.peek, [1, 2])
    side.call(call.invalidate)

    every = {1: "row", 2: "row"}
    assert ((every,) * 3, ({1: "set"},) * 2, (every,) * 2) == (computed, replaced, refreshed)
    assert keys[0] == keys[1]
    assert {} == side.call(call.peek)


def test_call_reads_its_ids_once() -> None:
    """A collection that can be read only once serves every verb of the call."""
    call = rows.call(iter([1, 404, 1]), lang="de")

    assert ({1: "de 1"}, {1: "de 1"}, [1, 404]) == (call(), call.peek(), list(call.keys()))


def test_uncached_call_is_the_plain_function(commands: Commands) -> None:
    """It computes at each call, and the cache is not asked."""
    found = described.call(4).uncached(), rows.call([1, 404]).uncached(), Team(7).title.call("de").uncached()
    awaited = async_to_sync(adescribed.call(4).uncached)(), async_to_sync(arows.call([1]).uncached)()

    assert (("4 1", {1: "en 1"}, "de 7"), ("4", {1: "row 1"}), []) == (found, awaited, commands)


def test_call_of_a_method_is_bound() -> None:
    """It knows the instance, or the class."""
    Team(7).title.call().set("seven")
    Team.kind.call("de").set("team")

    assert ("seven", "seven") == (Team(7).title(), Team.title.call(Team(7)).peek())
    assert ("team", "en Team") == (Team(8).kind.call("de")(), Team.kind.call()())


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (described.call(4), described.call(number=4, page=1), True),
        (described.call(4), described.call(5), False),
        (described.call(1), described.call(True), False),  # noqa: FBT003 -- another key
        (described.call(4), adescribed.call(4), False),
        (Team(7).title.call(), Team.title.call(Team(7), lang="en"), True),
        (Team(7).title.call(), Team(8).title.call(), False),
        (rows.call([1, 2]), rows.call((1, 2, 1)), True),
        (rows.call([1, 2]), rows.call([2, 1]), False),
        (rows.call([1]), arows.call([1]), False),
        (described.call(4), 4, False),
    ],
    ids=repr,
)
def test_calls_are_equal_where_one_invalidation_reaches_both(one: Any, other: Any, *, equal: bool) -> None:
    """The form of the arguments does not matter, and what the key tells apart does; equal calls have one hash."""
    assert equal == (one == other)
    assert (1 if equal else 2) == len({one, other})


def test_call_that_has_no_key_can_be_made_and_shown() -> None:
    """Only what needs the key raises, and names the argument."""
    call = described.call(object())  # type: ignore[arg-type]

    assert repr(call).startswith(f"<call of {__name__}.described(<object object>)")
    with pytest.raises(TypeError, match=r"number of .*described\(\)"):
        hash(call)


def test_call_shows_its_arguments_cut_to_200_characters() -> None:
    """A call in a log names the function, and is no page long."""
    assert f"<call of {__name__}.described(4, page=2)>" == repr(described.call(4, page=2))
    assert f"<call of {__name__}.Team.title(<{__name__}.Team object>, 'de')>" == repr(Team(7).title.call("de"))
    assert f"<call of {__name__}.rows([1, 1, 1, 1, 1, 1, ...])>" == repr(rows.call([1] * 1000))


@pytest.mark.parametrize(
    "call", [described.call(4), adescribed.call(4), rows.call([4]), arows.call([4]), Team(7).title.call()], ids=repr
)
@pytest.mark.parametrize("again", [copy.copy, sent], ids=["copy", "pickle"])
def test_call_can_be_copied_and_sent(call: Any, again: Any) -> None:
    """It comes back as the same call."""
    assert (type(call), call) == (type(again(call)), again(call))


def test_async_call_looks_like_an_async_function() -> None:
    """So that it is awaited by a caller that looks before it calls."""
    assert [False, True, False, True] == [
        iscoroutinefunction(each) for each in (described.call(4), adescribed.call(4), rows.call([1]), arows.call([1]))
    ]


@pytest.mark.parametrize("call", [adescribed.call(4), arows.call([1])], ids=repr)
def test_sync_refresh_of_an_async_call_names_its_twin(call: Any) -> None:
    """It can't await the function: the error says what can."""
    with pytest.raises(TypeError, match=r"is async, .* use arefresh\(\)"):
        call.refresh()


def test_classes_are_public() -> None:
    """Annotations can name them."""
    calls = described.call(4), adescribed.call(4), rows.call([1]), arows.call([1])

    assert (Call, AsyncCall, CallMany, AsyncCallMany) == tuple(map(type, calls))


@pytest.mark.parametrize(
    "store",
    [lambda: described.call(1).set(iter(())), lambda: rows.call([1]).set({1: iter(())})],
    ids=["one", "many"],  # type: ignore[arg-type] # refused
)
def test_refusal_of_a_given_value_and_frames_do_not_keep_each_other_alive(store: Callable[[], None]) -> None:
    """The value goes with the error."""
    assert is_forgotten(store, TypeError)
