"""Writes and reads by a name that no managed model has: of a view, of a part of a table, or of a table of no model."""

# ruff: noqa: S608 -- names of the tests' own

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import TestCase
from pytest_django import Settings

from cachedeco import AUTO, MISSING, CachedQuery, cached_query
from cachedeco.tracking import views
from cachedeco.tracking.reads import UNREAD
from tests.invalidation.writes.kinds import sql
from tests.invalidation.writes.roster import BY_AUTO, ended, readers, stale, warm
from tests.invalidation.writes.rows import fill
from tests.models import Fan, League, Scarf, Skill, Squad, SquadTotal
from tests.support.clubs import Undone
from tests.support.databases import connected
from tests.support.engines import Engine, marks_of
from tests.support.events import heard
from tests.support.threads import in_thread


@pytest.fixture
def alias(engine: Engine) -> str:
    """Give the alias of a database with rows of which every function has a value stored."""
    fill(engine.alias)
    warm(engine.alias)
    return engine.alias


def on(*names: str) -> Any:
    """Run a test on some kinds of databases."""
    return pytest.mark.parametrize("engine", names, indirect=True)


@contextmanager
def made(engine: Engine, *statements: str) -> Iterator[None]:
    """Have what some statements make until the block ends; they are not known."""

    def run(*texts: str) -> None:
        driver: Any = engine.connection.connection
        with suppress(Exception):
            driver.rollback()
        for text in texts:
            driver.cursor().execute(text)

    engine.connection.ensure_connection()
    run(*statements)
    views.forget()
    try:
        yield
    finally:
        run(*[f"DROP {text.split()[1]} IF EXISTS {text.split()[2]}" for text in reversed(statements)])
        views.forget()


def names_in(table: str) -> CachedQuery[[str], list[Any]]:
    """Return a function that reads names by SQL."""
    return rows_of(f"SELECT name FROM {table} ORDER BY 1")


def rows_of(text: str) -> CachedQuery[[str], list[Any]]:
    """Return a function that reads by SQL."""

    def rows(alias: str) -> list[Any]:
        with connections[alias].cursor() as cursor:
            cursor.execute(text)
            return list(cursor.fetchall())

    function: Callable[[str], list[Any]] = rows
    name = f"rows_of.{text.replace('(', '[')}"
    return cached_query(key="{alias}", ignore=("text",), depends_on=[AUTO], name=name)(function)


# --- parts of tables ---


@on("postgresql")
@pytest.mark.parametrize("text", ["TRUNCATE old_skill", "DROP TABLE old_skill", "DELETE FROM public.OLD_SKILL"])
def test_rows_of_a_part_that_go_end_the_whole(engine: Engine, alias: str, text: str) -> None:
    """The whole table shows the rows of its parts."""
    with made(engine, "CREATE TABLE old_skill () INHERITS (tests_skill)"):
        engine.execute("INSERT INTO old_skill VALUES (70, 'Old')")
        warm(alias)
        assert "Old" in str(BY_AUTO[Skill](alias))

        engine.execute(text)

        assert ([], True) == (stale(alias), "Old" not in str(BY_AUTO[Skill](alias)))


@on("postgresql")
@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE old_skill NO INHERIT tests_skill",
        "ALTER TABLE older_skill NO INHERIT old_skill",
        "DROP TABLE older_skill",
    ],
)
def test_part_that_is_taken_away_ends_the_whole(engine: Engine, alias: str, text: str) -> None:
    """Also one of a part."""
    with made(
        engine,
        "CREATE TABLE old_skill () INHERITS (tests_skill)",
        "CREATE TABLE older_skill () INHERITS (old_skill)",
    ):
        engine.execute("INSERT INTO older_skill VALUES (70, 'Old')")
        warm(alias)

        engine.execute(text)

        assert ([], False) == (stale(alias), "Old" in str(BY_AUTO[Skill](alias)))


