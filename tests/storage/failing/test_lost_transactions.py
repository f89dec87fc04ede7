"""A query of Django's database cache that costs the caller its transaction is the caller's error."""

from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
from django.core.cache.backends.db import DatabaseCache
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from pytest_django import Settings

from cachedeco import cached_query
from cachedeco.runtime.databases import DEADLOCK
from cachedeco.storage.store import Store
from tests.conftest import UseCaches
from tests.models import League
from tests.support.backends import CACHE_TABLE
from tests.support.engines import Engine
from tests.support.threads import PATIENCE_SECONDS, started

DATABASE = "django.core.cache.backends.db.DatabaseCache"
# More than the caller writes: the server rolls back who has written less.
MANY = 100


@cached_query(60, depends_on=(), name="lost.same")
def same(value: str) -> str:
    """Return what no query gives."""
    return value


def fail_with_deadlock() -> bool:
    """Fail as MySQL does, which has rolled back by then."""
    raise OperationalError(DEADLOCK, "Deadlock found when trying to get lock")


def fail_with_disk() -> bool:
    """Fail as SQLite does where its journal can't be written: it has rolled back by then."""
    driver: Any = connection.connection
    driver.rollback()
    msg = "disk I/O error"
    raise OperationalError(msg)


def lose_in_silence() -> bool:
    """Do as Django where the savepoint around a write is gone: it calls it not stored, and refuses the next query."""
    connection.validate_no_broken_transaction()
    connection.needs_rollback = True
    return False


def call() -> object:
    """Read an entry."""
    return same("block")


def add() -> object:
    """Store tokens: at once where a miss inside a transaction can be stored later, as on MySQL."""
    return Store("default").add_each([(":1:lost.token", b"token", None), (":1:lost.other", b"token", None)])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("act", "command", "fail"),
    [
        (call, "get_many", fail_with_deadlock),
        (call, "get_many", fail_with_disk),
        (add, "_base_set", lose_in_silence),
    ],
    ids=["read", "read from disk", "write"],
)
def test_transaction_that_the_cache_has_lost_is_the_callers_error(
    use_caches: UseCaches,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[], object],
    command: str,
    fail: Callable[[], bool],
) -> None:
    """What follows must not be committed alone, nor the block seem to have committed."""
    use_caches(default={"BACKEND": DATABASE, "LOCATION": CACHE_TABLE})
    original = getattr(DatabaseCache, command)

    def fail_in_block(*args: Any, **options: Any) -> Any:
        return fail() if connection.in_atomic_block else original(*args, **options)

    monkeypatch.setattr(DatabaseCache, command, fail_in_block)

    def change() -> None:
        with transaction.atomic():
            League.objects.create(name="first")
            act()

    with pytest.raises(OperationalError, match=r"Deadlock found|disk I/O error|has rolled back"):
        change()

    assert not League.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_deadlock_outside_a_transaction_is_none_of_the_callers(
    use_caches: UseCaches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache alone has lost something, and the value is computed."""
    use_caches(default={"BACKEND": DATABASE, "LOCATION": CACHE_TABLE})
    monkeypatch.setattr(DatabaseCache, "get_many", lambda *_: fail_with_deadlock())

    assert "outside" == same("outside")


@pytest.mark.django_db(transaction=True)
def test_block_that_the_caller_rolls_back_takes_no_error_of_the_cache(use_caches: UseCaches) -> None:
    """Django refuses each query then, and the caller knows."""
    use_caches(default={"BACKEND": DATABASE, "LOCATION": CACHE_TABLE})

    with transaction.atomic():
        transaction.set_rollback(True)
        added = add()

    assert [False, False] == added


class CacheOnEngine:
    """A router of the database cache's table to the database of the leagues, as where a project has no other."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        """Choose it for entries."""
        return "engine" if model._meta.app_label == "django_cache" else None

    db_for_write = db_for_read


@pytest.mark.parametrize("engine", [pytest.param("mariadb", marks=pytest.mark.soak)], indirect=True)
@pytest.mark.parametrize("is_absent", [False, True], ids=["expired entries", "absent entries"])
def test_deadlock_with_another_transaction_is_the_callers_error(
    engine: Engine, settings: Settings, use_caches: UseCaches, *, is_absent: bool
) -> None:
    """Django's cache deletes what has expired, and stores what is absent, in the transaction of the caller."""
    settings.DATABASE_ROUTERS = [CacheOnEngine()]
    call_command("createcachetable", CACHE_TABLE, database=engine.alias, verbosity=0)
    use_caches(default={"BACKEND": DATABASE, "LOCATION": CACHE_TABLE})
    league = League.objects.using(engine.alias).create(name="old")
    leagues = League.objects.using(engine.alias).filter(pk=league.pk)
    same("engine")
    rows = engine.execute("SELECT cache_key FROM tests_cache")
    engine.execute("DELETE FROM tests_cache" if is_absent else "UPDATE tests_cache SET expires = '2001-01-01'")
    has_locks = Event()

    def change_in_other_order() -> None:
        with transaction.atomic(using=engine.alias):
            League.objects.using(engine.alias).bulk_create([League(name=str(number)) for number in range(MANY)])
            for row in rows if is_absent else ():
                engine.execute("INSERT INTO tests_cache VALUES (%s, '', '2001-01-01')", row)
            engine.execute("SELECT * FROM tests_cache FOR UPDATE")
            has_locks.set()
            leagues.update(name="theirs")
            transaction.set_rollback(True, using=engine.alias)

    def change() -> None:
        with transaction.atomic(using=engine.alias):
            leagues.update(name="new")
            with started(change_in_other_order):
                assert has_locks.wait(PATIENCE_SECONDS)
                same("engine")

    with pytest.raises(OperationalError, match=r"Deadlock found|disk I/O error|has rolled back"):
        change()

    assert "old" == leagues.get().name
