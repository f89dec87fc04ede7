"""The modules of the package, each parsed once, by the first test that asks for it."""

import ast
from functools import cache
from pathlib import Path

import cachedeco

# From the ground up. A package may import those before it, and none after.
PACKAGES = ["runtime", "storage", "invalidation", "tracking", "loading", "keys", "functions"]
# Each can be deleted: no package imports them.
DOORS = ["auditing", "backends", "checks", "contrib", "diagnosis", "management", "outbox", "testing"]

PACKAGE = Path(cachedeco.__file__).parent
PATHS = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "migrations" not in path.parts
}
CORE = [name for name in PATHS if name.partition(".")[0] in PACKAGES]


@cache
def tree_of(module: str) -> ast.Module:
    """Return the parsed text of a module, named as in `PATHS`."""
    return ast.parse(PATHS[module].read_text())