@on("postgresql")
def test_partition_that_is_made_with_rows_ends_the_whole(engine: Engine, alias: str) -> None:
    """It is not there yet when the database is asked, and what it is made of may be a partition itself."""
    with made(
        engine,
        "CREATE SCHEMA far",
        "CREATE TABLE far.tests_skill (LIKE tests_skill) PARTITION BY RANGE (id)",
        "CREATE TABLE box PARTITION OF far.tests_skill FOR VALUES FROM (0) TO (9) PARTITION BY RANGE (id)",
    ):
        names = names_in("far.tests_skill")
        assert [] == names(alias)

        engine.execute("CREATE TABLE tray PARTITION OF box DEFAULT; INSERT INTO tray VALUES (1, 'x')")

        assert [("x",)] == names(alias)


@on("postgresql")
def test_rows_that_are_streamed_are_read(alias: str) -> None:
    """They come one by one, and past the wrappers of statements."""

    @cached_query(depends_on=[AUTO], name="names_streamed")
    def names(alias: str) -> list[Any]:
        with connections[alias].cursor() as cursor:
            return list(cursor.stream("SELECT name FROM tests_skill"))

    names(alias)
    assert names.peek(alias) is not MISSING

    Skill.objects.using(alias).update(name="x")

    assert [("x",), ("x",)] == names(alias)


@on("postgresql")
def test_partition_is_a_part_of_what_is_at_the_top(engine: Engine) -> None:
    """A partition of a partition, written by its own name, is a part of a table that is known in each schema."""
    with made(
        engine,
        "CREATE SCHEMA far",
        "CREATE TABLE far.tests_skill (LIKE tests_skill) PARTITION BY RANGE (id)",
        "CREATE TABLE box PARTITION OF far.tests_skill FOR VALUES FROM (0) TO (9) PARTITION BY RANGE (id)",
        "CREATE TABLE tray PARTITION OF box DEFAULT",
    ):
        assert ({"tests_skill"}, True) == views.tables_written(engine.connection, ["tray"])


@on("postgresql")
def test_part_that_is_read_by_its_own_name_ends_with_the_whole(engine: Engine, alias: str) -> None:
    """A write to the whole table may change rows of each of its parts."""
    with made(engine, "CREATE TABLE old_skill () INHERITS (tests_skill)"):
        names = names_in("old_skill")
        engine.execute("INSERT INTO old_skill VALUES (70, 'Old')")
        names(alias)
        assert names.peek(alias) is not MISSING

        Skill.objects.using(alias).update(name="x")

        assert [("x",)] == names(alias)


# --- what the database changes besides ---


@on("postgresql")
@pytest.mark.parametrize(
    "write",
    [
        lambda alias: Fan.objects.using(alias).update(id=70),
        sql("UPDATE tests_fan SET (id, squad_id) = (70, squad_id)"),
        sql("SELECT 1; UPDATE tests_fan SET id = 70"),
        sql("MERGE INTO tests_fan f USING tests_league l ON l.name = 'First' WHEN MATCHED THEN UPDATE SET id = 70"),
    ],
)
def test_key_that_changes_may_change_what_points_to_it(
    engine: Engine, alias: str, write: Callable[[str], object]
) -> None:
    """By a constraint with ON UPDATE CASCADE, of which Django knows as little as of one with ON DELETE CASCADE."""
    found = "conrelid = 'tests_scarf'::regclass AND confrelid = 'tests_fan'::regclass"
    [[name, definition]] = engine.execute(f"SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE {found}")
    driver: Any = engine.connection.connection
    driver.execute(
        f"ALTER TABLE tests_scarf DROP CONSTRAINT {name}, ADD CONSTRAINT {name} "
        "FOREIGN KEY (fan_id) REFERENCES tests_fan (id) ON UPDATE CASCADE"
    )
    try:
        write(alias)

        assert ({Fan, Scarf}, []) == (ended(alias), stale(alias))
        assert "70" in str(BY_AUTO[Scarf](alias))
    finally:
        driver.execute(f"ALTER TABLE tests_scarf DROP CONSTRAINT {name}, ADD CONSTRAINT {name} {definition}")


