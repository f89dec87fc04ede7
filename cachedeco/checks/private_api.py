"""System check of the private names that cachedeco uses."""

from typing import Any

from django.core.checks import Error

from cachedeco.checks.registering import Messages, check
from cachedeco.runtime import private_api


@check
def check_private_api(**_: Any) -> Messages:
    """Check the private names, also of modules that were imported after the app started: a backend, the test kit."""
    hint = "Install a version that cachedeco knows, or a newer cachedeco."
    for sentence in private_api.missing():
        yield Error(sentence, hint=hint, id="cachedeco.E010")
