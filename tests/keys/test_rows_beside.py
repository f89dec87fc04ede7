"""Rows with values beside their fields, as `annotate()` and `Prefetch(to_attr=...)` give them: they are in the key."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.contrib.contenttypes.models import ContentType
from django.db.models import CASCADE, ForeignKey, IntegerField, Model, Prefetch, Value
from django.test.utils import isolate_apps
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from cachedeco import MISSING, cached_query, cached_query_many
from cachedeco.keys.encoders import encode
from cachedeco.keys.prefetched import _usual_choice
from cachedeco.testing import capture_events
from tests.models import Club, ClubClass, Member, Trainee

pytestmark = pytest.mark.django_db


class Memory(Club):
    """A row with a value that it works out once."""

    class Meta:
        """Make it a proxy."""

        proxy = True

    @cached_property
    def shouted(self) -> str:
        """Return the name, loud."""
        return self.name.upper()


def liked(text: object) -> Club:
    """Read the row with an annotation."""
    return Club.objects.annotate(liked=Value(text)).get()


@pytest.fixture(autouse=True)
def club() -> Club:
    """Give a saved row."""
    return Club.objects.create(name="North")


def test_annotations_tell_calls_apart() -> None:
    """What a query says for one visitor is not served to the next; in a list, over many ids and as `self` either."""

    @cached_query
    def card(club: Any) -> str:
        return f"{club} {club.liked}"

    @cached_query
    def cards(clubs: list[Any]) -> list[str]:
        return [f"{club} {club.liked}" for club in clubs]

    @cached_query_many(over="clubs")
    def many(clubs: list[Any]) -> dict[Any, str]:
        return {club: f"{club} {club.liked}" for club in clubs}

    def all_of(row: Any) -> list[Any]:
        return [card(row), cards([row])[0], many([row])[row]]

    assert ["North by Ann"] * 3 == all_of(liked("by Ann"))
    assert ["North by Bob"] * 3 == all_of(liked("by Bob"))
    assert ["North by Ann"] * 3 == all_of(liked("by Ann"))
    assert 1 == card.stats().hits == cards.stats().hits == many.stats().hits


def test_invalidation_by_the_row_reaches_it_with_each_annotation() -> None:
    """Who invalidates has the row as it is saved."""

    @cached_query(depends_on=())
    def card(clubs: set[Club], text: str) -> str:
        return f"{len(clubs)}{text}"

    others = Club.objects.bulk_create([Club(pk=71, name="South"), Club(pk=7, name="East")])
    rows = [frozenset(Club.objects.filter(pk__in=[7, 71]).annotate(liked=Value(n))) for n in range(2)]
    for row in rows:
        card(row, "a!b")

    card.invalidate(frozenset(others), "a!b")

    assert [MISSING] * 2 == [card.peek(row, "a!b") for row in rows]


def test_prefetched_rows_in_an_attribute_tell_calls_apart(club: Club) -> None:
    """They may be those that one visitor may see."""
    for name in ("Ann", "Bob"):
        Member.objects.create(name=name).clubs.add(club)
    texts = set()

    for name in ("Ann", "Bob", "Cas"):
        known = Prefetch("members", Member.objects.filter(name=name), to_attr="known")
        texts.add(encode(Club.objects.prefetch_related(known).get()))

    assert 3 == len(texts)


MEMBERS: dict[str, Callable[[str], Any]] = {
    "filtered": lambda name: Member.objects.filter(name=name),
    "excluded": lambda name: Member.objects.exclude(name=name),
    "annotated": lambda name: Member.objects.annotate(known=Value(name)),
    "ordered": lambda name: Member.objects.order_by("name" if name == "Ann" else "-name"),
    "of its own": lambda name: Member.objects.prefetch_related(
        Prefetch("clubs", Club.objects.filter(name="North" if name == "Ann" else ""))
    ).order_by("pk"),
}


@pytest.mark.parametrize("chosen", MEMBERS)
def test_prefetched_rows_that_a_query_has_chosen_tell_calls_apart(club: Club, chosen: str) -> None:
    """The function gets these instead of all, and they may be those that one visitor may see."""
    for name in ("Ann", "Bob"):
        Member.objects.create(name=name).clubs.add(club)

    @cached_query
    def card(club: Club) -> list[str]:
        return [f"{each.name} {getattr(each, 'known', '')} {len(each.clubs.all())}" for each in club.members.all()]

    def read(name: str) -> Club:
        return Club.objects.prefetch_related(Prefetch("members", MEMBERS[chosen](name))).get()

    expected = {name: card.uncached(read(name)) for name in ("Ann", "Bob")}
    assert expected["Ann"] != expected["Bob"]

    assert expected == {name: card(read(name)) for name in expected}
    with capture_events(card) as events:
        assert expected == {name: card(read(name)) for name in expected}
    assert ["hit"] * 2 == [event.kind for event in events]
    card.invalidate(club)
    assert MISSING is card.peek(read("Ann"))


@pytest.mark.parametrize(
    ("make", "prefetch"),
    [
        (Club.objects.get, "members"),
        (Club.objects.get, "classes"),
        (Club.objects.get, Prefetch("classes", ClubClass.objects.select_related("club"))),
        (lambda: Member.objects.create(name="Ann"), "clubs"),
        (lambda: Trainee.objects.create(name="Ann"), "friends"),
        (lambda: Trainee.objects.create(name="Ann"), "pupils"),
        (lambda: Group.objects.create(name="all"), "permissions"),
        (lambda: ContentType.objects.create(app_label="a", model="b"), "permission_set"),
        (lambda: User.objects.create(username="Ann"), "groups"),
        (lambda: Group.objects.create(name="all"), "user_set"),
    ],
)
def test_all_rows_of_a_relation_tell_no_calls_apart(make: Callable[[], Any], prefetch: Any) -> None:
    """The row's own query would fetch them, too."""
    row = make()

    again = type(row).objects.prefetch_related(prefetch).get(pk=row.pk)

    assert again._prefetched_objects_cache
    assert encode(row) == encode(again)


