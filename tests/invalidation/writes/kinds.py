"""The kinds of writes: what each does, whose rows it changes, and what it ends beside these."""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from django.core import serializers
from django.core.management import call_command
from django.db import connections, models
from django.db.migrations.operations import AddField, RenameModel, RunSQL
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import F, OuterRef, Subquery, Value
from django.db.models.functions import Concat

from tests.invalidation.writes.rows import MODELS, Friend, ModelClass, PlayerSkill
from tests.models import (
    Fan,
    League,
    Lineup,
    Match,
    Player,
    ProxySquad,
    Scarf,
    Skill,
    Squad,
    SquadView,
    Trainee,
    YouthSquad,
)

Write = Callable[[str], object]
EVERYWHERE = ("sqlite", "postgresql", "mariadb")
EVERYTHING = (*MODELS, SquadView)
# Rows of Squad are seen in these, too: in its children and through a view.
SQUADS = (Squad, YouthSquad, SquadView)


class Kind(NamedTuple):
    """One kind of write."""

    name: str
    write: Write
    changes: Sequence[ModelClass]  #: whose rows differ after it
    ends: Sequence[ModelClass] = ()  #: whose entries it ends beside these, as only the table is known, and not the rows
    engines: Sequence[str] = EVERYWHERE
    can_roll_back: bool = True  #: whether it may run inside atomic(), and a rollback undoes it

    def concerned(self) -> set[ModelClass]:
        """Return the models whose entries end."""
        return {*self.changes, *self.ends}


def _squad(alias: str, name: str = "North") -> Squad:
    return Squad.objects.using(alias).get(name=name)


def _ann(alias: str) -> Player:
    return Player.objects.using(alias).get(name="Ann")


def _execute(alias: str, sql: Any, parameters: Any = None) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, parameters)


def sql(text: Any, parameters: Any = None) -> Write:
    """Return a write that is a statement."""
    return lambda alias: _execute(alias, text, parameters)


def _save(alias: str) -> None:
    squad = _squad(alias)
    squad.name = "West"
    squad.save()


def _bulk_update(alias: str) -> None:
    several = list(Skill.objects.using(alias).all())
    for skill in several:
        skill.name += "!"
    Skill.objects.using(alias).bulk_update(several, ["name"])


def _upsert(alias: str) -> None:
    known = Skill.objects.using(alias).get(name="Pass")
    options: dict[str, Any] = {"update_conflicts": True, "update_fields": ["name"]}
    if connections[alias].features.supports_update_conflicts_with_target:
        options["unique_fields"] = ["id"]
    Skill.objects.using(alias).bulk_create([Skill(pk=known.pk, name="Long pass")], **options)


def _subquery(alias: str) -> None:
    league = League.objects.using(alias).filter(pk=OuterRef("league")).values("name")
    Squad.objects.using(alias).filter(league__isnull=False).update(name=Subquery(league))


def _set_skills(alias: str) -> None:
    _ann(alias).skills.set(Skill.objects.using(alias).filter(name="Shot"))


def _raw_delete(alias: str) -> None:
    skills = Skill.objects.using(alias).filter(name="Shot")
    skills._raw_delete(alias)  # type: ignore[attr-defined]


def _save_youth(alias: str) -> None:
    youth = YouthSquad.objects.using(alias).get()
    youth.age += 1
    youth.save()


def _delete_through_row(alias: str) -> None:
    PlayerSkill._base_manager.using(alias).all()[0].delete()


def _save_through_row(alias: str) -> None:
    ann, shot = _ann(alias), Skill.objects.using(alias).get(name="Shot")
    PlayerSkill._base_manager.using(alias).create(player_id=ann.pk, skill_id=shot.pk)


def _load_data(alias: str) -> None:
    data = serializers.serialize("json", [Skill(pk=77, name="Loaded")])
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "skills.json")
        path.write_text(json.dumps(json.loads(data)))
        call_command("loaddata", str(path), database=alias, verbosity=0)


def _flush(alias: str) -> None:
    call_command("flush", database=alias, interactive=False, verbosity=0, inhibit_post_migrate=True)


def _migrate(alias: str, *operations: Any, back: bool = True) -> None:
    before = ProjectState()
    for model in (Skill, League):
        before.add_model(ModelState.from_model(model, exclude_rels=True))
    for operation in operations:
        after = before.clone()
        operation.state_forwards("tests", after)
        with connections[alias].schema_editor() as editor:
            operation.database_forwards("tests", editor, before, after)
        if back:
            with connections[alias].schema_editor() as editor:
                operation.database_backwards("tests", editor, after, before)


def _add_field(alias: str) -> None:
    """Add a column and remove it again, which changes no value, and may rewrite the table."""
    _migrate(alias, AddField("League", "level", models.IntegerField(default=1)))


