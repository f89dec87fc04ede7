"""Writes from outside Django reach what is cached, by triggers of PostgreSQL, and those of Django are not repeated."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.db import connections, transaction
from django.db.migrations.state import ProjectState
from django.test import override_settings
from psycopg import sql
from pytest_django import Settings

from cachedeco import AUTO, MISSING, cached_query, rows
from cachedeco.outbox import marking
from cachedeco.outbox.delivery import Deliverer, Report
from cachedeco.outbox.models import BY_TRIGGER, Row
from cachedeco.outbox.triggers import AddTriggers, RemoveTriggers, TriggerOperation
from cachedeco.testing import capture_events
from cachedeco.tracking import watcher
from tests.conftest import UseCaches
from tests.models import Club, Member
from tests.outbox.sites import ALIAS, all_rows, drop_table, make_table
from tests.support.clubs import Undone
from tests.support.postgres import PostgreSQL

pytestmark = [
    pytest.mark.parametrize("database", ["postgresql"], indirect=True),
    pytest.mark.usefixtures("psql"),
]

TABLES = ["tests_club", "tests_member", "tests_member_clubs"]
MANY = 20  # rows: those of all tables are more
Psql = psycopg.Connection[Any]


@cached_query(3600, using=ALIAS, depends_on=[Club], name="triggers.of_model")
def of_model() -> list[str]:
    """Depend on the model."""
    return sorted(Club.objects.using(ALIAS).values_list("name", flat=True))


@cached_query(3600, using=ALIAS, depends_on=[AUTO], name="triggers.of_tables_read")
def of_tables_read() -> list[str]:
    """Depend on the tables that are read."""
    return sorted(Club.objects.using(ALIAS).values_list("name", flat=True))


@cached_query(3600, using=ALIAS, depends_on=[rows(Club, name="{name}")], name="triggers.of_rows")
def of_rows(name: str) -> int:
    """Depend on some rows."""
    return Club.objects.using(ALIAS).filter(name=name).count()


@cached_query(3600, using=ALIAS, depends_on=[Member], name="triggers.of_members")
def of_members() -> int:
    """Depend on one side of a many-to-many table."""
    return Member.objects.using(ALIAS).filter(clubs__isnull=False).count()


def run(operation: TriggerOperation, *, backwards: bool = False) -> list[str]:
    """Run an operation as `migrate` does; return its statements where it only collects them."""
    with connections[ALIAS].schema_editor() as editor:
        act = operation.database_backwards if backwards else operation.database_forwards
        act("tests", editor, ProjectState(), ProjectState())
    return [each.split()[0] for each in getattr(editor, "collected_sql", ())]


@pytest.fixture
def psql(database: str, use_caches: UseCaches, postgresql_server: PostgreSQL, settings: Settings) -> Iterator[Psql]:
    """Give a connection that is not Django's, to a database with triggers, a club, and what is cached of it."""
    assert database
    settings.CACHEDECO = {"REPLICA_LAG": 0}  # the router does not say that the models are written there
    use_caches(default="faulty")
    make_table(Member)
    run(AddTriggers(tables=TABLES))
    marking._has_triggers.clear()
    watcher.mark_with(marking.mark)
    Club.objects.using(ALIAS).create(pk=1, name="old")
    Row.objects.using(ALIAS).all().delete()
    for function in (of_model, of_tables_read, of_members):
        function()
    of_rows("old")
    with psycopg.connect(postgresql_server.location, autocommit=True) as connection:
        connection.execute("SELECT setval('tests_club_id_seq', 100)")
        yield connection
    watcher.mark_with(None)
    marking._has_triggers.clear()
    run(AddTriggers(tables=TABLES), backwards=True)
    drop_table(Member)


def by_triggers() -> list[str]:
    """Return what the triggers have recorded."""
    return [row.key for row in all_rows() if row.cache == BY_TRIGGER]


def deliver() -> Report:
    """Deliver as the loop does."""
    return Deliverer([ALIAS]).run(replay=False)


def served() -> tuple[object, ...]:
    """Return what the caches have of the clubs."""
    return of_model.peek(), of_tables_read.peek(), of_rows.peek("old")


