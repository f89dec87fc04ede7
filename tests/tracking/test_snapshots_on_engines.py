"""A snapshot that is older than a token: on every database, at every level, no value of the past is stored."""

from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest
from django.db import connections, transaction

from cachedeco import AUTO, MISSING, CachedQuery, cached_query
from tests.models import League, Skill
from tests.support.clubs import assert_nothing_waits
from tests.support.databases import connected
from tests.support.engines import Engine
from tests.support.events import heard
from tests.support.threads import PATIENCE_SECONDS, in_thread, started

LEVELS = {"committed": "READ COMMITTED", "repeatable": "REPEATABLE READ", "serializable": "SERIALIZABLE"}


class Branch:
    """What a function does between its reads, and whether it reads the second table at all."""

    def __init__(self, alias: str) -> None:
        """Read one table, and do nothing."""
        self.alias = alias
        self.level = ""
        self.reads_skills = False
        self.between: Callable[[], object] = lambda: None

    def leagues(self) -> int:
        """Read the first table."""
        return League.objects.using(self.alias).count()

    def skills(self) -> list[str]:
        """Read the second one."""
        return list(Skill.objects.using(self.alias).order_by("pk").values_list("name", flat=True))

    def in_block(self) -> list[str]:
        """Read both in one transaction."""
        with transaction.atomic(using=self.alias):
            if self.level and connections[self.alias].vendor == "postgresql":
                with connections[self.alias].cursor() as cursor:
                    cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {self.level}")
            return self.read()

    def read(self) -> list[str]:
        """Read the first table, and then perhaps the second."""
        self.leagues()
        if not self.reads_skills:
            return []
        self.between()
        return self.skills()

    def in_cursor(self) -> list[str]:
        """Read the second table while a cursor of the first one is open."""
        for _ in League.objects.using(self.alias).iterator(chunk_size=1):
            if not self.reads_skills:
                return []
            self.between()
            return self.skills()
        return []


LOCKS = {
    "FOR UPDATE": lambda alias: list(Skill.objects.using(alias).select_for_update().order_by("pk")),
    "FOR NO KEY UPDATE": lambda alias: list(Skill.objects.using(alias).select_for_update(no_key=True)),
    "in a subquery": lambda alias: list(
        Skill.objects.using(alias)
        .filter(pk__in=Skill.objects.using(alias).select_for_update().values("pk"))
        .exclude(name__in=[str(n) for n in range(200)])
    ),
    "before a comment": lambda alias: list(
        Skill.objects.using(alias).raw("SELECT * FROM tests_skill FOR UPDATE --" + " traceparent" * 100)
    ),
    "FOR SHARE": lambda alias: list(Skill.objects.using(alias).raw("SELECT * FROM tests_skill for  share")),
}


@pytest.fixture
def branch(engine: Engine) -> Iterator[Branch]:
    """Give the reader of a database with rows of both tables."""
    League.objects.using(engine.alias).bulk_create([League(name=str(number)) for number in range(5)])
    Skill.objects.using(engine.alias).create(name="old")
    yield Branch(engine.alias)
    assert_nothing_waits()


def auto(method: Callable[[], Any], where: str = "here") -> CachedQuery[[], Any]:
    """Decorate a method anew, as a process does that has just started: nothing is known of its tables."""

    def call() -> Any:
        return method()

    return cached_query(name=f"snapshots.{where}.{method.__name__}", ignore=["method"], depends_on=[AUTO])(call)


def write_and_read_elsewhere(branch: Branch) -> None:
    """Commit a change in another thread, which reads it, so that the token is there and new."""

    def work() -> None:
        Skill.objects.using(branch.alias).update(name="new")
        auto(branch.skills, "elsewhere")()

    in_thread(work)


def value_beside_a_write(cached: CachedQuery[[], Any], branch: Branch) -> Any:
    """Call, and take the branch, while another thread commits before the first read of the second table."""
    branch.reads_skills = True
    branch.between = lambda: write_and_read_elsewhere(branch)
    value = cached()
    branch.between = lambda: None
    return value


def assert_right_from_now_on(cached: CachedQuery[..., Any]) -> None:
    """Fail if a value of the past was left, or what is computed next is not stored."""
    assert ["new"] == cached()
    if cached.peek() is MISSING:
        cached()
    assert ["new"] == cached.peek()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_block_whose_branch_is_taken_for_the_first_time(branch: Branch, level: str) -> None:
    """Another thread commits between the first read of the block and the first read of a table."""
    branch.level = LEVELS[level]
    cached = auto(branch.in_block)
    cached()
    cached.invalidate()

    sees_new = level == "committed" and connections[branch.alias].vendor == "postgresql"
    with heard("unstored") as events:
        value = value_beside_a_write(cached, branch)

    assert (["new"] if sees_new else ["old"]) == value
    assert sees_new or "tests_skill" in events[0].reason
    assert_right_from_now_on(cached)


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "read uncommitted"])
@pytest.mark.parametrize("engine", [pytest.param("mariadb", marks=pytest.mark.soak)], indirect=True)
def test_block_on_mariadb_whose_branch_is_taken_for_the_first_time(engine: Engine, branch: Branch, level: str) -> None:
    """The same at the levels that the setting of the database names."""
    branch.alias = "engine_at_level"
    with connected(branch.alias, {**engine.settings, "OPTIONS": {"isolation_level": level}}):
        cached = auto(branch.in_block)
        cached()
        cached.invalidate()
        value = value_beside_a_write(cached, branch)

        assert (["old"] if level == "repeatable read" else ["new"]) == value
        assert ["new"] == cached()


