"""Templates as keys: fields are paths of attributes, told by type; text between them forges nothing."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import RequestFactory

from cachedeco import cached_query
from tests.support.stored import bare


def club(pk: object, **attributes: object) -> SimpleNamespace:
    """Make something with a primary key."""
    return SimpleNamespace(pk=pk, **attributes)


def test_template_key_can_be_read() -> None:
    """A template's own text is in the key, and each field with its name."""

    @cached_query(name="templates.rows", key="page-{page}:club/{club.pk}")
    def rows(club: Any, page: int) -> object:
        return club, page

    key = rows.key_for(club("a"), 2)

    assert "cd:e:templates.rows(page-page=2:club/club.pk=1'a|)" == bare(key)


def test_template_looks_at_its_fields_only() -> None:
    """What differs in an attribute that the template does not name is one call."""

    @cached_query(key="{club.pk}")
    def rows(club: Any) -> object:
        return club

    keys = [rows.key_for(club(7, name="a")), rows.key_for(club(7, name="b")), rows.key_for(club(8, name="a"))]

    assert keys[0] == keys[1]
    assert keys[0] != keys[2]


def test_template_tells_values_by_type() -> None:
    """A field is no text: 7 and "7" are two keys."""

    @cached_query(key="{club.pk}")
    def rows(club: Any) -> object:
        return club

    keys = {rows.key_for(club(pk)) for pk in (7, "7", 7.0, None, "None", (7,))}

    assert 6 == len(keys)


def test_template_follows_paths_of_any_length() -> None:
    """A field may follow several attributes, and a parameter may be in several fields."""

    @cached_query(key="{club.owner.pk}:{club.owner.name.real}:{club.pk}")
    def rows(club: Any) -> object:
        return club

    key = rows.key_for(club(7, owner=club(8, name=9)))

    assert bare(key).endswith("rows(club.owner.pk=8:club.owner.name.real=9:club.pk=7|)")


@pytest.mark.parametrize(
    "template",
    [
        "{a}{b}",
        "{a}'{b}",
        "{a}1'{b}",
        "{a}5{b}",
        "{a}.5{b}",
        "{a}:{b}",
        "{a},{b}",
        "{a}|{b}",
        "{a} {b}",
        "{a}={b}",
        "{a}b={b}",
        "{a}'b={b}",
        "{a}e-05{b}",
        "{a}b00{b}",
        "{a}){b}",
        "{a}({b}",
        "{a}{{{b}}}",
        "{{{a}}}{b}",
        "'{a}\"{b}\\",
        "{a}\n{b}\x00",
        "é{a}\ud800{b}",
    ],
)
def test_template_text_forges_nothing(template: str) -> None:
    """With any text between two fields, no pair of values can be read as another pair."""

    @cached_query(key=template)
    def rows(a: object, b: object) -> object:
        return a, b

    texts = ["", "a", "b=1", "b=3", "'", "1'", "'b=1", "b=2'b=", "5b=1", "b00=1", "2'b=", ",'b=", ")(", "1'b='1'"]
    values = [*texts, 1, 2, 3, 4, 5, 11, 15, 75, 7, 1.5, 1e-05, True, None, b"", b"\x00", (), (1,), [1], {"b": 1}]

    keys = [rows.key_for(a, b) for a in values for b in values]

    assert len(keys) == len(set(keys))


def test_template_braces_doubled_are_text() -> None:
    """Doubled braces are braces, as in any format string."""

    @cached_query(name="templates.braces", key="{{page}}={page}")
    def rows(page: int) -> int:
        return page

    key = rows.key_for(2)

    assert "cd:e:templates.braces({page}=page=2|)" == bare(key)


def test_template_without_fields_is_the_key_of_a_function_without_parameters() -> None:
    """A text can be a key where there is nothing to tell, and to change it is to change the key."""

    def rows() -> None:
        return None

    keys = {cached_query(key=text)(rows).key_for() for text in ("all", "all 2")}

    assert 2 == len(keys)


def test_template_text_is_part_of_the_key() -> None:
    """Who changes a template's text asks for new entries."""

    def rows(page: int) -> int:
        return page

    keys = {cached_query(key=text)(rows).key_for(1) for text in ("v1:{page}", "v2:{page}", "{page}")}

    assert 3 == len(keys)


def test_template_takes_variadic_parameters() -> None:
    """The parameters behind the stars are fields by their names."""

    @cached_query(key="{clubs}-{options}")
    def rows(*clubs: int, **options: int) -> object:
        return clubs, options

    keys = [rows.key_for(1, 2, x=3, y=4), rows.key_for(1, 2, y=4, x=3), rows.key_for(1, x=3, y=4)]

    assert keys[0] == keys[1]
    assert keys[0] != keys[2]


