"""What a function varies on, and its version: other entries of the same call, which one invalidation reaches."""

import functools
from collections.abc import Callable
from contextvars import ContextVar
from decimal import Decimal
from typing import Any

import pytest
from django.utils.translation import override
from pytest_django import Settings

from cachedeco import cached_query
from tests.support.stored import bare


@cached_query
def rows_of(club: object) -> object:
    """Vary on nothing but what the settings say."""
    return club


def test_version_tells_entries_apart_and_not_calls() -> None:
    """An entry of another version is another entry; to invalidate the call reaches both."""

    def rows(club: int) -> int:
        return club

    versions: list[Any] = [None, 1, "1", 2, "None"]
    functions = [cached_query(version=version)(rows) for version in versions]

    keys = {function.key_for(7) for function in functions}
    tokens = {function._spec.own_token((7,), {}).key for function in functions}

    assert (5, 1) == (len(keys), len(tokens))


def test_vary_tells_entries_apart_and_not_calls() -> None:
    """What a function varies on makes another entry of the same call."""
    language = ["de"]

    @cached_query(vary=(lambda: language[0], lambda club: club * 2))
    def rows(club: int) -> int:
        return club

    first = rows.key_for(7), rows._spec.own_token((7,), {}).key
    language[0] = "fr"
    second = rows.key_for(7), rows._spec.own_token((7,), {}).key

    assert first[0] != second[0]
    assert first[1] == second[1]


def test_vary_invalidated_reaches_every_variant() -> None:
    """One `invalidate()` reaches all the entries of a call, and none of another call."""
    language = ["de"]

    @cached_query(vary=lambda: language[0])
    def rows(club: int) -> list[object]:
        return [club]

    def peeked() -> list[object]:
        found: list[object] = []
        for code in ("de", "fr"):
            language[0] = code
            found += [rows.peek(7), rows.peek(8)]
        return found

    for code in ("de", "fr"):
        language[0] = code
        rows(7), rows(8)
    before = peeked()
    rows.invalidate(7)

    after = peeked()

    assert [[7], [8], [7], [8]] == before
    assert ["cachedeco.MISSING", "[8]", "cachedeco.MISSING", "[8]"] == [repr(value) for value in after]


def test_vary_text_cannot_be_forged() -> None:
    """Arguments, what a call varies on and the version stay in their places, for any texts."""
    varied = [""]

    def rows(text: str) -> str:
        return text

    texts = ["", "a", "|", "a|1'b", ")", "|)", "1'a", "a|0'|1'1", "||1'1"]
    functions = [
        cached_query(vary=lambda: varied[0])(rows),
        cached_query(vary=(lambda: varied[0], lambda: "a"))(rows),
        cached_query(vary=lambda: varied[0], version="1")(rows),
        cached_query(version="|")(rows),
    ]
    keys = []
    for text in texts:
        for variant in texts:
            varied[0] = variant
            keys += [function.key_for(text) for function in functions[:3]]
        keys.append(functions[3].key_for(text))

    assert len(keys) == len(set(keys))


def test_vary_of_the_settings_tells_entries_of_every_function_apart(settings: Settings) -> None:
    """What the setting `VARY` names counts for every function, from when it is set, and for no token."""
    language = ["de"]
    settings.CACHEDECO = {"VARY": [lambda: language[0], "django.utils.translation.get_language"]}

    keys, tokens = set(), set()
    for code, translated in (("de", "de"), ("de", "fr"), ("fr", "de"), ("fr", "fr")):
        language[0] = code
        with override(translated):
            keys.add(rows_of.key_for(7))
            tokens.add(rows_of._spec.own_token((7,), {}).key)
    settings.CACHEDECO = {}
    keys.add(rows_of.key_for(7))

    assert (5, 1) == (len(keys), len(tokens))


def test_vary_of_the_settings_that_no_key_can_hold_is_refused(settings: Settings) -> None:
    """The error says what can't be encoded, though no argument is to blame."""
    settings.CACHEDECO = {"VARY": [object]}

    with pytest.raises(
        TypeError,
        match=r"Can't encode <object object> \(what CACHEDECO\['VARY'\] gave of .*rows_of\(\)\) ",
    ):
        rows_of(7)


@pytest.mark.parametrize(
    ("vary", "text"),
    [
        (str, "0'"),  # a class written in C that does not say what it takes
        (functools.partial(max, 1, 2), "2"),
        (ContextVar("language", default="de").get, "2'de"),
        (Decimal, "decimal.Decimal(1'0)"),
        (lambda *_, default=5: default, "5"),
    ],
    ids=["class", "partial", "context variable", "type", "variadic"],
)
def test_vary_may_be_any_callable(vary: Callable[..., object], text: str) -> None:
    """A class, a partial, a built-in method: what says nothing of its parameters is called without any."""

    @cached_query(name="keys.varied", vary=vary)
    def rows() -> None:
        return None

    assert f"cd:e:keys.varied(|{text})" == bare(rows.key_for())