def _rename_model(alias: str) -> None:
    _migrate(alias, RenameModel("League", "Division"))


def _run_sql(alias: str) -> None:
    _migrate(alias, RunSQL("UPDATE tests_league SET name = 'Third'", RunSQL.noop), back=False)


async def _create_async(alias: str) -> None:
    await Skill.objects.using(alias).acreate(name="Async")


def _through_async(alias: str) -> None:
    from asgiref.sync import async_to_sync

    async_to_sync(_create_async)(alias)


def _while_iterating(alias: str) -> None:
    for skill in list(Skill.objects.using(alias).iterator()):
        Skill.objects.using(alias).filter(pk=skill.pk).update(name=Concat(F("name"), Value("?")))


def _many(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.executemany("INSERT INTO tests_skill (name) VALUES (%s)", [("One",), ("Two",)])


def _psycopg_sql(alias: str) -> None:
    from psycopg import sql as composing

    _execute(alias, composing.SQL("UPDATE {} SET name = 'Composed'").format(composing.Identifier("tests_skill")))


def _copy(alias: str) -> None:
    with connections[alias].cursor() as cursor, cursor.copy("COPY tests_skill (name) FROM STDIN") as copy:
        copy.write_row(["Copied"])


def _stream(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        assert [(1,), (1,)] == list(cursor.stream("UPDATE tests_skill SET name = 'Streamed' RETURNING 1"))


LEFT_BY_SQUAD = (Fan, Scarf)  # what the database may delete with a squad

KINDS = (
    # --- rows ---
    Kind("create", lambda alias: Skill.objects.using(alias).create(name="New"), [Skill]),
    Kind("save", _save, [Squad, SquadView], [YouthSquad]),
    Kind("save of a proxy", lambda alias: ProxySquad(name="Proxy").save(using=alias), [Squad, SquadView], [YouthSquad]),
    Kind(
        "save of one field",
        lambda alias: Squad(pk=_squad(alias).pk, name="One").save(using=alias, update_fields=["name"]),
        [Squad, SquadView],
        [YouthSquad],
    ),
    Kind("delete", lambda alias: Skill.objects.using(alias).get(name="Shot").delete(), [Skill], [PlayerSkill, Player]),
    Kind(
        "delete of a queryset",
        lambda alias: Lineup.objects.using(alias).all().delete(),
        [Lineup],
        [Player, Match],
    ),
    Kind("get_or_create", lambda alias: Skill.objects.using(alias).get_or_create(name="New"), [Skill]),
    Kind(
        "update_or_create",
        lambda alias: Skill.objects.using(alias).update_or_create(name="Pass", defaults={"name": "Long pass"}),
        [Skill],
    ),
    # --- many rows ---
    Kind("update", lambda alias: Skill.objects.using(alias).update(name="Same"), [Skill]),
    Kind(
        "update by F()",
        lambda alias: Player.objects.using(alias).update(number=F("number") + 1),
        [Player],
    ),
    Kind("update by a subquery", _subquery, [Squad, SquadView], [YouthSquad]),
    Kind(
        "update across a relation",
        lambda alias: Player.objects.using(alias).filter(squad__league__name="First").update(name="Far"),
        [Player],
    ),
    Kind(
        "bulk_create", lambda alias: Skill.objects.using(alias).bulk_create([Skill(name="1"), Skill(name="2")]), [Skill]
    ),
    Kind(
        "bulk_create of many",
        lambda alias: Skill.objects.using(alias).bulk_create([Skill(name=str(n)) for n in range(200)]),
        [Skill],
    ),
    Kind("bulk_create that updates", _upsert, [Skill]),
    Kind("bulk_update", _bulk_update, [Skill]),
    Kind("_raw_delete", _raw_delete, [Skill]),
    Kind("while iterating", _while_iterating, [Skill]),
    # --- relations ---
    Kind(
        "add",
        lambda alias: _ann(alias).skills.add(Skill.objects.using(alias).get(name="Shot")),
        [PlayerSkill],
        [Player, Skill],
    ),
    Kind(
        "remove",
        lambda alias: _ann(alias).skills.remove(Skill.objects.using(alias).get(name="Pass")),
        [PlayerSkill],
        [Player, Skill],
    ),
    Kind("set", _set_skills, [PlayerSkill], [Player, Skill]),
    Kind("clear", lambda alias: _ann(alias).skills.clear(), [PlayerSkill], [Player, Skill]),
    Kind("through row saved", _save_through_row, [PlayerSkill], [Player, Skill]),
    Kind("through row deleted", _delete_through_row, [PlayerSkill], [Player, Skill]),
    Kind(
        "through model saved",
        lambda alias: Lineup.objects.using(alias).create(player=_ann(alias), match=Match.objects.using(alias).get()),
        [Lineup],
        [Player, Match],
    ),
    Kind(
        "relation to itself",
        lambda alias: Trainee.objects.using(alias).get(name="Cem").friends.clear(),
        [Friend],
        [Trainee],
    ),
    Kind("multi-table child saved", _save_youth, [YouthSquad], [Squad, SquadView]),
    Kind("multi-table child made", lambda alias: YouthSquad(name="Kids", age=8).save(using=alias), SQUADS),
    Kind(
        "multi-table child deleted",
        lambda alias: YouthSquad.objects.using(alias).get().delete(),
        SQUADS,
        LEFT_BY_SQUAD,
    ),
    Kind(
        "multi-table parent updated",
        lambda alias: Squad.objects.using(alias).filter(youthsquad__isnull=False).update(name="Old"),
        SQUADS,
    ),
    # --- cascades ---
    Kind(
        "cascade",
        lambda alias: _squad(alias).delete(),
        [Squad, SquadView, Player, PlayerSkill, Lineup, *LEFT_BY_SQUAD],
        [YouthSquad, Skill, Match],
    ),
    Kind(
        "cascade that sets null",
        lambda alias: League.objects.using(alias).get(name="First").delete(),
        [League, Squad],
        [YouthSquad, SquadView],
    ),
    Kind(
        "cascade in the database",
        lambda alias: Fan.objects.using(alias).all()._raw_delete(alias),  # type: ignore[attr-defined]
        LEFT_BY_SQUAD,
    ),
    # --- whole tables ---
    Kind("loaddata", _load_data, [Skill]),
    Kind("flush", _flush, EVERYTHING, can_roll_back=False),
    Kind("migration that adds a field", _add_field, [], [League], can_roll_back=False),
    Kind("migration that renames a model", _rename_model, [], [League], can_roll_back=False),
    Kind("migration in SQL", _run_sql, [League], can_roll_back=False),
    # --- statements ---
    Kind("raw", sql("UPDATE tests_skill SET name = 'raw'"), [Skill]),
    Kind("raw with parameters", sql("UPDATE tests_skill SET name = %s WHERE name = %s", ["raw", "Pass"]), [Skill]),
    Kind("raw insert", sql("INSERT INTO tests_skill (name) VALUES ('raw')"), [Skill]),
    Kind("raw delete", sql("DELETE FROM tests_skill WHERE name = 'Shot'"), [Skill]),
    Kind("executemany", _many, [Skill]),
    Kind("comment before", sql("/* by: cron */ UPDATE tests_skill SET name = 'x'"), [Skill]),
    Kind("comment line before", sql("-- by cron\nUPDATE tests_skill SET name = 'x'"), [Skill]),
    Kind("white space before", sql("\n\t UPDATE tests_skill SET name = 'x'"), [Skill]),
    Kind("upper case", sql("UPDATE TESTS_SKILL SET NAME = 'x'"), [Skill], engines=["sqlite", "postgresql"]),
    Kind("INSERT ... SELECT", sql("INSERT INTO tests_skill (name) SELECT name FROM tests_player"), [Skill]),
    Kind(
        "ON CONFLICT",
        sql("INSERT INTO tests_skill (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = excluded.name"),
        [Skill],
        engines=["sqlite", "postgresql"],
    ),
    Kind(
        "ON DUPLICATE KEY",
        sql("INSERT INTO tests_skill (id, name) VALUES (1, 'x') ON DUPLICATE KEY UPDATE name = 'x'"),
        [Skill],
        engines=["mariadb"],
    ),
    Kind(
        "REPLACE",
        sql("REPLACE INTO tests_skill (id, name) VALUES (2, 'x')"),
        [Skill],
        [PlayerSkill, Player],
        engines=["sqlite", "mariadb"],
    ),
    Kind(
        "INSERT OR REPLACE",
        sql("INSERT OR REPLACE INTO tests_skill (id, name) VALUES (2, 'x')"),
        [Skill],
        [PlayerSkill, Player],
        engines=["sqlite"],
    ),
    Kind(
        "UPDATE OR REPLACE",
        sql("UPDATE OR REPLACE tests_skill SET name = 'x'"),
        [Skill],
        [PlayerSkill, Player],
        engines=["sqlite"],
    ),
    Kind(
        "schema before the name",
        sql('UPDATE "public"."tests_skill" SET name = \'x\''),
        [Skill],
        engines=["postgresql"],
    ),
    Kind(
        "schema before the name, of SQLite", sql("UPDATE main.tests_skill SET name = 'x'"), [Skill], engines=["sqlite"]
    ),
    Kind(
        "UPDATE of several tables",
        sql("UPDATE tests_skill s, tests_league l SET s.name = 'x', l.name = 'x'"),
        [Skill, League],
        engines=["mariadb"],
    ),
    Kind(
        "UPDATE FROM",
        sql("UPDATE tests_skill SET name = l.name FROM tests_league l"),
        [Skill],
        engines=["sqlite", "postgresql"],
    ),
    Kind(
        "DELETE USING",
        sql("DELETE FROM tests_skill USING tests_league l WHERE tests_skill.name = 'Shot'"),
        [Skill],
        engines=["postgresql"],
    ),
    Kind(
        "RETURNING",
        sql("UPDATE tests_skill SET name = 'x' RETURNING id"),
        [Skill],
        engines=["sqlite", "postgresql"],
    ),
    Kind(
        "MERGE",
        sql(
            "MERGE INTO tests_skill s USING tests_league l ON s.id = l.id "
            "WHEN MATCHED THEN UPDATE SET name = l.name WHEN NOT MATCHED THEN INSERT (name) VALUES (l.name)"
        ),
        [Skill],
        engines=["postgresql"],
    ),
    Kind("TRUNCATE", sql("TRUNCATE tests_lineup"), [Lineup], [Player, Match], engines=["postgresql"]),
    Kind(
        "TRUNCATE TABLE",
        sql("TRUNCATE TABLE tests_lineup"),
        [Lineup],
        [Player, Match],
        engines=["mariadb"],
        can_roll_back=False,
    ),
    Kind(
        "TRUNCATE CASCADE",
        sql("TRUNCATE tests_match CASCADE"),
        [Match, Lineup],
        [Player],
        engines=["postgresql"],
    ),
    Kind(
        "CTE that writes",
        sql("WITH gone AS (DELETE FROM tests_skill WHERE name = 'Shot' RETURNING id) SELECT count(*) FROM gone"),
        [Skill],
        engines=["postgresql"],
    ),
    Kind(
        "CTE before a write",
        sql("WITH n AS (SELECT 'x' AS name) UPDATE tests_skill SET name = (SELECT name FROM n)"),
        [Skill],
        engines=["sqlite", "postgresql"],
    ),
    Kind(
        "two statements",
        sql("SELECT 1; UPDATE tests_skill SET name = 'x'"),
        [Skill],
        engines=["postgresql"],
    ),
    Kind(
        "EXPLAIN ANALYZE",
        sql("EXPLAIN ANALYZE UPDATE tests_skill SET name = 'x'"),
        [Skill],
        engines=["postgresql"],
    ),
    Kind(
        "DO block",
        sql("DO $$ BEGIN UPDATE tests_skill SET name = 'x'; END $$"),
        [Skill],
        EVERYTHING,
        engines=["postgresql"],
    ),
    Kind(
        "DO block through a view",
        sql("DO $$ BEGIN UPDATE tests_squadview SET name = l.name FROM tests_league l; END $$"),
        SQUADS,
        EVERYTHING,
        engines=["postgresql"],
    ),
    Kind(
        "DO block without a name",
        sql("DO $$ BEGIN EXECUTE 'UPDATE tests_' || 'skill SET name = ''x'''; END $$"),
        [Skill],
        EVERYTHING,
        engines=["postgresql"],
    ),
    Kind("no text but an object", _psycopg_sql, [Skill], engines=["postgresql"]),
    Kind("bytes", sql(b"UPDATE tests_skill SET name = 'x'"), [Skill], engines=["postgresql"]),
    Kind("COPY", _copy, [Skill], engines=["postgresql"]),
    Kind("stream()", _stream, [Skill], engines=["postgresql"]),
    Kind("CALL", sql("CALL rename_all_squads()"), [Squad, YouthSquad, SquadView], EVERYTHING, engines=["postgresql"]),
    Kind(
        "CALL of MariaDB",  # which may commit: it counts at once, and a rollback takes nothing back
        sql("CALL rename_squads()"),
        [Squad, YouthSquad, SquadView],
        EVERYTHING,
        engines=["mariadb"],
        can_roll_back=False,
    ),
    # --- by a name that no managed model has ---
    Kind(
        "through a view",
        lambda alias: SquadView.objects.using(alias).update(name="Seen"),
        SQUADS,
        LEFT_BY_SQUAD,  # in the table it may be another column
        engines=["postgresql", "mariadb"],
    ),
    Kind(
        "table that inherits",
        sql("INSERT INTO tests_oldskill (id, name) VALUES (50, 'Old')"),
        [Skill],
        engines=["postgresql"],
    ),
    Kind(
        "names in brackets",
        sql("UPDATE [main].[tests_skill] SET [name] = 'x'"),
        [Skill],
        engines=["sqlite"],
    ),
    # --- where from ---
    Kind("async", _through_async, [Skill]),
)
