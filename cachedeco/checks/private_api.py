"""System check of the private names that cachedeco uses."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, register

from cachedeco.runtime import private_api


@register("cachedeco")
def check_private_api(**_: Any) -> Sequence[CheckMessage]:
    """Check the private names, also of modules that were imported after the app started: a backend, the test kit."""
    hint = "Install a version that cachedeco knows, or a newer cachedeco."
    return [Error(sentence, hint=hint, id="cachedeco.E010") for sentence in private_api.missing()]
