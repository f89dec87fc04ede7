"""The settings: read once, in force at once, and every fault in them named."""

from datetime import timedelta
from typing import Any, Literal

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from cachedeco import MISSING, cached_query
from cachedeco.runtime import conf
from cachedeco.runtime.conf import Settings
from cachedeco.runtime.validation import UNSET
from tests.support.backends import Commands
from tests.support.cases import in_one_test

ModeName = Literal["on", "bypass", "off"]
tenant = "one"


def current_tenant() -> str:
    """Return whose data is asked for."""
    return tenant


async def awaited() -> str:
    """Be awaited."""
    return tenant


@pytest.mark.usefixtures("_auto_by_default")
def test_settings_have_their_defaults() -> None:
    """Without `CACHEDECO`, or with an empty one, everything has a default."""
    expected = Settings(
        MODE="on",
        ALIASES=("default",),
        TIMEOUT=UNSET,
        VARY=(),
        KEY_PREFIX="cd",
        JITTER=0.0,
        WAIT=5.0,
        REFRESH="caller",
        AUDIT=0.0,
        AUDIT_SECONDS=60.0,
        OUTBOX_SECONDS=600.0,
        BREAKER_FAILURES=3,
        BREAKER_SECONDS=1.0,
        DEPENDS_ON=("auto",),
    )

    with override_settings(CACHEDECO={}):
        empty = conf.settings()

    assert [expected] * 2 == [empty, conf.settings()]


@in_one_test(
    [
        ("MODE", "off", "off"),
        ("MODE", "bypass", "bypass"),
        ("ALIASES", ["default", "slow"], ("default", "slow")),
        ("ALIASES", ("slow",), ("slow",)),
        ("TIMEOUT", 60, 60.0),
        ("TIMEOUT", 0, 0.0),
        ("TIMEOUT", None, None),
        ("VARY", [current_tenant], (current_tenant,)),
        ("VARY", [f"{__name__}.current_tenant"], (current_tenant,)),
        ("VARY", (), ()),
        ("DEPENDS_ON", ["auto", "auth.User"], ("auto", "auth.User")),
        ("IGNORED_TABLES", ["sessions"], ("sessions",)),
        ("IGNORED_COLUMNS", ("auth.User.last_login",), ("auth.User.last_login",)),
        ("TABLES", {"totals": ["auth.User"]}, {"totals": ("auth.User",)}),
        ("REPLICA_LAG", None, None),
        ("REPLICA_LAG", timedelta(seconds=2), 2.0),
        ("REPLICA_LAG", {"replica": 2}, {"replica": 2.0}),
        ("KEY_PREFIX", "shop", "shop"),
        ("OUTBOX_SECONDS", 0, 0.0),
        ("OUTBOX_SECONDS", timedelta(hours=1), 3600.0),
        ("KEY_PREFIX", "", ""),
        ("KEY_PREFIX", "p" * 50, "p" * 50),
        ("BREAKER_FAILURES", 0, 0),
        ("BREAKER_FAILURES", 7, 7),
        ("BREAKER_SECONDS", 0.5, 0.5),
        ("BREAKER_SECONDS", timedelta(minutes=1), 60.0),
        ("JITTER", 0, 0.0),
        ("JITTER", 0.99, 0.99),
        ("AUDIT", 0, 0.0),
        ("AUDIT", 1, 1.0),
        ("AUDIT_SECONDS", 0.5, 0.5),
        ("AUDIT_SECONDS", timedelta(minutes=5), 300.0),
        ("WAIT", 0, 0.0),
        ("WAIT", timedelta(seconds=2), 2.0),
        ("KEY_ERRORS", "bypass", "bypass"),
        ("LOG_ARGUMENTS", True, True),
        ("REFRESH", "caller", "caller"),
        ("REFRESH", "thread", "thread"),
    ]
)
def test_setting_is_read(name: str, value: object, expected: object) -> None:
    """Each setting takes what it says, and is given in one form."""
    with override_settings(CACHEDECO={name: value}):
        found = getattr(conf.settings(), name)

    assert expected == found


