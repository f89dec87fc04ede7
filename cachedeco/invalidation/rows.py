"""What the rows of a model are called in the paths of namespaces: the model's name, and the value of a field."""

# ruff: noqa: SLF001 -- Django documents _meta

from contextlib import suppress
from enum import Enum
from typing import Any, Final

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import (
    BooleanField,
    CharField,
    DateField,
    DateTimeField,
    Field,
    GenericIPAddressField,
    IntegerField,
    Model,
    TextField,
    UUIDField,
)

ModelReference = type[Model] | str

# Fields whose values have one text each, once to_python() has seen them: 1.0 and 1.00 are one Decimal and two texts,
# and a datetime has a text for every time zone.
TELLING: Final = (BooleanField, CharField, DateField, GenericIPAddressField, IntegerField, TextField, UUIDField)


def model_of(reference: ModelReference) -> type[Model]:
    """
    Return the model whose rows are meant: of a proxy, the one that it stands for.

    Raises:
        TypeError: It is no model, an abstract one, or a name that no installed app has.
    """
    model: Any = reference
    if isinstance(reference, str):
        if reference.count(".") != 1:
            msg = f"{reference!r} names no model; it takes 'app_label.Model'."
            raise TypeError(msg)
        try:
            model = apps.get_model(reference)
        except LookupError as error:
            msg = f"{reference!r} names no model: {error}"
            raise TypeError(msg) from error
    if not isinstance(model, type) or not issubclass(model, Model):
        msg = f"{reference!r} is no model; it takes a model class or its name, 'app_label.Model'."
        raise TypeError(msg)
    if model._meta.abstract:
        msg = f"{reference!r} is abstract and has no rows; name the models that are made of it."
        raise TypeError(msg)
    concrete: type[Model] = model._meta.concrete_model  # type: ignore[assignment] # which only an abstract one lacks
    return concrete


def field_of(model: type[Model], name: str) -> "Field[Any, Any]":
    """
    Return a field of a model by its name, with or without `_id`; "pk" is the primary key.

    Raises:
        TypeError: The model's own table has no such column.
    """
    own = list(model._meta.local_concrete_fields)
    try:
        field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
    except FieldDoesNotExist:
        field = None
    if field not in own:
        has = ", ".join([each.attname for each in own])
        msg = f"{name!r} is no column of {model._meta.label}'s own table, which has {has}."
        raise TypeError(msg)
    return field  # type: ignore[no-any-return] # one of the model's fields, as just tested


def check_telling(field: "Field[Any, Any]") -> None:
    """
    Refuse a field by whose values rows can't be told apart. The models must be loaded.

    Raises:
        TypeError: It is of such a type.
    """
    last: Any = field
    while last.remote_field:
        last = last.target_field
    if not isinstance(last, TELLING) or isinstance(last, DateTimeField):
        kinds = ", ".join([each.__name__ for each in TELLING])
        msg = (
            f"{field.model._meta.label}.{field.attname} is a {type(last).__name__}, whose values have several texts; "
            f"it takes a field of one of the types {kinds}, or a foreign key to one."
        )
        raise TypeError(msg)


def label_of(model: type[Model]) -> str:
    """Return the name of a model as one part of a namespace's path."""
    return model._meta.label_lower


def text_of(field: "Field[Any, Any]", value: Any) -> str:
    """
    Return the name of the rows that have a value in a field, as one part of a namespace's path.

    The value may be what the field's `to_python()` takes: 7, "7" and, for a foreign key, the row that it points to.
    """
    if isinstance(value, Model):
        value = getattr(value, field.target_field.attname) if field.remote_field else value.pk  # type: ignore[attr-defined]
    if isinstance(value, Enum):
        value = value.value
    with suppress(ValidationError):  # what the field can't take, no row has
        value = field.to_python(value)
    return f"{field.attname}.{value}"
