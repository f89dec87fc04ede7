"""Django's own objects in keys: rows, users, lazy objects, query strings."""

import re
import uuid
from collections import namedtuple
from collections.abc import Callable
from dataclasses import make_dataclass
from time import process_time
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import CharField, CompositePrimaryKey, IntegerField, Model
from django.forms import modelform_factory
from django.http import QueryDict
from django.test.utils import isolate_apps
from django.utils.datastructures import MultiValueDict
from django.utils.functional import SimpleLazyObject

from cachedeco import MISSING, Namespace, cached_query, cached_query_many
from cachedeco.keys.encoders import encode
from cachedeco.keys.refusals import KeyTypeError
from cachedeco.keys.saved_rows import READ_MARK, without_reads
from tests.models import Club, ClubClass, Member, ProxyClub, SportsClub, UuidThing


@pytest.mark.django_db
def test_row_is_its_model_and_primary_key() -> None:
    """A row is told by what it is, not by how it is printed or what its fields hold now."""
    club = Club.objects.create(name="Rowing")
    renamed = Club.objects.get(pk=club.pk)
    renamed.name = "Chess"

    texts = {encode(club), encode(renamed), encode(Club.objects.only("pk").get())}

    assert {f"tests.Club:{club.pk}"} == texts


@pytest.mark.django_db
def test_rows_that_print_alike_differ() -> None:
    """Two rows of one name are two rows."""
    first, second = Club.objects.create(name="Rowing"), Club.objects.create(name="Rowing")

    texts = encode(first), encode(second)

    assert texts[0] != texts[1]


def in_both(pk: int) -> tuple[Club, Club]:
    """Make a row of one primary key in each of two databases."""
    one, other = (Club.objects.using(alias).create(pk=pk, name=f"of {alias}") for alias in ("default", "other"))
    return one, other


@pytest.mark.django_db(databases=["default", "other"])
def test_rows_of_two_databases_with_one_primary_key_have_two_entries() -> None:
    """They are two rows, as arguments, inside of these and as `self`; of the default database nothing is told."""

    @cached_query
    def name(clubs: list[Club], text: str = "") -> str:
        return clubs[0].name + text

    @cached_query_many(over="clubs")
    def names(clubs: list[Club]) -> dict[Club, str]:
        return {club: club.name for club in clubs}

    rows = in_both(7)

    assert ["of default", "of other"] * 2 == [name([row]) for row in (*rows, *rows)]
    assert ["of default", "of other"] * 2 == [names([row])[row] for row in (*rows, *rows)]
    assert ["tests.Club:7", "tests.Club:7!read:other;"] == [encode(row) for row in rows]
    assert encode("tests.Club:7!read:other;") not in {encode(row) for row in rows}


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize("by", [0, 1], ids=["default", "other"])
def test_invalidation_by_a_row_reaches_the_row_of_another_database(by: int) -> None:
    """One of the two may be a replica: what is saved on the primary server is stale there."""

    @cached_query
    def name(club: Club, text: str) -> str:
        return club.name + text

    rows = in_both(7)
    for row in rows:
        name(row, "!read:a")
        name(row, "a@b")

    name.invalidate(rows[by], "a@b")

    assert [MISSING] * 2 == [name.peek(row, "a@b") for row in rows]
    assert [True] * 2 == [name.peek(row, "!read:a") is not MISSING for row in rows]


@pytest.mark.django_db
def test_rows_of_two_models_differ() -> None:
    """The same primary key in two tables is two rows."""
    club, member = Club.objects.create(pk=7, name="a"), Member.objects.create(pk=7, name="a")

    texts = encode(club), encode(member), encode(7), encode("tests.Club:7")

    assert 4 == len({*texts})


@pytest.mark.django_db
def test_proxy_is_the_row_that_it_stands_for() -> None:
    """A proxy equals its row in Django, and is the same argument here."""
    club = Club.objects.create(name="Rowing")
    proxy = ProxyClub.objects.get(pk=club.pk)

    texts = encode(club), encode(proxy)

    assert club == proxy
    assert texts[0] == texts[1]