@in_one_test(
    [
        ("MODE", "of", "the mode is 'of'; it takes one of 'on', 'bypass', 'off'"),
        ("MODE", None, "the mode is None"),
        ("MODE", [], r"the mode is \[\]"),
        ("ALIASES", "default", "the value is 'default'; it takes a list"),
        ("ALIASES", [], "it takes a list of one or more aliases"),
        ("ALIASES", [7], "it takes a list of one or more aliases"),
        ("DEPENDS_ON", "auto", "the value is 'auto'; it takes a list of models"),
        ("IGNORED_TABLES", "sessions", "the value is 'sessions'; it takes a list of labels"),
        ("IGNORED_TABLES", [7], r"the value is \[7\]; it takes a list of labels"),
        ("IGNORED_TABLES", ["auth."], r"the value is \['auth.'\]; it takes a list of labels"),
        ("IGNORED_TABLES", [".User"], r"the value is \['.User'\]; it takes a list of labels"),
        ("IGNORED_TABLES", [""], r"the value is \[''\]; it takes a list of labels"),
        ("IGNORED_COLUMNS", "auth.User.last_login", "it takes a list of fields"),
        ("IGNORED_COLUMNS", ["auth.last_login"], "it takes a list of fields"),
        ("TABLES", ["totals"], "it takes a dict"),
        ("TABLES", {"totals": "auth.User"}, "it takes a list of labels"),
        ("REPLICA_LAG", -1, "the lag is -1"),
        ("REPLICA_LAG", {"replica": None}, "the lag of 'replica' is None"),
        ("TIMEOUT", "60", "timeout is '60'; it takes seconds"),
        ("TIMEOUT", -1, "timeout is -1; it takes 0 or more seconds"),
        ("TIMEOUT", True, "timeout is True"),
        ("TIMEOUT", 10**400, "it takes 0 or more seconds"),
        ("VARY", current_tenant, "it takes a list of callables or of their dotted paths"),
        ("VARY", "path.to", "it takes a list of callables"),
        ("VARY", [7], "7 is not callable"),
        ("VARY", [lambda request: request], "which takes request; each is called without arguments"),
        ("VARY", [awaited], "is async: .*; it takes a def that returns its result"),
        ("VARY", ["no.such.module"], "'no.such.module' can't be imported: No module named 'no'. It takes dotted paths"),
        ("VARY", ["text"], "text doesn't look like a module path"),
        ("OUTBOX_SECONDS", None, "it takes seconds or a timedelta"),
        ("OUTBOX_SECONDS", -1, "it takes 0 or more seconds"),
        ("KEY_PREFIX", "with space", "it takes at most 50 printable ASCII characters"),
        ("KEY_PREFIX", "ü", "it takes at most 50 printable"),
        ("KEY_PREFIX", "p" * 51, "it takes at most 50 printable"),
        ("KEY_PREFIX", None, "it takes at most 50 printable"),
        ("KEY_PREFIX", "\x7f", "it takes at most 50 printable"),
        ("BREAKER_FAILURES", -1, "the value is -1; it takes a whole number of failures"),
        ("BREAKER_FAILURES", True, "the value is True"),
        ("BREAKER_FAILURES", 1.5, r"the value is 1\.5"),
        ("BREAKER_FAILURES", None, "the value is None"),
        ("BREAKER_SECONDS", 0, "the pause is 0; it takes more than 0 seconds"),
        ("BREAKER_SECONDS", None, "the pause is None; it takes more"),
        ("BREAKER_SECONDS", -1, "the pause is -1; it takes 0 or more seconds"),
        ("BREAKER_SECONDS", "1", "the pause is '1'; it takes seconds or a timedelta."),
        ("JITTER", None, "the jitter is None; it takes a fraction, 0 or more and less than 1"),
        ("JITTER", 1, "the jitter is 1; it takes a fraction, 0 or more and less than 1"),
        ("JITTER", -0.1, "the jitter is -0.1"),
        ("JITTER", True, "the jitter is True"),
        ("AUDIT", None, "the share is None; it takes 0, for none, to 1, for every hit"),
        ("AUDIT", True, "the share is True"),
        ("AUDIT", 1.01, r"the share is 1\.01; it takes 0, for none, to 1, for every hit"),
        ("AUDIT", -0.1, "the share is -0.1"),
        ("AUDIT_SECONDS", 0, "the pause is 0; it takes more than 0 seconds"),
        ("WAIT", None, r"the wait is None; it takes seconds or a timedelta\."),
        ("WAIT", -1, r"the wait is -1; it takes 0 or more seconds\."),
        ("WAIT", float("nan"), "the wait is nan"),
        ("WAIT", True, "the wait is True"),
        ("KEY_ERRORS", "ignore", "the value is 'ignore'; it takes one of 'raise', 'bypass'"),
        ("KEY_ERRORS", True, "the value is True; it takes one of"),
        ("LOG_ARGUMENTS", 1, "the value is 1; it takes True or False"),
        ("REFRESH", "threads", "the value is 'threads'; it takes one of 'caller', 'thread', 'task'"),
        ("REFRESH", None, "the value is None; it takes one of"),
        ("REFRESH", [], r"the value is \[\]"),
        ("MODES", "on", "CACHEDECO has no setting 'MODES'; did you mean 'MODE'?"),
        ("time_out", "on", "CACHEDECO has no setting 'time_out'; did you mean 'TIMEOUT'?"),
        ("ENABLED", False, "CACHEDECO has no setting 'ENABLED'; to switch the cache off it is 'MODE': 'off'."),
        (7, "on", "CACHEDECO has no setting 7; it takes MODE, ALIASES, "),
    ]
)
def test_setting_at_fault_is_named(name: Any, value: object, message: str) -> None:
    """A fault is ImproperlyConfigured, says what was given and what is taken, and is raised again at each use."""
    with override_settings(CACHEDECO={name: value}):
        for _ in range(2):
            with pytest.raises(ImproperlyConfigured, match=message):
                conf.settings()


