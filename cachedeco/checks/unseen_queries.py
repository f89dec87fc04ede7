"""System checks of queries that are no SQL of ours to see: of other libraries' caches, and of other databases."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import Warning  # noqa: A004 -- Django's name for it
from django.db import connections
from django.db.models.sql.compiler import SQLCompiler

from cachedeco.checks.registering import Messages, check
from cachedeco.functions.discovery import decorated_functions
from cachedeco.keys.dependencies import AUTO, depends_on_in_force
from cachedeco.runtime import conf


@check
def check_query_caches(**_: Any) -> Messages:
    """Check that no other library caches the queries of functions that depend on what they read."""
    for library, remedy in _query_caches() if any(AUTO in each for each in _dependencies()) else ():
        yield Warning(
            f"{library} answers queries from a cache of its own, and AUTO does not see which tables such an answer is "
            "of: a function that gets one is not invalidated by writes.",
            hint=f"{remedy}. If cached functions read nothing that it answers, silence this check.",
            id="cachedeco.W017",
        )


@check
def check_databases_without_sql(**_: Any) -> Messages:
    """Check that functions depend on what is read or written only where the ORM sends SQL."""
    # The method of a backend for another language is its own.
    for alias in connections if any(_dependencies()) else ():
        if connections[alias].ops.compiler("SQLCompiler").execute_sql is not SQLCompiler.execute_sql:
            yield Warning(
                f"The backend of the database {alias!r} sends no SQL, so that what is read and written there is not "
                "seen: a function that depends on its models, or on AUTO, is not invalidated by writes.",
                hint="Say depends_on=() where a function reads it, and invalidate in receivers of signals. If cached "
                "functions do not read it, silence this check.",
                id="cachedeco.W018",
            )


def _dependencies() -> Iterator[Sequence[object]]:
    """Yield what each function depends on; nothing is known of any while the settings are wrong."""
    conf.settings()
    return (depends_on_in_force(spec.options["depends_on"]) for spec in decorated_functions())


def _query_caches() -> Iterator[tuple[str, str]]:
    """Yield the libraries that are installed and switched on, with what to do in their settings."""
    leave_out = "Leave the tables that cached functions read out of"
    if apps.is_installed("cachalot") and getattr(settings, "CACHALOT_ENABLED", True):
        names = "CACHALOT_ONLY_CACHABLE_TABLES, or name them in CACHALOT_UNCACHABLE_TABLES"
        yield "django-cachalot", f"{leave_out} {names}"
    if apps.is_installed("parler") and getattr(settings, "PARLER_ENABLE_CACHING", True):
        yield "django-parler", "Set PARLER_ENABLE_CACHING = False, or prefetch the translations of the rows"
    usual = getattr(settings, "CACHEOPS_DEFAULTS", None) or {}
    given = (getattr(settings, "CACHEOPS", None) or {}).values()
    profiles = [{**usual, **each} for each in given if isinstance(each, Mapping)]  # cacheops refuses all else, but None
    is_on = apps.is_installed("cacheops") and getattr(settings, "CACHEOPS_ENABLED", True)
    if is_on and any(each.get("ops") for each in profiles):
        yield "cacheops", f"{leave_out} CACHEOPS"
