"""What a process remembers of calls inside calls: one command for a hit, and bounded memory."""

import threading
from contextvars import copy_context
from typing import Any

import pytest
from django.db import transaction

from cachedeco import MISSING, Namespace, cached_query
from cachedeco.tracking import collector, nested_names
from cachedeco.tracking.collector import Use, collect_dependencies, record_dependency
from cachedeco.tracking.nested_names import (
    forget,
    known_names,
    names_by_function,
    names_by_key,
    names_to_ask,
    remember,
)
from tests.conftest import UseCaches
from tests.loading.single_flight.callers import heard, reasons
from tests.support.backends import Commands
from tests.support.sides import SYNC, Side, both
from tests.tracking.floors import Floors, around


def sent(commands: Commands, side: Side, function: Any) -> list[str]:
    """Return the names of the commands of one call."""
    commands.clear()
    side.call(function)
    return commands.names


# --- commands ---


@both
def test_hit_is_one_command_where_the_names_are_known(side: Side, commands: Commands) -> None:
    """A process that has computed an entry, or met it before, asks for all in one."""
    floors = Floors(side)
    floors.call()

    assert ["get_many"] == sent(commands, side, floors.top)
    nested_names.forget()
    assert ["get_many"] * 2 == sent(commands, side, floors.top)
    assert ["get_many"] == sent(commands, side, floors.top)


@pytest.fixture
def numbered() -> tuple[Any, Floors]:
    """Give a cached function of a number, which calls another one, but not for zero."""
    floors = Floors(SYNC)

    @cached_query(ignore=("floors",))
    def page(number: int) -> str:
        return f"{number} {floors.bottom() if number else 'none'}"

    return page, floors


@pytest.mark.parametrize("number", [0, 2])
def test_first_hit_is_one_command_where_the_names_of_the_function_are_known(
    numbered: tuple[Any, Floors], commands: Commands, number: int
) -> None:
    """What one entry of a function names is asked for with the next one, which may name less, and depends on less."""
    page, floors = numbered
    page(1)
    page(number)
    forget()
    assert "1 old" == page(1)
    commands.clear()

    expected = page(number)

    assert ["get_many"] == commands.names
    floors.bottom.invalidate()
    assert expected == page.peek(number) if number == 0 else MISSING is page.peek(number)


def test_absent_entry_depends_on_no_names_of_its_function(numbered: tuple[Any, Floors], commands: Commands) -> None:
    """What is known of other entries costs a miss no second read, and its new entry depends on what it calls itself."""
    page, floors = numbered
    page(1)
    commands.clear()

    page(0)

    assert 1 == commands.names.count("get_many")
    floors.bottom.invalidate()
    assert "0 none" == page.peek(0)


@pytest.mark.django_db(transaction=True)
def test_hit_in_a_transaction_that_waits_is_one_command(numbered: tuple[Any, Floors], commands: Commands) -> None:
    """An invalidation that waits for the commit makes no other hit of its own thread dearer."""
    page, floors = numbered
    page(1)

    with transaction.atomic():
        Namespace("other").invalidate()
        commands.clear()
        assert "1 old" == page(1)
        assert ["get_many"] == commands.names
        floors.bottom.invalidate()
        floors.change()
        assert "1 new" == page(1)


def test_hit_is_one_command_for_each_cache(use_caches: UseCaches, settings: Any, commands: Commands) -> None:
    """Where the tokens lie in two caches, both are asked: one of them twice by who meets the entry first."""
    use_caches(default="locmem", other="locmem")
    settings.CACHEDECO = {"ALIASES": ["default", "other"]}
    floors = Floors(SYNC, bottom={"cache": "other"})
    floors.call()

    assert ["get_many"] * 2 == sent(commands, SYNC, floors.top)
    assert ["default", "other"] == [command.alias for command in commands]
    nested_names.forget()
    assert ["get_many"] * 3 == sent(commands, SYNC, floors.top)
    assert ["get_many"] * 2 == sent(commands, SYNC, floors.top)


