"""Writes that a table of kinds can't hold: by names that the settings give, by hand, in loops, before receivers."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.models.signals import post_save
from pytest_django import Settings

from cachedeco import AUTO, MISSING, CachedQuery, Namespace, cached_query, deferred_invalidation
from tests.invalidation.writes.roster import BY_AUTO, DECLARED, ended, stale, warm
from tests.invalidation.writes.rows import MODELS, ModelClass, fill
from tests.models import Club, League, Player, Skill, Squad, SquadTotal, SquadView, YouthSquad
from tests.support.backends import Commands
from tests.support.clubs import Undone, assert_nothing_waits
from tests.support.engines import Engine, marks_of
from tests.support.threads import in_thread

SKILLS = BY_AUTO[Skill]


@pytest.fixture
def alias(engine: Engine) -> Iterator[str]:
    """Give the alias of a database with rows of which every function has a value stored."""
    fill(engine.alias)
    warm(engine.alias)
    yield engine.alias
    assert_nothing_waits()


def on(name: str) -> Any:
    """Run a test on one kind of database."""
    return pytest.mark.parametrize("engine", [name], indirect=True)


def names_by_hand(alias: str) -> CachedQuery[[str], list[str]]:
    """Return a function that reads what `rename()` writes, and that no write ends."""

    @cached_query(key="{using}", depends_on=(), using=alias)
    def names(using: str) -> list[str]:
        return list(Skill.objects.using(using).values_list("name", flat=True))

    return names


def rename(alias: str, name: str = "x") -> None:
    """Write without a signal."""
    Skill.objects.using(alias).update(name=name)


class Pooled:
    """What SQLAlchemy's pool gives: it stands for the driver's connection, whose attributes can only be read by it."""

    def __init__(self, connection: Any) -> None:
        """Stand for this one."""
        self.driver_connection = connection

    def __getattr__(self, name: str) -> Any:
        """Give what the connection has."""
        return getattr(self.driver_connection, name)


# --- what a driver does beside `execute()` ---


@on("postgresql")
def test_copy_on_a_connection_of_another_library_s_pool_is_a_write(
    engine: Engine, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's own connection makes the cursors."""
    pooled = engine.connection.copy()
    connect = pooled.get_new_connection
    monkeypatch.setattr(pooled, "get_new_connection", lambda parameters: Pooled(connect(parameters)))

    with pooled.cursor() as cursor, cursor.copy("COPY tests_skill (name) FROM STDIN") as copy:
        copy.write_row(["x"])
    pooled.close()

    assert ({Skill}, []) == (ended(alias), stale(alias))


# --- names that stand for tables ---


@on("postgresql")
def test_procedure_is_known_by_the_setting(engine: Engine, alias: str, settings: Settings) -> None:
    """CALL of a name writes what the setting says, and no more."""
    settings.CACHEDECO = {"TABLES": {"rename_all_squads": ["tests_squad"]}}
    warm(alias)

    engine.execute("CALL rename_all_squads()")

    assert ({Squad, YouthSquad, SquadView}, []) == (ended(alias), stale(alias))


def test_table_that_a_trigger_writes_is_known_by_the_setting(alias: str, settings: Settings) -> None:
    """A write to the table that has the trigger writes what the setting says, too."""
    settings.CACHEDECO = {"TABLES": {"tests_skill": ["tests.League"]}}
    warm(alias)

    rename(alias)

    assert {Skill, League} == ended(alias)


@on("postgresql")
def test_table_that_a_policy_reads_is_known_by_the_setting(engine: Engine, alias: str, settings: Settings) -> None:
    """Row-level security may decide by another table: a write to that one changes what a statement shows, too."""
    settings.CACHEDECO = {"TABLES": {"tests_skill": ["tests.Skill", "tests.League"]}}
    engine.execute("ALTER TABLE tests_skill ENABLE ROW LEVEL SECURITY")
    engine.execute("CREATE POLICY played ON tests_skill USING (EXISTS (SELECT FROM tests_league WHERE name = 'open'))")

    @cached_query(key="{using}", depends_on=[AUTO])
    def names(using: str) -> list[str]:
        return list(Skill.objects.using(using).order_by("pk").values_list("name", flat=True))

    engine.execute("SET ROLE pg_read_all_data")
    before = names(alias)
    kept = names.peek(alias)
    engine.execute("RESET ROLE")
    League.objects.using(alias).create(name="open")
    engine.execute("SET ROLE pg_read_all_data")
    after = names(alias)
    engine.execute("RESET ROLE")

    assert ([], [], Skill.objects.using(alias).count()) == (before, kept, len(after))
    assert after


