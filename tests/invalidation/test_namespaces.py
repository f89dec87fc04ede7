"""Names of namespaces: parts compared as text, joined so that no part can reach out of its place."""

import copy
import datetime as dt
import enum
import pickle
import uuid
from time import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models import TextChoices
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy, ngettext_lazy

from cachedeco import MISSING, CachedQuery, Namespace, cached_query
from cachedeco.invalidation.namespaces import token_keys
from tests.models import Club, ClubClass, Member, ProxyClub, SportsClub, UuidThing
from tests.support.stored import bare, bare_each, stored


class Level(TextChoices):
    """An enum of Django's."""

    BEGINNER = "b", "Beginner"


class Rank(enum.IntEnum):
    """An enum of numbers."""

    FIRST = 1


class Nested(enum.Enum):
    """An enum with a value that names nothing."""

    PAIR = (1, 2)


ID = uuid.UUID(int=7)
DAY = dt.date(2026, 11, 22)
MOMENT = dt.datetime(2026, 11, 22, 12, 30, 0, 1, tzinfo=dt.UTC)


def tokens(cached: CachedQuery[..., Any], *args: object) -> list[str]:
    """Return the names of the tokens of namespaces that a call depends on."""
    return bare_each(cached._spec.resolve_call(args, {})[1][3:])


@pytest.mark.parametrize(
    ("parts", "same"),
    [
        (("club", 7), ("club", "7")),
        (("club", -7), ("club", "-7")),
        (("thing", ID), ("thing", str(ID))),
        (("day", DAY), ("day", "2026-11-22")),
        (("at", MOMENT), ("at", "2026-11-22T12:30:00.000001+00:00")),
        (("level", Level.BEGINNER), ("level", "b")),
        (("rank", Rank.FIRST), ("rank", 1)),
        (("flag", True), ("flag", "True")),
        (("lazy", SimpleLazyObject(lambda: 7)), ("lazy", 7)),
    ],
    ids=lambda parts: str(parts[0]),
)
def test_parts_are_compared_as_text(parts: tuple[object, ...], same: tuple[object, ...]) -> None:
    """A part that comes from a URL names what a part that comes from a row names."""
    left, right = Namespace(*parts), Namespace(*same)

    assert left == right
    assert hash(left) == hash(right)


@pytest.mark.django_db
def test_row_is_its_primary_key() -> None:
    """A row, a proxy of it, a child of it and a lazy one name what the primary key names."""
    child = SportsClub.objects.create(pk=7, name="a", sport="rowing")
    rows = [Club.objects.get(pk=7), ProxyClub.objects.get(pk=7), child, SimpleLazyObject(lambda: child)]
    thing = UuidThing.objects.create(id=ID, name="a")
    member = Member.objects.create(pk=7, name="a")

    spaces = {Namespace("club", row) for row in (*rows, member, 7, "7")}

    assert {Namespace("club", 7)} == spaces
    assert Namespace("thing", str(ID)) == Namespace("thing", thing)


@pytest.mark.parametrize(
    "many",
    [
        [("club",), ("clubs",), ("Club",), ("club", ""), ("", "club"), ("",), ("", "")],
        [("club", 7), ("club:7",), ("club%3A7",), ("club", ":7"), ("club:", 7), ("club", "", 7), ("club", 7, "")],
        [("a", "b", "c"), ("a:b", "c"), ("a", "b:c"), ("a:b:c",), ("abc",), ("a", "bc"), ("ab", "c")],
        [("a b",), ("a+b",), ("a%20b",), ("a_b",), ("a\tb",), ("a\nb",), ("a",), ("a/b",), ("a", "b")],
        [("ü",), ("u",), ("%C3%BC",), ("u\u0308",), ("\ud800",), ("\ud801",), ("?",)],
        [("{club}",), ("club",), ("%7Bclub%7D",), ("{{club}}",), ("{}",), ("#",), ("()",), ("n:club",)],
        [("club", 7), ("club", 77), ("club", "07"), ("club", (7.0).hex()), ("club", True)],
    ],
)
def test_different_parts_are_different_namespaces(many: list[tuple[Any, ...]]) -> None:
    """No part can be written such that it is read as two, or as a part of another name."""
    paths = {Namespace(*parts).path for parts in many}

    assert len(many) == len(paths)


@pytest.mark.parametrize(
    "part",
    [None, 7.0, b"a", ("club", 7), ["a"], {}, object(), Nested.PAIR, Club, Namespace("club"), dt.timedelta(1)],
    ids=lambda part: type(part).__name__,
)
def test_part_of_another_type_is_refused(part: object) -> None:
    """What has no text that a URL could hold is refused, with what is taken."""
    with pytest.raises(TypeError, match="its parts are str, int, UUID, date, datetime, enum members or rows"):
        Namespace("club", part)


def test_one_moment_has_one_name_in_each_time_zone() -> None:
    """Datetimes that are equal name one namespace; one without a zone is another one."""
    noon = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)

    names = {Namespace(noon), Namespace(noon.astimezone(dt.timezone(dt.timedelta(hours=2))))}

    assert {Namespace("2026-11-22T12:00:00+00:00")} == names
    assert Namespace("2026-11-22T12:00:00") == Namespace(noon.replace(tzinfo=None))


