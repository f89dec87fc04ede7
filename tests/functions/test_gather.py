"""`gather()` and `agather()`: one command for what is stored, and the ordinary rules for all else."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from cachedeco import AUTO, agather, cached_query, cached_query_many, gather
from cachedeco.functions import gathering
from cachedeco.functions.bulk_serving import BulkServing
from cachedeco.loading import lookup, lookup_on_loop
from cachedeco.tracking import nested_names
from tests.conftest import UseCaches
from tests.models import Club
from tests.support.backends import Commands
from tests.support.clocks import Clock
from tests.support.computing import computed, note, nothing_computed  # noqa: F401 -- a fixture
from tests.support.events import heard
from tests.support.faults import faulty
from tests.support.sides import Side, both
from tests.support.threads import PATIENCE_SECONDS


class Shop:
    """Methods of each kind."""

    def __init__(self, number: int) -> None:
        """Be one of several."""
        self.number = number

    def __cache_key__(self) -> int:
        """Return what tells it from others."""
        return self.number

    @cached_query(namespace="shop:{self.number}")
    def price(self, item: str) -> str:
        """Be a method."""
        return str(note(f"{item} in {self.number}"))

    @cached_query
    @classmethod
    def total(cls) -> str:
        """Be a classmethod."""
        return str(note("total"))

    @cached_query_many(over="items")
    @staticmethod
    def stock(items: list[str]) -> dict[str, int]:
        """Be a staticmethod over many ids."""
        return {each: len(note(each)) for each in items}


@cached_query(timeout=60, serializer="json", namespace=["shop:1", "page"])
def page(number: int) -> list[int]:
    """Be a function with other options."""
    return [note(number)]


@cached_query
async def later(number: int) -> int:
    """Be async."""
    return int(note(number))


@cached_query(cache="other", namespace="page")
def elsewhere(number: int) -> int:
    """Be stored in another cache."""
    return int(note(number))


@cached_query(cache="other")
def around(number: int) -> list[int]:
    """Have a call in another cache inside."""
    return [*page(number), note(0)]


@cached_query
def outer(number: int) -> list[int]:
    """Have a call inside."""
    return [*page(number), note(0)]


@cached_query
def raising(number: int) -> None:
    """Raise what tells the number."""
    raise LookupError(note(number))


@pytest.fixture
def two_caches(use_caches: UseCaches, settings: Any) -> None:
    """Have two caches in use; a failure of one is not remembered."""
    use_caches(default="locmem", other="locmem")
    settings.CACHEDECO = {"ALIASES": ["default", "other"], "BREAKER_FAILURES": 0}


def all_of(side: Side, *calls: Any) -> tuple[Any, ...]:
    """Gather on either side."""
    return tuple(side.call(agather if side.is_async else gather, *calls))


def mixed() -> list[Any]:
    """Return calls of many kinds."""
    shop = Shop(1)
    return [
        shop.price.call("ham"),
        Shop.total.call(),
        Shop.stock.call(["a", "bb"]),
        page.call(7),
        shop.price.call(item="egg"),
    ]


EXPECTED = ("ham in 1", "total", {"a": 1, "bb": 2}, [7], "egg in 1")


@both
@pytest.mark.usefixtures("backend")
def test_hits_of_any_calls_are_one_command(side: Side, commands: Commands) -> None:
    """Functions, methods, serializers, namespaces and many ids: one command for all, and the results in order."""
    first = all_of(side, *mixed())
    commands.clear()

    found = all_of(side, *mixed())

    assert (EXPECTED, EXPECTED) == (first, found)
    assert ["get_many"] == commands.names
    assert 6 == len(computed)


def test_entries_are_asked_for_before_tokens(commands: Commands) -> None:
    """Each key is asked for once, and those of all entries before the others."""
    gather(*mixed())
    commands.clear()

    gather(*mixed())

    [command] = commands
    is_entry = [":e:" in key for key in command.keys]
    assert ([True] * 6, False) == (is_entry[:6], any(is_entry[6:]))
    assert len(command.keys) == len({*command.keys})


@both
@pytest.mark.usefixtures("two_caches")
def test_each_cache_is_one_command(side: Side, commands: Commands) -> None:
    """Calls in two caches, that also depend on tokens in the other one, are two commands."""
    calls = [page.call(7), elsewhere.call(8), around.call(7), outer.call(7), elsewhere.call(7)]
    all_of(side, *calls)
    commands.clear()

    found = all_of(side, *calls)

    assert ([7], 8, [7, 0], [7, 0], 7) == found
    assert [("default", "get_many"), ("other", "get_many")] == sorted((each.alias, each.name) for each in commands)


@pytest.mark.usefixtures("two_caches")
def test_names_that_a_process_does_not_know_are_read_together(commands: Commands) -> None:
    """A process that meets entries with calls inside asks once more, for all of them."""
    calls = [outer.call(1), outer.call(2), around.call(3)]
    gather(*calls)
    nested_names.forget()
    commands.clear()

    found = gather(*calls)

    assert ([1, 0], [2, 0], [3, 0]) == found
    # The tokens of around's inner call are in the default cache, as those of outer's.
    assert [("default", "get_many")] * 2 + [("other", "get_many")] == sorted(
        (each.alias, each.name) for each in commands
    )


@both
def test_equal_calls_are_looked_up_once_and_get_copies(side: Side, commands: Commands) -> None:
    """Of equal calls one computes; stored, they are one key in the command, and no copy is another caller's."""
    computed_first = all_of(side, page.call(7), page.call(number=7))
    commands.clear()

    one, other = all_of(side, page.call(7), page.call(number=7))
    one.append("mine")

    assert (([7], [7]), [7], [7]) == (computed_first, other, computed)
    assert 1 == sum(":e:" in key for key in commands[0].keys)


