"""
SQLite judges the parse of SQL texts: a workload of Django's ORM, and raw texts.

The workload's texts are judged while they run, as those of all tests are, by the plugin `tests.support.judging`.
"""

import datetime as dt
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connections, models, transaction
from django.db.models import (
    Avg,
    Case,
    Count,
    Exists,
    F,
    FilteredRelation,
    Max,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.base import ModelBase
from django.db.models.functions import (
    Cast,
    Coalesce,
    Concat,
    ExtractYear,
    Lower,
    Rank,
    Replace,
    Substr,
    Trim,
    TruncMonth,
)
from django.utils import timezone
from pytest_django import DjangoDbBlocker

import tests.models
from tests.models import (
    Club,
    ClubClass,
    Fan,
    League,
    Match,
    Member,
    Player,
    ProxyClub,
    Scarf,
    Skill,
    SportsClub,
    Squad,
    Trainee,
    YouthSquad,
)
from tests.support import judging
from tests.support.databases import connected
from tests.support.judging import JudgedConnection, difference

on_database = pytest.mark.django_db

NOW = dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)
MODELS = [each for each in vars(tests.models).values() if isinstance(each, ModelBase)]
MODELS = [each for each in MODELS if each._meta.managed and not each._meta.proxy]
MODELS += [User, Group, Permission, ContentType]

LOOKUPS: dict[Any, dict[str, object]] = {
    models.CharField: dict.fromkeys(
        ("exact", "iexact", "contains", "icontains", "startswith", "iendswith", "regex", "iregex", "gt", "lte"),
        "a'%_\\\\",
    ),
    models.IntegerField: {"exact": 1, "gt": 1, "gte": 1, "lt": 1, "lte": 1, "in": [1, 2], "range": (1, 2)},
    models.DateTimeField: {
        "year": 2026,
        "month__gt": 1,
        "day": 1,
        "week_day": 1,
        "quarter__in": [1, 2],
        "hour": 1,
        "date": NOW.date(),
        "time__lt": NOW.time(),
        "range": (NOW, NOW),
    },
    models.BooleanField: {"exact": True},
    models.DateField: {"year__lte": 2026, "iso_week_day": 3, "exact": NOW.date()},
}


def lookups_of(model: type[models.Model]) -> Iterator[QuerySet[Any]]:
    """Yield querysets with each lookup of each field, of the model and one relation away."""
    for field in model._meta.get_fields():
        if isinstance(field, models.ForeignKey | models.ManyToManyField):
            for other in field.related_model._meta.concrete_fields[:3]:
                yield model._default_manager.filter(**{f"{field.name}__{other.name}__isnull": False})
                yield model._default_manager.exclude(**{f"{field.name}__{other.name}": None})
        elif isinstance(field, models.Field):
            yield model._default_manager.filter(**{f"{field.name}__isnull": True})
            kind = next((kind for kind in LOOKUPS if isinstance(field, kind)), None)
            for lookup, value in LOOKUPS.get(kind, {}).items():
                yield model._default_manager.filter(**{f"{field.name}__{lookup}": value})
                yield model._default_manager.exclude(**{f"{field.name}__{lookup}": value}).order_by("-pk")


@on_database
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_each_lookup_is_parsed_right(model: type[models.Model]) -> None:
    """Each lookup of each field, across relations, in each form of query."""
    for rows in lookups_of(model):
        list(rows)
        rows.exists()
        rows.count()
        list(rows.values_list("pk").distinct()[1:3])
        rows.aggregate(n=Count("pk"), m=Max("pk"))


