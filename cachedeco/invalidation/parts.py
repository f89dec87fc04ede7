"""
Parts: the rows of a table with one value in a field, on which functions depend by `rows()`.

A statement ends all parts of the tables that it writes, unless it is known for certain which rows it changes:

- An inserted row comes into the part that the statement's own parameters name.
- An updated row leaves the part where the database has it, read right before the statement, and comes into the one
  that the parameters name.
- A deleted row leaves the part where the database has it.

Updated and deleted rows are matched by primary key, and only rows that `pre_save` or `pre_delete` has announced: the
models of a migration have columns of their own, so that reading a row could fail and abort the user's transaction.

Which fields name parts is known from the functions decorated while Django starts, in every process alike. Others, of
modules that only some processes import, depend on the whole table instead.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from ipaddress import IPv4Address, IPv6Address
from itertools import chain
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary, WeakValueDictionary

from django.apps import apps
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import AutoField, Model, QuerySet
from django.db.models.signals import class_prepared, pre_delete, pre_save

from cachedeco.invalidation import commits
from cachedeco.invalidation.row_statements import RowStatement, Slot, Unknown, row_statement_of
from cachedeco.invalidation.rows import (
    AnyField,
    ModelReference,
    check_canonical,
    field_of,
    model_of,
    otherwise_compared,
    text_of,
)
from cachedeco.invalidation.tables import ModelClass, tables
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.locks import RLock
from cachedeco.runtime.modes import current_mode

UID: Final = "cachedeco.invalidation.parts"
#: One statement that concerns more parts of a table ends all.
MOST_PARTS: Final = 100

# What a parameter of a field that names parts may be; all else is for the database to evaluate.
PLAIN: Final = (str, int, UUID, date, IPv4Address, IPv6Address, type(None))

# Arguments of name_parts(), of functions that are decorated while Django starts.
_requests: dict[tuple[ModelReference, str], None] = {}
# The fields by which functions depend on rows, by table. Replaced as a whole.
_fields: Mapping[str, tuple[AnyField, ...]] = {}
_lock = RLock()


class UnknownPartsError(Exception):
    """It can't be known for certain which parts of a table a statement concerns."""


class AnnouncedRows:
    """The rows of one connection of which `pre_save` or `pre_delete` was sent: as long as their instances live."""

    def __init__(self) -> None:
        """Start with none."""
        self._by_key: WeakValueDictionary[tuple[str, str], Model] = WeakValueDictionary()
        self._new: WeakValueDictionary[int, Model] = WeakValueDictionary()

    def add(self, instance: Model) -> None:
        """Add a row, in its own table and in those of its parents."""
        is_new = False
        for model in (instance._meta.concrete_model, *instance._meta.all_parents):
            options: Any = model._meta  # type: ignore[union-attr] # only an abstract model has no concrete one
            key = vars(instance).get(options.pk.attname)
            if key is None:
                is_new = True
            else:
                self._by_key[options.db_table, text_of(options.pk, key)] = instance
        if is_new:
            self._new[id(instance)] = instance

    def has(self, table: str, text: str) -> bool:
        """Tell whether a row is announced. A multi-table child gets its primary key when its parent is inserted."""
        if (table, text) not in self._by_key:
            for instance in list(self._new.values()):
                self._new.pop(id(instance), None)
                self.add(instance)
        return (table, text) in self._by_key


# By connection.
_announced: WeakKeyDictionary[BaseDatabaseWrapper, AnnouncedRows] = WeakKeyDictionary()


# --- which fields name parts ---


def name_parts(reference: ModelReference, field: str) -> None:
    """
    Tell rows of a model apart by a field, from now on, if Django is starting: other processes then do the same.

    Until all models are loaded the request is only stored: the `AppConfig` then calls `connect()`.
    """
    if apps.loading and not apps.ready:
        with _lock:
            _requests[reference, field] = None
        if apps.models_ready:
            connect()


def connect() -> None:
    """Connect all stored requests. A system check reports those that can't be connected."""
    for reference, name in list(_requests):
        with suppress(TypeError):
            _connect(reference, name)


def _connect(reference: ModelReference, name: str) -> None:
    global _fields  # noqa: PLW0603 -- replaced as a whole
    model = model_of(reference)
    field = field_of(model, name)
    check_canonical(field)
    if otherwise_compared(field):
        return
    with _lock:
        table = model._meta.db_table
        _fields = {**_fields, table: tuple(dict.fromkeys([*_fields.get(table, ()), field]))}
        for sender in _relatives_of(model):
            pre_save.connect(_announce, sender=sender, dispatch_uid=UID)
            # It also makes Django fetch the rows that a QuerySet deletes, and delete them by primary key.
            pre_delete.connect(_announce, sender=sender, dispatch_uid=UID)


