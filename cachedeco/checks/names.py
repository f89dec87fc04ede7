"""System check of settings whose names are nearly ours, which nothing would read."""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from difflib import SequenceMatcher
from typing import Any, Final

from django.conf import ENVIRONMENT_VARIABLE
from django.conf import settings as django_settings
from django.core.checks import Warning  # noqa: A004 -- Django's name for it

from cachedeco.checks.registering import Messages, check
from cachedeco.runtime.conf import Settings

OURS: Final = "CACHEDECO"
NAMES: Final = frozenset(field.name for field in fields(Settings))
# CACHE_DECORATOR has 0.78, and CACHED_SETTINGS, which may be another's, 0.7.
NEAR: Final = 0.75


@check
def check_names(**_: Any) -> Messages:
    """Check for settings that are nearly ours: `CACHE_DECO`, `CacheDeco`, `CACHEDECO_MODE`."""
    for name, value in sorted(_settings().items()):
        for right in _right_forms(name, value):
            yield Warning(
                f"The settings have {name}, which nothing reads.",
                hint=f"Write {right}; or rename it, if it is another app's.",
                id="cachedeco.W015",
            )


def _settings() -> dict[str, Any]:
    """Return the settings whose names are similar to ours; those with lower-case letters are in their module only."""
    # Inside override_settings() no module is named.
    name_of_module = getattr(django_settings, "SETTINGS_MODULE", None) or os.environ.get(ENVIRONMENT_VARIABLE, "")
    module = sys.modules.get(name_of_module)
    in_module = {name: value for name, value in vars(module or object).items() if _is_similar(name)}
    # Django's own `dir()` has names beside settings, and some settings warn that they are deprecated.
    found = {
        name: getattr(django_settings, name) for name in dir(django_settings) if name.isupper() and _is_similar(name)
    }
    return in_module | found


def _plain(name: str) -> str:
    return name.upper().replace("_", "")


def _is_similar(name: str) -> bool:
    plain = _plain(name)
    return name != OURS and (plain.startswith(OURS) or SequenceMatcher(None, plain, OURS).ratio() >= NEAR)


def _right_forms(name: str, value: object) -> Iterator[str]:
    """Yield how a setting is meant; nothing if it may be another app's."""
    plain, given = _plain(name), getattr(django_settings, OURS, None)
    if isinstance(value, Mapping):
        # A name that is only near, and has nothing of ours, may belong to another app.
        if plain == OURS or (given is None and not NAMES.isdisjoint(map(str, value))):
            yield f"{OURS} = {{{', '.join(f'{str(key)!r}: ...' for key in value)}}}"
        return
    for setting in NAMES:
        # A constant that the dict uses is no fault.
        is_used = isinstance(given, Mapping) and setting in given
        if plain == OURS + _plain(setting) and not is_used:
            yield f"{OURS} = {{{setting!r}: ...}}"
