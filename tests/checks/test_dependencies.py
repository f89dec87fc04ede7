"""What `depends_on` names is looked at once all models are there, and whether writes reach it."""

from collections.abc import Sequence
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.db import connections
from django.test import override_settings

from cachedeco import cached_query, rows
from cachedeco.invalidation import parts
from tests.models import ClubClass, Player, Squad
from tests.support.events import heard


def found(*ids: str) -> Sequence[CheckMessage]:
    """Return what the checks of ours find, of some ids."""
    return [each for each in run_checks(tags=["cachedeco"]) if each.id in ids]


@pytest.mark.usefixtures("_models_loading")
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

    @cached_query(depends_on=depends_on, name="tests.checks.misled")
    def misled(squad: object, other: int = 1) -> tuple[object, int]:
        return squad, other

    monkeypatch.undo()

    [message] = [each for each in found("cachedeco.E008") if expected in each.msg]

    assert "depends_on= of tests.checks.misled()" in message.msg
    assert message.hint
    parts.connect()
    with pytest.raises(TypeError, match="depends_on="):
        misled(1)


def test_model_whose_table_is_ignored_is_w019() -> None:
    """Nothing would be stored, which the check says before the first call: once for each function and model."""

    @cached_query(name="tests.checks.matched", depends_on=[rows(Player, squad="{squad}"), rows(Player, pk="{squad}")])
    def matched(squad: int) -> int:
        return squad

    before = found("cachedeco.W019")

    with override_settings(CACHEDECO={"IGNORED_TABLES": ["tests_player"]}):
        during = [each for each in found("cachedeco.W019") if "tests.checks.matched()" in each.msg]
        with heard("unstored") as events:
            matched(1)

    assert [] == before
    assert ["depends on tests.Player, whose table IGNORED_TABLES names"] == [
        each.msg.partition(") ")[2].partition(", so")[0] for each in during
    ]
    assert ["it depends on the table tests_player, whose writes invalidate nothing: IGNORED_TABLES names it"] == [
        event.reason for event in events
    ]


@pytest.mark.parametrize("cachedeco", [{"IGNORED_TABLES": 7}, {"TABLES": {"x": 1}}])
def test_settings_that_are_wrong_are_left_to_another_check(cachedeco: object) -> None:
    """What can't be known under them is no second fault."""
    with override_settings(CACHEDECO=cachedeco):
        assert ([], True) == (list(found("cachedeco.W019")), bool(found("cachedeco.E001")))


@pytest.mark.django_db
def test_connection_that_is_not_watched_is_w001(monkeypatch: pytest.MonkeyPatch) -> None:
    """The alias is named, and the way to add a wrapper that leaves the others alone."""
    Squad.objects.exists()
    before = found("cachedeco.W001")
    monkeypatch.setattr(connections["default"], "execute_wrappers", [])

    [message] = found("cachedeco.W001")

    assert [] == before
    assert "Statements of the connection 'default' are not seen" in message.msg
    assert "use connection.execute_wrapper()" in (message.hint or "")


def unknown_parts(function: str) -> list[CheckMessage]:
    """Return what W002 says of a function."""
    return [each for each in found("cachedeco.W002") if f"{function}()" in each.msg]


def test_rows_of_a_module_that_is_not_imported_at_start_are_w002() -> None:
    """The function depends on the whole model: the module is named, and the setting that has it imported."""

    @cached_query(depends_on=[rows(ClubClass, name="{name}")], name="tests.checks.late")
    def late(name: str) -> str:
        return name

    [message] = unknown_parts("tests.checks.late")

    assert late
    assert "depends on every row of tests.ClubClass, and not on those of one name" in message.msg
    assert "tests.checks.test_dependencies is not imported when Django starts" in message.msg
    assert "Add 'checks.test_dependencies' to CACHEDECO['MODULES']" in (message.hint or "")


def test_rows_of_a_module_that_wrong_settings_keep_from_import_are_left_to_them() -> None:
    """To add it to MODULES, where it may be, would change nothing."""

    @cached_query(depends_on=[rows(ClubClass, name="{name}")], name="tests.checks.kept")
    def kept(name: str) -> str:
        return name

    with override_settings(CACHEDECO={"MODEE": "on"}):
        [message] = unknown_parts("tests.checks.kept")

    assert kept
    assert "Correct CACHEDECO, as cachedeco.E001 says" in (message.hint or "")


def test_rows_that_are_known_at_start_are_no_fault() -> None:
    """A function of any module may share a field with one that every process imports; and depend on whole models."""

    @cached_query(depends_on=[rows(Player, number="{number}"), ClubClass], name="tests.checks.known")
    def known(number: int) -> int:
        return number

    assert known
    assert [] == [*unknown_parts("tests.checks.known"), *unknown_parts("roster.players_of")]


def test_module_outside_any_app_is_imported_by_hand() -> None:
    """The setting finds modules inside apps only."""

    def outside(name: str) -> str:
        return name

    outside.__module__ = "elsewhere"
    function = cached_query(depends_on=[rows(ClubClass, name="{name}")], name="elsewhere.outside")(outside)

    [message] = unknown_parts("elsewhere.outside")

    assert function
    assert "Import elsewhere in the ready()" in (message.hint or "")