@on("postgresql")
def test_value_of_a_type_that_is_renamed_ends_everything(engine: Engine, alias: str) -> None:
    """No table is named that has a column of the type."""
    with made(engine, "CREATE TYPE mood AS ENUM ('sad')"):
        driver: Any = engine.connection.connection
        driver.execute("ALTER TABLE tests_skill ADD mood mood DEFAULT 'sad'")
        try:
            moods = rows_of("SELECT mood::text FROM tests_skill")
            assert [("sad",), ("sad",)] == moods(alias)
            assert moods.peek(alias) is not MISSING

            engine.execute("ALTER TYPE mood RENAME VALUE 'sad' TO 'glad'")

            assert [("glad",), ("glad",)] == moods(alias)
        finally:
            driver.execute("ALTER TABLE tests_skill DROP mood")


# --- views ---


@on("postgresql")
@pytest.mark.parametrize("name", ['"Shown"', "public.shown", '"public"."Shown"', "SHOWN", 'public /* x */ . "Shown"'])
def test_view_is_found_by_each_spelling(engine: Engine, alias: str, name: str) -> None:
    """In quotes, with its schema, in capitals: what reads it is stored, and what writes it is seen."""
    created = '"Shown"' if '"Shown"' in name else "shown"
    with made(engine, f"CREATE VIEW {created} AS SELECT id, name FROM tests_skill"):
        names = names_in(name)
        names(alias)
        assert names.peek(alias) is not MISSING

        engine.execute(f"UPDATE {name} SET name = 'Seen'")

        assert ([("Seen",), ("Seen",)], {Skill}, []) == (names(alias), ended(alias), stale(alias))


@on("postgresql")
def test_view_is_found_beside_an_update_from_another_table(engine: Engine, alias: str) -> None:
    """The target of UPDATE FROM may be another name of a table behind FROM, and a view as well."""
    with made(engine, "CREATE VIEW shown AS SELECT id, name FROM tests_skill"):
        engine.execute("UPDATE shown SET name = l.name FROM tests_league l")

        assert {Skill, League} == ended(alias)


@on(pytest.param("mariadb", marks=marks_of("mariadb")))
@pytest.mark.parametrize(
    "text",
    [
        "UPDATE SHOWN JOIN tests_league SET Shown.name = 'x'",
        "UPDATE tests_league, Shown s SET s.name = 'x'",
        "DELETE s FROM Shown s JOIN tests_league",
        "DELETE FROM Shown, tests_league USING Shown JOIN tests_league",
        "INSERT Shown (name) SELECT name FROM tests_league",
        "SET STATEMENT max_statement_time = 9 FOR UPDATE Shown SET name = (SELECT max(name) FROM tests_league)",
        "IF (SELECT count(*) FROM tests_league) THEN UPDATE Shown SET name = 'x'; END IF",
    ],
)
def test_view_is_found_in_forms_of_mysql(engine: Engine, alias: str, text: str) -> None:
    """In a list of tables that are written, without INTO, in a block; in any case, which such a server keeps."""
    with made(engine, "CREATE VIEW Shown AS SELECT id, name FROM tests_skill"):
        with suppress(Exception):  # of SHOWN, which there is not
            engine.execute(text)

        assert Skill in ended(alias)
        assert [] == stale(alias)


@on(pytest.param("mariadb", marks=marks_of("mariadb")))
def test_view_that_is_renamed_ends_what_reads_it(engine: Engine, alias: str) -> None:
    """By RENAME TABLE, which swaps two."""
    with made(
        engine, "CREATE VIEW shown AS SELECT id, name FROM tests_skill", "CREATE VIEW other AS SELECT 'Other' AS name"
    ):
        names = names_in("shown")
        names(alias)
        assert names.peek(alias) is not MISSING

        engine.execute("RENAME TABLE shown TO third, other TO shown, third TO other")

        assert [("Other",)] == [tuple(row) for row in names(alias)]


