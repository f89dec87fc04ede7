"""Decorated inside another function, at each of its calls: nothing leaks, nothing is compiled again."""

import functools
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings

from cachedeco import Namespace, cached_query
from cachedeco.functions import naming
from cachedeco.functions.spec import all_specs
from cachedeco.keys import compiler, encoders
from cachedeco.runtime.statistics import stats_of
from tests.support.threads import PROGRAM_SECONDS


def decorated(page: int, default: object = None) -> Any:
    """Decorate over a page number, as people do in a view."""

    @cached_query(
        timeout=PROGRAM_SECONDS,
        vary=lambda: page,
        namespace=["club:{club}", Namespace("page"), lambda club: Namespace("dynamic", club)],
        version=2,
    )
    def rows(club: int, *, default: object = default) -> object:
        return club, page, default

    return rows


def by_key(page: int) -> Any:
    """Decorate with a callable key."""

    @cached_query(key=lambda club: (club, page))
    def rows(club: int) -> object:
        return club, page

    return rows


def by_template(page: int) -> Any:
    """Decorate with a template."""

    @cached_query(key="{club}:{page}")
    def rows(club: int, page: int = page) -> object:
        return club, page

    return rows


class Page:
    """A page that can be in keys and in entries."""

    def __cache_key__(self) -> int:
        """Return what every page has."""
        return 1


MAKERS = [decorated, by_key, by_template]


def compiled() -> int:
    """Return how often a source has been compiled."""
    return compiler._compile_source.cache_info().misses


@pytest.fixture
def _collected() -> None:
    """Collect what earlier tests have left."""
    gc.collect()


@pytest.mark.parametrize("make", MAKERS)
def test_decorated_again_is_compiled_once(make: Callable[[int], Any]) -> None:
    """Only the first of many calls of the function around has anything compiled."""
    make(0)(7)
    before = compiled()

    values = [make(page)(7)[:2] for page in range(50)]

    assert 0 == compiled() - before
    assert [(7, page) for page in range(50)] == values


def test_decorated_again_with_other_defaults_uses_them() -> None:
    """What was compiled once serves each decoration's own defaults, unhashable ones too."""
    defaults: list[object] = [1, "1", None, [], [1], {"a": 1}]
    decorated(1)(7)
    before = compiled()

    values = [decorated(1, default)(7) for default in [*defaults, *defaults]]

    assert 0 == compiled() - before
    assert [(7, 1, default) for default in [*defaults, *defaults]] == values


def test_settings_changed_compile_nothing_again(settings: Settings) -> None:
    """A change of settings that keys don't depend on has nothing compiled, nor keeps anything."""
    settings.CACHEDECO = {"VARY": [lambda: "de"], "TIMEOUT": 60}
    cached = decorated(1)
    first = cached.key_for(7)
    before, held = compiled(), len(cached._spec._plan.keyed.values)

    found = []
    for seconds in range(1, 20):
        settings.CACHEDECO = {"VARY": [lambda: "de"], "TIMEOUT": seconds}
        found.append(cached.key_for(7))

    assert (0, 0) == (compiled() - before, len(cached._spec._plan.keyed.values) - held)
    assert [first] * 19 == found


@pytest.mark.usefixtures("_collected")
@pytest.mark.parametrize("make", MAKERS)
def test_decorated_again_leaves_nothing(make: Callable[[int], Any]) -> None:
    """A decorated function that is not held any more is gone, with all that it held."""

    def watched() -> list[weakref.ref[Any]]:
        page: Any = Page()
        cached = make(page)
        cached(7)
        cached.invalidate(7)
        cached.invalidate_all()
        return [weakref.ref(each) for each in (cached, cached._spec, cached.uncached, page)]

    references = watched()
    gc.collect()

    assert [None] * 4 == [reference() for reference in references]


@pytest.mark.usefixtures("_collected")
def test_decorated_again_is_not_kept_in_the_registry() -> None:
    """The registry lists the functions that are alive, and no other."""
    name = f"{__name__}.decorated.<locals>.rows"

    before = [each.name for each in all_specs()].count(name)
    alive = [decorated(page) for page in range(3)]
    during = [each.name for each in all_specs()].count(name)
    alive.pop()
    gc.collect()
    after = [each.name for each in all_specs()].count(name)

    assert (3, 2) == (during - before, after - before)


def test_decorated_again_keeps_one_place_for_its_name() -> None:
    """Of a name, only the place where it was first used is kept."""
    decorated(0)
    before = len(naming._places)

    for page in range(20):
        decorated(page)

    assert before == len(naming._places)


def reported(name: str, value: int = 0) -> Any:
    """Decorate under a name, and call once."""

    @cached_query(name=name, ignore=("value",))
    def report() -> int:
        return value

    report()
    return report


def test_counts_are_those_of_all_functions_of_a_name_one_after_the_other() -> None:
    """A function that is decorated at each request counts on, though the one before is gone."""
    for _ in range(3):
        found = reported("tests.redecoration.counted").stats()
        gc.collect()

    assert (3, 1) == (found.hits + found.misses, found.computations)


def test_names_of_functions_that_are_gone_are_forgotten_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    So many are kept, with their places and counts; those of living functions always are.

    The defect: 3,000 functions that are gone left 3,000 names and counts.
    """
    monkeypatch.setattr(naming, "MOST_UNUSED", 2)
    names = [f"tests.redecoration.forgotten.{number}" for number in range(5)]
    living = [reported("tests.redecoration.living") for _ in range(2)]

    for name in names:
        reported(name)
        gc.collect()
    living.pop()
    gc.collect()
    reported("tests.redecoration.last")

    kept = [name for name in names if name in naming._places]
    assert names[3:] == kept
    assert [0, 0, 0, 1, 1] == [stats_of(name).computations for name in names]
    assert 1 == living[0].stats().computations


def test_counts_stay_while_another_wrapper_of_the_name_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two functions may have one name in statistics, and two in keys."""
    monkeypatch.setattr(naming, "MOST_UNUSED", 0)

    def plain() -> int:
        return 1

    def wrapper() -> int:
        return 2

    name = "tests.redecoration.wrapped"
    living = cached_query(name=name)(plain)
    living()
    cached_query(name=name)(functools.wraps(plain)(wrapper))()
    gc.collect()
    reported("tests.redecoration.next")

    assert [name] == [each for each in naming._places if each.startswith(name)]
    assert 2 == living.stats().computations


def test_caches_of_the_process_are_bounded() -> None:
    """What is kept by source or by class is kept up to a number: sources and classes can be made without end."""
    assert compiler._compile_source.cache_info().maxsize == 1024
    assert encoders._encoder_for.cache_info().maxsize == 1024


def test_registry_is_sorted_by_name() -> None:
    """The registry has one order in every process."""
    kept = [decorated(1), by_key(1), by_template(1)]

    names = [each.name for each in all_specs()]

    assert names == sorted(names)
    assert len(kept) <= len(names)
