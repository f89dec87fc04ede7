"""Logging hook: events that an operator acts on, on the logger `cachedeco`."""

import logging

from cachedeco.runtime.events import Event

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
_RECORDED_TEXT = "Invalidation of %s in cache %r was not acknowledged: old values of %s may be served for a while;"


def log(event: Event) -> None:
    """Log failures as warnings; delayed and lost invalidations, and failed audits, as errors."""
    if event.kind in _INVALIDATION_TEXTS:
        functions = event.function or "the functions under this namespace"
        text = f"{_RECORDED_TEXT} {event.reason}." if event.reason else _INVALIDATION_TEXTS[event.kind]
        logger.error(text, event.key, event.cache, functions, exc_info=event.error)
    elif event.kind == "inconsistent":
        logger.error(
            "A call of %r was served a value that had changed without an invalidation: %s (key %r, cache %r).",
            event.function,
            event.reason,
            event.key,
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
        # Both name and text: some errors have no text, and the repr of redis-py's does not show it.
        why = f": {type(event.error).__name__}: {event.error}" if event.error else ""
        logger.warning(
            "%s (function %r, key %r, cache %r)%s", event.reason, event.function, event.key, event.cache, why
        )