def copy(psql: Psql) -> None:
    """Insert a club by COPY."""
    with psql.cursor().copy("COPY tests_club (name) FROM STDIN") as lines:
        lines.write("copied\n")


WRITES: dict[str, Callable[[Psql], object]] = {
    "insert": lambda psql: psql.execute("INSERT INTO tests_club (name) VALUES ('new')"),
    "update": lambda psql: psql.execute("UPDATE tests_club SET name = 'new'"),
    "delete": lambda psql: psql.execute("DELETE FROM tests_club"),
    "truncate": lambda psql: psql.execute("TRUNCATE tests_club CASCADE"),
    "merge": lambda psql: psql.execute(
        "MERGE INTO tests_club USING (SELECT 1 AS id) AS s ON tests_club.id = s.id WHEN MATCHED THEN DELETE"
    ),
    "upsert": lambda psql: psql.execute(
        "INSERT INTO tests_club VALUES (1, 'new') ON CONFLICT (id) DO UPDATE SET name = 'new'"
    ),
    "cte": lambda psql: psql.execute("WITH c AS (DELETE FROM tests_club RETURNING id) SELECT count(*) FROM c"),
    "block": lambda psql: psql.execute("DO $$ BEGIN UPDATE tests_club SET name = 'new'; END $$"),
    "copy": copy,
}


@pytest.mark.parametrize("kind", WRITES)
def test_write_from_outside_reaches_what_depends_on_the_table(psql: Psql, kind: str) -> None:
    """Models, tables that were read, and rows: each is computed anew after one run of a deliverer."""
    before = served()
    WRITES[kind](psql)

    deliver()

    assert (["old"], ["old"], 1) == before
    assert (MISSING, MISSING, MISSING) == served()
    assert of_model.uncached() == of_model()


def test_write_of_a_transaction_is_recorded_with_its_commit(psql: Psql) -> None:
    """Until then nothing is delivered; after it all is."""
    with psql.transaction():
        psql.execute("UPDATE tests_club SET name = 'new'")
        before = (deliver(), served())

    assert (Report(), (["old"], ["old"], 1)) == before
    assert (Report(delivered=4), (MISSING, MISSING, MISSING)) == (deliver(), served())


def test_write_that_is_rolled_back_is_not_recorded(psql: Psql) -> None:
    """Neither by a transaction nor by a savepoint, and a further write of the same kind is."""
    with suppress(Undone), psql.transaction():
        psql.execute("UPDATE tests_club SET name = 'new'")
        raise Undone
    rolled_back = by_triggers()
    with psql.transaction():
        with suppress(Undone), psql.transaction():
            psql.execute("UPDATE tests_club SET name = 'new'")
            raise Undone
        psql.execute("DELETE FROM tests_club WHERE id = 0")
        psql.execute("UPDATE tests_club SET name = 'new'")

    assert ([], ["DELETE FROM tests_club", "UPDATE tests_club"]) == (rolled_back, by_triggers())


def test_rows_of_a_transaction_are_few(psql: Psql) -> None:
    """However many statements it has: one for each table and verb."""
    with psql.transaction():
        for number in range(100):
            psql.execute("UPDATE tests_club SET name = %s", [str(number)])
            psql.execute("INSERT INTO tests_member (name) VALUES ('x')")

    assert ["UPDATE tests_club", "INSERT INTO tests_member"] == by_triggers()


def test_row_of_a_many_to_many_table_concerns_both_sides(psql: Psql) -> None:
    """A deliverer expands what was written as the watcher does."""
    psql.execute("INSERT INTO tests_member VALUES (1, 'x')")
    deliver()
    of_members()
    of_model()
    psql.execute("INSERT INTO tests_member_clubs (member_id, club_id) VALUES (1, 1)")

    deliver()

    assert (MISSING, MISSING) == (of_members.peek(), of_model.peek())


# --- what Django writes ---


def test_write_that_is_watched_is_not_recorded_again() -> None:
    """In autocommit and in a transaction, for each kind."""
    with transaction.atomic(using=ALIAS):
        member = Member.objects.using(ALIAS).create(name="x")
        member.clubs.add(1)
    Club.objects.using(ALIAS).filter(pk=1).update(name="new")
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("UPDATE tests_club SET name = %s -- %%", ["newer"])
        cursor.execute("UPDATE tests_club SET name = 'newest';")
    Club.objects.using(ALIAS).bulk_create([Club(name="a"), Club(name="b")])
    Club.objects.using(ALIAS).filter(pk__gt=1)._raw_delete(ALIAS)

    assert [] == by_triggers()


