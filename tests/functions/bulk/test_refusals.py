"""What is refused, at decoration and at a call, and the text that says what to do."""

import enum
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.db.models import Model

from cachedeco import Namespace, cached_query_many, mode
from cachedeco import rows as model_rows
from tests.loading.bulk.tables import Table
from tests.models import Club, Member
from tests.support.sides import Side, both


def rows(ids: list[int], *more: int, lang: str = "en", **rest: int) -> dict[int, str]:
    """Have a parameter of each kind."""
    return dict.fromkeys([*ids, *more, *rest.values()], lang)  # type: ignore[arg-type]


def dict_of_nothing() -> dict[int, str]:
    """Take nothing."""
    return {}


async def later(value: object) -> object:
    """Give a coroutine."""
    return value


def generated(value: object) -> Iterator[object]:
    """Give a generator."""
    yield value


@pytest.mark.parametrize("over", ["id", "more", "rest", "", ["ids"], {}])
def test_over_must_name_a_parameter_that_takes_a_collection(over: Any) -> None:
    """A name that is not there, *args and **kwargs are refused; the parameters are told."""
    with pytest.raises(TypeError, match=re.escape(f"over={over!r}")) as caught:
        cached_query_many(over=over)(rows)

    assert "ids, *more, lang='en'" in str(caught.value)


def test_function_without_parameters_is_refused() -> None:
    """There is nothing to be over."""
    with pytest.raises(TypeError, match="of these: no parameters"):
        cached_query_many(over="ids")(dict_of_nothing)


def test_over_can_not_be_left_out() -> None:
    """With other options, too."""
    with pytest.raises(TypeError, match="needs over="):
        cached_query_many(timeout=60)  # type: ignore[call-arg]


def test_ids_can_not_be_ignored() -> None:
    """All ids would share one entry."""
    with pytest.raises(TypeError, match="all ids would share one entry"):
        cached_query_many(over="ids", ignore=("ids",))(rows)


@pytest.mark.parametrize(
    ("predicate", "said"),
    [
        (later, "cache_if for .* is async"),
        (generated, "cache_if for .* is a generator function"),
        (None, "cache_if=None for .*; it takes a callable of the value"),
        (lambda: True, "takes nothing; it is called with the value alone"),
    ],
)
def test_predicate_that_is_true_of_each_value_is_refused(predicate: Any, said: str) -> None:
    """A coroutine, and a generator, would be: as of a function of one call."""
    with pytest.raises(TypeError, match=said):
        cached_query_many(over="ids", cache_if=predicate)(rows)


def test_key_that_never_looks_at_the_ids_is_refused() -> None:
    """The ids are a parameter that has to be accounted for, like any other."""
    with pytest.raises(TypeError, match="takes many ids as 'ids', and its key never looks at 'each'"):
        cached_query_many(over="ids", key="{lang}", ignore=("more", "rest"))(rows)


def test_cache_if_must_be_callable() -> None:
    """What cached_query refuses is refused here."""
    with pytest.raises(TypeError, match="cache_if=7"):
        cached_query_many(over="ids", cache_if=7)(rows)  # type: ignore[arg-type]


@both
@pytest.mark.parametrize(
    ("ids", "meant"),
    [("17", "['17']"), (b"17", "[b'17']"), (17, "[17]"), (None, "[] for none"), (Club.objects, "its all()")],
    ids=["text", "bytes", "number", "none", "manager"],
)
def test_call_with_no_collection_says_what_to_give(side: Side, table: Table, ids: Any, meant: str) -> None:
    """One id, or a text, is no collection of ids."""
    many = table.cached(side)
    with pytest.raises(TypeError, match=re.escape(f"; it takes a collection of ids: {meant}.")):
        side.call(many, ids)


@both
def test_call_that_the_function_does_not_take_is_refused(side: Side, table: Table) -> None:
    """Arguments that do not fit are a TypeError with the function's name, also where there are no ids."""
    many = table.cached(side, name="many.refused")

    with pytest.raises(TypeError, match=r"many\.refused\(\): .*'lang'"):
        side.call(many, [], lang="en")


def test_id_that_can_not_be_in_a_key_is_told(table: Table) -> None:
    """The error names the parameter."""
    many = table.cached()

    with pytest.raises(TypeError, match=r"Can't encode .* \(each of "):
        many([object()])