@on(pytest.param("mariadb", marks=marks_of("mariadb")))
def test_view_that_the_user_may_not_look_behind_may_be_any(engine: Engine, alias: str) -> None:
    """Without the privilege SHOW VIEW its definition is empty: a write to it ends everything."""
    with made(engine, "CREATE VIEW shown AS SELECT id, name FROM tests_skill"):
        engine.execute("CREATE OR REPLACE USER visitor@127.0.0.1")
        engine.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {engine.settings['NAME']}.* TO visitor@127.0.0.1")
        warm(alias)
        with connected("visitor", {**engine.settings, "USER": "visitor"}), connections["visitor"].cursor() as cursor:
            cursor.execute("UPDATE shown SET name = 'x'")

        assert [] == stale(alias)


@on("postgresql")
@pytest.mark.parametrize(
    "text",
    [
        "WITH shown AS (SELECT name FROM shown) SELECT name FROM shown ORDER BY 1",
        "WITH shown AS (SELECT 1) SELECT s.name FROM public.shown s, shown ORDER BY 1",
    ],
)
def test_view_is_found_beside_a_cte_of_its_name(engine: Engine, alias: str, text: str) -> None:
    """A CTE may be named as what it reads."""
    with made(engine, "CREATE VIEW shown AS SELECT id, name FROM tests_skill"):
        names = rows_of(text)
        names(alias)
        assert names.peek(alias) is not MISSING

        Skill.objects.using(alias).update(name="x")

        assert [("x",), ("x",)] == names(alias)


@pytest.mark.parametrize(
    ("engine", "kind"),
    [
        ("sqlite", "VIEW"),
        ("sqlite", "TEMPORARY VIEW"),
        ("postgresql", "VIEW"),
        ("postgresql", "TEMPORARY VIEW"),
        pytest.param("mariadb", "VIEW", marks=marks_of("mariadb")),
    ],
    indirect=["engine"],
)
def test_view_without_a_table_is_not_stored(engine: Engine, alias: str, kind: str) -> None:
    """Nothing would end the value when the view is gone, or another one."""
    views.forget()
    engine.execute("CREATE VIEW shown AS SELECT name FROM tests_skill")
    try:
        names = names_in("shown")
        before = names(alias)
        if kind == "VIEW":
            engine.execute("DROP VIEW shown")

        engine.execute(f"CREATE {kind} shown AS SELECT 'x' AS name")

        assert ([("x",)], MISSING) == (names(alias), names.peek(alias))
        if kind != "VIEW":
            engine.execute("DROP VIEW shown")
            assert before == names(alias)
    finally:
        engine.execute("DROP VIEW shown")


@on("postgresql")
@pytest.mark.parametrize(
    "text",
    [
        "DROP VIEW shown; CREATE VIEW shown AS SELECT id, name FROM tests_league",
        "BEGIN; CREATE OR REPLACE VIEW shown AS SELECT id, name FROM tests_league; COMMIT",
        "DROP VIEW shown; CREATE VIEW shown AS SELECT id, name FROM tests_league; SELECT 1",
    ],
)
def test_view_that_is_made_anew_beside_other_statements_is_asked_for_anew(
    engine: Engine, alias: str, text: str
) -> None:
    """What it shows then ends with writes to the tables that are behind it then."""
    with made(engine, "CREATE VIEW shown AS SELECT id, name FROM tests_skill"):
        names = names_in("shown")
        names(alias)
        engine.execute(text)
        assert names.uncached(alias) == names(alias)

        League.objects.using(alias).update(name="x")

        assert names.uncached(alias) == names(alias)


@contextmanager
def undoing(alias: str) -> Iterator[None]:
    """Roll the block back."""
    with suppress(Undone), transaction.atomic(using=alias):
        yield
        raise Undone


@contextmanager
def in_test_case(alias: str) -> Iterator[None]:
    """Do as a TestCase does around each of its tests."""
    case = type("Case", (TestCase,), {"databases": {alias}})
    blocks = case._enter_atomics()
    try:
        yield
    finally:
        case._rollback_atomics(blocks)