@pytest.mark.django_db
def test_multi_table_child_is_another_row_than_its_parent() -> None:
    """A child does not equal its parent in Django, and is another argument here."""
    child = SportsClub.objects.create(name="Rowing", sport="rowing")
    parent = Club.objects.get(pk=child.pk)

    texts = encode(child), encode(parent)

    assert child != parent
    assert texts[0] != texts[1]


@pytest.mark.django_db
def test_row_with_a_key_of_its_own_is_refused_until_saved() -> None:
    """A primary key that is there before the row is saved does not make it a row."""
    thing = UuidThing(id=uuid.UUID(int=7), name="a")
    with pytest.raises(KeyTypeError, match="not saved"):
        encode(thing)
    thing.save()

    text = encode(thing)

    assert f"tests.UuidThing:uuid.UUID(36'{uuid.UUID(int=7)})" == text


@pytest.mark.django_db
@pytest.mark.parametrize("written", [str, lambda key: key.hex.upper()], ids=["text", "hex"])
def test_invalidation_by_a_row_reaches_the_row_that_was_created_with_a_text(written: Any) -> None:
    """A row keeps the primary key that a form or JSON gave it, as text: a query gives the same row."""

    @cached_query(depends_on=())
    def name(thing: UuidThing) -> str:
        return thing.name

    @cached_query(depends_on=(), namespace="thing:{thing}")
    def loud_name(thing: UuidThing) -> str:
        return thing.name.upper()

    created = UuidThing.objects.create(pk=written(uuid.UUID(int=10)), name="a")
    read = UuidThing.objects.get()
    assert ("a", "A") == (name(created), loud_name(created))

    name.invalidate(read)
    Namespace("thing", read).invalidate()

    assert (MISSING, MISSING) == (name.peek(created), loud_name.peek(created))


@isolate_apps("tests")
@pytest.mark.parametrize(
    ("given", "text"),
    [(("3", 4), "tests.Seat:(3,1'4)"), ((3, "4"), "tests.Seat:(3,1'4)"), (("x", "4"), "tests.Seat:(1'x,1'4)")],
)
def test_row_of_several_key_fields_has_each_in_its_type(given: Any, text: str) -> None:
    """Each part of a primary key is what its field reads from the database; text that it can't read stays."""

    class Seat(Model):  # noqa: DJ008  it is never shown
        pk = CompositePrimaryKey("row", "letter")
        row = IntegerField()
        letter = CharField(max_length=1)

        class Meta:
            app_label = "tests"

    seat = Seat(pk=given)
    seat._state.adding = False

    assert text == encode(seat)


@pytest.mark.django_db
def test_deleted_row_is_refused() -> None:
    """Django takes the primary key from a row that it deletes: to save it is no remedy."""
    club = Club.objects.create(name="Rowing")
    club.delete()

    with pytest.raises(KeyTypeError, match=r"its primary key is gone, as after delete\(\), .*: do this before"):
        encode(club)


@pytest.mark.django_db
def test_related_manager_is_refused() -> None:
    """A manager of one row's relations is no value either."""
    club = Club.objects.create(name="Rowing")

    with pytest.raises(KeyTypeError, match="what selects the rows"):
        encode(club.classes)


@pytest.mark.django_db
def test_lazy_user_is_the_user() -> None:
    """`request.user` is the same argument as the user that it stands for, evaluated or not."""
    user = get_user_model().objects.create_user("alice")
    lazy = SimpleLazyObject(lambda: User.objects.get(pk=user.pk))

    texts = [encode(lazy), encode(lazy), encode(user)]

    assert [f"auth.User:{user.pk}"] * 3 == texts


@pytest.mark.django_db
def test_lazy_users_differ() -> None:
    """Two users are two arguments, also where both come as `request.user`."""
    alice, bob = (User.objects.create_user(name) for name in ("alice", "bob"))

    texts = {encode(SimpleLazyObject(lambda user=user: user)) for user in (alice, bob)}

    assert 2 == len(texts)