class Strict(Club):
    """A row that can't be without a name."""

    class Meta:
        """Make it a proxy."""

        proxy = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Keep the first letter."""
        super().__init__(*args, **kwargs)
        self._first = self.name[0]


def test_row_of_a_class_that_asks_for_values_can_hold_prefetched_rows(club: Club) -> None:
    """To know what its own query would fetch, no row is made in the way of the user."""
    rows = [
        Strict.objects.prefetch_related(each).get() for each in ("members", Prefetch("members", Member.objects.none()))
    ]

    assert encode(club) == encode(rows[0]) != encode(rows[1])


def test_manager_that_raises_tells_calls_apart(club: Club, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that asks for a tenant may have none: what it would fetch is not known then, and the call goes on."""
    again = Club.objects.prefetch_related("members").get()
    _usual_choice.cache_clear()
    monkeypatch.setattr(Member._default_manager.__class__, "get_queryset", lambda _: {}["tenant"])

    texts = [encode(club), encode(again)]

    _usual_choice.cache_clear()
    assert texts[0] != texts[1]


def test_list_in_the_place_of_prefetched_rows_tells_calls_apart(club: Club) -> None:
    """Code of a project has set it, whether or not there is such a relation."""
    texts = [encode(club)]
    for name, rows in (("members", []), ("members", [Club.objects.get()]), ("nothing", [1])):
        club._prefetched_objects_cache = {name: rows}  # type: ignore[attr-defined] # as prefetch_related() does
        texts.append(encode(club))

    assert 4 == len({*texts})


def _with(value: object) -> Callable[[Club], None]:
    return lambda row: setattr(row, "held", value)


def _circle(row: Any) -> None:
    row.kids = [Club.objects.get(), (1, [2])]
    row.kids[0].parent = row


@pytest.mark.parametrize(
    "change",
    [_with(1), _with([1]), _with((1,)), _with({"a": 1}), _with(SimpleLazyObject(lambda: 1)), _circle],
    ids=["int", "list", "tuple", "dict", "lazy", "circle"],
)
def test_attribute_that_can_be_in_a_key_is_in_it(club: Club, change: Callable[[Model], None]) -> None:
    """A middleware may have set it."""
    row = Club.objects.get()
    change(row)
    again = Club.objects.get()
    change(again)

    assert encode(club) != encode(row) == encode(again)


