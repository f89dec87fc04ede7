"""System check of the outbox: its table."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Tags, register
from django.core.checks import Warning as CheckWarning

from cachedeco.outbox.models import Row, has_table, outbox_databases


@register(Tags.database)
def check_tables(databases: Sequence[str] | None = None, **_: Any) -> Sequence[CheckMessage]:
    """
    Check that each database whose invalidations are recorded has the table.

    A warning, no error: `migrate` runs these checks before it makes the table, and stops at errors.
    """
    return [
        CheckWarning(
            f"Database {alias!r} has no table {Row._meta.db_table!r} yet: its invalidations are not recorded.",
            hint="manage.py migrate makes it; a router's allow_migrate() says which databases have it.",
            id="cachedeco.W010",
        )
        for alias in databases or ()
        if alias in outbox_databases() and not has_table(alias)
    ]