def test_settings_name_all_faults_at_once() -> None:
    """Who repairs one fault need not run the server again to learn of the next."""
    with (
        override_settings(CACHEDECO={"MODE": "of", "TIMEOUT": -1, "NONSENSE": 1}),
        pytest.raises(ImproperlyConfigured) as caught,
    ):
        conf.settings()

    assert all(part in str(caught.value) for part in ("'NONSENSE'", "CACHEDECO['MODE']", "CACHEDECO['TIMEOUT']"))


@pytest.mark.parametrize("value", [None, [], "on", 7])
def test_settings_that_are_no_dict_are_a_fault(value: object) -> None:
    """The whole must be a dict."""
    with override_settings(CACHEDECO=value), pytest.raises(ImproperlyConfigured, match="it takes a dict"):
        conf.settings()


def test_settings_are_the_same_object_until_they_change() -> None:
    """What was derived from them may be kept by identity; other settings do not disturb it."""
    before = conf.settings()
    with override_settings(DEBUG=True):
        unrelated = conf.settings()
    with override_settings(CACHEDECO={}):
        changed = conf.settings()

    assert (True, False) == (before is unrelated, before is changed)


@pytest.mark.parametrize(
    ("setting", "differs"),
    [({"KEY_PREFIX": "other"}, True), ({"VARY": [current_tenant]}, True), ({"TIMEOUT": 7}, False)],
    ids=["KEY_PREFIX", "VARY", "TIMEOUT"],
)
def test_override_of_settings_takes_effect_at_once(setting: dict[str, Any], *, differs: bool) -> None:
    """A function that has been called already follows the settings, and comes back with them."""

    @cached_query
    def answer() -> int:
        return 1

    answer()
    before = answer.key_for()

    with override_settings(CACHEDECO=setting):
        inside = answer.key_for()

    assert (differs, before) == (inside != before, answer.key_for())


def test_override_of_the_prefix_of_caches_takes_effect_at_once(settings: Any) -> None:
    """How long a key may be follows from CACHES: when they change, keys follow."""

    @cached_query(name="tests.conf.echo")
    def answer(text: str) -> str:
        return text

    short = answer.key_for("x" * 130)

    settings.CACHES = {"default": {**settings.CACHES["default"], "KEY_PREFIX": "p" * 100}}

    assert (False, True) == ("#" in short, "#" in answer.key_for("x" * 130))


def test_vary_of_the_settings_keeps_tenants_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the whole project varies on is said once."""

    @cached_query
    def whose() -> str:
        return tenant

    with override_settings(CACHEDECO={"VARY": [f"{__name__}.current_tenant"]}):
        first = whose()
        monkeypatch.setattr(f"{__name__}.tenant", "two")
        second = whose(), whose()
        whose.invalidate()
        monkeypatch.setattr(f"{__name__}.tenant", "one")
        found = whose.peek()

    assert ("one", ("two", "two"), MISSING) == (first, second, found)


@pytest.mark.parametrize(
    ("timeout", "expected"), [(7, 13), (None, 30 * 24 * 3600), (UNSET, 306)], ids=["given", "ever", "unset"]
)
def test_timeout_of_the_settings_is_the_default(timeout: object, expected: int, commands: Commands) -> None:
    """A function without a timeout has the setting's, and without that the alias's own, 300 seconds by Django."""

    @cached_query
    def answer() -> int:
        return 1

    with override_settings(CACHEDECO={} if timeout is UNSET else {"TIMEOUT": timeout}):
        answer()

    assert [expected] == [
        each.timeout for each in commands if each.name == "set_many" and each.keys == (answer.key_for(),)
    ]


def test_timeout_zero_of_the_settings_stores_nothing() -> None:
    """A project may turn storing off by its timeout, and say otherwise for some functions."""

    @cached_query
    def answer() -> int:
        return 1

    @cached_query(timeout=60)
    def other() -> int:
        return 2

    with override_settings(CACHEDECO={"TIMEOUT": 0}):
        answer()
        other()
        found = answer.peek(), other.peek()

    assert (MISSING, 2) == found


def test_unset_shows_its_name() -> None:
    """Signatures in the documentation have a name that can be read."""
    assert "UNSET" == repr(UNSET)


def test_settings_that_change_while_they_are_read_are_read_again(settings: Any) -> None:
    """A change in the middle of reading, in another thread say, does not leave the old settings in force."""

    class Changing(dict[str, object]):
        """A setting whose reading is interrupted by a change."""

        def items(self) -> Any:
            settings.CACHEDECO = {"MODE": "bypass"}
            return super().items()

    settings.CACHEDECO = Changing(MODE="off")

    assert "bypass" == conf.settings().MODE
