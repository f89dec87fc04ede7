"""`check`: register a generator of messages as a system check."""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from django.core.checks import CheckMessage, register
from django.core.exceptions import ImproperlyConfigured

from cachedeco.runtime import conf

Messages = Iterator[CheckMessage]


def check(give: Callable[..., Messages]) -> Callable[..., list[CheckMessage]]:
    """Register a check. While the settings are wrong it finds nothing: that is E001 alone."""

    @register("cachedeco")
    @wraps(give)
    def checked(**options: Any) -> list[CheckMessage]:
        try:
            conf.settings()
        except ImproperlyConfigured:
            return []
        return list(give(**options))

    return checked
