"""Rows are stored without Django's version, and with what their models' fields are."""

import pickle
import warnings
from typing import Any
from weakref import ref

import django
import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import DJANGO_VERSION_PICKLE_KEY, connection, models
from django.db.models import Model
from django.db.models.base import ModelState
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject

from cachedeco import MISSING, cached_query
from cachedeco.storage import model_pickles
from cachedeco.storage.model_pickles import are_current, dump
from tests.support.releases import another_release


class Stateful(User):
    """A row that restores its state by itself."""

    class Meta:
        """A proxy has no table."""

        app_label = "auth"
        proxy = True

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore, and count."""
        vars(self).update(state)
        self.restored = True


class Settable:
    """An object that brings a setter of its own for its state."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Reduce to all six parts."""
        return object.__new__, (Settable,), {"one": 1}, None, None, setattr_each


class Listed(User):
    """A row that reduces to two parts."""

    class Meta:
        """As above."""

        app_label = "auth"
        proxy = True

    def __reduce__(self) -> tuple[Any, ...]:
        """Reduce to a call."""
        return User, (self.pk,)


class Stateless(User):
    """A row whose state is no dict."""

    class Meta:
        """As above."""

        app_label = "auth"
        proxy = True

    def __reduce__(self) -> tuple[Any, ...]:
        """Reduce to a call without a state."""
        return User, (self.pk,), None


def without_peers(state: ModelState) -> dict[str, Any]:
    """Return what Django 6.1 pickles of a row's state: no weak references."""
    return {name: value for name, value in vars(state).items() if name != "peers"}


def setattr_each(value: object, state: dict[str, object]) -> None:
    """Set attributes."""
    vars(value).update(state)


def both_ways(value: object) -> Any:
    """Return what a hit has."""
    return pickle.loads(dump(value)[0])  # noqa: S301 -- ours


def rows() -> list[Model]:
    """Return rows of several models, one with a related row."""
    kind = ContentType(pk=1, app_label="auth", model="group")
    return [User(pk=1, username="name"), Permission(pk=2, content_type=kind), Group(pk=3)]


def test_row_comes_back_as_it_was() -> None:
    """All attributes, those of related rows too, and no version among them."""
    stored = rows()

    found = both_ways(stored)

    for row, other in zip(stored, found, strict=True):
        attributes = {name: value for name, value in vars(row).items() if name != "_state"}
        assert (type(row), attributes) == (type(other), {name: vars(other)[name] for name in attributes})
        assert DJANGO_VERSION_PICKLE_KEY not in vars(other)
    assert "group" == found[1].content_type.model


@pytest.mark.django_db
def test_queryset_comes_back_with_its_rows() -> None:
    """It is evaluated, and no query is run on a hit."""
    Group.objects.create(name="group")
    groups = Group.objects.order_by("name")
    len(groups)

    found = both_ways({"groups": groups})["groups"]

    assert ["group"] == [row.name for row in found._result_cache]
    assert DJANGO_VERSION_PICKLE_KEY not in vars(found)


@pytest.mark.parametrize("value", [User(pk=1), Stateful(pk=1), [Group(pk=2)], Group.objects.none()], ids=repr)
def test_patch_release_is_in_no_pickle(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one patch release has stored, another loads without a warning."""
    with monkeypatch.context() as older:
        older.setattr(django, "__version__", "5.2.0-older")
        data = dump(value)[0]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = pickle.loads(data)  # noqa: S301 -- ours

    assert b"older" not in data
    assert type(value) is type(found)


def test_ways_of_a_class_are_kept() -> None:
    """`__setstate__()`, `__reduce__()` and lazy objects of the project do what they do under pickle."""
    stateful, settable, listed, stateless, lazy = both_ways(
        [Stateful(pk=1), Settable(), Listed(pk=2), Stateless(pk=3), SimpleLazyObject(lambda: User(pk=4))]
    )

    assert (True, 1, 2, 3, 4) == (stateful.restored, settable.one, listed.pk, stateless.pk, lazy.pk)


def test_rows_that_were_fetched_together_find_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has those of its own group that are in the value as its peers, also where its class restores it itself."""
    monkeypatch.setattr(ModelState, "__getstate__", without_peers, raising=False)  # as Django 6.1 has it
    rows: list[Any] = [Group(pk=1), Group(pk=2), Group(pk=3), Stateful(pk=4), User(pk=5), Group(pk=6)]
    for group in (rows[:3], rows[3:5], rows[5:]):
        peers = [ref(row) for row in group]
        for row in group:
            row._state.peers = peers

    found = both_ways(rows[1:])

    assert [[2, 3], [2, 3], [4, 5], [4, 5]] == [[each().pk for each in row._state.peers] for row in found[:4]]
    assert found[0]._state.peers is found[1]._state.peers
    assert not hasattr(found[4]._state, "peers") or () == found[4]._state.peers


@pytest.mark.django_db
def test_hit_queries_for_related_rows_as_the_plain_function_does() -> None:
    """What `FETCH_PEERS` of Django 6.1 fetches by one query, it fetches by one from an entry too."""

    @cached_query(name="pickles.permissions")
    def permissions() -> list[Permission]:
        found: Any = Permission.objects.order_by("pk")
        return list((found.fetch_mode(models.FETCH_PEERS) if hasattr(models, "FETCH_PEERS") else found)[:5])

    counts = []
    for rows in (permissions.uncached(), permissions(), permissions()):
        with CaptureQueriesContext(connection) as queries:
            assert 5 == len([row.content_type.model for row in rows])
        counts.append(len(queries))

    assert 1 == permissions.stats().hits
    assert [counts[0]] * 3 == counts


def test_memoryview_comes_back() -> None:
    """A binary field that a driver returns as a memoryview is one again."""
    user = User(pk=1)
    user.blob = memoryview(b"blob")  # type: ignore[attr-defined] # as a BinaryField on PostgreSQL

    assert memoryview(b"blob") == both_ways(user).blob


def test_description_names_the_models_with_their_fields() -> None:
    """All models of a value, those of related rows and of rows in QuerySets too; plain values have none."""
    description = dump({"rows": rows()})[1]

    names = description[model_pickles.DIGEST_BYTES :].decode().split(" ")
    assert ["auth.Group", "auth.Permission", "auth.User", "contenttypes.ContentType"] == names
    assert b"" == dump([1, "text", {"a": None}, User])[1]
    assert are_current(description)
    assert are_current(description)


@pytest.mark.parametrize(
    "description", [b"", b"12345678", b"12345678auth.User", b"12345678auth.Gone", b"12345678\xff", b"12345678a b.c d"]
)
def test_bytes_that_describe_no_model_of_today_are_not_current(description: bytes) -> None:
    """Nothing raises: models that are gone, other fields, any bytes."""
    assert not are_current(description)


def test_value_whose_model_has_another_field_now_is_computed_anew() -> None:
    """
    After a migration no hit has rows with a deferred field, which would query once each.

    Processes that have not been restarted yet are served what they stored.
    """
    computed: list[int] = []

    @cached_query(ignore=("computed",))
    def row() -> User:
        computed.append(1)
        return User(pk=1)

    row()
    row()
    assert [1] == computed
    with another_release():
        assert MISSING is row.peek()
        assert [1, 1] == [row().pk, row().pk]
        assert [1, 1] == computed
    assert User(pk=1) == row.peek()