@on("postgresql")
def test_function_in_a_select_only_reads(engine: Engine, alias: str, settings: Settings) -> None:
    """Whether it writes can't be known: what reads by it would end itself, so that what writes needs a word."""
    settings.CACHEDECO = {"TABLES": {"rename_squads": ["tests.Squad"]}}
    warm(alias)

    engine.execute("SELECT rename_squads()")
    first = ended(alias)
    for model in (Squad, YouthSquad):
        Namespace.for_model(model).invalidate()

    assert (set(), []) == (first, stale(alias))


@on("sqlite")
def test_declared_view_ends_with_the_table_behind_it(alias: str, settings: Settings) -> None:
    """A model over a view that is named in depends_on= ends when a table behind the view is written."""
    settings.CACHEDECO = {"TABLES": {"tests_squadview": ["tests_squad"]}}

    @cached_query(key="{using}", depends_on=[SquadView])
    def names(using: str) -> list[str]:
        return list(SquadView.objects.using(using).order_by("pk").values_list("name", flat=True))

    names(alias)
    assert names.peek(alias) is not MISSING

    Squad.objects.using(alias).update(name="y")

    assert {"y"} == set(names(alias))


@on("postgresql")
def test_materialized_view_ends_when_it_is_refreshed(engine: Engine, alias: str) -> None:
    """REFRESH writes the view."""

    @cached_query(key="{using}", depends_on=[SquadTotal])
    def total(using: str) -> int:
        return SquadTotal.objects.using(using).get().total

    engine.execute("REFRESH MATERIALIZED VIEW tests_squadtotal")
    assert (3, 3) == (total(alias), total.peek(alias))
    Squad.objects.using(alias).create(name="New")

    engine.execute("REFRESH MATERIALIZED VIEW tests_squadtotal")

    assert 4 == total(alias)


# --- what is left out ---


def test_ignored_table_ends_nothing(alias: str, settings: Settings) -> None:
    """A write to a table of IGNORED_TABLES sends nothing; AUTO does not store what reads it, and says why."""
    settings.CACHEDECO = {"IGNORED_TABLES": ["tests.Skill"]}
    SKILLS.invalidate(alias)
    DECLARED[Skill](alias)
    SKILLS(alias)

    rename(alias)

    assert (True, True) == (DECLARED[Skill].peek(alias) is not MISSING, SKILLS.peek(alias) is MISSING)


def test_write_of_ignored_columns_alone_ends_nothing(alias: str, settings: Settings) -> None:
    """A column of IGNORED_COLUMNS is in no cached value; with another one beside it, the write counts."""
    settings.CACHEDECO = {"IGNORED_COLUMNS": ["tests.Player.number"]}
    warm(alias)

    Player.objects.using(alias).update(number=7)
    first = ended(alias)
    Player.objects.using(alias).update(number=8, name="x")

    assert (set(), {Player}) == (first, ended(alias))


# --- by hand ---


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_model_invalidated_by_hand_ends_what_a_write_ends(engine: Engine, alias: str, model: ModelClass) -> None:
    """Who invalidates a model by hand stands for an update or a deletion that was not seen."""
    table, column = model._meta.db_table, model._meta.pk.column
    engine.execute(f"UPDATE {table} SET {column} = {column} WHERE 1 = 0")  # noqa: S608 -- names of ours
    engine.execute(f"DELETE FROM {table} WHERE 1 = 0")  # noqa: S608 -- as above
    by_writes = ended(alias)
    warm(alias)

    Namespace.for_model(model).invalidate()

    assert by_writes == ended(alias)


def test_ignored_model_is_invalidated_by_hand(alias: str, settings: Settings) -> None:
    """The setting is about statements: who names the model means it."""
    settings.CACHEDECO = {"IGNORED_TABLES": ["tests.Squad"]}
    DECLARED[Squad](alias)
    DECLARED[YouthSquad](alias)

    Namespace.for_model(Squad).invalidate()

    assert (True, True) == tuple(DECLARED[model].peek(alias) is MISSING for model in (Squad, YouthSquad))


# --- when ---


def test_receiver_that_raises_or_reads_finds_it_ended(alias: str) -> None:
    """In autocommit a write has ended what depends on it before any receiver of post_save runs."""
    seen: list[Any] = []

    def receive(using: str, **_: Any) -> None:
        seen.append(SKILLS.peek(using) is MISSING)
        raise Undone

    post_save.connect(receive, sender=Skill)
    try:
        with suppress(Undone):
            Skill(name="New").save(using=alias)
    finally:
        post_save.disconnect(receive, sender=Skill)

    # Django saves a row that has no parents without a transaction of its own.
    assert ([True], []) == (seen, stale(alias))