def test_ignored_columns_are_not_recorded(psql: Psql, settings: Settings) -> None:
    """An UPDATE through Django that sets nothing else ends nothing; one from outside does."""
    settings.CACHEDECO = {"IGNORED_COLUMNS": ["tests.Club.name"]}

    Club.objects.using(ALIAS).update(name="x")
    django = by_triggers()
    psql.execute("UPDATE tests_club SET name = 'y'")

    assert ([], ["UPDATE tests_club"]) == (django, by_triggers())


def test_text_copied_from_a_log_is_recorded(psql: Psql) -> None:
    """A mark counts for the connection that it was made for, and for no other."""
    texts: list[str] = []

    def log(execute: Any, text: str, params: Any, many: Any, context: Any) -> Any:
        texts.append(text % params if params else text)
        return execute(text, params, many, context)

    with connections[ALIAS].execute_wrapper(log):
        Club.objects.using(ALIAS).update(name=1)
    assert "/*cachedeco:" in texts[0]
    psql.execute(texts[0].encode())

    assert ["UPDATE tests_club"] == by_triggers()


def test_mark_in_a_value_counts_for_nothing(psql: Psql) -> None:
    """What looks like a mark inside a literal is part of the data."""
    with psycopg.ClientCursor(psql) as cursor:  # which puts values into the text, as Django does
        cursor.execute("UPDATE tests_club SET name = %s", [f"/*cachedeco:{psql.info.backend_pid}:tests_club:*/"])

    assert ["UPDATE tests_club"] == by_triggers()


def test_table_that_a_trigger_writes_is_recorded(psql: Psql) -> None:
    """Of a statement that Django runs, what the watcher can't know of is recorded, and nothing else."""
    psql.execute(
        "CREATE FUNCTION enrol() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO tests_member (name) VALUES (new.name); RETURN new; END $$"
    )
    psql.execute("CREATE TRIGGER enrol AFTER UPDATE ON tests_club FOR EACH ROW EXECUTE FUNCTION enrol()")

    Club.objects.using(ALIAS).update(name="new")
    psql.execute("DROP FUNCTION enrol CASCADE")

    assert ["INSERT INTO tests_member"] == by_triggers()


def test_statement_past_the_watcher_is_recorded() -> None:
    """What is run on the driver's own connection is not watched, and so recorded."""
    driver: Any = connections[ALIAS].connection
    driver.execute("UPDATE tests_club SET name = 'new'")

    assert ["UPDATE tests_club"] == by_triggers()


def test_write_in_the_mode_off_is_recorded() -> None:
    """A process that touches no cache leaves it to a deliverer of the others."""
    with override_settings(CACHEDECO={"MODE": "off"}):
        Club.objects.using(ALIAS).update(name="new")

    assert ["UPDATE tests_club"] == by_triggers()


# --- marks ---


@pytest.mark.parametrize(
    "tables",
    [frozenset({f"tests_{number:0100}" for number in range(10)}), frozenset({"a*b"}), frozenset({"a:b"})],
    ids=["many", "comment", "list"],
)
def test_statement_that_can_not_be_marked_is_left_alone(tables: frozenset[str]) -> None:
    """A mark would be too long, or its end be inside a name: the triggers record the statement."""
    effect = watcher.StatementEffect(writes=tables, verb="update")

    assert "UPDATE x" == marking.mark(connections[ALIAS], "UPDATE x", effect)


