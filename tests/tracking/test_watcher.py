"""The watcher stands first in the list of every connection, runs every statement, and says when it was not there."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from unittest.mock import Mock

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.core.signals import request_finished, request_started
from django.db import connection, connections
from django.db.backends.signals import connection_created
from django.test import override_settings
from pytest_django import Settings

from cachedeco import AUTO, MISSING, Event, cached_query, mode
from cachedeco.checks.functions import check_connections
from cachedeco.invalidation import tables
from cachedeco.tracking import watcher
from tests.conftest import UseCaches
from tests.models import Club
from tests.support.backends import Commands
from tests.support.clubs import Undone
from tests.support.events import heard
from tests.support.faults import faulty
from tests.support.programs import run
from tests.support.threads import in_thread

pytestmark = pytest.mark.django_db(transaction=True)

Wrapper = Callable[..., Any]


@cached_query(depends_on=[AUTO])
def clubs() -> list[str]:
    """Return the names of all clubs."""
    return list(Club.objects.order_by("pk").values_list("name", flat=True))


def mine(execute: Wrapper, *arguments: Any) -> Any:
    """Do what a user's wrapper does: run the statement."""
    return execute(*arguments)


def made() -> None:
    """Make one club more than the cached function knows of."""
    clubs()
    assert clubs.peek() is not MISSING
    Club.objects.create(name="new")


def kinds(events: list[Event]) -> list[str]:
    """Return what happened."""
    return [event.kind for event in events]


# --- where it stands ---


def test_connection_that_opens_inside_a_users_block_is_watched_after_it() -> None:
    """Django takes the last wrapper away at the end of a block, which is the user's, and never the watcher."""

    def work() -> tuple[list[Any], bool, bool]:
        with connection.execute_wrapper(mine):
            clubs()
            inside = list(connection.execute_wrappers)
        made()
        return inside, mine in connection.execute_wrappers, watcher.is_watched(connection)

    inside, is_left, is_watched = in_thread(work)

    assert (watcher.watch, mine, False, True) == (inside[0], inside[-1], is_left, is_watched)
    assert ["new"] == clubs()


def test_block_that_ends_after_an_exception_leaves_the_watcher() -> None:
    """What a user's block raises changes nothing."""
    with suppress(Undone), connection.execute_wrapper(mine):
        connection.close()
        Club.objects.count()
        raise Undone

    made()

    assert ["new"] == clubs()


def test_wrapper_that_each_connection_gets_in_front_of_it_changes_nothing() -> None:
    """Scout APM puts its own at place 0: each connection is watched all the same, and told nothing of."""

    def insert(connection: Any, **_: Any) -> None:
        if mine not in connection.execute_wrappers:
            connection.execute_wrappers.insert(0, mine)

    connection.close()
    receivers = list(connection_created.receivers)
    connection_created.connect(insert)
    try:
        with heard() as events:
            Club.objects.count()
            request_started.send(None)
            made()
        wrappers, warnings = connection.execute_wrappers[:2], check_connections()
    finally:
        connection_created.receivers[:] = receivers
        connection_created.sender_receivers_cache.clear()
        connection.execute_wrappers.remove(mine)

    assert ([mine, watcher.watch], [], ["new"]) == (wrappers, warnings, clubs())
    assert {"unwatched", "unstored"}.isdisjoint(kinds(events))


def test_connection_that_was_interrupted_before_it_was_told_of_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time limit may fall between Django's connecting and its signal: the connection stays open, and is used."""
    before = clubs()
    usual, new = connections["default"], connections.create_connection("default")
    connections["default"] = new

    try:
        with monkeypatch.context() as patched:
            patched.setattr(new, "init_connection_state", Mock(side_effect=Undone))
            with pytest.raises(Undone):
                new.ensure_connection()
        with heard() as events:
            Club.objects.create(name="new")
    finally:
        new.close()
        connections["default"] = usual

    assert ([], ["new"]) == (before, clubs())
    assert "unwatched" not in kinds(events)