def test_statement_that_fails_ends_what_it_may_have_written(alias: str) -> None:
    """An exception tells nothing about what was written before it."""
    with suppress(Exception), connections[alias].cursor() as cursor:
        cursor.execute("UPDATE tests_skill SET nothing = 1")

    assert SKILLS.peek(alias) is MISSING


def test_copy_of_a_connection_writes_by_itself(alias: str) -> None:
    """What a second connection writes in autocommit is not undone by a rollback of the first."""
    with transaction.atomic(using=alias):
        second = connections[alias].copy()
        try:
            with second.cursor() as cursor:
                cursor.execute("UPDATE tests_skill SET name = 'second'")
        finally:
            second.close()
        transaction.set_rollback(True, using=alias)

    assert (True, []) == (SKILLS.peek(alias) is MISSING, stale(alias))


def test_transaction_by_hand_delivers_after_its_commit(engine: Engine, alias: str) -> None:
    """BEGIN and COMMIT that are sent as texts: what another thread has stored in between ends."""
    engine.execute("BEGIN")
    rename(alias)
    old = in_thread(lambda: SKILLS(alias))
    engine.execute("COMMIT")

    assert ("x" in str(old), []) == (False, stale(alias))
    assert "x" in str(in_thread(lambda: SKILLS(alias)))


def test_rollback_by_hand_leaves_the_old_value(engine: Engine, alias: str) -> None:
    """After ROLLBACK as text the value is computed anew, and stored."""
    engine.execute("BEGIN")
    rename(alias)
    engine.execute("ROLLBACK")

    assert [] == stale(alias)
    assert SKILLS.peek(alias) is not MISSING


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_commit_by_hand_in_a_block_counts(engine: Engine, alias: str) -> None:
    """What is committed in the middle of a block ends what others are served, though the block may roll back."""
    with suppress(Exception), transaction.atomic(using=alias):
        rename(alias, "one")
        engine.execute("COMMIT")
        assert "one" in str(in_thread(lambda: SKILLS(alias)))
        raise Undone

    assert [] == stale(alias)


@on("postgresql")
def test_write_after_a_commit_by_hand_in_a_block_counts(engine: Engine, alias: str) -> None:
    """The same table once more, at the end of the block."""
    with transaction.atomic(using=alias):
        rename(alias, "one")
        engine.execute("COMMIT")
        in_thread(lambda: SKILLS(alias))
        rename(alias, "two")

    assert [] == stale(alias)


@on("postgresql")
def test_commit_by_hand_counts_after_one_that_was_none(engine: Engine, alias: str) -> None:
    """BEGIN in a block may commit, and here does not: what is delivered at it is delivered at each later end."""
    with suppress(Exception), transaction.atomic(using=alias):
        rename(alias, "one")
        engine.execute("BEGIN")
        in_thread(lambda: SKILLS(alias))
        engine.execute("COMMIT")
        raise Undone

    assert [] == stale(alias)


@on("postgresql")
def test_commit_and_chain_counts(engine: Engine, alias: str) -> None:
    """The next transaction is open when the first one has committed."""
    engine.execute("BEGIN")
    rename(alias)
    in_thread(lambda: SKILLS(alias))
    engine.execute("COMMIT AND CHAIN")
    between = in_thread(lambda: SKILLS(alias))
    engine.execute("COMMIT")

    assert "x" in str(between)


@on("postgresql")
def test_rollback_by_hand_in_a_block_drops_what_was_computed(engine: Engine, alias: str) -> None:
    """The block goes on, and its commit stores nothing that was never committed."""
    names = names_by_hand(alias)

    with transaction.atomic(using=alias):
        rename(alias)
        names(alias)
        engine.execute("ROLLBACK")

    assert names.uncached(alias) == names(alias)


@pytest.mark.parametrize(
    ("engine", "text"),
    [
        ("postgresql", "SELECT 1 / 0"),  # each COMMIT from here on is a ROLLBACK
        ("postgresql", "UPDATE tests_skill SET nothing = 1"),
        ("sqlite", "INSERT OR ROLLBACK INTO tests_league (id) VALUES (1)"),
    ],
    indirect=["engine"],
)
def test_error_that_undoes_the_block_drops_what_was_computed(engine: Engine, alias: str, text: str) -> None:
    """The block swallows it, and its commit stores nothing that was never committed."""
    names = names_by_hand(alias)

    with transaction.atomic(using=alias):
        rename(alias)
        names(alias)
        with suppress(DatabaseError):
            engine.execute(text)
        if engine.name == "sqlite":
            engine.execute("BEGIN")  # else Django's commit raises

    assert names.uncached(alias) == names(alias)


