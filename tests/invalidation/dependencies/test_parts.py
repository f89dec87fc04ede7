"""A statement ends the parts that it is known to change; where this is not known for certain, all of its table."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.db.models.signals import pre_save
from django.db.transaction import atomic, set_rollback

from cachedeco import AUTO, MISSING, cached_query, deferred_invalidation, rows
from cachedeco.invalidation import parts
from tests.invalidation.dependencies.conftest import Starting
from tests.invalidation.dependencies.roster import kept, made_squad, name_of, players_of
from tests.models import League, Player, Skill, Squad, Trainee, YouthSquad
from tests.support.backends import Commands
from tests.support.parts import PRECISE, PartsWorld, Write
from tests.support.stored import bare_each

pytestmark = pytest.mark.django_db


@contextmanager
def before_save(receive: Callable[..., object]) -> Iterator[None]:
    """Have a receiver of the user's called before a player is saved."""
    pre_save.connect(receive, sender=Player)
    try:
        yield
    finally:
        pre_save.disconnect(receive, sender=Player)


def execute(sql: str, *params: object) -> None:
    """Execute a statement of the user's."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


# --- what is matched ---


def test_value_is_that_of_the_statement(pks: list[int]) -> None:
    """A receiver that runs after ours may give the row another value: this one is written."""

    def to_last(instance: Player, **_: object) -> None:
        instance.squad_id = pks[2]

    player = Player.objects.get(squad_id=pks[0])
    with before_save(to_last):
        player.save()

    assert pks[1:2] == kept(players_of, *pks)


def test_update_of_a_receiver_is_not_taken_for_the_save(pks: list[int]) -> None:
    """An `update()` by another column than the primary key concerns all parts, while any row is being saved."""

    def update(**_: object) -> None:
        Player.objects.filter(name="Easter").update(squad_id=pks[2])

    player = Player.objects.get(squad_id=pks[0])
    with before_save(update):
        player.save()

    assert [] == kept(players_of, *pks)


def test_row_that_a_receiver_moves_leaves_both_parts(pks: list[int]) -> None:
    """The row is read right before each statement: a move between them is no other process's."""

    def update(instance: Player, **_: object) -> None:
        Player.objects.filter(pk=instance.pk).update(squad_id=pks[1])
        for pk in pks:
            players_of(pk)

    player = Player.objects.get(squad_id=pks[0])
    with before_save(update):
        player.save()

    assert pks[2:] == kept(players_of, *pks)


def test_update_by_primary_key_of_a_row_that_is_not_saved_concerns_all_parts(pks: list[int]) -> None:
    """Only rows that are announced are read: the models of a migration may lack columns."""
    pk = Player.objects.values_list("pk", flat=True)[0]
    parts._announced.clear()  # a row of another test may be alive, in the traceback of an exception

    Player.objects.filter(pk=pk).update(name="Ann")

    assert [] == kept(players_of, *pks)


def test_connection_of_its_own_concerns_all_parts(pks: list[int]) -> None:
    """A row is announced on the connection of its alias, and another one has its own transactions."""
    player = Player.objects.get(squad_id=pks[0])
    player.save()
    for pk in pks:
        players_of(pk)

    changed = parts.changed_parts(
        connections["default"].copy(),
        frozenset({"tests_player"}),
        'UPDATE "tests_player" SET "name" = %s WHERE "tests_player"."id" = %s',
        ("Ann", player.pk),
    )

    assert changed is not None
    assert {} == changed.texts


