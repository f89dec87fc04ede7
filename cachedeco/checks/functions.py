"""System checks of the cached functions: their caches, databases and dependencies."""

# ruff: noqa: SLF001 -- Django documents _meta, and the managers

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 -- Django's name for it
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import Field, Model

from cachedeco.functions.base import is_under_classmethod
from cachedeco.functions.spec import FunctionSpec, all_specs
from cachedeco.invalidation.signals import is_watched_everywhere
from cachedeco.runtime import conf


@register("cachedeco")
def check_functions(app_configs: Any = None, **_: Any) -> Sequence[CheckMessage]:  # noqa: ARG001 -- Django's signature
    """Check that every decorated function uses an existing database, and a cache that invalidations reach."""
    try:
        aliases = conf.settings().ALIASES
    except ImproperlyConfigured:
        return []  # reported by E001
    databases = [
        Error(
            f"{spec.name}() uses using={spec.options['using']!r}, which is not in DATABASES.",
            hint=f"DATABASES has {', '.join(connections)}.",
            id="cachedeco.E005",
        )
        for spec in all_specs()
        if spec.options["using"] not in connections
    ]
    return databases + [
        Error(
            f"{spec.name}() uses cache={spec.options['cache']!r}, which is not in CACHEDECO['ALIASES'].",
            hint="Add the alias there: an invalidation of a namespace would not reach the function.",
            id="cachedeco.E004",
        )
        for spec in all_specs()
        if spec.options["cache"] is not None and spec.options["cache"] not in aliases
    ]


@register("cachedeco")
def check_order(app_configs: Any = None, **_: Any) -> Sequence[CheckMessage]:  # noqa: ARG001 -- as above
    """Check that no classmethod is above a cached function, if the class can be found by its name."""
    return [
        Error(
            f"{spec.name}() is under @classmethod, so its verbs do not get the class.",
            hint="Swap the two decorators: put ours above @classmethod.",
            id="cachedeco.E009",
        )
        for spec in all_specs()
        if is_under_classmethod(spec)
    ]


@register("cachedeco")
def check_dependencies(app_configs: Any = None, **_: Any) -> Sequence[CheckMessage]:  # noqa: ARG001 -- as above
    """Check that the models of `depends_on` exist, and that bulk writes and writes of all processes invalidate."""
    messages: list[CheckMessage] = []
    functions: dict[type[Model], list[str]] = defaultdict(list)
    for spec in all_specs():
        for dependency in spec.dependencies:
            try:
                model, field = dependency.resolve()
            except TypeError as error:
                hint = "Name a model as 'app_label.Model', and a field by its name or its column."
                messages.append(Error(str(error), hint=hint, id="cachedeco.E008"))
                continue
            functions[model] += [] if spec.name in functions[model] else [spec.name]
            if not is_watched_everywhere(model, field):
                messages.append(_unwatched(spec, model, field))
    for model, names in functions.items():
        messages += _silent_writes(model, ", ".join([f"{name}()" for name in names]))
    return messages


def _silent_writes(model: type[Model], functions: str) -> Iterator[CheckMessage]:
    options = model._meta
    if options.auto_created:
        return  # its manager can't be chosen; the many-to-many field sends signals
    if not _invalidates(model._default_manager):
        yield Warning(
            f"update(), bulk_create() and bulk_update() of {options.label} do not invalidate {functions}.",
            hint=(
                "Give the model objects = InvalidatingManager(), from cachedeco.managers. If it is not yours, call "
                f"Namespace.for_model({options.object_name}).invalidate() after such writes, and silence this check."
            ),
            obj=model,
            id="cachedeco.W001",
        )
    elif not _invalidates(model._base_manager) and _can_be_added(model):
        yield Warning(
            f"add() of rows of {options.label} to a related row does not invalidate {functions}: "
            "Django uses the base manager for that.",
            hint="Set base_manager_name = 'objects' in the model's Meta, or the name of another InvalidatingManager.",
            obj=model,
            id="cachedeco.W001",
        )


def _can_be_added(model: type[Model]) -> bool:
    """Tell whether rows can be added to a row that they point to: `club.classes.add(row)`."""
    fields: list[Any] = model._meta.local_fields
    return any(field.many_to_one and not field.remote_field.hidden for field in fields)


def _invalidates(manager: Any) -> bool:
    return getattr(manager.get_queryset(), "invalidates_bulk_writes", False)


def _unwatched(spec: FunctionSpec, model: type[Model], field: "Field[Any, Any] | None") -> CheckMessage:
    module = spec.source.function.__module__
    inside = [each.name for each in apps.get_app_configs() if module.startswith(f"{each.name}.")]
    name = module.removeprefix(f"{max(inside, key=len)}.") if inside else module
    what = model._meta.label + (f".{field.attname}" if field else "")
    how = f"Add {name!r} to CACHEDECO['MODULES']" if inside else f"Import {module} in the ready() of an app"
    return Warning(
        f"A process that does not import {module} does not invalidate {spec.name}() when {what} changes.",
        hint=f"{how}, and decorate the function where it is imported, so that every process does.",
        id="cachedeco.W002",
    )
