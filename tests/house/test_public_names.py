"""The front door: what can be imported from `cachedeco`, and at what cost."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import cachedeco
from cachedeco import testing

PACKAGE = Path(cachedeco.__file__).parent

packages = pytest.mark.parametrize("package", [cachedeco, testing], ids=lambda package: package.__name__)

WITHOUT_SETTINGS = """
import os, sys
os.environ.pop("DJANGO_SETTINGS_MODULE", None)
from datetime import timedelta
from cachedeco import Namespace, bypass, cached_query, mode, register_key_type

@cached_query(timeout=timedelta(hours=1), key="{number}", namespace="numbers:{number}", version=1, cache="slow")
def double(number):
    return 2 * number

@cached_query(vary=lambda: 1, namespace=[Namespace("a"), lambda number: Namespace("b", number)], name="stable")
async def adouble(number):
    return 2 * number

class Clubs:
    @cached_query(ignore=("request",), cache_if=bool, using="other")
    @classmethod
    def count(cls, request):
        return 3

    @cached_query
    def names(self):
        return []

register_key_type(Clubs, id)
mode("off"), bypass()
print(double.uncached(4), double.stats().hits, repr(double), Clubs().names)

from django.conf import settings
assert not settings.configured
from django.core.cache import caches
assert not caches.all(initialized_only=True) if settings.configured else True
assert "cachedeco.checks.functions" not in sys.modules
"""

WITHOUT_DATABASES = """
from django.conf import settings
settings.configure(CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}})
import django
django.setup()
from cachedeco import cached_query

@cached_query
def double(number):
    return 2 * number

double(4)
double.invalidate(5)
assert (8, 1) == (double(4), double.stats().hits), double.stats()
double.invalidate(4)
assert not double.peek(4)
print("well")
"""

BEFORE_SETUP = """
from django.conf import settings
settings.configure(
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}, INSTALLED_APPS=["cachedeco"]
)
from cachedeco import cached_query

@cached_query
def double(number):
    return 2 * number

print(double(4), double(4), double.stats().hits, double._spec.resolve().policy.tables is None)
import django
django.setup()
print(double(4), double._spec.resolve().policy.tables is None)
"""


def output_of(source: str) -> str:
    """Run a program in a process of its own that knows no settings, and return what it prints."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        capture_output=True,
        text=True,
        check=False,
        cwd=PACKAGE.parent,
        env={"PYTHONPATH": str(PACKAGE.parent), "PATH": ""},
    )
    assert "" == run.stderr
    return run.stdout


def exports_of(package: ModuleType) -> dict[str, str]:
    """Return what a package exports as type checkers see it: the name of the module by the name."""
    return {
        alias.name: (statement.module or "").removeprefix(f"{package.__name__}.")
        for block in ast.parse(inspect.getsource(package)).body
        if isinstance(block, ast.If)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


@packages
def test_all_is_sorted_and_says_all(package: Any) -> None:
    """`__all__` names, in ruff's order, what type checkers see and what can be fetched, from the same modules."""
    seen = exports_of(package)

    assert sorted(seen, key=lambda name: (not name.isupper(), not name[0].isupper(), name)) == package.__all__
    assert seen == {name: module for module, names in package._MODULES.items() for name in names}


def test_package_imports_no_django_until_it_is_used() -> None:
    """The plugin makes pytest import the package in every project: that costs nothing and needs no Django."""
    heavy = {"django", "importlib.metadata", "inspect", "asyncio"}
    source = (
        f"import sys, cachedeco; print(*{heavy!r} & {{*sys.modules}}); cachedeco.mode; print('django' in sys.modules)"
    )

    assert "\nTrue\n" == output_of(source)


@packages
def test_star_import_gives_what_all_says(package: Any) -> None:
    """Each name in `__all__` is there."""
    assert [] == [name for name in package.__all__ if not hasattr(package, name)]


def test_version_is_that_of_the_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """The version is kept once, in the metadata of what is installed."""
    asked: list[str] = []

    def version(name: str) -> str:
        asked.append(name)
        return "1.2.3"

    monkeypatch.setattr("importlib.metadata.version", version)

    found = cachedeco.__version__

    assert ("1.2.3", ["cachedeco"]) == (found, asked)


def test_name_that_is_not_there_is_an_attribute_error() -> None:
    """A name that the package lacks is refused as by any module."""
    package: Any = cachedeco

    with pytest.raises(AttributeError, match="module 'cachedeco' has no attribute 'cache_query'"):
        _ = package.cache_query


def test_types_are_shipped() -> None:
    """Type checkers read the annotations: the marker is beside the package."""
    assert (PACKAGE / "py.typed").is_file()


def test_importing_and_decorating_need_no_settings() -> None:
    """A module with cached functions can be imported before Django is configured, and touches no cache by it."""
    printed = output_of(WITHOUT_SETTINGS)

    assert "8 0 <cached_query __main__.double>" == printed.partition(" <cached_query __main__.Clubs")[0]


def test_calling_needs_no_database() -> None:
    """A project without databases, and without our app, can use cached functions."""
    assert "well\n" == output_of(WITHOUT_DATABASES)


def test_calling_needs_no_apps() -> None:
    """A function can be called before Django has started, and is under AUTO when it has."""
    assert "8 8 1 True\n8 False\n" == output_of(BEFORE_SETUP)


def test_names_are_listed_before_they_are_fetched() -> None:
    """Who completes names at a prompt sees the public ones."""
    assert set(cachedeco.__all__) <= set(dir(cachedeco))
