"""Databases are examined: do they answer, and are their writes seen."""

import pytest
from django.db import OperationalError, connection, connections

from cachedeco.diagnosis.databases import examine_databases
from cachedeco.tracking import watcher

pytestmark = pytest.mark.django_db(databases=["default", "other"])


def examined() -> dict[tuple[str, str], str]:
    """Return states by subject and question."""
    return {(each.subject, each.question): each.state for each in examine_databases()}


def test_watched_databases_are_well() -> None:
    """The app watches each connection."""
    assert {
        ("database default", "Are its writes seen?"): "well",
        ("database other", "Are its writes seen?"): "well",
    } == examined()


def test_database_without_settings_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where routers choose among other databases, "default" may be empty."""
    monkeypatch.setitem(connections.settings["default"], "ENGINE", "django.db.backends.dummy")

    assert [("database other", "Are its writes seen?")] == list(examined())


def test_connection_that_is_not_watched_is_told() -> None:
    """Code of the project may have taken the watcher out of its list."""
    wrappers = connection.execute_wrappers[:]
    connection.execute_wrappers.clear()
    try:
        found = examined()
    finally:
        connection.execute_wrappers[:] = wrappers

    assert ("wrong", True) == (found["database default", "Are its writes seen?"], watcher.is_watched(connection))


def test_database_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are examined all the same."""

    def fail() -> None:
        raise OperationalError

    monkeypatch.setattr(connection, "ensure_connection", fail)

    assert {
        ("database default", "Does it answer?"): "wrong",
        ("database other", "Are its writes seen?"): "well",
    } == examined()