def are_parts_known(model: ModelClass, field: AnyField) -> bool:
    """Tell whether every process that started Django as this one did tells rows apart by a field."""
    return field in _fields.get(model._meta.db_table, ())


def has_parts(written: frozenset[str]) -> bool:
    """Tell whether functions depend on parts of one of these tables."""
    return not written.isdisjoint(_fields)


def _relatives_of(model: ModelClass) -> Iterator[ModelClass]:
    """Yield the classes that share a table with a model, itself and all proxies included."""
    for each in (model, *model._meta.all_parents):
        yield from _descendants_of(each)


def _descendants_of(model: ModelClass) -> Iterator[ModelClass]:
    if not model._meta.abstract and not model._meta.swapped:
        yield model
    for subclass in model.__subclasses__():
        if subclass._meta.apps is apps:  # not a model of a migration's state
            yield from _descendants_of(subclass)


def _on_class_prepared(sender: ModelClass, **_: object) -> None:
    """Connect all requests again after a model was defined that Django did not know at its start."""
    if apps.models_ready and sender._meta.apps is apps and _requests:
        connect()


class_prepared.connect(_on_class_prepared, dispatch_uid=UID)


# --- which rows are announced ---


def _announce(instance: Model, using: str, **_: object) -> None:
    """Note that statements about this row may follow, in its own table and in those of its parents."""
    try:
        if current_mode() != "off":
            _announced.setdefault(connections[using], AnnouncedRows()).add(instance)
    # A field of the user's may raise anything, and so do wrong settings: then no row is announced.
    except Exception as error:  # noqa: BLE001 -- as said
        pass_interrupt(error)


# --- which parts a statement concerns ---


