"""A process that only writes knows what depends on what it writes, once Django has started."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import models

import cachedeco
from cachedeco import cached_query
from cachedeco.invalidation import signals
from cachedeco.invalidation.relations import senders_of
from tests.models import Squad

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

@cached_query(depends_on=[Tag])
def tags():
    return list(Tag.objects.all())
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
from django.core.checks import run_checks
from django.db.models.signals import m2m_changed, post_save
from shop.models import Item, Tag

print(
    [post_save.has_listeners(model) for model in (Item, Tag)],
    m2m_changed.has_listeners(Item.tags.through),
    sorted({each.id[10:] for each in run_checks(tags=["cachedeco"])}),
)
import shop.queries
print(sorted({each.id[10:] for each in run_checks(tags=["cachedeco"])}))
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
        ("{}", "[True, True] True ['W001']\n['W001']\n"),
        ("{'MODULES': []}", "[True, False] True ['W001']\n['W001', 'W002']\n"),
        ("{'MODULES': ['no.such']}", "[True, False] True ['W001']\n['W001', 'W002']\n"),
        ("{'MODULES': 'queries'}", "[True, False] True ['E001', 'W001']\n['E001', 'W001', 'W002']\n"),
    ],
    ids=["default", "none", "absent", "wrong"],
)
def test_started_process_knows_what_depends_on_what_it_writes(shop: Path, given: str, expected: str) -> None:
    """Modules of the names in the setting are imported, models' modules by Django; of others the check tells."""
    root = str(Path(cachedeco.__file__).parent.parent)

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", START, given],
        cwd=shop,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{shop}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert expected == done.stdout, done.stderr


def test_model_that_is_defined_later_is_watched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is made when Django has long started sends its signals to us."""
    monkeypatch.setattr(apps, "all_models", {label: dict(each) for label, each in apps.all_models.items()})

    class LateSquad(Squad):
        class Meta:
            app_label = "tests"
            proxy = True

    assert LateSquad in senders_of(Squad)
    assert signals._subscriptions_by_sender[LateSquad] == signals._subscriptions_by_sender[Squad]


def test_abstract_model_sends_no_signals() -> None:
    """What is abstract has no rows, also where it derives from what has."""

    class AnySquad(Squad):
        class Meta:
            app_label = "tests"
            abstract = True

    assert AnySquad not in senders_of(Squad)


def test_model_of_another_registry_is_not_watched() -> None:
    """A migration's models are no models of ours."""
    registry: Any = type(apps)()

    class Historical(Squad):
        class Meta:
            app_label = "tests"
            apps = registry
            proxy = True

    assert Historical not in senders_of(Squad)


def test_model_may_be_watched_any_number_of_times() -> None:
    """A function that is decorated again at each call of another one connects nothing anew."""

    def decorate() -> None:
        cached_query(depends_on=[Squad], name="tests.dependencies.again")(lambda: 1)

    decorate()
    before = [len(models.signals.post_save.receivers), len(signals._subscriptions_by_sender[Squad])]

    decorate()

    assert before == [len(models.signals.post_save.receivers), len(signals._subscriptions_by_sender[Squad])]
