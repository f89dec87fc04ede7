"""
Values of rows' fields in templates: a row that was made with text is the row that a query gives.

Of `Lesson(club_id="7")`, as a form makes it, `{lesson.club_id}` is 7: else the row that was saved would have another
key than the row as read, and an invalidation with one would not reach what the other has stored.
"""

from functools import lru_cache
from typing import Any

from django.db.models import CharField, Model, TextField

from cachedeco.invalidation.identities import in_type_of


def is_text_as_read(holder: Any, name: str) -> bool:
    """Tell whether text in an attribute is as a query gives it: in no field of a row, or in one of text."""
    return not isinstance(holder, Model) or _field_of(holder.__class__, name) is None


def value_as_read(holder: Any, name: str, value: object) -> object:
    """Return what an attribute has: text in a field of a row, in the type of the field."""
    if value.__class__ is not str or is_text_as_read(holder, name):
        return value
    return in_type_of(_field_of(holder.__class__, name), value)


# Bounded, so that classes made at run time are collected in the end.
@lru_cache(maxsize=1024)
def _field_of(model: type[Model], name: str) -> Any:
    """Return the field of an attribute; None if there is none, if it has text, or if it is of another package."""
    options: Any = model._meta
    by_name = {field.attname: field for field in options.concrete_fields}
    field = target = options.pk if name == "pk" else by_name.get(name)
    while target is not None and target.remote_field:
        target = target.target_field
    if target is None or isinstance(target, CharField | TextField):
        return None
    return field if type(target).to_python.__module__.startswith("django.") else None
