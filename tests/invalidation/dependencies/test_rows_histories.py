"""Histories of writes of every kind: no part is stale, and what a write does not concern stays stored."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachedeco import MISSING, cached_query, rows
from tests.models import Squad
from tests.support.engines import Engine
from tests.support.parts import WRITES, PartsWorld, Write
from tests.support.selection import of_length


@pytest.mark.slow
@pytest.mark.django_db
@settings(max_examples=of_length(20, soak=200))
@given(st.lists(WRITES, min_size=1, max_size=8))
def test_no_history_leaves_a_part_stale_or_ends_one_without_need(history: list[Write]) -> None:
    """Each stored part is as in the database; saves, inserts and deletes end the parts of their rows alone."""
    world = PartsWorld("default")

    for write in history:
        world.run(write)


@pytest.mark.slow
@settings(max_examples=of_length(10, soak=100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(WRITES, min_size=1, max_size=6))
def test_no_history_does_so_on_any_kind_of_database(engine: Engine, history: list[Write]) -> None:
    """Each kind has its own texts, types of parameters, and ways to return a new primary key."""
    world = PartsWorld(engine.alias)

    for write in history:
        world.run(write)


def test_generated_key_names_the_part_of_the_new_row_on_any_kind_of_database(engine: Engine) -> None:
    """What depends on a row that is not there yet is ended when it comes, and a row beside it is not."""
    first = Squad.objects.using(engine.alias).create(name="North")
    before = [squad_name(engine.alias, pk) for pk in (first.pk, first.pk + 1)]

    second = Squad.objects.using(engine.alias).create(name="East")

    assert (["North", None], first.pk + 1) == (before, second.pk)
    assert ("North", MISSING) == tuple(squad_name.peek(engine.alias, pk) for pk in (first.pk, second.pk))
    assert "East" == squad_name(engine.alias, second.pk)


@cached_query(depends_on=[rows(Squad, pk="{pk}")], name="tests.dependencies.histories.squad")
def squad_name(alias: str, pk: int) -> str | None:
    """Return the name of a squad, None if there is none."""
    return Squad.objects.using(alias).filter(pk=pk).values_list("name", flat=True).first()
