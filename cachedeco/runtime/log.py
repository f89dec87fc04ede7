"""Logging hook: every event, on the logger `cachedeco`; arguments only where a setting says so."""

import logging
import re
from collections.abc import Mapping
from contextvars import ContextVar
from hashlib import blake2b
from typing import Final

from django.core.exceptions import ImproperlyConfigured

from cachedeco.runtime import conf
from cachedeco.runtime.events import NO_KEY, UNSERVED, Event, Kind
from cachedeco.runtime.frames import caller_line
from cachedeco.runtime.reprs import shorten, shorten_error, shorten_reason
from cachedeco.runtime.units import duration

logger = logging.getLogger("cachedeco")

# Texts of unacknowledged invalidations; each takes the key, the cache, and the function that depends on the key.
_INVALIDATION_TEXTS: dict[str, str] = {
    "invalidation_delayed": (
        "Invalidation of %s in cache %r was not acknowledged: other processes may serve old values of %s"
        " until this one has delivered it."
    ),
    "invalidation_lost": (
        "Invalidation of %s in cache %r was never acknowledged, and is lost: old values of %s may be served"
        " until they time out."
    ),
}
# Where something delivers it besides this process, which the reason says.
_RECORDED_TEXT = "Invalidation of %s in cache %r was not acknowledged: old values of %s may be served for a while; %s."
_HIDDEN_DIFFERENCE: Final = 'CACHEDECO["LOG_ARGUMENTS"] = True shows how'
# Whether a handler is at work: what it writes to a database, or calls, would be logged without end.
_is_logging: ContextVar[bool] = ContextVar("cachedeco_logging", default=False)
# Events that are nothing to act on.
QUIET_KINDS: Final = frozenset[Kind](
    {"hit", "miss", "stale", "shared", "bypassed", "computed", "stored", "unstored", "invalidated", "audited"}
)
# What names a token without arguments.
_PLAIN_DETAIL: Final = re.compile(
    r" (?:this call$|the function$|the circuit breaker is open$"
    r"|table .*|namespace [^:]+|rows of .+?(?= with |$)|the nested (?:call|function) [^(]+)"
)
# What a key has before the arguments: the name of a function, or of a table.
_NAME: Final = re.compile(r":([etf]:[^(:]+(?=\()|n:(?:table|rows)\.[^:]+)")


def log(event: Event) -> None:
    """Log failures as warnings; delayed and lost invalidations, and failed audits, as errors; all else at DEBUG."""
    if event.kind in QUIET_KINDS:
        if logger.isEnabledFor(logging.DEBUG) and not _is_logging.get():
            inside = _is_logging.set(True)
            try:
                fields = _fields_of(event)
                logger.debug("%s", _line_of(event, fields), extra=fields)
            finally:
                _is_logging.reset(inside)
    elif event.kind in _INVALIDATION_TEXTS:
        functions = event.function or "the functions under this namespace"
        reason = (event.reason,) if event.reason else ()
        text = _RECORDED_TEXT if reason else _INVALIDATION_TEXTS[event.kind]
        _log(event, logging.ERROR, text, text_of_key(event.key), event.cache, functions, *reason)
    elif event.kind == "inconsistent":
        text = "A call of %r was served a value that had changed without an invalidation: %s (key %s, cache %r)."
        _log(event, logging.ERROR, text, event.function, reason_of(event), text_of_key(event.key), event.cache)
    elif event.kind == "advice":
        whose = f"{event.function}(): " if event.function else ""
        _log(event, logging.WARNING, "%s%s.", whose, event.reason)
    elif event.kind == "unwatched":
        _log(event, logging.WARNING, "%s.", event.reason)
    elif event.kind == "breaker_opened":
        _log(event, logging.WARNING, "Bypassing cache %r from now on: %s.", event.cache, event.reason)
    elif event.kind == "breaker_closed":
        _log(event, logging.INFO, "Cache %r answers again, and is used.", event.cache)
    else:  # "error"
        key, why = text_of_key(event.key), _text_of_error(event)
        whose = f"function {event.function!r}, " if event.function else ""
        _log(event, logging.WARNING, "%s (%skey %s, cache %r)%s", event.reason, whose, key, event.cache, why)


def text_of_key(key: str) -> str:
    """Return a key for the log: the name in it and a digest, as arguments are in it; whole where the setting says."""
    return repr(shorten(key)) if not key or _shows_arguments() else _digest_of(key)


def _digest_of(key: str) -> str:
    name = _NAME.search(key)
    return f"{name[1] if name else ''}#{blake2b(key.encode(), digest_size=6).hexdigest()}"


def _log(event: Event, level: int, text: str, *args: object) -> None:
    """Log a failure, or its end, with the fields of its event."""
    if logger.isEnabledFor(level):
        error = event.error if event.kind in _INVALIDATION_TEXTS else None
        logger.log(level, text, *args, exc_info=error, extra=_fields_of(event))


def _fields_of(event: Event) -> dict[str, str | float]:
    """Return the fields of a record, the same ones for each event, for logs that machines read."""
    shows, is_invalidation = _shows_arguments(), event.kind == "invalidated" or event.kind in _INVALIDATION_TEXTS
    key = event.key and (shorten(event.key) if shows else _digest_of(event.key))
    subject = ""
    if is_invalidation:
        subject = shorten(event.subject.text) if shows else event.subject.label
    return {
        "cache_event": event.kind,
        "cache_function": event.function,
        "cache_key": key,
        "cache_alias": event.cache,
        "cache_reason": reason_of(event),
        "cache_seconds": event.seconds,
        "cache_size": event.size,
        "cache_subject": subject,
        "cache_caller": caller_line() if is_invalidation and logger.isEnabledFor(logging.DEBUG) else "",
    }


def _line_of(event: Event, fields: Mapping[str, str | float]) -> str:
    """Return the line of an event at DEBUG: "miss (absent): clubs.price(), key e:clubs.price#..., cache 'default'"."""
    parts = [
        str(fields["cache_subject"] or f"{event.function}()"),
        f"key {fields['cache_key']}" if event.key else "",
        f"cache {event.cache!r}" if event.cache else "",
        f"{event.size} bytes" if event.size else "",
        duration(event.seconds) if event.kind == "computed" else "",
        f"by {fields['cache_caller']}" if fields["cache_caller"] else "",
    ]
    reason = f" ({fields['cache_reason']})" if fields["cache_reason"] else ""
    return f"{event.kind}{reason}: {', '.join(filter(None, parts))}"


def reason_of(event: Event) -> str:
    """Return the reason: what may have arguments or values in it is left out, unless the setting says otherwise."""
    if event.kind == "inconsistent":
        return event.reason if _shows_arguments() else _HIDDEN_DIFFERENCE
    if event.kind not in UNSERVED:
        return event.reason
    if _shows_arguments():
        return shorten_reason(event.reason)
    reason, _, detail = event.reason.partition(":")
    plain = _PLAIN_DETAIL.match(detail)
    return f"{reason}:{plain[0]}" if plain else reason


def _text_of_error(event: Event) -> str:
    """Return the class and the text of an error: some have no text, and the repr of redis-py's does not show it."""
    if event.error is None or (event.reason.startswith(NO_KEY) and not _shows_arguments()):
        return ""
    return f": {shorten_error(event.error, event.key, text_of_key(event.key))}"


def _shows_arguments() -> bool:
    try:
        return conf.settings().LOG_ARGUMENTS
    except ImproperlyConfigured:
        return False
