"""What watching, views and lists of tables do where something fails, is repeated, or is not what was expected."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections
from django.db.backends.utils import truncate_name
from pytest_django import Settings

from cachedeco import AUTO, MISSING, cached_query, deferred_invalidation
from cachedeco.invalidation import commits, tables, transactions, writes
from cachedeco.invalidation.delivery import deliver
from cachedeco.runtime import conf
from cachedeco.testing import isolated
from cachedeco.tracking import reads, views, watcher
from tests.models import Club, Member, Player, Skill
from tests.support.clubs import Undone
from tests.support.engines import Engine
from tests.support.events import heard
from tests.support.faults import faulty
from tests.tracking.test_auto import auto, is_kept, plain

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


# --- statements ---


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_copy_on_a_connection_whose_owner_is_gone_still_copies(engine: Engine) -> None:
    """A driver's connection that outlives Django's is the user's own."""
    second = engine.connection.copy()
    second.ensure_connection()
    driver: Any = second.connection
    del second
    gc.collect()

    with driver.cursor() as cursor, cursor.copy("COPY tests_skill (name) FROM STDIN") as copy:
        copy.write_row(["x"])
    driver.close()

    assert 1 == Skill.objects.using(engine.alias).count()


def test_invalidation_that_fails_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours after a write is told, and the write stands."""

    def broken(*_: Any) -> None:
        raise Undone

    monkeypatch.setattr(watcher, "end_tables", broken)
    with heard("error") as events:
        Club.objects.create(name="new")

    assert (1, 1) == (len(events), Club.objects.count())


def test_driver_that_can_not_be_asked_is_known_by_its_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """BEGIN and COMMIT tell whether a transaction is open where the driver does not."""
    other: Any = connection.copy()
    other.ensure_connection()
    monkeypatch.setattr(other, "vendor", "mysql")

    def is_open_after(text: str) -> bool | None:
        with other.cursor() as cursor:
            cursor.execute(text)
        return transactions.driver_in_transaction(other)

    try:
        unknown = transactions.driver_in_transaction(other)
        found = [is_open_after(text) for text in ("BEGIN", "ROLLBACK", "BEGIN", "COMMIT")]
    finally:
        other.close()

    assert (None, [True, False, True, False]) == (unknown, found)


# --- tables ---


def test_texts_are_forgotten_when_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that makes new texts all the time keeps a limited number."""
    monkeypatch.setattr(tables, "MOST_EFFECTS", 2)
    known = tables.Tables(tables.conf.settings())

    for number in range(5):
        known.effect_of(f"VACUUM {number}")

    assert len(known._by_text) <= 2


def test_sets_of_tables_are_forgotten_when_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for what written tables end."""
    monkeypatch.setattr(writes, "MOST_REMEMBERED", 1)
    Club.objects.create(name="x")
    Skill.objects.create(name="x")
    Member.objects.create(name="x")

    assert 1 == len(writes._invalidations)


def test_name_with_a_dot_may_be_a_table_with_a_schema(settings: Settings) -> None:
    """A label and no model of it: the table itself."""
    settings.CACHEDECO = {"IGNORED_TABLES": ["tests.nothing", "tests", "elsewhere"]}

    assert {"tests.nothing", "elsewhere", "tests_club"} <= tables.tables().ignored


def test_ignored_column_is_known_in_any_case(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a legacy database, whose names have capitals."""
    settings.CACHEDECO = {"IGNORED_COLUMNS": ["tests.Player.number"]}
    monkeypatch.setattr(Player._meta.get_field("number"), "column", "Number")
    known = tables.Tables(conf.settings())

    assert not known.effect_of('UPDATE "tests_player" SET "Number" = %s').writes
    assert known.effect_of('UPDATE "tests_player" SET "Number" = %s, "name" = %s').writes


def test_long_name_is_known_as_oracle_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django shortens it in SQL, not in the model."""
    name = "a_table_whose_name_is_long_for_oracle"
    in_text = truncate_name(name, 30).upper()
    monkeypatch.setattr(Player._meta, "db_table", name)
    known = tables.Tables(conf.settings())

    read = known.effect_of(f'SELECT "X" FROM "{in_text}"')  # noqa: S608 -- it is not sent
    written = known.effect_of(f'DELETE FROM "{in_text}"')  # noqa: S608 -- nor is this

    assert (True, set()) == (name in read.reads, read.unknown)
    assert (True, set()) == (name in written.writes, written.elsewhere)


def test_model_that_is_defined_meanwhile_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that were worked out while a model was defined are worked out again."""
    made: list[tables.Tables] = []

    class Interrupted(tables.Tables):
        def __init__(self, settings: Any) -> None:
            super().__init__(settings)
            made.append(self)
            if len(made) == 1:
                tables.forget()

    monkeypatch.setattr(tables, "Tables", Interrupted)
    tables.forget()
    try:
        found = tables.tables()
    finally:
        tables.forget()

    assert [found] == made[1:]


