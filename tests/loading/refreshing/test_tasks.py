"""The setting REFRESH = "task" with Django's own backends of tasks. Collected with Django 6 only."""

from typing import Any

import pytest
from django.tasks.signals import task_enqueued
from pytest_django import Settings

from cachedeco import Event, cached_query, listening
from tests.support.clocks import Clock
from tests.support.sides import Side, both

computed: list[int] = []


@cached_query(timeout=60, stale_while_revalidate=60)
def read() -> int:
    """Count."""
    computed.append(1)
    return len(computed)


@cached_query(timeout=60, stale_while_revalidate=60)
async def aread() -> int:
    """Count."""
    computed.append(1)
    return len(computed)


@pytest.fixture(params=["immediate.ImmediateBackend", "dummy.DummyBackend"])
def is_immediate(request: pytest.FixtureRequest, settings: Settings) -> bool:
    """Refresh by tasks of each of Django's backends; tell whether they are run at once."""
    settings.TASKS = {"default": {"BACKEND": f"django.tasks.backends.{request.param}"}}
    settings.CACHEDECO = {"REFRESH": "task"}
    computed.clear()
    immediate: bool = request.param.startswith("immediate")
    return immediate


@both
def test_task_refreshes(side: Side, clock: Clock, *, is_immediate: bool) -> None:
    """The caller is served the old value; the new one is there as soon as the task was run."""
    cached = aread if side.is_async else read
    side.call(cached)
    clock.now += 60
    seen: list[Event] = []
    results: list[Any] = []

    def note(task_result: Any, **_: object) -> None:
        results.append(task_result)

    task_enqueued.connect(note)  # a backend's own list belongs to the thread that has enqueued
    with listening(seen.append):
        found = side.call(cached), side.call(cached)

    assert (1, 2 if is_immediate else 1) == found
    assert [] == [each for each in seen if each.kind == "error"]
    if not is_immediate:
        [result] = results
        assert "cachedeco.loading.refresh_task.refresh" == result.task.module_path
        result.task.call(*result.args)
        assert 2 == side.call(cached)
