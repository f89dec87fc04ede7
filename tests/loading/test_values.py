"""What a cached function returns is what its callers get, for any value."""

import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO, FileIO, StringIO
from typing import Any

import pytest

from cachedeco import MISSING, Event, cached_query, listening
from cachedeco.runtime import conf
from cachedeco.storage.serializers import SERIALIZERS
from tests.support.sides import Side, both
from tests.support.stored import stored

ALSO_VALUES = [None, False, 0, 0.0, "", b"", (), [], {}, set(), "MISSING", b"cachedeco 1", MISSING, NotImplemented, ...]


class Frame:
    """A value that can't be compared or asked whether it is true, as a DataFrame."""

    def __eq__(self, other: object) -> bool:
        """Refuse."""
        msg = "the truth value is ambiguous"
        raise ValueError(msg)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        """Refuse."""
        msg = "the truth value is ambiguous"
        raise ValueError(msg)


class Vanishing:
    """A class that a deploy takes away."""


class Grudging:
    """A value that pickles, and then refuses to be unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Be made by a call that fails."""
        return int, ("not a number",)


class Deep:
    """A value that is too deep to be pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Never come to an end."""
        return Deep, (), {"below": Deep()}


@both
@pytest.mark.parametrize("value", ALSO_VALUES, ids=repr)
def test_value_false_or_odd_is_computed_once(side: Side, value: object) -> None:
    """None and all that is false are values: other libraries took None for "not there", and computed for ever."""
    computed = []

    @side.cached(ignore=("computed", "value"))
    def answer() -> object:
        computed.append(value)
        return value

    answers = [side.call(answer), side.call(answer)]

    assert ([value, value], 1) == (answers, len(computed))


@both
def test_value_an_exception_is_returned_and_not_raised(side: Side) -> None:
    """A returned exception is a value, on a hit too: another library raised it."""

    @side.cached()
    def fault() -> Exception:
        return ValueError("a value")

    faults = [side.call(fault), side.call(fault)]

    assert ["ValueError('a value')"] * 2 == list(map(repr, faults))


@both
def test_value_that_refuses_comparison_is_served(side: Side) -> None:
    """A value is never compared or asked for its truth: another library failed on the first hit of a DataFrame."""
    computed = []

    @side.cached(ignore=("computed",))
    def frame() -> Frame:
        computed.append(1)
        return Frame()

    frames = [side.call(frame), side.call(frame), side.call(frame.peek)]

    assert ([Frame] * 3, 1) == (list(map(type, frames)), len(computed))


@both
@pytest.mark.parametrize("hits", [0, 1])
def test_value_changed_by_a_caller_is_not_changed_for_the_next(side: Side, hits: int) -> None:
    """Neither the computed value nor a served one is shared with the cache."""

    @side.cached()
    def days() -> list[str]:
        return ["Monday"]

    for _ in range(hits):
        side.call(days)

    side.call(days).append("changed")

    assert ["Monday"] == side.call(days)


@both
def test_value_put_and_changed_later_is_stored_as_it_was(side: Side) -> None:
    """The cache keeps what a value was when it was put."""

    @side.cached()
    def days() -> list[str]:
        raise NotImplementedError

    given = ["Monday"]
    side.call(days.call().set, given)

    given.append("changed")

    assert ["Monday"] == side.call(days)


@both
@pytest.mark.parametrize("make", [lambda: lambda: 1, Deep, lambda: open], ids=["function", "deep", "builtin"])
def test_value_of_any_kind_reaches_the_caller(side: Side, make: Any) -> None:
    """What can't be pickled is returned nevertheless."""

    @side.cached(ignore=("make",))
    def answer() -> object:
        return make()

    answers = [side.call(answer), side.call(answer)]

    assert [type(make())] * 2 == list(map(type, answers))


@both
def test_value_that_cannot_be_pickled_is_an_event_and_not_stored(side: Side) -> None:
    """A function whose results can't be stored computes each time, and the log says so once."""
    seen: list[Event] = []

    @side.cached()
    def answer() -> object:
        return lambda: 1

    with listening(seen.append):
        side.call(answer)
        side.call(answer)

    assert ["miss", "computed", "error", "miss", "computed", "unstored"] == [event.kind for event in seen]


@both
def test_value_that_is_told_by_its_identity_is_not_stored(side: Side) -> None:
    """Code that asks `value is NOTHING` would not know the copy of a hit; the log says what to return."""
    nothing = object()
    seen: list[Event] = []

    @side.cached(ignore=("nothing",))
    def answer(*, wrapped: bool) -> Any:
        return [nothing] if wrapped else nothing

    with listening(seen.append):
        answers = [side.call(answer, wrapped=wrapped) for wrapped in (True, False) for _ in range(2)]

    assert all(answer is nothing or answer[0] is nothing for answer in answers)
    assert "a member of an enum" in str(next(event.error for event in seen if event.kind == "error"))


