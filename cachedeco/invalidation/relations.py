"""
Which classes Django names when rows of a model change.

**Families.** Models of one family of multi-table inheritance share tables: a saved child changes its parents' rows, a
saved parent what its children read, and Django sends one signal, of the class that was saved. So what depends on a
model has to listen to all classes that share a table with it, proxies included.

**Silence.** Django sends no signal for rows whose foreign key is set to null, or that the database itself deletes, when
the row that they point to is deleted; nor then for those between the two sides of a many-to-many field. So it has to
listen to the deletion of what these rows point to.
"""

# ruff: noqa: SLF001 -- Django documents _meta

from collections.abc import Iterator
from typing import Any, Final

from django.apps import apps
from django.db import models
from django.db.models import CASCADE, DO_NOTHING, PROTECT, RESTRICT, Model

from cachedeco.invalidation.rows import model_of

# Django deletes the rows itself, and tells; or deletes nothing.
TOLD: Final = (CASCADE, PROTECT, RESTRICT)
# The database may delete the rows, and Django does not look. DB_CASCADE came with Django 6.1.
UNSEEN: Final = (DO_NOTHING, getattr(models, "DB_CASCADE", DO_NOTHING))

ModelClass = type[Model]


def senders_of(model: ModelClass) -> list[ModelClass]:
    """Return the classes that share a table with a model, itself and all proxies included."""
    found: dict[ModelClass, None] = {}
    for table in (model, *model._meta.all_parents):
        found |= dict.fromkeys(_descendants_of(table))
    return list(found)


def relatives_of(model: ModelClass) -> list[ModelClass]:
    """Return the models that share a table with a model, itself included and proxies not."""
    return list(dict.fromkeys(model_of(each) for each in senders_of(model_of(model))))


def _descendants_of(model: ModelClass) -> Iterator[ModelClass]:
    if not model._meta.abstract and not model._meta.swapped:
        yield model
    for each in model.__subclasses__():
        if each._meta.apps is apps:  # a migration's models are no models of ours
            yield from _descendants_of(each)


def with_proxies(model: ModelClass) -> list[ModelClass]:
    """Return the classes of one model's rows: itself and its proxies, but no multi-table child."""
    concrete = model._meta.concrete_model
    return [each for each in _descendants_of(model) if each._meta.concrete_model is concrete]


def throughs_of(model: ModelClass) -> Iterator[ModelClass]:
    """Give the models between a model and another one, from either side's many-to-many fields."""
    for field in model._meta.get_fields(include_hidden=True):
        if field.many_to_many:
            relation: Any = field if field.auto_created else field.remote_field
            yield relation.through


def silent_targets_of(model: ModelClass) -> set[ModelClass]:
    """Return the models whose deleted rows change or delete rows of this one, or of a relation of it, in silence."""
    found: set[ModelClass] = set()
    for through in throughs_of(model):
        if through._meta.auto_created:
            sides = [target for target, _ in _pointed_at(through)]
            # Of its own deleted rows it is told; but where it is both sides, not of the others' relations.
            sides.remove(next(side for side in sides if issubclass(model, side)))
            found.update(sides)
    ahead = [model]
    for each in ahead:  # which grows meanwhile
        for target, on_delete in _pointed_at(each):
            unseen = on_delete in UNSEEN
            if unseen or (each is model and (on_delete not in TOLD or model._meta.auto_created)):
                found.add(target)
            ahead += [target] if unseen and target not in ahead else []
    return found


def _pointed_at(model: ModelClass) -> Iterator[tuple[ModelClass, object]]:
    for field in model._meta.get_fields():
        if field.concrete and (field.many_to_one or field.one_to_one):
            relation: Any = field.remote_field
            yield relation.model._meta.concrete_model, relation.on_delete
