"""Hypothesis finds no two calls that are one and have two keys, nor two that are different and have one."""

import dataclasses
import datetime as dt
import enum
from collections import OrderedDict, deque
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest
from django.db.models import IntegerChoices, TextChoices
from django.utils.functional import SimpleLazyObject, lazystr
from django.utils.text import format_lazy
from django.utils.translation import gettext, gettext_lazy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cachedeco import Namespace, cached_query
from cachedeco import rows as rows_of
from cachedeco.invalidation.namespaces import part_of, token_keys
from cachedeco.invalidation.rows import text_of
from cachedeco.keys.encoders import encode
from cachedeco.keys.refusals import KeyTypeError
from tests.models import Club, UuidThing
from tests.support.selection import of_length
from tests.support.stored import bare_each

examples = settings(max_examples=of_length(25, soak=1000))


class Colour(enum.Flag):
    """An enum among the values."""

    RED = 1
    BLUE = 2


@dataclasses.dataclass(frozen=True)
class Pair:
    """A dataclass among the values."""

    left: Any
    right: Any


# What forgeries are made of: digits, and every mark that a text or a key has.
FORGED = st.text("0123456789'b()[]{}<>,=|:.-#%e_ aü", max_size=12)
TEXTS = st.one_of(FORGED, st.text(max_size=12), st.sampled_from(["", "None", "True", "1'a", "1'a,1'b", "|", ")", "/"]))
ZONES = st.one_of(
    st.none(), st.timezones(), st.builds(dt.timezone, st.timedeltas(dt.timedelta(0), dt.timedelta(hours=2)))
)
HASHABLE_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 12),
    st.floats(),
    st.complex_numbers(max_magnitude=9),
    TEXTS,
    st.binary(max_size=8),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.dates(),
    st.datetimes(timezones=ZONES, allow_imaginary=False),
    st.times(timezones=st.one_of(st.none(), st.just(dt.UTC))),
    st.timedeltas(),
    st.uuids(),
    st.ip_addresses(),
    st.sampled_from([Colour.RED, Colour.BLUE, Colour.RED | Colour.BLUE, Colour(0), Colour, int, str]),
    st.builds(range, st.integers(0, 3), st.integers(0, 3)),
)
HASHABLE = st.recursive(
    HASHABLE_LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3), st.builds(Pair, inner, inner)
    ),
    max_leaves=4,
)
VALUES = st.recursive(
    HASHABLE_LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.sets(HASHABLE, max_size=4),
        st.dictionaries(HASHABLE, inner, max_size=4),
        st.builds(Pair, inner, inner),
        st.binary(max_size=4).map(bytearray),
    ),
    max_leaves=6,
)
KEYWORDS = st.dictionaries(st.sampled_from(["a", "b", "x", "club", "args", "kwargs"]), VALUES, max_size=3)


def identity(value: Any) -> object:
    """Return what makes a value the argument that it is, written down in another way than keys are."""
    kind = type(value)
    if isinstance(value, list | tuple):
        return kind, tuple(map(identity, value))
    if isinstance(value, set | frozenset):
        return kind, frozenset(map(identity, value))
    if isinstance(value, dict):
        return kind, frozenset((identity(key), identity(item)) for key, item in value.items())
    if isinstance(value, Pair):
        return kind, identity(value.left), identity(value.right)
    if isinstance(value, dt.datetime | dt.time):
        return kind, value.isoformat(), value.fold, type(value.tzinfo), str(value.tzinfo)
    return kind, repr(value)


def rebuilt(value: Any) -> Any:
    """Return the same value, made of new objects in the opposite order."""
    if isinstance(value, list | tuple):
        return type(value)(map(rebuilt, value))
    if isinstance(value, set | frozenset):
        return type(value)(map(rebuilt, reversed(list(value))))
    if isinstance(value, dict):
        return {rebuilt(key): rebuilt(item) for key, item in reversed(value.items())}
    if isinstance(value, Pair):
        return Pair(rebuilt(value.left), rebuilt(value.right))
    if isinstance(value, str):
        return "".join(list(value))
    return value


@examples
@given(VALUES)
def test_equal_values_have_one_text(value: object) -> None:
    """A value made again, with sets and dicts in another order, has the same text."""
    again = rebuilt(value)

    assert encode(value) == encode(again)