def test_lazy_text_without_its_number_is_refused() -> None:
    """Whether it is singular or plural is not known: it names nothing yet."""
    with pytest.raises(TypeError, match="its number is not known: pass the text with its number"):
        Namespace(ngettext_lazy("%(number)d club", "%(number)d clubs", "number"))


def test_lazy_text_with_its_number_is_that_text() -> None:
    """With its number it is a text as any other one."""
    clubs = ngettext_lazy("%(number)d club", "%(number)d clubs", "number")

    assert Namespace("2 clubs") == Namespace(clubs % {"number": 2})


def test_lazy_text_is_its_text() -> None:
    """It names what its text names now."""
    assert Namespace("club") == Namespace(gettext_lazy("club"))


def test_no_parts_are_refused() -> None:
    """A namespace of everything can't be made by leaving out its parts."""
    with pytest.raises(TypeError, match=r"one or more parts, such as Namespace\('club', 7\)"):
        Namespace()


@pytest.mark.parametrize("row", [Club(name="a"), UuidThing(name="a"), SimpleLazyObject(Club)])
def test_row_that_is_not_saved_is_refused(row: object) -> None:
    """A row without a primary key, or with one that no table has, names nothing."""
    with pytest.raises(TypeError, match="is not saved, so it names no namespace: save it"):
        Namespace("club", row)


@pytest.mark.django_db
def test_row_that_is_deleted_is_refused_as_such() -> None:
    """Django takes its primary key away, so that it names nothing any more."""
    club = Club.objects.create(name="a")
    club.delete()

    for name in (lambda: Namespace("club", club), lambda: Namespace.for_model(ClubClass, club=club)):
        with pytest.raises(TypeError, match=r"gone, as after delete\(\), so it names no namespace: do this before"):
            name()


def test_refusal_survives_a_repr_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is ours also where the part can't be shown."""
    monkeypatch.setattr(Club, "__str__", lambda row: row.nothing)

    with pytest.raises(TypeError, match="is not saved, so it names no namespace"):
        Namespace("club", Club())


def test_tokens_are_those_of_all_above() -> None:
    """An entry under a namespace depends on every namespace that covers it, the widest first."""
    names = token_keys(Namespace("club", 7, "a:b"), "cd")

    assert ["cd:n:club", "cd:n:club:7", "cd:n:club:7:a%3Ab"] == names


def test_namespace_shows_its_path() -> None:
    """The repr is what is looked for in a log."""
    assert "<Namespace club:7>" == repr(Namespace("club", 7))


def test_namespace_is_no_other_value() -> None:
    """A namespace equals namespaces only."""
    assert Namespace("club") != "club"
    assert 2 == len({Namespace("club"), "club", Namespace("club")})


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])  # noqa: S301
def test_namespace_can_be_copied(copied: Any) -> None:
    """A namespace can be sent to a worker, which invalidates the same."""
    assert Namespace("club", 7) == copied(Namespace("club", 7))


# --- what a function says of its namespaces ---


def of(namespace: Any) -> CachedQuery[..., Any]:
    """Decorate a function with a namespace."""

    def rows(club: Any, page: object = 1) -> list[object]:
        return [club, page]

    return cached_query(namespace=namespace)(rows)


@pytest.mark.parametrize(
    "namespace",
    [
        Namespace("club", 7),
        "club:{club}",
        lambda club: Namespace("club", club),
        [Namespace("club"), "club:{club}"],
        (lambda club: [Namespace("club", club)],),
        [lambda: Namespace("club"), lambda **rest: (Namespace("club", rest["club"]),)],
        [lambda club: {Namespace("club", club), Namespace("club")}],
    ],
)
def test_every_way_to_name_a_namespace_names_the_same(namespace: Any) -> None:
    """An instance, a template, a callable, several of them: the same tokens."""
    names = tokens(of(namespace), 7)

    assert {"cd:n:club", "cd:n:club:7"} == set(names)


@pytest.mark.parametrize(
    ("template", "value", "parts"),
    [
        ("club", 7, ("club",)),
        ("club:{club}", 7, ("club", 7)),
        ("club:{club}", "7:8", ("club", "7:8")),
        ("club:{club}:page:{page}", "a", ("club", "a", "page", 1)),
        ("{club}", "a:b", ("a:b",)),
        ("{club}{page}", "a", ("a1",)),
        ("club-{club}.x:y", "a", ("club-a.x", "y")),
        ("club {club}:ü", "ö", ("club ö", "ü")),
        ("{{{club}}}:x", 7, ("{7}", "x")),
        ('it\'s "{club}"\\', 7, ('it\'s "7"\\',)),
        ("club:{club}", "", ("club", "")),
        ("day:{club}", DAY, ("day", "2026-11-22")),
        ("club:{club}", Level.BEGINNER, ("club", "b")),
    ],
)
def test_template_is_split_at_its_own_colons(template: str, value: object, parts: tuple[object, ...]) -> None:
    """A template's text is split into parts; what a field holds never is."""
    names = tokens(of(template), value)

    assert token_keys(Namespace(*parts), "cd") == names