@pytest.mark.parametrize(
    "change",
    [
        _with(partial(int, "7")),
        _with([object()]),
        _with(Club(name="unsaved")),
        lambda row: setattr(row, "_private", 1),
        lambda row: row.refresh_from_db(),
    ],
    ids=["function", "object", "unsaved row", "private", "nothing"],
)
def test_attribute_that_can_not_be_in_a_key_is_left_out(club: Club, change: Callable[[Model], None]) -> None:
    """So is what libraries keep with a row, under private names."""
    row = Club.objects.get()
    change(row)

    assert encode(club) == encode(row)


def test_attribute_that_contains_itself_is_the_usual_error() -> None:
    """Its text would have no end."""
    row, held = Club.objects.get(), list[Any]()
    held.append(held)
    row.held = held  # type: ignore[attr-defined]
    cached = cached_query(name="beside.endless", key="{club}")(lambda club: club.name)

    with pytest.raises(TypeError, match="contains itself, or is nested too deeply"):
        cached(row)


def _classes(visitor: str) -> Any:
    return ClubClass.objects.filter(name=visitor)


def _marked(visitor: str) -> Any:
    return Club.objects.annotate(mark=Value(visitor))


HELD: dict[str, tuple[type[Model], Callable[[str], list[Any]], Callable[[Any], Any]]] = {
    "annotated, by a foreign key": (
        ClubClass,
        lambda visitor: [Prefetch("club", _marked(visitor))],
        lambda row: row.club.mark,
    ),
    "left out, by a foreign key": (
        ClubClass,
        lambda visitor: [Prefetch("club", Club.objects.filter(name="North" if visitor == "Ann" else ""))],
        lambda row: hasattr(row, "club"),
    ),
    "annotated, in an attribute": (
        Member,
        lambda visitor: [Prefetch("clubs", _marked(visitor), to_attr="shown")],
        lambda row: [each.mark for each in row.shown],
    ),
    "chosen, two relations away": (
        Member,
        lambda visitor: ["clubs", Prefetch("clubs__classes", _classes(visitor))],
        lambda row: [len(each.classes.all()) for each in row.clubs.all()],
    ),
    "chosen, by a query of the relation": (
        Member,
        lambda visitor: [Prefetch("clubs", Club.objects.prefetch_related(Prefetch("classes", _classes(visitor))))],
        lambda row: [len(each.classes.all()) for each in row.clubs.all()],
    ),
    "in an attribute, two relations away": (
        Member,
        lambda visitor: ["clubs", Prefetch("clubs__classes", _classes(visitor), to_attr="shown")],
        lambda row: [len(each.shown) for each in row.clubs.all()],
    ),
    "annotated, two relations away": (
        Member,
        lambda visitor: ["clubs", Prefetch("clubs__classes", ClubClass.objects.annotate(mark=Value(visitor)))],
        lambda row: [each.mark for club in row.clubs.all() for each in club.classes.all()],
    ),
}


@pytest.mark.parametrize("way", HELD)
def test_rows_that_a_row_holds_tell_calls_apart(club: Club, way: str) -> None:
    """A query has chosen or annotated them for one visitor, at any depth; the next one is not served them."""
    Member.objects.create(name="Ann").clubs.add(club)
    ClubClass.objects.create(club=club, name="Ann", start_time=timezone.now())
    model, lookups, show = HELD[way]
    card = cached_query(name=f"beside.held{[*HELD].index(way)}", key="{row}")(show)

    def read(visitor: str) -> Any:
        return model._default_manager.prefetch_related(*lookups(visitor)).get()

    expected = {visitor: show(read(visitor)) for visitor in ("Ann", "Bob")}
    assert expected["Ann"] != expected["Bob"]

    assert expected == {visitor: card(read(visitor)) for visitor in expected}
    assert expected == {visitor: card(read(visitor)) for visitor in expected}
    assert 2 == card.stats().hits == card.stats().computations
    card.invalidate(model._default_manager.get())
    assert MISSING is card.peek(read("Ann"))