@pytest.mark.parametrize("engine", [pytest.param("mariadb", marks=pytest.mark.soak)], indirect=True)
def test_uncommitted_rows_are_never_stored(engine: Engine, branch: Branch) -> None:
    """At READ UNCOMMITTED a statement in autocommit reads what is rolled back later."""
    alias = "engine_at_level"
    with connected(alias, {**engine.settings, "OPTIONS": {"isolation_level": "read uncommitted"}}):
        branch.alias = alias
        cached = auto(branch.skills)
        cached()
        written, go = Event(), Event()

        def write() -> None:
            with transaction.atomic(using=alias):
                Skill.objects.using(alias).update(name="undone")
                written.set()
                assert go.wait(PATIENCE_SECONDS)
                transaction.set_rollback(True, using=alias)

        with started(write):
            assert written.wait(PATIENCE_SECONDS)
            cached.invalidate()
            uncommitted = cached()
            go.set()

        assert (["undone"], ["old"]) == (uncommitted, cached())


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_open_cursor_keeps_the_past_on_sqlite_alone(branch: Branch) -> None:
    """A loop over iterator(): SQLite keeps its snapshot meanwhile, others do not; the value is right either way."""
    cached = auto(branch.in_cursor)
    cached()
    cached.invalidate()

    value = value_beside_a_write(cached, branch)

    assert (["old"] if connections[branch.alias].vendor == "sqlite" else ["new"]) == value
    assert_right_from_now_on(cached)


def test_write_between_the_token_and_the_statement(branch: Branch) -> None:
    """In autocommit a write after the first statement, and before the second, is in the value or ends the entry."""
    cached = auto(branch.read)

    assert ["new"] == value_beside_a_write(cached, branch)
    assert_right_from_now_on(cached)


def test_write_after_the_statement_and_before_the_entry_is_stored(branch: Branch) -> None:
    """A write while the function still runs makes its entry dead at birth."""
    branch.reads_skills = True

    def late() -> list[str]:
        value = branch.read()
        branch.between()
        return value

    cached = auto(late)
    calls: list[int] = []

    def second_time() -> None:
        calls.append(1)
        if len(calls) == 2:
            write_and_read_elsewhere(branch)

    branch.between = second_time

    assert ["old"] == cached()
    branch.between = lambda: None
    assert_right_from_now_on(cached)


@pytest.mark.parametrize("ends", ["commit", "rollback"])
@pytest.mark.parametrize("known", [False, True], ids=["cold", "warm"])
def test_reader_beside_an_open_transaction(branch: Branch, ends: str, known: bool) -> None:
    """What is read while a writer has not committed is the old value, and ends with the commit."""
    cached = auto(branch.skills)
    if known:
        cached()
    written, go = Event(), Event()

    def write() -> None:
        with transaction.atomic(using=branch.alias):
            Skill.objects.using(branch.alias).update(name="new")
            written.set()
            assert go.wait(PATIENCE_SECONDS)
            transaction.set_rollback(ends == "rollback", using=branch.alias)

    with started(write):
        assert written.wait(PATIENCE_SECONDS)
        during = cached()
        go.set()

    assert ["old"] == during
    assert (["new"] if ends == "commit" else ["old"]) == cached()
    assert cached.peek() == cached.uncached()


def test_call_inside_an_open_transaction_on_another_alias(branch: Branch) -> None:
    """A block that is open on another database than the function's does no harm to what it reads."""
    cached = auto(branch.skills)
    with connected("second", connections.settings[branch.alias]), transaction.atomic(using="second"):
        list(Skill.objects.using("second").all())
        write_and_read_elsewhere(branch)
        assert ["new"] == cached()

    assert_right_from_now_on(cached)


def test_function_that_reads_by_an_alias_in_an_old_snapshot(branch: Branch) -> None:
    """The block of the caller began before a write: its value is right for the caller, and for no other."""
    cached = auto(branch.skills)
    with connected("second", connections.settings[branch.alias]):
        second = Branch("second")
        second.level = "REPEATABLE READ"
        by_second = auto(second.skills, "second")
        by_second()
        with transaction.atomic(using="second"):
            if connections["second"].vendor == "postgresql":
                with connections["second"].cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            second.leagues()
            write_and_read_elsewhere(branch)
            by_second()

        assert ["new"] == by_second()
    assert ["new"] == cached()


# --- locks ---


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize("depends_on", [[AUTO], [Skill], []], ids=["AUTO", "model", "nothing"])
@pytest.mark.parametrize("lock", LOCKS)
def test_rows_that_are_locked_for_the_caller_are_locked_by_each_call(
    branch: Branch, lock: str, depends_on: list[Any]
) -> None:
    """A hit would lock none, so that nothing is stored; a warning says so, once."""
    alias, reading = branch.alias, LOCKS[lock]
    locking = cached_query(name="snapshots.locking", using=alias, depends_on=depends_on, ignore=["reading"])(
        lambda alias: [row.name for row in reading(alias)]
    )

    with heard("advice", "hit") as events:
        for _ in range(3):
            with transaction.atomic(using=alias):
                assert ["old"] == locking(alias)

    assert ["Values are not stored where it locks rows until the transaction around the call ends"] == [
        event.reason.partition(",")[0] for event in events
    ]


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_rows_that_are_locked_while_a_value_is_computed_keep_it_from_nothing(branch: Branch) -> None:
    """The function's own block ends with it, and so does the lock."""

    def counting() -> int:
        with transaction.atomic(using=branch.alias):
            return len(LOCKS["FOR UPDATE"](branch.alias))

    locking = auto(counting)

    with heard("advice", "unstored") as events:
        assert [1, 1] == [locking(), locking.peek()]

    assert [] == events
