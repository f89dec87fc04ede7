"""`check`: register a generator of messages as a system check."""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from django.core.checks import CheckMessage, register
from django.core.exceptions import ImproperlyConfigured

from cachedeco.runtime import conf

Messages = Iterator[CheckMessage]


def check(give: Callable[..., Messages]) -> Callable[..., list[CheckMessage]]:
    """Register a check. One that asks the settings finds nothing while they are wrong, which E001 reports."""

    @register("cachedeco")
    @wraps(give)
    def checked(**options: Any) -> list[CheckMessage]:
        try:
            return list(give(**options))
        except ImproperlyConfigured:
            try:
                conf.settings()
            except ImproperlyConfigured:
                return []
            raise

    return checked
