"""What tests of dependencies are given: the time at which Django starts, and what is stored of squads."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from django.apps import apps

from cachedeco.invalidation import parts
from tests.invalidation.dependencies.roster import made_squad, players_of
from tests.models import Player

Starting = Callable[[], AbstractContextManager[None]]


@pytest.fixture(autouse=True)
def _isolated(isolated_caches: None) -> None:
    """Isolate the caches in each test."""


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch) -> Starting:
    """Give a block in which Django starts, as when it imports the modules of MODULES; the test's end forgets it."""
    monkeypatch.setattr(parts, "_requests", dict(parts._requests))
    monkeypatch.setattr(parts, "_fields", dict(parts._fields))

    @contextmanager
    def start() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(apps, "ready", False)
            yield

    return start


@pytest.fixture
def pks() -> list[int]:
    """Give the primary keys of three squads with a player each, of which the players are stored."""
    squads = [made_squad(name) for name in ("North", "East", "South")]
    for squad in squads:
        Player.objects.create(name=f"{squad.name}er", squad=squad)
    pks = [squad.pk for squad in squads]
    assert [["Norther"], ["Easter"], ["Souther"]] == [players_of(pk) for pk in pks]
    return pks
