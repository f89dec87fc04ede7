"""The cached functions of the project."""

from collections import Counter
from typing import Any

from cachedeco import cached_query, cached_query_many
from tests.scenarios.fleets.models import Player
from tests.scenarios.fleets.release import current

RELEASE = current()
OPTIONS: Any = {"serializer": RELEASE.serializer, "timeout": 3600}

computed: Counter[str] = Counter()


def _value_of(pk: int) -> Any:
    """Return a new value that names the release."""
    return Player(pk=pk, name=RELEASE.name) if RELEASE.computes_rows else {"name": RELEASE.name}


@cached_query(namespace="players:{pk}", **OPTIONS)
def player(pk: int) -> Any:
    """Return a player."""
    computed["player"] += 1
    return _value_of(pk)


@cached_query_many(over="pks", namespace="players:{each}", **OPTIONS)
def players(pks: list[int]) -> dict[int, Any]:
    """Return several players."""
    computed["players"] += 1
    return {pk: _value_of(pk) for pk in pks}


@cached_query(**OPTIONS)
def team(pk: int) -> Any:
    """Return a player, by a nested call."""
    computed["team"] += 1
    return player(pk)