def test_call_that_another_one_has_made_is_not_computed_again() -> None:
    """What a computation of the gather has stored is served to the calls after it."""
    found = gather(outer.call(7), page.call(7), outer.call(7))

    assert (([7, 0], [7], [7, 0]), [7, 0]) == (found, computed)


@both
def test_first_exception_is_raised_when_all_others_are_done(side: Side) -> None:
    """Of several exceptions the first in the order of the calls is raised; what was computed is stored."""
    calls = [page.call(1), raising.call(2), page.call(3), raising.call(4)]

    with pytest.raises(LookupError) as raised:
        all_of(side, *calls)

    assert ((2,), [1, 2, 3, 4]) == (raised.value.args, sorted(computed))
    assert ([1], [3]) == (page.peek(1), page.peek(3))


@pytest.mark.parametrize("name", ["in the end", "at once"])
def test_failure_while_one_call_is_served_leaves_the_others_their_values(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a call that raises for many ids, the call after it gets its own entry and no other's."""
    found: list[object] = []
    gather(Shop.stock.call(["a", "bb"]), page.call(7), page.call(8))
    original = BulkServing._serve_found

    def raising_midway(*args: Any) -> Any:
        if name == "in the end":
            monkeypatch.setattr("cachedeco.functions.bulk_serving.serve_each", lambda *_: 1 / 0)
        else:
            raise ZeroDivisionError
        return original(*args)

    monkeypatch.setattr(BulkServing, "_serve_found", raising_midway)
    monkeypatch.setattr(gathering._Gathered, "results", lambda gathered: found.extend(gathered.values) or ())

    gather(Shop.stock.call(["a", "bb"]), page.call(7), page.call(8))

    assert [None, [7], [8]] == found


@both
def test_nothing_is_gathered_of_nothing(side: Side, commands: Commands) -> None:
    """Without calls there is no command."""
    found = all_of(side)

    assert ((), []) == (found, commands.names)


@both
def test_argument_that_is_no_key_is_refused_before_anything_is_asked(side: Side, commands: Commands) -> None:
    """The error names the function; no other call was looked up or computed."""
    with pytest.raises(TypeError, match=r"page"):
        all_of(side, page.call(1), page.call(object()))

    assert ([], []) == (commands.names, computed)


async def _coroutine() -> None:
    raise AssertionError


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a value": (lambda: 7, r"got an object of int; it takes calls, \w+\(f\.call\(7\), g\.call\(\)\)"),
    "a list": (lambda: [page.call(1)], r"several in a list as \w+\(\*calls\)"),
    "a generator": (lambda: (page.call(each) for each in "ab"), r"got an object of generator"),
    "a function": (lambda: page, r"got <cached_query .*page>; it takes calls of it"),
    "a coroutine": (_coroutine, r"got an object of coroutine"),
}


@both
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_call_is_refused(side: Side, name: str, commands: Commands) -> None:
    """The error says what was given and what to pass, and nothing was asked."""
    make, message = REFUSED[name]

    with pytest.raises(TypeError, match=message):
        all_of(side, page.call(1), make())

    assert [] == commands.names


def test_call_of_an_async_function_is_for_agather() -> None:
    """Sync code can't await it, and the error says what does."""
    with pytest.raises(TypeError, match=r"<call of .*later\(1\)>, of an async function: await agather\(\.\.\.\)"):
        gather(page.call(1), later.call(1))  # type: ignore[call-overload]


def test_sync_and_async_functions_are_gathered_together(commands: Commands) -> None:
    """`agather()` takes both, by one command."""
    calls = [page.call(1), later.call(2), page.call(3)]
    first = async_to_sync(agather)(*calls)
    commands.clear()

    found = async_to_sync(agather)(*calls)

    assert (([1], 2, [3]), ([1], 2, [3]), ["get_many"]) == (first, found, commands.names)


