"""
Advice with `DEBUG` on an invalidation that reaches nothing, where that is certain, and on rows that one key has.

Found are a `Namespace` in one part where a template has several, a part that looks like a template's field, and an
argument of another type than every key of the function has had in this process. A misspelt name is not: it may be that
of a module which is not imported. Found are, too, values beside the fields of a row that no key can have, and rows of
two models in one template. Nothing here runs for a hit, and without `DEBUG` nothing is remembered.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from string import Formatter
from typing import Final
from urllib.parse import unquote

from django.conf import settings as django_settings
from django.db.models import Model

from cachedeco.functions.options import as_tuple
from cachedeco.functions.spec import Arguments, FunctionSpec, all_specs
from cachedeco.invalidation import namespaces
from cachedeco.invalidation.namespaces import FIELD, Namespace
from cachedeco.keys.encoders import encode
from cachedeco.keys.saved_rows import names_left_out, values_left_out
from cachedeco.loading.advice import Advice
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import repr_of
from cachedeco.storage.refusals import path_of

Parts = Sequence[str]
Patterns = Sequence[re.Pattern[str]]  # of parts

# Types of one argument that are remembered: a function that takes more of them takes any.
MOST_KINDS: Final = 5

_advice = Advice(lambda reason: emit(Event("advice", reason=reason)))


def look_at_computed(spec: FunctionSpec, calls: Callable[[], Iterable[Arguments]]) -> None:
    """
    Look at calls that compute, or are stored, with `DEBUG`: remember the types that arguments have in their keys.

    Tell of rows whose keys leave out what they have beside their fields, as `annotate()` gives it, or their model.
    """
    if not django_settings.DEBUG:
        return
    with _never_raising():
        for args, kwargs in calls():
            for label, value, kind, owner in spec.kinds_in_key(args, kwargs):
                if isinstance(value, Model):
                    _look_at_row(spec, label, value)
                if isinstance(owner, Model) and label.rpartition(".")[2] in {"pk", owner._meta.pk.attname}:
                    _look_at_owner(spec, label, owner)
                kinds = spec.kinds_in_keys[label]
                if len(kinds) < MOST_KINDS:
                    kinds.add(kind)


def _look_at_row(spec: FunctionSpec, label: str, row: Model) -> None:
    for name, value in values_left_out(encode, row):
        spec.resolve().policy.advice.give(
            f"{label}.{name} is a {path_of(type(value))}, which no key can have, so that rows which differ in it alone "
            "share one entry: register its type with register_key_type(), or pass what it says as an argument; if the "
            "function does not read it, begin its name with an underscore"
        )
    for name in names_left_out(row):
        spec.resolve().policy.advice.give(
            f"{label} holds rows with {name}, which is no field and not in its key, so that calls which differ in it "
            "alone share one entry: if the function reads it, pass what it says as an argument"
        )


def _look_at_owner(spec: FunctionSpec, label: str, row: Model) -> None:
    """Tell of rows of two models that a key has by their primary keys alone; a multi-table child is its parent."""
    base = type(row)._meta.concrete_model or type(row)
    while base._meta.parents:
        base = next(iter(base._meta.parents))
    models = spec.kinds_in_keys[f"the owner of {label}"]
    models.add(base._meta.label)
    if len(models) > 1:
        *others, last = sorted(models)
        spec.resolve().policy.advice.give(
            f"its key has {{{label}}} of {', '.join(others)} and of {last}: two of these rows with one primary key "
            f"share an entry. Put the row itself into the key, {{{label.rpartition('.')[0]}}}"
        )


def look_at_invalidated(spec: FunctionSpec, calls: Callable[[], Iterable[Arguments]], bound: Sequence[object]) -> None:
    """
    Tell of calls that were invalidated, and whose arguments have other types than all keys have had.

    None is no type of its own: a call without an argument says nothing about those with one.
    """
    if not django_settings.DEBUG or not spec.kinds_in_keys:
        return
    with _never_raising():
        for args, kwargs in calls():
            given = args[len(bound)] if bound and len(args) > len(bound) else None
            for label, value, kind, _ in spec.kinds_in_key(args, kwargs):
                is_bound = value is given and any(value is each for each in bound)
                if reason := _reason_against(label, kind, spec.kinds_in_keys[label], is_bound=is_bound):
                    spec.resolve().policy.advice.give(reason)


def _reason_against(label: str, kind: str, kinds: AbstractSet[str], *, is_bound: bool) -> str:
    """Return what is wrong with an argument of a type that no key has had; empty if nothing is."""
    if not kinds or kind in {*kinds, "None"} or len(kinds) >= MOST_KINDS:
        return ""
    if is_bound:
        return f"it is bound to an object, and invalidate() got that again, as {label}: leave it out"
    seen = " or ".join(sorted(kinds - {"None"}))
    return seen and (
        f"invalidate() got {label} as {kind}, and in this process each key has had {seen} there, so it reaches none of "
        "those entries: pass what the calls pass"
    )


def look_at_namespace(namespace: Namespace) -> None:
    """Tell of a namespace that was invalidated, and that is written as no template's is."""
    with _never_raising():
        parts = [unquote(part) for part in namespace.path.split(":")]
        templates = list(_templates())
        if any(FIELD.search(part) for part in parts):
            shown = next(part for part in parts if FIELD.search(part))
            _advice.give(
                f"A Namespace with the part {repr_of(shown)} was invalidated: Namespace() fills in no field, as the "
                "parameter namespace= does. Pass the values, as in Namespace('club', club.pk)"
            )
        elif any(":" in part for part in parts) and not any(_covers(parts, pattern) for _, _, pattern in templates):
            _advise_to_split(parts, templates)