QUERIES: list[Callable[[], Any]] = [
    lambda: ClubClass.objects.select_related("club").order_by("club__name"),
    lambda: Player.objects.select_related("squad__league", "squad__cup"),
    lambda: Club.objects.prefetch_related("classes", "members", Prefetch("classes", ClubClass.objects.filter(name=""))),
    lambda: Club.objects.annotate(n=Count("classes"), m=Avg("members__pk")).filter(n__gt=1),
    lambda: Club.objects.values("name").annotate(n=Count("classes", filter=Q(classes__name="x"))).order_by("n"),
    lambda: Club.objects.filter(Exists(ClubClass.objects.filter(club=OuterRef("pk")))),
    lambda: Club.objects.filter(~Exists(Member.objects.filter(clubs=OuterRef("pk"))), name__in=["a", "b"]),
    lambda: Club.objects.annotate(last=Subquery(ClubClass.objects.filter(club=OuterRef("pk")).values("name")[:1])),
    lambda: Club.objects.filter(pk__in=ClubClass.objects.values("club")),
    lambda: Club.objects.exclude(classes__name="x").exclude(members__name="y"),
    lambda: Club.objects.values("name").union(League.objects.values("name"), Squad.objects.values("name"), all=True),
    lambda: Club.objects.values("name").intersection(League.objects.values("name")),
    lambda: Club.objects.values("name").difference(League.objects.values("name")).order_by("name")[:2],
    lambda: Player.objects.annotate(r=Window(Rank(), partition_by=[F("squad__league")], order_by=F("number").desc())),
    lambda: Player.objects.annotate(s=Window(Sum("number"), order_by="name")).filter(s__gt=1),
    lambda: Player.objects.annotate(c=Case(When(squad__league__name="a", then=Value("x")), default=F("name"))),
    lambda: Club.objects.annotate(x=FilteredRelation("classes", condition=Q(classes__name="x"))).filter(x__pk=1),
    lambda: ClubClass.objects.annotate(y=ExtractYear("start_time"), m=TruncMonth("start_time")).values("y", "m"),
    lambda: ClubClass.objects.dates("start_time", "month"),
    lambda: ClubClass.objects.datetimes("start_time", "hour"),
    lambda: Club.objects.annotate(a=Concat("name", Value(" FROM tests_league "), Lower(Trim("name")))),
    lambda: Club.objects.annotate(a=Replace(Substr("name", 1, 2), Value("it's"), Value(""))),
    lambda: Club.objects.annotate(a=Coalesce(Cast("name", models.IntegerField()), 1)).filter(a__gt=F("pk") % 2),
    lambda: Club.objects.extra(tables=["tests_league"], where=["tests_league.name = tests_club.name"]),
    lambda: Club.objects.raw("SELECT c.* FROM tests_club c, tests_league AS l WHERE l.name = 'it''s, tests_squad'"),
    lambda: Trainee.objects.filter(friends__mentor__friends__name="x"),
    lambda: Trainee.objects.filter(pupils__in=Trainee.objects.filter(mentor=None)).select_related("mentor__mentor"),
    lambda: Player.objects.filter(matches__day__year=2026, lineup__match__isnull=False, skills__name="x").distinct(),
    lambda: User.objects.filter(Q(groups__permissions__content_type__model="x") | Q(user_permissions__pk=1)),
    lambda: Permission.objects.filter(Q(user__is_active=True) ^ Q(group__user=None)),
    lambda: YouthSquad.objects.select_related("league").defer("name"),
    lambda: SportsClub.objects.only("sport").filter(classes__isnull=True),
    lambda: ProxyClub.objects.filter(sportsclub__sport="x"),
    lambda: Squad.objects.in_bulk([1, 2]),
    lambda: Squad.objects.filter(pk__in=range(200)),
    lambda: Squad.objects.filter(name="x").none(),
    lambda: Squad.objects.order_by(F("league__name").asc(nulls_last=True), "?").reverse().last(),
    lambda: Squad.objects.iterator(chunk_size=2),
    lambda: [Squad.objects.select_related("youthsquad").explain()],
    lambda: Squad.objects.aggregate(n=Count("players__skills", distinct=True), m=Sum("players__number")).values(),
]


@on_database
@pytest.mark.parametrize("query", QUERIES)
def test_each_form_of_query_is_parsed_right(query: Callable[[], Any]) -> None:
    """Joins, subqueries, sets, windows, expressions and prefetches."""
    rows = query()

    list(rows) if rows is not None else None


