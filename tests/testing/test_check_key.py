"""check_key finds two calls that share a key and should not, tells the simplest, and passes what is right."""

from collections.abc import Callable
from functools import partial
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from cachedeco import cached_query, cached_query_many
from cachedeco.testing import call, check_key, check_transparent
from tests.models import Club, ClubClass
from tests.support.frames import files_in
from tests.support.programs import output_of
from tests.support.sides import Side, both
from tests.testing.checks import numbers, quickly


class Opaque:
    """A value that has no == of its own."""

    def __init__(self, number: int) -> None:
        """Keep the number."""
        self.number = number


@both
def test_key_of_all_parameters_passes(side: Side) -> None:
    """A key that tells every argument shares nothing."""

    @side.cached()
    def product(one: int, other: int = 1) -> int:
        return one * other

    check_key(
        product, st.tuples(numbers, numbers) | st.builds(call, numbers, other=numbers) | numbers, settings=quickly
    )


@both
def test_key_that_forgets_a_parameter_fails_with_the_two_simplest_calls(side: Side) -> None:
    """The bug of 2008, forced past the decorator by ignore, is found and told in two lines."""

    @side.cached(key="club_page_classes", ignore=("club",))
    def club_page_classes(club: int) -> int:
        return club

    with pytest.raises(AssertionError) as failure:
        check_key(club_page_classes, st.integers())

    name = f"{__name__}.{club_page_classes.__qualname__}"
    assert [
        f"Two calls of {name} share the key {club_page_classes.key_for(0)} and give different values:",
        "1. club_page_classes(0) gives 0",
        "2. club_page_classes(1) gives 1",
    ] == str(failure.value).splitlines()


def test_key_that_forgets_one_of_several_parameters_fails() -> None:
    """Two calls that are equal in what the key tells and differ in the rest are found among many."""

    @cached_query(key="{page}", ignore=("club",))
    def classes_on_page(club: int, *, page: int) -> tuple[int, int]:
        return club, page

    with pytest.raises(AssertionError) as failure:
        check_key(classes_on_page, st.builds(call, st.integers(), page=numbers))

    assert [
        "1. classes_on_page(0, page=0) gives (0, 0)",
        "2. classes_on_page(1, page=0) gives (1, 0)",
        "They differ in [0]: 0 and 1.",
    ] == str(failure.value).splitlines()[1:]


def test_key_that_forgets_a_parameter_fails_where_the_rest_never_comes_twice() -> None:
    """Calls are crossed, so the strategy need not draw two that agree in all that the key tells."""
    rest = st.uuids()

    @cached_query(key="{one}:{two}:{three}", ignore=("club",))
    def classes_of(club: int, one: object, two: object, *, three: object) -> int:  # noqa: ARG001 -- in the key
        return club

    with pytest.raises(AssertionError) as failure:
        check_key(classes_of, st.builds(call, st.integers(), rest, rest, three=rest))

    _, one, two = str(failure.value).splitlines()
    assert one.endswith(" gives 0")
    assert one.replace("_of(0,", "_of(1,")[2:-1] == two[2:-1]


def test_key_that_forgets_two_parameters_that_count_together_fails() -> None:
    """Each difference between two calls is tried by itself, with any calls between them."""

    @cached_query(key="{k}", ignore=("first", "second"))
    def both_set(first: bool, k: object, second: bool) -> bool:  # noqa: ARG001 -- in the key
        return first and second

    with pytest.raises(AssertionError, match="share the key"):
        check_key(both_set, st.tuples(st.booleans(), st.uuids(), st.booleans()))


def test_crossed_calls_have_the_shape_of_a_drawn_one() -> None:
    """An argument comes from its own place in a call of the same shape, so none is of a wrong kind."""
    shapes = set()

    @cached_query(key="same", ignore=("args", "kwargs", "shapes"))
    def note(*args: object, **kwargs: object) -> None:
        shapes.add((*map(type, args), *((name, type(value)) for name, value in sorted(kwargs.items()))))

    long = st.builds(call, st.integers(), st.text(), page=st.booleans(), size=st.floats())
    mixed = st.builds(call, st.text(), page=st.text())
    check_key(note, long | mixed | st.tuples(st.text(), st.integers()), settings=quickly)

    assert {
        (int, str, ("page", bool), ("size", float)),
        (str, int),
        (str, ("page", str)),
    } == shapes


def test_arguments_that_depend_on_each_other_are_not_crossed_if_so_told() -> None:
    """What follows from another argument may be ignored, as long as the strategy draws it so."""

    @cached_query(key="{number}", ignore=("double",))
    def value_of(number: int, double: int) -> int:  # noqa: ARG001 -- in the key
        return double

    pairs = st.integers().map(lambda number: (number, 2 * number))

    check_key(value_of, pairs, independent=False)
    with pytest.raises(AssertionError, match="share the key"):
        check_key(value_of, pairs)


def test_key_that_ignores_what_does_not_matter_passes() -> None:
    """A parameter that does not change the value may be ignored, values without == included."""

    @cached_query(ignore=("request",))
    def value_of(request: object, number: int) -> object:  # noqa: ARG001 -- ignored, and so not looked at
        return number, Opaque(number), float("nan")

    check_key(value_of, st.tuples(st.builds(object), numbers))


def test_key_of_calls_that_raise_compares_what_they_raise() -> None:
    """An exception is an outcome like a value: only another class of it, or a value, is another outcome."""

    @cached_query(key="same", ignore=("number",))
    def fails(number: int) -> None:
        raise LookupError(number)

    @cached_query(key="same", ignore=("number",))
    def sometimes_fails(number: int) -> int:
        return 1 // number

    check_key(fails, numbers)
    with pytest.raises(AssertionError, match=r"(?s)\(0\) raises ZeroDivisionError.*\(1\) gives 1"):
        check_key(sometimes_fails, numbers)


