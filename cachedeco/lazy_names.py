"""
Public names that are imported when they are first asked for.

pytest imports `cachedeco` in every project that has it installed, for its plugin: that must not import Django. Settings
for production may import `cachedeco.testing`, which must not import the modules for tests.
"""

import sys
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from importlib import import_module


def fetch(package: str, name: str, modules: Mapping[str, Collection[str]]) -> object:
    """
    Import a public name, for the `__getattr__()` of a package, and keep it there: Python does not ask again.

    Args:
        package: The dotted name of the package.

        name: What is asked for.

        modules: The public names that each module in the package defines.

    Raises:
        AttributeError: The package has no such name.
        ImportError: Its module raises an AttributeError, or has lost it.
    """
    places = {public: module for module, names in modules.items() for public in names}
    if name not in places:
        near = [] if name.startswith("_") else get_close_matches(name, places, n=3)
        remedy = f"; did you mean {' or '.join(near)}?" if near else ""
        msg = f"module {package!r} has no attribute {name!r}{remedy}"
        raise AttributeError(msg)
    module = f"{package}.{places[name]}"
    try:
        found: object = getattr(import_module(module), name)
    except AttributeError as error:
        # Python would take it for "no such name", and say so without the cause.
        msg = f"{package}.{name} can't be imported: {error}"
        raise ImportError(msg, name=module) from error
    setattr(sys.modules[package], name, found)
    return found
