"""Every kind of write ends what depends on the tables that it writes, and nothing else, on every kind of database."""

import pytest

from tests.invalidation.writes.kinds import KINDS, Kind
from tests.invalidation.writes.roster import changed, ended, fill, rows_now, stale, warm
from tests.support.clubs import Undone, assert_nothing_waits
from tests.support.engines import Engine, marks_of

CASES = [
    pytest.param(kind, name, id=f"{kind.name.replace(' ', '-')}-{name}", marks=marks_of(name))
    for kind in KINDS
    for name in kind.engines
]
on_every_engine = pytest.mark.parametrize(("kind", "engine"), CASES, indirect=["engine"])


@pytest.fixture
def alias(engine: Engine) -> str:
    """Give the alias of a database with rows of which every function has a value stored."""
    fill(engine.alias)
    warm(engine.alias)
    return engine.alias


@on_every_engine
def test_write_in_autocommit_ends_what_depends_on_it(kind: Kind, alias: str) -> None:
    """A value that was served before a write is not served after it; others are kept."""
    before = rows_now(alias)

    kind.write(alias)

    now = ended(alias)
    assert (set(kind.changes), [], kind.concerned()) == (changed(alias, before), stale(alias), now)
    assert_nothing_waits()