# --- values that no parameter tells ---


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ('INSERT INTO "tests_player" ("name", "number") VALUES (%s, %s)', ("Ann", 5)),
        ('INSERT INTO "tests_player" ("name", "number", "squad_id") VALUES (%s, %s, (1 + 1))', ("Ann", 5)),
        ('INSERT INTO "tests_player" ("name", "number", "squad_id") VALUES (%s, %s, %s)', ("Ann", 5.0, None)),
        ('INSERT INTO "tests_player" ("name", "number", "squad_id") VALUES (\'Ann\', 5, NULL)', ()),
    ],
    ids=["default", "expression", "float", "literal"],
)
def test_insert_whose_values_are_unknown_concerns_all_parts(
    pks: list[int], sql: str, params: tuple[object, ...]
) -> None:
    """A default of the database, an expression, and a parameter of another type name no part."""
    execute(sql, *params)

    assert [] == kept(players_of, *pks)
    Player.objects.filter(name="Ann").delete()  # its squad may not exist


def test_inserted_null_is_the_part_of_none(pks: list[int]) -> None:
    """A NULL in the text is a value that is known."""
    players_of(None)

    execute('INSERT INTO "tests_player" ("name", "number", "squad_id") VALUES (%s, %s, NULL)', "Ann", 5)

    assert pks == kept(players_of, *pks, None)


def test_insert_of_many_parts_concerns_all(pks: list[int]) -> None:
    """Beyond some number of parts, one token for all is cheaper than one for each."""
    Player.objects.bulk_create([Player(name="Ann", number=n) for n in range(parts.MOST_PARTS + 1)])

    assert [] == kept(players_of, *pks)


def test_generated_key_names_the_part_of_one_row() -> None:
    """What depends on a row that is not there yet is ended when it comes, and rows beside it are not."""
    first = made_squad("North")
    name_of(first)

    @cached_query(depends_on=[rows(Squad, pk="{pk}")], name="tests.parts.is_there")
    def is_there(pk: int) -> bool:
        return Squad.objects.filter(pk=pk).exists()

    before = is_there(first.pk + 1)

    made = made_squad("East")

    assert (False, first.pk + 1) == (before, made.pk)
    assert ([first], MISSING, True) == (kept(name_of, first), is_there.peek(made.pk), is_there(made.pk))


@pytest.mark.parametrize("pk", [None, 0], ids=["several", "zero"])
def test_keys_that_the_driver_does_not_tell_concern_all_parts(pk: int | None) -> None:
    """Of several rows, and for a key that some databases generate anew, no one key is known."""
    first = made_squad("North")
    name_of(first)

    Squad.objects.bulk_create([Squad(pk=pk, name=name) for name in ("East", "West")[: 1 if pk == 0 else 2]])

    assert [] == kept(name_of, first)


# --- relations ---


def test_rows_deleted_from_a_relation_with_their_player_concern_its_part(pks: list[int]) -> None:
    """A deleted player's relations go with it: rows of the same table that stay are as they were."""
    player = Player.objects.get(squad_id=pks[0])
    player.skills.add(Skill.objects.create(name="a"))
    for pk in pks:
        players_of(pk)

    player.delete()

    assert pks[1:] == kept(players_of, *pks)


def test_relation_of_one_model_to_itself_concerns_all_parts(starting: Starting) -> None:
    """A deleted row's friends lie in the same table, in any part."""
    with starting():

        @cached_query(depends_on=[rows(Trainee, pk="{pk}")], name="tests.parts.trainee")
        def trainee(pk: int) -> list[str]:
            return list(Trainee.objects.filter(friends=pk).values_list("name", flat=True))

    ann, bob = [Trainee.objects.create(name=name) for name in ("Ann", "Bob")]
    ann.friends.add(bob)
    before = trainee(bob.pk)

    ann.delete()

    assert (["Ann"], []) == (before, trainee(bob.pk))


def test_deleted_child_leaves_its_part_of_the_parent(pks: list[int]) -> None:
    """Child and parent are deleted by one primary key each."""
    league = League.objects.get()
    young = YouthSquad.objects.create(name="Young", age=9, league=league)
    others = list(Squad.objects.filter(pk__in=pks))
    for squad in (young, *others):
        name_of(squad)

    deleted = YouthSquad(pk=young.pk)
    young.delete()

    assert others == kept(name_of, deleted, *others)


# --- transactions ---