def test_anonymous_user_is_one_value() -> None:
    """All visitors who are not logged in are the same argument, and no user that is saved."""
    texts = {encode(AnonymousUser()), encode(SimpleLazyObject(AnonymousUser)), encode((AnonymousUser(),))[1:-1]}

    assert {"django.contrib.auth.models.AnonymousUser"} == texts


@pytest.mark.parametrize("value", [None, 7, "alice", ["a"]], ids=repr)
def test_lazy_object_of_a_plain_value_is_the_value(value: object) -> None:
    """A lazy object is unwrapped, with any object inside."""
    text = encode(SimpleLazyObject(lambda: value))

    assert encode(value) == text


def test_query_string_is_every_value_of_every_name() -> None:
    """A QueryDict is all its lists: elsewhere only the last value of a name counted."""
    texts = {encode(QueryDict(query)) for query in ("tag=a&tag=b", "tag=b", "tag=b&tag=a", "tag=a%26tag%3Db", "")}

    assert 5 == len(texts)


def test_query_string_order_of_names_does_not_matter() -> None:
    """`?a=1&b=2` and `?b=2&a=1` are one argument, to be changed or not."""
    texts = {encode(QueryDict("a=1&b=2")), encode(QueryDict("b=2&a=1")), encode(QueryDict("a=1&b=2", mutable=True))}

    assert 1 == len(texts)


def test_query_string_is_no_other_mapping() -> None:
    """A QueryDict, a MultiValueDict and a dict of lists are three types."""
    lists = {"a": ["1"]}

    texts = {encode(QueryDict("a=1")), encode(MultiValueDict(lists)), encode(lists), encode({"a": "1"})}

    assert 4 == len(texts)


@pytest.mark.parametrize("model", [Club, ClubClass, ProxyClub], ids=lambda model: model.__name__)
def test_model_class_is_a_value(model: type[Model]) -> None:
    """A model itself, and not a row of it, can be an argument."""
    text = encode(model)

    assert f"class:tests.models.{model.__name__}()" == text


def test_model_class_made_by_a_function_is_told_by_its_label() -> None:
    """Django has one model of a label, wherever its class was made."""

    class Guest(Club):
        class Meta:
            proxy = True
            app_label = "tests"

    assert "class:tests.Guest:" == encode(Guest)


@pytest.mark.parametrize(
    "make",
    [
        lambda number: type("Step", (), {"number": number}),
        lambda number: type("Step", ((int, str)[number],), {}),
        lambda number: namedtuple("Step", ("row seat", "seat row")[number]),  # noqa: PYI024 -- it makes a class
        lambda number: make_dataclass("Step", (("row", "seat"), ("seat", "row"))[number]),
    ],
    ids=["attributes", "bases", "fields of a named tuple", "fields of a dataclass"],
)
def test_classes_of_one_name_made_by_a_function_differ(make: Callable[[int], type]) -> None:
    """No name leads to them, so that their bases, attributes and fields tell them apart."""
    assert encode(make(0)) == encode(make(0)) != encode(make(1))


def test_class_of_a_form_made_by_a_function_is_refused() -> None:
    """Django gives each the name of its model, whichever fields it has."""
    form = modelform_factory(Club, fields=["name"])

    with pytest.raises(KeyTypeError, match=r"ClubForm in a cache key; its name does not lead to it.* or pass key="):
        encode(form)


@pytest.mark.parametrize("cls", [type(None), type(len), Club.DoesNotExist])
def test_class_that_a_name_leads_to_is_told_by_it(cls: type) -> None:
    """Those of Python itself have one name each, also where they stand in no module."""
    assert re.fullmatch(r"class:[\w.]+\(\)", encode(cls))


def test_text_that_looks_like_many_rows_takes_no_time() -> None:
    """A visitor may send it: 32 seconds once, for half a megabyte."""
    began = process_time()

    assert READ_MARK * 80_000 == without_reads(READ_MARK * 80_000)

    assert process_time() - began < 2.0
