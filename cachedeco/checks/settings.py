"""System checks of the settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.cache import caches
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 -- Django's name for it
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.module_loading import module_has_submodule

from cachedeco.checks.registering import Messages, check
from cachedeco.invalidation.tables import names_no_model, tables
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
    return list(_faults_of(settings))


def _faults_of(settings: conf.Settings) -> Messages:
    """Yield what is wrong with settings that can be parsed."""
    for fault in tables().faults:
        hint = "Name a field as 'app_label.Model.field', a model as 'app_label.Model', or a table of one."
        yield Error(fault, hint=hint, id="cachedeco.E001")
    for alias in settings.REPLICA_LAG if isinstance(settings.REPLICA_LAG, Mapping) else ():
        if alias not in connections:
            msg = f"CACHEDECO['REPLICA_LAG'] names {alias!r}, which is not in DATABASES."
            yield Error(msg, hint=f"DATABASES has {list(connections)!r}.", id="cachedeco.E001")
    for item in settings.DEPENDS_ON:
        try:
            if item != AUTO:
                model_of_item(item)
        except TypeError as error:  # else each call would raise it
            msg = f"CACHEDECO['DEPENDS_ON']: {error}"
            hint = "Name models as 'app_label.Model'; rows() is for depends_on= of one function."
            yield Error(msg, hint=hint, id="cachedeco.E001")
    for alias in settings.ALIASES:
        if alias not in caches.settings:
            msg = f"CACHEDECO['ALIASES'] names {alias!r}, which is not in CACHES."
            yield Error(msg, hint=f"CACHES has {list(caches.settings)!r}.", id="cachedeco.E002")
        elif (budget := _key_budget(alias)) < SMALLEST_KEY_BUDGET:
            yield Error(
                f"The key prefix of cache {alias!r} leaves {budget} of memcached's 250 bytes for keys.",
                hint=f"Shorten its KEY_PREFIX, so that at least {SMALLEST_KEY_BUDGET} bytes are left.",
                id="cachedeco.E003",
            )


def _key_budget(alias: str) -> int:
    """Return how many bytes a cache leaves for keys; enough for one that can't be opened, which E012 reports."""
    try:
        return keyspace(alias).key_budget
    except Exception as error:  # noqa: BLE001 -- a backend may raise anything
        pass_interrupt(error)
        return SMALLEST_KEY_BUDGET


@check
def check_modules(**_: Any) -> Messages:
    """Check that the modules of MODULES are there: Django looks for them in each app, and is silent if none has one."""
    for name in conf.settings().MODULES:
        is_there = any(module_has_submodule(app.module, name) for app in apps.get_app_configs())
        if name not in conf.Settings.MODULES and not is_there:
            yield Warning(
                f"CACHEDECO['MODULES'] names {name!r}, and no installed app has such a module.",
                hint="Correct it, or leave it out; name it without its app: 'queries' is clubs.queries of the app "
                "clubs.",
                id="cachedeco.W016",
            )


@check
def check_ignored_names(**_: Any) -> Messages:
    """Check that IGNORED_TABLES names no model that its app does not have: it would stand for a table with a schema."""
    for name in conf.settings().IGNORED_TABLES:
        if name not in conf.Settings.IGNORED_TABLES and names_no_model(name):
            app, model = name.split(".", 1)
            yield Warning(
                f"CACHEDECO['IGNORED_TABLES'] has {name!r}, and the app {app} has no model {model}: it stands for a "
                f"table {model!r} in a schema {app!r}.",
                hint="Name a model as 'app_label.Model', an app by its label, or a table as in the database; if there "
                "is this table, silence this check.",
                id="cachedeco.W020",
            )


@check
def check_outbox(**_: Any) -> Messages:
    """Check that the outbox is installed if its setting is set."""
    raw = getattr(django_settings, "CACHEDECO", {})
    if isinstance(raw, dict) and "OUTBOX_SECONDS" in raw and not apps.is_installed("cachedeco.outbox"):
        msg = "CACHEDECO has OUTBOX_SECONDS, but the outbox is not installed."
        yield Error(msg, hint='Add "cachedeco.outbox" to INSTALLED_APPS, and migrate.', id="cachedeco.E007")