def test_text_that_is_no_str_is_left_alone() -> None:
    """The triggers record what the driver composes."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(sql.SQL("UPDATE {} SET name = 'new'").format(sql.Identifier("tests_club")))

    assert ["UPDATE tests_club"] == by_triggers()


def test_table_with_a_schema_is_marked_as_its_trigger_knows_it(psql: Psql) -> None:
    """A model's table may be in a schema, by a name like 'far"."club': Django's own write of it is not recorded."""
    psql.execute('CREATE SCHEMA far; CREATE TABLE far."Club" (name text)')
    tables = ['far"."Club']
    run(AddTriggers(tables=tables))
    effect = watcher.StatementEffect(writes=frozenset({*tables, '"far"."member"'}), verb="update")
    try:
        text = marking.mark(connections[ALIAS], 'UPDATE far."Club" SET name = 1', effect)
        connections[ALIAS].connection.execute(text)

        assert (":Club:member:*/", []) == (text[-15:], by_triggers())
    finally:
        psql.execute("DROP SCHEMA far CASCADE")


def test_database_without_triggers_sees_no_marks() -> None:
    """It is asked once, and its statements stay as they are."""
    run(RemoveTriggers(tables=TABLES))
    marking._has_triggers.clear()
    effect = watcher.StatementEffect(writes=frozenset({"tests_club"}), verb="update")

    texts = [marking.mark(connections[ALIAS], "UPDATE x", effect) for _ in range(2)]

    assert (["UPDATE x"] * 2, {ALIAS: False}) == (texts, marking._has_triggers)


def test_transaction_that_has_failed_is_asked_nothing() -> None:
    """The user's own error is the one that is raised, and the question is asked again later."""
    marking._has_triggers.clear()

    effect = watcher.StatementEffect(writes=frozenset({"tests_club"}), verb="update")
    texts = []

    with suppress(Undone), transaction.atomic(using=ALIAS):
        driver: Any = connections[ALIAS].connection
        with suppress(psycopg.Error):
            driver.execute("SELECT nothing")
        texts.append(marking.mark(connections[ALIAS], "UPDATE x", effect))
        raise Undone

    assert (["UPDATE x"], {}) == (texts, marking._has_triggers)


def test_mark_that_fails_breaks_no_statement() -> None:
    """It is an event, and the triggers record the statement."""

    def fail(*_: object) -> None:
        raise ValueError

    watcher.mark_with(fail)
    with capture_events() as events:
        Club.objects.using(ALIAS).update(name="new")

    assert ["A statement can't be marked as watched"] == [each.reason for each in events if each.kind == "error"]
    assert ["UPDATE tests_club"] == by_triggers()


# --- the operations ---


def triggers_and_functions(psql: Psql) -> tuple[int, int]:
    """Return how many triggers and functions of ours there are."""
    triggers = psql.execute("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'cachedeco%'").fetchone()
    functions = psql.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'cachedeco%'").fetchone()
    assert triggers
    assert functions
    return triggers[0], functions[0]


def test_operations_undo_each_other(psql: Psql) -> None:
    """The function goes with the last trigger; adding twice is adding once."""
    run(AddTriggers(tables=TABLES))
    both = triggers_and_functions(psql)
    run(RemoveTriggers(tables=TABLES[:1]))
    fewer = triggers_and_functions(psql)
    run(AddTriggers(tables=TABLES), backwards=True)
    none = triggers_and_functions(psql)
    psql.execute("UPDATE tests_club SET name = 'new'")
    recorded = by_triggers()
    run(RemoveTriggers(tables=TABLES), backwards=True)

    assert ((3, 1), (2, 1), (0, 0), [], (3, 1)) == (both, fewer, none, recorded, triggers_and_functions(psql))


def test_table_of_another_database_is_passed_over(psql: Psql) -> None:
    """A router may keep a model of the app elsewhere."""
    run(AddTriggers(tables=["tests_nowhere"]))
    run(RemoveTriggers(tables=["tests_nowhere"]))

    assert (3, 1) == triggers_and_functions(psql)


@pytest.mark.parametrize("router", ["Nowhere", "Elsewhere"])
def test_database_that_a_router_leaves_out_gets_no_triggers(psql: Psql, router: str) -> None:
    """Neither without the outbox's table nor without the app."""
    # Ended here: what removes the triggers after the test would be left out, too.
    with override_settings(DATABASE_ROUTERS=[f"tests.outbox.sites.{router}"]):
        run(RemoveTriggers(tables=TABLES))

    assert (3, 1) == triggers_and_functions(psql)


