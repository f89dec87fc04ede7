"""Namespace names for a model, or for its rows with a given field value."""

import re
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from enum import Enum
from types import NoneType
from typing import Any, Final, TypeAlias
from unicodedata import combining, normalize
from uuid import UUID

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import connections
from django.db.models import (
    BooleanField,
    CharField,
    DateField,
    DateTimeField,
    Field,
    GenericIPAddressField,
    IntegerField,
    Manager,
    Model,
    QuerySet,
    TextField,
    UUIDField,
)

from cachedeco.invalidation.identities import PartTypeError, advice_for_nameless, is_saved
from cachedeco.runtime.reprs import repr_of

ModelReference = type[Model] | str
AnyField: TypeAlias = "Field[Any, Any]"  # as text: Django's own class takes no parameters

# Databases that compare texts byte by byte where no collation is named.
EXACT_VENDORS: Final = frozenset({"sqlite", "postgresql", "oracle"})
# Collations that compare byte by byte, or as `_fold()` does: those of SQLite, those of MySQL that end in _bin, and
# those that PostgreSQL has from the operating system and from ICU. Those that a user creates can have any name.
KNOWN_COLLATIONS: Final = re.compile(
    r"|binary|nocase|rtrim|\w+_bin|c|posix|ucs_basic|c\.utf-?8|[a-z]{2,3}_[a-z]{2}(\.utf-?8)?|[\w-]+-x-icu",
    re.IGNORECASE,
)
# Methods by which a field of another package may store or compare a value otherwise than its text says.
CONVERSIONS: Final = (
    "to_python",
    "get_prep_value",
    "get_db_prep_value",
    "get_db_prep_save",
    "from_db_value",
    "db_type",
)

# Fields whose values have one text each, after to_python(): 1.0 and 1.00 are one Decimal with two texts, and a datetime
# has a text for each time zone.
CANONICAL_FIELDS: Final = (
    BooleanField,
    CharField,
    DateField,
    GenericIPAddressField,
    IntegerField,
    TextField,
    UUIDField,
)


_ONE_VALUE: Final = frozenset({int, str, UUID, NoneType})  # nearly all
_COLLECTIONS: Final = (list, tuple, set, frozenset, Mapping, QuerySet, Manager)


def model_of(reference: ModelReference) -> type[Model]:
    """
    Return the concrete model that a model class, a proxy or a name stands for.

    Raises:
        TypeError: It is no model, an abstract one, or a name of no installed app.
    """
    model: Any = reference
    if isinstance(reference, str):
        if reference.count(".") != 1:
            near = [label for label in _labels() if _name_in(label) == _name_in(reference)]
            remedy = f"did you mean {' or '.join(map(repr, near))}?" if near else "it takes 'app_label.Model'."
            msg = f"{repr_of(reference)} names no model; {remedy}"
            raise TypeError(msg)
        try:
            model = apps.get_model(reference)
        except LookupError as error:
            near = get_close_matches(reference, _labels(), n=1)
            remedy = f"did you mean {near[0]!r}?" if near else "it takes 'app_label.Model' of an installed app."
            msg = f"{repr_of(reference)} names no model: {str(error).removesuffix('.')}; {remedy}"
            raise TypeError(msg) from error
    if not isinstance(model, type) or not issubclass(model, Model):
        msg = f"{repr_of(reference)} is no model; it takes a model class or its name, 'app_label.Model'."
        raise TypeError(msg)
    if model is Model or model._meta.abstract:  # the base of all has no options
        msg = f"{repr_of(reference)} is abstract and has no rows; name the models that are made of it."
        raise TypeError(msg)
    concrete: type[Model] = model._meta.concrete_model  # type: ignore[assignment] # only an abstract one has none
    return concrete


def _labels() -> list[str]:
    """Return the labels of all models; none while they load."""
    return [each._meta.label for each in apps.get_models()] if apps.models_ready else []


def _name_in(label: str) -> str:
    return label.rpartition(".")[2].lower()


def table_of(model: type[Model]) -> str:
    """Return the table of a model."""
    return model._meta.db_table


def field_of(model: type[Model], name: str) -> AnyField:
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
        has = ", ".join([column.attname for column in own])
        msg = f"{name!r} is no column of {model._meta.label}'s own table, which has {has}."
        raise TypeError(msg)
    return field  # type: ignore[no-any-return] # one of the model's fields, as just tested


