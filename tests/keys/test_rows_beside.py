"""Rows with values beside their fields, as `annotate()` and `Prefetch(to_attr=...)` give them: they are in the key."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, Prefetch, Value
from django.utils.functional import SimpleLazyObject

from cachedeco import MISSING, cached_query, cached_query_many
from cachedeco.keys import saved_rows
from cachedeco.keys.encoders import encode
from cachedeco.keys.prefetched import _usual_choice
from cachedeco.keys.saved_rows import MOST_ROWS, names_left_out
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


class Closed(Club):
    """A row that is not even made without values."""

    class Meta:
        """Make it a proxy."""

        proxy = True

    def __new__(cls, *args: Any, **_: Any) -> Any:
        """Ask for values."""
        cls.first = args[0]
        return super().__new__(cls)


def test_row_of_a_class_that_asks_for_values_can_hold_prefetched_rows(club: Club) -> None:
    """To know what its own query would fetch, no row is made in the way of the user."""
    rows = [
        Strict.objects.prefetch_related(each).get() for each in ("members", Prefetch("members", Member.objects.none()))
    ]

    assert encode(club) == encode(rows[0]) != encode(rows[1])


def test_class_that_makes_no_row_without_values_tells_calls_apart(club: Club) -> None:
    """What its own query would fetch is not known then, and the call goes on."""
    assert encode(club) != encode(Closed.objects.prefetch_related("members").get())


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


@pytest.mark.parametrize("wrap", [lambda held, _: held, lambda _, row: {"row": row}], ids=["list", "row"])
def test_attribute_that_contains_itself_is_the_usual_error(wrap: Callable[[object, Club], object]) -> None:
    """Its text would have no end."""
    row, held = Club.objects.get(), list[Any]()
    held.append(held)
    row.held = wrap(held, row)  # type: ignore[attr-defined]
    cached = cached_query(name="beside.endless", key="{club}")(lambda club: club.name)

    with pytest.raises(TypeError, match="contains itself, or is nested too deeply"):
        cached(row)


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


def test_rows_that_hold_each_other_are_visited_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are more ways from row to row than a walk along each could end."""
    rows = [Trainee.from_db("default", ["id", "name", "mentor_id"], [n, "Ann", None]) for n in range(30)]
    for row in rows:
        row.__dict__["all"] = rows
    visited: list[Any] = []
    monkeypatch.setattr(saved_rows, "chosen_rows", lambda row: visited.append(row) or [])

    names = list(names_left_out(rows[0]))

    assert (["tests.Trainee.all"] * 29, 30) == (names, len(visited))


def test_lazy_objects_of_rows_that_a_row_holds_are_not_worked_out() -> None:
    """The key has none of what these rows have: what such an object asks, as `request.user` does, is the function's."""
    mentor = Trainee.from_db("default", ["id", "name", "mentor_id"], [1, "Ann", None])
    mentor.__dict__["viewer"] = SimpleLazyObject(lambda: pytest.fail("it was asked"))
    row = Trainee.from_db("default", ["id", "name", "mentor_id"], [2, "Bob", 1])
    row.mentor = mentor

    assert ["tests.Trainee.viewer"] == list(names_left_out(row))


def test_rows_that_a_row_holds_are_visited_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row of a long list may hold the list: a loop over these would take the square of its length."""
    rows = [Trainee.from_db("default", ["id", "name", "mentor_id"], [n, "Ann", None]) for n in range(300)]
    rows[0].__dict__["_prefetched_objects_cache"] = {"trainees": rows}
    visited: list[Any] = []
    monkeypatch.setattr(saved_rows, "chosen_rows", lambda row: visited.append(row) or [])

    names = list(names_left_out(rows[0]))

    assert ([], MOST_ROWS) == (names, len(visited))