class Keyed:
    """A class that says itself what it is in keys."""

    def __init__(self, value: object) -> None:
        """Keep the value."""
        self.value = value

    def __cache_key__(self) -> object:
        """Return the value."""
        return self.value


# What holds a value without being another one because of it. Those that hash it go last.
HOLDERS: list[Callable[[Any], object]] = [
    lambda value: value,
    lambda value: [1, value],
    lambda value: (value,),
    lambda value: {"a": value},
    lambda value: OrderedDict(a=value),
    lambda value: MappingProxyType({"a": value}),
    lambda value: deque([value]),
    lambda value: Pair(1, value),
    lambda value: SimpleLazyObject(lambda: value),
    Keyed,
    lambda value: {value: 1},
    lambda value: frozenset([value]),
]
HELD = st.lists(st.sampled_from(HOLDERS[:-2]), max_size=4)


def held_by(value: object, holders: list[Callable[[Any], object]]) -> object:
    """Return a value inside of others."""
    for hold in holders:
        value = hold(value)
    return value


class Letter(TextChoices):
    """Members that are texts."""

    A = "a", gettext_lazy("the first")
    NONE = "None"


class Number(IntegerChoices):
    """Members that are numbers."""

    ONE = 1


class Access(enum.IntFlag):
    """Members that are numbers, and sums of them."""

    READ = 1
    WRITE = 2


class Mixed(float, enum.Enum):
    """Members that are numbers of another type."""

    HALF = 0.5


class Day(dt.date, enum.Enum):
    """Members that are dates."""

    FIRST = 2026, 1, 1


MEMBERS: list[tuple[object, object]] = [
    (Letter.A, "a"),
    (Letter.NONE, "None"),
    (enum.StrEnum("Word", {"A": "a"}).A, "a"),  # type: ignore[attr-defined]
    (enum.Enum("Text", {"A": "a"}, type=str).A, "a"),  # type: ignore[attr-defined]
    (Number.ONE, 1),
    (enum.IntEnum("Rank", {"A": 1}).A, 1),  # type: ignore[attr-defined]
    (Access.READ | Access.WRITE, 3),
    (Access(0), 0),
    (Mixed.HALF, 0.5),
    (Day.FIRST, dt.date(2026, 1, 1)),
]
LAZY = st.one_of(
    TEXTS.map(lambda text: (lazystr(text), text)),
    TEXTS.map(lambda text: (gettext_lazy(text), gettext(text)) if text else ("", "")),  # "\r" is "\n"; "" a catalogue
    TEXTS.map(lambda text: (format_lazy("{} {}", lazystr(text), 1), f"{text} 1")),
    TEXTS.map(lambda text: (SimpleLazyObject(lambda: text), text)),
)


@examples
@given(st.one_of(st.sampled_from(MEMBERS), LAZY), st.lists(st.sampled_from(HOLDERS), max_size=2), HELD)
def test_member_and_lazy_text_are_their_values_at_any_depth(
    pair: tuple[object, object], hashing: list[Callable[[Any], object]], holders: list[Callable[[Any], object]]
) -> None:
    """A member of an enum that equals its value is that value, and a lazy text is what it is now."""
    try:
        value, plain = (held_by(each, hashing) for each in pair)
    except TypeError:  # a list in a set
        value, plain = pair

    texts = {encode(held_by(each, holders)) for each in (value, plain)}

    assert 1 == len(texts)


@pytest.mark.parametrize(("value", "plain"), [*MEMBERS[:8], (lazystr("a:b"), "a:b"), (gettext_lazy("a"), "a")], ids=str)
def test_member_and_lazy_text_name_the_namespace_of_their_values(value: object, plain: object) -> None:
    """In `Namespace()`, in a template and as an argument alike; an invalidation by either reaches both."""

    @cached_query(key="{it}", namespace="of:{it}")
    def rows(it: object) -> str:
        return str(it)

    rows(value)

    assert Namespace("of", value) == Namespace("of", plain)
    assert rows._spec.resolve_call((value,), {})[1] == rows._spec.resolve_call((plain,), {})[1]
    assert rows.peek(plain)