def check_canonical(field: AnyField) -> None:
    """
    Refuse a field whose values have several texts each. The models must be loaded.

    Raises:
        TypeError: It is of such a type.
    """
    target: Any = field
    while target.remote_field:
        target = target.target_field
    if not isinstance(target, CANONICAL_FIELDS) or isinstance(target, DateTimeField):
        kinds = ", ".join([cls.__name__ for cls in CANONICAL_FIELDS])
        why = "which the database computes" if target.generated else "whose values have several texts"
        msg = (
            f"{field.model._meta.label}.{field.attname} is a {type(target).__name__}, {why}; "
            f"it takes a field of one of the types {kinds}, or a foreign key to one."
        )
        raise TypeError(msg)


def text_of(field: AnyField, value: Any) -> str:
    """
    Return the name of the rows with a value in a field, as one part of a namespace's path.

    The value may be all that the field's `to_python()` takes: 7, "7" and, for a foreign key, the row that it points to.
    Texts that a database may take for equal have one name.

    Raises:
        PartTypeError: It is a row without a primary key, or one of another model than the field's.
    """
    if isinstance(value, Model):
        row = value
        _check_model(field, row)
        name: str = field.target_field.attname if field.remote_field else "pk"  # type: ignore[attr-defined]
        value = getattr(row, name)
        if value is None:
            lacks_target = f"its {name} is None, so that no row has it in {field.attname}: name the whole model"
            raise PartTypeError(row, lacks_target if is_saved(row) else advice_for_nameless(row))
    if isinstance(value, Enum):
        value = value.value
    with suppress(ValidationError, OverflowError):  # a value that the field refuses, as infinity, is in no row
        value = field.to_python(value)
    return f"{field.attname}.{_fold(value) if isinstance(value, str) else value}"


def _check_model(field: AnyField, row: Model) -> None:
    """
    Refuse a row that the field can't mean, as a query by it does: the part would be that of another row, by its key.

    Models are compared by name, so that those of a migration's state pass.
    """
    if not (field.remote_field or field.primary_key):
        return  # a number that is no foreign key, as the object id of a generic one
    meant: Any = field.related_model if field.remote_field else field.model
    own, meant = row._meta, meant._meta.concrete_model._meta
    labels = {own.concrete_model._meta.label, *(parent._meta.label for parent in own.all_parents)}  # type: ignore[union-attr]
    if meant.label not in labels and own.label not in {parent._meta.label for parent in meant.all_parents}:
        raise PartTypeError(row, f"{field.attname} takes a row of {meant.label}, or its primary key")


def text_of_given(field: AnyField, value: Any) -> str:
    """
    Do as `text_of()` with what a caller has given for a field.

    Raises:
        PartTypeError: It is a collection, which would name rows that no write names; otherwise as `text_of()`.
    """
    if type(value) not in _ONE_VALUE and isinstance(value, _COLLECTIONS):
        raise PartTypeError(value, f"{field.attname} has one value: give one, or name the whole model")
    return text_of(field, value)


def _fold(text: str) -> str:
    """
    Return a text without case, accents and spaces at its end: what collations and other types of columns ignore.

    A part that is too large costs a miss, one that is too small an old value.
    """
    if text.isascii():
        return text.lower().rstrip(" ")
    decomposed = normalize("NFKD", text.casefold())
    return (
        "".join([each for each in decomposed if not combining(each)])
        .casefold()
        .replace("\N{LATIN SMALL LETTER DOTLESS I}", "i")
        .rstrip(" ")
    )


def otherwise_compared(field: AnyField) -> str:
    """
    Return why the database may take two values of a field for equal that have different names; "" if it does not.

    The models must be loaded.
    """
    target: Any = field
    while target.remote_field:
        target = target.target_field
    kind = type(target)
    for name in CONVERSIONS:
        method = getattr(kind, name, None)
        if method is not None and not getattr(method, "__module__", "").startswith("django."):
            return f"{kind.__name__}.{name}() may change its values"
    if not target.get_lookup("exact").__module__.startswith("django."):
        return "its lookup by equality is not Django's"
    if isinstance(target, CharField | TextField):
        collation = target.db_collation or ""
        others = {connections[alias].vendor for alias in connections} - EXACT_VENDORS
        if others and not collation.endswith("_bin"):
            return f"{', '.join(sorted(others))} may take different texts for equal"
        if not KNOWN_COLLATIONS.fullmatch(collation):
            return f"the collation {collation!r} may take different texts for equal"
    return ""