def test_misses_of_async_functions_run_together() -> None:
    """Each is computed in a task of its own: two that wait for each other come to an end."""
    met = {number: asyncio.Event() for number in (1, 2)}

    @cached_query(ignore=("met",))
    async def meet(number: int) -> int:
        met[number].set()
        await asyncio.wait_for(met[3 - number].wait(), PATIENCE_SECONDS)
        return number

    async def run() -> tuple[int, int]:
        return await agather(meet.call(1), meet.call(2))

    assert (1, 2) == asyncio.run(run())


def test_cancelled_gather_cancels_its_computations() -> None:
    """Who is cancelled waits until all that it has begun has cleaned up; the next caller computes at once."""
    begun, cancelled = asyncio.Event(), list[int]()

    @cached_query(ignore=("begun", "cancelled"))
    async def endless(number: int) -> int:
        begun.set()
        try:
            await asyncio.sleep(0 if cancelled else 100)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return number

    async def run() -> tuple[int, int]:
        task = asyncio.ensure_future(agather(endless.call(1), endless.call(2)))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await agather(endless.call(1), endless.call(2))

    found = asyncio.run(run())

    assert ((1, 2), True) == (found, bool(cancelled))


def test_interrupt_of_a_computation_is_raised_when_all_others_are_done() -> None:
    """What is no result of the function, as a cancellation that it raises itself, comes before all exceptions."""

    @cached_query
    async def cancelled(number: int) -> int:
        raise asyncio.CancelledError(number)

    async def run() -> None:
        await agather(raising.call(1), cancelled.call(2), later.call(3))

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())

    assert [1, 3] == sorted(computed, key=str)


@pytest.mark.usefixtures("two_caches")
def test_cache_that_fails_keeps_no_call_of_another_one(use_caches: UseCaches) -> None:
    """Of two caches one fails: what depends on it is computed, all else is served."""
    use_caches(default="locmem", other="faulty")
    calls = [page.call(1), elsewhere.call(2), outer.call(3), around.call(4)]
    gather(*calls)
    computed.clear()

    with faulty("get_many", raises=OSError()), heard("error") as errors:
        found = gather(*calls)

    assert (([1], 2, [3, 0], [4, 0]), [2, 0]) == (found, computed)
    assert {"other"} == {each.cache for each in errors}
    assert "elsewhere" in errors[0].function  # the first of its calls


@pytest.mark.usefixtures("two_caches")
def test_call_whose_inner_call_can_not_be_read_is_computed(use_caches: UseCaches) -> None:
    """A cache that fails has the tokens of an inner call: this outer call is computed, others are served."""
    use_caches(default="faulty", other="locmem")
    calls = [elsewhere.call(2), around.call(4)]
    gather(*calls)
    computed.clear()

    with faulty("get_many", raises=OSError()):
        found = gather(*calls)

    assert ((2, [4, 0]), [4, 0]) == (found, computed)


@pytest.mark.django_db(transaction=True)
def test_functions_that_read_a_table_are_gathered_by_its_token(commands: Commands) -> None:
    """Under AUTO too it is one command, and a saved row ends all that read the table."""
    Club.objects.create(name="judo")

    @cached_query(depends_on=[AUTO])
    def names() -> list[str]:
        return note(list(Club.objects.values_list("name", flat=True)))  # type: ignore[no-any-return]

    @cached_query(depends_on=[AUTO])
    def number() -> int:
        return int(note(Club.objects.count()))

    gather(names.call(), number.call())
    commands.clear()

    before, asked = gather(names.call(), number.call()), commands.names
    Club.objects.create(name="karate")

    assert ((["judo"], 1), ["get_many"]) == (before, asked)
    assert (["judo", "karate"], 2) == gather(names.call(), number.call())


@both
def test_hit_that_ends_while_it_is_served_is_one(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was fresh when it was looked up is served, of one call and of many ids; nothing is computed again."""
    clock = Clock()
    clock.install(monkeypatch)
    calls = [page.call(7), Shop.stock.call(["a"])]
    all_of(side, *calls)
    computed.clear()

    def look_up_late(wanted: Any) -> Any:
        found = lookup.recall_or_look_up(wanted)
        clock.now += 10_000
        return found

    async def look_up_late_on_loop(wanted: Any) -> Any:
        found = await lookup_on_loop.recall_or_look_up_on_loop(wanted)
        clock.now += 10_000
        return found

    monkeypatch.setattr(gathering, "recall_or_look_up", look_up_late)
    monkeypatch.setattr(gathering, "recall_or_look_up_on_loop", look_up_late_on_loop)

    found = all_of(side, *calls)

    assert (([7], {"a": 1}), []) == (found, computed)
    assert (([7], {"a": 1}), [7, "a"]) == (all_of(side, *calls), computed)


def test_gather_in_a_computation_is_a_dependency() -> None:
    """An outer entry depends on all that its function gathers, many ids too."""

    @cached_query
    def board() -> list[Any]:
        return [*gather(page.call(1), Shop.stock.call(["a"])), note("board")]

    board(), board()
    Shop.stock.invalidate(["a"])
    board(), board()
    page.invalidate(1)
    board()

    assert 3 == computed.count("board")
