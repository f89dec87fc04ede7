"""
Tables: which ones the models have, what a statement does to them, and which others a write concerns.

A write concerns more tables than it names:

- The rows of a many-to-many table belong to both sides.
- Multi-table parents and children share rows.
- The database deletes or changes rows that point to a deleted one, or to a key that changes, without a statement of
  Django's: by `DB_CASCADE` and its like, and by a constraint behind `DO_NOTHING`. `TRUNCATE` and `REPLACE` follow any
  foreign key.

All of this is worked out once from the models, and once for each text of a statement.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, NamedTuple

from django.apps import apps
from django.conf import settings as django_settings
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.backends.utils import truncate_name
from django.db.models import DO_NOTHING, Model
from django.db.models.signals import class_prepared
from django.utils.module_loading import import_string

from cachedeco.invalidation import statements
from cachedeco.invalidation.rows import table_of
from cachedeco.invalidation.sql_forms import DML
from cachedeco.invalidation.sql_tokens import last_part
from cachedeco.invalidation.statements import Statement
from cachedeco.runtime import conf
from cachedeco.runtime.interrupts import pass_interrupt

ModelClass = type[Model]

# What the database itself may do to rows that point to a deleted one. The last three came with Django 6.1.
BY_DATABASE: Final = frozenset(
    {DO_NOTHING, *(getattr(models, name, DO_NOTHING) for name in ("DB_CASCADE", "DB_SET_NULL", "DB_SET_DEFAULT"))}
)
# The label of an app of ours: to record a write of its table would be one more.
OUTBOX: Final = "cachedeco_outbox"
# Kinds of statements, and their texts, whose effect is remembered: a site has some hundred.
MOST_EFFECTS: Final = 4_096
LONGEST_TEXT: Final = 300
# The longest name that Django's backend for Oracle puts into SQL as it is; it shortens the others.
ORACLE: Final = 30
# Statements that fail where there is no table of their name.
ROW_VERBS: Final = DML | {"copy", "load"}
SAVEPOINTS: Final = frozenset({"savepoint", "release", "rollback to"})
# Of statements that may update rows, also beside others: without the columns that they set, these may be any.
UPDATING: Final = frozenset({"update", "merge", "other", "begin", "commit"})


class StatementEffect(NamedTuple):
    """What a statement does: names of tables, as in `Meta.db_table`."""

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()  #: those whose entries it ends, expanded; ignored ones are left out
    kept: frozenset[str] = frozenset()  #: the table of an UPDATE that sets columns of the setting IGNORED_COLUMNS only
    ignored: frozenset[str] = frozenset()  #: tables of the setting IGNORED_TABLES that it reads
    unknown: frozenset[str] = frozenset()  #: what it reads that is no table of a model: a view, a function
    verb: str = ""
    elsewhere: frozenset[str] = frozenset()  #: what it writes that is no table of a managed model
    everything: bool = False  #: whether it may read and write any table
    defines: bool = False  #: whether it defines names, as those of views
    locks: bool = False  #: whether it locks the rows that it reads


class Tables:
    """The tables of all models, under the settings in force. Thread-safe."""

    def __init__(self, settings: conf.Settings) -> None:
        """Work out what concerns what."""
        every_model = [model for model in apps.get_models(include_auto_created=True) if not model._meta.proxy]
        # Of several models of one table, the managed one: Django writes to it.
        by_management = sorted(every_model, key=lambda model: model._meta.managed)
        self.models: dict[str, ModelClass] = {table_of(model): model for model in by_management}
        # Who writes these is unknown, unless the settings say it: what is behind such a name is asked of the database.
        said = set(map(last_part, settings.TABLES))
        unmanaged = [table for table, model in self.models.items() if not model._meta.managed]
        self.unmanaged = frozenset(table for table in unmanaged if last_part(table) not in said)
        self.ignored = frozenset(self._tables_named((*settings.IGNORED_TABLES, OUTBOX)))
        self.faults: list[str] = []  #: of the settings; a check reports them
        self.ignored_columns = self._columns_named(settings.IGNORED_COLUMNS)
        named = {name: self._tables_behind(name, tables) for name, tables in settings.TABLES.items()}
        shortened = {truncate_name(table, ORACLE): {table} for table in self.models if len(table) > ORACLE}
        self._statement_of = statements.Parser(self.models, {**shortened, **named}).statement_of
        self._effect_of = lru_cache(MOST_EFFECTS)(self._expand)
        self._by_text: dict[str, StatementEffect] = {}
        self._own = frozenset(_tables_of_caches())
        self._families = _families(every_model)
        self._sides = _sides(every_model)
        self._concerned = _concerned_tables(every_model, self._sides)
        for name in named.keys() & self.models.keys():  # models over views: their rows are those of the tables
            for table in named[name]:
                self._concerned.setdefault(table, set()).add(name)
        self._by_database = _pointing_tables(every_model, BY_DATABASE)
        self._by_any_key = _pointing_tables(every_model, None)
        self._pointed_columns = _pointed_columns(every_model)

    def effect_of(self, sql: object) -> StatementEffect:
        """Return what a statement does; its text may be anything that the database driver takes."""
        known = self._by_text.get(sql) if type(sql) is str else None
        if known is not None:  # the usual case: each statement of a process comes here
            return known
        statement = self._statement_of(sql)
        effect = self._effect_of(statement)
        # Savepoints have a new name each, and lists of any length are one text to the parser.
        if type(sql) is str and len(sql) < LONGEST_TEXT and statement.verb not in SAVEPOINTS:
            if len(self._by_text) >= MOST_EFFECTS:
                self._by_text.clear()  # cheaper than an order of use, and as rare as it is
            self._by_text[sql] = effect
        return effect

    def effect_beyond(self, sql: object, written: frozenset[str], *, are_found: bool) -> StatementEffect:
        """
        Return what a statement does that writes to names beside those of managed tables.

        *written* are the tables for which these names stand; *are_found*, whether there is something of each name.
        """
        statement = self._statement_of(sql)
        # Without any, it will fail, or the text was misread.
        everything = statement.everything or (not are_found and statement.verb in ROW_VERBS)
        return self._effect_of(
            statement._replace(columns=None, writes=statement.writes | written, everything=everything)
        )

    def concerned_by(self, table: str) -> set[str]:
        """Return the tables whose entries a written row ends: none if the table is ignored."""
        return {table, *self._concerned.get(table, ())} - self.ignored

    def ended_with(self, table: str) -> set[str]:
        """
        Return the tables whose entries a write of any kind ends, a deletion that the database follows included.

        For a write that was not seen: the table itself is among them even if the settings ignore what is seen of it.
        """
        return {table, *self._written_by(Statement(writes=frozenset({table}), cascades="delete"))}

    def tables_of_one_row(self, table: str, *, is_deleted: bool) -> frozenset[str]:
        """
        Return the tables in which a changed row of a table concerns one row at most, with the same primary key.

        These are the table itself, and its multi-table parents and children, where the link is the primary key.
        """
        others = self._reached_from(table) if is_deleted else set()
        return frozenset({table, *self._families.get(table, ())} - others.union(self._sides.get(table, ())))

    def side_chosen_by(self, table: str, column: str) -> str:
        """
        Return the side of a many-to-many table of which only rows with these primary keys lose relations.

        Args:
            table: The many-to-many table, of which rows are deleted.

            column: The one by whose values they are chosen. If it points to no side, or both sides are one table, the
                result is empty.
        """
        keys: list[Any] = [field for field in self.models[table]._meta.local_concrete_fields if field.remote_field]
        tables_by_key = {key: table_of(key.remote_field.model) for key in keys}
        sides = self._sides.get(table, set()) - self._reached_from(table) - {table}
        for key, side in tables_by_key.items():
            is_only_key = [*tables_by_key.values()].count(side) == 1 and key.target_field.primary_key
            if key.column == column and is_only_key and side in sides:
                return side
        return ""

    def _reached_from(self, table: str) -> set[str]:
        """Return the tables of rows that the database may change when it deletes rows of a table."""
        reached = _reachable([table], self._by_database)
        return reached.union(*[self._concerned.get(each, ()) for each in reached])

    def everything(self) -> frozenset[str]:
        """Return all tables that are not ignored."""
        return frozenset(self.models) - self.ignored

    def _expand(self, statement: Statement) -> StatementEffect:
        if not statement.redefined <= self.models.keys() - self.unmanaged:
            statement = statement._replace(everything=True)
        writes = self._written_by(statement)
        return StatementEffect(
            reads=statement.reads - self.ignored,
            writes=writes,
            kept=statement.writes - writes - self.ignored,
            ignored=statement.reads & self.ignored,
            unknown=statement.unknown - self._own,
            verb=statement.verb,
            elsewhere=(statement.elsewhere - self._own - self.ignored) | (statement.writes & self.unmanaged),
            everything=statement.everything,
            defines=statement.defines,
            locks=statement.locks,
        )

    def _written_by(self, statement: Statement) -> frozenset[str]:
        if statement.everything:
            return self.everything()
        if statement.columns is not None and len(statement.writes) == 1:
            [table] = statement.writes
            if statement.columns <= self.ignored_columns.get(table, frozenset()):
                return frozenset()
        changed = set(statement.writes)
        if statement.cascades or self._sets_key(statement):
            pointing = self._by_any_key if statement.cascades in {"replace", "truncate"} else self._by_database
            changed |= _reachable(statement.writes, pointing)
        concerned = changed.union(*[self._concerned.get(table, ()) for table in changed])
        return frozenset(concerned) - self.ignored

    def _sets_key(self, statement: Statement) -> bool:
        """Tell whether a statement may set a column that the database follows: ON UPDATE CASCADE."""
        if statement.columns is None:
            return statement.verb in UPDATING
        return any(not self._pointed_columns[table].isdisjoint(statement.columns) for table in statement.writes)

    def _tables_behind(self, name: str, tables: Iterable[str]) -> list[str]:
        """Return the tables that a name stands for; what is no table of a model is a fault: no write ends it."""
        behind: list[str] = []
        for each in tables:
            found = list(self._tables_named([each]))
            if not self.models.keys() >= {*found}:
                self.faults.append(
                    f"CACHEDECO['TABLES'] has {each!r} for {name!r}, which is no app, no model and no table of one: no "
                    f"write would invalidate what reads {name!r}."
                )
            behind += found
        return behind

    def _tables_named(self, names: Iterable[str]) -> Iterator[str]:
        """Yield the tables of names: of an app's label, "app.Model", or a table itself."""
        for name in names:
            if name in apps.app_configs:
                for model in apps.get_app_config(name).get_models(include_auto_created=True):
                    yield table_of(model)
            elif (named := _model_named(name)) is not None:
                yield table_of(named)
            else:  # a table, perhaps with a schema
                yield name

    def _columns_named(self, names: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """Return columns by table, of names like "auth.User.last_login"; what has no column is a fault."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for name in names:
            reference, _, field = name.rpartition(".")
            column: Any = None
            with suppress(LookupError, FieldDoesNotExist):
                column = apps.get_model(reference)._meta.get_field(field)
            if getattr(column, "column", None):
                found[table_of(column.model)].add(column.column.casefold())  # as a statement has it
            else:
                self.faults.append(f"CACHEDECO['IGNORED_COLUMNS'] has {name!r}, which is no column of a model.")
        return {table: frozenset(columns) for table, columns in found.items()}


def _model_named(name: str) -> type[Model] | None:
    """Return the model of a name like "app.Model"; None if it is another name, or the app has no such model."""
    app, _, model = name.partition(".")
    with suppress(LookupError):
        return apps.get_model(app, model) if app in apps.app_configs else None
    return None


def names_no_model(name: str) -> bool:
    """Tell whether a name begins with the label of an app, as "app.Model" does, and the app has no such model."""
    app, dot, _ = name.partition(".")
    return bool(dot) and app in apps.app_configs and _model_named(name) is None


def _tables_of_caches() -> Iterator[str]:
    """Yield the tables in which Django's database cache stores entries: no value depends on them."""
    for options in django_settings.CACHES.values():
        try:
            backend = import_string(options["BACKEND"])
        except Exception as error:  # noqa: BLE001 -- Django says so when the cache is used, and perhaps none ever does
            pass_interrupt(error)
            continue
        if isinstance(backend, type) and issubclass(backend, BaseDatabaseCache):
            # As the names are that no model has.
            yield str(options.get("LOCATION") or "").replace('"', "").replace("`", "").casefold()


def _concerned_tables(all_models: Iterable[ModelClass], sides: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return which other tables a written row belongs to: both sides of a many-to-many table, parents and children."""
    concerned = defaultdict(set, {table: set(several) for table, several in sides.items()})
    for model in all_models:
        for parent in model._meta.all_parents:
            concerned[table_of(model)].add(table_of(parent))
            concerned[table_of(parent)].add(table_of(model))
    return concerned


def _sides(all_models: Iterable[ModelClass]) -> dict[str, set[str]]:
    """Return the tables of both sides of each many-to-many table."""
    sides: defaultdict[str, set[str]] = defaultdict(set)
    for model in all_models:
        for field in model._meta.local_many_to_many:
            relation: Any = field.remote_field
            sides[table_of(relation.through)] |= {table_of(model), table_of(relation.model)}
    return sides


def _families(all_models: Iterable[ModelClass]) -> Mapping[str, set[str]]:
    """Return the multi-table parents and children of each table that share a primary key with it."""
    families: defaultdict[str, set[str]] = defaultdict(set)
    for model in all_models:
        key: Any = model._meta.pk
        while key.remote_field and key.remote_field.parent_link:
            parent = key.remote_field.model
            families[table_of(model)].add(table_of(parent))
            families[table_of(parent)].add(table_of(model))
            key = parent._meta.pk
    return families


def _pointing_tables(all_models: Iterable[ModelClass], handlers: Iterable[object] | None) -> Mapping[str, set[str]]:
    """Return which tables have foreign keys to a table: with one of these handlers of deletions, or with any."""
    pointing: defaultdict[str, set[str]] = defaultdict(set)
    for model in all_models:
        for field in model._meta.local_fields:
            relation: Any = field.remote_field
            if relation is not None and (handlers is None or relation.on_delete in handlers):
                pointing[table_of(relation.model)].add(table_of(model))
    return pointing


def _pointed_columns(all_models: Iterable[ModelClass]) -> Mapping[str, set[str]]:
    """Return to which columns of each table foreign keys point that the database itself may change."""
    columns: defaultdict[str, set[str]] = defaultdict(set)
    for model in all_models:
        for field in model._meta.local_fields:
            relation: Any = field.remote_field
            if relation is not None and relation.on_delete in BY_DATABASE:
                pointed: Any = field
                columns[table_of(relation.model)].update(
                    each.column.casefold() for each in pointed.foreign_related_fields
                )
    return columns


def _reachable(tables: Iterable[str], pointing: Mapping[str, set[str]]) -> set[str]:
    """Return the tables that deletions in these can reach, over any number of foreign keys."""
    found: set[str] = set()
    queue = list(tables)
    for table in queue:  # grows during the loop
        new = pointing.get(table, set()) - found
        found |= new
        queue += new
    return found


_tables: Tables | None = None
_changes: object = None  # a new object after each change


def tables() -> Tables:
    """Return the tables of all models: the same object until the models or the settings change."""
    global _tables  # noqa: PLW0603 -- replaced as a whole
    found = _tables
    while found is None:
        before = _changes
        found = Tables(conf.settings())
        if before is _changes:
            _tables = found
        else:  # a model was defined meanwhile
            found = None
    return found


def forget() -> None:
    """Work the tables out anew: the models or the settings have changed."""
    global _tables, _changes  # noqa: PLW0603 -- replaced as a whole
    _changes = object()  # first: what another thread is working out must not be kept
    _tables = None


def _on_class_prepared(sender: ModelClass, **_: object) -> None:
    """Forget the tables when a model is defined; again when it is in the registry, which comes after this signal."""
    if sender._meta.apps is apps:
        forget()
        apps.lazy_model_operation(lambda _model: forget(), (sender._meta.app_label, str(sender._meta.model_name)))


class_prepared.connect(_on_class_prepared, weak=False, dispatch_uid="cachedeco.invalidation.tables")
