"""Django and Django REST framework take a cached function for what it decorates."""

import gc
from typing import Any

import pytest
from django import forms
from django.contrib import admin
from django.contrib.admin.utils import label_for_field, lookup_field
from django.core.paginator import Paginator
from django.db import models
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.writer import MigrationWriter
from django.dispatch import Signal
from django.template import Context, Engine
from pytest_django import Settings
from rest_framework import serializers

from cachedeco import MISSING, Call, CallMany, Namespace, cached_query
from cachedeco.functions import bulk, single
from tests.models import Club


@cached_query
def default_name() -> str:
    """Be a default."""
    return "Judo"


@cached_query(ignore=("value",))
def check_name(value: str) -> None:
    """Be a validator."""


@cached_query(ignore=("_instance",))
def folder(_instance: models.Model, filename: str) -> str:
    """Be where a file is uploaded to."""
    return f"files/{filename}"


@cached_query
def choices() -> dict[str, str]:
    """Limit what can be chosen."""
    return {"name": "Judo"}


@cached_query
def own_choices() -> list[tuple[str, str]]:
    """List what can be chosen."""
    return [("j", "Judo")]


class Shop(models.QuerySet[Club]):
    """A QuerySet with cached methods, which `as_manager()` copies."""

    @cached_query(ignore=("self",))
    def shared(self) -> int:
        """Be the same for all querysets."""
        return 7

    @cached_query(key="{limit}", ignore=("self",))
    def names(self, limit: int) -> list[str]:
        """Take an argument."""
        return ["Judo"][:limit]


class ShopClub(Club):
    """A model with cached methods, a proxy."""

    objects = Shop.as_manager()

    class Meta:
        """Make it a proxy."""

        proxy = True
        app_label = "tests"

    @cached_query
    def total(self) -> int:
        """Depend on the row."""
        return 7

    @property
    @cached_query
    def half(self) -> float:
        """Be a property."""
        return 3.5

    @admin.display(boolean=True, description="Is it open?", ordering="name")
    @cached_query
    def is_open(self) -> bool:
        """Be shown by the admin."""
        return True

    @cached_query
    @admin.display(boolean=True, description="Is it closed?")
    def is_closed(self) -> bool:
        """Be shown by the admin, too."""
        return False


CLUB = ShopClub.from_db("default", ["id", "name"], [1, "Judo"])


class Clubs:
    """What a paginator counts."""

    def __len__(self) -> int:
        """Be wrong."""
        raise NotImplementedError

    def __cache_key__(self) -> int:
        """Be one."""
        return 1

    @cached_query
    def count(self) -> int:
        """Be right."""
        return 42


class ClubSerializer(serializers.ModelSerializer[ShopClub]):
    """A serializer that reads cached methods in each way, and has one."""

    text = serializers.CharField(source="total")
    read_only = serializers.ReadOnlyField(source="is_open")
    method = serializers.SerializerMethodField()

    class Meta:
        """Read a cached method by its name alone, and a property."""

        model = ShopClub
        fields = ("total", "half", "text", "read_only", "method")

    @cached_query(ignore=("self",))
    def get_method(self, club: ShopClub) -> str:
        """Depend on the row."""
        return f"{club.name}!"


def test_serializer_reads_cached_methods() -> None:
    """By its name, as a source, as a property, and as a method of the serializer: served the second time."""
    expected = {"total": 7, "half": 3.5, "text": "7", "read_only": True, "method": "Judo!"}

    found = [dict(ClubSerializer(CLUB).data) for _ in range(2)]

    assert [expected] * 2 == found
    assert (7, "Judo!") == (CLUB.total.peek(), ClubSerializer().get_method.peek(CLUB))


def test_paginator_calls_a_cached_count() -> None:
    """It asks whether `count` is a method without arguments, and takes the length if not."""
    assert 42 == Paginator(Clubs(), 10).count


def test_copied_methods_of_a_queryset_are_served() -> None:
    """`as_manager()` and `from_queryset()` copy functions; the methods of the copy call ours."""
    other = models.Manager.from_queryset(Shop)

    found = [ShopClub.objects.shared(), ShopClub.objects.names(1), ShopClub.objects.all().names(limit=1)]

    assert [7, ["Judo"], ["Judo"]] == found
    assert (True, 7) == (hasattr(other, "shared"), ShopClub.objects.all().shared.peek())


