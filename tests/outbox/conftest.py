"""Fixtures of the tests of the outbox: databases of each kind, and a clock."""

from collections.abc import Iterator
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from pytest_django import DjangoDbBlocker, Settings

from cachedeco.invalidation import delivery
from cachedeco.outbox import delivery as outbox_delivery
from cachedeco.outbox import models, recording
from tests.conftest import UseCaches
from tests.models import Club
from tests.outbox.sites import ALIAS, KINDS, create_club, mariadb, migrate, name_of, sqlite_at
from tests.support.clubs import assert_nothing_waits
from tests.support.databases import connected, postgresql_on
from tests.support.postgres import PostgreSQL


class Clock:
    """The time of day, which stands still until it is told to go on."""

    def __init__(self) -> None:
        """Begin some day."""
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def pass_grace(self) -> None:
        """Go on until the process that commits has had the time to deliver by itself."""
        self.now += outbox_delivery.COMMIT_SECONDS + 0.5


# To migrate takes longer than most tests, so each kind of database is migrated once.


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Path:
    """Give a file with the tables, to be copied."""
    path = tmp_path_factory.mktemp("outbox") / "outbox.sqlite3"
    with django_db_blocker.unblock(), connected(ALIAS, sqlite_at(path)):
        migrate()
    return path


@pytest.fixture(scope="session")
def postgresql_server(django_db_blocker: DjangoDbBlocker) -> Iterator[PostgreSQL]:
    """Give the PostgreSQL that the tests of the outbox share, with the tables."""
    with PostgreSQL() as server:
        with django_db_blocker.unblock(), connected(ALIAS, postgresql_on(server.port)):
            migrate()
        yield server


@pytest.fixture(scope="session")
def mariadb_settings(django_db_blocker: DjangoDbBlocker) -> dict[str, Any]:
    """Give the settings of the MariaDB, with the tables."""
    with django_db_blocker.unblock(), connected(ALIAS, mariadb()):
        migrate()
    return mariadb()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the clock that the outbox reads."""
    clock = Clock()
    for module in (recording, models, outbox_delivery):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def _recording(settings: Settings) -> Iterator[None]:
    """Record invalidations as an installed outbox does, in one database."""
    settings.DATABASE_ROUTERS = ["tests.outbox.sites.OnlyThere"]
    delivery.record_with(recording.record)
    yield
    delivery.record_with(None)
    assert_nothing_waits()


@pytest.fixture(params=KINDS)
def database(
    request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: DjangoDbBlocker, _recording: None
) -> Iterator[str]:
    """Run the test once on every kind of database, empty but for the tables; return the kind."""
    kind: str = request.param
    if kind == "sqlite":
        settings = sqlite_at(copy(request.getfixturevalue("sqlite_file"), tmp_path))
    elif kind == "postgresql":
        settings = postgresql_on(request.getfixturevalue("postgresql_server").port)
    else:
        settings = request.getfixturevalue("mariadb_settings")
    with django_db_blocker.unblock(), connected(ALIAS, settings):
        for model in (Club, models.Row):
            model._default_manager.using(ALIAS)._raw_delete(ALIAS)
        yield kind


@pytest.fixture
def pk(database: str, use_caches: UseCaches) -> int:
    """Give the primary key of a club of the name "old", whose function was called, on a cache that can misbehave."""
    assert database
    use_caches(default="faulty")
    key = create_club()
    assert "old" == name_of(key)
    return key
