"""For any names of parameters, functions and free variables, the source written for them does what it says."""

import asyncio
import functools
import inspect
import string
from types import SimpleNamespace
from typing import Any

import pytest

from cachedeco import CachedQuery, Namespace, cached_query
from cachedeco.keys import compiler
from tests.support.stored import bare

# Every name that the source itself uses, a built-in one, and those of the verbs' own parameters.
OURS = [
    *("__encode", "__part", "__paths", "__call", "__keys", "__own", "__key3", "__vary3", "__vary4", "__namespace5"),
    *("___encode", "___call", "__builtins__", "__name__", "_", "__", "encode", "f", "str", "repr", "print"),
    *("self", "cls", "args", "kwargs", "value", "default", "timeout", "key", "func", "function", "instance", "owner"),
    *("_refresh", "cache_key", "max_age", "verbose_cache", "keys", "terms", "name", "version", "prefix", "signature"),
    *("Ärger", "match", "type", "_1"),
]


def function_of(parameter: str) -> Any:
    """Write a function whose only parameter has this name, and which returns it in a list."""
    scope: dict[str, Any] = {"__name__": __name__}
    exec(f"def rows({parameter}):\n return [{parameter}]", scope)  # noqa: S102  of the names above
    return scope["rows"]


def decorated(parameter: str) -> CachedQuery[..., Any]:
    """Decorate it with one option of each kind that takes parameters."""
    options: dict[str, Any] = {
        "key": f"{{{parameter}.pk}}",
        "vary": [eval(f"lambda {parameter}: {parameter}.name"), lambda **rest: len(rest)],  # noqa: S307  as above
        "namespace": [
            f"club:{{{parameter}.pk}}",
            lambda **rest: Namespace("rest", *(each.pk for each in rest.values())),
        ],
    }
    return cached_query(**options)(function_of(parameter))


@pytest.mark.parametrize("parameter", OURS)
def test_parameter_of_any_name_is_looked_at(parameter: str) -> None:
    """A parameter may have the name of anything that the generated source uses."""
    cached = decorated(parameter)
    clubs = [SimpleNamespace(pk=pk, name=name) for pk in (7, 8) for name in "ab"]

    resolve_call = [cached._spec.resolve_call((), {parameter: club})[1] for club in clubs]

    assert 4 == len({keys[0] for keys in resolve_call})
    assert 2 == len({keys[1] for keys in resolve_call})
    assert [f"cd:n:club:{club.pk}" for club in clubs] == [bare(keys[4]) for keys in resolve_call]
    assert [f"cd:n:rest:{club.pk}" for club in clubs] == [bare(keys[6]) for keys in resolve_call]


@pytest.mark.parametrize("parameter", OURS)
def test_parameter_of_any_name_can_be_given_by_name_to_every_verb(parameter: str) -> None:
    """No verb keeps a keyword for itself: `value`, `timeout`, even `self` are the function's."""
    cached = cached_query(function_of(parameter))
    given = {parameter: 7}

    first = cached(**given)
    cached.invalidate(**given)
    second = cached.peek(**given)
    cached.call(**given).set([8])
    third = cached.peek(**given)
    fourth = cached.refresh(**given)

    assert ([7], "cachedeco.MISSING", [8], [7]) == (first, repr(second), third, fourth)
    assert cached.key_for(7) == cached.key_for(**given)


async def _twins(cached: CachedQuery[..., Any], given: dict[str, Any]) -> list[object]:
    """Call every twin."""
    await cached.ainvalidate(**given)
    found = [repr(await cached.apeek(**given))]
    await cached.call(**given).aset([8])
    return [*found, await cached.apeek(**given), await cached.arefresh(**given), await cached.akey_for(**given)]


@pytest.mark.parametrize("parameter", ["self", "value", "func", "args", "loop", "thread_sensitive"])
def test_parameter_of_any_name_can_be_given_by_name_to_every_twin(parameter: str) -> None:
    """Neither do the twins, nor what brings them to their thread."""
    cached = cached_query(function_of(parameter))

    found = asyncio.run(_twins(cached, {parameter: 7}))

    assert ["cachedeco.MISSING", [8], [7], cached.key_for(7)] == found