FIELDS: dict[str, tuple[Any, str]] = {
    "default": (models.CharField(default=default_name), "default=tests.functions.test_frameworks.default_name"),
    "validator": (models.CharField(validators=[check_name]), "[tests.functions.test_frameworks.check_name]"),
    "upload_to": (models.FileField(upload_to=folder), "upload_to=tests.functions.test_frameworks.folder"),
    "choices": (models.CharField(choices=own_choices), "choices=tests.functions.test_frameworks.own_choices"),
    "limit": (
        models.ForeignKey(Club, models.CASCADE, limit_choices_to=choices),
        "limit_choices_to=tests.functions.test_frameworks.choices",
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_field_with_a_cached_function_is_written_into_migrations(name: str) -> None:
    """By the function's name, as any function; a field that has not changed needs no migration."""
    field, expected = FIELDS[name]
    field.set_attributes_from_name("field")

    text, imports = MigrationWriter.serialize(field)

    states = []
    for _ in range(2):
        state = ProjectState()
        state.add_model(ModelState("tests", "Kept", [("field", field.clone())]))
        states.append(state)
    assert expected in text
    assert "import tests.functions.test_frameworks" in imports
    assert {} == MigrationAutodetector(*states)._detect_changes()


def test_fields_call_cached_functions() -> None:
    """A default, a validator, a directory and an initial value are called."""
    form = type("Form", (forms.Form,), {"name": forms.CharField(initial=default_name, validators=[check_name])})

    default = FIELDS["default"][0].get_default()

    assert ("Judo", "Judo", MISSING) == (default, form()["name"].value(), check_name.peek("Karate"))
    assert form({"name": "Karate"}).is_valid()
    assert None is check_name.peek("Karate")
    assert "files/a.txt" == FIELDS["upload_to"][0].generate_filename(CLUB, "a.txt")
    assert [("j", "Judo")] == list(FIELDS["choices"][0].choices or ())


def test_admin_shows_cached_methods() -> None:
    """With the label and the icon that `@admin.display` sets, above the decorator or below."""
    labels = [label_for_field(name, ShopClub) for name in ("total", "is_open", "is_closed")]

    found = [lookup_field(name, CLUB)[1:] for name in ("total", "is_open", "is_closed")]

    assert ["Total", "Is it open?", "Is it closed?"] == labels
    assert [(7, True), (True, True), (False, True)] == [(value, callable(attr)) for attr, value in found]
    assert [True, True] == [getattr(attr, "boolean", None) for attr, _ in found[1:]]


class Receiver:
    """An object with receivers that are cached."""

    def __init__(self, pk: int) -> None:
        """Keep the number."""
        self.pk = pk

    def __cache_key__(self) -> int:
        """Return the number."""
        return self.pk

    @cached_query(ignore=("_kwargs",))
    def method(self, **_kwargs: object) -> int:
        """Receive."""
        return self.pk

    @cached_query(ignore=("_kwargs",))
    @classmethod
    def class_method(cls, **_kwargs: object) -> int:
        """Receive."""
        return 5

    @cached_query(ignore=("_kwargs",))
    @staticmethod
    def static(**_kwargs: object) -> int:
        """Receive."""
        return 6


@cached_query(ignore=("_kwargs",))
def receive(**_kwargs: object) -> int:
    """Receive."""
    return 7


@cached_query(ignore=("_kwargs",))
async def areceive(**_kwargs: object) -> int:
    """Receive, and be awaited."""
    return 8


@pytest.mark.parametrize("debug", [False, True])
def test_signal_keeps_cached_receivers_while_their_object_lives(settings: Settings, *, debug: bool) -> None:
    """A signal holds methods by weak references, and finds them again to disconnect them."""
    settings.DEBUG = debug
    signal, one, gone = Signal(), Receiver(1), Receiver(2)
    for receiver in (receive, areceive, one.method, gone.method, Receiver.class_method, Receiver.static):
        signal.connect(receiver)
        signal.connect(receiver)
    del gone
    gc.collect()

    found = [value for _, value in signal.send(sender=None)]
    disconnected = [signal.disconnect(each) for each in (receive, areceive, one.method, Receiver.class_method)]

    assert [1, 5, 6, 7, 8] == sorted(found)
    assert ([True] * 4, [6]) == (disconnected, [value for _, value in signal.send(sender=None)])


WRITING = {"invalidate", "ainvalidate", "invalidate_all", "ainvalidate_all", "refresh", "arefresh", "set", "aset"}
CLASSES = (single.CachedQuery, single.AsyncCachedQuery, bulk.CachedQueryMany, bulk.AsyncCachedQueryMany)


@pytest.mark.parametrize("kind", [*CLASSES, Call, CallMany, Namespace])
def test_verbs_that_write_are_marked_for_templates(kind: type) -> None:
    """As Django marks `save()` and `delete()`: these, and no other."""
    marked = {name for name in dir(kind) if getattr(getattr(kind, name, None), "alters_data", False)}

    assert {name for name in WRITING if hasattr(kind, name)} == marked != set()


def test_template_calls_cached_functions_and_no_verb_that_writes() -> None:
    """A template calls a cached method, and shows nothing in the place of `invalidate`."""
    template = Engine().from_string(
        "{{ club.total }}{{ club.total.invalidate }}{{ club.total.invalidate_all }}{{ club.total.call.invalidate }} "
        "{{ club.half }} {{ space.invalidate }}{{ plain }} {{ uncalled.peek }}{{ uncalled.refresh }}"
    )

    @cached_query
    def plain() -> str:
        return "plain"

    uncalled = cached_query(timeout=60)(plain.uncached)
    setattr(uncalled, "do_not_call_in_templates", True)  # noqa: B010 -- no type declares it

    rendered = template.render(
        Context({"club": CLUB, "space": Namespace("clubs"), "plain": plain, "uncalled": uncalled})
    )

    assert "7 3.5 plain plain" == rendered
    assert 7 == CLUB.total.peek()
