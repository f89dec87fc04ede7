"""The log shows arguments only where the setting `LOG_ARGUMENTS` says so, and secrets never."""

import logging
from typing import Any

import pytest
from django.test import override_settings

from cachedeco import Event, Namespace, add_hook, cached_query, remove_hook
from cachedeco.invalidation.namespaces import rows_namespace
from cachedeco.runtime.events import NO_KEY
from cachedeco.runtime.hooks import emit
from cachedeco.runtime.log import text_of_key
from tests.models import Club

MARKER = "hunter2"


@cached_query
def greet(name: str, password: str = "") -> str:
    """Take an argument, and a secret."""
    return name + password


KEYS = {
    "entry": lambda: greet.key_for(MARKER),
    "token": lambda: greet.key_for(MARKER).replace(":e:", ":t:"),
    "namespace": lambda: f":1:{Namespace('user', MARKER).token_key('cd')}",
    "rows": lambda: f":1:{rows_namespace(Club, MARKER).token_key('cd')}",
}
EVENTS: dict[str, dict[str, Any]] = {
    "error": {"reason": "Reading failed", "error": OSError("down")},
    "error about the key": {"reason": "Reading failed", "error": ValueError(f"{MARKER} is too long")},
    "error of the key": {"reason": f"{NO_KEY}: ValueError.", "error": ValueError(MARKER)},
    "invalidation_delayed": {"error": OSError("down")},
    "invalidation_lost": {},
    "inconsistent": {"reason": f"it differs from what is computed now: 'a' and '{MARKER}'"},
}


def logged(caplog: pytest.LogCaptureFixture, name: str, key: str) -> str:
    """Return the line of an event."""
    fields = EVENTS[name]
    kind: Any = name.partition(" ")[0]
    if name == "error about the key":
        fields = {**fields, "error": ValueError(f"{key} is too long")}
    emit(Event(kind, "f", key, "default", **fields))
    [record] = caplog.records
    return record.getMessage()


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("make", KEYS.values(), ids=KEYS)
def test_arguments_are_logged_only_where_the_setting_says(
    caplog: pytest.LogCaptureFixture, name: str, make: Any
) -> None:
    """By default a line has the names of the function and the table, and a digest by which lines can be compared."""
    key = make()

    line = logged(caplog, name, key)

    caplog.clear()
    with override_settings(CACHEDECO={"LOG_ARGUMENTS": True}):
        whole = logged(caplog, name, key)
    assert (False, True) == (MARKER in line, MARKER in whole)
    assert text_of_key(key) in line


@pytest.mark.parametrize(
    ("make", "name"),
    [*zip(KEYS.values(), (f"e:{__name__}.greet", f"t:{__name__}.greet", "", "n:rows.tests_club"), strict=True)],
    ids=KEYS,
)
def test_key_in_the_log_is_a_name_and_a_digest(make: Any, name: str) -> None:
    """Equal keys have equal texts, and different ones have different ones."""
    key = make()

    text, other = text_of_key(key), text_of_key(f"{key}.")

    assert (f"{name}#", 12, True) == (text[:-12], len(text.rpartition("#")[2]), text != other)
    assert "''" == text_of_key("")


@override_settings(CACHEDECO={"LOG_ARGUMENTS": True})
def test_secrets_are_never_logged() -> None:
    """A key is cut where the name of a parameter says that its value is secret, and is no page long."""
    text = text_of_key(greet.key_for("ann", MARKER)), text_of_key(greet.key_for("x" * 150) + "x" * 200)

    assert (False, True, True) == (MARKER in text[0], "name=3'ann" in text[0], len(text[1]) < 210)


def test_event_is_shown_without_secrets() -> None:
    """Hooks have the whole key; what prints an event does not print a secret, or a page."""
    key = greet.key_for("ann", MARKER)
    event = Event("error", "f", key, "default", reason="Reading failed", error=ValueError(f"password={MARKER}"))

    assert (key, False) == (event.key, MARKER in repr(event))
    assert "Event(kind='hit', function='f', seconds=0.5)" == repr(Event("hit", "f", seconds=0.5))
    assert "error=ValueError('password=***')" in repr(event)


def test_hook_that_fails_is_logged_without_the_key(caplog: pytest.LogCaptureFixture) -> None:
    """The line names the hook, the kind of the event and the function."""

    def fail(event: Event) -> None:
        raise LookupError(event.kind)

    add_hook(fail)
    try:
        emit(Event("hit", "f", MARKER))
    finally:
        remove_hook(fail)

    assert (True, False) == ("fail> failed on an event 'hit' of 'f'" in caplog.text, MARKER in caplog.text)


@override_settings(CACHEDECO={"MODE": "of"})
def test_settings_at_fault_show_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A line is logged all the same."""
    emit(Event("error", "f", f"cd:e:f({MARKER})", "default", reason="Reading failed"))

    assert [(logging.WARNING, False)] == [(record.levelno, MARKER in record.getMessage()) for record in caplog.records]
