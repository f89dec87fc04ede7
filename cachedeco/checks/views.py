"""System check of the URLconf, whose modules have functions that the other checks look at."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Warning, register  # noqa: A004 -- Django's name for it

from cachedeco.functions.discovery import import_views
from cachedeco.runtime.reprs import shorten_error


@register("cachedeco")
def check_urls(**_: Any) -> Sequence[CheckMessage]:
    """Check that the functions of views can be checked."""
    error = import_views()
    if error is None:
        return []
    msg = f"The URLconf can't be imported, so functions of views are not checked: {shorten_error(error)}"
    return [Warning(msg, hint="Repair the module that raises this, and run the check again.", id="cachedeco.W014")]
