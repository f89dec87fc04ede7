"""Real processes that die, deliver, and are told to stop."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import psycopg
import pytest
from django.db import connections
from django.db.migrations.state import ProjectState

from cachedeco import MISSING, Namespace
from cachedeco.outbox.models import Row, rows
from cachedeco.outbox.triggers import AddTriggers
from tests.conftest import CacheConfig, UseCaches
from tests.outbox.sites import ALIAS, create_club, name_of, waiting_and_done
from tests.support.postgres import PostgreSQL
from tests.support.stored import whole
from tests.support.threads import PATIENCE_SECONDS

Start = Callable[..., "subprocess.Popen[str]"]
DELIVER = ("django", "cachedeco", "deliver")


@pytest.fixture
def start(database: str, use_caches: UseCaches, cache_config: CacheConfig) -> Start:
    """Give the function that runs a module in a process of its own, on the same database and the same memcached."""
    assert database
    cache = {**cache_config("memcached"), "ALIAS": "default"}
    use_caches(default=cache)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "DJANGO_SETTINGS_MODULE": "tests.outbox.settings",
        "OUTBOX_DATABASE": json.dumps(connections[ALIAS].settings_dict),
        "OUTBOX_CACHE": json.dumps(cache),
    }

    def start(*command: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def grow_old() -> None:
    """Let the processes that have made rows have had their time."""
    rows(ALIAS).update(created=0)


def test_process_killed_after_its_commit_has_its_invalidation_delivered_by_another(start: Start) -> None:
    """The change is there, its invalidation is not: until some other process has delivered what the dead one left."""
    pk = create_club()
    assert "old" == name_of(pk)
    dying = start("tests.outbox.dying", str(pk))
    dying.communicate(timeout=PATIENCE_SECONDS)
    grow_old()
    before = (dying.returncode, name_of.uncached(pk), name_of.peek(pk), waiting_and_done())

    delivering = start(*DELIVER)
    said = delivering.communicate(timeout=PATIENCE_SECONDS)

    assert (-signal.SIGKILL, "new", "old", (1, 0)) == before
    assert (("1 delivered, 0 replayed, 0 waiting.\n", ""), 0) == (said, delivering.returncode)
    assert (MISSING, "new", (0, 1)) == (name_of.peek(pk), name_of(pk), waiting_and_done())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_loop_delivers_until_a_signal_comes(start: Start, number: signal.Signals) -> None:
    """It delivers what comes while it runs, says so, and ends as asked with nothing to complain about."""
    looping = start(*DELIVER, "--loop", "--every", "0.01", "--database", ALIAS)
    rows(ALIAS).create(cache="default", key=whole("cd:n:n:1"), created=0)

    assert looping.stdout is not None
    line = looping.stdout.readline()
    looping.send_signal(number)
    said = looping.communicate(timeout=PATIENCE_SECONDS)

    # The first run replays: where the row was there by then, it is delivered, and then replayed too.
    assert line in {"1 delivered, 0 replayed, 0 waiting.\n", "1 delivered, 1 replayed, 0 waiting.\n"}
    assert (("", ""), 0, (0, 1)) == (said, looping.returncode, waiting_and_done())


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_several_processes_deliver_each_row_once(start: Start) -> None:
    """Two at the same time come to as many deliveries as there are rows, and leave none."""
    rows(ALIAS).bulk_create([Row(cache="default", key=whole(f"cd:n:n:{n}"), created=0) for n in range(100)])

    deliverers = [start(*DELIVER, "--batch", "2") for _ in range(2)]
    said = [each.communicate(timeout=PATIENCE_SECONDS)[0] for each in deliverers]

    assert 100 == sum(int(each.split()[0]) for each in said)
    assert (0, 100) == waiting_and_done()


def test_process_records_because_the_app_is_installed(start: Start) -> None:
    """Nothing but the app in INSTALLED_APPS is needed: the dead process of these tests has recorded by that."""
    pk = create_club()
    Namespace("n", 1).invalidate(using=ALIAS)

    start("tests.outbox.dying", str(pk)).communicate(timeout=PATIENCE_SECONDS)

    assert (1, 1) == waiting_and_done()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_write_from_outside_wakes_a_loop(start: Start, postgresql_server: PostgreSQL) -> None:
    """A loop that pauses for an hour delivers what a trigger records, as soon as it is committed."""
    with connections[ALIAS].schema_editor() as editor:
        AddTriggers(tables=["tests_club"]).database_forwards("tests", editor, ProjectState(), ProjectState())
    looping = start(*DELIVER, "--loop", "--every", "3600", "--database", ALIAS)
    assert looping.stdout is not None
    watchdog = threading.Timer(PATIENCE_SECONDS * 3, looping.kill)
    watchdog.start()

    said = []
    with psycopg.connect(postgresql_server.location, autocommit=True) as psql:
        for _ in range(2):  # the first one may come before the loop has begun to listen, and is replayed then, too
            psql.execute("INSERT INTO tests_club (name) VALUES ('new')")
            said.append(looping.stdout.readline())
    looping.terminate()
    rest = looping.communicate(timeout=PATIENCE_SECONDS)
    watchdog.cancel()
    with connections[ALIAS].schema_editor() as editor:
        AddTriggers(tables=["tests_club"]).database_backwards("tests", editor, ProjectState(), ProjectState())

    assert ["4 delivered", "4 delivered, 0 replayed, 0 waiting.\n"] == [said[0].partition(",")[0], said[1]]
    assert (("", ""), 0, 0) == (rest, looping.returncode, waiting_and_done()[0])