def test_row_tells_calls_apart_by_what_code_set_on_one_that_it_holds(club: Club) -> None:
    """Rows hold each other, also in a dict, and what is long is followed for some steps only."""
    ClubClass.objects.create(club=club, name="Judo", start_time=timezone.now())

    def read(mark: str, steps: int = 0) -> Any:
        row: Any = ClubClass.objects.select_related("club").get()
        row.club.by_name = {row.name: row}
        last = row.club
        for _ in range(steps):
            last.next = Club.from_db(None, ["id", "name"], [1, "North"])
            last = last.next
        last.mark = mark
        return row

    assert encode(read("a")) == encode(read("a")) != encode(read("b"))
    assert encode(read("a", 5)) != encode(read("b", 5))
    assert encode(read("a", 900)) == encode(read("b", 900))


@isolate_apps("tests")
def test_row_that_a_generic_relation_has_left_out_tells_calls_apart() -> None:
    """`GenericPrefetch()` has querysets of its own, too; the row's own query would find the other row."""
    from django.contrib.contenttypes.fields import GenericForeignKey

    class Label(Model):
        content_type = ForeignKey(ContentType, on_delete=CASCADE)
        object_id = IntegerField()
        target = GenericForeignKey()

        class Meta:
            app_label = "tests"

        def __str__(self) -> str:
            return f"{self.content_type_id}-{self.object_id}"

    label, other = (Label.from_db(None, ["id", "content_type_id", "object_id"], [1, 2, 3]) for _ in range(2))
    other._state.fields_cache["target"] = None

    assert encode(label) != encode(other)


def test_what_stands_for_a_row_is_looked_into(club: Club) -> None:
    """Code sets `comment.user = request.user`, which is the user by its attributes alone, and a test sets a mock."""
    lesson: Any = ClubClass.objects.create(club=club, name="Judo", start_time=timezone.now())
    usual = encode(lesson)
    lesson.club = SimpleLazyObject(Club.objects.get)
    assert usual == encode(lesson)

    texts = [usual]
    for name in ("by Ann", "by Bob"):
        lesson.club = SimpleLazyObject(partial(liked, name))
        texts.append(encode(lesson))
    assert 3 == len({*texts})

    lesson.club = Mock(spec=Club, pk=1, _state=Club()._state)
    assert usual == encode(lesson)


def test_rows_that_hold_the_usual_tell_no_calls_apart(club: Club) -> None:
    """Neither does what a function has asked of a row: its second call with the row is the same call."""
    ClubClass.objects.create(club=club, name="Judo", start_time=timezone.now())
    Member.objects.create(name="Ann").clubs.add(club)
    rows = [
        ClubClass.objects.get(),
        ClubClass.objects.select_related("club").get(),
        ClubClass.objects.prefetch_related("club__members__clubs", "club__classes").get(),
    ]

    assert 1 == len({encode(row) for row in rows})
    marked = ClubClass.objects.annotate(mark=Value(1))
    assert encode(marked.get()) == encode(marked.select_related("club").get())
    assert encode(liked("by Ann")) == encode(
        Club.objects.annotate(liked=Value("by Ann")).prefetch_related("members").get()
    )


def test_value_that_the_row_works_out_is_left_out() -> None:
    """A second call with the row that the first one has asked is the same call."""

    @cached_query
    def shout(club: Memory) -> str:
        return club.shouted

    row = Memory.objects.get()

    assert ["NORTH"] * 2 == [shout(row), shout(row)]
    assert 1 == shout.stats().hits


def test_anonymous_users_of_two_tenants_differ() -> None:
    """A middleware sets the tenant on each user, and no other tenant's page may be served; invalidated are all."""

    @cached_query
    def title(user: Any) -> str:
        return f"{user} of {user.tenant}"

    users = [AnonymousUser(), AnonymousUser()]
    for user, tenant in zip(users, ("Ann", "Bob"), strict=True):
        user.tenant = tenant  # type: ignore[attr-defined]

    assert ["AnonymousUser of Ann", "AnonymousUser of Bob"] * 2 == [title(user) for user in (*users, *users)]
    title.invalidate(AnonymousUser())
    assert [MISSING] * 2 == [title.peek(user) for user in users]


def test_prefetched_and_deferred_rows_have_one_key(club: Club) -> None:
    """How much of a row was read changes no key."""
    rows = [Club.objects.prefetch_related("members").get(), Club.objects.only("pk").get()]

    assert {encode(club)} == {encode(row) for row in rows}