def test_miss_asks_once_where_nothing_is_there(commands: Commands) -> None:
    """Names are only asked for where an entry has some, and its own stamp lives."""
    floors = Floors(SYNC)
    floors.call()
    floors.top.invalidate()
    nested_names.forget()

    commands.clear()
    assert MISSING is floors.top.peek()

    assert ["get_many"] == commands.names


def test_call_without_calls_inside_is_not_remembered() -> None:
    """The memory is for those who need it."""
    floors = Floors(SYNC)
    floors.call("bottom")
    floors.call("bottom")

    assert {} == names_by_function


# --- other names than before ---


@pytest.fixture
def choosing() -> tuple[Any, dict[str, Any], Floors, Floors]:
    """Give a cached function that calls what it is told to."""
    first, second = Floors(SYNC), Floors(SYNC, bottom={"name": "second_bottom"})
    chosen: dict[str, Any] = {"inner": first.bottom}

    @cached_query(ignore=("chosen",))
    def outer() -> str:
        return str(chosen["inner"]())

    return outer, chosen, first, second


Choosing = tuple[Any, dict[str, Any], Floors, Floors]


def computed_elsewhere(outer: Any) -> None:
    """Have another process refresh: this one remembers what it remembered before."""
    before = names_by_key.copy(), names_by_function.copy()
    outer.refresh()
    forget()
    names_by_key.update(before[0])
    names_by_function.update(before[1])


def test_names_change_between_computations(choosing: Choosing, commands: Commands) -> None:
    """An entry that calls others than the one before it is found by a process that remembers the old ones."""
    outer, chosen, first, second = choosing
    outer()
    chosen["inner"] = second.bottom
    computed_elsewhere(outer)

    with heard() as told:
        assert ["get_many"] * 2 == sent(commands, SYNC, outer)
        assert ["get_many"] == sent(commands, SYNC, outer)
    assert ["hit"] * 2 == [event.kind for event in told]
    first.bottom.invalidate()
    assert "old" == outer.peek()
    second.bottom.invalidate()
    assert MISSING is outer.peek()


def test_names_go_between_computations(choosing: Choosing, commands: Commands) -> None:
    """An entry that calls no other any more is found by a process that remembers what it called."""
    outer, chosen, first, _ = choosing
    outer()
    chosen["inner"] = lambda: "plain"
    computed_elsewhere(outer)

    with heard() as told:
        outer()
        assert ["get_many"] == sent(commands, SYNC, outer)
    assert ["hit"] * 2 == [event.kind for event in told]
    first.bottom.invalidate()
    assert "plain" == outer.peek()
    assert [()] == list(names_by_key.values())


def test_names_come_between_computations(choosing: Choosing) -> None:
    """An entry that calls another function now is found, and dies with what it calls."""
    outer, chosen, first, _ = choosing
    chosen["inner"] = lambda: "plain"
    outer()
    chosen["inner"] = first.bottom
    computed_elsewhere(outer)

    assert "old" == outer.peek()
    first.bottom.invalidate()

    assert MISSING is outer.peek()


def test_call_that_is_made_twice_counts_as_it_was_first() -> None:
    """What is invalidated between two calls inside makes an entry that is dead at birth."""
    floors = Floors(SYNC)

    @cached_query(ignore=("floors",))
    def twice() -> list[str]:
        first = floors.bottom()
        floors.change()
        floors.bottom.invalidate()
        return [first, floors.bottom()]

    assert ["old", "new"] == twice()

    assert MISSING is twice.peek()


