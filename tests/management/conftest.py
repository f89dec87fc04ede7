"""Fixtures of the tests of the management commands: those of the outbox."""

from tests.outbox.conftest import (  # noqa: F401 -- fixtures
    _recording,
    clock,
    database,
    mariadb_settings,
    pk,
    postgresql_server,
    sqlite_file,
)
