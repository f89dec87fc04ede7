"""The functions that the checks look at: those of views, too."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register  # noqa: A004 -- Django's name for it
from django.urls import URLResolver, get_resolver

from cachedeco.functions.spec import FunctionSpec, all_specs
from cachedeco.runtime.interrupts import pass_interrupt


def decorated_functions() -> list[FunctionSpec]:
    """
    Return the specs of all functions, with those of the modules that the URLconf imports.

    Django imports these in a check of its own, which may run before ours or after, or not at all.
    """
    _import_views()
    return all_specs()


def _import_views() -> Exception | None:
    """Import the modules that the URLconf names; return what one of them raises, which Django's own check raises."""
    try:
        if getattr(settings, "ROOT_URLCONF", None):
            _import_patterns(get_resolver())
    except Exception as error:  # noqa: BLE001 -- a module of the user's may raise anything
        pass_interrupt(error)
        return error
    return None


def _import_patterns(resolver: URLResolver) -> None:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            _import_patterns(pattern)


@register("cachedeco")
def check_urls(app_configs: Any = None, **_: Any) -> Sequence[CheckMessage]:  # noqa: ARG001 -- Django's signature
    """Check that the functions of views can be checked."""
    error = _import_views()
    if error is None:
        return []
    msg = f"The URLconf can't be imported, so functions of views are not checked: {type(error).__name__}: {error}"
    return [Warning(msg, hint="Repair the module that raises this, and run the check again.", id="cachedeco.W014")]