# --- bounds ---


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was remembered first is forgotten first; what is forgotten costs one command."""
    monkeypatch.setattr(nested_names, "MOST_ENTRIES", 3)
    remember("function", "all", ["name", "other name", "third"])
    for key in "abcd":
        remember("function", key, ["name"])
    remember("function", "b", ["other name"])
    remember("function", "e", ["name"])

    assert {"b": ("other name",), "d": ("name",), "e": ("name",)} == names_by_key


def test_names_of_a_function_are_the_union_of_those_of_its_entries() -> None:
    """An entry is remembered by itself where it names others than its function: fewer, or in another order."""
    remember("function", "a", ["first"])
    remember("function", "b", ["second", "first"])
    remember("function", "c", ["first", "second"])
    remember("other", "d", ())

    assert ("first", "second") == known_names("function")
    assert () == known_names("other")
    assert {"b": ("second", "first")} == names_by_key
    assert [("first", "second"), ("second", "first")] == [names_to_ask("function", key) for key in "ab"]


def test_function_whose_entries_name_too_many_is_known_by_what_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are another for each call are not asked for on behalf of all calls; those of every call are."""
    monkeypatch.setattr(nested_names, "MOST_NAMES", 3)
    entries = {str(number): ("shared", f"own {number}") for number in range(5)}

    for key, names in entries.items():
        remember("function", key, names)

    assert ("shared",) == known_names("function")
    assert entries | {"0": ("shared",)} == {key: names_to_ask("function", key) for key in entries}


def test_what_is_remembered_already_needs_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hit that tells nothing new takes no lock."""
    remember("function", "key", ["name"])
    held = threading.Lock()
    monkeypatch.setattr(nested_names, "_lock", held)
    with held:
        remember("function", "key", ["name"])
        remember("other function", "other key", [])

    assert ("name",) == known_names("function")


@both
@pytest.mark.parametrize(("fewer", "problems"), [(0, 0), (1, 2)], ids=["as many", "one more"])
def test_entry_depends_on_so_many_at_most(
    monkeypatch: pytest.MonkeyPatch, side: Side, fewer: int, problems: int
) -> None:
    """A value that depends on more than one command may ask for is not stored, nor what is made of it."""
    floors = Floors(side)
    outer = around(side, "outer", floors.bottom)
    outermost = around(side, "outermost", outer, wait=0)
    side.call(outer)
    [(names, _)] = names_by_function.values()
    side.call(outer.invalidate)
    own = len(names)

    # The outermost depends on two more: the tokens of the outer one.
    monkeypatch.setattr(collector, "MOST_NESTED_TOKENS", own + 2 * (fewer == 0) - fewer)
    with heard() as told:
        assert "old" == side.call(outermost)

    assert problems == len(reasons(told, "unstored") + reasons(told, "error"))
    assert [problems > 0] * 2 == [side.call(each.peek) is MISSING for each in (outer, outermost)]


def test_more_calls_inside_than_a_stamp_can_count() -> None:
    """A value of very many calls is returned, stored or not."""
    names = [f"name {number}" for number in range(2**16)]

    @cached_query(ignore=("names",))
    def outer() -> str:
        record_dependency("other", ["key", *names], dict.fromkeys(names, b"t" * 16), Use())
        return "value"

    with heard() as told:
        assert "value" == outer()

    expected = "The calls inside it depend on more than 2000 tokens, so it is not stored; nested=False ignores them"
    assert [expected] == reasons(told, "error")


# --- contexts ---


def test_computation_that_is_closed_elsewhere_disturbs_no_other() -> None:
    """A coroutine that is not awaited is closed by the garbage collector, maybe in the middle of a computation."""
    forgotten = collect_dependencies("default", collects=True, leads=False)
    copy_context().run(forgotten.__enter__)

    with collect_dependencies("default", collects=True, leads=False) as current:
        forgotten.__exit__(None, None, None)
        record_dependency("default", ["key", "token"], {"token": b"t"}, Use())

    assert {"token": b"t"} == current.dependencies().tokens


def test_computation_that_is_over_collects_nothing() -> None:
    """What was begun inside and goes on longer is inside no more: it may wait, and notes nothing."""
    with collect_dependencies("default", collects=True, leads=True) as computation:
        assert collector.is_leading()
        later = copy_context()

    later.run(record_dependency, "default", ["key", "token"], {"token": b"t"}, Use())
    later.run(collector.mark_uncacheable)

    assert (collector.Dependencies(), False) == (computation.dependencies(), later.run(collector.is_leading))