def test_what_a_deferred_block_will_deliver_can_be_asked() -> None:
    """A recorder of invalidations finds those of a block that defers."""
    before = commits.pending_items(connections["default"], deliver)
    with deferred_invalidation():
        none = len(commits.pending_items(connections["default"], deliver))
        Club.objects.create(name="x")
        several = len(commits.pending_items(connections["default"], deliver))

    assert (0, 0, True) == (len(before), none, several > 0)


# --- caches ---


def test_cache_that_can_not_be_imported_stops_no_invalidation(settings: Settings) -> None:
    """An alias of `CACHES` that is not used here, as its package is missing, is none of our business."""
    settings.CACHES = {**settings.CACHES, "unused": {"BACKEND": "missing_package.Cache"}}
    cached = auto(plain)
    cached()
    with heard("error") as events:
        Club.objects.create(name="new")

    assert ([], 1) == (events, cached())


def test_table_of_the_database_cache_is_no_read_in_any_spelling(settings: Settings) -> None:
    """What Django's database cache asks for while a function computes is nothing that its value depends on."""
    options = {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": '"Entries"'}
    settings.CACHES = {**settings.CACHES, "database": options}

    assert not tables.tables().effect_of('SELECT * FROM "Entries"').unknown


# --- views ---


@contextmanager
def made(*statements: tuple[str, str]) -> Iterator[None]:
    """Have views, or the like, until the block ends."""
    connection.ensure_connection()
    driver: Any = connection.connection
    for kind, text in statements:
        driver.execute(f"CREATE {kind} {text}")
    try:
        yield
    finally:
        for kind, text in reversed(statements):
            driver.execute(f"DROP {kind} {text.split()[0]}")


VIEWS = (
    ("VIEW", "of_clubs AS SELECT id, name FROM tests_club"),
    ("VIEW", "of_view AS SELECT c.id FROM of_clubs c JOIN tests_member m ON m.id = c.id"),
    ("VIEW", "of_unknown AS SELECT * FROM of_clubs, missing_table"),
    ("TABLE", "missing_table (n integer)"),
)


def test_view_of_a_view_stands_for_the_tables_at_its_end() -> None:
    """Views are followed down to tables; one that ends at an unknown name stands for nothing that is known."""
    with made(VIEWS[3], *VIEWS[:3]):
        of_view = views.tables_behind(connections["default"], "of_view")
        of_unknown = views.tables_behind(connections["default"], "of_unknown")

    assert ({"tests_club", "tests_member"}, None) == (of_view, of_unknown)


@pytest.mark.parametrize(
    "text",
    [
        "of_clubs AS\nSELECT id FROM tests_club",
        "of_clubs (first) AS\tSELECT id FROM tests_club",
        "Of_Clubs as SELECT id AS n FROM tests_club",
        '"of clubs as sold" AS SELECT id FROM tests_club',
    ],
)
def test_view_is_known_however_it_is_written(text: str) -> None:
    """SQLite keeps the text that has made a view: on several lines, with columns, in any case."""
    name = "of clubs as sold" if text[0] == '"' else "of_clubs"
    connection.ensure_connection()
    driver: Any = connection.connection
    driver.execute(f"CREATE VIEW {text}")
    try:
        assert {"tests_club"} == views.tables_behind(connections["default"], name)
    finally:
        driver.execute(f'DROP VIEW "{name}"')


def test_view_of_an_ignored_table_is_unknown(settings: Settings) -> None:
    """Its writes are not watched."""
    settings.CACHEDECO = {"IGNORED_TABLES": ["tests.Member"]}
    with made(("VIEW", "of_members AS SELECT id FROM tests_member")):
        assert views.tables_behind(connections["default"], "of_members") is None


def test_views_of_views_end_somewhere() -> None:
    """A chain that is too long is unknown, and what is near enough to its end is known."""
    behind = ["tests_club", *[f"of_{number}" for number in range(views.DEEPEST)]]
    texts = [f"of_{number} AS SELECT id FROM {name}" for number, name in enumerate(behind)]  # noqa: S608 -- our names
    with made(*[("VIEW", text) for text in texts]):
        found = [views.tables_behind(connections["default"], f"of_{n}") for n in (views.DEEPEST, views.DEEPEST - 1)]

    assert [None, {"tests_club"}] == found


def test_names_are_forgotten_when_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that makes a table with a new name for each job keeps a limited number."""
    views.forget()
    monkeypatch.setattr(views, "MOST_NAMES", 3)
    with made(*[("TABLE", f"of_job_{number} (n integer)") for number in range(5)]):
        views.tables_written(connections["default"], [f"of_job_{number}" for number in range(5)])

    assert 2 == len(views._behind)


def test_name_without_letters_is_of_nothing() -> None:
    """No database is asked for it: PostgreSQL would raise an error, which ends the caller's transaction."""
    assert (frozenset(), False) == views.tables_written(connections["default"], ["main."])


def test_name_that_is_neither_table_nor_view_is_unknown() -> None:
    """An index has a name, too."""
    with made(("INDEX", "of_names ON tests_club (name)")):
        assert views.tables_behind(connections["default"], "of_names") is None


# --- reads ---


def test_statement_that_is_repeated_is_noted_once() -> None:
    """A loop of one text is one read."""

    def looping() -> Any:
        return [Club.objects.filter(pk=number).exists() for number in range(3)]

    cached = auto(looping)
    cached()

    assert is_kept(cached)


@pytest.mark.usefixtures("faulty_backend")
@pytest.mark.parametrize("command", ["get_many", "add"])
def test_token_that_the_cache_does_not_give_keeps_a_value_from_being_stored(command: str) -> None:
    """A cache that fails while the function runs: the value is right, and not stored."""

    def failing() -> Any:
        with faulty(command, raises=TimeoutError()):
            return Club.objects.count()

    cached = auto(failing)

    assert (0, MISSING) == (cached(), cached.peek())


@pytest.mark.usefixtures("faulty_backend")
def test_list_that_can_not_be_read_is_asked_for_again() -> None:
    """A cache that fails at a process's first call: the next one reads the list."""
    auto(plain)()
    cold = auto(plain)
    with faulty("get_many", "get", raises=TimeoutError(), times=1):
        assert 0 == cold()

    cold()
    cold()

    assert is_kept(cold)


class BrokenRouter:
    """A router of the user's that raises."""

    def db_for_write(self, *_: Any, **__: Any) -> str:
        """Raise."""
        raise Undone


def test_router_that_raises_is_an_event(settings: Settings) -> None:
    """The statement runs, and the value is not stored."""
    settings.DATABASE_ROUTERS = [f"{__name__}.BrokenRouter"]

    def reading() -> Any:
        return Club.objects.using("default").count()

    cached = auto(reading)
    with heard("error") as events:
        assert 0 == cached()

    assert (True, False) == (bool(events), is_kept(cached))


def test_rows_that_are_deep_in_an_argument_are_not_looked_for() -> None:
    """A limit, so that a tree of a thousand lists costs nothing: pass keys, and fetch inside."""
    club = Club.objects.create(name="x")
    deep: Any = [club]
    for _ in range(reads.DEEPEST + 1):
        deep = [deep]

    assert [] == list(reads._tables_of_rows(deep, set(), reads.DEEPEST))


def test_view_that_is_replaced_is_asked_for_anew() -> None:
    """Its name stands for the tables of the new definition, where the statement is seen."""
    connection = connections["default"]
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP VIEW of_rows AS SELECT id FROM tests_club")
        before = views.tables_behind(connection, "of_rows")
        cursor.execute("DROP VIEW of_rows")
        cursor.execute("CREATE TEMP VIEW of_rows AS SELECT id FROM tests_member")
        after = views.tables_behind(connection, "of_rows")
        cursor.execute("DROP VIEW of_rows")

    assert ({"tests_club"}, {"tests_member"}) == (before, after)


def test_entry_of_a_table_that_is_ignored_since_is_dead(settings: Settings) -> None:
    """Its writes end nothing any more, so what was stored before is not served."""

    @cached_query(name="tests.limits.ignored_since", depends_on=[AUTO])
    def ignored_since() -> int:
        return Member.objects.count()

    with isolated():
        before = [ignored_since(), ignored_since.peek()]
        settings.CACHEDECO = {"IGNORED_TABLES": ["tests.Member"]}
        Member.objects.create(name="Ann")

        assert ([0, 0], 1, MISSING) == (before, ignored_since(), ignored_since.peek())