LOOKS: dict[str, Callable[[], object]] = {
    "request begins": lambda: request_started.send(None),
    "request ends": lambda: request_finished.send(None),
    "computation": watcher.watch_all,
}


@pytest.mark.parametrize("when", LOOKS)
def test_emptied_list_is_found_and_told(when: str) -> None:
    """A request, and a computation under AUTO, put the watcher back where it is gone: an event, and a check."""
    connection.ensure_connection()
    connection.execute_wrappers.clear()
    warnings = [message.id for message in check_connections()]

    with heard() as events:
        LOOKS[when]()

    assert (["cachedeco.W001"], ["unwatched"], []) == (warnings, kinds(events), check_connections())
    assert repr(connection.alias) in events[0].reason


def test_emptied_list_keeps_a_computation_from_being_stored() -> None:
    """What a computation reads while the connection is not watched is not known: its value is right, and not stored."""
    connection.ensure_connection()

    @cached_query(depends_on=[AUTO])
    def after_emptying() -> int:
        connection.execute_wrappers.clear()
        return Club.objects.count()

    with heard() as events:
        assert 0 == after_emptying()

    assert {"unwatched", "unstored"} <= set(kinds(events))
    assert after_emptying.peek() is MISSING


def test_app_that_is_ready_twice_watches_once() -> None:
    """A second start adds neither a receiver nor a wrapper."""
    connection.ensure_connection()
    before = (len(connection_created.receivers), len(request_started.receivers), len(connection.execute_wrappers))

    apps.get_app_config("cachedeco").ready()
    with override_settings(INSTALLED_APPS=[*django_settings.INSTALLED_APPS, "django.contrib.sites"]):
        connection.close()
        Club.objects.count()

    after = (len(connection_created.receivers), len(request_started.receivers), len(connection.execute_wrappers))
    assert before == after
    assert 1 == connection.execute_wrappers.count(watcher.watch)


def test_app_that_is_left_out_for_a_while_watches_after_it() -> None:
    """Settings without the app, and then with it again."""
    with override_settings(INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "tests"]):
        Club.objects.create(name="old")

    made()

    assert ["old", "new"] == clubs()


def test_receiver_that_raises_leaves_the_connection_watched() -> None:
    """The watcher is first among the receivers of a new connection, also before those that were there earlier."""

    def raising(**_: Any) -> None:
        raise Undone

    connection.close()
    watcher_was_first = list(connection_created.receivers)
    connection_created.connect(raising)
    connection_created.receivers.insert(0, connection_created.receivers.pop())
    try:
        watcher.start()
        with suppress(Undone):
            connection.ensure_connection()
        is_watched = watcher.is_watched(connection)
    finally:
        connection_created.disconnect(raising)
        connection_created.receivers[:] = watcher_was_first
        connection_created.sender_receivers_cache.clear()

    assert is_watched


def test_wrapper_of_a_user_that_raises_runs_nothing_and_ends_the_table() -> None:
    """The watcher sees the exception of a wrapper inside it, and takes the statement for one that may have run."""

    def refusing(*_: Any) -> Any:
        raise Undone

    clubs()
    with suppress(Undone), connection.execute_wrapper(refusing):
        Club.objects.create(name="refused")

    assert clubs.peek() is MISSING


# --- what it can't understand ---


