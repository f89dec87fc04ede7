"""Write migrations that add triggers to the tables of models, and remove those that are needed no more."""

import sysconfig
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from django.apps import apps
from django.core.management.base import CommandError
from django.db import connections, router
from django.db.migrations import Migration
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.writer import MigrationWriter

from cachedeco.invalidation.tables import ModelClass, tables
from cachedeco.outbox.models import Row, outbox_databases
from cachedeco.outbox.triggers import AddTriggers, RemoveTriggers, TriggerOperation

NAME: Final = "cachedeco_triggers"


class File(NamedTuple):
    """A migration that is not written yet."""

    path: Path
    text: str


class Planner:
    """
    Find out which triggers the migrations on disk lack.

    Args:
        names: Models, "app_label.Model", or labels of apps; none are all models of the project's own apps.

        every: Also take the models of installed packages, if no names are given.

        target: The app whose migrations get the triggers; None is the app of each model.
    """

    def __init__(self, names: Sequence[str] = (), *, every: bool = False, target: str | None = None) -> None:
        """Read the migrations on disk; no database is asked."""
        self._names = names
        self._every = every
        self._target = target
        self._loader = MigrationLoader(None, ignore_no_migrations=True)

    def files(self) -> list[File]:
        """
        Return the migrations to write: an empty list if nothing is missing.

        Raises:
            CommandError: A database, a model or an app can't have triggers; the message says what to do.
        """
        databases = _databases()
        models = self._models(databases)
        there = self._tables_with_triggers()
        models_of_migrations = self._loader.project_state().apps.get_models(include_auto_created=True)
        known = {model._meta.db_table for model in models_of_migrations}
        added: defaultdict[str, dict[str, ModelClass]] = defaultdict(dict)
        for table, model in models.items():
            if table in there:
                continue
            if table not in known:
                msg = f"No migration makes {table!r}, the table of {model._meta.label}: run manage.py makemigrations."
                raise CommandError(msg)
            added[self._target or model._meta.app_label][table] = model
        removed: defaultdict[str, list[str]] = defaultdict(list)
        for table, label in there.items():
            if not self._names and table not in _watched_tables(databases):
                removed[label].append(table)
        return [self._file(label, added[label], removed[label]) for label in sorted({*added, *removed})]

    def _models(self, databases: Sequence[str]) -> dict[str, ModelClass]:
        """Return the models that are asked for, by table."""
        if not self._names:
            watched = _watched_tables(databases)
            return {table: model for table, model in watched.items() if self._every or _is_own(model._meta.app_label)}
        found = {model._meta.db_table: model for name in self._names for model in _models_named(name)}
        for table, model in found.items():
            if table in _ignored_tables():
                msg = f"{model._meta.label} is in the setting IGNORED_TABLES: nothing depends on it."
                raise CommandError(msg)
            if not any(router.allow_migrate_model(alias, model) for alias in databases):
                msg = f"{model._meta.label} is in no database on PostgreSQL that has the outbox."
                raise CommandError(msg)
        return found

    def _tables_with_triggers(self) -> dict[str, str]:
        """Return the tables that have triggers after all migrations, with the app whose migration has added them."""
        found: dict[str, str] = {}
        graph = self._loader.graph
        plans = [graph.forwards_plan(leaf) for leaf in graph.leaf_nodes()]
        for key in dict.fromkeys(key for plan in plans for key in plan):
            for operation in self._loader.disk_migrations[key].operations:
                if isinstance(operation, AddTriggers):
                    found |= dict.fromkeys(operation.tables, str(key[0]))
                elif isinstance(operation, RemoveTriggers):
                    found = {table: label for table, label in found.items() if table not in operation.tables}
        return found

    def _file(self, label: str, added: dict[str, ModelClass], removed: Sequence[str]) -> File:
        if label not in self._loader.migrated_apps:
            msg = (
                f"App {label!r} has no migrations: run manage.py makemigrations {label}, or name another app by --app."
            )
            raise CommandError(msg)
        if not _is_own(label):
            msg = f"App {label!r} is an installed package: name an app of the project for its triggers by --app."
            raise CommandError(msg)
        operations: list[TriggerOperation] = []
        if added:
            operations.append(AddTriggers(tables=sorted(added)))
        if removed:
            operations.append(RemoveTriggers(tables=sorted(removed)))
        labels = {label, Row._meta.app_label, *(model._meta.app_label for model in added.values())}
        leaves = {each: leaf for each in sorted(labels & self._loader.migrated_apps) if (leaf := self._leaf(each))}
        number = MigrationAutodetector.parse_number(leaves.get(label, "")) or 0
        contents = {"operations": operations, "dependencies": list(leaves.items())}
        migration = type("Migration", (Migration,), contents)(f"{number + 1:04}_{NAME}", label)
        writer = MigrationWriter(migration, include_header=False)
        return File(Path(writer.path), writer.as_string())

    def _leaf(self, label: str) -> str:
        """Return the name of the last migration of an app, empty if its package holds none yet."""
        names: list[str] = [name for _, name in self._loader.graph.leaf_nodes(label)]
        if len(names) > 1:
            msg = (
                f"App {label!r} has several last migrations, {', '.join(names)}: run manage.py makemigrations --merge."
            )
            raise CommandError(msg)
        return names[0] if names else ""


def _databases() -> list[str]:
    """Return the aliases of the databases on PostgreSQL that have the outbox."""
    with_outbox = outbox_databases()
    found = [alias for alias in with_outbox if connections[alias].vendor == "postgresql"]
    if not found:
        others = ", ".join(f"{alias} ({connections[alias].vendor})" for alias in with_outbox) or "none"
        msg = f"Triggers need a database on PostgreSQL that has the outbox; those that have it: {others}."
        raise CommandError(msg)
    return found


def _watched_tables(databases: Sequence[str]) -> dict[str, ModelClass]:
    """Return the models whose tables Django manages, in one of these databases, by table."""
    ignored = _ignored_tables()
    return {
        table: model
        for table, model in sorted(tables().models.items())
        if table not in ignored
        and model._meta.managed
        and any(router.allow_migrate_model(alias, model) for alias in databases)
    }


def _ignored_tables() -> frozenset[str]:
    """Return the tables that have no triggers: a trigger on the outbox's own would record what it records."""
    return tables().ignored | {Row._meta.db_table}


def _models_named(name: str) -> Iterator[ModelClass]:
    """Yield the models of an app, or a model with its many-to-many tables."""
    label, _, model_name = name.partition(".")
    try:
        config = apps.get_app_config(label)
        wanted = [config.get_model(model_name)] if model_name else list(config.get_models())
    except LookupError as error:
        msg = f"There is no {name!r}: {error}"
        raise CommandError(msg, returncode=2) from error  # as argparse: the arguments mean nothing
    for model in wanted:
        concrete: Any = model._meta.concrete_model
        yield concrete
        for field in concrete._meta.local_many_to_many:
            if field.remote_field.through._meta.auto_created:
                yield field.remote_field.through


def _is_own(label: str) -> bool:
    """Tell whether an app is the project's, and no installed package, whose migrations belong to its authors."""
    path = Path(apps.get_app_config(label).path)
    return not any(path.is_relative_to(sysconfig.get_path(name)) for name in ("purelib", "platlib"))
