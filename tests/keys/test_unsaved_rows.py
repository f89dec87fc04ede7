"""A row without a primary key is refused on each way into a key or a namespace: all such rows would have one text."""

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import models
from django.test.utils import isolate_apps
from django.utils.functional import SimpleLazyObject

from cachedeco import MISSING, Namespace, cached_query, cached_query_many
from cachedeco.keys.encoders import encode
from cachedeco.keys.refusals import KeyTypeError
from cachedeco.keys.unsaved import UnsavedRowError, path_text
from tests.models import Club, ClubClass, UuidThing


def _lesson(**attributes: object) -> ClubClass:
    """Make a row of a club that is not saved; the row itself has a primary key."""
    return ClubClass(**{"pk": 5, "club": Club(name="A"), **attributes})


def _of_deleted_row() -> Club:
    """Make a row as Django leaves one that it has deleted."""
    club = Club(name="A")
    club._state.adding = False
    return club


class Numbered:
    """An object that computes a number from its row."""

    def __init__(self, row: Club) -> None:
        """Keep the row."""
        self.row = row

    @property
    def number(self) -> int:
        """Return the primary key, or 0."""
        return self.row.pk or 0


class Cart(Club):
    """A row with a length, which no key may ask for: it may be a query."""

    class Meta:
        """Make it a proxy."""

        proxy = True
        app_label = "tests"

    def __len__(self) -> int:
        """Refuse."""
        raise AssertionError


