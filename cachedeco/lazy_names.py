"""
Public names that are imported when they are first asked for.

pytest imports `cachedeco` in every project that has it installed, for its plugin: that must not import Django. Settings
for production may import `cachedeco.testing`, which must not import the modules for tests.
"""

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module


def fetch(package: str, name: str, modules: Mapping[str, str]) -> object:
    """
    Import a public name, for the `__getattr__()` of a package, and keep it there: Python does not ask again.

    Args:
        package: The dotted name of the package.

        name: What is asked for.

        modules: Where in the package each public name is defined.

    Raises:
        AttributeError: The package has no such name.
        ImportError: Its module raises an AttributeError, or has lost it.
    """
    if name not in modules:
        near = [] if name.startswith("_") else get_close_matches(name, modules, n=3)
        remedy = f"; did you mean {' or '.join(near)}?" if near else ""
        msg = f"module {package!r} has no attribute {name!r}{remedy}"
        raise AttributeError(msg)
    module = f"{package}.{modules[name]}"
    try:
        found: object = getattr(import_module(module), name)
    except AttributeError as error:
        # Python would take it for "no such name", and say so without the cause.
        msg = f"{package}.{name} can't be imported: {error}"
        raise ImportError(msg, name=module) from error
    setattr(sys.modules[package], name, found)
    return found