def make_rows() -> dict[str, Any]:
    """Insert a row or more of each model, in each way."""
    club = Club.objects.create(name="a")
    SportsClub.objects.create(name="b", sport="c")
    ClubClass.objects.bulk_create([ClubClass(club=club, name=str(n), start_time=NOW) for n in range(3)])
    member = Member.objects.create(name="a")
    member.clubs.add(club)
    member.clubs.set([club, Club.objects.create(name="c")])
    league, _ = League.objects.get_or_create(name="a")
    squad = YouthSquad.objects.create(name="a", league=league, age=1)
    player = Player.objects.create(name="a", squad=squad)
    player.skills.create(name="a")
    player.matches.add(Match.objects.create(day=NOW.date()))
    trainee = Trainee.objects.create(name="a")
    trainee.friends.add(Trainee.objects.create(name="b", mentor=trainee))
    fan = Fan.objects.create(squad=squad)
    Scarf.objects.create(fan=fan)
    user = User.objects.create_user("a", password="a")  # noqa: S106
    user.groups.add(Group.objects.create(name="a"))
    return {"club": club, "member": member, "squad": squad, "player": player, "trainee": trainee, "user": user}


@on_database
def test_each_way_to_write_is_parsed_right() -> None:
    """Saves, updates, upserts, relations, bulk writes, and deletions with Django's cascades."""
    rows = make_rows()
    club, player, trainee = rows["club"], rows["player"], rows["trainee"]

    for row in rows.values():
        row.save()
        row.refresh_from_db()
    club.save(update_fields=["name"])
    Club.objects.update_or_create(name="a", defaults={"name": "d"})
    Club.objects.filter(classes__name="1").update(name=Concat("name", Value("update")))
    YouthSquad.objects.update(name="z", age=F("age") + 1)
    Squad.objects.update(league=Subquery(League.objects.values("pk")[:1]))
    ClubClass.objects.filter(club__in=Club.objects.filter(name="d")).update(start_time=timezone.now())
    classes = list(ClubClass.objects.all())
    ClubClass.objects.bulk_update(classes, ["name", "start_time"])
    Skill.objects.bulk_create([Skill(name="x"), Skill(name="y")], ignore_conflicts=True)
    Skill.objects.bulk_create(
        [Skill(pk=1, name="x")], update_conflicts=True, unique_fields=["pk"], update_fields=["name"]
    )
    User.objects.select_for_update().filter(groups__name="a").update(is_active=False)
    player.skills.clear()
    player.skills.set(Skill.objects.all())
    player.skills.remove(*Skill.objects.all()[:1])
    trainee.friends.clear()
    trainee.pupils.clear()
    with transaction.atomic(), transaction.atomic():
        ClubClass.objects.filter(club__name="d")._raw_delete("default")  # type: ignore[attr-defined]
    Scarf.objects.all().delete()
    Player.objects.filter(squad__league__name="a").delete()
    for row in [rows["user"], rows["member"], club, rows["trainee"]]:
        row.delete()
    Squad.objects.all().delete()


@pytest.mark.django_db(transaction=True)
def test_commands_are_parsed_right(tmp_path: Path) -> None:
    """Texts of dumpdata, loaddata and flush."""
    path = tmp_path / "rows.json"
    make_rows()

    call_command(
        "dumpdata", "tests", "auth", exclude=["tests.squadview", "tests.squadtotal"], output=str(path), verbosity=0
    )
    call_command("loaddata", str(path), verbosity=0)
    call_command("flush", interactive=False, verbosity=0)


def test_texts_of_a_schema_are_parsed_right(django_db_blocker: DjangoDbBlocker, tmp_path: Path) -> None:
    """The tables of all apps are made in an empty database, and changed."""
    before = len(judging.judged)
    field = models.CharField(max_length=10, default="it's", db_index=True)
    field.set_attributes_from_name("extra")
    settings = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "new.sqlite3"),
        "OPTIONS": {"factory": JudgedConnection},
    }

    with django_db_blocker.unblock(), connected("new", settings), connections["new"].schema_editor() as editor:
        for model in MODELS:
            editor.create_model(model)
        editor.add_field(Skill, field)
        editor.alter_db_table(Skill, "tests_skill", "tests_other")
        editor.delete_model(Club)

    assert before < len(judging.judged)


