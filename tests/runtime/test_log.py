"""The log shows arguments only where the setting `LOG_ARGUMENTS` says so, and secrets never."""

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from inspect import currentframe
from typing import Any, cast, get_args

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from cachedeco import Event, Namespace, add_hook, cached_query, cached_query_many, remove_hook
from cachedeco.invalidation.namespaces import rows_of_table
from cachedeco.runtime.events import NO_KEY, Kind
from cachedeco.runtime.frames import caller_line
from cachedeco.runtime.hooks import emit
from cachedeco.runtime.log import text_of_key
from cachedeco.runtime.statistics import MOST_UNCOUNTED
from tests.models import Club

MARKER = "hunter2"


@cached_query_many(over="ids")
def greet_each(ids: Any) -> dict[int, str]:
    """Take several arguments."""
    return {each: f"{each}" for each in ids}


@cached_query
def greet(name: str, password: str = "") -> str:
    """Take an argument, and a secret."""
    return name + password


KEYS = {
    "entry": lambda: greet.key_for(MARKER),
    "token": lambda: greet.key_for(MARKER).replace(":e:", ":t:"),
    "namespace": lambda: f":1:cd:n:{Namespace('user', MARKER).path}",
    "rows": lambda: f":1:cd:n:{rows_of_table(Club._meta.db_table, MARKER).path}",
}
EVENTS: dict[str, dict[str, Any]] = {
    "error": {"reason": "Reading failed", "error": OSError("down")},
    "error about the key": {"reason": "Reading failed", "error": ValueError(f"{MARKER} is too long")},
    "error of the key": {"reason": f"{NO_KEY}: ValueError.", "error": ValueError(MARKER)},
    "invalidation_delayed": {"error": OSError("down")},
    "invalidation_lost": {},
    "inconsistent": {"reason": f"it differs from what is computed now: 'a' and '{MARKER}'"},
    "hit": {"seconds": 0.5},
    "miss": {"reason": f"lost token: namespace user:{MARKER}"},
    "miss of a nested call": {"reason": f"invalidated: the nested call f(name={MARKER})"},
    "miss of an unknown token": {"reason": f"invalidated: {MARKER}"},
    "bypassed": {"reason": f"invalidated in this transaction: rows of clubs_class with name {MARKER}"},
    "invalidated": {},
}


# What the logging module gives each record; all else is ours.
OWN = vars(logging.makeLogRecord({})).keys() | {"message", "asctime"}
FIELDS = {
    *("cache_event", "cache_function", "cache_key", "cache_alias", "cache_reason"),
    *("cache_seconds", "cache_size", "cache_subject", "cache_caller"),
}


def logged(caplog: pytest.LogCaptureFixture, event: Event) -> logging.LogRecord:
    """Return the record of an event."""
    caplog.clear()
    caplog.set_level(logging.DEBUG, "cachedeco")
    emit(event)
    [record] = caplog.records
    return record


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record has beside what the logging module gives it."""
    return {name: value for name, value in vars(record).items() if name not in OWN}


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("make", KEYS.values(), ids=KEYS)
def test_arguments_are_logged_only_where_the_setting_says(
    caplog: pytest.LogCaptureFixture, name: str, make: Any
) -> None:
    """By default line and fields have the names of function and table, and a digest by which lines can be compared."""
    key, kind = make(), cast("Any", name.partition(" ")[0])
    fields = EVENTS[name] | ({"error": ValueError(f"{key} is too long")} if name == "error about the key" else {})
    event = Event(kind, "f", key, "default", **fields)

    hidden = logged(caplog, event)

    with override_settings(CACHEDECO={"LOG_ARGUMENTS": True}):
        whole = logged(caplog, event)
    assert (False, True) == (MARKER in hidden.getMessage(), MARKER in whole.getMessage())
    assert (False, True) == (MARKER in str(fields_of(hidden)), MARKER in str(fields_of(whole)))
    assert text_of_key(key) in hidden.getMessage()


@pytest.mark.parametrize("kind", get_args(Kind))
def test_each_event_has_a_line_with_the_same_fields(caplog: pytest.LogCaptureFixture, kind: Any) -> None:
    """A formatter, or a log of JSON, can count on each field, as far as the logger's level lets the event through."""
    event = Event(kind, "clubs.f", KEYS["token"](), "default", 0.5, "absent", None, 7)

    record = logged(caplog, event)

    own = fields_of(record)
    assert FIELDS == own.keys()
    assert (kind, "clubs.f", text_of_key(event.key), "default", 0.5, 7) == (
        *(own["cache_event"], own["cache_function"], own["cache_key"], own["cache_alias"]),
        *(own["cache_seconds"], own["cache_size"]),
    )
    subject = "the call clubs.f()" if "invalid" in kind else ""
    assert (subject, bool(subject)) == (own["cache_subject"], bool(own["cache_caller"]))


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Event("hit", "f", "", "default", 2.0), "hit: f(), cache 'default'"),
        (Event("computed", "f", seconds=2.0), "computed: f(), 2 s"),
        (
            Event("stored", "f", "", "default", reason="unchanged", size=90),
            "stored (unchanged): f(), cache 'default', 90 bytes",
        ),
        (Event("miss", "f", reason="lost token: this call"), "miss (lost token: this call): f()"),
        (Event("miss", "f", reason="invalidated: namespace club:7"), "miss (invalidated: namespace club): f()"),
        (Event("miss", "f", reason="invalidated: rows of a_b with c 7"), "miss (invalidated: rows of a_b): f()"),
        (Event("invalidated", key=":1:cd:n:table.a_b"), f"invalidated: table a_b, key n:table.a_b#@, by {__file__}:@"),
    ],
    ids=lambda value: value.kind if isinstance(value, Event) else "",
)
def test_line_says_what_happened(caplog: pytest.LogCaptureFixture, event: Event, line: str) -> None:
    """What is empty is left out."""
    record = logged(caplog, event)

    assert logging.DEBUG == record.levelno
    assert re.fullmatch(re.escape(line).replace("@", r"\w+"), record.getMessage())


