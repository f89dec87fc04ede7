"""Django templates: they call what a path leads to, and leave out what is marked as a change of data."""

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def alters_data(verb: F) -> F:
    """Mark a method that writes, as Django marks `Model.save()`: `{{ club.total.invalidate }}` shows nothing."""
    vars(verb)["alters_data"] = True
    return verb