# --- raw texts ---

SCHEMA = """
CREATE TABLE shop (id integer PRIMARY KEY, name text, data text, "update" text);
CREATE TABLE item (id integer PRIMARY KEY, shop_id integer REFERENCES shop (id) ON DELETE CASCADE, name text, n int);
CREATE TABLE log (id integer PRIMARY KEY, text text);
CREATE TABLE one (id integer PRIMARY KEY);
CREATE TABLE "order" (id integer PRIMARY KEY, name text);
CREATE TABLE "name" (id integer PRIMARY KEY, "order" text);
CREATE TABLE "a ""b" (id integer PRIMARY KEY, name text);
CREATE VIEW item_view AS SELECT item.id, shop.name FROM item JOIN shop ON shop.id = item.shop_id;
CREATE TRIGGER logs AFTER UPDATE ON shop BEGIN INSERT INTO log (text) VALUES (new.name); END;
INSERT INTO shop VALUES (1, 'a', '{"a": [1, 2]}', 'b');
INSERT INTO item VALUES (1, 1, 'a', 2);
"""

RAW = [
    'SELECT id, "name"."order" FROM "name" ORDER BY "order"',
    'SELECT "order".name FROM shop AS "order", item, name WHERE item.name = "order".name',
    'SELECT * FROM shop, item AS i JOIN name USING (id), "order" WHERE 1',
    "SELECT * FROM (shop CROSS JOIN item), (SELECT * FROM name) AS log",
    "SELECT * FROM (shop, item)",
    'SELECT * FROM main.shop AS s LEFT JOIN main . "item" ON s.id = shop_id',
    "SELECT * FROM [shop], `item`, 'name'",
    'SELECT * FROM "a ""b"',
    "SELECT * FROM shop WHERE id IN one OR (id + 1 NOT IN main.one) OR id IN 'one'",
    "SELECT 1 IN one",
    "SELECT * FROM 'main'.shop, main . 'item', 'main'.'log'",
    "/* item's */ SELECT 'x FROM item' -- , item\n FROM shop /* JOIN item */ WHERE name LIKE '\\' ESCAPE '\\'",
    "SELECT 'it''s', 'a\\' FROM shop WHERE 'FROM item' <> name",
    "WITH x AS (SELECT 1 AS n), item AS (SELECT * FROM shop) SELECT * FROM x, item",
    "WITH RECURSIVE x (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM x WHERE n < 3) SELECT * FROM x JOIN item ON 1",
    "SELECT * FROM shop WHERE id IN (WITH x AS (SELECT id FROM item) SELECT id FROM x)",
    "SELECT * FROM shop WHERE (id, name) IN (SELECT id, name FROM item WHERE n IS NOT DISTINCT FROM shop.id)",
    "SELECT id, (SELECT count(*) FROM item WHERE shop_id = shop.id) FROM shop GROUP BY 1 HAVING count(*) > 0",
    "SELECT * FROM shop, json_each(shop.data, '$.a') AS item",
    'SELECT name FROM shop UNION SELECT name FROM item EXCEPT SELECT "order" FROM name ORDER BY 1',
    "SELECT sum(n) OVER w, replace(name, 'a', 'b') FROM item WINDOW w AS (PARTITION BY shop_id ORDER BY id), v AS (w)",
    "SELECT * FROM shop window, item offset",
    "SELECT * FROM item_view",
    "VALUES ((SELECT max(id) FROM shop)), (2)",
    "SELECT * FROM sqlite_master",
    "EXPLAIN QUERY PLAN SELECT * FROM shop",
    "INSERT INTO shop (name) VALUES ('DELETE FROM item')",
    "INSERT INTO shop (name) SELECT name FROM item WHERE true ON CONFLICT (id) DO UPDATE SET name = excluded.name",
    "INSERT OR REPLACE INTO item (id, name) SELECT id, name FROM shop",
    "REPLACE INTO log (text) VALUES ((SELECT name FROM shop)) RETURNING text",
    "INSERT INTO log DEFAULT VALUES",
    "INSERT INTO main.'log' (text) VALUES ('x')",
    "UPDATE 'main'.log SET text = 'x' WHERE id NOT IN one",
    "DELETE FROM 'main'.'log'",
    "WITH x AS (SELECT name FROM item) INSERT INTO log (text) SELECT name FROM x",
    "WITH x AS (SELECT name FROM item) REPLACE INTO log (text) SELECT name FROM x",
    "UPDATE shop SET name = 'b', \"update\" = (SELECT max(name) FROM item) WHERE id = 1",
    "UPDATE OR IGNORE main.shop AS s SET name = i.name FROM item AS i, log WHERE i.shop_id = s.id",
    "WITH x AS (SELECT id FROM item) UPDATE shop SET name = replace(name, 'a', 'b') WHERE id IN x",
    "DELETE FROM item WHERE shop_id IN (SELECT id FROM shop WHERE name IN ('a', 'b')) RETURNING id",
    "WITH x AS (SELECT id FROM log) DELETE FROM item WHERE id IN (SELECT id FROM x)",
    'DELETE FROM main."order"',
    "DELETE FROM shop",
    "BEGIN IMMEDIATE",
    "SAVEPOINT x",
    "ROLLBACK TO x",
    "RELEASE x",
    "END TRANSACTION",
    "CREATE TEMP TABLE made AS SELECT * FROM shop",
    "CREATE INDEX i ON item (name)",
    "DROP INDEX i",
    "ALTER TABLE item ADD COLUMN more text",
    "ALTER TABLE log RENAME TO log2",
    "DROP TABLE item",
]