@pytest.mark.parametrize("where", ["effect_of", "tables"])
def test_text_that_breaks_the_parse_still_runs_and_ends_everything(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours is an event, never an exception of the user's statement, nor an old value."""
    clubs()
    known = tables.tables()
    with monkeypatch.context() as patch, heard() as events:

        def broken(*_: Any) -> Any:
            msg = "a text from hell"
            raise RecursionError(msg)

        if where == "effect_of":
            patch.setattr(type(known), "effect_of", broken)
        else:
            patch.setattr(watcher, "tables", broken)
        Club.objects.create(name="new")

    assert "error" in kinds(events)
    assert {"RecursionError"} == {type(event.error).__name__ for event in events if event.kind == "error"}
    if where == "effect_of":
        assert clubs.peek() is MISSING
    assert 1 == Club.objects.count()


def test_fault_of_the_settings_leaves_all_as_it_is(settings: Settings) -> None:
    """A column that no model has, which a check reports, is ignored nowhere, and stops nothing."""
    settings.CACHEDECO = {"IGNORED_COLUMNS": ["tests.Club.nothing"]}
    clubs()

    with heard("error") as events:
        Club.objects.create(name="new")

    assert ([], MISSING) == (events, clubs.peek())


def test_fault_of_the_settings_is_told_once_for_all_statements(settings: Settings) -> None:
    """Where checks were skipped, as a migration may: it names the setting. Another fault is told again."""
    with heard("error") as events:
        settings.CACHEDECO = {"MODE": "of"}
        Club.objects.create(name="one")
        Club.objects.create(name="two")
        settings.CACHEDECO = {"TIMEOUT": -1}
        Club.objects.create(name="three")

    assert ["MODE", "TIMEOUT"] == [re.findall(r"CACHEDECO\['(\w+)'\]", str(event.error))[0] for event in events]
    assert {watcher.UNKNOWN_TABLES} == {event.reason for event in events}


def test_exotic_statement_is_understood_or_ends_everything() -> None:
    """Objects that no driver takes are the driver's to refuse."""
    clubs()
    with suppress(Exception), connection.cursor() as cursor:
        cursor.execute(object())  # type: ignore[arg-type]

    assert 0 == Club.objects.count()


def test_mode_off_touches_no_cache(commands: Commands) -> None:
    """mode("off"): writes send nothing."""
    commands.clear()
    with mode("off"):
        Club.objects.create(name="new")

    assert not commands


# --- outages ---


@pytest.mark.usefixtures("faulty_backend")
def test_outage_costs_one_event_for_each_token_and_not_for_each_write() -> None:
    """200 writes in autocommit while the cache is down: one delayed invalidation for each token, and few errors."""
    clubs()
    with faulty(raises=TimeoutError()), heard() as events:
        for number in range(200):
            Club.objects.create(name=str(number))
        delayed = [event.key for event in events if event.kind == "invalidation_delayed"]
        errors = [event for event in events if event.kind == "error"]

    assert sorted(set(delayed)) == sorted(delayed)
    assert (True, True) == (len(delayed) <= 6, len(errors) <= 3)


# --- other processes ---

WRITER = """
import django, json, os, sys
settings = json.loads(sys.argv[1])
from django.conf import settings as configured
configured.configure(**settings)
django.setup()
from tests.conftest import UseCaches
from tests.models import Club
Club.objects.create(name="from elsewhere")
print(sorted(name for name in sys.modules if name.startswith("tests.")))
"""


@pytest.mark.usefixtures("memcached_server")
def test_process_without_cached_functions_ends_what_it_writes(use_caches: UseCaches) -> None:
    """A worker that has imported no cached function writes, and the value of this process is old no more."""
    use_caches(default="memcached")
    made()
    clubs()
    assert clubs.peek() is not MISSING
    from django.conf import settings as here

    values = {
        "CACHES": {
            "default": {**here.CACHES["default"], "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache"}
        },
        "DATABASES": {
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(connection.settings_dict["NAME"])}
        },
        "INSTALLED_APPS": ["django.contrib.contenttypes", "cachedeco", "tests"],
        "DEFAULT_AUTO_FIELD": here.DEFAULT_AUTO_FIELD,
        "USE_TZ": True,
    }
    done = run("-c", WRITER, json.dumps(values, default=str))

    assert "" == done.stderr
    assert "tests.tracking" not in done.stdout
    assert ["new", "from elsewhere"] == clubs()