def _advise_to_split(parts: Parts, templates: Iterable[tuple[str, str, Patterns]]) -> None:
    """Tell of a namespace with ":" inside a part, if each part by itself would reach something."""
    split = ":".join(parts).split(":")
    for function, template, pattern in templates:
        if _covers(split, pattern):
            _advice.give(
                f"A Namespace with ':' inside one part was invalidated, and reaches nothing of {template!r}, a "
                f"namespace of {function}(): pass each part by itself, as in Namespace({repr_of(split[0])}, ...)"
            )
            return


def functions_under(namespace: Namespace) -> list[str]:
    """Return the names of functions with a template, or a fixed namespace, that a namespace may cover, or be."""
    parts = [unquote(part) for part in namespace.path.split(":")]
    return sorted({function for function, _, pattern in _templates() if _covers(parts, pattern)})


def _templates() -> Iterator[tuple[str, str, Patterns]]:
    """Yield each namespace of a function that is a template or fixed, with patterns of its parts."""
    for spec in all_specs():
        for item in as_tuple(spec.options["namespace"]):
            if isinstance(item, str):
                yield spec.name, item, _patterns_of(item)
            elif isinstance(item, Namespace):
                fixed = [unquote(part) for part in item.path.split(":")]
                yield spec.name, ":".join(fixed), [re.compile(re.escape(part)) for part in fixed]


def _patterns_of(template: str) -> Patterns:
    parts = [""]
    for literal, field, *_ in Formatter().parse(template):
        first, *others = literal.split(":")
        parts[-1] += re.escape(first)
        parts += [re.escape(other) for other in others]
        parts[-1] += "" if field is None else ".*"
    return [re.compile(part, re.DOTALL) for part in parts]


def _covers(parts: Parts, patterns: Patterns) -> bool:
    """Tell whether a namespace may cover, or be, one of a template."""
    return len(parts) <= len(patterns) and all(
        pattern.fullmatch(part) for part, pattern in zip(parts, patterns, strict=False)
    )


@contextmanager
def _never_raising() -> Iterator[None]:
    """Drop what goes wrong: advice never breaks a call."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 -- attributes of the user's objects may raise anything
        pass_interrupt(error)


namespaces.look_with(look_at_namespace)
