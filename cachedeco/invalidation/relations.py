"""
Relations between models: which classes send the signals of a change in a model's rows.

**Inheritance.** Models that multi-table inheritance connects share tables: a saved child changes its parents' rows, a
saved parent changes rows that its children read, and Django sends one signal, from the class that was saved. So a
dependency on a model listens to all classes that share a table with it, proxies included.

**Rows without a signal.** When a row is deleted, Django sends no signal for rows whose foreign key to it is set to
null, or that the database itself deletes; nor for rows of a many-to-many table. So a dependency on these rows listens
to the deletion of the rows that they point to.
"""

# ruff: noqa: SLF001 -- Django documents _meta

from collections.abc import Iterator
from typing import Any, Final

from django.apps import apps
from django.db import models
from django.db.models import CASCADE, DO_NOTHING, PROTECT, RESTRICT, Model

from cachedeco.invalidation.rows import model_of

# Django deletes the rows itself, and sends signals; or deletes nothing.
SIGNALLED: Final = (CASCADE, PROTECT, RESTRICT)
# The database may delete the rows, without a signal of Django. DB_CASCADE came with Django 6.1.
UNSIGNALLED: Final = (DO_NOTHING, getattr(models, "DB_CASCADE", DO_NOTHING))

ModelClass = type[Model]


def senders_of(model: ModelClass) -> list[ModelClass]:
    """Return the classes that share a table with a model, itself and all proxies included."""
    senders: dict[ModelClass, None] = {}
    for table in (model, *model._meta.all_parents):
        senders |= dict.fromkeys(_descendants_of(table))
    return list(senders)


def relatives_of(model: ModelClass) -> list[ModelClass]:
    """Return the models that share a table with a model, itself included, without proxies."""
    return list(dict.fromkeys(model_of(sender) for sender in senders_of(model_of(model))))


def _descendants_of(model: ModelClass) -> Iterator[ModelClass]:
    if not model._meta.abstract and not model._meta.swapped:
        yield model
    for subclass in model.__subclasses__():
        if subclass._meta.apps is apps:  # not a model of a migration's state
            yield from _descendants_of(subclass)


def with_proxies(model: ModelClass) -> list[ModelClass]:
    """Return a model and its proxies, but no multi-table child."""
    concrete = model._meta.concrete_model
    return [descendant for descendant in _descendants_of(model) if descendant._meta.concrete_model is concrete]


def throughs_of(model: ModelClass) -> Iterator[ModelClass]:
    """Yield the through models of a model's many-to-many fields, of either side."""
    for field in model._meta.get_fields(include_hidden=True):
        if field.many_to_many:
            relation: Any = field if field.auto_created else field.remote_field
            yield relation.through


def silent_targets_of(model: ModelClass) -> set[ModelClass]:
    """Return the models whose deleted rows change or delete rows of this one, or of a relation, without a signal."""
    silent: set[ModelClass] = set()
    for through in throughs_of(model):
        if through._meta.auto_created:
            sides = [target for target, _ in _targets_of(through)]
            # Its own deleted rows send a signal. If it is both sides, the rows of the other side's relations do not.
            sides.remove(next(side for side in sides if issubclass(model, side)))
            silent.update(sides)
    queue = [model]
    for source in queue:  # grows during the loop
        for target, on_delete in _targets_of(source):
            is_unsignalled = on_delete in UNSIGNALLED
            if is_unsignalled or (source is model and (on_delete not in SIGNALLED or model._meta.auto_created)):
                silent.add(target)
            queue += [target] if is_unsignalled and target not in queue else []
    return silent


def _targets_of(model: ModelClass) -> Iterator[tuple[ModelClass, object]]:
    for field in model._meta.get_fields():
        if field.concrete and (field.many_to_one or field.one_to_one):
            relation: Any = field.remote_field
            yield relation.model._meta.concrete_model, relation.on_delete