def test_transaction_ends_each_part_once(pks: list[int], commands: Commands) -> None:
    """Saves of rows of the same part end it by one token, in one command."""
    player = Player.objects.get(squad_id=pks[0])
    commands.clear()

    with atomic():
        player.save()
        player.save()
    kept(players_of, pks[0])

    [written] = [command for command in commands if command.name == "set_many"]
    assert [
        "cd:n:rows.tests_player:number.0",
        f"cd:n:rows.tests_player:squad_id.{pks[0]}",
        "cd:n:table.tests_player",
    ] == sorted(bare_each(written.keys))


def test_write_of_all_parts_hides_no_part_that_was_ended_under_a_savepoint(pks: list[int]) -> None:
    """A savepoint that is rolled back takes its own invalidations, and no others."""
    players = [Player.objects.get(squad_id=pk) for pk in pks]
    with atomic():
        players[0].save()
        with atomic():
            Player.objects.update(name="Ann")
            players[1].save()
            parts_within = kept(players_of, *pks)
            set_rollback(True)
        players[1].save()

    assert ([], pks[2:]) == (parts_within, kept(players_of, *pks))


def test_block_that_defers_ends_parts_at_its_end(pks: list[int]) -> None:
    """A loop of saves in autocommit ends the parts of its rows, and no others."""
    with deferred_invalidation():
        for player in Player.objects.filter(squad_id__in=pks[:2]):
            player.save()

    assert pks[2:] == kept(players_of, *pks)


@pytest.mark.django_db(transaction=True)
def test_row_that_is_read_for_its_part_is_no_read_of_the_computation(pks: list[int]) -> None:
    """A function that saves a row does not depend on its table for that."""

    @cached_query(depends_on=[AUTO], name="tests.parts.saving")
    def saving(pk: int, squad_id: int) -> int:
        Player(pk=pk, name="Ann", squad_id=squad_id).save()
        return Skill.objects.count()

    pk = Player.objects.get(squad_id=pks[0]).pk

    saving(pk, pks[0])

    assert 0 == saving.peek(pk, pks[0])


# --- what fails ---


@contextmanager
def failing_reads(error: Exception) -> Iterator[None]:
    """Have each read of the players fail, as a database may let it."""

    def fail(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith('SELECT "tests_player"'):
            raise error
        return execute(sql, *args)

    with connection.execute_wrapper(fail):
        yield


@pytest.mark.django_db(transaction=True)
def test_read_that_fails_outside_a_transaction_concerns_all_parts(pks: list[int]) -> None:
    """The row is saved: the statement itself says whether the database is well."""
    player = Player.objects.get(squad_id=pks[0])

    with failing_reads(OperationalError("lost")):
        player.save()

    assert [] == kept(players_of, *pks)


def test_read_that_fails_in_a_transaction_is_the_user_s_error(pks: list[int]) -> None:
    """A deadlock has rolled the transaction back: what follows must not be committed alone."""
    player = Player.objects.get(squad_id=pks[0])

    with failing_reads(OperationalError("deadlock")), pytest.raises(OperationalError, match="deadlock"), atomic():
        player.save()

    assert pks == kept(players_of, *pks)


def test_fault_of_a_field_concerns_all_parts(pks: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A field of the user's may raise anything: the statement runs all the same."""
    player = Player.objects.get(squad_id=pks[0])

    def fail(*_: object) -> str:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(parts, "text_of", fail)
        player.save()
        Player.objects.create(name="Ann", squad_id=pks[0])

    assert [] == kept(players_of, *pks)


# --- how much stays ---


@pytest.mark.parametrize("kind", PRECISE)
def test_most_parts_stay(kind: str) -> None:
    """Of ten parts by two fields, a write that is known row by row ends at most four."""
    world = PartsWorld("default")

    world.run(Write(kind, 0, 1, 2, "", "autocommit"))

    assert (10, True) == (world.asked, world.kept >= 6)