def test_template_follows_attributes() -> None:
    """A field may be a path of attributes, as in a key."""

    @cached_query(key="{club.pk}", namespace="owner:{club.owner.pk}")
    def rows(club: Any) -> list[object]:
        return [club]

    names = tokens(rows, SimpleNamespace(pk=7, owner=SimpleNamespace(pk="a:b")))

    assert ["cd:n:owner", "cd:n:owner:a%3Ab"] == names


@pytest.mark.parametrize("template", ["", ":", "club:", ":club", "club::{club}", "{club}:", ":{club}", "::"])
def test_template_with_an_empty_part_is_refused(template: str) -> None:
    """A part that the template itself leaves empty is a slip of the pen."""
    with pytest.raises(ValueError, match=r"has an empty part; write it as 'club:\{club\.pk\}'"):
        of(template)


@pytest.mark.parametrize("given", [None, "club:7", 7, ["club"], [Namespace("club"), None], Club], ids=repr)
def test_callable_that_gives_no_namespace_is_refused(given: object) -> None:
    """What a callable gives is checked at the call: a text is not read as a template."""
    with pytest.raises(TypeError, match=r"rows\(\): the callable of namespace= gave .*; it must give a Namespace"):
        of(lambda: given)(7)


def test_one_of_several_that_is_no_namespace_is_named() -> None:
    """`[Namespace("club"), club.city and Namespace("city", club.city)]` gives None only now and then."""
    with pytest.raises(TypeError, match=r"the callable of namespace= gave None in a list; it must give a Namespace"):
        of(lambda club: [Namespace("club", club), None])(7)


@pytest.mark.parametrize("using", [None, "nowhere", 7])
def test_database_that_is_none_is_refused(using: Any) -> None:
    """By hand as at decoration: the error has the aliases that there are."""
    with pytest.raises(ValueError, match=rf"using={using!r}; it takes an alias of DATABASES: default, other\."):
        Namespace("club", 7).invalidate(using=using)


def test_tokens_of_values_that_no_row_has_end_by_themselves() -> None:
    """Each unknown part of a URL makes a namespace: none of them may stay in a cache that evicts nothing."""
    of("club:{club}")(404)

    ends = {bare(key): end for key, end in stored()._expire_info.items() if ":n:" in key}  # type: ignore[attr-defined]
    assert {"cd:n:club", "cd:n:club:404"} == ends.keys()
    assert all(end - time() < 31 * 24 * 3600 for end in ends.values())


def test_callable_may_give_none_at_all() -> None:
    """A function may be in no namespace for some of its calls."""
    cached = of(lambda club: [Namespace("club", club)] if club else ())

    assert ([], ["cd:n:club", "cd:n:club:7"]) == (tokens(cached, 0), tokens(cached, 7))


def test_callable_that_gives_namespaces_in_any_order_gives_one_stamp() -> None:
    """The order in which namespaces are given, and how often, is no difference between two calls."""
    spaces = [Namespace("b"), Namespace("a", 1), Namespace("b"), Namespace("a", 2)]

    names = [tokens(of(lambda order=order: order), 7) for order in (spaces, spaces[::-1], set(spaces), iter(spaces))]

    assert [["cd:n:a", "cd:n:a:1", "cd:n:a:2", "cd:n:b"]] * 4 == names


def test_namespaces_with_common_parts_need_no_token_twice() -> None:
    """Two templates under one namespace share its token: each key costs a hit some time."""
    names = tokens(of(["club:{club}", "club:{club}:page:{page}", Namespace("club", "x"), "club"]), 7)

    assert len(names) == len(set(names))
    assert {"cd:n:club", "cd:n:club:7", "cd:n:club:7:page", "cd:n:club:7:page:1", "cd:n:club:x"} == set(names)


def test_argument_that_names_no_namespace_is_refused() -> None:
    """A field that holds no part is an error at the call that says what is one."""
    with pytest.raises(TypeError, match=r"Namespace\(\) can't take <float object>; its parts are"):
        of("club:{club}")(7.5)


def test_namespace_invalidated_reaches_what_it_covers_and_no_other() -> None:
    """Every entry below is dead, every entry beside is not, for any texts of its parts."""
    cached = of("club:{club}")
    values = [7, "7:8", "77", "7%3A8", "", "club"]

    def alive() -> list[object]:
        return [value for value in values if cached.peek(value) is not MISSING]

    found = []
    for space in (Namespace("club", 7), Namespace("club", "7", 8), Namespace("club", "7:8"), Namespace("clu")):
        for value in values:
            cached(value)
        space.invalidate()
        found.append(alive())
    Namespace("club").invalidate()

    assert [[each for each in values if each != 7], values, [each for each in values if each != "7:8"], values] == found
    assert [] == alive()