# What rolls a definition back, and what is around the rest of the test.
UNDONE: dict[str, tuple[Callable[[str], Any], Callable[[str], Any]]] = {
    "a block": (undoing, nullcontext),
    "a savepoint": (undoing, transaction.atomic),
    "a TestCase": (in_test_case, nullcontext),
}


@on("sqlite", "postgresql")
@pytest.mark.parametrize("commits", [False, True], ids=["", "after a block"])
@pytest.mark.parametrize("undone_by", UNDONE)
def test_view_whose_definition_is_rolled_back_is_asked_for_anew(
    engine: Engine, alias: str, undone_by: str, *, commits: bool
) -> None:
    """What was found behind it in the block, and behind the end of a block inside it, is behind it no more."""
    undo, around = UNDONE[undone_by]
    with made(engine, "CREATE VIEW shown AS SELECT id, name FROM tests_skill"):
        names = names_in("shown")
        with around(alias):
            with undo(alias):
                with transaction.atomic(using=alias) if commits else nullcontext():
                    engine.execute("DROP VIEW shown")
                    engine.execute("CREATE VIEW shown AS SELECT id, name FROM tests_league")
                names(alias)
            names(alias)
        names(alias)
        Skill.objects.using(alias).update(name="x")

        assert names.uncached(alias) == names(alias)


@on("sqlite")
def test_view_that_others_ask_for_before_the_commit_is_asked_for_anew(engine: Engine, alias: str) -> None:
    """Until then another table is behind it for them."""
    with made(engine, "CREATE VIEW shown AS SELECT id, name FROM tests_skill"):
        names = names_in("shown")
        with transaction.atomic(using=alias):
            engine.execute("DROP VIEW shown")
            engine.execute("CREATE VIEW shown AS SELECT id, name FROM tests_league")
            in_thread(lambda: names(alias))
        in_thread(lambda: names(alias))
        League.objects.using(alias).update(name="x")

        assert names.uncached(alias) == in_thread(lambda: names(alias))


@on("postgresql")
@pytest.mark.parametrize(
    "before",
    [
        "CREATE VIEW shown AS",
        "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$; CREATE VIEW shown AS",
        "CREATE TABLE shown (id int, name text); DROP TABLE shown; CREATE OR REPLACE VIEW shown AS",
    ],
)
def test_view_that_is_made_and_written_by_one_text_is_seen(engine: Engine, alias: str, before: str) -> None:
    """It is not there when the database is asked what is behind it."""
    try:
        engine.execute(f"{before} SELECT id, name FROM tests_skill; UPDATE shown SET name = 'x'")

        assert [] == stale(alias)
    finally:
        engine.execute("DROP VIEW shown")


@on("postgresql")
def test_view_that_is_replaced_and_written_by_one_text_is_seen(engine: Engine, alias: str) -> None:
    """Another table is behind it when the database is asked."""
    with made(engine, "CREATE VIEW shown AS SELECT id, name FROM tests_skill"):
        engine.execute("CREATE OR REPLACE VIEW shown AS SELECT id, name FROM tests_league; UPDATE shown SET name = 'x'")

        assert [] == stale(alias)


@pytest.mark.parametrize(
    ("engine", "text"),
    [
        ("sqlite", "PRAGMA table_info(tests_skill)"),
        *[
            pytest.param("mariadb", text, marks=marks_of("mariadb"))
            for text in (
                "DESCRIBE tests_skill",
                "SHOW COLUMNS FROM tests_skill",
                "SHOW CREATE TABLE tests_skill",
                "SHOW TABLE STATUS",
            )
        ],
    ],
    indirect=["engine"],
)
def test_what_is_shown_of_tables_is_not_stored(engine: Engine, alias: str, text: str) -> None:
    """It changes with definitions, and with rows, of which no write of a model tells."""
    shown = rows_of(text)
    shown(alias)
    assert shown.peek(alias) is MISSING

    engine.execute("ALTER TABLE tests_skill ADD COLUMN more varchar(9)")
    try:
        assert shown(alias) == shown.uncached(alias)
    finally:
        engine.execute("ALTER TABLE tests_skill DROP COLUMN more")