UNSAVED = st.sampled_from([lambda: Club(name="A"), lambda: UuidThing(name="A"), lambda: SimpleLazyObject(Club)])


@examples
@given(UNSAVED, HELD)
def test_row_that_is_not_saved_is_refused_at_any_depth(
    make: Callable[[], object], holders: list[Callable[[Any], object]]
) -> None:
    """Nothing that holds it is a way around the refusal."""
    with pytest.raises(KeyTypeError, match="it is not saved"):
        encode(held_by(make(), holders))


@examples
@given(st.lists(VALUES, min_size=2, max_size=8))
@example(["1'a,1'b", ("a", "b"), ["a", "b"], {"a": "b"}, ("1'a,1'b",), "(1'a,1'b)"])
def test_different_values_have_different_texts(values: list[object]) -> None:
    """As many texts as values: none is taken for another one."""
    assert len(set(map(encode, values))) == len(set(map(identity, values)))


@examples
@given(st.lists(st.lists(VALUES, max_size=3), min_size=2, max_size=4))
def test_values_in_a_row_are_cut_in_one_way(rows: list[list[object]]) -> None:
    """Texts put side by side, with any of our marks between them, tell where each of them ends."""
    for mark in (",", "|", "=", ")"):
        joined = {"".join(encode(value) + mark for value in row) for row in rows}

        assert len({tuple(map(identity, row)) for row in rows}) == len(joined)


@cached_query(vary=lambda varied: varied, version="1")
def rows(club: object, page: object = 1, *args: object, varied: object = None, **kwargs: object) -> object:
    """Take arguments of each kind."""
    return club, page, args, varied, kwargs


@examples
@given(VALUES, VALUES, VALUES, KEYWORDS.map(lambda given: {f"k_{name}": value for name, value in given.items()}))
def test_forms_of_one_call_have_one_key(club: object, page: object, varied: object, more: dict[str, Any]) -> None:
    """By position, by name, in the opposite order, made again: one call, with one key and one token."""
    backwards = dict(reversed(more.items()))

    resolve_call = [
        rows._spec.resolve_call(args, kwargs)[1]
        for args, kwargs in (
            ((club, page), {"varied": varied, **more}),
            ((club,), {**backwards, "varied": rebuilt(varied), "page": rebuilt(page)}),
            ((), {"varied": varied, **backwards, "page": page, "club": rebuilt(club)}),
        )
    ]
    token = rows._spec.own_token((club, page), {**more, "varied": varied}).key

    assert resolve_call[0] == resolve_call[1] == resolve_call[2]
    assert resolve_call[0][1] == token


@examples
@given(st.lists(st.tuples(VALUES, VALUES, st.lists(VALUES, max_size=2), VALUES, KEYWORDS), min_size=2, max_size=3))
def test_different_calls_have_different_keys(calls: list[tuple[Any, Any, list[Any], Any, dict[str, Any]]]) -> None:
    """As many keys as calls; an entry's, and a call's own token's."""
    keys, tokens, identities = set(), set(), set()
    for club, page, rest, varied, more in calls:
        more.pop("club", None)
        _, [key, token, *_] = rows._spec.resolve_call((club, page, *rest), {"varied": varied, **more})
        keys.add(key)
        tokens.add(token)
        identities.add((identity((club, page, rest, more)), identity(varied)))

    assert (len(identities), len(identities)) == (len(keys), len(tokens))
    assert keys.isdisjoint(tokens)


@examples
@given(
    st.tuples(TEXTS, TEXTS, TEXTS),
    st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=6),
)
@example(("", "'", ""), [(3, "b=1"), ("b=3", 1)])
@example(("", "", "'"), [(1, 3), (1, "|'3")])
def test_template_of_any_text_tells_calls_apart(text: tuple[str, str, str], calls: list[tuple[object, object]]) -> None:
    """For any text of a template, there are as many keys as calls."""
    before, between, after = (each.replace("{", "{{").replace("}", "}}") for each in text)

    @cached_query(key=f"{before}{{a}}{between}{{b}}{after}", vary=lambda: "'")
    def pair(a: object, b: object) -> object:
        return a, b

    keys = {pair.key_for(*call) for call in calls}

    assert len(set(map(identity, calls))) == len(keys)


