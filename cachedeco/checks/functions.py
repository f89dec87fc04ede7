"""System checks of the cached functions: their caches, databases and dependencies."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.core.checks import Error, Warning  # noqa: A004 -- Django's name for it
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import Model

from cachedeco.checks.registering import Messages, check
from cachedeco.functions.base import find_view_of, is_under_classmethod
from cachedeco.functions.discovery import decorated_functions, import_views
from cachedeco.functions.resolving import find_cache_fault, find_database_fault
from cachedeco.functions.spec import FunctionSpec
from cachedeco.invalidation.parts import are_parts_known
from cachedeco.invalidation.rows import otherwise_compared, table_of
from cachedeco.invalidation.tables import tables
from cachedeco.keys.dependencies import Dependency
from cachedeco.runtime import conf
from cachedeco.runtime.reprs import shorten_error
from cachedeco.tracking.watcher import is_watched

LOCALE_MIDDLEWARE: Final = "django.middleware.locale.LocaleMiddleware"
MOST_NAMES: Final = 3  # that one message shows


@check
def check_functions(**_: Any) -> Messages:
    """Check that every decorated function uses an existing database, and a cache that invalidations reach."""
    settings_in_force = conf.settings()
    for spec in decorated_functions():
        cache, using = spec.options["cache"], spec.options["using"]
        if cache is not None and (fault := find_cache_fault(spec.name, cache, settings_in_force)):
            yield Error(fault.problem, hint=fault.remedy, id="cachedeco.E004")
        if fault := find_database_fault(spec.name, using):
            yield Error(fault.problem, hint=fault.remedy, id="cachedeco.E005")


@check
def check_urls(**_: Any) -> Messages:
    """Check that the functions of views can be checked."""
    error = import_views()
    if error is not None:
        msg = f"The URLconf can't be imported, so functions of views are not checked: {shorten_error(error)}"
        yield Warning(msg, hint="Repair the module that raises this, and run the check again.", id="cachedeco.W014")


@check
def check_order(**_: Any) -> Messages:
    """Check that no classmethod is above a cached function, if the class can be found by its name."""
    for spec in filter(is_under_classmethod, decorated_functions()):
        yield Error(
            f"{spec.name}() is under @classmethod, so its verbs do not get the class.",
            hint="Swap the two decorators: put ours above @classmethod.",
            id="cachedeco.E009",
        )


@check
def check_views(**_: Any) -> Messages:
    """Check that no cached method ignores the view that it is called on, if the class can be found by its name."""
    for spec in decorated_functions():
        if (view := find_view_of(spec)) is not None:
            yield Error(
                f"{spec.name}() ignores {spec.ignored_instance!r}, which is a view: {view.__qualname__}. Two views, "
                "and two visitors, would share an entry.",
                hint="Cache a function outside the class, which takes what it needs.",
                id="cachedeco.E011",
            )


@check
def check_languages(**_: Any) -> Messages:
    """Check that a site with several languages says where a value depends on the language."""
    has_several = settings.USE_I18N and len(settings.LANGUAGES) > 1 and LOCALE_MIDDLEWARE in settings.MIDDLEWARE
    if conf.settings().VARY or not has_several:
        return
    names = [f"{spec.name}()" for spec in decorated_functions() if not spec.options["vary"]]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    if names:
        yield Warning(
            "Visitors have languages of their own (LocaleMiddleware), and functions do not vary by the language: "
            f"{', '.join(names[:MOST_NAMES])}{more}.",
            hint="If one returns translated text, give it vary=django.utils.translation.get_language, or all: "
            "CACHEDECO = {'VARY': ['django.utils.translation.get_language']}. If none does, silence this check.",
            id="cachedeco.W013",
        )


@check
def check_dependencies(**_: Any) -> Messages:
    """Check that the models of `depends_on` exist."""
    for spec in decorated_functions():
        for dependency in spec.dependencies:
            try:
                dependency.resolve()
            except TypeError as error:
                hint = "Name a model as 'app_label.Model', and a field by its name or its column."
                yield Error(str(error), hint=hint, id="cachedeco.E008")


@check
def check_ignored_tables(**_: Any) -> Messages:
    """Check that no function depends on a model whose writes invalidate nothing, by the setting `IGNORED_TABLES`."""
    for spec in decorated_functions():
        for model in dict.fromkeys(_models_of(spec)):
            if table_of(model) in tables().ignored:
                yield Warning(
                    f"{spec.name}() depends on {model._meta.label}, whose table IGNORED_TABLES names, so that none of "
                    "its values is stored: no write would end them.",
                    hint="Leave the model out of depends_on=, or its table out of CACHEDECO['IGNORED_TABLES'].",
                    id="cachedeco.W019",
                )


def _models_of(spec: FunctionSpec) -> Iterator[type[Model]]:
    for dependency in spec.dependencies:
        with suppress(TypeError):  # reported by E008
            yield dependency.resolve()[0]


@check
def check_parts(**_: Any) -> Messages:
    """Check that every process which writes knows the fields by which functions depend on rows."""
    for spec in decorated_functions():
        for each in spec.dependencies:
            yield from _check_part(spec, each)


def _check_part(spec: FunctionSpec, dependency: Dependency) -> Messages:
    """Warn of a dependency on rows that is one on the whole model."""
    try:
        model, field = dependency.resolve()
    except TypeError:  # reported by E008
        return
    if field is None or are_parts_known(model, field):
        return
    module = spec.source.function.__module__
    why = otherwise_compared(field)
    hint = "Name the model without rows(), or another field." if why else _hint_for(module)
    why = why or f"{module} is not imported when Django starts, so that other processes would not know"
    yield Warning(
        f"{spec.name}() depends on every row of {model._meta.label}, and not on those of one {field.name}: {why}.",
        hint=hint,
        id="cachedeco.W002",
    )


def _hint_for(module: str) -> str:
    """Return what makes every process import a module."""
    try:
        conf.settings()
    except ImproperlyConfigured:  # the module may be among MODULES
        return "Correct CACHEDECO, as cachedeco.E001 says: until then nothing is imported for MODULES."
    for app in apps.get_app_configs():
        inside = module.removeprefix(f"{app.name}.")
        if inside != module:
            return f"Add {inside!r} to CACHEDECO['MODULES']: each process then imports it."
    return f"Import {module} in the ready() of an app: each process then imports it."


@check
def check_connections(**_: Any) -> Messages:
    """Check that what the open connections of this thread write is seen."""
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None and not is_watched(connection):
            yield Warning(
                f"Statements of the connection {connection.alias!r} are not seen, so its writes invalidate nothing.",
                hint="Leave connection.execute_wrappers alone: use connection.execute_wrapper(), which takes back its "
                "own.",
                id="cachedeco.W001",
            )
