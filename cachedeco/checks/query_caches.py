"""System check of libraries that answer queries before they are SQL: AUTO does not see what is read then."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Warning, register  # noqa: A004 -- Django's name for it
from django.core.exceptions import ImproperlyConfigured

from cachedeco.functions.discovery import decorated_functions
from cachedeco.keys.dependencies import AUTO
from cachedeco.runtime import conf
from cachedeco.runtime.validation import UNSET


@register("cachedeco")
def check_query_caches(**_: Any) -> Sequence[CheckMessage]:
    """Check that no other library caches the queries of functions that depend on what they read."""
    try:
        usual = conf.settings().DEPENDS_ON
    except ImproperlyConfigured:
        return []  # reported by E001
    given = (spec.options["depends_on"] for spec in decorated_functions())
    if not any(AUTO in (usual if each is UNSET else each) for each in given):
        return []
    return [
        Warning(
            f"{library} answers queries from a cache of its own, and AUTO does not see which tables such an answer is "
            "of: a function that gets one is not invalidated by writes.",
            hint=f"{remedy}. If cached functions read nothing that it answers, silence this check.",
            id="cachedeco.W017",
        )
        for library, remedy in _query_caches()
    ]


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