@on(pytest.param("mariadb", marks=marks_of("mariadb")))
def test_table_is_found_behind_a_dot(engine: Engine, alias: str) -> None:
    """MySQL takes it before the name of a table."""
    names = names_in(".tests_skill")
    names(alias)
    assert names.peek(alias) is not MISSING

    engine.execute("UPDATE .tests_skill SET name = 'x'")

    assert [("x",)] * 2 == [tuple(row) for row in names(alias)][:2]
    assert [] == stale(alias)


@on("sqlite")
def test_view_is_found_behind_in(engine: Engine, alias: str) -> None:
    """SQLite takes the name of a table where others take a subquery."""
    with made(engine, "CREATE VIEW shown AS SELECT name FROM tests_skill"):
        is_shown = rows_of("SELECT 'x' IN shown")
        assert [(0,)] == is_shown(alias)
        assert is_shown.peek(alias) is not MISSING

        Skill.objects.using(alias).update(name="x")

        assert [(1,)] == is_shown(alias)


@on("postgresql")
def test_view_is_found_beside_a_name_that_another_reading_has(engine: Engine, alias: str) -> None:
    """To MySQL the comment ends at the first mark: what is read so is no name of this database."""
    with made(engine, "CREATE VIEW shown AS SELECT id, name FROM tests_skill"):
        engine.execute("BEGIN; UPDATE /* a /* b */ c */ shown SET name = 'x'; COMMIT")

        assert {Skill} == ended(alias)
        assert [] == stale(alias)


@on("postgresql")
def test_view_of_the_view_of_an_unmanaged_model_is_found(engine: Engine, alias: str) -> None:
    """What is behind it are the tables at its end."""
    with made(engine, "CREATE VIEW shown AS SELECT name FROM tests_squadview"):
        names = names_in("shown")
        names(alias)

        assert names.peek(alias) is not MISSING


@pytest.mark.parametrize(
    ("engine", "text"),
    [
        ("sqlite", "DROP VIEW shown"),
        ("postgresql", "DROP VIEW shown"),
        ("postgresql", "ALTER VIEW shown RENAME TO other"),
    ],
    indirect=["engine"],
)
def test_view_that_is_made_anew_ends_what_reads_it(engine: Engine, alias: str, text: str) -> None:
    """It shows other tables from then on."""
    with made(engine, "CREATE VIEW shown AS SELECT id, name FROM tests_skill"):
        names = names_in("shown")
        names(alias)
        assert names.peek(alias) is not MISSING

        engine.execute(text)
        engine.execute("DROP VIEW IF EXISTS other")
        engine.execute("CREATE VIEW shown AS SELECT id, name FROM tests_league")

        assert [("First",), ("Second",)] == names(alias)
        assert names.peek(alias) is not MISSING


@on("postgresql")
def test_view_over_a_schema_that_the_role_may_not_use_breaks_no_transaction(engine: Engine, alias: str) -> None:
    """What is asked inside of the caller's transaction never fails there."""
    with made(
        engine,
        "CREATE ROLE visitor",
        "CREATE SCHEMA hidden",
        "CREATE TABLE hidden.secret (id int, name text)",
        "CREATE VIEW shown AS SELECT id, name FROM hidden.secret",
    ):
        engine.execute("GRANT SELECT, UPDATE ON shown, tests_skill TO visitor")
        names = names_in("shown")
        with transaction.atomic(using=alias):
            engine.execute("SET LOCAL ROLE visitor")
            found = names(alias)
            engine.execute("UPDATE shown SET name = 'x'")

        engine.execute("REVOKE ALL ON shown, tests_skill FROM visitor")
        assert ([], set()) == (found, ended(alias))


