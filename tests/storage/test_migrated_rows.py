"""Rows that were stored before a migration are computed anew after it, at each depth, and however they were read."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import models

from cachedeco import MISSING, cached_query
from cachedeco.invalidation import tables
from cachedeco.storage import model_pickles

Fields = dict[str, Any]


class Shouted(models.CharField):  # type: ignore[type-arg]
    """A field whose values are another type in Python, under the same type of column."""

    def from_db_value(self, value: str, *_: object) -> str:
        """Return the value of a row."""
        return value.upper()


def define(name: str, fields: Fields, base: type[Any] = models.Model, **meta: bool) -> type[Any]:
    """Define a model of one release in the place of that of the other one; a process has one of them."""
    apps.all_models["tests"].pop(name.lower(), None)
    attributes = {**fields, "Meta": type("Meta", (), {"app_label": "tests", **meta}), "__module__": __name__}
    model: type[Any] = type(name, (base,), attributes)
    setattr(sys.modules[__name__], name, model)  # by its name pickle finds it
    return model


def deploy() -> None:
    """Be a new process."""
    model_pickles._current.clear()


@pytest.fixture(autouse=True)
def _no_model() -> Iterator[None]:
    """Take the models away again."""
    yield
    for name in ("migrated", "shown", "parent"):
        apps.all_models["tests"].pop(name, None)
    apps.clear_cache()
    tables.forget()


def name() -> Fields:
    """Return the fields of the first release."""
    return {"name": models.CharField(max_length=10)}


# The fields of the next release, and whether its rows are other ones.
MIGRATIONS: dict[str, tuple[Callable[[], Fields], bool]] = {
    "none": (name, False),
    "another length": (lambda: {"name": models.CharField(max_length=99, blank=True, help_text="Its name")}, False),
    "added": (lambda: {**name(), "size": models.IntegerField(default=1)}, True),
    "removed": (dict, True),
    "renamed": (lambda: {"title": models.CharField(max_length=10)}, True),
    "another type": (lambda: {"name": models.IntegerField()}, True),
    "another class of the same type": (lambda: {"name": Shouted(max_length=10)}, True),
    "another primary key": (lambda: {**name(), "id": models.UUIDField(primary_key=True)}, True),
    "a relation": (
        lambda: {**name(), "group": models.ForeignKey(Group, models.CASCADE, null=True, related_name="+")},
        True,
    ),
}


def plain(model: type[Any]) -> Any:
    """Return a row."""
    return model(pk=1)


def queryset(model: type[Any], result: list[Any]) -> Any:
    """Return a QuerySet that has its rows."""
    rows = model._default_manager.all()
    rows._result_cache = result
    return rows


def related(model: type[Any]) -> Any:
    """Return a row of another model, with a row of this by `select_related()`."""
    user = User(pk=1)
    user._state.fields_cache["profile"] = model(pk=1)
    return user


def prefetched(model: type[Any]) -> Any:
    """Return a row of another model, with rows of this by `prefetch_related()`."""
    user = User(pk=1)
    user._prefetched_objects_cache = {"profiles": queryset(model, [model(pk=1)])}  # type: ignore[attr-defined]
    return user


PLACES: dict[str, Callable[[type[Any]], Any]] = {
    "row": plain,
    "dict of lists": lambda model: {"rows": [plain(model)]},
    "QuerySet": lambda model: queryset(model, [plain(model)]),
    "empty QuerySet": lambda model: queryset(model, []),
    "values()": lambda model: queryset(model, [{"id": 1, "name": "a"}]),
    "deferred": lambda model: model.from_db("default", ["id"], [1]),
    "select_related()": related,
    "prefetch_related()": prefetched,
}


@pytest.mark.parametrize(("after", "is_other"), MIGRATIONS.values(), ids=MIGRATIONS)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_stored_rows_are_computed_anew_where_their_fields_are_others(
    place: Callable[[type[Any]], Any],
    after: Callable[[], Fields],
    is_other: bool,
) -> None:
    """No hit has a row with a deferred field, or with a value of a type that its field no longer has."""

    @cached_query(name="migrated.rows", ignore=("place",))
    def rows() -> Any:
        return place(apps.get_model("tests", "Migrated"))

    define("Migrated", name())
    rows()
    assert rows.peek() is not MISSING

    define("Migrated", after())
    deploy()

    assert is_other is (rows.peek() is MISSING)
    rows()
    assert rows.peek() is not MISSING


@pytest.mark.parametrize("kind", ["proxy", "child", "child of an abstract model"])
def test_rows_of_a_model_that_inherits_follow_its_base(kind: str) -> None:
    """The fields of a proxy, and of a multi-table child, are those of the model above it."""

    @cached_query(name="migrated.inherited")
    def rows() -> Any:
        return apps.get_model("tests", "Shown")(pk=1)

    def release(fields: Fields) -> None:
        parent = define("Parent", fields, abstract=kind == "child of an abstract model")
        define("Shown", {}, parent, proxy=kind == "proxy")
        deploy()

    release(name())
    rows()
    release(name())
    before = rows.peek()
    release({**name(), "size": models.IntegerField(default=1)})

    assert (True, True) == (before is not MISSING, rows.peek() is MISSING)


def test_row_whose_relation_leads_elsewhere_is_computed_anew() -> None:
    """The column has the same name, and values of another type."""

    @cached_query(name="migrated.relation")
    def rows() -> Any:
        return apps.get_model("tests", "Migrated")(pk=1)

    define("Migrated", {"owner": models.ForeignKey(User, models.CASCADE, null=True, related_name="+")})
    rows()
    define("Migrated", {"owner": models.ForeignKey(Group, models.CASCADE, null=True, related_name="+")})
    deploy()

    assert MISSING is rows.peek()