def test_sql_of_an_operation_can_be_shown() -> None:
    """`sqlmigrate` collects the statements, and runs nothing."""
    with connections[ALIAS].schema_editor(collect_sql=True) as editor:
        AddTriggers(tables=["tests_club"]).database_forwards("tests", editor, ProjectState(), ProjectState())

    assert ["DO", "DROP", "CREATE"] == [each.split()[0] for each in editor.collected_sql]


def test_operation_says_what_it_does() -> None:
    """In the output of `migrate --plan`."""
    operations = (AddTriggers(tables=["a", "b"]), RemoveTriggers(tables=["a"]))

    assert ["Record writes from outside Django to a, b", "Record no writes from outside Django to a"] == [
        each.describe() for each in operations
    ]


def test_role_without_rights_on_the_outbox_can_write(psql: Psql) -> None:
    """A user who may write to a table need not know of the outbox."""
    psql.execute("CREATE ROLE reporter")
    psql.execute("GRANT UPDATE ON tests_club TO reporter")
    psql.execute("SET ROLE reporter")
    try:
        psql.execute("UPDATE tests_club SET name = 'new'")
    finally:
        psql.execute("RESET ROLE")
        psql.execute("DROP OWNED BY reporter; DROP ROLE reporter")

    assert ["UPDATE tests_club"] == by_triggers()


# --- the deliverer ---


def test_rows_of_triggers_are_delivered_to_every_cache(psql: Psql, settings: Settings, use_caches: UseCaches) -> None:
    """In those of the setting ALIASES, and kept for a replay as others are."""
    use_caches(default="faulty", other="locmem")
    settings.CACHEDECO = {"ALIASES": ["default", "other"]}
    psql.execute("UPDATE tests_club SET name = 'new'")

    report = deliver()

    assert (Report(delivered=8), 8) == (report, len([row for row in all_rows() if row.acknowledged]))
    assert {"default", "other"} == {row.cache for row in all_rows()}


def test_rows_of_triggers_are_taken_in_batches(psql: Psql) -> None:
    """A loop of many writes from outside is a few tokens for each batch."""
    for _ in range(5):
        psql.execute("UPDATE tests_club SET name = 'new'")

    report = Deliverer([ALIAS], 2).run(replay=False)

    assert (Report(delivered=12), []) == (report, by_triggers())


def test_rows_of_triggers_are_left_by_a_run_that_stops(psql: Psql) -> None:
    """A deliverer that is told to end finishes its batch."""
    for _ in range(5):
        psql.execute("UPDATE tests_club SET name = 'new'")

    report = Deliverer([ALIAS], 2, lambda: True).run(replay=False)

    assert (Report(), ["UPDATE tests_club"] * 3) == (report, by_triggers())


@pytest.mark.parametrize("verb", ["INSERT INTO", "UPDATE", "DELETE FROM", "TRUNCATE"])
@pytest.mark.parametrize(("name", "is_ended"), [("old_club", True), ("elsewhere", False), ("gone", False)])
def test_write_to_a_part_ends_the_whole(psql: Psql, verb: str, name: str, *, is_ended: bool) -> None:
    """A trigger of a partition, or of a table that inherits, records its own name; of no model it ends nothing."""
    psql.execute("CREATE TABLE old_club () INHERITS (tests_club); CREATE TABLE elsewhere (id int)")
    try:
        Row.objects.using(ALIAS).create(cache=BY_TRIGGER, key=f"{verb} {name}", created=0)

        report = deliver()

        assert (is_ended, is_ended) == (of_model.peek() is MISSING, 0 < report.delivered < MANY)
    finally:
        psql.execute("DROP TABLE old_club, elsewhere")


def test_table_that_is_ignored_by_now_ends_nothing(psql: Psql, settings: Settings) -> None:
    """The settings of the deliverer decide; the row goes."""
    psql.execute("UPDATE tests_club SET name = 'new'")
    settings.CACHEDECO = {"IGNORED_TABLES": ["tests"]}

    assert (Report(), []) == (deliver(), all_rows())


def test_outbox_is_ignored_by_any_settings(settings: Settings) -> None:
    """To record a write of the outbox's own table would be a write of it."""
    settings.CACHEDECO = {"IGNORED_TABLES": []}

    Club.objects.using(ALIAS).update(name="new")

    assert (4, []) == (len(all_rows()), [row.key for row in all_rows() if "outbox" in row.key])