@both
@pytest.mark.parametrize("ids", [[[1]], [{}], [Club(name="not saved")]], ids=["list", "dict", "row"])
def test_id_without_a_hash_is_told(side: Side, table: Table, ids: Any) -> None:
    """The error names the function, the parameter, and what an id may be."""
    many = table.cached(side, name="many.unhashable")

    with pytest.raises(TypeError, match=r"many\.unhashable\(\) got ids= with an id that has no hash; it takes numbers"):
        side.call(many, ids)


def test_error_of_what_gives_the_ids_is_raised_as_it_is(table: Table) -> None:
    """It is the caller's own."""
    with pytest.raises(TypeError, match="unsupported operand"):
        table.cached()(each + "1" for each in [1])  # type: ignore[operator]


@both
@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([1, 2], "returned a list; it must return a mapping"),
        (None, "returned a NoneType; it must return a mapping"),
        (iter([]), "which can be used only once; return a mapping of ids to values"),
        ({1: iter([])}, "which can be used only once; return a list"),
        ({"1": "row"}, "asked for 1 and returned '1', which is another id"),
    ],
    ids=["list", "None", "iterator", "iterator inside", "other type"],
)
def test_function_that_returns_something_else_is_told_so(side: Side, given: Any, text: str) -> None:
    """What is no mapping of the ids is a TypeError, whether the cache is used or not; nothing is stored."""
    many = Table({}).over(lambda ids: given if ids else {}, side)

    for call in (many, many.refresh):
        with pytest.raises(TypeError, match=re.escape(text)):
            side.call(call, [1])
    assert {} == side.call(many.peek, [1])


class Size(enum.Enum):
    """An id that is no text."""

    SMALL = "small"
    LARGE = "large"


OTHER_IDS: dict[str, tuple[list[Any], dict[Any, str]]] = {
    "rows, by primary keys": ([Club(pk=1), Club(pk=2)], {1: "a", 2: "b"}),
    "primary keys, by rows": ([1, 2], {Club(pk=1): "a", Club(pk=2): "b"}),
    "numbers, by names": ([1, 2], {"x": "a"}),
    "foreign keys": ([11, 12], {1: "a"}),
    "rows of another table": ([Club(pk=1)], {Member(pk=1): "a"}),
    "None": ([1], {None: "a"}),
    "UUID, by text": ([UUID(int=1)], {str(UUID(int=1)): "a"}),
    "pairs, by their first": ([("a", 1)], {"a": "b"}),
    "members, by value": ([Size.SMALL], {"small": "a"}),
}


@both
@pytest.mark.parametrize(
    ("asked", "other"),
    [([Club(pk=1), Club(pk=2)], 2), ([1, 2], Club(pk=2)), ([Size.SMALL, Size.LARGE], "large"), ([1, 2], "2")],
    ids=["a row, by its primary key", "a primary key, by its row", "a member, by its value", "a number, by text"],
)
def test_answer_with_one_other_id_is_refused_and_never_absent(side: Side, asked: list[Any], other: object) -> None:
    """What came under another name of an id is no answer of the others alone: the id is not stored as absent."""
    for each in [*asked, other]:
        if isinstance(each, Model):
            each._state.adding = False
    many = Table({}).over(lambda ids: {ids[0]: "a", other: "b"}, side)

    with pytest.raises(TypeError, match="which is another id"):
        side.call(many, asked)

    assert {} == side.call(many.peek, asked)


def test_row_of_another_table_beside_the_answer_is_left_out() -> None:
    """Its primary key may be that of a row without an answer, and it is no other name of this row."""
    first, absent, beside = Club(pk=1), Club(pk=2), Member(pk=2)
    for each in (first, absent, beside):
        each._state.adding = False

    @cached_query_many(over="ids", ignore=("beside",))
    def many(ids: list[Club]) -> dict[Any, str]:
        return {ids[0]: "a", beside: "b"}

    assert {first: "a"} == many([first, absent])


@both
@pytest.mark.parametrize(("asked", "answer"), OTHER_IDS.values(), ids=OTHER_IDS)
def test_answer_under_other_ids_is_refused_and_never_absent(
    side: Side, asked: list[Any], answer: dict[Any, str]
) -> None:
    """Nothing that was asked for came, and something else did: no id is stored as absent, in any mode."""
    for each in [*asked, *answer]:
        if isinstance(each, Model):
            each._state.adding = False
    mended: list[bool] = []
    many = Table({}).over(lambda ids: dict.fromkeys(ids, "right") if mended else answer, side)

    for way in (many, many.refresh):
        with pytest.raises(TypeError, match=r"which is another id\. Call it with ids of the type that it returns"):
            side.call(way, asked)
    with pytest.raises(TypeError, match=r"^set\(\) of .* is for .* and was given .* another id\. Pass the ids"):
        side.call(many.call(asked).set, answer)
    for name in ("bypass", "off"):
        with mode(name), pytest.raises(TypeError, match="which is another id"):
            side.call(many, asked)
    mended.append(True)

    assert dict.fromkeys(asked, "right") == side.call(many, asked)