def test_invalidation_names_the_line_that_is_to_blame(caplog: pytest.LogCaptureFixture) -> None:
    """It is the first line outside of this library and of Django, of a save too; it is looked for at DEBUG alone."""
    caplog.set_level(logging.DEBUG, "cachedeco")

    greet.invalidate("ann")
    here = cast("Any", currentframe()).f_lineno - 1
    caplog.set_level(logging.INFO, "cachedeco")
    with override_settings(CACHEDECO={"LOG_ARGUMENTS": True}):
        emit(Event("invalidation_lost", "f", greet.key_for("ann"), "default"))

    first, last = caplog.records[0], caplog.records[-1]
    assert (f"{__file__}:{here}", "") == (fields_of(first)["cache_caller"], fields_of(last)["cache_caller"])


@pytest.mark.parametrize(
    "verb",
    [
        lambda: greet.ainvalidate("ann"),
        lambda: greet.call("ann").ainvalidate(),
        greet.ainvalidate_all,
        lambda: greet_each.ainvalidate([1]),
        lambda: Namespace("club", 7).ainvalidate(),
    ],
    ids=["call", "call object", "all", "many", "namespace"],
)
def test_invalidation_of_async_code_names_the_line_that_awaits_it(
    caplog: pytest.LogCaptureFixture, verb: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """It is done in another thread; what that thread does afterwards is not said to be of this line."""
    caplog.set_level(logging.DEBUG, "cachedeco")

    async def write() -> int:
        await verb()
        return cast("Any", currentframe()).f_lineno - 1

    async def both() -> int:
        line = await write()
        await sync_to_async(Namespace("after").invalidate)()
        return line

    with ThreadPoolExecutor(1) as thread:  # in whose frames no line of the project is
        here = thread.submit(asyncio.run, both()).result()

    first, last = (fields_of(each)["cache_caller"] for each in (caplog.records[0], caplog.records[-1]))
    assert (f"{__file__}:{here}", "") == (first, last)


@pytest.mark.parametrize("server", ["socketserver", "wsgiref.handlers", "gunicorn.workers.sync", "uvicorn.server"])
def test_server_is_no_line_of_the_project(server: str) -> None:
    """What async code does by another thread may have the frames of the server alone."""
    namespace = {"__name__": server, "caller_line": caller_line}
    exec("def serve(): return caller_line()", namespace)  # noqa: S102 -- a function of that module

    with ThreadPoolExecutor(1) as thread:
        assert "" == thread.submit(cast("Any", namespace["serve"])).result()


@pytest.mark.django_db(transaction=True)
def test_invalidation_by_a_save_names_the_line_of_the_save(caplog: pytest.LogCaptureFixture) -> None:
    """The frames of the ORM lie between."""
    caplog.set_level(logging.DEBUG, "cachedeco")

    Club.objects.create(name="North")
    here = cast("Any", currentframe()).f_lineno - 1

    subjects = {
        fields["cache_subject"]: fields["cache_caller"]
        for fields in map(fields_of, caplog.records)
        if fields["cache_event"] == "invalidated"
    }
    assert f"{__file__}:{here}" == subjects["table tests_club"]


@pytest.mark.django_db(transaction=True)
def test_handler_that_uses_the_cache_does_not_log_without_end(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that writes to a table, and calls a cached function, gets the events of others alone."""
    handled: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            handled.append(fields_of(record)["cache_event"])
            Club.objects.create(name=greet("handler"))

    handler = Handler()
    caplog.set_level(logging.DEBUG, "cachedeco")
    logging.getLogger("cachedeco").addHandler(handler)
    try:
        greet("ann")
        greet("ann")
    finally:
        logging.getLogger("cachedeco").removeHandler(handler)

    assert ["miss", "computed", "stored", "hit"] == handled


def hits_in(caplog: pytest.LogCaptureFixture) -> int:
    """Return how many hits were logged, and forget them."""
    count = sum(fields_of(record).get("cache_event") == "hit" for record in caplog.records)
    caplog.clear()
    return count


def test_level_that_changes_is_seen_at_the_next_event_that_is_no_hit(caplog: pytest.LogCaptureFixture) -> None:
    """A hit does not ask the logger; after many hits it does. A level above DEBUG is seen at once."""
    greet("ann")
    greet_each([1, 2])
    logger = logging.getLogger("cachedeco")
    seen: list[int] = []

    logger.setLevel(logging.DEBUG)  # caplog's own method would put it back only at the end
    try:
        greet("ann")
        seen.append(hits_in(caplog))
        greet("bob")
        greet("ann")
        greet_each([1, 2])
        seen.append(hits_in(caplog))
        logger.setLevel(logging.INFO)
        greet("ann")
        seen.append(hits_in(caplog))
        logger.setLevel(logging.DEBUG)
        for call in (lambda: greet("ann"), lambda: greet_each([1, 2])):
            for _ in range(MOST_UNCOUNTED + 1):
                call()
            seen.append(hits_in(caplog) > 0)
            logger.setLevel(logging.INFO)
            call()
            logger.setLevel(logging.DEBUG)
    finally:
        logger.setLevel(logging.NOTSET)
        emit(Event("audited"))

    assert [0, 3, 0, True, True] == seen


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


@pytest.mark.parametrize("kind", ["invalidated", "invalidation_lost", "miss"])
@override_settings(CACHEDECO={"LOG_ARGUMENTS": True})
def test_secrets_are_in_no_field(caplog: pytest.LogCaptureFixture, kind: Any) -> None:
    """The subject and the reason are cut as the key is."""
    key, reason = greet.key_for("ann", MARKER).replace(":e:", ":t:"), ""
    if kind == "miss":
        reason = f"lost token: the nested call f(name=ann,password=7'{MARKER})"

    record = logged(caplog, Event(kind, "f", key, "default", reason=reason))

    text = f"{record.getMessage()} {fields_of(record)}"
    assert (False, True, True) == (MARKER in text, "ann" in text, "password=" in text)


def test_event_is_shown_without_secrets() -> None:
    """Hooks have the whole key; what prints an event does not print a secret, or a page."""
    key = greet.key_for("ann", MARKER)
    event = Event("error", "f", key, "default", reason="Reading failed", error=ValueError(f"password={MARKER}"))

    assert (key, False) == (event.key, MARKER in repr(event))
    assert "Event(kind='hit', function='f', seconds=0.5)" == repr(Event("hit", "f", seconds=0.5))
    assert "error=ValueError('password=***')" in repr(event)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (Event("miss", "f", reason="lost token: table a_b"), "lost token: table a_b"),
        (Event("miss", "f", reason=f"invalidated: namespace token:{MARKER}"), "invalidated: namespace token:***"),
        (Event("bypassed", "f", reason="mode off"), "mode off"),
        (Event("advice", "f", reason=f"token: {MARKER}"), "token:***"),
    ],
    ids=["token", "secret", "without a detail", "another kind"],
)
def test_event_is_shown_with_its_token(event: Event, reason: str) -> None:
    """A lost token is no secret, and what is named like one is."""
    assert f"Event(kind={event.kind!r}, function='f', reason={reason!r})" == repr(event)


class Mute(Exception):  # noqa: N818 -- what a project may have
    """An exception that can't be told."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "ends"), [(Mute(), ": Mute"), (ValueError("a\nb"), ": ValueError: a b")], ids=["can't be told", "lines"]
)
def test_error_of_the_project_is_logged_in_a_line(
    caplog: pytest.LogCaptureFixture, error: Exception, ends: str
) -> None:
    """Its text may have lines, as those of another record, or raise: the record is one line, and no hook fails."""
    emit(Event("error", "f", "key", "default", reason="It failed", error=error))

    [record] = caplog.records
    assert "It failed" in record.getMessage()
    assert record.getMessage().endswith(f"cache 'default'){ends}")
    assert type(error).__name__ in repr(Event("error", "f", error=error))


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


def test_error_of_no_function_names_none(caplog: pytest.LogCaptureFixture) -> None:
    """A probe of the cache, or an invalidation of a namespace, belongs to no function."""
    emit(Event("error", "", "", "default", reason="Probing failed", error=OSError("down")))

    [record] = caplog.records
    assert "Probing failed (key '', cache 'default'): OSError: down" == record.getMessage()
