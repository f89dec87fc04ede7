"""What `depends_on` names is looked at once all models are there, and whether writes reach it."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import CheckMessage, run_checks

from cachedeco import cached_query, rows
from cachedeco.invalidation import signals
from cachedeco.managers import InvalidatingManager
from tests.invalidation.dependencies.roster import players, skills_used
from tests.models import Skill, Squad


def decorated(depends_on: Any) -> Callable[..., object]:
    """Decorate a function of two parameters."""

    @cached_query(depends_on=depends_on, name="tests.checks.refused")
    def refused(squad: object, other: int = 1) -> tuple[object, int]:
        return squad, other

    return refused


def found(*ids: str) -> Sequence[CheckMessage]:
    """Return what the checks of ours find, of some ids."""
    return [each for each in run_checks(tags=["cachedeco"]) if each.id in ids]


@pytest.fixture
def _loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in the midst of loading models, when a name may lead to one that comes later."""
    monkeypatch.setattr(apps, "models_ready", False)
    monkeypatch.setattr(apps, "ready", False)
    monkeypatch.setattr(signals, "_watch_requests", dict(signals._watch_requests))


@pytest.mark.usefixtures("_loading")
@pytest.mark.parametrize(
    ("depends_on", "expected"),
    [
        (["tests.Nobody"], "App 'tests' doesn't have a 'Nobody' model"),
        ([rows("tests.Player", other="{other}")], "'other' is no column of tests.Player"),
        ([rows("auth.User", last_login="{other}")], "is a DateTimeField"),
    ],
    ids=["model", "field", "type"],
)
def test_name_that_leads_nowhere_is_e008(monkeypatch: pytest.MonkeyPatch, depends_on: Any, expected: str) -> None:
    """What could not be known at decoration is a fault once all models are there, and an error of the call."""
    function = decorated(depends_on)
    monkeypatch.undo()

    [message] = [each for each in found("cachedeco.E008") if expected in each.msg]

    assert "depends_on= of tests.checks.refused()" in message.msg
    assert message.hint
    signals.connect()
    with pytest.raises(TypeError, match="depends_on="):
        function(1)


def warnings_of(model: str) -> list[str]:
    """Return what W001 says of a model."""
    return [each.msg for each in found("cachedeco.W001") if each.msg.count(f"{model} ")]


def test_manager_whose_bulk_writes_tell_nobody_is_w001() -> None:
    """The model is named, the functions that would miss the write, and what to do."""
    [message] = [each for each in found("cachedeco.W001") if "of tests.Squad do" in each.msg]

    assert "do not invalidate" in message.msg
    assert "tests.invalidation.dependencies.roster.squads()" in message.msg
    assert "InvalidatingManager" in (message.hint or "")


def test_manager_of_ours_is_no_fault() -> None:
    """A model that has it, as base manager too, is not named; nor is one that nobody can give a manager."""
    assert players
    assert [] == [*warnings_of("tests.Player"), *warnings_of("tests.Player_skills")]


def test_base_manager_that_tells_nobody_is_w001() -> None:
    """`match.lineup_set.add(row)` is a bulk write by the base manager."""
    [message] = [each for each in found("cachedeco.W001") if "of tests.Lineup to" in each.msg]

    assert "add() of rows of tests.Lineup" in message.msg
    assert "base_manager_name" in (message.hint or "")


def test_base_manager_of_a_model_that_points_nowhere_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be added to what does not point to anything."""
    manager = InvalidatingManager["Skill"]()
    manager.model = Skill
    before = warnings_of("tests.Skill") if skills_used else []
    monkeypatch.setattr(Skill._meta, "default_manager", manager)

    assert (1, []) == (len(before), warnings_of("tests.Skill"))


def unwatched(model: str) -> list[str]:
    """Return the hints of W002 for a model."""
    return [each.hint or "" for each in found("cachedeco.W002") if f"when {model} changes" in each.msg]


def test_function_of_a_module_that_not_every_process_imports_is_w002() -> None:
    """The module is named, and the setting that has every process import it."""
    [message] = [each for each in found("cachedeco.W002") if "roster.squads()" in each.msg]

    assert "does not import tests.invalidation.dependencies.roster" in message.msg
    assert "Add 'invalidation.dependencies.roster' to CACHEDECO['MODULES']" in (message.hint or "")


def test_model_that_is_watched_from_the_start_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where some function that every process imports depends on the same, each process invalidates."""
    asked = {(Squad, None): True, ("tests.player", "squad_id"): True, ("nowhere.Model", None): True}
    monkeypatch.setattr(signals, "_watch_requests", asked)

    assert ([], [], []) == (unwatched("tests.Squad"), unwatched("tests.Player"), unwatched("tests.Player.squad_id"))
    assert unwatched("tests.Player.number")


def test_module_outside_any_app_is_imported_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting finds modules inside apps only."""

    def outside() -> int:
        return 1

    outside.__module__ = "elsewhere"
    function = cached_query(depends_on=[Squad], name="elsewhere.outside")(outside)
    monkeypatch.setattr(signals, "_watch_requests", {})

    assert function
    assert any("Import elsewhere in the ready()" in hint for hint in unwatched("tests.Squad"))