@both
@pytest.mark.parametrize(
    "make",
    [lambda: iter([1]), lambda: (n for n in [1]), lambda: map(str, [1]), lambda: zip([1], strict=True)],
    ids=["iterator", "generator", "map", "zip"],
)
def test_value_good_for_one_use_is_refused(side: Side, make: Any) -> None:
    """What can be gone through only once would be empty for the next caller: it is an error that says what to do."""

    @side.cached(ignore=("make",))
    def answer() -> Iterator[int]:
        return make()

    with pytest.raises(TypeError, match=r"answer\(\) returned .* used only once; return a list"):
        side.call(answer)

    assert MISSING is side.call(answer.peek)


@both
@pytest.mark.parametrize("make", [lambda: BytesIO(b"a"), lambda: StringIO("a"), lambda: FileIO(os.devnull)])
def test_value_a_file_is_refused(side: Side, make: Any) -> None:
    """Who has read it has nothing for the next caller; the error asks for what it contains, and for no list."""

    @side.cached(ignore=("make",))
    def answer() -> Any:
        with make() as file:
            return file

    with pytest.raises(TypeError, match=r"used only once; return what it contains, such as its getvalue\(\)\.$"):
        side.call(answer)


@both
def test_value_a_coroutine_is_refused(side: Side) -> None:
    """A coroutine can be awaited only once: it is refused, and closed, so that Python has nothing to warn of."""

    async def other() -> int:
        return 1

    @side.cached(ignore=("other",))
    def answer() -> object:
        return other()

    with pytest.raises(TypeError, match="return a list, or what it awaits"):
        side.call(answer)


@both
def test_coroutine_that_the_caller_gives_is_refused(side: Side) -> None:
    """An `await` was forgotten: the error names `set()`, and no decorator, since there was none at work."""

    async def other() -> int:
        return 1

    answer = side.cached(name="tests.values.given")(lambda: 1)

    with pytest.raises(TypeError, match=r"^set\(\) of .* used only once; pass a list, or what it awaits\.$"):
        side.call(answer.call().set, other())


@both
def test_value_of_another_django_is_a_miss(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another version of Django or of the format has written is computed anew, without a warning or an error."""
    seen: list[Event] = []

    @side.cached()
    def answer() -> int:
        return 1

    with monkeypatch.context() as older:
        older.setitem(SERIALIZERS, "pickle", replace(SERIALIZERS["pickle"], format_id=b"\ncachedeco 1, Django 4.2"))
        conf.forget()
        side.call(answer.call().set, 0)
    conf.forget()

    with listening(seen.append):
        found = side.call(answer)

    assert (1, ["miss", "computed", "stored"]) == (found, [event.kind for event in seen])


@both
def test_value_whose_class_is_gone_is_computed_anew(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a deploy that took its class away, an entry is a miss: elsewhere the error of pickle reached the caller."""
    seen: list[Event] = []

    @side.cached()
    def answer() -> object:
        return 1

    side.call(answer.call().set, Vanishing())
    monkeypatch.delattr(f"{__name__}.Vanishing")

    with listening(seen.append):
        answers = [side.call(answer), side.call(answer)]

    assert [1, 1] == answers
    assert ["error", "miss", "computed", "stored", "hit"] == [event.kind for event in seen]


@both
def test_value_that_refuses_to_be_unpickled_is_a_miss(side: Side) -> None:
    """Any exception of unpickling is an event, and the function's value is returned."""

    @side.cached()
    def answer() -> object:
        return 1

    side.call(answer.call().set, Grudging())

    peeked = side.call(answer.peek)

    assert (MISSING, 1) == (peeked, side.call(answer))


@pytest.mark.parametrize("kept", [0, 1, 10, 30, 60, 75, 80, 90, -1])
def test_entry_cut_short_is_a_miss(kept: int) -> None:
    """An entry of which the cache has lost the end is computed anew."""

    @cached_query
    def answer() -> list[int]:
        return [1, 2, 3]

    answer()
    key = answer.key_for()
    stored().set(key, stored().get(key)[:kept])

    found = answer.peek()

    assert (MISSING, [1, 2, 3]) == (found, answer())


@pytest.mark.parametrize(
    "stranger",
    [None, 7, "text", b"bytes", b"", [1], {"value": 1}, pickle.dumps(0), Frame(), MISSING],
    ids=lambda stranger: type(stranger).__name__,
)
def test_entry_by_a_stranger_is_a_miss(stranger: object) -> None:
    """What lies under an entry's key and is none of ours is never returned; the next call is a hit again."""
    computed = []

    @cached_query(ignore=("computed",))
    def answer() -> str:
        computed.append(1)
        return "right"

    answer()
    stored().set(answer.key_for(), stranger)

    answers = [answer(), answer()]

    assert (["right", "right"], 2) == (answers, len(computed))