def test_key_check_goes_past_the_cache_and_leaves_nothing_there() -> None:
    """What the function itself calls is computed too, so that an old value can't hide a difference."""

    @cached_query(key="inner", ignore=("number",))
    def inner(number: int) -> int:
        return number

    @cached_query(key="outer", ignore=("number", "inner"))
    def outer(number: int) -> int:
        return inner(number)

    with pytest.raises(AssertionError, match="outer share the key"):
        check_key(outer, numbers)

    assert 7 == outer(7)


def test_long_values_are_cut_in_the_message() -> None:
    """A message stays readable."""

    @cached_query(key="same", ignore=("number",))
    def text(number: int) -> str:
        return str(number) * 10_000

    with pytest.raises(AssertionError, match=r"gives '0+\.\.\.\n2\. text\(1\) gives '1+\.\.\.$"):
        check_key(text, numbers)


def test_settings_of_hypothesis_are_taken() -> None:
    """So many calls are tried as the settings say."""
    tried = []

    @cached_query(key="same", ignore=("number", "tried"))
    def tries(number: int) -> None:
        tried.append(number)

    check_key(tries, numbers, settings=hypothesis.settings(max_examples=1, database=None))

    assert len(tried) < 100


@pytest.mark.parametrize("chosen", [None, hypothesis.settings(deadline=1e-3, max_examples=5, database=None)])
def test_examples_may_take_long(chosen: hypothesis.settings | None) -> None:
    """A slow function is no failure, as the time of an example is mostly that of its queries and rollbacks."""

    @cached_query
    def slow(number: int) -> int:
        return sum(range(10_000)) + number

    check_key(slow, numbers, settings=chosen)


def test_failure_shows_the_lines_of_the_test_alone() -> None:
    """Under pytest no frame of the kit's, or of Hypothesis's, stands around the message."""

    @cached_query(key="same", ignore=("number",))
    def same(number: int) -> int:
        return number

    with pytest.raises(AssertionError) as failure:
        check_key(same, numbers)

    assert [__file__] == files_in(failure)


def test_examples_are_the_same_in_each_run() -> None:
    """Without settings a check that passes once passes again."""
    runs: list[list[int]] = [[], []]
    for tried in runs:

        def note(number: int, tried: list[int] = tried) -> int:
            tried.append(number)
            return number

        check_key(cached_query(ignore=("tried",), name="noted")(note), st.builds(call, st.integers()))

    assert runs[0] == runs[1]


# --- what values are compared by ---


@pytest.mark.parametrize(
    ("make", "differs"),
    [
        (lambda number: [{"a": (1, number)}], "[0]['a'][1]: 0 and 1"),
        (lambda number: [0] * (number + 1), ""),
        (lambda number: {number: 1}, ""),
        (lambda number: [1, "1"][number], ""),
        (lambda number: [Opaque(number)], "[0].number: 0 and 1"),
        (lambda number: Club(pk=number), ""),
        (lambda number: Club(name=str(number)), ".name: '0' and '1'"),
        (lambda number: ClubClass(pk=1, club=Club(pk=1, name=str(number))), ".club.name: '0' and '1'"),
        (lambda number: (_prefetched(str(number)),), "[0].classes[0].name: '0' and '1'"),
    ],
)
def test_difference_is_found_and_placed(make: Callable[[int], Any], differs: str) -> None:
    """Values are compared to their depth, and the message names the place."""

    @cached_query(key="same", ignore=("number", "make"))
    def made(number: int) -> object:
        return make(number)

    with pytest.raises(AssertionError) as failure:
        check_key(made, st.integers(0, 1), settings=quickly)
    check_key(made, st.just(1), settings=quickly)

    *_, last = str(failure.value).partition("They differ in ")
    assert last.startswith(differs)
    assert bool(last) is bool(differs)


def _prefetched(name: str) -> Club:
    """Return a club with a class that holds it in turn."""
    club = Club(pk=1)
    club._prefetched_objects_cache = {"classes": [ClubClass(pk=1, club=club, name=name)]}  # type: ignore[attr-defined]
    return club


def test_kit_is_imported_without_hypothesis() -> None:
    """Only who uses the checks needs it."""
    source = "import sys; sys.modules['hypothesis'] = None; import cachedeco.testing"

    output_of("-c", source)


@pytest.mark.parametrize("check", [check_key, partial(check_transparent, mutate=[])], ids=["key", "transparent"])
def test_calls_that_are_no_strategy_are_refused(check: Callable[..., object]) -> None:
    """A list of calls is what sampled_from() takes: the error says so."""
    with pytest.raises(TypeError, match=r"calls is \[1, 2\]; it takes a strategy of Hypothesis's: st\.sampled_from"):
        check(cached_query(name="tests.check_key.no_strategy")(lambda number: number), [1, 2])


def test_function_over_many_ids_has_no_key_to_check() -> None:
    """Each id has a key of its own; check_transparent() takes such a function."""
    many = cached_query_many(over="ids", name="tests.check_key.many", depends_on=())(lambda ids: dict.fromkeys(ids, 1))

    with pytest.raises(TypeError, match=r"^check_key\(\) takes a function of one value, .* use check_transparent\(\)"):
        check_key(many, st.lists(st.integers()))  # type: ignore[arg-type]

    check_transparent(many, st.lists(st.integers(0, 3)), mutate=lambda: None)  # type: ignore[arg-type]
