"""Every parameter is accounted for, and every function has a name of its own: or there is no decorated function."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from cachedeco import cached_query
from tests.support.stored import bare


def club_classes(club: object, page: object = 1, *tags: object, deep: object = False, **more: object) -> object:
    """Take an argument of each common kind."""
    return club, page, tags, deep, more


NAMES = ("club", "page", "tags", "deep", "more")


@pytest.mark.parametrize("name", NAMES)
def test_parameter_that_a_template_never_looks_at_is_refused(name: str) -> None:
    """Two calls that differ in one parameter only would share an entry: the error says so, and both ways out."""
    template = ":".join(f"{{{each}}}" for each in NAMES if each != name)

    with pytest.raises(TypeError) as caught:
        cached_query(key=template)(club_classes)

    assert (
        f"{__name__}.club_classes() takes {name!r}, which its key never looks at: two calls that differ in it would "
        f"share one entry. Put it into key=, or say ignore=({name!r},) if it does not change the value."
        == str(caught.value)
    )


@pytest.mark.parametrize("key", [str, partial(str), lambda *_: 1], ids=["class", "object", "any arguments"])
def test_parameter_that_a_callable_does_not_name_is_refused_with_what_it_lacks(key: Callable[..., object]) -> None:
    """A callable is given what it names: one that names nothing of the function's is given nothing."""
    with pytest.raises(
        TypeError, match=r"takes 'club', .* Let the callable of key= take it by this name, or say ignore="
    ):
        cached_query(key=key)(club_classes)


@pytest.mark.parametrize("name", NAMES)
def test_parameter_that_ignore_names_is_accounted_for(name: str) -> None:
    """An option that says that a parameter does not change the value is believed."""
    template = ":".join(f"{{{each}}}" for each in NAMES if each != name)

    cached = cached_query(key=template, ignore=[name])(club_classes)

    assert name + "=" not in cached.key_for(7)


def test_constant_key_of_a_function_with_parameters_is_refused() -> None:
    """One key for all clubs, as in the report that started it all, can't be written."""
    with pytest.raises(TypeError, match=r"takes 'club', which its key never looks at.*ignore=\('club',\)"):
        cached_query(key="club_page_classes", ignore=("page", "tags", "deep", "more"))(club_classes)


def test_parameter_in_the_namespace_alone_is_refused() -> None:
    """A namespace says when an entry dies, not which one it is."""

    def rows(club: object, page: object) -> object:
        return club, page

    with pytest.raises(TypeError, match="takes 'club', which its key never looks at"):
        cached_query(key="{page}", namespace="club:{club}")(rows)


@pytest.mark.parametrize(
    ("key", "vary"),
    [
        ("{page}", lambda club: club),
        (lambda page: page, lambda club: club),
        (lambda club, page: (club, page), ()),
        (lambda **everything: everything["page"], ()),
        ("{page}", [lambda: 1, lambda club: club]),
        (None, ()),
    ],
)
def test_parameter_that_a_callable_takes_is_accounted_for(key: Any, vary: Any) -> None:
    """A callable of `key` or `vary` speaks for the parameters that it takes."""

    def rows(club: object, page: object) -> object:
        return club, page

    cached = cached_query(key=key, vary=vary)(rows)

    assert cached.key_for(7, 1) != cached.key_for(7, 2)


def test_callable_key_that_leaves_a_parameter_out_is_refused() -> None:
    """A callable key accounts for no more than it takes."""

    def rows(club: object, page: object) -> object:
        return club, page

    with pytest.raises(TypeError, match="takes 'page', which its key never looks at"):
        cached_query(key=lambda club: club)(rows)


@pytest.mark.parametrize("option", ["key", "vary", "namespace"])
def test_callable_that_asks_for_what_is_not_there_is_refused(option: str) -> None:
    """A callable's parameter is one of the function's; the error lists these."""

    def rows(club: object) -> object:
        return club

    options: dict[str, Any] = {option: lambda klub: klub}
    with pytest.raises(TypeError, match=rf"{option}= of .*rows\(\) asks for 'klub', .*; it has club\."):
        cached_query(**options)(rows)