@on("postgresql")
@pytest.mark.parametrize("behind", ["tests.Squad", "tests.SquadTotal"])
def test_view_that_the_setting_names_is_known_by_it(
    engine: Engine, alias: str, settings: Settings, behind: str
) -> None:
    """The database tells nothing of a materialized view, or of another server's table; the setting does."""
    settings.CACHEDECO = {"TABLES": {"tests_squadtotal": [behind]}}
    engine.execute("REFRESH MATERIALIZED VIEW tests_squadtotal")

    @cached_query(key="{using}", depends_on=[AUTO])
    def total(using: str) -> int:
        return SquadTotal.objects.using(using).get().total

    assert (3, 3) == (total(alias), total.peek(alias))
    Squad.objects.using(alias).create(name="New")
    engine.execute("REFRESH MATERIALIZED VIEW tests_squadtotal")

    assert 4 == total(alias)


# --- tables of no model ---


def test_temporary_table_ends_nothing(engine: Engine, alias: str) -> None:
    """A table of no model, of which the database is asked once for each name, is no dependency."""
    engine.execute("CREATE TEMPORARY TABLE stage (id integer, name text)")
    engine.execute("INSERT INTO stage SELECT id, name FROM tests_skill")
    engine.execute("UPDATE stage SET name = 'x'")
    engine.execute("DELETE FROM stage WHERE name = 'x'")
    engine.execute("DROP TABLE stage")
    engine.execute("DROP TABLE IF EXISTS stage")

    assert set() == ended(alias)


@on("sqlite")
def test_table_of_an_attached_file_ends_nothing(engine: Engine, alias: str) -> None:
    """Another file has other tables."""
    engine.execute("ATTACH DATABASE ':memory:' AS aside")
    engine.execute("CREATE TABLE aside.stage (name text)")
    engine.execute("INSERT INTO aside.stage VALUES ('x')")
    engine.execute("DETACH DATABASE aside")

    assert set() == ended(alias)


@on("postgresql")
def test_value_of_a_statement_that_names_nothing_is_not_stored(engine: Engine, alias: str) -> None:
    """A prepared statement may read any table, and nothing would end the value when that is written."""
    engine.execute("PREPARE named AS SELECT name FROM tests_skill")
    names = rows_of("EXECUTE named")
    with heard("unstored") as events:
        names(alias)

    Skill.objects.using(alias).update(name="x")

    assert [UNREAD] == [event.reason for event in events]
    assert [("x",), ("x",)] == names(alias)
    engine.execute("DEALLOCATE named")


@on("postgresql")
def test_table_that_the_same_text_makes_ends_nothing(engine: Engine, alias: str) -> None:
    """It is not there yet when the database is asked."""
    engine.execute("CREATE TEMPORARY TABLE stage (id int); INSERT INTO stage VALUES (1); DROP TABLE stage")

    assert set() == ended(alias)


@on("postgresql")
@pytest.mark.parametrize("end", ["SET name = 'x'", "SET name = l.name FROM tests_league l"])
def test_name_of_nothing_may_have_been_misread(engine: Engine, alias: str, end: str) -> None:
    """A statement that writes to no table of its name fails; if it runs, all that is known of it may be wrong."""
    engine.execute(f'UPDATE U&"tests\\005fskill" {end}')

    assert len(readers()) > len(ended(alias)) > 1
    assert [] == stale(alias)


@on("sqlite")
def test_database_of_which_nothing_can_be_asked_ends_nothing(
    engine: Engine, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of no model is written there as before."""
    monkeypatch.setattr(views, "QUERIES", {})
    engine.execute("CREATE TEMPORARY TABLE stage (name text)")
    engine.execute("INSERT INTO stage VALUES ('x')")
    engine.execute("DROP TABLE stage")

    assert set() == ended(alias)


def test_fault_in_the_search_ends_everything(engine: Engine, alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours is an event, and the statement runs."""
    engine.execute("CREATE TEMPORARY TABLE stage (name text)")

    def fail(*_: object) -> None:
        raise LookupError

    monkeypatch.setattr(views, "tables_written", fail)
    with heard("error") as events:
        engine.execute("INSERT INTO stage VALUES ('x')")
    monkeypatch.undo()

    assert (1, 1) == (len(events), engine.execute("SELECT count(*) FROM stage")[0][0])
    assert {model for model, _ in readers()} - ended(alias) == set()
    engine.execute("DROP TABLE stage")