@both
def test_answer_without_any_id_is_absent(side: Side) -> None:
    """An empty mapping says that no id is known."""
    many = Table({}).over(lambda ids: {} if ids else {0: ids}, side)

    assert {} == side.call(many, [1, 2]) == side.call(many, [1, 2])
    assert 1 == many.stats().computations


@both
def test_answer_under_other_ids_for_what_is_missing_leaves_the_rest(side: Side) -> None:
    """The function is asked for the missing ids alone, and what is stored stays."""
    many = Table({}).over(lambda ids: {1: "a"} if 1 in ids else {9: "b"}, side)
    side.call(many, [1])

    with pytest.raises(TypeError, match="was asked for 2 and returned 9"):
        side.call(many, [1, 2])

    assert {1: "a"} == side.call(many.peek, [1, 2])


@both
def test_row_among_the_ids_is_never_asked_for_its_text(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may need a query, or raise: rows that are absent beside others are no error."""
    clubs = [Club(pk=1), Club(pk=2)]
    for club in clubs:
        club._state.adding = False
    many = Table({}).over(lambda ids: {clubs[0]: "a", Club(pk=3): "c"} if ids else {}, side)
    monkeypatch.setattr(Club, "__str__", lambda _: pytest.fail("asked for its text"))

    assert {clubs[0]: "a"} == side.call(many, clubs)


@both
def test_ids_that_were_not_asked_for_are_dropped(side: Side) -> None:
    """A function may return more than it was asked for: it is neither returned nor stored."""
    many = Table({}).over(lambda ids: {1: "a", 2: "b", "3": "c", "ids": ids}, side)

    assert {2: "b"} == side.call(many, [2, 4])
    assert {2: "b"} == side.call(many.peek, [1, 2, 3, "3"])


def test_parameter_called_each_is_refused_beside_the_ids() -> None:
    """One id is `each` in keys, so no other parameter may have that name; the ids themselves may."""

    def beside(ids: list[int], each: int) -> dict[int, int]:
        return dict.fromkeys(ids, each)

    def itself(each: list[int]) -> dict[int, int]:
        return dict.fromkeys(each, 1)

    with pytest.raises(TypeError, match="takes 'each', which is one id of 'ids' in keys and namespaces; rename it"):
        cached_query_many(over="ids")(beside)
    assert {7: 1} == cached_query_many(over="each", name="bulk.each", namespace="row:{each}")(itself)([7])


def test_variable_called_each_is_refused() -> None:
    """A variable of the function around it would be taken for one id, and be in no key."""
    each = 3

    def times(ids: list[int]) -> dict[int, int]:
        return {id_: id_ * each for id_ in ids}

    with pytest.raises(TypeError, match="reads 'each' from the function around it, which is one id of 'ids' in keys"):
        cached_query_many(over="ids")(times)


@pytest.mark.parametrize(
    "options",
    [
        {"key": "{ids}"},
        {"namespace": "club:{ids}"},
        {"namespace": ["club", "club:{ids}"]},
        {"depends_on": [model_rows("tests.Squad", pk="{ids}")]},
        {"key": lambda ids: ids},
        {"vary": lambda ids: ids},
        {"vary": [lambda ids=None: ids]},
        {"namespace": lambda *, ids: Namespace(ids)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_name_of_the_ids_is_refused_where_one_id_is_meant(options: dict[str, Any]) -> None:
    """`{ids}` can't be read as all of them: the error at decoration says what one of them is called."""
    with pytest.raises(TypeError, match=r"ids.*; it has each, lang, where 'each' is one id of 'ids'"):
        cached_query_many(over="ids", name="bulk.refused.ids", **options)(lambda ids, lang="en": (ids, lang))


def test_error_of_the_users_key_is_raised_as_it_is() -> None:
    """It is no argument without a key: what the callable says of one id is for the caller to read."""

    @cached_query_many(over="ids", key=lambda each: int(each))  # noqa: PLW0108 -- it names the parameter
    def many(ids: list[str]) -> dict[str, str]:
        return dict.fromkeys(ids, "row")

    with pytest.raises(ValueError, match="invalid literal for int"):
        many(["7", "x"])