@pytest.mark.parametrize("parameter", ["self", "value", "func"])
def test_parameter_of_any_name_can_be_given_by_name_to_an_async_function(parameter: str) -> None:
    """An async function keeps no keyword for itself either."""
    plain = function_of(parameter)

    @cached_query(name=f"{__name__}.awaited")
    @functools.wraps(plain)
    async def rows(*args: object, **kwargs: object) -> object:
        return plain(*args, **kwargs)

    async def call() -> list[object]:
        return [await rows(**{parameter: 7}), await rows.arefresh(**{parameter: 8})]

    found = asyncio.run(call())

    assert [[7], [8]] == found


NAMES = [
    "a b",
    "it's",
    'say "it"',
    "both ' and \"",
    "{club}",
    "{",
    "}}",
    "{{__encode}}",
    "back\\slash",
    "\\N{BULLET}",
    "line\nbreak",
    "nul\x00",
    "ü",
    "\ud800",
    "x" * 300,
    "f''",
    "%s",
    "a)b",
    "a|b",
    "#",
    string.punctuation.replace("(", ""),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_name_of_any_text_names_the_function(name: str) -> None:
    """A name may hold braces, quotes, anything: it is text in the source, and no part of it."""

    def rows(club: int) -> list[int]:
        return [club]

    cached = cached_query(name=name, version=name, namespace=lambda: Namespace(name))(rows)

    served = [cached(7), cached(8)]

    assert ([[7], [8]], [[7], [8]]) == (served, [cached.peek(7), cached.peek(8)])
    assert 2 == len({cached.key_for(7), cached.key_for(8)})


def test_names_that_differ_in_one_mark_have_different_keys() -> None:
    """No name is taken for another one, also where both are too long to be read."""

    def rows(club: int) -> int:
        return club

    names = [f"source {name}" for name in NAMES] + ["x" * 301, "x" * 299 + "y", "ü" * 300, "u" * 300]

    keys = {cached_query(name=name)(rows).key_for(7) for name in names}

    assert len(names) == len(keys)


@pytest.mark.parametrize("text", ["{club}", "it's", 'say "it"', "back\\slash", "line\nbreak", "\x00", "\ud800", "{{}}"])
def test_template_of_any_text_is_text(text: str) -> None:
    """A template's own text may hold braces and quotes, and a namespace's too."""
    escaped = text.replace("{", "{{").replace("}", "}}")

    @cached_query(key=escaped + "{club}", namespace=escaped + "{club}")
    def rows(club: int) -> list[int]:
        return [club]

    before = [rows(7), rows(8)]
    Namespace(f"{text}7").invalidate()
    after = [rows.peek(7), rows.peek(8)]

    assert [[7], [8]] == before
    assert ["cachedeco.MISSING", "[8]"] == [repr(value) for value in after]


@pytest.mark.parametrize(
    "parameters",
    [
        "",
        "a, b=None",
        "a, /",
        "a=None, /, b=None",
        "*, d",
        "a, *, d=None, e",
        "a, /, *, d",
        "*c, d, e=None",
        "**f",
        "a, /, **f",
        "a, /, b=None, *c, d, e=None, **f",
    ],
)
def test_source_of_parameters_is_what_was_written(parameters: str) -> None:
    """Parameters of every kind are in the source as in the function, without annotations; each default is None."""
    scope: dict[str, Any] = {}
    exec(f"def bare({parameters}): ...", scope)  # noqa: S102 -- the text above

    source = compiler._parameters_source(inspect.signature(scope["bare"]))

    assert parameters == source


def test_source_of_parameters_has_neither_annotations_nor_values() -> None:
    """Both may be objects that no source text can hold."""
    sentinel = object()

    def rows(club: "Any" = sentinel, *, page: int = 1) -> object:
        return club, page

    source = compiler._parameters_source(inspect.signature(rows))

    assert "club=None, *, page=None" == source
