"""`manage.py cachedeco doctor`."""

from collections.abc import Sequence
from io import StringIO
from types import SimpleNamespace

import pytest
from django.core import checks
from django.core.management import call_command
from django.db import OperationalError
from pytest_django import Settings

from cachedeco.diagnosis import examination
from cachedeco.management import doctoring
from cachedeco.outbox.delivery import Deliverer
from tests.conftest import UseCaches
from tests.management.saying import said
from tests.support.faults import faulty

pytestmark = pytest.mark.django_db(databases=["default", "other"])


@pytest.fixture(autouse=True)
def _well(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """Have nothing wrong with the project: functions of other tests are left out, and time passes at once."""
    now = [1000.0]
    for module in ("base", "locmem"):
        monkeypatch.setattr(f"django.core.cache.backends.{module}.time", SimpleNamespace(time=lambda: now[0]))
    monkeypatch.setattr(doctoring, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(checks, "run_checks", lambda **_: [])
    monkeypatch.setenv("COLUMNS", "80")
    settings.DATABASE_ROUTERS = ["tests.diagnosis.test_outboxes.OnlyDefault"]
    Deliverer().run()


def test_doctor_who_finds_nothing_says_so() -> None:
    """A block for each subject, a line for each question; the exit code is 0."""
    out, err, code = said("doctor")
    lines = out.splitlines()

    assert ("", 0) == (err, code)
    assert [
        "system checks",
        "settings",
        "cache default",
        "database default",
        "database other",
        "outbox in database default",
        "deliverer for cache default",
    ] == [line for line in lines if line and line[0] != " "][:-1]
    assert "  ok      Does it honour timeouts? yes" in lines
    assert lines[-1].startswith("Nothing is wrong, in ")
    assert "WRONG" not in out


def test_doctor_who_finds_something_fails(use_caches: UseCaches) -> None:
    """Each thing with what to do, in the width of the terminal; the exit code is 1."""
    use_caches(default="faulty")
    with faulty(raises=OSError("no route to host")):
        out, err, code = said("doctor")

    assert 1 == code
    assert err.startswith("Something is wrong: ")
    assert (
        "  WRONG   Does it answer? no: OSError: no route to host\n"
        "          -> Start its server, or correct LOCATION and OPTIONS in CACHES; until\n"
        "             then each call is computed.\n"
    ) in out
    assert "deliverer for cache default" not in out
    assert 80 >= max(map(len, out.splitlines()))


def test_doctor_says_json(use_caches: UseCaches) -> None:
    """An object for each finding, and the same exit code."""
    well = said("doctor", "--json")
    use_caches(default="faulty")
    with faulty(raises=OSError()):
        wrong = said("doctor", "--json")

    assert 0 == well.code
    assert (1, {"subject", "question", "state", "answer", "advice"}) == (wrong.code, set(well.json[0]))
    assert ["wrong"] == [each["state"] for each in wrong.json if each["question"] == "Does it answer?"]


def test_doctor_reports_system_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of cachedeco alone, and none that is silenced; an error is wrong, a warning a notice."""
    found = [
        checks.Error("A password redis://:hunter2@h/0.", hint="Mend it.", id="cachedeco.E003"),
        checks.Warning("Slow.", id="cachedeco.W003"),
        checks.Warning("Another app's.", id="other.W001"),
        checks.Error("Silenced.", id="cachedeco.E999"),
    ]
    monkeypatch.setattr(checks, "run_checks", lambda tags, **_: found if tags == ["cachedeco"] else [])
    monkeypatch.setattr("django.conf.settings.SILENCED_SYSTEM_CHECKS", ["cachedeco.E999"])

    out, _, code = said("doctor")

    assert (1, True) == (code, "  WRONG   cachedeco.E003 A password redis://***@h/0.\n          -> Mend it.\n" in out)
    assert "  notice  cachedeco.W003 Slow.\n" in out
    assert ("Another" in out, "Silenced" in out) == (False, False)


def test_urlconf_that_can_not_be_imported_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning of `check`, as Django has its own error for it; of the doctor it would hide what is not checked."""
    warning = checks.Warning("The URLconf can't be imported.", id="cachedeco.W014")
    monkeypatch.setattr(checks, "run_checks", lambda tags, **_: [warning] if tags == ["cachedeco"] else [])

    out, _, code = said("doctor")

    assert (1, True) == (code, "  WRONG   cachedeco.W014 The URLconf can't be imported.\n" in out)


def test_check_that_raises_ends_no_examination(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check of a database asks it, and it may not answer; the other databases are checked all the same."""

    def run(tags: list[str], databases: Sequence[str] = (), **_: object) -> list[checks.CheckMessage]:
        if databases == ["default"]:
            raise OperationalError
        return [checks.Warning(f"{tags} {databases}", id="cachedeco.W010")]

    monkeypatch.setattr(checks, "run_checks", run)

    out, _, code = said("doctor")

    assert (1, True) == (code, "  WRONG   Can they be run? no: OperationalError\n" in out)
    assert "  notice  cachedeco.W010 ['database'] ['other']\n" in out
    assert "database other" in out


def test_check_that_raises_is_not_called_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would have found is unknown, where the others find nothing."""

    def run(tags: list[str], **_: object) -> list[checks.CheckMessage]:
        if tags != ["cachedeco"]:
            raise OperationalError
        return []

    monkeypatch.setattr(checks, "run_checks", run)

    out = said("doctor").out

    assert (True, False) == ("  WRONG   Can they be run? no" in out, "Do they find something?" in out)


@pytest.mark.parametrize("mode", ["on", "bypass", "off"])
@pytest.mark.parametrize(
    ("alias", "check"),
    [
        ("missing", checks.Error("not in CACHES", id="cachedeco.E002")),
        ("broken", checks.Error("Could not find backend", id="cachedeco.E012")),
    ],
    ids=["missing", "broken"],
)
def test_cache_that_is_missing_is_told_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, alias: str, check: checks.Error, mode: str
) -> None:
    """By the cache's own findings, and by the system check where the mode keeps caches from being examined."""
    monkeypatch.setattr(checks, "run_checks", lambda tags, **_: [check] if tags == ["cachedeco"] else [])
    settings.CACHES = {**settings.CACHES, "broken": {"BACKEND": "nothing.here.Cache"}}
    settings.CACHEDECO = {"ALIASES": [alias], "MODE": mode}

    out, _, code = said("doctor")

    assert (1, 1) == (" ".join(out.split()).count(str(check.msg)), code)


@pytest.mark.parametrize(
    ("settings_of_ours", "state", "expected"),
    [
        ({"MODE": "bypass"}, 0, "  notice  Is the cache on? no, MODE is 'bypass'"),
        ({"MODE": "off"}, 0, "  notice  Is the cache on? no, MODE is 'off'"),
        ({"MODEE": "on"}, 1, "  WRONG   Are they right? CACHEDECO has no setting 'MODEE'; did you mean 'MODE'?"),
    ],
    ids=["bypass", "off", "wrong"],
)
def test_settings_are_examined(settings: Settings, settings_of_ours: dict[str, str], state: int, expected: str) -> None:
    """In the mode "off" no cache is touched; where the settings are wrong nothing else is asked."""
    settings.CACHEDECO = settings_of_ours

    out, err, code = said("doctor")

    assert (True, state) == (expected in out, code)
    assert ("bypass" in expected) == ("cache default" in out)
    assert bool(state) == ("Something is wrong: 1 of 1 answer." in err)


def test_project_without_functions_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their modules may not be imported."""
    monkeypatch.setattr(examination, "decorated_functions", list)
    none = said("doctor").out
    monkeypatch.setattr(examination, "decorated_functions", lambda: [None])
    one = said("doctor").out

    assert "  notice  Are functions cached? this process knows none\n" in none
    assert "  ok      Are functions cached? yes, this process knows 1 function\n" in one


def test_doctor_goes_on_where_checks_find_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other command of Django ends there; the doctor runs the checks itself, as a part of what it says."""
    checked: list[str] = []
    monkeypatch.setattr("django.core.management.base.BaseCommand.check", lambda *_, **__: checked.append("checked"))

    for name in ("doctor", "list"):
        call_command("cachedeco", name, stdout=StringIO(), stderr=StringIO(), skip_checks=False)
        checked.append(name)

    assert ["doctor", "checked", "list"] == checked
