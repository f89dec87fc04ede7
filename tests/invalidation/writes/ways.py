"""The ways in which a write may run: alone, in a transaction, under a savepoint, and undone."""

from contextlib import suppress
from typing import Final

from django.db import transaction

from tests.invalidation.writes.kinds import Kind

COMMITTED: Final = ("autocommit", "transaction", "savepoint")
UNDONE: Final = ("rollback", "rollback to savepoint")


class Undone(Exception):  # noqa: N818 -- raised to leave a block, not for a fault
    """Leave an atomic block by rolling it back."""


def write(kind: Kind, way: str, alias: str) -> None:
    """Write in one of the ways."""
    match way:
        case "autocommit":
            kind.write(alias)
        case "transaction" | "savepoint":
            with transaction.atomic(using=alias), transaction.atomic(using=alias, savepoint=way == "savepoint"):
                kind.write(alias)
        case "rollback":
            with suppress(Undone), transaction.atomic(using=alias):
                kind.write(alias)
                raise Undone
        case _:
            with transaction.atomic(using=alias), suppress(Undone), transaction.atomic(using=alias):
                kind.write(alias)
                raise Undone
