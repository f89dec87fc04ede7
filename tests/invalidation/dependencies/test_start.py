"""A process that only writes knows the parts that functions depend on, once Django has started."""

import os
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db.models.signals import pre_delete, pre_save

import cachedeco
from cachedeco import MISSING, cached_query, rows
from cachedeco.invalidation import parts
from tests.invalidation.dependencies.conftest import Starting
from tests.invalidation.dependencies.roster import kept, made_squad, players_of
from tests.models import Player, Skill, Squad
from tests.support.programs import run

MODELS = """
from django.db import models
from cachedeco import cached_query, rows

class Shelf(models.Model):
    @cached_query(depends_on=[rows("shop.Item", shelf_id="{self.pk}")], key="{self.pk}")
    def items(self):
        return list(self.item_set.all())

class Item(models.Model):
    shelf = models.ForeignKey(Shelf, on_delete=models.CASCADE)
    tags = models.ManyToManyField("Tag")

class Tag(models.Model):
    pass
"""
QUERIES = """
from cachedeco import cached_query, rows
from shop.models import Tag

@cached_query(depends_on=[rows(Tag, pk="{pk}")])
def tag(pk):
    return Tag.objects.get(pk=pk)
"""
START = """
import sys
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["cachedeco", "django.contrib.contenttypes", "shop"], CACHEDECO=eval(sys.argv[1]),
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()
from cachedeco.invalidation.parts import are_parts_known
from django.core.checks import run_checks
from django.db.models.signals import pre_save
from shop.models import Item, Tag

print(
    are_parts_known(Item, Item._meta.get_field("shelf")), are_parts_known(Tag, Tag._meta.pk),
    [pre_save.has_listeners(model) for model in (Item, Tag)],
    sorted({each.id[10:] for each in run_checks(tags=["cachedeco"])}),
)
import shop.queries
print(are_parts_known(Tag, Tag._meta.pk), sorted({each.id[10:] for each in run_checks(tags=["cachedeco"])}))
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Make a project of one app."""
    (tmp_path / "shop").mkdir()
    for name, source in (("__init__", ""), ("models", MODELS), ("queries", QUERIES)):
        (tmp_path / "shop" / f"{name}.py").write_text(source)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{}", "True True [True, True] []\nTrue []\n"),
        ("{'MODULES': []}", "True False [True, False] []\nFalse ['W002']\n"),
        ("{'MODULES': ['no.such']}", "True False [True, False] ['W016']\nFalse ['W002', 'W016']\n"),
        ("{'MODULES': 'queries'}", "True False [True, False] ['E001']\nFalse ['E001', 'W002']\n"),
    ],
    ids=["default", "none", "absent", "wrong"],
)
def test_started_process_knows_the_parts_of_what_it_writes(shop: Path, given: str, expected: str) -> None:
    """Modules of the names in the setting are imported, and models' by Django; of others the check and the log tell."""
    root = str(Path(cachedeco.__file__).parent.parent)

    path = {"PYTHONPATH": f"{root}{os.pathsep}{shop}"}
    done = run("-W", "error", "-c", START, given, folder=shop, environment=path)

    assert expected == done.stdout, done.stderr
    assert ("E001" in expected) == ("Each cached call raises this until it is mended" in done.stderr)


def test_model_that_is_defined_later_is_announced_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is made when Django has long started announces what it saves."""
    monkeypatch.setattr(apps, "all_models", {label: dict(each) for label, each in apps.all_models.items()})

    class LateSquad(Squad):
        class Meta:
            app_label = "tests"
            proxy = True

    assert pre_save.has_listeners(LateSquad)
    assert pre_delete.has_listeners(LateSquad)


def test_model_of_another_registry_announces_nothing() -> None:
    """A migration's models are no models of ours."""
    registry: Any = type(apps)()

    class Historical(Squad):
        class Meta:
            app_label = "tests"
            apps = registry
            proxy = True

    parts.connect()

    assert not pre_save.has_listeners(Historical)


def test_abstract_model_announces_nothing() -> None:
    """An abstract model has no rows, also where it derives from one that has some."""

    class AnySquad(Squad):
        class Meta:
            app_label = "tests"
            abstract = True

    parts.connect()

    assert not pre_save.has_listeners(AnySquad)


def test_function_that_is_decorated_again_connects_nothing(starting: Starting) -> None:
    """A function that is decorated again at each call of another one connects nothing anew."""

    def decorate() -> None:
        cached_query(depends_on=[rows(Squad, pk="{pk}")], name="tests.dependencies.again")(lambda pk: pk)

    with starting():
        decorate()
    before = [len(pre_save.receivers), len(parts._requests), len(parts._fields)]

    with starting():
        decorate()
    decorate()

    assert before == [len(pre_save.receivers), len(parts._requests), len(parts._fields)]


@pytest.mark.django_db
def test_function_of_a_process_of_its_own_depends_on_the_whole_model() -> None:
    """A module that other processes may not import names no parts: each write invalidates."""

    @cached_query(depends_on=[rows(Skill, name="{name}")], name="tests.dependencies.late")
    def late(name: str) -> int:
        return Skill.objects.filter(name=name).count()

    before = [late("a"), late("b")]

    Skill.objects.create(name="a")

    assert ([0, 0], MISSING, 1) == (before, late.peek("b"), late("a"))


@pytest.mark.django_db
@pytest.mark.filterwarnings("ignore:Accessing the database during app initialization")
def test_process_that_starts_knows_no_parts(starting: Starting) -> None:
    """Before all modules are imported, a saved row concerns all parts."""
    squads = [made_squad(name) for name in ("North", "East")]
    for squad in squads:
        players_of(squad.pk)

    with starting():
        Player.objects.create(name="Ann", squad=squads[0])

    assert [] == kept(players_of, *[squad.pk for squad in squads])
