"""A private name that has gone is told at start: what rests on it would fail later, or in silence."""

import importlib
import inspect
import subprocess
import sys
from itertools import chain
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType

import pytest
from asgiref.sync import SyncToAsync
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.deletion import Collector

import cachedeco
from cachedeco import testing
from cachedeco.runtime import private_api
from cachedeco.runtime.private_api import NAMES, PrivateName
from tests.support.private_names import EVERY_NAME

ROOT = Path(cachedeco.__file__).parents[1]

START = """
from asgiref.sync import SyncToAsync
del SyncToAsync.context_to_thread_executor
from cachedeco import cached_query  # nothing is asked of asgiref before it is needed
from django.conf import settings
settings.configure(INSTALLED_APPS=["cachedeco"])
import django
django.setup()
"""

LOST = """
from django.core import signals
signals.setting_changed = None
import {package}
try:
    from {package} import {name}
except ImportError as error:
    print(repr(error.__cause__), error)
try:
    {package}.{name}
except ImportError as error:
    print(error.name)
"""


def run(source: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[PrivateName]:
    """Give the list of private names, empty, to be filled by the test."""
    names: list[PrivateName] = []
    monkeypatch.setattr(private_api, "NAMES", {"Django": names})
    return names


@pytest.fixture
def _without_fallbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take each name for one that the package can't do without."""
    monkeypatch.setattr(private_api, "NAMES", EVERY_NAME)


@pytest.mark.usefixtures("_without_fallbacks")
def test_everything_is_there() -> None:
    """Of the versions that the tests run with nothing is missing, with any modules imported."""
    assert [] == private_api.missing()
    assert {"Django", "asgiref", "pymemcache", "redis", "Python"} == set(NAMES)


def remove(monkeypatch: pytest.MonkeyPatch, path: str, name: str) -> None:
    """Take a name from what a path leads to, and from the code that sets or calls it there."""
    holder = resolve_name(path)
    if not isinstance(holder, type | ModuleType):  # a function, or an object, which may keep its attributes elsewhere
        within, _, last = path.rpartition("." if "." in path.partition(":")[2] else ":")
        monkeypatch.setattr(resolve_name(within), last, lambda *_: None)
        return
    classes = inspect.getmro(holder if isinstance(holder, type) else type(holder))
    for each in (holder, *classes):
        if name in vars(each):
            monkeypatch.delattr(each, name)
        if each is not object and isinstance(holder, type) and "__init__" in vars(each):
            monkeypatch.setattr(each, "__init__", lambda *_: None)


@pytest.mark.usefixtures("_without_fallbacks")
@pytest.mark.parametrize("private", [*chain(*EVERY_NAME.values())], ids=lambda each: f"{each.holder}.{each.name}")
def test_every_name_that_has_gone_is_told(monkeypatch: pytest.MonkeyPatch, private: PrivateName) -> None:
    """A release without it, or one whose method does not call it any more, is refused with its name."""
    for module in private.used_in:
        importlib.import_module(f"cachedeco.{module}")
    found = {}

    for path in filter(None, (private.holder, private.called_by)):
        with monkeypatch.context() as patch:
            remove(patch, path, private.name)
            found[path] = private_api.missing()

    told = [sentence for sentence in found[private.holder] if sentence.endswith(f" {private.used_in[-1]}.")]
    assert any(f"has no {private.holder.replace(':', '.')}.{private.name}" in sentence for sentence in told)
    for path in filter(None, [private.called_by]):
        assert any(f"does not call {private.name} in {path.replace(':', '.')}" in each for each in found[path])


@pytest.mark.parametrize(
    ("holder", "called_by", "fault"),
    [
        ("django.no_such_module:QuerySet", "", "has no django.no_such_module.QuerySet._raw_delete (No module"),
        ("django.db.models:NoSuchClass", "", "has no django.db.models.NoSuchClass._raw_delete (module"),
        ("django.db.models:Manager", "", "has no django.db.models.Manager._raw_delete;"),
        ("django.db.models", "", "has no django.db.models._raw_delete;"),
        (
            "django.db.models:QuerySet",
            "django.db.models:QuerySet.delete",
            "does not call _raw_delete in django.db.models.QuerySet.delete;",
        ),
        ("django.db.models:QuerySet", "django.db.models:QuerySet.gone", "has no django.db.models.QuerySet._raw_delete"),
    ],
)
def test_name_that_has_gone_is_told(names: list[PrivateName], holder: str, called_by: str, fault: str) -> None:
    """A sentence says whose name it is, of which version, and where it is used."""
    names.append(PrivateName(holder, "_raw_delete", ("runtime.private_api",), called_by))

    [sentence] = private_api.missing()

    assert sentence.startswith("Django ")
    assert fault in sentence
    assert sentence.endswith("; cachedeco uses it in runtime.private_api.")


def test_name_that_only_instances_have_is_found(names: list[PrivateName]) -> None:
    """An attribute that `__init__` makes is there, as is one that a function gives to something else."""
    names += [
        PrivateName("django.db.transaction:Atomic", "_from_testcase", ("runtime.private_api",)),
        PrivateName(
            "django.db.models.query:prefetch_related_objects", "_prefetched_objects_cache", ("runtime.private_api",)
        ),
    ]

    assert [] == private_api.missing()


def test_what_is_not_used_is_not_looked_for(names: list[PrivateName]) -> None:
    """Nothing is imported to be looked at where none of our modules has imported it: it may not be installed."""
    names.append(PrivateName("pymemcache.no_such_module", "_name", ("backends.no_such_module",)))

    assert [] == private_api.missing()


def test_commit_hooks_of_another_form_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our hooks stand in Django's own list, so they must have the form of its own."""
    monkeypatch.setattr(
        BaseDatabaseWrapper,
        "on_commit",
        lambda self, hook, **_: self.run_on_commit.append((set(self.savepoint_ids), hook)),
    )

    [sentence] = private_api.missing()

    assert "keeps commit hooks in another form" in sentence


def test_rollback_that_asks_no_hook_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours would keep what a savepoint has undone, if Django did not ask it by `in`."""
    monkeypatch.setattr(
        BaseDatabaseWrapper,
        "savepoint_rollback",
        lambda self, savepoint: [each for each in self.run_on_commit if each[0].isdisjoint({savepoint})],
    )

    [sentence] = private_api.missing()

    assert "keeps commit hooks in another form" in sentence


def test_override_that_is_not_called_any_more_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that Django calls no more would be overridden in silence."""
    monkeypatch.setattr(Collector, "delete", lambda _: (0, {}))

    [sentence] = private_api.missing()

    assert "does not call _raw_delete in django.db.models.deletion.Collector.delete" in sentence


def test_app_refuses_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that would lose invalidations in silence does not begin."""
    monkeypatch.delattr(SyncToAsync, "context_to_thread_executor")

    with pytest.raises(ImproperlyConfigured, match=r"asgiref .* Install a version that cachedeco knows"):
        apps.get_app_config("cachedeco").ready()


def test_start_without_a_private_name_says_which() -> None:
    """The package can be imported without it, and Django's start ends with its name."""
    done = run(START)

    assert 1 == done.returncode
    assert "ImproperlyConfigured: asgiref" in done.stderr
    assert "has no asgiref.sync.SyncToAsync.context_to_thread_executor" in done.stderr


@pytest.mark.parametrize(
    ("package", "name", "module"),
    [
        ("cachedeco", "cached_query", "cachedeco.functions.decorators"),
        ("cachedeco.testing", "isolated", "cachedeco.testing.isolation"),
    ],
)
def test_attribute_error_inside_an_import_is_not_hidden(package: str, name: str, module: str) -> None:
    """What a module lacks when it is imported is the cause of an ImportError, and no name that the package lacks."""
    done = run(LOST.format(package=package, name=name))

    first, second = done.stdout.splitlines()
    assert "" == done.stderr
    assert first.startswith("AttributeError(")
    assert f"{package}.{name} can't be imported: 'NoneType' object has no attribute" in first
    assert module == second


@pytest.mark.parametrize(("package", "name"), [(cachedeco, "cached_query"), (testing, "isolated")])
def test_name_that_a_module_has_lost_is_an_import_error(
    package: object, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same in this process."""
    monkeypatch.delitem(vars(package), name, raising=False)
    monkeypatch.setattr("cachedeco.lazy_names.import_module", lambda _: object())

    with pytest.raises(ImportError, match=f"{name} can't be imported: 'object' object has no attribute '{name}'"):
        getattr(package, name)