@examples
@given(TEXTS, st.sampled_from(["it", "it.real", "it.real.real"]), TEXTS, TEXTS, st.integers(0, 9))
@example("'s", "it", '"', "\\", 1)
@example("{", "it", "}", "\n\x00'''", 1)
@example('"', "it.real", "", "", 1)
@example("'\"\\", "it.real", "", "", 0)
def test_text_of_any_option_is_no_source(before: str, field: str, version: str, name: str, value: int) -> None:
    """Quotes, backslashes and braces in templates, names and versions end nothing in the compiled functions."""
    template = before.replace("{", "{{").replace("}", "}}").replace(":", "") + f"x{{{field}}}"

    @cached_query(
        name="any " + name.replace("(", ""),
        key=template,
        namespace=template,
        version=version,
        depends_on=[rows_of(Club, name=template)],
    )
    def any_text(it: object) -> object:
        return it

    keyed = any_text._spec._plan.keyed
    [dependency] = any_text._spec.dependencies
    expression = dependency._text_expression(keyed, Club._meta.get_field("name"))
    part = eval(f"f{keyed.part_source(expression)!r}", keyed.all_values(), {"it": value})  # noqa: S307 -- generated

    assert part_of(text_of(Club._meta.get_field("name"), f"{before.replace(':', '')}x{value}")) == part
    assert any_text.key_for(value) != any_text.key_for(value + 1)


PARTS = st.lists(st.one_of(TEXTS, st.integers(), st.uuids(), st.dates(), st.booleans()), min_size=1, max_size=4)


def as_text(parts: list[Any]) -> tuple[str, ...]:
    """Return what parts of a namespace are compared by."""
    return tuple(part.isoformat() if isinstance(part, dt.date) else str(part) for part in parts)


@examples
@given(st.lists(PARTS, min_size=2, max_size=6))
@example([["a:b"], ["a", "b"], ["a%3Ab"], ["a", "", "b"], ["", ""], [""], ["a::b"]])
def test_namespaces_are_equal_where_their_parts_are_as_text(many: list[list[object]]) -> None:
    """As many namespaces as paths of texts: no part reaches out of its place."""
    paths = {as_text(parts) for parts in many}

    assert len(paths) == len({Namespace(*parts) for parts in many}) == len({Namespace(*path) for path in paths})


@examples
@given(PARTS, PARTS)
@example(["club"], ["clubs"])
@example(["club", 7], ["club", 77])
@example(["club", ""], ["club"])
def test_namespace_covers_what_begins_with_its_parts(one: list[object], other: list[object]) -> None:
    """An entry depends on the tokens of all the namespaces above its own, and on no other one's."""
    covered = f"cd:n:{Namespace(*one).path}" in token_keys(Namespace(*other), "cd")

    assert covered is (as_text(one) == as_text(other)[: len(one)])


# Of each part: its text before a field, whether there is a field, its text after it.
WRITTEN = st.tuples(TEXTS, st.booleans(), TEXTS).map(
    lambda part: (part[0].replace(":", ""), part[1], part[2].replace(":", "") or "x")
)


@examples
@given(st.lists(WRITTEN, min_size=1, max_size=3), st.one_of(TEXTS, st.integers(), st.uuids()))
@example([("club", False, "x"), ("", True, "}")], "a:b")
@example([("{field}", True, "{}"), ("%3A", True, "%")], "{field}")
def test_template_names_the_namespace_that_its_parts_name(written: list[tuple[str, bool, str]], field: object) -> None:
    """A template and `Namespace()` write one path: the text split at ":", the field never."""
    escaped = [[text.replace("{", "{{").replace("}", "}}") for text in (part[0], part[2])] for part in written]
    template = ":".join(
        f"{before}{{field}}{after}" if part[1] else before + after
        for part, (before, after) in zip(written, escaped, strict=True)
    )

    @cached_query(namespace=template)
    def under(field: object) -> object:
        return field

    tokens = under._spec.resolve().compiled_keys.keys(field)[3:]

    parts = [f"{before}{field if filled else ''}{after}" for before, filled, after in written]
    assert token_keys(Namespace(*parts), "cd") == bare_each(tokens)
