"""
Prefetched rows that a query has chosen: those of `Prefetch("members", Member.objects.filter(...))`, without `to_attr`.

`club.members.all()` gives them instead of all members, so they may be those that one visitor may see. What
`prefetch_related("members")` has fetched is what the row's own query would fetch, and tells no two rows apart.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from django.db.models import Model
from django.db.models.base import ModelState

from cachedeco.runtime.interrupts import pass_interrupt

CACHE: Final = "_prefetched_objects_cache"
# Whether a query has chosen and arranged its rows, beside the condition that they belong to a row.
_CHOICES: Final = ("annotations", "distinct", "extra", "extra_order_by", "order_by", "standard_ordering")


def chosen_rows(row: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names under which a row holds prefetched rows that a query has chosen, with the rows."""
    for name, rows in sorted(vars(row).get(CACHE, {}).items()):
        if _choice_of(rows) != _usual_choice(row.__class__, name):
            yield name, list(rows)


def _choice_of(rows: Any) -> tuple[object, ...] | None:
    """Return by what a query chooses rows, without values; None if it is none, as code of a project may set a list."""
    query = getattr(rows, "query", None)
    if query is None:
        return None
    return (len(query.where.children), query.where.negated, *(repr(getattr(query, name)) for name in _CHOICES))


# Bounded, so that classes made at run time are collected in the end.
@lru_cache(maxsize=1024)
def _usual_choice(model: type[Model], name: str) -> tuple[object, ...]:
    """Return how the rows under a name are chosen by the row's own query; nothing if that can't be told."""
    options: Any = model._meta
    # Django keeps some under the name that queries have for the relation.
    queried = [each.get_accessor_name() for each in options.related_objects if each.name == name]
    for accessor in (name, *queried):
        try:
            return _choice_of(getattr(_example_of(model), accessor).get_queryset()) or ()
        except Exception as error:  # noqa: BLE001 -- a manager, or a model, may raise anything: the call goes on
            pass_interrupt(error)
    return ()


def _example_of(model: type[Model]) -> Any:
    """Return a row with no values but those that others may refer to; `__init__()` of the user's may ask for more."""
    row: Any = model.__new__(model)
    row._state = ModelState()
    for field in model._meta.concrete_fields:
        row.__dict__[field.attname] = 1 if field.unique or field in model._meta.pk_fields else None
    return row
