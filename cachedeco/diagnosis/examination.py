"""The whole examination: settings, system checks, caches, databases, outbox."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from cachedeco.diagnosis.caches import ANSWERS, CACHE, examine_caches, examine_process
from cachedeco.diagnosis.databases import examine_databases
from cachedeco.diagnosis.findings import Finding, State
from cachedeco.diagnosis.outboxes import examine_outboxes
from cachedeco.functions.discovery import decorated_functions
from cachedeco.runtime import conf
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import mask_credentials, shorten_error
from cachedeco.runtime.units import counted

OURS: Final = "cachedeco."
# A warning that the functions of views are not checked: what can't be looked at is not well.
NOT_CHECKED: Final = "cachedeco.W014"
# A cache that is not in CACHES, or can't be opened: where caches are examined, the cache's own findings say so.
OF_CACHES: Final = frozenset({"cachedeco.E002", "cachedeco.E012"})
REPAIR_SETTINGS: Final = "Correct CACHEDECO, by the page Settings of the reference: until then each call raises."


def examine(sleep: Callable[[float], object]) -> Iterator[Finding]:
    """
    Yield all findings, as they are found.

    Circuit breakers and retry queues are those of this process; the rest is about the servers and databases.

    Args:
        sleep: Waits for so many seconds: some two, to see whether the caches honour timeouts.
    """
    finding, aliases = _examine_settings()
    if aliases is None:  # the checks can say no more
        yield finding
        return
    yield from _examine_checks(OF_CACHES if aliases else frozenset())
    yield finding
    functions = len(decorated_functions())
    advice = "Name the modules that have them in MODULES of CACHEDECO, or import them where the URLconf does."
    yield Finding(
        "settings",
        "Are functions cached?",
        "well" if functions else "notice",
        f"yes, this process knows {counted(functions, 'function')}" if functions else "this process knows none",
        "" if functions else advice,
    )
    answering = []
    for each in examine_caches(aliases, sleep):
        yield each
        if each.question == ANSWERS and each.state != "wrong":
            answering.append(each.subject.removeprefix(CACHE))
    yield from examine_databases()
    yield from examine_outboxes(answering)


def glance() -> Iterator[Finding]:
    """
    Yield the findings that ask no cache: circuit breakers and retry queues of this process, and rows of the outbox.

    Where nothing is wrong they take some queries of the databases that have an outbox, each by an index.
    """
    finding, aliases = _examine_settings()
    yield finding
    if aliases is None:
        return
    for alias in aliases:
        yield from examine_process(alias)
    yield from examine_outboxes((), tries_to_write=False)


def _examine_settings() -> tuple[Finding, Sequence[str] | None]:
    """Return whether the cache is on, and the aliases that are used; None for them where the settings are wrong."""
    try:
        settings = conf.settings()
    except ImproperlyConfigured as error:
        return Finding("settings", "Are they right?", "wrong", str(error), REPAIR_SETTINGS), None
    question, mode = "Is the cache on?", settings.MODE
    aliases = () if mode == "off" else settings.ALIASES
    if mode == "on":
        return Finding("settings", question, "well", "yes, MODE is 'on'"), aliases
    advice = "Set MODE to 'on' in CACHEDECO, where this is no test."
    return Finding("settings", question, "notice", f"no, MODE is {mode!r}", advice), aliases


def _examine_checks(told_later: Collection[str]) -> Iterator[Finding]:
    """Yield what the system checks of cachedeco find, those of a deployment and of databases included."""
    messages: list[checks.CheckMessage] = []
    failures = [*_run_checks(messages, "cachedeco", include_deployment_checks=True)]
    for alias in connections:  # each by itself: one that does not answer must not hide what is said of another
        failures += _run_checks(messages, checks.Tags.database, databases=[alias])
    yield from failures
    ours = [each for each in messages if (each.id or "").startswith(OURS) and not each.is_silenced()]
    for each in ours:
        if each.id in told_later:
            continue
        state: State = "wrong" if each.level >= checks.ERROR or each.id == NOT_CHECKED else "notice"
        yield Finding("system checks", each.id or "", state, mask_credentials(str(each.msg)), each.hint or "")
    if not ours and not failures:
        yield Finding("system checks", "Do they find something?", "well", "no")


def _run_checks(messages: list[checks.CheckMessage], tag: str, **options: Any) -> Iterator[Finding]:
    """Add what the checks of a tag find; yield a finding if one of them raises, as where a database does not answer."""
    try:
        messages += checks.run_checks(tags=[tag], **options)
    except Exception as error:  # noqa: BLE001 -- a check of another app, or a driver, may raise anything
        pass_interrupt(error)
        advice = "Repair that first, and run manage.py check."
        yield Finding("system checks", "Can they be run?", "wrong", f"no: {shorten_error(error)}", advice)