class ChangedParts:
    """The parts that one statement concerns, by table: made before it runs."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        written: frozenset[str],
        statement: RowStatement,
        parameters: Sequence[Any],
    ) -> None:
        """Read what has to be read before the statement runs."""
        self._connection = connection
        self._statement = statement
        self._parameters = parameters
        self._model = tables().models[statement.table]
        self._generated: list[AnyField] = []  # those of one row whose values the database generates
        self.texts: dict[str, set[str]] = {}
        # Its own table first: a multi-table row is locked in the order in which Django saves it, or two transactions
        # could each wait for the other.
        for table in sorted(written & _fields.keys(), key=lambda table: (table != statement.table, table)):
            with suppress(UnknownPartsError):
                texts = self._texts_in(table, _fields[table])
                if len(texts) <= MOST_PARTS:
                    self.texts[table] = texts

    def after(self, cursor: Any) -> Mapping[str, Iterable[str]]:
        """Return the parts, when the statement has run."""
        if self._generated and self._statement.table in self.texts:
            try:
                self.texts[self._statement.table] |= self._generated_texts(cursor)
            except Exception as error:  # noqa: BLE001 -- nothing was inserted, or the driver does not tell
                pass_interrupt(error)
                del self.texts[self._statement.table]
        return self.texts

    def _texts_in(self, table: str, fields: Sequence[AnyField]) -> set[str]:
        """Return the parts of one table."""
        statement = self._statement
        is_deleted = statement.verb == "delete"
        if is_deleted and table == tables().side_chosen_by(statement.table, statement.key):
            return self._stored_texts(fields, self._announced_keys(tables().models[table]))
        if table not in tables().tables_of_one_row(statement.table, is_deleted=is_deleted):
            raise UnknownPartsError
        return self._own_texts(fields) if table == statement.table else self._related_texts(fields)

    def _own_texts(self, fields: Iterable[AnyField]) -> set[str]:
        """Return the parts of the statement's own table."""
        if self._statement.verb == "insert":
            return set(chain.from_iterable(map(self._new_texts, fields)))
        texts = self._stored_texts(fields, self._chosen_keys())
        if self._statement.verb == "update":
            texts.update(*[self._new_texts(field) for field in fields if field.column in self._statement.columns])
        return texts

    def _related_texts(self, fields: Iterable[AnyField]) -> set[str]:
        """Return the parts of a parent's or child's table with the same primary keys."""
        if self._statement.verb != "insert":
            return self._stored_texts(fields, self._chosen_keys())
        key: Any = self._model._meta.pk
        keys = [*self._new_values(key)] if key.column in self._statement.columns else []
        if not [value for value in keys if value is not None]:
            return set()  # a new primary key: no row has it
        return self._stored_texts(fields, self._check_announced(self._model, keys))

    def _chosen_keys(self) -> list[object]:
        """Return the primary keys by which the statement chooses rows of its own table, if these are announced."""
        if self._statement.key != self._model._meta.pk.column:
            raise UnknownPartsError
        return self._announced_keys(self._model)

    def _announced_keys(self, model: ModelClass) -> list[object]:
        """Return the values by which the statement chooses, if the rows of a model with these keys are announced."""
        key: Any = model._meta.pk
        return self._check_announced(model, [self._read(key, self._parameters[n]) for n in self._statement.keys])

    def _check_announced(self, model: ModelClass, keys: list[object]) -> list[object]:
        rows = _announced.get(self._connection, AnnouncedRows())
        options: Any = model._meta
        if not all(rows.has(options.db_table, text_of(options.pk, key)) for key in keys):
            raise UnknownPartsError
        return keys

    def _stored_texts(self, fields: Iterable[AnyField], keys: list[object]) -> set[str]:
        """Return the texts of rows as the database has them now, locked if it locks rows."""
        connection = self._connection
        by_model: defaultdict[ModelClass, list[AnyField]] = defaultdict(list)
        for field in fields:
            by_model[field.model].append(field)
        found: set[str] = set()
        for model, own in by_model.items():
            # Not by a manager of the model: it may leave rows out.
            rows: QuerySet[Model] = QuerySet(model, using=connection.alias).filter(pk__in=keys).order_by()
            features = connection.features
            if features.has_select_for_update and not connection.get_autocommit():
                # Two transactions that move the row at once: the second must see where the first has put it. The
                # statement takes this lock anyway; an update takes no stronger one.
                no_key = features.has_select_for_no_key_update and self._statement.verb != "delete"
                rows = rows.select_for_update(no_key=no_key)
            for values in rows.values_list(*[field.attname for field in own]):
                found.update(map(text_of, own, values))
        return found

    def _new_texts(self, field: AnyField) -> Iterator[str]:
        """Yield the texts of the values that the statement gives a field."""
        values = list(self._new_values(field)) if field.column in self._statement.columns else [None]
        is_generated = field.primary_key and isinstance(field, AutoField) and not all(values)
        if is_generated and len(self._statement.rows) == 1 and not self._statement.is_of_lists:
            self._generated.append(field)
        elif is_generated or field.column not in self._statement.columns:
            raise UnknownPartsError  # of several rows, or by a default of the database
        else:
            for value in values:
                yield text_of(field, value)

    def _new_values(self, field: AnyField) -> Iterator[object]:
        column = self._statement.columns.index(field.column)
        for row in self._statement.rows:
            for value in self._values_at(row[column]):
                yield self._read(field, value)

    def _values_at(self, slot: Slot) -> Sequence[object]:
        if isinstance(slot, Unknown):
            raise UnknownPartsError
        if slot is None:
            return [None]
        value = self._parameters[slot]
        if self._statement.is_of_lists:
            return value  # type: ignore[no-any-return] # a list, as the text says
        return [value]

    def _read(self, field: AnyField, value: Any) -> object:
        """Return a parameter as it is when it is read back."""
        if not isinstance(value, PLAIN):
            raise UnknownPartsError
        column: Any = field.get_col(self._model._meta.db_table)
        backend: Any = self._connection.ops
        for convert in (*backend.get_db_converters(column), *column.get_db_converters(self._connection)):
            value = convert(value, column, self._connection)
        return value

    def _generated_texts(self, cursor: Any) -> set[str]:
        """Return the texts of a primary key that the database has generated for one row."""
        [field] = self._generated
        if self._statement.returned == field.column and hasattr(cursor, "scroll"):
            [value, *_] = cursor.fetchone()
            cursor.scroll(-1)  # Django reads it, too
        else:
            value = cursor.lastrowid
        if not value:
            raise UnknownPartsError
        return {text_of(field, value)}


def changed_parts(
    connection: BaseDatabaseWrapper, written: frozenset[str], sql: Any, parameters: Any
) -> ChangedParts | None:
    """
    Return the parts that a statement is about to change; None if it may change any, or if it makes no difference.

    May read from the database, and raise what this raises.
    """
    # A process that starts does not know all functions yet.
    if not apps.ready or current_mode() == "off" or commits.is_noted(connection, written):
        return None
    if not isinstance(sql, str) or not isinstance(parameters, list | tuple):
        return None
    statement = row_statement_of(sql)
    if statement is None or statement.table not in written or statement.parameters != len(parameters):
        return None
    return ChangedParts(connection, written, statement, parameters)
