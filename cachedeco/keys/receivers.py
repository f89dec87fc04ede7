"""
What a method was reached on: the class of its instance, as a part of the keys of its calls.

A subclass inherits a cached method, and may override what this calls; a manager or a QuerySet is one of its model.
"""

from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from django.db.models import Manager, Model, QuerySet

from cachedeco.keys.encoders import encode
from cachedeco.keys.refusals import OF_SOME_ROWS, QUERY, refuse_query
from cachedeco.storage.refusals import path_of

# What selects rows.
_SELECTING: Final = (Manager, QuerySet)


def kind_of(first: object) -> str:
    """
    Return the text of the class that a method was reached on: of a row, the label of its concrete model.

    Raises:
        KeyTypeError: It is a manager or a QuerySet that selects some rows: no text tells which.
    """
    if isinstance(first, _SELECTING):
        return _text_of_manager(first)
    return _text_of_class(first if isinstance(first, type) else type(first))


def class_mark_of(first: object) -> str:
    """Return the mark of the class that a method was reached on whose key ignores the instance."""
    if isinstance(first, _SELECTING):
        return _mark(_text_of_manager(first))
    return _class_mark(first if isinstance(first, type) else type(first))


# Bounded, so that classes made at run time are collected in the end.
@lru_cache(maxsize=1024)
def proxy_mark_of(cls: type) -> str:
    """Return the mark of a proxy that a method was reached on; "" if the class is none."""
    return _mark(cls._meta.label) if issubclass(cls, Model) and cls._meta.proxy else ""


@lru_cache(maxsize=1024)
def _class_mark(cls: type) -> str:
    return _mark(_text_of_class(cls) + proxy_mark_of(cls))


def _mark(text: str) -> str:
    return f"@class:{quote(text, safe='')};"


def _text_of_class(cls: type) -> str:
    if issubclass(cls, Model):
        concrete: Any = cls._meta.concrete_model or cls
        return str(concrete._meta.label)
    return path_of(cls)


def _text_of_manager(manager: Any) -> str:
    """Return the text of a manager, or of all its rows: one class may be that of several, each with its arguments."""
    is_query = isinstance(manager, QuerySet)
    if _is_filtered(manager) if is_query else hasattr(manager, "instance"):  # or that of one row's relation
        refuse_query(manager, f"{QUERY}; {OF_SOME_ROWS}")
    return f"{path_of(type(manager))}({encode((manager.model, None if is_query else manager.name, manager.db))})"


def _is_filtered(rows: Any) -> bool:
    """Tell whether a QuerySet may have other rows, or other values, than all rows of its model in their usual order."""
    query = rows.query
    filters = (query.where, query.is_sliced, query.distinct, query.combinator, query.annotations, query.extra)
    orders = (query.order_by, query.extra_order_by, not query.standard_ordering)
    return any((*filters, *orders, query.values_select, query.deferred_loading[0]))
