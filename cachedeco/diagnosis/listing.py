"""Descriptions of the cached functions of a project: where each is, its options, namespaces and tables."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

from cachedeco.functions.discovery import decorated_functions
from cachedeco.functions.options import OPTIONS, as_tuple
from cachedeco.functions.spec import FunctionSpec
from cachedeco.invalidation.namespaces import Namespace
from cachedeco.invalidation.rows import model_of, table_of
from cachedeco.keys.dependencies import Rows, depends_on_in_force
from cachedeco.keys.signatures import bare_signature
from cachedeco.runtime import modes
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import repr_of, shorten_error
from cachedeco.runtime.validation import UNSET
from cachedeco.storage.serializers import ABSENT

Names = frozenset[str]

# Options that a description has in fields of their own.
_IN_FIELDS: Final = frozenset({"name", "namespace", "depends_on", "cache", "timeout", "key"})


@dataclass(frozen=True, slots=True)
class FunctionDescription:
    """One cached function, under the settings in force."""

    name: str
    signature: str  #: without annotations: "(club, page=1)"
    file: str
    line: int
    many: str  #: the parameter that takes many ids; empty for a function of one call
    is_async: bool
    cache: str  #: alias
    timeout: float | str | None  #: seconds, None for ever, or "by value": a callable gives it
    key: str  #: a template, or a callable; empty where every argument counts
    namespaces: tuple[str, ...]  #: templates, names, callables
    depends_on: tuple[str, ...]  #: "auto", models, rows()
    tables: tuple[str, ...]  #: of the models that it names
    tables_read: tuple[str, ...]  #: others, under "auto": those that it is known to read, by earlier computations
    options: Mapping[str, str]  #: the others that differ from their defaults
    problem: str = ""  #: why a call would raise, by the settings


def describe_functions() -> list[FunctionDescription]:
    """
    Describe the functions that this process has imported, with those of views.

    Asks the caches which tables functions under AUTO are known to read: a command for each such function that this
    process has not called, and none where the mode is not "on".
    """
    return [_describe(spec) for spec in decorated_functions()]


def _describe(spec: FunctionSpec) -> FunctionDescription:
    function, options = spec.source.function, spec.options
    code = getattr(inspect.unwrap(function), "__code__", function.__code__)
    cache, timeout, (tables, tables_read), problem = _resolve(spec)
    depends_on = () if problem and options["depends_on"] is UNSET else depends_on_in_force(options["depends_on"])
    return FunctionDescription(
        name=spec.name,
        signature=str(bare_signature(function)),
        file=_relative(code.co_filename),
        line=code.co_firstlineno,
        many=spec.over or "",
        is_async=inspect.iscoroutinefunction(function),
        cache=cache,
        timeout=timeout,
        key="" if options["key"] is None else _text_of(options["key"]),
        namespaces=tuple(map(_text_of, as_tuple(options["namespace"]))),
        depends_on=tuple(map(_text_of_dependency, depends_on)),
        tables=tuple(sorted(tables)),
        tables_read=tuple(sorted(tables_read)),
        options={
            name: _text_of(value)
            for name, value in options.items()
            if name not in _IN_FIELDS and value is not OPTIONS[name].default and value != OPTIONS[name].default
        },
        problem=problem,
    )


def _resolve(spec: FunctionSpec) -> tuple[str, float | str | None, tuple[Names, Names], str]:
    """Return what follows from the settings: cache, timeout, tables; and what is wrong with them."""
    try:
        policy = spec.resolve().policy
    except Exception as error:  # noqa: BLE001 -- of the settings, or of a backend, which may raise anything
        pass_interrupt(error)
        problem = str(error) if isinstance(error, ImproperlyConfigured | TypeError) else shorten_error(error)
        return spec.options["cache"] or "", None, (frozenset(), frozenset()), problem
    timeout = "by value" if callable(spec.options["timeout"]) else policy.timeout(ABSENT)
    if policy.tables is None:
        return policy.store.alias, timeout, (policy.declared, frozenset()), ""
    if modes.current_mode() == "on":
        policy.tables.complete([])  # reads the list of them
    return policy.store.alias, timeout, (policy.declared, policy.tables.names - policy.declared), ""


def _relative(file: str) -> str:
    """Return a file as a path below the current directory, if it is there."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def _text_of(value: Any) -> str:
    """Return an option as text, one that is a text itself without quotes: without secrets, and in one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, Namespace):
        return unquote(value.path)
    if isinstance(value, list | tuple):
        return ", ".join(map(_text_of, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{_text_of(name)}: {_text_of(each)}" for name, each in value.items())
    value = inspect.unwrap(value) if callable(value) else value
    code = getattr(value, "__code__", None)
    if code is not None:
        return f"{value.__qualname__} ({_relative(code.co_filename)}:{code.co_firstlineno})"
    is_plain = isinstance(value, type | timedelta)
    return getattr(value, "__qualname__", str(value)) if is_plain else repr_of(value)


def _text_of_dependency(item: Any) -> str:
    if isinstance(item, Rows):
        return f"rows({_text_of_dependency(item.model)}, {item.field}={item.template!r})"
    if isinstance(item, type) and issubclass(item, Model):
        return item._meta.label
    return _text_of(item)


def depends_on_model(description: FunctionDescription, model: type[Model] | str) -> bool:
    """Tell whether a function is known to depend on a model: by name, by rows, or by what it has read."""
    return table_of(model_of(model)) in {*description.tables, *description.tables_read}
