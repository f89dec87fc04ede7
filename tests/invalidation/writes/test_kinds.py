"""Every kind of write ends what depends on the tables that it writes, and nothing else, on every kind of database."""

from contextlib import suppress
from typing import Literal

import pytest
from django.db import transaction

from tests.invalidation.writes.kinds import KINDS, Kind
from tests.invalidation.writes.roster import changed, ended, rows_now, stale, warm
from tests.invalidation.writes.rows import fill
from tests.support.clubs import Undone, assert_nothing_waits
from tests.support.engines import Engine, marks_of

Way = Literal["autocommit", "transaction", "savepoint"]
WAYS: tuple[Way, ...] = ("autocommit", "transaction", "savepoint")

SOAKED: dict[str, list[pytest.MarkDecorator]] = {"autocommit": [], "transaction": [], "savepoint": [pytest.mark.soak]}

CASES = [
    pytest.param(
        kind, name, way, id=f"{kind.name.replace(' ', '-')}-{name}-{way}", marks=[*marks_of(name), *SOAKED[way]]
    )
    for kind in KINDS
    for name in kind.engines
    for way in (WAYS if kind.can_roll_back else WAYS[:1])
]


@pytest.fixture
def alias(engine: Engine) -> str:
    """Give the alias of a database with rows of which every function has a value stored."""
    fill(engine.alias)
    warm(engine.alias)
    return engine.alias


@pytest.mark.covering(2)
@pytest.mark.parametrize(("kind", "engine", "way"), CASES, indirect=["engine"])
def test_write_ends_what_depends_on_it(kind: Kind, way: Way, alias: str) -> None:
    """A value that was served before a write is not served after it; others are kept, and all after a rollback."""
    before = rows_now(alias)
    kept = set()

    if kind.can_roll_back:
        kept = roll_back(kind, way, alias)
    if way == "autocommit":
        kind.write(alias)
    else:
        commit(kind, way, alias)

    now = ended(alias)
    assert (set(), set(kind.changes), kind.concerned()) == (kept, changed(alias, before), now)
    assert [] == stale(alias)
    assert_nothing_waits()


def roll_back(kind: Kind, way: Way, alias: str) -> set[object]:
    """Write, and undo it; return what was ended."""
    with transaction.atomic(using=alias):
        with suppress(Undone), transaction.atomic(using=alias):
            kind.write(alias)
            raise Undone
        transaction.set_rollback(way != "savepoint", using=alias)
    return set(ended(alias))


def commit(kind: Kind, way: Way, alias: str) -> None:
    """Write in a transaction, or under a savepoint of one."""
    with transaction.atomic(using=alias), transaction.atomic(using=alias, savepoint=way == "savepoint"):
        kind.write(alias)
