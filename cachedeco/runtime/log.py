"""Logging hook: events that an operator acts on, on the logger `cachedeco`; arguments only where a setting says so."""

import logging
import re
from hashlib import blake2b
from typing import Final

from django.core.exceptions import ImproperlyConfigured

from cachedeco.runtime import conf
from cachedeco.runtime.events import NO_KEY, Event
from cachedeco.runtime.reprs import shorten

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
# What a key has before the arguments: the name of a function, or of a table.
_NAME: Final = re.compile(r":([etf]:[^(:]+(?=\()|n:(?:table|rows)\.[^:]+)")


def log(event: Event) -> None:
    """Log failures as warnings; delayed and lost invalidations, and failed audits, as errors."""
    if event.kind in _INVALIDATION_TEXTS:
        functions = event.function or "the functions under this namespace"
        reason = (event.reason,) if event.reason else ()
        text = _RECORDED_TEXT if reason else _INVALIDATION_TEXTS[event.kind]
        logger.error(text, text_of_key(event.key), event.cache, functions, *reason, exc_info=event.error)
    elif event.kind == "inconsistent":
        logger.error(
            "A call of %r was served a value that had changed without an invalidation: %s (key %s, cache %r).",
            event.function,
            event.reason if _shows_arguments() else _HIDDEN_DIFFERENCE,
            text_of_key(event.key),
            event.cache,
        )
    elif event.kind == "advice":
        logger.warning("%s%s.", f"{event.function}(): " if event.function else "", event.reason)
    elif event.kind == "unwatched":
        logger.warning("%s.", event.reason)
    elif event.kind == "breaker_opened":
        logger.warning("Bypassing cache %r from now on: %s.", event.cache, event.reason)
    elif event.kind == "breaker_closed":
        logger.info("Cache %r answers again, and is used.", event.cache)
    elif event.kind == "error":
        key, why = text_of_key(event.key), _text_of_error(event)
        logger.warning("%s (function %r, key %s, cache %r)%s", event.reason, event.function, key, event.cache, why)


def text_of_key(key: str) -> str:
    """Return a key for the log: the name in it and a digest, as arguments are in it; whole where the setting says."""
    if not key or _shows_arguments():
        return repr(shorten(key))
    name = _NAME.search(key)
    return f"{name[1] if name else ''}#{blake2b(key.encode(), digest_size=6).hexdigest()}"


def _text_of_error(event: Event) -> str:
    """Return the class and the text of an error: some have no text, and the repr of redis-py's does not show it."""
    if event.error is None or (event.reason.startswith(NO_KEY) and not _shows_arguments()):
        return ""
    text = str(event.error)
    if event.key:
        text = text.replace(event.key, text_of_key(event.key))
    return f": {type(event.error).__name__}: {shorten(text)}"


def _shows_arguments() -> bool:
    try:
        return conf.settings().LOG_ARGUMENTS
    except ImproperlyConfigured:
        return False
