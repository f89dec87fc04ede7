"""W017 and W018: queries that a library answers from its own cache, or that are no SQL, are not seen."""

from typing import Any

import pytest
from django.apps import apps
from django.db import connections
from django.db.models.sql import compiler

from cachedeco import AUTO, cached_query
from cachedeco.checks import unseen_queries
from cachedeco.checks.unseen_queries import check_databases_without_sql, check_query_caches
from tests.models import Club

PROFILES = {"tests.club": {"ops": "all", "timeout": 60}}


@cached_query(depends_on=[AUTO])
def by_what_is_read() -> int:
    """Depend on the tables that are read."""
    return 1


@cached_query(depends_on=[Club])
def by_name() -> int:
    """Depend on a model that is named."""
    return 1


@cached_query()
def by_settings() -> int:
    """Depend on what the setting DEPENDS_ON says."""
    return 1


@cached_query(depends_on=())
def by_nothing() -> int:
    """Depend on nothing."""
    return 1


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Any:
    """Give a function that installs an app, has some functions and settings, and returns what is found."""

    def found(app: str, *functions: Any, **changes: Any) -> list[str]:
        is_installed = apps.is_installed
        monkeypatch.setattr(apps, "is_installed", lambda name: name == app or is_installed(name))
        monkeypatch.setattr(unseen_queries, "decorated_functions", lambda: [each._spec for each in functions])
        for name, value in changes.items():
            setattr(settings, name, value)
        return [f"{message.id} {message.msg} {message.hint}" for message in check_query_caches()]

    return found


@pytest.mark.parametrize(
    ("app", "changes", "names"),
    [
        ("cachalot", {}, ("django-cachalot", "CACHALOT_UNCACHABLE_TABLES")),
        ("cachalot", {"CACHALOT_ENABLED": False}, None),
        ("cacheops", {"CACHEOPS": PROFILES}, ("cacheops", "CACHEOPS")),
        ("cacheops", {"CACHEOPS": {"*.*": {"timeout": 9}}, "CACHEOPS_DEFAULTS": {"ops": "get"}}, ("cacheops",)),
        ("cacheops", {"CACHEOPS": {"*.*": {"timeout": 9}, "tests.club": None}}, None),
        ("cacheops", {"CACHEOPS": {"*.*": ("get", 9)}}, None),
        ("cacheops", {"CACHEOPS": PROFILES, "CACHEOPS_ENABLED": False}, None),
        ("cacheops", {}, None),
        ("parler", {}, ("django-parler", "PARLER_ENABLE_CACHING")),
        ("parler", {"PARLER_ENABLE_CACHING": False}, None),
        ("other", {"CACHEOPS": PROFILES}, None),
    ],
)
def test_library_that_caches_queries_is_named(
    install: Any, app: str, changes: dict[str, Any], names: tuple[str, ...] | None
) -> None:
    """It is named with its setting, where it is installed, switched on, and told to cache something."""
    found = install(app, by_what_is_read, **changes)

    assert (0 if names is None else 1) == len(found)
    for message in found:
        assert message.startswith("cachedeco.W017")
        assert all(name in message for name in names or ())


@pytest.mark.parametrize(
    ("functions", "cachedeco", "number"),
    [
        ([by_name], {}, 0),
        ([by_name, by_settings], {"DEPENDS_ON": [AUTO]}, 1),
        ([by_settings], {"DEPENDS_ON": []}, 0),
        ([by_what_is_read], {"DEPENDS_ON": []}, 1),
        ([by_what_is_read], {"NONSENSE": 1}, 0),
        ([], {}, 0),
    ],
    ids=["named", "by default", "DEPENDS_ON", "AUTO", "settings at fault", "no function"],
)
def test_functions_that_name_what_they_depend_on_are_not_concerned(
    install: Any, functions: list[Any], cachedeco: dict[str, Any], number: int
) -> None:
    """Only AUTO asks what is read."""
    assert number == len(install("cachalot", *functions, CACHEDECO=cachedeco))


class Compiler(compiler.SQLCompiler):
    """As of a backend whose database takes no SQL."""

    def execute_sql(self, *_: Any, **__: Any) -> Any:
        """Ask the database in its own way."""


@pytest.mark.parametrize(
    ("function", "of_backend", "found"),
    [
        (by_what_is_read, Compiler, ["cachedeco.W018"]),
        (by_name, Compiler, ["cachedeco.W018"]),
        (by_nothing, Compiler, []),
        (by_what_is_read, compiler.SQLCompiler, []),
        (by_name, type("OfItsOwn", (compiler.SQLCompiler,), {}), []),
    ],
)
def test_database_that_takes_no_sql_is_named(
    monkeypatch: pytest.MonkeyPatch, function: Any, of_backend: type, found: list[str]
) -> None:
    """Neither reads nor writes of it are seen, so that only functions that depend on nothing are right there."""
    monkeypatch.setattr(unseen_queries, "decorated_functions", lambda: [function._spec])
    monkeypatch.setattr(connections["other"].ops, "compiler", lambda _: of_backend)

    messages = check_databases_without_sql()

    assert found == [message.id for message in messages]
    assert all("'other'" in message.msg for message in messages)