def test_callable_key_of_any_arguments_is_refused() -> None:
    """`*args`, as other libraries give them, would stay empty, and a key made of them would be one for all calls."""

    def rows(club: object, page: object = 1) -> object:
        return club, page

    with pytest.raises(TypeError, match=r"asks for \*args, which would stay empty, .*; it has club, page\."):
        cached_query(key=lambda *args, **_: args)(rows)


def test_callable_key_may_leave_arguments_out_of_sight() -> None:
    """`*_` says that nothing is made of what it takes."""

    @cached_query(key=lambda club, *_, **__: club)
    def rows(club: int, page: int = 1) -> int:
        return club + page

    assert [2, 2, 3] == [rows(1), rows(1, page=5), rows(2)]


def test_callable_key_does_not_fill_its_variadic_parameter_by_name() -> None:
    """A parameter `*args` of a callable is not the function's own of this name."""

    def rows(*args: object) -> object:
        return args

    with pytest.raises(TypeError, match=r"takes 'args', .* Let the callable of key= take it by this name"):
        cached_query(key=lambda *args: args)(rows)


def test_callable_with_a_default_by_position_only_is_refused_where_it_would_shift() -> None:
    """A default that no parameter fills, and that can't be named, would give its place to what comes after it."""

    def key(extra: object = None, club: object = None, /) -> object:
        return extra, club

    def rows(club: object) -> object:
        return club

    with pytest.raises(TypeError, match="asks for 'club', by position, behind a default of its own; it has club"):
        cached_query(key=key)(rows)


def test_callable_with_a_default_by_position_only_is_taken_where_it_shifts_nothing() -> None:
    """A default that no parameter fills is left alone, by position too, as functions written in C have it."""

    def key(club: object, extra: object = None, /, *, page: object = None) -> object:
        return club, extra, page

    @cached_query(key=key)
    def rows(club: object, page: object) -> object:
        return club, page

    assert bare(rows.key_for(7, 1)).endswith("rows((7,None,1)|)")


@pytest.mark.parametrize("option", ["key", "vary", "namespace"])
def test_option_of_another_type_is_refused(option: str) -> None:
    """What is neither text nor callable is refused with its value."""
    options: dict[str, Any] = {option: 5}
    with pytest.raises(TypeError, match=rf"{option}= has 5 for .*; it takes a .*callable"):
        cached_query(**options)(club_classes)


def test_ignore_of_an_unknown_name_is_refused() -> None:
    """A misspelt name in `ignore` would ignore nothing."""
    with pytest.raises(TypeError, match=r"ignore= names 'klub', .*; it has club, page, tags, deep, more\."):
        cached_query(ignore=("klub",))(club_classes)


def test_ignore_of_a_function_without_parameters_is_refused() -> None:
    """Where there is nothing to ignore, the error says that."""

    def rows() -> None:
        return None

    with pytest.raises(TypeError, match="it has no parameters"):
        cached_query(ignore=("club",))(rows)


def test_ignore_as_one_text_is_refused() -> None:
    """A text is a sequence of letters, and none of them was meant."""
    with pytest.raises(TypeError, match=r"is a text; it takes a sequence of names: \('club',\)"):
        cached_query(ignore="club")(club_classes)


def test_name_of_another_function_is_refused() -> None:
    """Two functions of one name would answer for each other, so the second one is refused."""

    def first() -> int:
        return 1

    def second() -> int:
        return 2

    cached_query(name="accounting.taken")(first)
    with pytest.raises(TypeError, match=r"'accounting.taken' is taken by .*first.*: .* Choose another"):
        cached_query(name="accounting.taken")(second)


@pytest.mark.parametrize("name", ["", "a(b", 5, b"a"])
def test_name_that_cannot_be_one_is_refused(name: Any) -> None:
    """A name is text, and where it ends can be seen."""
    with pytest.raises(TypeError, match=r"it takes a text without '\('"):
        cached_query(name=name)(club_classes)