# By the options of a function of one argument, `it`: arguments of which two that differ would share an entry.
WAYS: dict[str, tuple[dict[str, Any], Callable[[], object]]] = {
    "argument": ({}, lambda: Club(name="A")),
    "argument in a list": ({}, lambda: [{"a": (Club(name="A"),)}]),
    "pk": ({"key": "{it.pk}", "depends_on": [Club]}, lambda: Club(name="A")),
    "column": ({"key": "{it.id}"}, lambda: Club(name="A")),
    "deleted": ({"key": "{it.pk}"}, _of_deleted_row),
    "pk of a lazy object": ({"key": "{it.pk}"}, lambda: SimpleLazyObject(lambda: User(username="a"))),
    "pk behind a row": ({"key": "{it.club.pk}"}, _lesson),
    "pk behind an object": ({"key": "{it.club.pk}"}, lambda: SimpleNamespace(club=Club(name="A"))),
    "column of a foreign key": ({"key": "{it.club_id}"}, _lesson),
    "row behind a row": ({"key": "{it.club}"}, _lesson),
    "callable": ({"key": lambda it: it.pk}, lambda: Club(name="A")),
    "callable, in a tuple": ({"key": lambda it: (it.name, it.pk)}, lambda: Club(name="A")),
    "callable, as text": ({"key": lambda it: f"club {it.pk}"}, lambda: Club(name="A")),
    "callable, computed": ({"key": lambda it: (it.pk or 0, None)}, lambda: Club(name="A")),
    "callable, or 0": ({"key": lambda it: it.pk or 0}, lambda: Club(name="A")),
    "callable, or nothing": ({"key": lambda it: it.pk or ""}, lambda: Club(name="A")),
    "property, or 0": (
        {"key": "{it.number}"},
        lambda: Numbered(Club(name="A")),
    ),
    "callable, foreign key": ({"key": lambda it: it.club_id}, _lesson),
    "callable, related row": ({"key": lambda it: it.club.pk}, _lesson),
    "callable, rows in a list": ({"key": lambda it: [each.pk for each in it]}, lambda: [Club(name="A")]),
    "callable, rows in a dict": ({"key": lambda it: it["a"].pk}, lambda: {"a": Club(name="A")}),
    "callable, row of an object": ({"key": lambda it: it.row.pk}, lambda: SimpleNamespace(row=Club(name="A"))),
    "vary": ({"key": "{it.name}", "vary": lambda it: it.pk}, lambda: Club(name="A")),
    "vary, the row": ({"key": "{it.name}", "vary": lambda it: it}, lambda: Club(name="A")),
    "namespace": ({"key": "{it.name}", "namespace": "club:{it.pk}"}, lambda: Club(name="A")),
    "namespace, the row": ({"key": "{it.name}", "namespace": "club:{it}"}, lambda: Club(name="A")),
    "namespace, foreign key": ({"key": "{it.name}", "namespace": "club:{it.club_id}"}, _lesson),
    "namespace, callable": (
        {"key": "{it.name}", "namespace": lambda it: Namespace("club", it.pk)},
        lambda: Club(name="A"),
    ),
    "namespace, callable, as text": (
        {"key": "{it.name}", "namespace": lambda it: [Namespace("club", f"{it.pk}")]},
        lambda: Club(name="A"),
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_row_without_a_primary_key_is_refused_with_function_and_field(way: str) -> None:
    """Each verb that looks at the way raises a TypeError that names the function and what to do."""
    options, make = WAYS[way]
    cached = cached_query(name="unsaved.rows", **options)(lambda it: it)
    is_in_token = not {"vary", "namespace"} & options.keys()

    for verb in [cached, cached.refresh, cached.peek, cached.key_for, *([cached.invalidate] if is_in_token else [])]:
        with pytest.raises(TypeError, match=r"unsaved\.rows\(\).*(save it|do this before|its parts are)"):
            verb(make())


class Form:
    """Something that holds a row; unlike that it can be one of many ids."""

    def __init__(self, row: Club) -> None:
        """Keep the row."""
        self.row = row


@pytest.mark.parametrize("key", ["{each.row.pk}", lambda each: each.row.pk, lambda each: [each.row]], ids=range(3))
def test_row_without_a_primary_key_is_refused_among_many(key: Any) -> None:
    """One of many ids is looked at as an argument is."""

    @cached_query_many(over="forms", key=key)
    def many(forms: list[Form]) -> dict[Form, str]:
        return {form: form.row.name for form in forms}

    for verb in (many, many.invalidate, many.peek):
        with pytest.raises(TypeError, match="it is not saved"):
            verb([Form(Club(name="A"))])


@pytest.mark.parametrize(
    ("options", "value", "other"),
    [
        ({"key": "{it.pk}"}, Club(pk=7), Club(pk=8)),
        ({"key": lambda it: it.pk}, Club(pk=7), Club(pk=8)),
        ({"key": "{it.pk}"}, UuidThing(), UuidThing()),
        ({"key": "{it.name}"}, Club(name="A"), Club(name="None")),
        ({"key": "{it.name}"}, Club(name=""), Club(name="A")),
        ({"key": lambda it: it.name or 0}, Club(name=""), Club(name="A")),
        ({"key": lambda it: (it.name, None)}, Club(name="A"), Club(name="B")),
        ({"key": lambda it: [None, it["name"]]}, {"name": "A", "row": Club()}, {"name": "B", "row": Club()}),
        ({"key": lambda it: it}, None, "None"),
        ({"key": "{it.start_time}:{it.name}"}, ClubClass(name="A"), ClubClass(name="B")),
        ({"key": "{it.club_id}"}, ClubClass(club_id=7), ClubClass(club_id=8)),
        ({"key": lambda it: (it.club.pk, None)}, ClubClass(pk=1, club=Club(pk=7)), ClubClass(pk=1, club=Club(pk=8))),
        ({"key": "{it.pk}"}, AnonymousUser(), User(pk=7)),
        ({"key": "{it.pk}"}, SimpleLazyObject(AnonymousUser), User(pk=7)),
        ({"key": "{it.real}"}, SimpleNamespace(real=None), SimpleNamespace(real=0)),
        ({"key": lambda it: (it.name, it.club_id)}, ClubClass(name="A", club=None), ClubClass(name="B", club=None)),
    ],
    ids=range(16),
)
def test_what_does_not_depend_on_a_missing_primary_key_is_a_key(options: Any, value: object, other: object) -> None:
    """A primary key that is given, another column, None itself, and who is not logged in can be in keys."""
    cached = cached_query(name="unsaved.others", **options)(lambda it: it)

    assert cached.key_for(value) != cached.key_for(other)


def test_unevaluated_lazy_object_is_not_evaluated() -> None:
    """A callable that does not look at `request.user` costs no query for it: also where its key has a None."""

    def user() -> User:
        raise AssertionError

    cached = cached_query(name="unsaved.lazy", key=lambda request: (request.path, None))(lambda request: request)

    assert "/a/" in cached.key_for(SimpleNamespace(path="/a/", user=SimpleLazyObject(user)))


@isolate_apps("tests")
def test_primary_key_of_several_columns_is_missing_without_one() -> None:
    """A row of which one column of the primary key is None is refused as one that has none."""

    class Seat(models.Model):
        pk = models.CompositePrimaryKey("hall", "number")
        hall = models.IntegerField()
        number = models.IntegerField()

        class Meta:
            app_label = "tests"

        def __str__(self) -> str:
            return f"{self.hall}-{self.number}"

    whole, part = Seat(hall=1, number=2), Seat(hall=1, number=None)
    whole._state.adding = part._state.adding = False

    assert "tests.Seat:(1,2)" == encode(whole)
    assert Namespace("seat", "1,2") == Namespace("seat", whole)
    for tool in (encode, functools.partial(Namespace, "seat")):
        with pytest.raises(TypeError, match="primary key is gone"):
            tool(part)
    with pytest.raises(UnsavedRowError, match="is in a cache key or a namespace; its primary key is gone"):
        path_text(encode, part.pk, part, "pk")


@isolate_apps("tests", attr_name="apps")
def test_generic_relation_to_a_row_without_a_primary_key_is_refused() -> None:
    """The columns of a generic foreign key are those of the row that it points to."""
    from django.contrib.contenttypes.fields import GenericForeignKey
    from django.contrib.contenttypes.models import ContentType

    class Tag(models.Model):
        content_type = models.ForeignKey(ContentType, on_delete=models.CASCADE)
        object_id = models.IntegerField()
        target = GenericForeignKey()

        class Meta:
            app_label = "tests"

        def __str__(self) -> str:
            return f"{self.content_type_id}-{self.object_id}"

    tag = Tag(pk=1)
    tag._state.fields_cache["target"] = Club(name="A")

    with pytest.raises(UnsavedRowError, match=r"<tests\.models\.Club object> is in a cache key .*; it is not saved"):
        path_text(encode, tag.object_id, tag, "object_id")


def test_anonymous_user_has_a_namespace_as_it_has_a_key() -> None:
    """A page for everybody is cached under a namespace of its user, too: that of None, which is no user's."""

    @cached_query(namespace=["user:{user.pk}", "by:{user}"])
    def page(user: Any) -> str:
        return str(user)

    values = [page(AnonymousUser()), page(SimpleLazyObject(AnonymousUser))]
    Namespace("user", "None").invalidate()

    assert ["AnonymousUser"] * 2 == values
    assert page.peek(AnonymousUser()) is MISSING
    assert Namespace("by", "None") == Namespace("by", AnonymousUser())


def test_row_that_cannot_be_copied_is_refused() -> None:
    """Where it can't be tried whether a None is a missing primary key, it is taken for one."""

    class Odd(Club):
        class Meta:
            proxy = True
            app_label = "tests"

        def __reduce__(self) -> str:
            raise KeyTypeError(self, "")

    cached = cached_query(name="unsaved.odd", key=lambda it: (it.name, None))(lambda it: it)

    with pytest.raises(TypeError, match="save it"):
        cached(Odd(name="A"))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "options",
    [
        {"key": "{it.row}"},
        {"key": lambda it: it.row},
        {"vary": lambda it: it.row},
        {"namespace": "club:{it.row}"},
        {"namespace": lambda it: Namespace("club", it.row)},
    ],
)
def test_object_in_a_key_is_not_asked_whether_it_is_true(options: dict[str, Any]) -> None:
    """A row with a length may ask the database at each hit, and an array raises."""
    cart = Cart.objects.create(name="A")
    cached = cached_query(name="unsaved.cart", **{"key": "{it.row.pk}", **options})(lambda it: it.row.name)

    assert ["A", "A"] == [cached(Numbered(cart)), cached(Numbered(cart))]
    assert cached.peek(Numbered(cart)) is not MISSING
