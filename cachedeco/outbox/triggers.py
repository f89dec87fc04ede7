"""
Triggers of PostgreSQL that record writes from outside Django: their SQL, and the operations of migrations.

Each table has one trigger for statements. It inserts a row into the outbox, in the transaction of the write, and wakes
the deliverers at its commit. A transaction has one row for each table and verb, however many statements it has: a
variable of the transaction tells, which a rollback to a savepoint sets back together with the row.

A trigger is silent for a statement that the watcher has seen. The watcher says so in a comment at the end of the text,
which `current_query()` returns: the mark goes with the statement, so no pool of connections can lose it, or lend it to
another client, as it can with a variable of the session. The mark names

- the process of the server, so that a text which is copied from a log into psql is not silent;
- the tables whose entries the watcher ends, so that a trigger or function that writes another one is not silent.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

from django.db import router
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

CHANNEL: Final = "cachedeco_outbox"
TRIGGER: Final = "cachedeco_outbox"
FUNCTION: Final = "cachedeco_record_write"

# A longer mark is left out, and the triggers do record: they search for it in the last characters of a text only.
LONGEST_MARK: Final = 1_000

# By the name's schema, and with a search_path of its own: the function runs with the rights of its owner, so that
# a role that may write to a table needs no right to write to the outbox. A quote behind a mark is the end of a
# literal: the mark is then part of a value.
CREATE_FUNCTION: Final = f"""
DO $do$
BEGIN
  EXECUTE format($format$
CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
  watched text := substring(
    right(current_query(), {LONGEST_MARK})
    FROM '/[*]cachedeco:' || pg_backend_pid() || '(:[^*'']*:)[*]/[^'']*$'
  );
  written text := CASE TG_OP WHEN 'INSERT' THEN 'INSERT INTO ' WHEN 'DELETE' THEN 'DELETE FROM ' ELSE TG_OP || ' ' END
    || quote_ident(TG_TABLE_NAME);
  recorded text := coalesce(current_setting('cachedeco.recorded', true), '');
BEGIN
  IF strpos(watched, ':' || TG_TABLE_NAME || ':') > 0 OR strpos(recorded, ',' || written || ',') > 0 THEN
    RETURN NULL;
  END IF;
  INSERT INTO %1$I.%2$I (cache, key, created) VALUES ('', written, extract(epoch FROM now()));
  PERFORM set_config('cachedeco.recorded', recorded || ',' || written || ',', true);
  PERFORM pg_notify('{CHANNEL}', '');
  RETURN NULL;
END
$body$
$format$, nspname, relname)
  FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
  WHERE pg_class.oid = 'cachedeco_outbox_row'::regclass;
END
$do$
"""  # noqa: S608 -- constants

CREATE_TRIGGER: Final = (
    f"CREATE TRIGGER {TRIGGER} AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {{table}} "
    f"FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}()"
)

DROP_UNUSED_FUNCTION: Final = f"""
DO $do$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgfoid = to_regproc('{FUNCTION}')) THEN
    DROP FUNCTION IF EXISTS {FUNCTION}();
  END IF;
END
$do$
"""


class TriggerOperation(Operation):
    """Add or remove the triggers of some tables, in the databases on PostgreSQL that have the outbox."""

    reduces_to_sql = True
    serialization_expand_args: ClassVar[Any] = ("tables",)
    adds: ClassVar[bool]

    def __init__(self, tables: Sequence[str]) -> None:
        """Take the names of tables, as in `Meta.db_table`."""
        self.tables = tables

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Leave the models as they are."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,  # noqa: ARG002 -- Django's signature
        to_state: ProjectState,  # noqa: ARG002
    ) -> None:
        """Make the change."""
        self._change(app_label, schema_editor, adds=self.adds)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,  # noqa: ARG002
        to_state: ProjectState,  # noqa: ARG002
    ) -> None:
        """Undo the change."""
        self._change(app_label, schema_editor, adds=not self.adds)

    def describe(self) -> str:
        """Say it in the output of `migrate --plan`."""
        writes = "writes" if self.adds else "no writes"
        return f"Record {writes} from outside Django to {', '.join(self.tables)}"

    def _change(self, app_label: str, editor: BaseDatabaseSchemaEditor, *, adds: bool) -> None:
        tables = list(self._tables_here(app_label, editor))
        if tables and adds:
            editor.execute(CREATE_FUNCTION, None)
        for table in tables:
            editor.execute(f"DROP TRIGGER IF EXISTS {TRIGGER} ON {table}", None)
            if adds:
                editor.execute(CREATE_TRIGGER.format(table=table), None)
        if tables and not adds:
            editor.execute(DROP_UNUSED_FUNCTION, None)

    def _tables_here(self, app_label: str, editor: BaseDatabaseSchemaEditor) -> Iterator[str]:
        """Yield the quoted names of the tables that the database has: a router may keep some in another one."""
        connection = editor.connection
        if (
            connection.vendor != "postgresql"
            or not router.allow_migrate(connection.alias, app_label)
            or not router.allow_migrate(connection.alias, "cachedeco_outbox", model_name="row")
        ):
            return
        for name in self.tables:
            quoted = connection.ops.quote_name(name)
            if editor.collect_sql:
                yield quoted
                continue
            with connection.cursor() as cursor:
                cursor.execute("SELECT to_regclass(%s)", [quoted])
                [found] = cursor.fetchone()
            if found is not None:
                yield quoted


class AddTriggers(TriggerOperation):
    """Add the trigger to tables."""

    adds = True


class RemoveTriggers(TriggerOperation):
    """Remove the trigger from tables."""

    adds = False