@on("sqlite")
@pytest.mark.parametrize("text", ["COMMIT", "ROLLBACK", "INSERT OR ROLLBACK INTO tests_league (id) VALUES (1)"])
@pytest.mark.parametrize("before", ["", "y"])
def test_write_behind_the_end_of_its_transaction_counts(engine: Engine, alias: str, text: str, before: str) -> None:
    """From there to the end of the block SQLite commits each statement, and the block's rollback undoes nothing."""
    with suppress(Undone), transaction.atomic(using=alias):
        if before:
            rename(alias, before)
        with suppress(DatabaseError):
            engine.execute(text)
        rename(alias)
        raise Undone

    assert [] == stale(alias)
    assert "x" in str(SKILLS(alias))


@on("postgresql")
def test_error_in_a_savepoint_keeps_what_was_computed_before(engine: Engine, alias: str) -> None:
    """The rollback to the savepoint undoes the error."""
    names = names_by_hand(alias)

    with transaction.atomic(using=alias):
        rename(alias)
        names(alias)
        with suppress(DatabaseError), transaction.atomic(using=alias):
            engine.execute("SELECT 1 / 0")

    assert {"x"} == {*names.peek(alias)}


@pytest.mark.parametrize(
    ("engine", "text"),
    [
        ("sqlite", "DROP TABLE IF EXISTS aside"),
        *[
            pytest.param("mariadb", text, marks=marks_of("mariadb"))
            for text in (
                "DROP TABLE IF EXISTS aside",
                "LOCK TABLES tests_skill READ; UNLOCK TABLES",
                "ANALYZE TABLE tests_club",
                "CHECK TABLE tests_club",
                "FLUSH TABLES",
                "SET autocommit = 1",
                "SET STATEMENT max_statement_time = 9 FOR COMMIT",
                "EXECUTE IMMEDIATE 'COMMIT'",
            )
        ],
    ],
    indirect=["engine"],
)
def test_statement_that_commits_counts(engine: Engine, alias: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On MySQL and Oracle each definition, and more, commits, and a rollback undoes nothing before it."""
    monkeypatch.setattr(engine.connection.features, "can_rollback_ddl", False)
    with suppress(Exception), transaction.atomic(using=alias):
        rename(alias)
        for statement in text.split("; "):
            engine.execute(statement)
        assert engine.name == "sqlite" or "x" in str(in_thread(lambda: SKILLS(alias)))
        raise Undone

    assert (True, []) == (SKILLS.peek(alias) is MISSING or engine.name == "mariadb", stale(alias))


@pytest.mark.parametrize("engine", [pytest.param("mariadb", marks=marks_of("mariadb"))], indirect=True)
@pytest.mark.parametrize("before", ["", "y"])
def test_write_counts_where_sql_has_switched_autocommit_on_in_a_block(alias: str, engine: Engine, before: str) -> None:
    """From there to the end of the block MySQL commits each statement, and the block's rollback undoes nothing."""
    with suppress(Undone), transaction.atomic(using=alias):
        if before:
            rename(alias, before)
        engine.execute("SET autocommit = 1")
        rename(alias)
        raise Undone

    assert [] == stale(alias)
    assert "x" in str(SKILLS(alias))


@pytest.mark.parametrize("engine", [pytest.param("mariadb", marks=marks_of("mariadb"))], indirect=True)
@pytest.mark.parametrize("end", ["COMMIT", "SET autocommit = 1", "ROLLBACK"])
def test_write_counts_where_sql_has_switched_autocommit_off(alias: str, engine: Engine, end: str) -> None:
    """At once, and once more at the end: what another thread has stored in between ends."""
    engine.execute("SET autocommit = 0")
    rename(alias)
    between = str(SKILLS(alias)), str(in_thread(lambda: SKILLS(alias)))
    engine.execute(end)
    engine.execute("SET autocommit = 1")

    assert [] == stale(alias)
    assert [True, False, end != "ROLLBACK"] == [
        "x" in each for each in (*between, str(in_thread(lambda: SKILLS(alias))))
    ]


@on("postgresql")
@pytest.mark.parametrize("block", ["transaction", "pipeline"])
def test_block_of_the_driver_delivers_after_its_end(alias: str, block: str) -> None:
    """Psycopg's own are no blocks of Django's, and a pipeline sends later: the next statement or look sees the end."""
    connection = connections[alias]
    connection.ensure_connection()
    with getattr(connection.connection, block)():
        rename(alias)
        in_thread(lambda: SKILLS(alias))

    SKILLS(alias)  # any look of this thread
    assert "x" in str(in_thread(lambda: SKILLS(alias)))


def test_autocommit_switched_off_delivers_after_each_commit(alias: str) -> None:
    """commit() without autocommit: what another thread has stored before it ends."""
    transaction.set_autocommit(False, using=alias)
    try:
        rename(alias)
        in_thread(lambda: SKILLS(alias))
        transaction.commit(using=alias)
    finally:
        transaction.rollback(using=alias)
        transaction.set_autocommit(True, using=alias)

    assert "x" in str(in_thread(lambda: SKILLS(alias)))


# --- deferred_invalidation() ---


def test_deferred_loop_sends_one_command(alias: str, commands: Commands) -> None:
    """A loop of writes in autocommit sends its invalidations once, at the end of the block."""
    commands.clear()

    with deferred_invalidation():
        for number in range(50):
            rename(alias, str(number))
        assert not commands

    assert (1, []) == (len(commands), stale(alias))


def test_deferred_block_sees_its_own_writes(alias: str) -> None:
    """The thread of the block goes past the cache where it has written; others are served what is stored."""
    with deferred_invalidation():
        rename(alias)
        own, others = SKILLS(alias), in_thread(lambda: SKILLS(alias))

    assert (True, False) == ("x" in str(own), "x" in str(others))
    assert [] == stale(alias)


def test_value_that_a_deferred_block_computes_is_the_one_after_it(alias: str) -> None:
    """What is stored inside the block, by this thread or another, is not served after it."""
    with deferred_invalidation():
        rename(alias, "one")
        SKILLS(alias)
        in_thread(lambda: SKILLS(alias))
        rename(alias, "two")
        SKILLS(alias)
        in_thread(lambda: SKILLS(alias))

    assert [] == stale(alias)


def test_deferred_block_that_raises_sends_all_the_same(alias: str) -> None:
    """What was written in autocommit before an exception stays written."""
    with suppress(Undone), deferred_invalidation(), deferred_invalidation():
        rename(alias)
        raise Undone

    assert (True, []) == (SKILLS.peek(alias) is MISSING, stale(alias))


def test_inner_deferred_block_waits_for_the_outer_one(alias: str) -> None:
    """Blocks nest: what is written in either is sent when the outer one ends."""
    with deferred_invalidation():
        with deferred_invalidation():
            rename(alias)
        within = in_thread(lambda: SKILLS.peek(alias))
        League.objects.using(alias).update(name="x")

    assert (True, {Skill, League}) == (within is not MISSING, ended(alias))


def test_transaction_in_a_deferred_block_still_rolls_back(alias: str) -> None:
    """A rollback inside the block ends nothing; a commit is delivered, and all is right after the block."""
    with deferred_invalidation():
        with suppress(Undone), transaction.atomic(using=alias):
            rename(alias, "undone")
            raise Undone
        kept = SKILLS.peek(alias) is not MISSING
        with transaction.atomic(using=alias):
            rename(alias, "done")

    assert (True, []) == (kept, stale(alias))


def test_transaction_in_a_deferred_block_is_sent_at_its_commit(alias: str) -> None:
    """Django makes one of each deletion, too: others see the new rows before the block ends."""
    with deferred_invalidation():
        with transaction.atomic(using=alias):
            rename(alias)
        others = in_thread(lambda: SKILLS.peek(alias))

    assert (MISSING, []) == (others, stale(alias))


def test_deferred_block_is_of_its_thread(alias: str) -> None:
    """A thread that writes while another one defers sends at once."""
    with deferred_invalidation():
        in_thread(lambda: rename(alias))
        within = SKILLS.peek(alias)

    assert within is MISSING


# --- aliases ---


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("using", ["default", "other"])
def test_write_on_any_alias_ends_what_reads_the_table_on_any(using: str) -> None:
    """A token is named by the table alone: a write on one database ends what was read from another."""
    Club.objects.using(using).create(name="a")

    @cached_query(depends_on=[AUTO], using="default")
    def here() -> int:
        return Club.objects.using("default").count() + Club.objects.using("other").count()

    assert (1, True) == (here(), here.peek() is not MISSING)
    Club.objects.using(using).create(name="b")
    assert 2 == here()