@pytest.mark.parametrize(
    ("options", "given", "words"),
    [
        (
            {"key": "{club.pk}{page}"},
            None,
            "key='{club.pk}{page}' of templates.f() can't read {club.pk}: 'NoneType' object has no",
        ),
        ({"key": "{club.pkk}:{page}"}, club(7), "key='{club.pkk}:{page}' of templates.f() can't read {club.pkk}: "),
        ({"namespace": "a:{club.pkk}", "key": "{page}{club.pk}"}, club(7), "namespace='a:{club.pkk}' of templates.f()"),
        ({"namespace": "a:{club.owner.pk}", "key": "{page}{club.pk}"}, club(7), "can't read {club.owner.pk}: "),
    ],
    ids=range(4),
)
def test_template_field_that_an_argument_does_not_have_is_named(options: Any, given: object, words: str) -> None:
    """It is looked at in the call only; the error says which field of which function, and stays an AttributeError."""

    @cached_query(name="templates.f", **options)
    def rows(club: Any, page: int = 1) -> object:
        return club, page

    with pytest.raises(AttributeError, match=re.escape(words)) as caught:
        rows(given)

    assert isinstance(caught.value.__cause__, AttributeError)
    assert str(caught.value).endswith("; correct it, or pass what has it.")


@pytest.mark.parametrize(
    ("key", "given", "advice"),
    [
        ("{club.page}", {"page": 2}, "lambda club: club['page']"),
        ("{club.GET.page}", RequestFactory().get("/?page=2"), "lambda club: club.GET['page']"),
        ("{club.pages.page}", SimpleNamespace(pages={"page": 2}), "lambda club: club.pages['page']"),
        ("{club.page.real}", {"page": 2}, "lambda club: club['page'].real"),
        ("{club.GET.lists}", RequestFactory().get("/?page=2"), "lambda club: club.GET.lists()"),
        ("{club.bit_length}", 7, "lambda club: club.bit_length()"),
    ],
    ids=[
        "item",
        "item of an attribute",
        "item with the beginning of another name",
        "attribute of an item",
        "method of an attribute",
        "method",
    ],
)
def test_template_that_would_call_or_look_up_is_told_the_callable(key: str, given: object, advice: str) -> None:
    """A template reads attributes alone; what the error shows instead is taken."""
    rows = cached_query(key=key, name="templates.calls")(lambda club: f"{club}")

    with pytest.raises(
        (AttributeError, TypeError), match=r"a template (calls no method|reads no items): let"
    ) as caught:
        rows(given)

    assert str(caught.value).endswith(f": let a callable do it, {advice}.")
    assert eval(advice)(given)  # noqa: S307 -- of the error


def test_property_that_looks_for_an_attribute_of_a_mapping_is_at_fault() -> None:
    """No item of the path is meant: nothing is said of a callable."""

    class Settings:
        @property
        def page(self) -> object:
            return {}.number  # type: ignore[attr-defined]

    rows = cached_query(key="{club.page}", name="templates.property")(lambda club: f"{club}")

    with pytest.raises(AttributeError, match=r"no attribute 'number'; correct it, or pass what has it\.$"):
        rows(Settings())


@pytest.mark.parametrize("option", ["key", "namespace"])
@pytest.mark.parametrize(
    ("template", "error", "words"),
    [
        ("{klub.pk}", TypeError, "takes no 'klub'; it has club, page"),
        ("{}", ValueError, "it takes a parameter's name, with attributes: {club.pk}"),
        ("{0}", ValueError, "it takes a parameter's name"),
        ("{club[pk]}", ValueError, "=lambda club: ..."),
        ("{club.}", ValueError, "it takes a parameter's name"),
        ("{club..pk}", ValueError, "it takes a parameter's name"),
        ("{club.pk()}", ValueError, "=lambda club: ..."),
        ("{club.class}", ValueError, "it takes a parameter's name"),
        ("{ club}", ValueError, "it takes a parameter's name"),
        ("{club.pk!r}", ValueError, "it takes plain fields, {club.pk}"),
        ("{club.pk:>5}", ValueError, "it takes plain fields, {club.pk}"),
        ("{club.pk", ValueError, "is no template"),
        ("club.pk}", ValueError, "is no template"),
    ],
)
def test_template_malformed_is_refused_at_decoration(
    option: str, template: str, error: type[Exception], words: str
) -> None:
    """A template is checked when the function is decorated; the error shows what one looks like."""

    def rows(club: object, page: int = 1) -> object:
        return club, page

    with pytest.raises(error) as caught:
        cached_query(**{option: template}, ignore=("club", "page"))(rows)

    assert words in str(caught.value)
    assert f"{option}=" in str(caught.value)


@pytest.mark.parametrize("option", ["key", "namespace"])
def test_template_that_fits_one_function_is_refused_for_another(option: str) -> None:
    """Templates are parsed once by text, and their fields looked up in the parameters of each function."""

    def of_club(club: object) -> object:
        return club

    def of_page(page: int) -> object:
        return page

    cached_query(**{option: "{club.pk}"}, ignore=("club",))(of_club)

    with pytest.raises(TypeError, match=r"has the field \{club.pk\}, but .*of_page\(\) takes no 'club'; it has page"):
        cached_query(**{option: "{club.pk}"}, ignore=("page",))(of_page)