@pytest.fixture
def shops() -> Iterator[JudgedConnection]:
    """Give a database with a view, a trigger and a cascade."""
    raw = sqlite3.connect(":memory:", isolation_level=None, factory=JudgedConnection)
    raw.executescript(SCHEMA)
    yield raw
    raw.close()


# What an empty database of shops needs before the text.
BEFORE = {
    "ROLLBACK TO x": "SAVEPOINT x",
    "RELEASE x": "SAVEPOINT x",
    "END TRANSACTION": "BEGIN",
    "DROP INDEX i": "CREATE INDEX i ON item (name)",
}


@pytest.mark.parametrize("sql", RAW)
def test_raw_text_is_parsed_right(shops: JudgedConnection, sql: str) -> None:
    """Texts of the forms that Django does not write; what triggers, views and cascades touch is no part of a text."""
    shops.executescript(BEFORE.get(sql, ""))
    shops.actions.clear()

    shops.execute(sql).fetchall()

    assert shops.actions
    assert difference(sql, shops.actions) is None


@pytest.mark.parametrize(
    ("executed", "parsed", "expected"),
    [
        ("SELECT * FROM shop, item", "SELECT * FROM shop", "a read table is missed"),
        ("SELECT * FROM shop", "SELECT * FROM shop, tests_club", "too many are read"),
        ("SELECT * FROM shop", "SELECT * FROM shop, elsewhere", "others are unknown"),
        ("SELECT * FROM sqlite_master", "SELECT 1", "others are unknown"),
        ("DELETE FROM item", "DELETE FROM shop", "a written table is missed"),
        ("DELETE FROM item", "TRUNCATE item, tests_club", "too many are written"),
        ("DELETE FROM item WHERE id IN (SELECT id FROM log)", "DELETE FROM item WHERE log", "a read table is missed"),
        ("SELECT 1 FROM shop", "CALL f()", "everything"),
        ("BEGIN", "COMMIT", "another verb"),
    ],
)
def test_judge_finds_each_difference(shops: JudgedConnection, executed: str, parsed: str, expected: str) -> None:
    """A parse that differs from what SQLite does is named."""
    shops.actions.clear()
    shops.execute(executed)

    assert expected in str(difference(parsed, shops.actions))


@on_database
def test_texts_of_the_suite_are_judged() -> None:
    """Each distinct text of the databases of the settings goes to the judge."""
    name = "a_name_of_its_own"

    Club.objects.annotate(**{name: Value(1)}).first()

    assert any(name in sql for sql in judging.judged)
