"""System checks of the settings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.cache import caches
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 -- Django's name for it
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.module_loading import module_has_submodule

from cachedeco.invalidation.tables import tables
from cachedeco.keys.dependencies import AUTO, model_of_item
from cachedeco.runtime import conf
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.storage.cache_keys import SMALLEST_KEY_BUDGET
from cachedeco.storage.keyspace import keyspace


@register("cachedeco")
def check_settings(**_: Any) -> Sequence[CheckMessage]:
    """Check the setting `CACHEDECO`."""
    try:
        settings = conf.settings()
    except ImproperlyConfigured as error:
        return [
            Error(
                str(error),
                hint="The page Settings of the reference has all of them, with what each takes.",
                id="cachedeco.E001",
            )
        ]
    if tables().faults:
        hint = "Name a field as 'app_label.Model.field', a model as 'app_label.Model', or a table of one."
        return [Error(fault, hint=hint, id="cachedeco.E001") for fault in tables().faults]
    lags = settings.REPLICA_LAG if isinstance(settings.REPLICA_LAG, Mapping) else {}
    if unknown := [alias for alias in lags if alias not in connections]:
        msg = f"CACHEDECO['REPLICA_LAG'] names {unknown[0]!r}, which is not in DATABASES."
        return [Error(msg, hint=f"DATABASES has {list(connections)!r}.", id="cachedeco.E001")]
    faults = list(_unknown_models(settings.DEPENDS_ON))
    if faults:
        hint = "Name models as 'app_label.Model'; rows() is for depends_on= of one function."
        return [Error(fault, hint=hint, id="cachedeco.E001") for fault in faults]
    missing = [alias for alias in settings.ALIASES if alias not in caches.settings]
    if missing:
        msg = f"CACHEDECO['ALIASES'] names {missing[0]!r}, which is not in CACHES."
        return [Error(msg, hint=f"CACHES has {list(caches.settings)!r}.", id="cachedeco.E002")]
    return [
        Error(
            f"The key prefix of cache {alias!r} leaves {budget} of memcached's 250 bytes for keys.",
            hint=f"Shorten its KEY_PREFIX, so that at least {SMALLEST_KEY_BUDGET} bytes are left.",
            id="cachedeco.E003",
        )
        for alias, budget in _key_budgets(settings.ALIASES)
        if budget < SMALLEST_KEY_BUDGET
    ]


def _unknown_models(items: Iterable[Any]) -> Iterator[str]:
    """Yield what is wrong with the models on which all functions depend: else each call would raise."""
    for item in items:
        try:
            if item != AUTO:
                model_of_item(item)
        except TypeError as error:
            yield f"CACHEDECO['DEPENDS_ON']: {error}"


def _key_budgets(aliases: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield how many bytes each cache leaves for keys; nothing for one that can't be opened, which E012 reports."""
    for alias in aliases:
        try:
            budget = keyspace(alias).key_budget
        except Exception as error:  # noqa: BLE001 -- a backend may raise anything
            pass_interrupt(error)
        else:
            yield alias, budget


@register("cachedeco")
def check_modules(**_: Any) -> Sequence[CheckMessage]:
    """Check that the modules of MODULES are there: Django looks for them in each app, and is silent if none has one."""
    try:
        names = conf.settings().MODULES
    except ImproperlyConfigured:  # E001 reports it
        return []
    return [
        Warning(
            f"CACHEDECO['MODULES'] names {name!r}, and no installed app has such a module.",
            hint="Correct it, or leave it out; name it without its app: 'queries' is clubs.queries of the app clubs.",
            id="cachedeco.W016",
        )
        for name in names
        if name not in conf.Settings.MODULES
        and not any(module_has_submodule(app.module, name) for app in apps.get_app_configs())
    ]


@register("cachedeco")
def check_outbox(**_: Any) -> Sequence[CheckMessage]:
    """Check that the outbox is installed if its setting is set."""
    raw = getattr(django_settings, "CACHEDECO", {})
    if not isinstance(raw, dict) or "OUTBOX_SECONDS" not in raw or apps.is_installed("cachedeco.outbox"):
        return []
    msg = "CACHEDECO has OUTBOX_SECONDS, but the outbox is not installed."
    return [Error(msg, hint='Add "cachedeco.outbox" to INSTALLED_APPS, and migrate.', id="cachedeco.E007")]
